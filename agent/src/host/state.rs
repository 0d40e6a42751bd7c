//! The agent's own files: replaced whole and durably, in directories that only root or the courier
//! can write. What is read is all there or an error.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Read, Write},
    os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt, fchown},
    path::{Path, PathBuf},
};

use nix::unistd::{Gid, Uid, chown, geteuid};

/// Where the agent keeps what it must not forget.
pub const DIRECTORY: &str = "/var/lib/muster-agent";

/// Why a state file could not be read or written.
#[derive(Debug, thiserror::Error)]
pub enum StateError {
    /// Reading failed.
    #[error("cannot read `{path}`")]
    Read {
        /// Which file.
        path: PathBuf,
        /// Why.
        #[source]
        cause: io::Error,
    },
    /// Writing failed; the file is as it was.
    #[error("cannot write `{path}`")]
    Write {
        /// Which file.
        path: PathBuf,
        /// Why.
        #[source]
        cause: io::Error,
    },
}

/// The most bytes that a state file may have.
const MAX_STATE: u64 = 256 << 20;

/// Reads a file, or says that it is not there.
pub fn read(path: &Path) -> Result<Option<Vec<u8>>, StateError> {
    let failed = |cause| StateError::Read { path: path.to_owned(), cause };
    // Not blocking, since in the courier's directory it may be a pipe.
    let flags = nix::libc::O_NOFOLLOW | nix::libc::O_NONBLOCK;
    let file = match OpenOptions::new().read(true).custom_flags(flags).open(path) {
        Ok(file) => file,
        Err(cause) if cause.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(cause) => return Err(failed(cause)),
    };
    if !file.metadata().map_err(failed)?.is_file() {
        return Err(failed(io::Error::new(io::ErrorKind::InvalidInput, "it is not a file")));
    }
    whole(file, MAX_STATE).map(Some).map_err(failed)
}

/// Reads a file that is all there, or fails.
fn whole(file: File, most: u64) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    file.take(most + 1).read_to_end(&mut bytes)?;
    if u64::try_from(bytes.len()).is_ok_and(|length| length <= most) {
        return Ok(bytes);
    }
    Err(io::Error::new(io::ErrorKind::FileTooLarge, format!("more than {most} bytes")))
}

/// The most bytes of a text that an administrator writes.
const MAX_TEXT: u64 = 64 << 10;

/// Why a file cannot be taken for root's word.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotRoots {
    /// It is a link, a directory or something else.
    #[error("is not a file")]
    NoFile,
    /// Another account owns it or can write to it.
    #[error("belongs to or can be written by others than root")]
    Others,
    /// It is too long.
    #[error("is longer than 64 KiB")]
    TooLong,
}

/// Reads a text that root alone can have written, if it is one.
pub fn read_text_of_root(path: &Path) -> Result<Result<String, NotRoots>, StateError> {
    let failed = |cause| StateError::Read { path: path.to_owned(), cause };
    // Not blocking, since it may be a pipe.
    let flags = nix::libc::O_NOFOLLOW | nix::libc::O_NONBLOCK;
    let file = match OpenOptions::new().read(true).custom_flags(flags).open(path) {
        Ok(file) => file,
        Err(cause) if cause.raw_os_error() == Some(nix::libc::ELOOP) => {
            return Ok(Err(NotRoots::NoFile));
        }
        Err(cause) => return Err(failed(cause)),
    };
    let found = file.metadata().map_err(failed)?;
    if !found.is_file() {
        return Ok(Err(NotRoots::NoFile));
    }
    // Whoever runs this is root but in tests.
    if found.uid() != geteuid().as_raw() || found.mode() & 0o022 != 0 {
        return Ok(Err(NotRoots::Others));
    }
    match whole(file, MAX_TEXT) {
        Ok(bytes) => Ok(Ok(String::from_utf8_lossy(&bytes).into_owned())),
        Err(cause) if cause.kind() == io::ErrorKind::FileTooLarge => Ok(Err(NotRoots::TooLong)),
        Err(cause) => Err(failed(cause)),
    }
}

/// Reads a text of the system's own; empty if there is none.
pub fn read_text(path: &Path) -> Result<String, StateError> {
    match File::open(path).and_then(|file| whole(file, MAX_TEXT)) {
        Ok(bytes) => Ok(String::from_utf8_lossy(&bytes).into_owned()),
        Err(cause) if cause.kind() == io::ErrorKind::NotFound => Ok(String::new()),
        Err(cause) => Err(StateError::Read { path: path.to_owned(), cause }),
    }
}

/// Reads a text of the system's own, or says that it is not there; through links, as others read it.
pub fn read_system(path: &Path) -> Result<Option<String>, StateError> {
    match File::open(path).and_then(|file| whole(file, MAX_STATE)) {
        Ok(bytes) => Ok(Some(String::from_utf8_lossy(&bytes).into_owned())),
        Err(cause) if cause.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(cause) => Err(StateError::Read { path: path.to_owned(), cause }),
    }
}

/// Replaces a file: written beside it, synced, renamed, the directory synced. It has this mode,
/// whatever the umask.
pub fn replace(path: &Path, bytes: &[u8], mode: u32) -> Result<(), StateError> {
    replace_for(path, bytes, mode, None)
}

/// Replaces a file, which then belongs to this uid and gid. It is given away by its descriptor
/// before it has its name: the directory may be the other account's, which could put a link there.
pub fn replace_for(
    path: &Path,
    bytes: &[u8],
    mode: u32,
    owner: Option<(u32, u32)>,
) -> Result<(), StateError> {
    let failed = |cause| StateError::Write { path: path.to_owned(), cause };
    let parent = path.parent().unwrap_or(Path::new("/"));
    let beside = path.with_extension("new");
    match fs::remove_file(&beside) {
        Err(cause) if cause.kind() != io::ErrorKind::NotFound => return Err(failed(cause)),
        _ => {}
    }
    let write = || -> io::Result<()> {
        let mut file = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(mode)
            .custom_flags(nix::libc::O_NOFOLLOW)
            .open(&beside)?;
        // What a process may not give to others unless it says so, it says here.
        file.set_permissions(fs::Permissions::from_mode(mode))?;
        file.write_all(bytes)?;
        if let Some((uid, gid)) = owner {
            fchown(&file, Some(uid), Some(gid))?;
        }
        file.sync_all()?;
        fs::rename(&beside, path)?;
        File::open(parent)?.sync_all()
    };
    write().map_err(|cause| {
        let _ = fs::remove_file(&beside);
        failed(cause)
    })
}

/// Gives a file of the agent's own to an account; only in directories that root alone can write.
pub fn give(path: &Path, uid: u32, gid: u32) -> io::Result<()> {
    Ok(chown(path, Some(Uid::from_raw(uid)), Some(Gid::from_raw(gid)))?)
}

/// Sets the mode of a file of the agent's own; only in directories that root alone can write.
pub fn allow(path: &Path, mode: u32) -> io::Result<()> {
    fs::set_permissions(path, fs::Permissions::from_mode(mode))
}

/// Removes a file that may be gone already.
pub fn remove(path: &Path) -> Result<(), StateError> {
    match fs::remove_file(path) {
        Err(cause) if cause.kind() != io::ErrorKind::NotFound => {
            Err(StateError::Write { path: path.to_owned(), cause })
        }
        _ => Ok(()),
    }
}

/// Removes the files in a directory, which is made if it is not there.
pub fn remove_files(directory: &Path) -> Result<(), StateError> {
    make_directory(directory, 0o700)?;
    names(directory)?.iter().try_for_each(|name| remove(&directory.join(name)))
}

/// Makes a directory that is for its owner alone, unless it is there.
pub fn make_directory(path: &Path, mode: u32) -> Result<(), StateError> {
    fs::DirBuilder::new()
        .recursive(true)
        .mode(mode)
        .create(path)
        .map_err(|cause| StateError::Write { path: path.to_owned(), cause })
}

/// Returns the names in a directory, in order.
pub fn names(path: &Path) -> Result<Vec<String>, StateError> {
    let failed = |cause| StateError::Read { path: path.to_owned(), cause };
    let mut names = Vec::new();
    for entry in fs::read_dir(path).map_err(failed)? {
        if let Ok(name) = entry.map_err(failed)?.file_name().into_string() {
            names.push(name);
        }
    }
    names.sort();
    Ok(names)
}

/// Returns how many bytes a file has.
pub fn length(path: &Path) -> Result<u64, StateError> {
    let failed = |cause| StateError::Read { path: path.to_owned(), cause };
    Ok(fs::metadata(path).map_err(failed)?.len())
}

/// Returns how long ago a file was written: for ever if that lies ahead, since a clock was wrong.
pub fn age(path: &Path) -> Result<std::time::Duration, StateError> {
    let failed = |cause| StateError::Read { path: path.to_owned(), cause };
    let written = fs::metadata(path).and_then(|found| found.modified()).map_err(failed)?;
    Ok(written.elapsed().unwrap_or(std::time::Duration::MAX))
}

#[cfg(test)]
#[expect(clippy::disallowed_methods, reason = "a test lays files in the way")]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    /// A file that is all holes, so that it takes no room.
    fn sparse(directory: &Path, length: u64) -> PathBuf {
        let path = directory.join(length.to_string());
        replace(&path, b"", 0o600).unwrap();
        OpenOptions::new().write(true).open(&path).unwrap().set_len(length).unwrap();
        path
    }

    #[test]
    fn what_is_no_file_is_not_waited_for() {
        let directory = tempfile::tempdir().unwrap();
        let pipe = directory.path().join("pipe");
        nix::unistd::mkfifo(&pipe, nix::sys::stat::Mode::S_IRWXU).unwrap();
        assert!(matches!(read(&pipe), Err(StateError::Read { .. })));
        assert!(matches!(read(directory.path()), Err(StateError::Read { .. })));
    }

    #[test]
    fn a_state_file_is_read_whole_up_to_its_bound_and_not_in_part_beyond() {
        let directory = tempfile::tempdir_in("/dev/shm").unwrap();
        let read = |length| read(&sparse(directory.path(), length));
        let length = |bytes: Vec<u8>| u64::try_from(bytes.len()).unwrap();
        assert_eq!(length(read(MAX_STATE).unwrap().unwrap()), MAX_STATE);
        assert!(matches!(read(MAX_STATE + 1), Err(StateError::Read { .. })));
    }

    #[test]
    fn a_text_is_read_whole_up_to_its_bound_and_not_in_part_beyond() {
        let directory = tempfile::tempdir().unwrap();
        let (most, more) =
            (sparse(directory.path(), MAX_TEXT), sparse(directory.path(), MAX_TEXT + 1));
        let length = |text: String| u64::try_from(text.len()).unwrap();
        assert_eq!(length(read_text(&most).unwrap()), MAX_TEXT);
        assert!(read_text(&more).is_err());
        assert_eq!(read_text_of_root(&most).unwrap().map(length), Ok(MAX_TEXT));
        assert_eq!(read_text_of_root(&more).unwrap(), Err(NotRoots::TooLong));
    }

    #[test]
    fn a_file_is_given_away_and_what_a_link_in_its_place_names_is_not() {
        let place = tempfile::tempdir().unwrap();
        let (treasure, path) = (place.path().join("treasure"), place.path().join("ca.der"));
        fs::write(&treasure, "root's").unwrap();
        for in_the_way in [&path, &path.with_extension("new")] {
            symlink(&treasure, in_the_way).unwrap();
            replace_for(&path, b"given", 0o600, Some((61_789, 61_790))).unwrap();
            let found = fs::symlink_metadata(&path).unwrap();
            assert!(found.is_file());
            assert_eq!((found.uid(), found.gid(), found.mode() & 0o777), (61_789, 61_790, 0o600));
            assert_eq!(fs::metadata(&treasure).unwrap().uid(), geteuid().as_raw());
            assert_eq!(fs::read_to_string(&treasure).unwrap(), "root's");
        }
    }
}
