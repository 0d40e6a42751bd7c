//! What the machine's clocks say, and the one wait that is for nothing but time to pass. What they
//! mean is `clock`'s business.

use std::time::Duration;

use muster_proto::time::Timestamp;
use nix::time::{ClockId, clock_gettime};

use crate::clock::Clocks;

/// Reads the machine's clocks.
pub fn read() -> Clocks {
    let seconds =
        |clock| clock_gettime(clock).map_or(0, |time| u64::try_from(time.tv_sec()).unwrap_or(0));
    Clocks {
        wall: Timestamp(seconds(ClockId::CLOCK_REALTIME)),
        boot: seconds(ClockId::CLOCK_BOOTTIME),
    }
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
