//! What time it is, pure: the wall clock and signed time carried forward by the time since boot.
//! Ends are judged by the later of the two, starts by both (DESIGN, What ends access).

use muster_proto::time::{Now, Timestamp};

/// Seconds by which a checkpoint may be ahead of what this host thinks.
pub const MAX_AHEAD: u64 = 24 * 3_600;

/// Signed time, and when it was heard.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SignedTime {
    /// What was signed, or carried forward to a point that was then stored.
    pub time: Timestamp,
    /// Seconds since boot (`CLOCK_BOOTTIME`) at which it held.
    pub heard: u64,
}

/// What the machine's clocks say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Clocks {
    /// `CLOCK_REALTIME`.
    pub wall: Timestamp,
    /// Seconds of `CLOCK_BOOTTIME`, which goes on while the machine sleeps.
    pub boot: u64,
}

/// What came of hearing a signed time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub enum Heard {
    /// It was taken, or is older than what is known.
    Taken,
    /// It is too far ahead to be believed.
    TooFarAhead,
}

impl SignedTime {
    /// Begins anew after a boot or a start with what was stored.
    pub fn restored(time: Timestamp, clocks: Clocks) -> Self {
        Self { time, heard: clocks.boot }
    }

    /// Returns signed time as of now.
    pub fn carried(&self, clocks: Clocks) -> Timestamp {
        self.time.plus(clocks.boot.saturating_sub(self.heard))
    }

    /// Returns what time it is. Before anything signed was heard, the wall clock is all there is.
    pub fn now(&self, clocks: Clocks) -> Now {
        if self.time == Timestamp::default() {
            return Now::at(clocks.wall);
        }
        let signed = self.carried(clocks);
        Now { latest: clocks.wall.max(signed), earliest: clocks.wall.min(signed) }
    }

    /// Hears the time of a link or a trust root, which a quorum signed: always believed.
    pub fn believe(&mut self, time: Timestamp, clocks: Clocks) {
        if time > self.carried(clocks) {
            *self = Self { time, heard: clocks.boot };
        }
    }

    /// Hears the time of a checkpoint, which the controller signed: at most a day ahead.
    pub fn hear(&mut self, time: Timestamp, clocks: Clocks) -> Heard {
        if time > self.now(clocks).latest.plus(MAX_AHEAD) {
            return Heard::TooFarAhead;
        }
        self.believe(time, clocks);
        Heard::Taken
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn clocks(wall: u64, boot: u64) -> Clocks {
        Clocks { wall: Timestamp(wall), boot }
    }

    #[test]
    fn signed_time_is_carried_forward_and_never_back() {
        let mut signed = SignedTime::default();
        assert_eq!(signed.now(clocks(1_000, 5)), Now::at(Timestamp(1_000)));
        assert_eq!(signed.hear(Timestamp(1_010), clocks(1_000, 5)), Heard::Taken);
        assert_eq!(signed.carried(clocks(0, 15)), Timestamp(1_020));
        assert_eq!(signed.hear(Timestamp(1_015), clocks(1_000, 15)), Heard::Taken);
        assert_eq!(signed.carried(clocks(0, 15)), Timestamp(1_020));
    }

    #[test]
    fn a_clock_set_back_revives_nothing_and_one_set_ahead_starts_nothing() {
        let mut signed = SignedTime::default();
        signed.believe(Timestamp(10_000), clocks(10_000, 0));
        let back = signed.now(clocks(5_000, 10));
        assert_eq!((back.latest, back.earliest), (Timestamp(10_010), Timestamp(5_000)));
        let ahead = signed.now(clocks(90_000, 10));
        assert_eq!((ahead.latest, ahead.earliest), (Timestamp(90_000), Timestamp(10_010)));
    }

    #[test]
    fn a_checkpoint_is_believed_up_to_a_day_ahead() {
        let mut signed = SignedTime::default();
        signed.believe(Timestamp(1_000), clocks(1_000, 0));
        assert_eq!(signed.hear(Timestamp(1_001 + MAX_AHEAD), clocks(1_000, 0)), Heard::TooFarAhead);
        assert_eq!(signed.hear(Timestamp(1_000 + MAX_AHEAD), clocks(1_000, 0)), Heard::Taken);
    }
}
