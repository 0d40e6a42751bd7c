//! In which receipt a host that is paused says so. Whoever wants to know who paused it, until when
//! and why, reads that receipt.

use std::collections::BTreeMap;

use muster_proto::{envelope::Envelope, id::HostId};

use super::{Change, Store, StoreError, digest, envelope, failed, signed};

impl Change<'_> {
    /// Notes in which receipt a host says that it is paused; nothing, if it is not.
    pub(super) async fn set_pause(
        &mut self,
        host: HostId,
        receipt: Option<u64>,
    ) -> Result<(), StoreError> {
        let id = host.as_bytes().to_vec();
        let query = match receipt {
            Some(number) => sqlx::query(
                "INSERT INTO pauses (host, receipt) VALUES ($1, $2)
                 ON CONFLICT (host) DO UPDATE SET receipt = excluded.receipt",
            )
            .bind(id)
            .bind(signed(number)),
            None => sqlx::query("DELETE FROM pauses WHERE host = $1").bind(id),
        };
        query.execute(&mut *self.tx).await.map_err(failed("note whether a host is paused"))?;
        Ok(())
    }
}

impl Store {
    /// Returns the hosts that are paused, each with the receipt that says so.
    pub(super) async fn pauses(&self) -> Result<BTreeMap<HostId, Envelope>, StoreError> {
        let rows: Vec<(Vec<u8>, Vec<u8>)> = sqlx::query_as(
            "SELECT p.host, r.envelope FROM pauses p
             JOIN receipts r ON r.host = p.host AND r.number = p.receipt",
        )
        .fetch_all(&self.readers)
        .await
        .map_err(failed("look for hosts that are paused"))?;
        let read = |(host, receipt): (Vec<u8>, Vec<u8>)| {
            Ok((digest(&host, "host")?, envelope(&receipt, "receipt")?))
        };
        rows.into_iter().map(read).collect()
    }
}
