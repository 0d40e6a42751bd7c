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
    targets: BTreeMap<Id, BTreeSet<Target>>,
}

impl Revocations {
    /// Keeps one. Another one of the same id takes nothing back: both count, or whoever holds the
    /// online key could undo an approver's by a harmless one of its id.
    pub fn insert(&mut self, revocation: &Revocation) {
        self.targets.entry(revocation.id).or_default().insert(revocation.target);
    }

    /// Says whether this one is kept.
    pub fn contains(&self, revocation: &Revocation) -> bool {
        self.targets.get(&revocation.id).is_some_and(|kept| kept.contains(&revocation.target))
    }

    /// Returns what is kept.
    pub fn iter(&self) -> impl Iterator<Item = (&Id, &Target)> {
        self.targets.iter().flat_map(|(id, kept)| kept.iter().map(move |target| (id, target)))
    }

    /// Returns those for which `keep` says so.
    #[must_use]
    pub fn only(&self, keep: impl Fn(&Id, &Target) -> bool) -> Self {
        let mut targets: BTreeMap<Id, BTreeSet<Target>> = BTreeMap::new();
        for (id, target) in self.iter().filter(|(id, target)| keep(id, target)) {
            targets.entry(*id).or_default().insert(*target);
        }
        Self { targets }
    }

    fn any(&self, reinstates: &BTreeSet<Id>, hit: impl Fn(&Target) -> bool) -> bool {
        self.iter().any(|(id, target)| !reinstates.contains(id) && hit(target))
    }

    /// Says whether the statement is ended: at its revision or a later one, reinstated or not; or
    /// at an earlier one that it does not reinstate.
    pub fn ends(&self, statement: &Statement) -> bool {
        self.of_statement(statement).is_some()
    }

    /// Returns the first revocation that ends the statement.
    pub fn of_statement(&self, statement: &Statement) -> Option<Id> {
        self.targets.keys().find(|id| self.is_of_statement(id, statement)).copied()
    }

    /// Returns all revocations of statements with this id.
    pub fn of_id(&self, id: &Id) -> BTreeSet<Id> {
        let hit = |target: &Target| matches!(target, Target::Statement { id: i, .. } if i == id);
        self.iter().filter(|(_, target)| hit(target)).map(|(id, _)| *id).collect()
    }

    /// Says whether this revocation ends the statement.
    pub fn is_of_statement(&self, revocation: &Id, statement: &Statement) -> bool {
        self.named(revocation).any(|target| {
            matches!(target, Target::Statement { id, revision }
                if *id == statement.id
                    && (statement.revision <= *revision
                        || !statement.reinstates.contains(revocation)))
        })
    }

    /// Says whether this revocation ends the host.
    pub fn is_of_host(&self, revocation: &Id, host: &HostId) -> bool {
        self.named(revocation).any(|target| *target == Target::Host(*host))
    }

    fn named(&self, revocation: &Id) -> impl Iterator<Item = &Target> {
        self.targets.get(revocation).into_iter().flatten()
    }

    /// Says whether a user may not use this key, given what the user's statement reinstates.
    pub fn ends_key(&self, fingerprint: &Digest, reinstates: &BTreeSet<Id>) -> bool {
        self.any(reinstates, |target| matches!(target, Target::Key(key) if key == fingerprint))
    }

    /// Says whether a user is no longer in a group, given what the user's statement reinstates.
    pub fn ends_membership(&self, user: &Id, group: &Id, reinstates: &BTreeSet<Id>) -> bool {
        self.any(reinstates, |target| {
            matches!(target, Target::Membership { user: u, group: g } if u == user && g == group)
        })
    }

    /// Says whether a host gives nothing any more. Nothing takes this back: a host that returns
    /// joins with a new key.
    pub fn ends_host(&self, host: &HostId) -> bool {
        self.of_host(host).is_some()
    }

    /// Returns the first revocation of a host.
    pub fn of_host(&self, host: &HostId) -> Option<Id> {
        self.targets.keys().find(|id| self.is_of_host(id, host)).copied()
    }
}
