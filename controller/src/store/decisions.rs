//! What operators have decided about hosts. A decision is in the log before it holds, and what voids
//! certificates does it in the same transaction.

use std::collections::BTreeMap;

use muster_proto::{id::HostId, name::Line};

use super::{Change, Store, StoreError, corrupt, digest, failed, signed, time};
use crate::{
    audit::Entry,
    host::{Decision, Verdict},
};

/// The word for a verdict is none that is known.
#[derive(Debug, thiserror::Error)]
#[error("`{0}` is nothing that is decided about a host")]
struct UnknownVerdict(String);

#[derive(sqlx::FromRow)]
struct DecisionRow {
    host: Vec<u8>,
    verdict: String,
    decided: i64,
    decided_by: String,
    reason: String,
}

impl DecisionRow {
    fn read(self) -> Result<Decision, StoreError> {
        let what = "decision about a host";
        let verdict = Verdict::parse(&self.verdict).ok_or(UnknownVerdict(self.verdict));
        Ok(Decision {
            verdict: verdict.map_err(corrupt(what))?,
            by: self.decided_by,
            at: time(self.decided),
            reason: Line::parse(&self.reason).map_err(corrupt(what))?,
        })
    }
}

impl Store {
    /// Returns what holds for which host, those without a record included.
    pub async fn decisions(&self) -> Result<BTreeMap<HostId, Decision>, StoreError> {
        let rows: Vec<DecisionRow> = sqlx::query_as("SELECT * FROM decisions")
            .fetch_all(&self.readers)
            .await
            .map_err(failed("read what was decided about hosts"))?;
        rows.into_iter().map(|row| Ok((digest(&row.host, "host")?, row.read()?))).collect()
    }

    /// Logs and keeps what holds for a host from now on; nothing: what holds for every host.
    pub async fn decide(
        &self,
        host: HostId,
        decision: Option<&Decision>,
        entry: &Entry,
    ) -> Result<(), StoreError> {
        let mut change = self.begin().await?;
        change.append(entry).await?;
        change.set_decision(host, decision).await?;
        if decision.is_some_and(|decision| decision.verdict.shuts_out()) {
            change.void_certificates(host, entry.time).await?;
        }
        change.commit().await
    }
}

impl Change<'_> {
    pub(super) async fn set_decision(
        &mut self,
        host: HostId,
        decision: Option<&Decision>,
    ) -> Result<(), StoreError> {
        let query = match decision {
            None => {
                sqlx::query("DELETE FROM decisions WHERE host = $1").bind(host.as_bytes().to_vec())
            }
            Some(decision) => sqlx::query(
                "INSERT INTO decisions (host, verdict, decided, decided_by, reason)
                 VALUES ($1, $2, $3, $4, $5)
                 ON CONFLICT (host) DO UPDATE
                 SET verdict = $2, decided = $3, decided_by = $4, reason = $5",
            )
            .bind(host.as_bytes().to_vec())
            .bind(decision.verdict.word())
            .bind(signed(decision.at.0))
            .bind(decision.by.clone())
            .bind(decision.reason.to_string()),
        };
        let done = query.execute(&mut *self.tx).await;
        done.map(drop).map_err(failed("store what was decided about a host"))
    }

    pub(super) async fn verdict(&mut self, host: HostId) -> Result<Option<Verdict>, StoreError> {
        let row: Option<DecisionRow> = sqlx::query_as("SELECT * FROM decisions WHERE host = $1")
            .bind(host.as_bytes().to_vec())
            .fetch_optional(&mut *self.tx)
            .await
            .map_err(failed("look for what was decided about a host"))?;
        row.map(|row| Ok(row.read()?.verdict)).transpose()
    }
}
