//! Whatever happens to a keeper: drift is told, and told once.
#![expect(clippy::disallowed_methods, reason = "a test stops a keeper by what lies on its disk")]

use std::{cell::RefCell, collections::BTreeMap, fs, path::Path, rc::Rc};

use muster_agent::{
    door::Event,
    drift::{
        Difference, Place, Touch, What, effect,
        memory::{APART_SECONDS, AT_ONCE, MOST_OVER, Memory},
        probe,
    },
    host::state,
    receipt::{MAX_SPOOLED_BYTES, Spool},
};
use muster_proto::{
    bundle::Bundle,
    drift::{Culprit, Drift, DriftKind, Response, Severity},
    envelope::{Document, Envelope},
    id::Digest,
    link::Acknowledgement,
    receipt::{Receipt, Trigger},
    time::Timestamp,
    trust::verify_by_host,
};

use crate::{
    fleet::keys::machine,
    life::{BORN, HOST, Life},
};

const TOOR: &str = "toor:x:0:100::/root:/usr/sbin/nologin\n";

/// Where a keeper stops while it puts something right.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stop {
    /// It has written down what it is about to do.
    BeforeDoing,
    /// It has done it.
    BeforeTelling,
    /// Its receipt lies in the spool.
    BeforeKnowing,
    /// Its ledger says so.
    Afterwards,
}

fn life() -> Life {
    Life::of(&[("ana", [None, None])])
}

fn look(life: &mut Life) {
    let (_, trigger) = life.keeper.next_look();
    life.keeper.take_up(Event::Changed, trigger, &mut life.manager).unwrap();
}

/// Returns what all receipts in the spool tell, which fit onto one another.
pub fn receipts(life: &Life) -> BTreeMap<u64, Receipt> {
    let spool = Spool::open(life.directory.path()).unwrap();
    let mut before: Option<(u64, Digest)> = None;
    let read = |number| {
        let envelope = Envelope::decode(&spool.read(number).unwrap().unwrap()).unwrap();
        let receipt = verify_by_host::<Receipt>(&envelope, machine(HOST).public()).unwrap();
        if let Some((before, digest)) = before {
            assert_eq!((receipt.number, receipt.previous), (before + 1, Some(digest)));
        }
        before = Some((number, envelope.digest()));
        (number, receipt.into_inner())
    };
    spool.numbers().unwrap().into_iter().map(read).collect()
}

fn told(life: &Life) -> Vec<Drift> {
    receipts(life).into_values().flat_map(|receipt| receipt.drift).collect()
}

fn words(told: &[Drift]) -> Vec<String> {
    let words = |one: &Drift| format!("{} {} {}", one.subject, one.place, one.response.as_str());
    told.iter().map(words).collect()
}

/// Lets a keeper stop while it puts a shell right that somebody has changed, just as somebody has
/// made a second root, and starts the next.
fn stopped(stop: Stop) -> Life {
    let mut life = life();
    let number = life.newest().number;
    let (path, spooled) = (life.file("ledger"), life.file("spool"));
    let begun = Rc::new(RefCell::new(Vec::new()));
    {
        let (path, begun) = (path.clone(), Rc::clone(&begun));
        let mut machine = life.machine.borrow_mut();
        machine.before_doing =
            Some(Box::new(move || *begun.borrow_mut() = fs::read(&path).unwrap()));
        machine.change_shell("ana");
        machine.change_passwd(TOOR);
    }
    look(&mut life);
    assert_eq!(life.newest().number, number + 1);
    life.machine.borrow_mut().before_doing = None;
    if stop != Stop::Afterwards {
        state::replace(&path, &begun.borrow(), 0o600).unwrap();
    }
    if matches!(stop, Stop::BeforeDoing | Stop::BeforeTelling) {
        fs::remove_file(spooled.join(format!("{:020}", number + 1))).unwrap();
    }
    if stop == Stop::BeforeDoing {
        life.machine.borrow_mut().change_shell("ana");
    }
    life.now += 30;
    life.reboot(0, 0);
    life
}

#[test]
fn a_repair_is_told_once_wherever_the_keeper_stops() {
    let stops = [Stop::BeforeDoing, Stop::BeforeTelling, Stop::BeforeKnowing, Stop::Afterwards];
    for stop in stops {
        let life = stopped(stop);
        let all = told(&life);
        let mut once = words(&all);
        once.sort();
        assert_eq!(once, ["ana shell repaired", "toor  reported"], "{stop:?}");
        let shell = all.iter().find(|one| one.subject == "ana").unwrap();
        assert_eq!((shell.found.as_str(), shell.rounds), ("/bin/dash", 1), "{stop:?}");
        assert_eq!(shell.since.0, life.now - 30, "{stop:?}");
        assert!(!life.machine.borrow().passwd().contains("/bin/dash"), "{stop:?}");
        assert_eq!(life.ledger().drift.begun, BTreeMap::new(), "{stop:?}");
    }
}

#[test]
fn a_receipt_that_the_ledger_does_not_know_of_is_handed_to_nobody() {
    let mut life = life();
    let number = life.newest().number;
    let stray = life.file("spool").join(format!("{:020}", number + 1));
    fs::write(&stray, "of a keeper that was stopped").unwrap();
    life.does(Event::Watch(0));
    life.machine.borrow_mut().change_shell("ana");
    look(&mut life);
    let receipt = life.newest();
    assert_eq!(receipt.number, number + 1);
    // What is no receipt is told when it is read.
    assert!(receipt.findings.iter().all(|one| one.kind.as_str() != "receipt-damaged"));
}

/// Puts something in the way of a receipt, which nothing but its end makes room for.
fn obstruct(path: &Path) {
    fs::create_dir(path).unwrap();
    fs::write(path.join("in the way"), "").unwrap();
}

#[test]
fn what_could_not_be_told_is_told_by_the_next_keeper_and_nothing_else_with_it() {
    let mut life = life();
    let number = life.newest().number;
    // One receipt has room for 4,096.
    let lines = (0..4_100).map(|n| format!("new{n}:x:{}:100::/:/bin/sh\n", 20_000 + n));
    life.machine.borrow_mut().change_passwd(&lines.collect::<String>());
    let in_the_way = life.file("spool").join(format!("{:020}", number + 2));
    obstruct(&in_the_way);
    look(&mut life);
    assert_eq!(life.ledger().receipt.map(|(number, _)| number), Some(number + 1));
    assert_eq!(life.ledger().drift.untold.len(), 4);
    fs::remove_dir_all(&in_the_way).unwrap();
    life.reboot(10, 0);
    let all = told(&life);
    let mut subjects: Vec<&str> = all.iter().map(|one| one.subject.as_str()).collect();
    subjects.sort_unstable();
    subjects.dedup();
    assert_eq!((all.len(), subjects.len()), (4_100, 4_100));
    assert_eq!(life.ledger().drift.untold, []);
}

/// Has the controller say that it keeps the newest receipt.
fn acknowledge(life: &mut Life) {
    let (newest, _) = life.ledger().receipt.unwrap();
    acknowledge_up_to(life, newest);
}

fn acknowledge_up_to(life: &mut Life, number: u64) {
    let (_, digest) = life.ledger().receipt.unwrap();
    let (lineage, host) = (life.fleet.lineage(), life.twin.id);
    let word = Acknowledgement { lineage, host, number, digest };
    let acknowledgement = Some(Envelope::sign(&word, &life.fleet.online));
    let bundle = Bundle { acknowledgement, ..Bundle::empty(host) };
    life.does(Event::Deliver(bundle.encode()));
}

/// Leaves no room for the newest receipt and those before it once there is another.
fn fill_spool(life: &Life) {
    let newest = life.file("spool").join(format!("{:020}", life.newest().number));
    fs::OpenOptions::new().write(true).open(newest).unwrap().set_len(MAX_SPOOLED_BYTES).unwrap();
}

#[test]
fn how_all_stands_is_told_again_once_when_the_controller_is_back_and_has_missed_something() {
    let mut life = life();
    let next = |life: &mut Life, lines: &str| {
        life.now += APART_SECONDS;
        life.machine.borrow_mut().change_passwd(lines);
        life.does(Event::Changed);
        life.newest().drift.clone()
    };
    // Lines of these accounts come and go by hand.
    let account = |login: &str| format!("{login}:x:20000:100::/:/bin/sh\n");
    next(&mut life, &account("gone"));
    let gone = next(&mut life, "");
    assert_eq!(words(&gone), ["gone  gone"]);
    let first = next(&mut life, TOOR);
    assert_eq!(words(&first), ["toor  reported"]);
    fill_spool(&life);

    let second = next(&mut life, &(TOOR.to_owned() + &account("new")));
    assert_eq!(words(&told(&life)), ["new  reported"], "the spool has dropped what was before");
    life.until(3_600);
    assert_eq!(words(&told(&life)), ["new  reported"], "nobody hears it yet");
    // A word that somebody else has kept and brings again says that nobody is there.
    acknowledge_up_to(&mut life, 1);
    assert_eq!(words(&told(&life)), ["new  reported"], "nobody hears it yet");
    acknowledge(&mut life);
    assert_eq!(life.newest().drift, [gone, second, first].concat());
    let newest = life.ledger().receipt;
    acknowledge(&mut life);
    assert_eq!(life.ledger().receipt, newest, "that was all");
}

#[test]
fn of_what_is_over_so_much_is_remembered_until_it_has_arrived() {
    let over = |number: usize| Drift {
        kind: "uid-zero".to_owned(),
        subject: number.to_string(),
        place: String::new(),
        expected: String::new(),
        found: String::new(),
        since: Timestamp(0),
        severity: Severity::Critical,
        response: Response::Gone,
        rounds: 0,
        culprit: None,
    };
    let mut memory = Memory::default();
    memory.wait(1, &(0..MOST_OVER).map(over).collect::<Vec<_>>());
    memory.wait(2, &[over(MOST_OVER)]);
    assert_eq!(memory.over.len(), MOST_OVER);
    memory.wait(3, &[over(1)]);
    memory.wait(4, &[Drift { response: Response::Reported, ..over(0) }]);
    assert_eq!(memory.over.len(), MOST_OVER - 1, "it is not over");
    memory.lost(3);
    memory.fill_gap();
    assert_eq!(memory.untold.len(), MOST_OVER - 2, "one waits in a receipt that is not lost");
    memory.untold.clear();
    memory.fill_gap();
    assert_eq!(memory.untold, []);
    memory.arrived(4);
    assert_eq!(memory.over.len(), MOST_OVER - 2, "what was lost has not arrived");
}

#[test]
fn whoever_changes_his_own_account_without_end_makes_four_receipts_a_minute() {
    let mut life = life();
    let number = life.newest().number;
    let shell = |which: u64| format!("bob:x:20000:100::/home/bob:/bin/sh{which}\n");
    let change = |life: &mut Life, which: u64| {
        life.machine.borrow_mut().change_passwd(&shell(which));
        life.does(Event::Changed);
    };
    for look in 0..APART_SECONDS * 3 {
        change(&mut life, look);
        life.until(life.now - BORN + 1);
    }
    let count = u64::from(AT_ONCE);
    // The last begins the next minute.
    assert_eq!(life.newest().number, number + 3 * count + 1);
    for which in 0..count {
        change(&mut life, 900 + which);
    }
    assert_eq!(life.newest().number, number + 4 * count);
    // The newest is told without anybody's doing, and a minute later.
    change(&mut life, 999);
    life.until(life.now - BORN + APART_SECONDS - 1);
    assert_eq!(life.newest().number, number + 4 * count);
    life.until(life.now - BORN + 1);
    let newest = life.newest();
    assert_eq!((newest.number, newest.trigger), (number + 4 * count + 1, Trigger::Change));
    assert!(newest.drift[0].found.contains("/bin/sh999"), "{:?}", newest.drift);
    let (_, next) = life.keeper.next_look();
    assert_eq!(next, Trigger::Scan);
}

#[test]
fn nothing_is_told_again_where_nothing_was_missed() {
    let mut life = life();
    life.machine.borrow_mut().change_passwd(TOOR);
    look(&mut life);
    let newest = life.ledger().receipt;
    acknowledge(&mut life);
    assert_eq!(life.ledger().receipt, newest);
}

#[test]
fn a_host_that_joins_again_tells_how_all_stands() {
    let mut life = life();
    life.machine.borrow_mut().change_passwd(TOOR);
    look(&mut life);
    acknowledge(&mut life);
    life.leave_and_join();
    assert!(!words(&told(&life)).contains(&"toor  reported".to_owned()), "nobody hears it yet");
    acknowledge(&mut life);
    assert_eq!(words(&life.newest().drift), ["toor  reported"]);
}

#[test]
fn what_sudo_and_pam_say_is_told_with_whom_it_is_known_to_come_of() {
    let mut life = life();
    let say = |subject: &str, place: &str, by: Touch| {
        let said = Difference {
            what: What::new(DriftKind::EffectDiffers, subject, place),
            expected: String::new(),
            found: String::new(),
            severity: Severity::High,
        };
        life.machine.borrow_mut().said.push((said, by));
    };
    let touch = |place, pid: Option<u32>| {
        let culprit = pid.map(|pid| Culprit { pid, ..Culprit::default() });
        Touch { place, name: "ana".to_owned(), culprit }
    };
    say("ana", effect::SUDO, touch(Place::SudoSays, Some(7)));
    say("ana", probe::PAM, touch(Place::PamSays, None));
    look(&mut life);
    let by = |one: &Drift| (one.place.clone(), one.culprit.as_ref().map(|by| by.pid));
    let told: BTreeMap<_, _> = told(&life).iter().map(by).collect();
    assert_eq!(told, BTreeMap::from([("pam".to_owned(), None), ("sudo".to_owned(), Some(7))]));
}
