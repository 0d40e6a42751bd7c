//! In which receipt a host that is paused says so. Whoever wants to know who paused it, until when
//! and why, reads that receipt.

use std::collections::BTreeMap;

use muster_proto::{crypto::MachinePublicKey, id::HostId, receipt::Receipt, trust::verify_by_host};

use super::{Change, Store, StoreError, corrupt, digest, envelope, failed, signed, unsigned};
use crate::host::Pause;

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
    /// Returns the hosts that are paused, and where they say so. One receipt is read at a time.
    pub(super) async fn pauses(&self) -> Result<BTreeMap<HostId, Pause>, StoreError> {
        let rows: Vec<(Vec<u8>, Vec<u8>, i64)> = sqlx::query_as(
            "SELECT p.host, h.keeper_key, p.receipt FROM pauses p JOIN hosts h ON h.id = p.host",
        )
        .fetch_all(&self.readers)
        .await
        .map_err(failed("look for hosts that are paused"))?;
        let mut pauses = BTreeMap::new();
        for (host, key, number) in rows {
            let (host, number) = (digest(&host, "host")?, unsigned(number));
            let key = MachinePublicKey::parse(&key).map_err(corrupt("key"))?;
            let Some(bytes) = self.receipt(host, number).await? else { continue };
            let envelope = envelope(&bytes, "receipt")?;
            let told = verify_by_host::<Receipt>(&envelope, key).ok();
            // What was stored was verified: if it no longer says so, it is like no other pause.
            let unread = Pause { receipt: number, words: envelope.digest() };
            let pause = told.and_then(|receipt| Pause::of(&receipt)).unwrap_or(unread);
            pauses.insert(host, pause);
        }
        Ok(pauses)
    }
}
