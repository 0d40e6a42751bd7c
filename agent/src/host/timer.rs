//! Wakes the keeper at a time of the wall clock, also out of sleep, and whenever somebody sets that
//! clock (`timerfd_create(2)`, `TFD_TIMER_CANCEL_ON_SET`): a wait on a monotonic clock would miss
//! both.

use std::{io, sync::Arc, thread};

use nix::{
    sys::{
        time::TimeSpec,
        timerfd::{ClockId, Expiration, TimerFd, TimerFlags, TimerSetTimeFlags},
    },
    time::{ClockId as Clock, clock_gettime},
};

/// A timer that rings again each time it is set.
#[derive(Debug)]
pub struct Timer {
    timer: Arc<TimerFd>,
}

/// Bytes of stack for the thread that waits.
const STACK: usize = 64 << 10;

impl Timer {
    /// Starts a timer; `wake` says whether anybody still listens.
    pub fn start(wake: impl Fn() -> bool + Send + 'static) -> io::Result<Self> {
        let timer = Arc::new(TimerFd::new(ClockId::CLOCK_REALTIME, TimerFlags::TFD_CLOEXEC)?);
        let waiting = Arc::clone(&timer);
        thread::Builder::new().name("timer".to_owned()).stack_size(STACK).spawn(move || {
            // It also returns when the clock was set.
            while waiting.wait().is_ok() && wake() {}
        })?;
        Ok(Self { timer })
    }

    /// Rings when the wall clock has begun the second that lies this many seconds ahead.
    pub fn set(&self, seconds: u64) -> io::Result<()> {
        let now = clock_gettime(Clock::CLOCK_REALTIME)?;
        let seconds = i64::try_from(seconds).unwrap_or(i64::MAX);
        let at = TimeSpec::new(now.tv_sec().saturating_add(seconds), 0);
        let flags =
            TimerSetTimeFlags::TFD_TIMER_ABSTIME | TimerSetTimeFlags::TFD_TIMER_CANCEL_ON_SET;
        Ok(self.timer.set(Expiration::OneShot(at), flags)?)
    }
}

#[cfg(test)]
mod tests {
    use std::{sync::mpsc, time::Duration};

    use super::*;

    #[test]
    fn it_rings_once_for_each_time_it_is_set() {
        let (sender, receiver) = mpsc::channel();
        let timer = Timer::start(move || sender.send(()).is_ok()).unwrap();
        for _ in 0..2 {
            timer.set(1).unwrap();
            receiver.recv_timeout(Duration::from_secs(10)).expect("it rings");
        }
        assert!(receiver.try_recv().is_err(), "and no more");
    }
}
