//! What a host remembers when its floor is abandoned for a new trust root's: the ledger alone,
//! without a machine.

use std::collections::BTreeSet;

use muster_agent::ledger::{Ledger, MAX_EVIDENCE};
use muster_proto::{
    bundle::{self, Anchor, Bundle, Floor, Step},
    derive::{Circumstances, Freshness, believe},
    desired::Grant,
    envelope::Document,
    id::{Id, Kind},
    statement::Content,
    time::Now,
};

use crate::{
    host::Host as Twin,
    world::{Shape, World, group, id, staffed, user},
};

/// A ledger over the verifier, as the keeper has it, and after every bundle read from its bytes.
struct Memory {
    ledger: Ledger,
    twin: Twin,
}

impl Memory {
    fn new(world: &World) -> Self {
        let twin = Twin::new(world, "db1");
        let roots = world.trust_roots[..1].to_vec();
        let ledger = Ledger::begin(twin.id, world.lineage(), roots, None).unwrap();
        Self { ledger, twin }
    }

    fn take(&mut self, bundle: &Bundle) -> Step {
        let known = self.ledger.known_ids();
        let anchor = Anchor {
            host: self.ledger.host,
            trust: self.ledger.trust(),
            floor: self.ledger.floor,
            labels: &self.twin.labels,
            known: &known,
        };
        let verified = bundle::verify(&bundle.encode(), &anchor).unwrap();
        let step = verified.link.as_ref().unwrap().step;
        assert_eq!(self.ledger.take(verified), 0);
        self.ledger = Ledger::decode(&self.ledger.encode()).unwrap();
        let revocations = self.ledger.revocations();
        let circumstances = Circumstances {
            host: self.ledger.host,
            labels: &self.twin.labels,
            revocations: &revocations,
            now: Now::at(self.ledger.floor_link().unwrap().time),
        };
        let (proved, known) = (self.ledger.proved(), self.ledger.known());
        let held: BTreeSet<Grant> = std::mem::take(&mut self.ledger.held);
        self.ledger.held = believe(&proved, &known, &held, Freshness::Fresh, &circumstances);
        step
    }

    fn gives(&self, login: &str) -> bool {
        self.ledger.held.iter().any(|grant| grant.login.as_str() == login)
    }
}

/// Brings a bundle for a host that stands at link 1 under trust root 1.
fn from_first(world: &World) -> Bundle {
    let mut twin = Twin::new(world, "db1");
    twin.floor = world.chain.place(1).map(|link| Floor { trust_version: 1, link });
    world.bundle(&twin)
}

/// Two worlds with one link in common; in the second, signers of a new trust root who know that one
/// only build on it.
fn fork() -> (World, World) {
    (staffed(Shape::One), staffed(Shape::One))
}

fn rotate(world: &mut World) {
    world.rotate(|_| ());
    world.publish(vec![(id("later"), group("later"))]);
}

#[test]
fn what_an_abandoned_floor_ended_stays_ended() {
    let (mut abandoned, mut world) = fork();
    let mut memory = Memory::new(&world);
    memory.take(&abandoned.bundle(&memory.twin));
    assert!(memory.gives("alice"));
    abandoned.publish(vec![(id("alice"), Content::Removal(Kind::User))]);
    memory.twin.floor = memory.ledger.floor;
    memory.take(&abandoned.bundle(&memory.twin));
    assert!(!memory.gives("alice"));
    let old = memory.ledger.floor_link().cloned();

    rotate(&mut world);
    let bundle = from_first(&world);
    assert!(matches!(memory.take(&bundle), Step::Abandoned(_)));
    assert_ne!(memory.ledger.floor_link().cloned(), old);
    assert!(!memory.gives("alice"), "the new floor shows her as she was before her end");
    assert_eq!(memory.ledger.evidence.len(), 1);
    // Nor later under the same trust root, by her statement of then.
    world.publish(vec![(id("more"), group("more"))]);
    memory.twin.floor = memory.ledger.floor;
    memory.twin.trust = memory.ledger.trust().clone();
    memory.take(&world.bundle(&memory.twin));
    assert!(!memory.gives("alice"));
    // A revision that is not newer than her end was made by people who did not know of it.
    world.publish(vec![(id("alice"), user("alice", 10_001, &["alice key"], &["dba"]))]);
    memory.twin.floor = memory.ledger.floor;
    memory.take(&world.bundle(&memory.twin));
    assert!(!memory.gives("alice"));
    // One above it is another matter: it is what a tool makes that was shown the end.
    world.publish(vec![(id("alice"), user("alice", 10_001, &["alice key"], &["dba"]))]);
    memory.twin.floor = memory.ledger.floor;
    memory.take(&world.bundle(&memory.twin));
    assert!(memory.gives("alice"));
}

#[test]
fn what_was_made_and_ended_before_a_floor_was_abandoned_is_not_made_again() {
    let (mut abandoned, mut world) = fork();
    let mut memory = Memory::new(&world);
    abandoned.publish(vec![(id("zoe"), user("zoe", 10_002, &["zoe key"], &["dba"]))]);
    memory.take(&abandoned.bundle(&memory.twin));
    assert!(memory.gives("zoe"));
    abandoned.publish(vec![(id("zoe"), Content::Removal(Kind::User))]);
    memory.twin.floor = memory.ledger.floor;
    memory.take(&abandoned.bundle(&memory.twin));

    rotate(&mut world);
    let mut bundle = from_first(&world);
    bundle.absent = BTreeSet::from([id("zoe")]);
    let shown = world.chain.statements().keys().copied();
    let ids: Vec<Id> = shown.chain([id("zoe"), Id::Host(memory.ledger.host)]).collect();
    bundle.directory = Some(world.chain.prove(&ids));
    assert!(matches!(memory.take(&bundle), Step::Abandoned(_)));
    world.publish(vec![(id("zoe"), user("zoe", 10_002, &["zoe key"], &["dba"]))]);
    memory.twin.floor = memory.ledger.floor;
    memory.twin.trust = memory.ledger.trust().clone();
    memory.take(&world.bundle(&memory.twin));
    assert!(!memory.gives("zoe"));
}

#[test]
fn what_an_abandoned_floor_proved_is_not_proved_by_another_link_of_its_number() {
    let (mut abandoned, mut world) = fork();
    let mut memory = Memory::new(&world);
    abandoned.publish(vec![(id("evil"), user("evil", 10_009, &["evil key"], &["dba"]))]);
    memory.take(&abandoned.bundle(&memory.twin));
    assert!(memory.ledger.proved().contains_key(&id("evil")));

    rotate(&mut world);
    let number = memory.ledger.floor.unwrap().link.number;
    assert!(matches!(memory.take(&from_first(&world)), Step::Abandoned(_)));
    assert_eq!(memory.ledger.floor.unwrap().link.number, number);
    assert!(!memory.ledger.proved().contains_key(&id("evil")));
}

#[test]
fn evidence_is_kept_up_to_its_bound_and_once() {
    let mut ledger = Memory::new(&staffed(Shape::One)).ledger;
    let links: Vec<Vec<u8>> =
        (0..=MAX_EVIDENCE).map(|number| number.to_be_bytes().to_vec()).collect();
    let (kept, beyond) = links.split_at(MAX_EVIDENCE);
    assert!(ledger.keep_evidence(kept[0].clone()));
    assert!(!ledger.keep_evidence(kept[0].clone()));
    assert!(kept[1..].iter().all(|link| ledger.keep_evidence(link.clone())));
    assert!(!ledger.keep_evidence(beyond[0].clone()));
    assert_eq!(Ledger::decode(&ledger.encode()).unwrap().evidence, kept);
}
