//! What a role lets its users run as somebody else: a typed model that has no place for wildcards,
//! negations, aliases or options. Text that visudo would accept and that gives root away does not
//! parse here (LAB: 18 of 22 dangerous one-line files pass `visudo -c`).

use std::fmt;

use crate::name::{AbsolutePath, BadName, UnixGroupName};

/// One sudo rule of a role.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct SudoRule {
    /// As whom.
    pub run_as: RunAs,
    /// What; never empty.
    pub commands: Vec<SudoCommand>,
    /// Whether the caller's own password is asked for.
    pub password: SudoPassword,
    /// The command may not execute further programs.
    pub noexec: bool,
    /// Where it runs, if not where the caller is.
    pub directory: Option<AbsolutePath>,
}

/// The user and Unix group that a command runs as.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct RunAs {
    /// The user.
    pub user: RunAsUser,
    /// The Unix group, if the rule names one.
    pub group: Option<UnixGroupName>,
}

/// The user that a command runs as.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum RunAsUser {
    /// Any user of the host, root among them.
    Any,
    /// root, or another account of the host.
    Named(UnixGroupName),
}

/// Whether sudo asks for a password.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum SudoPassword {
    /// It does not: a key-only user has none.
    None,
    /// It does.
    Required,
}

/// One command.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum SudoCommand {
    /// Everything: the same as being that user.
    All,
    /// One program.
    Program(AbsolutePath, Arguments),
}

/// With which arguments.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Arguments {
    /// Any at all, as when sudoers names only the program.
    Any,
    /// None.
    None,
    /// Exactly these.
    Exactly(Vec<String>),
}

/// Why a text is not a sudo command.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadSudo {
    /// The program is not an absolute path.
    #[error("the command of a sudo rule must begin with an absolute path")]
    Program(#[source] BadName),
    /// An argument holds something that sudoers would read as syntax.
    #[error(
        "`{0}` cannot be an argument in a sudo rule: letters, digits and `._/+@=:-` are possible, \
         wildcards, commas, quotes, negations and the like are not"
    )]
    Argument(String),
    /// A list of nothing.
    #[error("a sudo rule needs at least one command")]
    Empty,
    /// Longer than sudo's own lines should be.
    #[error("the command is longer than 1000 characters")]
    Long,
}

impl SudoCommand {
    /// Reads `ALL`, `/path` (any arguments), `/path ""` (none) or `/path a b` (exactly these).
    pub fn parse(text: &str) -> Result<Self, BadSudo> {
        if text == "ALL" {
            return Ok(Self::All);
        }
        if text.len() > 1_000 {
            return Err(BadSudo::Long);
        }
        let mut words = text.split(' ');
        let program =
            AbsolutePath::parse(words.next().unwrap_or_default()).map_err(BadSudo::Program)?;
        let words: Vec<&str> = words.collect();
        let arguments = match words.as_slice() {
            [] => Arguments::Any,
            ["\"\""] => Arguments::None,
            words => Arguments::Exactly(
                words.iter().map(|word| argument(word)).collect::<Result<_, _>>()?,
            ),
        };
        Ok(Self::Program(program, arguments))
    }
}

fn argument(word: &str) -> Result<String, BadSudo> {
    let fits = |b: u8| b.is_ascii_alphanumeric() || b"._/+@=:-".contains(&b);
    if !word.is_empty() && word.bytes().all(fits) {
        Ok(word.to_owned())
    } else {
        Err(BadSudo::Argument(word.escape_debug().take(80).collect()))
    }
}

impl RunAsUser {
    /// Reads `ALL` or the name of an account.
    pub fn parse(text: &str) -> Result<Self, BadName> {
        if text == "ALL" { Ok(Self::Any) } else { UnixGroupName::parse(text).map(Self::Named) }
    }

    /// Says whether this lets somebody become root.
    pub fn reaches_root(&self) -> bool {
        match self {
            Self::Any => true,
            Self::Named(name) => name.as_str() == "root",
        }
    }
}

impl fmt::Display for RunAsUser {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Any => f.write_str("ALL"),
            Self::Named(name) => name.fmt(f),
        }
    }
}

impl fmt::Display for SudoCommand {
    /// The canonical text, which `parse` reads back. Not yet what stands in a sudoers file.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::All => f.write_str("ALL"),
            Self::Program(path, Arguments::Any) => path.fmt(f),
            Self::Program(path, Arguments::None) => write!(f, "{path} \"\""),
            Self::Program(path, Arguments::Exactly(words)) => {
                write!(f, "{path} {}", words.join(" "))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_read_back_as_they_were_written() {
        for good in [
            "ALL",
            "/usr/bin/psql",
            "/usr/bin/id \"\"",
            "/usr/bin/systemctl restart postgresql",
            "/usr/bin/journalctl --unit=nginx.service -f",
        ] {
            assert_eq!(SudoCommand::parse(good).unwrap().to_string(), good);
        }
    }

    #[test]
    fn what_sudoers_would_read_as_syntax_is_refused() {
        for bad in [
            "",
            "psql",
            "bin/psql",
            "./x",
            "sudoedit /etc/hosts",
            "/usr/bin/vi *",
            "/usr/bin/*",
            "/bin/sh, /bin/bash",
            "/bin/a,",
            "!/bin/sh",
            "ALL, !/bin/sh",
            "/bin/sh\nALL",
            "/bin/sh\r",
            "/bin/x a\\",
            "/bin/x [ab]",
            "/bin/x a?",
            "/bin/x #1",
            "/bin/x \"a\"",
            "/bin/x (root)",
            "/bin/x ^a$",
            "/bin/x  a",
            "/bin/../bin/sh",
            "/usr/bin/",
            "sha256:abc /bin/x",
            "all",
            "/bin/x %h",
            "/bin/x a\tb",
            "/bin/x \"\" \"\"",
        ] {
            assert!(SudoCommand::parse(bad).is_err(), "{bad:?}");
        }
    }
}
