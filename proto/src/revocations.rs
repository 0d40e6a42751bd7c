//! Revocations that are kept, and what each of them ends. They only subtract, so their order and
//! number do not matter, and one that is kept stays.

use std::collections::{BTreeMap, BTreeSet};

use crate::{
    id::{Digest, HostId, Id},
    link::{Revocation, Target},
    statement::Statement,
};

/// All revocations that somebody has verified and kept.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Revocations {
    /// Which revocations name a target: looked up by the target, since there may be thousands.
    of: BTreeMap<Target, BTreeSet<Id>>,
}

impl Revocations {
    /// Keeps one. Another one of the same id takes nothing back: both count, or whoever holds the
    /// online key could undo an approver's by a harmless one of its id.
    pub fn insert(&mut self, revocation: &Revocation) {
        self.of.entry(revocation.target).or_default().insert(revocation.id);
    }

    /// Says whether this one is kept.
    pub fn contains(&self, revocation: &Revocation) -> bool {
        self.of.get(&revocation.target).is_some_and(|ids| ids.contains(&revocation.id))
    }

    /// Returns what is kept.
    pub fn iter(&self) -> impl Iterator<Item = (&Id, &Target)> {
        self.of.iter().flat_map(|(target, ids)| ids.iter().map(move |id| (id, target)))
    }

    /// Returns those for which `keep` says so.
    #[must_use]
    pub fn only(&self, keep: impl Fn(&Id, &Target) -> bool) -> Self {
        let mut of: BTreeMap<Target, BTreeSet<Id>> = BTreeMap::new();
        for (id, target) in self.iter().filter(|(id, target)| keep(id, target)) {
            of.entry(*target).or_default().insert(*id);
        }
        Self { of }
    }

    /// Returns those that name a statement with this id, each with the revision it names.
    fn of_any_revision(&self, id: Id) -> impl Iterator<Item = (&Id, u64)> {
        let from = Target::Statement { id, revision: 0 };
        let to = Target::Statement { id, revision: u64::MAX };
        self.of.range(from..=to).flat_map(|(target, ids)| {
            let revision = match target {
                Target::Statement { revision, .. } => *revision,
                _ => 0,
            };
            ids.iter().map(move |id| (id, revision))
        })
    }

    fn any(&self, target: &Target, reinstates: &BTreeSet<Id>) -> bool {
        self.of.get(target).is_some_and(|ids| !ids.is_subset(reinstates))
    }

    /// Says whether the statement is ended: at its revision or a later one, reinstated or not; or
    /// at an earlier one that it does not reinstate.
    pub fn ends(&self, statement: &Statement) -> bool {
        self.of_statement(statement).is_some()
    }

    /// Returns the first revocation that ends the statement.
    pub fn of_statement(&self, statement: &Statement) -> Option<Id> {
        let ending = self
            .of_any_revision(statement.id)
            .filter(|(id, revision)| ends(id, *revision, statement));
        ending.map(|(id, _)| *id).min()
    }

    /// Returns all revocations of statements with this id.
    pub fn of_id(&self, id: &Id) -> BTreeSet<Id> {
        self.of_any_revision(*id).map(|(id, _)| *id).collect()
    }

    /// Says whether this revocation ends the statement.
    pub fn is_of_statement(&self, revocation: &Id, statement: &Statement) -> bool {
        self.of_any_revision(statement.id)
            .any(|(id, revision)| id == revocation && ends(id, revision, statement))
    }

    /// Says whether this revocation ends the host.
    pub fn is_of_host(&self, revocation: &Id, host: &HostId) -> bool {
        self.of.get(&Target::Host(*host)).is_some_and(|ids| ids.contains(revocation))
    }

    /// Says whether a user may not use this key, given what the user's statement reinstates.
    pub fn ends_key(&self, fingerprint: &Digest, reinstates: &BTreeSet<Id>) -> bool {
        self.any(&Target::Key(*fingerprint), reinstates)
    }

    /// Says whether a user is no longer in a group, given what the user's statement reinstates.
    pub fn ends_membership(&self, user: &Id, group: &Id, reinstates: &BTreeSet<Id>) -> bool {
        self.any(&Target::Membership { user: *user, group: *group }, reinstates)
    }

    /// Says whether a host gives nothing any more. Nothing takes this back: a host that returns
    /// joins with a new key.
    pub fn ends_host(&self, host: &HostId) -> bool {
        self.of_host(host).is_some()
    }

    /// Returns the first revocation of a host.
    pub fn of_host(&self, host: &HostId) -> Option<Id> {
        self.of.get(&Target::Host(*host)).and_then(BTreeSet::first).copied()
    }
}

fn ends(revocation: &Id, revision: u64, statement: &Statement) -> bool {
    statement.revision <= revision || !statement.reinstates.contains(revocation)
}
