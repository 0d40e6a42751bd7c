//! Dates as people write them. A bare day begins at 00:00 UTC where something starts, and is still
//! included where something ends.

use muster_proto::time::Timestamp;
use schemars::{Schema, json_schema};
use time::{
    Date, OffsetDateTime, format_description::well_known::Rfc3339, macros::format_description,
};

use super::text::FromText;

/// A day or a point in time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum When {
    /// A whole day; its first second.
    Day(Timestamp),
    /// A point in time.
    Point(Timestamp),
}

impl When {
    /// Returns the moment, where something starts.
    pub fn start(self) -> Timestamp {
        match self {
            Self::Day(time) | Self::Point(time) => time,
        }
    }

    /// Returns the moment, where something ends: a bare day is included.
    pub fn end(self) -> Timestamp {
        match self {
            Self::Day(time) => time.plus(86_400),
            Self::Point(time) => time,
        }
    }
}

impl FromText for When {
    const DESCRIPTION: &'static str =
        "A day such as `2027-06-30` or a point in time such as `2027-06-30T18:00:00Z`.";

    fn rules() -> Schema {
        json_schema!({
            "anyOf": [{ "format": "date" }, { "format": "date-time" }],
            "pattern": "^[0-9]{4}-(0[1-9]|1[0-2])-(0[1-9]|[12][0-9]|3[01])(T([01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9](\\.[0-9]+)?(Z|[+-]([01][0-9]|2[0-3]):[0-5][0-9]))?$",
        })
    }

    fn from_text(text: &str) -> Result<Self, String> {
        let bad = || {
            format!(
                "`{}` is not a date: expected `2027-06-30` or `2027-06-30T18:00:00Z`",
                text.escape_debug()
            )
        };
        let seconds = |moment: OffsetDateTime| {
            // Second 0 is how the documents say that there is no bound.
            let seconds = u64::try_from(moment.unix_timestamp()).ok().filter(|s| *s > 0);
            seconds.map(Timestamp).ok_or_else(bad)
        };
        if let Ok(day) = Date::parse(text, format_description!("[year]-[month]-[day]")) {
            return Ok(Self::Day(seconds(day.midnight().assume_utc())?));
        }
        let point = OffsetDateTime::parse(text, &Rfc3339).map_err(|_| bad())?;
        Ok(Self::Point(seconds(point)?))
    }
}

/// Reads a length of time such as `90s`, `15m`, `2h` or `7d` into seconds.
pub fn seconds(text: &str) -> Result<u64, String> {
    let bad = || format!("`{text}` is not a length of time: expected 90s, 15m, 2h or 7d");
    let unit = text.chars().last().ok_or_else(bad)?;
    let factor = match unit {
        's' => 1,
        'm' => 60,
        'h' => 3_600,
        'd' => 86_400,
        _ => return Err(bad()),
    };
    let number: u64 = text.trim_end_matches(unit).parse().map_err(|_| bad())?;
    number.checked_mul(factor).filter(|seconds| *seconds > 0).ok_or_else(bad)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bare_day_is_included_where_something_ends() {
        let day = When::from_text("2027-06-30").unwrap();
        assert_eq!(day.start().to_string(), "2027-06-30T00:00:00Z");
        assert_eq!(day.end().to_string(), "2027-07-01T00:00:00Z");
        let point = When::from_text("2027-06-30T18:00:00+02:00").unwrap();
        assert_eq!(point.end().to_string(), "2027-06-30T16:00:00Z");
        for bad in
            ["", "tomorrow", "2027-13-01", "2027-02-30", "30.06.2027", "1969-12-31", "1970-01-01"]
        {
            assert!(When::from_text(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn lengths_of_time_have_a_unit() {
        assert_eq!(seconds("90s"), Ok(90));
        assert_eq!(seconds("7d"), Ok(604_800));
        for bad in ["", "5", "h", "0h", "-1h", "1.5h", "1w", "99999999999999999999s"] {
            assert!(seconds(bad).is_err(), "{bad}");
        }
    }
}
