//! Claims about what ends access, and what brings it back.

use muster_proto::{
    bundle::{Bundle, BundleRefused},
    envelope::{Document, Envelope},
    id::Id,
    link::{Checkpoint, Target},
    statement::{Content, LoginMethod, Restrictions, Statement},
    trust::Duty,
};

use crate::{
    host::Host,
    keys::{Signer, machine},
    world::{SHAPES, Shape, World, assignment, id, key, log_head, role, signed_by, staffed, user},
};

/// A host that holds what `staffed` gives.
fn holding(world: &World) -> Host {
    let mut host = Host::new(world, "db1");
    host.take(&world.bundle(&host)).unwrap();
    assert!(host.gives("alice"));
    host
}

fn again(world: &World, name: &str, reinstates: &[&str]) -> Statement {
    let old = &world.chain.statements()[&id(name)];
    let mut statement = world.next(id(name), old.content.clone());
    statement.reinstates.extend(reinstates.iter().map(|tag| id(tag)));
    statement
}

#[test]
fn a_revoked_statement_stays_ended_until_a_later_revision_reinstates_it() {
    for shape in SHAPES {
        for ended in ["alice", "dba", "admin", "dbas"] {
            let mut world = staffed(shape);
            let mut host = holding(&world);
            world.revoke("r", Target::Statement { id: id(ended), revision: 1 });
            host.take(&world.bundle(&host)).unwrap();
            assert!(host.held.is_empty(), "{ended}");
            world.publish_unaware(vec![again(&world, ended, &[])]);
            host.take(&world.bundle(&host)).unwrap();
            assert!(host.held.is_empty(), "{ended}: a later revision that does not say so");
            world.publish_unaware(vec![again(&world, ended, &["other"])]);
            host.take(&world.bundle(&host)).unwrap();
            assert!(host.held.is_empty(), "{ended}: another revocation taken back");
            world.publish_statements(vec![again(&world, ended, &["r"])]);
            let mut fresh = Host::new(&world, "db1");
            for host in [&mut host, &mut fresh] {
                host.take(&world.bundle(host)).unwrap();
                assert!(host.gives("alice"), "{ended}: reinstated");
            }
            // A revision that lists a revocation of itself does not escape it.
            world.revoke("r2", Target::Statement { id: id(ended), revision: 9 });
            world.publish_unaware(vec![again(&world, ended, &["r2"])]);
            host.take(&world.bundle(&host)).unwrap();
            assert!(host.held.is_empty(), "{ended}");
        }
    }
}

#[test]
fn a_revocation_is_not_undone_by_another_of_its_id() {
    for shape in SHAPES {
        let mut world = staffed(shape);
        let mut host = holding(&world);
        world.revoke("r", Target::Statement { id: id("dbas"), revision: 1 });
        host.take(&world.bundle(&host)).unwrap();
        assert!(host.held.is_empty());
        let harmless = world.revocation("r", Target::Key(key("nobody's").fingerprint()));
        let mut bundle = world.bundle(&host);
        bundle.revocations = vec![Envelope::sign(&harmless, &world.online)];
        host.take(&bundle).unwrap();
        assert!(host.held.is_empty(), "{shape:?}: the controller's key gave access back");
        // Nor by one that comes first.
        let mut host = holding(&staffed(shape));
        host.take(&bundle).unwrap();
        host.take(&world.bundle(&host)).unwrap();
        assert!(host.held.is_empty());
    }
}

#[test]
fn a_revoked_key_and_a_revoked_membership_end_alone() {
    for shape in SHAPES {
        let mut world = staffed(shape);
        let content = user("alice", 10_001, &["alice key", "lost"], &["dba"]);
        world.publish(vec![
            (id("alice"), content),
            (id("own"), assignment("own", "alice", "admin", "tier=web")),
        ]);
        let mut host = holding(&world);
        host.labels.insert("tier", "web").unwrap();
        host.take(&world.bundle(&host)).unwrap();
        let lost = format!("{:?}", key("lost"));
        let has_lost = |host: &Host| host.words().iter().any(|word| word.contains(&lost));
        assert!(has_lost(&host));
        world.revoke("k", Target::Key(key("lost").fingerprint()));
        host.take(&world.bundle(&host)).unwrap();
        assert!(host.gives("alice") && !has_lost(&host));
        let by = |host: &Host, name: &str| host.held.iter().any(|g| g.assignment == id(name));
        assert!(by(&host, "dbas") && by(&host, "own"));
        world.revoke("m", Target::Membership { user: id("alice"), group: id("dba") });
        host.take(&world.bundle(&host)).unwrap();
        assert!(!by(&host, "dbas") && by(&host, "own"));
        let mut fresh = Host::new(&world, "db1");
        fresh.labels.clone_from(&host.labels);
        fresh.take(&world.bundle(&fresh)).unwrap();
        assert_eq!(fresh.held, host.held);
    }
}

#[test]
fn what_was_held_ends_by_a_proved_absence_of_its_id() {
    // A trust root abandons the link that gave it; the id is nowhere in the new directory.
    for shape in SHAPES {
        let world = staffed(shape);
        let mut forked = staffed(shape);
        forked.publish(vec![(id("eve"), user("eve", 10_003, &["eve key"], &["dba"]))]);
        let mut host = holding(&forked);
        assert!(host.gives("eve"));
        let mut world = world;
        world.rotate(|_| ());
        world.publish(vec![(id("later"), role("later", &[]))]);
        let mut old = Host::new(&world, "db1");
        old.floor =
            world.chain.place(1).map(|link| muster_proto::bundle::Floor { trust_version: 1, link });
        let mut bundle = world.bundle(&old);
        host.take(&bundle).unwrap();
        assert!(host.gives("eve"), "held, and not disproved yet");
        let ids: Vec<Id> = world.chain.statements().keys().copied().collect();
        bundle.trust_roots.clear();
        bundle.absent.insert(id("eve"));
        bundle.directory =
            Some(world.chain.prove(&[&ids[..], &[id("eve"), Id::Host(host.id)]].concat()));
        host.take(&bundle).unwrap();
        assert!(host.gives("alice") && !host.gives("eve"));
    }
}

#[test]
fn until_and_ends_need_nobody_and_what_ended_does_not_revive() {
    let mut world = staffed(Shape::Two);
    let Content::Assignment(mut timed) = assignment("short", "alice", "admin", "all") else {
        panic!()
    };
    timed.from = Some(world.time.plus(100));
    timed.until = Some(world.time.plus(200));
    world.publish(vec![
        (id("dbas"), Content::Removal(muster_proto::id::Kind::Assignment)),
        (id("short"), Content::Assignment(timed)),
    ]);
    let start = world.time.plus(40);
    let mut early = Host::new(&world, "db1");
    early.take(&world.bundle(&early)).unwrap();
    assert!(early.held.is_empty(), "not yet");
    let begun = early.at(start);
    assert!(begun.gives("alice"));
    assert!(begun.clone().at(start.plus(99)).gives("alice"));
    let ended = begun.at(start.plus(100));
    assert!(!ended.gives("alice"));
}

#[test]
fn who_starts_later_has_nothing_before_it_and_whoever_has_ended_nothing_after() {
    let mut world = staffed(Shape::Two);
    let Content::User(mut timed) = user("alice", 10_001, &["alice key"], &["dba"]) else {
        panic!()
    };
    timed.starts = Some(world.time.plus(100));
    timed.ends = Some(world.time.plus(200));
    world.publish(vec![(id("alice"), Content::User(timed))]);
    let start = world.time.plus(40);
    let mut early = Host::new(&world, "db1");
    early.take(&world.bundle(&early)).unwrap();
    assert!(early.held.is_empty(), "not yet");
    let begun = early.at(start);
    assert!(begun.gives("alice"));
    assert!(begun.clone().at(start.plus(99)).gives("alice"));
    assert!(!begun.at(start.plus(100)).gives("alice"));
}

#[test]
fn restrictions_hold_against_every_role() {
    let mut world = staffed(Shape::Two);
    let Content::Role(mut lax) = role("lax", &[]) else { panic!() };
    lax.login_methods = [LoginMethod::Key, LoginMethod::Password].into();
    let Content::User(mut strict) = user("zoe", 10_002, &["software"], &[]) else { panic!() };
    strict.restrictions = Restrictions { hardware_keys_only: true, ..Restrictions::default() };
    let hard = Signer::hardware("hard").public();
    strict.keys.push(muster_proto::statement::UserKey {
        key: hard.clone(),
        comment: muster_proto::name::Line::default(),
        options: muster_proto::options::KeyOptions::default(),
    });
    strict.keys.sort();
    world.publish(vec![
        (id("zoe"), Content::User(strict)),
        (id("lax"), Content::Role(lax)),
        (id("zoes"), assignment("zoes", "zoe", "lax", "all")),
    ]);
    let mut host = Host::new(&world, "db1");
    host.take(&world.bundle(&host)).unwrap();
    let zoe: Vec<String> = host
        .held
        .iter()
        .filter(|grant| grant.login.as_str() == "zoe")
        .map(|grant| format!("{:?}", grant.entitlement))
        .collect();
    assert!(zoe.iter().any(|word| word.contains(&format!("{hard:?}"))), "{zoe:?}");
    let software = format!("{:?}", key("software"));
    assert!(!zoe.iter().any(|word| word.contains(&software)), "{zoe:?}");
    assert!(!zoe.contains(&"Login(Password)".to_owned()), "{zoe:?}");
}

#[test]
fn a_checkpoint_needs_the_online_key_of_the_newest_trust_root() {
    for shape in SHAPES {
        let mut world = staffed(shape);
        let host = holding(&world);
        let checkpoint = Checkpoint {
            lineage: world.lineage(),
            time: world.time,
            link: world.chain.newest(),
            revocations: 0,
            revocations_digest: muster_proto::crypto::sha256(&[]),
            log: log_head(),
        };
        let send = |envelope: Envelope, roots: &[Envelope]| {
            let mut bundle = Bundle::empty(host.id);
            bundle.trust_roots = roots.to_vec();
            bundle.checkpoint = Some(envelope);
            host.clone().take(&bundle)
        };
        let by_online = Envelope::sign(&checkpoint, &world.online);
        assert_eq!(send(by_online.clone(), &[]), Ok(()));
        let by_others = signed_by(&checkpoint, Duty::Approver, &["ana", "bob", "dia", "eve"]);
        let refused = |found| matches!(found, Err(BundleRefused::Part { part: "checkpoint", .. }));
        assert!(refused(send(by_others, &[])));
        assert!(refused(send(Envelope::sign(&checkpoint, &machine("db1")), &[])));
        // The key was exchanged.
        world.rotate(|root| root.machine_keys = [machine("online 2").public()].into());
        let roots = &world.trust_roots[1..];
        assert!(refused(send(by_online, roots)));
        assert_eq!(send(Envelope::sign(&checkpoint, &machine("online 2")), roots), Ok(()));
        let empty = Bundle::empty(host.id).encode();
        assert!(host.verify(&empty).is_ok(), "a bundle of nothing");
    }
}
