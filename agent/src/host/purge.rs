//! The end of an account that has been locked for as long as the host's own configuration says: its
//! home moves into a directory of root's beside it, then its lines go, and what was moved is removed
//! step by step. Nothing is done by path where a user could write, no link is followed and no mount
//! is crossed: a directory is emptied only after it was renamed to where root alone is, which the
//! kernel refuses for a place where something is mounted.

use std::{collections::BTreeSet, ffi::OsStr};

use crate::plan::{AccountEdits, Purged};

use super::{
    Report, accounts, chain,
    files::{Dir, FileError, is_directory, is_regular, random, split},
    processes::{self, Owners},
};

const ASIDE: &str = ".muster-purge";
const MAIL: &[&str] = &["var/mail", "var/spool/mail"];
/// How many entries are removed in one step, so that the keeper has time for others.
const MOST_REMOVED: usize = 100_000;

/// Purges accounts. Those whose home cannot be moved stay as they are.
pub(super) fn purge(root: &Dir, accounts: &[Purged]) -> Report {
    let mut owners = Owners::default();
    for one in accounts {
        owners.add(one.uid, &one.subuids);
    }
    let running = match processes::running(root, &owners) {
        Ok(running) => running,
        Err(error) => return Report::failed(chain(&error)),
    };
    let mut report = Report::default();
    let mut edits = AccountEdits::default();
    let mut moved: BTreeSet<&str> = BTreeSet::new();
    for one in accounts {
        let login = one.login.as_str();
        let outcome = if running.contains_key(&one.uid) {
            Err("processes of it run".to_owned())
        } else {
            move_away(root, one).map_err(|error| chain(&error))
        };
        match outcome {
            Ok(detail) => {
                moved.insert(login);
                edits.extend(&one.edits);
                report.details.insert(login.to_owned(), detail);
            }
            Err(reason) => drop(report.failures.insert(login.to_owned(), reason)),
        }
    }
    if !edits.is_empty()
        && let Some(reason) = accounts::rewrite(root, &edits).whole
    {
        let failed = moved.iter().map(|login| ((*login).to_owned(), reason.clone()));
        report.failures.extend(failed);
    }
    // What a step leaves is seen by the next look.
    let places: BTreeSet<&str> =
        accounts.iter().filter_map(|one| one.home.as_deref()).map(|home| split(home).0).collect();
    for place in places {
        let _ = try_sweep(root, place, MOST_REMOVED);
    }
    report
}

/// Moves the home away and removes the mail, and says so.
fn move_away(root: &Dir, one: &Purged) -> Result<String, FileError> {
    let mut words = format!("uid {}", one.uid);
    for place in MAIL {
        // Where it is a link the other name is none.
        let Ok(Some(dir)) = root.walk(place) else { continue };
        let found = dir.stat(one.login.as_str())?;
        if found.is_some_and(|found| is_regular(&found) && found.st_uid == one.uid) {
            dir.remove(one.login.as_str())?;
            words.push_str(", mail removed");
        }
    }
    let Some(path) = &one.home else {
        words.push_str(", home left where it is");
        return Ok(words);
    };
    let (place, name) = split(path);
    let Some(place) = root.walk(place)? else { return Ok(words) };
    place.require_rooted()?;
    let found = place.stat(name)?;
    if found.is_some_and(|found| is_directory(&found) && found.st_uid == one.uid) {
        let aside = match aside(&place)? {
            Some(aside) => aside,
            None => place.make(ASIDE, 0o700)?,
        };
        place.rename(name, &aside, &format!("{}.{}", one.login, random()))?;
        aside.sync()?;
        place.sync()?;
        words.push_str(", home set aside to be removed");
    } else if found.is_some() {
        words.push_str(", home left, since it is not its own");
    }
    Ok(words)
}

/// Returns the directory beside homes, if it is there; it must be root's alone.
fn aside(place: &Dir) -> Result<Option<Dir>, FileError> {
    let Some(aside) = place.walk(ASIDE)? else { return Ok(None) };
    let found = aside.stat_self()?;
    if found.st_uid != 0 || found.st_mode & 0o077 != 0 {
        return Err(FileError::Unsafe { path: place.show(ASIDE), problem: "not root's alone" });
    }
    Ok(Some(aside))
}

/// Says whether something was moved there and is yet to be removed.
pub(super) fn is_unfinished(root: &Dir, place: &str) -> bool {
    // What cannot be looked at is no place of ours.
    let aside = root.walk(place).ok().flatten().and_then(|place| aside(&place).ok().flatten());
    aside.is_some_and(|aside| aside.first_entries(1).is_ok_and(|first| !first.is_empty()))
}

/// Removes some of what was moved.
pub(super) fn sweep(root: &Dir, place: &str) -> Report {
    let mut report = Report::default();
    match try_sweep(root, place, MOST_REMOVED) {
        Ok(removed) => {
            report.details.insert(place.to_owned(), format!("{removed} entries removed"));
        }
        Err(error) => {
            report.failures.insert(place.to_owned(), chain(&error));
        }
    }
    report
}

fn try_sweep(root: &Dir, place: &str, most: usize) -> Result<usize, FileError> {
    let Some(place) = root.walk(place)? else { return Ok(0) };
    place.require_rooted()?;
    let Some(aside) = aside(&place)? else { return Ok(0) };
    let mut removed = 0;
    while removed < most {
        let Some(first) = aside.first_entries(1)?.into_iter().next() else { break };
        removed += empty(&aside, &first, most - removed)?;
    }
    aside.sync()?;
    Ok(removed)
}

/// Removes what is in a directory, and the directory if nothing is left. Directories below are moved
/// beside it and come later: however deep they lie, one is open at a time.
fn empty(aside: &Dir, name: &OsStr, most: usize) -> Result<usize, FileError> {
    if !aside.stat(name)?.as_ref().is_some_and(is_directory) {
        aside.remove(name)?;
        return Ok(1);
    }
    let dir = aside.enter(name)?;
    let entries = dir.first_entries(most)?;
    for entry in &entries {
        if dir.stat(entry)?.as_ref().is_some_and(is_directory) {
            dir.rename(entry, aside, &format!("below.{}", random()))?;
        } else {
            dir.remove(entry)?;
        }
    }
    if entries.len() < most {
        aside.remove_empty(name)?;
        return Ok(entries.len() + 1);
    }
    Ok(entries.len())
}

#[cfg(test)]
#[expect(clippy::disallowed_methods, reason = "a test lays out a home")]
mod tests {
    use std::{fs, os::unix::ffi::OsStrExt, os::unix::fs::PermissionsExt, sync::Arc};

    use super::super::files::Faults;
    use super::*;

    /// A place with something set aside in it.
    fn place() -> (tempfile::TempDir, Dir, std::path::PathBuf) {
        let place = tempfile::tempdir_in("/dev/shm").unwrap();
        let aside = place.path().join("home").join(ASIDE);
        fs::create_dir_all(&aside).unwrap();
        fs::set_permissions(&aside, fs::Permissions::from_mode(0o700)).unwrap();
        let root = Dir::open(place.path(), Arc::new(Faults::none())).unwrap();
        (place, root, aside)
    }

    #[test]
    fn no_more_is_removed_in_one_step_than_its_bound() {
        let (_place, root, aside) = place();
        fs::create_dir(aside.join("ana")).unwrap();
        for name in ["a", "b", "c"] {
            fs::write(aside.join("ana").join(name), "").unwrap();
        }
        assert_eq!(try_sweep(&root, "home", 3).unwrap(), 3);
        assert!(is_unfinished(&root, "home"));
        assert_eq!(try_sweep(&root, "home", 3).unwrap(), 1);
        assert!(!is_unfinished(&root, "home"));
    }

    #[test]
    fn whatever_lies_in_a_home_goes_and_nothing_beyond_it() {
        let (place, root, aside) = place();
        let treasure = place.path().join("treasure");
        fs::create_dir(&treasure).unwrap();
        fs::write(treasure.join("gold"), "").unwrap();
        let mut deep = aside.join("ana");
        fs::create_dir(&deep).unwrap();
        std::os::unix::fs::symlink(&treasure, deep.join("link")).unwrap();
        fs::write(deep.join(OsStr::from_bytes(b"no\xfftext")), "").unwrap();
        // Deeper than a process may have directories open, and than its stack may be.
        for _ in 0..1_500 {
            deep.push("d");
            fs::create_dir(&deep).unwrap();
        }
        try_sweep(&root, "home", MOST_REMOVED).unwrap();
        assert_eq!(fs::read_dir(&aside).unwrap().count(), 0);
        assert!(treasure.join("gold").exists());
    }

    #[test]
    fn a_directory_that_is_not_roots_alone_is_not_swept() {
        let (_place, root, aside) = place();
        fs::write(aside.join("file"), "").unwrap();
        fs::set_permissions(&aside, fs::Permissions::from_mode(0o701)).unwrap();
        assert!(matches!(try_sweep(&root, "home", 9), Err(FileError::Unsafe { .. })));
        assert!(aside.join("file").exists());
    }
}
