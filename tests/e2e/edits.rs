//! A day's edits by hand in little: in calm, while the controller is away and while the agent is
//! down. `tests/long drift` makes some hundreds of them.

use muster_tests::edits::{Deed, Edits};

use crate::fleet;

#[test]
fn whatever_is_edited_by_hand_is_told_once_though_controller_or_agent_was_away() {
    let fleet = fleet();
    let seed = u64::from(std::process::id());
    eprintln!("seed {seed}");
    let people = ["editb", "editc"].map(str::to_owned);
    let mut edits = Edits::begin(&fleet, "muster/hostname=db1", &people, "edita").unwrap();
    let all = Edits::shuffled(&["db1"], &people, seed);
    let (calm, rest) = all.split_at(all.len() / 3);
    let (away, down) = rest.split_at(rest.len() / 2);
    for edit in calm {
        let line = edits.make(edit).unwrap();
        let (told, _) = edits.await_told(&line).unwrap();
        let is_known = told.get("by").is_some_and(|by| by.get("program").is_some());
        assert!(is_known || edit.deed == Deed::Stranger, "{edit:?}: {told}");
    }
    let mut waiting = Vec::new();
    fleet.controller().run_ok(&["systemctl", "stop", "muster"]).unwrap();
    for edit in away {
        waiting.push(edits.make(edit).unwrap());
    }
    fleet.host("db1").run_ok(&["systemctl", "stop", "muster-agent"]).unwrap();
    for edit in down {
        waiting.push(edits.make(edit).unwrap());
    }
    fleet.settle().unwrap();
    for line in waiting {
        edits.await_told(&line).unwrap();
    }
    for edit in &all {
        if let Some(line) = edits.undo(edit).unwrap() {
            edits.await_told(&line).unwrap();
        }
    }
    edits.check(&people).unwrap();
}
