//! A pause: root of this host works on it, and for a while nothing is given or put right beneath his
//! hands. Pure. It is short, it ends by itself, and what is taken from somebody meanwhile is taken at
//! once ([`lost`]): whoever could keep that off by a pause would need no bundle to stay.

pub mod lost;

use muster_proto::{
    name::Line,
    time::{Now, Timestamp},
};

use self::lost::Lost;

/// The longest pause, in seconds.
pub const LONGEST: u64 = 24 * 3_600;

/// How long a pause is to be: from a second to [`LONGEST`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span(u64);

/// Why there is a pause: a line that is not empty.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reason(Line);

/// Why it cannot be paused so.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadPause {
    /// No number with a unit.
    #[error("`{0}` is not a length of time: expected 90s, 15m or 2h")]
    Form(String),
    /// Longer than any pause.
    #[error("no pause is longer than 24h: when it has ended, there can be another one")]
    TooLong,
    /// Nothing, or what cannot be shown.
    #[error("a reason is one line of at most 200 characters that can be seen")]
    Reason,
}

impl Span {
    /// Reads a number with its unit.
    pub fn parse(text: &str) -> Result<Self, BadPause> {
        let bad = || BadPause::Form(text.to_owned());
        let factor = match text.chars().last() {
            Some('s') => 1,
            Some('m') => 60,
            Some('h') => 3_600,
            _ => return Err(bad()),
        };
        let digits = text.get(..text.len() - 1).unwrap_or_default();
        if !digits.bytes().all(|byte| byte.is_ascii_digit()) {
            return Err(bad());
        }
        let number: u64 = digits.parse().map_err(|_| bad())?;
        if number == 0 {
            return Err(bad());
        }
        Self::of(number.saturating_mul(factor))
    }

    /// Takes a number of seconds.
    pub fn of(seconds: u64) -> Result<Self, BadPause> {
        match seconds {
            0 => Err(BadPause::Form("0".to_owned())),
            1..=LONGEST => Ok(Self(seconds)),
            _ => Err(BadPause::TooLong),
        }
    }

    /// Returns it in seconds.
    pub fn seconds(self) -> u64 {
        self.0
    }
}

impl Reason {
    /// Reads a reason.
    pub fn parse(text: &str) -> Result<Self, BadPause> {
        let line = Line::parse(text).map_err(|_| BadPause::Reason)?;
        if text.trim().is_empty() { Err(BadPause::Reason) } else { Ok(Self(line)) }
    }

    /// Returns it.
    pub fn as_str(&self) -> &str {
        self.0.as_str()
    }
}

/// A pause, as the ledger has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pause {
    /// When it ends at the latest.
    pub until: Timestamp,
    /// The most seconds that were left of it when the ledger was written.
    pub left: u64,
    /// Who wanted it, as far as the kernel told: who had logged in to begin with.
    pub login: String,
    /// In which unit or session.
    pub unit: String,
    /// Why.
    pub reason: Reason,
    /// What was taken from whom since it began.
    pub lost: Lost,
}

impl Pause {
    /// Returns whose it is: root's, where nobody has logged in.
    pub fn by(&self) -> &str {
        if self.login.is_empty() { "root" } else { &self.login }
    }

    /// Returns the rest of it in words.
    pub fn words(&self) -> String {
        let Self { until, unit, reason, .. } = self;
        let place = if unit.is_empty() { String::new() } else { format!(" in {unit}") };
        format!("until {until}{place}: {}", reason.as_str())
    }
}

/// When a pause ends: when the latest clock says so, and after as many seconds of uptime as it is
/// long, so that no clock that is set back prolongs it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Term {
    until: Timestamp,
    boot: u64,
}

impl Term {
    /// Begins one now.
    pub fn begin(span: Span, now: Now, boot: u64) -> Self {
        Self { until: now.latest.plus(span.0), boot: boot.saturating_add(span.0) }
    }

    /// Goes on with one after a start.
    pub fn restored(pause: &Pause, boot: u64) -> Self {
        Self { until: pause.until, boot: boot.saturating_add(pause.left) }
    }

    /// Returns when it ends at the latest.
    pub fn until(&self) -> Timestamp {
        self.until
    }

    /// Returns the seconds that are left of it: 0 if it is over.
    pub fn left(&self, now: Now, boot: u64) -> u64 {
        self.until.since(now.latest).min(self.uptime_left(boot))
    }

    /// Returns the most that is left of it, whatever clocks are set to.
    pub fn uptime_left(&self, boot: u64) -> u64 {
        self.boot.saturating_sub(boot)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pause_is_a_day_long_at_most_and_not_a_second_longer() {
        assert_eq!(Span::parse("24h"), Ok(Span(LONGEST)));
        assert_eq!(Span::parse("86400s"), Ok(Span(LONGEST)));
        assert_eq!(Span::parse("1s"), Ok(Span(1)));
        assert_eq!(Span::parse("90m"), Ok(Span(5_400)));
        for longer in ["86401s", "1441m", "25h", "18446744073709551615h"] {
            assert_eq!(Span::parse(longer), Err(BadPause::TooLong), "{longer}");
        }
        for bad in ["", "5", "h", "0h", "-1h", "+1h", "1.5h", "1d", "2 h", "99999999999999999999s"]
        {
            assert_eq!(Span::parse(bad), Err(BadPause::Form(bad.to_owned())), "{bad}");
        }
        assert_eq!(Span::of(LONGEST), Ok(Span(LONGEST)));
        assert_eq!(Span::of(LONGEST + 1), Err(BadPause::TooLong));
        assert!(Span::of(0).is_err());
    }

    #[test]
    fn a_reason_says_something_in_one_line() {
        assert_eq!(Reason::parse("OPS-7: disk").unwrap().as_str(), "OPS-7: disk");
        assert!(Reason::parse(&"x".repeat(200)).is_ok());
        for bad in ["", " ", "a\nb", "\u{1b}[2J", &"x".repeat(201)] {
            assert_eq!(Reason::parse(bad), Err(BadPause::Reason), "{bad:?}");
        }
    }

    #[test]
    fn a_pause_is_over_by_whichever_clock_gets_there_first() {
        let at = |wall| Now::at(Timestamp(wall));
        let term = Term::begin(Span(100), at(1_000), 50);
        assert_eq!(term.left(at(1_000), 50), 100);
        assert_eq!(term.left(at(1_099), 149), 1);
        assert_eq!(term.left(at(1_100), 149), 0, "the wall clock is there");
        assert_eq!(term.left(at(1_000), 149), 1, "it was set back");
        assert_eq!(term.left(at(10), 150), 0, "and prolongs nothing");
    }
}
