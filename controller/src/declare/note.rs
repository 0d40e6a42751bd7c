//! What a declaration says that is no fault and perhaps not meant: told with its place, and nothing
//! waits for it.

use std::fmt;

use muster_proto::{id::Kind, time::Timestamp};

use super::fault::Place;

/// Something to look at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Note {
    /// Where.
    pub place: Place,
    /// What it is about.
    pub kind: Kind,
    /// Which.
    pub name: String,
    /// What.
    pub what: Remark,
}

/// What may not be meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Remark {
    /// It is to go and has gone: files are applied more than once.
    Gone,
    /// It gives nothing, since its end has passed.
    Ended {
        /// What the file calls the end.
        word: &'static str,
        /// When it was.
        at: Timestamp,
    },
    /// No host has such labels.
    NoHost,
}

impl fmt::Display for Note {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { place, kind, name, what } = self;
        write!(f, "{place}: {kind} `{name}` {what}")
    }
}

impl fmt::Display for Remark {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Gone => f.write_str("has gone already; take it out of `absent`"),
            Self::Ended { word, at } => {
                write!(f, "gives nothing: `{word}` has passed, at {at}")
            }
            Self::NoHost => {
                f.write_str("gives nothing today: no host that is known matches `hosts`")
            }
        }
    }
}
