//! One turn of the keeper's work, and what each kind of work needs in it. A turn begins by reading
//! the ledger and ends by dropping it, so that a host with a thousand accounts holds none of them in
//! memory while nothing happens.

use muster_proto::{
    crypto::sha256,
    desired::{DesiredState, Pins},
    drift::DriftKind,
    id::Digest,
};

use super::{Handed, Keeper, KeeperError, load_ledger, look::Look};
use crate::{
    apply::{self, Applied, Reach},
    drift::{
        Difference, Touch,
        effect::{self, Asking},
        probe::{self, subjects},
        ungranted::ways::{self, by_ways},
    },
    host::{Host, chain},
    inventory::{self, Sources, Sudo},
    ledger::Ledger,
    observed::ObservedState,
    plan::Plan,
};

/// How many receipts are handed over in one turn.
const HANDED_OVER: usize = 256;

/// The keeper with its memory open.
pub(super) struct Turn<'a, H> {
    pub(super) keeper: &'a mut Keeper<H>,
    pub(super) ledger: Ledger,
    /// Whether the ledger says something that its file does not.
    pub(super) unsaved: bool,
}

impl<'a, H: Host> Turn<'a, H> {
    /// Reads the ledger, or takes up the one that could not be written.
    pub(super) fn begin(keeper: &'a mut Keeper<H>) -> Result<Self, KeeperError> {
        let unwritten = keeper.unwritten.take();
        let unsaved = unwritten.is_some();
        let mut ledger = unwritten.map_or_else(|| load_ledger(&keeper.directory), Ok)?;
        ledger.drift.rounds = std::mem::take(&mut keeper.rounds);
        ledger.drift.tellings = std::mem::take(&mut keeper.tellings);
        Ok(Self { keeper, ledger, unsaved })
    }

    /// Writes down what is not written down yet, and remembers what cannot be.
    pub(super) fn end(mut self) {
        self.keeper.rounds = std::mem::take(&mut self.ledger.drift.rounds);
        self.keeper.tellings = std::mem::take(&mut self.ledger.drift.tellings);
        self.keeper.tell_time();
        let kept_for = self.keeper.time_kept_for(self.keeper.host.clocks());
        let is_due = self.unsaved || kept_for >= self.keeper.time_kept_seconds();
        let is_written = !is_due || self.save().is_ok();
        self.leave_trusted();
        if !is_written {
            self.keeper.unwritten = Some(self.ledger);
        }
    }

    /// Tells a courier that has come where this host stands, and begins to hand it the receipts
    /// after this number.
    pub(super) fn welcome(&mut self, after: u64) -> Result<(), KeeperError> {
        self.tell_standing();
        self.hand_over(after)
    }

    /// Hands the courier some of the receipts after this number. The others come in turns of their
    /// own, since there may be thousands.
    pub(super) fn hand_over(&mut self, after: u64) -> Result<(), KeeperError> {
        // What the ledger does not know of was not given: the next receipt has its number.
        let given = self.ledger.receipt.map_or(0, |(number, _)| number);
        let numbers = self.keeper.spool.numbers()?.into_iter();
        let mut waiting = numbers.filter(|number| *number > after && *number <= given);
        self.keeper.handed = Handed::Until(after);
        for number in waiting.by_ref().take(HANDED_OVER) {
            match self.keeper.spool.read(number) {
                Ok(Some(envelope)) => self.tell_receipt(number, &envelope),
                Ok(None) => {}
                // Those behind it are handed over all the same.
                Err(error) => self.note_damaged(number, &chain(&error)),
            }
            self.keeper.handed = Handed::Until(number);
        }
        if self.keeper.courier.is_none() {
            self.keeper.handed = Handed::Nothing;
        } else if waiting.next().is_none() {
            self.keeper.handed = Handed::All;
        }
        Ok(())
    }

    /// Reads the labels again before a look, and says so if they have changed.
    pub(super) fn load_labels(&mut self) {
        if self.keeper.labels.reload(&self.keeper.root) {
            self.keeper.rest = None;
            self.tell_standing();
        }
    }

    /// Asks what the system makes of our files, and what else it goes by that no file of accounts
    /// shows.
    pub(super) fn beyond(
        &mut self,
        look: &Look,
        asking: Asking,
        touches: &[Touch],
    ) -> (Vec<Difference>, Sources) {
        let Look { desired, observed, plan, .. } = look;
        let ownership = &self.ledger.ownership;
        let today = self.keeper.host.clocks().wall.0 / 86_400;
        let mut expected = effect::expected(desired, observed, ownership, plan);
        expected.subjects = subjects(desired, observed, ownership, expected.sudo, today);
        expected.touches = touches;
        expected.told = self.ledger.drift.told_of(|what| {
            let places = [effect::SUDO, probe::PAM];
            what.kind == DriftKind::EffectDiffers && places.contains(&what.place.as_str())
        });
        let mut found = self.keeper.host.effects(observed, &expected, asking);
        let sources = self.sources(observed);
        found.extend(by_ways(observed, &self.ledger.ownership, &sources));
        // Nobody says that they have gone.
        if matches!(sources.sudo, Sudo::Unknown(_)) {
            found.extend(self.ledger.drift.told_of(ways::by_rule));
        }
        let told = self.ledger.drift.told_of(|what| ways::may_lie_unseen(what, &sources));
        for one in told {
            if !found.iter().any(|known| known.what == one.what) {
                found.push(one);
            }
        }
        (found, sources)
    }

    /// Returns what the account files do not say.
    pub(super) fn sources(&mut self, observed: &ObservedState) -> Sources {
        let others = inventory::others(observed, &self.ledger.ownership);
        self.keeper.host.sources(observed, &others)
    }

    /// Returns what is wanted here in one digest: while it stays the same, what differs is drift.
    pub(super) fn wanted(&self, desired: &DesiredState) -> Digest {
        sha256(&[format!("{desired:?}\n{:?}", self.keeper.config.policy).as_bytes()])
    }

    /// Does a plan. What it will own is saved before anything is done, so that a crash in between
    /// leaves nothing that is taken for somebody else's, and so is what it puts right, which would
    /// be told by nobody else; what it came to own is saved with the receipt. If it cannot be
    /// saved, access is taken away and none is given: whoever can fill a disk must not be able to
    /// stay.
    pub(super) fn apply(&mut self, plan: &Plan, pins: Pins) -> Applied {
        let before = self.ledger.ownership.clone();
        let pins_before = self.ledger.pins.clone();
        self.ledger.pins.extend(pins);
        self.ledger.ownership.clone_from(&plan.ownership_after);
        let reach = if self.save().is_ok() {
            Reach::Everything
        } else {
            self.ledger.pins = pins_before;
            Reach::TakingAway
        };
        let applied = apply::apply(plan, reach, &before, &mut self.keeper.host);
        self.ledger.ownership.clone_from(&applied.ownership);
        self.unsaved = true;
        applied
    }
}
