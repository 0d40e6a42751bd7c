//! Which duty signs which document: the whole matrix.

use muster_proto::{
    crypto::sha256,
    envelope::{Document, Envelope},
    link::{Acknowledgement, Checkpoint, Link, Proposal, Revocation, Target},
    receipt::{Enrolment, Receipt},
    trust::{Duty, Refused, verify_by_host},
};

use crate::signatures::{acknowledgement, checkpoint, link, receipt};
use crate::{
    keys::machine,
    world::{SHAPES, START, Shape, World, line, signed_by},
};

/// Everybody's keys of a duty, or a machine's.
#[derive(Clone, Copy, Debug, PartialEq)]
enum By {
    People(Duty),
    Online,
    Keeper,
    Strangers,
}

const EVERYBODY: [By; 6] = [
    By::People(Duty::Root),
    By::People(Duty::Approver),
    By::People(Duty::Proposer),
    By::Online,
    By::Keeper,
    By::Strangers,
];

fn sign<T: Document>(document: &T, by: By) -> Envelope {
    match by {
        By::People(duty) => signed_by(document, duty, &["ana", "bob", "cem", "dia", "eve", "fay"]),
        By::Online => Envelope::sign(document, &machine("online")),
        By::Keeper => Envelope::sign(document, &machine("db1")),
        By::Strangers => signed_by(document, Duty::Approver, &["mal", "mo", "may", "mia"]),
    }
}

#[test]
fn a_document_counts_only_when_signed_for_its_own_duty() {
    for shape in SHAPES {
        let world = World::new(shape);
        let trust = world.chain.trust();
        let keeper = machine("db1").public();
        let next = world.next_root(|_| ());
        let revocation = world.revocation("r", Target::Key(sha256(&[])));
        let enrolment = Enrolment {
            lineage: world.lineage(),
            keeper_key: keeper,
            certificate_request: sha256(&[]),
            hostname: line("db1"),
            time: START,
        };
        let proposal = world.proposal(Vec::new());
        let (root, approver) = (By::People(Duty::Root), By::People(Duty::Approver));
        for by in EVERYBODY {
            let check = |what: &str, accepted: bool, good: &[By]| {
                assert_eq!(accepted, good.contains(&by), "{shape:?}: {what} by {by:?}");
            };
            check("trust root", trust.succeed(&sign(&next, by)).is_ok(), &[root]);
            check("link", trust.verify::<Link>(&sign(&link(&world), by)).is_ok(), &[approver]);
            check(
                "proposal",
                trust.verify::<Proposal>(&sign(&proposal, by)).is_ok(),
                &[approver, By::People(Duty::Proposer)],
            );
            check(
                "revocation",
                trust.verify::<Revocation>(&sign(&revocation, by)).is_ok(),
                &[approver, By::Online],
            );
            check(
                "checkpoint",
                trust.verify::<Checkpoint>(&sign(&checkpoint(&world), by)).is_ok(),
                &[By::Online],
            );
            let acknowledgement = acknowledgement(&world, keeper.digest());
            check(
                "acknowledgement",
                trust.verify::<Acknowledgement>(&sign(&acknowledgement, by)).is_ok(),
                &[By::Online],
            );
            let receipt = receipt(&world, keeper.digest());
            let found = verify_by_host::<Receipt>(&sign(&receipt, by), keeper);
            check("receipt", found.is_ok(), &[By::Keeper]);
            let found = verify_by_host::<Enrolment>(&sign(&enrolment, by), keeper);
            check("enrolment", found.is_ok(), &[By::Keeper]);
        }
    }
}

#[test]
fn a_host_signs_only_about_itself() {
    let world = World::new(Shape::One);
    let other = receipt(&world, machine("db2").public().digest());
    let envelope = Envelope::sign(&other, &machine("db1"));
    let found = verify_by_host::<Receipt>(&envelope, machine("db1").public());
    assert_eq!(found, Err(Refused::WrongHost));
}
