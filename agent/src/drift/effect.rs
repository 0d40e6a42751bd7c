//! What the system makes of Muster's files where these are as they should be. Pure: the host asks
//! sshd, cvtsudoers and the sources of accounts, and what they say is judged here. What differs is
//! somebody else's doing, a file of theirs that is read before ours or after it, so it is told and
//! left as it is. How many programs are asked in one look is bounded, whatever the number of
//! accounts.

pub mod sshd;

use std::collections::{BTreeMap, BTreeSet};

use muster_proto::{
    desired::DesiredState,
    drift::{DriftKind, Severity},
    name::{Login, ObjectName},
    statement::LoginMethod,
    sudo::SudoRule,
};

use self::sshd::Passwords;
use super::{Difference, Touch, What, probe::Subject};
use crate::{
    format::{
        Entry,
        cvtsudoers::weigh::{Otherwise, Person},
        group, passwd, ssh,
    },
    observed::{DropIn, ObservedState},
    ownership::Ownership,
    plan::{Action, Plan},
};

/// The place of what sshd does otherwise.
pub const SSHD: &str = "sshd";
/// The place of what sudo does otherwise.
pub const SUDO: &str = "sudo";
/// The place of what other sources of accounts say.
pub const NAMES: &str = "names";

/// So many things are named of one account.
const NAMED: usize = 3;

/// The sudo rules of a host, by role, each with its users.
pub type Rules = BTreeMap<ObjectName, BTreeMap<SudoRule, BTreeSet<Login>>>;

/// What Muster's files come to where they are as they should be.
#[derive(Clone, Debug, Default)]
pub struct Expected<'a> {
    /// The accounts that our drop-in for sshd is about, in order; none where it is not in place.
    pub sshd: Vec<(&'a Login, Passwords)>,
    /// The rules; nothing where our files are not in place.
    pub sudo: Option<&'a Rules>,
    /// The accounts that have a line in passwd.
    pub accounts: BTreeSet<&'a Login>,
    /// Those of whom sudo and PAM may be asked.
    pub subjects: Vec<Subject<'a>>,
    /// What was told of them already and is taken to be so until somebody was asked.
    pub told: Vec<Difference>,
    /// Who was at what since the last time.
    pub touches: &'a [Touch],
}

/// Whether what was said before may be taken for what is said now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Asking {
    /// Each is asked anew.
    Anew,
    /// As long as the files are the same, so is the answer.
    IfChanged,
}

/// Returns what is to be expected, as far as the plan leaves nothing to do for it.
pub fn expected<'a>(
    desired: &'a DesiredState,
    observed: &ObservedState,
    ownership: &Ownership,
    plan: &Plan,
) -> Expected<'a> {
    let is_planned =
        |fits: fn(&Action) -> bool| plan.actions.iter().any(|planned| fits(&planned.action));
    let mut expected = Expected::default();
    let marker = observed.group.get(ssh::MARKER);
    let marked: BTreeSet<&str> = marker.into_iter().flat_map(group::members).collect();
    let has_drop_in = matches!(observed.drop_in, DropIn::Present(_))
        && !is_planned(|action| matches!(action, Action::DropIn(_)));
    for (login, account) in &desired.accounts {
        let uid = observed.passwd.get(login.as_str()).and_then(|entry| entry.number(passwd::UID));
        let own = ownership.accounts.get(login);
        if own.is_none_or(|own| Some(own.uid.get()) != uid) {
            continue;
        }
        expected.accounts.insert(login);
        if has_drop_in && marked.contains(login.as_str()) {
            let by_password = account.methods.contains(&LoginMethod::Password);
            let kind = if by_password { Passwords::Taken } else { Passwords::Refused };
            expected.sshd.push((login, kind));
        }
    }
    let has_sudo =
        observed.sudo.is_some() && !is_planned(|action| matches!(action, Action::Sudo(_)));
    expected.sudo = has_sudo.then_some(&desired.sudo);
    expected
}

/// Returns whom the rules are of, with the Unix groups that they are in.
pub fn people<'a>(
    observed: &'a ObservedState,
    expected: &Expected<'a>,
) -> BTreeMap<&'a Login, Person<'a>> {
    let mut people: BTreeMap<&Login, Person<'_>> = BTreeMap::new();
    for (rule, logins) in expected.sudo.into_iter().flat_map(BTreeMap::values).flatten() {
        for login in logins.iter().filter(|login| expected.accounts.contains(login)) {
            let entry = observed.passwd.get(login.as_str());
            let uid = entry.and_then(|entry| entry.number(passwd::UID));
            people.entry(login).or_insert_with(|| Person::new(uid)).rules.push(rule);
        }
    }
    for entry in observed.group.entries() {
        let (Some(name), Some(gid)) = (entry.text(0), entry.number(group::GID)) else { continue };
        for member in group::members(entry) {
            let own = Login::parse(member).ok();
            if let Some(person) = own.as_ref().and_then(|login| people.get_mut(login)) {
                person.unix_groups.insert(name, gid);
            }
        }
    }
    people
}

/// Returns what sudo does otherwise, for each of them.
pub fn sudo_differences(others: &BTreeMap<&Login, Vec<Otherwise>>) -> Vec<Difference> {
    let difference = |(login, others): (&&Login, &Vec<Otherwise>)| {
        let severity = others.iter().map(Otherwise::severity).max()?;
        let (named, rest) = others.split_at(others.len().min(NAMED));
        let mut words: Vec<String> = named.iter().map(ToString::to_string).collect();
        if !rest.is_empty() {
            words.push(format!("{} more", rest.len()));
        }
        Some(Difference {
            what: What::new(DriftKind::EffectDiffers, login.as_str(), SUDO),
            expected: "what our rules give".to_owned(),
            found: words.join("; "),
            severity,
        })
    };
    others.iter().filter_map(difference).collect()
}

/// Returns how the account that the system finds differs from the line in passwd; nothing in `answer`
/// if it finds none.
pub fn by_names(login: &Login, own: Entry<'_>, answer: Option<&str>) -> Option<Difference> {
    let text = |field| own.text(field).unwrap_or_default().to_owned();
    let fields = [
        ("uid", passwd::UID, Severity::High),
        ("gid", passwd::GID, Severity::High),
        ("home", passwd::HOME, Severity::Medium),
        ("shell", passwd::SHELL, Severity::Medium),
    ];
    let (mut wanted, mut found, mut severity) = (Vec::new(), Vec::new(), Severity::Medium);
    if let Some(answer) = answer {
        let theirs: Vec<&str> = answer.split(':').collect();
        for (word, field, grave) in fields {
            let (ours, theirs) = (text(field), theirs.get(field).copied().unwrap_or_default());
            if ours == theirs {
                continue;
            }
            let is_root = (word, theirs) == ("uid", "0");
            severity = severity.max(if is_root { Severity::Critical } else { grave });
            let shown: String = theirs.chars().filter(|c| !c.is_control()).take(200).collect();
            wanted.push(format!("{word} {ours}"));
            found.push(format!("{word} {shown}"));
        }
    } else {
        wanted.push(format!("uid {}", text(passwd::UID)));
        found.push("no such account".to_owned());
    }
    (!found.is_empty()).then(|| Difference {
        what: What::new(DriftKind::EffectDiffers, login.as_str(), NAMES),
        expected: wanted.join(", "),
        found: found.join(", "),
        severity,
    })
}

#[cfg(test)]
mod tests;
