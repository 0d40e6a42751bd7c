//! The root process. It waits for its courier, for time to pass and for the next look at the host,
//! and takes a turn of work for each. It has no network; what arrives comes from a courier that it
//! does not believe, and that cannot keep it from looking by talking without end.

mod agenda;
mod turn;

use std::{
    collections::BTreeSet,
    io,
    path::{Path, PathBuf},
    sync::mpsc::Receiver,
};

use muster_proto::{
    crypto::{BadMachineKey, MachineKey},
    receipt::{Convergence, Finding, Outcome, Trigger},
};

use self::{agenda::Agenda, turn::Turn};
use crate::{
    clock::Clock,
    config::Config,
    door::{Courier, Event},
    ends::{Ends, NextDates},
    host::{
        Host, ObserveError, clocks,
        state::{self, StateError},
        timer::Timer,
    },
    labels::HostLabels,
    ledger::{BadLedger, Ledger},
    plan::Plan,
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
    /// The timer.
    #[error("cannot set the timer of the next look")]
    Timer(#[from] io::Error),
}

/// What the keeper keeps between two turns of its work; all else lies in its ledger.
#[derive(Debug)]
pub struct Keeper<H> {
    config: Config,
    directory: PathBuf,
    host: H,
    key: MachineKey,
    spool: Spool,
    clock: Clock,
    ends: Ends,
    agenda: Agenda,
    labels: HostLabels,
    refusal: String,
    findings: BTreeSet<Finding>,
    failed: Vec<Outcome>,
    /// Receipts in the spool that are receipts no more.
    damaged: BTreeSet<u64>,
    courier: Option<Courier>,
    convergence: Convergence,
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
        let clocks = clocks::read();
        Ok(Self {
            clock: Clock::restored(ledger.time, clocks),
            ends: Ends { ended: ledger.passed, ..Ends::default() },
            agenda: Agenda { looked: clocks.boot, dates: NextDates::default(), unsure: false },
            spool: Spool::open(directory)?,
            key: MachineKey::from_pkcs8(&key)?,
            directory: directory.to_owned(),
            config,
            host,
            labels: HostLabels::load(Path::new("/"))?,
            refusal: String::new(),
            findings: BTreeSet::new(),
            failed: Vec::new(),
            damaged: BTreeSet::new(),
            courier: None,
            convergence: Convergence::Done,
        })
    }

    /// Works until the door closes for good.
    pub fn run(&mut self, events: &Receiver<Event>, timer: &Timer) -> Result<(), KeeperError> {
        self.turn(|turn| turn.converge(Trigger::Start))?;
        loop {
            let (wait, trigger) = self.next_look();
            // What is due comes before what has arrived.
            let event = if wait > 0 {
                timer.set(wait)?;
                let Ok(event) = events.recv() else { return Ok(()) };
                event
            } else {
                Event::Time
            };
            match event {
                Event::Came(courier) => self.courier = Some(courier),
                Event::Watch(after) => self.turn(|turn| turn.welcome(after))?,
                Event::Deliver(bytes) => self.turn(|turn| turn.deliver(&bytes))?,
                Event::Time => self.turn(|turn| {
                    turn.load_labels();
                    turn.converge(trigger)
                })?,
            }
        }
    }

    fn next_look(&mut self) -> (u64, Trigger) {
        let clocks = clocks::read();
        let retrying = self.convergence == Convergence::Retrying;
        let every = if retrying { RETRY_SECONDS } else { self.config.scan_seconds };
        self.agenda.wait(every, &self.clock.read(clocks), clocks.boot)
    }

    fn turn(
        &mut self,
        work: impl FnOnce(&mut Turn<'_, H>) -> Result<(), KeeperError>,
    ) -> Result<(), KeeperError> {
        let mut turn = Turn::begin(self)?;
        work(&mut turn)?;
        turn.end()
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

/// Says what the keeper would do, for root on the console: nothing is changed.
pub fn preview<H: Host>(
    config: Config,
    directory: &Path,
    host: H,
) -> Result<(Ledger, Plan, Vec<Finding>), KeeperError> {
    let mut keeper = Keeper::open(config, directory, host)?;
    let time = keeper.clock.read(clocks::read());
    let mut turn = Turn::begin(&mut keeper)?;
    let look = turn.look(&time)?;
    Ok((turn.ledger, look.plan, look.findings.into_iter().collect()))
}
