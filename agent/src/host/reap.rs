//! Ends everything that runs as one uid in one system call, which nothing can fork away from: the
//! kernel signals all of them under the lock that a fork takes (kill(2), pid -1). A process that
//! forks and exits without end is never in a list of processes that is read one after the other.
//!
//! The call is made by a child that has given up root, since root's would end the whole machine.

#![expect(unsafe_code, reason = "between fork and exit nothing but system calls may be made")]

use nix::{
    errno::Errno,
    libc,
    sys::wait::{WaitStatus, waitpid},
    unistd::Pid,
};

/// A uid that nobody has: as its real and saved one it keeps those who are to end from ending the
/// child first, and what runs as it is nobody's.
const NOBODY_AT_ALL: libc::uid_t = u32::MAX - 1;

/// The child's exit status when it could not become that uid.
const NOT_BECOME: i32 = 2;

/// Sends SIGKILL to every process whose real or saved uid this is; root's are never meant.
///
/// Succeeds if there was none as well. Whether all are gone is for whoever looks afterwards: one
/// may be in the middle of a call that cannot be interrupted.
pub(super) fn all_of(uid: u32) -> Result<(), Errno> {
    if uid == 0 || uid >= NOBODY_AT_ALL {
        return Err(Errno::EINVAL);
    }
    // SAFETY: the child makes three system calls, which touch no memory, no lock and no descriptor
    // of this process, and ends without running anything that this process has registered.
    let child = unsafe { libc::fork() };
    if child == 0 {
        // SAFETY: as above. The library's own wrapper would signal threads that are not there.
        unsafe {
            let become_one = |real: libc::uid_t, effective: libc::uid_t, saved: libc::uid_t| {
                libc::syscall(libc::SYS_setresuid, real, effective, saved) == 0
            };
            // A user namespace may not know that uid; then those who are to end may end this first.
            if !become_one(NOBODY_AT_ALL, uid, NOBODY_AT_ALL) && !become_one(uid, uid, uid) {
                libc::_exit(NOT_BECOME);
            }
            libc::syscall(libc::SYS_kill, -1, libc::SIGKILL);
            libc::_exit(0);
        }
    }
    if child < 0 {
        return Err(Errno::last());
    }
    loop {
        return match waitpid(Pid::from_raw(child), None) {
            Err(Errno::EINTR) => continue,
            Ok(WaitStatus::Exited(_, 0)) => Ok(()),
            // Somebody that was to end has ended the child first.
            Ok(WaitStatus::Signaled(..)) => Err(Errno::EAGAIN),
            Ok(_) => Err(Errno::EPERM),
            Err(error) => Err(error),
        };
    }
}

#[cfg(test)]
#[expect(clippy::disallowed_types, reason = "a test starts processes to end them")]
mod tests {
    use std::{
        io::{BufRead, BufReader},
        os::unix::process::{CommandExt, ExitStatusExt},
        process::{Command, Stdio},
    };

    use super::*;

    /// A uid of no range that anybody gives.
    const UID: u32 = 61_791;

    #[test]
    #[allow(clippy::unwrap_used, reason = "it is a test")]
    fn what_forks_and_exits_without_end_ends_and_nobody_else_does() {
        // Each generation starts the next and is gone: at no time is one of them there for long. If
        // none ended them, the last would say so.
        let comet = "f() { [ $1 -gt 0 ] || { echo end; exit; }; (f $(($1 - 1)) &); exit; }; \
                     echo on; f 1000000";
        let mut theirs = Command::new("/bin/sh")
            .args(["-c", comet])
            .uid(UID)
            .stdout(Stdio::piped())
            .spawn()
            .expect("needs root");
        let mut other = Command::new("/bin/sleep").arg("100").uid(UID + 1).spawn().unwrap();
        let mut said = BufReader::new(theirs.stdout.take().unwrap());
        said.read_line(&mut String::new()).unwrap();

        assert_eq!(all_of(UID), Ok(()));
        // Ends only when no process of the line has the pipe any more.
        assert_eq!(said.read_line(&mut String::new()).unwrap(), 0);
        theirs.wait().unwrap();
        assert!(other.try_wait().unwrap().is_none());
        assert_eq!(all_of(UID + 1), Ok(()));
        assert_eq!(other.wait().unwrap().signal(), Some(libc::SIGKILL));
    }

    #[test]
    fn root_is_never_meant() {
        for uid in [0, NOBODY_AT_ALL, u32::MAX] {
            assert_eq!(all_of(uid), Err(Errno::EINVAL));
        }
    }
}
