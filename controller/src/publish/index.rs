//! Where grants come from, looked up the other way round: a group's users, a host's adoptions, the
//! assignments that somebody's change reaches. Made anew for every link, so that asking for one
//! host costs what concerns that host.

use std::collections::{BTreeMap, BTreeSet};

use muster_proto::{
    derive::Statements,
    id::{HostId, Id},
    selector::{Labels, Selector},
    statement::{Assignment, Content, Role},
    time::Timestamp,
};

/// Clocks of hosts may be behind ours by this much, in seconds, and what starts by their clock is
/// still waiting there.
const SLACK: u64 = 86_400;

/// The directory from a host's point of view.
#[derive(Clone, Debug, Default)]
pub struct Index {
    assignments: BTreeSet<Id>,
    members: BTreeMap<Id, BTreeSet<Id>>,
    adoptions: BTreeMap<HostId, BTreeMap<Id, Id>>,
}

/// Whom a change concerns: hosts with one of these labels, hosts that were sent one of these ids,
/// and hosts that it names.
#[derive(Clone, Debug, Default)]
pub struct Reach {
    ids: BTreeSet<Id>,
    selectors: Vec<Selector>,
    hosts: BTreeSet<HostId>,
}

/// An assignment with all that takes part in its grants.
struct Through<'a> {
    id: Id,
    assignment: &'a Assignment,
    fixed: BTreeSet<Id>,
    users: BTreeSet<Id>,
}

impl Index {
    /// Looks at every statement once.
    pub fn of(statements: &Statements) -> Self {
        let mut index = Self::default();
        for (id, statement) in statements {
            match &statement.content {
                Content::Assignment(_) => {
                    index.assignments.insert(*id);
                }
                Content::User(user) => {
                    for group in &user.groups {
                        index.members.entry(*group).or_default().insert(*id);
                    }
                }
                Content::Adoption(adoption) => {
                    let own = index.adoptions.entry(adoption.host).or_default();
                    own.insert(*id, adoption.user);
                }
                _ => {}
            }
        }
        index
    }

    fn through<'a>(&self, statements: &'a Statements, id: &Id) -> Option<Through<'a>> {
        let Content::Assignment(assignment) = &statements.get(id)?.content else { return None };
        let mut fixed = BTreeSet::from([*id, assignment.role]);
        if let Some(role) = role(statements, &assignment.role) {
            fixed.extend(&role.unix_groups);
        }
        let members = self.members.get(&assignment.subject);
        let users = match members {
            Some(members) => members.clone(),
            None => BTreeSet::new(),
        };
        let users = if matches!(
            statements.get(&assignment.subject).map(|s| &s.content),
            Some(Content::User(_))
        ) {
            BTreeSet::from([assignment.subject])
        } else {
            fixed.insert(assignment.subject);
            users
        };
        Some(Through { id: *id, assignment, fixed, users })
    }

    fn here<'a>(
        &'a self,
        statements: &'a Statements,
        labels: &'a Labels,
    ) -> impl Iterator<Item = Through<'a>> {
        let all = self.assignments.iter().filter_map(|id| self.through(statements, id));
        all.filter(|through| through.assignment.hosts.matches(labels))
    }

    /// Returns the ids of all that a host with these labels is to know.
    pub fn wanted(&self, statements: &Statements, host: HostId, labels: &Labels) -> BTreeSet<Id> {
        let mut wanted = BTreeSet::new();
        for through in self.here(statements, labels) {
            wanted.extend(through.fixed);
            wanted.extend(through.users);
        }
        wanted.extend(self.adoptions.get(&host).into_iter().flat_map(BTreeMap::keys));
        if statements.contains_key(&Id::Host(host)) {
            wanted.insert(Id::Host(host));
        }
        wanted.retain(|id| statements.contains_key(id));
        wanted
    }

    /// Returns what must be proved together: all parts of every grant in which something changed
    /// takes part or that is still to begin.
    pub fn together(
        &self,
        statements: &Statements,
        host: HostId,
        labels: &Labels,
        changed: &BTreeSet<Id>,
        now: Timestamp,
    ) -> BTreeSet<Id> {
        let mut whole = BTreeSet::new();
        let waits = |from: Option<Timestamp>| from.is_some_and(|from| from.plus(SLACK) > now);
        let nothing = BTreeMap::new();
        let adoptions = self.adoptions.get(&host).unwrap_or(&nothing);
        let adopted_anew: BTreeSet<&Id> =
            adoptions.iter().filter(|(id, _)| changed.contains(id)).map(|(_, user)| user).collect();
        for through in self.here(statements, labels) {
            let all = !through.fixed.is_disjoint(changed) || waits(through.assignment.from);
            let concerned: BTreeSet<Id> = through
                .users
                .iter()
                .filter(|id| {
                    all || changed.contains(id)
                        || adopted_anew.contains(id)
                        || matches!(statements.get(id).map(|s| &s.content),
                            Some(Content::User(user)) if waits(user.starts))
                })
                .copied()
                .collect();
            if all || !concerned.is_empty() {
                let own = adoptions.iter().filter(|(_, user)| concerned.contains(user));
                whole.extend(own.map(|(id, _)| *id));
                whole.extend(concerned);
                whole.extend(through.fixed);
            }
        }
        whole.retain(|id| statements.contains_key(id));
        whole
    }

    /// Returns whom a change of these ids concerns.
    pub fn reach(&self, statements: &Statements, ids: &BTreeSet<Id>) -> Reach {
        let mut reach = Reach { ids: ids.clone(), ..Reach::default() };
        for id in ids {
            match id {
                Id::Host(host) => {
                    reach.hosts.insert(*host);
                }
                Id::Object(_) => {
                    if let Some(Content::Adoption(own)) = statements.get(id).map(|s| &s.content) {
                        reach.hosts.insert(own.host);
                    }
                }
            }
        }
        for through in self.assignments.iter().filter_map(|id| self.through(statements, id)) {
            let hit = ids.contains(&through.id)
                || !through.fixed.is_disjoint(ids)
                || !through.users.is_disjoint(ids);
            if hit && !reach.selectors.contains(&through.assignment.hosts) {
                reach.selectors.push(through.assignment.hosts.clone());
            }
        }
        reach
    }
}

impl Reach {
    /// Says whether a host is concerned, given its labels and the ids that it was sent.
    pub fn concerns<'a>(
        &self,
        host: HostId,
        labels: Option<&Labels>,
        mut sent: impl Iterator<Item = &'a Id>,
    ) -> bool {
        self.hosts.contains(&host)
            || labels.is_some_and(|labels| self.selectors.iter().any(|s| s.matches(labels)))
            || sent.any(|id| self.ids.contains(id))
    }
}

fn role<'a>(statements: &'a Statements, id: &Id) -> Option<&'a Role> {
    match &statements.get(id)?.content {
        Content::Role(role) => Some(role),
        _ => None,
    }
}
