//! What is current, in memory: the chain that the controller recomputed itself, with the envelopes
//! that hosts are sent. A new one is made for every change, and takes the old one's place only when
//! the change is stored. Pure: no clock, no file.

use std::collections::{BTreeMap, BTreeSet};

use muster_proto::{
    chain::{BadLink, Chain},
    convert::Malformed,
    crypto::sha256,
    envelope::{Document, Envelope, Verified},
    id::{Digest, Id},
    link::{Checkpoint, Link, LinkBody, LogHead, Revocation},
    statement::Content,
    time::Timestamp,
    trust::{Refused, TrustRoot},
};

use crate::publish::index::Index;
pub use muster_proto::link::PublishedLink;

/// Something that a chain is recomputed from. The order of arrival counts: a link is judged by the
/// trust root and folds the revocations of its time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// The next trust root.
    TrustRoot(Envelope),
    /// The next link.
    Link(PublishedLink),
    /// A revocation.
    Revocation(Envelope),
}

/// The chain and the envelopes that prove it.
#[derive(Clone, Debug)]
pub struct Current {
    pub(crate) chain: Chain,
    pub(crate) trust_roots: Vec<Envelope>,
    pub(crate) newest: Option<Envelope>,
    pub(crate) revocations: Vec<(Revocation, Envelope)>,
    pub(crate) index: Index,
    /// Who has or ever had a key, by fingerprint.
    pub(crate) key_owners: BTreeMap<Digest, BTreeSet<Id>>,
}

/// Why what was stored is not a chain.
#[derive(Debug, thiserror::Error)]
pub enum BadHistory {
    /// There is not even a trust root.
    #[error("the store has no trust root")]
    Nothing,
    /// A trust root is not believed.
    #[error("cannot believe a stored trust root")]
    TrustRoot(#[source] Refused),
    /// A link is not believed.
    #[error("cannot believe a stored link")]
    Link(#[source] BadLink),
    /// A revocation is not believed.
    #[error("cannot believe a stored revocation")]
    Revocation(#[source] Refused),
}

impl Current {
    /// Begins at trust root 1, whose digest is the lineage.
    pub fn new(lineage: Digest, first: &Envelope) -> Result<Self, BadHistory> {
        let genesis =
            Verified::<TrustRoot>::genesis(first, lineage).map_err(BadHistory::TrustRoot)?;
        Ok(Self {
            chain: Chain::new(genesis),
            trust_roots: vec![first.clone()],
            newest: None,
            revocations: Vec::new(),
            index: Index::default(),
            key_owners: BTreeMap::new(),
        })
    }

    /// Recomputes everything that is stored. Every link was checked against the clock when it came,
    /// and a clock that has fallen behind since does not undo it.
    pub fn load(lineage: Digest, events: &[Event]) -> Result<Self, BadHistory> {
        let now = Timestamp(u64::MAX);
        let mut events = events.iter();
        let Some(Event::TrustRoot(first)) = events.next() else { return Err(BadHistory::Nothing) };
        let mut current = Self::new(lineage, first)?;
        for event in events {
            match event {
                Event::TrustRoot(envelope) => {
                    current.chain.follow(envelope).map_err(BadHistory::TrustRoot)?;
                    current.trust_roots.push(envelope.clone());
                }
                Event::Link(link) => {
                    current.follow(link, now).map_err(BadHistory::Link)?;
                }
                Event::Revocation(envelope) => {
                    current.keep(envelope).map_err(BadHistory::Revocation)?;
                }
            }
        }
        current.index = Index::of(current.chain.statements());
        Ok(current)
    }

    /// Checks the next link in every respect and takes it; returns the ids that it alters.
    pub fn extend(
        &mut self,
        link: &PublishedLink,
        now: Timestamp,
    ) -> Result<(Verified<Link>, BTreeSet<Id>), BadLink> {
        let found = self.follow(link, now)?;
        self.index = Index::of(self.chain.statements());
        Ok(found)
    }

    fn follow(
        &mut self,
        link: &PublishedLink,
        now: Timestamp,
    ) -> Result<(Verified<Link>, BTreeSet<Id>), BadLink> {
        let verified = self.chain.extend(&link.link, &link.body, &link.proposals, now)?;
        let altered = self
            .note(&link.body)
            .map_err(|cause| BadLink::Body { number: verified.number, cause })?;
        self.newest = Some(link.link.clone());
        Ok((verified, altered))
    }

    fn note(&mut self, body: &[u8]) -> Result<BTreeSet<Id>, Malformed> {
        let body = LinkBody::decode(body)?;
        for statement in body.all() {
            let Content::User(user) = &statement.content else { continue };
            for key in &user.keys {
                self.key_owners.entry(key.key.fingerprint()).or_default().insert(statement.id);
            }
        }
        Ok(body.all().map(|statement| statement.id).collect())
    }

    /// Returns the ids that a body alters; none if it is not one.
    pub(crate) fn altered(body: &[u8]) -> BTreeSet<Id> {
        LinkBody::decode(body).map(|body| body.all().map(|s| s.id).collect()).unwrap_or_default()
    }

    /// Checks a revocation and takes it; says nothing of one that is known. One that only the online
    /// key signed is taken once more when an approver signs it too.
    pub fn keep(&mut self, envelope: &Envelope) -> Result<Option<Verified<Revocation>>, Refused> {
        let revocation = self.chain.trust().verify(envelope)?;
        if !self.chain.is_news(&revocation) {
            return Ok(None);
        }
        self.chain.keep_verified(&revocation);
        self.revocations.push(((*revocation).clone(), envelope.clone()));
        Ok(Some(revocation))
    }

    /// Returns the chain.
    pub fn chain(&self) -> &Chain {
        &self.chain
    }

    /// Returns what a checkpoint says now.
    pub fn checkpoint(&self, now: Timestamp, log: LogHead) -> Checkpoint {
        let ids: Vec<&[u8]> = self.revocations.iter().map(|(r, _)| r.id.as_bytes()).collect();
        Checkpoint {
            lineage: self.chain.lineage(),
            time: now,
            link: self.chain.newest(),
            revocations: self.revocations.len() as u64,
            revocations_digest: sha256(&ids),
            log,
        }
    }
}
