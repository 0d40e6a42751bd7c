//! How much each host may say. What a host says is written down under one lock that all hosts
//! share, so a host that says too much waits for itself, before it takes the lock, and nobody else
//! waits for it.

use std::{
    collections::BTreeMap,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use muster_proto::{id::HostId, time::Timestamp};

/// How much a host may say at once: a whole spool of ten thousand small receipts, or a morning of
/// changes.
const BURST: u64 = 16_384;
/// How much of it is free again after each second.
const PER_SECOND: u64 = 64;
/// What it is to say where one stands.
const STANDING: u64 = 64;
/// How many bytes count for one more.
const BYTES: usize = 4 << 10;
/// How many items of drift do.
const DRIFT: usize = 16;

/// What every host has said of late.
#[derive(Default)]
pub(super) struct Rates(Mutex<BTreeMap<HostId, Said>>);

/// Something that a host says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Word {
    /// Where it stands.
    Standing,
    /// So many receipts, of so many bytes together.
    Receipts { count: usize, bytes: usize },
    /// So many items of drift in receipts: that is known once they were heard.
    Drift { items: usize },
}

#[derive(Clone, Copy)]
struct Said {
    much: u64,
    at: Timestamp,
}

impl Word {
    fn cost(self) -> u64 {
        let number = |many: usize| u64::try_from(many).unwrap_or(u64::MAX);
        match self {
            Self::Standing => STANDING,
            Self::Receipts { count, bytes } => number(count).saturating_add(number(bytes / BYTES)),
            Self::Drift { items } => number(items / DRIFT),
        }
    }
}

impl Rates {
    /// Notes what a host says, and returns how long it has to wait before it is heard.
    pub(super) fn wait(&self, host: HostId, word: Word, now: Timestamp) -> Duration {
        let mut hosts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let said = hosts.entry(host).or_insert(Said { much: 0, at: now });
        let free = now.since(said.at).saturating_mul(PER_SECOND);
        *said = Said { much: said.much.saturating_sub(free).saturating_add(word.cost()), at: now };
        Duration::from_millis(said.much.saturating_sub(BURST).saturating_mul(1_000) / PER_SECOND)
    }

    /// Notes what a host has said and was heard already: what it says next waits for it.
    pub(super) fn note(&self, host: HostId, word: Word, now: Timestamp) {
        let _ = self.wait(host, word, now);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: Word = Word::Receipts { count: 16_384, bytes: 0 };
    const ONE: Word = Word::Receipts { count: 1, bytes: BYTES - 1 };

    #[test]
    fn a_host_that_says_too_much_waits_and_no_other_host_does() {
        let rates = Rates::default();
        let (loud, quiet) = (HostId::new([1; 32]), HostId::new([2; 32]));
        let now = Timestamp(1_000);
        for _ in 0..BURST / STANDING {
            assert_eq!(rates.wait(loud, Word::Standing, now), Duration::ZERO);
        }
        assert_eq!(rates.wait(loud, Word::Standing, now), Duration::from_secs(1));
        assert_eq!(rates.wait(loud, Word::Standing, now), Duration::from_secs(2));
        assert_eq!(rates.wait(quiet, Word::Standing, now), Duration::ZERO);
        assert_eq!(rates.wait(loud, Word::Standing, now.plus(3)), Duration::ZERO);
        assert_eq!(rates.wait(loud, Word::Standing, Timestamp(0)), Duration::from_secs(1));
    }

    #[test]
    fn each_receipt_counts_and_what_is_large_counts_for_more() {
        let now = Timestamp(1_000);
        let wait = |word| {
            let (rates, host) = (Rates::default(), HostId::new([1; 32]));
            assert_eq!(rates.wait(host, ALL, now), Duration::ZERO, "so much is free");
            rates.wait(host, word, now)
        };
        assert_eq!(wait(Word::Receipts { count: 64, bytes: BYTES - 1 }), Duration::from_secs(1));
        assert_eq!(wait(Word::Receipts { count: 64, bytes: BYTES * 64 }), Duration::from_secs(2));
        assert_eq!(wait(Word::Drift { items: DRIFT * 64 }), Duration::from_secs(1));
        assert_eq!(wait(Word::Drift { items: DRIFT - 1 }), Duration::ZERO);
    }

    #[test]
    fn a_host_that_comes_back_with_a_full_spool_need_not_wait() {
        let (rates, host, now) = (Rates::default(), HostId::new([1; 32]), Timestamp(1_000));
        assert_eq!(rates.wait(host, Word::Standing, now), Duration::ZERO);
        let batch = Word::Receipts { count: 256, bytes: 256 * 2_048 };
        // Ten thousand of two kilobytes.
        for _ in 0..10_000 / 256 {
            assert_eq!(rates.wait(host, batch, now), Duration::ZERO);
        }
        assert_eq!(rates.wait(host, ONE, now), Duration::ZERO);
    }

    #[test]
    fn what_was_told_of_drift_is_waited_for_with_the_next_word() {
        let (rates, host, now) = (Rates::default(), HostId::new([1; 32]), Timestamp(1_000));
        assert_eq!(rates.wait(host, ALL, now), Duration::ZERO);
        rates.note(host, Word::Drift { items: DRIFT * 63 }, now);
        assert_eq!(rates.wait(host, ONE, now), Duration::from_secs(1));
    }
}
