//! Claims about who may sign what, each on both trust roots.

use std::collections::BTreeSet;

use muster_proto::{
    crypto::sha256,
    envelope::{Document, Envelope, Signature, Verified},
    id::Digest,
    link::{Acknowledgement, Checkpoint, Link, Proposal, Revocation, Target},
    receipt::{Convergence, HostMode, Receipt, Trigger},
    trust::{Duty, ProposerRule, Refused, verify_by_host},
    wire,
};

use crate::{
    keys::machine,
    world::{SHAPES, START, Shape, World, group, id, log_head, name, signed_by, signer},
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

pub fn link(world: &World) -> Link {
    let proposal = world.propose(vec![world.next(id("dba"), group("dba"))]);
    world.cut(&[proposal]).unwrap().link
}

pub fn checkpoint(world: &World) -> Checkpoint {
    Checkpoint {
        lineage: world.lineage(),
        time: world.time,
        link: None,
        revocations: 0,
        revocations_digest: sha256(&[]),
        log: log_head(),
    }
}

pub fn acknowledgement(world: &World, host: Digest) -> Acknowledgement {
    Acknowledgement { lineage: world.lineage(), host, number: 1, digest: sha256(&[]) }
}

pub fn receipt(world: &World, host: Digest) -> Receipt {
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
        drift: Vec::new(),
        inventory: None,
    }
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
            key: if n.is_multiple_of(2) { known } else { sha256(&[&[u8::try_from(n).unwrap()]]) },
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
fn nobody_becomes_or_ceases_to_be_a_proposer_by_a_signature_on_the_envelope() {
    for shape in SHAPES {
        let world = World::new(shape);
        let proposal = world.proposal(vec![world.next(id("zoe"), group("zoe"))]);
        let trust = world.chain.trust();
        let ana = BTreeSet::from(["ana".to_owned()]);
        let own = signed_by(&proposal, Duty::Proposer, &["ana"]);
        assert_eq!(trust.verify::<Proposal>(&own).unwrap().signers(), &ana);
        // Somebody signs with her, for instance an approver whose word shall not count.
        for duty in [Duty::Approver, Duty::Proposer] {
            let mut both = own.clone();
            signer("bob", duty).sign(&mut both);
            assert_eq!(trust.verify::<Proposal>(&both).unwrap().signers(), &ana);
            let (alone, with) = (world.cut(std::slice::from_ref(&own)), world.cut(&[both]));
            assert_eq!(alone.unwrap().link.proposers, ana);
            assert_eq!(with.unwrap().link.proposers, ana);
        }
        // Her own signature is left out, so that her approval would count.
        let stolen = signed_by(&proposal, Duty::Proposer, &["bob"]);
        let found = trust.verify::<Proposal>(&stolen);
        assert!(matches!(found, Err(Refused::Threshold { .. })), "{found:?}");
        assert!(world.cut(&[stolen]).is_err());
        // Under another name it is another document, which her signature does not cover.
        let other = Proposal { proposer: name("bob"), ..proposal };
        let mut moved = Envelope::new(&other);
        own.signatures().iter().for_each(|signature| moved.add(signature.clone()));
        assert!(trust.verify::<Proposal>(&moved).is_err());
    }
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
