//! The path of the approver's tool, and of the controller: every link since the newest known one,
//! recomputed. Whoever holds a `Chain` has believed nobody for a directory root.

use std::collections::{BTreeMap, BTreeSet};

use crate::{
    change::{self, BadChange},
    convert::Malformed,
    derive::Statements,
    directory::{Directory, PrunedTree},
    envelope::{Document, Envelope, Verified},
    id::{Digest, Id},
    link::{Link, LinkBody, LinkRef, LogHead, Proposal, Revocation, Target},
    merkle::Tree,
    revocations::Revocations,
    statement::{Entry, Statement},
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
        let revocation: Verified<Revocation> = self.trust().verify(envelope)?;
        self.revocations.insert(&revocation);
        if !revocation.signers().is_empty() {
            self.approved.insert((revocation.id, revocation.target));
        }
        Ok(revocation)
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

    /// Returns the proof that link `number` is in the newest link's past.
    pub fn inclusion(&self, number: u64) -> Option<Vec<Digest>> {
        let past = self.history.get(..self.history.len().checked_sub(1)?)?;
        Tree::History.inclusion(past, usize::try_from(number.checked_sub(1)?).ok()?)
    }

    /// Returns the proof of what the directory says of these ids.
    pub fn prove(&self, ids: &[Id]) -> PrunedTree {
        self.directory.prove(ids)
    }

    /// Cuts the next link out of proposals and folds, by the rules for what may be signed: no key,
    /// no membership and no statement that a revocation still ends.
    pub fn cut(
        &self,
        proposals: &[Envelope],
        folds: Vec<Statement>,
        time: Timestamp,
        log: LogHead,
    ) -> Result<Candidate, BadLink> {
        let number = self.links.len() as u64 + 1;
        let (digests, statements, proposers) = Self::gather(proposals, number, self.trust())?;
        let body = LinkBody { proposals: digests, statements, folds };
        change::check_signable(&body, &self.revocations)
            .map_err(|cause| BadLink::Change { number, cause })?;
        let directory = self.after(&body, number)?.0;
        change::check_reinstated(&body, &self.revocations)
            .map_err(|cause| BadLink::Change { number, cause })?;
        let link = Link {
            lineage: self.lineage(),
            number,
            previous: self.newest().map_or(self.lineage(), |link| link.digest),
            trust_version: self.trust().version,
            trust_digest: self.trust().digest(),
            time: time.max(self.newest_time()),
            body: body.digest(),
            directory_root: directory.root(),
            history_root: Tree::History.root(&self.history),
            log,
            proposers,
        };
        Ok(Candidate { link, body })
    }

    /// Checks the next link in every respect and takes it.
    pub fn extend(
        &mut self,
        envelope: &Envelope,
        body: &[u8],
        proposals: &[Envelope],
        now: Timestamp,
    ) -> Result<Verified<Link>, BadLink> {
        let number = self.links.len() as u64 + 1;
        let (link, body, trust) = self.judge(envelope, body, number)?;
        self.check_place(&link, number, now)?;
        self.check_trust(&link, trust)?;
        let (digests, statements, proposers) = Self::gather(proposals, number, trust)?;
        let differs = |what| BadLink::Differs { number, what };
        if digests != body.proposals || statements != body.statements {
            return Err(differs("proposals"));
        }
        if proposers != link.proposers {
            return Err(differs("proposers"));
        }
        let (directory, statements, taken) = self.after(&body, number)?;
        if directory.root() != link.directory_root {
            return Err(differs("a directory root"));
        }
        self.directory = directory;
        self.statements = statements;
        self.taken = taken;
        self.history.push(Tree::History.leaf(link.digest().as_bytes()));
        self.links.push(Taken {
            digest: link.digest(),
            time: link.time,
            trust_version: link.trust_version,
            log: link.log.clone(),
        });
        Ok(link)
    }

    /// Verifies a link once more, under the trust root that it names, and returns that one with it.
    /// Where it stands in the chain is not judged.
    pub fn verify_link(
        &self,
        envelope: &Envelope,
        body: &[u8],
        number: u64,
    ) -> Result<(Verified<Link>, LinkBody, &Verified<TrustRoot>), BadLink> {
        self.judge(envelope, body, number)
    }

    fn judge(
        &self,
        envelope: &Envelope,
        body: &[u8],
        number: u64,
    ) -> Result<(Verified<Link>, LinkBody, &Verified<TrustRoot>), BadLink> {
        let refused = |cause| BadLink::Part { part: "header", number, cause };
        let newest: Result<Verified<Link>, Refused> = self.trust().verify(envelope);
        let older = |root: &Verified<TrustRoot>| root.verify::<Link>(envelope).ok();
        let names = |root: &Verified<TrustRoot>, link: &Verified<Link>| {
            link.trust_version == root.version && link.trust_digest == root.digest()
        };
        let (link, trust) = match newest {
            Ok(link) if names(self.trust(), &link) => (link, self.trust()),
            other => {
                let found =
                    self.trust_roots.iter().rev().skip(1).find_map(|root| {
                        Some((older(root).filter(|link| names(root, link))?, root))
                    });
                match (found, other) {
                    (Some(found), _) => found,
                    (None, Ok(link)) => {
                        let version = link.trust_version;
                        return Err(BadLink::UnknownTrustRoot { number, version });
                    }
                    (None, Err(cause)) => return Err(refused(cause)),
                }
            }
        };
        let decoded = LinkBody::decode(body).map_err(|cause| BadLink::Body { number, cause })?;
        if decoded.digest() != link.body {
            return Err(BadLink::Differs { number: link.number, what: "a body" });
        }
        Ok((link, decoded, trust))
    }

    /// A link continues what its trust root builds on. Under an older trust root nothing is added
    /// to what the newer one's signers knew: whoever holds the keys that it ended could otherwise
    /// put a link in front of the next one.
    fn check_trust(&self, link: &Verified<Link>, trust: &TrustRoot) -> Result<(), BadLink> {
        let refuse = |fault| Err(BadLink::Succession { number: link.number, fault });
        let misses = |since: LinkRef| self.place(since.number) != Some(since);
        if trust.since.is_some_and(misses) {
            return refuse("it does not continue the link that its trust root builds on");
        }
        let newer = self.trust_roots.iter().filter(|root| root.version > trust.version);
        for since in newer.map(|root| root.since) {
            if link.number > since.map_or(0, |since| since.number) {
                return refuse("a newer trust root is known, whose signers did not know this link");
            }
            if since.is_some_and(|s| s.number == link.number && s.digest != link.digest()) {
                return refuse("a newer trust root builds on another link of this number");
            }
        }
        Ok(())
    }

    fn check_place(
        &self,
        link: &Verified<Link>,
        number: u64,
        now: Timestamp,
    ) -> Result<(), BadLink> {
        let refuse = |fault| Err(BadLink::Succession { number: link.number, fault });
        if link.number < number {
            let known = self.place(link.number);
            return if known.is_some_and(|known| known.digest != link.digest()) {
                Err(BadLink::Equivocation(link.number))
            } else {
                refuse("it is known already")
            };
        }
        if link.number > number {
            return refuse("there is a gap before it");
        }
        if link.previous != self.newest().map_or(self.lineage(), |newest| newest.digest) {
            return refuse("it names another link before it");
        }
        if link.history_root != Tree::History.root(&self.history) {
            return refuse("it has another history");
        }
        if link.trust_version < self.links.last().map_or(0, |link| link.trust_version) {
            return refuse("its trust root is older than that of the link before");
        }
        if link.time < self.newest_time() {
            return refuse("it is older than the link before");
        }
        if link.time > now.plus(MAX_AHEAD) {
            return refuse("its time is more than five minutes ahead of the clock here");
        }
        Ok(())
    }

    #[expect(clippy::type_complexity, reason = "three parts of one thing, taken apart at once")]
    fn gather(
        proposals: &[Envelope],
        number: u64,
        trust: &Verified<TrustRoot>,
    ) -> Result<(BTreeSet<Digest>, Vec<Statement>, BTreeSet<String>), BadLink> {
        let mut digests = BTreeSet::new();
        let mut proposers = BTreeSet::new();
        let mut statements = BTreeMap::new();
        for envelope in proposals {
            let proposal: Verified<Proposal> = trust
                .verify(envelope)
                .map_err(|cause| BadLink::Part { part: "proposal", number, cause })?;
            digests.insert(proposal.digest());
            proposers.insert(proposal.proposer.to_string());
            for statement in &proposal.statements {
                if statements.insert(statement.id, statement.clone()).is_some() {
                    let cause = BadChange::Twice(statement.id);
                    return Err(BadLink::Change { number, cause });
                }
            }
        }
        Ok((digests, statements.into_values().collect(), proposers))
    }

    fn after(
        &self,
        body: &LinkBody,
        number: u64,
    ) -> Result<(Directory, Statements, change::Taken), BadLink> {
        let mut statements = self.statements.clone();
        let mut taken = self.taken.clone();
        change::apply(&mut statements, &mut taken, &self.revocations, self.lineage(), body)
            .map_err(|cause| BadLink::Change { number, cause })?;
        let mut directory = self.directory.clone();
        for statement in body.all() {
            directory.insert(Entry::of(statement));
        }
        Ok((directory, statements, taken))
    }
}
