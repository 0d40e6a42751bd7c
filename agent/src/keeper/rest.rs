//! When a scan may end with nothing but the host's word that it is as it was. A look follows from the
//! host, the ledger, the configuration, the labels and the time. Whatever changes the ledger or the
//! configuration looks at the host at once, which ends the rest; labels are read again each time, a
//! date that comes has a look of its own, and the host is asked. For what no time of a file tells
//! there is still a look that reads everything, at each fourth scan and at least once an hour.

use std::collections::BTreeSet;

use muster_proto::receipt::{Convergence, Trigger};

use super::Keeper;
use crate::{
    clock::Clocks,
    host::{Host, files::GRAIN, rest::Still},
    labels::HostLabels,
};

/// So many scans in a row may end early.
const MOST_PASSES: u32 = 3;

/// For so many seconds after a look scans may end early.
const LONGEST: u64 = 3_600;

/// What held when the host was looked at in full, nothing was to be done and nothing to be told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Rest {
    clocks: Clocks,
    passes: u32,
    damaged: BTreeSet<u64>,
}

impl Rest {
    pub(super) fn begin(clocks: Clocks, damaged: &BTreeSet<u64>) -> Self {
        Self { clocks, passes: 0, damaged: damaged.clone() }
    }

    /// Says whether it may go on, as far as time and number go. A wall clock that was set could give
    /// a change the time of an older one.
    fn may_last(&self, now: Clocks) -> bool {
        let passed = now.boot.saturating_sub(self.clocks.boot);
        let ticked = i128::from(now.wall.0) - i128::from(self.clocks.wall.0);
        self.passes < MOST_PASSES
            && passed < LONGEST
            && (ticked - i128::from(passed)).unsigned_abs() <= u128::from(GRAIN)
    }
}

impl<H: Host> Keeper<H> {
    /// Says whether a scan that is due needs no look, and if so counts it as done.
    pub(super) fn passes(&mut self, trigger: Trigger) -> Still {
        let Some(mut rest) = self.rest.take() else { return Still::Changed };
        let now = self.host.clocks();
        let is_quiet = trigger == Trigger::Scan
            && self.convergence != Convergence::Retrying
            && rest.may_last(now)
            && self.time_kept_for(now) < self.time_kept_seconds()
            && rest.damaged == self.damaged
            && self.owes_nothing()
            && self.agenda.dates.wait(self.clock.read(now).now) != Some(0)
            && HostLabels::load(&self.root).is_ok_and(|labels| labels == self.labels)
            && self.watches_the_same()
            && self.host.still() == Still::AsItWas;
        if !is_quiet {
            return Still::Changed;
        }
        rest.passes += 1;
        self.rest = Some(rest);
        self.agenda.looked = self.host.clocks().boot;
        Still::AsItWas
    }

    fn owes_nothing(&self) -> bool {
        self.unwritten.is_none() && self.unwritable.is_none() && self.untold.is_empty()
    }

    /// Watches what has taken the place of something.
    fn watches_the_same(&mut self) -> bool {
        let home_base = self.config.policy.home_base.as_str();
        self.watch.as_ref().is_none_or(|watch| watch.mark(home_base) == self.unwatched)
    }
}

#[cfg(test)]
mod tests {
    use muster_proto::time::Timestamp;

    use super::*;

    fn at(wall: u64, boot: u64) -> Clocks {
        Clocks { wall: Timestamp(wall), boot }
    }

    #[test]
    fn each_fourth_scan_looks_and_so_does_the_one_after_an_hour() {
        let rest = Rest::begin(at(10_000, 100), &BTreeSet::new());
        assert!(rest.may_last(at(10_000 + 3_599, 100 + 3_599)));
        assert!(!rest.may_last(at(10_000 + 3_600, 100 + 3_600)));
        let rest = |passes| Rest { passes, ..rest.clone() };
        assert!(rest(2).may_last(at(10_010, 110)));
        assert!(!rest(3).may_last(at(10_010, 110)));
    }

    #[test]
    fn a_wall_clock_that_was_set_ends_it_whichever_way() {
        let rest = Rest::begin(at(10_000, 100), &BTreeSet::new());
        for (wall, lasts) in [(10_008, true), (10_012, true), (10_007, false), (10_013, false)] {
            assert_eq!(rest.may_last(at(wall, 110)), lasts, "{wall}");
        }
    }
}
