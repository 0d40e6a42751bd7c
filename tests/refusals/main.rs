//! What a real host refuses: the keeper as its own unit, on a host of its own, and at its socket a
//! courier that nobody should believe. It has every document of the fleet, the controller's online
//! key where that helps, and in some tests a quorum that signs what it should not.
//!
//! Each refusal is shown four times: the standing that the keeper tells, a receipt that it signs,
//! the verifier in this process that comes to the same words, and a host on which no file of
//! accounts and access has been touched. Needs root, and `tests/prepare` to have been run.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking, in its helpers too")]
#![expect(clippy::indexing_slicing, reason = "a test fails by panicking, in its helpers too")]
#![expect(unreachable_pub, reason = "the fleet's builders are the contract's own")]

mod abandoned;
#[path = "../../proto/tests/it/contents.rs"]
mod contents;
mod crowded;
mod forged;
mod history;
#[expect(dead_code, reason = "the contract's tests look at it more closely")]
#[path = "../../proto/tests/it/host.rs"]
mod host;
#[path = "../../proto/tests/it/keys.rs"]
mod keys;
mod meant;
mod signed;
mod spoilt;
mod stolen;
mod victim;
mod withheld;
#[expect(dead_code, unused_imports, reason = "the contract's tests build more")]
#[path = "../../proto/tests/it/world.rs"]
mod world;

use muster_proto::{
    id::Kind,
    receipt::{Convergence, Trigger},
    statement::Content,
};
use muster_tests::Lab;

use crate::{
    forged::fleet,
    victim::Victim,
    world::{id, role},
};

#[test]
fn what_was_signed_is_done_and_what_was_signed_away_is_undone() {
    let lab = Lab::start("refuse-nothing", &["db1"]).unwrap();
    let mut world = fleet();
    let mut db1 = Victim::join(&lab, "db1", &world, None);
    let (untouched, receipt) = (db1.traces(), db1.take(&world.bundle(&db1.twin)));
    assert_eq!((receipt.trigger, receipt.convergence), (Trigger::Bundle, Convergence::Done));
    assert!(receipt.findings.is_empty(), "{:?}", receipt.findings);
    assert!(receipt.outcomes.iter().all(|done| done.failure.is_none()), "{:?}", receipt.outcomes);
    assert!(db1.gives("alice") && db1.traces() != untouched);
    assert!(db1.sudo_of("alice").contains("ALL"), "{}", db1.sudo_of("alice"));

    world.publish(vec![(id("admin"), role("admin", &["/usr/bin/id"]))]);
    db1.take(&world.bundle(&db1.twin));
    let sudo = db1.sudo_of("alice");
    assert!(sudo.contains("/usr/bin/id") && !sudo.contains("ALL\n"), "{sudo}");
    world.publish(vec![(id("alice"), Content::Removal(Kind::User))]);
    db1.take(&world.bundle(&db1.twin));
    assert!(!db1.gives("alice"));
}
