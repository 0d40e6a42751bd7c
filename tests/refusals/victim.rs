//! A host with the keeper's unit, joined to a fleet that exists in this process alone, and the
//! courier that holds the other end of its socket.

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::time::Duration;

use muster_agent::{
    channel::{self, SOCKET},
    config, host,
    labels::DIRECTORY as LABELS,
    ledger::Ledger,
};
use muster_proto::{
    bundle::{Bundle, Floor},
    crypto::MachinePublicKey,
    envelope::{Document, Envelope, Verified},
    id::Digest,
    link::LinkRef,
    receipt::{Finding, FindingKind, HostMode, Receipt, Trigger},
    trust,
    wire::{self, FromKeeper, ToKeeper, from_keeper, to_keeper},
};
use muster_tests::{Host, Lab, Package, wait};
use prost::Message;

use crate::{
    host::Host as Twin,
    keys::{machine, machine_pkcs8},
    world::World,
};

/// Long enough for a host that shares the machine with many.
const PATIENCE: Duration = Duration::from_mins(1);

/// An account on every host that is not Muster's, and that Muster is told never to touch.
pub const BREAK_GLASS: (&str, u32) = ("rescue", 10_050);
/// Another one, of which Muster is told nothing.
pub const NATIVE: (&str, u32) = ("native", 10_060);

const STATE: &str = "/var/lib/muster-agent";
const UNIT: &str = "muster-agent.service";

/// A host, and what it should come to.
pub struct Victim {
    machine: Host,
    key: MachinePublicKey,
    courier: UnixStream,
    /// The same host in this process, to build honest bundles for and to judge bad ones by.
    pub twin: Twin,
    newest: Option<(u64, Digest)>,
    refusal: String,
}

/// What the keeper said to one message.
struct Answer {
    standing: wire::Standing,
    receipts: Vec<Verified<Receipt>>,
}

impl Victim {
    /// Lays down what `join` would, with the floor that the token pins, and starts the keeper.
    pub fn join(lab: &Lab, name: &str, world: &World, floor: Option<LinkRef>) -> Self {
        let machine_key = machine(name).public();
        let mut twin = Twin::new(world, name);
        twin.floor = floor.map(|link| Floor { trust_version: 1, link });
        let roots = world.trust_roots[..1].to_vec();
        let ledger = Ledger::begin(twin.id, world.lineage(), roots, floor).unwrap();
        let host = lab.host(name).clone();
        install(&host);
        let place = |path: &str, bytes: &[u8], mode| host.write(path, bytes, mode).unwrap();
        for (login, uid) in [BREAK_GLASS, NATIVE] {
            host.run_ok(&["useradd", "--uid", &uid.to_string(), login]).unwrap();
        }
        let to_root = ["usermod", "--groups", "sudo", "--password", "$6$rescue$hash"];
        host.run_ok(&[to_root.as_slice(), &[BREAK_GLASS.0]].concat()).unwrap();
        let config = config::initial(HostMode::Enforce, &[BREAK_GLASS.0.to_owned()]);
        place(config::PATH, config.as_bytes(), 0o644);
        place(&format!("{LABELS}/lab"), b"env=prod\n", 0o644);
        place(&format!("{STATE}/keeper/key.der"), &machine_pkcs8(name), 0o600);
        place(&format!("{STATE}/keeper/ledger"), &ledger.encode(), 0o600);
        let started = host.run(&["systemctl", "start", UNIT]).unwrap();
        assert!(started.success(), "{started}\n{}", host.journal(UNIT).unwrap());
        let courier = host.connect(SOCKET).unwrap();
        courier.set_read_timeout(Some(PATIENCE)).unwrap();
        let (newest, refusal) = (None, String::new());
        let mut victim = Self { machine: host, key: machine_key, courier, twin, newest, refusal };
        let start = victim.say(to_keeper::Message::WatchSpoolAfter(0));
        assert_eq!(start.standing.mode(), wire::HostMode::Enforce);
        let triggers: Vec<Trigger> = start.receipts.iter().map(|r| r.trigger).collect();
        assert_eq!(triggers, [Trigger::Start]);
        victim
    }

    /// Brings a good bundle, which the host takes, and returns the receipt for it.
    pub fn take(&mut self, bundle: &Bundle) -> Receipt {
        self.twin.take(bundle).unwrap();
        let answer = self.bring(&bundle.encode());
        assert_eq!(answer.standing.refusal, "");
        self.refusal.clear();
        let [receipt] = &answer.receipts[..] else { panic!("not one receipt for a good bundle") };
        assert_eq!(receipt.trigger, Trigger::Bundle);
        assert_eq!(receipt.floor, self.twin.floor.map(|floor| floor.link));
        Receipt::clone(receipt)
    }

    /// Brings a bundle of which something is set aside, and returns why, and the receipt for the
    /// rest of it.
    pub fn takes_in_part(&mut self, bundle: &Bundle) -> (String, Receipt) {
        let bytes = bundle.encode();
        let aside = self.twin.verify(&bytes).unwrap().set_aside;
        let reason = host::chain(aside.first().unwrap());
        self.twin.take(bundle).unwrap();
        let answer = self.bring(&bytes);
        assert_eq!(answer.standing.refusal, reason);
        self.refusal.clone_from(&reason);
        let [done, refused] = &answer.receipts[..] else {
            panic!("not two: {:?}", answer.receipts)
        };
        assert!(refused.findings.iter().any(|finding| finding.detail == reason));
        (reason, Receipt::clone(done))
    }

    /// Brings a bundle of which nothing may be taken, and returns why it was refused.
    pub fn refuses(&mut self, bundle: &Bundle) -> String {
        self.refuses_bytes(&bundle.encode())
    }

    /// Brings bytes of which nothing may be taken, and returns why they were refused.
    pub fn refuses_bytes(&mut self, bytes: &[u8]) -> String {
        let reason = host::chain(&self.twin.clone().take_bytes(bytes).unwrap_err());
        let (traces, remembered) = (self.traces(), self.ledger());
        let answer = self.bring(bytes);
        assert_eq!(answer.standing.refusal, reason);
        assert_eq!(self.traces(), traces, "after: {reason}");
        // It remembers that it was asked, and nothing of what it was told.
        let mut ledger = self.ledger();
        ledger.time = remembered.time;
        ledger.receipt = remembered.receipt;
        ledger.evidence.clone_from(&remembered.evidence);
        assert_eq!(ledger.encode(), remembered.encode());
        // What is told again and again is written down once.
        if self.refusal == reason {
            assert!(answer.receipts.is_empty());
            return reason;
        }
        self.refusal.clone_from(&reason);
        let [receipt] = &answer.receipts[..] else { panic!("no receipt for: {reason}") };
        let refused = Finding {
            kind: FindingKind::BundleRefused.into(),
            subject: "bundle".to_owned(),
            detail: reason.clone(),
        };
        assert!(receipt.findings.contains(&refused), "{:?}", receipt.findings);
        assert_eq!((receipt.trigger, &receipt.outcomes), (Trigger::Bundle, &Vec::new()));
        assert_eq!(receipt.floor, ledger.floor_link().and(ledger.floor).map(|floor| floor.link));
        reason
    }

    /// Brings a bundle that is true and gives nothing, and returns what the host says to it.
    pub fn takes_and_gives_nothing(&mut self, bundle: &Bundle) -> Vec<Finding> {
        let traces = self.traces();
        let receipt = self.take(bundle);
        assert_eq!(receipt.outcomes, []);
        assert_eq!(self.traces(), traces);
        receipt.findings
    }

    /// Spoils the newest receipt as it lies in the spool, and starts the keeper again. Returns the
    /// number of that receipt, which the keeper has been asked for in vain.
    pub fn spoil_newest_receipt(&mut self) -> u64 {
        let (number, _) = self.newest.unwrap();
        let path = format!("{STATE}/keeper/spool/{number:020}");
        self.machine.write(&path, b"\xff no receipt", 0o600).unwrap();
        self.machine.run_ok(&["systemctl", "restart", UNIT]).unwrap();
        self.hear_from_the_start(number - 1);
        number
    }

    /// Alters the keeper's memory while it is stopped, and returns the receipt of its start.
    pub fn restart(&mut self, alter: impl FnOnce(&mut Ledger)) -> Receipt {
        self.machine.run_ok(&["systemctl", "stop", UNIT]).unwrap();
        let mut ledger = self.ledger();
        alter(&mut ledger);
        let path = format!("{STATE}/keeper/ledger");
        self.machine.write(&path, &ledger.encode(), 0o600).unwrap();
        self.machine.run_ok(&["systemctl", "start", UNIT]).unwrap();
        let (number, _) = self.newest.unwrap();
        self.hear_from_the_start(number)
    }

    /// Connects to a keeper that has started again, and returns the one receipt after this number.
    fn hear_from_the_start(&mut self, after: u64) -> Receipt {
        self.courier = self.machine.connect(SOCKET).unwrap();
        self.courier.set_read_timeout(Some(PATIENCE)).unwrap();
        let answer = self.say(to_keeper::Message::WatchSpoolAfter(after));
        let [receipt] = &answer.receipts[..] else { panic!("not one: {:?}", answer.receipts) };
        assert_eq!(receipt.trigger, Trigger::Start);
        Receipt::clone(receipt)
    }

    /// Says whether there is such an account that is not shut.
    pub fn has(&self, login: &str) -> bool {
        let shadow = self.machine.run_ok(&["getent", "shadow", login]).unwrap();
        let fields: Vec<&str> = shadow.trim().split(':').collect();
        fields[7].is_empty()
    }

    /// Says whether there is such an account with keys that Muster gave it.
    pub fn gives(&self, login: &str) -> bool {
        let key = format!("/etc/ssh/muster-keys/{login}");
        let there = self.machine.run(&["getent", "passwd", login]).unwrap().success();
        there && self.machine.run(&["test", "-s", &key]).unwrap().success()
    }

    /// Returns what sudo says that somebody may do.
    pub fn sudo_of(&self, login: &str) -> String {
        self.machine.run_ok(&["sudo", "--list", "--other-user", login]).unwrap()
    }

    /// Returns the keeper's memory as it lies on the host.
    pub fn ledger(&self) -> Ledger {
        let bytes = self.machine.read(&format!("{STATE}/keeper/ledger")).unwrap();
        Ledger::decode(&bytes).unwrap()
    }

    /// Returns all accounts and all that gives access: contents, and of each file its inode and
    /// when that was last touched, so that writing the same again would show as well.
    pub fn traces(&self) -> String {
        const SCRIPT: &str = r"
            set -eu
            places='/etc/passwd /etc/shadow /etc/group /etc/gshadow /etc/sudoers /etc/sudoers.d
                    /etc/ssh /home /var/spool/cron'
            find $places -printf '%p %y %i %m %U:%G %s %C@ %l\n' | sort
            find $places -type f -exec sha256sum {} + | sort
            cat /etc/passwd /etc/shadow /etc/group /etc/gshadow
        ";
        self.machine.run_ok(&["sh", "-c", SCRIPT]).unwrap()
    }

    /// Puts copies of the first receipt into the spool until there are so many, and returns their
    /// numbers.
    pub fn lengthen_the_spool(&self, length: u64) -> Vec<u64> {
        let script = format!(
            "set -eu
            cd {STATE}/keeper/spool
            for number in $(seq 1 {length}); do
                name=$(printf %020d $number)
                [ -e $name ] || cp 00000000000000000001 $name
            done
            ls"
        );
        let names = self.machine.run_ok(&["sh", "-c", &script]).unwrap();
        // The keeper hands over none that it does not know to have written.
        let path = format!("{STATE}/keeper/ledger");
        let mut ledger = Ledger::decode(&self.machine.read(&path).unwrap()).unwrap();
        ledger.receipt = ledger.receipt.map(|(_, digest)| (length, digest));
        self.machine.write(&path, &ledger.encode(), 0o600).unwrap();
        names.lines().map(|name| name.parse().unwrap()).collect()
    }

    /// Asks for the whole spool, and returns the numbers of as many receipts, in the order in which
    /// they come.
    pub fn ask_for_the_spool(&mut self, count: usize) -> Vec<u64> {
        let message = ToKeeper { message: Some(to_keeper::Message::WatchSpoolAfter(0)) };
        self.courier.write_all(&channel::frame(&message)).unwrap();
        let mut numbers = Vec::new();
        while numbers.len() < count {
            if let from_keeper::Message::Spool(entry) = self.hear() {
                numbers.push(entry.number);
            }
        }
        numbers
    }

    /// Comes as another courier, and asks for the whole spool only after a command was run on the
    /// host of which there is something to tell. Returns the numbers of all receipts, in the order
    /// in which they come.
    pub fn ask_only_after(&mut self, command: &[&str]) -> Vec<u64> {
        let (newest, _) = self.newest.unwrap();
        self.courier = self.machine.connect(SOCKET).unwrap();
        self.courier.set_read_timeout(Some(PATIENCE)).unwrap();
        self.machine.run_ok(command).unwrap();
        let next = format!("{STATE}/keeper/spool/{:020}", newest + 1);
        wait::until(PATIENCE, "it to be in the spool", || self.machine.look(&next).unwrap())
            .unwrap();
        self.ask_for_the_spool(usize::try_from(newest + 1).unwrap())
    }

    fn bring(&mut self, bytes: &[u8]) -> Answer {
        self.say(to_keeper::Message::Deliver(bytes.to_vec()))
    }

    /// Says something, and listens to all that the keeper says to it.
    fn say(&mut self, message: to_keeper::Message) -> Answer {
        // The keeper does one thing after the other: once it has said where it stands to somebody
        // who asks for no receipts, it has said all that there was to say before.
        for message in [message, to_keeper::Message::WatchSpoolAfter(u64::MAX)] {
            let message = ToKeeper { message: Some(message) };
            self.courier.write_all(&channel::frame(&message)).unwrap();
        }
        let mut receipts = Vec::new();
        let mut standings = 0;
        loop {
            match self.hear() {
                from_keeper::Message::Spool(entry) => receipts.push(self.believe(entry)),
                from_keeper::Message::Standing(_) if standings == 0 => standings += 1,
                from_keeper::Message::Standing(standing) => return Answer { standing, receipts },
            }
        }
    }

    fn hear(&mut self) -> from_keeper::Message {
        let mut head = [0; 4];
        self.courier.read_exact(&mut head).unwrap();
        let mut body = vec![0; channel::body_length(head).unwrap()];
        self.courier.read_exact(&mut body).unwrap();
        FromKeeper::decode(body.as_slice()).unwrap().message.unwrap()
    }

    /// Believes a receipt that the host's own key signs and that continues the one before.
    fn believe(&mut self, entry: wire::SpoolEntry) -> Verified<Receipt> {
        let envelope = Envelope::try_from(entry.receipt.unwrap()).unwrap();
        let receipt: Verified<Receipt> = trust::verify_by_host(&envelope, self.key).unwrap();
        let (number, previous) =
            self.newest.map_or((1, None), |(number, digest)| (number + 1, Some(digest)));
        assert_eq!((receipt.number, receipt.previous), (number, previous));
        assert_eq!((entry.number, receipt.mode), (number, HostMode::Enforce));
        self.newest = Some((number, receipt.digest()));
        receipt
    }
}

/// Installs all of a package that the keeper needs.
fn install(host: &Host) {
    Package::Agent.install(host, &agent()).unwrap();
    let script = format!(
        "set -eu
        install -d -m 0711 {STATE} && install -d -m 0700 {STATE}/keeper
        install -d -m 0700 -o muster-agent {STATE}/courier"
    );
    host.run_ok(&["sh", "-c", &script]).unwrap();
}

/// The agent as it is shipped, if that was built, and otherwise as it is developed.
fn agent() -> PathBuf {
    let this = std::env::current_exe().unwrap();
    let target = this.ancestors().nth(3).unwrap();
    let built = ["x86_64-unknown-linux-musl/agent", "debug"].map(|kind| target.join(kind));
    let agent = built.map(|folder| folder.join("muster-agent")).into_iter().find(|p| p.exists());
    agent.unwrap_or_else(|| panic!("the agent is not built: run `cargo build --workspace` first"))
}
