//! Who can do what where: `derive` over the directory that was verified, host by host, with the
//! assignments that give it and the changes in which they were approved. Pure. Which hosts there are
//! and what labels they have is their own word, and whoever prints this says so.

pub mod observed;

use std::collections::{BTreeMap, BTreeSet};

use muster_proto::{
    derive::{Circumstances, Statements, derive},
    desired::{Entitlement, Grant},
    id::Id,
    name::{Login, ObjectName},
    revocations::Revocations,
    statement::{Assignment, Content, LoginMethod},
    time::{Now, Timestamp},
};

use crate::{
    describe,
    preview::{HostLabels, reaches_root},
};

/// The directory, and the time at which it is asked.
#[derive(Clone, Copy, Debug)]
pub struct Ground<'a> {
    /// What was verified.
    pub statements: &'a Statements,
    /// What was revoked.
    pub revocations: &'a Revocations,
    /// The time.
    pub now: Now,
}

/// What one user has on one host.
#[derive(Clone, Debug)]
pub struct Access {
    /// Where.
    pub host: HostLabels,
    /// Who.
    pub login: Login,
    /// How she logs in.
    pub methods: BTreeSet<LoginMethod>,
    /// Her keys, each with its fingerprint and what it is restricted to.
    pub keys: BTreeSet<String>,
    /// By which of these she becomes root; none: she does not.
    pub root_by: BTreeSet<String>,
    /// What gives it.
    pub by: Vec<By>,
    /// When all of it ends; absent if that is not known to come.
    pub until: Option<Timestamp>,
}

/// An assignment that gives it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct By {
    /// Its id, and so in which change it came.
    pub id: Id,
    /// Its name.
    pub assignment: ObjectName,
    /// The role that it assigns, by id and name.
    pub role: (Id, String),
    /// Its subject.
    pub subject: Id,
    /// When it ends.
    pub until: Option<Timestamp>,
}

/// Returns who has what on these hosts, by host and login.
pub fn on(ground: &Ground<'_>, hosts: &[HostLabels]) -> Vec<Access> {
    let mut found: Vec<Access> = hosts.iter().flat_map(|host| on_one(ground, host)).collect();
    found.sort_by(|a, b| {
        (&a.host.hostname, a.host.id, &a.login).cmp(&(&b.host.hostname, b.host.id, &b.login))
    });
    found
}

fn on_one(ground: &Ground<'_>, host: &HostLabels) -> Vec<Access> {
    let Ground { statements, revocations, now } = *ground;
    let circumstances = Circumstances { host: host.id, labels: &host.labels, revocations, now };
    let mut by_login: BTreeMap<Login, Vec<Grant>> = BTreeMap::new();
    for grant in derive(statements, &circumstances) {
        by_login.entry(grant.login.clone()).or_default().push(grant);
    }
    let all = by_login.into_iter();
    all.map(|(login, grants)| access(statements, host, login, &grants)).collect()
}

fn access(statements: &Statements, host: &HostLabels, login: Login, grants: &[Grant]) -> Access {
    let mut found = Access {
        host: host.clone(),
        login,
        methods: BTreeSet::new(),
        keys: BTreeSet::new(),
        root_by: BTreeSet::new(),
        by: Vec::new(),
        until: None,
    };
    let mut user = None;
    for Grant { entitlement, .. } in grants {
        match entitlement {
            Entitlement::Login(method) => drop(found.methods.insert(*method)),
            Entitlement::Key { .. } => drop(found.keys.insert(describe::entitlement(entitlement))),
            Entitlement::Account(account) => user = Some(account.user),
            _ => {}
        }
        if reaches_root(entitlement) {
            found.root_by.insert(describe::entitlement(entitlement));
        }
    }
    let ids: BTreeSet<Id> = grants.iter().map(|grant| grant.assignment).collect();
    found.by = ids.iter().filter_map(|id| by(statements, *id)).collect();
    // One that never ends is later than any.
    let untils: Option<Vec<Timestamp>> = found.by.iter().map(|by| by.until).collect();
    let last = untils.and_then(|untils| untils.into_iter().max());
    let ends = user.and_then(|id| match statements.get(&id).map(|s| &s.content) {
        Some(Content::User(user)) => user.ends,
        _ => None,
    });
    found.until = last.into_iter().chain(ends).min();
    found
}

fn by(statements: &Statements, id: Id) -> Option<By> {
    let Content::Assignment(assignment) = &statements.get(&id)?.content else { return None };
    let Assignment { name, subject, role, until, .. } = assignment;
    let role_name = statements.get(role).and_then(|role| role.content.name());
    Some(By {
        id,
        assignment: name.clone(),
        role: (*role, role_name.unwrap_or_default().to_owned()),
        subject: *subject,
        until: *until,
    })
}
