//! What is said of drift over the whole fleet: what comes is watched, what there is narrowed down,
//! and nobody is said to pass who has not said so.

use std::time::Duration;

use muster_tests::{Fleet, Running, wait};
use serde_json::Value;

use crate::{
    PATIENCE,
    drifting::{await_told, word},
    fleet, sudo,
};

/// How long a courier may take that has tried in vain for a while.
const LATER: Duration = Duration::from_mins(2);

/// Waits until a command has told its user something.
fn await_said(command: &Running, words: &str) {
    wait::until(PATIENCE, words, || command.stderr().contains(words).then_some(()))
        .unwrap_or_else(|error| panic!("{error}: {}", command.stderr()));
}

/// The kinds of what the list has about a user, with these options.
fn kinds(fleet: &Fleet, subject: &str, options: &[&str]) -> Vec<String> {
    let words = ["drift", "list", "--output", "json", "--all", "--subject", subject];
    let output = fleet.muster(&[&words, options].concat()).unwrap();
    let lines: Vec<Value> =
        serde_json::from_str(&output.stdout).unwrap_or_else(|error| panic!("{error}: {output}"));
    let mut kinds: Vec<String> = lines.iter().map(|line| word(line, "kind").to_owned()).collect();
    kinds.sort();
    kinds
}

/// What is summed up, with the names under a heading; and the exit code.
fn summed_up(fleet: &Fleet, heading: &str) -> (Value, Vec<String>, i32) {
    let output = fleet.muster(&["drift", "summary", "--output", "json"]).unwrap();
    let summary: Value =
        serde_json::from_str(&output.stdout).unwrap_or_else(|error| panic!("{error}: {output}"));
    let hosts = summary.get(heading).and_then(Value::as_array).unwrap();
    let names = hosts.iter().map(|host| word(host, "host").to_owned()).collect();
    (summary, names, output.status)
}

#[test]
fn what_comes_is_watched_across_a_restart_and_every_option_narrows_it_down() {
    let fleet = fleet();
    let db1 = fleet.host("db1");
    let person = fleet.person("driftw").unwrap();
    let key = &person.key.public;
    let declared = format!(
        "users: {{driftw: {{keys: [\"{key}\"]}}}}\n\
         roles: {{driftw: {{sudo: [{{commands: [ALL]}}]}}}}\n\
         assignments: {{driftw: {{user: driftw, role: driftw, hosts: muster/hostname=db1}}}}\n"
    );
    fleet.apply_ok(&declared).unwrap();

    let watch = ["muster", "drift", "list", "--watch", "--subject", "driftw"];
    let mut all = fleet.controller().spawn(&watch).unwrap();
    await_said(&all, "hosts pass");
    let critical = [&watch[..], &["--severity", "critical", "--output", "json"]].concat();
    let mut critical = fleet.controller().spawn(&critical).unwrap();
    critical.wait_for_line(PATIENCE, "[]").unwrap();
    assert!(sudo(&fleet, "db1", &person, "usermod --shell /bin/sh driftw").success());
    let line = all.wait_for_line(PATIENCE, "account-changed driftw shell").unwrap();
    assert!(line.contains("/bin/bash  /bin/sh") && line.ends_with("repaired"), "{line}");

    // What is told while the controller is away comes when it is back.
    fleet.controller().run_ok(&["systemctl", "stop", "muster"]).unwrap();
    for command in [&all, &critical] {
        await_said(command, "asked until it answers");
    }
    db1.run_ok(&["gpasswd", "--add", "driftw", "sudo"]).unwrap();
    // The host itself says it meanwhile.
    wait::until(PATIENCE, "the host to say it", || {
        let here = db1.run(&["muster-agent", "drift", "--output", "json"]).unwrap();
        let all: Vec<Value> = serde_json::from_str(&here.stdout).unwrap();
        let is_it = |one: &Value| {
            [word(one, "kind"), word(one, "subject")] == ["member-ungranted", "driftw"]
        };
        all.iter().any(is_it).then_some(())
    })
    .unwrap();
    assert!(!fleet.controller().run(&["systemctl", "is-active", "muster"]).unwrap().success());
    fleet.controller().run_ok(&["systemctl", "start", "muster"]).unwrap();
    let line = critical.wait_for_line(LATER, "member-ungranted").unwrap();
    let line: Value = serde_json::from_str(&line).unwrap();
    assert_eq!((word(&line, "subject"), word(&line, "severity")), ("driftw", "critical"));
    let line = all.wait_for_line(LATER, "member-ungranted driftw sudo").unwrap();
    assert!(line.ends_with("reported"), "{line}");
    await_said(&all, "the controller answers again");

    let (summary, failing, status) = summed_up(&fleet, "drift");
    assert!(failing.contains(&"db1".to_owned()), "{summary}");
    assert_eq!((word(&summary, "gravest"), status), ("critical", 3), "{summary}");
    let table = fleet.muster_ok(&["status"]).unwrap();
    let line = table.lines().find(|line| line.starts_with("drift        ")).unwrap_or_default();
    assert!(line.contains(" of 4 hosts pass") && line.contains(", gravest critical, "), "{table}");

    let both = ["account-changed", "member-ungranted"];
    assert_eq!(kinds(&fleet, "driftw", &[]), both);
    assert_eq!(kinds(&fleet, "driftw", &["--severity", "critical"]), both[1..]);
    assert_eq!(kinds(&fleet, "driftw", &["--by", "driftw"]), both[..1]);
    assert_eq!(kinds(&fleet, "driftw", &["--host", "db1"]), both);
    assert_eq!(kinds(&fleet, "driftw", &["--host", "dev1"]), [""; 0]);
    let newest = fleet.muster(&["drift", "show", "db1", "--output", "json"]).unwrap();
    let newest: Vec<Value> = serde_json::from_str(&newest.stdout).unwrap();
    for kind in both {
        let is_it = |one: &Value| [word(one, "kind"), word(one, "subject")] == [kind, "driftw"];
        assert!(newest.iter().any(is_it), "{newest:?}");
    }
    assert_eq!(kinds(&fleet, "driftw", &["--since", "1h"]), both);
    assert_eq!(kinds(&fleet, "driftw", &["--until", "2020-01-01"]), [""; 0]);
    assert_eq!(kinds(&fleet, "driftw", &["--since", "2999-01-01"]), [""; 0]);

    db1.run_ok(&["gpasswd", "--delete", "driftw", "sudo"]).unwrap();
    await_told(&fleet, "member-ungranted", "driftw", "sudo", "gone");
    all.wait_for_line(PATIENCE, "gone").unwrap();
    let told = all.stop().unwrap().stdout;
    assert_eq!(told.lines().count(), 3, "each is told once: {told}");
    let told = critical.stop().unwrap().stdout;
    assert!(!told.contains("account-changed"), "the shell makes nobody root: {told}");

    // A host that only observes has nothing to tell, and does not pass for that.
    let (summary, unknown, status) = summed_up(&fleet, "not_known");
    assert!(unknown.contains(&"watch1".to_owned()), "{summary}");
    assert_eq!(status, if summary["drift"] == Value::Array(Vec::new()) { 4 } else { 3 });
}
