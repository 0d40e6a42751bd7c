//! The path that a host walks: trust roots, newest link, floor, proofs, statements. Nothing is kept
//! from a bundle that is refused, so a refusal leaves the host as it was.
//!
//! An attacker who makes bundles and holds the controller's keys can withhold; every statement that
//! arrives here was in the directory that a quorum signed.

use std::collections::{BTreeMap, BTreeSet};

use crate::{
    convert::Malformed,
    directory::{BadTree, Membership, ProvedDirectory, PrunedTree},
    envelope::{Document, Envelope, Verified},
    id::{Digest, HostId, Id},
    link::{Acknowledgement, Checkpoint, Link, LinkRef, Revocation},
    merkle::Tree,
    selector::Labels,
    statement::{Content, Entry, Statement},
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

fn part(part: &'static str) -> impl Fn(Refused) -> BundleRefused {
    move |cause| BundleRefused::Part { part, cause }
}

/// Verifies a bundle as it came.
pub fn verify(bytes: &[u8], anchor: &Anchor<'_>) -> Result<VerifiedBundle, BundleRefused> {
    if bytes.len() > MAX_BUNDLE {
        return Err(BundleRefused::TooLarge(bytes.len()));
    }
    let bundle = Bundle::decode(bytes)?;
    if bundle.host != anchor.host {
        return Err(BundleRefused::OtherHost(bundle.host));
    }
    let mut trust_roots: Vec<(Verified<TrustRoot>, Envelope)> = Vec::new();
    for envelope in &bundle.trust_roots {
        let known = trust_roots.last().map_or(anchor.trust, |(root, _)| root);
        let next = known.succeed(envelope).map_err(part("trust root"))?;
        trust_roots.push((next, envelope.clone()));
    }
    let trust = trust_roots.last().map_or(anchor.trust, |(root, _)| root);
    let (mut revocations, mut set_aside) = (Vec::new(), Vec::new());
    for envelope in &bundle.revocations {
        match trust.verify(envelope) {
            Ok(revocation) => revocations.push((revocation, envelope.clone())),
            Err(cause) => set_aside.push(part("revocation")(cause)),
        }
    }
    if bundle.link.is_none()
        && trust_roots.is_empty()
        && revocations.is_empty()
        && !set_aside.is_empty()
    {
        return Err(set_aside.swap_remove(0));
    }
    let checkpoint = bundle.checkpoint.as_ref().map(|e| trust.verify(e)).transpose();
    let acknowledgement = bundle.acknowledgement.as_ref().map(|e| trust.verify(e)).transpose();
    let acknowledgement: Option<Verified<Acknowledgement>> =
        acknowledgement.map_err(part("acknowledgement"))?;
    if let Some(other) = acknowledgement.as_ref().filter(|a| a.host != anchor.host) {
        return Err(BundleRefused::OtherHost(other.host));
    }
    let checkpoint = checkpoint.map_err(part("checkpoint"))?;
    let link = match &bundle.link {
        Some(envelope) => Some(verify_link(&bundle, envelope, trust, anchor)?),
        None if bundle.statements.is_empty() && bundle.absent.is_empty() => None,
        None => return Err(BundleRefused::Unproved),
    };
    Ok(VerifiedBundle { trust_roots, link, revocations, set_aside, checkpoint, acknowledgement })
}

fn verify_link(
    bundle: &Bundle,
    envelope: &Envelope,
    trust: &Verified<TrustRoot>,
    anchor: &Anchor<'_>,
) -> Result<VerifiedLink, BundleRefused> {
    let link: Verified<Link> = trust.verify(envelope).map_err(part("link"))?;
    if link.trust_version != trust.version || link.trust_digest != trust.digest() {
        let (number, found, known) = (link.number, link.trust_version, trust.version);
        return Err(BundleRefused::TrustVersion { number, found, known });
    }
    let step = step(bundle, &link, trust, anchor.floor)?;
    let tree = bundle.directory.as_ref().ok_or(BundleRefused::Unproved)?.recompute()?;
    if tree.root() != link.directory_root {
        return Err(BundleRefused::Root(link.number));
    }
    let statements = prove(bundle, &tree, &link)?;
    let here = statements.iter().any(|s| s.id == Id::Host(anchor.host));
    if !here && tree.lacks(&Id::Host(anchor.host)) != Membership::Absent {
        return Err(BundleRefused::HostUnproved);
    }
    for statement in &statements {
        concerns(statement, anchor)?;
    }
    let absent = bundle.absent.clone();
    Ok(VerifiedLink { link, envelope: envelope.clone(), step, statements, absent })
}

/// Judges where the link stands towards the floor.
fn step(
    bundle: &Bundle,
    link: &Verified<Link>,
    trust: &TrustRoot,
    floor: Option<Floor>,
) -> Result<Step, BundleRefused> {
    let unproved = |what: String| BundleRefused::History { found: link.number, what };
    if let Some(since) = trust.since
        && !continues(bundle, link, since)
    {
        return Err(unproved(format!(
            "link {} that trust root {} builds on",
            since.number, trust.version
        )));
    }
    let Some(floor) = floor else { return Ok(Step::Raised) };
    if link.digest() == floor.link.digest {
        return Ok(Step::Same);
    }
    let abandons = floor.trust_version < link.trust_version
        && floor.link.number > trust.since.map_or(0, |since| since.number);
    if continues(bundle, link, floor.link) {
        return Ok(Step::Raised);
    }
    // Shown, not only not denied: leaving a proof out must not look like a new beginning.
    let elsewhere = link.number < floor.link.number
        || shown(bundle, link, floor.link.number).is_some_and(|found| found != floor.link.digest);
    if abandons && elsewhere {
        return Ok(Step::Abandoned(floor.link));
    }
    if link.number == floor.link.number {
        return Err(BundleRefused::Equivocation { number: link.number, found: link.digest() });
    }
    if link.number < floor.link.number {
        let (found, floor) = (link.number, floor.link.number);
        return Err(BundleRefused::Rollback { found, floor });
    }
    Err(unproved(format!("the floor, link {}", floor.link.number)))
}

/// Says whether `old` is the link or is shown to be in its past.
fn continues(bundle: &Bundle, link: &Verified<Link>, old: LinkRef) -> bool {
    shown(bundle, link, old.number) == Some(old.digest)
}

/// Returns the digest of the link of this number that is shown to be the link or in its past.
fn shown(bundle: &Bundle, link: &Verified<Link>, number: u64) -> Option<Digest> {
    if number == link.number {
        return Some(link.digest());
    }
    let index = number.checked_sub(1).filter(|_| number < link.number)?;
    let proves = |proof: &&HistoryProof| {
        proof.number == number
            && Tree::History.includes(
                link.history_root,
                link.number - 1,
                index,
                Tree::History.leaf(proof.digest.as_bytes()),
                &proof.path,
            )
    };
    bundle.history.iter().find(proves).map(|proof| proof.digest)
}

fn prove(
    bundle: &Bundle,
    tree: &ProvedDirectory,
    link: &Link,
) -> Result<Vec<Statement>, BundleRefused> {
    let mut statements: BTreeMap<Id, Statement> = BTreeMap::new();
    for bytes in &bundle.statements {
        let statement = Statement::decode(bytes)?;
        if statement.lineage != link.lineage {
            let (expected, found) = (link.lineage, statement.lineage);
            return Err(part("statement")(Refused::Lineage { expected, found }));
        }
        let why = match tree.holds(&Entry::of(&statement)) {
            Membership::Present => None,
            Membership::Other => Some("another revision is"),
            Membership::Absent => Some("nothing is at this id"),
            Membership::Unknown => Some("the proof does not reach it"),
        };
        if let Some(why) = why {
            let (id, revision) = (statement.id, statement.revision);
            let (kind, number) = (statement.content.kind().to_string(), link.number);
            return Err(BundleRefused::Statement { kind, id, revision, number, why });
        }
        let id = statement.id;
        if statements.insert(id, statement).is_some() {
            return Err(BundleRefused::Twice(id));
        }
    }
    match bundle.absent.iter().find(|id| tree.lacks(id) != Membership::Absent) {
        Some(id) => Err(BundleRefused::NotAbsent(*id)),
        None => Ok(statements.into_values().collect()),
    }
}

/// Refuses what was meant for others. A newer revision of what this host has had always concerns
/// it, since that is how it learns that something ended here.
fn concerns(statement: &Statement, anchor: &Anchor<'_>) -> Result<(), BundleRefused> {
    let why = match &statement.content {
        _ if anchor.known.contains(&statement.id) => return Ok(()),
        Content::Assignment(a) if !a.hosts.matches(anchor.labels) => {
            "its selector does not match the labels here"
        }
        Content::Adoption(adoption) if adoption.host != anchor.host => "it names another host",
        _ => return Ok(()),
    };
    let kind = statement.content.kind().to_string();
    Err(BundleRefused::NotHere { kind, id: statement.id, why })
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
