//! Signed time as the keeper tells it to the courier, which is not root and verifies nothing: times
//! and what the boot clock said then. Whoever reads them carries them forward; they are the least
//! that it can be, and say nothing of how much later it is.

use std::fmt;

use muster_proto::time::Timestamp;

use super::{Clocks, is_dead};

/// Times that were signed, and when they held by `CLOCK_BOOTTIME`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Told {
    /// What a quorum swore.
    pub sworn: Timestamp,
    /// What the controller said.
    pub said: Timestamp,
    /// Seconds of the boot clock.
    pub boot: u64,
}

impl Told {
    /// Reads what [`fmt::Display`] has written, and nothing else.
    pub fn parse(text: &str) -> Option<Self> {
        let mut numbers = text.strip_suffix('\n')?.split(' ').map(number);
        let [sworn, said, boot] = [numbers.next()??, numbers.next()??, numbers.next()??];
        if numbers.next().is_some() {
            return None;
        }
        Some(Self { sworn: Timestamp(sworn), said: Timestamp(said), boot })
    }

    /// Carries it forward. Nobody has told of a moment that lies ahead: by a boot clock that has
    /// not got so far the times are as told.
    #[must_use]
    pub fn carried(self, clocks: Clocks) -> Self {
        let gone = clocks.boot.saturating_sub(self.boot);
        let carry =
            |time: Timestamp| if time == Timestamp::default() { time } else { time.plus(gone) };
        Self { sworn: carry(self.sworn), said: carry(self.said), boot: clocks.boot }
    }

    /// Returns by what time the controller's certificate is judged: the wall clock's unless that is
    /// behind what a quorum swore, and then the latest that was signed. A live clock gives way to
    /// nothing that the controller says: whoever had its key for a moment could say a time at which
    /// no certificate holds any more, and the rotation of that key, which takes the time back,
    /// would reach no host.
    pub fn time(self, clocks: Clocks) -> Timestamp {
        let Self { sworn, said, .. } = self.carried(clocks);
        if is_dead(clocks, sworn) { sworn.max(said) } else { clocks.wall }
    }
}

impl fmt::Display for Told {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{} {} {}", self.sworn.0, self.said.0, self.boot)
    }
}

fn number(digits: &str) -> Option<u64> {
    let plain = digits.bytes().all(|byte| byte.is_ascii_digit());
    digits.parse().ok().filter(|_| plain)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_told_is_read_as_it_was_and_nothing_else_is() {
        for (sworn, said, boot) in [(0, 0, 0), (7, 1_764_115_200, 412), (u64::MAX, 0, u64::MAX)] {
            let told = Told { sworn: Timestamp(sworn), said: Timestamp(said), boot };
            assert_eq!(Told::parse(&told.to_string()), Some(told));
        }
        for damaged in [
            "",
            "\n",
            "1764115200",
            "1764115200 1764115201\n",
            "1764115200 1764115201 412",
            "1764115200 1764115201 412 7\n",
            "1764115200  1764115201 412\n",
            "1764115200 1764115201 412\n\n",
            "+1764115200 1764115201 412\n",
            "1764115200 1764115201 -412\n",
            "18446744073709551616 1764115201 412\n",
            "now then 412\n",
        ] {
            assert_eq!(Told::parse(damaged), None, "{damaged:?}");
        }
    }
}
