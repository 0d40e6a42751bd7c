//! How much one receipt says, pure. A controller reads no receipt that is larger than an honest one,
//! so what is more is told in several, and the longest text is cut.

use std::collections::VecDeque;

use muster_proto::{
    drift::Drift,
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
    for drift in untold.into_iter().chain(new) {
        let drift = Drift {
            subject: cut(drift.subject),
            expected: cut(drift.expected),
            found: cut(drift.found),
            ..drift
        };
        let texts = [&drift.kind, &drift.subject, &drift.place, &drift.expected, &drift.found];
        let size = texts.into_iter().map(String::len).sum::<usize>();
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

fn cut(text: String) -> String {
    match text.char_indices().nth(MOST_CHARACTERS) {
        None => text,
        Some((at, _)) => text.get(..at).unwrap_or_default().to_owned() + "…",
    }
}

#[cfg(test)]
mod tests {
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
}
