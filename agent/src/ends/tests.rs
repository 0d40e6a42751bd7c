//! Dates that pass on sure and on unsure clocks.

use muster_proto::{
    id::Digest,
    name::{FullName, Line, ObjectName, Uid},
    selector::Selector,
    statement::{Assignment, Restrictions, User, UserKind},
};

use super::*;

const REVISION: u64 = 3;

fn id(number: u8) -> Id {
    Id::parse(&[number; 16]).unwrap()
}

fn statement(id: Id, content: Content) -> (Id, Statement) {
    let statement = Statement {
        lineage: Digest::new([0; 32]),
        id,
        revision: REVISION,
        previous: None,
        reinstates: BTreeSet::new(),
        content,
    };
    (id, statement)
}

fn user(number: u8, login: &str, group: Option<u8>, ends: Option<u64>) -> (Id, Statement) {
    let user = User {
        login: Login::parse(login).unwrap(),
        uid: Uid::parse(10_000 + u32::from(number)).unwrap(),
        name: FullName::parse("").unwrap(),
        keys: Vec::new(),
        groups: group.into_iter().map(id).collect(),
        shell: None,
        home: None,
        home_mode: None,
        starts: None,
        ends: ends.map(Timestamp),
        kind: UserKind::Person,
        restrictions: Restrictions::default(),
    };
    statement(id(number), Content::User(user))
}

fn assignment(number: u8, subject: u8, until: u64) -> (Id, Statement) {
    let assignment = Assignment {
        name: ObjectName::parse("some").unwrap(),
        subject: id(subject),
        role: id(99),
        hosts: Selector::parse("all").unwrap(),
        from: None,
        until: Some(Timestamp(until)),
        reason: Line::parse("").unwrap(),
        ticket: Line::parse("").unwrap(),
        recertify_by: None,
    };
    statement(id(number), Content::Assignment(assignment))
}

fn time(sure: u64, latest: u64) -> Time {
    let now = Now { latest: Timestamp(latest), earliest: Timestamp(sure) };
    Time { now, sure: Timestamp(sure), settles_in: (sure < latest).then_some(60) }
}

fn logins(logins: &[&str]) -> BTreeSet<Login> {
    logins.iter().map(|login| Login::parse(login).unwrap()).collect()
}

fn ended(ids: &[u8]) -> Ended {
    ids.iter().map(|number| (id(*number), REVISION)).collect()
}

#[test]
fn a_date_ends_something_in_the_second_that_it_names() {
    let known = Statements::from([user(1, "ana", None, Some(100))]);
    assert_eq!(judge(&known, &Ends::default(), &time(99, 99), 0).ended, ended(&[]));
    assert_eq!(judge(&known, &Ends::default(), &time(100, 100), 0).ended, ended(&[1]));
}

#[test]
fn what_has_ended_stays_ended_when_the_clock_goes_back_and_a_newer_revision_counts() {
    let mut known = Statements::from([user(1, "ana", None, Some(100))]);
    let before = judge(&known, &Ends::default(), &time(100, 100), 0);
    let after = judge(&known, &before, &time(50, 50), 0);
    assert!(after.has_ended(&id(1), &known[&id(1)]));
    known.get_mut(&id(1)).unwrap().revision += 1;
    assert!(!after.has_ended(&id(1), &known[&id(1)]));
}

#[test]
fn a_step_ends_at_most_the_share_and_the_earliest_first() {
    let known = Statements::from([
        user(1, "ana", None, Some(220)),
        user(2, "ben", None, Some(210)),
        user(3, "cleo", None, Some(230)),
        user(4, "dora", None, Some(90)),
    ]);
    let ends = judge(&known, &Ends::default(), &time(100, 300), 2);
    assert_eq!(ends.ended, ended(&[1, 2, 4]), "what is sure counts for nothing");
    assert_eq!((ends.unsure, ends.waiting), (logins(&["ana", "ben"]), logins(&["cleo"])));
}

#[test]
fn the_share_is_of_accounts_and_a_group_that_is_larger_waits() {
    let known = Statements::from([
        user(1, "ana", Some(9), None),
        user(2, "ben", Some(9), None),
        user(3, "cleo", None, Some(250)),
        assignment(5, 9, 200),
        assignment(6, 3, 260),
    ]);
    let ends = judge(&known, &Ends::default(), &time(100, 300), 1);
    assert_eq!(ends.ended, ended(&[3, 6]), "both are about one account");
    assert_eq!(ends.waiting, logins(&["ana", "ben"]));
}

#[test]
fn a_share_is_used_up_once_for_a_step_and_all_ends_when_it_is_sure() {
    let mut known = Statements::from([user(1, "ana", None, Some(200))]);
    let first = judge(&known, &Ends::default(), &time(100, 300), 1);
    assert_eq!(first.unsure, logins(&["ana"]));
    known.extend([user(2, "ben", None, Some(250))]);
    let second = judge(&known, &first, &time(110, 310), 1);
    assert_eq!((&second.ended, &second.waiting), (&ended(&[1]), &logins(&["ben"])));
    let third = judge(&known, &second, &time(310, 310), 1);
    assert_eq!(
        (third.ended, third.unsure, third.waiting),
        (ended(&[1, 2]), logins(&[]), logins(&[]))
    );
}

#[test]
fn a_clock_that_goes_back_and_ahead_again_begins_no_other_share() {
    let known = Statements::from([
        user(1, "ana", None, Some(200)),
        user(2, "ben", None, Some(250)),
        user(3, "cleo", None, Some(105)),
    ]);
    let ahead = judge(&known, &Ends::default(), &time(100, 300), 2);
    assert_eq!((&ahead.unsure, &ahead.waiting), (&logins(&["ana", "cleo"]), &logins(&["ben"])));
    let back = judge(&known, &ahead, &time(110, 110), 2);
    assert_eq!(back.unsure, logins(&["ana"]), "of cleo it is sure by now");
    // As after a restart, when only what has ended is known.
    let back = Ends { ended: back.ended, ..Ends::default() };
    let again = judge(&known, &back, &time(120, 320), 1);
    assert_eq!((again.ended, again.waiting), (ended(&[1, 3]), logins(&["ben"])));
}

#[test]
fn a_date_is_not_missed_between_two_looks_and_comes_with_its_own_clock() {
    let mut begins = assignment(5, 1, 300);
    let Content::Assignment(content) = &mut begins.1.content else { unreachable!() };
    content.from = Some(Timestamp(200));
    let known = Statements::from([begins]);
    let now = |earliest, latest| Now { earliest: Timestamp(earliest), latest: Timestamp(latest) };
    let wait = |looked, now| NextDates::after(known.values(), looked).wait(now);
    assert_eq!(wait(now(100, 150), now(110, 160)), Some(90), "a start by the earliest");
    assert_eq!(wait(now(100, 150), now(200, 250)), Some(0), "it has come since the last look");
    assert_eq!(wait(now(200, 250), now(205, 255)), Some(45), "an end by the latest");
    assert_eq!(wait(now(290, 299), now(291, 300)), Some(0));
    assert_eq!(wait(now(290, 300), now(291, 301)), None);
}

#[test]
fn a_step_of_the_clock_may_end_a_fifth_of_the_accounts_and_three_in_any_case() {
    let shares = [(0, 3), (3, 3), (19, 3), (20, 4), (24, 4), (25, 5), (1_000, 200)];
    for (accounts, most) in shares {
        assert_eq!(share(accounts), most, "{accounts}");
    }
}
