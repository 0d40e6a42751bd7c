//! The host's own guardrails. They come from its own configuration, and no bundle lifts them.

use std::{collections::BTreeSet, ops::RangeInclusive};

use muster_proto::{
    desired::AccountGrant,
    name::{AbsolutePath, Login, ObjectName},
    receipt::HostMode,
    statement::HomeMode,
};

/// What the host itself decides.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HostPolicy {
    /// Whether anything is changed; `plan` is the same either way, the keeper does not apply it.
    pub mode: HostMode,
    /// The shell of those who have none of their own.
    pub default_shell: AbsolutePath,
    /// Where homes are.
    pub home_base: AbsolutePath,
    /// The mode of homes that are made.
    pub home_mode: HomeMode,
    /// Accounts that are never touched.
    pub protected: BTreeSet<String>,
    /// Accounts that are the way in when all else fails: never touched, and expected to be there.
    pub break_glass: BTreeSet<String>,
    /// The uids that Muster may give here.
    pub uid_ranges: Vec<RangeInclusive<u32>>,
    /// Roles whose sudo rules are never taken here.
    pub refused_roles: BTreeSet<ObjectName>,
}

impl HostPolicy {
    /// Says whether this account is never touched.
    pub fn protects(&self, login: &str) -> bool {
        login == "root" || self.protected.contains(login) || self.break_glass.contains(login)
    }

    /// Says whether this uid may be given here.
    pub fn allows_uid(&self, uid: u32) -> bool {
        self.uid_ranges.iter().any(|range| range.contains(&uid))
    }

    /// Returns where an account lives.
    pub fn home_of(&self, login: &Login, grant: &AccountGrant) -> String {
        grant
            .home
            .as_ref()
            .map_or_else(|| format!("{}/{login}", self.home_base), |home| home.as_str().to_owned())
    }
}
