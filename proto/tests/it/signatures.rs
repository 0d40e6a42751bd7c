//! Claims about who may sign what, each on both trust roots.

use std::collections::BTreeSet;

use muster_proto::{
    crypto::sha256,
    envelope::{Document, Envelope, Signature, Verified},
    id::Digest,
    link::{Acknowledgement, Checkpoint, Link, Proposal, Revocation, Target},
    receipt::{Convergence, Enrolment, HostMode, Receipt, Trigger},
    trust::{Duty, ProposerRule, Refused, TrustRoot, verify_by_host},
    wire,
};

use crate::{
    keys::{PLAIN, Signer, Style, machine},
    world::{SHAPES, START, Shape, World, group, id, line, log_head, signed_by, signer},
};

/// An envelope of any parts.
pub fn envelope(payload_type: &str, payload: &[u8], signatures: &[Signature]) -> Envelope {
    let signatures = signatures.iter().map(|signature| wire::Signature {
        key: signature.key.as_bytes().to_vec(),
        signature: signature.bytes.clone(),
    });
    Envelope::try_from(wire::Envelope {
        payload_type: payload_type.to_owned(),
        payload: payload.to_vec(),
        signatures: signatures.collect(),
    })
    .unwrap()
}

fn with_signatures<T: Document>(document: &T, signatures: &[Signature]) -> Envelope {
    envelope(T::TYPE, &document.encode(), signatures)
}

fn link(world: &World) -> Link {
    let proposal = world.propose(vec![world.next(id("dba"), group("dba"))]);
    world.cut(&[proposal]).unwrap().link
}

fn checkpoint(world: &World) -> Checkpoint {
    Checkpoint {
        lineage: world.lineage(),
        time: world.time,
        link: None,
        revocations: 0,
        revocations_digest: sha256(&[]),
        log: log_head(),
    }
}

fn acknowledgement(world: &World, host: Digest) -> Acknowledgement {
    Acknowledgement { lineage: world.lineage(), host, number: 1, digest: sha256(&[]) }
}

fn receipt(world: &World, host: Digest) -> Receipt {
    Receipt {
        lineage: world.lineage(),
        host,
        number: 1,
        previous: None,
        time: START,
        floor: None,
        trust_version: 1,
        mode: HostMode::Enforce,
        trigger: Trigger::Start,
        revocations: BTreeSet::new(),
        outcomes: Vec::new(),
        convergence: Convergence::Done,
        findings: Vec::new(),
    }
}

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

#[test]
fn below_any_threshold_a_link_is_refused() {
    let world = World::new(Shape::Two);
    let link = link(&world);
    for (people, counts) in [
        (&["ana", "bob", "dia", "eve"][..], true),
        (&["bob", "cem", "eve", "fay"], true),
        (&["ana", "bob", "cem", "dia"], false),
        (&["ana", "dia", "eve", "fay"], false),
        (&["ana", "bob"], false),
        (&["ana"], false),
        (&[], false),
    ] {
        let found = world.chain.trust().verify::<Link>(&signed_by(&link, Duty::Approver, people));
        assert_eq!(found.is_ok(), counts, "{people:?}");
        if let Ok(verified) = found {
            let signers: Vec<&str> = verified.signers().iter().map(String::as_str).collect();
            assert_eq!(signers, people);
        }
    }
}

#[test]
fn one_person_with_two_keys_counts_once_and_one_signature_twice_once() {
    let world = World::new(Shape::Two);
    let link = link(&world);
    let mut two_keys = signed_by(&link, Duty::Approver, &["ana", "bob", "dia"]);
    signer("dia second", Duty::Approver).sign(&mut two_keys);
    assert!(world.chain.trust().verify::<Link>(&two_keys).is_err());

    let three = signed_by(&link, Duty::Approver, &["ana", "bob", "dia"]);
    let twice = [three.signatures(), three.signatures()].concat();
    assert!(world.chain.trust().verify::<Link>(&with_signatures(&link, &twice)).is_err());
    // The same key named by another digest.
    let mut renamed = three.signatures().to_vec();
    renamed.push(Signature { key: sha256(&[b"other"]), ..renamed[2].clone() });
    assert!(world.chain.trust().verify::<Link>(&with_signatures(&link, &renamed)).is_err());
    // One person's signature under the name of a colleague's key.
    let mut borrowed = three.signatures().to_vec();
    let key = signer("eve", Duty::Approver).public().fingerprint();
    borrowed.push(Signature { key, ..borrowed[2].clone() });
    assert!(world.chain.trust().verify::<Link>(&with_signatures(&link, &borrowed)).is_err());
}

#[test]
fn garbage_among_good_signatures_neither_counts_nor_refuses_and_65_are_too_many() {
    for shape in SHAPES {
        let world = World::new(shape);
        let link = link(&world);
        let good = signed_by(&link, Duty::Approver, shape.quorum());
        let known = good.signatures()[0].key;
        let garbage = |n: usize| Signature {
            key: if n % 2 == 0 { known } else { sha256(&[&[u8::try_from(n).unwrap()]]) },
            bytes: vec![u8::try_from(n).unwrap(); n],
        };
        let room = 64 - good.signatures().len();
        let mut signatures: Vec<Signature> = (0..room).map(garbage).collect();
        signatures.extend_from_slice(good.signatures());
        let trust = world.chain.trust();
        assert!(trust.verify::<Link>(&with_signatures(&link, &signatures)).is_ok());
        signatures.push(garbage(200));
        let found = trust.verify::<Link>(&with_signatures(&link, &signatures));
        assert_eq!(found.map(|_| ()), Err(Refused::TooManySignatures(65)));
    }
}

#[test]
fn no_document_may_carry_more_than_64_signatures() {
    let world = World::new(Shape::One);
    let trust = world.chain.trust();
    let keeper = machine("db1");
    let pad = |envelope: &Envelope| {
        let mut signatures = envelope.signatures().to_vec();
        let more = (0..64_u8).map(|n| Signature { key: sha256(&[&[n]]), bytes: vec![n] });
        signatures.extend(more);
        signatures
    };
    let revocation = world.revocation("r", Target::Key(sha256(&[])));
    let padded = pad(&Envelope::sign(&revocation, &world.online));
    let found = trust.verify::<Revocation>(&with_signatures(&revocation, &padded));
    assert_eq!(found.map(|_| ()), Err(Refused::TooManySignatures(65)));
    let checkpoint = checkpoint(&world);
    let padded = pad(&Envelope::sign(&checkpoint, &world.online));
    let found = trust.verify::<Checkpoint>(&with_signatures(&checkpoint, &padded));
    assert_eq!(found.map(|_| ()), Err(Refused::TooManySignatures(65)));
    let receipt = receipt(&world, keeper.public().digest());
    let padded = pad(&Envelope::sign(&receipt, &keeper));
    let found = verify_by_host::<Receipt>(&with_signatures(&receipt, &padded), keeper.public());
    assert_eq!(found.map(|_| ()), Err(Refused::TooManySignatures(65)));
}

fn styles() -> Vec<(&'static str, Style)> {
    let namespace = |text: &str| Style { namespace: Some(text.to_owned()), ..PLAIN };
    vec![
        ("git", namespace("git")),
        ("file", namespace("file")),
        ("no namespace", namespace("")),
        ("proposal", namespace(Proposal::TYPE)),
        ("trust root", namespace(TrustRoot::TYPE)),
        ("sha256", Style { hash: "sha256", ..PLAIN }),
        ("reserved", Style { reserved: "x", ..PLAIN }),
    ]
}

#[test]
fn a_signature_made_for_something_else_does_not_count() {
    let world = World::new(Shape::One);
    let link = Envelope::new(&link(&world));
    let trust = world.chain.trust();
    let ana = signer("ana", Duty::Approver);
    let check = |style: &Style| {
        let mut signed = link.clone();
        signed.add(ana.signature(&link, style));
        trust.verify::<Link>(&signed).is_ok()
    };
    assert!(check(&PLAIN));
    for (what, style) in styles() {
        assert!(!check(&style), "{what}");
    }
}

#[test]
fn a_hardware_key_counts_only_when_somebody_touched_it() {
    let mut root = Shape::One.trust_root();
    let ana = Signer::hardware("ana in hardware");
    let keys = root.people.values_mut().next().unwrap();
    keys.retain(|_, duty| *duty != Duty::Approver);
    keys.insert(ana.public(), Duty::Approver);
    let world = World::from_root(Shape::One, &root);
    let link = Envelope::new(&link(&world));
    let check = |style: &Style| {
        let mut signed = link.clone();
        signed.add(ana.signature(&link, style));
        world.chain.trust().verify::<Link>(&signed).is_ok()
    };
    assert!(check(&PLAIN));
    assert!(check(&Style { flags: 5, ..PLAIN }), "touched, and its user verified");
    assert!(!check(&Style { flags: 0, ..PLAIN }), "nobody touched it");
    assert!(!check(&Style { flags: 4, ..PLAIN }), "verified and not touched");
    assert!(!check(&Style { application: "ssh:other", ..PLAIN }), "another application");
    for (what, style) in styles() {
        assert!(!check(&style), "{what}");
    }
    // Flags that were raised after the token signed.
    let untouched = ana.signature(&link, &Style { flags: 0, ..PLAIN });
    let mut bytes = untouched.bytes.clone();
    let flags = bytes.len() - 5;
    bytes[flags] = 1;
    let mut forged = link.clone();
    forged.add(Signature { bytes, ..untouched });
    assert!(world.chain.trust().verify::<Link>(&forged).is_err());
}

#[test]
fn another_payload_type_or_payload_under_a_good_signature_is_refused() {
    for shape in SHAPES {
        let world = World::new(shape);
        let good = signed_by(&link(&world), Duty::Approver, shape.quorum());
        let payload = link(&world).encode();
        for kind in ["", Proposal::TYPE, "application/vnd.muster.link.v2", "x"] {
            let bent = envelope(kind, &payload, good.signatures());
            assert!(world.chain.trust().verify::<Link>(&bent).is_err(), "{kind}");
        }
        for kind in [format!("{}\0", Link::TYPE), Link::TYPE.to_uppercase()] {
            let bent = envelope(&kind, &payload, good.signatures());
            assert!(world.chain.trust().verify::<Link>(&bent).is_err(), "{kind}");
        }
        let mut other = link(&world);
        other.time = other.time.plus(1);
        assert!(
            world
                .chain
                .trust()
                .verify::<Link>(&with_signatures(&other, good.signatures()))
                .is_err()
        );
    }
}

#[test]
fn a_document_of_another_fleet_is_refused() {
    for shape in SHAPES {
        let world = World::new(shape);
        let mut root = shape.trust_root();
        root.stale_after += 1;
        let other = World::from_root(shape, &root);
        let stray = signed_by(&link(&other), Duty::Approver, shape.quorum());
        let found = world.chain.trust().verify::<Link>(&stray);
        assert!(matches!(found, Err(Refused::Lineage { .. })), "{shape:?}");
        let stray = Envelope::sign(&other.revocation("r", Target::Key(sha256(&[]))), &other.online);
        assert!(world.chain.trust().verify::<Revocation>(&stray).is_err());
        let genesis = Verified::genesis(&other.trust_roots[0], world.lineage());
        assert!(matches!(genesis, Err(Refused::Lineage { .. })));
    }
}

#[test]
fn where_proposers_do_not_count_theirs_is_no_approval() {
    let mut root = Shape::Two.trust_root();
    root.proposers = ProposerRule::DoNotCount;
    let world = World::from_root(Shape::Two, &root);
    let link = link(&world);
    assert_eq!(link.proposers, BTreeSet::from(["ana".to_owned()]));
    let trust = world.chain.trust();
    let with_ana = signed_by(&link, Duty::Approver, &["ana", "bob", "dia", "eve"]);
    assert!(trust.verify::<Link>(&with_ana).is_err());
    let all = signed_by(&link, Duty::Approver, &["ana", "bob", "cem", "dia", "eve"]);
    let verified = trust.verify::<Link>(&all).unwrap();
    assert!(!verified.signers().contains("ana"), "only those who counted are its signers");
}

#[test]
fn an_approvers_word_on_a_revocation_is_not_hidden_by_the_controllers() {
    for shape in SHAPES {
        let world = World::new(shape);
        let revocation = world.revocation("r", Target::Key(sha256(&[])));
        let mut envelope = Envelope::sign(&revocation, &world.online);
        let trust = world.chain.trust();
        assert!(trust.verify::<Revocation>(&envelope).unwrap().signers().is_empty());
        signer("ana", Duty::Approver).sign(&mut envelope);
        let both = trust.verify::<Revocation>(&envelope).unwrap();
        assert!(both.signers().contains("ana"));
    }
}
