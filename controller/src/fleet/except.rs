//! Drift that operators accept, and do not accept any more: judged by what the host has signed,
//! logged and stored, and from then on it counts. No host hears of it.

use muster_proto::{
    drift::Drift,
    id::{Digest, HostId},
    name::Line,
    receipt::Receipt,
    time::Timestamp,
    trust::{Refused, verify_by_host},
};

use super::{Fleet, change::entry};
use crate::{
    exception::{Accepted, BadEnd, Exception, Thing, Unfit, check, check_end},
    signer::SignerError,
    store::{Item, StoreError},
};

/// What an operator accepts.
#[derive(Clone, Debug)]
pub struct Acceptance {
    /// The place where it is told.
    pub place: u64,
    /// The digest of what was found, as the operator saw it.
    pub found: Digest,
    /// Until when.
    pub until: Timestamp,
    /// Who accepts it.
    pub by: String,
    /// Why.
    pub reason: Line,
}

/// Why an exception is not made, or not withdrawn.
#[derive(Debug, thiserror::Error)]
pub enum ExceptError {
    /// There is no such place.
    #[error("no drift is told at {0}")]
    UnknownPlace(u64),
    /// The host is forgotten.
    #[error("host {} is not known", .0.short())]
    UnknownHost(HostId),
    /// What is stored is not what the host signed.
    #[error("the receipt that tells it is not believed")]
    Receipt(#[source] Refused),
    /// Another was told, or it is another that the operator saw.
    #[error("something else has been found there since")]
    Changed,
    /// It cannot be accepted.
    #[error("this cannot be accepted")]
    Unfit(#[source] Unfit),
    /// The time is no end.
    #[error(transparent)]
    End(#[from] BadEnd),
    /// Nobody says why.
    #[error("an exception needs a reason")]
    NoReason,
    /// There is nothing to withdraw.
    #[error("nothing of it is accepted")]
    NoException,
    /// No salt.
    #[error(transparent)]
    Signer(#[from] SignerError),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl Fleet {
    /// Accepts drift as it was found, until a date.
    pub async fn accept(
        &self,
        wanted: &Acceptance,
        now: Timestamp,
    ) -> Result<Exception, ExceptError> {
        if wanted.reason.as_str().is_empty() {
            return Err(ExceptError::NoReason);
        }
        check_end(wanted.until, now)?;
        let (item, drift) = self.told(wanted.place).await?;
        let found = drift.found_digest();
        check(&drift).map_err(ExceptError::Unfit)?;
        if found != wanted.found || !item.open {
            return Err(ExceptError::Changed);
        }
        let thing = Thing::of(item.host, &drift);
        let Acceptance { until, by, reason, .. } = wanted.clone();
        let body =
            format!("{by}\n{}{}\n{found}\n{}\n{reason}", thing.words(), item.receipt, until.0);
        let body = [item.host.as_bytes().as_slice(), body.as_bytes()].concat();
        let exception = Exception { until, by, made: now, reason };
        let entry = entry("exception-made", body, now)?;
        self.store.accept(&thing, &drift, &exception, &entry).await?;
        let (host, by) = (item.host.short(), &exception.by);
        tracing::info!(host, by, kind = thing.kind, "drift was accepted");
        Ok(exception)
    }

    /// Ends what was accepted of a thing before its date.
    pub async fn withdraw(
        &self,
        which: Accepted,
        by: &str,
        reason: &Line,
        now: Timestamp,
    ) -> Result<(), ExceptError> {
        let thing = match which {
            Accepted::Of(thing) => thing,
            Accepted::At(place) => {
                let (item, drift) = self.told(place).await?;
                Thing::of(item.host, &drift)
            }
        };
        if self.store.exception(&thing, now).await?.is_none() {
            return Err(ExceptError::NoException);
        }
        let body = format!("{by}\n{}{reason}", thing.words());
        let body = [thing.host.as_bytes().as_slice(), body.as_bytes()].concat();
        self.store.withdraw(&thing, &entry("exception-withdrawn", body, now)?).await?;
        tracing::info!(
            host = thing.host.short(),
            by,
            kind = thing.kind,
            "an exception was withdrawn"
        );
        Ok(())
    }

    /// Returns what is told at a place, as the host has signed it.
    async fn told(&self, place: u64) -> Result<(Item, Drift), ExceptError> {
        let unknown = ExceptError::UnknownPlace(place);
        let Some(item) = self.store.drift_at(place).await? else { return Err(unknown) };
        let members = self.members.lock().await;
        let member = members.get(&item.host).ok_or(ExceptError::UnknownHost(item.host))?;
        let key = member.host.keeper_key;
        drop(members);
        let receipt = verify_by_host::<Receipt>(&item.envelope, key);
        let receipt = receipt.map_err(ExceptError::Receipt)?.into_inner();
        let drift = receipt.drift.into_iter().nth(item.item).ok_or(unknown)?;
        Ok((item, drift))
    }
}
