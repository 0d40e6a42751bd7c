//! Who can log in to a host and who can become root there, by which ways, and which of these accounts
//! are Muster's. Pure: the account files come from a look, what else it takes from [`Sources`], and
//! what these could not learn is said to be unknown. By which statement somebody has it is for
//! whoever knows the statements.

pub mod emergency;

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
};

use muster_proto::{
    inventory::{Inventory, LocalAccount, LocalPassword},
    name::Login,
    privilege::root_equivalence,
};

use crate::{
    drift::ungranted::can_log_in,
    format::{
        Entry, Table,
        authorized_keys::{self, Keys},
        cvtsudoers::{Rule, Who},
        group, passwd,
        shadow::{self, Password},
    },
    observed::ObservedState,
    ownership::Ownership,
};

/// An account that is not Muster's and whose own keys count.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Other {
    /// Its login.
    pub login: String,
    /// Its uid.
    pub uid: u32,
    /// Its home.
    pub home: String,
}

/// What the account files do not say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sources {
    /// The keys of accounts that are not Muster's, by login.
    pub keys: BTreeMap<String, Keys>,
    /// Who becomes root by sudo.
    pub sudo: Sudo,
}

/// Who becomes root by sudo, by all of its files.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Sudo {
    /// By these rules.
    Rules(Vec<Rule>),
    /// Nobody could say, for this reason.
    Unknown(String),
}

/// Returns the accounts whose own keys have to be looked at.
pub fn others(observed: &ObservedState, ownership: &Ownership) -> Vec<Other> {
    let is_other = |entry: &Entry<'_>| {
        let login = entry.text(0).unwrap_or_default();
        is_first(observed, login, *entry)
            && can_log_in(*entry)
            && !is_owned(ownership, login, entry.number(passwd::UID))
    };
    let others = observed.passwd.entries().filter(is_other).filter_map(|entry| {
        let (login, home) = (entry.text(0)?, entry.text(passwd::HOME)?);
        let uid = entry.number(passwd::UID)?;
        Some(Other { login: login.to_owned(), uid, home: home.to_owned() })
    });
    others.collect()
}

/// Returns the accounts that can log in or become root. Accounts in shadow are judged by the day,
/// counted from 1970.
pub fn inventory(
    observed: &ObservedState,
    ownership: &Ownership,
    sources: &Sources,
    today: u64,
) -> Inventory {
    let ways = Ways::of(&observed.group, &sources.sudo);
    let mut accounts: BTreeMap<String, LocalAccount> = BTreeMap::new();
    for entry in observed.passwd.entries() {
        let login = String::from_utf8_lossy(entry.field(0)).into_owned();
        let Some(uid) = entry.number(passwd::UID) else { continue };
        if !is_first(observed, &login, entry) {
            continue;
        }
        let owned = is_owned(ownership, &login, Some(uid));
        let root_by = ways.to_root(&login, uid, entry.number(passwd::GID));
        if !can_log_in(entry) && root_by.is_empty() {
            continue;
        }
        let mut root_by: Vec<String> = root_by.iter().map(ToString::to_string).collect();
        root_by.sort();
        let keys = keys_of(observed, ownership, sources, &login, Some(uid));
        let text = |field| String::from_utf8_lossy(entry.field(field)).into_owned();
        let (password, shut) = in_shadow(&observed.shadow, &login, today);
        let gecos = text(passwd::GECOS);
        let unknown = keys.unknown.into_iter().chain(ways.unknown.clone());
        let account = LocalAccount {
            uid,
            name: gecos.split(',').next().unwrap_or_default().to_owned(),
            shell: text(passwd::SHELL),
            password,
            shut,
            keys: keys.found.into_iter().collect(),
            root_by,
            unknown: unknown.collect(),
            owned,
            login: login.clone(),
        };
        accounts.insert(login, account);
    }
    Inventory { accounts: accounts.into_values().collect(), more: 0 }
}

/// The C library finds the first of a name.
fn is_first(observed: &ObservedState, login: &str, entry: Entry<'_>) -> bool {
    observed.passwd.get(login).is_none_or(|first| first.line() == entry.line())
}

fn is_owned(ownership: &Ownership, login: &str, uid: Option<u32>) -> bool {
    let own = Login::parse(login).ok().and_then(|login| ownership.accounts.get(&login));
    own.is_some_and(|own| Some(own.uid.get()) == uid)
}

fn keys_of(
    observed: &ObservedState,
    ownership: &Ownership,
    sources: &Sources,
    login: &str,
    uid: Option<u32>,
) -> Keys {
    if is_owned(ownership, login, uid) {
        let own = observed.keys.get(login).filter(|file| file.sound);
        own.map(|file| authorized_keys::parse(&file.text)).unwrap_or_default()
    } else {
        sources.keys.get(login).cloned().unwrap_or_default()
    }
}

fn in_shadow(shadow: &Table, login: &str, today: u64) -> (LocalPassword, bool) {
    // Without a line PAM lets nobody in.
    let Some(line) = shadow.get(login) else { return (LocalPassword::None, true) };
    let password = match Password::of(line.field(shadow::PASSWORD)) {
        Password::Locked => LocalPassword::Locked,
        Password::Impossible => LocalPassword::None,
        Password::Empty => LocalPassword::Empty,
        Password::Set => LocalPassword::Set,
    };
    let expire = line.number(shadow::EXPIRE).map(u64::from);
    (password, expire.is_some_and(|day| day <= today))
}

/// How somebody is or becomes root.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum ToRoot<'a> {
    /// The number is root's.
    UidZero,
    /// Its members are as good as root.
    UnixGroup(&'a str),
    /// A rule of sudo's for these lets them run that.
    Sudo(Who, &'a str),
}

impl fmt::Display for ToRoot<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::UidZero => f.write_str("uid 0"),
            Self::UnixGroup(name) => write!(f, "Unix group {name}"),
            Self::Sudo(who, what) => write!(f, "sudo {who}: {what}"),
        }
    }
}

/// What makes somebody root, by whom it names.
#[derive(Default)]
struct Ways<'a> {
    unix_groups: BTreeMap<&'a str, BTreeSet<&'a str>>,
    by_gid: BTreeMap<u32, BTreeSet<&'a str>>,
    rules: BTreeMap<&'a Who, BTreeSet<&'a str>>,
    /// The gids of all Unix groups, for rules that name one so.
    gids: BTreeMap<&'a str, u32>,
    unknown: Option<String>,
}

impl<'a> Ways<'a> {
    fn of(all: &'a Table, sudo: &'a Sudo) -> Self {
        let mut ways = Self::default();
        match sudo {
            Sudo::Rules(rules) => {
                for Rule { who, what } in rules {
                    ways.rules.entry(who).or_default().insert(what);
                }
            }
            Sudo::Unknown(why) => ways.unknown = Some(format!("sudo: {why}")),
        }
        let named: BTreeSet<&str> = ways.rules.keys().filter_map(|who| who.unix_group()).collect();
        let numbered: BTreeSet<u32> = ways.rules.keys().filter_map(|who| who.gid()).collect();
        for entry in all.entries() {
            let (Some(name), Some(gid)) = (entry.text(0), entry.number(group::GID)) else {
                continue;
            };
            if root_equivalence(name).is_none() && !named.contains(name) && !numbered.contains(&gid)
            {
                continue;
            }
            ways.by_gid.entry(gid).or_default().insert(name);
            ways.gids.insert(name, gid);
            for member in group::members(entry) {
                ways.unix_groups.entry(member).or_default().insert(name);
            }
        }
        ways
    }

    fn to_root(&self, login: &str, uid: u32, gid: Option<u32>) -> BTreeSet<ToRoot<'a>> {
        if uid == 0 {
            return BTreeSet::from([ToRoot::UidZero]);
        }
        let primary = gid.and_then(|gid| self.by_gid.get(&gid));
        let member_of = self.unix_groups.get(login).into_iter().flatten();
        // A system account has its own Unix group, which is no gain.
        let unix_groups: BTreeSet<&'a str> = member_of
            .chain(primary.into_iter().flatten().filter(|name| **name != login))
            .copied()
            .collect();
        let mut found = BTreeSet::new();
        let mut who = vec![Who::Anybody, Who::User(login.to_owned()), Who::Uid(uid)];
        for name in unix_groups {
            if root_equivalence(name).is_some() {
                found.insert(ToRoot::UnixGroup(name));
            }
            who.push(Who::UnixGroup(name.to_owned()));
            who.extend(self.gids.get(name).map(|gid| Who::Gid(*gid)));
        }
        for who in who {
            let rules = self.rules.get(&who).into_iter().flatten();
            found.extend(rules.map(|what| ToRoot::Sudo(who.clone(), what)));
        }
        found
    }
}

#[cfg(test)]
mod tests;
