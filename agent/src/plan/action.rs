//! Actions: each holds everything that is needed to do it, so that doing it takes no decision.

use std::{
    collections::{BTreeMap, BTreeSet},
    ops::RangeInclusive,
};

use muster_proto::{
    name::Login,
    receipt::{Finding, FindingKind},
    statement::UserKind,
    time::Timestamp,
};

use crate::{format::Edit, ownership::Ownership};

/// What is to be done, in order, and what people should know.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Plan {
    /// In the order in which it is done.
    pub actions: Vec<Planned>,
    /// What was refused, found or could not be met.
    pub findings: Vec<Finding>,
    /// What is Muster's if all goes well: to be saved before anything is done.
    pub ownership_after: Ownership,
}

/// One action with its place and its words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Planned {
    /// Whether it takes or gives.
    pub phase: Phase,
    /// What to do.
    pub action: Action,
    /// What to say of it.
    pub notes: Vec<Note>,
}

/// Taking away comes before giving.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Phase {
    /// Something is taken away.
    Take,
    /// Something is given.
    Give,
}

/// What an outcome will say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Note {
    /// A stable word such as `account-locked`.
    pub word: &'static str,
    /// The login, Unix group or role concerned.
    pub subject: String,
    /// What exactly.
    pub detail: String,
}

/// One thing to do on a host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// Other sudo files, by name.
    Sudo(Files),
    /// Other lines in the account files: one rewrite of each file.
    Accounts(AccountEdits),
    /// Other key files, by login.
    Keys(Files),
    /// Lingering off, crontabs and at jobs set aside, time stamps of sudo's gone.
    Jobs(Vec<Leaver>),
    /// Sessions and processes ended.
    Sessions(Vec<Leaver>),
    /// What is left of locked accounts looked for and told.
    LeftBehind(Vec<Departed>),
    /// Accounts gone for good, with their homes.
    Purge(Vec<Purged>),
    /// Some more of what was in such homes removed, in the place of homes.
    Sweep(String),
    /// New homes.
    Homes(Vec<NewHome>),
    /// Another drop-in for sshd, or none.
    DropIn(Files),
    /// Another drop-in for libpwquality.
    PasswordPolicy(Files),
}

/// Edits of the account files.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AccountEdits {
    /// Of gshadow, written first.
    pub gshadow: Vec<Edit>,
    /// Of group.
    pub group: Vec<Edit>,
    /// Of shadow.
    pub shadow: Vec<Edit>,
    /// Of passwd, written last: a line there is what makes an account.
    pub passwd: Vec<Edit>,
}

/// Files of one directory.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Files {
    /// The whole texts of files that are to be.
    pub write: BTreeMap<String, String>,
    /// Files that are to go.
    pub remove: BTreeSet<String>,
}

/// Somebody whose processes or jobs end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Leaver {
    /// The login.
    pub login: Login,
    /// The uid.
    pub uid: u32,
    /// Whether what has that number is its own too, and no other login's alone.
    pub has_its_uid: bool,
    /// The numbers that it alone may run as inside user namespaces.
    pub subuids: Vec<RangeInclusive<u32>>,
    /// What becomes of the account.
    pub ending: Ending,
}

/// What becomes of an account whose sessions end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// It is locked as its kind is, and nothing of it may be left.
    Locked(UserKind),
    /// It stays, and what is new may come at once.
    Kept,
}

/// A locked account of which it is to be told what it leaves behind.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Departed {
    /// The login.
    pub login: Login,
    /// The uid.
    pub uid: u32,
    /// Its home, as passwd has it.
    pub home: Option<String>,
    /// The numbers that it alone may run as inside user namespaces.
    pub subuids: Vec<RangeInclusive<u32>>,
    /// When it was locked.
    pub at: Timestamp,
}

/// A locked account that goes for good.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Purged {
    /// The login.
    pub login: Login,
    /// The uid.
    pub uid: u32,
    /// The numbers that it alone may run as inside user namespaces.
    pub subuids: Vec<RangeInclusive<u32>>,
    /// Its home, if that is one that may go with it.
    pub home: Option<String>,
    /// Its lines, and its name in the lines of Unix groups.
    pub edits: AccountEdits,
}

/// A home to be built.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewHome {
    /// Whose.
    pub login: Login,
    /// The uid.
    pub uid: u32,
    /// The primary gid.
    pub gid: u32,
    /// Where.
    pub path: String,
    /// The mode.
    pub mode: u32,
}

impl Plan {
    /// Says whether there is nothing to do.
    pub fn is_empty(&self) -> bool {
        self.actions.is_empty()
    }
}

impl AccountEdits {
    /// Says whether there is nothing to edit.
    pub fn is_empty(&self) -> bool {
        let Self { gshadow, group, shadow, passwd } = self;
        gshadow.is_empty() && group.is_empty() && shadow.is_empty() && passwd.is_empty()
    }

    /// Adds other edits after these.
    pub fn extend(&mut self, other: &Self) {
        let Self { gshadow, group, shadow, passwd } = other;
        self.gshadow.extend_from_slice(gshadow);
        self.group.extend_from_slice(group);
        self.shadow.extend_from_slice(shadow);
        self.passwd.extend_from_slice(passwd);
    }
}

impl Files {
    /// Says whether there is nothing to write or remove.
    pub fn is_empty(&self) -> bool {
        self.write.is_empty() && self.remove.is_empty()
    }
}

/// Makes a note.
pub(super) fn note(
    word: &'static str,
    subject: &(impl ToString + ?Sized),
    detail: impl Into<String>,
) -> Note {
    Note { word, subject: subject.to_string(), detail: detail.into() }
}

/// Makes a finding.
pub(super) fn finding(
    kind: FindingKind,
    subject: &(impl ToString + ?Sized),
    detail: impl Into<String>,
) -> Finding {
    Finding { kind: kind.into(), subject: subject.to_string(), detail: detail.into() }
}
