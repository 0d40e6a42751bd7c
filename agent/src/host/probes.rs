//! Whom sudo and PAM are to be asked about, and what they said last. A few accounts in one look:
//! those that are others than when they were asked about, and, where the look is a full one or
//! somebody was at sudo's or PAM's own configuration, those that something is told of and some in
//! turn.

mod ground;

use std::collections::BTreeSet;

use muster_proto::{name::Login, sudo::SudoRule};

use self::ground::{Marks, ask_pam, marks};
pub(super) use self::ground::{UsesPam, pam_mark};
use super::{
    files::Dir,
    inquiry::{Answers, AskPam, Given, Inquiry, Question},
    program::Programs,
};
use crate::{
    drift::{
        Difference,
        effect::{Asking, Expected, SUDO},
        probe::{self, Heard, PAM, Stands, Subject},
    },
    format::{group, passwd, ssh},
    observed::ObservedState,
};

/// So many accounts are asked about in one look.
const MOST: usize = 8;
/// So many of those that are asked about in turn are locked ones: what lets in one lets in all.
const MOST_SHUT: usize = 2;

/// What was said the last time.
#[derive(Debug, Default)]
pub(super) struct Probes {
    /// The states of accounts that need not be asked about at once; nothing before the first look.
    known: Option<BTreeSet<u64>>,
    /// The last ones that were asked about in turn, one of each kind.
    turns: Vec<(Stands, Login)>,
    /// What differs.
    found: Vec<Found>,
    /// What is said once, since PAM refuses everybody.
    everybody: Option<Difference>,
    /// What sudo's and PAM's own configuration was like.
    marks: Option<Marks>,
    /// Why PAM is not asked though sshd asks it.
    unasked: Option<String>,
    stage: Stage,
    /// The states of accounts of which something is told and for which there was no room in the
    /// last inquiry. They come first in the next and in this order, or others would each time.
    owed: Vec<u64>,
}

/// Something that differs, and in which state of the account.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Found {
    state: u64,
    difference: Difference,
}

/// Who is asked about first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Rank {
    /// Something is told of it, and there was no room for it before: by how long it has waited.
    Owed(usize),
    /// Something is told of it.
    Told,
    /// It is another than it was.
    Changed,
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
        self.found.retain(|found| subjects.iter().any(|subject| subject.state == found.state));
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
        let open = || answers.iter().filter(|answer| answer.stands == Some(Stands::Open));
        let refused: Vec<&Login> = open()
            .filter(|answer| matches!(answer.pam, Heard::Otherwise(_)))
            .map(|answer| &answer.login)
            .collect();
        if open().any(|answer| answer.pam == Heard::AsExpected) {
            self.everybody = None;
        } else if let Some(told) = probe::everybody(&refused, no_login) {
            self.everybody = Some(told);
        }
        for answer in &answers {
            let is_told = self.everybody.is_some() && answer.stands == Some(Stands::Open);
            let pam = match &answer.pam {
                Heard::Otherwise(_) if is_told => &Heard::AsExpected,
                other => other,
            };
            for (place, heard) in [(SUDO, &answer.sudo), (PAM, pam)] {
                if *heard == Heard::Nothing {
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
                    Heard::Nothing | Heard::AsExpected => None,
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

    fn questions(
        &mut self,
        observed: &ObservedState,
        (expected, asking): (&Expected<'_>, Asking),
        marks: Marks,
    ) -> Option<Vec<Question>> {
        let subjects = &expected.subjects;
        let known = self.known.take();
        let anew = asking == Asking::Anew;
        let before = self.marks.replace(marks);
        let sudo_in_turn = anew || before.is_some_and(|before| before.sudo != marks.sudo);
        let pam_in_turn = anew || before.is_some_and(|before| before.pam != marks.pam);
        let in_turn = sudo_in_turn || pam_in_turn;
        let is_changed = |subject: &Subject<'_>| {
            known.as_ref().is_some_and(|known| !known.contains(&subject.state))
        };
        let owed = std::mem::take(&mut self.owed);
        // Of whom something is told, that is to go as soon as it is so no more.
        let rank = |subject: &Subject<'_>| {
            let is_told = self.found.iter().any(|found| found.state == subject.state);
            match owed.iter().position(|state| *state == subject.state) {
                Some(place) if is_told => Some(Rank::Owed(place)),
                _ if is_told && in_turn => Some(Rank::Told),
                _ => is_changed(subject).then_some(Rank::Changed),
            }
        };
        let ranked = subjects.iter().filter_map(|subject| Some((rank(subject)?, subject)));
        let mut first: Vec<(Rank, &Subject<'_>)> = ranked.collect();
        first.sort_by_key(|(rank, _)| *rank);
        let (chosen, others) = first.split_at(first.len().min(MOST));
        // Those for whom there is no room are asked about next time.
        let waits = |state| others.iter().any(|(_, other)| other.state == state);
        let states = subjects.iter().map(|subject| subject.state);
        self.known = Some(states.filter(|state| !waits(*state)).collect());
        let owed = others.iter().filter(|(rank, _)| *rank != Rank::Changed);
        self.owed = owed.map(|(_, subject)| subject.state).collect();
        let mut chosen: Vec<&Subject<'_>> = chosen.iter().map(|(_, subject)| *subject).collect();
        if in_turn {
            for (stands, most) in [(Stands::Shut, MOST_SHUT), (Stands::Open, MOST)] {
                let room = most.min(MOST - chosen.len());
                let next = self.next(subjects, stands, room, &chosen);
                chosen.extend(next);
            }
        }
        let question = |subject: &Subject<'_>| {
            let Subject { login, stands, state } = *subject;
            let asks_sudo = (is_changed(subject) || sudo_in_turn) && stands != Stands::Shut;
            let asks_pam = (is_changed(subject) || pam_in_turn) && stands != Stands::Between;
            let sudo = asks_sudo.then(|| given(login, observed, expected)).flatten();
            let pam = asks_pam.then_some(stands);
            Question { login: login.clone(), state, pam, sudo }
        };
        let questions: Vec<Question> = chosen.into_iter().map(question).collect();
        (!questions.is_empty()).then_some(questions)
    }

    /// Returns whose turn it is, from the beginning again after the last.
    fn next<'a, 'b>(
        &mut self,
        subjects: &'b [Subject<'a>],
        stands: Stands,
        room: usize,
        chosen: &[&Subject<'_>],
    ) -> Vec<&'b Subject<'a>> {
        let after = self.turns.iter().find(|(of, _)| *of == stands).map(|(_, login)| login.clone());
        let is_later = |one: &&Subject<'_>| after.as_ref().is_none_or(|after| one.login > after);
        let fits = |one: &&Subject<'_>| {
            one.stands == stands && !chosen.iter().any(|other| other.state == one.state)
        };
        let later = subjects.iter().filter(|one| fits(one) && is_later(one));
        let earlier = subjects.iter().filter(|one| fits(one) && !is_later(one));
        let next: Vec<&Subject<'_>> = later.chain(earlier).take(room).collect();
        if let Some(last) = next.last() {
            self.turns.retain(|(of, _)| *of != stands);
            self.turns.push((stands, last.login.clone()));
        }
        next
    }
}

/// Returns what somebody has of sudo's by our files, if these are in place.
fn given(login: &Login, observed: &ObservedState, expected: &Expected<'_>) -> Option<Given> {
    let rules = expected.sudo?.values().flatten();
    let rules: Vec<SudoRule> =
        rules.filter(|(_, logins)| logins.contains(login)).map(|(rule, _)| rule.clone()).collect();
    let entry = observed.passwd.get(login.as_str());
    let number = |field| entry.and_then(|entry| entry.number(field));
    let primary = number(passwd::GID);
    let mut unix_groups = Vec::new();
    for entry in observed.group.entries() {
        let (Some(name), Some(gid)) = (entry.text(0), entry.number(group::GID)) else { continue };
        if Some(gid) == primary || group::members(entry).any(|member| member == login.as_str()) {
            unix_groups.push((name.to_owned(), gid));
        }
    }
    Some(Given { uid: number(passwd::UID), unix_groups, rules })
}

#[cfg(test)]
mod tests;
