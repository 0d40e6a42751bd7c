//! What hosts are sent: it verifies there, it is enough, and it is little.

use std::collections::BTreeSet;

use crate::{
    host::Host,
    world::{Key, NOW, World},
};
use muster_controller::{
    current::{Current, PublishedLink},
    host::{self, Sent, SentStatements},
    publish::{HostView, Mood, Publication, publish},
};
use muster_proto::{envelope::Document, id::Id, key::SshPublicKey, link::Target, time::Timestamp};

/// A simulated host and what the controller remembers of it.
pub(crate) struct Pair {
    pub(crate) host: Host,
    pub(crate) sent: SentStatements,
    revocations: BTreeSet<Id>,
}

impl Pair {
    pub(crate) fn new(world: &World, labels: &[(&str, &str)]) -> Self {
        let host = Host::new(world, labels);
        Self { host, sent: SentStatements::new(), revocations: BTreeSet::new() }
    }

    fn publication(&self, current: &Current) -> Publication {
        let view = HostView {
            host: self.host.id(),
            labels: &self.host.labels,
            trust_version: 1,
            floor: self.host.link(),
            sent: &self.sent,
            revocations: &self.revocations,
            mood: Mood::Trusting,
        };
        publish(current, &view, self.host.now)
    }

    /// Sends what is to be sent, and confirms it unless the receipt is lost; returns the bytes of
    /// the link's bundle.
    pub(crate) fn deliver(&mut self, current: &Current, confirmed: bool) -> usize {
        let publication = self.publication(current);
        if let Some((ids, bundle)) = publication.revocations {
            self.host.take(&bundle.encode()).unwrap();
            self.revocations.extend(ids);
        }
        let Some(link) = publication.link else { return 0 };
        let bytes = link.bundle.encode();
        self.host.take(&bytes).unwrap();
        let number = link.link.map_or(0, |link| link.number);
        for (id, (shown, wanted)) in link.shown {
            let confirmed = self.sent.get(&id).and_then(|sent| sent.confirmed);
            self.sent.insert(id, Sent { link: number, shown, wanted, confirmed });
        }
        if confirmed {
            host::confirm(&mut self.sent, number);
        }
        bytes.len()
    }
}

pub(crate) fn current(world: &World) -> Current {
    Current::new(world.lineage(), &world.trust).unwrap()
}

pub(crate) fn take(current: &mut Current, link: &PublishedLink) {
    current.extend(link, Timestamp(u64::MAX)).unwrap();
}

#[test]
fn a_new_grant_among_ten_thousand_statements_is_a_small_bundle() {
    let mut world = World::new();
    let mut current = current(&world);
    let mut many = vec![world.group("dba-team"), world.role("dba", &[])];
    many.push(world.assignment("dbas", "dba-team", "dba", "tier=db", None));
    many.push(world.user("first", 1_000, &["dba-team"]));
    many.extend((0..10_000).map(|n| world.user(&format!("user{n}"), 2_000 + n, &[])));
    let link = world.publish(many);
    take(&mut current, &link);
    let mut pair = Pair::new(&world, &[("tier", "db")]);
    let mut stranger = Pair::new(&world, &[("tier", "web")]);
    assert!(pair.deliver(&current, true) > 0);
    assert!(stranger.deliver(&current, true) > 0, "a host without a floor gets one");
    let link = world.publish(vec![world.user("ana", 1_001, &["dba-team"])]);
    take(&mut current, &link);
    let bytes = pair.deliver(&current, true);
    assert!(bytes <= 6 << 10, "{bytes} bytes");
    assert!(bytes > 0);
    assert_eq!(pair.host.held, pair.host.due(world.chain.statements()));
    assert_eq!(pair.host.proved.len(), 4, "ana, her group, its assignment, the role");
    assert_eq!(stranger.deliver(&current, true), 0, "a host not concerned gets nothing");
}

#[test]
fn a_floor_that_grows_stale_is_renewed_with_everything() {
    let mut world = World::new();
    let mut current = current(&world);
    let statements = vec![
        world.role("dba", &[]),
        world.user("ana", 1_001, &[]),
        world.assignment("dbas", "ana", "dba", "all", None),
    ];
    let link = world.publish(statements);
    take(&mut current, &link);
    let mut pair = Pair::new(&world, &[]);
    pair.deliver(&current, true);
    let link = world.publish(vec![world.group("elsewhere")]);
    take(&mut current, &link);
    assert_eq!(pair.deliver(&current, true), 0);
    pair.host.now = NOW.plus(46 * 86_400);
    assert_eq!(pair.deliver(&current, true), 0, "a link of the same age renews nothing");
    world.time = NOW.plus(46 * 86_400);
    take(&mut current, &world.publish(vec![world.group("anywhere")]));
    assert!(pair.deliver(&current, true) > 0);
    assert_eq!(pair.host.proved.len(), 3, "all that it holds is proved anew");
    assert_eq!(pair.deliver(&current, true), 0);
}

#[test]
fn a_revocation_reaches_whom_it_may_concern_and_nobody_else() {
    let mut world = World::new();
    let mut current = current(&world);
    let statements = vec![
        world.role("dba", &[]),
        world.user("ana", 1_001, &[]),
        world.user("bob", 1_002, &[]),
        world.assignment("dbas", "ana", "dba", "tier=db", None),
        world.assignment("webs", "bob", "dba", "tier=web", None),
    ];
    let link = world.publish(statements);
    take(&mut current, &link);
    let mut here = Pair::new(&world, &[("tier", "db")]);
    let mut there = Pair::new(&world, &[("tier", "web")]);
    here.deliver(&current, true);
    there.deliver(&current, true);
    let key: SshPublicKey = Key::new("ana").public();
    let revocation = world.revocation("lost key", Target::Key(key.fingerprint()));
    current.keep(&revocation).unwrap();
    assert!(there.publication(&current).revocations.is_none());
    let before = here.host.held.len();
    here.deliver(&current, true);
    assert_eq!(here.host.held.len(), before - 1, "the key and nothing else");
    assert!(here.publication(&current).revocations.is_none(), "it is sent once");
    // A host that comes later hears of it together with the user.
    let mut late = Pair::new(&world, &[("tier", "db")]);
    late.deliver(&current, true);
    assert_eq!(late.host.held, here.host.held);
}

#[test]
fn a_revoked_host_is_shown_so_by_every_change_that_follows() {
    let mut world = World::new();
    let mut current = current(&world);
    let link = world.publish(vec![
        world.role("dba", &[]),
        world.user("ana", 1_001, &[]),
        world.assignment("dbas", "ana", "dba", "tier=db", None),
    ]);
    take(&mut current, &link);
    let mut here = Pair::new(&world, &[("tier", "db")]);
    here.deliver(&current, true);
    assert!(!here.host.held.is_empty());
    let revocation = world.revocation("host", Target::Host(here.host.id()));
    world.chain.keep(&revocation).unwrap();
    current.keep(&revocation).unwrap();
    // The first folds it in, and the others find it there.
    for (login, uid) in [("bob", 1_002), ("cas", 1_003), ("dan", 1_004)] {
        let assigned = world.assignment(&format!("{login}s"), login, "dba", "tier=db", None);
        let link = world.publish(vec![world.user(login, uid, &[]), assigned]);
        take(&mut current, &link);
        here.deliver(&current, true);
        assert!(here.host.held.is_empty(), "{login}");
    }
}
