//! How many refusals, and how many bundles that say nothing new, become receipts, pure. Whoever sends
//! them again and again must not push out of the spool what nobody has seen yet.

/// So many at once.
const BURST: u32 = 200;
/// And one more after so many seconds.
const REFILL_SECONDS: u64 = 60;

/// What may still be told.
#[derive(Clone, Copy, Debug)]
pub(super) struct Allowance {
    left: u32,
    /// Seconds since boot up to which it was refilled.
    filled: u64,
    untold: u64,
}

impl Allowance {
    /// Begins with all of it.
    pub(super) fn new(boot: u64) -> Self {
        Self { left: BURST, filled: boot, untold: 0 }
    }

    /// Takes one if there is one, and returns how many there were none for since the last time.
    pub(super) fn take(&mut self, boot: u64) -> Option<u64> {
        let refills = boot.saturating_sub(self.filled) / REFILL_SECONDS;
        self.filled += refills * REFILL_SECONDS;
        let more = u32::try_from(refills).unwrap_or(BURST);
        self.left = self.left.saturating_add(more).min(BURST);
        if self.left == 0 {
            self.untold += 1;
            return None;
        }
        self.left -= 1;
        Some(std::mem::take(&mut self.untold))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_is_told_and_then_one_each_minute_with_the_number_of_the_others() {
        let mut allowance = Allowance::new(1_000);
        for _ in 0..BURST {
            assert_eq!(allowance.take(1_000), Some(0));
        }
        assert_eq!(allowance.take(1_000), None);
        assert_eq!(allowance.take(1_059), None);
        assert_eq!(allowance.take(1_060), Some(2));
        assert_eq!(allowance.take(1_119), None);
        assert_eq!(allowance.take(1_120), Some(1));
        // A quiet day gives no more than a burst.
        for _ in 0..BURST {
            assert_eq!(allowance.take(90_000), Some(0));
        }
        assert_eq!(allowance.take(90_000), None);
    }
}
