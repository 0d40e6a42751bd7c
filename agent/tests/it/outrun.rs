//! Somebody else is at the account files while the keeper rewrites them.

use std::collections::BTreeSet;

use muster_agent::{door::Event, observed::Running};
use muster_proto::{drift::Response, name::Login};

use crate::life::Life;

/// Lets somebody change a shell by hand, and somebody else be faster so many times while that is put
/// right. Returns whose shell was told and what was done, and whether anything failed.
fn outrun(life: &mut Life, times: usize) -> (BTreeSet<(String, Response)>, bool) {
    {
        let mut machine = life.machine.borrow_mut();
        machine.change_shell("ana");
        machine.outrun.extend(vec!["ben"; times]);
    }
    let (_, trigger) = life.keeper.next_look();
    life.keeper.take_up(Event::Changed, trigger, &mut life.manager).unwrap();
    let receipt = life.newest();
    let told = receipt.drift.iter().filter(|told| told.place == "shell");
    let told = told.map(|told| (told.subject.clone(), told.response)).collect();
    (told, receipt.outcomes.iter().any(|outcome| outcome.failure.is_some()))
}

fn both(response: Response) -> BTreeSet<(String, Response)> {
    ["ana", "ben"].map(|login| (login.to_owned(), response)).into()
}

fn life() -> Life {
    Life::of(&[("ana", [None, None]), ("ben", [None, None])])
}

#[test]
fn whoever_is_faster_is_looked_at_again_and_what_he_did_is_put_right_and_told_too() {
    for times in [1, 2] {
        let mut life = life();
        let (told, any_failed) = outrun(&mut life, times);
        assert_eq!(told, both(Response::Repaired), "faster {times} times");
        assert!(!any_failed, "faster {times} times");
        assert!(!life.machine.borrow().passwd().contains("/bin/dash"));
    }
}

#[test]
fn whoever_is_faster_each_time_is_told_and_it_is_tried_again_later() {
    let mut life = life();
    let (told, any_failed) = outrun(&mut life, 3);
    assert_eq!(told, both(Response::Failed));
    assert!(any_failed);
    life.until(120);
    assert!(!life.machine.borrow().passwd().contains("/bin/dash"));
}

#[test]
fn a_job_that_comes_back_while_a_lock_is_put_right_is_told_with_it() {
    let mut life = Life::of(&[("ana", [None, Some(100)])]);
    life.until(200);
    let found = |life: &Life| -> Vec<String> {
        let drift = life.newest().drift;
        drift.iter().map(|one| format!("{} {}", one.kind, one.response.as_str())).collect()
    };
    assert_eq!(found(&life), [""; 0]);
    {
        let mut machine = life.machine.borrow_mut();
        machine.running.insert(10_001, Running { processes: 1, ..Running::default() });
        machine.jobs_back.insert(Login::parse("ana").unwrap());
    }
    life.does(Event::Changed);
    assert_eq!(found(&life), ["running repaired", "jobs-back repaired"]);
    life.until(2_000);
    assert_eq!(found(&life), ["running repaired", "jobs-back repaired"], "and that is all");
}
