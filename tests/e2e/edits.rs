//! A day's edits by hand in little: in calm, while the controller is away and while the agent is
//! down. `tests/long drift` makes a thousand of them.

use muster_tests::edits::{Away, Cast, Edits};

use crate::fleet;

#[test]
fn whatever_is_edited_by_hand_is_told_once_though_controller_or_agent_was_away() {
    let fleet = fleet();
    let seed = u64::from(std::process::id());
    eprintln!("seed {seed}");
    let people = ["editb", "editc"].map(str::to_owned);
    let leavers = ["editd", "edite", "editf", "editg"].map(str::to_owned);
    let cast = Cast { hosts: &["db1"], people: &people, leavers: &leavers, editor: "edita" };
    let mut edits = Edits::begin(&fleet, "muster/hostname=db1", cast, seed).unwrap();
    let all = edits.shuffled();
    let (calm, rest) = all.split_at(all.len() / 3);
    let (away, down) = rest.split_at(rest.len() / 2);
    edits.make(calm, Away::Nobody).unwrap();
    edits.make(away, Away::Controller).unwrap();
    edits.make(down, Away::Agent).unwrap();
    let undoing = edits.undoing(&all);
    let (calm, rest) = undoing.split_at(undoing.len() / 3);
    let (away, down) = rest.split_at(rest.len() / 2);
    edits.make(calm, Away::Nobody).unwrap();
    edits.make(away, Away::Controller).unwrap();
    edits.make(down, Away::Agent).unwrap();
    assert_eq!(edits.expected(), 51);
    edits.check().unwrap();
}
