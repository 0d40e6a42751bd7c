//! What hosts were sent and what they have confirmed, written down before it is sent.

use std::collections::BTreeMap;

use muster_proto::id::{Digest, HostId, Id};

use super::{Change, Store, StoreError, corrupt, digest, failed, signed, unsigned};
use crate::host::{Sent, SentStatements, Shown};

/// What one host is about to be sent, or has confirmed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SentTo {
    /// Which host.
    pub host: HostId,
    /// The newest link that it has certainly verified.
    pub confirmed: u64,
    /// All that it was sent, in place of what is stored.
    pub statements: SentStatements,
    /// The revocations that it was sent, and whether it has confirmed them.
    pub revocations: BTreeMap<Id, bool>,
}

#[derive(sqlx::FromRow)]
struct SentRow {
    host: Vec<u8>,
    id: Vec<u8>,
    link: i64,
    digest: Vec<u8>,
    wanted: bool,
    confirmed: Option<Vec<u8>>,
}

fn shown(bytes: &[u8]) -> Result<Shown, StoreError> {
    match bytes {
        [] => Ok(Shown::Absent),
        bytes => Ok(Shown::Statement(digest(bytes, "digest of what was sent")?)),
    }
}

fn bytes(shown: Shown) -> Vec<u8> {
    match shown {
        Shown::Absent => Vec::new(),
        Shown::Statement(digest) => digest.as_bytes().to_vec(),
    }
}

fn id(bytes: &[u8]) -> Result<Id, StoreError> {
    Id::parse(bytes).map_err(corrupt("id"))
}

impl Store {
    /// Returns what every host was sent.
    pub async fn sent(&self) -> Result<BTreeMap<HostId, SentStatements>, StoreError> {
        let rows: Vec<SentRow> = sqlx::query_as("SELECT * FROM sent")
            .fetch_all(&self.readers)
            .await
            .map_err(failed("read what hosts were sent"))?;
        let mut sent: BTreeMap<HostId, SentStatements> = BTreeMap::new();
        for row in rows {
            let one = Sent {
                link: unsigned(row.link),
                shown: shown(&row.digest)?,
                wanted: row.wanted,
                confirmed: row.confirmed.as_deref().map(shown).transpose()?,
            };
            sent.entry(digest(&row.host, "host")?).or_default().insert(id(&row.id)?, one);
        }
        Ok(sent)
    }

    /// Returns the revocations that every host was sent, and whether it has confirmed them.
    pub async fn sent_revocations(
        &self,
    ) -> Result<BTreeMap<HostId, BTreeMap<Id, bool>>, StoreError> {
        let rows: Vec<(Vec<u8>, Vec<u8>, bool)> =
            sqlx::query_as("SELECT host, revocation, confirmed FROM sent_revocations")
                .fetch_all(&self.readers)
                .await
                .map_err(failed("read which revocations hosts were sent"))?;
        let mut sent: BTreeMap<Digest, BTreeMap<Id, bool>> = BTreeMap::new();
        for (host, revocation, confirmed) in rows {
            let own = sent.entry(digest(&host, "host")?).or_default();
            own.insert(id(&revocation)?, confirmed);
        }
        Ok(sent)
    }

    /// Writes down what hosts are about to be sent, or have confirmed.
    pub async fn set_sent(&self, all: &[(SentTo, SentTo)]) -> Result<(), StoreError> {
        let mut change = self.begin().await?;
        for (old, new) in all {
            change.set_sent_to(old, new).await?;
        }
        change.commit().await
    }
}

impl Change<'_> {
    /// Writes the difference between two states of one host.
    async fn set_sent_to(&mut self, old: &SentTo, new: &SentTo) -> Result<(), StoreError> {
        let doing = "store what a host was sent";
        let host = new.host.as_bytes().to_vec();
        if old.confirmed != new.confirmed {
            sqlx::query("UPDATE hosts SET confirmed = $2 WHERE id = $1")
                .bind(host.clone())
                .bind(signed(new.confirmed))
                .execute(&mut *self.tx)
                .await
                .map_err(failed(doing))?;
        }
        for id in old.statements.keys().filter(|id| !new.statements.contains_key(id)) {
            sqlx::query("DELETE FROM sent WHERE host = $1 AND id = $2")
                .bind(host.clone())
                .bind(id.as_bytes().to_vec())
                .execute(&mut *self.tx)
                .await
                .map_err(failed(doing))?;
        }
        for (id, sent) in new.statements.iter().filter(|(id, s)| old.statements.get(id) != Some(s))
        {
            sqlx::query(
                "INSERT INTO sent (host, id, link, digest, wanted, confirmed)
                 VALUES ($1, $2, $3, $4, $5, $6)
                 ON CONFLICT (host, id) DO UPDATE
                 SET link = $3, digest = $4, wanted = $5, confirmed = $6",
            )
            .bind(host.clone())
            .bind(id.as_bytes().to_vec())
            .bind(signed(sent.link))
            .bind(bytes(sent.shown))
            .bind(sent.wanted)
            .bind(sent.confirmed.map(bytes))
            .execute(&mut *self.tx)
            .await
            .map_err(failed(doing))?;
        }
        for id in old.revocations.keys().filter(|id| !new.revocations.contains_key(id)) {
            sqlx::query("DELETE FROM sent_revocations WHERE host = $1 AND revocation = $2")
                .bind(host.clone())
                .bind(id.as_bytes().to_vec())
                .execute(&mut *self.tx)
                .await
                .map_err(failed(doing))?;
        }
        let news = new.revocations.iter().filter(|(id, c)| old.revocations.get(id) != Some(c));
        for (id, confirmed) in news {
            sqlx::query(
                "INSERT INTO sent_revocations (host, revocation, confirmed) VALUES ($1, $2, $3)
                 ON CONFLICT (host, revocation) DO UPDATE SET confirmed = $3",
            )
            .bind(host.clone())
            .bind(id.as_bytes().to_vec())
            .bind(*confirmed)
            .execute(&mut *self.tx)
            .await
            .map_err(failed(doing))?;
        }
        Ok(())
    }
}
