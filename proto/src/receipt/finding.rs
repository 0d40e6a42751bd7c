//! What an agent found that people should know, in words that are stable.

use std::{borrow::Cow, fmt};

/// Something that people should know.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Finding {
    /// What was found, as a stable word.
    pub kind: FindingWord,
    /// What it is about.
    pub subject: String,
    /// What was found, and what was expected.
    pub detail: String,
}

/// The word for what was found. A receipt carries the word, so that a controller can pass on one of a
/// newer agent that it does not know. Whoever finds something has only words of [`FindingKind`].
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct FindingWord(Cow<'static, str>);

/// All that this version finds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum FindingKind {
    /// An account that Muster had made is gone.
    AccountMissing,
    /// The way in for an emergency is not there.
    BreakGlass,
    /// A bundle was refused.
    BundleRefused,
    /// Two things of the directory cannot both be on a host.
    Clash,
    /// The wall clock is ahead, and what has ended by it waits for a confirmation.
    ClockStepped,
    /// The host's own configuration cannot be taken up.
    Config,
    /// Something that is not Muster's is in the way.
    Conflict,
    /// It was done and does not work.
    Ineffective,
    /// Jobs from before a lock stay set aside.
    JobsSetAside,
    /// Jobs of a locked account may run on: they are where the agent does not look.
    JobsUnseen,
    /// The host's own configuration takes no such key.
    KeyRefused,
    /// Another source of names answers for this one.
    KnownElsewhere,
    /// A label file cannot be read.
    Label,
    /// More was found than one receipt holds.
    MoreFindings,
    /// There is no place for a home.
    NoHome,
    /// The host does not make sure that new passwords are as long as a role says.
    PasswordPolicyUnmet,
    /// Root of the host has paused the agent: nothing is given or put right there until that ends.
    Paused,
    /// Something is not given or put right as long as the agent is paused.
    Postponed,
    /// The host's own configuration protects an account.
    Protected,
    /// The host's own configuration protects an account that is not there.
    ProtectedMissing,
    /// A receipt in the spool cannot be read any more.
    ReceiptDamaged,
    /// The controller's own key has revoked more than it may take away: an approver has to sign it.
    RevocationHeld,
    /// The controller's own key has revoked as much as is kept of it.
    RevocationsFull,
    /// The host's own configuration takes no such role.
    RoleRefused,
    /// The host's own configuration does not give such a uid.
    UidOutOfRange,
    /// Another account has the same uid.
    UidShared,
    /// Something of the host's own is not asked what it makes of single accounts.
    Unasked,
    /// Another source of names cannot be asked.
    UnknownElsewhere,
    /// Something that a role wants is not there.
    Unmet,
    /// What an assignment refers to is not shown.
    Unproved,
    /// Something is not watched, so that changes are found by the scan now and then only.
    Unwatched,
}

/// Who is left without what was asked, or with what was to be taken away.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shortfall {
    /// Nobody: it is a remark on what was done.
    Nobody,
    /// Whom or what the finding is about.
    Subject,
    /// Whoever loses an account: it may be he who still has something there.
    Locked,
    /// Everybody with whom the host has to do anything.
    Everybody,
}

impl FindingKind {
    /// All of them, in the order of their words.
    pub const ALL: [Self; 31] = [
        Self::AccountMissing,
        Self::BreakGlass,
        Self::BundleRefused,
        Self::Clash,
        Self::ClockStepped,
        Self::Config,
        Self::Conflict,
        Self::Ineffective,
        Self::JobsSetAside,
        Self::JobsUnseen,
        Self::KeyRefused,
        Self::KnownElsewhere,
        Self::Label,
        Self::MoreFindings,
        Self::NoHome,
        Self::PasswordPolicyUnmet,
        Self::Paused,
        Self::Postponed,
        Self::Protected,
        Self::ProtectedMissing,
        Self::ReceiptDamaged,
        Self::RevocationHeld,
        Self::RevocationsFull,
        Self::RoleRefused,
        Self::UidOutOfRange,
        Self::UidShared,
        Self::Unasked,
        Self::UnknownElsewhere,
        Self::Unmet,
        Self::Unproved,
        Self::Unwatched,
    ];

    /// Returns the word that receipts carry.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::AccountMissing => "account-missing",
            Self::BreakGlass => "break-glass",
            Self::BundleRefused => "bundle-refused",
            Self::Clash => "clash",
            Self::ClockStepped => "clock-stepped",
            Self::Config => "config",
            Self::Conflict => "conflict",
            Self::Ineffective => "ineffective",
            Self::JobsSetAside => "jobs-set-aside",
            Self::JobsUnseen => "jobs-unseen",
            Self::KeyRefused => "key-refused",
            Self::KnownElsewhere => "known-elsewhere",
            Self::Label => "label",
            Self::MoreFindings => "more-findings",
            Self::NoHome => "no-home",
            Self::PasswordPolicyUnmet => "password-policy-unmet",
            Self::Paused => "paused",
            Self::Postponed => "postponed",
            Self::Protected => "protected",
            Self::ProtectedMissing => "protected-missing",
            Self::ReceiptDamaged => "receipt-damaged",
            Self::RevocationHeld => "revocation-held",
            Self::RevocationsFull => "revocations-full",
            Self::RoleRefused => "role-refused",
            Self::UidOutOfRange => "uid-out-of-range",
            Self::UidShared => "uid-shared",
            Self::Unasked => "unasked",
            Self::UnknownElsewhere => "unknown-elsewhere",
            Self::Unmet => "unmet",
            Self::Unproved => "unproved",
            Self::Unwatched => "unwatched",
        }
    }

    /// Reads a word; a newer agent may have one that is not known here.
    pub fn parse(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.as_str() == word)
    }

    /// Returns who is left short by it.
    pub fn shortfall(self) -> Shortfall {
        match self {
            // What it leaves undone is told beside it.
            Self::JobsSetAside | Self::Paused | Self::Unasked => Shortfall::Nobody,
            Self::Ineffective => Shortfall::Everybody,
            // Where those jobs are does not say whose they are.
            Self::JobsUnseen => Shortfall::Locked,
            _ => Shortfall::Subject,
        }
    }
}

impl FindingWord {
    /// Takes a word from a receipt, which may be a newer agent's.
    pub fn heard(word: String) -> Self {
        FindingKind::parse(&word).map_or(Self(Cow::Owned(word)), Self::from)
    }

    /// Returns the word.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Returns what it means, if this version knows it.
    pub fn kind(&self) -> Option<FindingKind> {
        FindingKind::parse(&self.0)
    }
}

impl From<FindingKind> for FindingWord {
    fn from(kind: FindingKind) -> Self {
        Self(Cow::Borrowed(kind.as_str()))
    }
}

impl PartialEq<FindingKind> for FindingWord {
    fn eq(&self, kind: &FindingKind) -> bool {
        self.0 == kind.as_str()
    }
}

impl fmt::Display for FindingWord {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Finding {
    /// Returns who is left short by it; of a word that is not known, whom it is about.
    pub fn shortfall(&self) -> Shortfall {
        self.kind.kind().map_or(Shortfall::Subject, FindingKind::shortfall)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_of_finding_has_one_word_that_reads_back() {
        for kind in FindingKind::ALL {
            assert_eq!(FindingKind::parse(kind.as_str()), Some(kind));
        }
        assert!(FindingKind::ALL.is_sorted_by(|a, b| a < b && a.as_str() < b.as_str()));
        assert_eq!(FindingKind::parse("Conflict"), None);
    }

    #[test]
    fn a_finding_of_a_word_that_is_not_known_leaves_short_whom_it_is_about() {
        let of = |kind: &str| {
            let kind = FindingWord::heard(kind.to_owned());
            Finding { kind, subject: String::new(), detail: String::new() }.shortfall()
        };
        assert_eq!(of("something-new"), Shortfall::Subject);
        assert_eq!(of("jobs-unseen"), Shortfall::Locked);
        assert_eq!(of("jobs-set-aside"), Shortfall::Nobody);
        assert_eq!(of("paused"), Shortfall::Nobody);
        assert_eq!(of("postponed"), Shortfall::Subject);
    }
}
