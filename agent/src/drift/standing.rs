//! What differs on a host at one moment, beside what was told of it: for root on the console, who has
//! perhaps no controller to ask.

use super::{
    What,
    memory::{Circumstances, Looked, Memory, Tellings},
    open::Open,
};

/// A difference as it stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Standing {
    /// Which one.
    pub what: What,
    /// What is known of it.
    pub open: Open,
    /// Whether the keeper has told it.
    pub told: Told,
}

/// Whether the keeper has told a difference.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Told {
    /// It has, with what it did.
    Yes,
    /// It has not seen it, or is about to put it right.
    NotYet,
}

/// Returns what differs now, gravest first. What was so when the present state came to be wanted,
/// or before anybody looked, is no more told here than in a report; and what was told is what it
/// was told as, though only the keeper knows how often it was put right.
pub fn standing(memory: &Memory, found: &Looked, at: &Circumstances<'_>) -> Vec<Standing> {
    // Here nothing is held back.
    let mut now = Memory { tellings: Tellings::default(), ..memory.clone() };
    now.take(found, at);
    let with = |(what, mut open): (What, Open)| {
        let before = memory.open.get(&what);
        if let Some(before) = before.filter(|before| before.found == open.found) {
            (open.response, open.presence) = (before.response, before.presence);
        }
        let told = if before.is_some() { Told::Yes } else { Told::NotYet };
        Standing { what, open, told }
    };
    let mut all: Vec<Standing> = now.open.into_iter().map(with).collect();
    all.sort_by(|a, b| b.open.severity.cmp(&a.open.severity).then_with(|| a.what.cmp(&b.what)));
    all
}

impl Standing {
    /// The fields of a row.
    pub const FIELDS: [&str; 9] =
        ["severity", "kind", "subject", "place", "expected", "found", "since", "response", "by"];

    /// Returns it as a row of a list.
    pub fn row(&self) -> [String; 9] {
        let Open { expected, severity, since, response, culprit, .. } = &self.open;
        let response = match self.told {
            Told::Yes => response.as_str(),
            Told::NotYet => "new",
        };
        let by = culprit.as_ref().map_or_else(String::new, |by| {
            let words =
                [("", by.program.as_str()), ("for ", by.login.as_str()), ("in ", by.unit.as_str())];
            let known = words.iter().filter(|(_, word)| !word.is_empty());
            let known = known.map(|(before, word)| format!("{before}{word} "));
            format!("{}({})", known.collect::<String>(), by.pid)
        });
        [
            severity.as_str().to_owned(),
            self.what.kind.as_str().to_owned(),
            self.what.subject.clone(),
            self.what.place.clone(),
            expected.clone(),
            self.open.found_in_words(),
            since.to_string(),
            response.to_owned(),
            by,
        ]
    }
}

#[cfg(test)]
mod tests {
    use expect_test::expect;
    use muster_proto::{
        crypto::sha256,
        drift::{Culprit, DriftKind, Severity},
        receipt::HostMode,
        time::Timestamp,
    };

    use super::*;
    use crate::{
        drift::{Difference, Place, Touch},
        listing,
    };

    fn differs(subject: &str, severity: Severity) -> Difference {
        let what = What::new(DriftKind::AccountChanged, subject, "shell");
        let [expected, found] = ["/bin/bash", "/bin/sh"].map(str::to_owned);
        Difference { what, expected, found, severity }
    }

    fn at(touches: &[Touch], now: u64) -> Circumstances<'_> {
        let (wanted, now) = (sha256(&[b"this"]), Timestamp(now));
        Circumstances { wanted, mode: HostMode::Observe, touches, now, boot: 0 }
    }

    #[test]
    fn what_was_told_keeps_its_time_and_culprit_and_what_is_new_says_so() {
        let both = |all: Vec<Difference>| Looked {
            before: all.clone(),
            after: all,
            ungranted: Vec::new(),
        };
        let mut memory = Memory::default();
        memory.take(&both(vec![differs("old", Severity::Low)]), &at(&[], 10));
        let culprit = Some(Culprit {
            pid: 7,
            program: "usermod".to_owned(),
            login: "ops".to_owned(),
            ..Culprit::default()
        });
        let touch = Touch { place: Place::Etc, name: "passwd".to_owned(), culprit };
        let old = || differs("old", Severity::Low);
        let told = || differs("told", Severity::Medium);
        memory.take(&both(vec![old(), told()]), &at(&[touch], 20));
        let before = memory.clone();
        let now = both(vec![old(), told(), differs("new", Severity::High)]);
        let rows: Vec<_> =
            standing(&memory, &now, &at(&[], 30)).iter().map(Standing::row).collect();
        expect![[r#"
            - severity: "high"
              kind: "account-changed"
              subject: "new"
              place: "shell"
              expected: "/bin/bash"
              found: "/bin/sh"
              since: "1970-01-01T00:00:30Z"
              response: "new"
              by: ""
            - severity: "medium"
              kind: "account-changed"
              subject: "told"
              place: "shell"
              expected: "/bin/bash"
              found: "/bin/sh"
              since: "1970-01-01T00:00:20Z"
              response: "reported"
              by: "usermod for ops (7)"
        "#]]
        .assert_eq(&listing::yaml(Standing::FIELDS, &rows));
        // What has gone is nothing that differs, and nothing was written down.
        assert_eq!(standing(&memory, &both(vec![old()]), &at(&[], 40)), []);
        assert_eq!(memory, before);
    }

    #[test]
    fn what_was_told_as_a_fight_is_one_though_nobody_here_has_counted_its_rounds() {
        let shell = || differs("fought", Severity::Medium);
        let all = |found: &[Difference]| Looked {
            before: found.to_vec(),
            after: found.to_vec(),
            ungranted: Vec::new(),
        };
        let at = |now| Circumstances { mode: HostMode::Enforce, ..at(&[], now) };
        let mut memory = Memory::default();
        memory.take(&all(&[]), &at(10));
        for now in 20..23 {
            memory.take(&Looked { before: vec![shell()], ..all(&[]) }, &at(now));
        }
        memory.take(&all(&[shell()]), &at(30));
        memory.rounds.clear();
        let responses = |found: &[Difference]| -> Vec<String> {
            let standing = standing(&memory, &all(found), &at(40));
            standing.iter().map(|one| one.row()[7].clone()).collect()
        };
        assert_eq!(responses(&[shell()]), ["contested"]);
        // Another finding is not what was told.
        let another = Difference { found: "/bin/zsh".to_owned(), ..shell() };
        assert_eq!(responses(&[another]), ["failed"]);
    }
}
