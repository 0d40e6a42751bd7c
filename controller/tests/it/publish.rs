//! What hosts are sent: it verifies there, it is enough, and it is little.

use std::collections::{BTreeMap, BTreeSet};

use muster_controller::{
    current::{Current, PublishedLink},
    host::{self, Sent, SentStatements},
    publish::{HostView, Mood, Publication, publish},
};
use muster_proto::{
    envelope::{Document, Envelope},
    id::{Id, Kind},
    key::SshPublicKey,
    link::Target,
    statement::{Content, Statement},
    time::Timestamp,
};
use proptest::prelude::*;

use crate::{
    host::Host,
    world::{Key, NOW, World, id},
};

/// A simulated host and what the controller remembers of it.
struct Pair {
    host: Host,
    sent: SentStatements,
    revocations: BTreeSet<Id>,
}

impl Pair {
    fn new(world: &World, labels: &[(&str, &str)]) -> Self {
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
    fn deliver(&mut self, current: &Current, confirmed: bool) -> usize {
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

fn current(world: &World) -> Current {
    Current::new(world.lineage(), &world.trust).unwrap()
}

fn take(current: &mut Current, link: &PublishedLink) {
    current.extend(link, NOW).unwrap();
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

const USERS: [&str; 5] = ["u0", "u1", "u2", "u3", "u4"];
const GROUPS: [&str; 2] = ["g0", "g1"];
const ROLES: [&str; 3] = ["r0", "r1", "r2"];
const ASSIGNMENTS: [&str; 4] = ["a0", "a1", "a2", "a3"];
const SELECTORS: [&str; 5] = ["all", "x=1", "x=2", "y=1", "x=1,y=1"];

/// One thing that happens.
#[derive(Clone, Debug)]
enum Deed {
    User { user: usize, groups: usize },
    Role { role: usize, unix_group: bool },
    Assignment { assignment: usize, subject: usize, role: usize, selector: usize, late: bool },
    RemoveUser(usize),
    RemoveAssignment(usize),
    Revoke { target: usize, membership: bool },
    Labels(usize),
    Time(u64),
    Forget,
}

fn deed() -> impl Strategy<Value = Deed> {
    prop_oneof![
        3 => (0..5_usize, 0..4_usize).prop_map(|(user, groups)| Deed::User { user, groups }),
        1 => (0..3_usize, any::<bool>())
            .prop_map(|(role, unix_group)| Deed::Role { role, unix_group }),
        4 => (0..4_usize, 0..7_usize, 0..3_usize, 0..5_usize, any::<bool>()).prop_map(
            |(assignment, subject, role, selector, late)| {
                Deed::Assignment { assignment, subject, role, selector, late }
            }
        ),
        1 => (0..5_usize).prop_map(Deed::RemoveUser),
        2 => (0..4_usize).prop_map(Deed::RemoveAssignment),
        1 => (0..9_usize, any::<bool>())
            .prop_map(|(target, membership)| Deed::Revoke { target, membership }),
        1 => (0..4_usize).prop_map(Deed::Labels),
        1 => (1..200_000_u64).prop_map(Deed::Time),
        1 => Just(Deed::Forget),
    ]
}

fn subject(n: usize) -> &'static str {
    USERS.get(n).copied().unwrap_or_else(|| GROUPS[n - USERS.len()])
}

fn label_set(n: usize) -> Vec<(&'static str, &'static str)> {
    match n {
        0 => vec![("x", "1")],
        1 => vec![("x", "2")],
        2 => vec![("x", "1"), ("y", "1")],
        _ => vec![("y", "1")],
    }
}

/// The statement that a deed asks for, if the directory allows it now.
fn wish(world: &World, deed: &Deed) -> Option<Statement> {
    let is_live = |word: &str| {
        let found = world.chain.statements().get(&id(word));
        found.is_some_and(|s| !matches!(s.content, Content::Removal(_)))
    };
    let was_removed = |word: &str| {
        let found = world.chain.statements().get(&id(word));
        found.is_some_and(|s| matches!(s.content, Content::Removal(_)))
    };
    match deed {
        Deed::User { user, groups } if !was_removed(USERS[*user]) => {
            let groups: Vec<&str> = GROUPS
                .iter()
                .enumerate()
                .filter(|(n, _)| groups >> n & 1 == 1)
                .map(|(_, group)| *group)
                .collect();
            Some(world.user(USERS[*user], 1_000 + u32::try_from(*user).ok()?, &groups))
        }
        Deed::Role { role, unix_group } => {
            Some(world.role(ROLES[*role], if *unix_group { &["unix"] } else { &[] }))
        }
        Deed::Assignment { assignment, subject: who, role, selector, late }
            if !was_removed(ASSIGNMENTS[*assignment]) && is_live(subject(*who)) =>
        {
            let from = late.then(|| Timestamp(NOW.0 + 100_000));
            let (name, hosts) = (ASSIGNMENTS[*assignment], SELECTORS[*selector]);
            Some(world.assignment(name, subject(*who), ROLES[*role], hosts, from))
        }
        Deed::RemoveUser(user) if is_live(USERS[*user]) => {
            Some(world.removal(USERS[*user], Kind::User))
        }
        Deed::RemoveAssignment(n) if is_live(ASSIGNMENTS[*n]) => {
            Some(world.removal(ASSIGNMENTS[*n], Kind::Assignment))
        }
        _ => None,
    }
}

fn revoke(world: &mut World, target: usize, membership: bool, at: usize) -> Option<Envelope> {
    let word = USERS.get(target).copied().unwrap_or_else(|| ASSIGNMENTS[target - USERS.len()]);
    let found = world.chain.statements().get(&id(word))?;
    if matches!(found.content, Content::Removal(_)) {
        return None;
    }
    let target = if membership && target < USERS.len() {
        Target::Membership { user: id(word), group: id("g0") }
    } else {
        Target::Statement { id: id(word), revision: found.revision }
    };
    Some(world.revocation(&format!("revocation {at}"), target))
}

fn unix_group(world: &World) -> Statement {
    let group = muster_proto::statement::UnixGroup {
        name: muster_proto::name::UnixGroupName::parse_own("unix").unwrap(),
        gid: muster_proto::name::Gid::parse(40_000).unwrap(),
        members: muster_proto::statement::MemberList::AtLeast,
    };
    world.statement(id("unix"), Content::UnixGroup(group))
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, failure_persistence: None, ..Default::default() })]

    /// After any history, a host that was sent deltas holds exactly what the whole directory gives
    /// it, whichever receipts were lost.
    #[test]
    fn what_is_sent_is_believed_and_is_enough(
        deeds in proptest::collection::vec((deed(), any::<bool>(), 0..4_u8), 1..30),
    ) {
        let mut world = World::new();
        let mut current = current(&world);
        let mut pairs: Vec<Pair> =
            (0..3).map(|n| Pair::new(&world, &label_set(n))).collect();
        let mut base: BTreeMap<Id, Statement> = BTreeMap::new();
        for statement in GROUPS.iter().map(|g| world.group(g))
            .chain(ROLES.iter().map(|r| world.role(r, &[])))
            .chain([unix_group(&world)])
        {
            base.insert(statement.id, statement);
        }
        let link = world.publish(base.into_values().collect());
        take(&mut current, &link);
        for (at, (deed, confirmed, away)) in deeds.iter().enumerate() {
            match deed {
                Deed::Revoke { target, membership } => {
                    if let Some(envelope) = revoke(&mut world, *target, *membership, at) {
                        world.chain.keep(&envelope).unwrap();
                        current.keep(&envelope).unwrap();
                    }
                }
                Deed::Labels(n) => {
                    let pair = &mut pairs[0];
                    pair.host.labels = crate::host::labels(&label_set(*n));
                    pair.host.look();
                    pair.sent.values_mut().for_each(|sent| sent.confirmed = None);
                }
                Deed::Time(seconds) => {
                    for pair in &mut pairs {
                        pair.host.now = pair.host.now.plus(*seconds);
                        pair.host.look();
                    }
                }
                Deed::Forget => {
                    let fresh = Pair::new(&world, &label_set(1));
                    let now = pairs[1].host.now;
                    pairs[1] = fresh;
                    pairs[1].host.now = now;
                }
                deed => {
                    let Some(wish) = wish(&world, deed) else { continue };
                    // What the directory's rules do not allow does not happen.
                    let mut trial = world.chain.clone();
                    let Some(link) = world.try_cut(vec![wish]) else { continue };
                    if trial.extend(&link.link, &link.body, &link.proposals, NOW).is_err() {
                        continue;
                    }
                    world.chain = trial;
                    take(&mut current, &link);
                }
            }
            for (n, pair) in pairs.iter_mut().enumerate() {
                // One host is away now and then.
                if n == 2 && *away > 0 && at + 1 < deeds.len() {
                    continue;
                }
                pair.deliver(&current, *confirmed);
                prop_assert_eq!(
                    &pair.host.held,
                    &pair.host.due(world.chain.statements()),
                    "host {} after deed {}: {:?}", n, at, deed
                );
            }
        }
    }
}
