//! One look at a host. Files of root's are read through descriptors; homes are only looked at from
//! their directory, never entered.

use std::{collections::BTreeMap, ops::RangeInclusive};

use muster_proto::{crypto::sha256, name::Login};
use nix::sys::stat::FileStat;

use crate::{
    format::{Entry, Table, passwd, pwquality, ssh, subid, sudoers},
    observed::{Content, DropIn, Home, ObservedState, Passwords, RootFile, Scope, Wanted},
};

use super::{
    ObserveError,
    files::{self, Dir, FileError, LEFTOVER, is_directory, split},
    jobs::Jobs,
    names,
    processes::{self, Owners},
    program::Programs,
    purge, quality, sudo_files,
};

/// Looks at a host, which is asked through `root`, and for what changes all the time through `plain`.
pub(super) fn observe(
    root: &Dir,
    plain: &Dir,
    (programs, sshd_knows_utc): (Programs, bool),
    scope: &Scope,
) -> Result<(ObservedState, Owners), ObserveError> {
    let etc = root.need("etc")?;
    let passwd = table(&etc, "passwd")?.ok_or(ObserveError::Missing("passwd"))?;
    let new: BTreeMap<&Login, &Wanted> =
        scope.wanted.iter().filter(|(login, _)| passwd.get(login.as_str()).is_none()).collect();
    let jobs = Jobs::observe(root)?;
    let has_jobs = |(login, uid): &(&Login, &u32)| {
        jobs.has_by_name(login.as_str())
            || (jobs.has_by_uid(**uid) && has_its_uid(&passwd, login, **uid))
    };
    let (subuids, subgids) = (ranges(&etc, "subuid")?, ranges(&etc, "subgid")?);
    let own_subuids = own_subuids(&subuids, scope, &passwd);
    let mut owners = Owners::default();
    for (uid, login) in &scope.uids {
        owners.add(*uid, own_subuids.get(login).map_or(&[], Vec::as_slice));
    }
    let running = processes::running(plain, &owners)?;
    let observed = ObservedState {
        shadow: table(&etc, "shadow")?.ok_or(ObserveError::Missing("shadow"))?,
        group: table(&etc, "group")?.ok_or(ObserveError::Missing("group"))?,
        gshadow: table(&etc, "gshadow")?,
        subordinate: [subuids, subgids].concat(),
        own_subuids,
        homes: homes(root, scope, &passwd),
        keys: root_files(root, ssh::KEYS_DIRECTORY, "", 0o644)?.unwrap_or_default(),
        sudo: root_files(root, sudoers::DIRECTORY, sudoers::PREFIX, 0o440)?,
        foreign_sudo: sudo_files::foreign(root),
        root_keys: root_keys(root)?,
        drop_in: drop_in(root)?,
        password_policy: root_files(root, pwquality::DIRECTORY, pwquality::FILE, 0o644)?
            .unwrap_or_default(),
        password_check: match scope.passwords {
            Passwords::OfSomeLength => quality::observe(root),
            Passwords::OfAnyLength => pwquality::Check::Unseen,
        },
        sshd_knows_utc,
        elsewhere: names::ask(root, programs, &new)?,
        running,
        jobs: scope.leaving.iter().filter(has_jobs).map(|(login, _)| login.clone()).collect(),
        purging: purge::is_unfinished(root, &scope.home_base),
        unseen_jobs: jobs.unseen.clone(),
        set_aside: scope
            .wanted
            .keys()
            .filter(|l| jobs.set_aside(l.as_str()) > 0)
            .cloned()
            .collect(),
        passwd,
    };
    Ok((observed, owners))
}

fn table(etc: &Dir, name: &'static str) -> Result<Option<Table>, ObserveError> {
    let Some((text, _)) = etc.read(name)? else { return Ok(None) };
    Table::parse(text).map(Some).map_err(|source| ObserveError::Table { name, source })
}

fn ranges(etc: &Dir, name: &str) -> Result<Vec<subid::Range>, FileError> {
    Ok(etc.read(name)?.map(|(text, _)| subid::parse(&text)).unwrap_or_default())
}

/// Says whether a uid is this account's too, rather than another login's alone.
fn has_its_uid(passwd: &Table, login: &Login, uid: u32) -> bool {
    let has_it = |entry: &Entry<'_>| entry.number(passwd::UID) == Some(uid);
    let mut names = passwd.entries().filter(has_it).map(|entry| entry.text(0)).peekable();
    names.peek().is_none() || names.any(|name| name == Some(login.as_str()))
}

fn own_subuids(
    subuids: &[subid::Range],
    scope: &Scope,
    passwd: &Table,
) -> BTreeMap<Login, Vec<RangeInclusive<u32>>> {
    if subuids.is_empty() {
        return BTreeMap::new();
    }
    let taken = passwd.entries().filter_map(|entry| entry.number(passwd::UID)).collect();
    let own = |(uid, login): (&u32, &Login)| {
        // Ranges go by login, which may be somebody else's when it has another uid.
        let found = passwd.get(login.as_str()).map(|entry| entry.number(passwd::UID));
        if found.is_some_and(|found| found != Some(*uid)) {
            return None;
        }
        let numbers = subid::alone(subuids, login.as_str(), *uid, &taken);
        (!numbers.is_empty()).then(|| (login.clone(), numbers))
    };
    scope.uids.iter().filter_map(own).collect()
}

fn homes(root: &Dir, scope: &Scope, passwd: &Table) -> BTreeMap<Login, Home> {
    let mut places: BTreeMap<String, Option<Dir>> = BTreeMap::new();
    let mut homes = BTreeMap::new();
    for (login, wanted) in &scope.wanted {
        let found = passwd.get(login.as_str()).and_then(|entry| entry.text(passwd::HOME));
        let (parent, name) = split(wanted.home.place(found));
        if !places.contains_key(parent) {
            // One that is a link or cannot be entered is no place for homes.
            let dir = root.walk(parent).ok().flatten();
            let dir = dir.filter(|dir| dir.require_rooted().is_ok());
            places.insert(parent.to_owned(), dir);
        }
        let home = match places.get(parent).and_then(Option::as_ref) {
            None => Home::NoPlace,
            Some(_) if matches!(name, "" | "." | "..") => Home::NoPlace,
            Some(dir) => match dir.stat(name) {
                Ok(found) => found.map_or(Home::Absent, |found| kind(&found)),
                // One stale mount must not keep all others from being looked at.
                Err(_) => Home::Other,
            },
        };
        homes.insert(login.clone(), home);
    }
    homes
}

fn kind(found: &FileStat) -> Home {
    if is_directory(found) { Home::Directory(found.st_uid) } else { Home::Other }
}

fn root_files(
    root: &Dir,
    directory: &str,
    prefix: &str,
    mode: u32,
) -> Result<Option<BTreeMap<String, RootFile>>, FileError> {
    let Some(dir) = root.walk(directory)? else { return Ok(None) };
    let mut files = BTreeMap::new();
    for name in dir.names()? {
        if name.starts_with(prefix) && !name.starts_with(LEFTOVER) {
            let file = root_file(&dir, &name, mode)?;
            files.extend(file.map(|file| (name, file)));
        }
    }
    Ok(Some(files))
}

fn root_file(dir: &Dir, name: &str, mode: u32) -> Result<Option<RootFile>, FileError> {
    match dir.read(name) {
        Ok(None) => Ok(None),
        Ok(Some((text, found))) => {
            let sound = found.st_uid == 0 && found.st_mode & 0o7777 == mode && found.st_nlink == 1;
            Ok(Some(RootFile { text, sound }))
        }
        // A link, a pipe: whatever it is, it is replaced.
        Err(FileError::Unsafe { .. }) => Ok(Some(RootFile { text: Vec::new(), sound: false })),
        Err(error) => Err(error),
    }
}

/// What sshd takes for root's keys where nothing else is set.
fn root_keys(root: &Dir) -> Result<BTreeMap<String, Content>, FileError> {
    let mut found = BTreeMap::new();
    let dir = match root.walk(ssh::ROOT_KEYS_DIRECTORY) {
        Ok(Some(dir)) => dir,
        Ok(None) => return Ok(found),
        // A link in the way: sshd may follow it, root here does not.
        Err(error) => {
            let why = Content::Unread(sha256(&[super::chain(&error).as_bytes()]));
            return Ok(BTreeMap::from([("authorized_keys".to_owned(), why)]));
        }
    };
    let means = |line: &[u8]| !line.trim_ascii().is_empty() && !line.starts_with(b"#");
    for name in ssh::ROOT_KEYS {
        let content = content(&dir, name, files::MOST_BYTES, |text| {
            text.split(|byte| *byte == b'\n').any(means)
        })?;
        found.extend(content.map(|content| ((*name).to_owned(), content)));
    }
    Ok(found)
}

/// The digest of a file's text, if that matters; of a link, which its readers follow and root here
/// does not, of where it leads.
pub(super) fn content(
    dir: &Dir,
    name: &str,
    most: i64,
    matters: impl FnOnce(&[u8]) -> bool,
) -> Result<Option<Content>, FileError> {
    match dir.read_up_to(name, most) {
        Ok(found) => {
            let found = found.filter(|(text, _)| matters(text));
            Ok(found.map(|(text, _)| Content::Read(sha256(&[&text]))))
        }
        Err(FileError::Unsafe { problem, .. }) => {
            let leads = dir.link_text(name).unwrap_or_default();
            Ok(Some(Content::Unread(sha256(&[problem.as_bytes(), b"\n", &leads]))))
        }
        Err(error) => Err(error),
    }
}

fn drop_in(root: &Dir) -> Result<DropIn, FileError> {
    let Some(dir) = root.walk(ssh::DROP_IN_DIRECTORY)? else { return Ok(DropIn::NoPlace) };
    Ok(root_file(&dir, ssh::DROP_IN, 0o644)?.map_or(DropIn::Absent, DropIn::Present))
}
