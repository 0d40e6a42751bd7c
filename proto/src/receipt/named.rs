//! Which revocations a receipt confirms. It names them by their ids, and anybody may give an id:
//! whoever holds the controller's online key can sign another revocation with the id of an
//! approver's, have a host name that, and keep the approver's own back. So beside the ids stand
//! marks, one for each that an approver has signed. What was only held or under way by then has
//! none.

use std::collections::BTreeSet;

use super::Receipt;
use crate::{
    crypto::sha256, envelope::Document, id::Id, link::Revocation, name::Line, time::Timestamp,
};

/// By whom a revocation that a host keeps is signed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Authority {
    /// An approver, perhaps among others.
    Approver,
    /// The controller's online key alone.
    Online,
}

/// Returns by what a receipt names a revocation that its host keeps. One with an id of a host's
/// length is not named at all: nobody honest makes one, and its id could be the mark of another.
pub fn named(revocation: &Revocation, by: Authority) -> BTreeSet<Id> {
    let mut named = BTreeSet::new();
    if let Id::Object(_) = revocation.id {
        named.extend([revocation.id, marks()]);
        named.extend((by == Authority::Approver).then(|| mark(revocation)));
    }
    named
}

impl Receipt {
    /// Says whether the host keeps this revocation as one that these have signed. An agent that
    /// knows no marks is believed by the id.
    pub fn confirms(&self, revocation: &Revocation, by: Authority) -> bool {
        let is_named = |id: &Id| self.revocations.contains(id);
        let has_marks = self.revocations.iter().any(|id| matches!(id, Id::Host(_)));
        is_named(&revocation.id)
            && (by == Authority::Online || !has_marks || is_named(&mark(revocation)))
    }
}

/// Stands in every receipt that names revocations, so that none that should have a mark passes for
/// one of an agent that knows none.
fn marks() -> Id {
    Id::Host(sha256(&[b"muster receipt: marks\n"]))
}

/// The same for each that is signed about this target under this id, whenever and for whatever
/// reason: a host keeps one of them.
fn mark(revocation: &Revocation) -> Id {
    let Revocation { lineage, id, target, .. } = *revocation;
    let bare = Revocation { lineage, id, time: Timestamp(0), reason: Line::default(), target };
    Id::Host(sha256(&[b"muster receipt: an approver's\n", bare.digest().as_bytes()]))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        id::Digest,
        link::Target,
        receipt::{Convergence, HostMode, Trigger},
    };

    fn revocation(id: Id, key: u8) -> Revocation {
        Revocation {
            lineage: Digest::new([1; 32]),
            id,
            time: Timestamp(5),
            reason: Line::parse("she has left").unwrap(),
            target: Target::Key(Digest::new([key; 32])),
        }
    }

    fn receipt(revocations: impl IntoIterator<Item = BTreeSet<Id>>) -> Receipt {
        Receipt {
            lineage: Digest::new([1; 32]),
            host: Digest::new([2; 32]),
            number: 1,
            previous: None,
            time: Timestamp(6),
            floor: None,
            trust_version: 1,
            mode: HostMode::Enforce,
            trigger: Trigger::Bundle,
            revocations: revocations.into_iter().flatten().collect(),
            outcomes: Vec::new(),
            convergence: Convergence::Done,
            findings: Vec::new(),
            drift: Vec::new(),
            inventory: None,
        }
    }

    const ID: Id = Id::Object([7; 16]);

    #[test]
    fn no_other_revocation_of_its_id_and_none_of_the_online_key_confirms_an_approvers() {
        use Authority::{Approver, Online};
        let (ours, other) = (revocation(ID, 1), revocation(ID, 2));
        let later = Revocation { time: Timestamp(9), reason: Line::default(), ..ours.clone() };
        for (names, by_approver, by_online) in [
            (vec![named(&ours, Approver)], true, true),
            (vec![named(&later, Approver)], true, true),
            (vec![named(&ours, Online)], false, true),
            (vec![named(&other, Online)], false, true),
            (vec![named(&other, Approver)], false, true),
            (vec![named(&other, Online), named(&ours, Approver)], true, true),
            (vec![named(&revocation(Id::Object([8; 16]), 1), Approver)], false, false),
            (vec![], false, false),
            (vec![[ID].into()], true, true),
        ] {
            let receipt = receipt(names.clone());
            assert_eq!(receipt.confirms(&ours, Approver), by_approver, "{names:?}");
            assert_eq!(receipt.confirms(&ours, Online), by_online, "{names:?}");
            // Agents and controllers of before read it as ids, each once and in their order.
            let bytes = receipt.encode();
            assert_eq!(Receipt::decode(&bytes).unwrap(), receipt);
        }
    }

    #[test]
    fn a_mark_that_somebody_chooses_as_an_id_is_not_named() {
        let ours = revocation(ID, 1);
        for mark in named(&ours, Authority::Approver).into_iter().filter(|name| *name != ID) {
            let forged = revocation(mark, 3);
            for by in [Authority::Approver, Authority::Online] {
                assert_eq!(named(&forged, by), BTreeSet::new());
            }
        }
    }
}
