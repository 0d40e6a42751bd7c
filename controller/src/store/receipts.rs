//! Receipts, each chained to the one before. The chain is checked by whoever stores; here a number
//! is stored once and never altered, and what does not fit is kept beside it, in the log.

use std::collections::BTreeMap;

use muster_proto::{
    drift::Drift,
    envelope::{Document, Envelope},
    id::{Digest, HostId},
};

use super::{
    Store, StoreError, corrupt, digest, drift::is_due, envelope, failed, signed, time, unsigned,
};
use crate::{
    audit::Entry,
    host::{BreakKind, Pause, ReceiptBreak},
};

/// How many breaks of one host are shown.
const BREAKS: u32 = 8;
/// The most bytes of receipts that one page holds, if it holds more than one.
pub const RECEIPT_PAGE: usize = 2 << 20;

/// A receipt that was verified and has its place after the one before.
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
    /// What it tells of drift.
    pub drift: Vec<Drift>,
    /// Whether it tells the host's accounts.
    pub tells_accounts: bool,
    /// That it says that the host is paused.
    pub pause: Option<Pause>,
    /// What the log says of it.
    pub logged: Option<Entry>,
}

/// Some of a host's receipts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReceiptPage {
    /// With their numbers, newest first.
    pub receipts: Vec<(u64, Envelope)>,
    /// The rest of what was asked for is below this number, if it did not fit.
    pub rest: Option<u64>,
}

/// A receipt that does not fit, and what the log says of it.
#[derive(Clone, Debug)]
pub struct FoundBreak {
    /// How it does not fit.
    pub found: ReceiptBreak,
    /// Its digest.
    pub digest: Digest,
    /// The log's entry; nothing, if it is only counted: then the break is not noted either.
    pub entry: Option<Entry>,
}

/// The word for a break is none that is known.
#[derive(Debug, thiserror::Error)]
#[error("`{0}` is no way in which receipts do not fit")]
struct UnknownBreak(String);

#[derive(sqlx::FromRow)]
struct BreakRow {
    host: Vec<u8>,
    number: i64,
    known: i64,
    kind: String,
    found: i64,
}

impl BreakRow {
    fn read(self) -> Result<ReceiptBreak, StoreError> {
        let kind = BreakKind::ALL.into_iter().find(|kind| kind.word() == self.kind);
        Ok(ReceiptBreak {
            number: unsigned(self.number),
            known: unsigned(self.known),
            kind: kind
                .ok_or(UnknownBreak(self.kind))
                .map_err(corrupt("break in a host's receipts"))?,
            found: time(self.found),
        })
    }
}

impl Store {
    /// Stores receipts of one host in one transaction, and what does not fit before them.
    pub async fn add_receipts(
        &self,
        host: HostId,
        receipts: &[StoredReceipt],
        breaks: &[FoundBreak],
    ) -> Result<(), StoreError> {
        let mut change = self.begin().await?;
        for FoundBreak { found, digest, entry } in breaks {
            let Some(entry) = entry else { continue };
            let place = change.append(entry).await?;
            sqlx::query(
                "INSERT INTO receipt_breaks (place, host, number, digest, known, kind, found)
                 VALUES ($1, $2, $3, $4, $5, $6, $7)",
            )
            .bind(signed(place))
            .bind(host.as_bytes().to_vec())
            .bind(signed(found.number))
            .bind(digest.as_bytes().to_vec())
            .bind(signed(found.known))
            .bind(found.kind.word())
            .bind(signed(found.found.0))
            .execute(&mut *change.tx)
            .await
            .map_err(failed("store a break in a host's receipts"))?;
        }
        for receipt in receipts {
            if let Some(entry) = &receipt.logged {
                change.append(entry).await?;
            }
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
            change.insert_drift(host, receipt.number, &receipt.drift).await?;
            if receipt.tells_accounts {
                change.set_inventory(host, receipt.number).await?;
            }
        }
        if is_due(receipts, breaks) {
            change.drop_old_drift(host).await?;
        }
        if let Some(newest) = receipts.last() {
            change.set_pause(host, newest.pause.map(|pause| pause.receipt)).await?;
        }
        change.commit().await
    }

    /// Returns the newest receipts of a host below a number: fewer than asked for if those are
    /// large, and one at least.
    pub async fn receipts_before(
        &self,
        host: HostId,
        number: u64,
        limit: u32,
    ) -> Result<ReceiptPage, StoreError> {
        let sizes: Vec<(i64, i64)> = sqlx::query_as(
            "SELECT number, length(envelope) FROM receipts WHERE host = $1 AND number < $2
             ORDER BY number DESC LIMIT $3",
        )
        .bind(host.as_bytes().to_vec())
        .bind(signed(number))
        .bind(i64::from(limit))
        .fetch_all(&self.readers)
        .await
        .map_err(failed("look for receipts"))?;
        let mut page = ReceiptPage { receipts: Vec::new(), rest: None };
        let mut bytes = 0_usize;
        for (number, size) in sizes {
            let number = unsigned(number);
            bytes = bytes.saturating_add(usize::try_from(size).unwrap_or(usize::MAX));
            if let (Some((last, _)), true) = (page.receipts.last(), bytes > RECEIPT_PAGE) {
                page.rest = Some(*last);
                break;
            }
            let Some(found) = self.receipt(host, number).await? else { continue };
            page.receipts.push((number, envelope(&found, "receipt")?));
        }
        Ok(page)
    }

    /// Says whether a receipt is kept, in its place or as one that does not fit.
    pub async fn has_receipt(
        &self,
        host: HostId,
        number: u64,
        digest: Digest,
    ) -> Result<bool, StoreError> {
        let row: Option<(i64,)> = sqlx::query_as(
            "SELECT number FROM receipts WHERE host = $1 AND number = $2 AND digest = $3
             UNION ALL
             SELECT number FROM receipt_breaks WHERE host = $1 AND number = $2 AND digest = $3",
        )
        .bind(host.as_bytes().to_vec())
        .bind(signed(number))
        .bind(digest.as_bytes().to_vec())
        .fetch_optional(&self.readers)
        .await
        .map_err(failed("look for a receipt"))?;
        Ok(row.is_some())
    }

    /// Returns the newest breaks in every host's receipts, oldest first.
    pub(super) async fn breaks(&self) -> Result<BTreeMap<HostId, Vec<ReceiptBreak>>, StoreError> {
        let rows: Vec<BreakRow> = sqlx::query_as(
            "SELECT host, number, known, kind, found FROM (
                 SELECT *, row_number() OVER (PARTITION BY host ORDER BY place DESC) AS age
                 FROM receipt_breaks
             ) WHERE age <= $1 ORDER BY place",
        )
        .bind(i64::from(BREAKS))
        .fetch_all(&self.readers)
        .await
        .map_err(failed("read the breaks in hosts' receipts"))?;
        let mut breaks: BTreeMap<HostId, Vec<ReceiptBreak>> = BTreeMap::new();
        for row in rows {
            breaks.entry(digest(&row.host, "host")?).or_default().push(row.read()?);
        }
        Ok(breaks)
    }
}

/// Adds to the breaks that are shown; the oldest give way.
pub fn show_break(breaks: &mut Vec<ReceiptBreak>, found: ReceiptBreak) {
    breaks.push(found);
    let over = breaks.len().saturating_sub(usize::try_from(BREAKS).unwrap_or(usize::MAX));
    breaks.drain(..over);
}
