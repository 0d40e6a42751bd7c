//! One-time secrets, known by their digests, and what they are spent on. A secret is spent in the
//! transaction that makes the host, so it is spent once or not at all.

use muster_proto::{
    crypto::MachinePublicKey,
    id::{Digest, HostId},
    selector::LabelValue,
    time::Timestamp,
};

use super::{Store, StoreError, failed, signed, time};
use crate::{audit::Entry, enrol::certificate::Issue, host::Verdict};

/// A one-time secret, as it is kept.
#[derive(Clone, Debug)]
pub struct Token {
    /// SHA-256 of the secret.
    pub secret: Digest,
    /// When it was made.
    pub made: Timestamp,
    /// By whom.
    pub made_by: String,
    /// When it is no longer taken.
    pub expires: Timestamp,
}

/// A host that joins.
#[derive(Clone, Debug)]
pub struct NewHost {
    /// The digest of its key.
    pub id: HostId,
    /// Its keeper's key.
    pub keeper_key: MachinePublicKey,
    /// What it calls itself, which is a label of its own.
    pub hostname: LabelValue,
    /// The certificate that it is about to be sent.
    pub certificate: Issue,
}

/// Why a secret does not open the door.
#[derive(Debug, thiserror::Error)]
pub enum TokenRefused {
    /// Nobody made it.
    #[error("the join token's secret is not known")]
    Unknown,
    /// Too late.
    #[error("the join token expired at {0}")]
    Expired(Timestamp),
    /// Too late again.
    #[error("the join token was used already")]
    Used,
    /// The host may not come back.
    #[error("host {} is banned", .0.short())]
    Banned(HostId),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl Store {
    /// Keeps a one-time secret.
    pub async fn add_token(&self, token: &Token, entry: &Entry) -> Result<(), StoreError> {
        let mut change = self.begin().await?;
        change.append(entry).await?;
        sqlx::query("INSERT INTO tokens (secret, made, made_by, expires) VALUES ($1, $2, $3, $4)")
            .bind(token.secret.as_bytes().to_vec())
            .bind(signed(token.made.0))
            .bind(token.made_by.clone())
            .bind(signed(token.expires.0))
            .execute(&mut *change.tx)
            .await
            .map_err(failed("store a token"))?;
        change.commit().await
    }

    /// Spends a secret on a host, and returns who made the token. A host that joins again keeps
    /// what is known of it, and may show itself by the certificate that it has until it shows the
    /// new one: the answer may be lost. One that was evicted is in again by it, and only by the new
    /// one; a quarantine stays, and whoever is banned spends nothing.
    pub async fn join(
        &self,
        secret: Digest,
        host: &NewHost,
        entry: &Entry,
    ) -> Result<String, TokenRefused> {
        let now = entry.time;
        let mut change = self.begin().await?;
        let row: Option<(String, i64, Option<i64>)> =
            sqlx::query_as("SELECT made_by, expires, used FROM tokens WHERE secret = $1")
                .bind(secret.as_bytes().to_vec())
                .fetch_optional(&mut *change.tx)
                .await
                .map_err(failed("look for a token"))?;
        let Some((made_by, expires, used)) = row else { return Err(TokenRefused::Unknown) };
        if used.is_some() {
            return Err(TokenRefused::Used);
        }
        if time(expires) <= now {
            return Err(TokenRefused::Expired(time(expires)));
        }
        let verdict = change.verdict(host.id).await?;
        if verdict == Some(Verdict::Banned) {
            return Err(TokenRefused::Banned(host.id));
        }
        change.append(entry).await?;
        if verdict == Some(Verdict::Evicted) {
            change.set_decision(host.id, None).await?;
        }
        sqlx::query("UPDATE tokens SET used = $2, host = $3 WHERE secret = $1")
            .bind(secret.as_bytes().to_vec())
            .bind(signed(now.0))
            .bind(host.id.as_bytes().to_vec())
            .execute(&mut *change.tx)
            .await
            .map_err(failed("spend a token"))?;
        sqlx::query(
            "INSERT INTO hosts (id, keeper_key, hostname, joined, token_by)
             VALUES ($1, $2, $3, $4, $5)
             ON CONFLICT (id) DO UPDATE SET hostname = $3, joined = $4, token_by = $5",
        )
        .bind(host.id.as_bytes().to_vec())
        .bind(host.keeper_key.as_bytes().to_vec())
        .bind(host.hostname.as_str())
        .bind(signed(now.0))
        .bind(made_by.clone())
        .execute(&mut *change.tx)
        .await
        .map_err(failed("store a host"))?;
        change.offer(host.id, host.certificate).await?;
        change.commit().await?;
        Ok(made_by)
    }
}
