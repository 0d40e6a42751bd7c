//! What is taken from whom though the host is paused. Pure. A plan does not say why it takes
//! something away: because somebody lost it, or because somebody here has put it there by hand,
//! which a pause leaves. So it is remembered whose grants went since the pause began; of what is
//! theirs, and of what accounts have that nobody is to have, all that takes away is done, and of a
//! file from which something goes all that nobody granted goes with it.

use std::collections::BTreeSet;

use muster_proto::desired::{DesiredState, Entitlement, Grant};

use crate::{
    format::{Edit, sudoers},
    ownership::Ownership,
    plan::{AccountEdits, Action, Files, Leaver, Phase, Plan, Planned},
};

/// From whom and from what something was taken.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Lost {
    /// Accounts.
    pub logins: BTreeSet<String>,
    /// Roles whose sudo rules somebody has lost.
    pub roles: BTreeSet<String>,
    /// Unix groups that somebody is in no longer, or in other company.
    pub unix_groups: BTreeSet<String>,
}

impl Lost {
    /// Notes grants that are no more.
    pub fn note<'a>(&mut self, gone: impl Iterator<Item = &'a Grant>) {
        for grant in gone {
            self.logins.insert(grant.login.to_string());
            match &grant.entitlement {
                Entitlement::Sudo(role, _) => {
                    self.roles.insert(role.to_string());
                }
                Entitlement::UnixGroup(group) => {
                    self.unix_groups.insert(group.name.to_string());
                }
                Entitlement::Account(_)
                | Entitlement::Adoption(_)
                | Entitlement::Key { .. }
                | Entitlement::Login(_)
                | Entitlement::UnixGroupMode(..)
                | Entitlement::HostUnixGroup(_)
                | Entitlement::Password(_) => {}
            }
        }
    }

    /// Notes all that a plan takes away: what was so when the pause began was not done by whoever
    /// is at work in it.
    pub fn note_owed(&mut self, plan: &Plan) {
        for planned in plan.actions.iter().filter(|planned| planned.phase == Phase::Take) {
            let subjects = planned.notes.iter().map(|note| note.subject.clone());
            match planned.action {
                Action::Sudo(_) => self.roles.extend(subjects),
                Action::Accounts(_) | Action::Keys(_) | Action::Jobs(_) | Action::Sessions(_) => {
                    self.logins.extend(subjects);
                }
                Action::LeftBehind(_)
                | Action::Purge(_)
                | Action::Sweep(_)
                | Action::Homes(_)
                | Action::DropIn(_)
                | Action::PasswordPolicy(_) => {}
            }
        }
    }

    /// Notes what of `now` was not so `before`.
    pub fn note_new(&mut self, now: &Self, before: &Self) {
        self.logins.extend(now.logins.difference(&before.logins).cloned());
        self.roles.extend(now.roles.difference(&before.roles).cloned());
        self.unix_groups.extend(now.unix_groups.difference(&before.unix_groups).cloned());
    }

    /// Returns what of a plan is done in a pause: it gives nothing and leaves what was done by hand.
    /// Nothing is purged, since that can wait.
    pub fn of(&self, plan: &Plan, desired: &DesiredState, ownership: &Ownership) -> Plan {
        let gone = ownership.accounts.iter();
        let gone = gone.filter(|(login, owned)| owned.is_let_go(desired.accounts.get(*login)));
        let gone: BTreeSet<&str> = gone.map(|(login, _)| login.as_str()).collect();
        let losers = Losers { lost: self, gone };
        let takes = plan.actions.iter().filter(|planned| planned.phase == Phase::Take);
        let mut left = Plan {
            actions: takes.filter_map(|planned| losers.of(planned)).collect(),
            findings: Vec::new(),
            ownership_after: ownership.clone(),
        };
        for planned in &left.actions {
            let Action::Sessions(leavers) = &planned.action else { continue };
            for leaver in leavers {
                if let Some(owned) = left.ownership_after.accounts.get_mut(&leaver.login) {
                    owned.sessions_owed = true;
                }
            }
        }
        left
    }
}

struct Losers<'a> {
    lost: &'a Lost,
    /// Accounts of Muster's that nobody is to have.
    gone: BTreeSet<&'a str>,
}

impl Losers<'_> {
    fn has(&self, login: &str) -> bool {
        self.gone.contains(login) || self.lost.logins.contains(login)
    }

    fn of(&self, planned: &Planned) -> Option<Planned> {
        let mut told: BTreeSet<String> = BTreeSet::new();
        let action = match &planned.action {
            Action::Sudo(files) => {
                let role =
                    |name: &str| name.strip_prefix(sudoers::PREFIX).unwrap_or(name).to_owned();
                let files = some(files, |name| self.lost.roles.contains(&role(name)));
                told.extend(files.remove.iter().chain(files.write.keys()).map(|name| role(name)));
                Action::Sudo(files)
            }
            Action::Keys(files) => {
                let files = some(files, |login| self.has(login));
                told.extend(files.remove.iter().chain(files.write.keys()).cloned());
                Action::Keys(files)
            }
            Action::Accounts(edits) => Action::Accounts(self.edits(edits, &mut told)),
            // It is one file for everybody.
            Action::DropIn(_) if !self.lost.logins.is_empty() => return Some(planned.clone()),
            Action::Jobs(leavers) => Action::Jobs(self.leavers(leavers, &mut told)),
            Action::Sessions(leavers) => Action::Sessions(self.leavers(leavers, &mut told)),
            Action::LeftBehind(_) => return Some(planned.clone()),
            Action::DropIn(_)
            | Action::PasswordPolicy(_)
            | Action::Purge(_)
            | Action::Sweep(_)
            | Action::Homes(_) => return None,
        };
        let notes = planned.notes.iter().filter(|note| told.contains(&note.subject));
        let notes = notes.cloned().collect();
        (!told.is_empty()).then_some(Planned { phase: planned.phase, action, notes })
    }

    fn leavers(&self, leavers: &[Leaver], told: &mut BTreeSet<String>) -> Vec<Leaver> {
        let some = leavers.iter().filter(|leaver| self.has(leaver.login.as_str()));
        let some: Vec<Leaver> = some.cloned().collect();
        told.extend(some.iter().map(|leaver| leaver.login.to_string()));
        some
    }

    fn edits(&self, edits: &AccountEdits, told: &mut BTreeSet<String>) -> AccountEdits {
        let mut some = |edits: &[Edit]| -> Vec<Edit> {
            edits.iter().filter_map(|edit| self.edit(edit, told)).collect()
        };
        AccountEdits {
            gshadow: some(&edits.gshadow),
            group: some(&edits.group),
            shadow: some(&edits.shadow),
            passwd: some(&edits.passwd),
        }
    }

    fn edit(&self, edit: &Edit, told: &mut BTreeSet<String>) -> Option<Edit> {
        match edit {
            Edit::Members { name, add, remove } => {
                let whole = self.lost.unix_groups.contains(name);
                let remove = remove.iter().filter(|login| whole || self.has(login));
                let remove: BTreeSet<String> = remove.cloned().collect();
                told.extend(remove.iter().cloned());
                let (name, add) = (name.clone(), add.clone());
                (!remove.is_empty()).then_some(Edit::Members { name, add, remove })
            }
            Edit::Add { name, .. }
            | Edit::Set { name, .. }
            | Edit::Remove { name, .. }
            | Edit::Replace { name, .. } => self.has(name).then(|| {
                told.insert(name.clone());
                edit.clone()
            }),
        }
    }
}

fn some(files: &Files, is_wanted: impl Fn(&str) -> bool) -> Files {
    let write = files.write.iter().filter(|(name, _)| is_wanted(name));
    Files {
        write: write.map(|(name, text)| (name.clone(), text.clone())).collect(),
        remove: files.remove.iter().filter(|name| is_wanted(name)).cloned().collect(),
    }
}
