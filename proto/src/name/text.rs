//! What people read: nothing in it hides, and nothing in it ends a line of an account file.

use std::fmt;

use super::{BadName, bad};

/// One line of text that people read: at most 200 characters, no control or direction characters.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Line(String);

/// What a machine has to say to people: at most 4,096 characters, none of them as in a line.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Words(String);

/// A person's full name as GECOS can hold it: printable ASCII but `:`, `,` and `\`.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FullName(String);

fn is_hidden(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{2028}' | '\u{2029}' | '\u{200b}'..='\u{200f}')
        || matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{feff}')
}

impl Words {
    /// Reads what a machine has to say.
    pub fn parse(text: &str) -> Result<Self, BadName> {
        if text.chars().count() <= 4_096 && !text.chars().any(is_hidden) {
            Ok(Self(text.to_owned()))
        } else {
            Err(bad("what can be shown", text, "at most 4096 characters, none of them invisible"))
        }
    }
}

impl Line {
    /// Reads one line of text.
    pub fn parse(text: &str) -> Result<Self, BadName> {
        if text.chars().count() <= 200 && !text.chars().any(is_hidden) {
            Ok(Self(text.to_owned()))
        } else {
            Err(bad("a line of text", text, "at most 200 characters, none of them invisible"))
        }
    }
}

impl FullName {
    /// Reads a full name (CVE-2015-3245, CVE-2011-0721: a GECOS field with a newline is root).
    pub fn parse(text: &str) -> Result<Self, BadName> {
        let fits = |b: u8| (b' '..=b'~').contains(&b) && !b":,\\".contains(&b);
        if text.len() <= 100 && text.bytes().all(fits) {
            Ok(Self(text.to_owned()))
        } else {
            Err(bad(
                "a full name for the account's GECOS field",
                text,
                "at most 100 printable ASCII characters, none of them `:`, `,` or `\\`",
            ))
        }
    }
}

text!(Line, Words, FullName);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn full_names_cannot_break_a_passwd_line() {
        assert!(FullName::parse("Alice O'Neil (DBA)").is_ok());
        for bad in ["a:b", "a,b", "a\nb", "a\rb", "a\\b", "é", "\u{202e}a", "a\0"] {
            assert!(FullName::parse(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn words_show_all_that_they_hold() {
        assert!(Words::parse("link 7 is older than the floor, „link 9“").is_ok());
        assert!(Words::parse(&"ü".repeat(4_096)).is_ok());
        for bad in ["a\nb", "\u{1b}[31m", "a\u{202e}b", "\u{2067}", &"x".repeat(4_097)] {
            assert!(Words::parse(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn lines_show_all_that_they_hold() {
        assert!(Line::parse("für Änderung OPS-123, „ok“").is_ok());
        for bad in ["a\nb", "\u{1b}[31m", "a\u{202e}b", "\u{feff}", &"x".repeat(201)] {
            assert!(Line::parse(bad).is_err(), "{bad:?}");
        }
    }
}
