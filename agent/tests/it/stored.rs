//! What a host has of an earlier release: its ledger, its key and a receipt that waits. The files
//! under `golden/` are what the first release leaves, and are never written again; whatever comes
//! later reads them whole, and goes on from there.
#![expect(
    clippy::disallowed_methods,
    reason = "golden files are accepted by hand, when a variable says so"
)]

use std::{
    cell::RefCell,
    collections::{BTreeMap, BTreeSet},
    fmt::Write as _,
    fs,
    path::PathBuf,
    rc::Rc,
};

use muster_agent::{
    clock::{Clocks, Remembered},
    drift::{
        What,
        memory::Memory,
        open::{Open, Presence},
    },
    format::OldLine,
    host::state,
    ledger::Ledger,
    ownership::{Before, Origin, OwnedAccount, Ownership},
    receipt::Spool,
};
use muster_proto::{
    crypto::sha256,
    drift::{Culprit, DriftKind, Response, Severity},
    envelope::{Document, Envelope},
    id::Id,
    link::Target,
    name::{AbsolutePath, Gid, Uid, UnixGroupName},
    receipt::{Convergence, HostMode, Receipt, Trigger},
    statement::{UnixGroupMode, UserKind},
    time::Timestamp,
    trust::verify_by_host,
};

use crate::{
    fake::Fake,
    fleet::{
        contents::{assignment, group, key, role, unix_group, user},
        host::Host as Twin,
        keys::{machine, machine_pkcs8},
        world::{START, Shape, World, id},
    },
    life::open,
    world::{login, tempdir},
};

const HOST: &str = "db1";
/// The number of the receipt that waits.
const WAITING: u64 = 7;

/// Returns the bytes of a golden file, which is made only if there is none and a variable says so.
fn golden(name: &str, made: impl FnOnce() -> Vec<u8>) -> Vec<u8> {
    let directory = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/it/golden");
    let path = directory.join(format!("{name}.hex"));
    if !path.exists() && std::env::var_os("MUSTER_ACCEPT_GOLDEN").is_some() {
        let mut text = String::new();
        for row in made().chunks(32) {
            for byte in row {
                write!(text, "{byte:02x}").unwrap();
            }
            text.push('\n');
        }
        fs::create_dir_all(&directory).unwrap();
        fs::write(&path, text).unwrap();
    }
    let text = fs::read_to_string(&path).unwrap_or_else(|error| panic!("{name}: {error}"));
    let digits: Vec<u8> = text.bytes().filter(u8::is_ascii_hexdigit).collect();
    let byte = |pair: &[u8]| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap();
    digits.chunks(2).map(byte).collect()
}

fn receipt() -> Envelope {
    let fleet = World::new(Shape::One);
    let receipt = Receipt {
        lineage: fleet.lineage(),
        host: machine(HOST).public().digest(),
        number: WAITING,
        previous: Some(sha256(&[b"the sixth"])),
        time: START,
        floor: None,
        trust_version: 1,
        mode: HostMode::Enforce,
        trigger: Trigger::Scan,
        revocations: BTreeSet::new(),
        outcomes: Vec::new(),
        convergence: Convergence::Done,
        findings: Vec::new(),
        drift: Vec::new(),
        inventory: None,
    };
    Envelope::sign(&receipt, &machine(HOST))
}

fn owned() -> Ownership {
    let created = OwnedAccount {
        uid: Uid::parse(10_001).unwrap(),
        origin: Origin::Created,
        home: Some(AbsolutePath::parse("/home/alice").unwrap()),
        kind: UserKind::Person,
        mode: UnixGroupMode::AtLeast,
        given: BTreeSet::from([UnixGroupName::parse("web").unwrap()]),
        sessions_owed: false,
        locked_at: None,
    };
    let adopted = OwnedAccount {
        uid: Uid::parse(10_003).unwrap(),
        origin: Origin::Adopted(Before {
            passwd: OldLine::kept("cora:x:10003:10003:Cora:/home/cora:/bin/sh"),
            shadow: OldLine::kept("cora:!:20000:0:99999:7:::"),
            unix_groups: BTreeSet::from(["adm".to_owned()]),
        }),
        home: None,
        kind: UserKind::Service,
        mode: UnixGroupMode::Exactly,
        given: BTreeSet::new(),
        sessions_owed: true,
        locked_at: Some(Timestamp(START.0 - 60)),
    };
    Ownership {
        accounts: BTreeMap::from([(login("alice"), created), (login("cora"), adopted)]),
        unix_groups: BTreeMap::from([(
            UnixGroupName::parse("web").unwrap(),
            Gid::parse(20_001).unwrap(),
        )]),
    }
}

fn drift() -> Memory {
    let digest = |word: &str| sha256(&[word.as_bytes()]);
    let open = Open {
        expected: "0440".to_owned(),
        found: "0666".to_owned(),
        severity: Severity::Critical,
        since: START,
        response: Response::Contested,
        culprit: Some(Culprit { pid: 7, login: "ops".to_owned(), ..Culprit::default() }),
        presence: Presence::Stays,
    };
    Memory {
        wanted: Some(digest("wanted")),
        expected: BTreeSet::from([digest("expected")]),
        inherited: BTreeSet::from([digest("inherited")]),
        open: BTreeMap::from([(What::new(DriftKind::SudoForeign, "sudoers.d/x", "mode"), open)]),
        ..Memory::default()
    }
}

/// A ledger with something in everything that one can hold, but for a floor that was given up.
fn ledger() -> Ledger {
    let mut fleet = World::new(Shape::One);
    let person = |login, uid, keys: &[&str], groups: &[&str]| user(login, uid, keys, groups);
    fleet.publish(vec![
        (id("alice"), person("alice", 10_001, &["alice key", "lost key"], &["dba"])),
        (id("bert"), person("bert", 10_002, &["bert key"], &[])),
        (id("dba"), group("dba")),
        (id("admin"), role("admin", &["ALL"])),
        (id("dbas"), assignment("dbas", "dba", "admin", "all")),
        (id("bert-as-admin"), assignment("bert-as-admin", "bert", "admin", "all")),
    ]);
    fleet.rotate(|_| {});
    fleet.publish(vec![(id("web"), unix_group("web", 20_001))]);
    fleet.revoke("lost", Target::Key(key("lost key").fingerprint()));
    let membership = Target::Membership { user: id("bert"), group: id("dba") };
    let by_controller = Envelope::sign(&fleet.revocation("left", membership), &fleet.online);
    fleet.revocations.push(by_controller);

    let mut twin = Twin::new(&fleet, HOST);
    let first = fleet.trust_roots[..1].to_vec();
    let mut ledger = Ledger::begin(twin.id, fleet.lineage(), first, None).unwrap();
    let bundle = fleet.bundle(&twin);
    assert_eq!(ledger.take(twin.verify(&bundle.encode()).unwrap()), 0);
    twin.take(&bundle).unwrap();
    ledger.held.clone_from(&twin.held);
    ledger.pins.insert(login("alice"), Uid::parse(10_001).unwrap());
    ledger.window.taken.insert(login("dora"), Timestamp(START.0 - 5));
    ledger.ownership = owned();
    ledger.time = Remembered { sworn: START, said: Timestamp(START.0 + 1) };
    ledger.passed.insert(id("gone"), 3);
    ledger.receipt = Some((WAITING, receipt().digest()));
    ledger.evidence.push(b"a link that contradicts".to_vec());
    ledger.unreported.insert(id("left"));
    ledger.drift = drift();
    ledger
}

fn kept() -> [Vec<u8>; 3] {
    [
        golden("ledger", || ledger().encode()),
        golden("key", || machine_pkcs8(HOST)),
        golden("receipt", || receipt().encode()),
    ]
}

#[test]
fn the_first_releases_ledger_is_read_and_nothing_of_it_is_lost() {
    let [bytes, ..] = kept();
    let ledger = Ledger::decode(&bytes).unwrap();
    assert_eq!(ledger.encode(), bytes);

    assert_eq!(ledger.host, machine(HOST).public().digest());
    assert_eq!((ledger.trust().version, ledger.trust().lineage()), (2, ledger.lineage));
    let floor = ledger.floor.unwrap().link;
    assert_eq!((floor.number, ledger.floor_link().unwrap().digest()), (2, floor.digest));
    let ids = ["alice", "bert", "dba", "admin", "dbas", "bert-as-admin", "web"].map(id);
    let proved: BTreeSet<Id> = ledger.proved().into_keys().collect();
    assert!(ids.iter().all(|id| proved.contains(id)), "{proved:?}");
    assert_eq!(ledger.known_ids(), proved);
    assert_eq!(ledger.online_revocations(), 1);
    assert!(ledger.has_unweighed());
    assert!(ledger.revocations().ends_key(&key("lost key").fingerprint(), &BTreeSet::new()));
    let held: BTreeSet<&str> = ledger.held.iter().map(|grant| grant.login.as_str()).collect();
    assert_eq!(held, BTreeSet::from(["alice", "bert"]));
    assert_eq!(ledger.pins.len(), 1);
    assert_eq!(ledger.window.taken[&login("dora")], Timestamp(START.0 - 5));
    assert_eq!(ledger.ownership, owned());
    assert_eq!((ledger.time.sworn, ledger.time.said), (START, Timestamp(START.0 + 1)));
    assert_eq!(ledger.passed, BTreeMap::from([(id("gone"), 3)]));
    assert_eq!(ledger.evidence, [b"a link that contradicts".to_vec()]);
    assert_eq!(ledger.unreported, BTreeSet::from([id("lost"), id("left")]));
    assert_eq!(ledger.drift, drift());
}

#[test]
fn a_keeper_goes_on_from_what_the_first_release_has_left() {
    let [ledger, key, waiting] = kept();
    let directory = tempdir();
    let path = |name: &str| directory.path().join(name);
    state::make_directory(&path("spool"), 0o700).unwrap();
    for (name, bytes) in
        [("ledger", &ledger), ("key.der", &key), ("spool/00000000000000000007", &waiting)]
    {
        state::replace(&path(name), bytes, 0o600).unwrap();
    }
    let mut fake = Fake::new();
    fake.clocks = Clocks { wall: Timestamp(START.0 + 60), boot: 0 };
    let machine = Rc::new(RefCell::new(fake));
    let mut keeper = open(directory.path(), &machine, "");
    keeper.begin().unwrap();

    assert_eq!(machine.borrow().keyed(), ["alice", "bert"]);
    let spool = Spool::open(directory.path()).unwrap();
    assert_eq!(spool.numbers().unwrap(), [WAITING, WAITING + 1]);
    assert_eq!(spool.read(WAITING).unwrap().as_ref(), Some(&waiting));
    let by = self::machine(HOST);
    let read = |number| {
        let envelope = Envelope::decode(&spool.read(number).unwrap().unwrap()).unwrap();
        (envelope.digest(), verify_by_host::<Receipt>(&envelope, by.public()).unwrap())
    };
    let ((old, _), (_, new)) = (read(WAITING), read(WAITING + 1));
    assert_eq!(new.previous, Some(old));
}
