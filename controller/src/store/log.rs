//! The audit log's rows: a leaf, the root of the log that ends with it, salt and body beside them.
#![expect(clippy::disallowed_types, reason = "the only place for SQL")]

use muster_proto::{id::Digest, link::LogHead, merkle::Tree};
use sqlx::SqlitePool;

use super::{Change, Store, StoreError, digest, failed, signed};
use crate::audit::{self, Entry, Frontier};

pub(super) async fn load(pool: &SqlitePool) -> Result<Frontier, StoreError> {
    let leaves: Vec<(Vec<u8>,)> = sqlx::query_as("SELECT leaf FROM log ORDER BY place")
        .fetch_all(pool)
        .await
        .map_err(failed("read the audit log"))?;
    let mut frontier = Frontier::default();
    for (leaf,) in leaves {
        frontier.push(digest(&leaf, "audit log")?);
    }
    Ok(frontier)
}

impl Change<'_> {
    /// Appends to the log and returns the place.
    pub(super) async fn append(&mut self, entry: &Entry) -> Result<u64, StoreError> {
        let leaf = entry.leaf();
        let place = self.frontier.size();
        self.frontier.push(leaf);
        sqlx::query(
            "INSERT INTO log (place, leaf, root, time, kind, salt, body)
             VALUES ($1, $2, $3, $4, $5, $6, $7)",
        )
        .bind(signed(place))
        .bind(leaf.as_bytes().to_vec())
        .bind(self.frontier.root().as_bytes().to_vec())
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
    /// Says whether the log once had this head.
    pub async fn had_head(&self, head: &LogHead) -> Result<bool, StoreError> {
        if head.origin != audit::origin(self.lineage) {
            return Ok(false);
        }
        if head.size == 0 {
            return Ok(head.root == Frontier::default().root());
        }
        let root: Option<(Vec<u8>,)> = sqlx::query_as("SELECT root FROM log WHERE place = $1")
            .bind(signed(head.size - 1))
            .fetch_optional(&self.readers)
            .await
            .map_err(failed("look into the audit log"))?;
        Ok(root.is_some_and(|(root,)| root == head.root.as_bytes()))
    }

    /// Returns the proof that the log of `older` leaves is the beginning of that of `newer`, or
    /// nothing if there is none of these sizes.
    pub async fn consistency(
        &self,
        older: u64,
        newer: u64,
    ) -> Result<Option<Vec<Digest>>, StoreError> {
        if older > newer || newer > self.head().size {
            return Ok(None);
        }
        let mut leaves = self.leaves().await?;
        let size = |size: u64| usize::try_from(size).unwrap_or(usize::MAX);
        leaves.truncate(size(newer));
        Ok(Tree::Log.consistency(&leaves, size(older)))
    }

    /// Returns what the audit log has entries of, by their stable words, in its order.
    pub async fn log_kinds(&self) -> Result<Vec<String>, StoreError> {
        let kinds: Vec<(String,)> = sqlx::query_as("SELECT kind FROM log ORDER BY place")
            .fetch_all(&self.readers)
            .await
            .map_err(failed("read the audit log"))?;
        Ok(kinds.into_iter().map(|(kind,)| kind).collect())
    }

    /// Returns the leaves of the audit log.
    pub async fn leaves(&self) -> Result<Vec<Digest>, StoreError> {
        let leaves: Vec<(Vec<u8>,)> = sqlx::query_as("SELECT leaf FROM log ORDER BY place")
            .fetch_all(&self.readers)
            .await
            .map_err(failed("read the audit log"))?;
        leaves.iter().map(|(leaf,)| digest(leaf, "audit log")).collect()
    }
}
