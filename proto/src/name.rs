//! Names and numbers of accounts, by an allow-list of our own: useradd accepts `..` and visudo
//! accepts `ALL, !/bin/sh`. A value that exists is a good one; nothing is trimmed or replaced.

use std::fmt;

/// A user's login: `[a-z_][a-z0-9_-]{0,30}`, and none that a system has for itself.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Login(String);

/// A Unix group's name, of the same form; system groups are fine to refer to.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct UnixGroupName(String);

/// What people call a group, a role or an assignment: `[a-z0-9][a-z0-9-]{0,62}`, no dot since sudo
/// skips files with one.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ObjectName(String);

/// A user id that Muster may give: 1000–59999 or 100000–499999.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Uid(u32);

/// A Unix group id that Muster may give, from the same numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Gid(u32);

/// An absolute, normal path without characters that account files or shells would split at.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AbsolutePath(String);

/// One line of text that people read: at most 200 characters, no control or direction characters.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Line(String);

/// What a machine has to say to people: at most 4,096 characters, none of them as in a line.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Words(String);

/// A person's full name as GECOS can hold it: printable ASCII but `:`, `,` and `\`.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FullName(String);

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

/// Names that base systems and their packages use (Debian base-passwd, systemd sysusers, common
/// daemons). A user of Muster's with such a name could inherit files or rules that wait for it.
const RESERVED: &[&str] = &[
    "root",
    "daemon",
    "bin",
    "sys",
    "sync",
    "games",
    "man",
    "lp",
    "mail",
    "news",
    "uucp",
    "proxy",
    "www-data",
    "backup",
    "list",
    "irc",
    "gnats",
    "nobody",
    "nogroup",
    "_apt",
    "sshd",
    "messagebus",
    "polkitd",
    "dbus",
    "adm",
    "tty",
    "disk",
    "kmem",
    "dialout",
    "fax",
    "voice",
    "cdrom",
    "floppy",
    "tape",
    "sudo",
    "audio",
    "dip",
    "operator",
    "src",
    "shadow",
    "utmp",
    "video",
    "sasl",
    "plugdev",
    "staff",
    "users",
    "crontab",
    "input",
    "sgx",
    "kvm",
    "render",
    "wheel",
    "docker",
    "lxd",
    "libvirt",
    "netdev",
    "ssl-cert",
    "all",
    "halt",
    "shutdown",
    "ftp",
    "postgres",
    "mysql",
    "redis",
    "nginx",
    "apache",
    "ntp",
    "chrony",
    "rpc",
    "tss",
    "tcpdump",
    "puppet",
    "muster",
    "muster-agent",
    "muster-accounts",
];

fn bad(what: &'static str, found: &str, expected: &'static str) -> BadName {
    BadName::Form { what, found: found.escape_debug().take(120).collect(), expected }
}

fn is_account_name(text: &str) -> bool {
    let mut bytes = text.bytes();
    let first = bytes.next().is_some_and(|b| b.is_ascii_lowercase() || b == b'_');
    first
        && text.len() <= 31
        && bytes.all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_' || b == b'-')
}

/// Returns the names that no user and no Unix group of Muster's can have; those that begin with
/// `systemd-` are others.
pub const fn reserved() -> &'static [&'static str] {
    RESERVED
}

fn is_reserved(text: &str) -> bool {
    RESERVED.contains(&text) || text.starts_with("systemd-")
}

const ACCOUNT_NAME: &str =
    "a lower-case letter or `_`, then up to 30 of lower-case letters, digits, `_` and `-`";

impl Login {
    /// Reads a login.
    pub fn parse(text: &str) -> Result<Self, BadName> {
        if !is_account_name(text) {
            return Err(bad("a login", text, ACCOUNT_NAME));
        }
        if is_reserved(text) {
            return Err(BadName::Reserved(text.to_owned()));
        }
        Ok(Self(text.to_owned()))
    }
}

impl UnixGroupName {
    /// Reads the name of a Unix group that exists or shall exist.
    pub fn parse(text: &str) -> Result<Self, BadName> {
        if is_account_name(text) {
            Ok(Self(text.to_owned()))
        } else {
            Err(bad("a Unix group name", text, ACCOUNT_NAME))
        }
    }

    /// Reads the name of a Unix group that Muster is to create.
    pub fn parse_own(text: &str) -> Result<Self, BadName> {
        let name = Self::parse(text)?;
        if is_reserved(text) { Err(BadName::Reserved(text.to_owned())) } else { Ok(name) }
    }

    /// Returns the name of a user's primary Unix group, which is the login.
    pub fn primary(login: &Login) -> Self {
        Self(login.0.clone())
    }
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
text!(Login, UnixGroupName, ObjectName, AbsolutePath, Line, Words, FullName);

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
    fn logins_are_an_allow_list() {
        for good in ["a", "_x", "alice", "a-b_c9", &"a".repeat(31)] {
            assert!(Login::parse(good).is_ok(), "{good}");
        }
        for bad in [
            "",
            ".",
            "..",
            "-rf",
            "0day",
            "123",
            "0x10",
            "ALL",
            "all",
            "root",
            "Root",
            "root ",
            "a.b",
            "a/b",
            "a b",
            "a:b",
            "a\nb",
            "a\r",
            "a\0",
            "a$",
            "аdmin",
            "%wheel",
            "#0",
            "+ng",
            "@x",
            "daemon",
            "systemd-network",
            &"a".repeat(32),
        ] {
            assert!(Login::parse(bad).is_err(), "{bad:?}");
        }
    }

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

    #[test]
    fn paths_are_absolute_and_normal() {
        for good in ["/bin/bash", "/usr/bin/g++", "/home/alice"] {
            assert!(AbsolutePath::parse(good).is_ok(), "{good}");
        }
        for bad in ["", "/", "bin", "/a/../b", "/a//b", "/a/", "/a b", "/a:b", "/a*", "/tmp/\n"] {
            assert!(AbsolutePath::parse(bad).is_err(), "{bad:?}");
        }
    }

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
