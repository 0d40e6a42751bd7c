//! The root process: verify → derive → observe → plan → apply → report. The only place that knows
//! the order, and the only one here that asks the clock. It has no network; what arrives comes from
//! a courier that it does not believe.

use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
    sync::mpsc::{Receiver, RecvTimeoutError},
    time::Duration,
};

use muster_proto::{
    bundle::{self, Anchor, BundleRefused, VerifiedBundle},
    crypto::{BadMachineKey, MachineKey},
    derive::{self, Circumstances, Freshness, Statements},
    desired::{Account, DesiredState},
    id::Id,
    receipt::{Convergence, Finding, HostMode, Outcome, Receipt, Trigger},
    selector::Labels,
    statement::Content,
    time::Now,
};

use crate::{
    apply,
    channel::Standing,
    clock::{Clocks, Heard, SignedTime},
    config::Config,
    door::{Courier, Event},
    host::{
        Host, ObserveError, chain, peer,
        state::{self, StateError},
    },
    labels,
    ledger::{BadLedger, Ledger},
    observed::Scope,
    plan::{self, Plan},
    receipt::Spool,
};

/// Why the keeper cannot go on.
#[derive(Debug, thiserror::Error)]
pub enum KeeperError {
    /// The host has not joined, or its memory is gone.
    #[error(
        "`{0}` is missing: this host has not joined, or its memory is lost; nothing is changed \
             until root joins it again"
    )]
    NoLedger(PathBuf),
    /// The ledger is damaged.
    #[error("cannot read the ledger; nothing is changed until it is restored")]
    Ledger(#[from] BadLedger),
    /// The keeper's key is not one.
    #[error("cannot use the keeper's key")]
    Key(#[from] BadMachineKey),
    /// Files of the agent's own.
    #[error(transparent)]
    State(#[from] StateError),
    /// The host could not be looked at.
    #[error("cannot look at this host's accounts")]
    Host(#[from] ObserveError),
}

/// What the keeper works with.
#[derive(Debug)]
pub struct Keeper<H> {
    config: Config,
    directory: PathBuf,
    host: H,
    key: MachineKey,
    ledger: Ledger,
    spool: Spool,
    signed: SignedTime,
    labels: Labels,
    label_findings: Vec<Finding>,
    refusal: String,
    findings: BTreeSet<Finding>,
    failed: Vec<Outcome>,
    courier: Option<Courier>,
    convergence: Convergence,
}

/// What one look at the host came to.
struct Look {
    desired: DesiredState,
    plan: Plan,
    findings: BTreeSet<Finding>,
}

/// Reads the ledger, or says that this host has none.
pub fn load_ledger(directory: &Path) -> Result<Ledger, KeeperError> {
    let path = directory.join("ledger");
    let bytes = state::read(&path)?.ok_or(KeeperError::NoLedger(path))?;
    Ok(Ledger::decode(&bytes)?)
}

impl<H: Host> Keeper<H> {
    /// Opens what the keeper must not forget.
    pub fn open(config: Config, directory: &Path, host: H) -> Result<Self, KeeperError> {
        let ledger = load_ledger(directory)?;
        let path = directory.join("key.der");
        let key = state::read(&path)?.ok_or(KeeperError::NoLedger(path))?;
        let (labels, label_findings) = labels::load(Path::new("/"))?;
        Ok(Self {
            signed: SignedTime::restored(ledger.signed_time, peer::clocks()),
            spool: Spool::open(directory)?,
            key: MachineKey::from_pkcs8(&key)?,
            directory: directory.to_owned(),
            config,
            host,
            ledger,
            labels,
            label_findings,
            refusal: String::new(),
            findings: BTreeSet::new(),
            failed: Vec::new(),
            courier: None,
            convergence: Convergence::Done,
        })
    }

    /// Works until the door closes for good.
    pub fn run(&mut self, events: &Receiver<Event>) -> Result<(), KeeperError> {
        self.converge(Trigger::Start, BTreeSet::new(), true)?;
        loop {
            let clocks = peer::clocks();
            let (wait, trigger) = self.next_look(clocks);
            match events.recv_timeout(wait) {
                Ok(event) => self.handle(event)?,
                Err(RecvTimeoutError::Timeout) => {
                    self.load_labels()?;
                    self.converge(trigger, BTreeSet::new(), false)?;
                }
                Err(RecvTimeoutError::Disconnected) => return Ok(()),
            }
        }
    }

    /// Returns how long nothing has to be looked at, and what will be the reason then.
    fn next_look(&self, clocks: Clocks) -> (Duration, Trigger) {
        let retrying = self.convergence == Convergence::Retrying;
        let seconds = if retrying { RETRY_SECONDS } else { self.config.scan_seconds };
        let scan = (Duration::from_secs(seconds), Trigger::Scan);
        let now = self.signed.now(clocks);
        let Some(next) = derive::next_change(&self.ledger.known(), now) else { return scan };
        // An end is near by the later clock, a start by the earlier one: the sooner look is safe.
        let wait = Duration::from_secs(next.since(now.latest).max(1));
        if wait < scan.0 { (wait, Trigger::Time) } else { scan }
    }

    /// Reads the labels again, and says so if they have changed.
    fn load_labels(&mut self) -> Result<(), KeeperError> {
        let before = std::mem::take(&mut self.labels);
        (self.labels, self.label_findings) = labels::load(Path::new("/"))?;
        if self.labels != before {
            self.tell_standing();
        }
        Ok(())
    }

    fn handle(&mut self, event: Event) -> Result<(), KeeperError> {
        match event {
            Event::Came(courier) => self.courier = Some(courier),
            Event::Watch(after) => {
                self.tell_standing();
                for number in self.spool.numbers()?.into_iter().filter(|n| *n > after) {
                    if let Some(envelope) = self.spool.read(number)? {
                        self.tell_receipt(number, &envelope);
                    }
                }
            }
            Event::Deliver(bytes) => self.deliver(&bytes)?,
        }
        Ok(())
    }

    fn deliver(&mut self, bytes: &[u8]) -> Result<(), KeeperError> {
        self.load_labels()?;
        let known = self.ledger.known_ids();
        let anchor = Anchor {
            host: self.ledger.host,
            trust: self.ledger.trust(),
            floor: self.ledger.floor,
            labels: &self.labels,
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
            && self.ledger.evidence.len() < MAX_EVIDENCE
        {
            self.ledger.evidence.push(bytes.to_vec());
        }
        let finding = Finding {
            kind: "bundle-refused".to_owned(),
            subject: "bundle".to_owned(),
            detail: refusal.clone(),
        };
        let again = self.refusal == refusal;
        self.refusal = refusal;
        self.tell_standing();
        if again {
            return Ok(());
        }
        let mut findings: Vec<Finding> = self.findings.iter().cloned().collect();
        findings.push(finding);
        self.report(Trigger::Bundle, BTreeSet::new(), Vec::new(), self.convergence, findings)
    }

    fn take(&mut self, mut bundle: VerifiedBundle) -> Result<(), KeeperError> {
        let set_aside = std::mem::take(&mut bundle.set_aside);
        let clocks = peer::clocks();
        if let Some(found) = &bundle.link {
            self.signed.believe(found.link.time, clocks);
        }
        let mut too_far = false;
        if let Some(checkpoint) = &bundle.checkpoint {
            too_far = self.signed.hear(checkpoint.time, clocks) == Heard::TooFarAhead;
        }
        if too_far {
            tracing::warn!("checkpoint more than a day ahead of this host's clocks; ignored");
        }
        if let Some(acknowledgement) = &bundle.acknowledgement {
            self.spool.acknowledged(acknowledgement.number)?;
        }
        if !self.refusal.is_empty() && set_aside.is_empty() {
            self.refusal.clear();
            self.tell_standing();
        }
        let news = bundle.link.is_some()
            || !bundle.revocations.is_empty()
            || !bundle.trust_roots.is_empty();
        if !news {
            return Ok(());
        }
        let revocations = self.ledger.take(bundle);
        self.save()?;
        self.converge(Trigger::Bundle, revocations, true)?;
        // One says it for all: whoever sends thousands shall not fill the spool with them.
        if let Some(refused) = set_aside.first() {
            return self.refuse(refused, &[]);
        }
        self.tell_standing();
        Ok(())
    }

    /// Looks at the host and makes it as it should be.
    fn converge(
        &mut self,
        trigger: Trigger,
        revocations: BTreeSet<Id>,
        always_report: bool,
    ) -> Result<(), KeeperError> {
        let clocks = peer::clocks();
        let now = self.signed.now(clocks);
        let mut look = self.look(now)?;
        let mut outcomes = Vec::new();
        let mut convergence = Convergence::Done;
        if !look.plan.is_empty() {
            convergence = Convergence::Observed;
            if self.config.policy.mode == HostMode::Enforce {
                (outcomes, convergence) = self.apply(&look)?;
                look = self.look(now)?;
                if !look.plan.is_empty() {
                    convergence = Convergence::Retrying;
                }
            }
        }
        self.convergence = convergence;
        for outcome in &outcomes {
            log(outcome);
        }
        // What fails again in the same way is told once.
        let (failed, done): (Vec<_>, Vec<_>) =
            outcomes.iter().cloned().partition(|outcome| outcome.failure.is_some());
        let changed = look.findings != self.findings || !done.is_empty() || failed != self.failed;
        self.findings.clone_from(&look.findings);
        self.failed = failed;
        if changed || always_report {
            let findings = look.findings.into_iter().collect();
            self.report(trigger, revocations, outcomes, convergence, findings)?;
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
        let applied = apply::apply(&look.plan, &before, &mut self.host);
        self.ledger.ownership = applied.ownership;
        Ok((applied.outcomes, applied.convergence))
    }

    fn look(&mut self, now: Now) -> Result<Look, KeeperError> {
        let revocations = self.ledger.revocations();
        let circumstances = Circumstances {
            host: self.ledger.host,
            labels: &self.labels,
            revocations: &revocations,
            now,
        };
        let freshness = self.ledger.floor_link().map_or(Freshness::Stale, |link| {
            bundle::freshness(link, self.ledger.trust(), now.latest)
        });
        let refused = &self.config.policy.refused_roles;
        let accepted = |mut statements: Statements| {
            statements.retain(|_, statement| {
                !matches!(&statement.content, Content::Role(role) if refused.contains(&role.name))
            });
            statements
        };
        let grants = derive::believe(
            &accepted(self.ledger.proved()),
            &accepted(self.ledger.known()),
            &self.ledger.held,
            freshness,
            &circumstances,
        );
        let desired = DesiredState::assemble(&grants, &self.ledger.pins);
        self.ledger.held = grants;
        let scope = Scope::of(&desired, &self.ledger.ownership, &self.config.policy);
        let observed = self.host.observe(&scope)?;
        let plan = plan::plan(
            &observed,
            &desired,
            &self.ledger.ownership,
            &self.config.policy,
            now.latest,
        );
        let mut findings: BTreeSet<Finding> = plan.findings.iter().cloned().collect();
        findings.extend(self.label_findings.iter().cloned());
        findings.extend(self.unproved(&circumstances));
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
        revocations: BTreeSet<Id>,
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
            time: peer::clocks().wall,
            floor: self.ledger.floor_link().and(self.ledger.floor).map(|floor| floor.link),
            trust_version: self.ledger.trust().version,
            mode: self.config.policy.mode,
            trigger,
            revocations,
            outcomes,
            convergence,
            findings,
        };
        let (digest, envelope) = self.spool.store(&receipt, &self.key)?;
        self.ledger.receipt = Some((number, digest));
        self.save()?;
        self.tell_receipt(number, &envelope);
        Ok(())
    }

    fn save(&mut self) -> Result<(), KeeperError> {
        self.ledger.signed_time = self.signed.carried(peer::clocks());
        let bytes = self.ledger.encode();
        Ok(state::replace(&self.directory.join("ledger"), &bytes, 0o600)?)
    }

    fn tell_standing(&mut self) {
        let standing = Standing {
            trust_version: self.ledger.trust().version,
            floor: self.ledger.floor_link().and(self.ledger.floor).map(|floor| floor.link),
            labels: self.labels.clone(),
            mode: self.config.policy.mode,
            refusal: self.refusal.clone(),
        };
        self.tell(&standing.message());
    }

    fn tell_receipt(&mut self, number: u64, envelope: &[u8]) {
        if let Some(message) = crate::channel::spool_message(number, envelope) {
            self.tell(&message);
        }
    }

    fn tell(&mut self, message: &[u8]) {
        if let Some(courier) = &mut self.courier
            && courier.send(message).is_err()
        {
            self.courier = None;
        }
    }
}

/// Seconds until what failed is tried again.
const RETRY_SECONDS: u64 = 10;

/// How many contradicting bundles are kept.
const MAX_EVIDENCE: usize = 16;

fn log(outcome: &Outcome) {
    let Outcome { action, subject, detail, failure } = outcome;
    match failure {
        None => tracing::info!(action = %action, subject = %subject, detail = %detail, "done"),
        Some(why) => {
            tracing::error!(action = %action, subject = %subject, error = %why, "failed");
        }
    }
}

/// Says what the keeper would do, for root on the console: nothing is changed.
pub fn preview<H: Host>(
    config: Config,
    directory: &Path,
    host: H,
) -> Result<(Ledger, Plan, Vec<Finding>), KeeperError> {
    let mut keeper = Keeper::open(config, directory, host)?;
    let now = keeper.signed.now(peer::clocks());
    let look = keeper.look(now)?;
    Ok((keeper.ledger, look.plan, look.findings.into_iter().collect()))
}
