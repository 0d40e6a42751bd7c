//! The host's own guardrails. They come from its own configuration, and no bundle lifts them.

use std::{
    borrow::{Borrow, Cow},
    collections::BTreeSet,
    fmt,
    ops::RangeInclusive,
};

use muster_proto::{
    desired::AccountGrant,
    name::{AbsolutePath, Login, ObjectName},
    receipt::HostMode,
    statement::HomeMode,
};

use crate::{accepted_keys::AcceptedKeys, clock::Time};

/// Seconds within which clocks must agree for anything to go for good.
const AGREE: u64 = 86_400;

/// The name of an account that a host has already, perhaps by other rules than Muster's: the
/// system's own such as `_apt`, or a `John.Doe`. One word that can stand in passwd.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct AccountName(String);

/// Why a text is not the name of an account.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{0}` cannot be an account's name: one word of at most 256 bytes without `:`, `,` or `/`, \
     that begins with a letter, a digit or `_`"
)]
pub struct BadAccountName(String);

impl AccountName {
    /// The most bytes: no system takes more (`LOGIN_NAME_MAX`).
    pub const MOST_BYTES: usize = 256;

    /// Reads a name.
    pub fn parse(text: &str) -> Result<Self, BadAccountName> {
        let begins = text.chars().next().is_some_and(|c| c.is_alphanumeric() || c == '_');
        let parts = |c: char| c.is_whitespace() || c.is_control() || matches!(c, ':' | ',' | '/');
        if begins && text.len() <= Self::MOST_BYTES && !text.contains(parts) {
            Ok(Self(text.to_owned()))
        } else {
            Err(BadAccountName(text.escape_debug().take(120).collect()))
        }
    }

    /// Returns the name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for AccountName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A login is looked up as it is written.
impl Borrow<str> for AccountName {
    fn borrow(&self) -> &str {
        &self.0
    }
}

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
    pub protected: BTreeSet<AccountName>,
    /// Accounts that are the way in when all else fails: never touched, and expected to be there.
    pub break_glass: BTreeSet<AccountName>,
    /// The uids that Muster may give here.
    pub uid_ranges: Vec<RangeInclusive<u32>>,
    /// For how many days an account that Muster made stays after its lock; for ever without it.
    pub purge_after_days: Option<u64>,
    /// Roles whose sudo rules are never taken here.
    pub refused_roles: BTreeSet<ObjectName>,
    /// Which keys may log in here.
    pub accepted_keys: AcceptedKeys,
}

impl HostPolicy {
    /// Says whether this account is never touched.
    pub fn protects(&self, login: &str) -> bool {
        login == "root" || self.protected.contains(login) || self.break_glass.contains(login)
    }

    /// Returns what holds while the clocks say this: what goes for good goes only while all of them
    /// agree, since one that was set ahead must delete nothing.
    pub fn at(&self, time: &Time) -> Cow<'_, Self> {
        if self.purge_after_days.is_some() && time.sure > time.now.earliest.plus(AGREE) {
            return Cow::Owned(Self { purge_after_days: None, ..self.clone() });
        }
        Cow::Borrowed(self)
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

#[cfg(test)]
mod tests {
    use muster_proto::time::{Now, Timestamp};

    use super::*;

    #[test]
    fn nothing_is_purged_while_the_clocks_disagree_by_more_than_a_day() {
        let policy = HostPolicy {
            mode: HostMode::Enforce,
            default_shell: AbsolutePath::parse("/bin/sh").unwrap(),
            home_base: AbsolutePath::parse("/home").unwrap(),
            home_mode: HomeMode::parse("0700").unwrap(),
            protected: BTreeSet::new(),
            break_glass: BTreeSet::new(),
            uid_ranges: Vec::new(),
            purge_after_days: Some(30),
            refused_roles: BTreeSet::new(),
            accepted_keys: AcceptedKeys::default(),
        };
        let days = |ahead: u64| {
            let now = Now { latest: Timestamp(5_000 + ahead), earliest: Timestamp(5_000) };
            let time = Time { now, sure: now.latest, settles_in: None };
            policy.at(&time).purge_after_days
        };
        assert_eq!(days(0), Some(30));
        assert_eq!(days(86_400), Some(30));
        assert_eq!(days(86_401), None);
    }

    #[test]
    fn an_account_name_is_whatever_a_system_may_have_and_no_list_or_slip_of_the_pen() {
        for good in ["root", "_apt", "systemd-network", "John.Doe", "7up", "host$", "jürgen"] {
            assert_eq!(AccountName::parse(good).unwrap().as_str(), good);
        }
        for bad in ["", "ops ", " ops", "a,b", "a:b", "a/b", "-a", "+a", "~a", "a\nb", "a\0"] {
            assert!(AccountName::parse(bad).is_err(), "{bad:?}");
        }
        let long = |length| "a".repeat(length);
        assert!(AccountName::parse(&long(AccountName::MOST_BYTES)).is_ok());
        assert!(AccountName::parse(&long(AccountName::MOST_BYTES + 1)).is_err());
    }
}
