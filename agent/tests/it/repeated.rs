//! What is brought again and again, or stands in the way, puts off nothing and pushes nothing out.
#![expect(clippy::disallowed_methods, reason = "files as root of the host may have made them")]

use std::fs;

use muster_agent::{door::Event, format::authorized_keys::Keys};
use muster_proto::{crypto::sha256, selector::Selector, statement::Content};

use crate::{
    fleet::world::id,
    life::{BORN, Life, somebody},
    told::receipts,
};

/// So many bundles that say nothing new are answered at once (`keeper/allowance.rs`).
const ANSWERED: usize = 200;

fn life() -> Life {
    Life::of(&[("ana", [None, None])])
}

#[test]
fn a_bundle_that_is_brought_again_is_answered_so_often_and_then_once_a_minute() {
    let mut life = life();
    let again = life.fleet.bundle(&life.twin);
    let before = receipts(&life).len();
    for _ in 0..ANSWERED + 5 {
        life.bring(&again);
    }
    assert_eq!(receipts(&life).len(), before + ANSWERED);
    life.now += 60;
    for _ in 0..2 {
        life.bring(&again);
    }
    assert_eq!(receipts(&life).len(), before + ANSWERED + 1);
    // What is new is answered whatever was brought before it.
    let [ben, assigned] = somebody(1, "ben", [None, None]);
    life.fleet.publish([ben, assigned].map(|(name, content)| (id(&name), content)).into());
    life.bring_newest();
    assert_eq!(receipts(&life).len(), before + ANSWERED + 2);
    assert!(life.machine.borrow().keyed().contains(&"ben"));
}

#[test]
fn what_a_bundle_shows_more_under_the_same_link_is_kept_though_it_is_not_answered() {
    let mut life = life();
    let [(login, ben), (named, assigned)] = somebody(1, "ben", [None, None]);
    let own = [id(&login), id(&named)];
    let number = life.fleet.publish(vec![(own[0], ben), (own[1], assigned)]);
    let part = life.fleet.bundle_at(&life.twin, number, |statement| !own.contains(&statement.id));
    for _ in 0..=ANSWERED + 1 {
        life.bring(&part);
    }
    let before = receipts(&life).len();
    let whole = life.fleet.bundle(&life.twin);
    life.bring(&whole);
    assert_eq!(receipts(&life).len(), before);
    life.assert_seen(&[(0, "ana")]);
    life.until(900);
    life.assert_seen(&[(0, "ana"), (900, "ana ben")]);
}

#[test]
fn a_label_that_has_gone_ends_what_it_gave_when_the_next_message_comes() {
    let mut life = life();
    let root = tempfile::tempdir().unwrap();
    let labels = root.path().join("etc/muster/labels.d");
    fs::create_dir_all(&labels).unwrap();
    fs::write(labels.join("own"), "env=prod\n").unwrap();
    life.keeper.read_labels_in(root.path());
    let [ben, (named, mut assigned)] = somebody(1, "ben", [None, None]);
    if let Content::Assignment(assignment) = &mut assigned {
        assignment.hosts = Selector::parse("env=prod").unwrap();
    }
    let all = [ben, (named, assigned)].map(|(name, content)| (id(&name), content));
    life.fleet.publish(all.into());
    life.bring_newest();
    life.assert_seen(&[(0, "ana"), (0, "ana ben")]);
    // It rests: nothing has changed at several scans.
    life.until(3_000);
    fs::remove_file(labels.join("own")).unwrap();
    life.hear(0);
    life.assert_seen(&[(0, "ana"), (0, "ana ben"), (3_000, "ana")]);
    assert_eq!(life.now, BORN + 3_000);
}

#[test]
fn a_receipt_that_cannot_be_read_is_told_and_keeps_no_other_back() {
    let mut life = life();
    let number = life.newest().number;
    let path = life.file("spool").join(format!("{number:020}"));
    fs::remove_file(&path).unwrap();
    fs::create_dir(&path).unwrap();
    life.does(Event::Watch(0));
    life.machine.borrow_mut().change_shell("ana");
    life.does(Event::Changed);
    fs::remove_dir(&path).unwrap();
    let told = life.newest();
    let found = told.findings.iter().find(|found| found.kind.as_str() == "receipt-damaged");
    assert_eq!(found.unwrap().subject, number.to_string());
}

#[test]
fn keys_that_cannot_be_seen_for_a_while_are_not_told_to_have_gone() {
    let mut life = life();
    let words = |life: &Life| -> Vec<String> {
        let all = receipts(life).into_values().flat_map(|receipt| receipt.drift);
        all.map(|one| format!("{} {} {}", one.kind, one.subject, one.response.as_str())).collect()
    };
    let see = |life: &mut Life, keys: Keys| {
        life.machine.borrow_mut().others.insert("bob".to_owned(), keys);
        life.now += 60;
        life.does(Event::Changed);
        words(life)
    };
    let read = Some(sha256(&[b"a key"]));
    let reported = ["keys-ungranted bob reported"];
    assert_eq!(see(&mut life, Keys { read, ..Keys::default() }), reported);
    assert_eq!(see(&mut life, Keys::unseen("/home/bob/.ssh/authorized_keys", "away")), reported);
    assert_eq!(see(&mut life, Keys::default()), [reported[0], "keys-ungranted bob gone"]);
}
