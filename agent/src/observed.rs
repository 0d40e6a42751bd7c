//! What a host has, read once: plain data, filled by `host`, judged by `plan`. Nothing in here is
//! a decision, and what could not be learnt is said to be unknown rather than absent.

use std::{
    collections::{BTreeMap, BTreeSet},
    ops::RangeInclusive,
};

use muster_proto::{desired::DesiredState, id::Digest, name::Login};

use crate::{
    format::{Table, pwquality::Check, subid},
    ownership::Ownership,
    policy::HostPolicy,
};

/// What has to be looked at, so that a look costs no more than it must.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Scope {
    /// The accounts that shall be.
    pub wanted: BTreeMap<Login, Wanted>,
    /// The accounts that Muster keeps and that shall be no longer, with the uids that they had.
    pub leaving: BTreeMap<Login, u32>,
    /// Where homes are.
    pub home_base: String,
    /// The uids whose processes matter, and whose they are.
    pub uids: BTreeMap<u32, Login>,
    /// Whether it matters how long new passwords have to be.
    pub passwords: Passwords,
}

/// Whether it matters how long new passwords have to be.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Passwords {
    /// No role that an account is to have says anything of it.
    #[default]
    OfAnyLength,
    /// One does.
    OfSomeLength,
}

/// An account that shall be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wanted {
    /// Its uid.
    pub uid: u32,
    /// Its home.
    pub home: WantedHome,
}

/// Where the home of an account is to be looked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum WantedHome {
    /// There, whatever passwd says.
    Given(String),
    /// Where passwd says, and there if it says nothing.
    Found(String),
}

impl WantedHome {
    /// Returns the place to look at, with what passwd says.
    pub fn place<'a>(&'a self, found: Option<&'a str>) -> &'a str {
        match self {
            Self::Given(home) => home,
            Self::Found(home) => found.unwrap_or(home),
        }
    }
}

/// What a host has.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ObservedState {
    /// `/etc/passwd`.
    pub passwd: Table,
    /// `/etc/shadow`.
    pub shadow: Table,
    /// `/etc/group`.
    pub group: Table,
    /// `/etc/gshadow`, which some systems do not have.
    pub gshadow: Option<Table>,
    /// Numbers that local users may run as, of `/etc/subuid` and of `/etc/subgid`.
    pub subordinate: Vec<subid::Range>,
    /// The numbers that an account in scope alone may run as inside user namespaces.
    pub own_subuids: BTreeMap<Login, Vec<RangeInclusive<u32>>>,
    /// What is where the homes of the wanted accounts are.
    pub homes: BTreeMap<Login, Home>,
    /// The key files, by name.
    pub keys: BTreeMap<String, RootFile>,
    /// Our sudo files, by name; absent where there is no `/etc/sudoers.d`.
    pub sudo: Option<BTreeMap<String, RootFile>>,
    /// The digests of sudo files that are not ours, by name; `sudoers` is `/etc/sudoers`.
    pub foreign_sudo: BTreeMap<String, Content>,
    /// The digests of root's own files of keys, by name, as far as there is anything in them.
    pub root_keys: BTreeMap<String, Content>,
    /// The drop-in.
    pub drop_in: DropIn,
    /// Our drop-in for libpwquality, by its name.
    pub password_policy: BTreeMap<String, RootFile>,
    /// Who sees to how long new passwords are, if it matters.
    pub password_check: Check,
    /// Whether the sshd here takes an `expiry-time` in UTC, as OpenSSH does since 9.1.
    pub sshd_knows_utc: bool,
    /// What other sources of accounts say of wanted ones that passwd does not have.
    pub elsewhere: BTreeMap<Login, Elsewhere>,
    /// Processes of the uids in scope, those inside their user namespaces too.
    pub running: BTreeMap<u32, Running>,
    /// Leaving accounts that linger or have a crontab, at jobs or a time stamp of sudo's, by their
    /// login or by the uid that they had unless that is another login's by now.
    pub jobs: BTreeSet<Login>,
    /// Whether homes that were purged are yet to be removed.
    pub purging: bool,
    /// Places of jobs that could not be looked into, since they are links.
    pub unseen_jobs: BTreeSet<String>,
    /// Wanted accounts whose jobs were set aside when they were locked.
    pub set_aside: BTreeSet<Login>,
}

/// What is in a file that somebody else keeps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Content {
    /// The digest of its text.
    Read(Digest),
    /// Whoever it is for may read something that is not read here, as behind a link. The digest of
    /// what there is to see of it.
    Unread(Digest),
}

/// What is where a home should be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Home {
    /// Nothing, and its directory is root's alone.
    Absent,
    /// A directory of this owner.
    Directory(u32),
    /// Something else.
    Other,
    /// The directory that would hold it is missing, a link or writable for others.
    NoPlace,
}

/// A file of root's that Muster keeps.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RootFile {
    /// What is in it.
    pub text: Vec<u8>,
    /// Whether it is a regular file of root's with the right mode.
    pub sound: bool,
}

/// The drop-in for sshd.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum DropIn {
    /// sshd has no directory for it.
    #[default]
    NoPlace,
    /// It is not there.
    Absent,
    /// It is there.
    Present(RootFile),
}

/// What the other sources in nsswitch.conf say of a login or its uid.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Elsewhere {
    /// Nobody has it.
    Nobody,
    /// Another source has it.
    Known(String),
    /// A source could not be asked.
    Unknown(String),
}

/// Processes of a uid.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Running {
    /// How many.
    pub processes: u32,
    /// The Unix groups that any of them holds that is nobody else's as well.
    pub unix_groups: BTreeSet<u32>,
}

impl Scope {
    /// Returns what has to be looked at for a desired state.
    pub fn of(desired: &DesiredState, ownership: &Ownership, policy: &HostPolicy) -> Self {
        let wanted = desired.accounts.iter().map(|(login, account)| {
            let uid = account.adopts.unwrap_or(account.grant.uid).get();
            let given = ownership.accounts.get(login).and_then(|owned| owned.home.as_ref());
            let home = given.map_or_else(
                || WantedHome::Found(policy.home_of(login, &account.grant)),
                |home| WantedHome::Given(home.to_string()),
            );
            (login.clone(), Wanted { uid, home })
        });
        let lengths = desired.accounts.values().filter_map(|account| account.password);
        let passwords = if lengths.into_iter().any(|policy| policy.min_length > 0) {
            Passwords::OfSomeLength
        } else {
            Passwords::OfAnyLength
        };
        let leaving = ownership.accounts.iter();
        let leaving = leaving.filter(|(login, own)| own.is_let_go(desired.accounts.get(*login)));
        Self {
            wanted: wanted.collect(),
            passwords,
            home_base: policy.home_base.as_str().to_owned(),
            leaving: leaving.map(|(login, owned)| (login.clone(), owned.uid.get())).collect(),
            uids: ownership
                .accounts
                .iter()
                .map(|(l, owned)| (owned.uid.get(), l.clone()))
                .collect(),
        }
    }
}

impl ObservedState {
    /// Returns what the other sources say of a login; what was not asked is unknown.
    pub fn elsewhere(&self, login: &Login) -> Elsewhere {
        let unasked = || Elsewhere::Unknown("it was not asked for".to_owned());
        self.elsewhere.get(login).cloned().unwrap_or_else(unasked)
    }
}
