//! Receipts, each chained to the one before. The chain is checked by whoever stores; here a number
//! is stored once and never altered.

use muster_proto::{
    envelope::{Document, Envelope},
    id::{Digest, HostId},
};

use super::{Store, StoreError, envelope, failed, signed};

/// A receipt that was verified and fits onto the one before.
#[derive(Clone, Debug)]
pub struct StoredReceipt {
    /// Its number.
    pub number: u64,
    /// Its digest.
    pub digest: Digest,
    /// The number of the floor that it names.
    pub floor: Option<u64>,
    /// As it came.
    pub envelope: Envelope,
}

impl Store {
    /// Stores receipts of one host in one transaction.
    pub async fn add_receipts(
        &self,
        host: HostId,
        receipts: &[StoredReceipt],
    ) -> Result<(), StoreError> {
        let mut change = self.begin().await?;
        for receipt in receipts {
            sqlx::query(
                "INSERT INTO receipts (host, number, digest, floor, envelope)
                 VALUES ($1, $2, $3, $4, $5)",
            )
            .bind(host.as_bytes().to_vec())
            .bind(signed(receipt.number))
            .bind(receipt.digest.as_bytes().to_vec())
            .bind(receipt.floor.map(signed))
            .bind(receipt.envelope.encode())
            .execute(&mut *change.tx)
            .await
            .map_err(failed("store a receipt"))?;
        }
        change.commit().await
    }

    /// Returns the newest receipts of a host, newest first.
    pub async fn receipts(&self, host: HostId, limit: u32) -> Result<Vec<Envelope>, StoreError> {
        let rows: Vec<(Vec<u8>,)> = sqlx::query_as(
            "SELECT envelope FROM receipts WHERE host = $1 ORDER BY number DESC LIMIT $2",
        )
        .bind(host.as_bytes().to_vec())
        .bind(i64::from(limit))
        .fetch_all(&self.readers)
        .await
        .map_err(failed("read receipts"))?;
        rows.iter().map(|(bytes,)| envelope(bytes, "receipt")).collect()
    }

    /// Returns the digest of one receipt, if it is stored.
    pub async fn receipt_digest(
        &self,
        host: HostId,
        number: u64,
    ) -> Result<Option<Digest>, StoreError> {
        let row: Option<(Vec<u8>,)> =
            sqlx::query_as("SELECT digest FROM receipts WHERE host = $1 AND number = $2")
                .bind(host.as_bytes().to_vec())
                .bind(signed(number))
                .fetch_optional(&self.readers)
                .await
                .map_err(failed("look for a receipt"))?;
        row.map(|(bytes,)| super::digest(&bytes, "receipt")).transpose()
    }
}
