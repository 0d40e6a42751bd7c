//! The agent's own files: replaced whole and durably, in directories that only root or the courier
//! can write. What is read is all there or an error.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Read, Write},
    os::unix::fs::{DirBuilderExt, OpenOptionsExt},
    path::{Path, PathBuf},
};

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
    let file = OpenOptions::new().read(true).custom_flags(nix::libc::O_NOFOLLOW).open(path);
    let file = match file {
        Ok(file) => file,
        Err(cause) if cause.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(cause) => return Err(failed(cause)),
    };
    let mut bytes = Vec::new();
    file.take(MAX_STATE).read_to_end(&mut bytes).map_err(failed)?;
    Ok(Some(bytes))
}

/// Replaces a file: written beside it, synced, renamed, the directory synced.
pub fn replace(path: &Path, bytes: &[u8], mode: u32) -> Result<(), StateError> {
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
        file.write_all(bytes)?;
        file.sync_all()?;
        fs::rename(&beside, path)?;
        File::open(parent)?.sync_all()
    };
    write().map_err(|cause| {
        let _ = fs::remove_file(&beside);
        failed(cause)
    })
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

/// Returns how long ago a file was written; none at all if that lies ahead.
pub fn age(path: &Path) -> Result<std::time::Duration, StateError> {
    let failed = |cause| StateError::Read { path: path.to_owned(), cause };
    let written = fs::metadata(path).and_then(|found| found.modified()).map_err(failed)?;
    Ok(written.elapsed().unwrap_or_default())
}
