//! Unix groups: which of Muster's can be, and who is in which. The mode (exactly, at least, hands
//! off) is about one account's supplementary Unix groups; a Unix group whose own statement says
//! exactly has nobody else in it. group and gshadow get the same members, each from what it has.

mod edits;
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
    format::{Table, group, ssh::MARKER},
    listing::count,
    observed::ObservedState,
    ownership::Ownership,
    policy::HostPolicy,
};

use self::rule::{Stand, rules};
use super::{
    action::finding,
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
    /// Muster's own that have another gid, with the one that is put back.
    put_back: BTreeMap<&'a str, u32>,
    /// Muster's own that have another gid, where that cannot be put back: nobody comes in, and nobody
    /// who belongs there goes.
    stuck: BTreeSet<&'a str>,
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
            .filter(|name| !this.stuck.contains(name))
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
            let is_ours = self.owned.get(name) == Some(&wanted.gid);
            let other = if taken.contains(&gid) {
                Some("another Unix group's")
            } else {
                new_uids.contains(&gid).then_some("a user's own")
            };
            let reason = match (present.map(|entry| entry.number(group::GID)), other) {
                (Some(found), other) if is_ours => {
                    if found != Some(gid) {
                        self.settle_gid(name, gid, other);
                    }
                    continue;
                }
                (Some(Some(found)), _) => format!("a Unix group with gid {found} is there"),
                (Some(None), _) => "a Unix group without gid is there".to_owned(),
                (None, Some(other)) => format!("gid {gid} is {other}"),
                (None, None) if observed.passwd.get(name.as_str()).is_some() => {
                    "an account has this name".to_owned()
                }
                (None, None) => {
                    self.created.insert(name.as_str(), gid);
                    self.owned.insert(name.clone(), wanted.gid);
                    continue;
                }
            };
            self.owned.remove(name);
            self.findings.push(finding(FindingKind::Conflict, name, reason));
        }
    }

    /// One of Muster's stays its own whatever gid somebody gives it: its members are those that it
    /// was made for, and files that they share have the gid that it had.
    fn settle_gid(&mut self, name: &'a UnixGroupName, gid: u32, other: Option<&str>) {
        if let Some(other) = other {
            let detail = format!("its gid is not {gid} any more, and that is {other} by now");
            self.findings.push(finding(FindingKind::Conflict, name, detail));
            self.stuck.insert(name.as_str());
        } else {
            self.put_back.insert(name.as_str(), gid);
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
                    desired.unix_groups.contains_key(*name)
                        && self.owned.contains_key(*name)
                        && (!self.stuck.contains(name.as_str())
                            || members_of(&observed.group, name.as_str()).contains(login.as_str()))
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
}

fn members_of<'a>(table: &'a Table, name: &str) -> BTreeSet<&'a str> {
    table.all(name).flat_map(group::members).collect()
}
