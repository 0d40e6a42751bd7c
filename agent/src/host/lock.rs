//! The locks of shadow-utils: first the one of `lckpwdf(3)`, as an open-file-description lock that
//! no other descriptor of ours can drop, then one `.lock` per file by the link dance. Nothing is
//! waited for while holding something: on any failure all is let go and tried again, ten seconds
//! at most. `useradd` gives up after fifteen, so whoever holds these prepares everything before.
#![expect(clippy::disallowed_methods, reason = "waiting for a lock that others hold")]

use std::{os::fd::OwnedFd, time::Duration};

use nix::{
    errno::Errno,
    fcntl::{FcntlArg, OFlag, fcntl, openat},
    libc,
    sys::{signal::kill, stat::Mode},
    unistd::Pid,
};

use super::files::{Dir, FileError, LEFTOVER, Looks, random};

/// How often a lock that somebody else holds is tried again.
const TRIES: u32 = 80;

/// The locks, until they are released or the process ends.
#[derive(Debug)]
pub struct Locks {
    etc: Dir,
    held: Vec<String>,
    _whole: OwnedFd,
}

/// Why the account files cannot be locked.
#[derive(Debug, thiserror::Error)]
pub enum LockError {
    /// Somebody else holds a lock.
    #[error("`{0}` is held by another process")]
    Held(String),
    /// A `.lock` that names nobody: a crashed writer's, and every tool of shadow-utils waits.
    #[error("`{0}` names no process: it blocks every account tool until somebody removes it")]
    Nameless(String),
    /// A file operation failed.
    #[error("cannot lock the account files")]
    File(#[from] FileError),
}

/// Takes all locks for these files.
pub fn lock(etc: &Dir, files: &[&str], booted: Option<i64>) -> Result<Locks, LockError> {
    lock_after(etc, files, booted, || {
        // 50 to 200 ms, not in step with anybody else.
        let jitter = u64::from(random().bytes().next().unwrap_or_default());
        std::thread::sleep(Duration::from_millis(50 + jitter));
    })
}

fn lock_after(
    etc: &Dir,
    files: &[&str],
    booted: Option<i64>,
    mut pause: impl FnMut(),
) -> Result<Locks, LockError> {
    let mut tries = 0;
    loop {
        match try_lock(etc, files, booted) {
            Err(LockError::Held(_)) if tries < TRIES => {
                tries += 1;
                pause();
            }
            other => return other,
        }
    }
}

/// Removes `.lock` files that a dead process left, as an earlier life of ours may have.
pub fn clear_stale(etc: &Dir, files: &[&str], booted: Option<i64>) -> Result<(), FileError> {
    let mut any = false;
    for file in files {
        any |= etc.stat(format!("{file}.lock"))?.is_some();
    }
    if !any {
        return Ok(());
    }
    match try_lock(etc, files, booted) {
        Ok(locks) => {
            locks.release();
            Ok(())
        }
        // Somebody lives, or nobody can tell: the next rewrite says so.
        Err(LockError::Held(_) | LockError::Nameless(_)) => Ok(()),
        Err(LockError::File(error)) => Err(error),
    }
}

fn try_lock(etc: &Dir, files: &[&str], booted: Option<i64>) -> Result<Locks, LockError> {
    let mut locks = Locks { etc: etc.clone(), held: Vec::new(), _whole: lock_whole(etc)? };
    for file in files {
        match lock_file(etc, file, booted) {
            Ok(name) => locks.held.push(name),
            Err(error) => {
                locks.release();
                return Err(error);
            }
        }
    }
    Ok(locks)
}

fn lock_whole(etc: &Dir) -> Result<OwnedFd, LockError> {
    const NAME: &str = ".pwd.lock";
    let failed = |doing, source| FileError::System { doing, path: etc.show(NAME), source };
    let flags =
        OFlag::O_WRONLY | OFlag::O_CREAT | OFlag::O_NOFOLLOW | OFlag::O_NOCTTY | OFlag::O_CLOEXEC;
    let fd = openat(etc, NAME, flags, Mode::from_bits_truncate(0o600))
        .map_err(|source| failed("open", source))?;
    let whole = libc::flock {
        l_type: i16::try_from(libc::F_WRLCK).unwrap_or(1),
        l_whence: i16::try_from(libc::SEEK_SET).unwrap_or(0),
        l_start: 0,
        l_len: 0,
        l_pid: 0,
    };
    match fcntl(&fd, FcntlArg::F_OFD_SETLK(&whole)) {
        Ok(_) => {}
        Err(Errno::EAGAIN | Errno::EACCES) => return Err(LockError::Held(etc.show(NAME))),
        Err(source) => return Err(failed("lock", source).into()),
    }
    let ours = nix::sys::stat::fstat(&fd).map_err(|source| failed("look at", source))?;
    // Somebody may have put another file in its place while we waited.
    match etc.stat(NAME)? {
        Some(named) if named.st_ino == ours.st_ino => Ok(fd),
        _ => Err(LockError::Held(etc.show(NAME))),
    }
}

fn lock_file(etc: &Dir, file: &str, booted: Option<i64>) -> Result<String, LockError> {
    let name = format!("{file}.lock");
    let pid = std::process::id();
    let looks = Looks { uid: 0, gid: 0, mode: 0o600 };
    let temp = etc.write_temp(&name, looks, format!("{pid}\0").as_bytes())?;
    debug_assert!(temp.name.starts_with(LEFTOVER));
    let mut linked = etc.link(&temp.name, &name);
    if is_present(&linked) && may_take_over(etc, &name, pid, booted)? {
        etc.remove(&name)?;
        linked = etc.link(&temp.name, &name);
    }
    let removed = etc.remove(&temp.name);
    if is_present(&linked) {
        return Err(LockError::Held(etc.show(&name)));
    }
    linked?;
    removed?;
    Ok(name)
}

fn is_present(linked: &Result<(), FileError>) -> bool {
    matches!(linked, Err(FileError::System { source: Errno::EEXIST, .. }))
}

/// A lock of a dead process may be taken over, as shadow-utils does; one of our own number is from
/// an earlier life, since nobody else holds the lock of `lckpwdf` now.
fn may_take_over(etc: &Dir, name: &str, own: u32, booted: Option<i64>) -> Result<bool, LockError> {
    let Some((text, found)) = etc.read(name)? else { return Ok(true) };
    let text = String::from_utf8_lossy(&text);
    let pid = text.trim_end_matches(['\0', '\n']).parse::<i32>().ok().filter(|pid| *pid > 0);
    match pid {
        Some(pid) if u32::try_from(pid) == Ok(own) => Ok(true),
        Some(pid) => Ok(kill(Pid::from_raw(pid), None) == Err(Errno::ESRCH)),
        None if booted.is_some_and(|booted| found.st_mtime < booted) => Ok(true),
        None => Err(LockError::Nameless(etc.show(name))),
    }
}

impl Locks {
    /// Lets go, in reverse order.
    pub fn release(mut self) {
        while let Some(name) = self.held.pop() {
            // One that stays is taken over: it names our process.
            let _ = self.etc.remove(&name);
        }
    }
}

/// Returns when the machine was started, in seconds since 1970.
pub fn boot_time(root: &Dir) -> Result<Option<i64>, FileError> {
    let Some(proc) = root.walk("proc")? else { return Ok(None) };
    let Some((stat, _)) = proc.read("stat")? else { return Ok(None) };
    let stat = String::from_utf8_lossy(&stat);
    Ok(stat.lines().find_map(|line| line.strip_prefix("btime ")?.trim().parse().ok()))
}

#[cfg(test)]
mod tests {
    use std::{path::Path, sync::Arc};

    use super::*;
    use crate::host::files::Faults;

    /// How often somebody waited, and whether the lock was had, when it is let go at a pause.
    fn tried(let_go_at: u32) -> (u32, bool) {
        let folder = tempfile::tempdir().unwrap();
        let open = |path: &Path| Dir::open(path, Arc::new(Faults::none())).unwrap();
        let etc = open(folder.path());
        let looks = Looks { uid: 0, gid: 0, mode: 0o600 };
        // The first process lives as long as there is anybody.
        etc.write_new("passwd.lock".as_ref(), looks, b"1").expect("this test needs root");
        let mut pauses = 0;
        let locked = lock_after(&etc, &["passwd"], None, || {
            pauses += 1;
            if pauses == let_go_at {
                open(folder.path()).remove("passwd.lock").unwrap();
            }
        });
        let had = match locked {
            Ok(locks) => {
                locks.release();
                true
            }
            Err(LockError::Held(_)) => false,
            Err(other) => panic!("{other}"),
        };
        (pauses, had)
    }

    #[test]
    fn a_lock_is_waited_for_as_often_as_the_bound_says_and_then_given_up() {
        assert_eq!(tried(1), (1, true));
        assert_eq!(tried(TRIES), (TRIES, true));
        assert_eq!(tried(TRIES + 1), (TRIES, false));
    }
}
