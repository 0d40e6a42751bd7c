//! The accounts for an emergency: whether each still lets somebody in and makes him root, as far as
//! that can be seen. Nobody who loses a right is kept for want of one, so that one of them has to
//! work at any time. Pure; what could not be learnt is taken to work. `doctor` looks closer.

use std::collections::{BTreeMap, BTreeSet};

use muster_proto::{
    drift::{DriftKind, Severity},
    inventory::LocalPassword,
    receipt::{Finding, FindingKind},
};

use super::{Sources, Sudo, ToRoot, Ways, in_shadow, keys_of};
use crate::{
    drift::{Difference, What, ungranted::can_log_in},
    format::{Entry, Table, passwd},
    observed::ObservedState,
    ownership::Ownership,
    policy::AccountName,
};

/// Unix groups by which somebody becomes root at once: the others that are as good as root only read
/// or write what leads there some day. Of `sudo` and `wheel` sudo's own rules tell.
const AT_ONCE: &[&str] = &["docker", "lxd", "incus-admin", "disk", "libvirt", "libvirtd"];

/// What the accounts for an emergency have come to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Emergency {
    named: usize,
    faults: BTreeMap<AccountName, String>,
}

impl Emergency {
    /// Looks at the accounts of these names. Those in shadow are judged by the day, counted from
    /// 1970.
    pub fn of(
        names: &BTreeSet<AccountName>,
        observed: &ObservedState,
        ownership: &Ownership,
        sources: &Sources,
        today: u64,
    ) -> Self {
        let faults = names.iter().filter_map(|name| {
            Some((name.clone(), fault(name.as_str(), observed, ownership, sources, today)?))
        });
        Self { named: names.len(), faults: faults.collect() }
    }

    /// Says whether accounts are named and none of them works.
    fn none_is_left(&self) -> bool {
        self.named > 0 && self.faults.len() == self.named
    }

    /// Tells of each that does not work, and when none that does is left.
    pub fn findings(&self) -> impl Iterator<Item = Finding> {
        let none_left = if self.none_is_left() { "; none that works is left" } else { "" };
        self.faults.iter().map(move |(name, why)| Finding {
            kind: FindingKind::BreakGlass.into(),
            subject: name.to_string(),
            detail: format!("the way in for an emergency {why}{none_left}"),
        })
    }

    /// Tells the same as what nobody granted, once none is left: nobody may be able to mend this host
    /// any more, and whoever did that is to be known.
    pub fn differences(&self) -> Vec<Difference> {
        if !self.none_is_left() {
            return Vec::new();
        }
        let differences = self.faults.iter().map(|(name, why)| Difference {
            what: What::new(DriftKind::BreakGlass, name.as_str(), ""),
            expected: "a way in and to root for an emergency".to_owned(),
            found: why.clone(),
            severity: Severity::Critical,
        });
        differences.collect()
    }
}

/// Returns why nobody gets in and to root by an account, if nobody does.
fn fault(
    login: &str,
    observed: &ObservedState,
    ownership: &Ownership,
    sources: &Sources,
    today: u64,
) -> Option<String> {
    let Some(entry) = observed.passwd.get(login) else {
        return Some("is no account of this host".to_owned());
    };
    let shell = entry.text(passwd::SHELL).unwrap_or_default();
    if !can_log_in(entry) || matches!(shell.rsplit('/').next(), Some("nologin" | "false")) {
        return Some(format!("cannot be used: its shell is `{shell}`"));
    }
    let (password, shut) = in_shadow(&observed.shadow, login, today);
    if shut {
        let has_line = observed.shadow.get(login).is_some();
        let why = if has_line { "it has expired" } else { "it has no line in shadow" };
        return Some(format!("cannot be used: {why}"));
    }
    let keys = keys_of(observed, ownership, sources, login, entry.number(passwd::UID));
    if !password.lets_in() && keys.found.is_empty() && keys.unknown.is_empty() {
        let why = match password {
            LocalPassword::Locked => "it is locked and has no key",
            _ => "it has neither a password nor a key",
        };
        return Some(format!("cannot be used: {why}"));
    }
    (!becomes_root(entry, &observed.group, &observed.shadow, &sources.sudo))
        .then(|| format!("does not become root: {NO_WAY}"))
}

/// What an account lacks that does not become root.
pub const NO_WAY: &str = "no rule of sudo's and no Unix group makes it, nor has root a password";

/// Says whether whoever uses this account becomes root, as far as that can be known. Whether sudo
/// then asks for a password that there is not is PAM's to decide, and not looked into.
pub fn becomes_root(account: Entry<'_>, group: &Table, shadow: &Table, sudo: &Sudo) -> bool {
    let (Some(login), Some(uid)) = (account.text(0), account.number(passwd::UID)) else {
        return false;
    };
    let ways = Ways::of(group, sudo);
    let leads = |way: &ToRoot<'_>| match way {
        ToRoot::UnixGroup(name) => AT_ONCE.contains(name),
        ToRoot::UidZero | ToRoot::Sudo(..) => true,
    };
    // Whoever knows root's password gets there by `su`, if there is one.
    let (of_root, _) = in_shadow(shadow, "root", 0);
    of_root.lets_in()
        || ways.unknown.is_some()
        || ways.to_root(login, uid, account.number(passwd::GID)).iter().any(leads)
}

#[cfg(test)]
mod tests;
