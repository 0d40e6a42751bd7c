//! What time it is, pure. Three sources: the wall clock; time that a quorum swore (links, trust
//! roots, the ledger), always believed; time that the controller says in checkpoints, believed
//! within bounds. Sworn and said time are carried forward by `CLOCK_BOOTTIME`. Ends are judged by
//! the latest of the three, starts by the earliest (DESIGN, What ends access).
//!
//! A step forward is not sure at once: what only it would end is bounded (`ends`) until a
//! checkpoint confirms it or an hour of uptime has passed.

mod told;

use muster_proto::{
    link::CHECKPOINT_VALIDITY,
    time::{Now, Timestamp},
};

pub use self::told::Told;

/// Seconds by which a checkpoint may be ahead of what this host knows.
pub const MAX_AHEAD: u64 = 24 * 3_600;
/// Seconds of uptime after which a step forward is sure.
pub const SETTLES_AFTER: u64 = 3_600;
/// Seconds within which two clocks agree.
const AGREE: u64 = CHECKPOINT_VALIDITY;
/// Seconds by which the wall clock may drift from the boot clock without having stepped.
const DRIFT: u64 = 60;

/// What the machine's clocks say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Clocks {
    /// `CLOCK_REALTIME`.
    pub wall: Timestamp,
    /// Seconds of `CLOCK_BOOTTIME`, which goes on while the machine sleeps.
    pub boot: u64,
}

/// What time it is, and how much of that is sure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Time {
    /// The latest and the earliest of all clocks.
    pub now: Now,
    /// The latest of those that have not just stepped forward; at most `now.latest`.
    pub sure: Timestamp,
    /// Seconds until all of it is sure, if it is not.
    pub settles_in: Option<u64>,
}

/// What came of hearing a checkpoint's time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub enum Heard {
    /// It was taken, or is older than what is known.
    Taken,
    /// It is too far ahead to be believed.
    TooFarAhead,
}

/// What the agent remembers of time when it is stopped.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Remembered {
    /// Sworn time, carried forward.
    pub sworn: Timestamp,
    /// What checkpoints said, carried forward.
    pub said: Timestamp,
}

/// All that the keeper knows of time.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    sworn: Point,
    said: Point,
    wall: Wall,
}

/// A time, when it held by the boot clock, and since when no doubt was cast on it.
#[derive(Clone, Copy, Debug, Default)]
struct Point {
    time: Timestamp,
    boot: u64,
    /// The boot clock at its last step forward that nobody vouches for.
    stepped: Option<u64>,
}

/// How far the wall clock is from the boot clock.
#[derive(Clone, Copy, Debug)]
struct Wall {
    offset: i128,
    /// The boot clock at its last step forward.
    stepped: Option<u64>,
}

impl Clock {
    /// Begins after a start with what was remembered. A wall clock that is ahead of it cannot be
    /// told from one that was set ahead.
    pub fn restored(remembered: Remembered, clocks: Clocks) -> Self {
        let point = |time| Point { time, boot: clocks.boot, stepped: None };
        let mut clock = Self {
            sworn: point(remembered.sworn),
            said: point(remembered.said),
            wall: Wall { offset: offset(clocks), stepped: None },
        };
        let known = clock.signed(clocks);
        if known != Timestamp::default() && clocks.wall > known.plus(DRIFT) {
            clock.wall.stepped = Some(clocks.boot);
        }
        clock
    }

    /// Returns what has to be remembered.
    pub fn remembered(&self, clocks: Clocks) -> Remembered {
        Remembered { sworn: self.sworn.carried(clocks), said: self.said.carried(clocks) }
    }

    /// Returns what time it is, after a look at whether the wall clock has stepped.
    pub fn read(&mut self, clocks: Clocks) -> Time {
        self.wall.look(clocks);
        let signed = self.signed(clocks);
        if signed == Timestamp::default() {
            // Nothing signed was ever heard: the wall clock is all there is.
            return Time { now: Now::at(clocks.wall), sure: clocks.wall, settles_in: None };
        }
        let doubts = [
            (clocks.wall, self.wall.stepped),
            (self.sworn.carried(clocks), None),
            (self.said.carried(clocks), self.said.stepped),
        ]
        .map(|(time, stepped)| (time, stepped.and_then(|at| remaining(at, clocks))));
        let latest = clocks.wall.max(signed);
        let sure = doubts.iter().filter(|(_, left)| left.is_none()).map(|(time, _)| *time).max();
        let sure = sure.unwrap_or(latest);
        let waiting = doubts.iter().filter(|(time, _)| *time > sure).filter_map(|(_, left)| *left);
        Time {
            now: Now { latest, earliest: clocks.wall.min(signed) },
            sure,
            settles_in: waiting.max(),
        }
    }

    /// Hears the time of a link or a trust root, which a quorum signed: always believed.
    pub fn swear(&mut self, time: Timestamp, clocks: Clocks) {
        if time > self.sworn.carried(clocks) {
            self.sworn = Point { time, boot: clocks.boot, stepped: None };
        }
    }

    /// Hears the time of a checkpoint, which the controller signed: at most a day ahead of the wall
    /// clock and of sworn time, so that it cannot creep. A wall clock behind sworn time is dead and
    /// bounds nothing; what is heard then is a step forward.
    pub fn hear(&mut self, time: Timestamp, clocks: Clocks) -> Heard {
        let sworn = self.sworn.carried(clocks);
        let dead = is_dead(clocks, sworn);
        let far = time > clocks.wall.max(sworn).plus(MAX_AHEAD);
        if far && !dead {
            return Heard::TooFarAhead;
        }
        if time.since(clocks.wall) <= AGREE && clocks.wall.since(time) <= AGREE {
            self.wall.stepped = None;
        }
        let carried = self.said.carried(clocks);
        if time > carried {
            let stepped = if far && time > carried.plus(DRIFT) {
                Some(clocks.boot)
            } else {
                self.said.stepped
            };
            self.said = Point { time, boot: clocks.boot, stepped };
        }
        Heard::Taken
    }

    /// Forgets what checkpoints said: their key was rotated, and what the old one moved goes with it.
    pub fn forget_said(&mut self) {
        self.said = Point::default();
    }

    /// Returns what others on this host may know of signed time; nothing where no quorum swore any.
    pub fn told(&self, clocks: Clocks) -> Option<Told> {
        let Remembered { sworn, said } = self.remembered(clocks);
        (sworn != Timestamp::default()).then_some(Told { sworn, said, boot: clocks.boot })
    }

    fn signed(&self, clocks: Clocks) -> Timestamp {
        self.sworn.carried(clocks).max(self.said.carried(clocks))
    }
}

impl Point {
    fn carried(&self, clocks: Clocks) -> Timestamp {
        if self.time == Timestamp::default() {
            return self.time;
        }
        self.time.plus(clocks.boot.saturating_sub(self.boot))
    }
}

impl Wall {
    fn look(&mut self, clocks: Clocks) {
        let offset = offset(clocks);
        if offset > self.offset + i128::from(DRIFT) {
            *self = Self { offset, stepped: Some(clocks.boot) };
        } else if offset < self.offset - i128::from(DRIFT) {
            // Set back: it ends nothing, and what it did while it was ahead is remembered elsewhere.
            *self = Self { offset, stepped: None };
        }
    }
}

/// Says whether the wall clock is behind what a quorum swore, which no clock that is right is.
fn is_dead(clocks: Clocks, sworn: Timestamp) -> bool {
    clocks.wall.plus(DRIFT) < sworn
}

fn offset(clocks: Clocks) -> i128 {
    i128::from(clocks.wall.0) - i128::from(clocks.boot)
}

/// Returns the seconds until a step is sure, none if it is.
fn remaining(stepped: u64, clocks: Clocks) -> Option<u64> {
    let left = SETTLES_AFTER.saturating_sub(clocks.boot.saturating_sub(stepped));
    (left > 0).then_some(left)
}

#[cfg(test)]
mod tests;
