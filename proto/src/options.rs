//! What one key may be used for, as it stands before the key in a line of `authorized_keys`
//! (sshd(8), "authorized keys file format"): the options that take something away. Those that give
//! (`environment`, `permitopen`, `tunnel`, `cert-authority`, `principals` …) have no place here.

use std::{collections::BTreeSet, fmt};

use crate::statement::{BadNetwork, SourceNetwork};

/// What one key may be used for, besides what holds for all keys of its user.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct KeyOptions {
    /// Source networks; empty means from everywhere.
    pub from: BTreeSet<SourceNetwork>,
    /// The one command that it runs, whatever is asked for.
    pub command: Option<ForcedCommand>,
    /// Neither terminal nor forwarding nor anything else that a later sshd may add.
    pub restrict: bool,
}

/// A command that a key is bound to. The user's shell runs it, so it holds nothing that a shell
/// reads as syntax.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ForcedCommand(String);

/// Why options before a key are not taken.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadOption {
    /// Quotes that do not close, or something behind them.
    #[error(
        "the options before the key do not end: expected `from=\"…\",command=\"…\",restrict TYPE …`"
    )]
    Form,
    /// Not one of the three.
    #[error("the option `{0}` is not taken before a key: `from`, `command` and `restrict` are")]
    Unknown(String),
    /// Twice.
    #[error("the option `{0}` stands there twice")]
    Twice(&'static str),
    /// A network that is none.
    #[error("cannot take `from`")]
    From(#[from] BadNetwork),
    /// A command that a shell would read as more than words.
    #[error(
        "`{0}` cannot be the command of a key: an absolute path or `internal-sftp`, then words of \
         letters, digits and `._/+@=:,-`, at most 500 characters"
    )]
    Command(String),
}

impl ForcedCommand {
    /// The most bytes that one may have.
    pub const MOST_BYTES: usize = 500;

    /// Reads a command: a path or `internal-sftp`, and words, each behind one space.
    pub fn parse(text: &str) -> Result<Self, BadOption> {
        let mut words = text.split(' ');
        let program = words.next().unwrap_or_default();
        let word = |word: &str| {
            let fits = |b: u8| b.is_ascii_alphanumeric() || b"._/+@=:,-".contains(&b);
            !word.is_empty() && word.bytes().all(fits)
        };
        let starts = program == "internal-sftp" || (program.starts_with('/') && word(program));
        if text.len() <= Self::MOST_BYTES && starts && words.all(word) {
            Ok(Self(text.to_owned()))
        } else {
            Err(BadOption::Command(text.escape_debug().take(120).collect()))
        }
    }

    /// Returns the text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for ForcedCommand {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl KeyOptions {
    /// Parts a line of `authorized_keys` into its options and the rest, which begins with the key's
    /// type. A line without options is all rest.
    pub fn split(line: &str) -> Result<(Self, &str), BadOption> {
        let mut options = Self::default();
        if !starts_with_option(line) {
            return Ok((options, line));
        }
        let mut rest = line;
        loop {
            let (name, value, after) = next_option(rest)?;
            options.take(name, value)?;
            let mut left = after.chars();
            match left.next() {
                Some(',') => rest = left.as_str(),
                Some(' ') => return Ok((options, left.as_str())),
                _ => return Err(BadOption::Form),
            }
        }
    }

    fn take(&mut self, name: &str, value: Option<&str>) -> Result<(), BadOption> {
        match (name, value) {
            ("from", Some(list)) => {
                if !self.from.is_empty() {
                    return Err(BadOption::Twice("from"));
                }
                for network in list.split(',') {
                    self.from.insert(SourceNetwork::parse(network)?);
                }
            }
            ("command", Some(command)) => {
                let before = self.command.replace(ForcedCommand::parse(command)?);
                if before.is_some() {
                    return Err(BadOption::Twice("command"));
                }
            }
            ("restrict", None) if self.restrict => return Err(BadOption::Twice("restrict")),
            ("restrict", None) => self.restrict = true,
            _ => return Err(BadOption::Unknown(name.escape_debug().take(40).collect())),
        }
        Ok(())
    }
}

/// A key's type holds no `=` and no `,`, and none is called like an option without a value.
fn starts_with_option(line: &str) -> bool {
    let word = line.split(' ').next().unwrap_or_default();
    word.contains(['=', ',', '"']) || word == "restrict" || word.starts_with("no-")
}

fn next_option(text: &str) -> Result<(&str, Option<&str>, &str), BadOption> {
    let end = text.find(['=', ',', ' ']).ok_or(BadOption::Form)?;
    let (name, rest) = text.split_at(end);
    let Some(rest) = rest.strip_prefix('=') else { return Ok((name, None, rest)) };
    let rest = rest.strip_prefix('"').ok_or(BadOption::Form)?;
    let (value, after) = rest.split_once('"').ok_or(BadOption::Form)?;
    Ok((name, Some(value), after))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_are_parted_from_the_key() {
        let key = "ssh-ed25519 AAAA someone";
        assert_eq!(KeyOptions::split(key).unwrap(), (KeyOptions::default(), key));
        let line =
            format!("restrict,from=\"10.0.0.0/8,::1\",command=\"/usr/bin/rsync --server .\" {key}");
        let (options, rest) = KeyOptions::split(&line).unwrap();
        assert_eq!(rest, key);
        assert!(options.restrict);
        let from: Vec<&str> = options.from.iter().map(SourceNetwork::as_str).collect();
        assert_eq!(from, ["10.0.0.0/8", "::1"]);
        assert_eq!(options.command.unwrap().as_str(), "/usr/bin/rsync --server .");
    }

    #[test]
    fn options_that_give_or_that_are_not_understood_are_refused() {
        let key = "ssh-ed25519 AAAA someone";
        for (options, why) in [
            ("environment=\"LD_PRELOAD=x\"", "`environment`"),
            ("cert-authority,restrict", "`cert-authority`"),
            ("principals=\"root\"", "`principals`"),
            ("permitopen=\"*:*\"", "`permitopen`"),
            ("no-pty", "`no-pty`"),
            ("restrict,restrict", "twice"),
            ("from=\"1.2.3.4\",from=\"::1\"", "twice"),
            ("command=\"/a\",command=\"/b\"", "twice"),
            ("from=\"*.example\"", "cannot take `from`"),
            ("from=\"\"", "cannot take `from`"),
            ("from=10.0.0.1", "do not end"),
            ("command=\"/a", "do not end"),
            ("restrict,", "``"),
            ("command=\"/a\"restrict", "do not end"),
            ("command=\"sh\"", "absolute path"),
        ] {
            let error = KeyOptions::split(&format!("{options} {key}")).unwrap_err().to_string();
            assert!(error.contains(why), "{options}: {error}");
        }
    }

    #[test]
    fn commands_hold_nothing_that_a_shell_reads_as_syntax() {
        let long = format!("/{}", "a".repeat(ForcedCommand::MOST_BYTES - 1));
        for good in [
            "internal-sftp",
            "internal-sftp -R",
            "/usr/bin/borg serve --restrict-to-path /srv",
            &long,
        ] {
            assert!(ForcedCommand::parse(good).is_ok(), "{good}");
        }
        let longer = format!("{long}a");
        for bad in [
            "",
            "ls",
            "./x",
            "/bin/sh -c \"id\"",
            "/bin/x; id",
            "/bin/x $HOME",
            "/bin/x `id`",
            "/bin/x a  b",
            "/bin/x |y",
            "/bin/x\nid",
            "/bin/x ~",
            "/bin/x *",
            "/bin/x \\a",
            "/bin/x ",
            &longer,
        ] {
            assert!(ForcedCommand::parse(bad).is_err(), "{bad:?}");
        }
    }
}
