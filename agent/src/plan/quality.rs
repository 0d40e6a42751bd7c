//! How long new passwords have to be: as the strictest role of those who have a password here says,
//! since PAM asks the same of everybody. Where the host does not make sure of it, each of them who
//! should have it so is told.

use std::collections::BTreeMap;

use muster_proto::{
    name::Login,
    receipt::{Finding, FindingKind},
};

use crate::{
    format::pwquality::{self, Check},
    observed::ObservedState,
};

use super::{
    action::{Files, Note, finding, note},
    judge::Judged,
};

/// Returns what has to become of our drop-in.
pub(super) fn quality(
    observed: &ObservedState,
    judged: &Judged<'_>,
    findings: &mut Vec<Finding>,
) -> Files {
    let lengths: BTreeMap<&Login, u32> = judged
        .kept
        .iter()
        .filter_map(|(login, kept)| Some((*login, kept.account.password?.min_length)))
        .filter(|(_, length)| *length > 0)
        .collect();
    let length = lengths.values().max().copied().unwrap_or_default();
    let check = &observed.password_check;
    let present = observed.password_policy.get(pwquality::FILE);
    let mut files = Files::default();
    let ours = match check.needs(length) {
        Some(ours) => {
            let text = pwquality::render(ours);
            if present.is_none_or(|file| !file.sound || file.text != text.as_bytes()) {
                files.write.insert(pwquality::FILE.to_owned(), text);
            }
            Some(ours)
        }
        // What cannot be judged just now is not made weaker.
        None if length > 0 && matches!(check, Check::Unclear(_)) => None,
        None => {
            files.remove.extend(present.map(|_| pwquality::FILE.to_owned()));
            None
        }
    };
    let shortest = check.shortest(ours);
    let unmet = lengths.iter().filter(|(_, length)| shortest.is_none_or(|met| met < **length));
    findings.extend(unmet.map(|(login, length)| {
        let why = check.why_not(*length);
        let detail = format!("new passwords of fewer than {length} characters are taken: {why}");
        finding(FindingKind::PasswordPolicyUnmet, login, detail)
    }));
    files
}

/// Returns what an outcome will say.
pub(super) fn notes(files: &Files) -> Vec<Note> {
    let said = |text: &str| text.lines().last().unwrap_or_default().to_owned();
    let written = files.write.values().map(|text| ("password-policy-installed", said(text)));
    let removed = files.remove.iter().map(|_| ("password-policy-removed", String::new()));
    written.chain(removed).map(|(word, detail)| note(word, "passwords", detail)).collect()
}
