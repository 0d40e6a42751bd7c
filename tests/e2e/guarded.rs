//! The guardrails of a host's own configuration: what no change does there, whoever signed it, while
//! the rest of it is done and what was not is told.

use std::fmt::Write;

use muster_tests::{Fleet, Host, Person, wait};

use crate::{
    PATIENCE, assert_kept_out, assert_let_in,
    drifting::{await_told, word},
    existing::{findings, lines_of},
    fleet,
    kept::Kept,
    sudo, uid,
};

const CONFIG: &str = "/etc/muster/agent.toml";

/// Declares these users on db1, each with a role.
fn on_db1(people: &[(&Person, &str, &str)]) -> String {
    let mut all = ["users:\n".to_owned(), "assignments:\n".to_owned()];
    for (Person { login, key }, role, more) in people {
        writeln!(all[0], "  {login}: {{{more}keys: [\"{}\"]}}", key.public).unwrap();
        let hosts = "hosts: muster/hostname=db1";
        writeln!(all[1], "  {login}: {{user: {login}, role: {role}, {hosts}}}").unwrap();
    }
    all.concat()
        + "roles:\n  guard: {sudo: [{commands: [/usr/bin/id]}]}\n  \
           guard-admin: {sudo: [{commands: [ALL]}]}\n  guard-refused: {}\n"
}

/// Returns whether somebody becomes root by sudo.
fn is_administrator(fleet: &Fleet, person: &Person) -> bool {
    sudo(fleet, "db1", person, "/usr/bin/whoami").stdout == "root\n"
}

#[test]
fn what_a_host_guards_is_refused_told_and_the_rest_of_the_change_done() {
    let fleet = fleet();
    let db1 = fleet.host("db1");
    let people = ["guadalupe", "gita", "gus", "gesa", "glen", "ghia"];
    let [admin, gita, gus, gesa, glen, ghia] = people.map(|login| fleet.person(login).unwrap());
    let before = [(&admin, "guard-admin", ""), (&gita, "guard-admin", ""), (&gus, "guard", "")];
    fleet.apply_ok(&on_db1(&before)).unwrap();
    assert!(is_administrator(&fleet, &admin) && is_administrator(&fleet, &gita));
    let config = Kept::of(db1, CONFIG);
    config.replace(
        "mode = \"enforce\"\nbreak_glass = [\"ops\", \"gita\"]\nprotected = [\"gus\"]\n\
         refused_roles = [\"guard-refused\"]\nuid_ranges = [[20000, 59999]]\n",
    );
    db1.run_ok(&["systemctl", "reload", "muster-agent"]).unwrap();
    // Others come into the Unix groups that they are in.
    let own = |login: &str| -> Vec<String> {
        let lines = lines_of(db1, login).into_values().flatten();
        lines.filter(|line| line.starts_with(&format!("{login}:"))).collect()
    };
    let keys_of = |login: &str| String::from_utf8(db1.read(&keys(login)).unwrap()).unwrap();
    let guarded = ["gita", "gus"];
    let untouched = (guarded.map(own), guarded.map(keys_of), own("ops"));

    // It takes everybody out, the last administrator and the way in too, and lets others in.
    let after = [
        (&gesa, "guard", "uid: 19999, "),
        (&glen, "guard", "uid: 20000, "),
        (&ghia, "guard-refused", ""),
    ];
    let gone = "absent: {assignments: [guadalupe, gita, gus], users: [guadalupe, gita, gus]}\n";
    let applied = fleet.apply(&(on_db1(&after) + gone)).unwrap();
    assert_eq!(applied.status, 4, "{applied}");
    assert!(applied.stderr.contains("not confirmed: db1 (partly)"), "{applied}");
    for (kind, subject) in [
        ("protected", "gita"),
        ("protected", "gus"),
        ("uid-out-of-range", "gesa"),
        ("role-refused", "guard-refused"),
    ] {
        let told = findings(&fleet, "db1", subject);
        let start = format!("{kind} {subject}");
        assert!(told.iter().any(|finding| finding.starts_with(&start)), "{start}: {told:?}");
    }
    // Whoever is revoked is never kept in as the last administrator.
    assert_kept_out(&fleet, "db1", &admin);
    assert_eq!((guarded.map(own), guarded.map(keys_of), own("ops")), untouched);
    assert!(is_administrator(&fleet, &gita));
    assert_let_in(&fleet, "db1", &gus);
    for login in ["gesa", "ghia"] {
        assert!(!db1.run(&["getent", "passwd", login]).unwrap().success(), "{login}");
    }
    assert_let_in(&fleet, "db1", &glen);
    assert_eq!(uid(db1, "glen"), 20_000);

    // As soon as the host guards them no longer they are out.
    drop(config);
    db1.run_ok(&["systemctl", "reload", "muster-agent"]).unwrap();
    wait::until(PATIENCE, "both to be locked", || {
        guarded.iter().all(|login| !is_there(db1, &keys(login))).then_some(())
    })
    .unwrap();
    for person in [&gita, &gus] {
        assert_kept_out(&fleet, "db1", person);
    }
}

fn keys(login: &str) -> String {
    format!("/etc/ssh/muster-keys/{login}")
}

fn is_there(host: &Host, path: &str) -> bool {
    host.run(&["test", "-e", path]).unwrap().success()
}

#[test]
fn nothing_is_enforced_without_an_account_for_an_emergency() {
    let fleet = fleet();
    let db1 = fleet.host("db1");
    let config = Kept::of(db1, CONFIG);
    config.replace("mode = \"enforce\"\n");
    let started = db1.run(&["systemctl", "restart", "muster-agent"]).unwrap();
    let state = db1.run(&["systemctl", "is-active", "muster-agent"]).unwrap();
    let journal = db1.journal("muster-agent.service").unwrap();
    drop(config);
    db1.run_ok(&["systemctl", "reset-failed", "muster-agent"]).unwrap();
    db1.run_ok(&["systemctl", "restart", "muster-agent"]).unwrap();
    assert!(!started.success() && !state.success(), "{started}{state}");
    let why = "break_glass: `enforce` needs an account named here that Muster never touches";
    assert!(journal.contains(why), "{journal}");
    fleet.wait_until_connected(&["db1"]).unwrap();
}

/// An account that is locked for a while, and opened however a test ends.
struct Locked<'a>(&'a Host);

impl<'a> Locked<'a> {
    fn ops(host: &'a Host) -> Self {
        host.run_ok(&["passwd", "--quiet", "--lock", "ops"]).unwrap();
        Self(host)
    }
}

impl Drop for Locked<'_> {
    fn drop(&mut self) {
        // The first failure is the one to tell.
        let _ = self.0.run(&["passwd", "--quiet", "--unlock", "ops"]);
    }
}

#[test]
fn that_no_account_for_an_emergency_works_is_told_with_who_did_it_and_keeps_nobody_in() {
    let fleet = fleet();
    let db1 = fleet.host("db1");
    let last = fleet.person("gunda").unwrap();
    fleet.apply_ok(&on_db1(&[(&last, "guard-admin", "")])).unwrap();
    assert!(is_administrator(&fleet, &last));
    let none_works = "no way in for an emergency on db1:";
    let status = || fleet.muster(&["status"]).unwrap().stdout;
    assert!(!status().contains("no way in for an emergency"), "{}", status());

    let locked = Locked::ops(db1);
    let told = await_told(&fleet, "break-glass", "ops", "", "reported");
    assert_eq!(word(&told, "severity"), "critical");
    assert_eq!(word(told.get("by").unwrap(), "program"), "passwd", "{told}");
    assert!(status().contains(none_works), "{}", status());
    let finding = "break-glass ops: the way in for an emergency cannot be used: it is locked and has \
                   no key; none that works is left";
    let found = findings(&fleet, "db1", "break-glass ops");
    assert!(found.iter().any(|one| one == finding), "{found:?}");
    let on_console = db1.run_ok(&["muster-agent", "status"]).unwrap();
    assert!(on_console.contains(finding), "{on_console}");

    // Whoever loses a grant meanwhile loses it, though nobody is left who becomes root.
    let gone = "absent: {assignments: [gunda], users: [gunda]}\n";
    fleet.apply_ok(gone).unwrap();
    assert_kept_out(&fleet, "db1", &last);

    drop(locked);
    await_told(&fleet, "break-glass", "ops", "", "gone");
    assert!(!status().contains("no way in for an emergency"), "{}", status());
}
