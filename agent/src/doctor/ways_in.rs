//! How people get in, and to root: whether sshd and sudo read what Muster writes for them, and
//! whether the way in for an emergency is one.

use std::collections::BTreeMap;

use muster_proto::time::Timestamp;

use super::{Finding, finding};
use crate::{
    format::{
        shadow::Password,
        ssh,
        sshd::{self, value},
        sudoers::{self, included::Included},
    },
    inventory::emergency::NO_WAY,
};

/// How people get in.
#[derive(Clone, Debug, Default)]
pub struct WaysIn {
    /// What sshd says to its whole configuration.
    pub sshd: Said,
    /// The text of sshd's main file, if there is one.
    pub sshd_config: Option<String>,
    /// Whether the directory of the drop-in is there.
    pub drop_ins: Presence,
    /// A login of Muster's, and what sshd says of it.
    pub sample: Option<(String, String)>,
    /// What visudo says to the whole of sudo's rules.
    pub visudo: Said,
    /// The text of sudo's main file, if there is one.
    pub sudoers: Option<String>,
    /// Whether the directory of our rules is there.
    pub rules: Presence,
    /// The accounts for an emergency.
    pub emergency: BTreeMap<String, Option<Emergency>>,
}

/// Whether something is there.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Presence {
    /// It is.
    #[default]
    There,
    /// It is not.
    Missing,
}

/// What a program says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Said {
    /// There is no such program.
    #[default]
    Nothing,
    /// That all is well, in these words.
    Well(String),
    /// That it is not, and why.
    Ill(String),
}

/// An account for an emergency.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Emergency {
    /// What it runs.
    pub shell: String,
    /// Whether that is there.
    pub shell_is: Presence,
    /// Its password, nothing without a line in shadow.
    pub password: Option<Password>,
    /// The same without a lock.
    pub unlocked: Password,
    /// The day from which it is shut, in days since 1970.
    pub shut_from: Option<u64>,
    /// Whether it has keys.
    pub keys: Keys,
    /// Whether there is a way from it to root.
    pub to_root: Presence,
}

/// Whether an account has keys where sshd looks for them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Keys {
    /// It has.
    Some,
    /// It has none.
    None,
    /// They are somewhere that is not looked into.
    Unseen,
}

impl WaysIn {
    pub(super) fn findings(&self, now: Timestamp) -> Vec<Finding> {
        let mut found: Vec<Finding> = self.by_sshd().into_iter().collect();
        found.extend(self.by_sudo());
        for (login, account) in &self.emergency {
            found.extend(match account {
                Some(account) => self.in_emergency(login, account, now),
                None => vec![break_glass(
                    format!("`{login}` is no account of this host"),
                    format!(
                        "useradd --create-home {login}; then give it a way to root, and try it"
                    ),
                )],
            });
        }
        found
    }

    fn by_sshd(&self) -> Option<Finding> {
        let include = format!("Include {}/*.conf", ssh::DROP_IN_DIRECTORY);
        if let Said::Ill(reason) = &self.sshd {
            let fault = format!("it refuses its configuration: {reason}");
            let cure = "mend it until `sshd -t` is silent: it cannot be started as it is";
            return Some(finding("sshd", fault, cure));
        }
        if self.sshd == Said::Nothing && self.sshd_config.is_none() {
            return None;
        }
        if self.drop_ins == Presence::Missing {
            let directory = ssh::DROP_IN_DIRECTORY;
            let fault = format!("`{directory}` is missing: our keys have no effect");
            return Some(finding("sshd", fault, format!("mkdir -m 755 {directory}")));
        }
        if let Some((login, said)) = &self.sample {
            let ours = format!("{}/%u", ssh::KEYS_DIRECTORY);
            let takes = value(said, "authorizedkeysfile") == Some(ours.as_str());
            if !takes && includes(self.sshd_config.as_deref()) {
                let fault = format!("it does not look for the keys of `{login}` where ours are");
                let cure =
                    format!("have no other `Match` set AuthorizedKeysFile before `{include}`");
                return Some(finding("sshd", fault, cure));
            }
            if takes {
                return beside_ours(login, said, &ours);
            }
        }
        (!includes(self.sshd_config.as_deref())).then(|| {
            let fault = "sshd_config does not include our settings: our keys have no effect";
            finding("sshd", fault, format!("put `{include}` at the head of /etc/ssh/sshd_config"))
        })
    }

    fn by_sudo(&self) -> Option<Finding> {
        if let Said::Ill(reason) = &self.visudo {
            let cure = "`visudo -c` names file and line; mend it with `visudo -f`";
            return Some(finding("sudo", format!("visudo complains: {reason}"), cure));
        }
        let text = self.sudoers.as_deref()?;
        let directory = sudoers::DIRECTORY;
        if !includes_rules(text) {
            let fault = "/etc/sudoers does not include our rules: they have no effect";
            let cure = format!("`visudo`, and `@includedir {directory}` as the last line");
            return Some(finding("sudo", fault, cure));
        }
        (self.rules == Presence::Missing).then(|| {
            let fault = format!("`{directory}` is missing: no rule can be given");
            finding("sudo", fault, format!("mkdir -m 750 {directory}"))
        })
    }

    fn in_emergency(&self, login: &str, account: &Emergency, now: Timestamp) -> Vec<Finding> {
        let mut found = Vec::new();
        let mut add = |fault: String, cure: String| found.push(break_glass(fault, cure));
        let Emergency { shell, .. } = account;
        let name = shell.rsplit('/').next().unwrap_or_default();
        if account.shell_is == Presence::Missing || matches!(name, "nologin" | "false") {
            let cure = format!("usermod --shell /bin/bash {login}");
            add(format!("`{login}` cannot be used: its shell is `{shell}`"), cure);
        }
        if account.shut_from.is_some_and(|day| now.0 / 86_400 >= day) {
            let cure = format!("usermod --expiredate '' {login}");
            add(format!("`{login}` has expired"), cure);
        }
        if account.to_root == Presence::Missing {
            let cure = format!(
                "give `{login}` a rule by `visudo`, or put it into a Unix group that has one; then try it"
            );
            add(format!("`{login}` does not become root: {NO_WAY}"), cure);
        }
        let has_password = matches!(account.password, Some(Password::Set | Password::Empty));
        let is_locked = account.password.is_none_or(|password| password == Password::Locked);
        if has_password {
            return found;
        }
        match account.keys {
            Keys::Unseen => {}
            Keys::Some => {
                let without_pam =
                    matches!(&self.sshd, Said::Well(said) if value(said, "usepam") == Some("no"));
                if is_locked && without_pam {
                    let fault =
                        format!("`{login}` is locked, and with `UsePAM no` sshd takes no key");
                    add(fault, format!("`UsePAM yes` for sshd, or usermod --password '*' {login}"));
                }
            }
            Keys::None if is_locked && account.unlocked == Password::Set => {
                add(
                    format!("`{login}` is locked and has no key"),
                    format!("passwd --unlock {login}"),
                );
            }
            Keys::None => {
                let cure = format!("passwd {login}; then try that it gets you to root");
                add(format!("`{login}` has neither a password nor a key"), cure);
            }
        }
        found
    }
}

fn break_glass(fault: String, cure: String) -> Finding {
    finding("break glass", fault, cure)
}

/// Says what else than our keys lets somebody of Muster's in: our settings exclude it, so somebody
/// has put others before them.
fn beside_ours(login: &str, said: &str, ours: &str) -> Option<Finding> {
    let sshd::OtherWay { keyword, what } = sshd::other_ways(said, ours).into_iter().next()?;
    let fault = format!("{what} let `{login}` in too, and Muster knows nothing of it");
    let cure = format!("unless that is meant, have no other `Match` set {keyword} before ours");
    Some(finding("sshd", fault, cure))
}

/// Says whether sshd's main file, if there is one, includes drop-ins for everybody: not only within a
/// `Match` (`sshd_config(5)`). What is found by a wildcard of directories is believed.
fn includes(config: Option<&str>) -> bool {
    let Some(config) = config else { return true };
    let mut for_all = true;
    for line in config.lines() {
        let mut words = line.split([' ', '\t', '=']).filter(|word| !word.is_empty());
        let keyword = words.next().unwrap_or_default().to_ascii_lowercase();
        match keyword.as_str() {
            "match" => for_all = words.next().is_some_and(|word| word.eq_ignore_ascii_case("all")),
            "include" if for_all => {
                let is_ours = |word: &str| {
                    let path = word.trim_matches('"');
                    let (place, name) = path.rsplit_once('/').unwrap_or(("", path));
                    let ours = place == "sshd_config.d" || place == ssh::DROP_IN_DIRECTORY;
                    place.contains('*') || ours && (name.contains('*') || name == ssh::DROP_IN)
                };
                if words.any(is_ours) {
                    return true;
                }
            }
            _ => {}
        }
    }
    false
}

/// Says whether sudo's main file includes our directory.
fn includes_rules(text: &str) -> bool {
    let is_ours = |path: &String| path.trim_end_matches('/') == sudoers::DIRECTORY;
    let all = sudoers::included::included(text.as_bytes());
    all.iter().any(|one| matches!(one, Included::Directory(path) if is_ours(path)))
}
