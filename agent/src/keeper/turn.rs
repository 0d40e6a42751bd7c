//! One turn of the keeper's work: verify → derive → observe → plan → apply → report, the only place
//! that knows the order. A turn begins by reading the ledger and ends by dropping it, so that a host
//! with a thousand accounts holds none of them in memory while nothing happens.

use std::{collections::BTreeSet, fmt::Write, path::Path};

use muster_proto::{
    bundle::{self, Anchor, Bundle, BundleRefused, VerifiedBundle},
    crypto::sha256,
    derive::{self, Circumstances, Freshness, Statements},
    desired::{Account, DesiredState},
    envelope::Document,
    id::Digest,
    receipt::{Convergence, Finding, HostMode, Outcome, Trigger},
    statement::Content,
    time::Now,
};

use super::{Agenda, Keeper, KeeperError, load_ledger};
use crate::{
    apply::{self, Reach},
    clock::{Heard, Time},
    drift::{self, Difference, Touch, difference, memory::Looked, ungranted::ungranted},
    ends::{self, NextDates},
    host::{Host, chain, clocks},
    ledger::{Ledger, MAX_ONLINE_REVOCATIONS},
    observed::Scope,
    plan::{self, Plan},
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

/// What one look at the host came to.
pub(super) struct Look {
    pub(super) desired: DesiredState,
    pub(super) plan: Plan,
    pub(super) findings: BTreeSet<Finding>,
    /// What the plan would put right, and what of Muster's it would not.
    differences: Vec<Difference>,
    ungranted: Vec<Difference>,
}

impl<'a, H: Host> Turn<'a, H> {
    /// Reads the ledger, or takes up the one that could not be written.
    pub(super) fn begin(keeper: &'a mut Keeper<H>) -> Result<Self, KeeperError> {
        let unwritten = keeper.unwritten.take();
        let unsaved = unwritten.is_some();
        let mut ledger = unwritten.map_or_else(|| load_ledger(&keeper.directory), Ok)?;
        ledger.drift.rounds = std::mem::take(&mut keeper.rounds);
        Ok(Self { keeper, ledger, unsaved })
    }

    /// Writes down what is not written down yet, and remembers what cannot be.
    pub(super) fn end(mut self) {
        self.keeper.rounds = std::mem::take(&mut self.ledger.drift.rounds);
        if self.unsaved && self.save().is_err() {
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
        let mut waiting = self.keeper.spool.numbers()?.into_iter().filter(|n| *n > after);
        self.keeper.handing_over = None;
        for number in waiting.by_ref().take(HANDED_OVER) {
            if let Some(envelope) = self.keeper.spool.read(number)? {
                self.tell_receipt(number, &envelope);
            }
            self.keeper.handing_over = Some(number);
        }
        if waiting.next().is_none() || self.keeper.courier.is_none() {
            self.keeper.handing_over = None;
        }
        Ok(())
    }

    /// Reads the labels again, and says so if they have changed.
    pub(super) fn load_labels(&mut self) {
        if self.keeper.labels.reload(Path::new("/")) {
            self.tell_standing();
        }
    }

    pub(super) fn deliver(&mut self, bytes: &[u8]) -> Result<(), KeeperError> {
        self.load_labels();
        let known = self.ledger.known_ids();
        let anchor = Anchor {
            host: self.ledger.host,
            trust: self.ledger.trust(),
            floor: self.ledger.floor,
            labels: &self.keeper.labels.labels,
            known: &known,
        };
        match bundle::verify(bytes, &anchor) {
            Ok(bundle) => self.take(bundle),
            Err(refused) => {
                self.refuse(&refused, bytes);
                Ok(())
            }
        }
    }

    fn refuse(&mut self, refused: &BundleRefused, bytes: &[u8]) {
        let refusal = chain(refused);
        tracing::warn!(reason = %refusal, "bundle refused");
        if let BundleRefused::Equivocation { .. } = refused
            && let Ok(Bundle { link: Some(link), .. }) = Bundle::decode(bytes)
        {
            self.unsaved |= self.ledger.keep_evidence(link.encode());
        }
        let mut finding = Finding {
            kind: "bundle-refused".to_owned(),
            subject: "bundle".to_owned(),
            detail: refusal.clone(),
        };
        let again = self.keeper.refusal == refusal;
        self.keeper.refusal = refusal;
        self.tell_standing();
        if again {
            return;
        }
        let Some(untold) = self.keeper.refusals.take(clocks::read().boot) else { return };
        if untold > 0 {
            let _ = write!(finding.detail, "; {untold} before it were refused and not reported");
        }
        let mut findings: Vec<Finding> = self.keeper.findings.iter().cloned().collect();
        findings.push(finding);
        self.report(Trigger::Bundle, Vec::new(), self.keeper.convergence, findings, Vec::new());
    }

    fn take(&mut self, mut bundle: VerifiedBundle) -> Result<(), KeeperError> {
        let set_aside = std::mem::take(&mut bundle.set_aside);
        let clocks = clocks::read();
        if let Some(found) = &bundle.link {
            self.keeper.clock.swear(found.link.time, clocks);
        }
        let mut too_far = false;
        if let Some(checkpoint) = &bundle.checkpoint {
            too_far = self.keeper.clock.hear(checkpoint.time, clocks) == Heard::TooFarAhead;
        }
        if too_far {
            tracing::warn!("checkpoint more than a day ahead of this host's clocks; ignored");
        }
        if let Some(acknowledgement) = &bundle.acknowledgement {
            // What cannot be deleted now is when the next one comes.
            if let Err(error) = self.keeper.spool.acknowledged(acknowledgement.number) {
                tracing::warn!(error = %chain(&error), "cannot delete an acknowledged receipt");
            }
            self.keeper.damaged.retain(|number| *number > acknowledgement.number);
        }
        // A heartbeat says nothing of what was refused; a link that is believed does.
        if !self.keeper.refusal.is_empty() && bundle.link.is_some() && set_aside.is_empty() {
            self.keeper.refusal.clear();
            self.tell_standing();
        }
        let news = bundle.link.is_some()
            || !bundle.revocations.is_empty()
            || !bundle.trust_roots.is_empty();
        if !news {
            return Ok(());
        }
        let keys = self.ledger.trust().machine_keys.clone();
        let no_room_for = self.ledger.take(bundle);
        if no_room_for > 0 {
            tracing::error!(revocations = no_room_for, "no room for what the controller revokes");
        }
        if self.ledger.trust().machine_keys != keys {
            self.keeper.clock.forget_said();
        }
        // If it cannot be written, what it takes away goes all the same.
        let _ = self.save();
        self.converge(Trigger::Bundle)?;
        // One says it for all: whoever sends thousands shall not fill the spool with them.
        if let Some(refused) = set_aside.first() {
            self.refuse(refused, &[]);
            return Ok(());
        }
        self.tell_standing();
        Ok(())
    }

    /// Looks at the host and makes it as it should be. A start and a bundle are waited for and so
    /// always answered; other looks have something to say only if something is new.
    pub(super) fn converge(&mut self, trigger: Trigger) -> Result<(), KeeperError> {
        let clocks = clocks::read();
        let time = self.keeper.clock.read(clocks);
        let touches = self.touches();
        let mut look = self.look(&time)?;
        let at = drift::memory::Circumstances {
            wanted: self.wanted(&look.desired),
            mode: self.keeper.config.policy.mode,
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
            if self.ledger.drift.is_contested(&looked.before, &at) {
                convergence = Convergence::Retrying;
            } else if self.keeper.config.policy.mode == HostMode::Enforce {
                (outcomes, convergence) = self.apply(&look);
                look = self.look(&time)?;
                if !look.plan.is_empty() {
                    convergence = Convergence::Retrying;
                }
            }
        }
        looked.after = std::mem::take(&mut look.differences);
        looked.ungranted = std::mem::take(&mut look.ungranted);
        let memory = self.ledger.drift.clone();
        let drift = self.ledger.drift.take(&looked, &at);
        self.unsaved |= self.ledger.drift != memory;
        // Counted from the end: what takes long must leave time for others.
        self.keeper.agenda = Agenda { looked: clocks::read().boot, dates, unsure };
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
            || !self.keeper.untold_drift.is_empty();
        if changed || is_awaited || owed {
            let findings = look.findings.into_iter().collect();
            self.report(trigger, outcomes, convergence, findings, drift);
        }
        Ok(())
    }

    /// Watches what is there by now, and returns who has been at what since the last time.
    fn touches(&mut self) -> Vec<Touch> {
        let Some(watch) = &mut self.keeper.watch else { return Vec::new() };
        self.keeper.unwatched = watch.mark();
        watch.touches()
    }

    /// Returns what is wanted here in one digest: while it stays the same, what differs is drift.
    fn wanted(&self, desired: &DesiredState) -> Digest {
        sha256(&[format!("{desired:?}\n{:?}", self.keeper.config.policy).as_bytes()])
    }

    /// Does a plan. What it will own is saved before anything is done, so that a crash in between
    /// leaves nothing that is taken for somebody else's; what it came to own is saved with the
    /// receipt. If it cannot be saved, access is taken away and none is given: whoever can fill a
    /// disk must not be able to stay.
    fn apply(&mut self, look: &Look) -> (Vec<Outcome>, Convergence) {
        let before = self.ledger.ownership.clone();
        let pins_before = self.ledger.pins.clone();
        let pins = look.desired.accounts.iter();
        let pin = |account: &Account| account.adopts.unwrap_or(account.grant.uid);
        self.ledger.pins.extend(pins.map(|(login, account)| (login.clone(), pin(account))));
        self.ledger.ownership.clone_from(&look.plan.ownership_after);
        let reach = if self.save().is_ok() {
            Reach::Everything
        } else {
            self.ledger.pins = pins_before;
            Reach::TakingAway
        };
        let applied = apply::apply(&look.plan, reach, &before, &mut self.keeper.host);
        self.ledger.ownership = applied.ownership;
        self.unsaved = true;
        (applied.outcomes, applied.convergence)
    }

    pub(super) fn look(&mut self, time: &Time) -> Result<Look, KeeperError> {
        let known = self.ledger.known();
        let share = ends::share(self.ledger.ownership.accounts.len());
        let ends = ends::judge(&known, &self.keeper.ends, time, share);
        let revocations = self.ledger.revocations();
        let circumstances = Circumstances {
            host: self.ledger.host,
            labels: &self.keeper.labels.labels,
            revocations: &revocations,
            // What has ended is told by `ends`, which knows more than a date.
            now: Now { latest: time.sure, earliest: time.now.earliest },
        };
        let freshness = self.ledger.floor_link().map_or(Freshness::Stale, |link| {
            bundle::freshness(link, self.ledger.trust(), time.sure)
        });
        let refused = &self.keeper.config.policy.refused_roles;
        let counting = |mut statements: Statements| {
            statements.retain(|id, statement| {
                let role = matches!(&statement.content, Content::Role(role) if refused.contains(&role.name));
                !role && !ends.has_ended(id, statement)
            });
            statements
        };
        let grants = derive::believe(
            &counting(self.ledger.proved()),
            &counting(known),
            &self.ledger.held,
            freshness,
            &circumstances,
        );
        let mut desired = DesiredState::assemble(&grants, &self.ledger.pins);
        desired.note_ends(&self.ledger.known());
        if self.ledger.held != grants {
            self.ledger.held = grants;
            self.unsaved = true;
        }
        let scope = Scope::of(&desired, &self.ledger.ownership, &self.keeper.config.policy);
        let observed = self.keeper.host.observe(&scope)?;
        let plan = plan::plan(
            &observed,
            &desired,
            &self.ledger.ownership,
            &self.keeper.config.policy.at(time),
            time.sure,
        );
        let mut findings: BTreeSet<Finding> = plan.findings.iter().cloned().collect();
        findings.extend(self.keeper.labels.findings.iter().cloned());
        findings.extend(self.keeper.unusable.iter().map(|reason| Finding {
            kind: "config".to_owned(),
            subject: "agent.toml".to_owned(),
            detail: format!("what holds is what stood there before: {reason}"),
        }));
        findings.extend(self.keeper.damaged.iter().map(|number| Finding {
            kind: "receipt-damaged".to_owned(),
            subject: number.to_string(),
            detail: "it lies in the spool and cannot be read: nobody else will have it".to_owned(),
        }));
        findings.extend(self.keeper.unwatched.iter().map(|(path, why)| Finding {
            kind: "unwatched".to_owned(),
            subject: path.clone(),
            detail: format!("changes are found by the scan now and then only: {why}"),
        }));
        findings.extend(self.unproved(&circumstances));
        findings.extend(ends.findings(time));
        findings.extend(self.no_room());
        self.unsaved |= ends.ended != self.ledger.passed;
        self.ledger.passed.clone_from(&ends.ended);
        self.keeper.ends = ends;
        let differences = difference::differences(&observed, &self.ledger.ownership, &plan);
        let ungranted = ungranted(&observed, &self.ledger.ownership);
        Ok(Look { desired, plan, findings, differences, ungranted })
    }

    /// Says so if no more revocations of the controller's own key are kept here.
    fn no_room(&self) -> Option<Finding> {
        (self.ledger.online_revocations() >= MAX_ONLINE_REVOCATIONS).then(|| Finding {
            kind: "revocations-full".to_owned(),
            subject: "revocations".to_owned(),
            detail: format!(
                "the controller's own key has revoked {MAX_ONLINE_REVOCATIONS} things here: more \
                 count only when an approver signs them"
            ),
        })
    }

    /// Returns the assignments that the present link proves without what they rest on: nothing new
    /// comes of them, and somebody should ask why.
    fn unproved(&self, circumstances: &Circumstances<'_>) -> Vec<Finding> {
        let proved = self.ledger.proved();
        let missing = proved.values().filter_map(|statement| {
            let Content::Assignment(assignment) = &statement.content else { return None };
            let whole =
                proved.contains_key(&assignment.role) && proved.contains_key(&assignment.subject);
            (!whole && assignment.hosts.matches(circumstances.labels)).then(|| Finding {
                kind: "unproved".to_owned(),
                subject: assignment.name.to_string(),
                detail: "its role or subject is not shown under the newest link".to_owned(),
            })
        });
        missing.collect()
    }
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
