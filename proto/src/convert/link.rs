//! The documents of the chain between wire and domain.

use super::{Fault, required};
use crate::{
    envelope::{Document, Envelope},
    id::{Digest, Id},
    link::{
        Acknowledgement, Checkpoint, Link, LinkBody, LinkRef, LogHead, Proposal, PublishedLink,
        Revocation, Target,
    },
    name::{Line, ObjectName},
    statement::Statement,
    time::Timestamp,
    wire::{self, revocation::Target as WireTarget},
};

/// Statements in ascending order of their ids, each at most once.
fn statements(bytes: &[Vec<u8>]) -> Result<Vec<Statement>, Fault> {
    let statements: Vec<Statement> =
        bytes.iter().map(|bytes| Statement::decode(bytes)).collect::<Result<_, _>>()?;
    if statements.is_sorted_by(|a, b| a.id < b.id) {
        Ok(statements)
    } else {
        Err(Fault::NotCanonical)
    }
}

fn encoded(statements: &[Statement]) -> Vec<Vec<u8>> {
    statements.iter().map(Document::encode).collect()
}

impl TryFrom<wire::Proposal> for Proposal {
    type Error = Fault;

    fn try_from(wire: wire::Proposal) -> Result<Self, Fault> {
        Ok(Self {
            lineage: Digest::parse(&wire.lineage)?,
            id: Id::parse(&wire.id)?,
            time: Timestamp(wire.time),
            reason: Line::parse(&wire.reason)?,
            statements: statements(&wire.statements)?,
            proposer: ObjectName::parse(&wire.proposer)?,
        })
    }
}

impl From<&Proposal> for wire::Proposal {
    fn from(proposal: &Proposal) -> Self {
        Self {
            lineage: proposal.lineage.as_bytes().to_vec(),
            id: proposal.id.as_bytes().to_vec(),
            time: proposal.time.0,
            reason: proposal.reason.to_string(),
            statements: encoded(&proposal.statements),
            proposer: proposal.proposer.to_string(),
        }
    }
}

impl TryFrom<wire::Link> for Link {
    type Error = Fault;

    fn try_from(wire: wire::Link) -> Result<Self, Fault> {
        if wire.number == 0 {
            return Err(Fault::Missing("number"));
        }
        Ok(Self {
            lineage: Digest::parse(&wire.lineage)?,
            number: wire.number,
            previous: Digest::parse(&wire.previous)?,
            trust_version: wire.trust_version,
            trust_digest: Digest::parse(&wire.trust_digest)?,
            time: Timestamp(wire.time),
            body: Digest::parse(&wire.body)?,
            directory_root: Digest::parse(&wire.directory_root)?,
            history_root: Digest::parse(&wire.history_root)?,
            log: LogHead::try_from(required(wire.log, "log")?)?,
            proposers: wire.proposers.into_iter().collect(),
        })
    }
}

impl From<&Link> for wire::Link {
    fn from(link: &Link) -> Self {
        Self {
            lineage: link.lineage.as_bytes().to_vec(),
            number: link.number,
            previous: link.previous.as_bytes().to_vec(),
            trust_version: link.trust_version,
            trust_digest: link.trust_digest.as_bytes().to_vec(),
            time: link.time.0,
            body: link.body.as_bytes().to_vec(),
            directory_root: link.directory_root.as_bytes().to_vec(),
            history_root: link.history_root.as_bytes().to_vec(),
            log: Some((&link.log).into()),
            proposers: link.proposers.iter().cloned().collect(),
        }
    }
}

impl TryFrom<wire::LinkBody> for LinkBody {
    type Error = Fault;

    fn try_from(wire: wire::LinkBody) -> Result<Self, Fault> {
        let proposals: Result<_, _> = wire.proposals.iter().map(|d| Digest::parse(d)).collect();
        Ok(Self {
            proposals: proposals?,
            statements: statements(&wire.statements)?,
            folds: statements(&wire.folds)?,
        })
    }
}

impl From<&LinkBody> for wire::LinkBody {
    fn from(body: &LinkBody) -> Self {
        Self {
            proposals: body.proposals.iter().map(|d| d.as_bytes().to_vec()).collect(),
            statements: encoded(&body.statements),
            folds: encoded(&body.folds),
        }
    }
}

impl TryFrom<wire::PublishedLink> for PublishedLink {
    type Error = Fault;

    fn try_from(wire: wire::PublishedLink) -> Result<Self, Fault> {
        let proposals: Result<Vec<_>, _> =
            wire.proposals.into_iter().map(Envelope::try_from).collect();
        Ok(Self {
            link: Envelope::try_from(required(wire.link, "link")?)?,
            body: wire.body,
            proposals: proposals?,
        })
    }
}

impl From<&PublishedLink> for wire::PublishedLink {
    fn from(published: &PublishedLink) -> Self {
        Self {
            link: Some((&published.link).into()),
            body: published.body.clone(),
            proposals: published.proposals.iter().map(wire::Envelope::from).collect(),
        }
    }
}

impl TryFrom<wire::Revocation> for Revocation {
    type Error = Fault;

    fn try_from(wire: wire::Revocation) -> Result<Self, Fault> {
        let target = match required(wire.target, "target")? {
            WireTarget::Statement(target) if target.revision == 0 => {
                return Err(Fault::Missing("revision"));
            }
            WireTarget::Statement(target) => {
                Target::Statement { id: Id::parse(&target.id)?, revision: target.revision }
            }
            WireTarget::Membership(target) => Target::Membership {
                user: Id::parse(&target.user)?,
                group: Id::parse(&target.group)?,
            },
            WireTarget::Key(fingerprint) => Target::Key(Digest::parse(&fingerprint)?),
            WireTarget::Host(host) => Target::Host(Digest::parse(&host)?),
        };
        Ok(Self {
            lineage: Digest::parse(&wire.lineage)?,
            id: Id::parse(&wire.id)?,
            time: Timestamp(wire.time),
            reason: Line::parse(&wire.reason)?,
            target,
        })
    }
}

impl From<&Revocation> for wire::Revocation {
    fn from(revocation: &Revocation) -> Self {
        let target = match &revocation.target {
            Target::Statement { id, revision } => WireTarget::Statement(wire::StatementTarget {
                id: id.as_bytes().to_vec(),
                revision: *revision,
            }),
            Target::Membership { user, group } => WireTarget::Membership(wire::MembershipTarget {
                user: user.as_bytes().to_vec(),
                group: group.as_bytes().to_vec(),
            }),
            Target::Key(fingerprint) => WireTarget::Key(fingerprint.as_bytes().to_vec()),
            Target::Host(host) => WireTarget::Host(host.as_bytes().to_vec()),
        };
        Self {
            lineage: revocation.lineage.as_bytes().to_vec(),
            id: revocation.id.as_bytes().to_vec(),
            time: revocation.time.0,
            reason: revocation.reason.to_string(),
            target: Some(target),
        }
    }
}

impl TryFrom<wire::Checkpoint> for Checkpoint {
    type Error = Fault;

    fn try_from(wire: wire::Checkpoint) -> Result<Self, Fault> {
        Ok(Self {
            lineage: Digest::parse(&wire.lineage)?,
            time: Timestamp(wire.time),
            link: wire.link.map(LinkRef::try_from).transpose()?,
            revocations: wire.revocations,
            revocations_digest: Digest::parse(&wire.revocations_digest)?,
            log: LogHead::try_from(required(wire.log, "log")?)?,
        })
    }
}

impl From<&Checkpoint> for wire::Checkpoint {
    fn from(checkpoint: &Checkpoint) -> Self {
        Self {
            lineage: checkpoint.lineage.as_bytes().to_vec(),
            time: checkpoint.time.0,
            link: checkpoint.link.as_ref().map(wire::LinkRef::from),
            revocations: checkpoint.revocations,
            revocations_digest: checkpoint.revocations_digest.as_bytes().to_vec(),
            log: Some((&checkpoint.log).into()),
        }
    }
}

impl TryFrom<wire::Acknowledgement> for Acknowledgement {
    type Error = Fault;

    fn try_from(wire: wire::Acknowledgement) -> Result<Self, Fault> {
        Ok(Self {
            lineage: Digest::parse(&wire.lineage)?,
            host: Digest::parse(&wire.host)?,
            number: wire.number,
            digest: Digest::parse(&wire.digest)?,
        })
    }
}

impl From<&Acknowledgement> for wire::Acknowledgement {
    fn from(acknowledgement: &Acknowledgement) -> Self {
        Self {
            lineage: acknowledgement.lineage.as_bytes().to_vec(),
            host: acknowledgement.host.as_bytes().to_vec(),
            number: acknowledgement.number,
            digest: acknowledgement.digest.as_bytes().to_vec(),
        }
    }
}
