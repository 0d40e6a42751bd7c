//! What has to be told again since receipts that told it were lost: the spool has an end, and what
//! lies in it has arrived only when the controller says so.

use std::collections::BTreeSet;

use muster_proto::drift::{Drift, DriftKind};

use super::{Memory, What};

/// So much that is over is told again if the receipts that say so are lost.
pub const MOST_OVER: usize = 4_096;

/// So much that could not be told is kept to be told, where nothing can be written.
pub const MOST_UNTOLD: usize = 4_096;

/// What is over, as it was told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Over {
    /// The receipt that told it; nothing once that is lost.
    pub receipt: Option<u64>,
    /// What it told.
    pub told: Drift,
}

impl Memory {
    /// Takes down that a receipt that waits tells this.
    pub fn wait(&mut self, receipt: u64, told: &[Drift]) {
        for drift in told {
            let Some(kind) = DriftKind::parse(&drift.kind) else { continue };
            let what = What::new(kind, &drift.subject, &drift.place);
            if drift.response.is_open() {
                self.over.remove(&what);
            } else if self.over.len() < MOST_OVER || self.over.contains_key(&what) {
                self.over.insert(what, Over { receipt: Some(receipt), told: drift.clone() });
            }
        }
    }

    /// Takes down that the controller has all receipts before this one that were not lost.
    pub fn arrived(&mut self, oldest: u64) {
        self.over.retain(|_, over| over.receipt.is_none_or(|receipt| receipt >= oldest));
    }

    /// Takes down that nobody will read the receipts before this one that wait.
    pub fn lost(&mut self, oldest: u64) {
        self.has_gap = true;
        for over in self.over.values_mut() {
            over.receipt = over.receipt.filter(|receipt| *receipt >= oldest);
        }
    }

    /// Folds what could not be told for long: of each thing it is told how it came to stand last. What
    /// there is no room for even so is a gap.
    pub fn fold_untold(&mut self) {
        if self.untold.len() <= MOST_UNTOLD {
            return;
        }
        let mut seen = BTreeSet::new();
        let mut kept = std::mem::take(&mut self.untold);
        kept.reverse();
        kept.retain(|drift| {
            seen.insert((drift.kind.clone(), drift.subject.clone(), drift.place.clone()))
        });
        self.has_gap |= kept.len() > MOST_UNTOLD;
        kept.truncate(MOST_UNTOLD);
        kept.reverse();
        self.untold = kept;
    }

    /// Has all told again as it stands, if receipts were lost.
    pub fn fill_gap(&mut self) {
        if !std::mem::take(&mut self.has_gap) {
            return;
        }
        let lost = self.over.values().filter(|over| over.receipt.is_none());
        self.untold.extend(lost.map(|over| over.told.clone()));
        let rounds = |what| self.rounds.get(what).map_or(0, |rounds| rounds.count);
        self.untold.extend(self.open.iter().map(|(what, open)| open.told(what, rounds(what))));
    }
}
