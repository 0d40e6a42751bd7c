//! When looks come, and the life of some accounts by a clock of the test's own: what begins and ends
//! in which second, whatever is done to the clocks.

use std::collections::BTreeSet;

use muster_proto::{
    derive::{Circumstances, Freshness, Statements, believe},
    desired::Grant,
    id::{Digest, Id},
    name::{FullName, Line, Login, ObjectName, Uid},
    revocations::Revocations,
    selector::{Labels, Selector},
    statement::{
        Assignment, Content, Restrictions, Role, Statement, UnixGroupMode, User, UserKind,
    },
    time::{Now, Timestamp},
};

use super::*;
use crate::{
    clock::{Clock, Clocks, Heard, MAX_AHEAD, Remembered, SETTLES_AFTER},
    ends::{self, Ended, Ends},
};

fn time(now: u64, settles_in: Option<u64>) -> Time {
    Time { now: Now::at(Timestamp(now)), sure: Timestamp(now), settles_in }
}

fn wait(end: Option<u64>, now: u64, boot: u64) -> (u64, Trigger) {
    let dates = NextDates { end: end.map(Timestamp), ..NextDates::default() };
    Agenda { looked: 100, dates, unsure: false }.wait(900, &time(now, None), boot)
}

#[test]
fn a_scan_comes_in_time_however_much_is_said_in_between() {
    assert_eq!(wait(None, 5_000, 100), (900, Trigger::Scan));
    assert_eq!(wait(None, 5_899, 999), (1, Trigger::Scan));
    assert_eq!(wait(None, 5_900, 1_000), (0, Trigger::Scan));
    assert_eq!(wait(None, 9_900, 5_000), (0, Trigger::Scan));
}

#[test]
fn an_end_is_looked_at_when_it_comes_by_the_clock_as_it_is_then() {
    assert_eq!(wait(Some(5_060), 5_000, 100), (60, Trigger::Time));
    assert_eq!(wait(Some(5_060), 5_059, 159), (1, Trigger::Time));
    assert_eq!(wait(Some(5_060), 5_060, 160), (0, Trigger::Time));
    // The clock was set forward.
    assert_eq!(wait(Some(5_060), 7_000, 120), (0, Trigger::Time));
    // Past the next scan, that comes first.
    assert_eq!(wait(Some(9_000), 5_000, 100), (900, Trigger::Scan));
}

#[test]
fn what_waits_for_the_clocks_is_looked_at_when_they_are_sure() {
    let agenda = Agenda { looked: 100, dates: NextDates::default(), unsure: true };
    assert_eq!(agenda.wait(900, &time(5_000, Some(60)), 100), (60, Trigger::Time));
    assert_eq!(agenda.wait(900, &time(5_000, None), 101), (0, Trigger::Time), "confirmed");
}

/// When every life begins, by a clock that nobody touches.
const BORN: u64 = 1_800_000_000;
const EVERY: u64 = 900;
const DAY: u64 = 24 * 3_600;

/// The host of a keeper: what it knows, and its clocks, which a test may push about.
struct Life {
    /// The time that it is.
    now: u64,
    booted: u64,
    /// What the wall clock says beside that.
    wall: i64,
    known: Statements,
    clock: Clock,
    ends: Ends,
    held: BTreeSet<Grant>,
    agenda: Agenda,
    /// Who has an account, each time that this has changed, in seconds since the birth.
    seen: Vec<(u64, String)>,
}

fn id(number: u8) -> Id {
    Id::parse(&[number; 16]).unwrap()
}

fn statement(id: Id, content: Content) -> (Id, Statement) {
    let lineage = Digest::new([0; 32]);
    let reinstates = BTreeSet::new();
    (id, Statement { lineage, id, revision: 1, previous: None, reinstates, content })
}

/// Returns somebody's statements: who she is, and an assignment with these dates.
fn somebody(number: u8, login: &str, dates: [Option<u64>; 2]) -> [(Id, Statement); 2] {
    let user = User {
        login: Login::parse(login).unwrap(),
        uid: Uid::parse(10_000 + u32::from(number)).unwrap(),
        name: FullName::parse("").unwrap(),
        keys: Vec::new(),
        groups: BTreeSet::new(),
        shell: None,
        home: None,
        home_mode: None,
        starts: None,
        ends: None,
        kind: UserKind::Person,
        restrictions: Restrictions::default(),
    };
    let [from, until] = dates.map(|date| date.map(|seconds| Timestamp(BORN + seconds)));
    let assignment = Assignment {
        name: ObjectName::parse(login).unwrap(),
        subject: id(number),
        role: id(99),
        hosts: Selector::parse("all").unwrap(),
        from,
        until,
        reason: Line::parse("").unwrap(),
        ticket: Line::parse("").unwrap(),
        recertify_by: None,
    };
    [
        statement(id(number), Content::User(user)),
        statement(id(100 + number), Content::Assignment(assignment)),
    ]
}

fn role() -> (Id, Statement) {
    let role = Role {
        name: ObjectName::parse("guest").unwrap(),
        unix_group_mode: UnixGroupMode::AtLeast,
        unix_groups: BTreeSet::new(),
        host_unix_groups: BTreeSet::new(),
        sudo: Vec::new(),
        login_methods: BTreeSet::new(),
        password: None,
    };
    statement(id(99), Content::Role(role))
}

impl Life {
    /// Begins with people of these logins and dates, in seconds from now, and with clocks that agree.
    fn of(people: &[(&str, [Option<u64>; 2])]) -> Self {
        let numbered = (1_u8..).zip(people);
        let known = numbered.flat_map(|(number, (login, dates))| somebody(number, login, *dates));
        let birth = Clocks { wall: Timestamp(BORN), boot: 0 };
        let mut life = Self {
            now: BORN,
            booted: BORN,
            wall: 0,
            known: known.chain([role()]).collect(),
            clock: Clock::restored(Remembered::default(), birth),
            ends: Ends::default(),
            held: BTreeSet::new(),
            agenda: Agenda { looked: 0, dates: NextDates::default(), unsure: false },
            seen: Vec::new(),
        };
        life.clock.swear(Timestamp(BORN), birth);
        life.look();
        life
    }

    fn clocks(&self) -> Clocks {
        let wall = self.now.saturating_add_signed(self.wall);
        Clocks { wall: Timestamp(wall), boot: self.now - self.booted }
    }

    /// Looks at the host as a turn of the keeper does.
    fn look(&mut self) {
        let clocks = self.clocks();
        let time = self.clock.read(clocks);
        let logins: BTreeSet<_> = self.held.iter().map(|grant| &grant.login).collect();
        self.ends = ends::judge(&self.known, &self.ends, &time, ends::share(logins.len()));
        let mut counting = self.known.clone();
        counting.retain(|id, statement| !self.ends.has_ended(id, statement));
        let circumstances = Circumstances {
            host: Digest::new([7; 32]),
            labels: &Labels::default(),
            revocations: &Revocations::default(),
            now: Now { latest: time.sure, earliest: time.now.earliest },
        };
        self.held = believe(&counting, &counting, &self.held, Freshness::Fresh, &circumstances);
        self.agenda = Agenda {
            looked: clocks.boot,
            dates: NextDates::after(self.known.values(), time.now),
            unsure: !self.ends.waiting.is_empty(),
        };
        let logins: BTreeSet<_> = self.held.iter().map(|grant| grant.login.as_str()).collect();
        let logins = logins.into_iter().collect::<Vec<_>>().join(" ");
        if self.seen.last().map(|(_, before)| before) != Some(&logins) {
            self.seen.push((self.now - BORN, logins));
        }
    }

    /// Lets time pass as far as this many seconds after the birth, with a look whenever one is due.
    fn until(&mut self, seconds: u64) {
        loop {
            let clocks = self.clocks();
            let (wait, _) = self.agenda.wait(EVERY, &self.clock.read(clocks), clocks.boot);
            if self.now + wait > BORN + seconds {
                break;
            }
            self.now += wait;
            self.look();
        }
        self.now = BORN + seconds;
    }

    /// Lets the machine sleep, which its boot clock counts. It is woken by nobody.
    fn sleep_until(&mut self, seconds: u64) {
        self.now = BORN + seconds;
        self.look();
    }

    /// Sets the wall clock this far from the right time, which the keeper is woken by.
    fn set_wall(&mut self, beside: i64) {
        self.wall = beside;
        self.look();
    }

    /// Hears a checkpoint that was made this many seconds from now.
    fn hear(&mut self, ahead: u64) -> Heard {
        let heard = self.clock.hear(Timestamp(self.now + ahead), self.clocks());
        self.look();
        heard
    }

    /// Starts the machine anew after it was off for so many seconds, with a wall clock that says
    /// something else. What the ledger keeps is all that it knows.
    fn reboot(&mut self, off: u64, wall: i64) {
        let remembered = self.clock.remembered(self.clocks());
        let ended: Ended = self.ends.ended.clone();
        self.now += off;
        (self.booted, self.wall) = (self.now, wall);
        self.clock = Clock::restored(remembered, self.clocks());
        self.ends = Ends { ended, ..Ends::default() };
        self.look();
    }

    #[track_caller]
    fn assert_seen(&self, seen: &[(u64, &str)]) {
        let found: Vec<_> = self.seen.iter().map(|(at, who)| (*at, who.as_str())).collect();
        assert_eq!(found, seen);
    }
}

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
fn an_end_goes_by_the_later_and_a_start_by_the_earlier_of_two_clocks() {
    let people = [("ana", [None, Some(500)]), ("ben", [Some(500), None])];
    let mut ahead = Life::of(&people);
    assert_eq!(ahead.hear(20), Heard::Taken);
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
    life.set_wall(2 * 86_400);
    life.until(2_000);
    life.assert_seen(&[(0, "ana ben cleo dora emil"), (1_000, "dora emil")]);
    // Right again and then another step: neither that nor a reboot begins another share.
    life.set_wall(0);
    life.until(3_000);
    life.set_wall(2 * 86_400);
    life.until(4_000);
    life.reboot(0, 2 * 86_400);
    life.until(10_000);
    assert_eq!(life.seen[2..], [(4_000 + SETTLES_AFTER, String::new())]);
    // The start comes by signed time.
    life.until(2 * DAY);
    assert_eq!(life.seen[3..], [(DAY, "fay".to_owned())]);
}

#[test]
fn a_step_that_a_checkpoint_confirms_ends_all_at_once() {
    let logins = ["ana", "ben", "cleo", "dora", "emil"];
    let people = logins.map(|login| (login, [None, Some(DAY / 2)]));
    let mut life = Life::of(&people);
    life.until(1_000);
    life.set_wall(43_200);
    assert_eq!(life.seen.last(), Some(&(1_000, "dora emil".to_owned())));
    assert_eq!(life.hear(DAY / 2), Heard::Taken);
    assert_eq!(life.seen.last(), Some(&(1_000, String::new())));
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
    // While it was off no clock of the host's ran but the wall's: cleo's start needs both, and her
    // end comes by the wall.
    life.assert_seen(&[(0, "ana ben"), (100, "ben"), (4_000, ""), (6_000, "cleo"), (8_000, "")]);
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
    life.until(4_999);
    life.assert_seen(&before);
    life.until(9_000);
    let after = [&before[..], &[(5_000, "cleo")]].concat();
    life.assert_seen(&after);
    // Right again: what should have begun begins.
    life.set_wall(0);
    life.assert_seen(&[&after[..], &[(9_000, "cleo dora")]].concat());
}

#[test]
fn a_checkpoint_more_than_a_day_ahead_moves_nothing_and_one_of_a_day_does() {
    let people = [("ana", [None, Some(DAY)]), ("ben", [Some(DAY), None])];
    let mut life = Life::of(&people);
    assert_eq!(life.hear(MAX_AHEAD + 1), Heard::TooFarAhead);
    life.assert_seen(&[(0, "ana")]);
    assert_eq!(life.hear(MAX_AHEAD), Heard::Taken);
    life.assert_seen(&[(0, "ana"), (0, "")]);
    life.until(DAY + 10);
    assert_eq!(life.seen.last(), Some(&(DAY, "ben".to_owned())));
}
