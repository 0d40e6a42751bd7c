//! Claims about one bundle: what a controller that has every online key, every old document and
//! the wire can do to it.

use muster_proto::{
    bundle::{Bundle, BundleRefused},
    crypto::sha256,
    desired::Entitlement,
    directory::PrunedTree,
    envelope::{Document, Envelope},
    id::Id,
    link::Target,
    statement::{Content, Statement},
    trust::Duty,
};

use crate::{
    host::Host,
    keys::machine,
    world::{DAY, SHAPES, Shape, adoption, assignment, group, id, role, signed_by, staffed, user},
};

fn only(name: &'static str) -> impl Fn(&Statement) -> bool {
    move |statement| statement.id == id(name)
}

#[test]
fn an_honest_bundle_gives_what_the_directory_says() {
    for shape in SHAPES {
        let world = staffed(shape);
        let mut host = Host::new(&world, "db1");
        host.take(&world.bundle(&host)).unwrap();
        let sudo = |e: &Entitlement| matches!(e, Entitlement::Sudo(..));
        assert!(host.gives("alice") && host.held.iter().any(|g| sudo(&g.entitlement)));
        assert_eq!(host.take(&world.bundle(&host)), Ok(()), "the same again");
    }
}

#[test]
fn a_flipped_bit_anywhere_is_refused_or_means_the_same() {
    for shape in SHAPES {
        let mut world = staffed(shape);
        let mut host = Host::new(&world, "db1");
        host.take(&world.bundle(&host)).unwrap();
        let before = host.clone();
        world.rotate(|root| root.stale_after += 1);
        world.revoke("r", Target::Key(sha256(&[b"nobody's"])));
        world.publish(vec![(id("zoe"), user("zoe", 10_002, &["zoe key"], &["dba"]))]);
        let mut bundle = world.bundle(&host);
        bundle.absent.insert(id("nobody"));
        let ids: Vec<Id> = world.chain.statements().keys().copied().collect();
        bundle.directory =
            Some(world.chain.prove(&[&ids[..], &[id("nobody"), Id::Host(host.id)]].concat()));
        host.take(&bundle).unwrap();
        assert!(host.gives("zoe"));
        let good = bundle.encode();
        let mut bytes = good.clone();
        for at in 0..bytes.len() {
            for bit in if shape == Shape::One { vec![0, 3, 7] } else { vec![at % 8] } {
                bytes[at] ^= 1 << bit;
                let mut victim = before.clone();
                if victim.take_bytes(&bytes).is_ok() {
                    assert_eq!(victim.held, host.held, "{shape:?}: byte {at} bit {bit}");
                    assert_eq!(victim.floor, host.floor);
                } else {
                    assert_eq!(victim.floor, before.floor, "a refusal leaves no trace");
                }
                bytes[at] ^= 1 << bit;
            }
        }
        for length in 0..good.len() {
            let mut victim = before.clone();
            let whole = Bundle::decode(&good[..length]);
            assert!(victim.take_bytes(&good[..length]).is_err() || whole.is_ok());
            assert!(victim.held.is_subset(&host.held), "cut at {length}");
        }
    }
}

#[test]
fn a_bundle_for_another_host_is_refused_and_so_is_an_acknowledgement() {
    for shape in SHAPES {
        let world = staffed(shape);
        let (mut db1, db2) = (Host::new(&world, "db1"), Host::new(&world, "db2"));
        let found = db1.take(&world.bundle(&db2));
        assert_eq!(found, Err(BundleRefused::OtherHost(db2.id)));
        let mut bundle = Bundle::empty(db1.id);
        let acknowledgement = muster_proto::link::Acknowledgement {
            lineage: world.lineage(),
            host: db2.id,
            number: 9,
            digest: sha256(&[]),
        };
        bundle.acknowledgement = Some(Envelope::sign(&acknowledgement, &world.online));
        assert_eq!(db1.take(&bundle), Err(BundleRefused::OtherHost(db2.id)));
    }
}

#[test]
fn what_was_meant_for_other_labels_or_hosts_is_refused() {
    for shape in SHAPES {
        let mut world = staffed(shape);
        let db2 = machine("db2").public().digest();
        world.publish(vec![
            (id("elsewhere"), assignment("elsewhere", "alice", "admin", "env=dev")),
            (id("taken"), adoption("alice", "alice", db2, 10_001)),
        ]);
        for stray in ["elsewhere", "taken"] {
            let mut host = Host::new(&world, "db1");
            let mut bundle = world.bundle(&host);
            let statement = world.chain.statements()[&id(stray)].encode();
            bundle.statements.push(statement);
            let ids: Vec<Id> = world.chain.statements().keys().copied().collect();
            bundle.directory = Some(world.chain.prove(&[&ids[..], &[Id::Host(host.id)]].concat()));
            let found = host.take(&bundle);
            assert!(matches!(found, Err(BundleRefused::NotHere { .. })), "{stray}: {found:?}");
            assert!(host.held.is_empty());
        }
        // Known here before, then moved away: it is taken in, and ends.
        let mut host = Host::new(&world, "db1");
        host.take(&world.bundle(&host)).unwrap();
        assert!(host.gives("alice"));
        world.publish(vec![(id("dbas"), assignment("dbas", "dba", "admin", "env=dev"))]);
        host.take(&world.bundle(&host)).unwrap();
        assert!(!host.gives("alice"));
    }
}

#[test]
fn a_statement_needs_a_proof_and_an_absence_too() {
    for shape in SHAPES {
        let mut world = staffed(shape);
        let zoe = world.next(id("zoe"), user("zoe", 10_002, &["zoe key"], &["dba"]));
        let elder = world.chain.directory().clone();
        world.publish(vec![(id("later"), group("later"))]);
        let host = Host::new(&world, "db1");
        let refused = |alter: &dyn Fn(&mut Bundle)| {
            let mut bundle = world.bundle(&host);
            alter(&mut bundle);
            let mut victim = host.clone();
            let found = victim.take(&bundle).unwrap_err();
            assert!(victim.held.is_empty());
            found
        };
        let ids: Vec<Id> = world.chain.statements().keys().copied().collect();
        let home = Id::Host(host.id);
        let everything = [&ids[..], &[home, id("zoe")]].concat();
        // Never in the directory, with the place shown to be empty, or cut.
        for shown in [&everything, &ids] {
            let found = refused(&|b| {
                b.statements.push(zoe.encode());
                b.directory = Some(world.chain.prove(&[&shown[..], &[home]].concat()));
            });
            assert!(matches!(found, BundleRefused::Statement { .. }), "{found}");
        }
        assert_eq!(refused(&|b| b.directory = None), BundleRefused::Unproved);
        assert_eq!(refused(&|b| b.link = None), BundleRefused::Unproved);
        let empty = |b: &mut Bundle| b.directory = Some(PrunedTree::default());
        assert!(matches!(refused(&empty), BundleRefused::Tree(_)));
        // The proof of an older link.
        let old = |b: &mut Bundle| b.directory = Some(elder.prove(&everything));
        assert_eq!(refused(&old), BundleRefused::Root(2));
        // No word on whether this host was revoked.
        let found = refused(&|b| {
            b.statements.clear();
            b.directory = Some(world.chain.prove(&[]));
        });
        assert_eq!(found, BundleRefused::HostUnproved);
        // Absent, and yet there; or behind a cut.
        let found = refused(&|b| {
            b.absent.insert(id("dbas"));
        });
        assert_eq!(found, BundleRefused::NotAbsent(id("dbas")));
        let found = refused(&|b| {
            b.statements.clear();
            b.absent.insert(id("dbas"));
            b.directory = Some(world.chain.prove(&[home]));
        });
        assert_eq!(found, BundleRefused::NotAbsent(id("dbas")));
        // Twice.
        let found = refused(&|b| b.statements.push(b.statements[0].clone()));
        assert!(matches!(found, BundleRefused::Twice(_)));
        // A leaf presented as a cut subtree, nodes swapped, one more, one less.
        for bend in 0..4 {
            let found = refused(&|b| {
                let tree = b.directory.as_mut().unwrap();
                let leaf = tree.shape.iter().position(|node| *node == 2).unwrap();
                match bend {
                    0 => tree.shape[leaf] = 3,
                    1 => tree.shape.swap(0, leaf),
                    2 => tree.shape.push(0),
                    _ => tree.hashes.truncate(tree.hashes.len() - 32),
                }
            });
            let fits = matches!(found, BundleRefused::Tree(_) | BundleRefused::Root(_));
            assert!(fits, "{bend}: {found}");
        }
    }
}

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
        told.take(&world.bundle_at(&told, 2, only("alice"))).unwrap();
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

#[test]
fn revocations_are_refused_by_wrong_keys_and_end_what_they_name() {
    for shape in SHAPES {
        let world = staffed(shape);
        let mut host = Host::new(&world, "db1");
        host.take(&world.bundle(&host)).unwrap();
        let revocation = world.revocation("r", Target::Statement { id: id("dbas"), revision: 1 });
        let send = |envelope: Envelope| {
            let mut bundle = Bundle::empty(host.id);
            bundle.revocations.push(envelope);
            let mut host = host.clone();
            let taken = host.take(&bundle);
            (taken.is_ok(), host.gives("alice"))
        };
        assert_eq!(send(Envelope::sign(&revocation, &machine("other"))), (false, true));
        assert_eq!(send(signed_by(&revocation, Duty::Root, &["ana", "dia"])), (false, true));
        assert_eq!(send(signed_by(&revocation, Duty::Proposer, &["ana"])), (false, true));
        assert_eq!(send(Envelope::new(&revocation)), (false, true));
        assert_eq!(send(Envelope::sign(&revocation, &world.online)), (true, false));
        assert_eq!(send(signed_by(&revocation, Duty::Approver, &["ana"])), (true, false));
    }
}
