//! Files of root's in one directory: new ones are staged under names that nobody reads, installed
//! by rename, old ones removed, and the directory synced once. Removing needs no staging, so it
//! works even where nothing could be written.

use std::collections::BTreeMap;

use crate::plan::Files;

use super::{
    Report, chain,
    files::{Dir, FileError, Looks},
};

/// Files that are written but not yet seen.
#[derive(Debug)]
pub(super) struct Staged {
    dir: Result<Dir, String>,
    temps: Result<BTreeMap<String, String>, String>,
    refused: BTreeMap<String, String>,
}

impl Staged {
    /// Writes the files of a directory.
    pub(super) fn write(dir: Result<Dir, FileError>, files: &Files, looks: Looks) -> Self {
        let dir = dir.and_then(|dir| dir.require_rooted().map(|()| dir));
        let dir = dir.map_err(|error| chain(&error));
        let mut temps = Ok(BTreeMap::new());
        if let Ok(dir) = &dir {
            for (name, text) in &files.write {
                match (dir.write_temp(name, looks, text.as_bytes()), &mut temps) {
                    (Ok(temp), Ok(temps)) => {
                        temps.insert(name.clone(), temp.name);
                    }
                    (Ok(_), Err(_)) => {}
                    (Err(error), _) => {
                        discard(dir, &temps);
                        temps = Err(chain(&error));
                        break;
                    }
                }
            }
        }
        Self { dir, temps, refused: BTreeMap::new() }
    }

    pub(super) fn place(&self) -> Option<&Dir> {
        self.dir.as_ref().ok()
    }

    /// Makes the installation of what was written fail.
    pub(super) fn spoil(&mut self, reason: &str) {
        let temps = std::mem::replace(&mut self.temps, Err(reason.to_owned()));
        if let Ok(dir) = &self.dir {
            discard(dir, &temps);
        }
    }

    /// Leaves one of the files as it is, and installs the others.
    pub(super) fn refuse(&mut self, name: &str, reason: String) {
        if let (Ok(dir), Ok(temps)) = (&self.dir, &mut self.temps)
            && let Some(temp) = temps.remove(name)
        {
            // What stays is removed at the next start.
            let _ = dir.remove(&temp);
            self.refused.insert(name.to_owned(), reason);
        }
    }

    /// Returns the files that are left as they are, each with the reason.
    pub(super) fn refused(&self) -> &BTreeMap<String, String> {
        &self.refused
    }

    /// Removes first, then installs; what goes must not wait for what comes.
    pub(super) fn install(self, files: &Files) -> Report {
        let dir = match self.dir {
            Ok(dir) => dir,
            Err(reason) => return Report::failed(reason),
        };
        let install = || -> Result<(), FileError> {
            for name in &files.remove {
                dir.remove(name)?;
            }
            for (name, temp) in self.temps.iter().flatten() {
                dir.rename(temp, &dir, name)?;
            }
            dir.sync()
        };
        match (install(), &self.temps) {
            (Ok(()), Ok(_)) => Report::default(),
            (Ok(()), Err(reason)) => Report::failed(reason),
            (Err(error), temps) => {
                discard(&dir, temps);
                Report::failed(chain(&error))
            }
        }
    }

    pub(super) fn discard(self) {
        if let Ok(dir) = &self.dir {
            discard(dir, &self.temps);
        }
    }
}

fn discard(dir: &Dir, temps: &Result<BTreeMap<String, String>, String>) {
    for temp in temps.iter().flatten().map(|(_, temp)| temp) {
        // What stays is removed at the next start.
        let _ = dir.remove(temp);
    }
}
