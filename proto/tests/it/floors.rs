//! Claims about a host's floor: rollback, equivocation, trust-root rotation, abandonment.

use muster_proto::{
    bundle::{Bundle, BundleRefused, Floor, Step},
    chain::{BadLink, Chain},
    crypto::sha256,
    envelope::{Document, Envelope, Verified},
    link::LinkRef,
    trust::{Duty, TrustRoot},
};

use crate::{
    host::Host,
    world::{SHAPES, Shape, World, assignment, group, id, signed_by, staffed, user},
};

/// A world whose newest link is published under the next trust root.
fn rotated(shape: Shape) -> World {
    let mut world = staffed(shape);
    world.rotate(|root| root.stale_after += 1);
    world.publish(vec![(id("later"), group("later"))]);
    world
}

#[test]
fn the_floor_only_rises() {
    for shape in SHAPES {
        for mut world in [staffed(shape), rotated(shape)] {
            let old = world.links.len() as u64;
            let mut host = Host::new(&world, "db1");
            let stale = world.bundle(&host);
            host.take(&stale).unwrap();
            let newest = world.publish(vec![(id("more"), group("more"))]);
            let mut unshown = world.bundle(&host);
            unshown.history.clear();
            let found = host.clone().take(&unshown);
            assert!(matches!(found, Err(BundleRefused::History { .. })), "{found:?}");
            host.take(&world.bundle(&host)).unwrap();
            let mut again = stale.clone();
            again.trust_roots.clear();
            let found = host.take(&again);
            assert_eq!(found, Err(BundleRefused::Rollback { found: old, floor: newest }));
        }
    }
}

/// Another link of the newest number, signed by the same quorum.
fn second(world: &World, number: u64) -> World {
    let mut other = staffed(world.shape);
    assert_eq!(other.lineage(), world.lineage());
    while (other.links.len() as u64) + 1 < number {
        other.publish(vec![(id("more"), group("more"))]);
    }
    other.publish(vec![(id("evil"), user("evil", 10_009, &["evil key"], &["dba"]))]);
    other
}

#[test]
fn a_second_link_of_one_number_is_refused() {
    for shape in SHAPES {
        let mut world = staffed(shape);
        world.publish(vec![(id("more"), group("more"))]);
        let other = second(&world, 2);
        let mut host = Host::new(&world, "db1");
        host.take(&world.bundle(&host)).unwrap();
        let mut forked = other.bundle(&Host::new(&other, "db1"));
        forked.trust_roots.clear();
        let found = host.clone().take(&forked);
        assert!(matches!(found, Err(BundleRefused::Equivocation { number: 2, .. })), "{found:?}");
        // And what is built on it.
        let mut further = second(&world, 2);
        further.publish(vec![(id("more"), group("more"))]);
        let mut forked = further.bundle(&Host::new(&further, "db1"));
        forked.history = further.bundle(&host).history;
        let found = host.clone().take(&forked);
        assert!(matches!(found, Err(BundleRefused::History { found: 3, .. })), "{found:?}");
        assert!(!host.gives("evil"));
        // A tool keeps both as evidence.
        let link = &other.links[1];
        let found = world.chain.extend(&link.envelope, &link.body, &link.proposals, world.time);
        assert_eq!(found.map(|_| ()), Err(BadLink::Equivocation(2)));
    }
}

#[test]
fn a_trust_root_needs_the_old_signers_and_the_new_ones_and_skips_no_version() {
    for shape in SHAPES {
        let world = staffed(shape);
        let trust = world.chain.trust();
        let people = ["ana", "dia", "eve"];
        // The next version has another root signer each.
        let stranger = crate::keys::Signer::new("new root");
        let next = world.next_root(|root| {
            for keys in root.people.values_mut() {
                keys.retain(|_, duty| *duty != Duty::Root);
            }
            let keys = root.people.values_mut().next().unwrap();
            keys.insert(stranger.public(), Duty::Root);
            root.root_threshold = 1;
        });
        let by_old = signed_by(&next, Duty::Root, &people);
        assert!(trust.succeed(&by_old).is_err(), "only the old signers");
        let mut by_new = Envelope::new(&next);
        stranger.sign(&mut by_new);
        assert!(trust.succeed(&by_new).is_err(), "only the new signers");
        let mut by_both = by_old.clone();
        stranger.sign(&mut by_both);
        assert!(trust.succeed(&by_both).is_ok());

        let bent = |alter: &dyn Fn(&mut TrustRoot)| {
            let next = world.next_root(|root| alter(root));
            trust.succeed(&signed_by(&next, Duty::Root, &people)).is_ok()
        };
        assert!(bent(&|_| ()));
        assert!(!bent(&|root| root.version += 1), "a version skipped");
        assert!(!bent(&|root| root.version -= 1), "a version again");
        assert!(!bent(&|root| root.previous = Some(sha256(&[]))), "another version before");
        assert!(!bent(&|root| root.lineage = Some(sha256(&[]))), "another fleet");
        assert!(!bent(&|root| root.root_threshold = 0), "a threshold of nobody");
        assert!(!bent(&|root| root.approver_groups.clear()), "no approver group");
        assert!(trust.succeed(&world.trust_roots[0]).is_err(), "version 1 again");
    }
}

#[test]
fn a_trust_root_cannot_forget_or_exchange_the_newest_known_link() {
    for shape in SHAPES {
        let mut world = staffed(shape);
        world.rotate(|_| ());
        let trust = world.chain.trust();
        let since = trust.since.unwrap();
        let bent = |other: Option<LinkRef>| {
            let next = world.next_root(|root| root.since = other);
            trust.succeed(&signed_by(&next, Duty::Root, &["ana", "dia", "eve"])).is_ok()
        };
        assert!(bent(Some(since)));
        assert!(!bent(None));
        assert!(!bent(Some(LinkRef { digest: sha256(&[b"other"]), ..since })));
    }
}

#[test]
fn trust_roots_are_followed_one_by_one_even_past_an_expired_one() {
    for shape in SHAPES {
        let mut world = staffed(shape);
        let mut host = Host::new(&world, "db1");
        host.take(&world.bundle(&host)).unwrap();
        world.rotate(|root| root.expires = muster_proto::time::Timestamp(1));
        world.rotate(|root| root.expires = shape.trust_root().expires);
        world.publish(vec![(id("zoe"), user("zoe", 10_002, &["zoe key"], &["dba"]))]);
        let bundle = world.bundle(&host);
        let mut skipped = bundle.clone();
        skipped.trust_roots.remove(0);
        assert!(matches!(host.clone().take(&skipped), Err(BundleRefused::Part { .. })));
        let mut swapped = bundle.clone();
        swapped.trust_roots.swap(0, 1);
        assert!(host.clone().take(&swapped).is_err());
        let mut none = bundle.clone();
        none.trust_roots.clear();
        let found = host.clone().take(&none);
        assert!(matches!(found, Err(BundleRefused::TrustVersion { .. })), "{found:?}");
        host.take(&bundle).unwrap();
        assert!(host.gives("zoe"));
    }
}

#[test]
fn a_link_under_an_older_trust_root_is_no_longer_taken() {
    for shape in SHAPES {
        let mut world = staffed(shape);
        let mut host = Host::new(&world, "db1");
        let old = world.bundle(&host);
        world.rotate(|_| ());
        let mut bundle = old.clone();
        bundle.trust_roots = world.trust_roots[1..].to_vec();
        let found = host.take(&bundle);
        assert!(matches!(found, Err(BundleRefused::TrustVersion { .. })), "{found:?}");
    }
}

#[test]
fn a_link_must_continue_what_the_trust_root_builds_on() {
    for shape in SHAPES {
        let mut world = staffed(shape);
        world.publish(vec![(id("more"), group("more"))]);
        world.rotate(|_| ());
        world.publish(vec![(id("later"), group("later"))]);
        let mut host = Host::new(&world, "db1");
        let mut bundle = world.bundle(&host);
        bundle.history.clear();
        let found = host.take(&bundle);
        assert!(matches!(found, Err(BundleRefused::History { .. })), "{found:?}");
        assert_eq!(host.take(&world.bundle(&host)), Ok(()));
    }
}

/// Link 2 gives the evil one a key; the next trust root's signers know link 1 only and build their
/// own link 2 on it. The host has followed the first, if `fell`.
fn abandoning(shape: Shape, fell: bool) -> (Host, Bundle, World) {
    let world = staffed(shape);
    let mut host = Host::new(&world, "db1");
    let mut forked = second(&world, 2);
    forked.publish(vec![(id("alices"), assignment("alices", "alice", "admin", "all"))]);
    host.take(&forked.bundle(&host)).unwrap();
    assert!(host.gives("evil"));
    let mut world = world;
    world.rotate(|_| ());
    world.publish(vec![(id("later"), group("later"))]);
    if !fell {
        host.floor = world.chain.place(1).map(|link| Floor { trust_version: 1, link });
    }
    let mut honest = Host::new(&world, "db1");
    honest.floor = world.chain.place(1).map(|link| Floor { trust_version: 1, link });
    let bundle = world.bundle(&honest);
    (host, bundle, world)
}

#[test]
fn a_floor_is_abandoned_only_for_a_new_trust_root_that_does_not_know_it() {
    for shape in SHAPES {
        let (mut host, bundle, world) = abandoning(shape, true);
        let verified = host.verify(&bundle.encode()).unwrap();
        let step = verified.link.unwrap().step;
        assert_eq!(step, Step::Abandoned(host.floor.unwrap().link));
        // Without the new trust root nothing is abandoned.
        let mut none = bundle.clone();
        none.trust_roots.clear();
        assert!(host.clone().take(&none).is_err());
        // Once the floor is of that trust root, it only rises again.
        host.take(&bundle).unwrap();
        assert!(host.abandoned && !host.proved.contains_key(&id("evil")));
        let mut again = bundle.clone();
        again.trust_roots.clear();
        host.take(&again).unwrap();
        let mut world = world;
        let elder = world.links.pop().unwrap();
        world.chain = world.links[0].after.clone();
        world.chain.follow(&world.trust_roots[1].clone()).unwrap();
        world.publish(vec![(id("other"), group("other"))]);
        let found = host.take(&world.bundle_at(&Host::new(&world, "db1"), 2, |_| true));
        assert!(found.is_err(), "{found:?}: {:?}", elder.envelope.digest());
        // A floor that the trust root knows is never abandoned.
        let (mut host, bundle, _) = abandoning(shape, false);
        let floor = host.floor.unwrap();
        let link = LinkRef { digest: sha256(&[b"another link 1"]), ..floor.link };
        host.floor = Some(Floor { link, ..floor });
        assert!(matches!(host.take(&bundle), Err(BundleRefused::History { .. })));
    }
}

#[test]
fn a_tool_takes_no_link_that_does_not_continue_what_its_trust_root_builds_on() {
    for shape in SHAPES {
        let mut world = staffed(shape);
        let forked = second(&world, 2);
        world.publish(vec![(id("more"), group("more"))]);
        let root = world.next_root(|_| ());
        let envelope = signed_by(&root, Duty::Root, &["ana", "dia", "eve"]);
        // A tool that was shown the fork, and then the trust root.
        let genesis = Verified::genesis(&world.trust_roots[0], world.lineage()).unwrap();
        let mut tool = Chain::new(genesis);
        for link in &forked.links {
            tool.extend(&link.envelope, &link.body, &link.proposals, forked.time).unwrap();
        }
        tool.follow(&envelope).unwrap();
        let log = crate::world::log_head();
        let candidate = tool.cut(&[], Vec::new(), forked.time, log).unwrap();
        let link = signed_by(&candidate.link, Duty::Approver, shape.quorum());
        let found = tool.extend(&link, &candidate.body.encode(), &[], forked.time);
        assert!(matches!(found, Err(BadLink::Succession { .. })), "{shape:?}: {found:?}");
    }
}

#[test]
fn the_approvers_of_an_older_trust_root_add_nothing_after_the_newer_one() {
    for shape in SHAPES {
        let mut world = staffed(shape);
        let forked = second(&world, 2);
        world.rotate(|_| ());
        let late = &forked.links[1];
        let found = world.chain.extend(&late.envelope, &late.body, &late.proposals, forked.time);
        assert!(matches!(found, Err(BadLink::Succession { .. })), "{shape:?}: {found:?}");
        // What came before is replayed by a tool that knows all trust roots.
        let genesis = Verified::genesis(&world.trust_roots[0], world.lineage()).unwrap();
        let mut tool = Chain::new(genesis);
        tool.follow(&world.trust_roots[1]).unwrap();
        let first = &world.links[0];
        tool.extend(&first.envelope, &first.body, &first.proposals, world.time).unwrap();
        world.publish(vec![(id("later"), group("later"))]);
        let next = &world.links[1];
        tool.extend(&next.envelope, &next.body, &next.proposals, world.time).unwrap();
        assert_eq!(tool.newest(), world.chain.newest());
    }
}

#[test]
fn an_older_links_proposals_are_judged_by_its_own_trust_root() {
    for shape in SHAPES {
        let mut world = staffed(shape);
        let root = world.rotate(|root| {
            let ana = root.people.values_mut().next().unwrap();
            ana.retain(|_, duty| *duty != Duty::Proposer);
        });
        let genesis = Verified::genesis(&world.trust_roots[0], world.lineage()).unwrap();
        let mut tool = Chain::new(genesis);
        tool.follow(&root).unwrap();
        let first = &world.links[0];
        let found = tool.extend(&first.envelope, &first.body, &first.proposals, world.time);
        assert!(found.is_ok(), "{found:?}");
    }
}
