//! When the host is looked at next, pure. The time is counted from the last look, never from the
//! last message: a heartbeat every minute, or a courier that talks without end, must not put off
//! the repair of drift or the end of somebody's access.

use std::time::Duration;

use muster_proto::{
    receipt::Trigger,
    time::{Now, Timestamp},
};

/// What the next look waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Agenda {
    /// Seconds since boot at the last look.
    pub(super) looked: u64,
    /// When the grants may change with nothing but time, as it seemed then.
    pub(super) next: Option<Timestamp>,
}

/// The fewest seconds between two looks at the host that nothing but time has caused.
const LEAST: u64 = 1;

impl Agenda {
    /// Returns how long nothing has to be looked at, and what will be the reason then.
    pub(super) fn wait(&self, every: u64, now: Now, boot: u64) -> (Duration, Trigger) {
        let since = boot.saturating_sub(self.looked);
        let scan = every.saturating_sub(since);
        // An end is near by the later clock, a start by the earlier one: the sooner look is safe.
        let least = LEAST.saturating_sub(since);
        let time = self.next.map(|next| next.since(now.latest).max(least));
        match time.filter(|time| *time < scan) {
            Some(time) => (Duration::from_secs(time), Trigger::Time),
            None => (Duration::from_secs(scan), Trigger::Scan),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wait(next: Option<u64>, now: u64, boot: u64) -> (u64, Trigger) {
        let agenda = Agenda { looked: 100, next: next.map(Timestamp) };
        let (wait, trigger) = agenda.wait(900, Now::at(Timestamp(now)), boot);
        (wait.as_secs(), trigger)
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
    fn a_start_that_one_clock_has_reached_and_the_other_has_not_is_no_reason_to_spin() {
        assert_eq!(wait(Some(4_000), 5_000, 100), (1, Trigger::Time));
        assert_eq!(wait(Some(4_000), 5_001, 101), (0, Trigger::Time));
    }
}
