//! Where drift is told. Whoever wants to know what a host said reads its receipt; here is only what
//! it takes to find that.

mod noted;
mod search;

use std::collections::{BTreeMap, BTreeSet};

use muster_proto::{drift::Severity, envelope::Envelope, id::HostId, time::Timestamp};

use self::search::{Search, Value};
use super::{
    Store, StoreError, digest, envelope,
    exceptions::{ExceptionRow, JOINED},
    failed, signed, unsigned,
};
use crate::exception::{DriftScope, Exception};

pub use noted::KEPT_DRIFT;
pub(super) use noted::is_due;

/// The most bytes of receipts that one page holds.
const MOST_BYTES: usize = 2 << 20;

/// What drift to look for.
#[derive(Clone, Debug, Default)]
pub struct DriftQuery {
    /// Of this host; nothing: of all.
    pub host: Option<HostId>,
    /// Of none of these.
    pub without: BTreeSet<HostId>,
    /// Only what is still there?
    pub scope: DriftScope,
    /// Only what is at least as grave.
    pub least: Option<Severity>,
    /// Only of this kind; empty: of all.
    pub kind: String,
    /// Only about this; empty: about everything.
    pub subject: String,
    /// Only what this user made, by the name that he logged in with; empty: by whomever.
    pub by: String,
    /// Only what began from then on.
    pub since: Option<Timestamp>,
    /// Only what began before then.
    pub until: Option<Timestamp>,
    /// Only what was told after this place, oldest first; nothing: the gravest of what is still
    /// there, or the newest of all.
    pub after: Option<u64>,
    /// So many at most.
    pub limit: u32,
}

/// Where something is told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FoundDrift {
    /// Counts what was told, over all hosts.
    pub place: u64,
    /// By which host.
    pub host: HostId,
    /// In which of its receipts.
    pub receipt: u64,
    /// Which of the items there, from 0.
    pub item: u32,
    /// Whether it is still there.
    pub open: bool,
    /// What somebody has said who accepted it just so.
    pub exception: Option<Exception>,
}

/// A page of what was found.
#[derive(Clone, Debug, Default)]
pub struct DriftPage {
    /// Where it is told.
    pub found: Vec<FoundDrift>,
    /// The receipts that tell it.
    pub receipts: BTreeMap<(HostId, u64), Envelope>,
    /// Whether there is more than this.
    pub more: bool,
}

/// How hosts stand, whatever is looked for.
#[derive(Clone, Debug, Default)]
pub struct DriftCount {
    /// Hosts with something that is still there and nobody has accepted.
    pub hosts: BTreeSet<HostId>,
    /// How much is still there and accepted.
    pub exceptions: u64,
}

#[derive(sqlx::FromRow)]
struct FoundRow {
    place: i64,
    host: Vec<u8>,
    receipt: i64,
    item: i64,
    open: i64,
    #[sqlx(flatten)]
    exception: ExceptionRow,
}

impl Store {
    /// Returns drift, and the receipts that tell it: fewer than asked for if those are large.
    pub async fn drift(&self, query: &DriftQuery, now: Timestamp) -> Result<DriftPage, StoreError> {
        let Search { sql, values } = Search::new(query, now);
        let mut asked = sqlx::query_as::<sqlx::Sqlite, FoundRow>(sqlx::AssertSqlSafe(sql));
        for value in values {
            asked = match value {
                Value::Number(number) => asked.bind(number),
                Value::Bytes(bytes) => asked.bind(bytes),
                Value::Text(text) => asked.bind(text),
            };
        }
        let rows = asked.fetch_all(&self.readers).await.map_err(failed("look for drift"))?;
        let mut page = DriftPage::default();
        let mut bytes = 0;
        for (count, row) in rows.into_iter().enumerate() {
            if u32::try_from(count).is_ok_and(|count| count >= query.limit) {
                page.more = true;
                break;
            }
            let (host, receipt) = (digest(&row.host, "host")?, unsigned(row.receipt));
            if !page.receipts.contains_key(&(host, receipt)) {
                let Some(found) = self.receipt(host, receipt).await? else { continue };
                bytes += found.len();
                if bytes > MOST_BYTES && !page.found.is_empty() {
                    page.more = true;
                    break;
                }
                page.receipts.insert((host, receipt), envelope(&found, "receipt")?);
            }
            page.found.push(FoundDrift {
                place: unsigned(row.place),
                host,
                receipt,
                item: u32::try_from(row.item).unwrap_or(u32::MAX),
                open: row.open == 1,
                exception: row.exception.read()?,
            });
        }
        Ok(page)
    }

    /// Returns the place of what was told last, be it forgotten, 0 before the first.
    pub async fn newest_drift(&self) -> Result<u64, StoreError> {
        let newest: Option<i64> =
            sqlx::query_scalar("SELECT seq FROM sqlite_sequence WHERE name = 'drift'")
                .fetch_optional(&self.readers)
                .await
                .map_err(failed("look for the newest drift"))?;
        Ok(newest.map_or(0, unsigned))
    }

    /// Returns which hosts have drift, and how much of what is there is none since it is accepted.
    pub async fn drift_count(&self, now: Timestamp) -> Result<DriftCount, StoreError> {
        let sql = format!(
            "SELECT drift.host, sum(exceptions.until IS NULL), sum(exceptions.until IS NOT NULL)
             FROM {JOINED} WHERE open = 1 GROUP BY drift.host"
        );
        let rows: Vec<(Vec<u8>, i64, i64)> = sqlx::query_as(sqlx::AssertSqlSafe(sql))
            .bind(signed(now.0))
            .fetch_all(&self.readers)
            .await
            .map_err(failed("look for hosts with drift"))?;
        let mut count = DriftCount::default();
        for (host, drift, exceptions) in rows {
            if drift > 0 {
                count.hosts.insert(digest(&host, "host")?);
            }
            count.exceptions = count.exceptions.saturating_add(unsigned(exceptions));
        }
        Ok(count)
    }

    pub(super) async fn receipt(
        &self,
        host: HostId,
        number: u64,
    ) -> Result<Option<Vec<u8>>, StoreError> {
        let row: Option<(Vec<u8>,)> =
            sqlx::query_as("SELECT envelope FROM receipts WHERE host = $1 AND number = $2")
                .bind(host.as_bytes().to_vec())
                .bind(signed(number))
                .fetch_optional(&self.readers)
                .await
                .map_err(failed("read a receipt"))?;
        Ok(row.map(|(bytes,)| bytes))
    }
}
