//! Claims about trust roots that follow each other, on a host and in a tool.

use muster_proto::{
    bundle::BundleRefused,
    crypto::sha256,
    envelope::Envelope,
    link::{Link, LinkRef},
    trust::{Duty, TrustRoot},
};

use crate::{
    host::Host,
    world::{SHAPES, group, id, signed_by, staffed, user},
};

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

#[test]
fn a_link_is_read_again_under_the_trust_root_of_its_own_time() {
    for shape in SHAPES {
        let mut world = staffed(shape);
        world.publish(vec![(id("zoe"), group("zoe"))]);
        let number = world.links.len() as u64;
        // Whoever signed it has another key by now.
        world.rotate(|root| {
            for (n, keys) in root.people.values_mut().enumerate() {
                keys.retain(|_, duty| *duty != Duty::Approver);
                let own = crate::keys::Signer::new(&format!("approver {n}"));
                keys.insert(own.public(), Duty::Approver);
            }
        });
        let published = world.links.last().unwrap();
        let (envelope, body) = (&published.envelope, &published.body);
        assert!(world.chain.trust().verify::<Link>(envelope).is_err(), "not by the newest");
        let (link, _, trust) = world.chain.verify_link(envelope, body, number).unwrap();
        assert_eq!((link.number, trust.version), (number, link.trust_version));
        assert!(trust.version < world.chain.trust().version);
        assert!(!link.signers().is_empty());
        let other = &world.links.first().unwrap().body;
        assert!(world.chain.verify_link(envelope, other, number).is_err(), "another body");
    }
}
