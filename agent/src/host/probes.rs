//! Whom sudo and PAM are to be asked about, and what they said last. A few accounts in one look:
//! those that are others than when they were asked about, and, where the look is a full one or
//! somebody was at sudo's or PAM's own configuration, those that something is told of and some in
//! turn.

mod choice;
mod ground;

use std::collections::{BTreeMap, BTreeSet};

use muster_proto::name::Login;

use self::ground::{Marks, ask_pam, marks};
pub(super) use self::ground::{UsesPam, pam_mark};
use super::{
    files::Dir,
    inquiry::{Answer, Answers, AskPam, Inquiry},
    program::Programs,
};
use crate::{
    drift::{
        Difference,
        effect::{Asking, Expected, SUDO},
        probe::{self, Heard, NoLogin, PAM, Stands, Subject},
    },
    format::ssh,
    observed::ObservedState,
};

/// What was said the last time.
#[derive(Debug, Default)]
pub(super) struct Probes {
    /// The states of accounts that need not be asked about at once; nothing before the first look.
    known: Option<BTreeSet<u64>>,
    /// Those of the others about whom somebody was asked and has not answered, and how often since
    /// the last full look.
    unanswered: BTreeMap<u64, u8>,
    /// The last ones that were asked about in turn, one of each kind.
    turns: Vec<(Stands, Login)>,
    /// What differs.
    found: Vec<Found>,
    /// What is said once, since PAM refuses everybody.
    everybody: Option<Difference>,
    /// The states of those whom it refused, and of whom that is why nothing else is told.
    refused: BTreeSet<u64>,
    /// Those of them that are to be asked about again, as somebody is let in by now. By what is said
    /// of these alone it is not everybody again.
    apart: BTreeSet<u64>,
    /// What sudo's and PAM's own configuration was like.
    marks: Option<Marks>,
    /// Why PAM is not asked though sshd asks it.
    unasked: Option<String>,
    stage: Stage,
    /// The states of accounts of which something is told or was left untold, and for which there
    /// was no room in the last inquiry. They come first in the next and in this order, or others
    /// would each time.
    owed: Vec<u64>,
}

/// Something that differs, and in which state of the account.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Found {
    state: u64,
    difference: Difference,
}

/// How far an inquiry is.
#[derive(Debug, Default)]
enum Stage {
    /// Nobody is to be asked.
    #[default]
    Idle,
    /// This is to be asked.
    Due(Inquiry),
    /// It is being asked.
    Asking,
    /// It is, and since it began the host was looked at.
    Overtaken,
}

/// Whether the host has to be looked at for what was heard.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub enum News {
    /// It is as it was.
    None,
    /// Something differs that did not, or no longer does; or somebody may have to be asked about who
    /// came while others were.
    Some,
}

impl Probes {
    /// Returns what differs as far as it is known, and makes ready to ask for more.
    pub(super) fn look(
        &mut self,
        (root, programs): (&Dir, Programs),
        observed: &ObservedState,
        (expected, asking): (&Expected<'_>, Asking),
        uses_pam: UsesPam,
    ) -> Vec<Difference> {
        if programs == Programs::None {
            return Vec::new();
        }
        let subjects = &expected.subjects;
        if self.known.is_none() {
            self.take_over(expected);
        }
        let states: BTreeSet<u64> = subjects.iter().map(|subject| subject.state).collect();
        self.found.retain(|found| states.contains(&found.state));
        self.refused.retain(|state| states.contains(state));
        self.apart.retain(|state| states.contains(state));
        self.unanswered.retain(|state, _| states.contains(state));
        // Before it is read: whoever is at it afterwards is seen before it is asked.
        let marks = marks(root, observed);
        let pam = ask_pam(root, uses_pam);
        let is_asked = matches!(pam, AskPam::Yes | AskPam::NotNow);
        self.unasked = if let AskPam::No(reason) = &pam { Some(reason.clone()) } else { None };
        if !is_asked {
            self.found.retain(|found| found.difference.what.place != PAM);
        }
        if !is_asked || !subjects.iter().any(|one| one.stands == Stands::Open) {
            self.everybody = None;
        }
        // What cannot be read is asked for with the next full look.
        if matches!(self.stage, Stage::Asking | Stage::Overtaken) {
            self.stage = Stage::Overtaken;
        } else if let Ok(marks) = marks {
            let questions = self.questions(observed, (expected, asking), marks);
            self.stage = match questions {
                Some(questions) => {
                    let before = (root.clone(), marks.pam);
                    Stage::Due(Inquiry { programs, pam, before, questions })
                }
                None => Stage::Idle,
            };
        }
        let single = self.found.iter().map(|found| &found.difference);
        single.chain(&self.everybody).cloned().collect()
    }

    /// Returns why PAM is not asked though sshd asks it, if it is not.
    pub(super) fn unasked(&self) -> Option<&str> {
        self.unasked.as_deref()
    }

    /// Returns what is to be asked, if anything is and nothing is being asked.
    pub(super) fn inquiry(&mut self) -> Option<Inquiry> {
        match std::mem::take(&mut self.stage) {
            Stage::Due(inquiry) => {
                self.stage = Stage::Asking;
                Some(inquiry)
            }
            other => {
                self.stage = other;
                None
            }
        }
    }

    /// Takes down what was said, and says whether the host has to be looked at for that.
    pub(super) fn hear(&mut self, Answers { no_login, answers }: Answers) -> News {
        let stage = std::mem::take(&mut self.stage);
        let before = (self.found.clone(), self.everybody.clone());
        self.hear_nothing(&answers);
        self.hear_of_all(no_login, &answers);
        for answer in &answers {
            let is_told = self.everybody.is_some() && answer.stands == Some(Stands::Open);
            let pam = match &answer.pam {
                Heard::Otherwise(_) if is_told => {
                    self.refused.insert(answer.state);
                    &Heard::AsExpected
                }
                other => other,
            };
            for (place, heard) in [(SUDO, &answer.sudo), (PAM, pam)] {
                if !heard.is_answer() {
                    continue;
                }
                let of_it = |found: &Found| {
                    let what = &found.difference.what;
                    what.subject == answer.login.as_str() && what.place == place
                };
                let at = self.found.iter().position(of_it);
                let new = match heard {
                    Heard::Otherwise(difference) => {
                        Some(Found { state: answer.state, difference: difference.clone() })
                    }
                    _ => None,
                };
                match (at.and_then(|at| self.found.get_mut(at)), at, new) {
                    (Some(known), _, Some(new)) => *known = new,
                    (_, Some(at), None) => drop(self.found.remove(at)),
                    (_, _, new) => self.found.extend(new),
                }
            }
        }
        let is_other = (self.found.clone(), self.everybody.clone()) != before;
        let is_due = matches!(stage, Stage::Overtaken) || !self.owed.is_empty();
        if is_other || is_due { News::Some } else { News::None }
    }

    /// Takes down about whom somebody has not answered: they are asked about again in the next looks.
    fn hear_nothing(&mut self, answers: &[Answer]) {
        for Answer { state, sudo, pam, .. } in answers {
            if [sudo, pam].contains(&&Heard::Unanswered) {
                self.is_to_be_asked_about(*state);
                let tries = self.unanswered.entry(*state).or_default();
                *tries = tries.saturating_add(1);
            } else {
                self.unanswered.remove(state);
            }
        }
    }

    fn is_to_be_asked_about(&mut self, state: u64) {
        if let Some(known) = &mut self.known {
            known.remove(&state);
        }
    }

    /// Takes down whether PAM refuses everybody.
    fn hear_of_all(&mut self, no_login: NoLogin, answers: &[Answer]) {
        let open = || answers.iter().filter(|answer| answer.stands == Some(Stands::Open));
        let is_refused = |answer: &&Answer| matches!(answer.pam, Heard::Otherwise(_));
        let apart = &self.apart;
        let refused = open().filter(is_refused).filter(|answer| !apart.contains(&answer.state));
        let refused: Vec<&Login> = refused.map(|answer| &answer.login).collect();
        for answer in open().filter(|answer| answer.pam.is_answer()) {
            self.refused.remove(&answer.state);
            self.apart.remove(&answer.state);
        }
        if open().any(|answer| answer.pam == Heard::AsExpected) {
            self.everybody = None;
            // Nobody has told of these whom it refuses.
            for state in std::mem::take(&mut self.refused) {
                self.is_to_be_asked_about(state);
                self.apart.insert(state);
                self.owed.push(state);
            }
        } else if let Some(told) = probe::everybody(&refused, no_login) {
            self.everybody = Some(told);
        }
    }

    /// Takes what was told before the keeper was started for what is so.
    fn take_over(&mut self, expected: &Expected<'_>) {
        for told in &expected.told {
            let is_of = |subject: &&Subject<'_>| subject.login.as_str() == told.what.subject;
            if told.what.subject == ssh::MARKER {
                self.everybody = Some(told.clone());
            } else if let Some(Subject { state, .. }) = expected.subjects.iter().find(is_of) {
                self.found.push(Found { state: *state, difference: told.clone() });
            }
        }
    }
}

#[cfg(test)]
mod tests;
