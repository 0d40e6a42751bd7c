//! The path of the approver's tool, and of the controller: every link since the newest known one,
//! recomputed. Whoever holds a `Chain` has believed nobody for a directory root.

mod folds;
mod next;

use std::collections::BTreeSet;

pub use self::folds::Loss;

use crate::{
    change::{self, BadChange},
    convert::Malformed,
    derive::Statements,
    directory::{Directory, PrunedTree},
    envelope::{Envelope, Verified},
    id::{Digest, Id},
    link::{Link, LinkBody, LinkRef, LogHead, Revocation, Target},
    merkle::Tree,
    revocations::Revocations,
    time::Timestamp,
    trust::{Refused, TrustRoot},
};

/// Seconds by which a link may be ahead of the clock of whoever checks it.
pub const MAX_AHEAD: u64 = 300;

/// Everything from trust root 1 to the newest link.
#[derive(Clone, Debug)]
pub struct Chain {
    trust_roots: Vec<Verified<TrustRoot>>,
    links: Vec<Taken>,
    history: Vec<Digest>,
    directory: Directory,
    statements: Statements,
    taken: change::Taken,
    revocations: Revocations,
    /// Those of them that an approver signed.
    approved: BTreeSet<(Id, Target)>,
}

/// What later links, and the log, are held against.
#[derive(Clone, Debug)]
struct Taken {
    digest: Digest,
    time: Timestamp,
    trust_version: u64,
    log: LogHead,
}

/// Why a link is not the next one.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadLink {
    /// Not signed by those who must.
    #[error("cannot believe the {part} of link {number}")]
    Part {
        /// Which part.
        part: &'static str,
        /// The number that the link should have.
        number: u64,
        /// Why.
        #[source]
        cause: Refused,
    },
    /// The body is not one.
    #[error("cannot read the body of link {number}")]
    Body {
        /// The number that the link should have.
        number: u64,
        /// Why.
        #[source]
        cause: Malformed,
    },
    /// The trust root that it names is not known.
    #[error("link {number} is judged by trust root {version}, which is not known here")]
    UnknownTrustRoot {
        /// The link.
        number: u64,
        /// The version.
        version: u64,
    },
    /// A second link of a number.
    #[error("there is another link {0} already: an equivocation, keep both as evidence")]
    Equivocation(u64),
    /// It does not follow.
    #[error("link {number} does not follow the newest one: {fault}")]
    Succession {
        /// The number that it has.
        number: u64,
        /// What does not fit.
        fault: &'static str,
    },
    /// What it alters is against a rule.
    #[error("link {number} makes a directory that is against a rule")]
    Change {
        /// The number that it has.
        number: u64,
        /// Which rule.
        #[source]
        cause: BadChange,
    },
    /// It says something else than its body comes to.
    #[error("link {number} states {what} that its body does not come to")]
    Differs {
        /// The number that it has.
        number: u64,
        /// What.
        what: &'static str,
    },
}

/// A link that was cut and waits for signatures.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Candidate {
    /// The header to sign.
    pub link: Link,
    /// Its body.
    pub body: LinkBody,
}

impl Chain {
    /// Begins at trust root 1.
    pub fn new(genesis: Verified<TrustRoot>) -> Self {
        Self {
            trust_roots: vec![genesis],
            links: Vec::new(),
            history: Vec::new(),
            directory: Directory::default(),
            statements: Statements::new(),
            taken: change::Taken::default(),
            revocations: Revocations::default(),
            approved: BTreeSet::new(),
        }
    }

    /// Follows one more trust root. From then on an older one judges only the links that the
    /// newer one's signers knew, so a tool takes those of the older one first that it means to
    /// build on.
    pub fn follow(&mut self, envelope: &Envelope) -> Result<(), Refused> {
        let next = self.trust().succeed(envelope)?;
        self.trust_roots.push(next);
        Ok(())
    }

    /// Keeps a revocation. Whether an approver signed it is what verification finds.
    pub fn keep(&mut self, envelope: &Envelope) -> Result<Verified<Revocation>, Refused> {
        let revocation = self.trust().verify(envelope)?;
        self.keep_verified(&revocation);
        Ok(revocation)
    }

    /// Keeps a revocation that was kept before, as it was judged when it came: who signed it may have
    /// gone since, and it stays none the less. Of the trust roots that believe it the newest counts.
    /// Only for what the caller itself has kept: from anybody else it could come by a key that was
    /// taken out because it was stolen.
    pub fn keep_again(&mut self, envelope: &Envelope) -> Result<Verified<Revocation>, Refused> {
        let mut older = self.trust_roots.iter().rev().skip(1);
        let revocation: Verified<Revocation> = self
            .trust()
            .verify(envelope)
            .or_else(|refused| older.find_map(|root| root.verify(envelope).ok()).ok_or(refused))?;
        self.keep_verified(&revocation);
        Ok(revocation)
    }

    /// Keeps a revocation that was verified with this chain's newest trust root.
    pub fn keep_verified(&mut self, revocation: &Verified<Revocation>) {
        self.revocations.insert(revocation);
        if !revocation.signers().is_empty() {
            self.approved.insert((revocation.id, revocation.target));
        }
    }

    /// Says whether a revocation adds to what is kept: there is none like it, or only the online key
    /// signed that and an approver signs it now, which no host holds back.
    pub fn is_news(&self, revocation: &Verified<Revocation>) -> bool {
        let confirms = !revocation.signers().is_empty() && !self.is_approved(revocation);
        confirms || !self.revocations.contains(revocation)
    }

    /// Returns the newest trust root.
    ///
    /// # Panics
    ///
    /// Never: `new` begins with one and nothing takes any away.
    pub fn trust(&self) -> &Verified<TrustRoot> {
        #[expect(clippy::expect_used, reason = "`new` begins with one and nothing takes any away")]
        self.trust_roots.last().expect("a chain has a trust root")
    }

    /// Returns the digest of trust root 1.
    pub fn lineage(&self) -> Digest {
        self.trust().lineage()
    }

    /// Returns the newest link.
    pub fn newest(&self) -> Option<LinkRef> {
        let digest = self.links.last()?.digest;
        Some(LinkRef { number: self.links.len() as u64, digest })
    }

    /// Returns the place of a link by its number.
    pub fn place(&self, number: u64) -> Option<LinkRef> {
        self.taken_link(number).map(|link| LinkRef { number, digest: link.digest })
    }

    /// Returns the time of the newest link.
    pub fn newest_time(&self) -> Timestamp {
        self.links.last().map_or(Timestamp(0), |link| link.time)
    }

    /// Returns the time of a link by its number.
    pub fn time_of(&self, number: u64) -> Option<Timestamp> {
        self.taken_link(number).map(|link| link.time)
    }

    /// Returns the audit-log head that a link's signers saw, by the link's number.
    pub fn log_of(&self, number: u64) -> Option<&LogHead> {
        self.taken_link(number).map(|link| &link.log)
    }

    fn taken_link(&self, number: u64) -> Option<&Taken> {
        self.links.get(usize::try_from(number.checked_sub(1)?).ok()?)
    }

    /// Returns the newest revision of every statement.
    pub fn statements(&self) -> &Statements {
        &self.statements
    }

    /// Returns the directory after the newest link.
    pub fn directory(&self) -> &Directory {
        &self.directory
    }

    /// Returns the revocations that are kept.
    pub fn revocations(&self) -> &Revocations {
        &self.revocations
    }

    /// Returns every login, number and name that was ever given.
    pub fn taken(&self) -> &change::Taken {
        &self.taken
    }

    /// Says whether an approver signed this one; if not, the online key alone did.
    pub fn is_approved(&self, revocation: &Revocation) -> bool {
        self.approved.contains(&(revocation.id, revocation.target))
    }

    /// Returns the proof that link `number` is in the newest link's past.
    pub fn inclusion(&self, number: u64) -> Option<Vec<Digest>> {
        let past = self.history.get(..self.history.len().checked_sub(1)?)?;
        Tree::History.inclusion(past, usize::try_from(number.checked_sub(1)?).ok()?)
    }

    /// Returns the proof of what the directory says of these ids.
    pub fn prove(&self, ids: &[Id]) -> PrunedTree {
        self.directory.prove(ids)
    }
}
