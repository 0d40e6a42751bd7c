//! What would start processes again after a lock, or give them root: lingering, crontabs, at jobs and
//! the time stamps by which sudo remembers a password. Lingering and time stamps go; jobs move into a
//! directory of root's beside them, whose name cron does not read, and stay there.

use std::collections::BTreeSet;

use nix::errno::Errno;

use crate::{listing::count, plan::Leaver};

use super::{
    Report, chain,
    files::{Dir, FileError, is_regular, random},
};

const LINGER: &str = "var/lib/systemd/linger";
/// Crontabs, named by login: Debian's, SUSE's and Red Hat's places.
const CRONTABS: &[&str] = &["var/spool/cron/crontabs", "var/spool/cron/tabs", "var/spool/cron"];
/// At jobs, known by their owner.
const AT_JOBS: &[&str] = &["var/spool/cron/atjobs", "var/spool/at"];
/// Time stamps of sudo and sudo-rs, named by login or, in newer ones, by uid. Where another can write
/// sudo itself believes none. `/var/run` is a link to `/run` today.
const STAMPS: &[&str] =
    &["run/sudo/ts", "var/run/sudo/ts", "var/lib/sudo/ts", "var/db/sudo/ts", "run/sudo-rs/ts"];
const ASIDE: &str = ".muster-set-aside";

/// The jobs of a host, by place.
#[derive(Debug, Default)]
pub(super) struct Jobs {
    lingering: Vec<String>,
    crontabs: Vec<String>,
    at_owners: Vec<u32>,
    stamps: Vec<String>,
    aside: Vec<String>,
    /// Places that are a link or no directory, where nobody looks.
    pub(super) unseen: BTreeSet<String>,
}

impl Jobs {
    pub(super) fn observe(root: &Dir) -> Result<Self, FileError> {
        let mut jobs = Self::default();
        if let Some(dir) = spool(root, LINGER)? {
            jobs.lingering = dir.names()?;
        }
        for place in CRONTABS {
            if let Some(dir) = spool(root, place)? {
                jobs.crontabs.extend(files_in(&dir)?.into_iter().map(|(name, _)| name));
            }
        }
        for place in AT_JOBS {
            if let Some(dir) = spool(root, place)? {
                jobs.at_owners.extend(files_in(&dir)?.into_iter().map(|(_, uid)| uid));
            }
        }
        for dir in stamps(root)? {
            jobs.stamps.extend(files_in(&dir)?.into_iter().map(|(name, _)| name));
        }
        for place in CRONTABS.iter().chain(AT_JOBS) {
            if let Some(dir) = spool(root, &format!("{place}/{ASIDE}"))? {
                jobs.aside.extend(dir.names()?);
            }
        }
        let places = CRONTABS.iter().chain(AT_JOBS).chain([&LINGER]);
        let unseen = places.filter(|place| is_passed_over(root, place));
        jobs.unseen = unseen.map(|place| format!("/{place}")).collect();
        Ok(jobs)
    }

    /// Says whether an account has any by its login.
    pub(super) fn has_by_name(&self, login: &str) -> bool {
        [&self.lingering, &self.crontabs, &self.stamps].iter().any(|names| has(names, login))
    }

    /// Says whether there are any of a uid.
    pub(super) fn has_by_uid(&self, uid: u32) -> bool {
        self.at_owners.contains(&uid) || has(&self.stamps, &uid.to_string())
    }

    /// Returns what an account has, in words.
    pub(super) fn of(&self, login: &str, uid: u32) -> Vec<&'static str> {
        let stamped = has(&self.stamps, login) || has(&self.stamps, &uid.to_string());
        let has = [
            ("lingering", has(&self.lingering, login)),
            ("a crontab", has(&self.crontabs, login)),
            ("at jobs", self.at_owners.contains(&uid)),
            ("a time stamp of sudo", stamped),
        ];
        has.into_iter().filter(|(_, has)| *has).map(|(what, _)| what).collect()
    }

    /// Returns how many of an account's were set aside.
    pub(super) fn set_aside(&self, login: &str) -> usize {
        let own = |name: &&String| name.split_once('.').is_some_and(|(owner, _)| owner == login);
        self.aside.iter().filter(own).count()
    }
}

fn has(names: &[String], name: &str) -> bool {
    names.iter().any(|other| other == name)
}

/// A place that is a link is passed over, rather than that nothing could be looked at.
fn spool(root: &Dir, path: &str) -> Result<Option<Dir>, FileError> {
    match root.walk(path) {
        Err(FileError::System { source: Errno::ELOOP | Errno::ENOTDIR, .. }) => Ok(None),
        other => other,
    }
}

/// Returns the directories of time stamps that are root's alone.
fn stamps(root: &Dir) -> Result<Vec<Dir>, FileError> {
    let mut dirs = Vec::new();
    for place in STAMPS {
        dirs.extend(spool(root, place)?.filter(|dir| dir.require_rooted().is_ok()));
    }
    Ok(dirs)
}

fn is_passed_over(root: &Dir, path: &str) -> bool {
    matches!((root.walk(path), spool(root, path)), (Err(_), Ok(None)))
}

fn files_in(dir: &Dir) -> Result<Vec<(String, u32)>, FileError> {
    let mut files = Vec::new();
    for name in dir.names()? {
        if let Some(found) = dir.stat(&name)?
            && is_regular(&found)
        {
            files.push((name, found.st_uid));
        }
    }
    Ok(files)
}

/// Ends lingering, sets jobs aside and makes sudo forget.
pub(super) fn set_aside(root: &Dir, leavers: &[Leaver]) -> Report {
    let mut report = Report::default();
    for leaver in leavers {
        let login = leaver.login.as_str().to_owned();
        match set_one_aside(root, leaver) {
            Ok(jobs) => {
                report.details.insert(
                    login,
                    format!("lingering off, {} set aside", count(jobs as usize, "job", "jobs")),
                );
            }
            Err(error) => {
                report.failures.insert(login, chain(&error));
            }
        }
    }
    report
}

pub(super) fn set_one_aside(root: &Dir, leaver: &Leaver) -> Result<u32, FileError> {
    // What keeps one of them in its place keeps none of the others there.
    let lingering = end_lingering(root, leaver);
    let stamps = remove_stamps(root, leaver);
    let crontabs = set_crontabs_aside(root, leaver);
    let at_jobs = set_at_jobs_aside(root, leaver);
    lingering?;
    stamps?;
    Ok(crontabs? + at_jobs?)
}

fn end_lingering(root: &Dir, leaver: &Leaver) -> Result<(), FileError> {
    spool(root, LINGER)?.map_or(Ok(()), |dir| dir.remove(leaver.login.as_str()))
}

fn remove_stamps(root: &Dir, leaver: &Leaver) -> Result<(), FileError> {
    for dir in stamps(root)? {
        dir.remove(leaver.login.as_str())?;
        if leaver.has_its_uid {
            dir.remove(leaver.uid.to_string())?;
        }
    }
    Ok(())
}

/// What one of the jobs could not do keeps none of the others in its place.
fn set_crontabs_aside(root: &Dir, leaver: &Leaver) -> Result<u32, FileError> {
    let login = leaver.login.as_str();
    let mut moved = Moved::default();
    for place in CRONTABS {
        moved.take(spool(root, place).and_then(|dir| {
            let Some(dir) = dir else { return Ok(0) };
            if !dir.stat(login)?.as_ref().is_some_and(is_regular) {
                return Ok(0);
            }
            move_aside(&dir, login, &format!("{login}.cron.{}", random()))
        }));
    }
    moved.all()
}

fn set_at_jobs_aside(root: &Dir, leaver: &Leaver) -> Result<u32, FileError> {
    if !leaver.has_its_uid {
        return Ok(0);
    }
    let mut moved = Moved::default();
    for place in AT_JOBS {
        let found = spool(root, place).and_then(|dir| match dir {
            Some(dir) => Ok(Some((files_in(&dir)?, dir))),
            None => Ok(None),
        });
        match found {
            Ok(None) => {}
            Ok(Some((files, dir))) => {
                for (name, _) in files.into_iter().filter(|(_, uid)| *uid == leaver.uid) {
                    let new_name = format!("{}.at.{}", leaver.login, random());
                    moved.take(move_aside(&dir, &name, &new_name));
                }
            }
            Err(error) => moved.take(Err(error)),
        }
    }
    moved.all()
}

/// How many were moved, and what went wrong first.
#[derive(Default)]
struct Moved {
    count: u32,
    failure: Option<FileError>,
}

impl Moved {
    fn take(&mut self, moved: Result<u32, FileError>) {
        match moved {
            Ok(count) => self.count += count,
            Err(error) => {
                self.failure.get_or_insert(error);
            }
        }
    }

    fn all(self) -> Result<u32, FileError> {
        self.failure.map_or(Ok(self.count), Err)
    }
}

/// The spool may be writable for cron's Unix group, so a directory that is there must be root's.
fn move_aside(dir: &Dir, name: &str, new_name: &str) -> Result<u32, FileError> {
    let aside = match dir.walk(ASIDE)? {
        Some(aside) => aside,
        None => dir.make(ASIDE, 0o700)?,
    };
    let found = aside.stat_self()?;
    if found.st_uid != 0 || found.st_mode & 0o077 != 0 {
        return Err(FileError::Unsafe { path: dir.show(ASIDE), problem: "not root's alone" });
    }
    match dir.rename(name, &aside, new_name) {
        // It was run and removed meanwhile.
        Err(_) if dir.stat(name)?.is_none() => return Ok(0),
        renamed => renamed?,
    }
    aside.sync()?;
    dir.sync()?;
    Ok(1)
}
