//! Uids and gids of Muster's that are others by now. A uid is never put right, and a gid not while
//! another has it, so that they are read off what is Muster's rather than off a plan.

use muster_proto::{
    desired::DesiredState,
    drift::{DriftKind, Severity},
    privilege::is_root_equivalent,
};

use super::{Found, lossy};
use crate::{
    drift::What,
    format::{Entry, group, passwd},
    observed::ObservedState,
    ownership::Ownership,
};

impl Found {
    /// Accounts of Muster's that have another uid by now: nobody can say whose they are, so that no
    /// uid is put right.
    pub(super) fn uids(&mut self, observed: &ObservedState, ownership: &Ownership) {
        for (login, owned) in &ownership.accounts {
            let entry = observed.passwd.get(login.as_str());
            let Some(entry) = entry else { continue };
            let found = entry.number(passwd::UID);
            if found != Some(owned.uid.get()) {
                let severity = if found == Some(0) { Severity::Critical } else { Severity::High };
                let what = What::new(DriftKind::AccountChanged, login.as_str(), "uid");
                self.add(what, owned.uid.to_string(), lossy(entry.field(passwd::UID)), severity);
            }
        }
    }

    /// Unix groups of Muster's that have another gid, whether that can be put right or not.
    pub(super) fn gids(
        &mut self,
        observed: &ObservedState,
        desired: &DesiredState,
        ownership: &Ownership,
    ) {
        let ours = ownership.unix_groups.iter();
        let wanted = ours.filter(|(name, gid)| {
            desired.unix_groups.get(*name).is_some_and(|wanted| wanted.gid == **gid)
        });
        for (name, gid) in wanted {
            let Some(entry) = observed.group.get(name.as_str()) else { continue };
            let found = entry.number(group::GID);
            if found != Some(gid.get()) {
                let what = What::new(DriftKind::UnixGroupChanged, name.as_str(), "gid");
                let is = lossy(entry.field(group::GID));
                self.add(what, gid.to_string(), is, gives(observed, found));
            }
        }
    }
}

/// Says how grave it is that an account has the primary Unix group that it has.
pub(super) fn primary(observed: &ObservedState, login: &str) -> Severity {
    gives(observed, observed.passwd.get(login).and_then(|entry| entry.number(passwd::GID)))
}

/// Says how grave it is to have a gid that is another's.
fn gives(observed: &ObservedState, gid: Option<u32>) -> Severity {
    let is_it = |entry: &Entry<'_>| gid.is_some() && entry.number(group::GID) == gid;
    let mut names = observed.group.entries().filter(is_it).filter_map(|entry| entry.text(0));
    if gid == Some(0) || names.any(is_root_equivalent) {
        Severity::Critical
    } else {
        Severity::High
    }
}
