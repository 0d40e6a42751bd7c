//! Receipts on their way in: verified with the host's own key, fitted onto the one before, stored,
//! and only then acknowledged. What a receipt confirms is not sent again.

use muster_proto::{
    bundle::Bundle,
    envelope::Envelope,
    id::HostId,
    link::Acknowledgement,
    receipt::Receipt,
    time::Timestamp,
    trust::{Refused, verify_by_host},
};

use super::{
    Fleet,
    member::{self, Member},
};
use crate::store::{StoreError, StoredReceipt};

/// Why a receipt is not stored.
#[derive(Debug, thiserror::Error)]
pub enum ReceiptError {
    /// Nobody knows the host.
    #[error("host {} is not known", .0.short())]
    UnknownHost(HostId),
    /// Not signed by the host, or not a receipt.
    #[error("cannot believe a receipt")]
    Refused(#[source] Refused),
    /// Of another fleet.
    #[error("a receipt belongs to another fleet")]
    Lineage,
    /// It does not continue the host's chain of receipts.
    #[error("receipt {found} does not follow receipt {known}")]
    Chain {
        /// The newest that is stored.
        known: u64,
        /// The one that came.
        found: u64,
    },
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl Fleet {
    /// Stores receipts in their order, confirms what they confirm and acknowledges the last.
    pub async fn receive(
        &self,
        host: HostId,
        receipts: &[Envelope],
        now: Timestamp,
    ) -> Result<(), ReceiptError> {
        let current = self.current();
        let mut members = self.members.lock().await;
        let member = members.get_mut(&host).ok_or(ReceiptError::UnknownHost(host))?;
        let mut fresh: Vec<StoredReceipt> = Vec::new();
        let before = member.sent.clone();
        let mut sent = before.clone();
        let mut fault = None;
        for envelope in receipts {
            match self.judge(member, fresh.last(), envelope).await {
                Ok(None) => {}
                Ok(Some(receipt)) => {
                    fresh.push(StoredReceipt {
                        number: receipt.number,
                        digest: envelope.digest(),
                        floor: receipt.floor.map(|floor| floor.number),
                        envelope: envelope.clone(),
                    });
                    member::take_in(&mut sent, &receipt, &current);
                }
                Err(error) => {
                    fault = Some(error);
                    break;
                }
            }
        }
        if let Some(last) = fresh.last() {
            self.store.add_receipts(host, &fresh).await?;
            member.host.receipts = Some((last.number, last.digest));
            self.store.set_sent(&[(before, sent.clone())]).await?;
            member.sent = sent;
            member.host.last_seen = Some(now);
        }
        if let Some((number, digest)) = member.host.receipts {
            let word = Acknowledgement { lineage: self.store.lineage(), host, number, digest };
            let mut bundle = Bundle::empty(host);
            bundle.acknowledgement = Some(self.signer.acknowledge(&word));
            member.send(&bundle);
        }
        self.push(&mut members, &[host], &current, now).await?;
        drop(members);
        self.tell(host);
        fault.map_or(Ok(()), Err)
    }

    /// Verifies a receipt and where it belongs; one that is stored already is nothing new.
    async fn judge(
        &self,
        member: &Member,
        last: Option<&StoredReceipt>,
        envelope: &Envelope,
    ) -> Result<Option<Receipt>, ReceiptError> {
        let receipt = verify_by_host::<Receipt>(envelope, member.host.keeper_key)
            .map_err(ReceiptError::Refused)?;
        if receipt.lineage != self.store.lineage() {
            return Err(ReceiptError::Lineage);
        }
        let known = last.map(|last| (last.number, last.digest)).or(member.host.receipts);
        let broken = |known| ReceiptError::Chain { known, found: receipt.number };
        match known {
            Some((known, _)) if receipt.number <= known => {
                let stored = self.store.receipt_digest(member.host.id, receipt.number).await?;
                let fresh = last.is_some_and(|last| last.digest == envelope.digest());
                let same = fresh || stored == Some(envelope.digest());
                if same { Ok(None) } else { Err(broken(known)) }
            }
            Some((known, digest)) => {
                let follows = receipt.number == known + 1 && receipt.previous == Some(digest);
                if follows { Ok(Some(receipt.into_inner())) } else { Err(broken(known)) }
            }
            // A controller that was restored takes up the chain where the host is.
            None => Ok(Some(receipt.into_inner())),
        }
    }
}
