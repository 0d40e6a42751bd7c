//! The host's own configuration: what no bundle lifts. Read whole; every fault is told at once.

mod written;

use std::{
    collections::BTreeSet,
    fs, io,
    ops::RangeInclusive,
    path::{Path, PathBuf},
};

use muster_proto::{
    name::{AbsolutePath, ObjectName, Uid},
    receipt::HostMode,
    statement::HomeMode,
};
use serde::Deserialize;

use self::written::Written;
use crate::{
    accepted_keys::AcceptedKeys,
    guard::{BadLimit, Limit},
    policy::{AccountName, HostPolicy},
};

/// Where the configuration is.
pub const PATH: &str = "/etc/muster/agent.toml";

/// The file as written.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct RawConfig {
    mode: Option<String>,
    break_glass: Vec<String>,
    protected: Vec<String>,
    default_shell: Option<String>,
    home_base: Option<String>,
    home_mode: Option<String>,
    uid_ranges: Option<Vec<[u32; 2]>>,
    refused_roles: Vec<String>,
    accepted_key_types: Option<Vec<String>>,
    required_rsa_size: Option<usize>,
    purge_after_days: Option<u64>,
    scan_seconds: Option<u64>,
    online_revocation_accounts: Option<usize>,
    online_revocation_percent: Option<usize>,
    online_revocation_hours: Option<u64>,
}

impl RawConfig {
    fn limit(&self) -> Result<Limit, Vec<BadLimit>> {
        let (accounts, percent) = (self.online_revocation_accounts, self.online_revocation_percent);
        Limit::parse(accounts, percent, self.online_revocation_hours)
    }
}

/// The configuration as meant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// The guardrails.
    pub policy: HostPolicy,
    /// Seconds between two full checks.
    pub scan_seconds: u64,
    /// How much the controller's own key may take away.
    pub online_revocations: Limit,
}

/// Why the configuration cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum BadConfig {
    /// It cannot be read.
    #[error("cannot read `{path}`")]
    Read {
        /// Where.
        path: PathBuf,
        /// Why.
        #[source]
        cause: io::Error,
    },
    /// It is not TOML.
    #[error("cannot understand `{path}`")]
    Toml {
        /// Where.
        path: PathBuf,
        /// Why.
        #[source]
        cause: toml::de::Error,
    },
    /// Keys that do not exist and values that cannot be; all of them.
    #[error("`{path}` cannot be used:\n  {}", .faults.join("\n  "))]
    Values {
        /// Where.
        path: PathBuf,
        /// What is wrong.
        faults: Vec<String>,
    },
}

impl BadConfig {
    /// Returns what is wrong, all of it, in one line.
    pub fn in_one_line(&self) -> String {
        match self {
            Self::Read { cause, .. } => format!("{self}: {cause}"),
            // The cause would show the lines around, each on a line.
            Self::Toml { cause, .. } => format!("{self}: {}", cause.message().replace('\n', " ")),
            Self::Values { path, faults } => {
                format!("`{}` cannot be used: {}", path.display(), faults.join("; "))
            }
        }
    }
}

impl Config {
    /// Reads the file; one that is not there is one that says nothing.
    pub fn load(path: &Path) -> Result<Self, BadConfig> {
        let text = match fs::read_to_string(path) {
            Ok(text) => text,
            Err(cause) if cause.kind() == io::ErrorKind::NotFound => String::new(),
            Err(cause) => return Err(BadConfig::Read { path: path.to_owned(), cause }),
        };
        Self::parse(&text, path)
    }

    /// Reads the file's text.
    pub fn parse(text: &str, path: &Path) -> Result<Self, BadConfig> {
        let path = path.to_owned();
        let written =
            written::read(text).map_err(|cause| BadConfig::Toml { path: path.clone(), cause })?;
        Self::check(written).map_err(|faults| BadConfig::Values { path, faults })
    }

    fn check(written: Written<RawConfig>) -> Result<Self, Vec<String>> {
        let Written { said: raw, mut faults } = written;
        let limit = raw.limit();
        let mode = match raw.mode.as_deref() {
            None | Some("observe") => HostMode::Observe,
            Some("enforce") => HostMode::Enforce,
            Some(other) => {
                faults.push(format!("mode: `{other}` is neither `observe` nor `enforce`"));
                HostMode::Observe
            }
        };
        if mode == HostMode::Enforce && raw.break_glass.is_empty() {
            faults.push(
                "break_glass: `enforce` needs an account named here that Muster never touches"
                    .to_owned(),
            );
        }
        let mut path = |key: &str, text: Option<String>, default: &str| {
            let text = text.unwrap_or_else(|| default.to_owned());
            match AbsolutePath::parse(&text) {
                Ok(path) => Some(path),
                Err(fault) => {
                    faults.push(format!("{key}: {fault}"));
                    None
                }
            }
        };
        let default_shell = path("default_shell", raw.default_shell, "/bin/bash");
        let home_base = path("home_base", raw.home_base, "/home");
        let home_mode = HomeMode::parse(raw.home_mode.as_deref().unwrap_or("0700"))
            .map_err(|fault| faults.push(format!("home_mode: {fault}")));
        let uid_ranges: Vec<RangeInclusive<u32>> = raw
            .uid_ranges
            .unwrap_or_else(|| vec![[1_000, 59_999]])
            .into_iter()
            .map(|[first, last]| first..=last)
            .collect();
        for range in &uid_ranges {
            let (first, last) = (range.start(), range.end());
            if !Uid::is_range(*first, *last) {
                faults.push(format!(
                    "uid_ranges: {first} to {last} is not within 1000 to 59999 or 100000 to 499999"
                ));
            }
        }
        let mut names = |key: &str, texts: Vec<String>| {
            let mut names = BTreeSet::new();
            for text in texts {
                match AccountName::parse(&text) {
                    Ok(name) => drop(names.insert(name)),
                    Err(fault) => faults.push(format!("{key}: {fault}")),
                }
            }
            names
        };
        let protected = names("protected", raw.protected);
        let break_glass = names("break_glass", raw.break_glass);
        let mut refused_roles = BTreeSet::new();
        for role in raw.refused_roles {
            match ObjectName::parse(&role) {
                Ok(role) => drop(refused_roles.insert(role)),
                Err(fault) => faults.push(format!("refused_roles: {fault}")),
            }
        }
        let types = raw.accepted_key_types.as_deref();
        let accepted_keys = AcceptedKeys::parse(types, raw.required_rsa_size)
            .map_err(|found| faults.extend(found.iter().map(ToString::to_string)));
        let scan_seconds = raw.scan_seconds.unwrap_or(900);
        if !(10..=86_400).contains(&scan_seconds) {
            faults.push("scan_seconds: from 10 to 86400".to_owned());
        }
        if raw.purge_after_days.is_some_and(|days| !(1..=36_500).contains(&days)) {
            faults.push("purge_after_days: from 1 to 36500".to_owned());
        }
        let online_revocations =
            limit.map_err(|found| faults.extend(found.iter().map(ToString::to_string)));
        match (default_shell, home_base, home_mode, accepted_keys, online_revocations) {
            (
                Some(default_shell),
                Some(home_base),
                Ok(home_mode),
                Ok(accepted_keys),
                Ok(online_revocations),
            ) if faults.is_empty() => {
                let policy = HostPolicy {
                    mode,
                    default_shell,
                    home_base,
                    home_mode,
                    protected,
                    break_glass,
                    uid_ranges,
                    purge_after_days: raw.purge_after_days,
                    refused_roles,
                    accepted_keys,
                };
                Ok(Self { policy, scan_seconds, online_revocations })
            }
            _ => Err(faults),
        }
    }
}

/// Returns the text that `join` writes.
pub fn initial(mode: HostMode, break_glass: &[String]) -> String {
    let mode = match mode {
        HostMode::Observe => "observe",
        HostMode::Enforce => "enforce",
    };
    let logins: Vec<toml::Value> = break_glass.iter().map(|l| l.as_str().into()).collect();
    format!(
        "# Made by `muster-agent join`. Every key is explained in the packaged example.\n\
         mode = \"{mode}\"\nbreak_glass = {}\n",
        toml::Value::Array(logins)
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn faults(text: &str) -> Vec<String> {
        match Config::parse(text, Path::new("agent.toml")) {
            Ok(_) => Vec::new(),
            Err(BadConfig::Values { faults, .. }) => faults,
            Err(other) => panic!("{other}"),
        }
    }

    #[test]
    fn seconds_between_scans_are_taken_up_to_both_bounds_and_no_further() {
        for (seconds, good) in [(9, false), (10, true), (86_400, true), (86_401, false)] {
            let found = faults(&format!("scan_seconds = {seconds}"));
            assert_eq!(found.is_empty(), good, "{seconds}: {found:?}");
        }
    }

    /// The configuration as packaged, in which every key stands.
    const EXAMPLE: &str = include_str!("../../packaging/config/agent.toml");

    #[test]
    fn every_key_stands_in_the_packaged_example_with_what_holds_without_it() {
        // What serde says to a key that does not exist names all that do.
        let error = toml::from_str::<RawConfig>("nonsense = 1").unwrap_err();
        let (_, expected) = error.message().split_once("expected one of ").unwrap();
        let keys: Vec<&str> = expected.split(", ").map(|key| key.trim_matches('`')).collect();
        assert!(keys.contains(&"mode") && keys.contains(&"scan_seconds"), "{keys:?}");
        let mut text = String::new();
        for key in keys {
            let shown = EXAMPLE.lines().filter_map(|line| line.strip_prefix('#'));
            let mut lines = shown.filter(|line| line.starts_with(&format!("{key} = ")));
            text.push_str(lines.next().unwrap_or_else(|| panic!("`{key}` is not explained")));
            text.push('\n');
            assert_eq!(lines.next(), None, "`{key}` stands there twice");
        }
        let path = Path::new("agent.toml");
        let mut shown = Config::parse(&text, path).unwrap();
        let default = Config::parse("", path).unwrap();
        // No number of days is never, which is what holds without this one.
        assert_eq!(shown.policy.purge_after_days.take(), Some(90));
        assert_eq!(shown, default);
        assert_eq!(Config::parse(EXAMPLE, path).unwrap(), default);
    }

    #[test]
    fn what_is_wrong_can_be_said_in_one_line_with_every_fault() {
        let path = Path::new("agent.toml");
        let text = "scan_seconds = 9\nhome_mode = '0777'";
        let line = Config::parse(text, path).unwrap_err().in_one_line();
        assert!(line.contains("scan_seconds") && line.contains("home_mode"), "{line}");
        assert!(!line.contains('\n'), "{line}");
        for text in ["mode =", "mode = ["] {
            let line = Config::parse(text, path).unwrap_err().in_one_line();
            assert!(line.starts_with("cannot understand `agent.toml`: "), "{line}");
            assert!(!line.contains('\n'), "{line}");
        }
    }

    #[test]
    fn keys_that_do_not_exist_wrong_types_and_bad_values_are_all_told_at_once() {
        let text = "moode = 'enforce'\nscan_seconds = 1\n\n# Twice wrong.\nprotected = [\n  'ops',\n  \
                    5,\n]\nhome_mode = '0777'\nuid_ranges = [[1000]]\nmode = 7\n[brake_glass]\nx = 1\n";
        let found = faults(text);
        let [moode, protected, uid_ranges, mode, brake_glass, home_mode, scan_seconds] = &found[..]
        else {
            panic!("{found:?}")
        };
        assert_eq!(moode, "moode: there is no such key (line 1)");
        assert!(protected.starts_with("protected: invalid type: integer `5`"), "{protected}");
        assert!(protected.ends_with("(line 5)"), "{protected}");
        assert!(uid_ranges.starts_with("uid_ranges: invalid length 1"), "{uid_ranges}");
        assert!(uid_ranges.ends_with("(line 10)"), "{uid_ranges}");
        assert_eq!(mode, "mode: invalid type: integer `7`, expected a string (line 11)");
        assert_eq!(brake_glass, "brake_glass: there is no such key (line 12)");
        assert!(home_mode.starts_with("home_mode: "), "{home_mode}");
        assert_eq!(scan_seconds, "scan_seconds: from 10 to 86400");
    }

    #[test]
    fn days_before_a_purge_are_taken_up_to_both_bounds_and_no_account_is_purged_without() {
        for (days, good) in [(0, false), (1, true), (36_500, true), (36_501, false)] {
            let found = faults(&format!("purge_after_days = {days}"));
            assert_eq!(found.is_empty(), good, "{days}: {found:?}");
        }
        let silent = Config::parse("", Path::new("agent.toml")).unwrap();
        assert_eq!(silent.policy.purge_after_days, None);
    }

    #[test]
    fn what_it_says_of_keys_is_told_with_everything_else_that_is_wrong() {
        let found = faults("accepted_key_types = [\"rsa\"]\nrequired_rsa_size = 1024");
        let [types, size] = &found[..] else { panic!("{found:?}") };
        assert!(types.starts_with("accepted_key_types: `rsa` is none of "), "{types}");
        assert_eq!(size, "required_rsa_size: from 2048 to 8192");
    }

    #[test]
    fn what_the_online_key_may_take_away_is_told_with_everything_else_that_is_wrong() {
        let found = faults(
            "online_revocation_accounts = 100001\nonline_revocation_percent = 101\n\
             online_revocation_hours = 0",
        );
        let expected = [
            "online_revocation_accounts: from 0 to 100000",
            "online_revocation_percent: from 0 to 100",
            "online_revocation_hours: from 1 to 8760",
        ];
        assert_eq!(found, expected);
        let path = Path::new("agent.toml");
        let limit = |text| Config::parse(text, path).unwrap().online_revocations;
        assert_eq!(limit(""), Limit::parse(Some(3), Some(20), Some(24)).unwrap());
        let other = "online_revocation_accounts = 0\nonline_revocation_percent = 0";
        assert_eq!(limit(other).most(1_000), 0);
    }

    #[test]
    fn names_of_accounts_that_cannot_be_are_told_all_at_once() {
        assert_eq!(faults("protected = [\"_apt\", \"John.Doe\"]"), [""; 0]);
        let found = faults("protected = [\"ops,eve\", \"ok\"]\nbreak_glass = [\"rescue \"]");
        let [protected, break_glass] = &found[..] else { panic!("{found:?}") };
        assert!(protected.starts_with("protected: `ops,eve`"), "{protected}");
        assert!(break_glass.starts_with("break_glass: `rescue `"), "{break_glass}");
    }
}
