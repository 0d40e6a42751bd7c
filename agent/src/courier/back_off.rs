//! How long the courier waits before it tries again, pure: twice as long after each failure up to a
//! bound, and never in step with the rest of a fleet whose controller comes back.

use std::time::Duration;

const SHORTEST: Duration = Duration::from_millis(500);
const LONGEST: Duration = Duration::from_mins(1);

/// The wait that comes next.
#[derive(Clone, Copy, Debug)]
pub(super) struct BackOff {
    wait: Duration,
}

impl Default for BackOff {
    fn default() -> Self {
        Self { wait: SHORTEST }
    }
}

impl BackOff {
    /// Begins anew, after something went well.
    pub(super) fn reset(&mut self) {
        *self = Self::default();
    }

    /// Returns a pause between half and all of the wait, by chance from 0 to 255, and doubles the
    /// wait.
    pub(super) fn pause(&mut self, chance: u8) -> Duration {
        let half = self.wait / 2;
        self.wait = (self.wait * 2).min(LONGEST);
        half + half * u32::from(chance) / u32::from(u8::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pauses(count: usize, chance: u8) -> Vec<u128> {
        let mut back_off = BackOff::default();
        (0..count).map(|_| back_off.pause(chance).as_millis()).collect()
    }

    #[test]
    fn each_failure_doubles_the_wait_up_to_a_minute() {
        let all = [500, 1_000, 2_000, 4_000, 8_000, 16_000, 32_000, 60_000, 60_000];
        assert_eq!(pauses(9, 255), all);
        assert_eq!(pauses(9, 0), all.map(|wait| wait / 2));
    }

    #[test]
    fn every_chance_gives_a_pause_between_half_and_all_of_the_wait() {
        let pauses: Vec<u128> =
            (0..=255).map(|chance| BackOff::default().pause(chance).as_millis()).collect();
        assert!(pauses.is_sorted());
        assert_eq!((pauses.first(), pauses.last()), (Some(&250), Some(&500)));
    }

    #[test]
    fn what_went_well_is_waited_for_no_longer_than_at_first() {
        let mut back_off = BackOff::default();
        assert!((0..20).map(|_| back_off.pause(0)).all(|pause| pause < LONGEST));
        back_off.reset();
        assert_eq!(back_off.pause(255), SHORTEST);
    }
}
