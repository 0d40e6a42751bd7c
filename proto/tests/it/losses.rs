//! What the online key takes away by itself: it ends at once, and a link remembers it only when its
//! signer says so.

use std::collections::BTreeSet;

use muster_proto::{
    envelope::Envelope,
    id::{Id, Kind},
    link::Target,
    statement::Content,
};

use crate::world::{SHAPES, World, group, id, signed_by, staffed};

fn keep(world: &mut World, tag: &str, target: Target) {
    let revocation = Envelope::sign(&world.revocation(tag, target), &world.online);
    world.chain.keep(&revocation).unwrap();
}

fn of(word: &str) -> Target {
    Target::Statement { id: id(word), revision: 1 }
}

fn folded(world: &World, confirmed: &[muster_proto::chain::Loss]) -> BTreeSet<Id> {
    world.chain.folds(&BTreeSet::new(), confirmed).iter().map(|fold| fold.id).collect()
}

#[test]
fn a_link_keeps_what_the_online_key_revoked_only_when_its_signer_confirms_it() {
    for shape in SHAPES {
        let mut world = staffed(shape);
        keep(&mut world, "evil", of("alice"));
        world.revoke("left", of("dbas"));
        assert_eq!(folded(&world, &[]), BTreeSet::from([id("dbas")]), "an approver's needs nobody");
        let losses = world.chain.losses();
        let [loss] = &losses[..] else { panic!("{losses:?}") };
        assert_eq!((loss.revocation, loss.target), (id("evil"), of("alice")));
        assert_eq!(loss.concerned, BTreeSet::from([id("alice")]));
        let both = BTreeSet::from([id("alice"), id("dbas")]);
        assert_eq!(folded(&world, &losses), both);

        let folds = world.chain.folds(&BTreeSet::new(), &losses);
        let candidate = world.chain.cut(&[], folds, world.time, crate::world::log_head()).unwrap();
        world.extend(&candidate, Vec::new()).unwrap();
        assert!(world.chain.losses().is_empty(), "a link carries it");
        let alice = &world.chain.statements()[&id("alice")];
        assert_eq!(alice.content, Content::Revoked { kind: Kind::User, revocation: id("evil") });
    }
}

#[test]
fn the_online_key_slips_nothing_in_under_the_name_of_what_was_confirmed_or_approved() {
    for shape in SHAPES {
        let mut world = staffed(shape);
        world.publish(vec![(id("zoe"), group("zoe"))]);
        world.revoke("left", of("dbas"));
        keep(&mut world, "left", of("alice"));
        assert_eq!(folded(&world, &[]), BTreeSet::from([id("dbas")]), "the approver's name");
        let seen = world.chain.losses();
        keep(&mut world, "left", of("zoe"));
        let after = BTreeSet::from([id("alice"), id("dbas")]);
        assert_eq!(folded(&world, &seen), after, "what was confirmed, and nothing beside it");
    }
}

#[test]
fn who_signed_a_revocation_is_found_by_verification_and_not_in_the_envelope() {
    for shape in SHAPES {
        let mut world = staffed(shape);
        let revocation = world.revocation("evil", of("alice"));
        let mut envelope = Envelope::sign(&revocation, &world.online);
        // Signatures that say that they are an approver's, and are none of this revocation.
        let other = world.revocation("other", of("alice"));
        let stolen = signed_by(&other, muster_proto::trust::Duty::Approver, &["ana", "bob"]);
        stolen.signatures().iter().for_each(|signature| envelope.add(signature.clone()));
        world.chain.keep(&envelope).unwrap();
        assert!(folded(&world, &[]).is_empty());
        assert_eq!(world.chain.losses().len(), 1);
        // Once an approver says the same it needs nobody any more.
        let own = signed_by(&revocation, muster_proto::trust::Duty::Approver, &["ana"]);
        world.chain.keep(&own).unwrap();
        assert_eq!(folded(&world, &[]), BTreeSet::from([id("alice")]));
        assert!(world.chain.losses().is_empty());
    }
}
