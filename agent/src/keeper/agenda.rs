//! When the host is looked at next. The time is counted from the last look, never from the
//! last message: a heartbeat every minute, or a courier that talks without end, must not put off
//! the repair of drift or the end of somebody's access.

use muster_proto::receipt::{Convergence, FindingKind, Trigger};

use super::Keeper;
use crate::{
    clock::{Clocks, Time},
    ends::NextDates,
    host::Host,
};

/// Seconds until what failed is tried again.
const RETRY_SECONDS: u64 = 10;
/// Seconds until a source of accounts that could not be asked is asked again. One that hangs holds
/// the keeper up each time.
const ASK_AGAIN_SECONDS: u64 = 60;

/// What the next look waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Agenda {
    /// Seconds since boot at the last look.
    pub(super) looked: u64,
    /// The dates that come next after it.
    pub(super) dates: NextDates,
    /// Whether something waits for the clocks to be sure.
    pub(super) unsure: bool,
}

impl Agenda {
    /// Returns in how many seconds the host has to be looked at, and what will be the reason then.
    pub(super) fn wait(&self, every: u64, time: &Time, boot: u64) -> (u64, Trigger) {
        let scan = every.saturating_sub(boot.saturating_sub(self.looked));
        // Once all is sure, what has waited is due.
        let settled = self.unsure.then(|| time.settles_in.unwrap_or_default());
        match self.dates.wait(time.now).into_iter().chain(settled).min() {
            Some(date) if date < scan => (date, Trigger::Time),
            _ => (scan, Trigger::Scan),
        }
    }
}

impl<H: Host> Keeper<H> {
    /// Returns in how many seconds the host has to be looked at, by its clocks as they are now, and
    /// what will be the reason then.
    pub fn next_look(&mut self) -> (u64, Trigger) {
        let clocks = self.host.clocks();
        let time = self.clock.read(clocks);
        let (wait, trigger) = self.agenda.wait(self.every(), &time, clocks.boot);
        let fresh = self.time_kept_seconds().saturating_sub(self.time_kept_for(clocks));
        let left = self.term.map(|term| term.left(time.now, clocks.boot));
        if let Some(left) = left.filter(|left| *left < wait.min(fresh)) {
            return (left, Trigger::Time);
        }
        let held = self.tellings.wait(clocks.boot);
        if let Some(held) = held.filter(|held| *held < wait.min(fresh)) {
            return (held, Trigger::Change);
        }
        // A file that cannot be written is tried again with all else.
        if fresh < wait && self.unwritten.is_none() {
            (fresh, Trigger::Scan)
        } else {
            (wait, trigger)
        }
    }

    /// Returns how many seconds the time in the ledger's file is old: where that is the only one
    /// after a start, every date is put off by as much as it is behind.
    pub(super) fn time_kept_for(&self, clocks: Clocks) -> u64 {
        let now = self.clock.remembered(clocks);
        let kept = self.time_kept;
        now.sworn.since(kept.sworn).max(now.said.since(kept.said))
    }

    /// Returns how many seconds after a look the next one is due.
    fn every(&self) -> u64 {
        let scan = self.config.scan_seconds;
        let unknown = FindingKind::UnknownElsewhere;
        if self.convergence == Convergence::Retrying {
            RETRY_SECONDS
        } else if self.findings.iter().any(|finding| finding.kind == unknown) {
            scan.min(ASK_AGAIN_SECONDS)
        } else {
            scan
        }
    }
}

#[cfg(test)]
mod tests {
    use muster_proto::time::{Now, Timestamp};

    use super::*;

    fn time(now: u64, settles_in: Option<u64>) -> Time {
        Time { now: Now::at(Timestamp(now)), sure: Timestamp(now), settles_in }
    }

    fn wait(end: Option<u64>, now: u64, boot: u64) -> (u64, Trigger) {
        let dates = NextDates { end: end.map(Timestamp), ..NextDates::default() };
        Agenda { looked: 100, dates, unsure: false }.wait(900, &time(now, None), boot)
    }

    #[test]
    fn a_scan_comes_in_time_however_much_is_said_in_between() {
        assert_eq!(wait(None, 5_000, 100), (900, Trigger::Scan));
        assert_eq!(wait(None, 5_899, 999), (1, Trigger::Scan));
        assert_eq!(wait(None, 5_900, 1_000), (0, Trigger::Scan));
        assert_eq!(wait(None, 9_900, 5_000), (0, Trigger::Scan));
    }

    #[test]
    fn an_end_is_looked_at_when_it_comes_by_the_clock_as_it_is_then() {
        assert_eq!(wait(Some(5_060), 5_000, 100), (60, Trigger::Time));
        assert_eq!(wait(Some(5_060), 5_059, 159), (1, Trigger::Time));
        assert_eq!(wait(Some(5_060), 5_060, 160), (0, Trigger::Time));
        // The clock was set forward.
        assert_eq!(wait(Some(5_060), 7_000, 120), (0, Trigger::Time));
        // Past the next scan, that comes first.
        assert_eq!(wait(Some(9_000), 5_000, 100), (900, Trigger::Scan));
    }

    #[test]
    fn what_waits_for_the_clocks_is_looked_at_when_they_are_sure() {
        let agenda = Agenda { looked: 100, dates: NextDates::default(), unsure: true };
        assert_eq!(agenda.wait(900, &time(5_000, Some(60)), 100), (60, Trigger::Time));
        assert_eq!(agenda.wait(900, &time(5_000, None), 101), (0, Trigger::Time), "confirmed");
    }
}
