//! What an operator is told while hosts do what she asked, and what is taken away by one signature.

use std::time::Duration;

use muster_tests::{Fleet, Member, Mode, Person, Programs, wait};

use crate::{
    ENFORCED, HOSTS, SOON, assert_kept_out, assert_let_in, fleet, is_locked, lifecycle::everywhere,
    open_session, standing, sudo,
};

/// Longer than hosts take that hear at once, and short enough to be waited for.
const TIMEOUT: &str = "20";

fn is_let_in(fleet: &Fleet, host: &str, person: &Person) -> Option<()> {
    fleet.ssh(host, person).command("true").run().ok()?.success().then_some(())
}

#[test]
fn a_command_that_does_not_wait_names_whom_it_does_not_wait_for() {
    let fleet = fleet();
    let lou = fleet.person("lou").unwrap();
    let path = fleet.declare(&everywhere(&lou)).unwrap();
    let applied = fleet.muster(&["apply", "--yes", "--no-wait", "--file", path]).unwrap();
    let named = "3 hosts are concerned, and not waited for: db1, dev1, web1";
    assert_eq!(applied.status, 4, "{applied}");
    assert!(applied.stderr.contains(named), "{applied}");
    for host in HOSTS {
        wait::until(SOON, "a login", || is_let_in(&fleet, host, &lou)).unwrap();
        assert!(!applied.stderr.contains(&format!("{host}: done")), "{applied}");
    }
    let left = fleet.muster(&["offboard", "lou", "--yes", "--no-wait"]).unwrap();
    assert_eq!(left.status, 4, "{left}");
    assert!(left.stderr.contains(named), "{left}");
    for host in HOSTS {
        let machine = fleet.host(host);
        wait::until(SOON, "a lock", || is_locked(machine, "lou").then_some(())).unwrap();
        assert_kept_out(&fleet, host, &lou);
    }
}

#[test]
fn each_host_is_shown_as_it_confirms_and_who_does_not_is_named() {
    let fleet = fleet();
    let pia = fleet.person("pia").unwrap();
    let path = fleet.declare(&everywhere(&pia)).unwrap();
    fleet.lab().cut_cable("db1").unwrap();
    let words = ["muster", "apply", "--yes", "--timeout", TIMEOUT, "--file", path];
    let mut apply = fleet.controller().spawn(&words).unwrap();
    wait::until(SOON, "two hosts to be shown", || {
        let said = apply.stderr();
        (said.contains("web1: done") && said.contains("dev1: done")).then_some(())
    })
    .unwrap();
    assert!(apply.is_running(), "it waits for the third");
    assert!(!apply.stderr().contains("not confirmed"), "{}", apply.stderr());
    let output = apply.finish(Duration::from_mins(1)).unwrap();
    assert_eq!(output.status, 4, "{output}");
    assert!(output.stderr.contains("2 of 3 hosts have confirmed"), "{output}");
    let missing: Vec<&str> =
        output.stderr.lines().filter(|line| line.starts_with("not confirmed: ")).collect();
    assert_eq!(missing, ["not confirmed: db1 (outstanding)"], "{output}");
    fleet.lab().mend_cable("db1").unwrap();
}

#[test]
fn a_revoked_membership_takes_what_the_group_gave_and_a_revoked_user_all() {
    let fleet = fleet();
    let ubbo = fleet.person("ubbo").unwrap();
    let declaration = format!(
        "users:\n  ubbo: {{groups: [ubbos], keys: [\"{key}\"]}}\ngroups:\n  ubbos: {{}}\n\
         roles:\n  ubbo-in: {{}}\n  ubbo-id: {{sudo: [{{commands: [/usr/bin/id]}}]}}\n\
         assignments:\n  ubbo-in: {{user: ubbo, role: ubbo-in, hosts: \"{ENFORCED}\"}}\n  \
         ubbo-id: {{group: ubbos, role: ubbo-id, hosts: \"{ENFORCED}\"}}\n",
        key = ubbo.key.public
    );
    fleet.apply_ok(&declaration).unwrap();
    for host in HOSTS {
        assert!(sudo(&fleet, host, &ubbo, "/usr/bin/id").success());
    }
    let before = standing(&fleet);
    let membership = ["revoke", "membership", "ubbo", "ubbos"];
    let shown = fleet.muster(&[&membership[..], &["--dry-run"]].concat()).unwrap();
    assert_eq!(shown.status, 3, "{shown}");
    assert!(HOSTS.iter().all(|host| shown.stdout.contains(host)), "{shown}");
    assert_eq!(standing(&fleet), before, "nothing was signed");

    let revoked = fleet.muster(&[&membership[..], &["--yes"]].concat()).unwrap();
    assert!(revoked.success(), "{revoked}");
    for host in HOSTS {
        assert_let_in(&fleet, host, &ubbo);
        assert!(!sudo(&fleet, host, &ubbo, "/usr/bin/id").success(), "{host}");
    }
    let revoked = fleet.muster(&["revoke", "user", "ubbo", "--yes"]).unwrap();
    assert!(revoked.success(), "{revoked}");
    for host in HOSTS {
        assert!(revoked.stderr.contains(&format!("{host}: done")), "{revoked}");
        assert_kept_out(&fleet, host, &ubbo);
        assert!(is_locked(fleet.host(host), "ubbo"), "{host}");
    }
    let status = fleet.muster_ok(&["status"]).unwrap();
    assert!(status.contains("revoked, and no change removes them yet: "), "{status}");
}

#[test]
fn a_key_and_a_membership_are_given_back_on_every_host_by_their_revocations_ids() {
    let fleet = fleet();
    let udo = fleet.person("udo").unwrap();
    let declaration = format!(
        "users:\n  udo: {{groups: [udos], keys: [\"{key}\"]}}\ngroups:\n  udos: {{}}\n\
         roles:\n  udo-in: {{}}\n  udo-id: {{sudo: [{{commands: [/usr/bin/id]}}]}}\n\
         assignments:\n  udo-in: {{user: udo, role: udo-in, hosts: \"{ENFORCED}\"}}\n  \
         udo-id: {{group: udos, role: udo-id, hosts: \"{ENFORCED}\"}}\n",
        key = udo.key.public
    );
    fleet.apply_ok(&declaration).unwrap();
    fleet.muster_ok(&["revoke", "membership", "udo", "udos", "--yes"]).unwrap();
    fleet.muster_ok(&["revoke", "key", &udo.key.public, "--yes", "--timeout", "120"]).unwrap();
    for host in HOSTS {
        assert_kept_out(&fleet, host, &udo);
    }

    // The error names one after the other; both are needed, and nothing else changes meanwhile.
    let path = fleet.declare(&declaration).unwrap();
    let before = fleet.newest_change().unwrap();
    let mut words = vec!["apply".to_owned(), "--yes".into(), "--file".into(), path.into()];
    for _ in 0..2 {
        let given: Vec<&str> = words.iter().map(String::as_str).collect();
        let refused = fleet.muster(&given).unwrap();
        assert_eq!(refused.status, 2, "{refused}");
        let flag = refused.stderr.split("give it back with `--reinstate ").nth(1);
        let id = flag.unwrap().split('`').next().unwrap();
        words.extend(["--reinstate".to_owned(), id.to_owned()]);
        assert_eq!(fleet.newest_change().unwrap(), before);
    }
    let given: Vec<&str> = words.iter().map(String::as_str).collect();
    let back = fleet.muster(&given).unwrap();
    assert!(back.success(), "{back}");
    for host in HOSTS {
        assert_let_in(&fleet, host, &udo);
        assert!(sudo(&fleet, host, &udo, "/usr/bin/id").success(), "{host}");
    }
}

#[test]
fn a_revoked_host_locks_all_accounts_that_muster_gave_there_and_no_other_host_does() {
    // What is revoked here comes back only with a new key, so this fleet is of its own.
    let member = |name| Member { name, labels: &["env=prod"], mode: Mode::Enforce };
    let name = format!("revoked-{}", std::process::id());
    let members = [member("old1"), member("new1")];
    let fleet = Fleet::start(&name, &Programs::tested().unwrap(), &members).unwrap();
    let [vito, wally] = ["vito", "wally"].map(|login| fleet.person(login).unwrap());
    fleet.apply_ok(&everywhere(&vito)).unwrap();
    fleet.apply_ok(&everywhere(&wally)).unwrap();
    let mut session = open_session(&fleet, "old1", &vito);
    let revoked = fleet.muster(&["revoke", "host", "old1", "--yes"]).unwrap();
    assert!(revoked.success(), "{revoked}");
    assert!(revoked.stderr.contains("old1: done"), "{revoked}");
    assert!(!revoked.stderr.contains("new1"), "{revoked}");
    assert_eq!(session.finish(SOON).unwrap().status, 255);
    for person in [&vito, &wally] {
        assert_kept_out(&fleet, "old1", person);
        assert!(is_locked(fleet.host("old1"), &person.login), "{}", person.login);
        assert_let_in(&fleet, "new1", person);
    }
    assert!(!is_locked(fleet.host("old1"), "root"));
    let passwd = fleet.host("old1").run_ok(&["getent", "passwd", "ops"]).unwrap();
    assert!(passwd.ends_with("/bin/bash\n"), "{passwd}");
}
