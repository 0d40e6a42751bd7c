//! Drift on real hosts: what somebody changes by hand is told at once, with who did it, and put right
//! where it is Muster's.

use std::time::Duration;

use muster_tests::{Fleet, Person, wait};
use serde_json::Value;

use crate::{SOON, fleet};

/// How long it may take until an edit is told at the controller.
const AT_ONCE: Duration = Duration::from_secs(5);

pub(crate) fn declaration(host: &str, role: &str, person: &Person) -> String {
    let Person { login, key } = person;
    format!(
        "groups: {{{role}: {{}}}}\n\
         users: {{{login}: {{groups: [{role}], keys: [\"{}\"]}}}}\n\
         roles: {{{role}: {{sudo: [{{commands: [/usr/bin/id]}}]}}}}\n\
         assignments: {{{role}: {{group: {role}, role: {role}, hosts: muster/hostname={host}}}}}\n",
        key.public
    )
}

/// What hosts have told about something, newest first: the exit code does not count.
fn told(fleet: &Fleet, words: &[&str]) -> Vec<Value> {
    let words = [&["drift", "list", "--all", "--output", "json"], words].concat();
    let output = fleet.muster(&words).unwrap();
    let all: Value =
        serde_json::from_str(&output.stdout).unwrap_or_else(|error| panic!("{error}: {output}"));
    all.as_array().unwrap().clone()
}

/// Returns one of a drift's words.
pub(crate) fn word<'a>(drift: &'a Value, field: &str) -> &'a str {
    drift.get(field).and_then(Value::as_str).unwrap_or_default()
}

/// Waits until something of a kind is told about somebody.
pub(crate) fn await_told(
    fleet: &Fleet,
    kind: &str,
    subject: &str,
    place: &str,
    response: &str,
) -> Value {
    let what = format!("{kind} {subject} {place} {response}");
    let mut last = Vec::new();
    wait::until(AT_ONCE, &what, || {
        last = told(fleet, &["--kind", kind, "--subject", subject]);
        let fits = |one: &&Value| word(one, "place") == place && word(one, "response") == response;
        last.iter().find(fits).cloned()
    })
    .unwrap_or_else(|error| panic!("{error}: {last:?}"))
}

#[test]
fn what_is_changed_by_hand_is_told_at_once_with_who_did_it_and_put_right() {
    let fleet = fleet();
    let db1 = fleet.host("db1");
    let person = fleet.person("drifta").unwrap();
    fleet.apply_ok(&declaration("db1", "drifta", &person)).unwrap();
    let keys = db1.read("/etc/ssh/muster-keys/drifta").unwrap();

    db1.run_ok(&["usermod", "--shell", "/bin/sh", "drifta"]).unwrap();
    let shell = await_told(&fleet, "account-changed", "drifta", "shell", "repaired");
    assert_eq!(word(&shell, "expected"), "/bin/bash");
    assert_eq!(word(&shell, "found"), "/bin/sh");
    assert_eq!(word(shell.get("by").unwrap(), "program"), "usermod", "{shell}");
    assert!(word(shell.get("by").unwrap(), "command").contains("--shell /bin/sh drifta"));
    let passwd = db1.run_ok(&["getent", "passwd", "drifta"]).unwrap();
    assert!(passwd.trim_end().ends_with(":/bin/bash"), "{passwd}");

    db1.run_with_stdin(&["chpasswd"], b"drifta:a-password-by-hand\n").unwrap();
    let password = await_told(&fleet, "account-changed", "drifta", "password", "repaired");
    assert_eq!(word(&password, "severity"), "high");
    assert!(!password.to_string().contains("$y$"), "no hash: {password}");

    db1.run_ok(&["gpasswd", "--add", "drifta", "sudo"]).unwrap();
    let member = await_told(&fleet, "member-added", "drifta", "sudo", "reported");
    assert_eq!(word(&member, "severity"), "critical");
    db1.run_ok(&["gpasswd", "--delete", "drifta", "sudo"]).unwrap();
    await_told(&fleet, "member-added", "drifta", "sudo", "gone");

    let script = "echo 'ssh-ed25519 AAAA stranger' >> /etc/ssh/muster-keys/drifta";
    db1.run_ok(&["sh", "-c", script]).unwrap();
    let key = await_told(&fleet, "keys-changed", "drifta", "", "repaired");
    assert_eq!(word(key.get("by").unwrap(), "program"), "sh", "{key}");
    assert_eq!(db1.read("/etc/ssh/muster-keys/drifta").unwrap(), keys);

    db1.run_ok(&["rm", "/etc/sudoers.d/50-muster-drifta"]).unwrap();
    await_told(&fleet, "sudo-changed", "drifta", "", "repaired");
    wait::until(SOON, "the rule to be back", || db1.read("/etc/sudoers.d/50-muster-drifta").ok())
        .unwrap();
}

#[test]
fn what_nobody_granted_is_told_and_left_as_it_is_until_it_has_gone() {
    let fleet = fleet();
    let db1 = fleet.host("db1");
    db1.run_ok(&["useradd", "--uid", "1900", "--shell", "/bin/bash", "byhanda"]).unwrap();
    let account = await_told(&fleet, "account-new", "byhanda", "", "reported");
    assert_eq!(word(account.get("by").unwrap(), "program"), "useradd", "{account}");
    db1.write("/etc/sudoers.d/byhand", b"byhanda ALL=(ALL:ALL) NOPASSWD: ALL\n", 0o440).unwrap();
    await_told(&fleet, "sudo-foreign", "byhand", "", "reported");
    let toor = ["--non-unique", "--uid", "0", "--gid", "100", "--no-create-home", "toora"];
    db1.run_ok(&[&["useradd"], toor.as_slice()].concat()).unwrap();
    let toor = await_told(&fleet, "uid-zero", "toora", "", "reported");
    assert_eq!(word(&toor, "severity"), "critical");

    let list = fleet.muster(&["drift", "list"]).unwrap();
    assert_eq!(list.status, 3, "{list}");
    assert!(list.stderr.contains("drift on"), "{list}");
    for subject in ["byhanda", "byhand", "toora"] {
        assert!(list.stdout.contains(subject), "{list}");
    }
    assert!(db1.run(&["id", "byhanda"]).unwrap().success(), "it is not Muster's");

    db1.run_ok(&["rm", "/etc/sudoers.d/byhand"]).unwrap();
    db1.run_ok(&["sed", "--in-place", "/^toora:/d", "/etc/passwd", "/etc/shadow"]).unwrap();
    db1.run_ok(&["userdel", "byhanda"]).unwrap();
    for (kind, subject) in
        [("account-new", "byhanda"), ("sudo-foreign", "byhand"), ("uid-zero", "toora")]
    {
        await_told(&fleet, kind, subject, "", "gone");
    }
}

#[test]
fn a_host_that_only_observes_tells_and_touches_nothing() {
    let fleet = fleet();
    let watch1 = fleet.host("watch1");
    watch1.run_ok(&["useradd", "--uid", "1900", "--shell", "/bin/bash", "byhandw"]).unwrap();
    await_told(&fleet, "account-new", "byhandw", "", "reported");
    let before = watch1.read("/etc/passwd").unwrap();
    watch1.run_ok(&["userdel", "byhandw"]).unwrap();
    await_told(&fleet, "account-new", "byhandw", "", "gone");
    assert_ne!(watch1.read("/etc/passwd").unwrap(), before, "userdel has done it");
}

#[test]
fn what_was_changed_while_the_agent_was_down_is_told_when_it_is_back() {
    let fleet = fleet();
    let db1 = fleet.host("db1");
    let person = fleet.person("driftd").unwrap();
    fleet.apply_ok(&declaration("db1", "driftd", &person)).unwrap();
    db1.run_ok(&["systemctl", "stop", "muster-agent"]).unwrap();
    db1.run_ok(&["usermod", "--shell", "/bin/sh", "driftd"]).unwrap();
    db1.run_ok(&["useradd", "--uid", "1901", "--shell", "/bin/bash", "byhandd"]).unwrap();
    db1.run_ok(&["systemctl", "start", "muster-agent"]).unwrap();
    let shell = await_told(&fleet, "account-changed", "driftd", "shell", "repaired");
    assert!(shell.get("by").unwrap().is_null(), "nobody saw who: {shell}");
    await_told(&fleet, "account-new", "byhandd", "", "reported");
    // A keeper that is started again tells nothing twice.
    db1.run_ok(&["systemctl", "restart", "muster-agent"]).unwrap();
    db1.run_ok(&["userdel", "byhandd"]).unwrap();
    await_told(&fleet, "account-new", "byhandd", "", "gone");
    assert_eq!(told(&fleet, &["--subject", "byhandd"]).len(), 2);
    assert_eq!(told(&fleet, &["--subject", "driftd"]).len(), 1);
}

#[test]
fn whoever_undoes_each_repair_is_named_and_left_alone() {
    let fleet = fleet();
    let db1 = fleet.host("db1");
    let person = fleet.person("driftf").unwrap();
    fleet.apply_ok(&declaration("db1", "driftf", &person)).unwrap();
    // Some other tool that thinks it knows better, bounded in case nobody stops it.
    let fight = "for round in 1 2 3 4 5 6 7 8 9 10; do \
        until grep -q '^driftf:.*:/bin/bash$' /etc/passwd; do \
            [ -e /run/driftf-over ] && exit 0; sleep 0.05; done; \
        usermod --shell /bin/sh driftf; done";
    let mut fighter = db1.spawn(&["sh", "-c", fight]).unwrap();
    let contested = await_told(&fleet, "account-changed", "driftf", "shell", "contested");
    assert_eq!(contested.get("rounds").and_then(Value::as_u64), Some(3), "{contested}");
    assert_eq!(word(contested.get("by").unwrap(), "program"), "usermod", "{contested}");
    let repaired = told(&fleet, &["--subject", "driftf"]);
    let repaired = repaired.iter().filter(|one| word(one, "response") == "repaired").count();
    assert_eq!(repaired, 3);
    // A change is carried out all the same.
    fleet.muster_ok(&["revoke", "assignment", "driftf", "--yes"]).unwrap();
    db1.run_ok(&["touch", "/run/driftf-over"]).unwrap();
    fighter.finish(SOON).unwrap();
    let shadow = db1.run_ok(&["getent", "shadow", "driftf"]).unwrap();
    assert!(shadow.starts_with("driftf:!"), "{shadow}");
}
