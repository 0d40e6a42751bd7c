//! What receipts tell of drift as it is noted, so that it can be found; and how much of it is kept.
//! What stands open is never dropped for what has been put right, or a host would pass that does
//! not.

use muster_proto::{drift::Drift, id::HostId};

use super::super::{Change, FoundBreak, StoreError, StoredReceipt, failed, signed};

/// So many items of one host can be found that are still there, and so many that are not: its
/// receipts hold the rest.
pub const KEPT_DRIFT: u32 = 20_000;
/// How many receipts may come before it is looked again whether that is so.
const SELDOM: u64 = 32;

/// Says whether it has to be looked whether too much is kept of a host: now and then, and whenever
/// its numbers or what it tells at once could put that off.
pub(in crate::store) fn is_due(receipts: &[StoredReceipt], breaks: &[FoundBreak]) -> bool {
    let many = usize::try_from(SELDOM).unwrap_or(usize::MAX);
    let due = |receipt: &StoredReceipt| {
        receipt.number.is_multiple_of(SELDOM) || receipt.drift.len() > many
    };
    !breaks.is_empty() || receipts.iter().any(due)
}

impl Change<'_> {
    /// Notes where a receipt tells drift. What it says of one thing takes the place of what was said
    /// of it before; if it says the same, the one that stands is told there from now on.
    pub(in crate::store) async fn insert_drift(
        &mut self,
        host: HostId,
        receipt: u64,
        told: &[Drift],
    ) -> Result<(), StoreError> {
        for (item, drift) in told.iter().enumerate() {
            let item = i64::try_from(item).unwrap_or(i64::MAX);
            if drift.response.is_open() && self.tell_again(host, receipt, item, drift).await? {
                continue;
            }
            sqlx::query(
                "UPDATE drift SET open = 0
                 WHERE open = 1 AND host = $1 AND kind = $2 AND subject = $3 AND part = $4",
            )
            .bind(host.as_bytes().to_vec())
            .bind(&drift.kind)
            .bind(&drift.subject)
            .bind(&drift.place)
            .execute(&mut *self.tx)
            .await
            .map_err(failed("close drift that was told before"))?;
            sqlx::query(
                "INSERT INTO drift
                     (host, receipt, item, kind, subject, part, severity, open, since, by_login,
                      found, response)
                 VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12)",
            )
            .bind(host.as_bytes().to_vec())
            .bind(signed(receipt))
            .bind(item)
            .bind(&drift.kind)
            .bind(&drift.subject)
            .bind(&drift.place)
            .bind(i64::from(drift.severity.rank()))
            .bind(i64::from(drift.response.is_open()))
            .bind(signed(drift.since.0))
            .bind(drift.culprit.as_ref().map_or("", |by| by.login.as_str()))
            .bind(drift.found_digest().as_bytes().to_vec())
            .bind(drift.response.as_str())
            .execute(&mut *self.tx)
            .await
            .map_err(failed("store drift"))?;
        }
        Ok(())
    }

    /// Says whether the same stands already, just so. Its place stays, so that nobody takes it for
    /// something new.
    async fn tell_again(
        &mut self,
        host: HostId,
        receipt: u64,
        item: i64,
        drift: &Drift,
    ) -> Result<bool, StoreError> {
        let done = sqlx::query(
            "UPDATE drift SET receipt = $5, item = $6, since = $8, by_login = $9
             WHERE open = 1 AND host = $1 AND kind = $2 AND subject = $3 AND part = $4
                 AND severity = $7 AND found = $10 AND response = $11",
        )
        .bind(host.as_bytes().to_vec())
        .bind(&drift.kind)
        .bind(&drift.subject)
        .bind(&drift.place)
        .bind(signed(receipt))
        .bind(item)
        .bind(i64::from(drift.severity.rank()))
        .bind(signed(drift.since.0))
        .bind(drift.culprit.as_ref().map_or("", |by| by.login.as_str()))
        .bind(drift.found_digest().as_bytes().to_vec())
        .bind(drift.response.as_str())
        .execute(&mut *self.tx)
        .await
        .map_err(failed("note that drift was told again"))?;
        Ok(done.rows_affected() > 0)
    }

    /// Of each host so much is kept: of what is still there the gravest, of the rest the newest.
    /// Where something that is still there had to go, more of it is left, so that the host does not
    /// pass.
    pub(in crate::store) async fn drop_old_drift(
        &mut self,
        host: HostId,
    ) -> Result<(), StoreError> {
        for sql in [
            "DELETE FROM drift WHERE place IN (
                 SELECT place FROM drift WHERE host = $1 AND open = 0
                 ORDER BY place DESC LIMIT -1 OFFSET $2)",
            "DELETE FROM drift WHERE place IN (
                 SELECT place FROM drift WHERE host = $1 AND open = 1
                 ORDER BY severity DESC, place DESC LIMIT -1 OFFSET $2)",
        ] {
            sqlx::query(sql)
                .bind(host.as_bytes().to_vec())
                .bind(i64::from(KEPT_DRIFT))
                .execute(&mut *self.tx)
                .await
                .map_err(failed("drop old drift"))?;
        }
        Ok(())
    }
}
