//! What a host says of its own memory when a part of that is damaged.

use muster_tests::Lab;

use crate::{
    forged::fleet,
    victim::Victim,
    world::{id, user},
};

#[test]
fn a_receipt_that_is_damaged_in_the_spool_is_reported_and_those_after_it_are_sent() {
    let lab = Lab::start("spoilt-receipt", &["db1"]).unwrap();
    let mut world = fleet();
    let mut db1 = Victim::join(&lab, "db1", &world, None);
    db1.take(&world.bundle(&db1.twin));
    let damaged = db1.spoil_newest_receipt().to_string();
    world.publish(vec![(id("alice"), user("alice", 10_001, &["alice new key"], &[]))]);
    let receipt = db1.take(&world.bundle(&db1.twin));
    let told = receipt.findings.iter().find(|found| found.kind.as_str() == "receipt-damaged");
    assert_eq!(told.map(|found| &found.subject), Some(&damaged), "{:?}", receipt.findings);
}
