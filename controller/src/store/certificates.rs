//! The keys of hosts' certificates: the one that a host shows itself by, and the one that it was
//! offered. A key is written down before the certificate for it leaves.

use muster_proto::{
    id::{Digest, HostId},
    time::Timestamp,
};

use super::{Change, Store, StoreError, digest, failed, signed, time};
use crate::enrol::certificate::{Footing, Issue, Keys, Shown, Void};

/// Why a certificate opens nothing.
#[derive(Debug, thiserror::Error)]
pub enum CertificateRefused {
    /// It counts no more.
    #[error(transparent)]
    Void(#[from] Void),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

#[derive(sqlx::FromRow)]
struct KeysRow {
    current: Option<Vec<u8>>,
    offered: Option<Vec<u8>>,
    newest: i64,
}

const DOING: &str = "look for the keys of a host's certificates";
const SELECT: &str = "SELECT current, offered, newest FROM certificates WHERE host = $1";

fn keys(row: Option<KeysRow>) -> Result<Keys, StoreError> {
    let Some(row) = row else { return Ok(Keys::default()) };
    let key = |bytes: Option<Vec<u8>>| -> Result<Option<Digest>, StoreError> {
        bytes.map(|bytes| digest(&bytes, "key of a certificate")).transpose()
    };
    Ok(Keys { current: key(row.current)?, offered: key(row.offered)?, newest: time(row.newest) })
}

impl Store {
    /// Lets a host in by a certificate that counts; a fresh one takes the place of the one before.
    pub async fn let_in(&self, shown: &Shown, now: Timestamp) -> Result<(), CertificateRefused> {
        let row = sqlx::query_as(SELECT)
            .bind(shown.host.as_bytes().to_vec())
            .fetch_optional(&self.readers)
            .await
            .map_err(failed(DOING))?;
        match keys(row)?.judge(shown, now)? {
            Footing::Current => Ok(()),
            Footing::Fresh => {
                let mut change = self.begin().await?;
                change.let_in(shown, now).await?;
                Ok(change.commit().await?)
            }
        }
    }

    /// Lets a host in that asks for its next certificate, and writes down the key of that one.
    pub async fn renew(
        &self,
        shown: &Shown,
        next: Issue,
        now: Timestamp,
    ) -> Result<(), CertificateRefused> {
        let mut change = self.begin().await?;
        change.let_in(shown, now).await?;
        change.offer(shown.host, next).await?;
        Ok(change.commit().await?)
    }
}

impl Change<'_> {
    async fn keys(&mut self, host: HostId) -> Result<Keys, StoreError> {
        let row = sqlx::query_as(SELECT)
            .bind(host.as_bytes().to_vec())
            .fetch_optional(&mut *self.tx)
            .await
            .map_err(failed(DOING))?;
        keys(row)
    }

    async fn let_in(&mut self, shown: &Shown, now: Timestamp) -> Result<(), CertificateRefused> {
        let keys = self.keys(shown.host).await?;
        match keys.judge(shown, now)? {
            Footing::Current => Ok(()),
            Footing::Fresh => Ok(self.set_keys(shown.host, keys.showing(shown.issue)).await?),
        }
    }

    /// Writes down the key of a certificate that is about to be sent.
    pub(super) async fn offer(&mut self, host: HostId, next: Issue) -> Result<(), StoreError> {
        let keys = self.keys(host).await?.offering(next);
        self.set_keys(host, keys).await
    }

    /// Lets no certificate of a host's count that was issued until now.
    pub(super) async fn void_certificates(
        &mut self,
        host: HostId,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        let keys = self.keys(host).await?.voided(now);
        self.set_keys(host, keys).await
    }

    async fn set_keys(&mut self, host: HostId, keys: Keys) -> Result<(), StoreError> {
        let bytes = |key: Option<Digest>| key.map(|key| key.as_bytes().to_vec());
        sqlx::query(
            "INSERT INTO certificates (host, current, offered, newest) VALUES ($1, $2, $3, $4)
             ON CONFLICT (host) DO UPDATE SET current = $2, offered = $3, newest = $4",
        )
        .bind(host.as_bytes().to_vec())
        .bind(bytes(keys.current))
        .bind(bytes(keys.offered))
        .bind(signed(keys.newest.0))
        .execute(&mut *self.tx)
        .await
        .map_err(failed("store the key of a certificate"))?;
        Ok(())
    }
}
