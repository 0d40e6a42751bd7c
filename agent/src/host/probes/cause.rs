//! Who may have made that sudo or PAM says something else of somebody: whoever was alone at its
//! configuration since it was asked about the same account the last time. Of an account that nobody
//! had asked about under the configuration before, nobody knows since when it is so.

use std::collections::BTreeSet;

use muster_proto::drift::{Culprit, DriftKind};

use crate::drift::{Place, Touch, What, probe::PAM};

/// Who was at a configuration.
#[derive(Debug, Default)]
enum By {
    #[default]
    Nobody,
    One(Culprit),
    /// Several, or one who is not known.
    Unknown,
}

/// Of whom something was said.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Whom {
    All,
    /// An account in this state.
    One(u64),
}

/// What is known of why one of the two says something else.
#[derive(Debug, Default)]
pub(super) struct Cause {
    /// Who has been at its configuration since that was read the last time.
    since: By,
    /// Who made the present one of the one before.
    between: By,
    /// Of whom it has said something under the present one.
    asked: Vec<Whom>,
    /// Of whom it said something under the one before, and nothing since.
    asked_before: Vec<Whom>,
}

impl By {
    fn and(self, other: Self) -> Self {
        match (self, other) {
            (Self::Nobody, by) | (by, Self::Nobody) => by,
            (Self::One(one), Self::One(other)) if one.pid == other.pid => Self::One(one),
            _ => Self::Unknown,
        }
    }
}

impl Cause {
    /// Takes down who was at the configuration of this place.
    pub(super) fn note(&mut self, place: &str, touches: &[Touch]) {
        let what = What::new(DriftKind::EffectDiffers, "", place);
        for touch in touches.iter().filter(|touch| what.is_touched(touch)) {
            let by = touch.culprit.clone().map_or(By::Unknown, By::One);
            self.since = std::mem::take(&mut self.since).and(by);
        }
    }

    /// The configuration is another than the last time.
    pub(super) fn moves(&mut self) {
        self.between = match std::mem::take(&mut self.since) {
            By::Nobody => By::Unknown,
            by => by,
        };
        self.asked_before = std::mem::take(&mut self.asked);
    }

    /// It is the same. Whoever was there all the same may have been so before it was read.
    pub(super) fn stays(&mut self) {
        let since = std::mem::take(&mut self.since);
        self.between = std::mem::take(&mut self.between).and(since);
    }

    /// Takes down that it says something of somebody, and returns who made it if it is something else
    /// than before.
    pub(super) fn says(&mut self, of: Whom) -> Option<Culprit> {
        let by = self.by([of]);
        self.asked_before.retain(|whom| *whom != of);
        if !self.asked.contains(&of) {
            self.asked.push(of);
        }
        by
    }

    /// Takes down that what it says of somebody is not told: whatever is later may be of now.
    pub(super) fn says_untold(&mut self, of: Whom) {
        self.asked.retain(|whom| *whom != of);
    }

    /// Returns who made that it says something else of any of these.
    pub(super) fn by(&self, these: impl IntoIterator<Item = Whom>) -> Option<Culprit> {
        let is_known = these.into_iter().any(|whom| self.asked_before.contains(&whom));
        match &self.between {
            By::One(culprit) if is_known => Some(culprit.clone()),
            _ => None,
        }
    }

    /// Keeps what is known of accounts in these states.
    pub(super) fn retain(&mut self, states: &BTreeSet<u64>) {
        for asked in [&mut self.asked, &mut self.asked_before] {
            asked.retain(|whom| match whom {
                Whom::All => true,
                Whom::One(state) => states.contains(state),
            });
        }
    }
}

/// Returns what stands for whoever may have made what is said of this.
pub(super) fn touch(what: &What, culprit: Option<Culprit>) -> Touch {
    let place = if what.place == PAM { Place::PamSays } else { Place::SudoSays };
    Touch { place, name: what.subject.clone(), culprit }
}
