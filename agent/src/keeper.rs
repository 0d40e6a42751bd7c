//! The root process. It waits for its courier, for time to pass and for the next look at the host,
//! and takes a turn of work for each. It has no network; what arrives comes from a courier that it
//! does not believe, and that cannot keep it from looking by talking without end.

mod agenda;
mod allowance;
pub mod console;
mod converge;
mod count;
mod delivery;
mod heartbeat;
mod inquirer;
pub mod leaving;
mod look;
mod pausing;
mod portions;
mod record;
mod rest;
mod told;
mod turn;

use std::{
    collections::{BTreeMap, BTreeSet},
    io,
    path::{Path, PathBuf},
    sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, TryRecvError},
};

use muster_proto::{
    crypto::{BadMachineKey, MachineKey},
    receipt::{Convergence, Finding, Outcome, Trigger},
};

use self::{
    agenda::Agenda, allowance::Allowance, count::Counted, heartbeat::Trusted, inquirer::Inquirer,
    rest::Rest, told::Notes, turn::Turn,
};
use crate::{
    clock::{Clock, Remembered},
    config::{BadConfig, Config},
    door::{Courier, Event},
    drift::{
        What,
        memory::{Rounds, Tellings},
    },
    ends::{Ends, NextDates},
    host::{
        Host, ObserveError,
        notify::Manager,
        probes::News,
        rest::Still,
        state::{self, StateError},
        timer::Timer,
        watch::Watch,
    },
    labels::HostLabels,
    leave,
    ledger::{BadLedger, Ledger},
    pause::Term,
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
    /// The host has left its fleet.
    #[error("this host has left its fleet, so nothing is changed until root lets it join again")]
    Left,
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

/// What the keeper does in one turn.
enum Work {
    /// What has arrived, or the time.
    Event(Event),
    /// More of the spool after this number.
    HandOver(u64),
}

/// What the keeper keeps between two turns of its work; all else lies in its ledger.
#[derive(Debug)]
pub struct Keeper<H> {
    config: Config,
    /// Why the configuration as it is now in its file was not taken up.
    unusable: Option<String>,
    directory: PathBuf,
    host: H,
    key: MachineKey,
    spool: Spool,
    clock: Clock,
    /// The time as it lies in the ledger's file.
    time_kept: Remembered,
    ends: Ends,
    /// What a heartbeat is judged by; nothing where one has to go by the ledger.
    trusted: Option<Trusted>,
    agenda: Agenda,
    labels: HostLabels,
    /// Below which the files of the labels are.
    root: PathBuf,
    refusal: String,
    findings: BTreeSet<Finding>,
    failed: Vec<Outcome>,
    /// Receipts in the spool that are receipts no more.
    damaged: BTreeSet<u64>,
    courier: Option<Courier>,
    handed: Handed,
    convergence: Convergence,
    refusals: Allowance,
    /// The same for bundles that say nothing new.
    repeats: Allowance,
    /// A ledger that could not be written, so that its file is behind: what it ends is ended all the
    /// same, and it is tried again.
    unwritten: Option<Ledger>,
    /// Why the ledger or a receipt could not be written the last time.
    unwritable: Option<String>,
    /// What was done and could not be put into a receipt yet.
    untold: Vec<Outcome>,
    /// What others on this host can read.
    notes: Notes,
    /// What was told of the accounts here.
    counted: Counted,
    /// Repairs that may have to be made again.
    rounds: BTreeMap<What, Rounds>,
    /// What may not be told again yet.
    tellings: Tellings,
    /// What is watched between two looks; nothing where the kernel does not let it.
    watch: Option<Watch>,
    /// What is not watched, and why.
    unwatched: Vec<(String, String)>,
    /// Since the last look nothing is known to have changed.
    rest: Option<Rest>,
    /// When the pause ends that the ledger tells of; nothing if there is none.
    term: Option<Term>,
    inquirer: Inquirer,
}

/// What the courier has been handed of the spool. Receipts go in their order: a new one waits in the
/// spool until those before it have gone, or the controller would find a gap.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Handed {
    /// There is none, or it has not asked yet.
    Nothing,
    /// All up to this number; the others are due.
    Until(u64),
    /// All there are: what is new follows at once.
    All,
}

/// Reads the ledger, or says that this host has none.
pub fn load_ledger(directory: &Path) -> Result<Ledger, KeeperError> {
    let path = directory.join("ledger");
    let bytes = state::read(&path)?.ok_or(KeeperError::NoLedger(path))?;
    Ok(Ledger::decode(&bytes)?)
}

impl<H: Host> Keeper<H> {
    /// Opens what the keeper must not forget, unless the host has left.
    pub fn open(config: Config, directory: &Path, host: H) -> Result<Self, KeeperError> {
        if leave::has_left(directory)? {
            return Err(KeeperError::Left);
        }
        Self::open_whole(config, directory, host)
    }

    fn open_whole(config: Config, directory: &Path, host: H) -> Result<Self, KeeperError> {
        let ledger = load_ledger(directory)?;
        let path = directory.join("key.der");
        let key = state::read(&path)?.ok_or(KeeperError::NoLedger(path))?;
        let clocks = host.clocks();
        Ok(Self {
            clock: Clock::restored(ledger.time, clocks),
            time_kept: ledger.time,
            ends: Ends { ended: ledger.passed, ..Ends::default() },
            trusted: None,
            agenda: Agenda { looked: clocks.boot, dates: NextDates::default(), unsure: false },
            spool: Spool::open(directory)?,
            key: MachineKey::from_pkcs8(&key)?,
            directory: directory.to_owned(),
            config,
            unusable: None,
            host,
            labels: HostLabels::load(Path::new("/"))?,
            root: PathBuf::from("/"),
            refusal: String::new(),
            findings: BTreeSet::new(),
            failed: Vec::new(),
            damaged: BTreeSet::new(),
            courier: None,
            handed: Handed::Nothing,
            convergence: Convergence::Done,
            refusals: Allowance::new(clocks.boot),
            repeats: Allowance::new(clocks.boot),
            unwritten: None,
            unwritable: None,
            untold: Vec::new(),
            notes: Notes::default(),
            counted: Counted::default(),
            rounds: BTreeMap::new(),
            tellings: Tellings::default(),
            watch: None,
            unwatched: Vec::new(),
            rest: None,
            term: ledger.pause.as_ref().map(|pause| Term::restored(pause, clocks.boot)),
            inquirer: Inquirer::default(),
        })
    }

    /// Has the labels read below another root from now on.
    pub fn read_labels_in(&mut self, root: &Path) {
        root.clone_into(&mut self.root);
    }

    /// Has changes told by a watch.
    pub fn watch(&mut self, watch: Watch) {
        self.watch = Some(watch);
    }

    /// Has sudo and PAM asked; what they say comes as an event.
    pub fn bring_answers_to(&mut self, events: SyncSender<Event>) {
        self.inquirer = Inquirer::answering_to(events);
    }

    /// Says in each report why changes are found only by the scan now and then.
    pub fn cannot_watch(&mut self, reason: String) {
        self.unwatched = vec![("/".to_owned(), reason)];
    }

    /// Works until the door closes for good. The manager hears before and after each piece of work
    /// that it goes on, and while there is none; from one that hangs it hears nothing.
    pub fn run(
        &mut self,
        events: &Receiver<Event>,
        timer: &Timer,
        manager: &mut Manager,
    ) -> Result<(), KeeperError> {
        manager.alive();
        self.begin()?;
        let mut just_looked = true;
        loop {
            manager.alive();
            let (wait, trigger) = self.next_look();
            let Some(work) = self.next_work(wait, just_looked, events, timer, manager)? else {
                return Ok(());
            };
            manager.alive();
            just_looked = matches!(work, Work::Event(Event::Time | Event::Changed));
            match work {
                Work::Event(event) => self.take_up(event, trigger, manager)?,
                Work::HandOver(after) => self.turn(|turn| turn.hand_over(after))?,
            }
        }
    }

    /// Looks for the first time, which is always told.
    pub fn begin(&mut self) -> Result<(), KeeperError> {
        self.turn(|turn| turn.converge(Trigger::Start))
    }

    /// Does what an event asks for. When the time has come, it is for the reason that
    /// [`Keeper::next_look`] gave.
    pub fn take_up(
        &mut self,
        event: Event,
        trigger: Trigger,
        manager: &mut Manager,
    ) -> Result<(), KeeperError> {
        match event {
            Event::Came(courier) => {
                self.courier = Some(courier);
                self.handed = Handed::Nothing;
                Ok(())
            }
            Event::Watch(after) => self.turn(|turn| turn.welcome(after)),
            Event::Deliver(bytes) => self.receive(&bytes),
            Event::Time if self.passes(trigger) == Still::AsItWas => Ok(()),
            Event::Time => self.turn(|turn| {
                turn.load_labels();
                turn.converge(trigger)
            }),
            Event::Changed => self.turn(|turn| turn.converge(Trigger::Change)),
            Event::Ordered(ordered) => self.obey(&ordered),
            Event::Answered(answers) => match self.host.hear(answers) {
                News::None => Ok(()),
                News::Some => self.turn(|turn| turn.converge(Trigger::Change)),
            },
            Event::Configured(read) => {
                manager.reloading();
                let owed = self.owed()?;
                self.configure(*read);
                manager.ready();
                self.turn(|turn| {
                    turn.load_labels();
                    turn.tell_standing();
                    turn.note_newly_owed(&owed)?;
                    turn.converge(Trigger::Start)
                })
            }
        }
    }

    /// Returns what to do next: a look that is due, then what has arrived, then the rest of the
    /// spool; nothing once nobody can come any more. After a look one that has arrived is taken
    /// first: looks that are always due, since somebody's processes do not end, must not make the
    /// keeper deaf.
    fn next_work(
        &self,
        wait: u64,
        just_looked: bool,
        events: &Receiver<Event>,
        timer: &Timer,
        manager: &mut Manager,
    ) -> Result<Option<Work>, KeeperError> {
        if wait == 0 && !just_looked {
            return Ok(Some(Work::Event(Event::Time)));
        }
        if !just_looked && self.watch.as_ref().is_some_and(Watch::is_touched) {
            return Ok(Some(Work::Event(Event::Changed)));
        }
        let waiting = match self.handed {
            Handed::Until(number) => Some(number),
            Handed::Nothing | Handed::All => None,
        };
        if wait == 0 || waiting.is_some() {
            return Ok(match (events.try_recv(), waiting) {
                (Ok(event), _) => Some(Work::Event(event)),
                (Err(TryRecvError::Disconnected), _) => None,
                (Err(TryRecvError::Empty), Some(after)) if wait > 0 => Some(Work::HandOver(after)),
                (Err(TryRecvError::Empty), _) => Some(Work::Event(Event::Time)),
            });
        }
        timer.set(wait)?;
        Ok(idle(events, manager).map(Work::Event))
    }

    /// Takes up a configuration that can be used. One that cannot is kept out of force, whole, and
    /// told as long as it stands there.
    fn configure(&mut self, read: Result<Config, BadConfig>) {
        match read {
            Ok(config) => {
                tracing::info!(mode = ?config.policy.mode, "configuration read anew");
                self.config = config;
                self.unusable = None;
            }
            Err(error) => {
                let reason = error.in_one_line();
                tracing::error!(error = %reason, "the configuration stays as it was");
                self.unusable = Some(reason);
            }
        }
    }

    fn turn(
        &mut self,
        work: impl FnOnce(&mut Turn<'_, H>) -> Result<(), KeeperError>,
    ) -> Result<(), KeeperError> {
        if let Some(courier) = &mut self.courier {
            courier.begin_turn();
        }
        let mut turn = Turn::begin(self)?;
        let worked = work(&mut turn);
        turn.end();
        worked
    }

    fn tell(&mut self, message: &[u8]) {
        if let Some(courier) = &mut self.courier
            && courier.send(message).is_err()
        {
            self.courier = None;
            self.handed = Handed::Nothing;
        }
    }
}

/// Waits for an event, and says meanwhile that waiting is all there is to do.
fn idle(events: &Receiver<Event>, manager: &mut Manager) -> Option<Event> {
    let Some(pulse) = manager.pulse() else { return events.recv().ok() };
    loop {
        match events.recv_timeout(pulse) {
            Ok(event) => return Some(event),
            Err(RecvTimeoutError::Timeout) => manager.alive(),
            Err(RecvTimeoutError::Disconnected) => return None,
        }
    }
}
