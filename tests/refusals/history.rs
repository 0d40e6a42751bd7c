//! Claims about the chain.

use muster_agent::host::clocks;
use muster_proto::{envelope::Document, receipt::Finding};
use muster_tests::Lab;

use crate::{
    forged::{fleet, fleet_at},
    victim::Victim,
    world::{group, id, user},
};

#[test]
fn an_older_link_is_refused_by_whoever_has_seen_a_newer_one_or_had_it_pinned() {
    let lab = Lab::start("refuse-rollback", &["db1", "web1"]).unwrap();
    let mut world = fleet();
    let mut db1 = Victim::join(&lab, "db1", &world, None);
    let first = world.bundle(&db1.twin);
    world.publish(vec![(id("alice"), user("alice", 10_001, &["alice new key"], &["dba"]))]);
    let mut web1 = Victim::join(&lab, "web1", &world, world.chain.newest());
    db1.take(&world.bundle(&db1.twin));
    for (victim, bundle) in [
        (&mut db1, first),
        (&mut web1, world.bundle_at(&crate::host::Host::new(&world, "web1"), 1, |_| true)),
    ] {
        let found = victim.refuses(&bundle);
        assert_eq!(found, "link 1 is older than the floor, link 2: a rollback");
        victim.take(&world.bundle(&victim.twin));
        assert!(victim.gives("alice"));
    }
}

#[test]
fn a_second_link_of_one_number_is_refused_and_kept_as_evidence() {
    let lab = Lab::start("refuse-fork", &["db1"]).unwrap();
    let now = clocks::read().wall;
    let (mut world, mut other) = (fleet_at(now), fleet_at(now));
    let mut db1 = Victim::join(&lab, "db1", &world, None);
    other.publish(vec![(id("evil"), user("evil", 10_009, &["evil key"], &["dba"]))]);
    world.publish(vec![(id("more"), group("more"))]);
    db1.take(&world.bundle(&db1.twin));
    let fork = other.bundle(&crate::host::Host::new(&other, "db1"));
    let found = db1.refuses(&fork);
    assert_eq!(found, "link 2 is not the link 2 that is the floor here: an equivocation");
    assert_eq!(db1.ledger().evidence, [fork.link.unwrap().encode()]);
    // And what was built upon it.
    other.publish(vec![(id("later"), group("later"))]);
    let found = db1.refuses(&other.bundle(&db1.twin));
    assert_eq!(found, "link 3 is not shown to continue the floor, link 2");
    assert!(!db1.gives("evil"));

    world.publish(vec![(id("zoe"), user("zoe", 10_002, &["zoe key"], &["dba"]))]);
    let receipt = db1.take(&world.bundle(&db1.twin));
    assert_eq!(receipt.findings, Vec::<Finding>::new());
    assert!(db1.gives("zoe"));
}
