//! Which accounts and Unix groups of a host are Muster's: plain data. It is saved as a plan intends
//! it before anything is changed, so that what a crash leaves behind is known as ours, and as it
//! came out afterwards. Accounts that are not in here are never changed.

use std::collections::{BTreeMap, BTreeSet};

use muster_proto::{
    desired::Account,
    name::{AbsolutePath, Gid, Login, Uid, UnixGroupName},
    statement::{UnixGroupMode, UserKind},
    time::Timestamp,
};

use crate::format::{OldLine, Table, passwd};

/// What is Muster's on this host.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ownership {
    /// The accounts, locked ones too.
    pub accounts: BTreeMap<Login, OwnedAccount>,
    /// The Unix groups that Muster created, but for primary ones and the marker.
    pub unix_groups: BTreeMap<UnixGroupName, Gid>,
}

/// One account of Muster's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OwnedAccount {
    /// Its uid here; an account of this login with another uid is given nothing, and locked when the
    /// login is no longer desired.
    pub uid: Uid,
    /// How it became Muster's.
    pub origin: Origin,
    /// The home that Muster gave it, which no other one moves; nothing for an adopted account, and
    /// until a look for one from before this was taken down.
    pub home: Option<AbsolutePath>,
    /// Which lock it gets.
    pub kind: UserKind,
    /// How its supplementary Unix groups were kept last.
    pub mode: UnixGroupMode,
    /// The supplementary Unix groups that Muster gave it.
    pub given: BTreeSet<UnixGroupName>,
    /// Whether sessions from before a loss may still run.
    pub sessions_owed: bool,
    /// When it was locked, once it has been told what is left of it; nothing while it is desired.
    pub locked_at: Option<Timestamp>,
}

/// How an account became Muster's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// Muster created it.
    Created,
    /// It was there, and this is what leaving gives back.
    Adopted(Before),
}

/// What an account was before it was adopted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Before {
    /// Its line in passwd.
    pub passwd: OldLine,
    /// Its line in shadow.
    pub shadow: OldLine,
    /// The supplementary Unix groups that it was in.
    pub unix_groups: BTreeSet<String>,
}

impl Ownership {
    /// Takes down where created accounts live of which that is not known yet, and says whether there
    /// were any.
    pub fn take_down_homes(&mut self, passwd: &Table) -> bool {
        let mut any = false;
        for (login, owned) in &mut self.accounts {
            if owned.home.is_some() || owned.origin != Origin::Created {
                continue;
            }
            let entry = passwd.get(login.as_str());
            let own = entry.filter(|entry| entry.number(passwd::UID) == Some(owned.uid.get()));
            let home = own.and_then(|entry| entry.text(passwd::HOME));
            owned.home = home.and_then(|home| AbsolutePath::parse(home).ok());
            any |= owned.home.is_some();
        }
        any
    }
}

impl OwnedAccount {
    /// Says whether it is Muster's no longer to keep: nobody is to have it, or no adoption names it
    /// any more. It is locked then, whatever else its user still has.
    pub fn is_let_go(&self, desired: Option<&Account>) -> bool {
        match &self.origin {
            Origin::Created => desired.is_none(),
            Origin::Adopted(_) => desired.is_none_or(|account| account.adopts.is_none()),
        }
    }
}
