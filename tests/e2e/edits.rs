//! A day's edits by hand in little: in calm, while the controller is away, while the agent is down
//! and while it is killed. `tests/long drift` makes a thousand of them.

use std::time::Duration;

use muster_tests::edits::{Away, Cast, Edits, Took};

use crate::fleet;

#[test]
fn whatever_is_edited_by_hand_is_told_once_though_controller_or_agent_was_away_or_killed() {
    let fleet = fleet();
    let seed = u64::from(std::process::id());
    eprintln!("seed {seed}");
    let people = ["editb", "editc"].map(str::to_owned);
    let leavers = ["editd", "edite", "editf", "editg"].map(str::to_owned);
    let cast = Cast { hosts: &["db1"], people: &people, leavers: &leavers, editor: "edita" };
    let mut edits = Edits::begin(&fleet, "muster/hostname=db1", cast, seed).unwrap();
    let all = edits.shuffled();
    let undoing = edits.undoing(&all);
    let mut calm = Vec::new();
    for some in [all, undoing] {
        let phases = [Away::Nobody, Away::Controller, Away::Agent, Away::Killed];
        for (part, away) in some.chunks(some.len().div_ceil(phases.len())).zip(phases) {
            let took = edits.make(part, away).unwrap();
            if away == Away::Nobody {
                calm.extend(took);
            }
        }
    }
    // By the middle one, which no neighbour on the machine puts off: `tests/long drift` has the others.
    for of in [|took: &Took| took.repaired, |took: &Took| took.stored] {
        let mut times: Vec<Duration> = calm.iter().filter_map(of).collect();
        times.sort_unstable();
        assert!(times[times.len() / 2] < Duration::from_secs(1), "{times:?}");
    }
    assert_eq!(edits.expected(), 51);
    edits.check().unwrap();
}
