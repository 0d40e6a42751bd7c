//! What operators decide about hosts, and what may follow what. A decision concerns the controller
//! alone: what it sends to a host and whether it lets it in. It gives a host nothing and signs
//! nothing, so a stolen controller gains nothing by it but to take away or to withhold.

use std::fmt;

use muster_proto::{name::Line, time::Timestamp};

/// What holds for a host until something else is decided.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Verdict {
    /// It may connect, and is sent only what takes away.
    Quarantined,
    /// Its certificates count no more; it may join again.
    Evicted,
    /// Its certificates count no more, and it may not join again.
    Banned,
}

/// What an operator asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Measure {
    /// Send it only what takes away.
    Quarantine,
    /// Lift a quarantine, or a ban: then it may join again.
    Release,
    /// Void its certificates.
    Evict,
    /// Void its certificates, and let it join no more.
    Ban,
    /// Forget its record.
    Purge,
}

/// A verdict, and whose it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Decision {
    /// What holds.
    pub verdict: Verdict,
    /// Who decided, by the name that the socket's peer had.
    pub by: String,
    /// When.
    pub at: Timestamp,
    /// Why.
    pub reason: Line,
}

/// Why a measure cannot be taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unfit {
    /// It is so already, or more than that.
    #[error("the host is {0} already")]
    Already(Verdict),
    /// There is nothing to lift.
    #[error("the host is neither quarantined nor banned")]
    Free,
    /// Whoever is there is not forgotten.
    #[error("the host is connected")]
    Connected,
}

impl Verdict {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Quarantined, Self::Evicted, Self::Banned];

    /// The stable word that store, contract and operators have for it.
    pub fn word(self) -> &'static str {
        match self {
            Self::Quarantined => "quarantined",
            Self::Evicted => "evicted",
            Self::Banned => "banned",
        }
    }

    /// Returns the verdict of a word.
    pub fn parse(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|verdict| verdict.word() == word)
    }

    /// Says whether the host's certificates are void.
    pub fn shuts_out(self) -> bool {
        match self {
            Self::Quarantined => false,
            Self::Evicted | Self::Banned => true,
        }
    }
}

impl Measure {
    /// All of them.
    pub const ALL: [Self; 5] =
        [Self::Quarantine, Self::Release, Self::Evict, Self::Ban, Self::Purge];

    /// The stable word that the log has for it.
    pub fn word(self) -> &'static str {
        match self {
            Self::Quarantine => "host-quarantined",
            Self::Release => "host-released",
            Self::Evict => "host-evicted",
            Self::Ban => "host-banned",
            Self::Purge => "host-purged",
        }
    }

    /// Returns what holds after it, where this held before. A ban outlives the host's record.
    pub fn after(self, before: Option<Verdict>) -> Result<Option<Verdict>, Unfit> {
        use Verdict::{Banned, Evicted, Quarantined};
        match (self, before) {
            (Self::Quarantine, None) => Ok(Some(Quarantined)),
            (Self::Evict, None | Some(Quarantined)) | (Self::Release, Some(Banned)) => {
                Ok(Some(Evicted))
            }
            (Self::Ban, None | Some(Quarantined | Evicted)) | (Self::Purge, Some(Banned)) => {
                Ok(Some(Banned))
            }
            (Self::Release, Some(Quarantined))
            | (Self::Purge, None | Some(Quarantined | Evicted)) => Ok(None),
            (Self::Release, None | Some(Evicted)) => Err(Unfit::Free),
            (Self::Quarantine | Self::Evict | Self::Ban, Some(verdict)) => {
                Err(Unfit::Already(verdict))
            }
        }
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}

impl fmt::Display for Decision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { verdict, by, at, reason } = self;
        write!(f, "{verdict} by {by} at {at}")?;
        if !reason.as_str().is_empty() {
            write!(f, " ({reason})")?;
        }
        f.write_str(match verdict {
            Verdict::Quarantined => ": only what takes away is sent to it",
            Verdict::Evicted | Verdict::Banned => ": nothing is sent to it",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_measure_follows_from_what_holds_and_says_why_it_does_not() {
        use Verdict::{Banned, Evicted, Quarantined};
        let before = [None, Some(Quarantined), Some(Evicted), Some(Banned)];
        let already = |verdict| Err(Unfit::Already(verdict));
        let (out, banned) = (Ok(Some(Evicted)), Ok(Some(Banned)));
        for (measure, expected) in [
            (
                Measure::Quarantine,
                [Ok(Some(Quarantined)), already(Quarantined), already(Evicted), already(Banned)],
            ),
            (Measure::Release, [Err(Unfit::Free), Ok(None), Err(Unfit::Free), out]),
            (Measure::Evict, [out, out, already(Evicted), already(Banned)]),
            (Measure::Ban, [banned, banned, banned, already(Banned)]),
            (Measure::Purge, [Ok(None), Ok(None), Ok(None), banned]),
        ] {
            assert_eq!(before.map(|before| measure.after(before)), expected, "{measure:?}");
        }
    }

    #[test]
    fn a_verdict_reads_back_from_its_word() {
        for verdict in Verdict::ALL {
            assert_eq!(Verdict::parse(verdict.word()), Some(verdict));
        }
        assert_eq!(Verdict::parse("normal"), None);
    }
}
