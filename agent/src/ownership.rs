//! Which accounts and Unix groups of a host are Muster's: plain data. It is saved as a plan intends
//! it before anything is changed, so that what a crash leaves behind is known as ours, and as it
//! came out afterwards. Accounts that are not in here are never changed.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
};

use muster_proto::{
    name::{Gid, Login, Uid, UnixGroupName},
    statement::{UnixGroupMode, UserKind},
    time::Timestamp,
};

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
    /// Its uid here; an account of this login with another uid is not ours.
    pub uid: Uid,
    /// How it became Muster's.
    pub origin: Origin,
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
#[derive(Clone, PartialEq, Eq)]
pub enum Origin {
    /// Muster created it.
    Created,
    /// It was there; these were its lines, which leaving gives back.
    Adopted {
        /// Its line in passwd.
        passwd: String,
        /// Its line in shadow.
        shadow: String,
    },
}

impl fmt::Debug for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The shadow line holds a hash.
        f.write_str(match self {
            Self::Created => "Created",
            Self::Adopted { .. } => "Adopted",
        })
    }
}
