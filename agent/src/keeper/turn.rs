//! One turn of the keeper's work: verify → derive → observe → plan → apply → report, the only place
//! that knows the order. A turn begins by reading the ledger and ends by dropping it, so that a host
//! with a thousand accounts holds none of them in memory while nothing happens.

use std::path::Path;

use muster_proto::{
    crypto::sha256,
    desired::{Account, DesiredState, Pins},
    drift::{Culprit, DriftKind},
    id::Digest,
    receipt::{Convergence, HostMode, Outcome, Trigger},
};

use super::{Agenda, Handed, Keeper, KeeperError, Rest, load_ledger, look::Look};
use crate::{
    apply::{self, Applied, Reach},
    clock::Time,
    drift::{
        Difference, Touch,
        effect::{self, Asking},
        memory::{Circumstances, Looked, Memory},
        probe::{self, subjects},
        ungranted::ways::{self, by_ways},
    },
    ends::NextDates,
    host::Host,
    inventory::{self, Sources, Sudo},
    ledger::Ledger,
    observed::ObservedState,
    plan::Plan,
};

/// So often a plan is made anew in one turn because somebody else was at the same files.
const MOST_OUTRUN: u32 = 3;

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
            if let Some(envelope) = self.keeper.spool.read(number)? {
                self.tell_receipt(number, &envelope);
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

    /// Reads the labels again, and says so if they have changed.
    pub(super) fn load_labels(&mut self) {
        if self.keeper.labels.reload(Path::new("/")) {
            self.tell_standing();
        }
    }

    /// Looks at the host and makes it as it should be. A start and a bundle are waited for and so
    /// always answered; other looks have something to say only if something is new.
    pub(super) fn converge(&mut self, trigger: Trigger) -> Result<(), KeeperError> {
        let clocks = self.keeper.host.clocks();
        let time = self.keeper.clock.read(clocks);
        self.keeper.rest = None;
        self.lapse(&time);
        let mut touches = std::mem::take(&mut self.keeper.asked_after);
        touches.extend(self.touches());
        let mut look = self.look(&time)?;
        let mut late = self.late_touches(&look, &touches);
        touches.extend(late.iter().cloned());
        let at = Circumstances {
            wanted: self.wanted(&look.desired),
            mode: self.mode(),
            touches: &touches,
            now: clocks.wall,
            boot: clocks.boot,
        };
        let mut looked = Looked { before: look.differences.clone(), ..Looked::default() };
        let dates = NextDates::after(self.ledger.statements(), time.now);
        let unsure = !self.keeper.ends.waiting.is_empty();
        let mut outcomes = Vec::new();
        let mut convergence = Convergence::Done;
        if !look.plan.is_empty() {
            convergence = Convergence::Observed;
            let enforces = self.keeper.config.policy.mode == HostMode::Enforce;
            if enforces && self.ledger.pause.is_some() {
                (outcomes, convergence) = self.take_away(&mut look, &time)?;
            } else if self.ledger.drift.is_contested(&looked.before, &at) {
                convergence = Convergence::Retrying;
            } else if enforces {
                (look, outcomes, convergence) =
                    self.make_so(look, &time, &mut looked.before, &at)?;
            }
        }
        looked.after = std::mem::take(&mut look.differences);
        looked.ungranted = std::mem::take(&mut look.ungranted);
        // What is watched says when its answer is another; a scan asks also what is not.
        let asking = match trigger {
            Trigger::Scan | Trigger::Start => Asking::Anew,
            Trigger::Bundle | Trigger::Time | Trigger::Change => Asking::IfChanged,
        };
        let (beyond, sources) = self.beyond(&look, asking);
        looked.ungranted.extend(beyond);
        self.count(&look.observed, &sources, clocks.wall.0 / 86_400);
        let emergency = &self.keeper.counted.emergency;
        look.findings.extend(emergency.findings());
        looked.ungranted.extend(emergency.differences());
        let memory = self.ledger.drift.clone();
        let drift = self.ledger.drift.take(&looked, &at);
        if let Some(watch) = &self.keeper.watch {
            let named: Vec<&Culprit> = drift.iter().filter_map(|d| d.culprit.as_ref()).collect();
            late.retain(|touch| touch.culprit.as_ref().is_some_and(|who| named.contains(&who)));
            watch.forget(&late);
        }
        // What is held back changes nothing in the file.
        let tellings = self.ledger.drift.tellings.clone();
        self.unsaved |= self.ledger.drift != Memory { tellings, ..memory };
        // Counted from the end: what takes long must leave time for others.
        self.keeper.agenda = Agenda { looked: self.keeper.host.clocks().boot, dates, unsure };
        self.keeper.convergence = convergence;
        for outcome in &outcomes {
            log(outcome);
        }
        // What fails again in the same way is told once.
        let (failed, done): (Vec<_>, Vec<_>) =
            outcomes.iter().cloned().partition(|outcome| outcome.failure.is_some());
        let changed = look.findings != self.keeper.findings
            || !done.is_empty()
            || !drift.is_empty()
            || failed != self.keeper.failed;
        self.keeper.findings.clone_from(&look.findings);
        self.keeper.failed = failed;
        let is_awaited = matches!(trigger, Trigger::Start | Trigger::Bundle);
        let owed = !self.ledger.unreported.is_empty()
            || !self.keeper.untold.is_empty()
            || !self.ledger.drift.untold.is_empty()
            || self.keeper.counted.is_due(trigger, clocks.boot);
        // Another look at the same would come to the same, and have nothing to say.
        let is_quiet = trigger == Trigger::Scan
            && !(changed || owed || unsure || self.unsaved || self.ledger.drift.is_watched())
            && convergence != Convergence::Retrying;
        if is_quiet {
            self.keeper.host.remember();
            self.keeper.rest = Some(Rest::begin(clocks, &self.keeper.damaged));
        }
        self.keeper.host.forget();
        if changed || is_awaited || owed {
            let findings = look.findings.into_iter().collect();
            self.report(trigger, outcomes, convergence, findings, drift);
        }
        // After the report: whoever waits for that waits for nothing else.
        if let Some(inquiry) = self.keeper.host.inquiry() {
            self.keeper.asked_after = touches;
            self.keeper.inquirer.begin(inquiry);
        }
        Ok(())
    }

    /// Does the plan of a look and looks again. Where somebody else was at the same files meanwhile
    /// nothing has failed yet: what he did is looked at and the plan for it done, some times over.
    fn make_so(
        &mut self,
        mut look: Look,
        time: &Time,
        before: &mut Vec<Difference>,
        at: &Circumstances<'_>,
    ) -> Result<(Look, Vec<Outcome>, Convergence), KeeperError> {
        let mut outcomes: Vec<Outcome> = Vec::new();
        let mut tries = 1;
        loop {
            self.ledger.drift.begin(&look.differences, at);
            let applied = self.apply(&look.plan, pins(&look.desired));
            outcomes.extend(applied.outcomes);
            look = self.look(time)?;
            if !applied.outrun {
                let is_done = look.plan.is_empty();
                let convergence = if is_done { applied.convergence } else { Convergence::Retrying };
                return Ok((look, outcomes, convergence));
            }
            if look.plan.is_empty() {
                outcomes.retain(|outcome| outcome.failure.is_none());
                return Ok((look, outcomes, Convergence::Done));
            }
            if tries == MOST_OUTRUN {
                return Ok((look, outcomes, Convergence::Retrying));
            }
            tries += 1;
            outcomes.retain(|outcome| outcome.failure.is_none());
            let is_new = |found: &&Difference| before.iter().all(|known| known.what != found.what);
            let new: Vec<Difference> = look.differences.iter().filter(is_new).cloned().collect();
            before.extend(new);
        }
    }

    /// Asks what the system makes of our files, and what else it goes by that no file of accounts
    /// shows.
    pub(super) fn beyond(&mut self, look: &Look, asking: Asking) -> (Vec<Difference>, Sources) {
        let Look { desired, observed, plan, .. } = look;
        let ownership = &self.ledger.ownership;
        let today = self.keeper.host.clocks().wall.0 / 86_400;
        let mut expected = effect::expected(desired, observed, ownership, plan);
        expected.subjects = subjects(desired, observed, ownership, expected.sudo, today);
        expected.told = self.ledger.drift.told_of(|what| {
            let places = [effect::SUDO, probe::PAM];
            what.kind == DriftKind::EffectDiffers && places.contains(&what.place.as_str())
        });
        let mut found = self.keeper.host.effects(observed, &expected, asking);
        let sources = self.sources(observed);
        found.extend(by_ways(observed, &self.ledger.ownership, &sources));
        if matches!(sources.sudo, Sudo::Unknown(_)) {
            // Nobody says that they have gone.
            found.extend(self.ledger.drift.told_of(ways::by_rule));
        }
        (found, sources)
    }

    /// Returns what the account files do not say.
    pub(super) fn sources(&mut self, observed: &ObservedState) -> Sources {
        let others = inventory::others(observed, &self.ledger.ownership);
        self.keeper.host.sources(observed, &others)
    }

    /// Watches what is there by now, and returns who has been at what since the last time.
    fn touches(&mut self) -> Vec<Touch> {
        let Some(watch) = &self.keeper.watch else { return Vec::new() };
        self.keeper.unwatched = watch.mark(self.keeper.config.policy.home_base.as_str());
        watch.touches()
    }

    /// Returns who was at it where a look has seen more than was told of before.
    fn late_touches(&self, look: &Look, touches: &[Touch]) -> Vec<Touch> {
        let is_unknown = |found: &Difference| found.what.culprit(touches).is_none();
        match &self.keeper.watch {
            Some(watch) if look.differences.iter().chain(&look.ungranted).any(is_unknown) => {
                watch.late()
            }
            _ => Vec::new(),
        }
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

/// Returns which account has which uid once a plan for this is done.
fn pins(desired: &DesiredState) -> Pins {
    let pin = |account: &Account| account.adopts.unwrap_or(account.grant.uid);
    desired.accounts.iter().map(|(login, account)| (login.clone(), pin(account))).collect()
}

fn log(outcome: &Outcome) {
    let Outcome { action, subject, detail, failure } = outcome;
    match failure {
        None => tracing::info!(action = %action, subject = %subject, detail = %detail, "done"),
        Some(why) => {
            tracing::error!(action = %action, subject = %subject, error = %why, "failed");
        }
    }
}
