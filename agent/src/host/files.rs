//! Directories and files by descriptor. No component of a path is ever followed through a link, new
//! content gets a random name with `O_EXCL`, its owner and mode before its real name, and the real
//! name by rename. `Faults` stops all of this at a chosen point, as a crash would.

mod asked;
mod faults;
mod write;

use std::{
    ffi::{OsStr, OsString},
    fs::File,
    hash::{BuildHasher, Hasher, RandomState},
    io::Read,
    os::{
        fd::{AsFd, BorrowedFd, OwnedFd},
        unix::ffi::OsStrExt,
    },
    path::Path,
    sync::Arc,
};

use nix::{
    errno::Errno,
    fcntl::{self, AtFlags, OFlag},
    sys::stat::{self, FileStat, Mode, SFlag},
};

use self::asked::Look;
pub use self::{
    asked::{Answers, Asked, GRAIN},
    faults::Faults,
    write::sync_file_systems,
};

/// What the names of unfinished files begin with.
pub const LEFTOVER: &str = ".muster-";
pub const MOST_BYTES: i64 = 64 << 20;

/// A directory that was opened without following links.
#[derive(Clone, Debug)]
pub struct Dir {
    fd: Arc<OwnedFd>,
    path: String,
    faults: Arc<Faults>,
    /// Where it is taken down what is asked, if it is.
    asked: Option<Arc<Asked>>,
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

impl Dir {
    /// Opens a root.
    pub fn open(path: &Path, faults: Arc<Faults>) -> Result<Self, FileError> {
        let shown = path.display().to_string();
        let fd = fcntl::open(path, OFlag::O_DIRECTORY | OFlag::O_CLOEXEC, Mode::empty())
            .map_err(|source| system("open", shown.clone(), source))?;
        let path = if shown == "/" { String::new() } else { shown };
        Ok(Self { fd: Arc::new(fd), path, faults, asked: None })
    }

    /// Returns the same directory, where it is taken down whatever is asked of it and of all below.
    pub fn taking_down(&self) -> (Self, Arc<Asked>) {
        let asked = Arc::new(Asked::below(&self.path));
        asked.opened(&self.path);
        (Self { asked: Some(Arc::clone(&asked)), ..self.clone() }, asked)
    }

    /// Opens a directory below, component by component and through no link; nothing if one of them
    /// is missing.
    pub fn walk(&self, path: &str) -> Result<Option<Self>, FileError> {
        let mut dir = self.clone();
        for part in path.split('/').filter(|part| !part.is_empty()) {
            let flags = OFlag::O_DIRECTORY | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
            let shown = dir.show(part);
            if let Some(asked) = &dir.asked {
                asked.opened(&shown);
            }
            match fcntl::openat(&*dir.fd, part, flags, Mode::empty()) {
                Ok(fd) => dir = Self { fd: Arc::new(fd), path: shown, ..dir },
                Err(Errno::ENOENT) => return Ok(None),
                Err(source) => return Err(system("open", shown, source)),
            }
        }
        Ok(Some(dir))
    }

    /// Returns where a link leads, in its own words.
    pub fn link_text(&self, name: &str) -> Option<Vec<u8>> {
        fcntl::readlinkat(&*self.fd, name).ok().map(OsString::into_encoded_bytes)
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

    /// Looks at an entry, not through it. A look at the host may go by what it is and whose, and by
    /// nothing that changes with what is in it.
    pub fn stat(&self, name: impl AsRef<OsStr>) -> Result<Option<FileStat>, FileError> {
        let name = name.as_ref();
        self.take_down(name, Look::Kind);
        match stat::fstatat(&*self.fd, name, AtFlags::AT_SYMLINK_NOFOLLOW) {
            Ok(found) => Ok(Some(found)),
            Err(Errno::ENOENT) => Ok(None),
            Err(source) => Err(system("look at", self.show(&name.to_string_lossy()), source)),
        }
    }

    /// Reads a regular file, not through a link; nothing if it is missing.
    pub fn read(&self, name: &str) -> Result<Option<(Vec<u8>, FileStat)>, FileError> {
        self.read_up_to(name, MOST_BYTES)
    }

    /// Reads a regular file of no more than so many bytes.
    pub fn read_up_to(
        &self,
        name: &str,
        most: i64,
    ) -> Result<Option<(Vec<u8>, FileStat)>, FileError> {
        self.take_down(name.as_ref(), Look::Content);
        let Some(file) = self.open_file(name)? else { return Ok(None) };
        let found =
            stat::fstat(&file).map_err(|source| system("look at", self.show(name), source))?;
        let problem = if !is_regular(&found) {
            Some("not a regular file")
        } else if found.st_size > most {
            Some("too large")
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
        if let Some(asked) = &self.asked {
            asked.listed(&self.path);
        }
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

    /// Opens a directory in here, whatever its name, and through no link.
    pub fn enter(&self, name: &OsStr) -> Result<Self, FileError> {
        let flags = OFlag::O_DIRECTORY | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
        let path = self.show(&name.to_string_lossy());
        match (&self.asked, name.to_str()) {
            (Some(asked), Some(_)) => asked.opened(&path),
            (Some(asked), None) => asked.beyond(),
            (None, _) => {}
        }
        let fd = fcntl::openat(&*self.fd, name, flags, Mode::empty())
            .map_err(|source| system("open", path.clone(), source))?;
        Ok(Self { fd: Arc::new(fd), path, ..self.clone() })
    }

    fn take_down(&self, name: &OsStr, look: Look) {
        match (&self.asked, name.to_str()) {
            (Some(asked), Some(name)) => asked.entry(&self.path, name, look),
            (Some(asked), None) => asked.beyond(),
            (None, _) => {}
        }
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
