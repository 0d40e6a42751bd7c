//! Windows that are used up, that pass, and that nobody opens.

use Verdict::{Admitted, Held, Idle};

use super::*;

const DAY: u64 = 86_400;

fn limit() -> Limit {
    Limit::parse(None, None, None).unwrap()
}

fn at(time: u64) -> Now {
    Now::at(Timestamp(time))
}

/// Each revocation takes something from those whom it names; there are ten accounts.
fn weigh(window: &mut Window, waiting: &[&'static [&'static str]], now: Now) -> Vec<Verdict> {
    let losers = |some: &[&[&str]]| {
        some.concat().into_iter().map(|name| Login::parse(name).unwrap()).collect()
    };
    window.weigh(waiting, (&limit(), 10), now, losers)
}

#[test]
fn three_accounts_or_a_fifth_of_them_whichever_is_more() {
    for (accounts, most) in [(0, 3), (15, 3), (19, 3), (20, 4), (1_000, 200)] {
        assert_eq!(limit().most(accounts), most, "{accounts}");
    }
    let nobody = Limit::parse(Some(0), Some(0), None).unwrap();
    assert_eq!(nobody.most(1_000), 0);
}

#[test]
fn each_number_of_a_limit_is_taken_up_to_its_bounds_and_no_further() {
    let (accounts, hours) = (Limit::MOST_ACCOUNTS, Limit::MOST_HOURS);
    for good in [(0, 0, 1), (accounts, 100, hours)] {
        assert!(Limit::parse(Some(good.0), Some(good.1), Some(good.2)).is_ok(), "{good:?}");
    }
    let all = vec![BadLimit::Accounts, BadLimit::Percent, BadLimit::Hours];
    assert_eq!(Limit::parse(Some(accounts + 1), Some(101), Some(hours + 1)), Err(all));
    assert_eq!(Limit::parse(None, None, Some(0)), Err(vec![BadLimit::Hours]));
}

#[test]
fn what_is_over_the_window_is_held_until_that_has_passed() {
    let mut window = Window::default();
    assert_eq!(weigh(&mut window, &[&["a", "b"], &["c"]], at(1_000)), [Admitted, Admitted]);
    assert_eq!(weigh(&mut window, &[&["d"]], at(1_001)), [Held(Some(1))]);
    let almost = 1_000 + DAY - 1;
    assert_eq!(weigh(&mut window, &[&["d"]], at(almost)), [Held(Some(1))]);
    assert_eq!(weigh(&mut window, &[&["d"]], at(almost + 1)), [Admitted]);
}

#[test]
fn what_fits_is_let_through_beside_what_does_not() {
    let mut window = Window::default();
    let waiting: [&[&str]; 3] = [&["a", "b", "c", "d"], &["e"], &[]];
    assert_eq!(weigh(&mut window, &waiting, at(1_000)), [Held(Some(4)), Admitted, Idle]);
}

#[test]
fn whoever_has_lost_something_may_lose_more_and_what_concerns_nobody_costs_nothing() {
    let mut window = Window::default();
    assert_eq!(weigh(&mut window, &[&["a", "b", "c"]], at(1_000)), [Admitted]);
    assert_eq!(weigh(&mut window, &[&["a", "c"], &["a"]], at(1_001)), [Admitted, Admitted]);
    assert_eq!(weigh(&mut window, &[&[], &[]], at(1_001)), [Idle, Idle]);
}

#[test]
fn traps_laid_beforehand_are_weighed_when_they_close() {
    let mut window = Window::default();
    assert_eq!(weigh(&mut window, &[&[], &["a"]], at(1_000)), [Idle, Admitted]);
    assert_eq!(weigh(&mut window, &[&["b", "c", "d"]], at(1_001)), [Held(Some(3))]);
}

#[test]
fn no_clock_that_is_set_back_or_ahead_opens_a_window() {
    let mut window = Window::default();
    assert_eq!(weigh(&mut window, &[&["a", "b", "c"]], at(900_000)), [Admitted]);
    let d: [&[&str]; 1] = [&["d"]];
    let apart = |earliest, latest| Now { latest: Timestamp(latest), earliest: Timestamp(earliest) };
    // Set back alone, and set right again.
    assert_eq!(weigh(&mut window, &d, apart(0, 900_001)), [Held(Some(1))]);
    assert_eq!(weigh(&mut window, &d, at(900_002)), [Held(Some(1))]);
    // Set ahead alone.
    assert_eq!(weigh(&mut window, &d, apart(900_003, 900_003 + 9 * DAY)), [Held(Some(1))]);
    // All of them back: what was written ahead of them passes a window later.
    assert_eq!(weigh(&mut window, &d, at(1_000)), [Held(Some(1))]);
    assert_eq!(weigh(&mut window, &d, at(1_000 + DAY)), [Admitted]);
}

#[test]
fn thousands_that_wait_are_not_all_looked_at() {
    let names: Vec<String> = (0..MOST_TRIED + 10).map(|number| format!("u{number}")).collect();
    let waiting: Vec<&str> = names.iter().map(String::as_str).collect();
    let mut asked = 0;
    let verdicts = Window::default().weigh(&waiting, (&limit(), 10), at(1_000), |some| {
        asked += 1;
        some.iter().map(|name| Login::parse(name).unwrap()).collect()
    });
    assert_eq!(asked, MOST_TRIED + 1);
    let of = |verdict| verdicts.iter().filter(|found| **found == verdict).count();
    assert_eq!((of(Admitted), of(Held(Some(1))), of(Held(None))), (3, MOST_TRIED - 3, 10));
}
