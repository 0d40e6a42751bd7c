//! Numbers of accounts and Unix groups.

use std::fmt;

use super::BadName;

/// A user id that Muster may give: 1000–59999 or 100000–499999.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Uid(u32);

/// A Unix group id that Muster may give, from the same numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Gid(u32);

const fn in_range(number: u32) -> bool {
    matches!(number, 1_000..=59_999 | 100_000..=499_999)
}

impl Uid {
    /// Takes a number from the ranges that no system uses for itself (systemd.io/UIDS-GIDS).
    pub fn parse(number: u32) -> Result<Self, BadName> {
        if in_range(number) {
            Ok(Self(number))
        } else {
            Err(BadName::Number { what: "a uid", found: number })
        }
    }

    /// Says whether numbers from `first` to `last` are a range in which every one can be a uid. Uids
    /// and gids are of the same numbers, so this is the rule for both.
    pub const fn is_range(first: u32, last: u32) -> bool {
        first <= last && in_range(first) && in_range(last) && (first < 100_000) == (last < 100_000)
    }

    /// Returns the number.
    pub const fn get(self) -> u32 {
        self.0
    }

    /// Returns the gid of the primary Unix group.
    pub const fn primary_gid(self) -> Gid {
        Gid(self.0)
    }
}

impl Gid {
    /// Takes a number from the same ranges as a uid's.
    pub fn parse(number: u32) -> Result<Self, BadName> {
        if in_range(number) {
            Ok(Self(number))
        } else {
            Err(BadName::Number { what: "a gid", found: number })
        }
    }

    /// Returns the number.
    pub const fn get(self) -> u32 {
        self.0
    }
}

impl fmt::Display for Uid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Display for Gid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn uids_stop_at_their_bounds() {
        for (number, fits) in [
            (0, false),
            (999, false),
            (1_000, true),
            (59_999, true),
            (60_000, false),
            (65_534, false),
            (65_535, false),
            (99_999, false),
            (100_000, true),
            (499_999, true),
            (500_000, false),
            (1 << 31, false),
            (u32::MAX, false),
        ] {
            assert_eq!(Uid::parse(number).is_ok(), fits, "{number}");
            assert_eq!(Gid::parse(number).is_ok(), fits, "{number}");
        }
    }

    #[test]
    fn a_range_has_numbers_that_can_all_be_given() {
        for (first, last, fits) in [
            (1_000, 59_999, true),
            (100_000, 499_999, true),
            (1_000, 1_000, true),
            (1_001, 1_000, false),
            (999, 59_999, false),
            (1_000, 60_000, false),
            (59_999, 100_000, false),
            (1_000, 499_999, false),
            (99_999, 499_999, false),
            (100_000, 500_000, false),
            (0, u32::MAX, false),
        ] {
            assert_eq!(Uid::is_range(first, last), fits, "{first} to {last}");
            let every = [first, last].into_iter().all(|number| Uid::parse(number).is_ok());
            assert!(every || !fits, "{first} to {last}");
        }
    }
}
