//! What a host is to have: single grants, each tagged with the assignment that gives it, and the
//! accounts, Unix groups and sudo rules that they add up to.

use std::collections::{BTreeMap, BTreeSet};

use crate::{
    derive::Statements,
    id::Id,
    name::{AbsolutePath, FullName, Gid, Login, ObjectName, Uid, UnixGroupName},
    statement::{
        Content, HomeMode, LoginMethod, MemberList, PasswordPolicy, Restrictions, UnixGroupMode,
        UserKey, UserKind,
    },
    sudo::SudoRule,
    time::Timestamp,
};

/// One thing that one assignment gives one user on this host.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Grant {
    /// The assignment that gives it.
    pub assignment: Id,
    /// To whom.
    pub login: Login,
    /// What.
    pub entitlement: Entitlement,
}

/// What a grant gives.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Entitlement {
    /// That there is an account.
    Account(AccountGrant),
    /// That an existing account may be taken for it.
    Adoption(Uid),
    /// A key that may log in.
    Key {
        /// The key.
        key: UserKey,
        /// What it is restricted to.
        restrictions: Restrictions,
    },
    /// A way to log in.
    Login(LoginMethod),
    /// How the account's supplementary Unix groups are kept, by the role with this id.
    UnixGroupMode(Id, UnixGroupMode),
    /// Being in a Unix group that Muster creates.
    UnixGroup(UnixGroupGrant),
    /// Being in a Unix group that the host has.
    HostUnixGroup(UnixGroupName),
    /// Running something as somebody else, by the role of this name.
    Sudo(ObjectName, SudoRule),
    /// Having a password of one's own on the host.
    Password(PasswordPolicy),
}

/// The account itself.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct AccountGrant {
    /// The user's id.
    pub user: Id,
    /// The same everywhere.
    pub uid: Uid,
    /// For GECOS.
    pub name: FullName,
    /// Instead of the host's default.
    pub shell: Option<AbsolutePath>,
    /// Instead of the host's default.
    pub home: Option<AbsolutePath>,
    /// Instead of the host's default.
    pub home_mode: Option<HomeMode>,
    /// A person, or a service identity.
    pub kind: UserKind,
}

/// A Unix group that Muster creates.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct UnixGroupGrant {
    /// Its name on the hosts.
    pub name: UnixGroupName,
    /// Its gid on the hosts.
    pub gid: Gid,
    /// Whether others may be in it.
    pub members: MemberList,
}

/// What all grants together come to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DesiredState {
    /// The accounts, by login.
    pub accounts: BTreeMap<Login, Account>,
    /// The Unix groups that Muster creates, by name.
    pub unix_groups: BTreeMap<UnixGroupName, UnixGroupGrant>,
    /// The sudo rules, by role, each with its users.
    pub sudo: BTreeMap<ObjectName, BTreeMap<SudoRule, BTreeSet<Login>>>,
    /// What could not be, since two grants contradict each other.
    pub clashes: Vec<Clash>,
}

/// One account.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Account {
    /// Who and what it is.
    pub grant: AccountGrant,
    /// The uid found on this host, where an adoption names it.
    pub adopts: Option<Uid>,
    /// The keys that may log in, each with every set of restrictions that it was given with.
    pub keys: BTreeSet<(UserKey, Restrictions)>,
    /// The ways to log in.
    pub methods: BTreeSet<LoginMethod>,
    /// How supplementary Unix groups are kept.
    pub unix_group_mode: UnixGroupMode,
    /// The supplementary Unix groups that Muster creates.
    pub unix_groups: BTreeSet<UnixGroupName>,
    /// The supplementary Unix groups that must exist on the host.
    pub host_unix_groups: BTreeSet<UnixGroupName>,
    /// The policy of a local password: the strictest of those that the roles give.
    pub password: Option<PasswordPolicy>,
    /// The assignments that give something to it.
    pub assignments: BTreeSet<Id>,
    /// When the last of them ends, or the user does; absent if that is not known to come. It is
    /// written where the system itself can see it, as a second lock beside the keeper's own.
    pub ends: Option<Timestamp>,
}

/// Two grants that cannot both be.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Clash {
    /// Two users of one login, or one user with two shapes.
    Login(Login),
    /// One uid for two logins.
    Uid(Uid, BTreeSet<Login>),
    /// One Unix group with two shapes.
    UnixGroup(UnixGroupName),
    /// One gid for two Unix groups.
    Gid(Gid, BTreeSet<UnixGroupName>),
}

/// Logins and uids that a host has seen together; they stay together for ever. An adopted account's
/// uid is the one found there.
pub type Pins = BTreeMap<Login, Uid>;

impl DesiredState {
    /// Adds grants up. Where two contradict each other, the one that agrees with the pins stays and
    /// the other is refused; without a pin both are.
    pub fn assemble(grants: &BTreeSet<Grant>, pins: &Pins) -> Self {
        let mut state = Self::default();
        let accounts = state.settle_accounts(grants, pins);
        state.settle_unix_groups(grants);
        let mut own: BTreeMap<&Login, Vec<&Grant>> = BTreeMap::new();
        for grant in grants {
            own.entry(&grant.login).or_default().push(grant);
        }
        for (login, grant) in accounts {
            let own = own.get(&login).map_or(&[][..], Vec::as_slice);
            let account = Account::assemble(grant, own, &state.unix_groups);
            state.accounts.insert(login, account);
        }
        for grant in grants.iter().filter(|grant| state.accounts.contains_key(&grant.login)) {
            if let Entitlement::Sudo(role, rule) = &grant.entitlement {
                let rules = state.sudo.entry(role.clone()).or_default();
                rules.entry(rule.clone()).or_default().insert(grant.login.clone());
            }
        }
        state.clashes.sort();
        state
    }

    /// Notes when each account ends, as these statements say.
    pub fn note_ends(&mut self, statements: &Statements) {
        for account in self.accounts.values_mut() {
            let ends_of = |id: &Id| match statements.get(id).map(|s| &s.content) {
                Some(Content::User(user)) => user.ends,
                Some(Content::Assignment(assignment)) => assignment.until,
                _ => None,
            };
            // One that never ends is later than any.
            let untils: Option<Vec<_>> = account.assignments.iter().map(ends_of).collect();
            let last = untils.and_then(|untils| untils.into_iter().max());
            account.ends = last.into_iter().chain(ends_of(&account.grant.user)).min();
        }
    }

    fn settle_accounts(
        &mut self,
        grants: &BTreeSet<Grant>,
        pins: &Pins,
    ) -> BTreeMap<Login, AccountGrant> {
        let mut shapes: BTreeMap<Login, BTreeSet<AccountGrant>> = BTreeMap::new();
        for grant in grants {
            if let Entitlement::Account(account) = &grant.entitlement {
                shapes.entry(grant.login.clone()).or_default().insert(account.clone());
            }
        }
        let adopted: BTreeSet<(&Login, Uid)> = grants
            .iter()
            .filter_map(|grant| match &grant.entitlement {
                Entitlement::Adoption(uid) => Some((&grant.login, *uid)),
                _ => None,
            })
            .collect();
        let adopts = |login: &Login| {
            adopted.iter().find(|(adopter, _)| *adopter == login).map(|(_, uid)| *uid)
        };
        let mut accounts: BTreeMap<Login, AccountGrant> = BTreeMap::new();
        for (login, mut found) in shapes {
            let wanted = found.len();
            if let Some(pin) = pins.get(&login) {
                found.retain(|a| a.uid == *pin || adopted.contains(&(&login, *pin)));
            }
            if found.len() < wanted || found.len() > 1 {
                self.clashes.push(Clash::Login(login.clone()));
            }
            if found.len() == 1 {
                accounts.extend(found.pop_first().map(|account| (login, account)));
            }
        }
        let mut by_uid: BTreeMap<Uid, BTreeSet<Login>> = BTreeMap::new();
        for (login, account) in &accounts {
            let here = pins.get(login).copied().or_else(|| adopts(login)).unwrap_or(account.uid);
            by_uid.entry(here).or_default().insert(login.clone());
        }
        for (login, uid) in pins {
            if let Some(logins) = by_uid.get_mut(uid) {
                logins.insert(login.clone());
            }
        }
        for (uid, logins) in by_uid.into_iter().filter(|(_, logins)| logins.len() > 1) {
            for login in logins.iter().filter(|login| pins.get(login) != Some(&uid)) {
                accounts.remove(login);
            }
            self.clashes.push(Clash::Uid(uid, logins));
        }
        accounts
    }

    fn settle_unix_groups(&mut self, grants: &BTreeSet<Grant>) {
        let mut shapes: BTreeMap<&UnixGroupName, BTreeSet<&UnixGroupGrant>> = BTreeMap::new();
        let mut by_gid: BTreeMap<Gid, BTreeSet<UnixGroupName>> = BTreeMap::new();
        for grant in grants {
            if let Entitlement::UnixGroup(group) = &grant.entitlement {
                shapes.entry(&group.name).or_default().insert(group);
                by_gid.entry(group.gid).or_default().insert(group.name.clone());
            }
        }
        for (name, found) in shapes {
            match found.first() {
                Some(group) if found.len() == 1 => {
                    self.unix_groups.insert(name.clone(), (*group).clone());
                }
                _ => self.clashes.push(Clash::UnixGroup(name.clone())),
            }
        }
        for (gid, names) in by_gid.into_iter().filter(|(_, names)| names.len() > 1) {
            self.unix_groups.retain(|name, _| !names.contains(name));
            self.clashes.push(Clash::Gid(gid, names));
        }
    }
}

impl Account {
    fn assemble(
        grant: AccountGrant,
        own: &[&Grant],
        unix_groups: &BTreeMap<UnixGroupName, UnixGroupGrant>,
    ) -> Self {
        let mut account = Self {
            grant,
            adopts: None,
            keys: BTreeSet::new(),
            methods: BTreeSet::new(),
            unix_group_mode: UnixGroupMode::HandsOff,
            unix_groups: BTreeSet::new(),
            host_unix_groups: BTreeSet::new(),
            password: None,
            assignments: BTreeSet::new(),
            ends: None,
        };
        let mut modes = BTreeSet::new();
        for grant in own {
            account.assignments.insert(grant.assignment);
            match &grant.entitlement {
                Entitlement::Adoption(uid) => account.adopts = Some(*uid),
                Entitlement::Key { key, restrictions } => {
                    account.keys.insert((key.clone(), restrictions.clone()));
                }
                Entitlement::Login(method) => {
                    account.methods.insert(*method);
                }
                Entitlement::UnixGroupMode(_, mode) => {
                    modes.insert(*mode);
                }
                Entitlement::UnixGroup(group) if unix_groups.contains_key(&group.name) => {
                    account.unix_groups.insert(group.name.clone());
                }
                Entitlement::Account(_) | Entitlement::Sudo(..) | Entitlement::UnixGroup(_) => {}
                Entitlement::HostUnixGroup(name) => {
                    account.host_unix_groups.insert(name.clone());
                }
                Entitlement::Password(policy) => {
                    account.password = Some(strictest(account.password, *policy));
                }
            }
        }
        account.unix_group_mode = unite(&modes);
        account
    }
}

/// Exactly holds only if every role says it; at least, if any role says more than hands off.
fn unite(modes: &BTreeSet<UnixGroupMode>) -> UnixGroupMode {
    if modes.len() == 1 && modes.contains(&UnixGroupMode::Exactly) {
        UnixGroupMode::Exactly
    } else if modes.iter().any(|mode| *mode != UnixGroupMode::HandsOff) {
        UnixGroupMode::AtLeast
    } else {
        UnixGroupMode::HandsOff
    }
}

fn strictest(known: Option<PasswordPolicy>, other: PasswordPolicy) -> PasswordPolicy {
    let Some(known) = known else { return other };
    let least = |a: Option<u32>, b: Option<u32>| a.into_iter().chain(b).min();
    PasswordPolicy {
        max_days: least(known.max_days, other.max_days),
        min_days: known.min_days.max(other.min_days),
        warn_days: known.warn_days.max(other.warn_days),
        inactive_days: least(known.inactive_days, other.inactive_days),
        min_length: known.min_length.max(other.min_length),
    }
}
