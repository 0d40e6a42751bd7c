//! What sudo and PAM themselves say of single accounts on real hosts: where that is not what the
//! account files and the sudo files say, it is told, and left as it is.

use muster_tests::{Fleet, Host, wait};
use serde_json::Value;

use crate::{
    PATIENCE, assert_kept_out, assert_let_in,
    drifting::{await_narrowed, await_told, word},
    each_on,
    existing::findings,
    fleet,
    kept::{Kept, Shim},
    on, sudo,
};

/// Puts lines before those of a file.
fn put_first(file: &Kept<'_>, lines: &str) {
    file.replace(&format!("{lines}\n{}", file.text()));
}

/// A file that goes however a test ends.
struct Made<'a>(&'a Host, &'static str);

impl<'a> Made<'a> {
    fn of(host: &'a Host, path: &'static str, text: &str, mode: u32) -> Self {
        host.write(path, text.as_bytes(), mode).unwrap();
        Self(host, path)
    }
}

impl Drop for Made<'_> {
    fn drop(&mut self) {
        // The first failure is the one to tell.
        let _ = self.0.run(&["rm", "-f", self.1]);
    }
}

/// Of whom PAM's account check is told to differ on a host now.
fn told_of_pam(fleet: &Fleet, host: &str) -> Vec<String> {
    let words = ["drift", "list", "--host", host, "--kind", "effect-differs", "--output", "json"];
    let output = fleet.muster(&words).unwrap();
    let all: Vec<Value> = serde_json::from_str(&output.stdout).unwrap();
    let of_pam = all.iter().filter(|one| word(one, "place") == "pam");
    of_pam.map(|one| word(one, "subject").to_owned()).collect()
}

/// Waits until that is told of these on `dev1` and of nobody else.
fn await_told_of_pam(fleet: &Fleet, subjects: &[&str]) {
    wait::until(PATIENCE, "what PAM does otherwise to be told of these alone", || {
        (told_of_pam(fleet, "dev1") == subjects).then_some(())
    })
    .unwrap();
}

#[test]
fn whom_pam_refuses_though_we_let_her_in_is_told_and_whom_it_lets_in_though_we_do_not() {
    let fleet = fleet();
    let host = fleet.host("dev1");
    let [refused, locked] = ["pamela", "pamina"].map(|login| fleet.person(login).unwrap());
    let sshd = Kept::of(host, "/etc/pam.d/sshd");
    put_first(&sshd, "account required pam_succeed_if.so quiet user != pamela");
    fleet.apply_ok(&each_on("dev1", &[&refused, &locked])).unwrap();
    let told = await_told(&fleet, "effect-differs", "pamela", "pam", "reported");
    assert_eq!(word(&told, "severity"), "medium", "{told}");
    assert_eq!(word(&told, "expected"), "lets in");
    assert_eq!(word(&told, "found"), "the account check of PAM refuses");
    let output = fleet.ssh("dev1", &refused).command("true").run().unwrap();
    assert_eq!(output.status, 255, "{output}");
    assert_let_in(&fleet, "dev1", &locked);
    let console = host.run(&["muster-agent", "drift"]).unwrap();
    assert!(console.stdout.contains("the account check of PAM refuses"), "{console}");
    assert_eq!(told_of_pam(&fleet, "dev1"), ["pamela"]);
    drop(sshd);
    await_told(&fleet, "effect-differs", "pamela", "pam", "gone");

    let sshd = Kept::of(host, "/etc/pam.d/sshd");
    put_first(&sshd, "account sufficient pam_permit.so");
    fleet.muster_ok(&["offboard", "pamina", "--yes"]).unwrap();
    let told = await_told(&fleet, "effect-differs", "pamina", "pam", "reported");
    assert_eq!(word(&told, "severity"), "high", "{told}");
    assert_eq!(word(&told, "found"), "the account check of PAM lets in");
    drop(sshd);
    let told = await_told(&fleet, "effect-differs", "pamina", "pam", "gone");
    assert_eq!(word(&told, "subject"), "pamina");
    // Nor had any unit that asked failed meanwhile.
    let said =
        host.run_ok(&["journalctl", "--no-pager", "--quiet", "--identifier", "systemd"]).unwrap();
    let failed = said.lines().find(|line| line.contains("run-") && line.contains("Failed with"));
    assert_eq!(failed, None);
}

#[test]
fn where_asking_pam_would_lift_a_lockout_it_is_not_asked_and_the_host_says_why() {
    let fleet = fleet();
    let person = fleet.person("paulina").unwrap();
    fleet.apply_ok(&each_on("dev1", &[&person])).unwrap();
    let sshd = Kept::of(fleet.host("dev1"), "/etc/pam.d/sshd");
    put_first(&sshd, "account required pam_faillock.so");
    let told = wait::until(PATIENCE, "the host to say that PAM is not asked", || {
        findings(&fleet, "dev1", "unasked pam").into_iter().next()
    });
    let told = told.unwrap();
    assert!(told.ends_with("`pam_faillock.so` in `sshd` may do more than look"), "{told}");
}

#[test]
fn a_host_that_lets_nobody_in_is_told_once_and_not_for_each() {
    let fleet = fleet();
    let people = ["nolo", "nola"].map(|login| fleet.person(login).unwrap());
    let [nolo, nola] = &people;
    fleet.apply_ok(&each_on("dev1", &[nolo, nola])).unwrap();
    let nologin = Made::of(fleet.host("dev1"), "/etc/nologin", "not now\n", 0o644);
    let told = await_told(&fleet, "effect-differs", "muster-accounts", "pam", "reported");
    let all =
        "the account check of PAM refuses everybody who was asked about: /etc/nologin is there";
    assert_eq!(word(&told, "found"), all);
    await_told_of_pam(&fleet, &["muster-accounts"]);
    drop(nologin);
    await_told(&fleet, "effect-differs", "muster-accounts", "pam", "gone");
    await_told_of_pam(&fleet, &[]);
}

#[test]
fn what_sudo_gives_otherwise_than_any_file_that_can_be_read_says_is_told_as_long_as_it_does() {
    let fleet = fleet();
    let host = fleet.host("db1");
    let person = fleet.person("sudora").unwrap();
    let other = "/etc/sudoers-other";
    let nobody = Made::of(host, other, "root ALL=(ALL:ALL) ALL\n", 0o440);
    // Another file than /etc/sudoers, as sudo itself may be told.
    let config = Kept::of(host, "/etc/sudo.conf");
    let plugin = format!("Plugin sudoers_policy sudoers.so sudoers_file={other}");
    put_first(&config, &plugin);
    fleet.apply_ok(&on("db1", "sudora", std::slice::from_ref(&person))).unwrap();
    let of_her = ["--kind", "effect-differs", "--subject", "sudora", "--severity"];
    let told = await_narrowed(&fleet, &[&of_her[..], &["medium"]].concat(), "sudo", "reported");
    assert_eq!(word(&told, "found"), "sudo lets it run nothing");
    assert_eq!(word(&told, "expected"), "what our rules give");
    assert!(!sudo(&fleet, "db1", &person, "/usr/bin/id").success());

    let everything = b"root ALL=(ALL:ALL) ALL\nsudora ALL=(ALL:ALL) NOPASSWD: ALL\n";
    host.write(other, everything, 0o440).unwrap();
    // What it says is another though nobody was at what is watched.
    put_first(&config, &format!("# Read anew.\n{plugin}"));
    let told = await_narrowed(&fleet, &[&of_her[..], &["critical"]].concat(), "sudo", "reported");
    assert_eq!(word(&told, "found"), "ALL as ALL: by no rule that cvtsudoers reads");
    assert!(sudo(&fleet, "db1", &person, "/usr/bin/true").success());

    drop(config);
    drop(nobody);
    await_told(&fleet, "effect-differs", "sudora", "sudo", "gone");
    assert!(sudo(&fleet, "db1", &person, "/usr/bin/id").success());
}

/// A sudo that says nothing, and notes who it is.
const SLOW: &str = "echo $$ > /run/slow-sudo; exec sleep 600";

/// Tells whether there is a process.
fn is_running(host: &Host, process: &str) -> bool {
    host.run(&["kill", "-0", process]).unwrap().success()
}

#[test]
fn whoever_is_asked_and_never_answers_holds_up_no_offboarding() {
    let fleet = fleet();
    let host = fleet.host("db1");
    let people = ["slowa", "slowb", "slowc"].map(|login| fleet.person(login).unwrap());
    let slow = Shim::before(host, "/usr/bin/sudo", SLOW);
    let mut last = String::new();
    // Where the machine is busy it may be ended before the offboarding is: then the next one counts.
    let done_meanwhile = people.iter().any(|person| {
        fleet.apply_ok(&each_on("db1", &[person])).unwrap();
        wait::until(PATIENCE, "sudo to be asked", || {
            let before = last.clone();
            last = host.run(&["cat", "/run/slow-sudo"]).unwrap().stdout.trim().to_owned();
            (last != before && is_running(host, &last)).then_some(())
        })
        .unwrap();
        fleet.muster_ok(&["offboard", &person.login, "--yes"]).unwrap();
        let still_asked = is_running(host, &last);
        assert_kept_out(&fleet, "db1", person);
        still_asked
    });
    assert!(done_meanwhile, "each offboarding was done only once nobody was asked any more");
    drop(slow);
    // Who still waits for it need not.
    host.run_ok(&["sh", "-c", "kill $(cat /run/slow-sudo); rm /run/slow-sudo"]).unwrap();
}
