//! What begins and ends in which second of an account's life, whatever is done to the clocks.

use std::collections::BTreeSet;

use muster_agent::{
    clock::{MAX_AHEAD, SETTLES_AFTER},
    host::{rest::Still, state},
    ledger::Ledger,
};
use muster_proto::{bundle::Bundle, time::Timestamp};

use crate::{
    fleet::{
        host::Host as Twin,
        keys::{machine, machine_pkcs8},
        world::id,
    },
    life::{BORN, HOST, Life, TOLD, open, somebody, somebody_with_dates},
    world::tempdir,
};

const DAY: u64 = 24 * 3_600;
/// Seconds after which the ledger's file has the time again.
const KEPT_EVERY: u64 = 3_600;
/// A clock that says the year 1970, as one without a battery does.
const DEAD: i64 = -BORN.cast_signed();

#[test]
fn what_begins_and_ends_does_so_in_its_second() {
    let mut life = Life::of(&[
        ("ana", [None, Some(100)]),
        ("ben", [Some(50), Some(2_000)]),
        ("cleo", [Some(901), None]),
    ]);
    life.until(5_000);
    life.assert_seen(&[
        (0, "ana"),
        (50, "ana ben"),
        (100, "ben"),
        (901, "ben cleo"),
        (2_000, "cleo"),
    ]);
}

#[test]
fn a_user_begins_and_ends_in_her_second_and_is_in_only_while_an_assignment_of_hers_is() {
    let ana = somebody_with_dates(0, "ana", [None, Some(100)]);
    let ben = somebody_with_dates(1, "ben", [Some(50), Some(2_000)]);
    let cleo = somebody_with_dates(2, "cleo", [Some(901), None]);
    // Of her own dates and those of her assignment the later start and the earlier end count.
    let both = |number, login: &str, own, assigned| {
        let [person, _] = somebody_with_dates(number, login, own);
        let [_, assigned] = somebody(number, login, assigned);
        [person, assigned]
    };
    let dora = both(3, "dora", [Some(300), Some(700)], [Some(400), Some(800)]);
    let emil = both(4, "emil", [Some(400), Some(800)], [Some(300), Some(700)]);
    let mut life = Life::with([ana, ben, cleo, dora, emil].into_iter().flatten(), "");
    life.until(1_000);
    let seen = [
        (0, "ana"),
        (50, "ana ben"),
        (100, "ben"),
        (400, "ben dora emil"),
        (700, "ben"),
        (901, "ben cleo"),
    ];
    life.assert_seen(&seen);
    // What has ended does not revive, whatever the clock says when the machine is back.
    life.reboot(0, DEAD);
    life.set_wall(0);
    life.until(5_000);
    life.assert_seen(&[&seen[..], &[(2_000, "cleo")]].concat());
}

#[test]
fn an_end_goes_by_the_later_and_a_start_by_the_earlier_of_two_clocks() {
    let people = [("ana", [None, Some(500)]), ("ben", [Some(500), None])];
    let mut ahead = Life::of(&people);
    ahead.hear(20);
    ahead.until(1_000);
    ahead.assert_seen(&[(0, "ana"), (480, ""), (500, "ben")]);
    let mut behind = Life::of(&people);
    behind.set_wall(-20);
    behind.until(1_000);
    behind.assert_seen(&[(0, "ana"), (500, ""), (520, "ben")]);
}

#[test]
fn a_wall_clock_set_back_puts_off_starts_and_no_end_and_takes_nothing_that_has_begun() {
    let mut life = Life::of(&[
        ("ana", [None, Some(1_000)]),
        ("ben", [Some(100), None]),
        ("cleo", [Some(1_500), None]),
    ]);
    life.until(500);
    life.set_wall(-3_600);
    life.until(10_000);
    life.assert_seen(&[(0, "ana"), (100, "ana ben"), (1_000, "ben"), (5_100, "ben cleo")]);
    // What has ended does not revive by a second step.
    life.set_wall(-9_500);
    life.until(12_000);
    assert_eq!(life.seen.len(), 4, "{:?}", life.seen);
}

#[test]
fn a_wall_clock_set_ahead_begins_nothing_and_ends_a_share_until_it_is_sure() {
    let end = Some(DAY);
    let logins = ["ana", "ben", "cleo", "dora", "emil"];
    let mut people: Vec<_> = logins.map(|login| (login, [None, end])).into();
    people.push(("fay", [end, None]));
    let mut life = Life::of(&people);
    life.until(1_000);
    let everybody = life.seen.clone();
    assert_eq!((everybody.len(), life.waiting().len()), (1, 0));
    life.set_wall(2 * 86_400);
    life.until(2_000);
    // Which of them is by their ids, which say nothing.
    let [_, (1_000, left)] = &life.seen[..] else { panic!("{:?}", life.seen) };
    let left = left.clone();
    let waiting: BTreeSet<String> = left.split(' ').map(str::to_owned).collect();
    assert_eq!((waiting.len(), life.waiting()), (2, waiting.clone()));
    // Right again and then another step: neither that nor a reboot begins another share.
    life.set_wall(0);
    assert_eq!(life.waiting(), BTreeSet::new());
    life.until(3_000);
    life.set_wall(2 * 86_400);
    life.until(4_000);
    life.reboot(0, 2 * 86_400);
    assert_eq!(life.waiting(), waiting);
    life.until(10_000);
    assert_eq!(life.seen[2..], [(4_000 + SETTLES_AFTER, String::new())]);
    assert_eq!(life.waiting(), BTreeSet::new());
    // The start comes by signed time, which was last written down when the clock was set.
    life.until(2 * DAY);
    assert_eq!(life.seen[3..], [(DAY + 1_000, "fay".to_owned())]);
}

#[test]
fn a_step_that_a_checkpoint_confirms_ends_all_at_once() {
    let logins = ["ana", "ben", "cleo", "dora", "emil"];
    let people = logins.map(|login| (login, [None, Some(DAY / 2)]));
    let mut life = Life::of(&people);
    life.until(1_000);
    life.set_wall(43_200);
    assert_eq!((life.seen.len(), life.waiting().len()), (2, 2));
    life.hear(DAY / 2);
    assert_eq!(life.seen.last(), Some(&(1_000, String::new())));
    assert_eq!(life.waiting(), BTreeSet::new());
}

#[test]
fn what_ended_while_the_machine_slept_ends_when_it_wakes() {
    let people = [("ana", [None, Some(2_000)]), ("ben", [Some(3_000), None])];
    let mut life = Life::of(&people);
    life.until(100);
    life.sleep_until(20_000);
    life.assert_seen(&[(0, "ana"), (20_000, "ben")]);
    // A wall clock that stood still meanwhile holds up no end.
    let mut life = Life::of(&people);
    life.wall = -19_900;
    life.sleep_until(20_000);
    life.assert_seen(&[(0, "ana"), (20_000, "")]);
    life.set_wall(0);
    life.assert_seen(&[(0, "ana"), (20_000, ""), (20_000, "ben")]);
}

#[test]
fn a_reboot_forgets_no_end_and_what_ended_meanwhile_is_ended_at_once() {
    let mut life = Life::of(&[
        ("ana", [None, Some(100)]),
        ("ben", [None, Some(2_000)]),
        ("cleo", [Some(3_000), Some(8_000)]),
    ]);
    life.until(1_000);
    life.reboot(3_000, 0);
    life.until(9_000);
    // Signed time goes on from where the file has it, which is the last end before: cleo's start
    // needs both clocks, and her end comes by the wall's.
    life.assert_seen(&[(0, "ana ben"), (100, "ben"), (4_000, ""), (6_900, "cleo"), (8_000, "")]);
}

#[test]
fn signed_time_is_told_from_the_first_moment_after_a_reboot_and_with_every_newer_word() {
    let mut life = Life::of(&[("ana", [None, None])]);
    // What a quorum signed, and then what the controller says.
    assert_eq!(life.told(), Some(BORN));
    life.hear(5);
    assert_eq!(life.told(), Some(BORN + 5));
    life.until(3 * KEPT_EVERY + 10);
    assert_eq!(life.told(), Some(life.now + 5));
    life.reboot(1_000, DEAD);
    let behind = life.now - life.told().unwrap();
    assert!((995..=995 + KEPT_EVERY).contains(&behind), "{behind}");
    life.until(5 * KEPT_EVERY);
    assert_eq!(life.told(), Some(life.now - behind));
    life.hear(0);
    assert_eq!(life.told(), Some(life.now));
    // A day ahead of everything is the most that is believed, and so the most that is told.
    life.set_wall(0);
    life.hear(MAX_AHEAD + 1);
    assert_eq!(life.told(), Some(life.now));
    life.hear(MAX_AHEAD);
    assert_eq!(life.told(), Some(life.now + MAX_AHEAD));
    // With the controller's key goes what it said.
    let next = machine("next online").public();
    let trust_roots = vec![life.fleet.rotate(|root| root.machine_keys = [next].into())];
    life.bring(&Bundle { trust_roots, ..Bundle::empty(life.twin.id) });
    assert_eq!(life.told(), Some(life.now - behind - 5));
}

#[test]
fn signed_time_is_told_to_whoever_is_not_root_and_none_is_where_nothing_was_signed() {
    use std::os::unix::fs::MetadataExt;

    let life = Life::of(&[("ana", [None, None])]);
    let found = life.directory.path().join(TOLD).metadata().unwrap();
    assert_eq!(found.mode() & 0o777, 0o644);
    let unborn = tempdir();
    let twin = Twin::new(&life.fleet, HOST);
    let ledger =
        Ledger::begin(twin.id, life.fleet.lineage(), life.fleet.trust_roots.clone(), None).unwrap();
    for (name, bytes) in [("ledger", ledger.encode()), ("key.der", machine_pkcs8(HOST))] {
        state::replace(&unborn.path().join(name), &bytes, 0o600).unwrap();
    }
    open(unborn.path(), &life.machine, "").begin().unwrap();
    assert_eq!(state::read(&unborn.path().join(TOLD)).unwrap(), None);
}

#[test]
fn what_has_ended_is_in_the_file_before_the_next_second_and_no_reboot_revives_it() {
    let people = [("ana", [None, Some(2_000)]), ("ben", [None, None])];
    let mut life = Life::of(&people);
    let ended = |life: &Life| life.ledger().passed.get(&id("ana-as-guest")).copied();
    life.until(1_999);
    assert_eq!(ended(&life), None);
    life.reboot(0, DEAD);
    life.assert_seen(&[(0, "ana ben")]);
    // The second of the end by the wall clock alone, since the file's time is that of the birth.
    life.set_wall(0);
    assert_eq!(ended(&life), None);
    life.until(2_000);
    assert_eq!(ended(&life), Some(1));
    for wall in [DEAD, -1, 0] {
        life.reboot(0, wall);
        assert_eq!(ended(&life), Some(1));
        life.assert_seen(&[(0, "ana ben"), (2_000, "ben")]);
    }
    // A newer revision says something else, and that counts.
    life.fleet.time = Timestamp(life.now - 60);
    let [_, (name, assigned)] = somebody(0, "ana", [None, Some(9_000)]);
    life.fleet.publish(vec![(id(&name), assigned)]);
    life.bring_newest();
    life.assert_seen(&[(0, "ana ben"), (2_000, "ben"), (2_000, "ana ben")]);
}

#[test]
fn a_dead_wall_clock_after_a_reboot_revives_begins_and_takes_nothing_and_ends_go_on() {
    let mut life = Life::of(&[
        ("ana", [None, Some(100)]),
        ("ben", [Some(200), Some(5_000)]),
        ("cleo", [Some(300), None]),
        ("dora", [Some(6_000), None]),
    ]);
    life.until(1_000);
    let before = [(0, "ana"), (100, ""), (200, "ben"), (300, "ben cleo")];
    life.assert_seen(&before);
    life.reboot(0, DEAD);
    // The file's time is 300.
    life.until(5_699);
    life.assert_seen(&before);
    life.until(9_000);
    let after = [&before[..], &[(5_700, "cleo")]].concat();
    life.assert_seen(&after);
    // Right again: what should have begun begins.
    life.set_wall(0);
    life.assert_seen(&[&after[..], &[(9_000, "cleo dora")]].concat());
}

#[test]
fn a_dead_wall_clock_after_a_reboot_puts_an_end_off_by_at_most_an_hour() {
    let mut life = Life::of(&[("ana", [None, Some(DAY)])]);
    let time = |life: &Life| life.ledger().time.sworn.0 - BORN;
    life.until(KEPT_EVERY - 1);
    assert_eq!(time(&life), 0);
    life.until(KEPT_EVERY);
    assert_eq!(time(&life), KEPT_EVERY);
    life.until(20 * KEPT_EVERY - 1);
    assert_eq!(time(&life), 19 * KEPT_EVERY);
    life.reboot(0, DEAD);
    life.until(2 * DAY);
    life.assert_seen(&[(0, "ana"), (DAY + KEPT_EVERY - 1, "")]);
}

#[test]
fn the_time_in_the_file_is_no_older_though_scans_are_rare_or_end_early_and_nobody_is_heard() {
    for (more, still) in
        [("scan_seconds = 86400\n", Still::Changed), ("scan_seconds = 700\n", Still::AsItWas)]
    {
        let mut life = Life::configured(&[("ana", [None, None])], more);
        life.machine.borrow_mut().still = still;
        for hour in 1..30 {
            life.until(hour * KEPT_EVERY);
            let kept = life.ledger().time.sworn.0 - BORN;
            assert!(hour * KEPT_EVERY - kept < KEPT_EVERY, "{more} {hour} {kept}");
        }
    }
}

#[test]
fn a_checkpoint_more_than_a_day_ahead_moves_nothing_and_one_of_a_day_does() {
    let people = [("ana", [None, Some(DAY)]), ("ben", [Some(DAY), None])];
    let mut life = Life::of(&people);
    life.hear(MAX_AHEAD + 1);
    life.assert_seen(&[(0, "ana")]);
    life.hear(MAX_AHEAD);
    life.assert_seen(&[(0, "ana"), (0, "")]);
    life.until(DAY + 10);
    assert_eq!(life.seen.last(), Some(&(DAY, "ben".to_owned())));
}
