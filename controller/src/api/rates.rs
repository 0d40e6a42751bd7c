//! How much each host may say. What a host says is written down under one lock that all hosts
//! share, so a host that says too much waits for itself, before it takes the lock, and nobody else
//! waits for it.

use std::{
    collections::BTreeMap,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use muster_proto::{id::HostId, time::Timestamp};

/// How much a host may say at once: a start with a full spool, or a morning of changes.
const BURST: u64 = 64;
/// How much of it is free again after each second.
const PER_SECOND: u64 = 4;
/// How many bytes count for one more.
const BYTES: usize = 64 << 10;

/// What every host has said of late.
#[derive(Default)]
pub(super) struct Rates(Mutex<BTreeMap<HostId, Said>>);

#[derive(Clone, Copy)]
struct Said {
    much: u64,
    at: Timestamp,
}

impl Rates {
    /// Notes that a host says something of so many bytes, and returns how long it has to wait
    /// before it is heard.
    pub(super) fn wait(&self, host: HostId, bytes: usize, now: Timestamp) -> Duration {
        let cost = 1 + u64::try_from(bytes / BYTES).unwrap_or(u64::MAX);
        let mut hosts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let said = hosts.entry(host).or_insert(Said { much: 0, at: now });
        let free = now.since(said.at).saturating_mul(PER_SECOND);
        *said = Said { much: said.much.saturating_sub(free).saturating_add(cost), at: now };
        Duration::from_millis(said.much.saturating_sub(BURST).saturating_mul(1_000) / PER_SECOND)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_that_says_too_much_waits_and_no_other_host_does() {
        let rates = Rates::default();
        let (loud, quiet) = (HostId::new([1; 32]), HostId::new([2; 32]));
        let now = Timestamp(1_000);
        for _ in 0..BURST {
            assert_eq!(rates.wait(loud, BYTES - 1, now), Duration::ZERO);
        }
        assert_eq!(rates.wait(loud, 0, now), Duration::from_millis(250));
        assert_eq!(rates.wait(loud, 0, now), Duration::from_millis(500));
        assert_eq!(rates.wait(quiet, 0, now), Duration::ZERO);
        assert_eq!(rates.wait(loud, 0, now.plus(1)), Duration::ZERO, "66 and one, less four");
        assert_eq!(rates.wait(loud, 0, Timestamp(0)), Duration::ZERO, "a clock that goes back");
        assert_eq!(rates.wait(loud, 0, Timestamp(0)), Duration::from_millis(250));
    }

    #[test]
    fn what_is_large_counts_for_more() {
        let rates = Rates::default();
        let (host, now) = (HostId::new([1; 32]), Timestamp(1_000));
        assert_eq!(rates.wait(host, BYTES * 63, now), Duration::ZERO);
        assert_eq!(rates.wait(host, BYTES, now), Duration::from_millis(500));
    }
}
