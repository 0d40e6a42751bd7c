//! How much one receipt says, pure. A controller reads no receipt that is larger than an honest one,
//! so what is more is told in several, and the longest text is cut.

use muster_proto::{
    drift::{Culprit, Drift},
    inventory::{Inventory, LocalAccount},
    receipt::{Finding, FindingKind, Outcome},
};

/// The most outcomes, and the most findings, of one receipt.
const MOST: usize = 4_096;
/// The most bytes of their texts.
const MOST_BYTES: usize = 1 << 20;
/// The most fields of accounts: a controller counts them with all else that a receipt repeats.
const MOST_PARTS: usize = 40_000;
/// How many of these an account has without what it repeats, itself among them.
const FIELDS: usize = 8;
/// The most ways to root of one account, and the most things unknown of it.
const MOST_OF_ONE: usize = 64;
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

/// Takes as much drift as one receipt holds, in its order.
pub(super) fn drift(untold: &mut Vec<Drift>) -> Vec<Drift> {
    let most = most_drift(untold);
    untold.drain(..most).map(cut_drift).collect()
}

/// Says whether there is more than one receipt holds.
pub(super) fn are_more(untold: &[Drift]) -> bool {
    most_drift(untold) < untold.len()
}

fn most_drift(untold: &[Drift]) -> usize {
    let mut bytes = 0;
    let fits = |drift: &&Drift| {
        let Drift { kind, subject, place, expected, found, culprit, .. } =
            &cut_drift((*drift).clone());
        let by = culprit.iter().flat_map(|by| [&by.program, &by.command, &by.login, &by.unit]);
        let texts = [kind, subject, place, expected, found].into_iter().chain(by);
        bytes += texts.map(String::len).sum::<usize>();
        bytes <= MOST_BYTES
    };
    untold.iter().take(MOST).take_while(fits).count()
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

/// Returns the accounts that fit into a receipt beside all else, and how many more there are.
pub(super) fn inventory(inventory: Inventory) -> Inventory {
    let all = inventory.accounts.len();
    let (mut bytes, mut parts) = (0, 0);
    let cut_all = |texts: Vec<String>| -> Vec<String> {
        let mut texts: Vec<String> = texts.into_iter().map(cut).collect();
        if texts.len() > MOST_OF_ONE {
            let more = format!("{} more", texts.len() - MOST_OF_ONE);
            texts.truncate(MOST_OF_ONE);
            texts.push(more);
        }
        texts
    };
    let cut = inventory.accounts.into_iter().map(|account| LocalAccount {
        login: cut(account.login),
        name: cut(account.name),
        shell: cut(account.shell),
        keys: account.keys.into_iter().map(cut).collect(),
        root_by: cut_all(account.root_by),
        unknown: cut_all(account.unknown),
        ..account
    });
    let fits = |account: &LocalAccount| {
        let LocalAccount { login, name, shell, keys, root_by, unknown, .. } = account;
        let lists = keys.iter().chain(root_by).chain(unknown);
        parts += FIELDS + lists.clone().count();
        bytes += [login, name, shell].into_iter().chain(lists).map(String::len).sum::<usize>();
        parts <= MOST_PARTS && bytes <= MOST_BYTES / 2
    };
    let accounts: Vec<LocalAccount> = cut.take(MOST).take_while(fits).collect();
    let more = u32::try_from(all - accounts.len()).unwrap_or(u32::MAX);
    Inventory { accounts, more: inventory.more.saturating_add(more) }
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
        inventory::LocalPassword,
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

    fn accounts(count: usize, keys: usize) -> Inventory {
        let account = |number: usize| LocalAccount {
            login: number.to_string(),
            uid: 1,
            name: "n".to_owned(),
            shell: "s".to_owned(),
            password: LocalPassword::Set,
            shut: true,
            keys: vec!["k".to_owned(); keys],
            root_by: Vec::new(),
            unknown: Vec::new(),
            owned: true,
        };
        Inventory { accounts: (0..count).map(account).collect(), more: 0 }
    }

    #[test]
    fn accounts_that_do_not_fit_are_counted() {
        let shown = |count: usize, keys: usize| {
            let Inventory { accounts, more } = inventory(accounts(count, keys));
            (accounts.len(), more)
        };
        assert_eq!(shown(MOST, 1), (MOST, 0));
        assert_eq!(shown(MOST + 1, 1), (MOST, 1));
        assert_eq!(shown(MOST_PARTS / 40, 32), (MOST_PARTS / 40, 0));
        assert_eq!(shown(MOST_PARTS / 40 + 2, 32), (MOST_PARTS / 40, 2));
        let mut long = accounts(1, 0);
        let one = &mut long.accounts[0];
        one.root_by = vec!["w".to_owned(); MOST_OF_ONE];
        assert_eq!(inventory(long.clone()), long);
        long.accounts[0].root_by.push("w".to_owned());
        let told = inventory(long).accounts[0].root_by.clone();
        assert_eq!((told.len(), told[MOST_OF_ONE].as_str()), (MOST_OF_ONE + 1, "1 more"));
    }

    #[test]
    fn accounts_of_too_many_bytes_are_left_out_with_all_after_them() {
        let mut all = accounts(2, 0);
        let most = MOST_BYTES / 2;
        // The login, name and shell of each have three bytes together.
        all.accounts[0].keys = vec!["x".repeat(MOST_CHARACTERS); most / MOST_CHARACTERS];
        assert_eq!(inventory(all.clone()).accounts.len(), 0);
        all.accounts[0].keys.pop();
        all.accounts[0].keys.push("x".repeat(MOST_CHARACTERS - 6));
        assert_eq!(inventory(all.clone()), all);
        all.accounts[0].keys.push("x".to_owned());
        assert_eq!(inventory(all).more, 1);
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
            let (mut untold, mut parts) = (all.clone(), Vec::new());
            while are_more(&untold) {
                parts.push(drift(&mut untold));
            }
            parts.push(drift(&mut untold));
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
        let cut = drift(&mut vec![long]);
        assert_eq!(cut[0].found.chars().count(), MOST_CHARACTERS + 1);
        assert!(
            cut[0].found.ends_with('…') && cut[0].culprit.as_ref().unwrap().command.ends_with('…')
        );
    }
}
