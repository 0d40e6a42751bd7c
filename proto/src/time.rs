//! Points in time as the documents carry them: whole seconds since 1970, UTC. Nobody here asks a
//! clock; the shells do and pass the answer in.

use std::fmt;

/// Seconds since 1970-01-01T00:00:00Z.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp(pub u64);

/// What time it is, as two judgements: an end is reached as soon as either clock says so, a start
/// only when both do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Now {
    /// The later of the wall clock and signed time: judges ends.
    pub latest: Timestamp,
    /// The earlier of the two: judges starts.
    pub earliest: Timestamp,
}

impl Timestamp {
    /// Returns the point that is `seconds` later, at most the last one.
    #[must_use]
    pub fn plus(self, seconds: u64) -> Self {
        Self(self.0.saturating_add(seconds))
    }

    /// Returns the seconds from `earlier` to here, 0 if it is later.
    pub fn since(self, earlier: Self) -> u64 {
        self.0.saturating_sub(earlier.0)
    }
}

impl Now {
    /// Both judgements agree: for a clock that is trusted.
    pub fn at(time: Timestamp) -> Self {
        Self { latest: time, earliest: time }
    }

    /// Says whether something with these bounds is in force: `from <= t < until`.
    pub fn within(&self, from: Option<Timestamp>, until: Option<Timestamp>) -> bool {
        from.is_none_or(|from| from <= self.earliest)
            && until.is_none_or(|until| self.latest < until)
    }
}

impl fmt::Display for Timestamp {
    /// RFC 3339 in UTC. Days to civil date as in Howard Hinnant's `civil_from_days`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (days, second) = (self.0 / 86_400, self.0 % 86_400);
        let shifted = days + 719_468;
        let (era, day_of_era) = (shifted / 146_097, shifted % 146_097);
        let year_of_era =
            (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
        let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
        let month_from_march = (5 * day_of_year + 2) / 153;
        let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
        let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
        let year = year_of_era + era * 400 + u64::from(month <= 2);
        let (hour, minute, second) = (second / 3_600, second / 60 % 60, second % 60);
        write!(f, "{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}Z")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_are_rendered_as_rfc_3339() {
        for (seconds, text) in [
            (0, "1970-01-01T00:00:00Z"),
            (951_782_399, "2000-02-28T23:59:59Z"),
            (951_782_400, "2000-02-29T00:00:00Z"),
            (1_795_305_909, "2026-11-22T00:05:09Z"),
            (2_147_483_648, "2038-01-19T03:14:08Z"),
            (4_294_967_296, "2106-02-07T06:28:16Z"),
        ] {
            assert_eq!(Timestamp(seconds).to_string(), text);
        }
    }

    #[test]
    fn a_start_needs_both_clocks_and_an_end_needs_one() {
        let apart = Now { latest: Timestamp(20), earliest: Timestamp(10) };
        let at = |t| Some(Timestamp(t));
        assert!(apart.within(at(10), at(21)));
        assert!(!apart.within(at(11), None), "only one clock says that it has begun");
        assert!(!apart.within(None, at(20)), "one clock says that it has ended");
        assert!(apart.within(None, None));
    }
}
