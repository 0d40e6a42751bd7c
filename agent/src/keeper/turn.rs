//! One turn of the keeper's work: verify → derive → observe → plan → apply → report, the only place
//! that knows the order. A turn begins by reading the ledger and ends by dropping it, so that a host
//! with a thousand accounts holds none of them in memory while nothing happens.

use std::{collections::BTreeSet, path::Path};

use muster_proto::{
    bundle::{self, Anchor, Bundle, BundleRefused, VerifiedBundle},
    derive::{self, Circumstances, Freshness, Statements},
    desired::{Account, DesiredState},
    envelope::Document,
    receipt::{Convergence, Finding, HostMode, Outcome, Receipt, Standing, Trigger},
    statement::Content,
    time::Now,
};

use super::{Agenda, Keeper, KeeperError, load_ledger};
use crate::{
    apply, channel,
    clock::{Heard, Time},
    ends::{self, NextDates},
    host::{Host, chain, clocks, state},
    ledger::Ledger,
    observed::Scope,
    plan::{self, Plan},
};

/// The keeper with its memory open.
pub(super) struct Turn<'a, H> {
    pub(super) keeper: &'a mut Keeper<H>,
    pub(super) ledger: Ledger,
    /// Whether the ledger says something that its file does not.
    unsaved: bool,
}

/// What one look at the host came to.
pub(super) struct Look {
    pub(super) desired: DesiredState,
    pub(super) plan: Plan,
    pub(super) findings: BTreeSet<Finding>,
}

impl<'a, H: Host> Turn<'a, H> {
    /// Reads the ledger.
    pub(super) fn begin(keeper: &'a mut Keeper<H>) -> Result<Self, KeeperError> {
        let ledger = load_ledger(&keeper.directory)?;
        Ok(Self { keeper, ledger, unsaved: false })
    }

    /// Writes down what is not written down yet.
    pub(super) fn end(mut self) -> Result<(), KeeperError> {
        if self.unsaved { self.save() } else { Ok(()) }
    }

    /// Tells a courier that has come where this host stands, and hands it the receipts after this
    /// number.
    pub(super) fn welcome(&mut self, after: u64) -> Result<(), KeeperError> {
        self.tell_standing();
        for number in self.keeper.spool.numbers()?.into_iter().filter(|n| *n > after) {
            if let Some(envelope) = self.keeper.spool.read(number)? {
                self.tell_receipt(number, &envelope);
            }
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
            Err(refused) => self.refuse(&refused, bytes),
        }
    }

    fn refuse(&mut self, refused: &BundleRefused, bytes: &[u8]) -> Result<(), KeeperError> {
        let refusal = chain(refused);
        tracing::warn!(reason = %refusal, "bundle refused");
        if let BundleRefused::Equivocation { .. } = refused
            && let Ok(Bundle { link: Some(link), .. }) = Bundle::decode(bytes)
        {
            self.unsaved |= self.ledger.keep_evidence(link.encode());
        }
        let finding = Finding {
            kind: "bundle-refused".to_owned(),
            subject: "bundle".to_owned(),
            detail: refusal.clone(),
        };
        let again = self.keeper.refusal == refusal;
        self.keeper.refusal = refusal;
        self.tell_standing();
        if again {
            return Ok(());
        }
        let mut findings: Vec<Finding> = self.keeper.findings.iter().cloned().collect();
        findings.push(finding);
        self.report(Trigger::Bundle, Vec::new(), self.keeper.convergence, findings)
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
            self.keeper.spool.acknowledged(acknowledgement.number)?;
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
        self.ledger.take(bundle);
        if self.ledger.trust().machine_keys != keys {
            self.keeper.clock.forget_said();
        }
        self.save()?;
        self.converge(Trigger::Bundle)?;
        // One says it for all: whoever sends thousands shall not fill the spool with them.
        if let Some(refused) = set_aside.first() {
            return self.refuse(refused, &[]);
        }
        self.tell_standing();
        Ok(())
    }

    /// Looks at the host and makes it as it should be. A start and a bundle are waited for and so
    /// always answered; other looks have something to say only if something is new.
    pub(super) fn converge(&mut self, trigger: Trigger) -> Result<(), KeeperError> {
        let clocks = clocks::read();
        let time = self.keeper.clock.read(clocks);
        let mut look = self.look(&time)?;
        self.keeper.agenda = Agenda {
            looked: clocks.boot,
            dates: NextDates::after(self.ledger.statements(), time.now),
            unsure: !self.keeper.ends.waiting.is_empty(),
        };
        let mut outcomes = Vec::new();
        let mut convergence = Convergence::Done;
        if !look.plan.is_empty() {
            convergence = Convergence::Observed;
            if self.keeper.config.policy.mode == HostMode::Enforce {
                (outcomes, convergence) = self.apply(&look)?;
                look = self.look(&time)?;
                if !look.plan.is_empty() {
                    convergence = Convergence::Retrying;
                }
            }
        }
        self.keeper.convergence = convergence;
        for outcome in &outcomes {
            log(outcome);
        }
        // What fails again in the same way is told once.
        let (failed, done): (Vec<_>, Vec<_>) =
            outcomes.iter().cloned().partition(|outcome| outcome.failure.is_some());
        let changed = look.findings != self.keeper.findings
            || !done.is_empty()
            || failed != self.keeper.failed;
        self.keeper.findings.clone_from(&look.findings);
        self.keeper.failed = failed;
        let is_awaited = matches!(trigger, Trigger::Start | Trigger::Bundle);
        if changed || is_awaited || !self.ledger.unreported.is_empty() {
            let findings = look.findings.into_iter().collect();
            self.report(trigger, outcomes, convergence, findings)?;
        }
        Ok(())
    }

    /// Does a plan. What it will own is saved before anything is done, so that a crash in between
    /// leaves nothing that is taken for somebody else's; what it came to own is saved with the
    /// receipt.
    fn apply(&mut self, look: &Look) -> Result<(Vec<Outcome>, Convergence), KeeperError> {
        let before = self.ledger.ownership.clone();
        let pins = look.desired.accounts.iter();
        let pin = |account: &Account| account.adopts.unwrap_or(account.grant.uid);
        self.ledger.pins.extend(pins.map(|(login, account)| (login.clone(), pin(account))));
        self.ledger.ownership.clone_from(&look.plan.ownership_after);
        self.save()?;
        let applied = apply::apply(&look.plan, &before, &mut self.keeper.host);
        self.ledger.ownership = applied.ownership;
        Ok((applied.outcomes, applied.convergence))
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
        let desired = DesiredState::assemble(&grants, &self.ledger.pins);
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
            &self.keeper.config.policy,
            time.sure,
        );
        let mut findings: BTreeSet<Finding> = plan.findings.iter().cloned().collect();
        findings.extend(self.keeper.labels.findings.iter().cloned());
        findings.extend(self.keeper.damaged.iter().map(|number| Finding {
            kind: "receipt-damaged".to_owned(),
            subject: number.to_string(),
            detail: "it lies in the spool and cannot be read: nobody else will have it".to_owned(),
        }));
        findings.extend(self.unproved(&circumstances));
        findings.extend(ends.findings(time));
        self.unsaved |= ends.ended != self.ledger.passed;
        self.ledger.passed.clone_from(&ends.ended);
        self.keeper.ends = ends;
        Ok(Look { desired, plan, findings })
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

    /// Signs what was done, spools it, and hands it to the courier if there is one.
    fn report(
        &mut self,
        trigger: Trigger,
        outcomes: Vec<Outcome>,
        convergence: Convergence,
        findings: Vec<Finding>,
    ) -> Result<(), KeeperError> {
        let (number, previous) =
            self.ledger.receipt.map_or((1, None), |(number, digest)| (number + 1, Some(digest)));
        let receipt = Receipt {
            lineage: self.ledger.lineage,
            host: self.ledger.host,
            number,
            previous,
            time: clocks::read().wall,
            floor: self.ledger.floor_link().and(self.ledger.floor).map(|floor| floor.link),
            trust_version: self.ledger.trust().version,
            mode: self.keeper.config.policy.mode,
            trigger,
            revocations: std::mem::take(&mut self.ledger.unreported),
            outcomes,
            convergence,
            findings,
        };
        let (digest, envelope) = self.keeper.spool.store(&receipt, &self.keeper.key)?;
        self.ledger.receipt = Some((number, digest));
        self.save()?;
        self.tell_receipt(number, &envelope);
        Ok(())
    }

    fn save(&mut self) -> Result<(), KeeperError> {
        self.ledger.time = self.keeper.clock.remembered(clocks::read());
        let bytes = self.ledger.encode();
        state::replace(&self.keeper.directory.join("ledger"), &bytes, 0o600)?;
        self.unsaved = false;
        Ok(())
    }

    fn tell_standing(&mut self) {
        let standing = Standing {
            trust_version: self.ledger.trust().version,
            floor: self.ledger.floor_link().and(self.ledger.floor).map(|floor| floor.link),
            labels: self.keeper.labels.labels.clone(),
            mode: self.keeper.config.policy.mode,
            agent_version: env!("CARGO_PKG_VERSION").to_owned(),
            refusal: self.keeper.refusal.clone(),
        };
        self.keeper.tell(&channel::standing_message(&standing));
    }

    fn tell_receipt(&mut self, number: u64, envelope: &[u8]) {
        match channel::spool_message(number, envelope) {
            Ok(message) => self.keeper.tell(&message),
            Err(error) => {
                tracing::error!(number, error = %chain(&error), "a receipt in the spool is damaged");
                self.keeper.damaged.insert(number);
            }
        }
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
