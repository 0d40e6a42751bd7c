//! When the host is looked at next, pure. The time is counted from the last look, never from the
//! last message: a heartbeat every minute, or a courier that talks without end, must not put off
//! the repair of drift or the end of somebody's access.

use muster_proto::receipt::Trigger;

use crate::{clock::Time, ends::NextDates};

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
