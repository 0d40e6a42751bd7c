//! Exceptions: drift that was accepted until a date. Each is in the log before it counts; what has
//! ended by its date is left where it is until something else takes its place.

use muster_proto::{
    drift::Drift,
    envelope::Envelope,
    id::{Digest, HostId},
    name::Line,
    time::Timestamp,
};

use super::{
    Change, Store, StoreError, corrupt, digest, drift::DriftQuery, envelope, failed, signed, time,
    unsigned,
};
use crate::{
    audit::Entry,
    exception::{Exception, Thing},
};

/// Joins what is told to what is accepted of it, at the time `$1`.
pub(super) const JOINED: &str = "drift LEFT JOIN exceptions
    ON exceptions.host = drift.host AND exceptions.kind = drift.kind
        AND exceptions.subject = drift.subject AND exceptions.part = drift.part
        AND exceptions.found = drift.found AND exceptions.gravest >= drift.severity
        AND exceptions.until > $1";

/// Where an item of drift is told, with the receipt that tells it.
#[derive(Clone, Debug)]
pub struct Item {
    /// By which host.
    pub host: HostId,
    /// In which of its receipts.
    pub receipt: u64,
    /// Which of the items there, from 0.
    pub item: usize,
    /// Whether it is the newest that was told of that thing, and still there.
    pub open: bool,
    /// The receipt.
    pub envelope: Envelope,
}

/// So many things are listed that are accepted and not there.
const MOST_UNFOUND: i64 = 1_000;

#[derive(sqlx::FromRow)]
struct ThingRow {
    host: Vec<u8>,
    kind: String,
    subject: String,
    part: String,
    #[sqlx(flatten)]
    exception: ExceptionRow,
}

/// What is accepted, and until when.
#[derive(sqlx::FromRow)]
pub(super) struct ExceptionRow {
    until: Option<i64>,
    made: Option<i64>,
    made_by: Option<String>,
    reason: Option<String>,
}

impl ExceptionRow {
    /// Returns the exception of a row that may have none.
    pub(super) fn read(self) -> Result<Option<Exception>, StoreError> {
        let Self { until: Some(until), made: Some(made), made_by: Some(by), reason: Some(reason) } =
            self
        else {
            return Ok(None);
        };
        let reason = Line::parse(&reason).map_err(corrupt("exception"))?;
        Ok(Some(Exception { until: time(until), by, made: time(made), reason }))
    }
}

impl Store {
    /// Returns what is told at a place; nothing where nothing is, or its receipt is gone.
    pub async fn drift_at(&self, place: u64) -> Result<Option<Item>, StoreError> {
        let row: Option<(Vec<u8>, i64, i64, i64)> =
            sqlx::query_as("SELECT host, receipt, item, open FROM drift WHERE place = $1")
                .bind(signed(place))
                .fetch_optional(&self.readers)
                .await
                .map_err(failed("look for drift"))?;
        let Some((host, receipt, item, open)) = row else { return Ok(None) };
        let (host, receipt) = (digest(&host, "host")?, unsigned(receipt));
        let Some(bytes) = self.receipt(host, receipt).await? else { return Ok(None) };
        let item = usize::try_from(item).unwrap_or(usize::MAX);
        let envelope = envelope(&bytes, "receipt")?;
        Ok(Some(Item { host, receipt, item, open: open == 1, envelope }))
    }

    /// Logs and keeps that this is accepted as it was found and no graver, instead of what was
    /// accepted there before.
    pub async fn accept(
        &self,
        thing: &Thing,
        drift: &Drift,
        exception: &Exception,
        entry: &Entry,
    ) -> Result<(), StoreError> {
        let found = drift.found_digest();
        let mut change = self.begin().await?;
        change.append(entry).await?;
        sqlx::query(
            "INSERT INTO exceptions
                 (host, kind, subject, part, found, until, made, made_by, reason, gravest)
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)
             ON CONFLICT (host, kind, subject, part) DO UPDATE
             SET found = $5, until = $6, made = $7, made_by = $8, reason = $9, gravest = $10",
        )
        .bind(thing.host.as_bytes().to_vec())
        .bind(&thing.kind)
        .bind(&thing.subject)
        .bind(&thing.place)
        .bind(found.as_bytes().to_vec())
        .bind(signed(exception.until.0))
        .bind(signed(exception.made.0))
        .bind(&exception.by)
        .bind(exception.reason.as_str())
        .bind(i64::from(drift.severity.rank()))
        .execute(&mut *change.tx)
        .await
        .map_err(failed("store an exception"))?;
        change.set_found(thing, found).await?;
        change.commit().await
    }

    /// Returns what is accepted of a thing at this time, whatever is found there.
    pub async fn exception(
        &self,
        thing: &Thing,
        now: Timestamp,
    ) -> Result<Option<Exception>, StoreError> {
        let row: Option<ExceptionRow> = sqlx::query_as(
            "SELECT until, made, made_by, reason FROM exceptions
             WHERE until > $1 AND host = $2 AND kind = $3 AND subject = $4 AND part = $5",
        )
        .bind(signed(now.0))
        .bind(thing.host.as_bytes().to_vec())
        .bind(&thing.kind)
        .bind(&thing.subject)
        .bind(&thing.place)
        .fetch_optional(&self.readers)
        .await
        .map_err(failed("look for an exception"))?;
        row.map_or(Ok(None), ExceptionRow::read)
    }

    /// Returns what is accepted at this time though it is not there as it was accepted, of a host, a
    /// kind and a subject, or of all: the newest 1,000, and whether there are more.
    pub async fn unfound(
        &self,
        query: &DriftQuery,
        now: Timestamp,
    ) -> Result<(Vec<(Thing, Exception)>, bool), StoreError> {
        let rows: Vec<ThingRow> = sqlx::query_as(
            "SELECT host, kind, subject, part, until, made, made_by, reason FROM exceptions
             WHERE until > $1 AND ($2 IS NULL OR host = $2)
                 AND ($3 = '' OR kind = $3) AND ($4 = '' OR subject = $4)
                 AND NOT EXISTS (
                     SELECT 1 FROM drift WHERE open = 1
                         AND drift.host = exceptions.host AND drift.kind = exceptions.kind
                         AND drift.subject = exceptions.subject AND drift.part = exceptions.part
                         AND drift.found = exceptions.found
                         AND exceptions.gravest >= drift.severity)
             ORDER BY made DESC, host, kind, subject, part LIMIT $5",
        )
        .bind(signed(now.0))
        .bind(query.host.map(|host| host.as_bytes().to_vec()))
        .bind(&query.kind)
        .bind(&query.subject)
        .bind(MOST_UNFOUND + 1)
        .fetch_all(&self.readers)
        .await
        .map_err(failed("look for exceptions"))?;
        let most = usize::try_from(MOST_UNFOUND).unwrap_or(usize::MAX);
        let more = rows.len() > most;
        let mut all = Vec::new();
        for row in rows.into_iter().take(most) {
            let ThingRow { host, kind, subject, part: place, exception } = row;
            let thing = Thing { host: digest(&host, "host")?, kind, subject, place };
            all.extend(exception.read()?.map(|exception| (thing, exception)));
        }
        Ok((all, more))
    }

    /// Logs that nothing of a thing is accepted any more, and forgets what was.
    pub async fn withdraw(&self, thing: &Thing, entry: &Entry) -> Result<(), StoreError> {
        let mut change = self.begin().await?;
        change.append(entry).await?;
        sqlx::query(
            "DELETE FROM exceptions WHERE host = $1 AND kind = $2 AND subject = $3 AND part = $4",
        )
        .bind(thing.host.as_bytes().to_vec())
        .bind(&thing.kind)
        .bind(&thing.subject)
        .bind(&thing.place)
        .execute(&mut *change.tx)
        .await
        .map_err(failed("forget an exception"))?;
        change.commit().await
    }
}

impl Change<'_> {
    /// What was noted by an older version has no digest of what was found.
    async fn set_found(&mut self, thing: &Thing, found: Digest) -> Result<(), StoreError> {
        let done = sqlx::query(
            "UPDATE drift SET found = $5 WHERE open = 1 AND found IS NULL
                 AND host = $1 AND kind = $2 AND subject = $3 AND part = $4",
        )
        .bind(thing.host.as_bytes().to_vec())
        .bind(&thing.kind)
        .bind(&thing.subject)
        .bind(&thing.place)
        .bind(found.as_bytes().to_vec())
        .execute(&mut *self.tx)
        .await;
        done.map(drop).map_err(failed("store what was found"))
    }
}
