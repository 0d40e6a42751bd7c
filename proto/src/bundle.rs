//! The path that a host walks: trust roots, newest link, floor, proofs, statements. Nothing is kept
//! from a bundle that is refused, so a refusal leaves the host as it was.
//!
//! An attacker who makes bundles and holds the controller's keys can withhold; every statement that
//! arrives here was in the directory that a quorum signed.

mod verify;

use std::collections::BTreeSet;

pub use self::verify::verify;

use crate::{
    convert::Malformed,
    directory::{BadTree, PrunedTree},
    envelope::{Document, Envelope, Verified},
    id::{Digest, HostId, Id},
    link::{Acknowledgement, Checkpoint, Link, LinkRef, Revocation},
    selector::Labels,
    statement::{Entry, Statement},
    time::Timestamp,
    trust::{Refused, TrustRoot},
};

/// The most bytes that a bundle may have.
pub const MAX_BUNDLE: usize = 16 << 20;

/// The most bytes that a message between any two parts of Muster may have: the largest bundle and
/// what is wrapped round it. Who sends and who reads go by the same number, or something is sent
/// that nobody can take.
pub const MAX_MESSAGE: usize = MAX_BUNDLE + 1_024;

/// What one host is sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bundle {
    /// The host that it is for.
    pub host: HostId,
    /// Trust roots that the host does not know, in the order of their versions.
    pub trust_roots: Vec<Envelope>,
    /// The newest link.
    pub link: Option<Envelope>,
    /// That the host's floor and the trust root's `since` are in the link's history.
    pub history: Vec<HistoryProof>,
    /// Statements in bytes.
    pub statements: Vec<Vec<u8>>,
    /// Ids that the directory does not have.
    pub absent: BTreeSet<Id>,
    /// The proof of both.
    pub directory: Option<PrunedTree>,
    /// Revocations.
    pub revocations: Vec<Envelope>,
    /// The controller's word on what is current.
    pub checkpoint: Option<Envelope>,
    /// The controller's word on what it has stored.
    pub acknowledgement: Option<Envelope>,
}

/// That one link is in another's history.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HistoryProof {
    /// The older link's number.
    pub number: u64,
    /// Its digest.
    pub digest: Digest,
    /// The path to the newer link's history root.
    pub path: Vec<Digest>,
}

/// The newest link that a host has verified, or that its token pinned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Floor {
    /// The trust root that it was signed under.
    pub trust_version: u64,
    /// Its place in the chain.
    pub link: LinkRef,
}

/// What a host brings along to judge a bundle by.
#[derive(Clone, Copy, Debug)]
pub struct Anchor<'a> {
    /// Which host it is.
    pub host: HostId,
    /// The newest trust root that it knows.
    pub trust: &'a Verified<TrustRoot>,
    /// Its floor; absent on a host that joined before the first link.
    pub floor: Option<Floor>,
    /// Its own labels.
    pub labels: &'a Labels,
    /// Statements that it has had before: a newer revision of one always concerns it.
    pub known: &'a BTreeSet<Id>,
}

/// A bundle in which everything was verified together.
#[derive(Debug)]
pub struct VerifiedBundle {
    /// New trust roots, in order, as verified and as they came.
    pub trust_roots: Vec<(Verified<TrustRoot>, Envelope)>,
    /// The link with its signatures, and what it does to the floor.
    pub link: Option<VerifiedLink>,
    /// New revocations, as verified and as they came.
    pub revocations: Vec<(Verified<Revocation>, Envelope)>,
    /// Why some of its revocations are not among them. Leaving one out is what whoever sent it
    /// could have done, so it does not keep the others from being taken.
    pub set_aside: Vec<BundleRefused>,
    /// The controller's word on what is current.
    pub checkpoint: Option<Verified<Checkpoint>>,
    /// The controller's word on what it has stored.
    pub acknowledgement: Option<Verified<Acknowledgement>>,
}

/// A link and what it proves.
#[derive(Debug)]
pub struct VerifiedLink {
    /// The header.
    pub link: Verified<Link>,
    /// As it came, to keep with its signatures.
    pub envelope: Envelope,
    /// What it does to the floor.
    pub step: Step,
    /// Statements that are in its directory, removals among them.
    pub statements: Vec<Statement>,
    /// Ids that are proved not to be in its directory.
    pub absent: BTreeSet<Id>,
}

/// What a link does to a host's floor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// It is the floor.
    Same,
    /// It rises.
    Raised,
    /// The old floor is not in the new one's past, and a new trust root allows that.
    Abandoned(LinkRef),
}

/// Why a bundle is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BundleRefused {
    /// Larger than any bundle.
    #[error("the bundle has {0} bytes; at most 16 MiB are read")]
    TooLarge(usize),
    /// Not a bundle.
    #[error("cannot read the bundle")]
    Malformed(#[from] Malformed),
    /// It is addressed to another host.
    #[error("the bundle is for host {}", .0.short())]
    OtherHost(HostId),
    /// A signed part is not believed.
    #[error("cannot believe the bundle's {part}")]
    Part {
        /// Which part.
        part: &'static str,
        /// Why.
        #[source]
        cause: Refused,
    },
    /// The link names another trust root than the newest.
    #[error("link {number} is judged by trust root {found}, and the newest known here is {known}")]
    TrustVersion {
        /// The link.
        number: u64,
        /// What it names.
        found: u64,
        /// What is known.
        known: u64,
    },
    /// The link is older than the floor.
    #[error("link {found} is older than the floor, link {floor}: a rollback")]
    Rollback {
        /// The link.
        found: u64,
        /// The floor.
        floor: u64,
    },
    /// Two links of one number, both kept as evidence.
    #[error("link {number} is not the link {number} that is the floor here: an equivocation")]
    Equivocation {
        /// The number.
        number: u64,
        /// The link's digest.
        found: Digest,
    },
    /// The link does not continue what this host knows.
    #[error("link {found} is not shown to continue {what}")]
    History {
        /// The link.
        found: u64,
        /// What it should continue.
        what: String,
    },
    /// Statements without a link and a proof.
    #[error("the bundle has statements and proves none of them")]
    Unproved,
    /// The directory proof is broken.
    #[error("cannot read the directory proof")]
    Tree(#[from] BadTree),
    /// The directory proof leads to another root.
    #[error("the directory proof does not lead to the root that link {0} signs")]
    Root(u64),
    /// A statement is not what the directory holds.
    #[error("{kind} {id} at revision {revision} is not in the directory of link {number}: {why}")]
    Statement {
        /// What it is about.
        kind: String,
        /// Its id.
        id: Id,
        /// Its revision.
        revision: u64,
        /// The link.
        number: u64,
        /// What the directory holds instead.
        why: &'static str,
    },
    /// An id is said to be absent and is not proved to be.
    #[error("{0} is not proved to be absent")]
    NotAbsent(Id),
    /// Whether this host was revoked is not shown.
    #[error("the directory proof does not say whether this host was revoked")]
    HostUnproved,
    /// One id twice.
    #[error("statement {0} stands in the bundle twice")]
    Twice(Id),
    /// A statement has nothing to do with this host.
    #[error("{kind} {id} does not concern this host: {why}")]
    NotHere {
        /// What it is about.
        kind: String,
        /// Its id.
        id: Id,
        /// Why not.
        why: &'static str,
    },
}

impl Entry {
    /// Returns what a directory leaf says of a statement.
    pub fn of(statement: &Statement) -> Self {
        Self {
            kind: statement.content.kind(),
            id: statement.id,
            revision: statement.revision,
            digest: statement.digest(),
            state: statement.content.state(),
        }
    }
}

impl Bundle {
    /// Returns a bundle of nothing for a host.
    pub fn empty(host: HostId) -> Self {
        Self {
            host,
            trust_roots: Vec::new(),
            link: None,
            history: Vec::new(),
            statements: Vec::new(),
            absent: BTreeSet::new(),
            directory: None,
            revocations: Vec::new(),
            checkpoint: None,
            acknowledgement: None,
        }
    }
}

/// Says whether a floor may still give something new.
pub fn freshness(link: &Link, trust: &TrustRoot, now: Timestamp) -> crate::derive::Freshness {
    if now < trust.expires && now.since(link.time) < trust.stale_after {
        crate::derive::Freshness::Fresh
    } else {
        crate::derive::Freshness::Stale
    }
}
