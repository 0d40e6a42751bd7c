//! The life of some accounts by a clock of the test's own. It is the keeper that runs on every host,
//! with the ledger in its file and bundles that are signed; only the accounts are in memory, and
//! nobody waits.

use std::{
    cell::RefCell,
    collections::BTreeSet,
    path::{Path, PathBuf},
    rc::Rc,
};

use muster_agent::{
    clock::{Clocks, Told},
    config::{self, Config},
    door::Event,
    drift::{
        Difference, Touch,
        effect::{Asking, Expected},
    },
    host::{Host, ObserveError, Report, notify::Manager, rest::Still, state},
    inventory::{Other, Sources},
    keeper::{Keeper, leaving::Leaving},
    leave,
    ledger::Ledger,
    observed::{ObservedState, Scope},
    plan::{Action, leave::Created},
    receipt::Spool,
};
use muster_proto::{
    bundle::Bundle,
    crypto::sha256,
    envelope::{Document, Envelope, Verified},
    link::Checkpoint,
    receipt::{HostMode, Receipt},
    statement::Content,
    time::Timestamp,
    trust,
};

use crate::{
    fake::Fake,
    fleet::{
        contents::{assignment, log_head, role, user},
        host::Host as Twin,
        keys::{machine, machine_pkcs8},
        world::{START, Shape, World, id},
    },
    world::tempdir,
};

/// When every life begins, by a clock that nobody touches.
pub const BORN: u64 = START.0;
pub const HOST: &str = "db1";
/// The file in which others can read signed time.
pub const TOLD: &str = "told";

/// The machine, which outlives each keeper.
pub struct Machine(Rc<RefCell<Fake>>);

impl Host for Machine {
    fn clocks(&self) -> Clocks {
        self.0.borrow().clocks
    }

    fn observe(&mut self, scope: &Scope) -> Result<ObservedState, ObserveError> {
        self.0.borrow_mut().observe(scope)
    }

    fn sources(&mut self, observed: &ObservedState, others: &[Other]) -> Sources {
        self.0.borrow_mut().sources(observed, others)
    }

    fn effects(
        &mut self,
        observed: &ObservedState,
        expected: &Expected<'_>,
        asking: Asking,
    ) -> Vec<Difference> {
        self.0.borrow_mut().effects(observed, expected, asking)
    }

    fn heard_after(&self) -> Vec<Touch> {
        self.0.borrow().heard_after()
    }

    fn remember(&mut self) {
        self.0.borrow_mut().remember();
    }

    fn forget(&mut self) {
        self.0.borrow_mut().forget();
    }

    fn still(&mut self) -> Still {
        self.0.borrow_mut().still()
    }

    fn prepare(&mut self, actions: &[&Action]) {
        self.0.borrow_mut().prepare(actions);
    }

    fn perform(&mut self, action: &Action) -> Report {
        self.0.borrow_mut().perform(action)
    }

    fn settle(&mut self) {
        self.0.borrow_mut().settle();
    }
}

/// A host that has joined, and its clocks, which a test may push about.
pub struct Life {
    /// The time that it is.
    pub now: u64,
    pub booted: u64,
    /// What the wall clock says beside that.
    pub wall: i64,
    pub fleet: World,
    pub twin: Twin,
    pub directory: tempfile::TempDir,
    pub machine: Rc<RefCell<Fake>>,
    pub keeper: Keeper<Machine>,
    /// What its configuration says beside what a new one says.
    pub more: &'static str,
    pub manager: Manager,
    /// Who can log in, each time that this has changed, in seconds since the birth.
    pub seen: Vec<(u64, String)>,
}

/// Says that somebody may log in, and between which dates, in seconds since the birth.
pub fn somebody(number: u32, login: &str, dates: [Option<u64>; 2]) -> [(String, Content); 2] {
    let [from, until] = dates.map(|date| date.map(|seconds| Timestamp(BORN + seconds)));
    let named = format!("{login}-as-guest");
    let mut assigned = assignment(&named, login, "guest", "all");
    let Content::Assignment(assignment) = &mut assigned else { panic!("no assignment") };
    (assignment.from, assignment.until) = (from, until);
    let person = user(login, 10_001 + number, &[&format!("{login} key")], &[]);
    [(login.to_owned(), person), (named, assigned)]
}

/// Says that somebody is there between her own dates, and may log in whenever she is.
pub fn somebody_with_dates(
    number: u32,
    login: &str,
    dates: [Option<u64>; 2],
) -> [(String, Content); 2] {
    let [(login, mut person), assigned] = somebody(number, login, [None, None]);
    let Content::User(user) = &mut person else { panic!("no user") };
    let [starts, ends] = dates.map(|date| date.map(|seconds| Timestamp(BORN + seconds)));
    (user.starts, user.ends) = (starts, ends);
    [(login, person), assigned]
}

fn configured(more: &str) -> Config {
    let text = config::initial(HostMode::Enforce, &["eve".to_owned()]) + more;
    Config::parse(&text, Path::new(config::PATH)).unwrap()
}

pub fn open(directory: &Path, machine: &Rc<RefCell<Fake>>, more: &str) -> Keeper<Machine> {
    let machine = Machine(Rc::clone(machine));
    let mut keeper = Keeper::open(configured(more), directory, machine).unwrap();
    keeper.tell_time_in(&directory.join(TOLD));
    keeper
}

impl Life {
    /// Begins with people of these logins and dates, in seconds from now, and with clocks that agree.
    pub fn of(people: &[(&str, [Option<u64>; 2])]) -> Self {
        Self::configured(people, "")
    }

    /// Does the same with more in the configuration.
    pub fn configured(people: &[(&str, [Option<u64>; 2])], more: &'static str) -> Self {
        let numbered = (0..).zip(people);
        let said = numbered.flat_map(|(number, (login, dates))| somebody(number, login, *dates));
        Self::with(said, more)
    }

    /// Begins with what is said here of people.
    pub fn with(said: impl Iterator<Item = (String, Content)>, more: &'static str) -> Self {
        let mut fleet = World::new(Shape::One);
        fleet.time = Timestamp(BORN - 60);
        let said = said.chain([("guest".to_owned(), role("guest", &[]))]);
        fleet.publish(said.map(|(name, content)| (id(&name), content)).collect());
        let twin = Twin::new(&fleet, HOST);

        let directory = tempdir();
        let ledger =
            Ledger::begin(twin.id, fleet.lineage(), fleet.trust_roots.clone(), None).unwrap();
        let put = |name: &str, bytes: &[u8]| {
            state::replace(&directory.path().join(name), bytes, 0o600).unwrap();
        };
        put("ledger", &ledger.encode());
        put("key.der", &machine_pkcs8(HOST));
        let mut fake = Fake::new();
        fake.clocks = Clocks { wall: Timestamp(BORN), boot: 0 };
        let machine = Rc::new(RefCell::new(fake));
        let mut keeper = open(directory.path(), &machine, more);
        keeper.begin().unwrap();
        let mut life = Self {
            now: BORN,
            booted: BORN,
            wall: 0,
            fleet,
            twin,
            directory,
            machine,
            keeper,
            more,
            manager: Manager::from_environment(),
            seen: Vec::new(),
        };
        life.bring_newest();
        life
    }

    /// Brings what a controller sends after a change.
    pub fn bring_newest(&mut self) {
        let bundle = self.fleet.bundle(&self.twin);
        self.twin.take(&bundle).unwrap();
        self.bring(&bundle);
    }

    pub fn bring(&mut self, bundle: &Bundle) {
        self.does(Event::Deliver(bundle.encode()));
    }

    /// Sets the machine's clocks to the time that it is.
    pub fn tick(&self) {
        let wall = Timestamp(self.now.saturating_add_signed(self.wall));
        self.machine.borrow_mut().clocks = Clocks { wall, boot: self.now - self.booted };
    }

    /// Lets the keeper do what happens, and whatever is due at once after it.
    pub fn does(&mut self, event: Event) {
        let (_, trigger) = self.keeper.next_look();
        self.tick();
        self.keeper.take_up(event, trigger, &mut self.manager).unwrap();
        self.settle();
    }

    /// Has the keeper read another configuration.
    pub fn configure(&mut self, text: &str) {
        self.does(Event::Configured(Box::new(Config::parse(text, Path::new(config::PATH)))));
    }

    pub fn settle(&mut self) {
        for _ in 0..3 {
            let (0, trigger) = self.keeper.next_look() else { break };
            self.keeper.take_up(Event::Time, trigger, &mut self.manager).unwrap();
        }
        let logins = self.machine.borrow().keyed().join(" ");
        if self.seen.last().map(|(_, before)| before) != Some(&logins) {
            self.seen.push((self.now - BORN, logins));
        }
    }

    /// Lets time pass as far as this many seconds after the birth, with a look whenever one is due.
    pub fn until(&mut self, seconds: u64) {
        loop {
            let (wait, _) = self.keeper.next_look();
            if self.now + wait > BORN + seconds {
                break;
            }
            self.now += wait;
            self.does(Event::Time);
        }
        self.now = BORN + seconds;
        self.tick();
    }

    /// Lets the machine sleep, which its boot clock counts. It is woken by nobody.
    pub fn sleep_until(&mut self, seconds: u64) {
        self.now = BORN + seconds;
        self.does(Event::Time);
    }

    /// Sets the wall clock this far from the right time, which the keeper is woken by.
    pub fn set_wall(&mut self, beside: i64) {
        self.wall = beside;
        self.does(Event::Time);
    }

    /// Brings a checkpoint that was made this many seconds from now.
    pub fn hear(&mut self, ahead: u64) {
        let heartbeat = self.heartbeat(ahead);
        self.bring(&heartbeat);
    }

    /// Returns a bundle with nothing but such a checkpoint.
    pub fn heartbeat(&self, ahead: u64) -> Bundle {
        let checkpoint = Checkpoint {
            lineage: self.fleet.lineage(),
            time: Timestamp(self.now + ahead),
            link: self.fleet.chain.newest(),
            revocations: 0,
            revocations_digest: sha256(&[]),
            log: log_head(),
        };
        let checkpoint = Some(Envelope::sign(&checkpoint, &self.fleet.online));
        Bundle { checkpoint, ..Bundle::empty(self.twin.id) }
    }

    /// Starts the machine anew after it was off for so many seconds, with a wall clock that says
    /// something else. What lies in the ledger's file is all that the next keeper knows.
    pub fn reboot(&mut self, off: u64, wall: i64) {
        self.now += off;
        (self.booted, self.wall) = (self.now, wall);
        self.tick();
        // It lies where nothing outlives a reboot.
        state::remove(&self.directory.path().join(TOLD)).unwrap();
        self.keeper = open(self.directory.path(), &self.machine, self.more);
        self.keeper.begin().unwrap();
        self.settle();
    }

    /// Leaves the fleet and joins it again, as what it was.
    pub fn leave_and_join(&mut self) {
        let (directory, machine) = (self.directory.path(), Machine(Rc::clone(&self.machine)));
        let config = configured(self.more);
        let leaving = Leaving::look(config, directory, machine, Created::Stay).unwrap();
        leaving.leave().unwrap();
        leave::unmark(directory).unwrap();
        self.keeper = open(directory, &self.machine, self.more);
        self.keeper.begin().unwrap();
        self.settle();
    }

    /// Returns where a file of the keeper's is.
    pub fn file(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// Returns the ledger as it lies on disk.
    pub fn ledger(&self) -> Ledger {
        let bytes = state::read(&self.file("ledger")).unwrap();
        Ledger::decode(&bytes.unwrap()).unwrap()
    }

    /// Returns what time it is by what the keeper has told others; nothing before it has told any.
    pub fn told(&self) -> Option<u64> {
        let bytes = state::read(&self.directory.path().join(TOLD)).unwrap()?;
        let told = Told::parse(&String::from_utf8(bytes).unwrap()).unwrap();
        let told = told.carried(self.machine.borrow().clocks);
        Some(told.sworn.max(told.said).0)
    }

    /// Returns the newest receipt.
    pub fn newest(&self) -> Receipt {
        let spool = Spool::open(self.directory.path()).unwrap();
        let newest = spool.numbers().unwrap().into_iter().max().unwrap();
        let envelope = Envelope::decode(&spool.read(newest).unwrap().unwrap()).unwrap();
        let key = machine(HOST).public();
        let receipt: Verified<Receipt> = trust::verify_by_host(&envelope, key).unwrap();
        receipt.into_inner()
    }

    /// Starts the keeper anew while the machine goes on.
    pub fn restart(&mut self) {
        self.keeper = open(self.directory.path(), &self.machine, self.more);
        self.keeper.begin().unwrap();
        self.settle();
    }

    /// Whose ends wait for a clock to be sure, by the newest receipt.
    pub fn waiting(&self) -> BTreeSet<String> {
        let receipt = self.newest();
        let found = receipt.findings.iter().filter(|f| f.kind.as_str() == "clock-stepped");
        found.map(|finding| finding.subject.clone()).collect()
    }

    #[track_caller]
    pub fn assert_seen(&self, seen: &[(u64, &str)]) {
        let found: Vec<_> = self.seen.iter().map(|(at, who)| (*at, who.as_str())).collect();
        assert_eq!(found, seen);
    }
}
