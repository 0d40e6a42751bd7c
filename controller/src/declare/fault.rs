//! Why a declaration cannot be: found when the files and the directory are held against each other.

use std::{collections::BTreeSet, fmt, path::PathBuf};

use muster_proto::{
    id::{Id, Kind},
    name::{BadName, Login},
};

use super::text::At;

/// Why a declaration cannot be.
#[derive(Debug, thiserror::Error)]
pub enum ResolveError {
    /// A name that nothing has.
    #[error(
        "{from_kind} `{from}` names {kind} `{name}`, which neither the files nor the directory have"
    )]
    Unknown {
        /// What names it.
        from_kind: Kind,
        /// Which.
        from: String,
        /// What was named.
        kind: Kind,
        /// The name.
        name: String,
    },
    /// Something to remove that is not there.
    #[error("`absent` names {kind} `{name}`, which the directory does not have")]
    NotThere {
        /// What.
        kind: Kind,
        /// Which.
        name: String,
    },
    /// Declared and absent at once.
    #[error("{kind} `{name}` is declared and listed under `absent`")]
    Both {
        /// What.
        kind: Kind,
        /// Which.
        name: String,
    },
    /// Somebody who was taken out comes back with a file that still names her.
    #[error("user `{0}` was offboarded or revoked, and a file still declares them")]
    Gone(Login),
    /// Something that was revoked comes back with a file that still says it.
    #[error("{kind} `{name}` {what}, and a file still declares it")]
    Revoked {
        /// What.
        kind: Kind,
        /// Which.
        name: String,
        /// What of it.
        what: Ended,
        /// Those that end it.
        revocations: BTreeSet<Id>,
    },
    /// What comes back was ended by an id that stands for several revocations.
    #[error("{kind} `{name}`: several revocations are called {revocation}")]
    Several {
        /// What.
        kind: Kind,
        /// Which.
        name: String,
        /// The id.
        revocation: Id,
    },
    /// A host that gives nothing any more.
    #[error("adoption `{name}` names host `{host}`, which was revoked: it gives nothing any more")]
    RevokedHost {
        /// Which adoption.
        name: String,
        /// The host as named.
        host: String,
    },
    /// A number that cannot be.
    #[error("{kind} `{name}`: {cause}")]
    Number {
        /// What.
        kind: Kind,
        /// Which.
        name: String,
        /// Why.
        cause: BadName,
    },
    /// A number or name that something else has or had.
    #[error("{kind} `{name}` asks for {what}, which {owner} has or had; it is never given again")]
    Taken {
        /// What.
        kind: Kind,
        /// Which.
        name: String,
        /// What was asked for.
        what: String,
        /// Whose it is.
        owner: String,
    },
    /// A number that would change.
    #[error("{kind} `{name}` has {what} for ever")]
    Fixed {
        /// What.
        kind: Kind,
        /// Which.
        name: String,
        /// The number.
        what: String,
    },
    /// A hostname that no host has, or several.
    #[error("adoption `{name}` names host `{host}`, and {}", called(*.found))]
    Host {
        /// Which adoption.
        name: String,
        /// The host as named.
        host: String,
        /// How many hosts call themselves so.
        found: usize,
    },
    /// No number is left.
    #[error("no {0} is left in the range that the trust root gives")]
    Exhausted(&'static str),
    /// A value that contradicts itself.
    #[error("{kind} `{name}`: {flaw}")]
    Value {
        /// What.
        kind: Kind,
        /// Which.
        name: String,
        /// What is wrong.
        flaw: Flaw,
    },
}

/// What a revocation ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ended {
    /// The thing itself.
    Itself,
    /// A user's key, by the fingerprint as people compare it.
    Key(String),
    /// A user's being in a group.
    Membership(String),
}

impl fmt::Display for Ended {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Itself => f.write_str("was revoked"),
            Self::Key(key) => write!(f, "has the key {key}, which was revoked"),
            Self::Membership(group) => {
                write!(f, "is in group `{group}`, which was revoked")
            }
        }
    }
}

/// What contradicts itself in a declaration.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Flaw {
    /// One key, two lines.
    #[error("a key stands there twice")]
    KeyTwice,
    /// A user who ends before she starts.
    #[error("`ends` is not after `starts`")]
    Ends,
    /// An assignment that ends before it starts.
    #[error("`until` is not after `from`")]
    Until,
    /// Both ways of keeping Unix groups.
    #[error("`at_least` and `exactly` exclude each other")]
    BothModes,
    /// A sudo rule of nothing.
    #[error("a sudo rule has no command")]
    NoCommand,
    /// An assignment to nobody, or to two.
    #[error("it needs a `user` or a `group`, one of them")]
    Subject,
    /// An adoption that would be another one.
    #[error("an adoption stays with its user and its host")]
    Moved,
}

fn called(found: usize) -> String {
    match found {
        0 => "no host is called so".to_owned(),
        found => format!("{found} hosts are called so"),
    }
}

/// A place in a file, for people.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// The file.
    pub path: PathBuf,
    /// Where in it.
    pub at: At,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}:{}", self.path.display(), self.at.line, self.at.column)
    }
}

/// What is wrong with a declaration, and where the value is that is wrong.
#[derive(Debug, thiserror::Error)]
#[error("{place}: {error}")]
pub struct Misdeclared {
    /// Where.
    pub place: Place,
    /// What.
    pub error: ResolveError,
}
