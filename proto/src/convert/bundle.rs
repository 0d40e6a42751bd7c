//! Bundles between wire and domain.

use super::Fault;
use crate::{
    bundle::{Bundle, HistoryProof},
    directory::PrunedTree,
    envelope::Envelope,
    id::{Digest, Id},
    wire,
};

fn envelopes(wire: Vec<wire::Envelope>) -> Result<Vec<Envelope>, Fault> {
    wire.into_iter().map(Envelope::try_from).collect()
}

fn wired(envelopes: &[Envelope]) -> Vec<wire::Envelope> {
    envelopes.iter().map(wire::Envelope::from).collect()
}

impl TryFrom<wire::Bundle> for Bundle {
    type Error = Fault;

    fn try_from(wire: wire::Bundle) -> Result<Self, Fault> {
        let history: Result<Vec<_>, Fault> =
            wire.history.into_iter().map(HistoryProof::try_from).collect();
        let absent: Result<_, Fault> =
            wire.absent.iter().map(|id| Id::parse(id).map_err(Fault::from)).collect();
        let directory =
            wire.directory.map(|tree| PrunedTree { shape: tree.shape, hashes: tree.hashes });
        Ok(Self {
            host: Digest::parse(&wire.host)?,
            trust_roots: envelopes(wire.trust_roots)?,
            link: wire.link.map(Envelope::try_from).transpose()?,
            history: history?,
            statements: wire.statements,
            absent: absent?,
            directory,
            revocations: envelopes(wire.revocations)?,
            checkpoint: wire.checkpoint.map(Envelope::try_from).transpose()?,
            acknowledgement: wire.acknowledgement.map(Envelope::try_from).transpose()?,
        })
    }
}

impl From<&Bundle> for wire::Bundle {
    fn from(bundle: &Bundle) -> Self {
        Self {
            host: bundle.host.as_bytes().to_vec(),
            trust_roots: wired(&bundle.trust_roots),
            link: bundle.link.as_ref().map(wire::Envelope::from),
            history: bundle.history.iter().map(wire::HistoryProof::from).collect(),
            statements: bundle.statements.clone(),
            absent: bundle.absent.iter().map(|id| id.as_bytes().to_vec()).collect(),
            directory: bundle.directory.as_ref().map(|tree| wire::PrunedTree {
                shape: tree.shape.clone(),
                hashes: tree.hashes.clone(),
            }),
            revocations: wired(&bundle.revocations),
            checkpoint: bundle.checkpoint.as_ref().map(wire::Envelope::from),
            acknowledgement: bundle.acknowledgement.as_ref().map(wire::Envelope::from),
        }
    }
}

impl TryFrom<wire::HistoryProof> for HistoryProof {
    type Error = Fault;

    fn try_from(wire: wire::HistoryProof) -> Result<Self, Fault> {
        let path: Result<Vec<_>, _> = wire.path.iter().map(|hash| Digest::parse(hash)).collect();
        Ok(Self { number: wire.number, digest: Digest::parse(&wire.digest)?, path: path? })
    }
}

impl From<&HistoryProof> for wire::HistoryProof {
    fn from(proof: &HistoryProof) -> Self {
        Self {
            number: proof.number,
            digest: proof.digest.as_bytes().to_vec(),
            path: proof.path.iter().map(|hash| hash.as_bytes().to_vec()).collect(),
        }
    }
}
