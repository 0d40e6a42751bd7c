//! New homes: all are built in one directory of root's beside their place, which nobody else can
//! enter, given away by descriptor, made durable at once and renamed into place one by one. Root
//! does nothing by path where a user could write.

use std::{collections::BTreeMap, ffi::OsString};

use nix::fcntl::readlinkat;

use crate::plan::NewHome;

use super::{
    Report, chain,
    files::{Dir, FileError, Looks, is_directory, is_link, is_regular, random, split},
};

const PREFIX: &str = ".muster-new-";
/// How many directories may lie in each other in `/etc/skel`.
const MOST_DEPTH: usize = 16;

/// Homes of one directory that are built but not in place.
#[derive(Debug)]
pub(super) struct Staging {
    place: Dir,
    name: String,
    dir: Dir,
    built: BTreeMap<String, Result<(), String>>,
}

/// `/etc/skel`, read once.
#[derive(Debug, Default)]
struct Skeleton {
    entries: Vec<(OsString, Node)>,
}

#[derive(Debug)]
enum Node {
    File(Vec<u8>, u32),
    Directory(Skeleton, u32),
    Link(OsString),
}

/// Homes that are built, by the directory that they go into, and why none could be there.
#[derive(Debug, Default)]
pub(super) struct Staged {
    places: BTreeMap<String, Result<Staging, String>>,
}

/// Builds homes; where that fails, each of them fails by name when it is installed.
pub(super) fn stage(root: &Dir, homes: &[NewHome]) -> Staged {
    let mut by_place: BTreeMap<&str, Vec<&NewHome>> = BTreeMap::new();
    for home in homes {
        by_place.entry(split(&home.path).0).or_default().push(home);
    }
    let skeleton = root.walk("etc/skel").and_then(|found| match found {
        Some(dir) => Skeleton::read(&dir, MOST_DEPTH),
        None => Ok(Skeleton::default()),
    });
    let skeleton = skeleton.map_err(|error| chain(&error));
    let build = |place: &str, homes: Vec<&NewHome>, skeleton: &Skeleton| {
        let place = root.need(place)?;
        place.require_rooted()?;
        let name = format!("{PREFIX}{}", random());
        let dir = place.make(&name, 0o700)?;
        let mut built = BTreeMap::new();
        for home in homes {
            let outcome = build_home(&dir, skeleton, home).map_err(|error| chain(&error));
            built.insert(home.login.as_str().to_owned(), outcome);
        }
        Ok(Staging { place, name, dir, built })
    };
    let build = |(place, homes): (&str, Vec<&NewHome>)| {
        let skeleton = skeleton.as_ref().map_err(Clone::clone);
        let staging = skeleton.and_then(|skeleton| {
            build(place, homes, skeleton).map_err(|error: FileError| chain(&error))
        });
        (place.to_owned(), staging)
    };
    Staged { places: by_place.into_iter().map(build).collect() }
}

/// Removes what an earlier life left half built.
pub(super) fn remove_leftovers(root: &Dir, home_base: &str) -> Result<(), FileError> {
    // A place that is a link or not root's alone is none of ours.
    let Ok(Some(place)) = root.walk(home_base) else { return Ok(()) };
    if place.require_rooted().is_err() {
        return Ok(());
    }
    for name in place.names()?.iter().filter(|name| name.starts_with(PREFIX)) {
        if place.stat(name)?.is_some_and(|found| found.st_uid == 0) {
            place.remove_tree(name)?;
        }
    }
    Ok(())
}

fn build_home(staging: &Dir, skeleton: &Skeleton, home: &NewHome) -> Result<(), FileError> {
    let dir = staging.make(home.login.as_str(), 0o700)?;
    let looks = |mode| Looks { uid: home.uid, gid: home.gid, mode };
    skeleton.fill(&dir, &looks)?;
    dir.set_looks(looks(home.mode))
}

impl Skeleton {
    fn read(dir: &Dir, depth: usize) -> Result<Self, FileError> {
        let mut skeleton = Self::default();
        for name in dir.names()? {
            let Some(found) = dir.stat(&name)? else { continue };
            let mode = found.st_mode & 0o777;
            let node = if is_regular(&found) {
                dir.read(&name)?.map(|(bytes, _)| Node::File(bytes, mode))
            } else if is_directory(&found) {
                let problem = "more than 16 directories deep, and no home is made without it";
                let path = || dir.show(&name);
                let depth = depth.checked_sub(1);
                let depth = depth.ok_or_else(|| FileError::Unsafe { path: path(), problem })?;
                let below = dir.walk(&name)?;
                let below = below.map(|below| Self::read(&below, depth)).transpose()?;
                below.map(|below| Node::Directory(below, mode))
            } else if is_link(&found) {
                readlinkat(dir, name.as_str()).ok().map(Node::Link)
            } else {
                None
            };
            skeleton.entries.extend(node.map(|node| (OsString::from(name), node)));
        }
        Ok(skeleton)
    }

    fn fill(&self, dir: &Dir, looks: &impl Fn(u32) -> Looks) -> Result<(), FileError> {
        for (name, node) in &self.entries {
            match node {
                Node::File(bytes, mode) => dir.write_new(name, looks(*mode), bytes)?,
                Node::Directory(below, mode) => {
                    let inner = dir.make(name, 0o700)?;
                    below.fill(&inner, looks)?;
                    inner.set_looks(looks(*mode))?;
                }
                Node::Link(target) => dir.link_symbolic(name, target, looks(0))?,
            }
        }
        Ok(())
    }
}

/// Renames homes into place.
pub(super) fn install(staged: &Staged, homes: &[NewHome]) -> Report {
    let mut report = Report::default();
    for home in homes {
        let login = home.login.as_str();
        let put = |staging: &Staging| {
            staging.built.get(login).cloned().unwrap_or_else(|| Err("not built".to_owned()))?;
            staging.put(home).map_err(|error| chain(&error))
        };
        let outcome = match staged.places.get(split(&home.path).0) {
            Some(Ok(staging)) => put(staging),
            Some(Err(reason)) => Err(reason.clone()),
            None => Err("not built".to_owned()),
        };
        if let Err(reason) = outcome {
            report.failures.insert(login.to_owned(), reason);
        }
    }
    for staging in staged.built() {
        if let Err(error) = staging.place.sync() {
            report.whole.get_or_insert_with(|| chain(&error));
        }
    }
    report
}

impl Staged {
    /// Returns what could be built in.
    pub(super) fn built(&self) -> impl Iterator<Item = &Staging> {
        self.places.values().filter_map(|staging| staging.as_ref().ok())
    }

    /// Makes the installation of all fail.
    pub(super) fn spoil(&mut self, reason: &str) {
        for staging in self.places.values_mut().flatten() {
            staging.spoil(reason);
        }
    }

    /// Removes the directories that they were built in.
    pub(super) fn discard(self) {
        self.places.into_values().flatten().for_each(Staging::discard);
    }
}

impl Staging {
    pub(super) fn place(&self) -> &Dir {
        &self.place
    }

    fn put(&self, home: &NewHome) -> Result<(), FileError> {
        let name = split(&home.path).1;
        // Only root can write here, so what is absent now is absent at the rename.
        if self.place.stat(name)?.is_some() {
            return Err(FileError::Unsafe { path: home.path.clone(), problem: "there already" });
        }
        self.dir.rename(home.login.as_str(), &self.place, name)
    }

    fn spoil(&mut self, reason: &str) {
        for outcome in self.built.values_mut() {
            *outcome = Err(reason.to_owned());
        }
    }

    fn discard(self) {
        // What stays is removed at the next start.
        let _ = self.place.remove_tree(&self.name);
    }
}
