//! Names and numbers of accounts, by an allow-list of our own: useradd accepts `..` and visudo
//! accepts `ALL, !/bin/sh`. A value that exists is a good one; nothing is trimmed or replaced.

use std::fmt;

/// The text of a value, to be read and to be shown.
macro_rules! text {
    ($($name:ident),*) => {$(
        impl $name {
            /// Returns the text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    )*};
}

mod account;
mod number;
mod text;

pub use self::{
    account::{Login, UnixGroupName, reserved},
    number::{Gid, Uid},
    text::{FullName, Line, Words},
};

/// What people call a group, a role or an assignment: `[a-z0-9][a-z0-9-]{0,62}`, no dot since sudo
/// skips files with one.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ObjectName(String);

/// An absolute, normal path without characters that account files or shells would split at.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AbsolutePath(String);

/// Why something is not a name, number or path.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadName {
    /// The form is wrong.
    #[error("`{found}` is not {what}: {expected}")]
    Form {
        /// What it was to be.
        what: &'static str,
        /// What was found, with control characters escaped.
        found: String,
        /// The rule.
        expected: &'static str,
    },
    /// The system has it for itself.
    #[error("`{0}` belongs to the system, no user or Unix group of Muster can have it")]
    Reserved(String),
    /// The number is out of bounds.
    #[error("{found} is not {what}: 1000 to 59999 or 100000 to 499999")]
    Number {
        /// What it was to be.
        what: &'static str,
        /// The number.
        found: u32,
    },
}

fn bad(what: &'static str, found: &str, expected: &'static str) -> BadName {
    BadName::Form { what, found: found.escape_debug().take(120).collect(), expected }
}

impl ObjectName {
    /// Reads the name of a group, a role or an assignment.
    pub fn parse(text: &str) -> Result<Self, BadName> {
        let mut bytes = text.bytes();
        let fits = bytes.next().is_some_and(|b| b.is_ascii_lowercase() || b.is_ascii_digit())
            && text.len() <= 63
            && bytes.all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-');
        if fits {
            Ok(Self(text.to_owned()))
        } else {
            Err(bad(
                "a name",
                text,
                "a lower-case letter or digit, then up to 62 of lower-case letters, digits and `-`",
            ))
        }
    }
}

impl AbsolutePath {
    /// Reads a path: absolute, at most 200 bytes, of letters, digits, `.`, `_`, `+`, `-`, with no
    /// empty, `.` or `..` part and no slash at its end.
    pub fn parse(text: &str) -> Result<Self, BadName> {
        let fits = text.len() <= 200
            && text.strip_prefix('/').is_some_and(|rest| {
                rest.split('/').all(|part| {
                    !matches!(part, "" | "." | "..")
                        && part.bytes().all(|b| b.is_ascii_alphanumeric() || b"._+-".contains(&b))
                })
            });
        if fits {
            Ok(Self(text.to_owned()))
        } else {
            Err(bad(
                "a path",
                text,
                "absolute, without `..`, of letters, digits, `.`, `_`, `+` and `-`",
            ))
        }
    }
}

text!(ObjectName, AbsolutePath);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_absolute_and_normal() {
        for good in ["/bin/bash", "/usr/bin/g++", "/home/alice"] {
            assert!(AbsolutePath::parse(good).is_ok(), "{good}");
        }
        for bad in ["", "/", "bin", "/a/../b", "/a//b", "/a/", "/a b", "/a:b", "/a*", "/tmp/\n"] {
            assert!(AbsolutePath::parse(bad).is_err(), "{bad:?}");
        }
    }
}
