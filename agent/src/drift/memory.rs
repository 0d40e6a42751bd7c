//! What was told of drift already, and what of it is still there. A look says what differs before
//! and after it was put right; this says what of that is news. It is kept in the ledger, so that what
//! came while the agent was down is told and nothing is told twice.
//!
//! What differs right after a bundle, a date or another configuration is what could not be done or,
//! where a host only observes, is not to be done: expected, and no drift as long as it stays.

use std::collections::{BTreeMap, BTreeSet};

use muster_proto::{
    crypto::sha256,
    drift::{Culprit, Drift, DriftKind, Response, Severity},
    id::Digest,
    receipt::HostMode,
    time::Timestamp,
};

use super::{Difference, Touch, What};

/// So many repairs of one thing in short order are a fight.
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
    /// What is told and still there.
    pub open: BTreeMap<What, Open>,
    /// Repairs that may have to be made again. Not kept over a restart.
    pub rounds: BTreeMap<What, Rounds>,
}

/// A difference that is told and still there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Open {
    /// What was expected.
    pub expected: String,
    /// What was found.
    pub found: String,
    /// How grave it is.
    pub severity: Severity,
    /// Since when it is there.
    pub since: Timestamp,
    /// What was done about it.
    pub response: Response,
    /// Who did it.
    pub culprit: Option<Culprit>,
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
    /// Whether the host changes anything.
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
    /// Says whether all that differs is fought over and has to be left as it is for now. By what gives
    /// somebody more than was granted nothing is ever left: whoever fights for that would win.
    pub fn is_contested(&self, found: &[Difference], at: &Circumstances<'_>) -> bool {
        let fought = |difference: &Difference| {
            let rounds = self.rounds.get(&difference.what);
            difference.severity < Severity::High
                && rounds.is_some_and(|rounds| {
                    rounds.count >= MOST_ROUNDS
                        && at.boot.saturating_sub(rounds.last) <= CALM_SECONDS
                })
        };
        self.wanted == Some(at.wanted) && !found.is_empty() && found.iter().all(fought)
    }

    /// Takes down what a look found, and returns what is to be told.
    pub fn take(&mut self, looked: &Looked, at: &Circumstances<'_>) -> Vec<Drift> {
        let first = self.wanted.is_none();
        let mut told = Vec::new();
        let after: BTreeSet<&What> = looked.after.iter().map(|found| &found.what).collect();
        if self.wanted == Some(at.wanted) {
            for found in self.drifted(&looked.before, at) {
                if after.contains(&found.what) {
                    let response = self.response(&found.what, at);
                    told.extend(self.opened(found, response, at));
                } else {
                    told.extend(self.repaired(found, at));
                }
            }
            let here: BTreeSet<Digest> = looked.after.iter().map(identity).collect();
            self.expected.retain(|expected| here.contains(expected));
        } else {
            self.wanted = Some(at.wanted);
            let left = looked.after.iter().filter(|found| !self.open.contains_key(&found.what));
            self.expected = left.map(identity).collect();
        }
        let facts: BTreeSet<Digest> = looked.ungranted.iter().map(identity).collect();
        if first {
            // A second root is told wherever it is found, and so is what stands against our files:
            // before they were there nothing could.
            let always = [DriftKind::UidZero, DriftKind::EffectDiffers];
            let old = looked.ungranted.iter().filter(|f| !always.contains(&f.what.kind));
            self.inherited = old.map(identity).collect();
        }
        self.inherited.retain(|inherited| facts.contains(inherited));
        for found in &looked.ungranted {
            if !self.inherited.contains(&identity(found)) && !after.contains(&found.what) {
                told.extend(self.opened(found, Response::Reported, at));
            }
        }
        let here: BTreeSet<&What> =
            looked.after.iter().chain(&looked.ungranted).map(|found| &found.what).collect();
        told.extend(self.gone(&here, at));
        told
    }

    /// Returns what is told of these and still there.
    pub fn told_of(&self, these: impl Fn(&What) -> bool) -> Vec<Difference> {
        let told = self.open.iter().filter(|(what, _)| these(what));
        let told = told.map(|(what, open)| Difference {
            what: what.clone(),
            expected: open.expected.clone(),
            found: open.found.clone(),
            severity: open.severity,
        });
        told.collect()
    }

    /// What differs though nothing else is wanted, and was not left so on purpose.
    fn drifted<'a>(&self, found: &'a [Difference], at: &Circumstances<'_>) -> Vec<&'a Difference> {
        let unexpected = |found: &&Difference| !self.expected.contains(&identity(found));
        let is_same = self.wanted == Some(at.wanted);
        found.iter().filter(|found| is_same && unexpected(found)).collect()
    }

    fn response(&self, what: &What, at: &Circumstances<'_>) -> Response {
        let fought = self.rounds.get(what).is_some_and(|rounds| rounds.count >= MOST_ROUNDS);
        match at.mode {
            HostMode::Observe => Response::Reported,
            // Nobody knows whose such an account is by now.
            HostMode::Enforce if what.place == "uid" => Response::Reported,
            HostMode::Enforce if fought => Response::Contested,
            HostMode::Enforce => Response::Failed,
        }
    }

    /// Of what comes again and again the first rounds are told, and then each that doubles them.
    fn repaired(&mut self, found: &Difference, at: &Circumstances<'_>) -> Option<Drift> {
        let open = self.open.remove(&found.what);
        let calm = |rounds: &Rounds| at.boot.saturating_sub(rounds.last) > CALM_SECONDS;
        let before = self.rounds.get(&found.what).filter(|rounds| open.is_some() || !calm(rounds));
        let count = before.map_or(0, |rounds| rounds.count).saturating_add(1);
        self.rounds.retain(|_, rounds| !calm(rounds));
        self.rounds.insert(found.what.clone(), Rounds { count, last: at.boot });
        let culprit = found.what.culprit(at.touches).cloned();
        let now = Open {
            expected: found.expected.clone(),
            found: found.found.clone(),
            severity: found.severity,
            since: open.as_ref().map_or(at.now, |open| open.since),
            response: Response::Repaired,
            culprit: culprit.or_else(|| open.and_then(|open| open.culprit)),
        };
        let told = now.told(&found.what, count);
        (count <= MOST_ROUNDS || count.is_power_of_two()).then_some(told)
    }

    /// Tells what is there, unless it has been told just so.
    fn opened(
        &mut self,
        found: &Difference,
        response: Response,
        at: &Circumstances<'_>,
    ) -> Option<Drift> {
        let before = self.open.get(&found.what);
        if before.is_some_and(|open| open.found == found.found && open.response == response) {
            return None;
        }
        let culprit = found.what.culprit(at.touches).cloned();
        let open = Open {
            expected: found.expected.clone(),
            found: found.found.clone(),
            severity: found.severity,
            since: before.map_or(at.now, |open| open.since),
            response,
            culprit: culprit.or_else(|| before.and_then(|open| open.culprit.clone())),
        };
        let rounds = self.rounds.get(&found.what).map_or(0, |rounds| rounds.count);
        let told = open.told(&found.what, rounds);
        self.open.insert(found.what.clone(), open);
        Some(told)
    }

    fn gone(&mut self, here: &BTreeSet<&What>, at: &Circumstances<'_>) -> Vec<Drift> {
        let mut told = Vec::new();
        self.open.retain(|what, open| {
            if here.contains(what) {
                return true;
            }
            let culprit = what.culprit(at.touches).cloned();
            let gone = Open { response: Response::Gone, culprit, ..open.clone() };
            told.push(gone.told(what, 0));
            false
        });
        told
    }
}

impl Open {
    fn told(&self, what: &What, rounds: u32) -> Drift {
        Drift {
            kind: what.kind.as_str().to_owned(),
            subject: what.subject.clone(),
            place: what.place.clone(),
            expected: self.expected.clone(),
            found: self.found.clone(),
            since: self.since,
            severity: self.severity,
            response: self.response,
            rounds,
            culprit: self.culprit.clone(),
        }
    }
}

/// One difference in one digest. Another content is another difference, but not another number of
/// processes, nor what the owner of an account that is not Muster's does with it.
fn identity(found: &Difference) -> Digest {
    let What { kind, subject, place } = &found.what;
    let content = match kind {
        DriftKind::AccountNew | DriftKind::JobsBack | DriftKind::Running => "",
        _ => found.found.as_str(),
    };
    sha256(&[
        kind.as_str().as_bytes(),
        b"\n",
        subject.as_bytes(),
        b"\n",
        place.as_bytes(),
        b"\n",
        content.as_bytes(),
    ])
}

#[cfg(test)]
mod tests;
