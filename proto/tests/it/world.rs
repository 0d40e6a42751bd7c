//! The smallest world in a few words: people, trust roots, a chain that they extend, bundles for a
//! host. Everything is made from names, so every run sees the same bytes.

use std::collections::{BTreeMap, BTreeSet};

use muster_proto::{
    bundle::{Bundle, HistoryProof},
    chain::{BadLink, Candidate, Chain},
    crypto::{MachineKey, sha256},
    envelope::{Document, Envelope, Verified},
    id::{Digest, Id},
    link::{LinkRef, Proposal, Revocation, Target},
    name::{Line, ObjectName},
    statement::{Content, Statement},
    time::Timestamp,
    trust::{ApproverGroup, Duty, Limits, ProposerRule, TrustRoot},
};

use super::{
    host::Host,
    keys::{Signer, machine},
};

pub use super::contents::{
    adoption, assignment, group, key, log_head, role, staffed, unix_group, user,
};

pub const START: Timestamp = Timestamp(1_800_000_000);
pub const DAY: u64 = 86_400;

/// The two trust roots that every claim is tried on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shape {
    /// One person, threshold 1.
    One,
    /// Two groups of three, threshold 2 each.
    Two,
}

pub const SHAPES: [Shape; 2] = [Shape::One, Shape::Two];

/// A published link with all that a tool needs to check it.
#[derive(Clone)]
pub struct Published {
    pub envelope: Envelope,
    pub body: Vec<u8>,
    pub proposals: Vec<Envelope>,
    /// The chain after it.
    pub after: Chain,
}

pub struct World {
    pub shape: Shape,
    pub trust_roots: Vec<Envelope>,
    pub chain: Chain,
    pub links: Vec<Published>,
    pub revocations: Vec<Envelope>,
    pub online: MachineKey,
    pub time: Timestamp,
}

pub fn name(text: &str) -> ObjectName {
    ObjectName::parse(text).unwrap()
}

pub fn line(text: &str) -> Line {
    Line::parse(text).unwrap()
}

/// An id from a name.
pub fn id(name: &str) -> Id {
    Id::parse(&sha256(&[b"id", name.as_bytes()]).as_bytes()[..16]).unwrap()
}

/// A person's key for a duty; `bob` and `eve` have theirs in hardware.
pub fn signer(person: &str, duty: Duty) -> Signer {
    let name = format!("{person} {duty:?}");
    if ["bob", "eve"].contains(&person) { Signer::hardware(&name) } else { Signer::new(&name) }
}

impl Shape {
    pub fn groups(self) -> Vec<(&'static str, Vec<&'static str>, u32)> {
        match self {
            Self::One => vec![("ops", vec!["ana"], 1)],
            Self::Two => {
                vec![("ops", vec!["ana", "bob", "cem"], 2), ("sec", vec!["dia", "eve", "fay"], 2)]
            }
        }
    }

    /// People enough for a quorum.
    pub fn quorum(self) -> &'static [&'static str] {
        match self {
            Self::One => &["ana"],
            Self::Two => &["ana", "bob", "dia", "eve"],
        }
    }

    /// Version 1. Everybody has a key for every duty.
    pub fn trust_root(self) -> TrustRoot {
        let mut people = BTreeMap::new();
        let mut approver_groups = BTreeMap::new();
        for (group, members, threshold) in self.groups() {
            for person in &members {
                let keys = [Duty::Root, Duty::Approver, Duty::Proposer]
                    .map(|duty| (signer(person, duty).public(), duty));
                people.insert(name(person), BTreeMap::from(keys));
            }
            let members = members.into_iter().map(name).collect();
            approver_groups.insert(name(group), ApproverGroup { members, threshold });
        }
        if self == Self::Two {
            for person in ["bob", "fay", "cem"] {
                people.get_mut(&name(person)).unwrap().retain(|_, duty| *duty != Duty::Root);
            }
            let dia = people.get_mut(&name("dia")).unwrap();
            dia.insert(signer("dia second", Duty::Approver).public(), Duty::Approver);
        }
        TrustRoot {
            lineage: None,
            version: 1,
            previous: None,
            since: None,
            people,
            approver_groups,
            root_threshold: if self == Self::One { 1 } else { 2 },
            machine_keys: BTreeSet::from([machine("online").public()]),
            proposers: ProposerRule::Count,
            stale_after: 90 * DAY,
            expires: START.plus(730 * DAY),
            limits: Limits {
                uids: (10_000, 19_999),
                gids: (20_000, 29_999),
                recertify_after: None,
            },
        }
    }
}

/// Puts a document into an envelope signed by these people.
pub fn signed_by<T: Document>(document: &T, duty: Duty, people: &[&str]) -> Envelope {
    let mut envelope = Envelope::new(document);
    for person in people {
        signer(person, duty).sign(&mut envelope);
    }
    envelope
}

impl World {
    pub fn new(shape: Shape) -> Self {
        Self::from_root(shape, &shape.trust_root())
    }

    pub fn from_root(shape: Shape, root: &TrustRoot) -> Self {
        let envelope = signed_by(root, Duty::Root, &["ana", "dia", "eve"]);
        let chain = Chain::new(Verified::genesis(&envelope, root.digest()).unwrap());
        Self {
            shape,
            trust_roots: vec![envelope],
            chain,
            links: Vec::new(),
            revocations: Vec::new(),
            online: machine("online"),
            time: START,
        }
    }

    pub fn lineage(&self) -> Digest {
        self.chain.lineage()
    }

    /// The next revision of a statement.
    pub fn next(&self, id: Id, content: Content) -> Statement {
        let old = self.chain.statements().get(&id);
        Statement {
            lineage: self.lineage(),
            id,
            revision: old.map_or(0, |old| old.revision) + 1,
            previous: old.map(Document::digest),
            reinstates: old.map(|old| old.reinstates.clone()).unwrap_or_default(),
            content,
        }
    }

    pub fn proposal(&self, mut statements: Vec<Statement>) -> Proposal {
        statements.sort_by_key(|statement| statement.id);
        let tag: Vec<u8> = statements.iter().flat_map(Document::encode).collect();
        let id = Id::parse(&sha256(&[&tag]).as_bytes()[..16]).unwrap();
        let (lineage, time, reason) = (self.lineage(), self.time, line("OPS-1"));
        let proposer = name("ana");
        Proposal { lineage, id, time, reason, statements, proposer }
    }

    pub fn propose(&self, statements: Vec<Statement>) -> Envelope {
        signed_by(&self.proposal(statements), Duty::Proposer, &["ana"])
    }

    pub fn cut(&self, proposals: &[Envelope]) -> Result<Candidate, BadLink> {
        self.chain.cut(proposals, Vec::new(), self.time, log_head())
    }

    /// Signs a candidate with the quorum and extends the chain by it.
    pub fn extend(
        &mut self,
        candidate: &Candidate,
        proposals: Vec<Envelope>,
    ) -> Result<(), BadLink> {
        let envelope = signed_by(&candidate.link, Duty::Approver, self.shape.quorum());
        let body = candidate.body.encode();
        self.chain.extend(&envelope, &body, &proposals, self.time)?;
        self.links.push(Published { envelope, body, proposals, after: self.chain.clone() });
        Ok(())
    }

    /// Proposes, cuts, signs and publishes, a minute later.
    pub fn publish(&mut self, changes: Vec<(Id, Content)>) -> u64 {
        let statements = changes.into_iter().map(|(id, content)| self.next(id, content)).collect();
        self.publish_statements(statements)
    }

    pub fn publish_statements(&mut self, statements: Vec<Statement>) -> u64 {
        self.time = self.time.plus(60);
        let proposals = vec![self.propose(statements)];
        let candidate = self.cut(&proposals).unwrap();
        self.extend(&candidate, proposals).unwrap();
        self.links.len() as u64
    }

    /// As a tool does that no revocation has reached: it signs what the others' refuse to.
    pub fn publish_unaware(&mut self, statements: Vec<Statement>) {
        self.time = self.time.plus(60);
        let genesis = Verified::genesis(&self.trust_roots[0], self.lineage()).unwrap();
        let mut unaware = Chain::new(genesis);
        for link in &self.links {
            unaware.extend(&link.envelope, &link.body, &link.proposals, self.time).unwrap();
        }
        let proposals = vec![self.propose(statements)];
        let candidate = unaware.cut(&proposals, Vec::new(), self.time, log_head()).unwrap();
        self.extend(&candidate, proposals).unwrap();
    }

    /// A trust root that follows the newest one; `alter` says what is new.
    pub fn next_root(&self, alter: impl FnOnce(&mut TrustRoot)) -> TrustRoot {
        let trust = self.chain.trust();
        let mut next = TrustRoot::clone(trust);
        next.lineage = Some(self.lineage());
        next.version += 1;
        next.previous = Some(trust.digest());
        next.since = self.chain.newest();
        alter(&mut next);
        next
    }

    pub fn rotate(&mut self, alter: impl FnOnce(&mut TrustRoot)) -> Envelope {
        let envelope = signed_by(&self.next_root(alter), Duty::Root, &["ana", "dia", "eve"]);
        self.chain.follow(&envelope).unwrap();
        self.trust_roots.push(envelope.clone());
        envelope
    }

    pub fn revocation(&self, tag: &str, target: Target) -> Revocation {
        let (lineage, time) = (self.lineage(), self.time);
        Revocation { lineage, id: id(tag), time, reason: line("left"), target }
    }

    /// Revokes by an approver, known to tools and hosts.
    pub fn revoke(&mut self, tag: &str, target: Target) -> Envelope {
        let envelope = signed_by(&self.revocation(tag, target), Duty::Approver, &["ana"]);
        self.chain.keep(&envelope).unwrap();
        self.revocations.push(envelope.clone());
        envelope
    }

    pub fn revoked(mut self, tag: &str, target: Target) -> Self {
        self.revoke(tag, target);
        self
    }

    /// The newest bundle for a host: everything that concerns it.
    pub fn bundle(&self, host: &Host) -> Bundle {
        self.bundle_at(host, self.links.len() as u64, |_| true)
    }

    /// A bundle with the link of this number and the statements that `wanted` picks.
    pub fn bundle_at(
        &self,
        host: &Host,
        number: u64,
        wanted: impl Fn(&Statement) -> bool,
    ) -> Bundle {
        let mut bundle = Bundle::empty(host.id);
        let known = usize::try_from(host.trust.version).unwrap();
        bundle.trust_roots = self.trust_roots[known.min(self.trust_roots.len())..].to_vec();
        bundle.revocations.clone_from(&self.revocations);
        let Some(index) = usize::try_from(number).unwrap().checked_sub(1) else { return bundle };
        let Published { envelope, after, .. } = &self.links[index];
        let picked = after.statements().values().filter(|s| host.concerns(s) && wanted(s));
        let picked: Vec<&Statement> = picked.collect();
        let mut ids: Vec<Id> = picked.iter().map(|s| s.id).collect();
        ids.push(Id::Host(host.id));
        bundle.link = Some(envelope.clone());
        bundle.statements = picked.iter().map(|s| s.encode()).collect();
        bundle.directory = Some(after.prove(&ids));
        let old = [host.floor.map(|floor| floor.link), self.chain.trust().since];
        for LinkRef { number: old, .. } in old.into_iter().flatten() {
            if old < number {
                let digest = after.place(old).unwrap().digest;
                let path = after.inclusion(old).unwrap();
                let proof = HistoryProof { number: old, digest, path };
                if !bundle.history.contains(&proof) {
                    bundle.history.push(proof);
                }
            }
        }
        bundle
    }
}
