//! What time it is to TLS: what the wall clock says, or where that is behind what a quorum swore,
//! what the keeper has told of signed time. A host whose wall clock begins again in 1970 would take
//! no certificate of the controller's for valid, and what takes access away could not reach it.

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use muster_proto::time::Timestamp;
use rustls::{pki_types::UnixTime, time_provider::TimeProvider};

use crate::{
    clock::{Clocks, Told},
    host::{chain, state},
};

/// Where what the keeper tells is read, and the machine's clocks.
#[derive(Clone, Debug)]
pub struct HostTime {
    told: PathBuf,
    clocks: fn() -> Clocks,
}

impl HostTime {
    /// Takes the keeper's file and the clocks.
    pub fn new(told: &Path, clocks: fn() -> Clocks) -> Self {
        Self { told: told.to_owned(), clocks }
    }

    /// Returns what time it is. Where the keeper has told nothing that can be read, it is what the
    /// wall clock says.
    fn now(&self) -> Timestamp {
        let clocks = (self.clocks)();
        let text = match state::read_text(&self.told) {
            Ok(text) => text,
            Err(error) => {
                tracing::warn!(error = %chain(&error), "going by the wall clock alone");
                return clocks.wall;
            }
        };
        Told::parse(&text).map_or(clocks.wall, |told| told.time(clocks))
    }
}

impl TimeProvider for HostTime {
    fn current_time(&self) -> Option<UnixTime> {
        Some(UnixTime::since_unix_epoch(Duration::from_secs(self.now().0)))
    }
}

#[cfg(test)]
#[expect(clippy::disallowed_methods, reason = "a test lays down what the keeper tells")]
mod tests {
    use std::fs;

    use super::*;

    /// Noon of some day, which was sworn when the boot clock was at 100.
    const NOON: u64 = 1_764_072_000;
    const DAY: u64 = 86_400;

    /// A minute later, by a machine whose wall clock is so far from right.
    fn minute_later(beside: i64) -> Clocks {
        Clocks { wall: Timestamp((NOON + 60).saturating_add_signed(beside)), boot: 160 }
    }

    fn right() -> Clocks {
        minute_later(0)
    }

    fn slow() -> Clocks {
        minute_later(-60)
    }

    fn slower() -> Clocks {
        minute_later(-61)
    }

    fn ahead() -> Clocks {
        minute_later(86_400)
    }

    fn dead() -> Clocks {
        Clocks { wall: Timestamp(160), boot: 160 }
    }

    fn young() -> Clocks {
        Clocks { wall: Timestamp(7), boot: 7 }
    }

    /// What it is called, what was told, what the clocks say and what time it is.
    type Case<'a> = (&'a str, Option<&'a str>, fn() -> Clocks, u64);

    #[test]
    fn it_is_the_wall_clock_or_where_that_is_dead_signed_time_carried_forward() {
        let sworn = format!("{NOON} 0 100\n");
        let both = format!("{NOON} {} 100\n", NOON + DAY);
        let huge = format!("{} 0 100\n", u64::MAX);
        let said = format!("0 {NOON} 100\n");
        let long = format!("{sworn}{}", " ".repeat(64 << 10));
        let cases: [Case<'_>; 14] = [
            ("a dead clock", Some(&sworn), dead, NOON + 60),
            ("a dead clock and what the controller said", Some(&both), dead, NOON + DAY + 60),
            ("a boot clock that has not got so far", Some(&sworn), young, NOON),
            ("a clock that is right", Some(&sworn), right, NOON + 60),
            ("a clock that is right and a controller that lied", Some(&both), right, NOON + 60),
            ("a clock that is slow", Some(&both), slow, NOON),
            ("a clock that is too slow", Some(&sworn), slower, NOON + 60),
            ("a clock that is ahead", Some(&both), ahead, NOON + 60 + DAY),
            ("the end of all time", Some(&huge), dead, u64::MAX),
            ("what the controller alone said", Some(&said), dead, 160),
            ("nothing told", None, dead, 160),
            ("an empty file", Some(""), dead, 160),
            ("a damaged file", Some("noon 0 100\n"), dead, 160),
            ("a file without end", Some(&long), dead, 160),
        ];
        for (what, text, clocks, expected) in cases {
            let directory = tempfile::tempdir().unwrap();
            let path = directory.path().join("time");
            if let Some(text) = text {
                fs::write(&path, text).unwrap();
            }
            assert_eq!(HostTime::new(&path, clocks).now(), Timestamp(expected), "{what}");
        }
        let directory = tempfile::tempdir().unwrap();
        assert_eq!(HostTime::new(directory.path(), dead).now(), Timestamp(160), "no file");
    }
}
