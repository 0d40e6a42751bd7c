//! What sshd makes of the drop-in: whose keys and passwords let whom in.

use muster_tests::{Fleet, Host, Output, Person};

use crate::{assert_kept_out, assert_let_in, fleet, is_refused};

/// What everybody's password is in here.
pub(crate) const PASSWORD: &str = "correct horse battery";

/// Declares one user with a role of her own on `web1` and `db1`; `role` is what is in that.
fn declared(person: &Person, role: &str) -> String {
    let Person { login, key } = person;
    format!(
        "users:\n  {login}: {{keys: [\"{key}\"]}}\nroles:\n  {login}: {{{role}}}\n\
         assignments:\n  {login}: {{user: {login}, role: {login}, hosts: \"env=prod\"}}\n",
        key = key.public
    )
}

/// Adds an account that is not Muster's, with numbers that Muster never gives.
fn add_local(host: &Host, login: &str, uid: &str) {
    let shell = ["--shell", "/bin/bash", "--gid", "users", "--uid", uid, login];
    host.run_ok(&[&["useradd", "--create-home"], &shell[..]].concat()).unwrap();
}

/// Puts a new key where sshd looks by itself, and returns who logs in with it.
fn own_key(fleet: &Fleet, host: &Host, login: &str) -> Person {
    const SCRIPT: &str = r#"
        home=$(getent passwd "$1" | cut -d : -f 6)
        install -d -m 0700 -o "$1" "$home/.ssh"
        install -m 0600 -o "$1" /dev/stdin "$home/.ssh/authorized_keys"
    "#;
    let key = fleet.lab().keygen(&format!("{login}-own"), "ed25519").unwrap();
    let words = ["sh", "-euc", SCRIPT, "own-key", login];
    let put = host.run_with_stdin(&words, key.public.as_bytes()).unwrap();
    assert!(put.success(), "{put}");
    Person { login: login.to_owned(), key }
}

/// Logs in with the password alone, from the controller's host.
pub(crate) fn by_password(fleet: &Fleet, host: &str, login: &str) -> Output {
    const SCRIPT: &str = r#"
        SSH_ASKPASS=/root/askpass SSH_ASKPASS_REQUIRE=force exec ssh -F /dev/null \
            -o PreferredAuthentications=password,keyboard-interactive -o LogLevel=ERROR \
            -o NumberOfPasswordPrompts=1 -o StrictHostKeyChecking=no \
            -o UserKnownHostsFile=/dev/null -- "$1" id --user --name
    "#;
    let controller = fleet.controller();
    let answer = format!("#!/bin/sh\necho '{PASSWORD}'\n");
    controller.write("/root/askpass", answer.as_bytes(), 0o700).unwrap();
    let target = format!("{login}@{host}");
    controller.run(&["sh", "-euc", SCRIPT, "by-password", &target]).unwrap()
}

pub(crate) fn set_password(host: &Host, login: &str) {
    let line = format!("{login}:{PASSWORD}\n");
    let set = host.run_with_stdin(&["chpasswd"], line.as_bytes()).unwrap();
    assert!(set.success(), "{set}");
}

#[test]
fn keys_in_a_home_count_for_everybody_but_those_whom_muster_keeps() {
    let fleet = fleet();
    let web1 = fleet.host("web1");
    let abe = fleet.person("abe").unwrap();
    add_local(web1, "lodger", "61001");
    fleet.apply_ok(&declared(&abe, "")).unwrap();

    // Whoever holds an account of Muster's cannot bring in a key that nobody approved.
    let [brought, lodger, ops] = ["abe", "lodger", "ops"].map(|login| own_key(&fleet, web1, login));
    assert_kept_out(&fleet, "web1", &brought);
    assert_let_in(&fleet, "web1", &abe);
    // The others are as they were, the way in for an emergency before all.
    assert_let_in(&fleet, "web1", &lodger);
    assert_let_in(&fleet, "web1", &ops);

    fleet.muster_ok(&["offboard", "abe", "--yes"]).unwrap();
    assert_kept_out(&fleet, "web1", &brought);
    assert_let_in(&fleet, "web1", &ops);
    web1.run_ok(&["rm", "-r", "/home/ops/.ssh"]).unwrap();
    web1.run_ok(&["userdel", "--force", "--remove", "lodger"]).unwrap();
}

#[test]
fn a_password_lets_in_whose_role_says_so_and_nobody_else_of_musters() {
    let fleet = fleet();
    let web1 = fleet.host("web1");
    let [bea, cal] = ["bea", "cal"].map(|login| fleet.person(login).unwrap());
    add_local(web1, "guest", "61002");
    let by_both = "password: {max_days: 90}, ssh: {methods: [key, password]}";
    fleet.apply_ok(&declared(&bea, by_both)).unwrap();
    fleet.apply_ok(&declared(&cal, "")).unwrap();
    for login in ["bea", "cal", "guest"] {
        set_password(web1, login);
    }
    for login in ["bea", "guest"] {
        let output = by_password(&fleet, "web1", login);
        assert_eq!(output.stdout.trim(), login, "{output}");
    }
    let output = by_password(&fleet, "web1", "cal");
    assert!(is_refused(&output), "{output}");
    assert_let_in(&fleet, "web1", &bea);
    assert_let_in(&fleet, "web1", &cal);

    // A role that takes the word back is one that the next login goes by.
    fleet.apply_ok(&declared(&bea, "")).unwrap();
    set_password(web1, "bea");
    let output = by_password(&fleet, "web1", "bea");
    assert!(is_refused(&output), "{output}");
    assert_let_in(&fleet, "web1", &bea);
    for login in ["bea", "cal"] {
        fleet.muster_ok(&["offboard", login, "--yes"]).unwrap();
    }
    web1.run_ok(&["userdel", "--force", "--remove", "guest"]).unwrap();
}
