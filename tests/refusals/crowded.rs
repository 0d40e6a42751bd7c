//! Much at once: what a courier, or whoever holds the controller's online key, could send or ask for
//! to keep the keeper from its work.

use muster_agent::ledger::MAX_ONLINE_REVOCATIONS;
use muster_proto::{
    bundle::Bundle,
    crypto::sha256,
    envelope::Envelope,
    id::{HostId, Id},
    link::{Revocation, Target},
    receipt::{self, Authority},
    trust::Duty,
};
use muster_tests::Lab;

use crate::{
    forged::fleet,
    keys::machine,
    stolen::named,
    victim::Victim,
    world::{World, id, signed_by},
};

/// A revocation of a key that nobody has.
fn revocation(world: &World, number: usize) -> Revocation {
    let digest = sha256(&[b"revocation", &number.to_be_bytes()]);
    let id = Id::parse(&digest.as_bytes()[..16]).unwrap();
    Revocation { id, ..world.revocation("many", Target::Key(digest)) }
}

fn only(host: HostId, revocations: Vec<Envelope>) -> Bundle {
    Bundle {
        host,
        trust_roots: Vec::new(),
        link: None,
        history: Vec::new(),
        statements: Vec::new(),
        absent: std::collections::BTreeSet::new(),
        directory: None,
        revocations,
        checkpoint: None,
        acknowledgement: None,
    }
}

#[test]
fn the_online_key_fills_no_ledger_and_an_approvers_revocation_still_counts() {
    let lab = Lab::start("refuse-crowds", &["db1"]).unwrap();
    let world = fleet();
    let mut db1 = Victim::join(&lab, "db1", &world, None);
    db1.take(&world.bundle(&db1.twin));
    let host = db1.twin.id;
    let online = machine("online");
    let by_online = |numbers: std::ops::Range<usize>| {
        only(host, numbers.map(|n| Envelope::sign(&revocation(&world, n), &online)).collect())
    };
    let receipt = db1.take(&by_online(0..MAX_ONLINE_REVOCATIONS - 1));
    assert_eq!(named(&receipt), MAX_ONLINE_REVOCATIONS - 1);
    assert_eq!(receipt.findings, []);
    let at_the_bound = MAX_ONLINE_REVOCATIONS - 1..MAX_ONLINE_REVOCATIONS;
    let receipt = db1.take(&by_online(at_the_bound));
    assert_eq!(named(&receipt), 1);
    assert!(receipt.findings.iter().any(|finding| finding.kind.as_str() == "revocations-full"));
    let beyond = MAX_ONLINE_REVOCATIONS..MAX_ONLINE_REVOCATIONS + 1;
    assert_eq!(named(&db1.take(&by_online(beyond))), 0);
    assert_eq!(db1.ledger().online_revocations(), MAX_ONLINE_REVOCATIONS);
    assert!(db1.gives("alice"));

    let target = Target::Statement { id: id("alice"), revision: 1 };
    let ends = world.revocation("alice ends", target);
    let receipt = db1.take(&only(host, vec![signed_by(&ends, Duty::Approver, &["ana"])]));
    assert_eq!(named(&receipt), 1);
    assert!(!db1.gives("alice"));
    // Its receipt may have been lost on the way: sent again, it is named again.
    let receipt = db1.take(&only(host, vec![signed_by(&ends, Duty::Approver, &["ana"])]));
    assert_eq!(receipt.revocations, receipt::named(&ends, Authority::Approver));
}

#[test]
fn a_long_spool_is_handed_over_whole_and_in_order() {
    let lab = Lab::start("refuse-spool", &["db1"]).unwrap();
    let world = fleet();
    let mut db1 = Victim::join(&lab, "db1", &world, None);
    db1.take(&world.bundle(&db1.twin));
    // What is done before a courier has asked comes after what was done before.
    let foreign = ["install", "--mode", "0440", "/dev/null", "/etc/sudoers.d/foreign"];
    assert_eq!(db1.ask_only_after(&foreign), [1, 2, 3]);
    // More than one turn hands over.
    let numbers = db1.lengthen_the_spool(1_000);
    assert_eq!(numbers.len(), 1_000);
    assert_eq!(db1.ask_for_the_spool(numbers.len()), numbers);
}
