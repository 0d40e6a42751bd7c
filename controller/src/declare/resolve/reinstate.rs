//! What was revoked comes back only when whoever applies the files says so: by login for a user as a
//! whole, by the revocation's id for everything else. A file alone never brings anything back, since
//! files are applied by scripts, and a key that was stolen shall not return with its owner.

use std::collections::BTreeSet;

use muster_proto::{
    chain::Chain,
    id::{Id, Kind},
    link::Target,
    name::{BadName, Login},
    statement::{Content, LeafState, Statement},
};

use super::{Entry, Fault, Work};
use crate::declare::{
    fault::{Ended, ResolveError},
    file,
};

/// What may come back, as the operator names it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Named {
    /// A user who was offboarded or revoked.
    User(Login),
    /// What one revocation ended.
    Revocation(Id),
}

impl Named {
    /// Reads a word: a revocation's id, or else a login.
    pub fn parse(word: &str, chain: &Chain) -> Result<Self, BadName> {
        let id = Id::parse_hex(word).filter(|id| targets(chain, *id).next().is_some());
        id.map_or_else(|| Login::parse(word).map(Self::User), |id| Ok(Self::Revocation(id)))
    }
}

/// Returns what the revocations of an id end.
pub fn targets(chain: &Chain, revocation: Id) -> impl Iterator<Item = &Target> {
    let of = chain.revocations().iter().filter(move |(id, _)| **id == revocation);
    of.map(|(_, target)| target)
}

impl Work<'_, '_> {
    /// Returns the revocations that a user takes back so that keys and memberships count again.
    pub(super) fn given_back(
        &mut self,
        entry: Entry<'_>,
        declared: &file::User,
    ) -> Result<BTreeSet<Id>, Fault> {
        let chain = self.ground.chain;
        let revocations = chain.revocations();
        let was = self.current(entry.kind, entry.name).map(|known| known.reinstates.clone());
        let was = was.unwrap_or_default();
        let mut ended = Vec::new();
        for key in &declared.keys {
            let fingerprint = key.value.key.fingerprint();
            if revocations.ends_key(&fingerprint, &was) {
                let what = Ended::Key(key.value.key.shown_fingerprint());
                ended.push((key.at, what, Target::Key(fingerprint)));
            }
        }
        if let Some(user) = self.ids.get(&(entry.kind, entry.name.to_owned())).copied() {
            for named in &declared.groups {
                let group = self.find(entry, Kind::Group, named)?;
                if revocations.ends_membership(&user, &group, &was) {
                    let what = Ended::Membership(named.value.to_string());
                    ended.push((named.at, what, Target::Membership { user, group }));
                }
            }
        }
        let mut back = BTreeSet::new();
        for (at, what, target) in ended {
            let of = revocations.iter().filter(|(_, ended)| **ended == target);
            let due = of.map(|(id, _)| *id).filter(|id| !was.contains(id)).collect();
            back.extend(self.allowed(Entry { at, ..entry }, what, due)?);
        }
        Ok(back)
    }

    /// Returns the revocations that a statement takes back so that it lives again after it was
    /// revoked or, as only a user can be, removed.
    pub(super) fn returned(
        &mut self,
        entry: Entry<'_>,
        content: &Content,
        before: &Statement,
    ) -> Result<BTreeSet<Id>, Fault> {
        let mut due = self.ground.chain.revocations().of_id(&before.id);
        due.retain(|id| !before.reinstates.contains(id));
        let Content::User(user) = content else {
            return self.allowed(entry, Ended::Itself, due);
        };
        let login = Named::User(user.login.clone());
        if self.ground.reinstate.contains(&login) {
            self.used.insert(login);
            return self.single(entry, due);
        }
        let removed = before.content.state() == LeafState::Removed;
        if removed || due.is_empty() || !self.are_named(&due) {
            let error = ResolveError::Gone(user.login.clone());
            return Err(Fault { at: entry.at, error });
        }
        self.allowed(entry, Ended::Itself, due)
    }

    fn are_named(&self, due: &BTreeSet<Id>) -> bool {
        due.iter().all(|id| self.ground.reinstate.contains(&Named::Revocation(*id)))
    }

    /// Lets pass what the operator names, all of it.
    fn allowed(
        &mut self,
        entry: Entry<'_>,
        what: Ended,
        due: BTreeSet<Id>,
    ) -> Result<BTreeSet<Id>, Fault> {
        if !self.are_named(&due) {
            let (kind, name) = (entry.kind, entry.name.to_owned());
            let error = ResolveError::Revoked { kind, name, what, revocations: due };
            return Err(Fault { at: entry.at, error });
        }
        self.used.extend(due.iter().map(|id| Named::Revocation(*id)));
        self.single(entry, due)
    }

    /// Lets nothing pass by an id that stands for several revocations: whoever holds the online key
    /// could lay a harmless one beside that of a stolen key, and both would be taken back by it.
    fn single(&self, entry: Entry<'_>, due: BTreeSet<Id>) -> Result<BTreeSet<Id>, Fault> {
        let chain = self.ground.chain;
        match due.iter().find(|id| targets(chain, **id).count() > 1) {
            None => Ok(due),
            Some(id) => {
                let (kind, name, revocation) = (entry.kind, entry.name.to_owned(), *id);
                let error = ResolveError::Several { kind, name, revocation };
                Err(Fault { at: entry.at, error })
            }
        }
    }
}
