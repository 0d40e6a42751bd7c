//! How soon the host is looked at again: whoever touches things can be anybody.

use std::time::Duration;

/// No longer than this is waited for quiet.
pub(super) const PATIENCE: Duration = Duration::from_millis(250);

/// So many looks are taken at once, and then one in each [`PACE`]: users can touch their crontabs as
/// often as they like.
pub(super) const BURST: u32 = 20;

/// How often the host is looked at when somebody never comes to rest. A look at 1,000 accounts takes
/// 25 ms of a processor, so that is a tenth of one, and less than whoever touches things spends.
pub(super) const PACE: Duration = Duration::from_millis(250);

/// How many more looks may be taken at once.
#[derive(Debug, Default)]
pub(super) struct Pace {
    taken: u32,
    /// Since boot, up to which looks were given back.
    given: Duration,
}

impl Pace {
    /// Takes a look, and returns how long to wait at most for quiet before it. Without a look left it
    /// is waited all that time, quiet or not.
    pub(super) fn patience(&mut self, now: Duration) -> Patience {
        while self.taken > 0 && now.saturating_sub(self.given) >= PACE {
            self.taken -= 1;
            self.given += PACE;
        }
        if self.taken == 0 {
            self.given = now;
        }
        if self.taken < BURST {
            self.taken += 1;
            return Patience { least: Duration::ZERO, most: PATIENCE };
        }
        Patience { least: PACE, most: PACE }
    }
}

/// How long somebody is waited for.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Patience {
    pub(super) least: Duration,
    pub(super) most: Duration,
}
