//! How often a host can have something written into the audit log, which is never made smaller: what
//! one host does there by its receipts is logged so many times in an hour, and beyond that counted.

use muster_proto::{
    id::{Digest, HostId},
    time::Timestamp,
};

/// So many entries come from one host …
pub const LOGGED: u32 = 16;
/// … in so many seconds.
pub const LOGGED_WITHIN: u64 = 3_600;

/// What of a host was logged of late.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Told {
    since: Timestamp,
    count: u32,
    /// How much was not logged since the last that was.
    untold: u64,
}

impl Told {
    /// Notes that something is to be logged, and returns how much before it was not; nothing, if it
    /// is only counted.
    pub(super) fn take(&mut self, now: Timestamp) -> Option<u64> {
        // A clock that goes back makes nobody wait for it.
        if now < self.since || now.since(self.since) >= LOGGED_WITHIN {
            *self = Self { since: now, count: 0, ..*self };
        }
        if self.count >= LOGGED {
            self.untold = self.untold.saturating_add(1);
            return None;
        }
        self.count += 1;
        Some(std::mem::take(&mut self.untold))
    }
}

/// Returns the body of a log entry about a receipt: its host, its number as eight bytes, its digest,
/// and how many entries before this one were only counted, as eight bytes. The receipt itself is the
/// host's to make as large as it likes, and the log is kept for ever.
pub(super) fn body(host: HostId, (number, digest): (u64, Digest), untold: u64) -> Vec<u8> {
    let (number, untold) = (number.to_be_bytes(), untold.to_be_bytes());
    [host.as_bytes().as_slice(), &number, digest.as_bytes(), &untold].concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn so_much_is_logged_in_an_hour_and_the_rest_is_counted_in_the_next() {
        let mut told = Told::default();
        let start = Timestamp(10_000);
        for _ in 0..LOGGED {
            assert_eq!(told.take(start), Some(0));
        }
        for last in [start, start.plus(LOGGED_WITHIN - 1)] {
            assert_eq!(told.take(last), None, "{last:?}");
        }
        assert_eq!(told.take(start.plus(LOGGED_WITHIN)), Some(2));
        assert_eq!(told.take(start.plus(LOGGED_WITHIN)), Some(0));
        assert_eq!(told.take(Timestamp(1)), Some(0), "a clock that goes back");
    }

    #[test]
    fn a_body_has_one_size_and_says_which_receipt() {
        let (host, digest) = (HostId::new([1; 32]), Digest::new([2; 32]));
        let wanted = [&[1; 32][..], &[0, 0, 0, 0, 0, 0, 1, 2], &[2; 32], &[0, 0, 0, 0, 0, 0, 0, 3]];
        assert_eq!(body(host, (258, digest), 3), wanted.concat());
    }
}
