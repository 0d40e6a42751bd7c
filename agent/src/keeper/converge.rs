//! The one order of the work: look → plan → apply → look again → remember → report.

use muster_proto::{
    desired::{Account, DesiredState, Pins},
    drift::{Culprit, Drift},
    receipt::{Convergence, Finding, FindingKind, HostMode, Outcome, Trigger},
};

use super::{Agenda, KeeperError, Rest, look::Look, turn::Turn};
use crate::{
    clock::{Clocks, Time},
    drift::{
        Difference, Touch, What,
        difference::jobs_back,
        effect::Asking,
        memory::{Circumstances, Looked, Memory},
    },
    ends::NextDates,
    host::Host,
};

/// So often a plan is made anew in one turn because somebody else was at the same files.
const MOST_OUTRUN: u32 = 3;

/// What has become of a plan, and how the host is after it.
struct Made {
    look: Look,
    outcomes: Vec<Outcome>,
    convergence: Convergence,
}

impl<H: Host> Turn<'_, H> {
    /// Looks at the host and makes it as it should be. A start and a bundle are waited for and so
    /// always answered; other looks have something to say only if something is new.
    pub(super) fn converge(&mut self, trigger: Trigger) -> Result<(), KeeperError> {
        let clocks = self.keeper.host.clocks();
        let time = self.keeper.clock.read(clocks);
        self.keeper.rest = None;
        self.lapse(&time);
        let mut touches = self.touches();
        let look = self.look(&time)?;
        let late = self.late_touches(&look, &touches);
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
        let mut made = self.put_right(look, &time, &mut looked.before, &at)?;
        looked.after = std::mem::take(&mut made.look.differences);
        looked.ungranted = std::mem::take(&mut made.look.ungranted);
        self.look_beyond(&mut made.look, &mut looked.ungranted, (trigger, &touches), clocks);
        // What is asked away from here is not of what was done since the last look.
        let touches = [touches.clone(), self.keeper.host.heard_after()].concat();
        let at = Circumstances { touches: &touches, ..at };
        let drift = self.remember(&looked, &at, late);
        // Counted from the end: what takes long must leave time for others.
        self.keeper.agenda = Agenda { looked: self.keeper.host.clocks().boot, dates, unsure };
        self.conclude(trigger, clocks, made, drift);
        // After the report: whoever waits for that waits for nothing else.
        if let Some(inquiry) = self.keeper.host.inquiry() {
            self.keeper.inquirer.begin(inquiry);
        }
        Ok(())
    }

    /// Does what a look has found to be done, as far as this host is to do anything.
    fn put_right(
        &mut self,
        mut look: Look,
        time: &Time,
        before: &mut Vec<Difference>,
        at: &Circumstances<'_>,
    ) -> Result<Made, KeeperError> {
        let enforces = self.keeper.config.policy.mode == HostMode::Enforce;
        let (outcomes, convergence) = if look.plan.is_empty() {
            (Vec::new(), Convergence::Done)
        } else if enforces && self.ledger.pause.is_some() {
            self.take_away(&mut look, time)?
        } else if self.ledger.drift.is_contested(before, at) {
            (Vec::new(), Convergence::Retrying)
        } else if enforces {
            return self.make_so(look, time, before, at);
        } else {
            (Vec::new(), Convergence::Observed)
        };
        Ok(Made { look, outcomes, convergence })
    }

    /// Does the plan of a look and looks again. Where somebody else was at the same files meanwhile
    /// nothing has failed yet: what he did is looked at and the plan for it done, some times over.
    fn make_so(
        &mut self,
        mut look: Look,
        time: &Time,
        before: &mut Vec<Difference>,
        at: &Circumstances<'_>,
    ) -> Result<Made, KeeperError> {
        let mut outcomes: Vec<Outcome> = Vec::new();
        let mut tries = 1;
        loop {
            self.ledger.drift.begin(&look.differences, at);
            let applied = self.apply(&look.plan, pins(&look.desired));
            outcomes.extend(applied.outcomes);
            let is_known = |what: &What| before.iter().any(|known| known.what == *what);
            let back = applied.jobs_back.iter().map(jobs_back);
            let back: Vec<Difference> = back.filter(|back| !is_known(&back.what)).collect();
            before.extend(back);
            look = self.look(time)?;
            if !applied.outrun {
                let is_done = look.plan.is_empty();
                let convergence = if is_done { applied.convergence } else { Convergence::Retrying };
                return Ok(Made { look, outcomes, convergence });
            }
            if look.plan.is_empty() {
                outcomes.retain(|outcome| outcome.failure.is_none());
                return Ok(Made { look, outcomes, convergence: Convergence::Done });
            }
            if tries == MOST_OUTRUN {
                return Ok(Made { look, outcomes, convergence: Convergence::Retrying });
            }
            tries += 1;
            outcomes.retain(|outcome| outcome.failure.is_none());
            let is_new = |found: &&Difference| before.iter().all(|known| known.what != found.what);
            let new: Vec<Difference> = look.differences.iter().filter(is_new).cloned().collect();
            before.extend(new);
        }
    }

    /// Finds what no account file says, and counts who can do what here.
    fn look_beyond(
        &mut self,
        look: &mut Look,
        ungranted: &mut Vec<Difference>,
        (trigger, touches): (Trigger, &[Touch]),
        clocks: Clocks,
    ) {
        // What is watched says when its answer is another; a scan asks also what is not.
        let asking = match trigger {
            Trigger::Scan | Trigger::Start => Asking::Anew,
            Trigger::Bundle | Trigger::Time | Trigger::Change => Asking::IfChanged,
        };
        let (beyond, sources) = self.beyond(look, asking, touches);
        ungranted.extend(beyond);
        self.count(&look.observed, &sources, clocks.wall.0 / 86_400);
        look.findings.extend(self.keeper.host.unasked().map(|why| Finding {
            kind: FindingKind::Unasked.into(),
            subject: "pam".to_owned(),
            detail: format!("its account check is not asked about single accounts: {why}"),
        }));
        let emergency = &self.keeper.counted.emergency;
        look.findings.extend(emergency.findings());
        ungranted.extend(emergency.differences());
    }

    /// Remembers what a look found, and returns what of it is to be told.
    fn remember(
        &mut self,
        looked: &Looked,
        at: &Circumstances<'_>,
        mut late: Vec<Touch>,
    ) -> Vec<Drift> {
        let memory = self.ledger.drift.clone();
        let drift = self.ledger.drift.take(looked, at);
        if let Some(watch) = &self.keeper.watch {
            let named: Vec<&Culprit> = drift.iter().filter_map(|d| d.culprit.as_ref()).collect();
            late.retain(|touch| touch.culprit.as_ref().is_some_and(|who| named.contains(&who)));
            watch.forget(&late);
        }
        // What is held back changes nothing in the file.
        let tellings = self.ledger.drift.tellings.clone();
        self.unsaved |= self.ledger.drift != Memory { tellings, ..memory };
        drift
    }

    /// Reports what is new, and rests if another look at the same would come to the same.
    fn conclude(&mut self, trigger: Trigger, clocks: Clocks, made: Made, drift: Vec<Drift>) {
        let Made { look, outcomes, convergence } = made;
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
        let unsettled = self.keeper.agenda.unsure || self.unsaved || self.ledger.drift.is_watched();
        if trigger == Trigger::Scan
            && !(changed || owed || unsettled)
            && convergence != Convergence::Retrying
        {
            self.keeper.host.remember();
            self.keeper.rest = Some(Rest::begin(clocks, &self.keeper.damaged));
        }
        self.keeper.host.forget();
        if changed || is_awaited || owed {
            let findings = look.findings.into_iter().collect();
            self.report(trigger, outcomes, convergence, findings, drift);
        }
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
