//! Which accounts are purged: those that Muster made and that have been locked for as long as the
//! host's own configuration says, once nothing of them runs and nobody else has their uid.

use std::collections::BTreeSet;

use muster_proto::{name::Login, time::Timestamp};

use crate::{
    format::{Edit, Entry, Table, group, passwd},
    observed::ObservedState,
    ownership::Origin,
    policy::HostPolicy,
};

use super::{
    action::{AccountEdits, Purged},
    judge::{Judged, Leaving, Line},
};

const DAY: u64 = 86_400;

/// Returns who is purged.
pub(super) fn purged(
    observed: &ObservedState,
    judged: &Judged<'_>,
    policy: &HostPolicy,
    locked: &BTreeSet<String>,
    now: Timestamp,
) -> Vec<Purged> {
    let Some(days) = policy.purge_after_days else { return Vec::new() };
    let is_due = |login: &Login, leaving: &Leaving<'_>| {
        let owned = leaving.owned;
        let running = observed.running.get(&owned.uid.get());
        owned.origin == Origin::Created
            && owned.locked_at.is_some_and(|at| now >= at.plus(days.saturating_mul(DAY)))
            && leaving.alone
            && leaving.line != Line::Renumbered
            && !owned.sessions_owed
            && running.is_none_or(|running| running.processes == 0)
            && !observed.jobs.contains(login)
            // What is locked only now was open until now.
            && !locked.contains(login.as_str())
    };
    let due = judged.leaving.iter().filter(|(login, leaving)| is_due(login, leaving));
    let purged = |(login, leaving): (&&Login, &Leaving<'_>)| Purged {
        login: (*login).clone(),
        uid: leaving.owned.uid.get(),
        subuids: observed.own_subuids.get(*login).cloned().unwrap_or_default(),
        home: home(observed, login.as_str(), policy),
        edits: edits(observed, login.as_str(), leaving.owned.uid.get()),
    };
    due.map(purged).collect()
}

/// Returns a home that may be moved: one directly in the place of homes that nobody else lives in.
fn home(observed: &ObservedState, login: &str, policy: &HostPolicy) -> Option<String> {
    let path = observed.passwd.get(login)?.text(passwd::HOME)?;
    let name = path.strip_prefix(policy.home_base.as_str())?.strip_prefix('/')?;
    let is_name = !name.is_empty() && !name.starts_with('.') && !name.contains('/');
    let below = format!("{path}/");
    let lives_there = |other: Entry<'_>| {
        let home = other.text(passwd::HOME).unwrap_or_default();
        other.text(0) != Some(login) && (home == path || home.starts_with(&below))
    };
    let is_alone = !observed.passwd.entries().any(lives_there);
    (is_name && is_alone).then(|| path.to_owned())
}

fn edits(observed: &ObservedState, login: &str, uid: u32) -> AccountEdits {
    let lines = |table: &Table, name: &str| -> Vec<Edit> {
        let remove =
            |entry: Entry<'_>| Edit::Remove { name: name.to_owned(), line: entry.line().to_vec() };
        table.all(name).map(remove).collect()
    };
    let mut edits = AccountEdits {
        passwd: lines(&observed.passwd, login),
        shadow: lines(&observed.shadow, login),
        ..AccountEdits::default()
    };
    let has_own = is_its_own_group(observed, login, uid);
    if has_own {
        edits.group.extend(lines(&observed.group, login));
        edits.gshadow.extend(observed.gshadow.iter().flat_map(|table| lines(table, login)));
    }
    let membership = |table: &Table| -> Vec<Edit> {
        let is_in = |entry: &Entry<'_>| group::members(*entry).any(|member| member == login);
        let names = table.entries().filter(is_in).filter_map(|entry| entry.text(0));
        let others: BTreeSet<&str> = names.filter(|name| !has_own || *name != login).collect();
        let leave = |name: &str| Edit::Members {
            name: name.to_owned(),
            add: BTreeSet::new(),
            remove: BTreeSet::from([login.to_owned()]),
        };
        others.into_iter().map(leave).collect()
    };
    edits.group.extend(membership(&observed.group));
    edits.gshadow.extend(observed.gshadow.iter().flat_map(membership));
    edits
}

/// Says whether the Unix group of this name is the account's primary one and nobody else's.
fn is_its_own_group(observed: &ObservedState, login: &str, uid: u32) -> bool {
    let mut lines = observed.group.all(login);
    let is_own = lines.next().is_some_and(|line| {
        line.number(group::GID) == Some(uid) && group::members(line).all(|member| member == login)
    });
    let has_it =
        |entry: Entry<'_>| entry.text(0) != Some(login) && entry.number(passwd::GID) == Some(uid);
    is_own && lines.next().is_none() && !observed.passwd.entries().any(has_it)
}
