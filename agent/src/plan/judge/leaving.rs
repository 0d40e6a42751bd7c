//! An account that is no longer desired: whether it still is as Muster knew it, and what of it is its
//! own. Whatever else is found, its login is locked.

use muster_proto::{
    name::Login,
    receipt::{
        Finding,
        FindingKind::{AccountMissing, Conflict, UidShared},
    },
};

use crate::{
    format::passwd,
    observed::ObservedState,
    ownership::OwnedAccount,
    plan::{action::finding, numbers::Numbers},
};

/// An account that is no longer desired.
#[derive(Debug)]
pub(in crate::plan) struct Leaving<'a> {
    pub(in crate::plan) owned: &'a OwnedAccount,
    pub(in crate::plan) line: Line,
    /// Whether no other login has its uid, so that its processes are its own.
    pub(in crate::plan) alone: bool,
}

/// What passwd has of an account that is no longer desired.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::plan) enum Line {
    /// A line with its uid.
    Own,
    /// A line with another one: it may be somebody else's by now.
    Renumbered,
    /// None.
    Gone,
}

impl<'a> Leaving<'a> {
    /// Whoever has another uid by now leaves by login: it is the login that is no longer desired, and
    /// nobody else is ever given it. Of processes only those under the uid that it had are its own.
    pub(super) fn of(
        login: &Login,
        owned: &'a OwnedAccount,
        observed: &ObservedState,
        numbers: &Numbers<'_>,
        findings: &mut Vec<Finding>,
    ) -> Self {
        let uid = owned.uid;
        // Its processes go on without its line, and its number must not be somebody else's by now.
        let alone = !numbers.logins.names(uid.get()).any(|name| name != login.as_str());
        let line = match observed.passwd.get(login.as_str()) {
            None => {
                let detail = format!("no longer desired, and uid {uid} has no passwd line");
                findings.push(finding(AccountMissing, login, detail));
                Line::Gone
            }
            Some(entry) if entry.number(passwd::UID) == Some(uid.get()) => Line::Own,
            Some(entry) => {
                let found = String::from_utf8_lossy(entry.field(passwd::UID));
                let detail = format!(
                    "locked, but its uid is `{found}` and not {uid}: what runs as `{found}` goes on"
                );
                findings.push(finding(Conflict, login, detail));
                Line::Renumbered
            }
        };
        if !alone && line != Line::Gone {
            let detail = format!("another login has uid {uid} too: no process is ended");
            findings.push(finding(UidShared, login, detail));
        }
        Self { owned, line, alone }
    }

    /// Says whether jobs under its uid are its own too, rather than another login's alone.
    pub(in crate::plan) fn has_its_uid(&self) -> bool {
        self.line == Line::Own || self.alone
    }
}
