//! How far a change has come onto the hosts, told as it happens. Only a stored receipt, signed by
//! the host itself, says that something is done.

use std::collections::{BTreeMap, BTreeSet};

use muster_proto::{
    crypto::MachinePublicKey,
    envelope::Envelope,
    id::{HostId, Id},
    receipt::Receipt,
    trust::verify_by_host,
};
use tokio::sync::{broadcast::error::RecvError, mpsc};

use super::Fleet;
use crate::store::StoreError;

/// How many receipts are read at once in the search for those that name a revocation.
pub const LOOK_BACK: u32 = 200;

/// What is to arrive where.
#[derive(Clone, Debug, Default)]
pub struct Goal {
    /// This link, unless it is 0 …
    pub link: u64,
    /// … and these revocations …
    pub revocations: Vec<Id>,
    /// … on these hosts.
    pub hosts: Vec<HostId>,
}

/// Where a host is with it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Progress {
    /// Which host.
    pub host: HostId,
    /// What it calls itself.
    pub hostname: String,
    /// The key that its receipts are verified by.
    pub keeper_key: MachinePublicKey,
    /// Whether it is connected.
    pub connected: bool,
    /// The receipts that say that it has arrived, oldest first; none before that.
    pub receipts: Vec<Envelope>,
    /// Why it does not arrive: the host's refusal, or why it could not be sent.
    pub refusal: String,
}

impl Fleet {
    /// Tells how far the goal has come until it has arrived everywhere or nobody listens. Hosts
    /// that are not known are left out.
    pub async fn follow(&self, goal: Goal, to: mpsc::Sender<Progress>) -> Result<(), StoreError> {
        // Before the first look, so that nothing falls between.
        let mut news = self.news.subscribe();
        let mut told: BTreeMap<HostId, Progress> = BTreeMap::new();
        let mut look = goal.hosts.clone();
        loop {
            for host in look {
                let Some(progress) = self.progress(&goal, host).await? else { continue };
                if told.get(&host) != Some(&progress) {
                    told.insert(host, progress.clone());
                    if to.send(progress).await.is_err() {
                        return Ok(());
                    }
                }
            }
            if told.values().all(|progress| !progress.receipts.is_empty()) {
                return Ok(());
            }
            look = tokio::select! {
                () = to.closed() => return Ok(()),
                heard = news.recv() => match heard {
                    Ok(host) if goal.hosts.contains(&host) => vec![host],
                    Ok(_) => Vec::new(),
                    Err(RecvError::Lagged(_)) => goal.hosts.clone(),
                    Err(RecvError::Closed) => return Ok(()),
                },
            };
        }
    }

    async fn progress(&self, goal: &Goal, host: HostId) -> Result<Option<Progress>, StoreError> {
        let (mut progress, arrived) = {
            let members = self.members.lock().await;
            let Some(member) = members.get(&host) else { return Ok(None) };
            let standing = member.host.standing.as_ref();
            let has = |id| member.sent.revocations.get(id) == Some(&true);
            let reached = member.sent.confirmed >= goal.link;
            let held_back = member.host.decision.as_ref().filter(|_| !reached);
            let revoked = goal.revocations.iter().all(has);
            // Of what is held back nothing more will come, and what was taken away is told.
            let arrived = revoked && (reached || held_back.is_some());
            let progress = Progress {
                host,
                hostname: member.host.hostname.clone(),
                keeper_key: member.host.keeper_key,
                connected: member.session.is_some(),
                receipts: Vec::new(),
                refusal: match (held_back, standing, &member.host.unsent) {
                    (Some(decision), ..) => decision.to_string(),
                    (None, _, Some(unsent)) => unsent.to_string(),
                    (None, Some(standing), None) => standing.refusal.clone(),
                    (None, None, None) => String::new(),
                },
            };
            (progress, arrived)
        };
        if arrived {
            progress.receipts = self.proof(&progress, &goal.revocations).await?;
        }
        Ok(Some(progress))
    }

    /// Returns a host's newest receipt and those that name the revocations, however old, oldest
    /// first.
    async fn proof(
        &self,
        progress: &Progress,
        revocations: &[Id],
    ) -> Result<Vec<Envelope>, StoreError> {
        let mut unnamed: BTreeSet<Id> = revocations.iter().copied().collect();
        let mut proof = Vec::new();
        let mut below = u64::MAX;
        loop {
            let limit = if unnamed.is_empty() { 1 } else { LOOK_BACK };
            let page = self.store.receipts_before(progress.host, below, limit).await?;
            let Some((lowest, _)) = page.receipts.last() else { break };
            below = *lowest;
            for (_, envelope) in page.receipts {
                // What is stored was verified when it came; what does not verify now names nothing.
                let named = verify_by_host::<Receipt>(&envelope, progress.keeper_key)
                    .map(|receipt| receipt.into_inner().revocations)
                    .unwrap_or_default();
                if proof.is_empty() || !unnamed.is_disjoint(&named) {
                    unnamed.retain(|id| !named.contains(id));
                    proof.push(envelope);
                }
            }
            if unnamed.is_empty() {
                break;
            }
        }
        proof.reverse();
        Ok(proof)
    }
}
