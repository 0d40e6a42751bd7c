//! Receipts on their way in: verified with the host's own key, fitted onto the one before, stored,
//! and only then acknowledged. What a receipt confirms is not sent again.
//!
//! A higher number is where the host is now, even if those between never came (a full spool drops
//! its oldest) or the one before is another: it is stored, it confirms, and the break is recorded.
//! A number that was passed is from a host that was set back, or from a second one with its key: it
//! is named in the log, replaces nothing and confirms nothing. Both are acknowledged, since nothing
//! more is done with them; so a host that was set back is heard again as soon as its numbers are new.
//!
//! The log is never made smaller, and a host makes as many breaks and pauses as it likes: of each
//! host so many are logged in an hour, by number and digest, and the rest is counted in the next.
//!
//! What is no receipt of the host's costs none of those that came with it. An acknowledgement lets a
//! host drop all up to its number, so what was refused is dropped with the next that is kept, and
//! that one is told of as a break: its host never tells it again, and nobody thinks that nothing is
//! missing.

use muster_proto::{
    bundle::Bundle,
    envelope::Envelope,
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
    told::{self, Told},
};
use crate::{
    audit::Entry,
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

/// What became of receipts that came together.
#[derive(Debug, Default)]
pub struct Received {
    /// How many items of drift are told in those that were read.
    pub drift: usize,
    /// What is wrong with the first that was refused, if one was.
    pub refused: Option<ReceiptError>,
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
struct Intake {
    /// What was logged of the host, with these.
    told: Told,
    /// How many items of drift they tell.
    drift: usize,
    fresh: Vec<StoredReceipt>,
    breaks: Vec<FoundBreak>,
    /// The last that is kept now, or was: what is acknowledged.
    last: Option<(u64, Digest)>,
}

impl Intake {
    fn new(told: Told) -> Self {
        Self { told, drift: 0, fresh: Vec::new(), breaks: Vec::new(), last: None }
    }

    /// Makes the log's entry about a receipt; nothing, if it is only counted.
    fn log(
        &mut self,
        word: &'static str,
        host: HostId,
        receipt: (u64, Digest),
        now: Timestamp,
    ) -> Result<Option<Entry>, SignerError> {
        let body = self.told.take(now).map(|untold| told::body(host, receipt, untold));
        body.map(|body| entry(word, body, now)).transpose()
    }

    fn has(&self, digest: Digest) -> bool {
        self.fresh.iter().any(|fresh| fresh.digest == digest)
            || self.breaks.iter().any(|found| found.digest == digest)
    }
}

impl Fleet {
    /// Stores receipts in their order, confirms what they confirm and acknowledges the last that is
    /// kept. What fails here and ends it is returned once that is done.
    pub async fn receive(
        &self,
        host: HostId,
        receipts: &[Envelope],
        now: Timestamp,
    ) -> Result<Received, ReceiptError> {
        let current = self.current();
        let mut members = self.members.lock().await;
        let member = members.get_mut(&host).ok_or(ReceiptError::UnknownHost(host))?;
        let mut intake = Intake::new(member.told);
        let before = member.sent.clone();
        let mut sent = before.clone();
        let (mut fault, mut refused) = (None, None);
        for envelope in receipts {
            match self.take(member, &mut intake, envelope, now).await {
                Ok(None) => {}
                Ok(Some(receipt)) => member::take_in(&mut sent, &receipt, &current),
                Err(error) if error.is_ours() => {
                    fault = Some(error);
                    break;
                }
                Err(error) => refused = refused.or(Some(error)),
            }
        }
        let Intake { told, drift, fresh, breaks, last } = intake;
        if !fresh.is_empty() || !breaks.is_empty() {
            self.store.add_receipts(host, &fresh, &breaks).await?;
            member.told = told;
            for FoundBreak { found, .. } in breaks.into_iter().filter(|one| one.entry.is_some()) {
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
        fault.map_or(Ok(Received { drift, refused }), Err)
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
        intake.drift = intake.drift.saturating_add(receipt.drift.len());
        let (number, digest) = (receipt.number, envelope.digest());
        let id = member.host.id;
        let newest = intake.fresh.last().map(|last| (last.number, last.digest));
        let newest = newest.or(member.host.receipts);
        let fit = self.fit(id, newest, intake, &receipt, digest).await?;
        if let Fit::Apart(kind) = fit {
            let known = newest.map_or(0, |(known, _)| known);
            let found = ReceiptBreak { number, known, kind, found: now };
            let entry = intake.log(kind.word(), id, (number, digest), now)?;
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
        let logged = match word {
            Some(word) => intake.log(word, id, (number, digest), now)?,
            None => None,
        };
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
