//! The audit log's rows: a leaf, the root of the log that ends with it, salt and body beside them.
//! Every log but the first begins with an entry of its own kind, and nothing else says where.
#![expect(clippy::disallowed_types, reason = "the only place for SQL")]

use muster_proto::{id::Digest, link::LogHead, merkle::Tree, time::Timestamp};
use sqlx::SqlitePool;

use super::{Change, Store, StoreError, corrupt, digest, failed, signed, unsigned};
use crate::audit::{self, BEGUN, Beginning, Entry, Log};

/// Where one of the logs is among the entries of all; the present one has no end.
struct Span {
    origin: String,
    first: u64,
    end: Option<u64>,
}

pub(super) async fn load(pool: &SqlitePool, lineage: Digest) -> Result<Log, StoreError> {
    let rows: Vec<(i64, Vec<u8>, bool)> =
        sqlx::query_as("SELECT place, leaf, kind = $1 FROM log ORDER BY place")
            .bind(BEGUN)
            .fetch_all(pool)
            .await
            .map_err(failed("read the audit log"))?;
    let mut log = Log::first(lineage);
    for (place, leaf, begins) in rows {
        let leaf = digest(&leaf, "audit log")?;
        if begins {
            log = Log::begun(lineage, unsigned(place), leaf);
        }
        log.push(leaf);
    }
    Ok(log)
}

impl Change<'_> {
    /// Appends to the log and returns the place.
    pub(super) async fn append(&mut self, entry: &Entry) -> Result<u64, StoreError> {
        let leaf = entry.leaf();
        let place = self.log.next_place();
        self.log.push(leaf);
        sqlx::query(
            "INSERT INTO log (place, leaf, root, time, kind, salt, body)
             VALUES ($1, $2, $3, $4, $5, $6, $7)",
        )
        .bind(signed(place))
        .bind(leaf.as_bytes().to_vec())
        .bind(self.log.head().root.as_bytes().to_vec())
        .bind(signed(entry.time.0))
        .bind(entry.kind)
        .bind(entry.salt.to_vec())
        .bind(entry.body.clone())
        .execute(&mut *self.tx)
        .await
        .map_err(failed("append to the audit log"))?;
        Ok(place)
    }
}

impl Store {
    /// Begins a log in the place of the one that is there, which stays readable; returns its head.
    pub async fn begin_log(&self, salt: [u8; 16], now: Timestamp) -> Result<LogHead, StoreError> {
        let mut change = self.begin().await?;
        let beginning = Beginning { salt, last: change.log.head(), time: now };
        let (place, leaf) = (change.log.next_place(), beginning.leaf());
        change.log = Log::begun(self.lineage, place, leaf);
        change.append(&beginning.entry()).await?;
        change.commit().await?;
        Ok(self.head())
    }

    /// Returns how every log but the first begins, the oldest first.
    pub async fn beginnings(&self) -> Result<Vec<Beginning>, StoreError> {
        let rows: Vec<(Vec<u8>, Vec<u8>)> =
            sqlx::query_as("SELECT salt, body FROM log WHERE kind = 'log-begun' ORDER BY place")
                .fetch_all(&self.readers)
                .await
                .map_err(failed("look for the beginnings of logs"))?;
        let parse = |(salt, body): &(Vec<u8>, Vec<u8>)| Beginning::parse(salt, body);
        rows.iter().map(|row| parse(row).map_err(corrupt("beginning of a log"))).collect()
    }

    async fn spans(&self) -> Result<Vec<Span>, StoreError> {
        let rows: Vec<(i64, Vec<u8>)> =
            sqlx::query_as("SELECT place, leaf FROM log WHERE kind = 'log-begun' ORDER BY place")
                .fetch_all(&self.readers)
                .await
                .map_err(failed("look for the beginnings of logs"))?;
        let origin = audit::origin(self.lineage);
        let mut spans = vec![Span { origin, first: 0, end: None }];
        for (place, leaf) in rows {
            let first = unsigned(place);
            if let Some(before) = spans.last_mut() {
                before.end = Some(first);
            }
            let origin = audit::origin_after(self.lineage, digest(&leaf, "audit log")?);
            spans.push(Span { origin, first, end: None });
        }
        Ok(spans)
    }

    /// Says whether the log once had this head. Of a log that another has taken the place of, what
    /// was lost with the disk cannot be missed: a head beyond its end counts, and so does one of a
    /// log that was begun after the backup that was restored.
    pub async fn had_head(&self, head: &LogHead) -> Result<bool, StoreError> {
        let spans = self.spans().await?;
        let Some(span) = spans.iter().find(|span| span.origin == head.origin) else {
            let ours = format!("{}/", audit::origin(self.lineage));
            return Ok(spans.len() > 1 && head.origin.starts_with(&ours));
        };
        let Some(before) = head.size.checked_sub(1) else {
            return Ok(head.root == Tree::Log.root(&[]));
        };
        let place = span.first.saturating_add(before);
        if span.end.is_some_and(|end| place >= end) {
            return Ok(true);
        }
        let root: Option<(Vec<u8>,)> = sqlx::query_as("SELECT root FROM log WHERE place = $1")
            .bind(signed(place))
            .fetch_optional(&self.readers)
            .await
            .map_err(failed("look into the audit log"))?;
        Ok(root.is_some_and(|(root,)| root == head.root.as_bytes()))
    }

    /// Returns the proof that a log of `older` leaves is the beginning of the same log of `newer`,
    /// or nothing if there is none of this name and these sizes.
    pub async fn consistency(
        &self,
        origin: &str,
        older: u64,
        newer: u64,
    ) -> Result<Option<Vec<Digest>>, StoreError> {
        let present = self.log().next_place();
        let spans = self.spans().await?;
        let Some(span) = spans.iter().find(|span| span.origin == origin) else { return Ok(None) };
        let there = span.end.unwrap_or(present).saturating_sub(span.first);
        if older > newer || newer > there {
            return Ok(None);
        }
        let leaves = self.leaves_between(span.first, span.first + newer).await?;
        Ok(Tree::Log.consistency(&leaves, usize::try_from(older).unwrap_or(usize::MAX)))
    }

    /// Returns what the audit log has entries of, by their stable words, in its order.
    pub async fn log_kinds(&self) -> Result<Vec<String>, StoreError> {
        let kinds: Vec<(String,)> = sqlx::query_as("SELECT kind FROM log ORDER BY place")
            .fetch_all(&self.readers)
            .await
            .map_err(failed("read the audit log"))?;
        Ok(kinds.into_iter().map(|(kind,)| kind).collect())
    }

    /// Returns the leaves of the audit log that is written to.
    pub async fn leaves(&self) -> Result<Vec<Digest>, StoreError> {
        let log = self.log();
        self.leaves_between(log.first_place(), log.next_place()).await
    }

    async fn leaves_between(&self, first: u64, end: u64) -> Result<Vec<Digest>, StoreError> {
        let leaves: Vec<(Vec<u8>,)> =
            sqlx::query_as("SELECT leaf FROM log WHERE place >= $1 AND place < $2 ORDER BY place")
                .bind(signed(first))
                .bind(signed(end))
                .fetch_all(&self.readers)
                .await
                .map_err(failed("read the audit log"))?;
        leaves.iter().map(|(leaf,)| digest(leaf, "audit log")).collect()
    }
}
