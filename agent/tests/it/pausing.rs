//! Pauses, by a clock of the test's own: what is left as it is in one, what is taken away all the
//! same, and when it is over.

use std::{io::Read, os::unix::net::UnixStream, path::Path};

use muster_agent::{
    config::{self, Config},
    door::Event,
    orders::{Order, Ordered},
    pause::{LONGEST, Reason, Span},
};
use muster_proto::{
    drift::{Culprit, Response},
    id::Kind,
    link::Target,
    receipt::{Convergence, FindingKind, HostMode, Receipt},
    statement::Content,
    time::Timestamp,
};

use crate::{
    fleet::{
        contents::{assignment, role, user},
        world::id,
    },
    life::{BORN, Life, somebody},
    told::receipts,
};

const HOUR: u64 = 3_600;
/// Seconds after which the ledger's file has what is left of a pause.
const KEPT_EVERY: u64 = 300;
const ADMIN: &str = "50-muster-admin";

/// ana and ben are admins, dan is a guest until an hour after the birth.
fn team() -> Life {
    let people = [("ana", None), ("ben", None), ("dan", Some(HOUR))];
    let people = (0..).zip(people);
    let people = people.flat_map(|(number, (login, until))| somebody(number, login, [None, until]));
    let admin = |login: &str| {
        let named = format!("{login}-as-admin");
        (named.clone(), assignment(&named, login, "admin", "all"))
    };
    let admins = [("admin".to_owned(), role("admin", &["ALL"])), admin("ana"), admin("ben")];
    Life::with(people.chain(admins), "")
}

/// Gives an order as root, and returns the answer.
fn order(life: &mut Life, order: Order) -> String {
    let (stream, mut answer) = UnixStream::pair().unwrap();
    let by = Culprit {
        login: "bob".to_owned(),
        unit: "session-3.scope".to_owned(),
        ..Culprit::default()
    };
    life.does(Event::Ordered(Box::new(Ordered { order, by, stream })));
    let mut words = String::new();
    answer.read_to_string(&mut words).unwrap();
    words
}

fn pause(life: &mut Life, seconds: u64) {
    let (span, reason) = (Span::of(seconds).unwrap(), Reason::parse("OPS-7").unwrap());
    let answer = order(life, Order::Pause { span, reason });
    assert!(answer.starts_with("+paused by bob until "), "{answer}");
}

/// A team that is paused for two hours, a hundred seconds after the birth.
fn paused() -> Life {
    let mut life = team();
    life.until(100);
    pause(&mut life, 2 * HOUR);
    life
}

/// What the newest receipt finds, each as a word and whom it is about, and once.
fn found(life: &Life) -> Vec<String> {
    let receipt = life.newest();
    let all = receipt.findings.iter().map(|found| format!("{} {}", found.kind, found.subject));
    let mut all: Vec<String> = all.collect();
    all.dedup();
    all
}

fn publish(life: &mut Life, changes: Vec<(&str, Content)>) {
    life.fleet.publish(changes.into_iter().map(|(name, content)| (id(name), content)).collect());
    life.bring_newest();
}

fn comes(life: &mut Life, number: u32, login: &str) {
    let said = somebody(number, login, [None, None]);
    let said = said.iter().map(|(name, content)| (name.as_str(), content.clone())).collect();
    publish(life, said);
}

fn goes(life: &mut Life, login: &str) {
    let mut changes = vec![(login.to_owned(), Content::Removal(Kind::User))];
    for role in ["guest", "admin"] {
        let named = format!("{login}-as-{role}");
        if life.fleet.chain.statements().contains_key(&id(&named)) {
            changes.push((named, Content::Removal(Kind::Assignment)));
        }
    }
    let changes = changes.iter().map(|(name, content)| (name.as_str(), content.clone())).collect();
    publish(life, changes);
}

fn keyed(life: &Life) -> String {
    life.machine.borrow().keyed().join(" ")
}

#[test]
fn in_a_pause_nothing_is_given_or_put_right_and_at_its_end_everything_is_at_once() {
    let mut life = paused();
    let told = life.newest();
    let [finding] = &told.findings[..] else { panic!("{:?}", told.findings) };
    assert_eq!((finding.kind.as_str(), finding.subject.as_str()), ("paused", "bob"));
    let until = Timestamp(BORN + END);
    assert_eq!(finding.detail, format!("until {until} in session-3.scope: OPS-7"));

    life.machine.borrow_mut().put_keys("ana", None);
    life.does(Event::Changed);
    let told = life.newest();
    let [drift] = &told.drift[..] else { panic!("{:?}", told.drift) };
    let said = (drift.kind.as_str(), drift.subject.as_str(), drift.response);
    assert_eq!(said, ("keys-changed", "ana", Response::Reported));
    assert_eq!(found(&life), ["paused bob", "postponed ana"]);
    comes(&mut life, 7, "cora");
    assert_eq!(found(&life), ["paused bob", "postponed ana", "postponed cora"]);
    let detail = "account-created not before the pause ends";
    assert!(life.newest().findings.iter().any(|found| found.detail == detail));
    assert_eq!(life.newest().convergence, Convergence::Done, "nothing is tried again");
    assert_eq!(keyed(&life), "ben dan");
    assert!(!life.ledger().pins.keys().any(|login| login.as_str() == "cora"));

    life.until(END - 1);
    assert_eq!(keyed(&life), "ben");
    life.until(END);
    assert_eq!(keyed(&life), "ana ben cora");
    assert_eq!(found(&life), [""; 0]);
    assert_eq!(life.newest().drift[0].response, Response::Repaired);
    assert_eq!(life.ledger().pause, None);
}

#[test]
fn what_is_taken_from_somebody_is_taken_in_a_pause_too_and_what_was_put_there_by_hand_stays() {
    let mut life = paused();
    let with_a_stranger = life.machine.borrow().keys_of("ana") + "ssh-ed25519 AAAA stranger\n";
    let by_hand = |life: &Life| {
        let fake = life.machine.borrow();
        (fake.keys_of("ana") == with_a_stranger, fake.sudo_file("50-muster-byhand"))
    };
    life.machine.borrow_mut().put_keys("ana", Some(&with_a_stranger));
    life.machine.borrow_mut().put_sudo("50-muster-byhand", Some("ana ALL=(ALL) ALL\n"));
    life.does(Event::Changed);
    let stays = (true, "ana ALL=(ALL) ALL\n".to_owned());
    assert_eq!(by_hand(&life), stays);

    // A change takes ben out: the lock is complete, and nobody else loses anything.
    goes(&mut life, "ben");
    assert_eq!(keyed(&life), "ana dan");
    assert!(life.machine.borrow().is_locked("ben"));
    let admins = life.machine.borrow().sudo_file(ADMIN);
    assert!(admins.contains("\nana ") && !admins.contains("\nben "), "{admins}");
    assert!(life.newest().outcomes.iter().any(|outcome| outcome.action == "account-locked"));
    assert_eq!(life.newest().convergence, Convergence::Done);
    assert_eq!(by_hand(&life), stays);

    // A date ends dan in its second.
    life.until(HOUR - 1);
    assert_eq!(keyed(&life), "ana dan");
    life.until(HOUR);
    assert_eq!(keyed(&life), "ana");
    assert!(life.machine.borrow().is_locked("dan"));
    assert_eq!(by_hand(&life), stays);

    // A revocation ends ana, with what was put there for her.
    life.fleet.revoke("r", Target::Statement { id: id("ana"), revision: 1 });
    life.bring_newest();
    assert_eq!(keyed(&life), "");
    assert!(life.machine.borrow().is_locked("ana"));
    assert_eq!(life.machine.borrow().sudo_file(ADMIN), "");
    assert!(life.newest().revocations.contains(&id("r")), "and it is confirmed");
    assert!(life.ledger().pause.is_some());
}

#[test]
fn who_was_locked_before_a_pause_stays_so_in_it() {
    let mut life = team();
    let keys = life.machine.borrow().keys_of("ben");
    goes(&mut life, "ben");
    life.until(100);
    pause(&mut life, HOUR);
    life.machine.borrow_mut().put_keys("ben", Some(&keys));
    life.does(Event::Changed);
    assert_eq!(keyed(&life), "ana dan");
}

#[test]
fn what_a_pause_has_begun_to_take_is_taken_though_it_failed_and_the_keeper_was_started_anew() {
    let mut life = team();
    let with = |keys: &[&str]| vec![("ana", user("ana", 10_001, keys, &[]))];
    publish(&mut life, with(&["ana key", "ana other"]));
    let both = life.machine.borrow().keys_of("ana").lines().count();
    life.until(100);
    pause(&mut life, HOUR);
    life.machine.borrow_mut().failing = vec!["Keys"];
    publish(&mut life, with(&["ana key"]));
    assert_eq!(life.newest().convergence, Convergence::Retrying);
    life.restart();
    assert_eq!(life.machine.borrow().keys_of("ana").lines().count(), both);
    life.machine.borrow_mut().failing.clear();
    life.until(120);
    assert_eq!(life.machine.borrow().keys_of("ana").lines().count(), both - 1);
    assert!(life.ledger().pause.is_some());
}

#[test]
fn what_was_to_be_taken_before_a_pause_is_taken_in_it() {
    let mut life = team();
    life.until(100);
    life.machine.borrow_mut().failing = vec!["Sudo"];
    let narrower = vec![("ben-as-admin", Content::Removal(Kind::Assignment))];
    publish(&mut life, narrower);
    let has = |life: &Life| life.machine.borrow().sudo_file(ADMIN).contains("\nben ");
    assert!(has(&life));
    pause(&mut life, HOUR);
    assert!(has(&life));
    life.machine.borrow_mut().failing.clear();
    life.until(120);
    assert!(!has(&life));
}

#[test]
fn what_a_host_no_longer_takes_by_its_own_configuration_goes_in_a_pause_too() {
    let mut life = paused();
    let by_hand = life.machine.borrow().keys_of("ana") + "ssh-ed25519 AAAA stranger\n";
    life.machine.borrow_mut().put_keys("ana", Some(&by_hand));
    let configured = |more: &str| {
        let text = config::initial(HostMode::Enforce, &["eve".to_owned()]) + more;
        Event::Configured(Box::new(Config::parse(&text, Path::new(config::PATH))))
    };
    life.does(configured(""));
    assert_eq!(life.machine.borrow().keys_of("ana"), by_hand, "nothing else is configured");
    life.does(configured("accepted_key_types = [\"sk-ssh-ed25519@openssh.com\"]\n"));
    assert_eq!(life.machine.borrow().keys_of("ben"), "");
    life.does(configured("refused_roles = [\"admin\"]\n"));
    assert_eq!(life.machine.borrow().sudo_file(ADMIN), "");
}

#[test]
fn a_pause_of_a_day_is_over_after_a_day() {
    let mut life = team();
    life.until(2 * HOUR);
    pause(&mut life, LONGEST);
    life.until(2 * HOUR + LONGEST - 1);
    assert!(life.ledger().pause.is_some());
    life.until(2 * HOUR + LONGEST);
    assert_eq!(life.ledger().pause, None);
}

/// When a pause is over that began a hundred seconds after the birth and was to last two hours.
const END: u64 = 100 + 2 * HOUR;

/// Asserts that such a pause lasts until then, and returns when it is over.
fn over(mut life: Life) -> u64 {
    let mut now = END - 1;
    life.until(now);
    assert!(life.ledger().pause.is_some());
    while life.ledger().pause.is_some() {
        now += 1;
        life.until(now);
    }
    now
}

#[test]
fn no_clock_that_is_set_back_prolongs_a_pause_and_no_start() {
    let a_day_back = -LONGEST.cast_signed();
    let mut life = paused();
    life.until(HOUR);
    life.set_wall(a_day_back);
    assert_eq!(over(life), END);

    // In a second life of the keeper's.
    let mut life = paused();
    life.until(HOUR);
    life.restart();
    assert_eq!(over(life), END);

    // After a reboot nobody knows more than the ledger's file.
    let mut life = paused();
    life.until(HOUR);
    life.reboot(0, a_day_back);
    let late = over(life);
    assert!((END..=END + KEPT_EVERY).contains(&late), "{late}");

    // Nor does one that was ahead when the pause began, and is put right by and by.
    let ahead = || {
        let mut life = team();
        life.set_wall(LONGEST.cast_signed());
        life.until(100);
        pause(&mut life, 2 * HOUR);
        life.set_wall(0);
        life
    };
    assert_eq!(over(ahead()), END);
    let mut life = ahead();
    life.until(END - 700);
    life.reboot(0, 0);
    let late = over(life);
    assert!((END..=END + KEPT_EVERY).contains(&late), "{late}");

    // The time that a machine is off counts.
    let mut life = paused();
    life.until(HOUR);
    life.reboot(HOUR, 0);
    assert_eq!(over(life), END);
    let mut life = paused();
    life.reboot(2 * HOUR, 0);
    assert_eq!(life.ledger().pause, None);
}

#[test]
fn a_pause_is_ended_by_root_and_everything_is_put_right_then() {
    let mut life = paused();
    life.machine.borrow_mut().put_keys("ana", None);
    life.does(Event::Changed);
    assert_eq!(order(&mut life, Order::End), "+the pause is ended");
    assert_eq!(keyed(&life), "ana ben dan");
    assert_eq!(found(&life), [""; 0]);
    assert_eq!(order(&mut life, Order::End), "this host is not paused");
}

#[test]
fn another_pause_takes_the_place_of_one_and_what_was_taken_since_the_first_is_taken_in_it() {
    let mut life = paused();
    let narrower = vec![("ben-as-admin", Content::Removal(Kind::Assignment))];
    publish(&mut life, narrower);
    pause(&mut life, 3 * HOUR);
    let ledger = life.ledger();
    let second = ledger.pause.as_ref().unwrap();
    assert_eq!(second.until, Timestamp(BORN + 100 + 3 * HOUR));
    assert!(second.lost.roles.contains("admin"));
}

#[test]
fn a_host_that_only_observes_is_not_paused() {
    let mut life = team();
    let text = config::initial(HostMode::Observe, &["eve".to_owned()]);
    let observe = Config::parse(&text, Path::new(config::PATH));
    life.does(Event::Configured(Box::new(observe)));
    let (span, reason) = (Span::of(60).unwrap(), Reason::parse("OPS-7").unwrap());
    let answer = order(&mut life, Order::Pause { span, reason });
    assert!(answer.starts_with("this host only observes"), "{answer}");
    assert_eq!(life.ledger().pause, None);
}

#[test]
fn each_receipt_of_one_report_says_that_the_host_is_paused() {
    let mut life = paused();
    let before = life.newest().number;
    // One has room for 4,096.
    let lines = (0..4_100).map(|n| format!("new{n}:x:{}:100::/:/bin/sh\n", 20_000 + n));
    life.machine.borrow_mut().change_passwd(&lines.collect::<String>());
    life.does(Event::Changed);
    let says = |receipt: &Receipt| {
        receipt.findings.iter().filter(|found| found.kind == FindingKind::Paused).count()
    };
    let told: Vec<usize> = receipts(&life).range(before + 1..).map(|(_, one)| says(one)).collect();
    assert_eq!(told, [1, 1]);
}
