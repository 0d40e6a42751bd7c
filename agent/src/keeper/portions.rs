//! How much one receipt says, pure. A controller reads no receipt that is larger than an honest one,
//! so what is more is told in several, and the longest text is cut.

use std::collections::VecDeque;

use muster_proto::{
    drift::{Culprit, Drift},
    receipt::{Finding, FindingKind, Outcome},
};

/// The most outcomes, and the most findings, of one receipt.
const MOST: usize = 4_096;
/// The most bytes of their texts.
const MOST_BYTES: usize = 1 << 20;
/// The most characters of one text.
const MOST_CHARACTERS: usize = 2_048;

/// Parts outcomes, in their order, into what one receipt holds; there is always one part.
pub(super) fn outcomes(outcomes: Vec<Outcome>) -> Vec<Vec<Outcome>> {
    let (mut parts, mut part, mut bytes) = (Vec::new(), Vec::new(), 0);
    for Outcome { action, subject, detail, failure } in outcomes {
        let (subject, detail, failure) = (cut(subject), cut(detail), failure.map(cut));
        let texts = [&action, &subject, &detail].into_iter().chain(&failure);
        let size = texts.map(String::len).sum::<usize>();
        if part.len() == MOST || bytes + size > MOST_BYTES {
            parts.push(std::mem::take(&mut part));
            bytes = 0;
        }
        bytes += size;
        part.push(Outcome { action, subject, detail, failure });
    }
    parts.push(part);
    parts
}

/// Returns the findings that fit, and how many more there are as the last of them.
pub(super) fn findings(findings: Vec<Finding>) -> Vec<Finding> {
    let all = findings.len();
    let mut bytes = 0;
    let cut = findings.into_iter().map(|Finding { kind, subject, detail }| Finding {
        kind,
        subject: cut(subject),
        detail: cut(detail),
    });
    let fits = |finding: &Finding| {
        bytes += finding.kind.as_str().len() + finding.subject.len() + finding.detail.len();
        bytes <= MOST_BYTES
    };
    let mut shown: Vec<Finding> = cut.take(MOST).take_while(fits).collect();
    if shown.len() < all {
        shown.push(Finding {
            kind: FindingKind::MoreFindings.into(),
            subject: "findings".to_owned(),
            detail: format!("{} more do not fit into one receipt", all - shown.len()),
        });
    }
    shown
}

/// Parts drift, what is still to be told first, into what one receipt holds.
pub(super) fn drift(untold: Vec<Drift>, new: Vec<Drift>) -> VecDeque<Vec<Drift>> {
    let mut parts = VecDeque::new();
    let (mut part, mut bytes) = (Vec::new(), 0);
    for drift in untold.into_iter().chain(new).map(cut_drift) {
        let Drift { kind, subject, place, expected, found, culprit, .. } = &drift;
        let by = culprit.iter().flat_map(|by| [&by.program, &by.command, &by.login, &by.unit]);
        let texts = [kind, subject, place, expected, found].into_iter().chain(by);
        let size = texts.map(String::len).sum::<usize>();
        if part.len() == MOST || bytes + size > MOST_BYTES {
            parts.push_back(std::mem::take(&mut part));
            bytes = 0;
        }
        bytes += size;
        part.push(drift);
    }
    parts.push_back(part);
    parts
}

fn cut_drift(drift: Drift) -> Drift {
    let culprit = drift.culprit.map(|by| Culprit {
        pid: by.pid,
        program: cut(by.program),
        command: cut(by.command),
        login: cut(by.login),
        unit: cut(by.unit),
    });
    Drift {
        subject: cut(drift.subject),
        place: cut(drift.place),
        expected: cut(drift.expected),
        found: cut(drift.found),
        culprit,
        ..drift
    }
}

fn cut(text: String) -> String {
    match text.char_indices().nth(MOST_CHARACTERS) {
        None => text,
        Some((at, _)) => text.get(..at).unwrap_or_default().to_owned() + "…",
    }
}

#[cfg(test)]
mod tests {
    use muster_proto::{
        drift::{Response, Severity},
        time::Timestamp,
    };

    use super::*;

    fn outcome(number: usize, detail: &str) -> Outcome {
        Outcome {
            action: "a".to_owned(),
            subject: number.to_string(),
            detail: detail.to_owned(),
            failure: None,
        }
    }

    #[test]
    fn outcomes_are_parted_at_the_bound_and_none_is_lost() {
        let lengths = |count: usize, detail: &str| -> Vec<usize> {
            let all: Vec<Outcome> = (0..count).map(|number| outcome(number, detail)).collect();
            let parts = outcomes(all.clone());
            assert_eq!(parts.concat(), all);
            parts.iter().map(Vec::len).collect()
        };
        assert_eq!(lengths(0, ""), [0]);
        assert_eq!(lengths(MOST, ""), [MOST]);
        assert_eq!(lengths(MOST + 1, ""), [MOST, 1]);
        // Each has a byte of an action and four of a number.
        let detail = "x".repeat(MOST_BYTES / 1_024 - 5);
        let all: Vec<Outcome> = (1_000..2_024).map(|number| outcome(number, &detail)).collect();
        assert_eq!(outcomes(all.clone()).len(), 1);
        let one_more = [all, vec![outcome(0, "")]].concat();
        assert_eq!(outcomes(one_more).len(), 2);
    }

    #[test]
    fn the_longest_text_is_cut_between_characters() {
        let long = "ä".repeat(MOST_CHARACTERS);
        let told = |detail: &str| outcomes(vec![outcome(0, detail)])[0][0].detail.clone();
        assert_eq!(told(&long), long);
        assert_eq!(told(&(long.clone() + "x")), long + "…");
    }

    #[test]
    fn findings_that_do_not_fit_are_counted() {
        let all = |count: usize| -> Vec<Finding> {
            let finding = |number: usize| Finding {
                kind: FindingKind::Conflict.into(),
                subject: number.to_string(),
                detail: String::new(),
            };
            (0..count).map(finding).collect()
        };
        assert_eq!(findings(all(MOST)), all(MOST));
        let shown = findings(all(MOST + 2));
        assert_eq!(shown.len(), MOST + 1);
        assert_eq!(shown.last().unwrap().detail, "2 more do not fit into one receipt");
    }

    fn told(number: usize, found: &str) -> Drift {
        Drift {
            kind: "k".to_owned(),
            subject: number.to_string(),
            place: String::new(),
            expected: String::new(),
            found: found.to_owned(),
            since: Timestamp(0),
            severity: Severity::Low,
            response: Response::Reported,
            rounds: 0,
            culprit: Some(Culprit { command: found.to_owned(), ..Culprit::default() }),
        }
    }

    #[test]
    fn drift_is_parted_at_the_bound_and_none_is_lost_nor_told_before_its_turn() {
        let parted = |count: usize, found: &str| -> Vec<usize> {
            let all: Vec<Drift> = (0..count).map(|number| told(number, found)).collect();
            let (untold, new) = all.split_at(count / 2);
            let parts = Vec::from(drift(untold.to_vec(), new.to_vec()));
            assert_eq!(parts.concat(), all);
            parts.iter().map(Vec::len).collect()
        };
        assert_eq!(parted(0, ""), [0]);
        assert_eq!(parted(MOST, ""), [MOST]);
        assert_eq!(parted(MOST + 1, ""), [MOST, 1]);
        // Each has a byte of a kind, up to four of a number, and its text twice.
        let parts = parted(2_048, &"x".repeat(MOST_CHARACTERS));
        assert!(parts.len() > 4 && parts.iter().all(|part| *part <= 256), "{parts:?}");
        let long = told(0, &"x".repeat(MOST_CHARACTERS + 1));
        let cut = Vec::from(drift(Vec::new(), vec![long])).concat();
        assert_eq!(cut[0].found.chars().count(), MOST_CHARACTERS + 1);
        assert!(
            cut[0].found.ends_with('…') && cut[0].culprit.as_ref().unwrap().command.ends_with('…')
        );
    }
}
