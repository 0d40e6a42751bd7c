//! Other sources of accounts: what nsswitch.conf names beside the files, what they say of logins
//! and uids about to be given, and who remembers old answers. A source that cannot be asked makes
//! every answer unknown.

mod sssd;

use std::{
    collections::{BTreeMap, BTreeSet},
    os::unix::net::UnixStream,
    path::Path,
};

use muster_proto::name::Login;

use super::{
    files::{Dir, FileError},
    program::Programs,
};
use crate::observed::{Elsewhere, Wanted};

/// Sources that only say what the files say.
const LOCAL: &[&str] = &["files", "compat", "systemd"];

/// What sssd is as a source.
const SSSD: &str = "sss";

/// Where a source's daemon listens; if nobody does, its silence means nothing.
const SOCKETS: &[(&str, &str)] = &[
    (SSSD, "/var/lib/sss/pipes/nss"),
    ("ldap", "/run/nslcd/socket"),
    ("winbind", "/run/samba/winbindd/pipe"),
];

/// Below what the kernel takes as arguments.
const MOST_ARGUMENT_BYTES: usize = 1 << 20;

/// Asks once for all accounts that are about to be created.
pub(super) fn ask(
    root: &Dir,
    programs: Programs,
    new: &BTreeMap<&Login, &Wanted>,
) -> Result<BTreeMap<Login, Elsewhere>, FileError> {
    if new.is_empty() {
        return Ok(BTreeMap::new());
    }
    let others = other_sources(root)?;
    let numbers: Vec<String> = new.values().map(|wanted| wanted.uid.to_string()).collect();
    let logins = new.keys().map(|login| login.as_str());
    let keys: Vec<&str> = logins.chain(numbers.iter().map(String::as_str)).collect();
    let answer = if others.is_empty() {
        Ok(String::new())
    } else {
        whole_answer(root, programs, &others, &keys)
    };
    let answer = match answer {
        Ok(answer) => answer,
        Err(reason) => {
            let unknown = |login: &&Login| ((*login).clone(), Elsewhere::Unknown(reason.clone()));
            return Ok(new.keys().map(unknown).collect());
        }
    };
    let mut names: BTreeSet<&str> = BTreeSet::new();
    let mut uids: BTreeMap<u32, &str> = BTreeMap::new();
    for line in answer.lines() {
        let mut fields = line.split(':');
        let (name, uid) = (fields.next(), fields.nth(1).and_then(|uid| uid.parse().ok()));
        names.extend(name);
        uids.extend(uid.zip(name));
    }
    let judge = |(login, wanted): (&&Login, &&Wanted)| {
        let found = if names.contains(login.as_str()) {
            Elsewhere::Known(others.join(", "))
        } else if let Some(other) = uids.get(&wanted.uid) {
            Elsewhere::Known(format!("{}: uid {} is `{other}`'s", others.join(", "), wanted.uid))
        } else {
            Elsewhere::Nobody
        };
        ((*login).clone(), found)
    };
    Ok(new.iter().map(judge).collect())
}

/// Asks the other sources for somebody whom none of them knows, and returns why they cannot be asked.
pub(super) fn trouble(root: &Dir, programs: Programs) -> Result<Option<String>, FileError> {
    let others = other_sources(root)?;
    if others.is_empty() {
        return Ok(None);
    }
    Ok(whole_answer(root, programs, &others, &["muster-asks-for-nobody"]).err())
}

/// Asks all sources, in their order, who some accounts are; nothing where there are only the files.
pub(super) fn answers(
    root: &Dir,
    programs: Programs,
    others: &[String],
    logins: &[&Login],
) -> Result<Option<String>, String> {
    if others.is_empty() || logins.is_empty() {
        return Ok(None);
    }
    let keys: Vec<&str> = logins.iter().map(|login| login.as_str()).collect();
    whole_answer(root, programs, others, &keys).map(Some)
}

/// The sources of `passwd` beside the files.
fn other_sources(root: &Dir) -> Result<Vec<String>, FileError> {
    Ok(sources_in(&configuration(root)?))
}

/// The text of nsswitch.conf; empty where there is none.
pub(super) fn configuration(root: &Dir) -> Result<Vec<u8>, FileError> {
    Ok(match root.walk("etc")? {
        Some(etc) => etc.read("nsswitch.conf")?.map(|(text, _)| text).unwrap_or_default(),
        None => Vec::new(),
    })
}

/// The sources of `passwd` beside the files in such a text.
pub(super) fn sources_in(text: &[u8]) -> Vec<String> {
    sources_of("passwd", text)
}

/// Says whether such a text names sources of Unix groups beside the files.
pub(super) fn adds_unix_groups(text: &[u8]) -> bool {
    ["group", "initgroups"].iter().any(|database| !sources_of(database, text).is_empty())
}

fn sources_of(database: &str, text: &[u8]) -> Vec<String> {
    let text = String::from_utf8_lossy(text);
    let line = text
        .lines()
        .filter_map(|line| line.split('#').next())
        .find_map(|line| line.trim_start().strip_prefix(database)?.trim_start().strip_prefix(':'));
    let mut in_brackets = false;
    let mut sources = Vec::new();
    for word in line.unwrap_or_default().split_whitespace() {
        // Actions such as `[NOTFOUND=return]` are not sources.
        in_brackets |= word.starts_with('[');
        if !in_brackets && !LOCAL.contains(&word) {
            sources.push(word.to_owned());
        }
        in_brackets &= !word.ends_with(']');
    }
    sources
}

/// Returns what was answered, if all who were to answer could.
fn whole_answer(
    root: &Dir,
    programs: Programs,
    others: &[String],
    keys: &[&str],
) -> Result<String, String> {
    let is_online = || {
        if others.iter().any(|source| source == SSSD) {
            sssd::is_online(root, programs)
        } else {
            Ok(())
        }
    };
    listen(others)?;
    // Before and after: it notices that it is offline when it is asked, and is online again when it
    // likes.
    is_online()?;
    let answer = getent(programs, others, keys)?;
    is_online()?;
    Ok(answer)
}

fn listen(others: &[String]) -> Result<(), String> {
    for (source, socket) in SOCKETS {
        if others.iter().any(|other| other == source)
            && let Err(error) = UnixStream::connect(Path::new(socket))
        {
            return Err(format!("`{source}` does not answer: {error}"));
        }
    }
    Ok(())
}

fn getent(programs: Programs, others: &[String], keys: &[&str]) -> Result<String, String> {
    let arguments = [&["passwd"], keys].concat();
    if arguments.iter().map(|argument| argument.len() + 1).sum::<usize>() > MOST_ARGUMENT_BYTES {
        return Err("too many new accounts to ask for at once".to_owned());
    }
    match programs.status("getent", &arguments) {
        // 2: some were not found.
        Some(Ok((0 | 2, answer))) => Ok(answer),
        Some(Ok((status, _))) => Err(format!("getent ended with status {status}")),
        Some(Err(reason)) => Err(reason),
        None => Err(format!("there is no getent to ask {}", others.join(", "))),
    }
}

/// Tells those who cache accounts, if they run.
pub(super) fn forget_cached(root: &Dir, programs: Programs) {
    let listens = |directory: &str, name: &str| {
        let dir = root.walk(directory).ok().flatten();
        dir.is_some_and(|dir| matches!(dir.stat(name), Ok(Some(_))))
    };
    // They notice the changed files within seconds; this only makes it sooner.
    if listens("run/nscd", "socket") {
        let _ = programs.run("nscd", &["-i", "passwd"]);
        let _ = programs.run("nscd", &["-i", "group"]);
    }
    if listens("var/lib/sss/pipes", "nss") {
        let _ = programs.run("sss_cache", &["-U", "-G"]);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::{
        host::files::{Faults, Looks},
        observed::WantedHome,
    };

    /// Accounts whose logins and uids are, with `passwd`, so many bytes of arguments.
    fn accounts(bytes: usize) -> Vec<(Login, Wanted)> {
        let mut left = bytes - "passwd".len() - 1;
        let mut accounts = Vec::new();
        while left > 0 {
            // A login, five digits of a uid, and what ends each of both.
            let letters = if left >= 76 { 31 } else { (left - 7).min(31) };
            let number = accounts.len();
            let login = Login::parse(&format!("a{number:0width$}", width = letters - 1)).unwrap();
            let uid = 10_000 + u32::try_from(number).unwrap();
            accounts.push((login, Wanted { uid, home: WantedHome::Found(String::new()) }));
            left -= letters + 7;
        }
        accounts
    }

    #[test]
    fn as_many_are_asked_for_as_arguments_may_be_long_and_no_byte_more() {
        let folder = tempfile::tempdir().unwrap();
        let root = Dir::open(folder.path(), Arc::new(Faults::none())).unwrap();
        let etc = root.make("etc", 0o755).unwrap();
        let looks = Looks { uid: 0, gid: 0, mode: 0o644 };
        etc.write_new("nsswitch.conf".as_ref(), looks, b"passwd: files other\n").unwrap();
        let reason = |bytes: usize| {
            let accounts = accounts(bytes);
            let new = accounts.iter().map(|(login, wanted)| (login, wanted)).collect();
            let answers = ask(&root, Programs::None, &new).unwrap();
            assert_eq!(answers.len(), accounts.len());
            answers.into_values().next().unwrap()
        };
        // It comes as far as to look for the program.
        let unknown = |reason: &str| Elsewhere::Unknown(reason.to_owned());
        assert_eq!(reason(MOST_ARGUMENT_BYTES), unknown("there is no getent to ask other"));
        let more = unknown("too many new accounts to ask for at once");
        assert_eq!(reason(MOST_ARGUMENT_BYTES + 1), more);
    }
}
