//! Drift on real hosts: what somebody changes by hand is told at once, with who did it, and put right
//! where it is Muster's.

use muster_tests::{Fleet, Host, wait};
use serde_json::Value;

use crate::{PATIENCE, assert_let_in, fleet, kept::Kept, on};

/// What hosts have told about something, newest first: the exit code does not count.
pub(crate) fn told(fleet: &Fleet, words: &[&str]) -> Vec<Value> {
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
    let told = await_narrowed(fleet, &["--kind", kind, "--subject", subject], place, response);
    assert_eq!((word(&told, "kind"), word(&told, "subject")), (kind, subject), "{told}");
    told
}

/// Waits until something is told that these options leave.
pub(crate) fn await_narrowed(
    fleet: &Fleet,
    options: &[&str],
    place: &str,
    response: &str,
) -> Value {
    let what = format!("{options:?} {place} {response}");
    let mut last = Vec::new();
    wait::until(PATIENCE, &what, || {
        last = told(fleet, options);
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
    fleet.apply_ok(&on("db1", "drifta", std::slice::from_ref(&person))).unwrap();
    let keys = db1.read("/etc/ssh/muster-keys/drifta").unwrap();

    db1.run_ok(&["usermod", "--shell", "/bin/sh", "drifta"]).unwrap();
    let shell = await_told(&fleet, "account-changed", "drifta", "shell", "repaired");
    assert_eq!(word(&shell, "expected"), "/bin/bash");
    assert_eq!(word(&shell, "found"), "/bin/sh");
    assert_eq!(word(shell.get("by").unwrap(), "program"), "usermod", "{shell}");
    assert!(word(shell.get("by").unwrap(), "command").contains("--shell /bin/sh drifta"));
    let passwd = db1.run_ok(&["getent", "passwd", "drifta"]).unwrap();
    assert!(passwd.trim_end().ends_with(":/bin/bash"), "{passwd}");

    let hash = "$6$saltsalt$by-hand";
    db1.run_ok(&["usermod", "--password", hash, "drifta"]).unwrap();
    let password = await_told(&fleet, "account-changed", "drifta", "password", "repaired");
    assert_eq!(word(&password, "severity"), "high");
    assert_eq!(word(password.get("by").unwrap(), "command"), "usermod --password … drifta");
    assert!(!password.to_string().contains(hash), "no hash: {password}");

    db1.run_ok(&["gpasswd", "--add", "drifta", "sudo"]).unwrap();
    let member = await_told(&fleet, "member-ungranted", "drifta", "sudo", "reported");
    assert_eq!(word(&member, "severity"), "critical");
    db1.run_ok(&["gpasswd", "--delete", "drifta", "sudo"]).unwrap();
    await_told(&fleet, "member-ungranted", "drifta", "sudo", "gone");

    // It lives until it is seen: of a process that has gone only the number is known.
    let script = "keys=/etc/ssh/muster-keys/drifta; echo 'ssh-ed25519 AAAA stranger' >> $keys
        for round in $(seq 2000); do grep -q stranger $keys || break; done";
    db1.run_ok(&["sh", "-c", script]).unwrap();
    let key = await_told(&fleet, "keys-changed", "drifta", "", "repaired");
    assert_eq!(word(key.get("by").unwrap(), "program"), "sh", "{key}");
    assert_eq!(db1.read("/etc/ssh/muster-keys/drifta").unwrap(), keys);

    db1.run_ok(&["rm", "/etc/sudoers.d/50-muster-drifta"]).unwrap();
    await_told(&fleet, "sudo-changed", "drifta", "", "repaired");
    wait::until(PATIENCE, "the rule to be back", || {
        db1.read("/etc/sudoers.d/50-muster-drifta").ok()
    })
    .unwrap();
}

/// What a test made by hand on a host that others use too.
struct ByHand<'a>(&'a Host);

impl Drop for ByHand<'_> {
    fn drop(&mut self) {
        let undo =
            "rm -rf /etc/sudoers.d/byhand /etc/sudoers.d/byhande /etc/byhand.rules /home/byhanda
            sed --in-place /^toora:/d /etc/passwd /etc/shadow
            ! getent passwd byhanda || userdel byhanda
            ! getent group byhandg || groupdel byhandg";
        // The first failure is the one to tell.
        let _ = self.0.run(&["sh", "-c", undo]);
    }
}

#[test]
fn what_nobody_granted_is_told_and_left_as_it_is_until_it_has_gone() {
    let fleet = fleet();
    let db1 = fleet.host("db1");
    let by_hand = ByHand(db1);
    db1.run_ok(&["useradd", "--uid", "1900", "--shell", "/bin/bash", "byhanda"]).unwrap();
    let account = await_told(&fleet, "account-new", "byhanda", "", "reported");
    assert_eq!(word(account.get("by").unwrap(), "program"), "useradd", "{account}");
    // Keys, and a member, of whom neither the account files nor any of ours say that they count.
    let key = &fleet.person("byhandk").unwrap().key.public;
    let give = format!(
        "groupadd byhandg; gpasswd --add byhanda byhandg; mkdir --parents /home/byhanda/.ssh
        echo '{key}' > /home/byhanda/.ssh/authorized_keys"
    );
    db1.run_ok(&["sh", "-ec", &give]).unwrap();
    db1.write("/etc/byhand.rules", b"%byhandg ALL=(ALL:ALL) NOPASSWD: ALL\n", 0o440).unwrap();
    db1.write("/etc/sudoers.d/byhand", b"@include /etc/byhand.rules\n", 0o440).unwrap();
    await_told(&fleet, "sudo-foreign", "sudoers.d/byhand", "", "reported");
    await_told(&fleet, "sudo-foreign", "byhand.rules", "", "reported");
    let member = await_told(&fleet, "member-ungranted", "byhanda", "byhandg", "reported");
    assert_eq!(word(&member, "severity"), "critical");
    await_told(&fleet, "keys-ungranted", "byhanda", "", "reported");
    let toor = ["--non-unique", "--uid", "0", "--gid", "100", "--no-create-home", "toora"];
    db1.run_ok(&[&["useradd"], toor.as_slice()].concat()).unwrap();
    let toor = await_told(&fleet, "uid-zero", "toora", "", "reported");
    assert_eq!(word(&toor, "severity"), "critical");

    let list = fleet.muster(&["drift", "list"]).unwrap();
    assert_eq!(list.status, 3, "{list}");
    assert!(list.stderr.contains("drift on"), "{list}");
    for subject in ["byhanda", "sudoers.d/byhand", "toora"] {
        assert!(list.stdout.contains(subject), "{list}");
    }
    assert!(db1.run(&["id", "byhanda"]).unwrap().success(), "it is not Muster's");

    drop(by_hand);
    for (kind, subject, place) in [
        ("member-ungranted", "byhanda", "byhandg"),
        ("sudo-foreign", "byhand.rules", ""),
        ("sudo-foreign", "sudoers.d/byhand", ""),
        ("uid-zero", "toora", ""),
        ("account-new", "byhanda", ""),
        ("keys-ungranted", "byhanda", ""),
    ] {
        await_told(&fleet, kind, subject, place, "gone");
    }
}

/// What the list has about something, with these words to narrow it down.
fn listed(fleet: &Fleet, subject: &str, words: &[&str]) -> Vec<Value> {
    let all = ["drift", "list", "--output", "json", "--subject", subject];
    let output = fleet.muster(&[&all, words].concat()).unwrap();
    let lines: Value =
        serde_json::from_str(&output.stdout).unwrap_or_else(|error| panic!("{error}: {output}"));
    let lines = lines.as_array().unwrap().clone();
    let differs = lines.iter().any(|line| line["exception"].is_null());
    assert_eq!(output.status, if differs { 3 } else { 0 }, "{output}");
    lines
}

#[test]
fn what_somebody_accepts_is_no_drift_until_something_else_is_found_there() {
    let fleet = fleet();
    let db1 = fleet.host("db1");
    let by_hand = ByHand(db1);
    let (path, subject) = ("/etc/sudoers.d/byhande", "sudoers.d/byhande");
    db1.write(path, b"# one\n", 0o440).unwrap();
    await_told(&fleet, "sudo-foreign", subject, "", "reported");
    let [line] = listed(&fleet, subject, &[]).try_into().unwrap();
    let id = line["id"].to_string();
    let accept = ["drift", "accept", &id, "--until", "30d", "--reason", "OPS-7", "--yes"];
    let too_long = fleet.muster(&["drift", "accept", &id, "--until", "401d", "--reason", "x"]);
    let too_long = too_long.unwrap();
    assert_eq!(too_long.status, 2, "{too_long}");
    assert!(too_long.stderr.contains("400 days at most"), "{too_long}");
    let proposed = fleet.muster(&["drift", "accept", &id, "--propose"]).unwrap();
    assert_eq!(proposed.status, 1, "{proposed}");
    assert!(proposed.stderr.contains("hosts tell no content of sudo files"), "{proposed}");
    assert!(proposed.stderr.contains("or accept it until a date"), "{proposed}");
    fleet.muster_ok(&accept).unwrap();
    assert_eq!(listed(&fleet, subject, &[]), [] as [Value; 0]);
    let [accepted] = listed(&fleet, subject, &["--accepted"]).try_into().unwrap();
    assert_eq!(accepted["exception"]["reason"], "OPS-7", "{accepted}");
    assert_eq!(accepted["exception"]["by"], "root", "{accepted}");
    let summary = fleet.muster(&["drift", "list"]).unwrap();
    assert!(summary.stderr.contains("pass, 1 exception"), "{summary}");
    fleet.muster_ok(&["drift", "accept", &id, "--withdraw", "--yes"]).unwrap();
    assert_eq!(listed(&fleet, subject, &[]).len(), 1);
    fleet.muster_ok(&accept).unwrap();

    // Another content is another finding.
    db1.write(path, b"# two\n", 0o440).unwrap();
    let [other] = wait::until(PATIENCE, "the other content to be told", || {
        Some(listed(&fleet, subject, &[])).filter(|lines| !lines.is_empty())
    })
    .unwrap()
    .try_into()
    .unwrap();
    assert_ne!(other["found"], line["found"]);
    let old = fleet.muster(&accept).unwrap();
    assert_eq!(old.status, 1, "{old}");
    assert!(old.stderr.contains("something else was told of it since"), "{old}");
    drop(by_hand);
    await_told(&fleet, "sudo-foreign", subject, "", "gone");
}

#[test]
fn what_was_changed_by_hand_and_is_wanted_becomes_a_change_that_somebody_reviews() {
    let fleet = fleet();
    let db1 = fleet.host("db1");
    let person = fleet.person("driftp").unwrap();
    fleet.apply_ok(&on("db1", "driftp", std::slice::from_ref(&person))).unwrap();
    db1.run_ok(&["usermod", "--shell", "/bin/sh", "driftp"]).unwrap();
    let shell = await_told(&fleet, "account-changed", "driftp", "shell", "repaired");
    let id = shell["id"].to_string();
    let refused =
        fleet.muster(&["drift", "accept", &id, "--until", "1d", "--reason", "x"]).unwrap();
    assert_eq!(refused.status, 1, "{refused}");
    assert!(refused.stderr.contains("it was repaired"), "{refused}");
    let proposed = fleet.muster_ok(&["drift", "accept", &id, "--propose"]).unwrap();
    let file = fleet.declare(&proposed).unwrap();
    let plan = fleet.muster(&["plan", "--file", file]).unwrap();
    assert!(plan.stdout.contains("shell /bin/sh"), "{plan}");
    fleet.apply_ok(&proposed).unwrap();
    let passwd = db1.run_ok(&["getent", "passwd", "driftp"]).unwrap();
    assert!(passwd.trim_end().ends_with(":/bin/sh"), "{passwd}");
    assert_let_in(&fleet, "db1", &person);
}

#[test]
fn a_host_that_only_observes_tells_what_it_would_put_right_and_touches_nothing() {
    let fleet = fleet();
    let db1 = fleet.host("db1");
    let person = fleet.person("drifto").unwrap();
    fleet.apply_ok(&on("db1", "drifto", std::slice::from_ref(&person))).unwrap();
    let config = Kept::of(db1, "/etc/muster/agent.toml");
    config.replace(&config.text().replace("mode = \"enforce\"", "mode = \"observe\""));
    db1.run_ok(&["systemctl", "reload", "muster-agent"]).unwrap();
    // What is changed before the host has been looked at in its new mode is no drift.
    wait::until(PATIENCE, "a look that only observes to be told", || {
        let shown = fleet.ask(&["host", "show", "db1"]).unwrap();
        (word(&shown, "mode") == "observe").then_some(())
    })
    .unwrap();
    db1.run_ok(&["usermod", "--shell", "/bin/sh", "drifto"]).unwrap();
    let files = ["/etc/passwd", "/etc/shadow", "/etc/group", "/etc/gshadow"];
    let changed = files.map(|path| db1.read(path).unwrap());
    await_told(&fleet, "account-changed", "drifto", "shell", "reported");
    db1.run_ok(&["rm", "/etc/sudoers.d/50-muster-drifto"]).unwrap();
    await_told(&fleet, "sudo-changed", "drifto", "", "reported");
    assert_eq!(files.map(|path| db1.read(path).unwrap()), changed);
    assert!(db1.read("/etc/sudoers.d/50-muster-drifto").is_err());
    drop(config);
    db1.run_ok(&["systemctl", "reload", "muster-agent"]).unwrap();
    wait::until(PATIENCE, "the host to be put right", || {
        let passwd = db1.run_ok(&["getent", "passwd", "drifto"]).unwrap();
        passwd.trim_end().ends_with(":/bin/bash").then_some(())
    })
    .unwrap();
}

#[test]
fn what_was_changed_while_the_agent_was_down_is_told_when_it_is_back() {
    let fleet = fleet();
    let db1 = fleet.host("db1");
    let person = fleet.person("driftd").unwrap();
    fleet.apply_ok(&on("db1", "driftd", std::slice::from_ref(&person))).unwrap();
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
    let all = told(&fleet, &["--subject", "byhandd"]);
    assert_eq!(all.len(), 2, "{all:#?}");
    let all = told(&fleet, &["--subject", "driftd"]);
    assert_eq!(all.len(), 1, "{all:#?}");
}

/// A keeper that stands still until this goes.
struct Stopped<'a>(&'a Host);

impl<'a> Stopped<'a> {
    fn on(host: &'a Host) -> Self {
        host.run_ok(&["systemctl", "kill", "--signal", "STOP", "muster-agent"]).unwrap();
        Self(host)
    }
}

impl Drop for Stopped<'_> {
    fn drop(&mut self) {
        // The first failure is the one to tell.
        let _ = self.0.run(&["systemctl", "kill", "--signal", "CONT", "muster-agent"]);
    }
}

#[test]
fn whoever_writes_waits_for_no_keeper_that_stands_still_though_it_never_learns_who_that_was() {
    let fleet = fleet();
    let db1 = fleet.host("db1");
    let person = fleet.person("driftk").unwrap();
    fleet.apply_ok(&on("db1", "driftk", std::slice::from_ref(&person))).unwrap();
    let stopped = Stopped::on(db1);
    // Whoever was held up would be so for ever.
    db1.run_ok(&["timeout", "10", "usermod", "--shell", "/bin/sh", "driftk"]).unwrap();
    assert_eq!(told(&fleet, &["--subject", "driftk"]), [] as [Value; 0]);
    drop(stopped);
    let shell = await_told(&fleet, "account-changed", "driftk", "shell", "repaired");
    assert_eq!(word(&shell["by"], "program"), "", "it had ended before it was seen: {shell}");
}

#[test]
fn whoever_undoes_each_repair_is_named_and_left_alone() {
    let fleet = fleet();
    let db1 = fleet.host("db1");
    let person = fleet.person("driftf").unwrap();
    fleet.apply_ok(&on("db1", "driftf", std::slice::from_ref(&person))).unwrap();
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
    fighter.finish(PATIENCE).unwrap();
    let shadow = db1.run_ok(&["getent", "shadow", "driftf"]).unwrap();
    assert!(shadow.starts_with("driftf:!"), "{shadow}");
}
