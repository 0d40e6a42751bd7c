//! The way in for an emergency: what of it can be seen in the account files. Nobody who is revoked is
//! kept for it, so that it has to be one at any time; `doctor` looks at its keys and passwords too.

use muster_proto::receipt::{Finding, FindingKind};

use super::action::finding;
use crate::{
    format::{passwd, shadow},
    observed::ObservedState,
    policy::{AccountName, HostPolicy},
};

/// Returns which of the accounts for an emergency nobody can use, and says so when none is left.
pub(super) fn shut(observed: &ObservedState, policy: &HostPolicy, today: u64) -> Vec<Finding> {
    let names = &policy.break_glass;
    let faults: Vec<(&AccountName, String)> =
        names.iter().filter_map(|name| Some((name, fault(observed, name, today)?))).collect();
    let none_left = if faults.len() == names.len() { "; none that works is left" } else { "" };
    let found = faults.iter().map(|(name, why)| {
        let detail = format!("the way in for an emergency {why}{none_left}");
        finding(FindingKind::BreakGlass, *name, detail)
    });
    found.collect()
}

fn fault(observed: &ObservedState, name: &AccountName, today: u64) -> Option<String> {
    let Some(entry) = observed.passwd.get(name.as_str()) else {
        return Some("is no account of this host".to_owned());
    };
    let shell = entry.text(passwd::SHELL).unwrap_or_default();
    if matches!(shell.rsplit('/').next(), Some("nologin" | "false")) {
        return Some(format!("cannot be used: its shell is `{shell}`"));
    }
    let expire = observed.shadow.get(name.as_str()).and_then(|line| line.number(shadow::EXPIRE));
    let has_expired = expire.is_some_and(|day| u64::from(day) <= today);
    has_expired.then(|| "cannot be used: it has expired".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::format::Table;

    const TODAY: u64 = 20_000;

    fn why(passwd: &str, shadow: &str) -> Option<String> {
        let table = |text: &str| Table::parse(text.as_bytes().to_vec()).unwrap();
        let observed = ObservedState {
            passwd: table(passwd),
            shadow: table(shadow),
            ..ObservedState::default()
        };
        fault(&observed, &AccountName::parse("ops").unwrap(), TODAY)
    }

    #[test]
    fn an_account_that_nobody_can_use_is_no_way_in() {
        let line = |shell: &str| format!("ops:x:10:10::/home/ops:{shell}\n");
        assert_eq!(why(&line("/bin/bash"), "ops:*:19000::::::\n"), None);
        assert_eq!(why(&line(""), ""), None);
        assert_eq!(why("", "").unwrap(), "is no account of this host");
        for shell in ["/usr/sbin/nologin", "/bin/false"] {
            assert!(why(&line(shell), "").unwrap().contains(shell));
        }
        for (day, good) in [(TODAY - 1, false), (TODAY, false), (TODAY + 1, true)] {
            let found = why(&line("/bin/sh"), &format!("ops:*:19000:::::{day}:\n"));
            assert_eq!(found.is_none(), good, "{day}: {found:?}");
        }
    }
}
