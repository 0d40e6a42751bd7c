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
mod tests;
