//! Which accounts are kept, which leave and which are refused. An account that somebody else made
//! is never taken over unless a statement names the uid found here; a refusal stops one account and
//! leaves the others alone.

mod leaving;

use std::collections::{BTreeMap, BTreeSet};

use muster_proto::{
    desired::{Account, Clash, DesiredState},
    name::{Login, Uid},
    receipt::{
        Finding,
        FindingKind::{
            self, Conflict, KnownElsewhere, NoHome, Protected, UidOutOfRange, UnknownElsewhere,
        },
    },
};

use crate::{
    format::{Entry, OldLine, group, passwd, ssh::MARKER},
    observed::{Elsewhere, Home, ObservedState},
    ownership::{Before, Origin, OwnedAccount, Ownership},
    policy::HostPolicy,
};

pub(super) use self::leaving::{Leaving, Line};
use super::{action::finding, numbers::Numbers};

/// What became of the accounts.
#[derive(Debug, Default)]
pub(super) struct Judged<'a> {
    /// Those that Muster keeps as desired.
    pub(super) kept: BTreeMap<&'a Login, Kept<'a>>,
    /// Those that shall be, are Muster's and are there otherwise than it knows them, so that nobody
    /// can say whose they are. They are given nothing, and what keeps their own keys from counting
    /// holds.
    pub(super) fenced: BTreeMap<&'a Login, &'a OwnedAccount>,
    /// Those that Muster keeps and that are no longer desired.
    pub(super) leaving: BTreeMap<&'a Login, Leaving<'a>>,
    /// Those that Muster gave something and that the host protects by now: they keep what they have.
    pub(super) untouched: BTreeSet<&'a Login>,
    /// What was refused.
    pub(super) findings: Vec<Finding>,
}

/// An account that Muster keeps.
#[derive(Debug)]
pub(super) struct Kept<'a> {
    pub(super) account: &'a Account,
    pub(super) uid: Uid,
    pub(super) gid: u32,
    pub(super) standing: Standing<'a>,
}

/// Whether an account is there.
#[derive(Clone, Debug)]
pub(super) enum Standing<'a> {
    /// It is to be created, with this home.
    New(String),
    /// It is there and becomes Muster's.
    Adopted(Entry<'a>, Before),
    /// It is there and Muster's.
    Held(Entry<'a>, &'a OwnedAccount),
}

impl Judged<'_> {
    /// Says whether there is anybody to whom our drop-in for sshd is to apply.
    pub(super) fn has_anybody(&self) -> bool {
        !self.kept.is_empty() || !self.fenced.is_empty()
    }
}

pub(super) fn judge<'a>(
    observed: &'a ObservedState,
    desired: &'a DesiredState,
    ownership: &'a Ownership,
    policy: &HostPolicy,
) -> Judged<'a> {
    let numbers = Numbers::of(observed);
    let mut judged = Judged::default();
    judged.findings.extend(desired.clashes.iter().map(clash));
    let judge = Judge { observed, desired, policy, numbers: &numbers };
    for (login, account) in &desired.accounts {
        let owned = ownership.accounts.get(login);
        if owned.is_some_and(|owned| owned.is_let_go(Some(account))) {
            continue;
        }
        match judge.account(login, account, owned) {
            Ok(kept) => {
                judged.kept.insert(login, kept);
            }
            Err(finding) => {
                judged.findings.push(finding);
                let is_there = observed.passwd.get(login.as_str()).is_some();
                if is_there && !policy.protects(login.as_str()) {
                    judged.fenced.extend(owned.map(|owned| (login, owned)));
                }
            }
        }
    }
    for (login, owned) in &ownership.accounts {
        if policy.protects(login.as_str()) {
            judged.untouched.insert(login);
        }
        if !owned.is_let_go(desired.accounts.get(login)) {
            continue;
        }
        if policy.protects(login.as_str()) {
            judged.findings.push(finding(Protected, login, "no longer desired, not locked"));
            continue;
        }
        let leaving = Leaving::of(login, owned, observed, &numbers, &mut judged.findings);
        judged.leaving.insert(login, leaving);
    }
    judged
}

fn clash(clash: &Clash) -> Finding {
    let list = |names: Vec<&str>| names.join(", ");
    match clash {
        Clash::Login(login) => {
            let detail =
                "two users have this login, or its user's uid is not the one that it has here";
            finding(FindingKind::Clash, login, detail)
        }
        Clash::Uid(uid, logins) => {
            let detail = list(logins.iter().map(Login::as_str).collect());
            finding(FindingKind::Clash, uid, format!("one uid for {detail}"))
        }
        Clash::UnixGroup(name) => {
            finding(FindingKind::Clash, name, "one Unix group with two shapes")
        }
        Clash::Gid(gid, names) => {
            let detail =
                list(names.iter().map(muster_proto::name::UnixGroupName::as_str).collect());
            finding(FindingKind::Clash, gid, format!("one gid for {detail}"))
        }
    }
}

struct Judge<'a, 'b> {
    observed: &'a ObservedState,
    desired: &'a DesiredState,
    policy: &'b HostPolicy,
    numbers: &'b Numbers<'a>,
}

impl<'a> Judge<'a, '_> {
    fn account(
        &self,
        login: &'a Login,
        account: &'a Account,
        owned: Option<&'a OwnedAccount>,
    ) -> Result<Kept<'a>, Finding> {
        if self.policy.protects(login.as_str()) {
            return Err(finding(Protected, login, "the host protects this account"));
        }
        match (self.observed.passwd.get(login.as_str()), owned) {
            (None, owned) => self.creation(login, account, owned),
            (Some(entry), Some(owned)) => held(login, account, entry, owned),
            (Some(entry), None) => self.adoption(login, account, entry),
        }
    }

    fn creation(
        &self,
        login: &'a Login,
        account: &'a Account,
        owned: Option<&OwnedAccount>,
    ) -> Result<Kept<'a>, Finding> {
        let refuse = |kind: FindingKind, detail: String| Err(finding(kind, login, detail));
        let uid = account.grant.uid;
        if let Some(owned) = owned {
            if owned.origin != Origin::Created || owned.uid != uid {
                return refuse(Conflict, format!("it had uid {} here and is gone", owned.uid));
            }
        } else if account.adopts.is_some() {
            return refuse(Conflict, "there is no such account to adopt".to_owned());
        }
        if !self.policy.allows_uid(uid.get()) {
            return refuse(UidOutOfRange, format!("this host does not give uid {uid}"));
        }
        if let Some(other) = self.numbers.logins.names(uid.get()).next() {
            return refuse(Conflict, format!("uid {uid} is `{other}`'s"));
        }
        let mut ranges = self.observed.subordinate.iter();
        if let Some(range) = ranges.find(|range| range.contains(uid.get())) {
            let detail = format!("`{}` may run as {uid} by /etc/subuid or subgid", range.owner);
            return refuse(Conflict, detail);
        }
        let group = self.observed.group.get(login.as_str());
        let own_group = owned.is_some()
            && group.is_some_and(|group| group.number(group::GID) == Some(uid.get()));
        if group.is_some() && !own_group {
            return refuse(Conflict, "there is a Unix group of this name".to_owned());
        }
        if let Some(other) = self.numbers.groups.names(uid.get()).next()
            && !own_group
        {
            return refuse(Conflict, format!("gid {uid} is the Unix group `{other}`'s"));
        }
        let claims = |group: &muster_proto::desired::UnixGroupGrant| {
            group.name.as_str() == login.as_str() || group.gid.get() == uid.get()
        };
        if let Some(group) = self.desired.unix_groups.values().find(|group| claims(group)) {
            let detail = format!("the Unix group `{}` has its name or number", group.name);
            return refuse(Conflict, detail);
        }
        if owned.is_none() && self.observed.shadow.get(login.as_str()).is_some() {
            return refuse(Conflict, "shadow has a line for it, passwd has none".to_owned());
        }
        match self.observed.elsewhere(login) {
            Elsewhere::Nobody => {}
            Elsewhere::Known(source) => {
                return refuse(KnownElsewhere, format!("another source answers: {source}"));
            }
            Elsewhere::Unknown(reason) => {
                return refuse(UnknownElsewhere, format!("a source cannot be asked: {reason}"));
            }
        }
        match self.observed.homes.get(login) {
            Some(Home::Absent) => {}
            Some(Home::Directory(whose)) if owned.is_some() && *whose == uid.get() => {}
            Some(Home::Directory(whose)) => {
                return refuse(Conflict, format!("its home is there and is uid {whose}'s"));
            }
            Some(Home::Other) => {
                return refuse(Conflict, "where its home shall be is something else".to_owned());
            }
            Some(Home::NoPlace) | None => {
                let detail = "the directory of its home is missing, a link or not root's alone";
                return refuse(NoHome, detail.to_owned());
            }
        }
        let given = owned.and_then(|owned| owned.home.as_ref());
        let home =
            given.map_or_else(|| self.policy.home_of(login, &account.grant), ToString::to_string);
        Ok(Kept { account, uid, gid: uid.get(), standing: Standing::New(home) })
    }

    fn adoption(
        &self,
        login: &'a Login,
        account: &'a Account,
        entry: Entry<'a>,
    ) -> Result<Kept<'a>, Finding> {
        let found = entry.number(passwd::UID);
        let refuse = |detail: String| Err(finding(Conflict, login, detail));
        let shown = found.map_or_else(|| "no uid".to_owned(), |uid| format!("uid {uid}"));
        let Some(uid) = account.adopts else {
            return refuse(format!("an account with {shown} is there, and no adoption names it"));
        };
        if found != Some(uid.get()) {
            return refuse(format!("an account with {shown} is there, the adoption names {uid}"));
        }
        if self.numbers.logins.names(uid.get()).count() > 1 {
            return refuse(format!("several logins have uid {uid}"));
        }
        // Programs disagree about which line counts, and with one of them taken out another would.
        for (file, table) in [("passwd", &self.observed.passwd), ("shadow", &self.observed.shadow)]
        {
            if table.all(login.as_str()).nth(1).is_some() {
                return refuse(format!("{file} has several lines for it: leave one"));
            }
        }
        let shadow = self.observed.shadow.get(login.as_str()).and_then(OldLine::of);
        let (Some(gid), Some(passwd), Some(shadow)) =
            (entry.number(passwd::GID), OldLine::of(entry), shadow)
        else {
            return refuse("its lines in passwd and shadow are not sound".to_owned());
        };
        if gid == 0 {
            return refuse("its primary Unix group is root's".to_owned());
        }
        let unix_groups = self.unix_groups_of(login);
        let before = Before { passwd, shadow, unix_groups };
        Ok(Kept { account, uid, gid, standing: Standing::Adopted(entry, before) })
    }

    /// The supplementary Unix groups that an account is in, but for the marker.
    fn unix_groups_of(&self, login: &Login) -> BTreeSet<String> {
        let is_member = |entry: &Entry<'_>| group::members(*entry).any(|m| m == login.as_str());
        let entries = self.observed.group.entries().filter(is_member);
        let names = entries.filter_map(|entry| entry.text(0));
        names.filter(|name| *name != MARKER).map(str::to_owned).collect()
    }
}

fn held<'a>(
    login: &'a Login,
    account: &'a Account,
    entry: Entry<'a>,
    owned: &'a OwnedAccount,
) -> Result<Kept<'a>, Finding> {
    let refuse = |detail: String| Err(finding(Conflict, login, detail));
    if entry.number(passwd::UID) != Some(owned.uid.get()) {
        return refuse(format!(
            "its uid is not {} any more: it has no key and no sudo rule until that is put right",
            owned.uid
        ));
    }
    if owned.origin == Origin::Created && owned.uid != account.grant.uid {
        return refuse(format!(
            "it has uid {} here and shall have {}",
            owned.uid, account.grant.uid
        ));
    }
    let gid = match owned.origin {
        Origin::Created => Some(owned.uid.get()),
        Origin::Adopted(_) => entry.number(passwd::GID),
    };
    let Some(gid) = gid else {
        return refuse("its line in passwd is not sound".to_owned());
    };
    Ok(Kept { account, uid: owned.uid, gid, standing: Standing::Held(entry, owned) })
}
