//! From a plan to what differs: each edit that the plan would make is a field that is another.

mod numbers;

use std::collections::{BTreeMap, BTreeSet};

use muster_proto::{
    desired::DesiredState,
    drift::{DriftKind, Severity},
    name::Login,
    privilege::is_root_equivalent,
};

use self::numbers::primary;
use super::{Difference, What};
use crate::{
    format::{
        Edit, Value, passwd,
        shadow::{self, Password},
        ssh, sudoers,
    },
    listing::count,
    observed::{DropIn, ObservedState, RootFile},
    ownership::Ownership,
    plan::{AccountEdits, Action, Ending, Files, Plan},
};

/// Returns that an account which is locked has jobs again.
pub fn jobs_back(login: &Login) -> Difference {
    Difference {
        what: What::new(DriftKind::JobsBack, login.as_str(), ""),
        expected: "none".to_owned(),
        found: "a crontab, at jobs or lingering".to_owned(),
        severity: Severity::High,
    }
}

/// Returns what a plan would put right, and what it would not though it is Muster's, without what
/// only time has made due: what is left of a lock to be told, and what is to be purged.
pub fn differences(
    observed: &ObservedState,
    desired: &DesiredState,
    ownership: &Ownership,
    plan: &Plan,
) -> Vec<Difference> {
    let mut found = Found::default();
    let mut sudo = Wanted::default();
    let mut keys = Wanted::default();
    let mut quality = Wanted::default();
    for planned in &plan.actions {
        match &planned.action {
            Action::Accounts(edits) => found.accounts(observed, edits),
            Action::Sudo(files) => sudo.add(files),
            Action::Keys(files) => keys.add(files),
            Action::PasswordPolicy(files) => quality.add(files),
            Action::DropIn(files) => found.drop_in(observed, files),
            Action::Jobs(leavers) => {
                for leaver in leavers {
                    let back = jobs_back(&leaver.login);
                    found.0.insert(back.what.clone(), back);
                }
            }
            Action::Sessions(leavers) => {
                for leaver in leavers.iter().filter(|l| matches!(l.ending, Ending::Locked(_))) {
                    let running = observed.running.get(&leaver.uid);
                    let processes = running.map_or(0, |running| running.processes);
                    if processes > 0 {
                        let what = What::new(DriftKind::Running, leaver.login.as_str(), "");
                        let processes = count(processes as usize, "process", "processes");
                        found.add(what, "none", processes, Severity::High);
                    }
                }
            }
            Action::Homes(homes) => {
                for home in homes {
                    let what = What::new(DriftKind::HomeMissing, home.login.as_str(), "");
                    found.add(what, home.path.clone(), "nothing there", Severity::Medium);
                }
            }
            Action::LeftBehind(_) | Action::Purge(_) | Action::Sweep(_) => {}
        }
    }
    let none = BTreeMap::new();
    found.files(
        DriftKind::SudoChanged,
        sudoers::PREFIX,
        Severity::Critical,
        observed.sudo.as_ref().unwrap_or(&none),
        &sudo.0,
    );
    found.files(DriftKind::KeysChanged, "", Severity::High, &observed.keys, &keys.0);
    for (name, text) in quality.0 {
        let what = What::new(DriftKind::PasswordPolicy, name, "");
        let expected = text.map_or_else(|| "no file".to_owned(), lines_in);
        found.add(what, expected, "something else", Severity::Medium);
    }
    found.uids(observed, ownership);
    found.gids(observed, desired, ownership);
    found.0.into_values().collect()
}

/// By what they are: group and gshadow say the same.
#[derive(Default)]
struct Found(BTreeMap<What, Difference>);

/// The whole texts of the files that are to change; nothing for one that is to go.
#[derive(Default)]
struct Wanted<'a>(BTreeMap<&'a str, Option<&'a str>>);

impl<'a> Wanted<'a> {
    /// Files come in two steps, and the later one has the last word.
    fn add(&mut self, files: &'a Files) {
        self.0.extend(files.remove.iter().map(|name| (name.as_str(), None)));
        let written = files.write.iter();
        self.0.extend(written.map(|(name, text)| (name.as_str(), Some(text.as_str()))));
    }
}

impl Found {
    fn add(
        &mut self,
        what: What,
        expected: impl Into<String>,
        found: impl Into<String>,
        severity: Severity,
    ) {
        let (expected, found) = (expected.into(), found.into());
        let difference = Difference { what: what.clone(), expected, found, severity };
        self.0.entry(what).or_insert(difference);
    }

    fn accounts(&mut self, observed: &ObservedState, edits: &AccountEdits) {
        let AccountEdits { gshadow, group, shadow, passwd } = edits;
        for edit in passwd {
            self.passwd(observed, edit);
        }
        for edit in shadow {
            self.shadow(observed, edit);
        }
        for edit in group.iter().chain(gshadow) {
            self.group(edit);
        }
    }

    fn passwd(&mut self, observed: &ObservedState, edit: &Edit) {
        match edit {
            Edit::Add { name, line } => {
                let uid = line.split(':').nth(passwd::UID).unwrap_or_default();
                let what = What::new(DriftKind::AccountMissing, name, "");
                self.add(what, format!("uid {uid}"), "no line in passwd", Severity::Medium);
            }
            Edit::Set { name, field, value: Value::Text(wanted) } => {
                let (place, severity) = match *field {
                    1 => ("password", Severity::High),
                    passwd::GID => ("gid", primary(observed, name)),
                    passwd::GECOS => ("name", Severity::Low),
                    passwd::HOME => ("home", Severity::Medium),
                    _ => ("shell", Severity::Medium),
                };
                let what = What::new(DriftKind::AccountChanged, name, place);
                if *field == 1 {
                    self.add(what, "in shadow", "in passwd", severity);
                } else {
                    let entry = observed.passwd.get(name);
                    let found = entry.map(|entry| lossy(entry.field(*field))).unwrap_or_default();
                    self.add(what, wanted, found, severity);
                }
            }
            Edit::Set { .. }
            | Edit::Remove { .. }
            | Edit::Replace { .. }
            | Edit::Members { .. } => {}
        }
    }

    fn shadow(&mut self, observed: &ObservedState, edit: &Edit) {
        match edit {
            Edit::Add { name, .. } => {
                // A new account has neither line, and is told once.
                if observed.passwd.get(name).is_some() {
                    let what = What::new(DriftKind::AccountChanged, name, "shadow");
                    self.add(what, "a line", "none", Severity::Medium);
                }
            }
            Edit::Set { name, field, value } => {
                let Some(entry) = observed.shadow.get(name) else { return };
                let found = entry.field(*field);
                match (*field, value) {
                    (shadow::PASSWORD, Value::Locked) => {
                        let what = What::new(DriftKind::AccountUnlocked, name, "password");
                        self.add(what, "locked", password_word(found), Severity::High);
                    }
                    (shadow::PASSWORD, _) => {
                        let what = What::new(DriftKind::AccountChanged, name, "password");
                        let expected =
                            if *value == Value::Unlocked { "not locked" } else { "none" };
                        let severity = match Password::of(found) {
                            Password::Set | Password::Empty => Severity::High,
                            Password::Locked | Password::Impossible => Severity::Medium,
                        };
                        self.add(what, expected, password_word(found), severity);
                    }
                    (shadow::EXPIRE, Value::Text(day)) if day == "1" => {
                        let what = What::new(DriftKind::AccountUnlocked, name, "expiry");
                        self.add(what, "expired", day_word(&lossy(found)), Severity::High);
                    }
                    (shadow::EXPIRE, Value::Text(day)) => {
                        let what = What::new(DriftKind::AccountChanged, name, "expiry");
                        let found = lossy(found);
                        let severity = later(&found, day);
                        self.add(what, day_word(day), day_word(&found), severity);
                    }
                    (field, Value::Text(days)) => {
                        let place = match field {
                            shadow::LAST_CHANGE => "last change",
                            shadow::MIN => "min days",
                            shadow::MAX => "max days",
                            shadow::WARN => "warn days",
                            _ => "inactive days",
                        };
                        let what = What::new(DriftKind::AccountChanged, name, place);
                        self.add(what, or_none(days), or_none(&lossy(found)), Severity::Low);
                    }
                    (_, Value::Locked | Value::Unlocked) => {}
                }
            }
            Edit::Remove { .. } | Edit::Replace { .. } | Edit::Members { .. } => {}
        }
    }

    fn group(&mut self, edit: &Edit) {
        match edit {
            Edit::Add { name, line } => {
                let gid = line.split(':').nth(2).unwrap_or_default();
                if gid.parse::<u32>().is_ok() {
                    let what = What::new(DriftKind::UnixGroupChanged, name, "");
                    self.add(what, format!("gid {gid}"), "no such Unix group", Severity::Medium);
                }
            }
            Edit::Members { name, add, remove } => {
                for login in add {
                    let what = What::new(DriftKind::MemberMissing, login, name);
                    self.add(what, "a member", "none", Severity::Medium);
                }
                let severity =
                    if is_root_equivalent(name) { Severity::Critical } else { Severity::High };
                for login in remove {
                    let what = What::new(DriftKind::MemberAdded, login, name);
                    self.add(what, "no member", "a member", severity);
                }
            }
            Edit::Set { .. } | Edit::Remove { .. } | Edit::Replace { .. } => {}
        }
    }

    fn files(
        &mut self,
        kind: DriftKind,
        prefix: &str,
        when_more: Severity,
        present: &BTreeMap<String, RootFile>,
        wanted: &BTreeMap<&str, Option<&str>>,
    ) {
        for (&name, &text) in wanted {
            let what = What::new(kind, name.strip_prefix(prefix).unwrap_or(name), "");
            let (found, severity) = compare(present.get(name), text, when_more);
            let expected = text.map_or_else(|| "no file".to_owned(), lines_in);
            self.add(what, expected, found, severity);
        }
    }

    fn drop_in(&mut self, observed: &ObservedState, files: &Files) {
        let present = match &observed.drop_in {
            DropIn::Present(file) => Some(file),
            DropIn::Absent | DropIn::NoPlace => None,
        };
        for text in files.write.values() {
            let (found, _) = compare(present, Some(text), Severity::High);
            let what = What::new(DriftKind::Sshd, "sshd", ssh::DROP_IN);
            self.add(what, lines_in(text), found, Severity::High);
        }
    }
}

/// Says how a file differs from its wanted text, and how grave that is: what is more may give
/// something, what is less takes it.
fn compare(
    file: Option<&RootFile>,
    wanted: Option<&str>,
    when_more: Severity,
) -> (String, Severity) {
    let Some(file) = file else { return ("no file".to_owned(), Severity::Medium) };
    let lines = |text: &'_ [u8]| -> BTreeSet<Vec<u8>> {
        let lines = text.split(|byte| *byte == b'\n').map(<[u8]>::to_vec);
        lines.filter(|line| !line.is_empty() && !line.starts_with(b"#")).collect()
    };
    let (present, wanted) = (lines(&file.text), lines(wanted.unwrap_or_default().as_bytes()));
    let more = present.difference(&wanted).count();
    let less = wanted.difference(&present).count();
    if more + less > 0 {
        let severity = if more > 0 { when_more } else { Severity::Medium };
        return (format!("{}, {less} missing", count(more, "other line", "other lines")), severity);
    }
    if file.sound {
        return ("the same lines in another order or number".to_owned(), when_more);
    }
    ("another owner, mode or kind of file".to_owned(), when_more)
}

fn lines_in(text: &str) -> String {
    count(text.lines().filter(|line| !line.starts_with('#')).count(), "line", "lines")
}

fn password_word(field: &[u8]) -> &'static str {
    match Password::of(field) {
        Password::Locked => "locked",
        Password::Impossible => "none",
        Password::Empty => "an empty one",
        Password::Set => "one that is set",
    }
}

fn or_none(text: &str) -> String {
    if text.is_empty() { "none".to_owned() } else { text.to_owned() }
}

fn day_word(day: &str) -> String {
    match day {
        "" => "never".to_owned(),
        "0" | "1" => "expired".to_owned(),
        day => format!("day {day} since 1970"),
    }
}

/// An expiry that is later than expected, or none at all, lets somebody stay.
fn later(found: &str, expected: &str) -> Severity {
    let day = |text: &str| if text.is_empty() { Some(u64::MAX) } else { text.parse().ok() };
    if day(found) > day(expected) { Severity::High } else { Severity::Medium }
}

fn lossy(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[cfg(test)]
mod tests;
