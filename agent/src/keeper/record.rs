//! What a turn writes down and tells: receipts into the spool, the ledger, where the host stands.
//! What cannot be written is kept in memory and tried again; until then access is taken away and
//! none is given.

use std::collections::BTreeSet;

use muster_proto::{
    drift::Drift,
    id::Id,
    receipt::{Convergence, Finding, FindingKind, Outcome, Receipt, Standing, Trigger},
};

use super::{Handed, portions, turn::Turn};
use crate::{
    channel,
    host::{
        Host, chain,
        state::{self, StateError},
    },
};

/// The ledger is not on disk as it is in memory.
#[derive(Debug)]
pub(super) struct Unwritten;

impl<H: Host> Turn<'_, H> {
    /// Signs what was done, spools it, and hands it to the courier if there is one. What cannot be
    /// spooled is told in the next receipt that can.
    pub(super) fn report(
        &mut self,
        trigger: Trigger,
        outcomes: Vec<Outcome>,
        convergence: Convergence,
        findings: Vec<Finding>,
        drift: Vec<Drift>,
    ) {
        self.ledger.drift.fold_untold();
        self.ledger.drift.untold.extend(drift);
        let mut told = std::mem::take(&mut self.keeper.untold);
        // What is tried again while nothing can be written is one thing to tell.
        for outcome in outcomes {
            if !told.contains(&outcome) {
                told.push(outcome);
            }
        }
        // The accounts go with the last: there may be no room for them in the others.
        let is_due = self.keeper.counted.is_due(trigger, self.keeper.host.clocks().boot);
        let inventory = self.keeper.counted.untold.take();
        let mut parts = portions::outcomes(told);
        let last = parts.pop().unwrap_or_default();
        let mut untold = Vec::new();
        let none = BTreeSet::new;
        let findings = portions::findings(findings);
        // A receipt that does not say that the host is paused says that it is not.
        let paused: Vec<Finding> =
            findings.iter().filter(|found| found.kind == FindingKind::Paused).cloned().collect();
        for part in parts {
            // Not until the last is told is anything confirmed by it.
            let told = self.tell(trigger, none(), part, Convergence::Retrying, paused.clone());
            untold.extend(told.err().into_iter().flatten());
        }
        while portions::are_more(&self.ledger.drift.untold)
            && self.tell(trigger, none(), Vec::new(), Convergence::Retrying, paused.clone()).is_ok()
        {
        }
        let revocations = std::mem::take(&mut self.ledger.unreported);
        let (now, later) = if is_due { (inventory, None) } else { (None, inventory) };
        self.keeper.counted.untold = now;
        let told = self.tell(trigger, revocations, last, convergence, findings);
        self.keeper.counted.untold = self.keeper.counted.untold.take().or(later);
        untold.extend(told.err().into_iter().flatten());
        self.keeper.untold = untold;
    }

    /// Tells one receipt, with as much drift as it holds, or returns the outcomes that could not be
    /// told. What is told later is how it stands, so drift keeps its order.
    fn tell(
        &mut self,
        trigger: Trigger,
        revocations: BTreeSet<Id>,
        outcomes: Vec<Outcome>,
        convergence: Convergence,
        findings: Vec<Finding>,
    ) -> Result<(), Vec<Outcome>> {
        let drift = portions::drift(&mut self.ledger.drift.untold);
        let (number, previous) =
            self.ledger.receipt.map_or((1, None), |(number, digest)| (number + 1, Some(digest)));
        let receipt = Receipt {
            lineage: self.ledger.lineage,
            host: self.ledger.host,
            number,
            previous,
            time: self.keeper.host.clocks().wall,
            floor: self.ledger.floor_link().and(self.ledger.floor).map(|floor| floor.link),
            trust_version: self.ledger.trust().version,
            mode: self.keeper.config.policy.mode,
            trigger,
            revocations,
            outcomes,
            convergence,
            findings,
            drift,
            inventory: self.keeper.counted.untold.take(),
        };
        if let Ok(envelope) = self.spool(&receipt) {
            if let Some(inventory) = &receipt.inventory {
                self.keeper.counted.told(inventory, self.keeper.host.clocks().boot);
            }
            if self.keeper.handed == Handed::All {
                self.tell_receipt(number, &envelope);
            }
            return Ok(());
        }
        self.ledger.unreported.extend(receipt.revocations);
        self.ledger.drift.untold.splice(..0, receipt.drift);
        self.unsaved = true;
        self.keeper.counted.untold = receipt.inventory;
        Err(receipt.outcomes)
    }

    /// Stores a receipt, and that it was given. One that the ledger on disk does not know of must
    /// not be handed over: after a stop its number would be given again.
    fn spool(&mut self, receipt: &Receipt) -> Result<Vec<u8>, Unwritten> {
        let stored = self.keeper.spool.store(receipt, &self.keeper.key);
        let (digest, envelope) = stored.map_err(|error| self.cannot_write(&error))?;
        let surplus = self.take_surplus(receipt).map_err(|error| self.cannot_write(&error))?;
        let before = self.ledger.receipt.replace((receipt.number, digest));
        self.save().inspect_err(|_| {
            self.ledger.receipt = before;
            self.keeper.spool.withdraw(receipt.number);
        })?;
        if !surplus.is_empty() {
            tracing::warn!(receipts = surplus.len(), "the spool is full: its oldest are dropped");
            // What stays now goes with the next.
            if let Err(error) = self.keeper.spool.drop_surplus(&surplus) {
                tracing::warn!(error = %chain(&error), "cannot drop a receipt");
            }
        }
        Ok(envelope)
    }

    /// Takes down what becomes of the receipts that wait, with this one, and returns the numbers of
    /// those that there is no room for.
    fn take_surplus(&mut self, newest: &Receipt) -> Result<Vec<u64>, StateError> {
        let mut waiting = self.keeper.spool.numbers()?;
        let surplus = self.keeper.spool.surplus(&waiting)?;
        let drift = &mut self.ledger.drift;
        drift.arrived(waiting.first().copied().unwrap_or_default());
        drift.wait(newest.number, &newest.drift);
        if surplus > 0 {
            drift.lost(waiting.get(surplus).copied().unwrap_or_default());
        }
        waiting.truncate(surplus);
        Ok(waiting)
    }

    /// Writes the ledger. If it cannot, that is told, and it is tried again.
    pub(super) fn save(&mut self) -> Result<(), Unwritten> {
        let clocks = self.keeper.host.clocks();
        self.ledger.time = self.keeper.clock.remembered(clocks);
        if let (Some(pause), Some(term)) = (&mut self.ledger.pause, self.keeper.term) {
            pause.left = term.uptime_left(clocks.boot);
        }
        let bytes = self.ledger.encode();
        if let Err(error) = state::replace(&self.keeper.directory.join("ledger"), &bytes, 0o600) {
            self.unsaved = true;
            return Err(self.cannot_write(&error));
        }
        self.unsaved = false;
        self.keeper.time_kept = self.ledger.time;
        if self.keeper.unwritable.take().is_some() {
            self.tell_standing();
        }
        Ok(())
    }

    fn cannot_write(&mut self, error: &StateError) -> Unwritten {
        let reason = chain(error);
        tracing::error!(error = %reason, "nothing new is given until this can be written");
        self.keeper.convergence = Convergence::Retrying;
        if self.keeper.unwritable.as_ref() != Some(&reason) {
            self.keeper.unwritable = Some(reason);
            self.tell_standing();
        }
        Unwritten
    }

    pub(super) fn tell_standing(&mut self) {
        let standing = Standing {
            trust_version: self.ledger.trust().version,
            floor: self.ledger.floor_link().and(self.ledger.floor).map(|floor| floor.link),
            labels: self.keeper.labels.labels.clone(),
            mode: self.keeper.config.policy.mode,
            agent_version: env!("CARGO_PKG_VERSION").to_owned(),
            refusal: self.keeper.unwritable.as_ref().unwrap_or(&self.keeper.refusal).clone(),
        };
        self.keeper.tell(&channel::standing_message(&standing));
    }

    pub(super) fn tell_receipt(&mut self, number: u64, envelope: &[u8]) {
        match channel::spool_message(number, envelope) {
            Ok(message) => self.keeper.tell(&message),
            Err(error) => self.note_damaged(number, &chain(&error)),
        }
    }

    /// Takes down that a receipt in the spool is one no more.
    pub(super) fn note_damaged(&mut self, number: u64, reason: &str) {
        tracing::error!(number, error = %reason, "a receipt in the spool is damaged");
        self.keeper.damaged.insert(number);
    }
}
