//! Access: key files, sudo files and the drop-in, each taken down to what old and new share before
//! it becomes the new one. Only kept accounts have any: rules for a login that was refused would
//! serve a stranger.

use std::{
    borrow::Cow,
    collections::{BTreeMap, BTreeSet},
};

use muster_proto::{
    desired::DesiredState,
    key::SshPublicKey,
    name::Login,
    receipt::{Finding, FindingKind},
    statement::{LoginMethod, Restrictions, UserKey},
};

use crate::{
    accepted_keys::KeyRefused,
    format::{
        ssh,
        sudoers::{self, Rules},
    },
    listing::count,
    observed::{DropIn, ObservedState, RootFile},
    policy::HostPolicy,
};

use super::{
    action::{Files, Note, finding, note},
    judge::{Judged, Standing},
};

/// Files of one directory, taken down first and then made whole.
#[derive(Debug, Default)]
pub(super) struct TwoSteps {
    pub(super) take: Files,
    pub(super) give: Files,
}

/// The words for files of one kind.
#[derive(Clone, Copy, Debug)]
pub(super) struct Words {
    pub(super) prefix: &'static str,
    pub(super) removed: &'static str,
    pub(super) installed: &'static str,
}

pub(super) const SUDO_WORDS: Words =
    Words { prefix: sudoers::PREFIX, removed: "sudo-removed", installed: "sudo-installed" };
pub(super) const KEY_WORDS: Words =
    Words { prefix: "", removed: "keys-removed", installed: "keys-installed" };

impl Words {
    pub(super) fn take(self, files: &Files) -> Vec<Note> {
        let written = files.write.keys().map(|name| (name, "some"));
        let removed = files.remove.iter().map(|name| (name, "all"));
        written
            .chain(removed)
            .map(|(name, what)| note(self.removed, self.subject(name), what))
            .collect()
    }

    pub(super) fn give(self, files: &Files) -> Vec<Note> {
        let lines = |text: &str| text.lines().filter(|line| !line.starts_with('#')).count();
        let written = files.write.iter();
        written
            .map(|(name, text)| {
                note(self.installed, self.subject(name), count(lines(text), "line", "lines"))
            })
            .collect()
    }

    fn subject(self, name: &str) -> &str {
        name.strip_prefix(self.prefix).unwrap_or(name)
    }
}

fn two_steps(
    present: &BTreeMap<String, RootFile>,
    wanted: BTreeMap<String, String>,
    common: impl Fn(&[u8], &str) -> Option<String>,
) -> TwoSteps {
    let mut steps = TwoSteps::default();
    for name in present.keys().filter(|name| !wanted.contains_key(*name)) {
        steps.take.remove.insert(name.clone());
    }
    for (name, text) in wanted {
        match present.get(&name) {
            None => {
                steps.give.write.insert(name, text);
            }
            Some(file) if file.text == text.as_bytes() => {
                if !file.sound {
                    steps.take.write.insert(name, text);
                }
            }
            Some(file) => match common(&file.text, &text) {
                Some(shared) if shared == text => {
                    steps.take.write.insert(name, text);
                }
                Some(shared) => {
                    if shared.as_bytes() != file.text {
                        steps.take.write.insert(name.clone(), shared);
                    }
                    steps.give.write.insert(name, text);
                }
                None => {
                    steps.take.remove.insert(name.clone());
                    steps.give.write.insert(name, text);
                }
            },
        }
    }
    steps
}

/// Returns the sudo files.
pub(super) fn sudo(
    observed: &ObservedState,
    desired: &DesiredState,
    policy: &HostPolicy,
    judged: &Judged<'_>,
    findings: &mut Vec<Finding>,
) -> TwoSteps {
    let mut rules = Rules::new();
    for (role, own) in &desired.sudo {
        if policy.refused_roles.contains(role) {
            findings.push(finding(
                FindingKind::RoleRefused,
                role,
                "the host takes no sudo rule of this role",
            ));
            continue;
        }
        let own = own.iter().map(|(rule, logins)| {
            let kept = logins.iter().filter(|login| judged.kept.contains_key(login));
            (rule, kept.collect::<BTreeSet<_>>())
        });
        rules.insert(role, own.filter(|(_, logins)| !logins.is_empty()).collect());
    }
    let mut wanted = sudoers::render(&rules);
    if let Some(present) = &observed.sudo {
        if !judged.untouched.is_empty() {
            for (name, file) in present {
                sudoers::keep_lines(&mut wanted, name, &file.text, &judged.untouched);
            }
        }
        return two_steps(present, wanted, sudoers::common);
    }
    for name in wanted.keys() {
        let role = SUDO_WORDS.subject(name);
        findings.push(finding(
            FindingKind::Unmet,
            role,
            "the host has no directory for sudo rules",
        ));
    }
    TwoSteps::default()
}

type Keys = BTreeSet<(UserKey, Restrictions)>;

/// Returns the key files, and the held accounts that lose a key.
pub(super) fn keys<'a>(
    observed: &ObservedState,
    policy: &HostPolicy,
    judged: &Judged<'a>,
    findings: &mut Vec<Finding>,
) -> (TwoSteps, BTreeSet<&'a str>) {
    let mut wanted = BTreeMap::new();
    let mut losers = BTreeSet::new();
    for (login, kept) in &judged.kept {
        // An older sshd would refuse a line with an option that it does not know.
        let ends = kept.account.ends.filter(|_| observed.sshd_knows_utc);
        let keys = accepted(login, &kept.account.keys, policy, findings);
        let text = ssh::key_file(&keys, ends);
        let present = observed.keys.get(login.as_str());
        if present.is_some_and(|file| ssh::loses_a_key(&file.text, &text))
            && matches!(kept.standing, Standing::Held(..))
        {
            losers.insert(login.as_str());
        }
        if !text.is_empty() {
            wanted.insert(login.as_str().to_owned(), text);
        }
    }
    let mut steps = two_steps(&observed.keys, wanted, ssh::common_keys);
    let is_touched = |name: &String| !judged.untouched.iter().any(|login| login.as_str() == name);
    steps.take.remove.retain(is_touched);
    (steps, losers)
}

/// Returns the keys that the host takes, and tells of each other one why not.
fn accepted<'a>(
    login: &Login,
    keys: &'a Keys,
    policy: &HostPolicy,
    findings: &mut Vec<Finding>,
) -> Cow<'a, Keys> {
    let judge = |(key, _): &'a (UserKey, Restrictions)| {
        policy.accepted_keys.judge(&key.key).err().map(|why| (&key.key, why))
    };
    let refused: BTreeMap<&SshPublicKey, KeyRefused> = keys.iter().filter_map(judge).collect();
    if refused.is_empty() {
        return Cow::Borrowed(keys);
    }
    findings.extend(refused.iter().map(|(key, why)| {
        finding(
            FindingKind::KeyRefused,
            login,
            format!("{} is left out: {why}", key.shown_fingerprint()),
        )
    }));
    let taken = keys.iter().filter(|(key, _)| !refused.contains_key(&key.key));
    Cow::Owned(taken.cloned().collect())
}

/// The drop-in, taken down first and then made whole.
#[derive(Debug, Default)]
pub(super) struct DropInSteps {
    pub(super) take: Option<String>,
    pub(super) give: Option<String>,
}

/// Returns the drop-in, if it has to change.
pub(super) fn drop_in(
    observed: &ObservedState,
    judged: &Judged<'_>,
    findings: &mut Vec<Finding>,
) -> DropInSteps {
    let present = match &observed.drop_in {
        DropIn::Present(file) => String::from_utf8_lossy(&file.text),
        DropIn::Absent | DropIn::NoPlace => Cow::Borrowed(""),
    };
    let untouched = judged.untouched.iter().filter(|who| ssh::lets_use_password(&present, who));
    let by_password: BTreeSet<&Login> = judged
        .kept
        .iter()
        .filter(|(_, kept)| kept.account.methods.contains(&LoginMethod::Password))
        .map(|(login, _)| login)
        .chain(untouched)
        .copied()
        .collect();
    let whole = ssh::drop_in(by_password.iter().copied());
    match &observed.drop_in {
        DropIn::NoPlace | DropIn::Absent if !judged.has_anybody() => DropInSteps::default(),
        DropIn::NoPlace => {
            let detail = "sshd has no directory for our settings: our key files have no effect";
            findings.push(finding(FindingKind::Ineffective, "sshd", detail));
            DropInSteps::default()
        }
        DropIn::Absent => DropInSteps { take: None, give: Some(whole) },
        DropIn::Present(file) if file.sound && file.text == whole.as_bytes() => {
            DropInSteps::default()
        }
        DropIn::Present(file) => {
            let both = by_password.iter().filter(|login| ssh::lets_use_password(&present, login));
            let shared = ssh::drop_in(both.copied());
            let take = (!file.sound || shared != present).then(|| shared.clone());
            DropInSteps { take, give: (shared != whole).then_some(whole) }
        }
    }
}
