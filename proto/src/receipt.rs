//! What an agent did, in words that it signs, and how a host binds its keys together.

mod finding;
mod named;

use std::collections::BTreeSet;

pub use self::{
    finding::{Finding, FindingKind, FindingWord, Shortfall},
    named::{Authority, named},
};

use crate::{
    crypto::MachinePublicKey,
    drift::Drift,
    id::{Digest, HostId, Id},
    inventory::Inventory,
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
    /// The revocations that came and are kept, be it from before, each as [`named`]: which was
    /// confirmed by a receipt that got lost is confirmed by the next.
    pub revocations: BTreeSet<Id>,
    /// What was done, in order.
    pub outcomes: Vec<Outcome>,
    /// What is left to do.
    pub convergence: Convergence,
    /// What was refused, found or could not be met.
    pub findings: Vec<Finding>,
    /// What had come to differ without a bundle, and what became of it.
    pub drift: Vec<Drift>,
    /// What accounts the host has; nothing: as the newest receipt before told it.
    pub inventory: Option<Inventory>,
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
    /// Somebody changed something that is watched.
    Change,
}

/// What is left to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Convergence {
    /// Nothing, but for what the findings name.
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
