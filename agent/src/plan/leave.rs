//! Leaving a fleet: adopted accounts get back what adoption replaced, created ones stay as they are
//! or are locked. With nobody left, what let Muster's accounts in goes too. An account whose access
//! has ended stays locked: leaving gives nobody back what was taken. Pure; done again after a stop,
//! it comes to the same.

use std::collections::BTreeSet;

use muster_proto::{
    desired::DesiredState,
    name::{Login, Uid},
    receipt::FindingKind,
    time::Timestamp,
};

use crate::{
    format::{
        Edit, Entry, OldLine, Table, group, passwd,
        ssh::{DROP_IN, MARKER},
    },
    observed::{DropIn, ObservedState, Scope},
    ownership::{Before, Origin, Ownership},
    policy::HostPolicy,
};

use super::{
    AccountEdits, Action, Files, Phase, Plan, Planned,
    action::{Note, finding, note},
    plan,
};

/// What becomes of the accounts that Muster created.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Created {
    /// They stay as they are.
    Stay,
    /// They are locked.
    Lock,
}

/// What leaving is planned from.
#[derive(Debug)]
pub struct Leave {
    /// What is Muster's afterwards, and is to be looked at with the rest.
    rest: Ownership,
    desired: DesiredState,
    back: Vec<Back>,
}

/// An account that gets back what adoption replaced.
#[derive(Debug)]
struct Back {
    login: Login,
    uid: Uid,
    before: Before,
    given: BTreeSet<String>,
}

/// What leaving does, and which accounts it leaves as they are.
#[derive(Debug)]
pub struct LeavePlan {
    /// What is to be done.
    pub plan: Plan,
    /// Who stays, each with how.
    pub stays: Vec<(Login, &'static str)>,
}

impl Leave {
    /// Parts the accounts into those that are given back and the rest.
    pub fn of(desired: &DesiredState, ownership: &Ownership, created: Created) -> Self {
        let (mut rest, mut back) = (ownership.clone(), Vec::new());
        for (login, owned) in &ownership.accounts {
            let Origin::Adopted(before) = &owned.origin else { continue };
            if owned.is_let_go(desired.accounts.get(login)) {
                continue;
            }
            rest.accounts.remove(login);
            let given = owned.given.iter().map(ToString::to_string).collect();
            let (login, before) = (login.clone(), before.clone());
            back.push(Back { login, uid: owned.uid, before, given });
        }
        let mut desired = desired.clone();
        match created {
            Created::Stay => desired.accounts.retain(|login, _| rest.accounts.contains_key(login)),
            Created::Lock => desired.accounts.clear(),
        }
        Self { rest, desired, back }
    }

    /// Returns what has to be looked at.
    pub fn scope(&self, policy: &HostPolicy) -> Scope {
        Scope::of(&self.desired, &self.rest, policy)
    }

    /// Returns what has to be done. Whatever else the host still lacks is not given any more.
    pub fn plan(
        &self,
        observed: &ObservedState,
        ownership: &Ownership,
        policy: &HostPolicy,
        now: Timestamp,
    ) -> LeavePlan {
        let mut plan = plan(observed, &self.desired, &self.rest, policy, now);
        plan.actions.retain(|planned| planned.phase == Phase::Take);
        let (mut edits, mut notes) = (AccountEdits::default(), Vec::new());
        for back in &self.back {
            match back.refusal(observed, policy) {
                None => notes.push(back.edit(observed, &mut edits)),
                Some((kind, why)) => {
                    // It stays Muster's: whoever mends it can leave once more.
                    let owned = ownership.accounts.get(&back.login).cloned();
                    plan.ownership_after
                        .accounts
                        .extend(owned.map(|owned| (back.login.clone(), owned)));
                    plan.findings.push(finding(kind, &back.login, why));
                }
            }
        }
        let is_empty = plan.ownership_after.accounts.is_empty();
        if is_empty {
            let taking = plan.actions.iter_mut().filter_map(|planned| match &mut planned.action {
                Action::Accounts(edits) => Some(edits),
                _ => None,
            });
            self.remove_marker(observed, taking, &mut edits);
        }
        if !edits.is_empty() {
            let action = Action::Accounts(edits);
            plan.actions.push(Planned { phase: Phase::Give, action, notes });
        }
        // Not before: until then it is what keeps their own keys from counting.
        if is_empty && matches!(observed.drop_in, DropIn::Present(_)) {
            let action = Action::DropIn(Files {
                remove: BTreeSet::from([DROP_IN.to_owned()]),
                ..Files::default()
            });
            let notes = vec![note("sshd-restored", "sshd", DROP_IN)];
            plan.actions.push(Planned { phase: Phase::Give, action, notes });
        }
        plan.findings.sort();
        let stays = self.rest.accounts.iter().map(|(login, owned)| {
            let how = match (self.desired.accounts.get(login), &owned.origin) {
                (Some(account), _) if !owned.is_let_go(Some(account)) => "stays as it is",
                (_, Origin::Created) => "locked",
                (_, Origin::Adopted(_)) => "stays locked: its access has ended",
            };
            (login.clone(), how)
        });
        LeavePlan { plan, stays: stays.collect() }
    }
}

impl Leave {
    /// The Unix group of Muster's accounts goes in one piece, unless somebody who is not given back
    /// is in it.
    fn remove_marker<'a>(
        &self,
        observed: &ObservedState,
        taking: impl Iterator<Item = &'a mut AccountEdits>,
        giving: &mut AccountEdits,
    ) {
        let tables = [Some(&observed.group), observed.gshadow.as_ref()];
        let lines = tables.into_iter().flatten().flat_map(|table| table.all(MARKER));
        let is_given_back =
            |member: &str| self.back.iter().any(|back| back.login.as_str() == member);
        if !lines.flat_map(group::members).all(is_given_back) {
            return;
        }
        let is_other = |edit: &Edit| !matches!(edit, Edit::Members { name, .. } if name == MARKER);
        for edits in taking {
            edits.group.retain(is_other);
            edits.gshadow.retain(is_other);
        }
        let removed = |table: &Table| -> Vec<Edit> {
            let line = |entry: Entry<'_>| entry.line().to_vec();
            let remove = |line| Edit::Remove { name: MARKER.to_owned(), line };
            table.all(MARKER).map(line).map(remove).collect()
        };
        giving.group.retain(is_other);
        giving.group.extend(removed(&observed.group));
        giving.gshadow.retain(is_other);
        giving.gshadow.extend(observed.gshadow.iter().flat_map(removed));
    }
}

impl Back {
    /// Returns why it cannot be given back.
    fn refusal(
        &self,
        observed: &ObservedState,
        policy: &HostPolicy,
    ) -> Option<(FindingKind, String)> {
        let login = self.login.as_str();
        if policy.protects(login) {
            return Some((
                FindingKind::Protected,
                "the host protects it: it is not given back".to_owned(),
            ));
        }
        let found = observed.passwd.get(login).map(|entry| entry.number(passwd::UID));
        match found {
            None => Some((
                FindingKind::AccountMissing,
                "it is gone and cannot be given back".to_owned(),
            )),
            Some(found) if found != Some(self.uid.get()) => {
                Some((FindingKind::Conflict, format!("its uid is not {} any more", self.uid)))
            }
            Some(_) if observed.shadow.get(login).is_none() => {
                Some((FindingKind::Conflict, "shadow has no line for it".to_owned()))
            }
            Some(_) => None,
        }
    }

    /// Adds the edits that give it back.
    fn edit(&self, observed: &ObservedState, edits: &mut AccountEdits) -> Note {
        let name = || self.login.to_string();
        let replace = |line: &OldLine| Edit::Replace { name: name(), line: line.clone() };
        edits.passwd.push(replace(&self.before.passwd));
        edits.shadow.push(replace(&self.before.shadow));
        let missing = self.missing(&observed.group);
        self.memberships(&observed.group, &missing, &mut edits.group);
        if let Some(gshadow) = &observed.gshadow {
            self.memberships(gshadow, &missing, &mut edits.gshadow);
        }
        note("account-given-back", &self.login, "as it was before it was adopted")
    }

    /// Returns the Unix groups that it was in and is in no longer, by any line. group says so for
    /// both files: Muster takes from both alike, and who stood in only one of them is to stand
    /// there alone.
    fn missing(&self, unix_groups: &Table) -> BTreeSet<&String> {
        let had = self.before.unix_groups.iter();
        had.filter(|name| !self.is_in(unix_groups, name)).collect()
    }

    fn is_in(&self, table: &Table, name: &str) -> bool {
        let mut members = table.all(name).flat_map(group::members);
        members.any(|member| member == self.login.as_str())
    }

    /// The memberships that were taken come back, those that Muster gave go.
    fn memberships(&self, table: &Table, missing: &BTreeSet<&String>, edits: &mut Vec<Edit>) {
        let who = || BTreeSet::from([self.login.to_string()]);
        let back = missing.iter().filter(|name| table.get(name).is_some());
        for name in back.filter(|name| !self.is_in(table, name)) {
            let (name, add, remove) = ((*name).clone(), who(), BTreeSet::new());
            edits.push(Edit::Members { name, add, remove });
        }
        let (had, marker) = (&self.before.unix_groups, MARKER.to_owned());
        for name in self.given.iter().chain([&marker]).filter(|name| !had.contains(*name)) {
            if self.is_in(table, name) {
                let (name, add, remove) = (name.clone(), BTreeSet::new(), who());
                edits.push(Edit::Members { name, add, remove });
            }
        }
    }
}
