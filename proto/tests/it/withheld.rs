//! Claims about what a controller gains by leaving something out, or by sending it again.

use muster_proto::{
    bundle::BundleRefused, envelope::Document, id::Id, link::Target, statement::Content,
};

use crate::{
    host::Host,
    world::{DAY, SHAPES, assignment, id, role, staffed, user},
};

#[test]
fn a_revoked_host_gives_nothing_even_if_that_is_the_only_thing_withheld() {
    for shape in SHAPES {
        let mut world = staffed(shape);
        let host = Host::new(&world, "db1");
        let mut told = host.clone();
        told.take(&world.bundle(&told)).unwrap();
        assert!(told.gives("alice"));
        let target = Target::Host(host.id);
        world.revoke("gone", target);
        told.take(&world.bundle(&told)).unwrap();
        assert!(told.held.is_empty(), "at once, by the revocation");
        // Folded: a fresh host cannot be kept from knowing.
        world.time = world.time.plus(60);
        let (lineage, revocations) = (world.lineage(), world.chain.revocations());
        let fold =
            muster_proto::change::fold(Id::Host(host.id), None, revocations, lineage).unwrap();
        let log = crate::world::log_head();
        let candidate = world.chain.cut(&[], vec![fold], world.time, log).unwrap();
        world.extend(&candidate, Vec::new()).unwrap();
        world.revocations.clear();
        let mut fresh = host.clone();
        let home = Id::Host(host.id);
        let hidden = world.bundle_at(&fresh, 2, |statement| statement.id != home);
        assert_eq!(fresh.take(&hidden), Err(BundleRefused::HostUnproved));
        fresh.take(&world.bundle(&fresh)).unwrap();
        assert!(fresh.held.is_empty() && fresh.proved.len() == 5);
    }
}

#[test]
fn a_role_that_was_narrowed_and_withheld_gives_nothing_through_a_new_assignment() {
    for shape in SHAPES {
        let mut world = staffed(shape);
        let mut host = Host::new(&world, "db1");
        host.take(&world.bundle(&host)).unwrap();
        world.publish(vec![
            (id("admin"), role("admin", &["/usr/bin/id"])),
            (id("zoe"), user("zoe", 10_002, &["zoe key"], &[])),
            (id("zoes"), assignment("zoes", "zoe", "admin", "all")),
        ]);
        let without_role = world.bundle_at(&host, 2, |statement| statement.id != id("admin"));
        host.take(&without_role).unwrap();
        assert!(!host.gives("zoe"), "{shape:?}: nothing rests on a role of another directory");
        assert!(host.gives("alice"), "what was held stays until it is disproved");
        host.take(&world.bundle(&host)).unwrap();
        let words = format!("{:?}", host.words());
        assert!(host.gives("zoe") && !words.contains("All"), "{words}");
    }
}

#[test]
fn a_removed_user_does_not_come_back_with_her_old_statement() {
    for shape in SHAPES {
        let mut world = staffed(shape);
        let mut old = Host::new(&world, "db1");
        let first = world.bundle(&old);
        old.take(&first).unwrap();
        let kind = muster_proto::id::Kind::User;
        world.publish(vec![(id("alice"), Content::Removal(kind))]);
        let (fresh, mut told) = (Host::new(&world, "db1"), old.clone());
        told.take(&world.bundle_at(&told, 2, |s| s.id == id("alice"))).unwrap();
        assert!(!told.gives("alice"));
        assert_eq!(told.take(&first), Err(BundleRefused::Rollback { found: 1, floor: 2 }));
        // Her statement, in any bundle of the newest link.
        for host in [fresh, old, told] {
            let mut victim = host.clone();
            let mut bundle = world.bundle(&victim);
            let removed = world.chain.statements()[&id("alice")].encode();
            bundle.statements.retain(|bytes| *bytes != removed);
            bundle.statements.push(world.links[0].after.statements()[&id("alice")].encode());
            let found = victim.take(&bundle);
            assert!(matches!(found, Err(BundleRefused::Statement { .. })), "{found:?}");
        }
    }
}

#[test]
fn an_expired_trust_root_or_a_stale_floor_grants_nothing_new_and_keeps_what_is_held() {
    for shape in SHAPES {
        for days in [91, 731] {
            let mut world = staffed(shape);
            let mut host = Host::new(&world, "db1");
            let bundle = world.bundle(&host);
            let late = world.time.plus(days * DAY);
            let mut fresh = host.clone().at(late);
            fresh.take(&bundle).unwrap();
            assert!(fresh.held.is_empty(), "{shape:?}: {days} days later");
            host.take(&bundle).unwrap();
            let mut host = host.at(late);
            assert!(host.gives("alice"), "held before");
            world.revoke("r", Target::Statement { id: id("dbas"), revision: 1 });
            host.take(&world.bundle(&host)).unwrap();
            assert!(host.held.is_empty(), "ends still count");
        }
    }
}
