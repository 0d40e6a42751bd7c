//! From statements to grants: pure, and monotone. Each grant rests on statements that must all be
//! there, so that leaving one out never gives anything (shown by a property test on directories).
//!
//! `derive` says what a set of statements gives. `believe` says what a host may rest on: something
//! new only from what is proved together, something held until it is disproved, revoked or ended.

use std::collections::{BTreeMap, BTreeSet};

use crate::{
    desired::{AccountGrant, Entitlement, Grant, UnixGroupGrant},
    id::{HostId, Id},
    key::KeyHome,
    revocations::Revocations,
    selector::Labels,
    statement::{
        Adoption, Assignment, Content, LoginMethod, Restrictions, Role, Statement, UnixGroup, User,
    },
    time::Now,
};

/// The newest revision of each statement, by id.
pub type Statements = BTreeMap<Id, Statement>;

/// What a host judges statements by.
#[derive(Clone, Copy, Debug)]
pub struct Circumstances<'a> {
    /// Which host it is.
    pub host: HostId,
    /// Its own labels.
    pub labels: &'a Labels,
    /// What was revoked.
    pub revocations: &'a Revocations,
    /// What time it is.
    pub now: Now,
}

/// Whether a floor may still give something new.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Freshness {
    /// It may.
    Fresh,
    /// The floor is older than `stale_after`, or the trust root has expired.
    Stale,
}

/// Returns the grants that these statements give on this host.
pub fn derive(statements: &Statements, circumstances: &Circumstances<'_>) -> BTreeSet<Grant> {
    let mut grants = BTreeSet::new();
    let world = World { statements, circumstances };
    if world.host_is_revoked() {
        return grants;
    }
    let members = world.members();
    let adoptions = world.adoptions();
    for (id, statement) in world.live() {
        let Content::Assignment(assignment) = &statement.content else { continue };
        let Some(role) = world.assigned_role(assignment) else { continue };
        let users: Vec<Id> = match world.get(&assignment.subject).map(|s| &s.content) {
            Some(Content::User(_)) => vec![assignment.subject],
            Some(Content::Group(_)) => {
                members.get(&assignment.subject).cloned().unwrap_or_default()
            }
            _ => Vec::new(),
        };
        for user_id in users {
            let Some((statement, user)) = world.user(&user_id) else { continue };
            let mut give = |entitlement| {
                let login = user.login.clone();
                grants.insert(Grant { assignment: *id, login, entitlement });
            };
            give(Entitlement::Account(AccountGrant {
                user: user_id,
                uid: user.uid,
                name: user.name.clone(),
                shell: user.shell.clone(),
                home: user.home.clone(),
                home_mode: user.home_mode,
                kind: user.kind,
            }));
            let own = adoptions.get(&user_id).into_iter().flatten();
            for adoption in own.filter(|adoption| adoption.login == user.login) {
                give(Entitlement::Adoption(adoption.uid));
            }
            world.role_grants((&assignment.role, role), user, &mut give);
            world.key_grants(statement, user, role, &mut give);
        }
    }
    grants
}

/// Returns the grants that a host may rest on: `derive(F) ∪ (G ∩ derive(K))`.
///
/// `proved` (F) is what is proved in the present floor's directory, `known` (K) the newest that was
/// ever proved of each id, `held` (G) what the host desired before. What is held has begun once, so
/// a clock that goes back does not take it away: its start counts by the latest clock.
pub fn believe(
    proved: &Statements,
    known: &Statements,
    held: &BTreeSet<Grant>,
    freshness: Freshness,
    circumstances: &Circumstances<'_>,
) -> BTreeSet<Grant> {
    let begun = Circumstances { now: Now::at(circumstances.now.latest), ..*circumstances };
    let kept = derive(known, &begun);
    let mut grants: BTreeSet<Grant> = held.intersection(&kept).cloned().collect();
    if freshness == Freshness::Fresh {
        grants.extend(derive(proved, circumstances));
    }
    grants
}

struct World<'a> {
    statements: &'a Statements,
    circumstances: &'a Circumstances<'a>,
}

impl<'a> World<'a> {
    fn host_is_revoked(&self) -> bool {
        let host = self.circumstances.host;
        self.circumstances.revocations.ends_host(&host)
            || self.statements.contains_key(&Id::Host(host))
    }

    fn get(&self, id: &Id) -> Option<&'a Statement> {
        self.statements.get(id).filter(|s| !self.circumstances.revocations.ends(s))
    }

    fn live(&self) -> impl Iterator<Item = (&'a Id, &'a Statement)> {
        self.statements.iter().filter(|(_, s)| !self.circumstances.revocations.ends(s))
    }

    /// The users of each group, without ended memberships.
    fn members(&self) -> BTreeMap<Id, Vec<Id>> {
        let mut members: BTreeMap<Id, Vec<Id>> = BTreeMap::new();
        for (id, statement) in self.live() {
            let Content::User(user) = &statement.content else { continue };
            for group in &user.groups {
                let ended = self.circumstances.revocations.ends_membership(
                    id,
                    group,
                    &statement.reinstates,
                );
                if !ended {
                    members.entry(*group).or_default().push(*id);
                }
            }
        }
        members
    }

    /// All adoptions here, by user: of two neither hides the other, so that withholding one gives
    /// nothing that both together do not.
    fn adoptions(&self) -> BTreeMap<Id, Vec<&'a Adoption>> {
        let mut adoptions: BTreeMap<Id, Vec<&'a Adoption>> = BTreeMap::new();
        for (_, statement) in self.live() {
            if let Content::Adoption(adoption) = &statement.content
                && adoption.host == self.circumstances.host
            {
                adoptions.entry(adoption.user).or_default().push(adoption);
            }
        }
        adoptions
    }

    fn assigned_role(&self, assignment: &Assignment) -> Option<&'a Role> {
        let here = assignment.hosts.matches(self.circumstances.labels)
            && self.circumstances.now.within(assignment.from, assignment.until);
        match self.get(&assignment.role).map(|s| &s.content) {
            Some(Content::Role(role)) if here => Some(role),
            _ => None,
        }
    }

    fn user(&self, id: &Id) -> Option<(&'a Statement, &'a User)> {
        let statement = self.get(id)?;
        match &statement.content {
            Content::User(user) if self.circumstances.now.within(user.starts, user.ends) => {
                Some((statement, user))
            }
            _ => None,
        }
    }

    fn unix_group(&self, id: &Id) -> Option<&'a UnixGroup> {
        match self.get(id).map(|s| &s.content) {
            Some(Content::UnixGroup(group)) => Some(group),
            _ => None,
        }
    }

    fn role_grants(
        &self,
        (id, role): (&Id, &Role),
        user: &User,
        give: &mut impl FnMut(Entitlement),
    ) {
        give(Entitlement::UnixGroupMode(*id, role.unix_group_mode));
        for group in role.unix_groups.iter().filter_map(|group| self.unix_group(group)) {
            give(Entitlement::UnixGroup(UnixGroupGrant {
                name: group.name.clone(),
                gid: group.gid,
                members: group.members,
            }));
        }
        for name in &role.host_unix_groups {
            give(Entitlement::HostUnixGroup(name.clone()));
        }
        for rule in &role.sudo {
            give(Entitlement::Sudo(role.name.clone(), rule.clone()));
        }
        // No restriction binds a password, so one that holds against every role leaves none.
        let free = user.restrictions == Restrictions::default();
        for method in role.methods() {
            if free || method != LoginMethod::Password {
                give(Entitlement::Login(method));
            }
        }
        if let Some(policy) = role.password {
            give(Entitlement::Password(policy));
        }
    }

    fn key_grants(
        &self,
        statement: &Statement,
        user: &User,
        role: &Role,
        give: &mut impl FnMut(Entitlement),
    ) {
        let methods = role.methods();
        for key in &user.keys {
            let hardware = key.key.home() == KeyHome::Hardware;
            let wanted = methods.contains(&LoginMethod::Key)
                || (hardware && methods.contains(&LoginMethod::HardwareKey));
            let allowed = hardware || !user.restrictions.hardware_keys_only;
            let ended = self
                .circumstances
                .revocations
                .ends_key(&key.key.fingerprint(), &statement.reinstates);
            if wanted && allowed && !ended {
                let restrictions = user.restrictions.clone();
                give(Entitlement::Key { key: key.clone(), restrictions });
            }
        }
    }
}
