//! What the controller answers, from the wire to what it means. A host chose much of it, and the
//! controller is not believed to have looked: every word that is shown is parsed here.

use muster_proto::{
    crypto::MachinePublicKey,
    envelope::Envelope,
    id::{Digest, HostId},
    link::{LinkRef, LogHead},
    name::{Line, Words},
    receipt::{HostMode, Standing},
    time::Timestamp,
    wire,
};

use super::ClientError;
use crate::{
    audit::Beginning,
    host::{Decision, Measure, Verdict},
    preview::HostLabels,
};

/// What the controller says of itself.
#[derive(Clone, Debug)]
pub struct Status {
    /// The fleet.
    pub lineage: Digest,
    /// The newest trust root.
    pub trust_version: u64,
    /// The newest link.
    pub newest: Option<LinkRef>,
    /// The audit log's head.
    pub log: LogHead,
    /// How every log but the first began, the oldest first.
    pub log_beginnings: Vec<Beginning>,
    /// How many hosts have joined, are connected, and have confirmed what concerns them.
    pub hosts: (u32, u32, u32),
    /// How many revocations there are.
    pub revocations: u32,
    /// The controller's version.
    pub version: String,
    /// Where agents connect.
    pub agent_address: String,
}

/// A host as the controller knows it.
#[derive(Clone, Debug)]
pub struct Host {
    /// Its id, labels and name.
    pub labels: HostLabels,
    /// Its keeper's key.
    pub keeper_key: MachinePublicKey,
    /// Whether it is connected.
    pub connected: bool,
    /// When it was last heard of.
    pub last_seen: Timestamp,
    /// When it joined.
    pub joined: Timestamp,
    /// The newest link that it says it has verified.
    pub floor: Option<LinkRef>,
    /// `observe`, `enforce`, or not known yet.
    pub mode: &'static str,
    /// Its agent's version.
    pub agent_version: String,
    /// Why it refused the newest bundle; empty if it did not.
    pub refusal: String,
    /// How many receipts are stored.
    pub receipts: u64,
    /// Who made its token.
    pub token_by: String,
    /// It was enrolled and has never shown up.
    pub pending: bool,
    /// What the controller found out about it.
    pub notes: Vec<String>,
    /// It has not confirmed all that concerns it.
    pub behind: bool,
    /// Whether all that it told is here.
    pub record: Record,
    /// What was decided about it.
    pub decision: Option<Decision>,
    /// In which receipt it says that it is paused, which is believed by nobody yet.
    pub paused: Option<u64>,
}

/// Some of a host's receipts.
#[derive(Clone, Debug)]
pub struct Receipts {
    /// Newest first, believed by nobody yet.
    pub found: Vec<Envelope>,
    /// The rest of what was asked for is below this number, if it did not fit.
    pub rest: Option<u64>,
}

/// Whether all that a host told since it joined is here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Record {
    /// It is.
    Whole,
    /// Receipts are missing, or do not fit onto one another.
    Gap,
}

/// How far one host has got.
#[derive(Clone, Debug)]
pub struct Progress {
    /// The host.
    pub host: HostId,
    /// What it calls itself.
    pub hostname: String,
    /// Its keeper's key.
    pub keeper_key: MachinePublicKey,
    /// Whether it is connected.
    pub connected: bool,
    /// The receipts that say that it is done, oldest first.
    pub receipts: Vec<Envelope>,
    /// Why it refused; empty if it did not.
    pub refusal: String,
}

/// What became of a measure.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Decided {
    /// It was taken, and this holds now.
    Taken(Option<Decision>),
    /// The controller knows no such host.
    Unknown,
}

/// What a join token needs from the controller.
#[derive(Clone, Debug)]
pub struct TokenParts {
    /// The one-time secret.
    pub secret: [u8; 32],
    /// When it stops working.
    pub expires: Timestamp,
    /// SHA-256 over the CA's subject public key info.
    pub ca: Digest,
    /// Where agents connect.
    pub address: String,
}

pub(super) fn beginning(begun: &wire::LogBeginning) -> Result<Beginning, ClientError> {
    let found = Beginning::parse(&begun.salt, &begun.body);
    found.map_err(|_| ClientError::Answer("the beginning of a log"))
}

pub(super) fn digest(bytes: &[u8]) -> Result<Digest, ClientError> {
    Digest::parse(bytes).map_err(|_| ClientError::Answer("a digest"))
}

pub(super) fn key(bytes: &[u8]) -> Result<MachinePublicKey, ClientError> {
    MachinePublicKey::parse(bytes).map_err(|_| ClientError::Answer("a host's key"))
}

pub(super) fn link_ref(link: Option<wire::LinkRef>) -> Result<Option<LinkRef>, ClientError> {
    let read = |link| LinkRef::try_from(link).map_err(|_| ClientError::Answer("a link"));
    link.map(read).transpose()
}

pub(super) fn envelope(wire: wire::Envelope) -> Result<Envelope, ClientError> {
    Envelope::try_from(wire).map_err(|_| ClientError::Answer("an envelope"))
}

/// A host chose it, and the controller is not believed to have looked.
pub(super) fn hostname(text: &str) -> Result<String, ClientError> {
    let line = Line::parse(text).map_err(|_| ClientError::Answer("what a host calls itself"))?;
    Ok(line.to_string())
}

pub(super) fn refusal(text: &str) -> Result<String, ClientError> {
    let words = Words::parse(text).map_err(|_| ClientError::Answer("why a host refused"))?;
    Ok(words.to_string())
}

pub(super) fn host(wire: wire::Host) -> Result<Host, ClientError> {
    let standing = wire.standing.map(Standing::try_from).transpose();
    let standing = standing.map_err(|_| ClientError::Answer("where a host stands"))?;
    let said = standing.as_ref();
    let labels = said.map(|standing| standing.labels.clone()).unwrap_or_default();
    let (id, keeper_key) = (digest(&wire.id)?, key(&wire.keeper_key)?);
    if keeper_key.digest() != id {
        return Err(ClientError::Answer("a key under the id of a host that has another"));
    }
    Ok(Host {
        labels: HostLabels { id, hostname: hostname(&wire.hostname)?, labels },
        keeper_key,
        connected: wire.connected,
        last_seen: Timestamp(wire.last_seen),
        joined: Timestamp(wire.joined),
        floor: said.and_then(|standing| standing.floor),
        mode: match said.map(|standing| standing.mode) {
            Some(HostMode::Observe) => "observe",
            Some(HostMode::Enforce) => "enforce",
            None => "unknown",
        },
        agent_version: said.map(|standing| standing.agent_version.clone()).unwrap_or_default(),
        refusal: said.map(|standing| standing.refusal.clone()).unwrap_or_default(),
        receipts: wire.receipts,
        token_by: wire.token_by,
        pending: wire.pending,
        notes: wire.notes,
        behind: wire.behind,
        record: if wire.gap { Record::Gap } else { Record::Whole },
        decision: wire.decision.map(decision).transpose()?,
        paused: (wire.paused_in > 0).then_some(wire.paused_in),
    })
}

pub(super) fn decision(wire: wire::Decision) -> Result<Decision, ClientError> {
    let verdict = match wire.verdict() {
        wire::Verdict::Unspecified => return Err(ClientError::Answer("what was decided")),
        wire::Verdict::Quarantined => Verdict::Quarantined,
        wire::Verdict::Evicted => Verdict::Evicted,
        wire::Verdict::Banned => Verdict::Banned,
    };
    let reason = Line::parse(&wire.reason);
    let reason = reason.map_err(|_| ClientError::Answer("why something was decided"))?;
    Ok(Decision { verdict, by: wire.by, at: Timestamp(wire.at), reason })
}

pub(super) fn wire_measure(measure: Measure) -> wire::Measure {
    match measure {
        Measure::Quarantine => wire::Measure::Quarantine,
        Measure::Release => wire::Measure::Release,
        Measure::Evict => wire::Measure::Evict,
        Measure::Ban => wire::Measure::Ban,
        Measure::Purge => wire::Measure::Purge,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(hostname: &str, version: &str, refusal: &str, label: &str) -> wire::Host {
        let standing = wire::Standing {
            trust_version: 1,
            floor: None,
            labels: vec![wire::Label { key: "tier".to_owned(), value: label.to_owned() }],
            mode: wire::HostMode::Enforce.into(),
            agent_version: version.to_owned(),
            refusal: refusal.to_owned(),
        };
        let key = muster_proto::crypto::MachineKey::from_pkcs8(&crate::signer::generate().unwrap());
        let key = key.unwrap().public();
        wire::Host {
            id: key.digest().as_bytes().to_vec(),
            hostname: hostname.to_owned(),
            keeper_key: key.as_bytes().to_vec(),
            standing: Some(standing),
            ..wire::Host::default()
        }
    }

    #[test]
    fn the_tool_takes_no_words_of_a_host_that_could_move_the_cursor() {
        assert!(host(said("db1", "0.1.0", "link 7: a rollback", "db")).is_ok());
        for bad in ["\u{1b}[2J", "db\u{202e}1", "db\n1"] {
            for wire in [
                said(bad, "0", "", "db"),
                said("db1", bad, "", "db"),
                said("db1", "0", bad, "db"),
                said("db1", "0", "", bad),
            ] {
                assert!(matches!(host(wire), Err(ClientError::Answer(_))), "{bad:?}");
            }
            assert!(hostname(bad).is_err() && refusal(bad).is_err());
        }
        assert!(hostname(&"x".repeat(200)).is_ok() && hostname(&"x".repeat(201)).is_err());
    }

    #[test]
    fn a_host_is_whose_key_has_its_id() {
        let db1 = said("db1", "0", "", "db");
        assert!(host(db1.clone()).is_ok());
        let another = wire::Host { id: said("web1", "0", "", "db").id, ..db1 };
        assert!(matches!(host(another), Err(ClientError::Answer(_))));
    }
}
