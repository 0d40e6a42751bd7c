//! What the machine's clocks say, and the one wait that is for nothing but time to pass. What they
//! mean is `clock`'s business.

use std::time::Duration;

use muster_proto::time::Timestamp;
use nix::time::{ClockId, clock_gettime};

use crate::clock::Clocks;

/// Reads the machine's clocks. Seconds of the boot clock are counted from the wall clock's own: if
/// each began when it likes, a time that is carried forward by one would be ahead of the other by
/// up to a second, and an end would come that much too early.
pub fn read() -> Clocks {
    let read = |clock| clock_gettime(clock).map_or((0, 0), |time| (time.tv_sec(), time.tv_nsec()));
    let (wall, part) = read(ClockId::CLOCK_REALTIME);
    let (boot, part_of_boot) = read(ClockId::CLOCK_BOOTTIME);
    let seconds = |seconds| u64::try_from(seconds).unwrap_or(0);
    let begun = u64::from(part_of_boot < part);
    Clocks { wall: Timestamp(seconds(wall)), boot: seconds(boot).saturating_sub(begun) }
}

/// Returns the time since some moment of this boot, for how long something takes.
pub fn monotonic() -> Duration {
    let time = clock_gettime(ClockId::CLOCK_MONOTONIC);
    time.map_or(Duration::ZERO, |time| {
        let part = |part: i64| u64::try_from(part).unwrap_or_default();
        Duration::from_secs(part(time.tv_sec())) + Duration::from_nanos(part(time.tv_nsec()))
    })
}

/// Waits a moment after a connection could not be taken: what has run out, such as descriptors, is
/// not there again at once, and asking without a pause would keep a processor busy.
#[expect(clippy::disallowed_methods, reason = "a failing accept must not spin")]
pub fn pause() {
    std::thread::sleep(Duration::from_secs(1));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_clocks_begin_a_second_at_once() {
        let ahead = |clocks: Clocks| clocks.wall.0 - clocks.boot;
        let first = read();
        let mut last = first;
        while last.wall.0 < first.wall.0 + 2 {
            last = read();
            assert_eq!(ahead(last), ahead(first));
        }
    }
}
