//! Claims about bytes and signatures.

use muster_proto::{
    bundle::Bundle,
    crypto::{document_digest, sha256},
    envelope::{Document, Envelope},
    link::{Link, Target},
    receipt::{self, Authority},
    statement::{Entry, Statement},
    trust::{Duty, TrustRoot},
};
use muster_tests::Lab;

use crate::{
    forged::{envelope_of, fleet, lawless, newest, with_unknown_field},
    victim::Victim,
    world::{id, signed_by, signer, user},
};

#[test]
fn a_flipped_byte_is_refused_wherever_it_is() {
    let lab = Lab::start("refuse-flips", &["db1"]).unwrap();
    let world = fleet();
    let mut db1 = Victim::join(&lab, "db1", &world, None);
    let good = world.bundle(&db1.twin).encode();
    // One that shares no factor with the lengths of digests and signatures.
    for at in (0..good.len()).step_by(71) {
        let mut bytes = good.clone();
        bytes[at] ^= 0xff;
        db1.refuses_bytes(&bytes);
    }
    for length in [0, 1, good.len() / 2, good.len() - 1] {
        db1.refuses_bytes(&good[..length]);
    }
    db1.take(&world.bundle(&db1.twin));
    assert!(db1.gives("alice"));
}

#[test]
fn a_wrong_signer_is_refused_whoever_it_is() {
    let lab = Lab::start("refuse-signers", &["db1"]).unwrap();
    let mut world = fleet();
    let mut db1 = Victim::join(&lab, "db1", &world, None);
    db1.take(&world.bundle(&db1.twin));
    let zoe = user("zoe", 10_002, &["zoe key"], &["dba"]);
    world.publish(vec![(id("zoe"), zoe)]);
    let (good, link) = (world.bundle(&db1.twin), newest(&world));
    let all = world.shape.quorum();
    for (why, envelope) in [
        ("nobody", Envelope::new(&link)),
        ("strangers", signed_by(&link, Duty::Approver, &["mal", "mallory", "nobody", "eva"])),
        ("a group alone", signed_by(&link, Duty::Approver, &["dia", "eve", "fay"])),
        ("one too few", signed_by(&link, Duty::Approver, &["ana", "bob", "dia"])),
        ("one twice", signed_by(&link, Duty::Approver, &["ana", "bob", "dia", "dia second"])),
        ("keys for proposals", signed_by(&link, Duty::Proposer, all)),
        ("keys for trust roots", signed_by(&link, Duty::Root, all)),
        ("the controller", Envelope::sign(&link, &world.online)),
    ] {
        let found = db1.refuses(&Bundle { link: Some(envelope), ..good.clone() });
        assert!(found.starts_with("cannot believe the bundle's link"), "{why}: {found}");
    }
    // Somebody else's signature under an approver's name, beside one that is good.
    let mut envelope = signed_by(&link, Duty::Approver, &["ana", "bob", "dia"]);
    let mut signature = signer("mal", Duty::Approver).signature(&envelope, &crate::keys::PLAIN);
    signature.key = signer("eve", Duty::Approver).public().fingerprint();
    envelope.add(signature);
    db1.refuses(&Bundle { link: Some(envelope), ..good.clone() });

    let mut bundle = Bundle::empty(db1.twin.id);
    let revocation = world.revocation("r", Target::Key(sha256(&[b"nobody's"])));
    bundle.revocations.push(signed_by(&revocation, Duty::Proposer, &["ana"]));
    // Beside one that is believed it is set aside and told, and the other counts.
    let other = world.revocation("q", Target::Key(sha256(&[b"somebody's"])));
    let mut both = bundle.clone();
    both.revocations.push(signed_by(&other, Duty::Approver, &["ana"]));
    let (reason, receipt) = db1.takes_in_part(&both);
    assert!(reason.starts_with("cannot believe the bundle's revocation"), "{reason}");
    assert_eq!(receipt.revocations, receipt::named(&other, Authority::Approver));
    assert_eq!(db1.refuses(&bundle), reason);
    // A trust root that hands the fleet to somebody new, by approvers and by itself.
    let next = world.next_root(|root| root.people.clear());
    for duty in [Duty::Approver, Duty::Proposer] {
        let mut bundle = Bundle::empty(db1.twin.id);
        bundle.trust_roots.push(signed_by::<TrustRoot>(&next, duty, all));
        let found = db1.refuses(&bundle);
        assert!(found.starts_with("cannot believe the bundle's trust root"), "{found}");
    }
    assert!(!db1.gives("zoe"));
    db1.take(&good);
    assert!(db1.gives("zoe"));
}

#[test]
fn an_unknown_field_is_refused_even_if_the_quorum_signs_it() {
    let lab = Lab::start("refuse-fields", &["db1"]).unwrap();
    let mut world = fleet();
    let mut db1 = Victim::join(&lab, "db1", &world, None);
    let good = world.bundle(&db1.twin);
    db1.refuses_bytes(&with_unknown_field(good.encode()));
    // In the link that everybody signs.
    let mut envelope = envelope_of::<Link>(with_unknown_field(newest(&world).encode()));
    for person in world.shape.quorum() {
        signer(person, Duty::Approver).sign(&mut envelope);
    }
    let found = db1.refuses(&Bundle { link: Some(envelope), ..good.clone() });
    assert!(found.contains("a field that is not known here"), "{found}");
    // In a statement of the directory that everybody signs: a later version's restriction, say,
    // that this one would grant without.
    let zoe = world.next(id("zoe"), user("zoe", 10_002, &["zoe key"], &["dba"]));
    let bytes = with_unknown_field(zoe.encode());
    let digest = document_digest(Statement::TYPE, &bytes);
    let entry = Entry { digest, ..Entry::of(&zoe) };
    let found = db1.refuses(&lawless(&world, &db1.twin, &[(entry, bytes)]));
    assert!(found.contains("a field that is not known here"), "{found}");

    world.publish_statements(vec![zoe]);
    db1.take(&world.bundle(&db1.twin));
    assert!(db1.gives("alice") && db1.gives("zoe"));
}
