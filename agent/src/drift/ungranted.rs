//! What nobody granted, read off a host's own files: accounts that are not Muster's and can log in,
//! others with uid 0, members of Unix groups that are as good as root, sudo files of others,
//! root's own keys. Muster owns none of it and so only tells it.

pub mod ways;

use std::collections::{BTreeMap, BTreeSet};

use muster_proto::{
    drift::{DriftKind, Severity, content_of},
    name::Login,
    privilege::root_equivalence,
};

use super::{Difference, What};
use crate::{
    format::{
        Entry, group, passwd,
        shadow::{self, Password},
    },
    observed::{Content, ObservedState},
    ownership::Ownership,
};

/// Returns what is on a host that no statement gave, of each one difference: of a login may be
/// several lines.
pub fn ungranted(observed: &ObservedState, ownership: &Ownership) -> Vec<Difference> {
    let ours: BTreeSet<&str> = ownership.accounts.keys().map(Login::as_str).collect();
    let mut found = Vec::new();
    for entry in observed.passwd.entries() {
        let Some(login) = entry.text(0) else { continue };
        found.extend(uid_zero(login, entry));
        if !ours.contains(login) && can_log_in(entry) {
            found.push(account(observed, login, entry));
        }
    }
    found.extend(members(observed, ownership));
    found.extend(observed.foreign_sudo.iter().map(|(name, content)| Difference {
        what: What::new(DriftKind::SudoForeign, name, ""),
        expected: "no such file, or as it was".to_owned(),
        found: contents(content),
        severity: Severity::Critical,
    }));
    found.extend(observed.root_keys.iter().map(|(name, content)| Difference {
        what: What::new(DriftKind::KeysUngranted, "root", name),
        expected: String::new(),
        found: contents(content),
        severity: Severity::Critical,
    }));
    once(found)
}

/// Makes one of those that are of the same, which says all that was found.
fn once(all: Vec<Difference>) -> Vec<Difference> {
    let mut places = BTreeMap::new();
    let mut found: Vec<Difference> = Vec::new();
    let mut said: BTreeSet<(What, String)> = BTreeSet::new();
    for one in all {
        if !said.insert((one.what.clone(), one.found.clone())) {
            continue;
        }
        let place = *places.entry(one.what.clone()).or_insert(found.len());
        match found.get_mut(place) {
            None => found.push(one),
            Some(first) => {
                first.found = format!("{}; {}", first.found, one.found);
                first.severity = first.severity.max(one.severity);
            }
        }
    }
    found
}

/// All of the digest: what somebody accepts of it at the controller is this content and no other, not
/// even one that was made to begin alike. What is not read here may become another unseen.
fn contents(content: &Content) -> String {
    match content {
        Content::Read(digest) => content_of(*digest),
        Content::Unread(digest) => format!("not read: {digest}"),
    }
}

/// Whoever has uid 0 beside root; and a number that is written so that programs may read another one
/// from it, as the C library does of ` 0` and `-0`.
fn uid_zero(login: &str, entry: Entry<'_>) -> Option<Difference> {
    let field = entry.field(passwd::UID);
    let is_plain = !field.is_empty() && field.iter().all(u8::is_ascii_digit);
    let another = login != "root" && (!is_plain || entry.number(passwd::UID) == Some(0));
    another.then(|| Difference {
        what: What::new(DriftKind::UidZero, login, ""),
        expected: "root alone has uid 0".to_owned(),
        found: format!("uid `{}`", String::from_utf8_lossy(field)),
        severity: Severity::Critical,
    })
}

/// Programs that let nobody do anything, by their whole paths: what another is called says nothing.
const NO_SHELLS: &[&str] = &[
    "/usr/sbin/nologin",
    "/sbin/nologin",
    "/usr/bin/nologin",
    "/bin/false",
    "/usr/bin/false",
    "/bin/true",
    "/usr/bin/true",
    "/bin/sync",
    "/usr/bin/sync",
    "/sbin/shutdown",
    "/usr/sbin/shutdown",
    "/sbin/halt",
    "/usr/sbin/halt",
];

/// Somebody may get in whose account has a shell that takes commands. Whether he has a key or a
/// password is told, and may change the next moment.
pub(crate) fn can_log_in(entry: Entry<'_>) -> bool {
    !NO_SHELLS.contains(&entry.text(passwd::SHELL).unwrap_or_default())
}

fn account(observed: &ObservedState, login: &str, entry: Entry<'_>) -> Difference {
    let password = match observed.shadow.get(login) {
        None => "no line in shadow",
        Some(line) => match Password::of(line.field(shadow::PASSWORD)) {
            Password::Locked => "locked password",
            Password::Impossible => "no password",
            Password::Empty => "an empty password",
            Password::Set => "a password",
        },
    };
    let text = |field| String::from_utf8_lossy(entry.field(field)).into_owned();
    Difference {
        what: What::new(DriftKind::AccountNew, login, ""),
        expected: "no such account, or as it was".to_owned(),
        found: format!("uid {}, {}, {password}", text(passwd::UID), text(passwd::SHELL)),
        severity: Severity::High,
    }
}

/// Whoever is in a Unix group that is as good as root without Muster having put him there. What
/// Muster owns is put right by the plan, and told with it.
fn members(observed: &ObservedState, ownership: &Ownership) -> Vec<Difference> {
    let by_gid = primaries(observed);
    // Another name for the number of such a Unix group is one as well.
    let numbered = observed
        .group
        .entries()
        .filter_map(|entry| Some((entry.number(group::GID)?, root_equivalence(entry.text(0)?)?)));
    let by_number: BTreeMap<u32, &str> = numbered.collect();
    let mut found = Vec::new();
    for entry in observed.group.entries() {
        let Some(name) = entry.text(0) else { continue };
        let gid = entry.number(group::GID);
        let numbered = gid.and_then(|gid| by_number.get(&gid).copied());
        let Some(why) = root_equivalence(name).or(numbered) else { continue };
        let primary = gid.and_then(|gid| by_gid.get(&gid)).into_iter().flatten().copied();
        // A system account has its own Unix group, which is no gain.
        let primary = primary.filter(|login| *login != name);
        for login in group::members(entry).chain(primary) {
            if login == "root" || is_given(ownership, login, name) {
                continue;
            }
            found.push(Difference {
                what: What::new(DriftKind::MemberUngranted, login, name),
                expected: "no member".to_owned(),
                found: format!("a member, who {why}"),
                severity: Severity::Critical,
            });
        }
    }
    found
}

/// Returns who is in a Unix group by the number in passwd.
fn primaries(observed: &ObservedState) -> BTreeMap<u32, Vec<&str>> {
    let mut by_gid: BTreeMap<u32, Vec<&str>> = BTreeMap::new();
    for entry in observed.passwd.entries() {
        if let (Some(login), Some(gid)) = (entry.text(0), entry.number(passwd::GID)) {
            by_gid.entry(gid).or_default().push(login);
        }
    }
    by_gid
}

fn is_given(ownership: &Ownership, login: &str, unix_group: &str) -> bool {
    let own = ownership.accounts.iter().find(|(own, _)| own.as_str() == login);
    own.is_some_and(|(_, own)| own.given.iter().any(|given| given.as_str() == unix_group))
}

#[cfg(test)]
mod tests;
