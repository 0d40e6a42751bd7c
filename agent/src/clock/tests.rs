//! A clock of the test's own, pushed about.

use super::*;

fn clocks(wall: u64, boot: u64) -> Clocks {
    Clocks { wall: Timestamp(wall), boot }
}

/// A clock that knows 10,000 as sworn time while wall and boot clock say 10,000 and 0.
fn sworn() -> Clock {
    let mut clock = Clock::restored(Remembered::default(), clocks(10_000, 0));
    clock.swear(Timestamp(10_000), clocks(10_000, 0));
    clock
}

fn read(clock: &mut Clock, wall: u64, boot: u64) -> (u64, u64, u64, Option<u64>) {
    let Time { now, sure, settles_in } = clock.read(clocks(wall, boot));
    (now.earliest.0, sure.0, now.latest.0, settles_in)
}

#[test]
fn before_anything_is_signed_the_wall_clock_is_all_there_is() {
    let mut clock = Clock::restored(Remembered::default(), clocks(1_000, 5));
    assert_eq!(read(&mut clock, 1_000, 5), (1_000, 1_000, 1_000, None));
    assert_eq!(read(&mut clock, 90_000, 6), (90_000, 90_000, 90_000, None));
}

#[test]
fn signed_time_is_carried_forward_and_never_back() {
    let mut clock = sworn();
    assert_eq!(clock.hear(Timestamp(10_010), clocks(10_000, 0)), Heard::Taken);
    assert_eq!(read(&mut clock, 10_010, 10), (10_010, 10_020, 10_020, None));
    clock.swear(Timestamp(9_000), clocks(10_010, 10));
    assert_eq!(clock.hear(Timestamp(10_001), clocks(10_010, 10)), Heard::Taken);
    assert_eq!(read(&mut clock, 10_010, 10), (10_010, 10_020, 10_020, None));
}

#[test]
fn a_clock_set_back_revives_nothing() {
    let mut clock = sworn();
    assert_eq!(read(&mut clock, 5_000, 10), (5_000, 10_010, 10_010, None));
}

#[test]
fn a_clock_set_ahead_is_sure_only_after_an_hour() {
    let mut clock = sworn();
    assert_eq!(read(&mut clock, 90_000, 10), (10_010, 10_010, 90_000, Some(3_600)));
    assert_eq!(read(&mut clock, 93_599, 3_609), (13_609, 13_609, 93_599, Some(1)));
    assert_eq!(read(&mut clock, 93_600, 3_610), (13_610, 93_600, 93_600, None));
}

#[test]
fn a_second_step_ahead_begins_the_hour_anew() {
    let mut clock = sworn();
    assert_eq!(read(&mut clock, 90_000, 10).3, Some(3_600));
    assert_eq!(read(&mut clock, 180_000, 3_000), (13_000, 13_000, 180_000, Some(3_600)));
}

#[test]
fn a_checkpoint_that_agrees_confirms_a_step() {
    let mut clock = sworn();
    assert_eq!(read(&mut clock, 50_000, 10).1, 10_010);
    assert_eq!(clock.hear(Timestamp(50_600), clocks(50_000, 10)), Heard::Taken);
    assert_eq!(read(&mut clock, 50_000, 10), (50_000, 50_600, 50_600, None));
}

#[test]
fn a_checkpoint_confirms_a_step_up_to_the_bound_on_either_side_and_no_further() {
    let confirms = |said: u64| {
        let mut clock = sworn();
        assert_eq!(read(&mut clock, 50_000, 10).1, 10_010);
        assert_eq!(clock.hear(Timestamp(said), clocks(50_000, 10)), Heard::Taken);
        clock.read(clocks(50_000, 10)).settles_in.is_none() && clock.wall.stepped.is_none()
    };
    for (said, good) in [
        (50_000 - AGREE - 1, false),
        (50_000 - AGREE, true),
        (50_000 + AGREE, true),
        (50_000 + AGREE + 1, false),
    ] {
        assert_eq!(confirms(said), good, "{said}");
    }
}

#[test]
fn drift_of_a_minute_is_no_step_and_more_is() {
    let mut clock = sworn();
    assert_eq!(read(&mut clock, 10_070, 10).1, 10_070);
    let mut clock = sworn();
    assert_eq!(read(&mut clock, 10_071, 10).1, 10_010);
}

#[test]
fn time_that_passed_while_the_agent_was_down_is_not_sure_at_once() {
    let remembered = Remembered { sworn: Timestamp(10_000), said: Timestamp(10_500) };
    let mut clock = Clock::restored(remembered, clocks(20_000, 30));
    assert_eq!(read(&mut clock, 20_000, 30), (10_500, 10_500, 20_000, Some(3_600)));
    let mut clock = Clock::restored(remembered, clocks(10_560, 30));
    assert_eq!(read(&mut clock, 10_560, 30), (10_500, 10_560, 10_560, None));
}

#[test]
fn sleep_counts_since_the_boot_clock_goes_on() {
    let mut clock = sworn();
    assert_eq!(read(&mut clock, 20_000, 10_000), (20_000, 20_000, 20_000, None));
}

#[test]
fn a_checkpoint_is_believed_up_to_a_day_ahead_and_cannot_creep() {
    let mut clock = sworn();
    let at = clocks(10_000, 0);
    assert_eq!(clock.hear(Timestamp(10_001 + MAX_AHEAD), at), Heard::TooFarAhead);
    assert_eq!(clock.hear(Timestamp(10_000 + MAX_AHEAD), at), Heard::Taken);
    assert_eq!(clock.hear(Timestamp(10_001 + MAX_AHEAD), at), Heard::TooFarAhead);
}

#[test]
fn a_dead_wall_clock_bounds_no_checkpoint_and_the_step_takes_an_hour() {
    let mut clock = sworn();
    let month = 30 * 24 * 3_600;
    assert_eq!(clock.hear(Timestamp(month), clocks(100, 50)), Heard::Taken);
    assert_eq!(read(&mut clock, 100, 50), (100, 10_050, month, Some(3_600)));
    // The next ones go on from there and begin no hour of their own.
    assert_eq!(clock.hear(Timestamp(month + 65), clocks(160, 110)), Heard::Taken);
    assert_eq!(read(&mut clock, 160, 110), (160, 10_110, month + 65, Some(3_540)));
    assert_eq!(read(&mut clock, 3_700, 3_650).1, month + 65 + 3_540);
}

#[test]
fn a_rotated_key_takes_what_the_old_one_said_with_it() {
    let mut clock = sworn();
    assert_eq!(clock.hear(Timestamp(80_000), clocks(10_000, 0)), Heard::Taken);
    assert_eq!(read(&mut clock, 10_010, 10).2, 80_010);
    clock.forget_said();
    assert_eq!(read(&mut clock, 10_010, 10), (10_010, 10_010, 10_010, None));
}
