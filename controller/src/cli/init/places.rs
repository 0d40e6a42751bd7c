//! The places that a fleet is made in. All of them are looked at before the first is written, and
//! what was made is taken away again when a later step fails, so that a second try begins where the
//! first did.

use std::{
    collections::BTreeSet,
    fs::{self, Metadata, Permissions},
    io,
    os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt, chown},
    path::{Path, PathBuf},
};

use anyhow::{Context, Result};

use super::super::{hint, usage};

/// Where everything of a fleet goes.
#[derive(Debug)]
pub(super) struct Places {
    pub(super) data: PathBuf,
    pub(super) config: PathBuf,
    pub(super) store: PathBuf,
    pub(super) approver: PathBuf,
    pub(super) recovery: PathBuf,
}

/// Something that was made, and how it is taken away again.
#[derive(Debug)]
enum Piece {
    /// A file.
    File(PathBuf),
    /// A directory that was not there: it goes with all that is in it.
    Tree(PathBuf),
    /// A directory above one of the others that was not there: it goes if nothing else is in it.
    Above(PathBuf),
    /// A directory that was there, empty and with this owner and mode.
    Inside(PathBuf, Metadata),
}

/// What was made so far.
#[derive(Debug, Default)]
pub(super) struct Made(Vec<Piece>);

const CURE: &str = "nothing is overwritten: move it away, or name another place";

impl Places {
    /// Refuses to begin where anything is already, or where two things would be in one place.
    pub(super) fn check_free(&self) -> Result<()> {
        let beside = |key: &Path, end: &str| PathBuf::from(format!("{}{end}", key.display()));
        let mut files = vec![self.config.clone()];
        for key in [&self.approver, &self.recovery] {
            files.extend(["", ".pub", ".askpass"].map(|end| beside(key, end)));
        }
        let mut all: BTreeSet<&Path> = files.iter().map(PathBuf::as_path).collect();
        all.extend([self.data.as_path(), &self.store]);
        if all.len() < files.len() + 2 {
            let what = anyhow::anyhow!(
                "the data, the configuration, your store and the two keys need a place each"
            );
            return Err(hint(usage(what), "name another place for one of them"));
        }
        for directory in [&self.data, &self.store] {
            match fs::read_dir(directory).map(|mut entries| entries.next().is_none()) {
                Ok(true) => {}
                Ok(false) => {
                    let what =
                        anyhow::anyhow!("the directory `{}` is not empty", directory.display());
                    return Err(hint(what, CURE));
                }
                Err(cause) if cause.kind() == io::ErrorKind::NotFound => {}
                Err(cause) => {
                    let what = format!("cannot look into `{}`", directory.display());
                    return Err(hint(anyhow::Error::from(cause).context(what), CURE));
                }
            }
        }
        for path in &files {
            match fs::symlink_metadata(path) {
                Err(cause) if cause.kind() == io::ErrorKind::NotFound => {}
                Ok(_) => {
                    let what = anyhow::anyhow!("`{}` is there already", path.display());
                    return Err(hint(what, CURE));
                }
                Err(cause) => {
                    let what = format!("cannot look at `{}`", path.display());
                    return Err(hint(anyhow::Error::from(cause).context(what), CURE));
                }
            }
        }
        Ok(())
    }
}

impl Made {
    /// Makes the directory that a file will be in, with this mode.
    pub(super) fn parent_of(&mut self, path: &Path, mode: u32) -> Result<()> {
        let parent = path.parent().unwrap_or(Path::new("/"));
        self.above(path);
        make(parent, mode)
    }

    /// Notes a file that is about to be made.
    pub(super) fn file(&mut self, path: &Path) {
        self.0.push(Piece::File(path.to_owned()));
    }

    /// Notes a pair of keys that is about to be made, with what a stop on the way may leave.
    pub(super) fn keys(&mut self, key: &Path) {
        self.file(key);
        self.file(&PathBuf::from(format!("{}.pub", key.display())));
        self.0.push(Piece::Tree(PathBuf::from(format!("{}.askpass", key.display()))));
    }

    /// Makes a directory that nobody else can read; one that is there is empty.
    pub(super) fn directory(&mut self, path: &Path) -> Result<()> {
        match fs::metadata(path) {
            Ok(was) => self.0.push(Piece::Inside(path.to_owned(), was)),
            Err(cause) if cause.kind() == io::ErrorKind::NotFound => {
                self.above(path);
                self.0.push(Piece::Tree(path.to_owned()));
            }
            Err(cause) => {
                return Err(cause).with_context(|| format!("cannot look at `{}`", path.display()));
            }
        }
        make(path, 0o700)
    }

    fn above(&mut self, path: &Path) {
        let missing = path.ancestors().skip(1).take_while(|above| !above.exists());
        let mut missing: Vec<Piece> = missing.map(|above| Piece::Above(above.to_owned())).collect();
        missing.reverse();
        self.0.extend(missing);
    }

    /// Takes away what was made, the last first; returns what is still there, each with the reason.
    pub(super) fn take_away(self) -> Vec<String> {
        let left = |(path, cause): (PathBuf, io::Error)| format!("`{}`: {cause}", path.display());
        let pieces = self.0.into_iter().rev();
        pieces.filter_map(|piece| piece.take_away().err()).map(left).collect()
    }
}

impl Piece {
    fn take_away(self) -> Result<(), (PathBuf, io::Error)> {
        let (path, done) = match self {
            Self::File(path) => {
                let done = fs::remove_file(&path);
                (path, done)
            }
            Self::Tree(path) => {
                let done = fs::remove_dir_all(&path);
                (path, done)
            }
            Self::Above(path) => {
                let done = match fs::remove_dir(&path) {
                    // Somebody else has put something there meanwhile.
                    Err(cause) if cause.kind() == io::ErrorKind::DirectoryNotEmpty => Ok(()),
                    done => done,
                };
                (path, done)
            }
            Self::Inside(path, was) => {
                let done = empty(&path, &was);
                (path, done)
            }
        };
        match done {
            Err(cause) if cause.kind() != io::ErrorKind::NotFound => Err((path, cause)),
            _ => Ok(()),
        }
    }
}

fn empty(directory: &Path, was: &Metadata) -> io::Result<()> {
    for entry in fs::read_dir(directory)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            fs::remove_dir_all(entry.path())?;
        } else {
            fs::remove_file(entry.path())?;
        }
    }
    chown(directory, Some(was.uid()), Some(was.gid()))?;
    fs::set_permissions(directory, Permissions::from_mode(was.mode() & 0o7777))
}

fn make(path: &Path, mode: u32) -> Result<()> {
    fs::DirBuilder::new()
        .recursive(true)
        .mode(mode)
        .create(path)
        .with_context(|| format!("cannot make `{}`", path.display()))
}
