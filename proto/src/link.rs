//! Proposals, links and the other documents of the chain, as values. Their rules are in `chain`
//! (the approver's tool and the controller) and in `bundle` (a host).

use std::collections::BTreeSet;

use crate::{
    envelope::Envelope,
    id::{Digest, HostId, Id},
    name::{Line, ObjectName},
    statement::Statement,
    time::Timestamp,
};

/// A link's place in the chain.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LinkRef {
    /// Starts at 1.
    pub number: u64,
    /// The digest of its header.
    pub digest: Digest,
}

/// The head of an append-only log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogHead {
    /// The name of the log.
    pub origin: String,
    /// How many leaves it has.
    pub size: u64,
    /// The root over them.
    pub root: Digest,
}

/// Statements that somebody wants.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Proposal {
    /// The digest of trust root 1.
    pub lineage: Digest,
    /// Its name for ever.
    pub id: Id,
    /// When it was made.
    pub time: Timestamp,
    /// Why.
    pub reason: Line,
    /// Ascending by id, an id at most once.
    pub statements: Vec<Statement>,
    /// Whose it is: signed with the rest, so no signature added or left out makes it another's.
    pub proposer: ObjectName,
}

/// A link's header: what the quorum signs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Link {
    /// The digest of trust root 1.
    pub lineage: Digest,
    /// Starts at 1.
    pub number: u64,
    /// The digest of the link before; link 1's is trust root 1's.
    pub previous: Digest,
    /// The trust root that judges it.
    pub trust_version: u64,
    /// That trust root's digest.
    pub trust_digest: Digest,
    /// When it was cut.
    pub time: Timestamp,
    /// The digest of the body.
    pub body: Digest,
    /// The root of the directory after it.
    pub directory_root: Digest,
    /// The root over the digests of all links before it.
    pub history_root: Digest,
    /// The audit-log head that its signers saw.
    pub log: LogHead,
    /// The people whose proposals are in it.
    pub proposers: BTreeSet<String>,
}

/// What a link alters.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LinkBody {
    /// Payload digests of the proposals.
    pub proposals: BTreeSet<Digest>,
    /// The proposals' statements, ascending by id.
    pub statements: Vec<Statement>,
    /// The next revisions of what open revocations concern, ascending by id.
    pub folds: Vec<Statement>,
}

/// A link with all that is needed to recompute it, as it travels and as it is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PublishedLink {
    /// The header and its signatures.
    pub link: Envelope,
    /// The body, in the bytes that the header's digest covers.
    pub body: Vec<u8>,
    /// The proposals that it is made of, ascending by payload digest.
    pub proposals: Vec<Envelope>,
}

/// Takes something away; one signature is enough.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Revocation {
    /// The digest of trust root 1.
    pub lineage: Digest,
    /// Its name for ever.
    pub id: Id,
    /// When it was made.
    pub time: Timestamp,
    /// Why.
    pub reason: Line,
    /// What it ends.
    pub target: Target,
}

/// What a revocation ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Target {
    /// A statement at this and all earlier revisions, and later ones that do not reinstate it.
    Statement {
        /// Its id.
        id: Id,
        /// The revision.
        revision: u64,
    },
    /// A user's being in a group.
    Membership {
        /// The user's id.
        user: Id,
        /// The group's id.
        group: Id,
    },
    /// A login key, by fingerprint, whoever has it.
    Key(Digest),
    /// A host: it gives nothing any more.
    Host(HostId),
}

/// The controller's short-lived word on what is current.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Checkpoint {
    /// The digest of trust root 1.
    pub lineage: Digest,
    /// When it was signed: the controller's word on the time, good for [`CHECKPOINT_VALIDITY`]
    /// seconds.
    pub time: Timestamp,
    /// The newest link.
    pub link: Option<LinkRef>,
    /// How many revocations there are.
    pub revocations: u64,
    /// SHA-256 over their ids in the order of arrival.
    pub revocations_digest: Digest,
    /// The audit log's head.
    pub log: LogHead,
}

/// Seconds for which a checkpoint is the word on the time: a host's wall clock that is no further
/// from it agrees with it.
pub const CHECKPOINT_VALIDITY: u64 = 600;

/// Seconds between two checkpoints.
pub const CHECKPOINT_INTERVAL: u64 = 60;

/// The controller's word on what it has stored of a host's spool.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Acknowledgement {
    /// The digest of trust root 1.
    pub lineage: Digest,
    /// The host.
    pub host: HostId,
    /// The highest stored number.
    pub number: u64,
    /// The digest of that receipt.
    pub digest: Digest,
}

impl Link {
    /// Returns its place in the chain.
    pub fn place(&self, digest: Digest) -> LinkRef {
        LinkRef { number: self.number, digest }
    }
}

impl LinkBody {
    /// Returns the statements and the folds.
    pub fn all(&self) -> impl Iterator<Item = &Statement> {
        self.statements.iter().chain(&self.folds)
    }
}
