//! A host in memory: trust root, floor, F, K and G as DESIGN has them, over `verify` and `believe`.

use std::collections::{BTreeMap, BTreeSet};

use muster_proto::{
    bundle::{self, Anchor, Bundle, BundleRefused, Floor, Step, VerifiedBundle, freshness},
    derive::{Circumstances, Freshness, Statements, believe},
    desired::Grant,
    envelope::{Document, Verified},
    id::{HostId, Id},
    link::Link,
    revocations::Revocations,
    selector::Labels,
    statement::{Content, LeafState, Statement},
    time::{Now, Timestamp},
    trust::TrustRoot,
};

use super::{keys::machine, world::World};

#[derive(Clone)]
pub struct Host {
    pub id: HostId,
    pub trust: Verified<TrustRoot>,
    pub floor: Option<Floor>,
    pub floor_link: Option<Link>,
    pub labels: Labels,
    /// F.
    pub proved: Statements,
    /// K; a proved absence is an id without a statement.
    pub known: BTreeMap<Id, Option<Statement>>,
    /// G.
    pub held: BTreeSet<Grant>,
    /// What an abandoned floor ended, at which revision.
    pub ended: BTreeMap<Id, u64>,
    pub abandoned: bool,
    pub revocations: Revocations,
    pub now: Timestamp,
}

impl Host {
    /// Joins with version 1 of the trust root and no floor.
    pub fn new(world: &World, name: &str) -> Self {
        let mut labels = Labels::default();
        labels.insert("env", "prod").unwrap();
        let trust = Verified::genesis(&world.trust_roots[0], world.lineage()).unwrap();
        Self {
            id: machine(name).public().digest(),
            trust,
            floor: None,
            floor_link: None,
            labels,
            proved: Statements::new(),
            known: BTreeMap::new(),
            held: BTreeSet::new(),
            ended: BTreeMap::new(),
            abandoned: false,
            revocations: Revocations::default(),
            now: world.time,
        }
    }

    /// Says whether an honest controller sends the host this.
    pub fn concerns(&self, statement: &Statement) -> bool {
        match &statement.content {
            _ if self.known.contains_key(&statement.id) => true,
            Content::Assignment(assignment) => assignment.hosts.matches(&self.labels),
            Content::Adoption(adoption) => adoption.host == self.id,
            _ => true,
        }
    }

    pub fn verify(&self, bytes: &[u8]) -> Result<VerifiedBundle, BundleRefused> {
        let known: BTreeSet<Id> = self.known.keys().copied().collect();
        let (trust, labels) = (&self.trust, &self.labels);
        let anchor = Anchor { host: self.id, trust, floor: self.floor, labels, known: &known };
        bundle::verify(bytes, &anchor)
    }

    pub fn take(&mut self, bundle: &Bundle) -> Result<(), BundleRefused> {
        self.take_bytes(&bundle.encode())
    }

    pub fn take_bytes(&mut self, bytes: &[u8]) -> Result<(), BundleRefused> {
        let verified = self.verify(bytes)?;
        if let Some((root, _)) = verified.trust_roots.into_iter().next_back() {
            self.trust = root;
        }
        for (revocation, _) in &verified.revocations {
            self.revocations.insert(revocation);
        }
        if let Some(link) = verified.link {
            match link.step {
                Step::Same => {}
                Step::Raised => self.proved.clear(),
                Step::Abandoned(_) => {
                    self.proved.clear();
                    self.abandoned = true;
                    for (id, known) in &self.known {
                        let live = known.as_ref().filter(|s| s.content.state() == LeafState::Live);
                        if live.is_none() {
                            self.ended.insert(*id, known.as_ref().map_or(0, |s| s.revision));
                        }
                    }
                }
            }
            let place = link.link.place(link.link.digest());
            self.floor = Some(Floor { trust_version: link.link.trust_version, link: place });
            self.floor_link = Some(Link::clone(&link.link));
            for id in link.absent {
                self.known.insert(id, None);
            }
            for statement in link.statements {
                let ended = self.ended.get(&statement.id);
                if ended.is_some_and(|revision| statement.revision <= *revision) {
                    continue;
                }
                self.known.insert(statement.id, Some(statement.clone()));
                self.proved.insert(statement.id, statement);
            }
        }
        self.settle();
        Ok(())
    }

    /// Works out what the host rests on now, and remembers it.
    pub fn settle(&mut self) -> &BTreeSet<Grant> {
        let fresh = self
            .floor_link
            .as_ref()
            .map_or(Freshness::Stale, |link| freshness(link, &self.trust, self.now));
        let known = self.known.iter();
        let known: Statements =
            known.filter_map(|(id, s)| s.as_ref().map(|s| (*id, s.clone()))).collect();
        let circumstances = Circumstances {
            host: self.id,
            labels: &self.labels,
            revocations: &self.revocations,
            now: Now::at(self.now),
        };
        self.held = believe(&self.proved, &known, &self.held, fresh, &circumstances);
        &self.held
    }

    pub fn at(mut self, now: Timestamp) -> Self {
        self.now = now;
        self.settle();
        self
    }

    pub fn gives(&self, login: &str) -> bool {
        self.held.iter().any(|grant| grant.login.as_str() == login)
    }

    /// Every grant in words, for comparing.
    pub fn words(&self) -> BTreeSet<String> {
        self.held.iter().map(|grant| format!("{:?}", grant.entitlement)).collect()
    }
}
