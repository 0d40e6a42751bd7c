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
    let failed = |doing, source| FileError::System { doing, path: etc.show(WHOLE), source };
    let flags =
        OFlag::O_WRONLY | OFlag::O_CREAT | OFlag::O_NOFOLLOW | OFlag::O_NOCTTY | OFlag::O_CLOEXEC;
    let fd = openat(etc, WHOLE, flags, Mode::from_bits_truncate(0o600))
        .map_err(|source| failed("open", source))?;
    match fcntl(&fd, FcntlArg::F_OFD_SETLK(&whole())) {
        Ok(_) => {}
        Err(Errno::EAGAIN | Errno::EACCES) => return Err(LockError::Held(etc.show(WHOLE))),
        Err(source) => return Err(failed("lock", source).into()),
    }
    let ours = nix::sys::stat::fstat(&fd).map_err(|source| failed("look at", source))?;
    // Somebody may have put another file in its place while we waited.
    match etc.stat(WHOLE)? {
        Some(named) if named.st_ino == ours.st_ino => Ok(fd),
        _ => Err(LockError::Held(etc.show(WHOLE))),
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

/// A lock of a dead process may be taken over, as shadow-utils does, and so may one from before the
/// machine was started, whatever it names: after a power cut another process has that number. One of
/// our own number is from an earlier life, since nobody else holds the lock of `lckpwdf` now.
fn may_take_over(etc: &Dir, name: &str, own: u32, booted: Option<i64>) -> Result<bool, LockError> {
    let Some((text, found)) = etc.read(name)? else { return Ok(true) };
    if booted.is_some_and(|booted| found.st_mtime < booted) {
        return Ok(true);
    }
    match named(&text) {
        Some(pid) if u32::try_from(pid) == Ok(own) => Ok(true),
        Some(pid) => Ok(kill(Pid::from_raw(pid), None) == Err(Errno::ESRCH)),
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

/// Who holds the lock of `lckpwdf(3)`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum WholeHolder {
    /// This process.
    Process(i32),
    /// One that the kernel does not name: the lock is an open file description's.
    Unnamed,
}

/// Returns who holds that lock and does not let it go for a while.
pub(super) fn held_long(etc: &Dir) -> Result<Option<WholeHolder>, FileError> {
    held_after(etc, || std::thread::sleep(LOOK_AGAIN))
}

/// How often a lock is looked at before it counts as held for long, and how long between.
const LOOKS: u32 = 20;
const LOOK_AGAIN: Duration = Duration::from_millis(100);

fn held_after(etc: &Dir, mut pause: impl FnMut()) -> Result<Option<WholeHolder>, FileError> {
    for _ in 1..LOOKS {
        if held(etc)?.is_none() {
            return Ok(None);
        }
        pause();
    }
    held(etc)
}

fn held(etc: &Dir) -> Result<Option<WholeHolder>, FileError> {
    let Some(file) = etc.open_file(WHOLE)? else { return Ok(None) };
    let mut whole = whole();
    fcntl(&file, FcntlArg::F_OFD_GETLK(&mut whole)).map_err(|source| FileError::System {
        doing: "look at the lock of",
        path: etc.show(WHOLE),
        source,
    })?;
    if i32::from(whole.l_type) == libc::F_UNLCK {
        return Ok(None);
    }
    // A process of another namespace has the number 0 here.
    let process = Some(whole.l_pid).filter(|pid| *pid > 0);
    Ok(Some(process.map_or(WholeHolder::Unnamed, WholeHolder::Process)))
}

/// The file of that lock.
pub(super) const WHOLE: &str = ".pwd.lock";

/// A lock for writing of a whole file.
fn whole() -> libc::flock {
    libc::flock {
        l_type: i16::try_from(libc::F_WRLCK).unwrap_or(1),
        l_whence: i16::try_from(libc::SEEK_SET).unwrap_or(0),
        l_start: 0,
        l_len: 0,
        l_pid: 0,
    }
}

/// Who holds the lock of one file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum FileHolder {
    /// A process that lives.
    Process(i32),
    /// Nobody: it names no process.
    Nobody,
}

/// Returns who holds the lock of a file, and since when in seconds since 1970; nothing if there is
/// none or its process is dead, since then whoever comes next takes it over.
pub(super) fn file_holder(etc: &Dir, file: &str) -> Result<Option<(FileHolder, i64)>, FileError> {
    let Some((text, found)) = etc.read(&format!("{file}.lock"))? else { return Ok(None) };
    let holder = match named(&text) {
        Some(pid) if kill(Pid::from_raw(pid), None) == Err(Errno::ESRCH) => return Ok(None),
        Some(pid) => FileHolder::Process(pid),
        None => FileHolder::Nobody,
    };
    Ok(Some((holder, found.st_mtime)))
}

/// Returns the process that a lock of a file names.
fn named(text: &[u8]) -> Option<i32> {
    let text = String::from_utf8_lossy(text);
    text.trim_end_matches(['\0', '\n']).parse::<i32>().ok().filter(|pid| *pid > 0)
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
    fn a_lock_counts_as_held_for_long_when_it_was_at_every_look() {
        let folder = tempfile::tempdir().unwrap();
        let etc = Dir::open(folder.path(), Arc::new(Faults::none())).unwrap();
        let looks = |let_go_at: u32| {
            let mut held = Some(lock_whole(&etc).unwrap());
            let mut pauses = 0;
            let holder = held_after(&etc, || {
                pauses += 1;
                held.take_if(|_| pauses == let_go_at);
            });
            (pauses, holder.unwrap())
        };
        assert_eq!(looks(1), (1, None));
        assert_eq!(looks(LOOKS - 1), (LOOKS - 1, None));
        assert_eq!(looks(LOOKS), (LOOKS - 1, Some(WholeHolder::Unnamed)));
    }

    #[test]
    fn a_lock_from_before_the_start_is_taken_over_though_a_process_has_its_number_again() {
        let folder = tempfile::tempdir().unwrap();
        let etc = Dir::open(folder.path(), Arc::new(Faults::none())).unwrap();
        let looks = Looks { uid: 0, gid: 0, mode: 0o600 };
        etc.write_new("passwd.lock".as_ref(), looks, b"1").expect("this test needs root");
        let made = etc.stat("passwd.lock").unwrap().unwrap().st_mtime;
        let lock = |booted| try_lock(&etc, &["passwd"], booted);
        assert!(matches!(lock(None), Err(LockError::Held(_))));
        assert!(matches!(lock(Some(made)), Err(LockError::Held(_))));
        lock(Some(made + 1)).unwrap().release();
        assert!(etc.stat("passwd.lock").unwrap().is_none());
    }

    #[test]
    fn a_lock_is_waited_for_as_often_as_the_bound_says_and_then_given_up() {
        assert_eq!(tried(1), (1, true));
        assert_eq!(tried(TRIES), (TRIES, true));
        assert_eq!(tried(TRIES + 1), (TRIES, false));
    }
}
