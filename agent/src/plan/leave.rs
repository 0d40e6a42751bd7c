//! Leaving a fleet: adopted accounts get back what adoption replaced, created ones stay as they are
//! or are locked. An account whose access has ended stays locked: leaving gives nobody back what was
//! taken. Pure; done again after a stop, it comes to the same.

use std::collections::BTreeSet;

use muster_proto::{
    desired::DesiredState,
    name::{Login, Uid},
    receipt::FindingKind,
    time::Timestamp,
};

use crate::{
    format::{Edit, OldLine, Table, group, passwd, ssh::MARKER},
    observed::{ObservedState, Scope},
    ownership::{Before, Origin, Ownership},
    policy::HostPolicy,
};

use super::{
    AccountEdits, Action, Phase, Plan, Planned,
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
        if !edits.is_empty() {
            let action = Action::Accounts(edits);
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
        self.memberships(&observed.group, &mut edits.group);
        if let Some(gshadow) = &observed.gshadow {
            self.memberships(gshadow, &mut edits.gshadow);
        }
        note("account-given-back", &self.login, "as it was before it was adopted")
    }

    /// The memberships that it had come back, those that Muster gave go.
    fn memberships(&self, table: &Table, edits: &mut Vec<Edit>) {
        let who = || BTreeSet::from([self.login.to_string()]);
        let had = &self.before.unix_groups;
        for name in had.iter().filter(|name| table.get(name).is_some()) {
            let (name, add, remove) = (name.clone(), who(), BTreeSet::new());
            edits.push(Edit::Members { name, add, remove });
        }
        let marker = MARKER.to_owned();
        for name in self.given.iter().chain([&marker]).filter(|name| !had.contains(*name)) {
            let mut entries = table.all(name);
            if entries.any(|entry| group::members(entry).any(|m| m == self.login.as_str())) {
                let (name, add, remove) = (name.clone(), BTreeSet::new(), who());
                edits.push(Edit::Members { name, add, remove });
            }
        }
    }
}
