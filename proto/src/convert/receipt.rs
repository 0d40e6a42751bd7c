//! What hosts sign, between wire and domain.

use super::{Fault, digest_bytes, known, some_digest};
use crate::{
    crypto::MachinePublicKey,
    drift::Drift,
    id::{Digest, Id},
    inventory::Inventory,
    link::LinkRef,
    name::{Line, Words},
    receipt::{
        Convergence, Enrolment, Finding, FindingWord, HostMode, Outcome, Receipt, Standing, Trigger,
    },
    selector::Labels,
    time::Timestamp,
    wire,
};

impl TryFrom<wire::Receipt> for Receipt {
    type Error = Fault;

    fn try_from(wire: wire::Receipt) -> Result<Self, Fault> {
        let revocations: Result<_, _> = wire.revocations.iter().map(|id| Id::parse(id)).collect();
        Ok(Self {
            lineage: Digest::parse(&wire.lineage)?,
            host: Digest::parse(&wire.host)?,
            number: wire.number,
            previous: some_digest(&wire.previous)?,
            time: Timestamp(wire.time),
            floor: wire.floor.map(LinkRef::try_from).transpose()?,
            trust_version: wire.trust_version,
            mode: host_mode(wire.mode)?,
            trigger: match known::<wire::Trigger>(wire.trigger, "trigger")? {
                wire::Trigger::Bundle => Trigger::Bundle,
                wire::Trigger::Time => Trigger::Time,
                wire::Trigger::Start => Trigger::Start,
                wire::Trigger::Scan => Trigger::Scan,
                wire::Trigger::Change => Trigger::Change,
                wire::Trigger::Unspecified => return Err(Fault::Missing("trigger")),
            },
            revocations: revocations?,
            outcomes: wire.outcomes.into_iter().map(Outcome::from).collect(),
            convergence: match known::<wire::Convergence>(wire.convergence, "convergence")? {
                wire::Convergence::Done => Convergence::Done,
                wire::Convergence::Retrying => Convergence::Retrying,
                wire::Convergence::Observed => Convergence::Observed,
                wire::Convergence::Unspecified => return Err(Fault::Missing("convergence")),
            },
            findings: wire
                .findings
                .into_iter()
                .map(|f| {
                    let kind = FindingWord::heard(f.kind);
                    Finding { kind, subject: f.subject, detail: f.detail }
                })
                .collect(),
            drift: wire.drift.into_iter().map(Drift::try_from).collect::<Result<_, _>>()?,
            inventory: wire.inventory.map(Inventory::try_from).transpose()?,
        })
    }
}

/// Reads a mode, also where a host states it unsigned.
pub(super) fn host_mode(value: i32) -> Result<HostMode, Fault> {
    Ok(match known::<wire::HostMode>(value, "mode")? {
        wire::HostMode::Observe => HostMode::Observe,
        wire::HostMode::Enforce => HostMode::Enforce,
        wire::HostMode::Unspecified => return Err(Fault::Missing("mode")),
    })
}

impl From<HostMode> for wire::HostMode {
    fn from(mode: HostMode) -> Self {
        match mode {
            HostMode::Observe => Self::Observe,
            HostMode::Enforce => Self::Enforce,
        }
    }
}

impl From<wire::Outcome> for Outcome {
    fn from(wire: wire::Outcome) -> Self {
        Self {
            action: wire.action,
            subject: wire.subject,
            detail: wire.detail,
            failure: (!wire.failure.is_empty()).then_some(wire.failure),
        }
    }
}

impl From<&Receipt> for wire::Receipt {
    fn from(receipt: &Receipt) -> Self {
        let outcomes = receipt.outcomes.iter().map(|outcome| wire::Outcome {
            action: outcome.action.clone(),
            subject: outcome.subject.clone(),
            detail: outcome.detail.clone(),
            failure: outcome.failure.clone().unwrap_or_default(),
        });
        let findings = receipt.findings.iter().map(|finding| wire::Finding {
            kind: finding.kind.to_string(),
            subject: finding.subject.clone(),
            detail: finding.detail.clone(),
        });
        Self {
            lineage: receipt.lineage.as_bytes().to_vec(),
            host: receipt.host.as_bytes().to_vec(),
            number: receipt.number,
            previous: digest_bytes(receipt.previous),
            time: receipt.time.0,
            floor: receipt.floor.as_ref().map(wire::LinkRef::from),
            trust_version: receipt.trust_version,
            mode: wire::HostMode::from(receipt.mode).into(),
            trigger: match receipt.trigger {
                Trigger::Bundle => wire::Trigger::Bundle,
                Trigger::Time => wire::Trigger::Time,
                Trigger::Start => wire::Trigger::Start,
                Trigger::Scan => wire::Trigger::Scan,
                Trigger::Change => wire::Trigger::Change,
            }
            .into(),
            revocations: receipt.revocations.iter().map(|id| id.as_bytes().to_vec()).collect(),
            outcomes: outcomes.collect(),
            convergence: match receipt.convergence {
                Convergence::Done => wire::Convergence::Done,
                Convergence::Retrying => wire::Convergence::Retrying,
                Convergence::Observed => wire::Convergence::Observed,
            }
            .into(),
            findings: findings.collect(),
            drift: receipt.drift.iter().map(wire::Drift::from).collect(),
            inventory: receipt.inventory.as_ref().map(wire::Inventory::from),
        }
    }
}

impl TryFrom<wire::Standing> for Standing {
    type Error = Fault;

    fn try_from(wire: wire::Standing) -> Result<Self, Fault> {
        let mut labels = Labels::default();
        for label in &wire.labels {
            labels.insert(&label.key, &label.value)?;
        }
        Ok(Self {
            trust_version: wire.trust_version,
            floor: wire.floor.map(LinkRef::try_from).transpose()?,
            labels,
            mode: host_mode(wire.mode)?,
            agent_version: Line::parse(&wire.agent_version)?.to_string(),
            refusal: Words::parse(&wire.refusal)?.to_string(),
        })
    }
}

impl From<&Standing> for wire::Standing {
    fn from(standing: &Standing) -> Self {
        let label = |(key, value): (&str, &str)| wire::Label {
            key: key.to_owned(),
            value: value.to_owned(),
        };
        Self {
            trust_version: standing.trust_version,
            floor: standing.floor.as_ref().map(wire::LinkRef::from),
            labels: standing.labels.iter().map(label).collect(),
            mode: wire::HostMode::from(standing.mode).into(),
            agent_version: standing.agent_version.clone(),
            refusal: standing.refusal.clone(),
        }
    }
}

impl TryFrom<wire::Enrolment> for Enrolment {
    type Error = Fault;

    fn try_from(wire: wire::Enrolment) -> Result<Self, Fault> {
        Ok(Self {
            lineage: Digest::parse(&wire.lineage)?,
            keeper_key: MachinePublicKey::parse(&wire.keeper_key)?,
            certificate_request: Digest::parse(&wire.certificate_request)?,
            hostname: Line::parse(&wire.hostname)?,
            time: Timestamp(wire.time),
        })
    }
}

impl From<&Enrolment> for wire::Enrolment {
    fn from(enrolment: &Enrolment) -> Self {
        Self {
            lineage: enrolment.lineage.as_bytes().to_vec(),
            keeper_key: enrolment.keeper_key.as_bytes().to_vec(),
            certificate_request: enrolment.certificate_request.as_bytes().to_vec(),
            hostname: enrolment.hostname.to_string(),
            time: enrolment.time.0,
        }
    }
}
