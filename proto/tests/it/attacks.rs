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
    trust::Duty,
};

use crate::{
    host::Host,
    keys::machine,
    world::{SHAPES, adoption, assignment, group, id, signed_by, staffed, user},
};

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
            bytes[at] ^= 1 << (at % 8);
            let mut victim = before.clone();
            if victim.take_bytes(&bytes).is_ok() {
                assert_eq!(victim.held, host.held, "{shape:?}: byte {at}");
                assert_eq!(victim.floor, host.floor);
            } else {
                assert_eq!(victim.floor, before.floor, "a refusal leaves no trace");
            }
            bytes[at] ^= 1 << (at % 8);
        }
        for length in 0..good.len() {
            let mut victim = before.clone();
            if victim.take_bytes(&good[..length]).is_err() {
                assert_eq!(victim.floor, before.floor);
            }
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

#[test]
fn a_revocation_that_is_not_believed_keeps_no_other_from_being_taken() {
    for shape in SHAPES {
        let world = staffed(shape);
        let mut host = Host::new(&world, "db1");
        host.take(&world.bundle(&host)).unwrap();
        let revocation = |tag: &str, word: &str| {
            world.revocation(tag, Target::Statement { id: id(word), revision: 1 })
        };
        let bad = Envelope::sign(&revocation("bad", "dba"), &machine("other"));
        let good = signed_by(&revocation("good", "dbas"), Duty::Approver, &["ana"]);
        for order in [[bad.clone(), good.clone()], [good, bad.clone()]] {
            let mut bundle = Bundle::empty(host.id);
            bundle.revocations = order.to_vec();
            let verified = host.verify(&bundle.encode()).unwrap();
            let taken: Vec<_> = verified.revocations.iter().map(|(r, _)| r.id).collect();
            assert_eq!(taken, [id("good")]);
            let aside = &verified.set_aside[..];
            assert!(matches!(aside, [BundleRefused::Part { part: "revocation", .. }]), "{aside:?}");
            let mut host = host.clone();
            host.take(&bundle).unwrap();
            assert!(!host.gives("alice"));
        }
        // Where there is nothing else, nothing is taken.
        let mut bundle = Bundle::empty(host.id);
        bundle.revocations.push(bad);
        let found = host.verify(&bundle.encode());
        assert!(matches!(found, Err(BundleRefused::Part { part: "revocation", .. })), "{found:?}");
    }
}
