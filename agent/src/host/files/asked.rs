//! What a look asked of a host's files, so that it can be asked again without reading them. It is
//! taken down where it is asked, by `Dir`, and not listed a second time by hand: what somebody will
//! look at one day is in it by itself.
//!
//! The answers are one digest: of each directory and entry what it is and whose; of each file that
//! was read and each directory that was listed also when it was last changed. That is told by
//! `ctime`, which nobody sets, so two things are asked of it: nothing may be younger than a while
//! when the look began ([`GRAIN`]), since what changes within one tick of the clock changes no
//! time; and the clock must not have been set between two times of asking, which is for whoever
//! asks to know. What a mapping of a file writes into a page that is dirty already changes no time
//! until it is written back: for that there are the looks that read everything.

use std::{
    collections::BTreeMap,
    sync::{Mutex, PoisonError},
};

use muster_proto::{crypto::sha256, id::Digest, time::Timestamp};
use nix::sys::stat::FileStat;

use super::{Dir, FileError, split};

/// Seconds: what is younger than this when a look begins may change again and show nothing of it.
pub const GRAIN: u64 = 2;

/// What was asked, by directory.
#[derive(Debug, Default)]
pub struct Asked {
    /// The path of the directory from which all paths count.
    base: String,
    seen: Mutex<Seen>,
}

#[derive(Debug, Default)]
struct Seen {
    directories: BTreeMap<String, Entries>,
    /// Whether something was asked that cannot be asked again.
    beyond: bool,
}

/// What was asked of one directory: the names of entries, each after a sign for how it was looked at
/// and before a NUL, which no name has.
#[derive(Clone, Debug, Default)]
struct Entries {
    names: String,
    listed: bool,
}

/// How an entry was looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Look {
    /// What it is and whose.
    Kind,
    /// What is in it.
    Content,
}

/// What answers whoever asks.
#[derive(Debug, PartialEq, Eq)]
pub struct Answers {
    /// All of them.
    pub digest: Digest,
    /// When what is the youngest was last changed.
    pub youngest: u64,
}

impl Look {
    const fn sign(self) -> char {
        match self {
            Self::Kind => 'k',
            Self::Content => 'c',
        }
    }
}

impl Asked {
    pub(super) fn below(base: &str) -> Self {
        Self { base: base.to_owned(), ..Self::default() }
    }

    /// Takes down that a directory was opened, or that it was tried to.
    pub(super) fn opened(&self, path: &str) {
        self.of(path, |_| ());
    }

    /// Takes down that a directory was listed.
    pub(super) fn listed(&self, path: &str) {
        self.of(path, |entries| entries.listed = true);
    }

    /// Takes down how an entry of a directory was looked at.
    pub(super) fn entry(&self, path: &str, name: &str, look: Look) {
        self.of(path, |entries| {
            entries.names.push(look.sign());
            entries.names.push_str(name);
            entries.names.push('\0');
        });
    }

    /// Takes down that something was asked that cannot be asked again.
    pub fn beyond(&self) {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner).beyond = true;
    }

    fn of(&self, path: &str, note: impl FnOnce(&mut Entries)) {
        let path = path.strip_prefix(&self.base).unwrap_or(path).trim_start_matches('/');
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        match seen.directories.get_mut(path) {
            Some(entries) => note(entries),
            None => note(seen.directories.entry(path.to_owned()).or_default()),
        }
    }

    /// Asks all of it again; nothing if that is not possible, or something cannot be looked at now.
    pub fn again(&self, root: &Dir) -> Option<Answers> {
        let seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        if seen.beyond {
            return None;
        }
        let mut said = Said::default();
        // Whichever contain the one that is asked, outermost first.
        let mut open: Vec<(&str, Dir)> = Vec::new();
        for (path, entries) in &seen.directories {
            let (parent, name) = split(path);
            while open.last().is_some_and(|(last, _)| *last != parent) {
                open.pop();
            }
            let found = match open.last() {
                Some((_, dir)) => dir.walk(name),
                None => root.walk(path),
            };
            match found {
                Ok(None) => said.absent(),
                Ok(Some(dir)) => {
                    said.directory(&dir, entries).ok()?;
                    open.push((path, dir));
                }
                // A link, say, which is passed over as long as it is one.
                Err(FileError::System { source, .. }) => said.refused(source as i32),
                Err(_) => return None,
            }
        }
        Some(Answers { digest: sha256(&[&said.bytes]), youngest: said.youngest })
    }
}

impl Answers {
    /// Says whether all of it was old enough when a look began, so that whatever has changed since
    /// shows.
    pub fn had_settled(&self, began: Timestamp) -> bool {
        self.youngest.saturating_add(GRAIN) < began.0
    }
}

/// The answers as they come in.
#[derive(Default)]
struct Said {
    bytes: Vec<u8>,
    youngest: u64,
}

impl Said {
    fn directory(&mut self, dir: &Dir, entries: &Entries) -> Result<(), FileError> {
        let found = dir.stat_self()?;
        self.kind(&found);
        if entries.listed {
            self.times(&found);
        }
        for asked in entries.names.split_terminator('\0') {
            let Some(name) = asked.get(1..) else { continue };
            match dir.stat(name)? {
                None => self.absent(),
                Some(found) => {
                    self.kind(&found);
                    if asked.starts_with(Look::Content.sign()) {
                        self.times(&found);
                    }
                }
            }
        }
        Ok(())
    }

    fn absent(&mut self) {
        self.bytes.push(0);
    }

    fn refused(&mut self, error: i32) {
        self.bytes.push(1);
        self.bytes.extend(error.to_ne_bytes());
    }

    /// What `Dir::stat` lets be known. A home's size and times change all day and say nothing of
    /// whose it is, but a young one may just have been given away.
    fn kind(&mut self, found: &FileStat) {
        self.bytes.push(2);
        self.bytes.extend(found.st_dev.to_ne_bytes());
        self.bytes.extend(found.st_ino.to_ne_bytes());
        self.bytes.extend(found.st_mode.to_ne_bytes());
        self.bytes.extend(found.st_uid.to_ne_bytes());
        self.bytes.extend(found.st_gid.to_ne_bytes());
        self.youngest = self.youngest.max(u64::try_from(found.st_ctime).unwrap_or(u64::MAX));
    }

    fn times(&mut self, found: &FileStat) {
        self.bytes.push(3);
        self.bytes.extend(found.st_nlink.to_ne_bytes());
        self.bytes.extend(found.st_size.to_ne_bytes());
        for part in [found.st_mtime, found.st_mtime_nsec, found.st_ctime, found.st_ctime_nsec] {
            self.bytes.extend(part.to_ne_bytes());
        }
    }
}

#[cfg(test)]
mod tests;
