//! Hosts: who they are and where they say they stand.

use std::collections::BTreeMap;

use muster_proto::{
    crypto::MachinePublicKey,
    id::{Digest, HostId},
    link::LinkRef,
    receipt::{HostMode, Standing},
    selector::Labels,
    time::Timestamp,
};

use super::{Store, StoreError, corrupt, digest, failed, signed, time, unsigned};
use crate::{
    audit::Entry,
    host::{Decision, Host, Pause, ReceiptBreak},
};

const OBSERVE: i64 = 1;
const ENFORCE: i64 = 2;

/// A number that stands for no mode.
#[derive(Debug, thiserror::Error)]
#[error("{0} is no mode of a host")]
struct UnknownMode(i64);

#[derive(sqlx::FromRow)]
struct HostRow {
    id: Vec<u8>,
    keeper_key: Vec<u8>,
    hostname: String,
    joined: i64,
    token_by: String,
    last_seen: Option<i64>,
    mode: Option<i64>,
    trust_version: i64,
    floor_number: Option<i64>,
    floor_digest: Option<Vec<u8>>,
    agent_version: String,
    refusal: String,
    confirmed: i64,
    receipt: Option<i64>,
    receipt_digest: Option<Vec<u8>>,
}

impl HostRow {
    fn read(
        self,
        labels: Labels,
        breaks: Vec<ReceiptBreak>,
        (decision, paused): (Option<Decision>, Option<Pause>),
    ) -> Result<Host, StoreError> {
        let link = |number: i64, bytes: &[u8]| {
            Ok(LinkRef { number: unsigned(number), digest: digest(bytes, "floor")? })
        };
        let floor = match (self.floor_number, &self.floor_digest) {
            (Some(number), Some(bytes)) => Some(link(number, bytes)?),
            _ => None,
        };
        let receipts: Option<(u64, Digest)> = match (self.receipt, &self.receipt_digest) {
            (Some(number), Some(bytes)) => Some((unsigned(number), digest(bytes, "receipt")?)),
            _ => None,
        };
        let mode = match self.mode {
            None => None,
            Some(OBSERVE) => Some(HostMode::Observe),
            Some(ENFORCE) => Some(HostMode::Enforce),
            Some(other) => return Err(corrupt("host mode")(UnknownMode(other))),
        };
        let standing = mode.map(|mode| Standing {
            trust_version: unsigned(self.trust_version),
            floor,
            labels,
            mode,
            agent_version: self.agent_version,
            refusal: self.refusal,
        });
        Ok(Host {
            id: digest(&self.id, "host")?,
            keeper_key: MachinePublicKey::parse(&self.keeper_key).map_err(corrupt("key"))?,
            hostname: self.hostname,
            joined: time(self.joined),
            token_by: self.token_by,
            last_seen: self.last_seen.map(time),
            standing,
            confirmed: unsigned(self.confirmed),
            receipts,
            breaks,
            unsent: None,
            decision,
            paused,
        })
    }
}

impl Store {
    /// Returns all hosts.
    pub async fn hosts(&self) -> Result<Vec<Host>, StoreError> {
        let doing = "read the hosts";
        let rows: Vec<HostRow> = sqlx::query_as(
            "SELECT h.*, r.number AS receipt, r.digest AS receipt_digest FROM hosts h
             LEFT JOIN receipts r ON r.host = h.id
                 AND r.number = (SELECT max(number) FROM receipts WHERE host = h.id)
             ORDER BY h.id",
        )
        .fetch_all(&self.readers)
        .await
        .map_err(failed(doing))?;
        let pairs: Vec<(Vec<u8>, String, String)> =
            sqlx::query_as("SELECT host, key, value FROM labels")
                .fetch_all(&self.readers)
                .await
                .map_err(failed(doing))?;
        let mut labels: BTreeMap<Vec<u8>, Labels> = BTreeMap::new();
        for (host, key, value) in pairs {
            let own = labels.entry(host).or_default();
            own.insert(&key, &value).map_err(corrupt("label"))?;
        }
        let mut breaks = self.breaks().await?;
        let mut decisions = self.decisions().await?;
        let mut pauses = self.pauses().await?;
        let read = |row: HostRow| {
            let own = labels.remove(&row.id).unwrap_or_default();
            let id = digest(&row.id, "host")?;
            let breaks = breaks.remove(&id).unwrap_or_default();
            row.read(own, breaks, (decisions.remove(&id), pauses.remove(&id)))
        };
        rows.into_iter().map(read).collect()
    }

    /// Keeps where a host says it stands.
    pub async fn set_standing(
        &self,
        host: HostId,
        standing: &Standing,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        let doing = "store a standing";
        let id = host.as_bytes().to_vec();
        let mut change = self.begin().await?;
        sqlx::query(
            "UPDATE hosts SET last_seen = $2, mode = $3, trust_version = $4, floor_number = $5,
                 floor_digest = $6, agent_version = $7, refusal = $8 WHERE id = $1",
        )
        .bind(id.clone())
        .bind(signed(now.0))
        .bind(match standing.mode {
            HostMode::Observe => OBSERVE,
            HostMode::Enforce => ENFORCE,
        })
        .bind(signed(standing.trust_version))
        .bind(standing.floor.map(|floor| signed(floor.number)))
        .bind(standing.floor.map(|floor| floor.digest.as_bytes().to_vec()))
        .bind(standing.agent_version.clone())
        .bind(standing.refusal.clone())
        .execute(&mut *change.tx)
        .await
        .map_err(failed(doing))?;
        sqlx::query("DELETE FROM labels WHERE host = $1")
            .bind(id.clone())
            .execute(&mut *change.tx)
            .await
            .map_err(failed(doing))?;
        for (key, value) in standing.labels.iter() {
            sqlx::query("INSERT INTO labels (host, key, value) VALUES ($1, $2, $3)")
                .bind(id.clone())
                .bind(key.to_owned())
                .bind(value.to_owned())
                .execute(&mut *change.tx)
                .await
                .map_err(failed(doing))?;
        }
        change.commit().await
    }

    /// Keeps when a host was last heard.
    pub async fn set_last_seen(&self, hosts: &[HostId], now: Timestamp) -> Result<(), StoreError> {
        let mut change = self.begin().await?;
        for host in hosts {
            sqlx::query("UPDATE hosts SET last_seen = $2 WHERE id = $1")
                .bind(host.as_bytes().to_vec())
                .bind(signed(now.0))
                .execute(&mut *change.tx)
                .await
                .map_err(failed("store when a host was seen"))?;
        }
        change.commit().await
    }

    /// Forgets a host's record; a decision that is to outlive it and what it signed stay.
    pub async fn forget(
        &self,
        host: HostId,
        kept: Option<&Decision>,
        entry: &Entry,
    ) -> Result<(), StoreError> {
        let mut change = self.begin().await?;
        change.append(entry).await?;
        change.set_decision(host, kept).await?;
        for sql in [
            "DELETE FROM labels WHERE host = $1",
            "DELETE FROM certificates WHERE host = $1",
            "DELETE FROM sent WHERE host = $1",
            "DELETE FROM sent_revocations WHERE host = $1",
            "DELETE FROM drift WHERE host = $1",
            "DELETE FROM exceptions WHERE host = $1",
            "DELETE FROM pauses WHERE host = $1",
            "DELETE FROM hosts WHERE id = $1",
        ] {
            sqlx::query(sql)
                .bind(host.as_bytes().to_vec())
                .execute(&mut *change.tx)
                .await
                .map_err(failed("forget a host"))?;
        }
        change.commit().await
    }
}
