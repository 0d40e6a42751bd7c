//! What operators decide about hosts, in the order that keeps it: logged and stored first, then the
//! door is shut, then the session is ended. What waited to be sent in it is not sent any more.

use std::collections::BTreeMap;

use muster_proto::{id::HostId, name::Line, time::Timestamp};

use super::{Fleet, change::entry, member::Member};
use crate::{
    host::{Decision, Measure, Unfit, Verdict},
    signer::SignerError,
    store::StoreError,
};

/// What an operator asks for.
#[derive(Clone, Debug)]
pub struct Order {
    /// About which host.
    pub host: HostId,
    /// What.
    pub measure: Measure,
    /// Who asks.
    pub by: String,
    /// Why.
    pub reason: Line,
}

/// Why an order is not followed.
#[derive(Debug, thiserror::Error)]
pub enum DecideError {
    /// There is no such host.
    #[error("host {} is not known", .0.short())]
    UnknownHost(HostId),
    /// It does not fit what holds.
    #[error(transparent)]
    Unfit(#[from] Unfit),
    /// No salt.
    #[error(transparent)]
    Signer(#[from] SignerError),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl Order {
    fn body(&self) -> Vec<u8> {
        let words = format!("{}\n{}", self.by, self.reason);
        [self.host.as_bytes().as_slice(), words.as_bytes()].concat()
    }
}

impl Fleet {
    /// Follows an order, and returns what holds for the host from now on.
    pub async fn decide(
        &self,
        order: &Order,
        now: Timestamp,
    ) -> Result<Option<Decision>, DecideError> {
        let (host, measure) = (order.host, order.measure);
        let mut members = self.members.lock().await;
        let Some(member) = members.get(&host) else { return self.pardon(order, now).await };
        let before = member.host.verdict();
        let after = measure.after(before)?;
        if measure == Measure::Purge {
            if member.session.is_some() {
                return Err(Unfit::Connected.into());
            }
            let kept = member.host.decision.clone().filter(|_| after.is_some());
            let entry = entry(measure.word(), order.body(), now)?;
            self.store.forget(host, kept.as_ref(), &entry).await?;
            self.drop_member(&mut members, host);
            tracing::info!(host = %host.short(), "a host's record was forgotten");
            return Ok(kept);
        }
        let decided = |verdict| {
            let (by, reason) = (order.by.clone(), order.reason.clone());
            Decision { verdict, by, at: now, reason }
        };
        let decision = after.map(decided);
        let entry = entry(measure.word(), order.body(), now)?;
        self.store.decide(host, decision.as_ref(), &entry).await?;
        if after.is_some_and(Verdict::shuts_out) {
            self.bans.shut_out(host);
        } else {
            self.bans.let_in(host);
        }
        if let Some(member) = members.get_mut(&host) {
            member.host.decision.clone_from(&decision);
            member.reconsider();
        }
        let (host_name, by) = (host.short(), &order.by);
        tracing::info!(host = host_name, by, measure = measure.word(), "a host was decided about");
        self.push(&mut members, &[host], &self.current(), now).await?;
        drop(members);
        self.tell(host);
        Ok(decision)
    }

    /// Lifts the ban of a host whose record is forgotten; it is the only thing left of it.
    async fn pardon(&self, order: &Order, now: Timestamp) -> Result<Option<Decision>, DecideError> {
        let host = order.host;
        let banned = self.store.decisions().await?.contains_key(&host);
        if !banned || order.measure != Measure::Release {
            return Err(DecideError::UnknownHost(host));
        }
        let entry = entry(order.measure.word(), order.body(), now)?;
        self.store.decide(host, None, &entry).await?;
        self.bans.let_in(host);
        Ok(None)
    }

    /// Forgets what is in memory of a host whose record is forgotten; a ban stays.
    pub(super) fn drop_member(&self, members: &mut BTreeMap<HostId, Member>, host: HostId) {
        let banned = |member: &Member| member.host.verdict() == Some(Verdict::Banned);
        if !members.remove(&host).as_ref().is_some_and(banned) {
            self.bans.let_in(host);
        }
        self.tell(host);
    }
}
