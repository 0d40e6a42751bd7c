//! What arrives each minute for years: a bundle that says what time it is and which receipt the
//! controller has, and nothing else. It is judged by what the last turn left for that, so that the
//! ledger, which a thousand accounts make large, is not read for it.

use std::collections::BTreeSet;

use muster_proto::{
    bundle::{self, Anchor, Bundle, VerifiedBundle},
    envelope::{Document, Verified},
    id::HostId,
    receipt::Trigger,
    trust::TrustRoot,
};

use super::{Keeper, KeeperError, turn::Turn};
use crate::{
    clock::Heard,
    host::{Host, chain},
};

/// What a heartbeat is judged by.
#[derive(Debug)]
pub(super) struct Trusted {
    host: HostId,
    trust: Verified<TrustRoot>,
}

impl<H: Host> Keeper<H> {
    /// Takes up what the courier has brought. Whatever says more than a heartbeat, or is refused, is
    /// for a turn. What it is judged by are the labels as they are now; where these have become
    /// others the host is looked at first, since no message may put off what that ends.
    pub(super) fn receive(&mut self, bytes: &[u8]) -> Result<(), KeeperError> {
        if self.labels.reload(&self.root) {
            self.turn(|turn| {
                turn.tell_standing();
                turn.converge(Trigger::Change)
            })?;
        }
        let Some(heartbeat) = self.heartbeat(bytes) else {
            return self.turn(|turn| turn.deliver(bytes));
        };
        let _ = self.hear(&heartbeat);
        self.tell_time();
        Ok(())
    }

    /// Returns a bundle that verifies and says nothing that the ledger is to know.
    fn heartbeat(&self, bytes: &[u8]) -> Option<VerifiedBundle> {
        let Trusted { host, trust } = self.trusted.as_ref()?;
        let bundle = Bundle::decode(bytes).ok()?;
        let (checkpoint, acknowledgement) =
            (bundle.checkpoint.clone(), bundle.acknowledgement.clone());
        if bundle != (Bundle { checkpoint, acknowledgement, ..Bundle::empty(*host) }) {
            return None;
        }
        let (labels, known) = (&self.labels.labels, &BTreeSet::new());
        let anchor = Anchor { host: *host, trust, floor: None, labels, known };
        bundle::verify(bytes, &anchor).ok()
    }

    /// Takes down the times that a bundle swears to or says, and returns how many receipts have
    /// arrived by what it says.
    pub(super) fn hear(&mut self, bundle: &VerifiedBundle) -> usize {
        let clocks = self.host.clocks();
        if let Some(found) = &bundle.link {
            self.clock.swear(found.link.time, clocks);
        }
        if let Some(checkpoint) = &bundle.checkpoint {
            if self.clock.hear(checkpoint.time, clocks) == Heard::TooFarAhead {
                tracing::warn!("checkpoint more than a day ahead of this host's clocks; ignored");
            } else {
                self.tell_heard(checkpoint.time);
            }
        }
        let Some(acknowledgement) = &bundle.acknowledgement else { return 0 };
        self.damaged.retain(|number| *number > acknowledgement.number);
        // What cannot be deleted now is when the next one comes.
        self.spool.acknowledged(acknowledgement.number).unwrap_or_else(|error| {
            tracing::warn!(error = %chain(&error), "cannot delete an acknowledged receipt");
            0
        })
    }
}

impl<H: Host> Turn<'_, H> {
    /// Leaves what a heartbeat is judged by, unless the ledger itself waits for one.
    pub(super) fn leave_trusted(&mut self) {
        let drift = &self.ledger.drift;
        let waits = self.unsaved || drift.has_gap || !drift.untold.is_empty();
        let (host, trust) = (self.ledger.host, self.ledger.trust());
        match &self.keeper.trusted {
            _ if waits => self.keeper.trusted = None,
            Some(known) if known.host == host && known.trust == *trust => {}
            _ => self.keeper.trusted = Some(Trusted { host, trust: trust.clone() }),
        }
    }
}
