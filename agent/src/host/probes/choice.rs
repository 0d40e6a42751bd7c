//! Who of all is asked about in one look. Whatever is to be asked first, a full look has some left
//! for those whose turn it is: of everybody something new is found in the end.

use std::collections::BTreeSet;

use muster_proto::{name::Login, sudo::SudoRule};

use super::{
    super::inquiry::{Given, Question},
    Probes,
    ground::Marks,
};
use crate::{
    drift::{
        effect::{Asking, Expected},
        probe::{Stands, Subject},
    },
    format::{group, passwd},
    observed::ObservedState,
};

/// So many accounts are asked about in one look.
pub(super) const MOST: usize = 8;
/// So many of those that are asked about in turn are locked ones: what lets in one lets in all.
const MOST_SHUT: usize = 2;
/// So many are asked about in turn at least, a locked one and another where there are both.
pub(super) const IN_TURN: usize = 2;

/// So often is somebody asked about one account who does not answer, until the next full look.
pub(super) const MOST_TRIES: u8 = 3;

/// Who is asked about first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Rank {
    /// Something is told of it or was left untold, and there was no room for it before: by how long
    /// it has waited.
    Owed(usize),
    /// Something is told of it.
    Told,
    /// It is another than it was.
    Changed,
    /// Somebody was asked about it and has not answered.
    Again,
}

impl Probes {
    /// Returns what is to be asked, if anything is.
    pub(super) fn questions(
        &mut self,
        observed: &ObservedState,
        (expected, asking): (&Expected<'_>, Asking),
        marks: Marks,
    ) -> Option<Vec<Question>> {
        let subjects = &expected.subjects;
        let known = self.known.take();
        let anew = asking == Asking::Anew;
        let before = self.marks.replace(marks);
        let sudo_moved = before.is_some_and(|before| before.sudo != marks.sudo);
        let pam_moved = before.is_some_and(|before| before.pam != marks.pam);
        for (cause, is_other) in [(&mut self.by_sudo, sudo_moved), (&mut self.by_pam, pam_moved)] {
            if is_other {
                cause.moves();
            } else {
                cause.stays();
            }
        }
        let (sudo_in_turn, pam_in_turn) = (anew || sudo_moved, anew || pam_moved);
        let in_turn = sudo_in_turn || pam_in_turn;
        let is_changed = |subject: &Subject<'_>| {
            known.as_ref().is_some_and(|known| !known.contains(&subject.state))
        };
        if anew {
            self.unanswered.iter_mut().for_each(|(_, tries)| *tries = 0);
        }
        let owed = std::mem::take(&mut self.owed);
        // Of whom something is told, that is to go as soon as it is so no more.
        let rank = |subject: &Subject<'_>| {
            let is_told = self.found.iter().any(|found| found.state == subject.state);
            match owed.iter().position(|state| *state == subject.state) {
                Some(place) => Some(Rank::Owed(place)),
                None if is_told && in_turn => Some(Rank::Told),
                None if !is_changed(subject) => None,
                None => match self.unanswered.iter().find(|(state, _)| *state == subject.state) {
                    None => Some(Rank::Changed),
                    Some((_, tries)) => (*tries < MOST_TRIES).then_some(Rank::Again),
                },
            }
        };
        let ranked = subjects.iter().filter_map(|subject| Some((rank(subject)?, subject)));
        let mut first: Vec<(Rank, &Subject<'_>)> = ranked.collect();
        first.sort_by_key(|(rank, _)| *rank);
        let mut turns: Vec<&Subject<'_>> = Vec::new();
        if in_turn {
            let are_first = first.iter().map(|(_, subject)| subject.state).collect();
            let room = MOST.saturating_sub(first.len()).max(IN_TURN);
            if pam_in_turn {
                let most = MOST_SHUT.min(room.div_ceil(2));
                turns.extend(self.next(subjects, Stands::Shut, most, &are_first));
            }
            turns.extend(self.next(subjects, Stands::Open, room - turns.len(), &are_first));
        }
        let (chosen, others) = first.split_at(first.len().min(MOST - turns.len()));
        let owed = others.iter().filter(|(rank, _)| matches!(rank, Rank::Owed(_) | Rank::Told));
        self.owed = owed.map(|(_, subject)| subject.state).collect();
        // Those for whom there is no room are asked about next time, and nobody has answered about
        // those whom it is no use to ask about now.
        let waiting = others.iter().map(|(_, subject)| subject.state);
        let mut unknown: BTreeSet<u64> =
            self.unanswered.iter().map(|(state, _)| *state).chain(waiting).collect();
        let chosen = chosen.iter().map(|(_, subject)| *subject).chain(turns);
        let chosen: Vec<&Subject<'_>> = chosen.collect();
        for subject in &chosen {
            unknown.remove(&subject.state);
        }
        let states = subjects.iter().map(|subject| subject.state);
        self.known = Some(states.filter(|state| !unknown.contains(state)).collect());
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

    /// Returns whose turn it is but for these, from the beginning again after the last.
    fn next<'a, 'b>(
        &mut self,
        subjects: &'b [Subject<'a>],
        stands: Stands,
        room: usize,
        but: &BTreeSet<u64>,
    ) -> Vec<&'b Subject<'a>> {
        let after = self.turns.iter().find(|(of, _)| *of == stands).map(|(_, login)| login.clone());
        let is_later = |one: &&Subject<'_>| after.as_ref().is_none_or(|after| one.login > after);
        let fits = |one: &&Subject<'_>| one.stands == stands && !but.contains(&one.state);
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
