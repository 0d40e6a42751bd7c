//! The path of the approver's tool: what it refuses to extend its chain by, and to sign.

use muster_proto::{
    chain::{BadLink, Candidate, Chain, MAX_AHEAD},
    crypto::sha256,
    envelope::{Document, Envelope, Verified},
    id::Kind,
    link::{Link, LinkBody},
    statement::Content,
    trust::Duty,
};

use crate::world::{SHAPES, Shape, World, group, id, log_head, signed_by, staffed};

#[test]
fn a_second_chain_comes_to_the_same_and_takes_every_link() {
    for shape in SHAPES {
        let mut world = staffed(shape);
        world.rotate(|_| ());
        world.publish(vec![(id("alice"), Content::Removal(Kind::User))]);
        let genesis = Verified::genesis(&world.trust_roots[0], world.lineage()).unwrap();
        let mut tool = Chain::new(genesis);
        tool.follow(&world.trust_roots[1]).unwrap();
        for link in &world.links {
            tool.extend(&link.envelope, &link.body, &link.proposals, world.time).unwrap();
        }
        assert_eq!(tool.newest(), world.chain.newest());
        assert_eq!(tool.directory().root(), world.chain.directory().root());
        assert_eq!(tool.taken(), world.chain.taken());
    }
}

/// Bends a good candidate, has it signed by the quorum, and returns what a tool says.
fn bent(
    shape: Shape,
    alter: impl Fn(&World, &mut Link, &mut LinkBody, &mut Vec<Envelope>),
) -> BadLink {
    let mut world = staffed(shape);
    world.publish(vec![(id("more"), group("more"))]);
    let mut proposals = vec![world.propose(vec![world.next(id("zoe"), group("zoe"))])];
    let Candidate { mut link, mut body } = world.cut(&proposals).unwrap();
    let honest = signed_by(&link, Duty::Approver, shape.quorum());
    let now = world.time;
    world.chain.clone().extend(&honest, &body.encode(), &proposals, now).unwrap();
    let untouched = body.digest();
    alter(&world, &mut link, &mut body, &mut proposals);
    if body.digest() != untouched && link.body == untouched {
        link.body = body.digest();
    }
    let envelope = signed_by(&link, Duty::Approver, shape.quorum());
    world.chain.extend(&envelope, &body.encode(), &proposals, now).unwrap_err()
}

#[test]
fn what_a_link_says_of_itself_is_recomputed() {
    for shape in SHAPES {
        let succession =
            |error: BadLink| assert!(matches!(error, BadLink::Succession { .. }), "{error}");
        succession(bent(shape, |_, link, _, _| link.number = 4));
        succession(bent(shape, |_, link, _, _| link.previous = sha256(&[])));
        succession(bent(shape, |_, link, _, _| link.history_root = sha256(&[])));
        succession(bent(shape, |world, link, _, _| link.time.0 = world.time.0 - 1));
        succession(bent(shape, |world, link, _, _| link.time = world.time.plus(MAX_AHEAD + 1)));
        assert_eq!(bent(shape, |_, link, _, _| link.number = 1), BadLink::Equivocation(1));
        let unknown = bent(shape, |_, link, _, _| link.trust_version = 2);
        assert!(matches!(unknown, BadLink::UnknownTrustRoot { version: 2, .. }), "{unknown}");
        let unknown = bent(shape, |_, link, _, _| link.trust_digest = sha256(&[]));
        assert!(matches!(unknown, BadLink::UnknownTrustRoot { version: 1, .. }), "{unknown}");
        for what in ["a body", "a directory root", "proposals", "proposers"] {
            let error = bent(shape, |world, link, body, proposals| match what {
                "a body" => link.body = sha256(&[]),
                "a directory root" => link.directory_root = sha256(&[]),
                "proposals" if shape == Shape::One => proposals.clear(),
                "proposals" => {
                    body.statements.push(world.next(id("evil"), group("evil")));
                    body.statements.sort_by_key(|s| s.id);
                }
                _ => {
                    link.proposers.insert("bob".to_owned());
                }
            });
            assert!(matches!(error, BadLink::Differs { what: w, .. } if w == what), "{error}");
        }
        let error = bent(shape, |_, _, _, proposals| proposals[0] = Envelope::new(&log_proposal()));
        assert!(matches!(error, BadLink::Part { part: "proposal", .. }), "{error}");
    }
}

fn log_proposal() -> muster_proto::link::Proposal {
    World::new(Shape::One).proposal(Vec::new())
}

#[test]
fn a_time_five_minutes_ahead_is_the_last_that_is_taken() {
    let mut world = staffed(Shape::Two);
    let now = world.time;
    let candidate = world.chain.cut(&[], Vec::new(), now.plus(MAX_AHEAD), log_head()).unwrap();
    assert_eq!(world.extend(&candidate, Vec::new()), Ok(()));
    assert_eq!(world.cut(&[]).unwrap().link.time, now.plus(MAX_AHEAD), "never older than the last");
}

#[test]
fn trust_roots_never_fall_along_the_chain() {
    for shape in SHAPES {
        let mut world = staffed(shape);
        let mut old = world.cut(&[]).unwrap();
        world.rotate(|_| ());
        world.publish(vec![(id("more"), group("more"))]);
        let newest = world.chain.newest().unwrap();
        let candidate = world.cut(&[]).unwrap();
        old.link = Link { trust_version: 1, trust_digest: old.link.trust_digest, ..candidate.link };
        assert_eq!(old.link.number, newest.number + 1);
        let found = world.extend(&old, Vec::new());
        assert!(matches!(found, Err(BadLink::Succession { .. })), "{found:?}");
    }
}
