//! Directories and files by descriptor. No component of a path is ever followed through a link, new
//! content gets a random name with `O_EXCL`, its owner and mode before its real name, and the real
//! name by rename. `Faults` stops all of this at a chosen point, as a crash would.

use std::{
    ffi::{OsStr, OsString},
    fs::File,
    hash::{BuildHasher, Hasher, RandomState},
    io::{Read, Write},
    os::{
        fd::{AsFd, BorrowedFd, OwnedFd},
        unix::ffi::OsStrExt,
    },
    path::Path,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
};

use nix::{
    errno::Errno,
    fcntl::{self, AtFlags, OFlag},
    sys::stat::{self, FileStat, Mode, SFlag},
    unistd::{self, Gid, LinkatFlags, Uid, UnlinkatFlags},
};

/// What the names of unfinished files begin with.
pub const LEFTOVER: &str = ".muster-";
const MOST_BYTES: i64 = 64 << 20;

/// A directory that was opened without following links.
#[derive(Clone, Debug)]
pub struct Dir {
    fd: Arc<OwnedFd>,
    path: String,
    faults: Arc<Faults>,
}

/// A file under a name that nobody reads.
#[derive(Debug)]
pub struct Temp {
    /// The name, in its directory.
    pub name: String,
    /// The file.
    pub file: File,
}

/// Who a file belongs to, and who may do what.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Looks {
    /// The owner.
    pub uid: u32,
    /// The Unix group.
    pub gid: u32,
    /// The mode's lower twelve bits.
    pub mode: u32,
}

/// Why an operation failed.
#[derive(Debug, thiserror::Error)]
pub enum FileError {
    /// The kernel said no.
    #[error("cannot {doing} `{path}`")]
    System {
        /// What was being done.
        doing: &'static str,
        /// To what.
        path: String,
        /// Why not.
        #[source]
        source: Errno,
    },
    /// It is not what root may rely on.
    #[error("`{path}` is {problem}")]
    Unsafe {
        /// What.
        path: String,
        /// Why.
        problem: &'static str,
    },
    /// A fault was asked for.
    #[error("stopped at a fault")]
    Stopped,
}

/// Says before and after each step whether to stop there.
type Hook = Box<dyn FnMut(&str) -> bool + Send>;

/// A fault that happens at a chosen point; from then on nothing is done any more.
pub struct Faults {
    hook: Mutex<Option<Hook>>,
    stopped: AtomicBool,
}

impl std::fmt::Debug for Faults {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Faults")
    }
}

impl Faults {
    /// Nothing ever stops.
    pub fn none() -> Self {
        Self { hook: Mutex::new(None), stopped: AtomicBool::new(false) }
    }

    /// Stops where the hook says so.
    pub fn at(hook: impl FnMut(&str) -> bool + Send + 'static) -> Self {
        Self { hook: Mutex::new(Some(Box::new(hook))), stopped: AtomicBool::new(false) }
    }

    /// Says whether it has happened.
    pub fn stopped(&self) -> bool {
        self.stopped.load(Ordering::Relaxed)
    }

    fn pass(&self, point: &str) -> Result<(), FileError> {
        if self.stopped() {
            return Err(FileError::Stopped);
        }
        if let Ok(mut hook) = self.hook.lock()
            && hook.as_mut().is_some_and(|hook| hook(point))
        {
            self.stopped.store(true, Ordering::Relaxed);
            return Err(FileError::Stopped);
        }
        Ok(())
    }
}

impl Dir {
    /// Opens a root.
    pub fn open(path: &Path, faults: Arc<Faults>) -> Result<Self, FileError> {
        let shown = path.display().to_string();
        let fd = fcntl::open(path, OFlag::O_DIRECTORY | OFlag::O_CLOEXEC, Mode::empty())
            .map_err(|source| system("open", shown.clone(), source))?;
        let path = if shown == "/" { String::new() } else { shown };
        Ok(Self { fd: Arc::new(fd), path, faults })
    }

    /// Opens a directory below, component by component and through no link; nothing if one of them
    /// is missing.
    pub fn walk(&self, path: &str) -> Result<Option<Self>, FileError> {
        let mut dir = self.clone();
        for part in path.split('/').filter(|part| !part.is_empty()) {
            let flags = OFlag::O_DIRECTORY | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
            let shown = dir.show(part);
            match fcntl::openat(&*dir.fd, part, flags, Mode::empty()) {
                Ok(fd) => dir = Self { fd: Arc::new(fd), path: shown, faults: dir.faults },
                Err(Errno::ENOENT) => return Ok(None),
                Err(source) => return Err(system("open", shown, source)),
            }
        }
        Ok(Some(dir))
    }

    /// Opens a directory below that must be there.
    pub fn need(&self, path: &str) -> Result<Self, FileError> {
        let missing = || system("open", self.show(path), Errno::ENOENT);
        self.walk(path)?.ok_or_else(missing)
    }

    /// Refuses a directory into which somebody other than root can write.
    pub fn require_rooted(&self) -> Result<(), FileError> {
        let found = self.stat_self()?;
        let problem = if found.st_uid != 0 {
            "not root's"
        } else if found.st_mode & 0o022 != 0 {
            "writable for others"
        } else {
            return Ok(());
        };
        Err(FileError::Unsafe { path: self.path.clone(), problem })
    }

    /// Looks at the directory itself.
    pub fn stat_self(&self) -> Result<FileStat, FileError> {
        stat::fstat(&*self.fd).map_err(|source| system("look at", self.path.clone(), source))
    }

    /// Looks at an entry, not through it.
    pub fn stat(&self, name: impl AsRef<OsStr>) -> Result<Option<FileStat>, FileError> {
        let name = name.as_ref();
        match stat::fstatat(&*self.fd, name, AtFlags::AT_SYMLINK_NOFOLLOW) {
            Ok(found) => Ok(Some(found)),
            Err(Errno::ENOENT) => Ok(None),
            Err(source) => Err(system("look at", self.show(&name.to_string_lossy()), source)),
        }
    }

    /// Reads a regular file, not through a link; nothing if it is missing.
    pub fn read(&self, name: &str) -> Result<Option<(Vec<u8>, FileStat)>, FileError> {
        let Some(file) = self.open_file(name)? else { return Ok(None) };
        let found =
            stat::fstat(&file).map_err(|source| system("look at", self.show(name), source))?;
        let problem = if !is_regular(&found) {
            Some("not a regular file")
        } else if found.st_size > MOST_BYTES {
            Some("larger than 64 MiB")
        } else {
            None
        };
        if let Some(problem) = problem {
            return Err(FileError::Unsafe { path: self.show(name), problem });
        }
        let size = usize::try_from(found.st_size).unwrap_or_default();
        // Room for more than the size says finds a file that has grown; /proc says 0 and has some.
        let mut bytes = vec![0; if size == 0 { 4_096 } else { size + 1 }];
        let mut filled = 0;
        while let Some(rest) = bytes.get_mut(filled..).filter(|rest| !rest.is_empty()) {
            match (&file).read(rest) {
                Ok(0) => break,
                Ok(count) => filled += count,
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
                Err(error) => return Err(self.failed("read", name, &error)),
            }
            // All that the size says, with room left: a second read would say the same.
            if filled == size {
                break;
            }
            if filled == bytes.len() {
                bytes.resize(bytes.len() * 2 + 4_096, 0);
            }
        }
        bytes.truncate(filled);
        Ok(Some((bytes, found)))
    }

    pub(super) fn open_file(&self, name: &str) -> Result<Option<File>, FileError> {
        let flags = OFlag::O_RDONLY | OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK | OFlag::O_CLOEXEC;
        match fcntl::openat(&*self.fd, name, flags, Mode::empty()) {
            Ok(fd) => Ok(Some(File::from(fd))),
            Err(Errno::ENOENT) => Ok(None),
            Err(Errno::ELOOP) => {
                Err(FileError::Unsafe { path: self.show(name), problem: "a symbolic link" })
            }
            Err(source) => Err(system("open", self.show(name), source)),
        }
    }

    /// Returns the names of the entries, sorted; those that are not text are left out.
    pub fn names(&self) -> Result<Vec<String>, FileError> {
        self.first_names(usize::MAX)
    }

    /// Returns no more than so many names, whichever come first.
    pub fn first_names(&self, most: usize) -> Result<Vec<String>, FileError> {
        let text = self.first_entries(most)?.into_iter().map(OsString::into_string);
        let mut names: Vec<String> = text.filter_map(Result::ok).collect();
        names.sort();
        Ok(names)
    }

    /// Returns no more than so many names, whatever bytes they are of.
    pub fn first_entries(&self, most: usize) -> Result<Vec<OsString>, FileError> {
        let failed = |source| system("list", self.path.clone(), source);
        // A descriptor of its own, since a listing moves the offset.
        let flags = OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
        let mut dir =
            nix::dir::Dir::openat(&*self.fd, ".", flags, Mode::empty()).map_err(failed)?;
        let mut names = Vec::new();
        for entry in dir.iter() {
            if names.len() >= most {
                break;
            }
            let entry = entry.map_err(failed)?;
            let name = entry.file_name().to_bytes();
            if !matches!(name, b"." | b"..") {
                names.push(os(name).to_owned());
            }
        }
        Ok(names)
    }

    /// Writes a file under a random name, with its owner and mode.
    pub fn write_temp(&self, name: &str, looks: Looks, bytes: &[u8]) -> Result<Temp, FileError> {
        let temp = format!("{LEFTOVER}{name}.{}", random());
        let mut file = self.create(&temp)?;
        let written = file.write_all(bytes).map_err(|error| self.failed("write", &temp, &error));
        let done = written.and_then(|()| set_looks(&file, looks, || self.show(&temp)));
        match done {
            Ok(()) => Ok(Temp { name: temp, file }),
            Err(error) => {
                // The first error is the one that matters.
                let _ = self.remove(&temp);
                Err(error)
            }
        }
    }

    /// Writes a file under its own name, in a directory that nobody else sees.
    pub fn write_new(&self, name: &OsStr, looks: Looks, bytes: &[u8]) -> Result<(), FileError> {
        let shown = name.to_string_lossy();
        let mut file = self.create(name)?;
        file.write_all(bytes).map_err(|error| self.failed("write", &shown, &error))?;
        set_looks(&file, looks, || self.show(&shown))
    }

    /// Writes to a file of the kernel's.
    pub fn write_control(&self, name: &str, bytes: &[u8]) -> Result<(), FileError> {
        self.faults.pass("control")?;
        let flags = OFlag::O_WRONLY | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
        let fd = fcntl::openat(&*self.fd, name, flags, Mode::empty())
            .map_err(|source| system("open", self.show(name), source))?;
        unistd::write(&fd, bytes)
            .map(drop)
            .map_err(|source| system("write", self.show(name), source))
    }

    fn create(&self, name: impl AsRef<OsStr>) -> Result<File, FileError> {
        let name = name.as_ref();
        self.faults.pass("create")?;
        let flags =
            OFlag::O_WRONLY | OFlag::O_CREAT | OFlag::O_EXCL | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
        fcntl::openat(&*self.fd, name, flags, Mode::from_bits_truncate(0o600))
            .map(File::from)
            .map_err(|source| system("create", self.show(&name.to_string_lossy()), source))
    }

    /// Makes a directory that is root's alone and opens it.
    pub fn make(&self, name: impl AsRef<OsStr>, mode: u32) -> Result<Self, FileError> {
        let name = name.as_ref();
        self.faults.pass("make")?;
        let shown = self.show(&name.to_string_lossy());
        stat::mkdirat(&*self.fd, name, Mode::from_bits_truncate(mode))
            .map_err(|source| system("make", shown.clone(), source))?;
        let flags = OFlag::O_DIRECTORY | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
        let fd = fcntl::openat(&*self.fd, name, flags, Mode::empty())
            .map_err(|source| system("open", shown.clone(), source))?;
        Ok(Self { fd: Arc::new(fd), path: shown, faults: Arc::clone(&self.faults) })
    }

    /// Makes a symbolic link.
    pub fn link_symbolic(
        &self,
        name: &OsStr,
        target: &OsStr,
        looks: Looks,
    ) -> Result<(), FileError> {
        let failed = |source| system("link", self.show(&name.to_string_lossy()), source);
        unistd::symlinkat(target, &*self.fd, name).map_err(failed)?;
        let (uid, gid) = (Uid::from_raw(looks.uid), Gid::from_raw(looks.gid));
        unistd::fchownat(&*self.fd, name, Some(uid), Some(gid), AtFlags::AT_SYMLINK_NOFOLLOW)
            .map_err(failed)
    }

    /// Makes a second name for a file.
    pub fn link(&self, from: &str, to: &str) -> Result<(), FileError> {
        self.faults.pass("link")?;
        unistd::linkat(&*self.fd, from, &*self.fd, to, LinkatFlags::empty())
            .map_err(|source| system("link", self.show(to), source))
    }

    /// Gives an entry another name, here or in another directory of the same file system.
    pub fn rename(
        &self,
        from: impl AsRef<OsStr>,
        to_dir: &Self,
        to: &str,
    ) -> Result<(), FileError> {
        self.faults.pass(&format!("before {to}"))?;
        fcntl::renameat(&*self.fd, from.as_ref(), &*to_dir.fd, to)
            .map_err(|source| system("rename", to_dir.show(to), source))?;
        self.faults.pass(&format!("after {to}"))
    }

    /// Makes a file what it was before: with this text, or not there. Durable once the directory is
    /// synced.
    pub fn put_back(
        &self,
        name: &str,
        looks: Looks,
        before: Option<&[u8]>,
    ) -> Result<(), FileError> {
        let Some(text) = before else { return self.remove(name) };
        let temp = self.write_temp(name, looks, text)?;
        self.rename(&temp.name, self, name)
    }

    /// Removes a file; one that is missing is fine.
    pub fn remove(&self, name: impl AsRef<OsStr>) -> Result<(), FileError> {
        let name = name.as_ref();
        let shown = name.to_string_lossy();
        self.faults.pass(&format!("remove {shown}"))?;
        match unistd::unlinkat(&*self.fd, name, UnlinkatFlags::NoRemoveDir) {
            Ok(()) | Err(Errno::ENOENT) => Ok(()),
            Err(source) => Err(system("remove", self.show(&shown), source)),
        }
    }

    /// Removes a directory in which nothing is left.
    pub fn remove_empty(&self, name: &OsStr) -> Result<(), FileError> {
        self.faults.pass("remove tree")?;
        unistd::unlinkat(&*self.fd, name, UnlinkatFlags::RemoveDir)
            .map_err(|source| system("remove", self.show(&name.to_string_lossy()), source))
    }

    /// Opens a directory in here, whatever its name, and through no link.
    pub fn enter(&self, name: &OsStr) -> Result<Self, FileError> {
        let flags = OFlag::O_DIRECTORY | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
        let path = self.show(&name.to_string_lossy());
        let fd = fcntl::openat(&*self.fd, name, flags, Mode::empty())
            .map_err(|source| system("open", path.clone(), source))?;
        Ok(Self { fd: Arc::new(fd), path, faults: Arc::clone(&self.faults) })
    }

    /// Removes a directory and all below, through no link.
    pub fn remove_tree(&self, name: &str) -> Result<(), FileError> {
        let Some(dir) = self.walk(name)? else { return Ok(()) };
        for entry in dir.names()? {
            let found = dir.stat(&entry)?;
            let below = found.as_ref().is_some_and(is_directory);
            if below { dir.remove_tree(&entry)? } else { dir.remove(&entry)? }
        }
        self.remove_empty(name.as_ref())
    }

    /// Removes what an earlier life left unfinished here.
    pub fn remove_leftovers(&self) -> Result<(), FileError> {
        for name in self.names()?.iter().filter(|name| name.starts_with(LEFTOVER)) {
            let found = self.stat(name)?;
            if found.is_some_and(|found| found.st_uid == 0 && is_regular(&found)) {
                self.remove(name)?;
            }
        }
        Ok(())
    }

    /// Makes the names in here durable.
    pub fn sync(&self) -> Result<(), FileError> {
        self.faults.pass("sync")?;
        unistd::fsync(&*self.fd).map_err(|source| system("sync", self.path.clone(), source))
    }

    /// Gives the directory itself to somebody.
    pub fn set_looks(&self, looks: Looks) -> Result<(), FileError> {
        set_looks(&*self.fd, looks, || self.path.clone())
    }

    /// Returns the path, for people.
    pub fn show(&self, name: &str) -> String {
        format!("{}/{}", self.path, name.trim_start_matches('/'))
    }

    fn failed(&self, doing: &'static str, name: &str, error: &std::io::Error) -> FileError {
        let source = error.raw_os_error().map_or(Errno::EIO, Errno::from_raw);
        system(doing, self.show(name), source)
    }
}

impl AsFd for Dir {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

/// Makes everything durable that was written on the file systems of these directories: one call
/// for each file system, however many files.
pub fn sync_file_systems(dirs: &[Dir]) -> Result<(), FileError> {
    let mut synced: Vec<u64> = Vec::new();
    for dir in dirs {
        let device = dir.stat_self()?.st_dev;
        if !synced.contains(&device) {
            dir.faults.pass("sync")?;
            unistd::syncfs(&*dir.fd).map_err(|source| system("sync", dir.path.clone(), source))?;
            synced.push(device);
        }
    }
    Ok(())
}

/// Says whether this is a file with content of its own.
pub fn is_regular(found: &FileStat) -> bool {
    found.st_mode & SFlag::S_IFMT.bits() == SFlag::S_IFREG.bits()
}

/// Says whether this is a directory and no link to one.
pub fn is_directory(found: &FileStat) -> bool {
    found.st_mode & SFlag::S_IFMT.bits() == SFlag::S_IFDIR.bits()
}

/// Says whether what was looked at is a symbolic link.
pub fn is_link(found: &FileStat) -> bool {
    found.st_mode & SFlag::S_IFMT.bits() == SFlag::S_IFLNK.bits()
}

/// Returns sixteen hexadecimal digits that nobody can guess.
pub fn random() -> String {
    format!("{:016x}", RandomState::new().build_hasher().finish())
}

/// Splits an absolute path into its directory and its last name.
pub fn split(path: &str) -> (&str, &str) {
    path.rsplit_once('/').unwrap_or(("", path))
}

/// Takes bytes for a name.
pub fn os(bytes: &[u8]) -> &OsStr {
    OsStr::from_bytes(bytes)
}

fn set_looks<Fd: AsFd>(fd: Fd, looks: Looks, path: impl Fn() -> String) -> Result<(), FileError> {
    let (uid, gid) = (Uid::from_raw(looks.uid), Gid::from_raw(looks.gid));
    unistd::fchown(&fd, Some(uid), Some(gid)).map_err(|source| system("chown", path(), source))?;
    stat::fchmod(&fd, Mode::from_bits_truncate(looks.mode))
        .map_err(|source| system("chmod", path(), source))
}

fn system(doing: &'static str, path: String, source: Errno) -> FileError {
    FileError::System { doing, path, source }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_read_whole_up_to_the_bound_and_not_at_all_beyond() {
        let folder = tempfile::tempdir_in("/dev/shm").unwrap();
        let dir = Dir::open(folder.path(), Arc::new(Faults::none())).unwrap();
        let most = u64::try_from(MOST_BYTES).unwrap();
        File::create(folder.path().join("most")).unwrap().set_len(most).unwrap();
        File::create(folder.path().join("more")).unwrap().set_len(most + 1).unwrap();
        let (bytes, _) = dir.read("most").unwrap().unwrap();
        assert_eq!(u64::try_from(bytes.len()), Ok(most));
        let more = dir.read("more");
        assert!(matches!(more, Err(FileError::Unsafe { .. })), "{more:?}");
    }
}
