//! Receipts on their way in: verified with the host's own key, fitted onto the one before, stored,
//! and only then acknowledged. What a receipt confirms is not sent again.
//!
//! A higher number is where the host is now, even if those between never came (a full spool drops
//! its oldest) or the one before is another: it is stored, it confirms, and the break is recorded.
//! A number that was passed is from a host that was set back, or from a second one with its key: it
//! is kept in the log, replaces nothing and confirms nothing. Both are acknowledged, since they are
//! kept; so a host that was set back is heard again as soon as its numbers are new.
//!
//! What is no receipt of the host's costs none of those that came with it. An acknowledgement lets a
//! host drop all up to its number, so what was refused is dropped with the next that is kept, and
//! that one is told of as a break: its host never tells it again, and nobody thinks that nothing is
//! missing.

use muster_proto::{
    bundle::Bundle,
    envelope::{Document, Envelope},
    id::{Digest, HostId},
    link::Acknowledgement,
    receipt::Receipt,
    time::Timestamp,
    trust::{Refused, verify_by_host},
};

use super::{
    Fleet,
    change::entry,
    member::{self, Member},
};
use crate::{
    host::{BreakKind, Pause, ReceiptBreak},
    signer::SignerError,
    store::{FoundBreak, StoreError, StoredReceipt, show_break},
};

/// The highest number of a receipt; no honest host comes near it.
pub const MAX_NUMBER: u64 = i64::MAX as u64 - 1;

/// The log's words for a host that is paused, or paused otherwise, and for one that is so no more.
const PAUSED: &str = "host-paused";
const RESUMED: &str = "host-resumed";

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
    /// No host has done so much.
    #[error("a receipt has the number {0}, which none can have")]
    Number(u64),
    /// No salt.
    #[error(transparent)]
    Signer(#[from] SignerError),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl ReceiptError {
    /// Says whether something failed here, so that those that came after are not kept either; if
    /// not, this one receipt is wrong.
    pub fn is_ours(&self) -> bool {
        match self {
            Self::Signer(_) | Self::Store(_) => true,
            Self::UnknownHost(_) | Self::Refused(_) | Self::Lineage | Self::Number(_) => false,
        }
    }
}

/// How a receipt fits onto those before it.
enum Fit {
    /// It is kept already.
    Known,
    /// It is the next.
    Next,
    /// It does not fit.
    Apart(BreakKind),
}

/// What is to be kept of the receipts that came together.
#[derive(Default)]
struct Intake {
    fresh: Vec<StoredReceipt>,
    breaks: Vec<FoundBreak>,
    /// The last that is kept now, or was: what is acknowledged.
    last: Option<(u64, Digest)>,
}

impl Intake {
    fn has(&self, digest: Digest) -> bool {
        self.fresh.iter().any(|fresh| fresh.digest == digest)
            || self.breaks.iter().any(|found| found.digest == digest)
    }
}

impl Fleet {
    /// Stores receipts in their order, confirms what they confirm and acknowledges the last that is
    /// kept. What is wrong with the first that is not is returned once that is done.
    pub async fn receive(
        &self,
        host: HostId,
        receipts: &[Envelope],
        now: Timestamp,
    ) -> Result<(), ReceiptError> {
        let current = self.current();
        let mut members = self.members.lock().await;
        let member = members.get_mut(&host).ok_or(ReceiptError::UnknownHost(host))?;
        let mut intake = Intake::default();
        let before = member.sent.clone();
        let mut sent = before.clone();
        let mut fault = None;
        for envelope in receipts {
            match self.take(member, &mut intake, envelope, now).await {
                Ok(None) => {}
                Ok(Some(receipt)) => member::take_in(&mut sent, &receipt, &current),
                Err(error) if error.is_ours() => {
                    fault = Some(error);
                    break;
                }
                Err(error) => fault = fault.or(Some(error)),
            }
        }
        let Intake { fresh, breaks, last } = intake;
        if !fresh.is_empty() || !breaks.is_empty() {
            self.store.add_receipts(host, &fresh, &breaks).await?;
            for FoundBreak { found, .. } in breaks {
                let host = host.short();
                tracing::error!(host, %found, "a host's receipts do not fit onto one another");
                show_break(&mut member.host.breaks, found);
            }
            member.host.last_seen = Some(now);
        }
        if let Some(newest) = fresh.last() {
            member.host.receipts = Some((newest.number, newest.digest));
            member.host.paused = newest.pause;
            self.store.set_sent(&[(before, sent.clone())]).await?;
            member.sent = sent;
        }
        if let Some((number, digest)) = last {
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

    /// Verifies a receipt and notes what is to be kept of it; returns it if it confirms something.
    async fn take(
        &self,
        member: &Member,
        intake: &mut Intake,
        envelope: &Envelope,
        now: Timestamp,
    ) -> Result<Option<Receipt>, ReceiptError> {
        let receipt = verify_by_host::<Receipt>(envelope, member.host.keeper_key)
            .map_err(ReceiptError::Refused)?;
        if receipt.lineage != self.store.lineage() {
            return Err(ReceiptError::Lineage);
        }
        if receipt.number > MAX_NUMBER {
            return Err(ReceiptError::Number(receipt.number));
        }
        let (number, digest) = (receipt.number, envelope.digest());
        let newest = intake.fresh.last().map(|last| (last.number, last.digest));
        let newest = newest.or(member.host.receipts);
        let fit = self.fit(member.host.id, newest, intake, &receipt, digest).await?;
        if let Fit::Apart(kind) = fit {
            let known = newest.map_or(0, |(known, _)| known);
            let found = ReceiptBreak { number, known, kind, found: now };
            let entry = entry(kind.word(), envelope.encode(), now)?;
            intake.breaks.push(FoundBreak { found, digest, entry });
        }
        intake.last = Some((number, digest));
        if matches!(fit, Fit::Known | Fit::Apart(BreakKind::Back)) {
            return Ok(None);
        }
        let before = match intake.fresh.last() {
            Some(last) => last.pause,
            None => member.host.paused,
        };
        let pause = Pause::of(&receipt);
        let word = match (before, pause) {
            (Some(before), Some(pause)) if before.words == pause.words => None,
            (_, Some(_)) => Some(PAUSED),
            (Some(_), None) => Some(RESUMED),
            (None, None) => None,
        };
        let logged = word.map(|word| entry(word, envelope.encode(), now)).transpose()?;
        intake.fresh.push(StoredReceipt {
            number,
            digest,
            floor: receipt.floor.map(|floor| floor.number),
            envelope: envelope.clone(),
            drift: receipt.drift.clone(),
            tells_accounts: receipt.inventory.is_some(),
            pause,
            logged,
        });
        Ok(Some(receipt.into_inner()))
    }

    async fn fit(
        &self,
        host: HostId,
        newest: Option<(u64, Digest)>,
        intake: &Intake,
        receipt: &Receipt,
        digest: Digest,
    ) -> Result<Fit, StoreError> {
        let number = receipt.number;
        Ok(match newest {
            // A controller that was restored takes up the chain where the host is.
            None => Fit::Next,
            Some((known, _)) if number <= known => {
                if intake.has(digest) || self.store.has_receipt(host, number, digest).await? {
                    Fit::Known
                } else {
                    Fit::Apart(BreakKind::Back)
                }
            }
            Some((known, _)) if number - known > 1 => Fit::Apart(BreakKind::Missing),
            Some((_, before)) if receipt.previous == Some(before) => Fit::Next,
            Some(_) => Fit::Apart(BreakKind::Parted),
        })
    }
}
