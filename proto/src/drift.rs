//! Differences between what a host is to be and what it is that no bundle caused: in the words of
//! the host, which signs them inside its receipts.

use crate::{crypto::sha256, id::Digest, time::Timestamp};

/// One difference, as it was found or as it went away.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Drift {
    /// A stable word, of [`DriftKind`] if this version has it.
    pub kind: String,
    /// The login, Unix group, role or file concerned.
    pub subject: String,
    /// Which field of it, which Unix group or which file; empty where there is only one.
    pub place: String,
    /// What was expected.
    pub expected: String,
    /// What was found.
    pub found: String,
    /// Since when, as far as the host can tell.
    pub since: Timestamp,
    /// How grave it is.
    pub severity: Severity,
    /// What the host did about it.
    pub response: Response,
    /// How often it was put right since it last stayed right for a while.
    pub rounds: u32,
    /// Who did it; nothing if the kernel did not tell.
    pub culprit: Option<Culprit>,
}

/// What a host did about a difference.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Response {
    /// It was put right.
    Repaired,
    /// Only told: it is not Muster's, or this host only observes.
    Reported,
    /// Putting it right failed and is tried again.
    Failed,
    /// Somebody undoes each repair: for a while none is made any more, but of what gives somebody
    /// more each is made all the same.
    Contested,
    /// It has gone by itself, or somebody else has put it right.
    Gone,
}

/// Who changed something, as far as the kernel told while that process still lived.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Culprit {
    /// The process.
    pub pid: u32,
    /// What it runs; empty if it was gone.
    pub program: String,
    /// Its command line; empty if it was gone.
    pub command: String,
    /// Who logged in to begin with, whoever he has become since; empty if nobody did.
    pub login: String,
    /// The unit or session that it belongs to; empty if it was gone.
    pub unit: String,
}

macro_rules! words {
    ($(#[$about:meta])* $name:ident { $($(#[$doc:meta])* $variant:ident = $word:literal,)* }) => {
        $(#[$about])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
        pub enum $name { $($(#[$doc])* $variant,)* }

        impl $name {
            /// All of them.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)*];

            /// Returns the word for it.
            pub fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $word,)* }
            }

            /// Reads a word; a newer agent may have one that is not known here.
            pub fn parse(word: &str) -> Option<Self> {
                Self::ALL.iter().copied().find(|one| one.as_str() == word)
            }
        }
    };
}

words! {
    /// How grave a difference is, from the least on.
    Severity {
        /// Nobody can do more or less than was granted.
        Low = "low",
        /// Somebody can do less than was granted.
        Medium = "medium",
        /// Somebody can do more than was granted.
        High = "high",
        /// Somebody may become root to whom that was not granted, or nobody any more who has to in an
        /// emergency.
        Critical = "critical",
    }
}

words! {
    /// The words for what differs.
    DriftKind {
        /// A field of an account of Muster's is another.
        AccountChanged = "account-changed",
        /// An account of Muster's has no line any more.
        AccountMissing = "account-missing",
        /// An account that nobody granted can log in.
        AccountNew = "account-new",
        /// A locked account of Muster's is open.
        AccountUnlocked = "account-unlocked",
        /// No account for an emergency, which the host's own configuration names, lets anybody in and
        /// makes him root.
        BreakGlass = "break-glass",
        /// Muster's files are as they should be, and the system does something else.
        EffectDiffers = "effect-differs",
        /// The home of an account is gone.
        HomeMissing = "home-missing",
        /// Jobs of a locked account are back.
        JobsBack = "jobs-back",
        /// The keys file of an account is another.
        KeysChanged = "keys-changed",
        /// Keys that nobody granted let somebody in.
        KeysUngranted = "keys-ungranted",
        /// Somebody of Muster's is in a Unix group of which that was not granted.
        MemberAdded = "member-added",
        /// Somebody is in a Unix group no more.
        MemberMissing = "member-missing",
        /// Somebody whom nobody granted it is in a Unix group that is as good as root.
        MemberUngranted = "member-ungranted",
        /// Muster's drop-in for the quality of passwords is another.
        PasswordPolicy = "password-policy",
        /// A locked account has processes.
        Running = "running",
        /// sshd does not do what Muster's file says.
        Sshd = "sshd",
        /// A sudo file of Muster's is another.
        SudoChanged = "sudo-changed",
        /// A sudo file that is not Muster's is new or another.
        SudoForeign = "sudo-foreign",
        /// Another account with uid 0.
        UidZero = "uid-zero",
        /// A Unix group of Muster's is gone or has another gid.
        UnixGroupChanged = "unix-group-changed",
    }
}

impl Severity {
    /// Returns its place in the order, from 1 on.
    pub fn rank(self) -> u8 {
        self as u8 + 1
    }
}

/// Says what is in a file by the digest of all of it.
pub fn content_of(digest: Digest) -> String {
    format!("{CONTENT}{digest}")
}

/// Says whether what was found is all of a file's content: another content is another finding.
pub fn is_content(found: &str) -> bool {
    found.strip_prefix(CONTENT).is_some_and(|hex| Digest::parse_hex(hex).is_some())
}

const CONTENT: &str = "content ";

impl Drift {
    /// Returns the digest of what was found: another finding has another.
    pub fn found_digest(&self) -> Digest {
        sha256(&[self.found.as_bytes()])
    }
}

impl Response {
    /// Returns the word for it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Repaired => "repaired",
            Self::Reported => "reported",
            Self::Failed => "failed",
            Self::Contested => "contested",
            Self::Gone => "gone",
        }
    }

    /// Says whether the difference is still there.
    pub fn is_open(self) -> bool {
        matches!(self, Self::Reported | Self::Failed | Self::Contested)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_graver_has_the_higher_rank_and_each_reads_back() {
        let ranks: Vec<u8> = Severity::ALL.iter().map(|one| one.rank()).collect();
        assert_eq!(ranks, [1, 2, 3, 4], "they stand in databases");
        assert!(Severity::ALL.is_sorted());
        for severity in Severity::ALL {
            assert_eq!(Severity::parse(severity.as_str()), Some(*severity));
        }
    }

    #[test]
    fn every_kind_of_drift_has_one_word_that_reads_back() {
        for kind in DriftKind::ALL {
            assert_eq!(DriftKind::parse(kind.as_str()), Some(*kind));
        }
        assert!(DriftKind::ALL.is_sorted_by(|a, b| a.as_str() < b.as_str()));
        assert_eq!(DriftKind::parse("Sshd"), None);
    }
}
