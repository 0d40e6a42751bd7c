//! What a change does, host by host: `derive` before and after, over labels that hosts reported.
//! Pure. What rests on a report is not proof, and whoever prints it says so.

use std::collections::{BTreeMap, BTreeSet};

use muster_proto::{
    derive::{Circumstances, Statements, derive},
    desired::{Entitlement, Grant},
    id::HostId,
    name::{Login, Uid, UnixGroupName},
    revocations::Revocations,
    selector::Labels,
    sudo::SudoCommand,
    time::Now,
};

use crate::describe;

/// A host as far as its labels go.
#[derive(Clone, Debug)]
pub struct HostLabels {
    /// Its id.
    pub id: HostId,
    /// What it calls itself.
    pub hostname: String,
    /// Its labels, as it reported them.
    pub labels: Labels,
}

/// What a change does on one host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Effect {
    /// The host.
    pub id: HostId,
    /// What it calls itself.
    pub hostname: String,
    /// Logins that get an account.
    pub gained: BTreeSet<Login>,
    /// Logins whose account is there already and becomes theirs, each with the uid that it keeps.
    pub takes_over: BTreeMap<Login, Uid>,
    /// Logins whose account is locked.
    pub lost: BTreeSet<Login>,
    /// Logins whose account stays and changes, each with what is new and what goes.
    pub changed: BTreeMap<Login, Vec<String>>,
    /// Logins that can become root and could not.
    pub gains_root: BTreeSet<Login>,
    /// Logins that could become root and no longer can.
    pub loses_root: BTreeSet<Login>,
}

/// Returns the hosts on which something changes.
pub fn preview(
    before: &Statements,
    after: &Statements,
    revocations: (&Revocations, &Revocations),
    hosts: &[HostLabels],
    now: Now,
) -> Vec<Effect> {
    let on = |statements, revocations, host: &HostLabels| {
        derive(statements, &Circumstances { host: host.id, labels: &host.labels, revocations, now })
    };
    let effects = hosts.iter().filter_map(|host| {
        let (old, new) = (on(before, revocations.0, host), on(after, revocations.1, host));
        effect(host, &old, &new)
    });
    effects.collect()
}

fn effect(host: &HostLabels, old: &BTreeSet<Grant>, new: &BTreeSet<Grant>) -> Option<Effect> {
    let (before, after) = (by_login(old), by_login(new));
    if before == after {
        return None;
    }
    let logins = |grants: &BTreeMap<Login, BTreeSet<Entitlement>>| -> BTreeSet<Login> {
        grants.keys().cloned().collect()
    };
    let (had, has) = (logins(&before), logins(&after));
    let mut changed = BTreeMap::new();
    for login in had.intersection(&has) {
        let (Some(old), Some(new)) = (before.get(login), after.get(login)) else { continue };
        let mut words: Vec<String> =
            new.difference(old).map(|e| format!("+ {}", describe::entitlement(e))).collect();
        words.extend(old.difference(new).map(|e| format!("- {}", describe::entitlement(e))));
        if !words.is_empty() {
            changed.insert(login.clone(), words);
        }
    }
    let adopted = |grants: &BTreeMap<Login, BTreeSet<Entitlement>>| -> BTreeMap<Login, Uid> {
        let uid = |all: &BTreeSet<Entitlement>| {
            all.iter().find_map(|entitlement| match entitlement {
                Entitlement::Adoption(uid) => Some(*uid),
                _ => None,
            })
        };
        grants.iter().filter_map(|(login, all)| Some((login.clone(), uid(all)?))).collect()
    };
    let (adopted, mut takes_over) = (adopted(&before), adopted(&after));
    let mut lost: BTreeSet<Login> = had.difference(&has).cloned().collect();
    // An account that no adoption names any more is locked, whatever else its user still has.
    lost.extend(adopted.keys().filter(|login| !takes_over.contains_key(login)).cloned());
    takes_over.retain(|login, uid| adopted.get(login) != Some(uid));
    let root = |grants: &BTreeMap<Login, BTreeSet<Entitlement>>| -> BTreeSet<Login> {
        let reaches = |(login, all): (&Login, &BTreeSet<Entitlement>)| {
            all.iter().any(reaches_root).then(|| login.clone())
        };
        grants.iter().filter_map(reaches).collect()
    };
    let (could, can) = (root(&before), root(&after));
    Some(Effect {
        id: host.id,
        hostname: host.hostname.clone(),
        gained: has.difference(&had).cloned().collect(),
        takes_over,
        lost,
        changed,
        gains_root: can.difference(&could).cloned().collect(),
        loses_root: could.difference(&can).cloned().collect(),
    })
}

fn by_login(grants: &BTreeSet<Grant>) -> BTreeMap<Login, BTreeSet<Entitlement>> {
    let mut all: BTreeMap<Login, BTreeSet<Entitlement>> = BTreeMap::new();
    for grant in grants {
        all.entry(grant.login.clone()).or_default().insert(grant.entitlement.clone());
    }
    all
}

/// Says whether an entitlement lets somebody become root, as far as the directory knows. A program
/// that escapes to a shell is found by the sudo lint, which is not here yet.
pub fn reaches_root(entitlement: &Entitlement) -> bool {
    match entitlement {
        Entitlement::Sudo(_, rule) => {
            let as_group =
                rule.run_as.group.as_ref().is_some_and(UnixGroupName::is_root_equivalent);
            (rule.run_as.user.reaches_root() || as_group)
                && rule.commands.contains(&SudoCommand::All)
        }
        Entitlement::HostUnixGroup(name) => name.is_root_equivalent(),
        Entitlement::UnixGroup(group) => group.name.is_root_equivalent(),
        Entitlement::Account(_)
        | Entitlement::Adoption(_)
        | Entitlement::Key { .. }
        | Entitlement::Login(_)
        | Entitlement::UnixGroupMode(..)
        | Entitlement::Password(_) => false,
    }
}
