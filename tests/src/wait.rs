//! Waiting for something to become true. The only place in the tests that sleeps.

use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use anyhow::bail;

const INTERVAL: Duration = Duration::from_millis(20);

/// Asks `probe` again and again until it returns a value, and fails after `deadline`, naming
/// `what` did not happen.
///
/// ```
/// use muster_tests::wait;
/// use std::time::Duration;
///
/// let mut tries = 0;
/// let third = wait::until(Duration::from_secs(5), "a third try", || {
///     tries += 1;
///     (tries == 3).then_some(tries)
/// })?;
/// assert_eq!(third, 3);
/// # anyhow::Ok(())
/// ```
pub fn until<T>(
    deadline: Duration,
    what: &str,
    mut probe: impl FnMut() -> Option<T>,
) -> anyhow::Result<T> {
    let start = Instant::now();
    loop {
        if let Some(value) = probe() {
            return Ok(value);
        }
        if start.elapsed() >= deadline {
            bail!("waited {} s in vain for {what}", deadline.as_secs_f32());
        }
        thread::sleep(INTERVAL);
    }
}

/// Waits until the clock shows another minute: `cron` and `atd` look at it once in each.
pub fn until_the_next_minute() -> anyhow::Result<()> {
    let minute =
        || SystemTime::now().duration_since(UNIX_EPOCH).ok().map(|time| time.as_secs() / 60);
    let begun = minute();
    until(Duration::from_secs(61), "the next minute", || (minute() != begun).then_some(()))
}
