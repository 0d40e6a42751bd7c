//! In which receipt a host told its accounts the last time. Whoever wants to know what it said reads
//! that receipt.

use muster_proto::{envelope::Envelope, id::HostId};

use super::{Change, Store, StoreError, envelope, failed, signed, unsigned};

impl Change<'_> {
    /// Notes that a receipt tells a host's accounts.
    pub(super) async fn set_inventory(
        &mut self,
        host: HostId,
        receipt: u64,
    ) -> Result<(), StoreError> {
        sqlx::query(
            "INSERT INTO inventories (host, receipt) VALUES ($1, $2)
             ON CONFLICT (host) DO UPDATE SET receipt = excluded.receipt",
        )
        .bind(host.as_bytes().to_vec())
        .bind(signed(receipt))
        .execute(&mut *self.tx)
        .await
        .map_err(failed("note where a host tells its accounts"))?;
        Ok(())
    }
}

impl Store {
    /// Returns the newest receipt in which a host tells its accounts, if it has.
    pub async fn inventory(&self, host: HostId) -> Result<Option<Envelope>, StoreError> {
        let number: Option<i64> =
            sqlx::query_scalar("SELECT receipt FROM inventories WHERE host = $1")
                .bind(host.as_bytes().to_vec())
                .fetch_optional(&self.readers)
                .await
                .map_err(failed("look for a host's accounts"))?;
        let Some(number) = number else { return Ok(None) };
        let found = self.receipt(host, unsigned(number)).await?;
        found.map(|bytes| envelope(&bytes, "receipt")).transpose()
    }
}
