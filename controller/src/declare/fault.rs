//! Why a declaration cannot be: found when the files and the directory are held against each other.

use muster_proto::{
    id::Kind,
    name::{BadName, Login},
};

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
    #[error("{kind} `{name}` is declared and listed under `absent`; keep one of them")]
    Both {
        /// What.
        kind: Kind,
        /// Which.
        name: String,
    },
    /// Somebody who was taken out comes back with a file that still names her.
    #[error("user `{0}` was offboarded or revoked, and a file still declares them")]
    Gone(Login),
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
    #[error(
        "{kind} `{name}` has {what} for ever; take the number out of the file or give that one"
    )]
    Fixed {
        /// What.
        kind: Kind,
        /// Which.
        name: String,
        /// The number.
        what: String,
    },
    /// No number is left.
    #[error("no {0} is left in the range that the trust root gives")]
    Exhausted(&'static str),
    /// A value that contradicts itself.
    #[error("{kind} `{name}`: {what}")]
    Value {
        /// What.
        kind: Kind,
        /// Which.
        name: String,
        /// What is wrong.
        what: &'static str,
    },
}

impl ResolveError {
    /// Returns what is at fault, for finding it in the files.
    pub fn subject(&self) -> Option<(Kind, &str)> {
        match self {
            Self::Unknown { from_kind, from, .. } => Some((*from_kind, from)),
            Self::Gone(login) => Some((Kind::User, login.as_str())),
            Self::Both { kind, name }
            | Self::Number { kind, name, .. }
            | Self::Taken { kind, name, .. }
            | Self::Fixed { kind, name, .. }
            | Self::Value { kind, name, .. } => Some((*kind, name)),
            Self::NotThere { .. } | Self::Exhausted(_) => None,
        }
    }
}
