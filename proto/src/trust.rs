//! Who may sign what, and the one place where signatures are counted. Everything signed becomes a
//! value here or not at all: `Verified<T>` has no other maker.
//!
//! An attacker with the controller's online key can make revocations, checkpoints and
//! acknowledgements, which only take away. With one approver's key below the threshold: revocations.

mod verify;

pub use verify::{HostSigned, verify_by_host, verify_enrolment};

use std::collections::{BTreeMap, BTreeSet};

use crate::{
    convert::Malformed,
    crypto::{self, Checked, MachinePublicKey},
    envelope::{Document, Envelope, MAX_SIGNATURES},
    id::Digest,
    key::SshPublicKey,
    link::LinkRef,
    name::{ObjectName, Uid},
    time::Timestamp,
};

/// Who may sign what.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TrustRoot {
    /// The digest of version 1; absent in version 1, which it names.
    pub lineage: Option<Digest>,
    /// Starts at 1.
    pub version: u64,
    /// The digest of the version before.
    pub previous: Option<Digest>,
    /// The newest link that its signers knew.
    pub since: Option<LinkRef>,
    /// People and their keys, by name.
    pub people: BTreeMap<ObjectName, BTreeMap<SshPublicKey, Duty>>,
    /// Approver groups, by name; every one must meet its threshold.
    pub approver_groups: BTreeMap<ObjectName, ApproverGroup>,
    /// How many people must sign with a root key.
    pub root_threshold: u32,
    /// The controller's own keys.
    pub machine_keys: BTreeSet<MachinePublicKey>,
    /// Whether proposers count for the approval of what they proposed.
    pub proposers: ProposerRule,
    /// Seconds after which a floor grants nothing new.
    pub stale_after: u64,
    /// When it stops granting anything new.
    pub expires: Timestamp,
    /// The numbers from which tools choose.
    pub limits: Limits,
}

/// What a person's key is for. One duty a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Duty {
    /// Signs trust roots.
    Root,
    /// Signs links, proposals and revocations.
    Approver,
    /// Signs proposals.
    Proposer,
}

/// People of whom a threshold must approve.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ApproverGroup {
    /// Their names.
    pub members: BTreeSet<ObjectName>,
    /// How many of them.
    pub threshold: u32,
}

/// Whether proposers count for the approval of what they proposed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProposerRule {
    /// They do, so that a team of two can work.
    Count,
    /// They do not.
    DoNotCount,
}

/// The numbers from which tools choose.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// For users, first and last.
    pub uids: (u32, u32),
    /// For Unix groups, first and last.
    pub gids: (u32, u32),
    /// Seconds after which assignments must be certified again.
    pub recertify_after: Option<u64>,
}

/// Whose signatures a document needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Authority {
    /// The threshold of every approver group.
    Quorum,
    /// The controller's online key, or any one approver.
    OnlineOrApprover,
    /// The controller's online key.
    Online,
    /// Any one person who may propose.
    Proposer,
}

/// A document that a trust root judges.
pub trait Judged: Document {
    /// Whose signatures it needs.
    const AUTHORITY: Authority;

    /// Returns the lineage that it names.
    fn lineage(&self) -> Digest;

    /// Returns the people who propose it: of a proposal, whose signature it needs; of a link, those
    /// who do not count where the trust root says so.
    fn proposers(&self) -> BTreeSet<String> {
        BTreeSet::new()
    }
}

/// Why a signed document is not believed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// The envelope says that it holds something else.
    #[error("the envelope holds `{found}` instead of `{expected}`")]
    PayloadType {
        /// What was asked for.
        expected: &'static str,
        /// What it says, cut to a readable length.
        found: String,
    },
    /// More signatures than anybody could need.
    #[error("{0} signatures; at most 64 are looked at")]
    TooManySignatures(usize),
    /// Not enough good signatures.
    #[error("signed by {found} of the {needed} needed from {whom}")]
    Threshold {
        /// Of whom they are needed.
        whom: String,
        /// How many people signed.
        found: usize,
        /// How many are needed.
        needed: usize,
    },
    /// The payload is not the document.
    #[error(transparent)]
    Malformed(#[from] Malformed),
    /// It belongs to another fleet.
    #[error("it belongs to another fleet: lineage {found} instead of {expected}")]
    Lineage {
        /// Ours.
        expected: Digest,
        /// Its.
        found: Digest,
    },
    /// A trust root breaks a rule.
    #[error("the trust root breaks a rule: {0}")]
    TrustRoot(BadTrustRoot),
    /// A trust root does not follow the one before.
    #[error("trust root {found} does not follow trust root {known}: {fault}")]
    Succession {
        /// The version known.
        known: u64,
        /// The version found.
        found: u64,
        /// What does not fit.
        fault: &'static str,
    },
    /// The key does not match the host that the document names.
    #[error("it names another host than the key that signed it")]
    WrongHost,
}

/// Which rule a trust root breaks.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadTrustRoot {
    /// Nobody could approve.
    #[error("it has no approver group")]
    NoGroup,
    /// A group of nobody.
    #[error("approver group `{0}` is empty")]
    EmptyGroup(ObjectName),
    /// A group names somebody without an entry.
    #[error("approver group `{group}` names `{person}`, who is not among the people")]
    Stranger {
        /// The group.
        group: ObjectName,
        /// The name.
        person: ObjectName,
    },
    /// A threshold is not above half or above the number of people.
    #[error(
        "the threshold of {whom} is {threshold} of {people} people with a live key; it must be above half of them and at most {most}"
    )]
    Threshold {
        /// Whose.
        whom: String,
        /// As written.
        threshold: u32,
        /// How many people have a key for the duty.
        people: usize,
        /// The highest that can work.
        most: usize,
    },
    /// A key serves twice.
    #[error("the key {0} has two people or two duties")]
    SharedKey(Digest),
    /// An approver's key cannot be checked.
    #[error("a key of `{0}` can log in but its signatures cannot be checked")]
    UnusableKey(ObjectName),
    /// The numbers are not ranges.
    #[error(
        "uids and gids must be two ranges apart from each other, within 1000 to 59999 or 100000 to 499999"
    )]
    Limits,
    /// Version 1 has a past, or a later one has none.
    #[error("version 1 names no lineage and no version before; every later one names both")]
    Past,
}

impl TrustRoot {
    /// Checks the rules that hold for every trust root, whoever signed it.
    pub fn check(&self) -> Result<(), BadTrustRoot> {
        let first = self.version == 1;
        if self.version == 0 || first != self.lineage.is_none() || first != self.previous.is_none()
        {
            return Err(BadTrustRoot::Past);
        }
        let mut seen: BTreeSet<Digest> = BTreeSet::new();
        for machine in &self.machine_keys {
            if !seen.insert(machine.digest()) {
                return Err(BadTrustRoot::SharedKey(machine.digest()));
            }
        }
        for (name, keys) in &self.people {
            for key in keys.keys() {
                if !seen.insert(key.material()) {
                    return Err(BadTrustRoot::SharedKey(key.fingerprint()));
                }
                key.can_approve().map_err(|_| BadTrustRoot::UnusableKey(name.clone()))?;
            }
        }
        if self.approver_groups.is_empty() {
            return Err(BadTrustRoot::NoGroup);
        }
        let approvers = self.people_with(Duty::Approver);
        for (name, group) in &self.approver_groups {
            if group.members.is_empty() {
                return Err(BadTrustRoot::EmptyGroup(name.clone()));
            }
            if let Some(stranger) = group.members.iter().find(|m| !self.people.contains_key(*m)) {
                let (group, person) = (name.clone(), stranger.clone());
                return Err(BadTrustRoot::Stranger { group, person });
            }
            let live = group.members.iter().filter(|m| approvers.contains(m.as_str())).count();
            let most = match self.proposers {
                ProposerRule::Count => live,
                ProposerRule::DoNotCount => live.saturating_sub(1),
            };
            check_threshold(&format!("approver group `{name}`"), group.threshold, live, most)?;
        }
        let roots = self.people_with(Duty::Root).len();
        check_threshold("the root keys", self.root_threshold, roots, roots)?;
        self.limits.check()
    }

    fn people_with(&self, duty: Duty) -> BTreeSet<&str> {
        let has = |keys: &BTreeMap<_, Duty>| keys.values().any(|found| *found == duty);
        self.people.iter().filter(|(_, keys)| has(keys)).map(|(name, _)| name.as_str()).collect()
    }

    /// Returns the names of the people who signed the envelope with a key of one of these duties.
    /// A person counts once, however many of her keys signed.
    fn who_signed(
        &self,
        envelope: &Envelope,
        duties: &[Duty],
    ) -> Result<BTreeSet<String>, Refused> {
        check_number(envelope)?;
        let message = envelope.message();
        let mut keys = BTreeMap::new();
        for (name, owned) in &self.people {
            for (key, duty) in owned {
                if duties.contains(duty) {
                    keys.insert(key.fingerprint(), (name, key));
                }
            }
        }
        let mut people = BTreeSet::new();
        for signature in &envelope.signatures {
            let Some((name, key)) = keys.get(&signature.key) else { continue };
            if people.contains(name.as_str()) {
                continue;
            }
            let namespace = envelope.payload_type.as_str();
            match crypto::check_person(key, namespace, &message, &signature.bytes) {
                Checked::Good => {
                    people.insert(name.to_string());
                }
                Checked::Bad => {}
            }
        }
        Ok(people)
    }

    fn online_signed(&self, envelope: &Envelope) -> bool {
        let message = envelope.message();
        envelope.signatures.iter().any(|signature| {
            self.machine_keys.iter().any(|key| {
                key.digest() == signature.key
                    && key.check(&message, &signature.bytes) == Checked::Good
            })
        })
    }

    fn quorum(&self, people: &BTreeSet<String>) -> Result<(), Refused> {
        for (name, group) in &self.approver_groups {
            let found = group.members.iter().filter(|m| people.contains(m.as_str())).count();
            enough(&format!("approver group `{name}`"), found, group.threshold)?;
        }
        Ok(())
    }

    fn root_quorum(&self, envelope: &Envelope) -> Result<BTreeSet<String>, Refused> {
        let people = self.who_signed(envelope, &[Duty::Root])?;
        let whom = format!("the root keys of trust root {}", self.version);
        enough(&whom, people.len(), self.root_threshold)?;
        Ok(people)
    }
}

fn check_threshold(
    whom: &str,
    threshold: u32,
    people: usize,
    most: usize,
) -> Result<(), BadTrustRoot> {
    let number = threshold as usize;
    if number * 2 > people && number <= most {
        Ok(())
    } else {
        Err(BadTrustRoot::Threshold { whom: whom.to_owned(), threshold, people, most })
    }
}

fn enough(whom: &str, found: usize, needed: u32) -> Result<(), Refused> {
    let needed = needed as usize;
    if needed > 0 && found >= needed {
        Ok(())
    } else {
        Err(Refused::Threshold { whom: whom.to_owned(), found, needed })
    }
}

impl Limits {
    /// Says whether these are ranges of numbers that can be given, and apart.
    pub fn check(&self) -> Result<(), BadTrustRoot> {
        let ((u1, u2), (g1, g2)) = (self.uids, self.gids);
        let apart = u2 < g1 || g2 < u1;
        if Uid::is_range(u1, u2) && Uid::is_range(g1, g2) && apart {
            Ok(())
        } else {
            Err(BadTrustRoot::Limits)
        }
    }
}

fn check_number(envelope: &Envelope) -> Result<(), Refused> {
    let found = envelope.signatures.len();
    if found > MAX_SIGNATURES { Err(Refused::TooManySignatures(found)) } else { Ok(()) }
}
