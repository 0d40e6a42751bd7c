//! Enrolments that nobody has used. A host that refuses the controller after it was enrolled, or
//! that crashes then, never shows up: until it does, it is no host that anybody waits for, and when
//! its certificate has run out, it cannot any more and is forgotten.

use muster_proto::{id::HostId, time::Timestamp};

use super::{Fleet, change::entry, member::Member};
use crate::{
    enrol::VALIDITY,
    host::{Decision, Verdict},
    signer::SignerError,
    store::StoreError,
};

/// Why an enrolment is not forgotten.
#[derive(Debug, thiserror::Error)]
pub enum LapseError {
    /// No salt.
    #[error(transparent)]
    Signer(#[from] SignerError),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl Fleet {
    /// Forgets the enrolments whose certificate has run out unused; the log keeps them.
    pub async fn lapse(&self, now: Timestamp) -> Result<(), LapseError> {
        let mut members = self.members.lock().await;
        let lapsed = |member: &Member| {
            let unused = member.host.is_pending() && member.session.is_none();
            unused && now.since(member.host.joined) > VALIDITY
        };
        let gone: Vec<HostId> =
            members.iter().filter(|(_, member)| lapsed(member)).map(|(host, _)| *host).collect();
        for host in gone {
            let entry = entry("enrolment-lapsed", host.as_bytes().to_vec(), now)?;
            let banned = |decision: &Decision| decision.verdict == Verdict::Banned;
            let decision = members.get(&host).and_then(|member| member.host.decision.clone());
            self.store.forget(host, decision.filter(banned).as_ref(), &entry).await?;
            self.drop_member(&mut members, host);
            tracing::info!(host = %host.short(), "an enrolment that was never used has lapsed");
        }
        Ok(())
    }
}
