//! Any history of changes, receipts lost and hosts away: deltas come to what the whole directory
//! comes to.

use std::collections::BTreeMap;

use muster_proto::{
    envelope::Envelope,
    id::{Id, Kind},
    link::Target,
    name::{Gid, UnixGroupName},
    statement::{Content, MemberList, Statement, UnixGroup},
    time::Timestamp,
};
use proptest::prelude::*;

use crate::{
    publish::{Pair, current, take},
    world::{NOW, World, id},
};

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
    let named = USERS.get(target).copied().unwrap_or_else(|| ASSIGNMENTS[target - USERS.len()]);
    let found = world.chain.statements().get(&id(named))?;
    if matches!(found.content, Content::Removal(_)) {
        return None;
    }
    let target = if membership && target < USERS.len() {
        Target::Membership { user: id(named), group: id("g0") }
    } else {
        Target::Statement { id: id(named), revision: found.revision }
    };
    Some(world.revocation(&format!("revocation {at}"), target))
}

fn unix_group(world: &World) -> Statement {
    let group = UnixGroup {
        name: UnixGroupName::parse_own("unix").unwrap(),
        gid: Gid::parse(40_000).unwrap(),
        members: MemberList::AtLeast,
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
