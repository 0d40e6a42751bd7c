//! Unix groups: which of Muster's can be, and who is in which. The mode (exactly, at least, hands
//! off) is about one account's supplementary Unix groups; a Unix group whose own statement says
//! exactly has nobody else in it. group and gshadow get the same members, each from what it has.

mod rule;

use std::collections::{BTreeMap, BTreeSet};

use muster_proto::{
    desired::DesiredState,
    name::{Gid, Login, UnixGroupName},
    privilege::is_root_equivalent,
    receipt::{Finding, FindingKind},
    statement::{MemberList, UnixGroupMode},
};

use crate::{
    format::{Edit, Table, group, ssh::MARKER},
    listing::count,
    observed::ObservedState,
    ownership::Ownership,
    policy::HostPolicy,
};

use self::rule::{Stand, rules};
use super::{
    action::{AccountEdits, Note, finding, note},
    judge::{Judged, Standing},
};

/// Who shall be in which Unix group, and which are to be created.
#[derive(Debug, Default)]
pub(super) struct Membership<'a> {
    /// By Unix group, who shall be in it. Whoever is not named stays as found.
    into: BTreeMap<&'a str, BTreeSet<&'a str>>,
    /// By Unix group, who is in it and shall not be.
    out: BTreeMap<&'a str, BTreeSet<&'a str>>,
    created: BTreeMap<&'a str, u32>,
    /// What Muster gives each kept account.
    pub(super) given: BTreeMap<&'a Login, BTreeSet<UnixGroupName>>,
    /// Those who lose a Unix group that is as good as root, now or in a session from before.
    pub(super) losers: BTreeSet<&'a str>,
    /// The Unix groups that are Muster's afterwards.
    pub(super) owned: BTreeMap<UnixGroupName, Gid>,
    pub(super) findings: Vec<Finding>,
}

impl<'a> Membership<'a> {
    pub(super) fn of(
        observed: &'a ObservedState,
        desired: &'a DesiredState,
        ownership: &'a Ownership,
        policy: &HostPolicy,
        judged: &Judged<'a>,
    ) -> Self {
        let mut this = Self { owned: ownership.unix_groups.clone(), ..Self::default() };
        let taken: BTreeSet<u32> =
            observed.group.entries().filter_map(|entry| entry.number(group::GID)).collect();
        this.settle_marker(observed, judged, &taken);
        this.settle_fleet(observed, desired, judged, &taken);
        this.settle_targets(observed, desired, judged);
        let rules = rules(judged);
        let exact: BTreeSet<&str> = desired
            .unix_groups
            .values()
            .filter(|group| group.members == MemberList::Exactly)
            .map(|group| group.name.as_str())
            .filter(|name| this.owned.keys().any(|owned| owned.as_str() == *name))
            .chain([MARKER])
            .collect();
        let ours: BTreeSet<&str> = ownership.accounts.keys().map(Login::as_str).collect();
        let nobody = BTreeSet::new();
        let tables = [Some(&observed.group), observed.gshadow.as_ref()];
        for entry in tables.into_iter().flatten().flat_map(Table::entries) {
            let Some(name) = entry.text(0) else { continue };
            let wanted = this.into.get(name).unwrap_or(&nobody);
            let members: BTreeSet<&str> = group::members(entry).collect();
            for &member in members.difference(wanted).filter(|member| **member != name) {
                let goes = match rules.get(member) {
                    Some(rule) if name == MARKER => rule.stand == Stand::Kept,
                    Some(rule) => rule.takes(name) || exact.contains(name),
                    // Outside of it the account's own keys would count, once there is one again.
                    None if name == MARKER && ours.contains(member) => false,
                    None => exact.contains(name) && !policy.protects(member),
                };
                if goes {
                    this.out.entry(name).or_default().insert(member);
                    if is_root_equivalent(name) && rules.contains_key(member) {
                        this.losers.insert(member);
                    }
                }
            }
        }
        this.find_old_sessions(observed, judged);
        this
    }

    /// The Unix group that the sshd drop-in matches: the highest free number of a system's own.
    fn settle_marker(
        &mut self,
        observed: &'a ObservedState,
        judged: &Judged<'a>,
        taken: &BTreeSet<u32>,
    ) {
        if !judged.has_anybody() || observed.group.get(MARKER).is_some() {
            return;
        }
        match (100..1_000).rev().find(|gid| !taken.contains(gid)) {
            Some(gid) => {
                self.created.insert(MARKER, gid);
            }
            None => self.findings.push(finding(
                FindingKind::Unmet,
                MARKER,
                "no gid from 100 to 999 is free",
            )),
        }
    }

    fn settle_fleet(
        &mut self,
        observed: &'a ObservedState,
        desired: &'a DesiredState,
        judged: &Judged<'a>,
        taken: &BTreeSet<u32>,
    ) {
        let new_uids: BTreeSet<u32> = judged.kept.values().map(|kept| kept.uid.get()).collect();
        for (name, wanted) in &desired.unix_groups {
            let gid = wanted.gid.get();
            let present = observed.group.get(name.as_str());
            let reason = match present.map(|entry| entry.number(group::GID)) {
                Some(found) if found == Some(gid) && self.owned.get(name) == Some(&wanted.gid) => {
                    continue;
                }
                Some(Some(found)) => format!("a Unix group with gid {found} is there"),
                Some(None) => "a Unix group without gid is there".to_owned(),
                None if taken.contains(&gid) => format!("gid {gid} is another Unix group's"),
                None if new_uids.contains(&gid) => format!("gid {gid} is a user's own"),
                None if observed.passwd.get(name.as_str()).is_some() => {
                    "an account has this name".to_owned()
                }
                None => {
                    self.created.insert(name.as_str(), gid);
                    self.owned.insert(name.clone(), wanted.gid);
                    continue;
                }
            };
            self.owned.remove(name);
            self.findings.push(finding(FindingKind::Conflict, name, reason));
        }
    }

    fn settle_targets(
        &mut self,
        observed: &'a ObservedState,
        desired: &'a DesiredState,
        judged: &Judged<'a>,
    ) {
        let mut unmet: BTreeMap<&str, usize> = BTreeMap::new();
        for (login, kept) in &judged.kept {
            let account = kept.account;
            let mut given = BTreeSet::new();
            if account.unix_group_mode != UnixGroupMode::HandsOff {
                let fleet = account.unix_groups.iter().filter(|name| {
                    desired.unix_groups.contains_key(*name) && self.owned.contains_key(*name)
                });
                let (there, missing): (Vec<_>, Vec<_>) = account
                    .host_unix_groups
                    .iter()
                    .partition(|name| observed.group.get(name.as_str()).is_some());
                for name in missing {
                    *unmet.entry(name.as_str()).or_default() += 1;
                }
                for name in fleet.chain(there) {
                    given.insert(name.clone());
                    self.into.entry(name.as_str()).or_default().insert(login.as_str());
                }
            }
            self.given.insert(*login, given);
        }
        for login in judged.kept.keys().chain(judged.fenced.keys()) {
            self.into.entry(MARKER).or_default().insert(login.as_str());
        }
        for (name, number) in unmet {
            let accounts = count(number, "account", "accounts");
            let detail = format!("the host has no such Unix group; {accounts} should be in it");
            self.findings.push(finding(FindingKind::Unmet, name, detail));
        }
    }

    /// A session keeps the Unix groups that it began with, whatever the files say since.
    fn find_old_sessions(&mut self, observed: &'a ObservedState, judged: &Judged<'a>) {
        let privileged: Vec<_> = observed
            .group
            .entries()
            .filter(|entry| entry.text(0).is_some_and(is_root_equivalent))
            .filter_map(|entry| entry.number(group::GID).map(|gid| (gid, entry)))
            .collect();
        for (login, kept) in &judged.kept {
            let (Standing::Held(..), Some(running)) =
                (&kept.standing, observed.running.get(&kept.uid.get()))
            else {
                continue;
            };
            let stale = privileged.iter().any(|(gid, entry)| {
                let is_member = group::members(*entry).any(|member| member == login.as_str());
                running.unix_groups.contains(gid) && *gid != kept.gid && !is_member
            });
            if stale {
                self.losers.insert(login.as_str());
            }
        }
    }

    /// Adds what takes memberships away.
    pub(super) fn take(&self, observed: &ObservedState, edits: &mut AccountEdits) -> Vec<Note> {
        let mut told: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
        for (table, edits) in both(observed, edits) {
            for (name, out) in &self.out {
                let present = members_of(table, name);
                let out = out.intersection(&present);
                let remove: BTreeSet<String> = out
                    .map(|login| {
                        told.entry(login).or_default().insert(name);
                        (*login).to_owned()
                    })
                    .collect();
                if !remove.is_empty() {
                    let name = (*name).to_owned();
                    edits.push(Edit::Members { name, add: BTreeSet::new(), remove });
                }
            }
        }
        let notes = told.into_iter();
        notes
            .map(|(login, names)| note("memberships-changed", login, list("out of", names)))
            .collect()
    }

    /// Adds what creates Unix groups and puts members into them.
    pub(super) fn give(&self, observed: &ObservedState, edits: &mut AccountEdits) -> Vec<Note> {
        let mut told: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
        for (at, (table, edits)) in both(observed, edits).into_iter().enumerate() {
            let nobody = BTreeSet::new();
            let names: BTreeSet<&str> =
                self.into.keys().chain(self.created.keys()).copied().collect();
            for name in names {
                let into = self.into.get(name).unwrap_or(&nobody);
                let present = first_members(table, name);
                let add: BTreeSet<&str> = into.difference(&present).copied().collect();
                let members: BTreeSet<String> =
                    add.iter().map(|login| (*login).to_owned()).collect();
                let owned_name = name.to_owned();
                if table.get(name).is_some() {
                    if !add.is_empty() {
                        let remove = BTreeSet::new();
                        edits.push(Edit::Members { name: owned_name, add: members, remove });
                    }
                } else if let Some(gid) = self.created.get(name) {
                    let line = if at == 0 {
                        group::new_group_line(name, *gid, &members)
                    } else {
                        group::new_gshadow_line(name, &members)
                    };
                    edits.push(Edit::Add { name: owned_name, line });
                } else {
                    continue;
                }
                for login in add {
                    told.entry(login).or_default().insert(name);
                }
            }
        }
        let created = self.created.iter();
        let created =
            created.map(|(name, gid)| note("unix-group-created", name, format!("gid {gid}")));
        let into = told.into_iter();
        let into =
            into.map(|(login, names)| note("memberships-changed", login, list("into", names)));
        created.chain(into).collect()
    }
}

fn both<'a>(
    observed: &'a ObservedState,
    edits: &'a mut AccountEdits,
) -> Vec<(&'a Table, &'a mut Vec<Edit>)> {
    let mut tables = vec![(&observed.group, &mut edits.group)];
    tables.extend(observed.gshadow.as_ref().map(|gshadow| (gshadow, &mut edits.gshadow)));
    tables
}

fn members_of<'a>(table: &'a Table, name: &str) -> BTreeSet<&'a str> {
    table.all(name).flat_map(group::members).collect()
}

fn first_members<'a>(table: &'a Table, name: &str) -> BTreeSet<&'a str> {
    table.get(name).into_iter().flat_map(group::members).collect()
}

fn list(head: &str, names: BTreeSet<&str>) -> String {
    format!("{head} {}", names.into_iter().collect::<Vec<_>>().join(", "))
}
