//! What an agent did, in words that it signs, and how a host binds its keys together.

use std::collections::BTreeSet;

use crate::{
    crypto::MachinePublicKey,
    id::{Digest, HostId, Id},
    link::LinkRef,
    name::Line,
    selector::Labels,
    time::Timestamp,
};

/// What an agent did, chained to the receipt before.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Receipt {
    /// The digest of trust root 1.
    pub lineage: Digest,
    /// The host.
    pub host: HostId,
    /// Starts at 1.
    pub number: u64,
    /// The digest of the receipt before.
    pub previous: Option<Digest>,
    /// The host's wall clock.
    pub time: Timestamp,
    /// The newest verified link.
    pub floor: Option<LinkRef>,
    /// The newest trust root.
    pub trust_version: u64,
    /// Whether the host changes anything.
    pub mode: HostMode,
    /// What made the keeper look.
    pub trigger: Trigger,
    /// The revocations that came and are kept, be it from before: which was confirmed by a receipt
    /// that got lost is confirmed by the next.
    pub revocations: BTreeSet<Id>,
    /// What was done, in order.
    pub outcomes: Vec<Outcome>,
    /// What is left to do.
    pub convergence: Convergence,
    /// What was refused, found or could not be met.
    pub findings: Vec<Finding>,
}

/// Where a host stands, in its own unsigned words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Standing {
    /// The newest trust root that it knows.
    pub trust_version: u64,
    /// The newest verified link.
    pub floor: Option<LinkRef>,
    /// Its labels.
    pub labels: Labels,
    /// Whether it changes anything.
    pub mode: HostMode,
    /// The agent's version.
    pub agent_version: String,
    /// Why the newest bundle was refused; empty if it was not.
    pub refusal: String,
}

/// Whether a host changes anything.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum HostMode {
    /// It says what it would do.
    Observe,
    /// It does it.
    Enforce,
}

/// What made the keeper look.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trigger {
    /// A bundle came.
    Bundle,
    /// Something began or ended.
    Time,
    /// The keeper started.
    Start,
    /// The scan now and then.
    Scan,
}

/// What is left to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Convergence {
    /// Nothing: host and desired state agree.
    Done,
    /// Something failed and is tried again.
    Retrying,
    /// Observe mode: there are differences, and nothing was done about them.
    Observed,
}

/// One thing that was done, or was not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// A stable word such as `account-locked`.
    pub action: String,
    /// The login, Unix group or role concerned.
    pub subject: String,
    /// What exactly.
    pub detail: String,
    /// Why it failed, if it did.
    pub failure: Option<String>,
}

/// Something that people should know.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Finding {
    /// A stable word, of [`FindingKind`] if this version has it.
    pub kind: String,
    /// What it is about.
    pub subject: String,
    /// What was found, and what was expected.
    pub detail: String,
}

/// The words for what is found. A receipt carries the word, so that a controller can pass on one that
/// it does not know.
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
    /// Something that is not Muster's is in the way.
    Conflict,
    /// It was done and does not work.
    Ineffective,
    /// Jobs from before a lock stay set aside.
    JobsSetAside,
    /// Jobs of a locked account may run on: they are where the agent does not look.
    JobsUnseen,
    /// Another source of names answers for this one.
    KnownElsewhere,
    /// A label file cannot be read.
    Label,
    /// There is no place for a home.
    NoHome,
    /// The host's own configuration protects an account.
    Protected,
    /// The host's own configuration takes no such role.
    RoleRefused,
    /// The host's own configuration does not give such a uid.
    UidOutOfRange,
    /// Another account has the same uid.
    UidShared,
    /// Another source of names cannot be asked.
    UnknownElsewhere,
    /// Something that a role wants is not there.
    Unmet,
    /// What an assignment refers to is not shown.
    Unproved,
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
    pub const ALL: [Self; 19] = [
        Self::AccountMissing,
        Self::BreakGlass,
        Self::BundleRefused,
        Self::Clash,
        Self::ClockStepped,
        Self::Conflict,
        Self::Ineffective,
        Self::JobsSetAside,
        Self::JobsUnseen,
        Self::KnownElsewhere,
        Self::Label,
        Self::NoHome,
        Self::Protected,
        Self::RoleRefused,
        Self::UidOutOfRange,
        Self::UidShared,
        Self::UnknownElsewhere,
        Self::Unmet,
        Self::Unproved,
    ];

    /// Returns the word that receipts carry.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::AccountMissing => "account-missing",
            Self::BreakGlass => "break-glass",
            Self::BundleRefused => "bundle-refused",
            Self::Clash => "clash",
            Self::ClockStepped => "clock-stepped",
            Self::Conflict => "conflict",
            Self::Ineffective => "ineffective",
            Self::JobsSetAside => "jobs-set-aside",
            Self::JobsUnseen => "jobs-unseen",
            Self::KnownElsewhere => "known-elsewhere",
            Self::Label => "label",
            Self::NoHome => "no-home",
            Self::Protected => "protected",
            Self::RoleRefused => "role-refused",
            Self::UidOutOfRange => "uid-out-of-range",
            Self::UidShared => "uid-shared",
            Self::UnknownElsewhere => "unknown-elsewhere",
            Self::Unmet => "unmet",
            Self::Unproved => "unproved",
        }
    }

    /// Reads a word; a newer agent may have one that is not known here.
    pub fn parse(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.as_str() == word)
    }

    /// Returns who is left short by it.
    pub fn shortfall(self) -> Shortfall {
        match self {
            Self::JobsSetAside => Shortfall::Nobody,
            Self::Ineffective => Shortfall::Everybody,
            // Where those jobs are does not say whose they are.
            Self::JobsUnseen => Shortfall::Locked,
            _ => Shortfall::Subject,
        }
    }
}

impl Finding {
    /// Returns who is left short by it; of a word that is not known, whom it is about.
    pub fn shortfall(&self) -> Shortfall {
        FindingKind::parse(&self.kind).map_or(Shortfall::Subject, FindingKind::shortfall)
    }
}

/// Binds a host's TLS key to its keeper's key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Enrolment {
    /// The digest of trust root 1.
    pub lineage: Digest,
    /// The keeper's public key, whose digest is the host's id.
    pub keeper_key: MachinePublicKey,
    /// SHA-256 over the certificate request.
    pub certificate_request: Digest,
    /// What the host calls itself.
    pub hostname: Line,
    /// When it was made.
    pub time: Timestamp,
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
            Finding { kind: kind.to_owned(), subject: String::new(), detail: String::new() }
                .shortfall()
        };
        assert_eq!(of("something-new"), Shortfall::Subject);
        assert_eq!(of("jobs-unseen"), Shortfall::Locked);
        assert_eq!(of("jobs-set-aside"), Shortfall::Nobody);
    }
}
