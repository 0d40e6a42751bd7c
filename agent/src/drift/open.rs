//! A difference that was told and is not over: as it is kept, and as it is said.

use muster_proto::{
    drift::{Culprit, Drift, Response, Severity},
    time::Timestamp,
};

use super::{Difference, What, memory::Circumstances};

/// A difference that is told and not over.
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
    /// Whether it is there all the time.
    pub presence: Presence,
}

/// Whether a difference is there all the time until it is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Presence {
    /// It is.
    Stays,
    /// It is put right each time, and comes again each time.
    Returns,
}

impl Open {
    /// Returns a difference as one that is put right, with what is known of it from before.
    pub(super) fn of(found: &Difference, before: Option<&Self>, at: &Circumstances<'_>) -> Self {
        let culprit =
            found.what.culprit(at.touches).or(before.and_then(|open| open.culprit.as_ref()));
        Self {
            expected: found.expected.clone(),
            found: found.found.clone(),
            severity: found.severity,
            since: before.map_or(at.now, |open| open.since),
            response: Response::Repaired,
            culprit: culprit.cloned(),
            presence: Presence::Stays,
        }
    }

    /// Returns the difference that it is.
    pub(super) fn difference(&self, what: &What) -> Difference {
        Difference {
            what: what.clone(),
            expected: self.expected.clone(),
            found: self.found.clone(),
            severity: self.severity,
        }
    }

    /// Says what was found, and what becomes of it if it does not stay.
    pub fn found_in_words(&self) -> String {
        match self.presence {
            Presence::Stays => self.found.clone(),
            Presence::Returns => format!("{}, put right each time", self.found),
        }
    }

    /// Returns it as it is told.
    pub(crate) fn told(&self, what: &What, rounds: u32) -> Drift {
        Drift {
            kind: what.kind.as_str().to_owned(),
            subject: what.subject.clone(),
            place: what.place.clone(),
            expected: self.expected.clone(),
            found: self.found_in_words(),
            since: self.since,
            severity: self.severity,
            response: self.response,
            rounds,
            culprit: self.culprit.clone(),
        }
    }
}
