//! Muster from end to end: a real controller and real agents on real hosts, and people who log in
//! over ssh. Needs root, `tests/prepare`, and the programs that `tests/run` builds.
//!
//! All tests share one fleet, which takes longer to bring up than most of them take. One test has it
//! at a time, since they pull its cables and stop its controller; each finds it whole and leaves its
//! own people behind, so logins are unlike.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking, in its helpers too")]

mod access;
mod adopting;
mod answers;
mod controller;
mod doctor;
mod drifting;
mod edits;
mod effects;
mod existing;
mod fields;
mod fleet_hosts;
mod following;
mod full;
mod grown;
mod guarded;
mod hardware;
mod hindered;
mod input;
mod keeping;
mod kept;
mod lifecycle;
mod locked;
mod moving;
mod names;
mod observed;
mod overview;
mod passwords;
mod paused;
mod places;
mod probed;
mod purged;
mod reading;
mod releases;
mod renumbered;
mod restore;
mod staying;
mod sudo_rs;
mod token;
mod units;
mod upgrades;
mod watched;
mod years;

use std::fmt::Write;
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use muster_tests::{Fleet, Host, Member, Mode, Output, Person, Programs, Running};
use serde_json::Value;

/// How long something may take that should take no time at all.
const SOON: Duration = Duration::from_secs(10);

/// How long is waited for what hosts tell or put right in no time, on a machine that others keep
/// busy: how long that takes is measured, by `tests/long drift`.
const PATIENCE: Duration = Duration::from_mins(1);

/// The hosts of the fleet. `watch1` is only observed.
const MEMBERS: [Member<'_>; 4] = [
    Member { name: "web1", labels: &["env=prod", "tier=web"], mode: Mode::Enforce },
    Member { name: "db1", labels: &["env=prod", "tier=db"], mode: Mode::Enforce },
    Member { name: "dev1", labels: &["env=dev", "tier=db"], mode: Mode::Enforce },
    Member { name: "watch1", labels: &["env=watch", "tier=db"], mode: Mode::Observe },
];

/// The hosts that Muster may change.
const HOSTS: [&str; 3] = ["web1", "db1", "dev1"];
/// A selector of [`HOSTS`].
const ENFORCED: &str = "env in (prod,dev)";

/// Waits for the fleet to be free, and returns it whole.
fn fleet() -> MutexGuard<'static, Fleet> {
    static FLEET: OnceLock<Result<Mutex<Fleet>, String>> = OnceLock::new();
    // Two checkouts of one machine may be tested at a time.
    let name = format!("e2e-{}", std::process::id());
    let start = || Fleet::start(&name, &Programs::tested()?, &MEMBERS).map(Mutex::new);
    let fleet = FLEET.get_or_init(|| start().map_err(|error| format!("{error:#}")));
    let fleet = match fleet {
        Ok(fleet) => fleet.lock().unwrap_or_else(PoisonError::into_inner),
        Err(error) => panic!("there is no fleet: {error}"),
    };
    fleet.settle().unwrap();
    fleet
}

/// Returns the uid of an account on a host.
fn uid(host: &Host, login: &str) -> u32 {
    host.run_ok(&["id", "--user", login]).unwrap().trim().parse().unwrap()
}

/// Asserts that a person logs in to a host.
fn assert_let_in(fleet: &Fleet, host: &str, person: &Person) {
    let output = fleet.ssh(host, person).command("id --user --name").run().unwrap();
    assert_eq!(output.stdout.trim(), person.login, "`{}` on {host}: {output}", person.login);
}

/// Asserts that sshd itself sends a person away.
fn assert_kept_out(fleet: &Fleet, host: &str, person: &Person) {
    let output = fleet.ssh(host, person).command("true").run().unwrap();
    assert!(is_refused(&output), "`{}` on {host}: {output}", person.login);
}

/// Tells whether there was a connection, and no login.
fn is_refused(output: &Output) -> bool {
    let closed = ["Permission denied", "Connection closed by"];
    output.status == 255 && closed.iter().any(|words| output.stderr.contains(words))
}

/// Declares these people on one host, each with her key, and a role of theirs.
fn on(host: &str, role: &str, people: &[Person]) -> String {
    let mut yaml = format!("groups: {{{role}: {{}}}}\nusers:\n");
    for Person { login, key } in people {
        writeln!(yaml, "  {login}: {{groups: [{role}], keys: [\"{}\"]}}", key.public).unwrap();
    }
    yaml + &format!(
        "roles:\n  {role}: {{sudo: [{{commands: [/usr/bin/id]}}]}}\n\
         assignments:\n  {role}: {{group: {role}, role: {role}, hosts: muster/hostname={host}}}\n"
    )
}

/// Declares these people on one host, each with a role of her own.
fn each_on(host: &str, people: &[&Person]) -> String {
    let mut all = [String::new(), String::new(), String::new()];
    for Person { login, key } in people {
        writeln!(all[0], "  {login}: {{keys: [\"{}\"]}}", key.public).unwrap();
        writeln!(all[1], "  {login}: {{sudo: [{{commands: [/usr/bin/id]}}]}}").unwrap();
        let hosts = format!("hosts: muster/hostname={host}");
        writeln!(all[2], "  {login}: {{user: {login}, role: {login}, {hosts}}}").unwrap();
    }
    let [users, roles, assignments] = all;
    format!("users:\n{users}roles:\n{roles}assignments:\n{assignments}")
}

/// Returns what `muster host show` says of a host.
fn shown(fleet: &Fleet, host: &str) -> String {
    fleet.ask(&["host", "show", host]).unwrap().to_string()
}

/// Tells whether an account's password is locked.
fn is_locked(host: &Host, login: &str) -> bool {
    let shadow = host.run_ok(&["getent", "shadow", login]).unwrap();
    shadow.starts_with(&format!("{login}:!"))
}

/// Tells whether there is a file.
fn is_there(host: &Host, path: &str) -> bool {
    host.run(&["test", "-e", path]).unwrap().success()
}

/// Runs a command by sudo in a person's login.
fn sudo(fleet: &Fleet, host: &str, person: &Person, command: &str) -> Output {
    fleet.ssh(host, person).command(&format!("sudo --non-interactive {command}")).run().unwrap()
}

/// Opens a session that stays open as long as its standard input does.
fn open_session(fleet: &Fleet, host: &str, person: &Person) -> Running {
    let mut session = fleet.ssh(host, person).command("echo here; exec cat").spawn().unwrap();
    session.wait_for_line(SOON, "here").unwrap();
    session
}

/// Returns the processes of a uid on a host, each with its command.
fn processes(host: &Host, uid: u32) -> String {
    host.run(&["pgrep", "--list-full", "--uid", &uid.to_string()]).unwrap().stdout
}

/// Returns what changes with everything that a controller does: changes, log and revocations.
fn standing(fleet: &Fleet) -> Value {
    let status = fleet.ask(&["status"]).unwrap();
    let fields = ["change", "audit_log", "revocations", "trust_root"];
    fields.iter().map(|field| (*field, status.get(*field).unwrap().clone())).collect()
}

/// Asserts that a command has failed in these words, and with this exit code.
fn assert_failed(output: &Output, status: i32, words: &[&str]) {
    assert_eq!(output.status, status, "{output}");
    assert!(output.stderr.starts_with("error: "), "{output}");
    assert!(!output.stderr.contains("panicked"), "{output}");
    for word in words {
        assert!(output.stderr.contains(word), "no `{word}`: {output}");
    }
}
