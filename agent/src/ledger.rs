//! What must never go back: trust root, floor, what was proved, what was revoked, what is owned,
//! signed time. One file, replaced whole; a state directory without it is not version zero but an
//! error, since an agent that forgot would give again what was taken.

mod drift;
mod file;
mod pause;
mod revoked;

use std::collections::{BTreeMap, BTreeSet};

use muster_proto::{
    bundle::{Floor, Step, VerifiedBundle, VerifiedLink},
    convert::Malformed,
    derive::Statements,
    desired::{Grant, Pins},
    envelope::{Document, Envelope, Verified},
    id::{Digest, HostId, Id},
    link::{Link, LinkRef, Target},
    name::BadName,
    statement::{LeafState, Statement},
    trust::{Refused, TrustRoot},
};

pub use self::revoked::MAX_ONLINE_REVOCATIONS;
use self::revoked::{Kept, Standing};
use crate::{
    clock::Remembered,
    drift::memory::Memory,
    ends::Ended,
    guard::Window,
    ownership::Ownership,
    pause::{BadPause, Pause},
};

/// Everything that the keeper remembers.
#[derive(Clone, Debug)]
pub struct Ledger {
    /// Which fleet.
    pub lineage: Digest,
    /// Which host.
    pub host: HostId,
    trust_roots: Vec<Envelope>,
    trust: Verified<TrustRoot>,
    /// The newest verified link, or the one that the token pinned.
    pub floor: Option<Floor>,
    floor_link: Option<(Envelope, Link)>,
    known: BTreeMap<Id, Known>,
    /// By id and target, since another one of the same id takes nothing back.
    revocations: BTreeMap<(Id, Target), Kept>,
    /// What the controller's online key has taken of late.
    pub window: Window,
    /// What was last desired (G).
    pub held: BTreeSet<Grant>,
    /// Logins and uids that belong together for ever.
    pub pins: Pins,
    /// What Muster made or adopted here.
    pub ownership: Ownership,
    /// What time it was when the ledger was written.
    pub time: Remembered,
    /// What has passed its date, so that no clock revives it.
    pub passed: Ended,
    /// The newest receipt.
    pub receipt: Option<(u64, Digest)>,
    /// Links that contradict each other, with their signatures.
    pub evidence: Vec<Vec<u8>>,
    /// What abandoned floors ended, each at a revision that nothing brings back.
    ended: BTreeMap<Id, u64>,
    /// Revocations that no receipt names yet: whoever waits for one must hear of it, though the
    /// keeper was stopped in between.
    pub unreported: BTreeSet<Id>,
    /// What is told of drift already.
    pub drift: Memory,
    /// What root of this host has paused, until it is over.
    pub pause: Option<Pause>,
}

/// How many contradicting links are kept.
pub const MAX_EVIDENCE: usize = 16;

/// A statement and the floor that it was last proved under.
#[derive(Clone, Debug)]
struct Known {
    statement: Statement,
    floor: u64,
}

/// Why a ledger cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum BadLedger {
    /// Not protobuf, or cut short.
    #[error("the ledger is damaged")]
    Encoding(#[from] prost::DecodeError),
    /// A document inside is.
    #[error("the ledger holds a document that is damaged")]
    Malformed(#[from] Malformed),
    /// The trust roots inside are not believed.
    #[error("the ledger holds trust roots that cannot be followed")]
    Trust(#[from] BadTrustRoots),
    /// A name or number inside cannot be.
    #[error("the ledger holds a name that cannot be")]
    Name(#[from] BadName),
    /// A digest is of the wrong length.
    #[error("the ledger holds a digest or id that is damaged")]
    Length(#[from] muster_proto::id::WrongLength),
    /// A pause inside cannot be.
    #[error("the ledger holds a pause that cannot be")]
    Pause(#[from] BadPause),
}

/// Why trust roots cannot be followed from the first to the newest.
#[derive(Debug, thiserror::Error)]
pub enum BadTrustRoots {
    /// There is none.
    #[error("there is no trust root")]
    None,
    /// One of them is not the fleet's first, or not what the one before lets follow.
    #[error("a trust root does not verify")]
    Refused(#[from] Refused),
}

impl Ledger {
    /// Begins with what a token pinned: the trust roots up to now, and the floor.
    pub fn begin(
        host: HostId,
        lineage: Digest,
        trust_roots: Vec<Envelope>,
        floor: Option<LinkRef>,
    ) -> Result<Self, BadTrustRoots> {
        let trust = follow(&trust_roots, lineage)?;
        let floor = floor.map(|link| Floor { trust_version: trust.version, link });
        Ok(Self {
            lineage,
            host,
            trust_roots,
            trust,
            floor,
            floor_link: None,
            known: BTreeMap::new(),
            revocations: BTreeMap::new(),
            window: Window::default(),
            held: BTreeSet::new(),
            pins: Pins::new(),
            ownership: Ownership::default(),
            time: Remembered::default(),
            passed: Ended::new(),
            receipt: None,
            evidence: Vec::new(),
            ended: BTreeMap::new(),
            unreported: BTreeSet::new(),
            drift: Memory::default(),
            pause: None,
        })
    }

    /// Returns the newest trust root.
    pub fn trust(&self) -> &Verified<TrustRoot> {
        &self.trust
    }

    /// Returns the floor's header, once a bundle has brought one.
    pub fn floor_link(&self) -> Option<&Link> {
        self.floor_link.as_ref().map(|(_, link)| link)
    }

    /// Returns what is proved in the present floor's directory (F), and what abandoned floors
    /// ended: that it has ended holds under every floor, and gives nothing.
    pub fn proved(&self) -> Statements {
        let floor = self.floor.map_or(0, |floor| floor.link.number);
        self.known
            .iter()
            .filter(|(id, known)| known.floor == floor || self.ended.contains_key(id))
            .map(|(id, known)| (*id, known.statement.clone()))
            .collect()
    }

    /// Returns the newest that was ever proved of each id (K).
    pub fn known(&self) -> Statements {
        self.known.iter().map(|(id, known)| (*id, known.statement.clone())).collect()
    }

    /// Returns those statements one by one.
    pub fn statements(&self) -> impl Iterator<Item = &Statement> {
        self.known.values().map(|known| &known.statement)
    }

    /// Returns the ids of all statements that this host has had.
    pub fn known_ids(&self) -> BTreeSet<Id> {
        self.known.keys().copied().collect()
    }

    /// Takes what a verified bundle brings, and says how many revocations of the online key there
    /// was no room for.
    #[must_use]
    pub fn take(&mut self, bundle: VerifiedBundle) -> usize {
        let keys = self.trust.machine_keys.clone();
        for (trust, envelope) in bundle.trust_roots {
            self.trust_roots.push(envelope);
            self.trust = trust;
        }
        if !keys.is_subset(&self.trust.machine_keys) {
            self.forget_held();
        }
        let refused = self.take_revocations(bundle.revocations);
        if let Some(link) = bundle.link {
            self.take_link(link);
        }
        refused
    }

    /// Returns what tells whether a bundle has brought a link, a trust root or a revocation that was
    /// not there before.
    pub fn stage(&self) -> impl PartialEq + use<> {
        let approved =
            self.revocations.values().filter(|kept| kept.standing == Standing::Approved).count();
        (self.floor, self.trust.version, self.revocations.len(), approved)
    }

    fn take_link(&mut self, found: VerifiedLink) {
        let number = found.link.number;
        if let Step::Abandoned(_) = found.step {
            self.abandon();
        }
        let link = found.link.place(found.link.digest());
        self.floor = Some(Floor { trust_version: found.link.trust_version, link });
        self.floor_link = Some((found.envelope, found.link.into_inner()));
        for id in found.absent.iter().filter(|id| !self.ended.contains_key(id)) {
            self.known.remove(id);
        }
        for statement in found.statements {
            let ended = self.ended.get(&statement.id);
            if ended.is_none_or(|revision| statement.revision > *revision) {
                self.ended.remove(&statement.id);
                self.known.insert(statement.id, Known { statement, floor: number });
            }
        }
    }

    /// Keeps a link that contradicts another one, and says whether there was room for it.
    pub fn keep_evidence(&mut self, envelope: Vec<u8>) -> bool {
        let keeps = self.evidence.len() < MAX_EVIDENCE && !self.evidence.contains(&envelope);
        if keeps {
            self.evidence.push(envelope);
        }
        keeps
    }

    /// Gives the floor up. What it ended stays ended; what it proved is proved no more, though a
    /// link of the same number may yet come.
    fn abandon(&mut self) {
        if let Some((envelope, _)) = &self.floor_link {
            let envelope = envelope.encode();
            self.keep_evidence(envelope);
        }
        for (id, known) in &mut self.known {
            known.floor = 0;
            if known.statement.content.state() != LeafState::Live {
                self.ended.insert(*id, known.statement.revision);
            }
        }
    }
}

fn follow(envelopes: &[Envelope], lineage: Digest) -> Result<Verified<TrustRoot>, BadTrustRoots> {
    let (first, rest) = envelopes.split_first().ok_or(BadTrustRoots::None)?;
    let mut trust = Verified::genesis(first, lineage)?;
    for envelope in rest {
        trust = trust.succeed(envelope)?;
    }
    Ok(trust)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::chain;

    #[test]
    fn a_host_that_joins_is_told_of_trust_roots_and_not_of_a_ledger_that_it_has_not() {
        let id = Digest::parse(&[1; 32]).unwrap();
        let begun = Ledger::begin(id, id, Vec::new(), None);
        let refused = crate::join::JoinError::from(begun.unwrap_err());
        let told = "cannot believe the controller's trust roots: there is no trust root";
        assert_eq!(chain(&refused), told);
    }
}
