//! What sudo and PAM themselves say of single accounts: `sudo -l -U` knows of LDAP, SSSD and
//! `Defaults`, and PAM's account check of whatever stands in `/etc/pam.d`. Pure: who is to be asked
//! about and what an answer comes to; the host asks, a few at a time.

use std::{
    collections::BTreeMap,
    hash::{DefaultHasher, Hash, Hasher},
};

use muster_proto::{
    desired::DesiredState,
    drift::{DriftKind, Severity},
    name::{Login, UnixGroupName},
    statement::UserKind,
    sudo::{SudoPassword, SudoRule},
};

use super::{
    Difference, What,
    effect::{Rules, SUDO},
};
use crate::{
    format::{
        Entry,
        cvtsudoers::{
            explain::{Programs, program},
            weigh::{covers, words},
        },
        passwd, shadow, ssh,
        sudo_list::{self, Answer},
    },
    observed::ObservedState,
    ownership::Ownership,
};

/// The place of what PAM does otherwise.
pub const PAM: &str = "pam";

/// So many things are named of one account.
const NAMED: usize = 3;

/// How an account stands in the account files.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Stands {
    /// It is locked and expired, so PAM lets nobody in.
    Shut,
    /// It is open, so PAM lets its holder in.
    Open,
    /// It ends today, or a password of its holder's has to be changed first: either answer is right.
    Between,
}

/// An account that may be asked about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Subject<'a> {
    /// Whose it is.
    pub login: &'a Login,
    /// How it stands.
    pub stands: Stands,
    /// All that an answer depends on of what is ours, in one number.
    pub state: u64,
}

/// Returns the accounts of ours that may be asked about, by login, on this day since the epoch.
pub fn subjects<'a>(
    desired: &DesiredState,
    observed: &ObservedState,
    ownership: &'a Ownership,
    rules: Option<&Rules>,
    today: u64,
) -> Vec<Subject<'a>> {
    let mut given: BTreeMap<&Login, u64> = BTreeMap::new();
    for (rule, logins) in rules.into_iter().flat_map(BTreeMap::values).flatten() {
        let rule = number(&format!("{rule:?}"));
        for login in logins {
            let sum = given.entry(login).or_default();
            *sum = sum.wrapping_mul(31).wrapping_add(rule);
        }
    }
    let subject = |(login, own): (&'a Login, &crate::ownership::OwnedAccount)| {
        let entry = observed.passwd.get(login.as_str())?;
        let uid = entry.number(passwd::UID).filter(|uid| *uid == own.uid.get())?;
        let shadow = observed.shadow.get(login.as_str())?;
        let stands = if own.is_let_go(desired.accounts.get(login)) {
            let is_shut = own.kind == UserKind::Person && shadow.field(shadow::EXPIRE) == b"1";
            is_shut.then_some(Stands::Shut)?
        } else if is_open(shadow, today) {
            Stands::Open
        } else {
            Stands::Between
        };
        let state = number(&(login.as_str(), uid, stands, rules.is_some(), given.get(login)));
        Some(Subject { login, stands, state })
    };
    ownership.accounts.iter().filter_map(subject).collect()
}

fn number(what: &impl Hash) -> u64 {
    let mut hasher = DefaultHasher::new();
    what.hash(&mut hasher);
    hasher.finish()
}

/// Says whether `pam_unix` has no reason to refuse it, today and tomorrow (shadow(5)).
fn is_open(shadow: Entry<'_>, today: u64) -> bool {
    let days = |field| shadow.number(field).map(u64::from);
    let is_empty = |field| shadow.field(field).is_empty();
    let ends = days(shadow::EXPIRE).map_or(is_empty(shadow::EXPIRE), |day| day > today + 1);
    let changed = days(shadow::LAST_CHANGE);
    let is_fresh = match (changed, days(shadow::MAX)) {
        (Some(0), _) => false,
        (Some(changed), Some(max)) => changed + max > today,
        (Some(_), None) => is_empty(shadow::MAX),
        (None, _) => is_empty(shadow::LAST_CHANGE),
    };
    ends && is_fresh
}

/// What PAM's account check says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It lets the account in.
    LetsIn,
    /// It does not.
    Refuses,
}

/// What came of asking.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Heard {
    /// Nobody was asked, or it cannot be understood: what was heard before still holds.
    Nothing,
    /// It was asked, and has not answered: what was heard before still holds, and it is to be asked
    /// again.
    Unanswered,
    /// It is as our files say.
    AsExpected,
    /// It is not.
    Otherwise(Difference),
}

impl Heard {
    /// Says whether it is an answer.
    pub fn is_answer(&self) -> bool {
        matches!(self, Self::AsExpected | Self::Otherwise(_))
    }
}

/// Returns what PAM's answer about one account comes to.
pub fn by_pam(login: &Login, stands: Stands, verdict: Verdict) -> Heard {
    let (expected, found, severity) = match (stands, verdict) {
        (Stands::Open, Verdict::Refuses) => {
            ("lets in", "the account check of PAM refuses", Severity::Medium)
        }
        (Stands::Shut, Verdict::LetsIn) => {
            ("refuses, as it is locked", "the account check of PAM lets in", Severity::High)
        }
        (Stands::Between, _) => return Heard::Nothing,
        (Stands::Open, Verdict::LetsIn) | (Stands::Shut, Verdict::Refuses) => {
            return Heard::AsExpected;
        }
    };
    Heard::Otherwise(Difference {
        what: What::new(DriftKind::EffectDiffers, login.as_str(), PAM),
        expected: expected.to_owned(),
        found: found.to_owned(),
        severity,
    })
}

/// Whether a file is there that tells `pam_nologin` to let in nobody but root.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NoLogin {
    /// None is.
    Absent,
    /// `/etc/nologin` is.
    Present,
}

/// Returns what is told once where PAM refuses everybody who was asked about and stands open.
pub fn everybody(refused: &[&Login], no_login: NoLogin) -> Option<Difference> {
    let why = match no_login {
        NoLogin::Absent if refused.len() < 2 => return None,
        NoLogin::Present if refused.is_empty() => return None,
        NoLogin::Absent => "",
        NoLogin::Present => ": /etc/nologin is there",
    };
    Some(Difference {
        what: What::new(DriftKind::EffectDiffers, ssh::MARKER, PAM),
        expected: "lets in whoever may log in".to_owned(),
        found: format!("the account check of PAM refuses everybody who was asked about{why}"),
        severity: Severity::Medium,
    })
}

/// Returns what sudo's answer about one account comes to that has these rules of ours; nothing in
/// `explained`, which has the programs that sudo files name for it, if that is not known.
pub fn by_sudo(
    login: &Login,
    rules: &[SudoRule],
    said: &str,
    explained: Option<&Programs>,
) -> Heard {
    let found = match sudo_list::parse(said, login.as_str()) {
        None => return Heard::Nothing,
        Some(Answer::Nothing) if rules.is_empty() => Vec::new(),
        Some(Answer::Nothing) => {
            vec![(Severity::Medium, "sudo lets it run nothing".to_owned())]
        }
        Some(Answer::Rules(list)) => judge(rules, &list, explained),
    };
    let Some(severity) = found.iter().map(|(severity, _)| *severity).max() else {
        return Heard::AsExpected;
    };
    let (named, rest) = found.split_at(found.len().min(NAMED));
    let mut words: Vec<String> = named.iter().map(|(_, words)| words.clone()).collect();
    if !rest.is_empty() {
        words.push(format!("{} more", rest.len()));
    }
    Heard::Otherwise(Difference {
        what: What::new(DriftKind::EffectDiffers, login.as_str(), SUDO),
        expected: "what our rules give".to_owned(),
        found: words.join("; "),
        severity,
    })
}

/// The gravest first.
fn judge(
    rules: &[SudoRule],
    list: &sudo_list::List,
    explained: Option<&Programs>,
) -> Vec<(Severity, String)> {
    let mut found: Vec<(Severity, String)> = Vec::new();
    let mut note = |severity, words: &str| {
        let one = (severity, words.chars().filter(|c| !c.is_control()).take(200).collect());
        if !found.contains(&one) {
            found.push(one);
        }
    };
    // A rule that gives a program as somebody else is not where it comes from as root.
    let is_explained = |entry: &sudo_list::Entry, command| {
        explained.is_none_or(|all| match program(command) {
            program if entry.as_root() => all.has_as_root(program),
            program => all.has(program),
        })
    };
    for entry in &list.entries {
        for command in entry.commands.iter().filter(|command| !command.starts_with('!')) {
            let whence = match &entry.elsewhere {
                Some(elsewhere) => elsewhere.as_str(),
                None if is_explained(entry, command) => continue,
                None => "by no rule that cvtsudoers reads",
            };
            let is_root = command == "ALL" && entry.as_root();
            let severity = if is_root { Severity::Critical } else { Severity::High };
            let run_as = if entry.run_as.is_empty() { "root" } else { &entry.run_as.join(", ") };
            note(severity, &format!("{command} as {run_as}: {whence}"));
        }
    }
    let asks = rules.iter().any(|rule| rule.password == SudoPassword::Required);
    if asks && list.authenticate == Some(false) {
        note(Severity::High, "no password is asked for: Defaults !authenticate");
    }
    for rule in rules {
        let (user, unix_group) = (rule.run_as.user.to_string(), rule.run_as.group.as_ref());
        let unix_group = unix_group.map(UnixGroupName::as_str);
        let fits: Vec<&String> = list
            .entries
            .iter()
            .filter(|entry| entry.is_as(&user, unix_group))
            .flat_map(|entry| &entry.commands)
            .collect();
        for command in rule.commands.iter().map(words) {
            if !fits.iter().any(|listed| covers(listed, &command)) {
                note(Severity::Medium, &format!("{command} as {user}: sudo does not list it"));
            }
        }
    }
    let (mut graver, other): (Vec<_>, Vec<_>) =
        found.into_iter().partition(|(severity, _)| *severity == Severity::Critical);
    graver.extend(other);
    graver
}

#[cfg(test)]
mod tests;
