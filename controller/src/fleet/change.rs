//! Links and revocations on their way in: checked as if nobody were to be believed, logged and
//! stored in one transaction, and only then passed on. One at a time.

use std::sync::{Arc, PoisonError};

use muster_proto::{
    chain::BadLink,
    envelope::{Document, Envelope},
    id::HostId,
    link::LinkRef,
    time::Timestamp,
    trust::Refused,
};

use super::Fleet;
use crate::{
    audit::Entry,
    current::{Current, PublishedLink},
    publish,
    signer::{self, SignerError},
    store::StoreError,
};

/// Why a link is not published.
#[derive(Debug, thiserror::Error)]
pub enum PublishError {
    /// It is not the next link.
    #[error(transparent)]
    Link(#[from] BadLink),
    /// Its signers saw a log that is not this one's past.
    #[error("link {0} carries an audit-log head that this log never had")]
    Log(u64),
    /// No salt.
    #[error(transparent)]
    Signer(#[from] SignerError),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Why a revocation is not taken.
#[derive(Debug, thiserror::Error)]
pub enum RevokeError {
    /// Nobody who may revoke signed it.
    #[error("cannot believe the revocation")]
    Refused(#[source] Refused),
    /// No salt.
    #[error(transparent)]
    Signer(#[from] SignerError),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl Fleet {
    /// Publishes the next link and returns its place and the hosts that it concerns. A link that is
    /// the newest already is published once; its sender is told the same again.
    pub async fn publish(
        &self,
        link: &PublishedLink,
        now: Timestamp,
    ) -> Result<(LinkRef, Vec<HostId>), PublishError> {
        let _one_at_a_time = self.changing.lock().await;
        let current = self.current();
        let known = current.chain.newest().filter(|newest| newest.digest == link.link.digest());
        if let Some(place) = known {
            let altered = Current::altered(&link.body);
            let members = self.members.lock().await;
            return Ok((place, Self::concerned(&members, &current, &altered)));
        }
        let mut next = Current::clone(&current);
        let (verified, altered) = next.extend(link, now)?;
        if !self.store.had_head(&verified.log).await? {
            return Err(PublishError::Log(verified.number));
        }
        let place = verified.place(verified.digest());
        let mut entries = vec![entry("link", link.link.encode(), now)?];
        for signature in link.link.signatures() {
            let body = [place.digest.as_bytes().as_slice(), signature.key.as_bytes()].concat();
            entries.push(entry("approval", body, now)?);
        }
        self.store.add_link(place.number, place.digest, link, &entries).await?;
        let next = self.replace(next);
        let mut members = self.members.lock().await;
        let hosts = Self::concerned(&members, &next, &altered);
        self.push(&mut members, &hosts, &next, now).await?;
        tracing::info!(link = place.number, hosts = hosts.len(), "a link was published");
        Ok((place, hosts))
    }

    /// Takes a revocation, passes it on at once and returns the hosts that it concerns. Hosts that
    /// have one like it by the online key alone are sent it again when an approver has signed it.
    pub async fn revoke(
        &self,
        revocation: &Envelope,
        now: Timestamp,
    ) -> Result<Vec<HostId>, RevokeError> {
        let _one_at_a_time = self.changing.lock().await;
        let mut next = Current::clone(&self.current());
        let found = next.keep(revocation).map_err(RevokeError::Refused)?;
        let mut members = self.members.lock().await;
        let ids = next.targets_of(revocation);
        let hosts = Self::concerned(&members, &next, &ids);
        if let Some(found) = &found {
            let mut written = Vec::new();
            for host in &hosts {
                let Some(member) = members.get_mut(host) else { continue };
                let before = member.sent.clone();
                member.owe(found.id);
                written.push((before, member.sent.clone()));
            }
            // First, so that none is taken to have it that has another of its id.
            written.retain(|(before, after)| before != after);
            self.store.set_sent(&written).await?;
            let entry = entry("revocation", revocation.encode(), now)?;
            self.store.add_revocation(found.id, revocation, now, &entry).await?;
        }
        let next = self.replace(next);
        self.push(&mut members, &hosts, &next, now).await?;
        tracing::info!(hosts = hosts.len(), "a revocation was taken");
        Ok(hosts)
    }

    fn replace(&self, next: Current) -> Arc<Current> {
        let next = Arc::new(next);
        *self.current.write().unwrap_or_else(PoisonError::into_inner) = Arc::clone(&next);
        next
    }
}

impl Current {
    fn targets_of(&self, envelope: &Envelope) -> std::collections::BTreeSet<muster_proto::id::Id> {
        let digest = envelope.digest();
        let found = self.revocations.iter().find(|(revocation, _)| revocation.digest() == digest);
        found.map(|(revocation, _)| publish::targets(self, revocation)).unwrap_or_default()
    }
}

/// Makes an entry for the log, with a salt of its own.
pub(crate) fn entry(
    kind: &'static str,
    body: Vec<u8>,
    time: Timestamp,
) -> Result<Entry, SignerError> {
    Ok(Entry { time, kind, salt: signer::random()?, body })
}
