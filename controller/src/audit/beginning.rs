//! The first entry of a log that takes the place of one that cannot be continued: it names the head
//! with which the log before ends, as far as there is anything of it. The log's own name is made of
//! that entry's leaf, so that no two logs of one name begin differently.
//!
//! Whoever holds the controller can begin such a log to hide what was in the one before; so it is
//! believed by nobody but an operator who says so, and only if what it names was seen.

use muster_proto::{id::Digest, link::LogHead, time::Timestamp};

use super::{Entry, leaf, origin};

/// The word for such an entry.
pub const BEGUN: &str = "log-begun";

/// What the first entry of a further log says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Beginning {
    /// The entry's salt.
    pub salt: [u8; 16],
    /// With what the log before ends.
    pub last: LogHead,
    /// When it was begun.
    pub time: Timestamp,
}

/// The entry says something else.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("it does not name the head of the log before")]
pub struct BadBeginning;

impl Beginning {
    /// Reads salt and body; only what would be written the same again is one.
    pub fn parse(salt: &[u8], body: &[u8]) -> Result<Self, BadBeginning> {
        let read = || {
            let mut lines = std::str::from_utf8(body).ok()?.lines();
            let mut next = || lines.next();
            let origin = next()?.to_owned();
            let size = next()?.parse().ok()?;
            let root = Digest::parse_hex(next()?)?;
            let time = Timestamp(next()?.parse().ok()?);
            let salt = salt.try_into().ok()?;
            Some(Self { salt, last: LogHead { origin, size, root }, time })
        };
        let found = read().ok_or(BadBeginning)?;
        if found.body() == body { Ok(found) } else { Err(BadBeginning) }
    }

    /// Returns the body: origin, size and root of the last known head and the time in seconds, a
    /// line each.
    pub fn body(&self) -> Vec<u8> {
        let LogHead { origin, size, root } = &self.last;
        format!("{origin}\n{size}\n{root}\n{}\n", self.time.0).into_bytes()
    }

    /// Returns the leaf.
    pub fn leaf(&self) -> Digest {
        leaf(&self.salt, BEGUN, &self.body())
    }

    /// Returns the entry.
    pub fn entry(&self) -> Entry {
        Entry { time: self.time, kind: BEGUN, salt: self.salt, body: self.body() }
    }

    /// Returns the name of the log that begins so.
    pub fn origin(&self, lineage: Digest) -> String {
        origin_after(lineage, self.leaf())
    }
}

/// Returns the name of a log whose first entry has this leaf.
pub fn origin_after(lineage: Digest, leaf: Digest) -> String {
    format!("{}/{}", origin(lineage), leaf.short())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn beginning() -> Beginning {
        let root = Digest::new([7; 32]);
        let last = LogHead { origin: "muster/0011".to_owned(), size: 12, root };
        Beginning { salt: [3; 16], last, time: Timestamp(1_000) }
    }

    #[test]
    fn a_beginning_reads_back_and_nothing_else_reads_as_one() {
        let written = beginning();
        assert_eq!(Beginning::parse(&written.salt, &written.body()), Ok(written.clone()));
        let body = String::from_utf8(written.body()).unwrap();
        let others = [
            String::new(),
            format!("{body}more\n"),
            format!("{body}\n"),
            body.trim_end().to_owned(),
            body.replace("\n12\n", "\n+12\n"),
            body.replace('\n', "\r\n"),
        ];
        for other in others {
            let found = Beginning::parse(&written.salt, other.as_bytes());
            assert_eq!(found, Err(BadBeginning), "{other:?}");
        }
        assert_eq!(Beginning::parse(&[3; 15], &written.body()), Err(BadBeginning));
    }

    #[test]
    fn logs_that_begin_differently_have_different_names() {
        let lineage = Digest::new([1; 32]);
        let other = Beginning { salt: [4; 16], ..beginning() };
        assert_ne!(beginning().origin(lineage), other.origin(lineage));
        assert!(other.origin(lineage).starts_with(&format!("{}/", origin(lineage))));
    }
}
