//! What was told of drift already, and what of it is still there. A look says what differs before
//! and after it was put right; this says what of that is news. It is kept in the ledger, so that what
//! came while the agent was down is told and nothing is told twice.
//!
//! What differs right after a bundle, a date or another configuration is what could not be done or,
//! where a host only observes, is not to be done: expected, and no drift as long as it stays.

mod again;
mod tellings;

use std::collections::{BTreeMap, BTreeSet};

use muster_proto::{
    drift::{Drift, DriftKind, Response, Severity},
    id::Digest,
    receipt::HostMode,
    time::Timestamp,
};

pub use self::{
    again::{MOST_OVER, MOST_UNTOLD, Over},
    tellings::{APART_SECONDS, AT_ONCE, Tellings},
};
use super::{
    Difference, Touch, What,
    open::{Open, Presence},
};

/// So many repairs of one thing in short order are all that is made before it is a fight.
pub const MOST_ROUNDS: u32 = 3;

/// Seconds for which a repair has to last, so that what comes then is no fight, and for which a thing
/// that is fought over is left as it is.
pub const CALM_SECONDS: u64 = 600;

/// What a host knows of its drift.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Memory {
    /// What was wanted at the last look; nothing before the first.
    pub wanted: Option<Digest>,
    /// What differs and was left so when that came to be wanted.
    pub expected: BTreeSet<Digest>,
    /// What nobody granted and was there when the first look was taken.
    pub inherited: BTreeSet<Digest>,
    /// What is told and not over.
    pub open: BTreeMap<What, Open>,
    /// What is about to be put right, as it will be told: if the keeper ends before it has told it,
    /// the next one does.
    pub begun: BTreeMap<What, Open>,
    /// What is to be told and lies in no receipt yet, oldest first.
    pub untold: Vec<Drift>,
    /// Whether receipts were lost, so that how all stands is told again when the controller is heard.
    pub has_gap: bool,
    /// What is over, as long as the controller may not have heard it.
    pub over: BTreeMap<What, Over>,
    /// Repairs that may have to be made again. Not kept over a restart.
    pub rounds: BTreeMap<What, Rounds>,
    /// What was told a short time ago and may not be told again yet. Not kept over a restart.
    pub tellings: Tellings,
}

/// How often something was put right.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rounds {
    /// How often.
    pub count: u32,
    /// Seconds since boot at the last time.
    pub last: u64,
}

/// When and how a look was taken.
#[derive(Clone, Copy, Debug)]
pub struct Circumstances<'a> {
    /// What is wanted, in one digest.
    pub wanted: Digest,
    /// Whether anything is put right: not by a host that observes or is paused.
    pub mode: HostMode,
    /// Who was at what since the last look.
    pub touches: &'a [Touch],
    /// The wall clock.
    pub now: Timestamp,
    /// Seconds since boot.
    pub boot: u64,
}

/// What a look found.
#[derive(Clone, Debug, Default)]
pub struct Looked {
    /// What differed.
    pub before: Vec<Difference>,
    /// What still differs after whatever was done.
    pub after: Vec<Difference>,
    /// What nobody granted.
    pub ungranted: Vec<Difference>,
}

impl Memory {
    /// Says whether all that differs is fought over and has to be left as it is for now. By what
    /// gives somebody more than was granted nothing is ever left: whoever fights for that would
    /// win. What nothing can be done about does not count.
    pub fn is_contested(&self, found: &[Difference], at: &Circumstances<'_>) -> bool {
        let fought = |difference: &Difference| {
            let rounds = self.rounds.get(&difference.what);
            difference.severity < Severity::High
                && rounds.is_some_and(|rounds| rounds.count >= MOST_ROUNDS && !rounds.is_calm(at))
        };
        let mut weighed = found.iter().filter(|found| !self.is_past_help(found)).peekable();
        self.wanted == Some(at.wanted) && weighed.peek().is_some() && weighed.all(fought)
    }

    /// Says whether it is only told, or putting it right has failed, as it was told, and somebody has
    /// less by it at the most.
    fn is_past_help(&self, found: &Difference) -> bool {
        let failed = |open: &Open| open.response == Response::Failed && open.found == found.found;
        found.what.is_only_told()
            || found.severity < Severity::High && self.open.get(&found.what).is_some_and(failed)
    }

    /// Says whether something that was put right has yet to last, or is yet to be told, so that
    /// another look is due.
    pub fn is_watched(&self) -> bool {
        self.open.values().any(|open| open.presence == Presence::Returns) || self.tellings.is_due()
    }

    /// Takes down what is about to be put right.
    pub fn begin(&mut self, found: &[Difference], at: &Circumstances<'_>) {
        for found in self.drifted(found, at) {
            let before = self.begun.get(&found.what);
            let is_begun = before.is_some_and(|begun| begun.found == found.found);
            if !is_begun && !found.what.is_only_told() {
                let begun = Open::of(found, self.known(&found.what, at), at);
                self.begun.insert(found.what.clone(), begun);
            }
        }
    }

    /// Takes down what a look found, and returns what is to be told.
    pub fn take(&mut self, looked: &Looked, at: &Circumstances<'_>) -> Vec<Drift> {
        let first = self.wanted.is_none();
        let mut told = Vec::new();
        self.tellings.begin();
        // A start ends no fight: its rounds are not kept, and that it goes on is.
        for (what, _) in self.open.iter().filter(|(_, open)| open.presence == Presence::Returns) {
            let fought = Rounds { count: MOST_ROUNDS + 1, last: at.boot };
            self.rounds.entry(what.clone()).or_insert(fought);
        }
        let after: BTreeSet<&What> = looked.after.iter().map(|found| &found.what).collect();
        let begun = std::mem::take(&mut self.begun);
        let drifted = self.drifted(&looked.before, at);
        for found in &drifted {
            let begun = begun.get(&found.what);
            if after.contains(&found.what) {
                let response = self.response(&found.what, at);
                told.extend(self.opened(found, begun, response, at));
            } else {
                told.extend(self.repaired(found, begun, at));
            }
        }
        let weighed: BTreeSet<&What> = drifted.iter().map(|found| &found.what).collect();
        for (what, begun) in &begun {
            // It was put right without having been told, and whoever is there by now did not do it.
            if !weighed.contains(what) && !after.contains(what) {
                let at = Circumstances { touches: &[], ..*at };
                told.extend(self.repaired(&begun.difference(what), Some(begun), &at));
            }
        }
        if self.wanted == Some(at.wanted) {
            let here: BTreeSet<Digest> = looked.after.iter().map(Difference::identity).collect();
            self.expected.retain(|expected| here.contains(expected));
        } else {
            self.wanted = Some(at.wanted);
            let is_news = |what: &What| self.open.contains_key(what) || self.tellings.are_of(what);
            let left = looked.after.iter().filter(|found| !is_news(&found.what));
            self.expected = left.map(Difference::identity).collect();
        }
        let facts: BTreeSet<Digest> = looked.ungranted.iter().map(Difference::identity).collect();
        if first {
            // A second root is told wherever it is found, and that nobody gets there in an emergency;
            // and so is what stands against our files: before they were there nothing could.
            let always = [DriftKind::UidZero, DriftKind::BreakGlass, DriftKind::EffectDiffers];
            let old = looked.ungranted.iter().filter(|f| !always.contains(&f.what.kind));
            self.inherited = old.map(Difference::identity).collect();
        }
        self.inherited.retain(|inherited| facts.contains(inherited));
        for found in &looked.ungranted {
            if !self.inherited.contains(&found.identity()) && !after.contains(&found.what) {
                told.extend(self.opened(found, None, Response::Reported, at));
            }
        }
        let here: BTreeSet<&What> =
            looked.after.iter().chain(&looked.ungranted).map(|found| &found.what).collect();
        told.extend(self.over(&here, at));
        self.tellings.end(at.boot);
        told
    }

    /// Returns what is told of these and still there.
    pub fn told_of(&self, these: impl Fn(&What) -> bool) -> Vec<Difference> {
        let told = self.open.iter().filter(|(what, _)| these(what));
        told.map(|(what, open)| open.difference(what)).collect()
    }

    /// What differs though nothing else is wanted, and was not left so on purpose.
    fn drifted<'a>(&self, found: &'a [Difference], at: &Circumstances<'_>) -> Vec<&'a Difference> {
        let unexpected = |found: &&Difference| !self.expected.contains(&found.identity());
        let is_same = self.wanted == Some(at.wanted);
        found.iter().filter(|found| is_same && unexpected(found)).collect()
    }

    fn response(&self, what: &What, at: &Circumstances<'_>) -> Response {
        let fought = self.rounds.get(what).is_some_and(|rounds| rounds.count >= MOST_ROUNDS);
        match at.mode {
            HostMode::Observe => Response::Reported,
            HostMode::Enforce if what.is_only_told() => Response::Reported,
            HostMode::Enforce if fought => Response::Contested,
            HostMode::Enforce => Response::Failed,
        }
    }

    /// Of what comes again and again the first rounds are told, and then each that doubles them. What
    /// gives somebody more is a fight from then on, which is not over when it is put right once more.
    fn repaired(
        &mut self,
        found: &Difference,
        begun: Option<&Open>,
        at: &Circumstances<'_>,
    ) -> Option<Drift> {
        let known = self.known(&found.what, at).cloned();
        let open = self.open.remove(&found.what);
        let goes_on = |rounds: &&Rounds| known.is_some() || !rounds.is_calm(at);
        let before = self.rounds.get(&found.what).filter(goes_on);
        let count = before.map_or(0, |rounds| rounds.count).saturating_add(1);
        self.rounds.retain(|what, rounds| !rounds.is_calm(at) || self.open.contains_key(what));
        self.rounds.insert(found.what.clone(), Rounds { count, last: at.boot });
        let (response, presence) = if count > MOST_ROUNDS && found.severity >= Severity::High {
            (Response::Contested, Presence::Returns)
        } else {
            (Response::Repaired, Presence::Stays)
        };
        let is_news = match &open {
            Some(open) => {
                (open.response, open.presence) != (response, presence)
                    || open.severity < found.severity
            }
            None => count <= MOST_ROUNDS || presence == Presence::Returns,
        };
        let is_told = is_news || count.is_power_of_two();
        let now = Open { response, presence, ..Open::of(found, begun.or(known.as_ref()), at) };
        let told = is_told.then(|| now.told(&found.what, count));
        if presence == Presence::Returns {
            // What is remembered is what was told.
            let open = open.filter(|_| !is_told).unwrap_or(now);
            self.open.insert(found.what.clone(), open);
        }
        told
    }

    /// What was told of a difference that is not over.
    fn known(&self, what: &What, at: &Circumstances<'_>) -> Option<&Open> {
        let is_calm = self.rounds.get(what).is_none_or(|rounds| rounds.is_calm(at));
        self.open.get(what).filter(|open| open.presence == Presence::Stays || !is_calm)
    }

    /// Tells what is there, unless it has been told just so, or something else of it a moment ago.
    fn opened(
        &mut self,
        found: &Difference,
        begun: Option<&Open>,
        response: Response,
        at: &Circumstances<'_>,
    ) -> Option<Drift> {
        let before = self.open.get(&found.what);
        let is_just_so = |open: &Open| {
            (&open.found, open.severity) == (&found.found, found.severity)
                && (open.response, open.presence) == (response, Presence::Stays)
        };
        if before.is_some_and(is_just_so) || self.tellings.holds_back(&found.what, at) {
            return None;
        }
        let now = Open::of(found, begun.or(before), at);
        let culprit = self.tellings.culprit(&found.what, at).cloned().or(now.culprit);
        let open = Open { response, culprit, ..now };
        self.tellings.told(&found.what, at.boot);
        let rounds = self.rounds.get(&found.what).map_or(0, |rounds| rounds.count);
        let told = open.told(&found.what, rounds);
        self.open.insert(found.what.clone(), open);
        Some(told)
    }

    /// Tells what is over: what has gone, and of what was fought over what has stayed right for a
    /// while.
    fn over(&mut self, here: &BTreeSet<&What>, at: &Circumstances<'_>) -> Vec<Drift> {
        let mut told = Vec::new();
        let (rounds, tellings) = (&self.rounds, &mut self.tellings);
        self.open.retain(|what, open| {
            let fought = rounds.get(what).filter(|_| open.presence == Presence::Returns);
            let goes_on = fought.is_some_and(|rounds| !rounds.is_calm(at));
            if here.contains(what) || goes_on || tellings.holds_back(what, at) {
                return true;
            }
            let over = match open.presence {
                Presence::Stays => {
                    let culprit = tellings.culprit(what, at).cloned();
                    Open { response: Response::Gone, culprit, ..open.clone() }
                }
                Presence::Returns => {
                    Open { response: Response::Repaired, presence: Presence::Stays, ..open.clone() }
                }
            };
            tellings.told(what, at.boot);
            told.push(over.told(what, fought.map_or(0, |rounds| rounds.count)));
            false
        });
        told
    }
}

impl Rounds {
    /// Says whether the last repair has lasted.
    fn is_calm(&self, at: &Circumstances<'_>) -> bool {
        at.boot.saturating_sub(self.last) > CALM_SECONDS
    }
}

#[cfg(test)]
mod tests;
