//! Whom sudo and PAM are to be asked about, and what they said last. A few accounts in one look:
//! those that are others than when they were asked about, and, where the look is a full one or
//! somebody was at sudo's or PAM's own configuration, those that something is told of and some in
//! turn.

mod cause;
mod choice;
mod ground;
mod hearing;

use std::collections::BTreeSet;

use muster_proto::{drift::Culprit, name::Login};

pub(super) use self::ground::{UsesPam, pam_mark};
use self::{
    cause::{Cause, touch},
    ground::{Marks, ask_pam, marks},
};
use super::{
    files::Dir,
    inquiry::{AskPam, Inquiry},
    program::Programs,
};
use crate::{
    drift::{
        Difference, Touch,
        effect::{Asking, Expected, SUDO},
        probe::{PAM, Stands, Subject},
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
    unanswered: Vec<(u64, u8)>,
    /// The last ones that were asked about in turn, one of each kind.
    turns: Vec<(Stands, Login)>,
    /// What differs.
    found: Vec<Found>,
    /// What is said once, since PAM refuses everybody.
    everybody: Option<Said>,
    /// The states of those whom it refused, and of whom that is why nothing else is told.
    refused: Vec<u64>,
    /// Those of them that are to be asked about again, as somebody is let in by now. By what is said
    /// of these alone it is not everybody again.
    apart: Vec<u64>,
    /// Who made what has gone since the last look.
    gone: Vec<Touch>,
    by_sudo: Cause,
    by_pam: Cause,
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
    said: Said,
}

/// What differs by what is said, and who made it, as far as that is known.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Said {
    difference: Difference,
    by: Option<Culprit>,
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
    /// Returns what differs as far as it is known, each with who made it, and makes ready to ask for
    /// more.
    pub(super) fn look(
        &mut self,
        (root, programs): (&Dir, Programs),
        observed: &ObservedState,
        (expected, asking): (&Expected<'_>, Asking),
        uses_pam: UsesPam,
    ) -> Vec<(Difference, Touch)> {
        if programs == Programs::None {
            return Vec::new();
        }
        let subjects = &expected.subjects;
        if self.known.is_none() {
            self.take_over(expected);
        }
        let states: BTreeSet<u64> = subjects.iter().map(|subject| subject.state).collect();
        // What was found of an account that is another by now has gone by nobody's edit.
        let gone = &mut self.gone;
        self.found.retain(|Found { state, said }| {
            let is_there = states.contains(state);
            if !is_there {
                gone.push(touch(&said.difference.what, None));
            }
            is_there
        });
        for untold in [&mut self.refused, &mut self.apart] {
            untold.retain(|state| states.contains(state));
        }
        self.unanswered.retain(|(state, _)| states.contains(state));
        for (cause, place) in [(&mut self.by_sudo, SUDO), (&mut self.by_pam, PAM)] {
            cause.retain(&states);
            cause.note(place, expected.touches);
        }
        // Before it is read: whoever is at it afterwards is seen before it is asked.
        let marks = marks(root, observed);
        let pam = ask_pam(root, uses_pam);
        let is_asked = matches!(pam, AskPam::Yes | AskPam::NotNow);
        self.unasked = if let AskPam::No(reason) = &pam { Some(reason.clone()) } else { None };
        if !is_asked {
            self.found.retain(|found| found.said.difference.what.place != PAM);
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
        let single = self.found.iter().map(|found| &found.said);
        let said = |Said { difference, by }: &Said| {
            (difference.clone(), touch(&difference.what, by.clone()))
        };
        single.chain(&self.everybody).map(said).collect()
    }

    /// Returns who made what has gone since the last time.
    pub(super) fn gone(&mut self) -> Vec<Touch> {
        std::mem::take(&mut self.gone)
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

    /// Takes what was told before the keeper was started for what is so.
    fn take_over(&mut self, expected: &Expected<'_>) {
        for told in &expected.told {
            let said = Said { difference: told.clone(), by: None };
            let is_of = |subject: &&Subject<'_>| subject.login.as_str() == told.what.subject;
            if told.what.subject == ssh::MARKER {
                self.everybody = Some(said);
            } else if let Some(Subject { state, .. }) = expected.subjects.iter().find(is_of) {
                self.found.push(Found { state: *state, said });
            }
        }
    }
}

impl Found {
    fn is(&self, place: &str, login: &Login) -> bool {
        let what = &self.said.difference.what;
        what.place == place && what.subject == login.as_str()
    }
}

#[cfg(test)]
mod tests;
