//! What is kept of revocations: when they came, by whom they were signed, and what becomes of them when
//! who signed them has gone.

use std::collections::{BTreeMap, BTreeSet};

use muster_controller::{
    signer,
    tool::{Tool, ToolError},
};
use muster_proto::{
    crypto::MachineKey,
    envelope::Envelope,
    link::Target,
    trust::{Duty, TrustRoot},
};

use crate::world::{Key, World, name};

/// The next trust root, in which neither the approver's key nor the online key is what it was.
fn after_a_theft(world: &World) -> Envelope {
    let machine = MachineKey::from_pkcs8(&signer::generate().unwrap()).unwrap();
    let root = Key::new("root");
    let keys = BTreeMap::from([
        (Key::new("the approver's next").public(), Duty::Approver),
        (root.public(), Duty::Root),
    ]);
    let next = TrustRoot {
        version: 2,
        lineage: Some(world.lineage()),
        previous: Some(world.lineage()),
        people: BTreeMap::from([(name("ana"), keys)]),
        machine_keys: BTreeSet::from([machine.public()]),
        ..TrustRoot::clone(world.chain.trust())
    };
    let mut envelope = Envelope::new(&next);
    root.sign(&mut envelope);
    envelope
}

fn key_of(login: &str) -> Target {
    Target::Key(Key::new(login).public().fingerprint())
}

#[test]
fn what_an_operator_has_kept_stays_though_who_signed_it_has_gone_since() {
    let world = World::new();
    let dir = tempfile::tempdir().unwrap();
    let mut tool = Tool::create(dir.path(), &world.trust).unwrap();
    let ours = world.revocation("ours", key_of("eva"));
    let theirs = world.online_revocation("theirs", key_of("eve"));
    tool.take_revocation(&ours).unwrap();
    tool.take_revocation(&theirs).unwrap();
    tool.take_trust_root(&after_a_theft(&world)).unwrap();
    let late = [
        world.revocation("late", key_of("uta")),
        world.online_revocation("late as well", key_of("uta")),
    ];

    for mut tool in [tool, Tool::open(dir.path()).unwrap()] {
        let chain = tool.chain();
        assert_eq!((chain.trust().version, tool.revocations()), (2, 2));
        let [ours, theirs] = [("ours", "eva"), ("theirs", "eve")]
            .map(|(word, login)| world.revoking(word, key_of(login)));
        assert!([&ours, &theirs].into_iter().all(|kept| chain.revocations().contains(kept)));
        assert!(chain.is_approved(&ours) && !chain.is_approved(&theirs));
        // What comes is judged by what holds now.
        for envelope in &late {
            let refused = tool.take_revocation(envelope);
            assert!(matches!(refused, Err(ToolError::Revocation(_))), "{refused:?}");
        }
        assert_eq!(tool.revocations(), 2);
    }
}
