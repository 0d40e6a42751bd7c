//! Which open revocations the next link takes in: an approver's by themselves, those of the online
//! key alone only where a signer confirms the loss.

use std::collections::BTreeSet;

use super::Chain;
use crate::{change, id::Id, link::Target, revocations::Revocations, statement::Statement};

/// What is lost by a revocation that the online key alone has signed and no link carries yet. It
/// folds only when a signer confirms it; until then it ends what it names and nothing remembers it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Loss {
    /// The revocation.
    pub revocation: Id,
    /// What it ends. Another of the same id is another loss.
    pub target: Target,
    /// The statements that would have a next revision.
    pub concerned: BTreeSet<Id>,
}

impl Chain {
    /// Returns the folds that no link carries yet, but for what a proposal changes itself: of the
    /// revocations that an approver signed, and of the losses that the signer confirms.
    pub fn folds(&self, changed: &BTreeSet<Id>, confirmed: &[Loss]) -> Vec<Statement> {
        let confirmed: BTreeSet<(Id, Target)> =
            confirmed.iter().map(|loss| (loss.revocation, loss.target)).collect();
        let counts = |one: &(Id, Target)| self.approved.contains(one) || confirmed.contains(one);
        let mut folds = self.folds_of(&self.revocations.only(|id, target| counts(&(*id, *target))));
        folds.retain(|fold| !changed.contains(&fold.id));
        folds
    }

    /// Returns the open revocations that the online key alone has signed.
    pub fn losses(&self) -> Vec<Loss> {
        let alone = self
            .revocations
            .iter()
            .filter(|(id, target)| !self.approved.contains(&(**id, **target)));
        let loss = |(revocation, target): (&Id, &Target)| {
            let this = self.revocations.only(|id, other| (id, other) == (revocation, target));
            let concerned: BTreeSet<Id> = self.folds_of(&this).iter().map(|fold| fold.id).collect();
            Loss { revocation: *revocation, target: *target, concerned }
        };
        alone.map(loss).filter(|loss| !loss.concerned.is_empty()).collect()
    }

    fn folds_of(&self, revocations: &Revocations) -> Vec<Statement> {
        let hosts = revocations.iter().filter_map(|(_, target)| match target {
            Target::Host(host) => Some(Id::Host(*host)),
            _ => None,
        });
        let ids: BTreeSet<Id> = self.statements.keys().copied().chain(hosts).collect();
        let fold =
            |id: &Id| change::fold(*id, self.statements.get(id), revocations, self.lineage());
        ids.iter().filter_map(fold).collect()
    }
}
