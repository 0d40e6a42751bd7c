//! Sources of accounts as Debian packages them: libnss-extrausers, and sssd over a directory of
//! slapd's, both on the host itself.

use std::fmt::Write;

use muster_tests::{Fleet, Host, Person, Running, wait};

use crate::{SOON, assert_kept_out, assert_let_in, is_refused, open_session, uid};

use super::{
    HOST, RETRIED, apply, ask_also, assert_comes_in, assert_left_to_it, assert_not_made, declared,
    start,
};

const SSSD: &str = "\
[sssd]
services = nss
domains = example

[domain/example]
id_provider = ldap
auth_provider = none
access_provider = permit
ldap_uri = ldap://127.0.0.1
ldap_id_use_start_tls = false
ldap_search_base = dc=example
";

const SLAPD: &str = "\
include /etc/ldap/schema/core.schema
include /etc/ldap/schema/cosine.schema
include /etc/ldap/schema/nis.schema
modulepath /usr/lib/ldap
moduleload back_mdb
database mdb
suffix dc=example
rootdn cn=admin,dc=example
rootpw directory
directory /var/lib/directory
";

const DIRECTORY: &str = "\
dn: dc=example
objectClass: dcObject
objectClass: organization
o: example
dc: example
";

/// An entry of the directory, as slapadd and ldapadd take it.
fn entry(login: &str, uid: u32) -> String {
    let mut entry = format!("dn: uid={login},dc=example\nobjectClass: account\n");
    entry += "objectClass: posixAccount\nhomeDirectory: /nowhere\nloginShell: /bin/sh\n";
    writeln!(entry, "uid: {login}\ncn: {login}\nuidNumber: {uid}\ngidNumber: {uid}").unwrap();
    entry
}

/// Puts people into the directory while it runs.
fn add(host: &Host, login: &str, uid: u32) {
    let words = "ldapadd -x -H ldap://127.0.0.1 -D cn=admin,dc=example -w directory";
    let words: Vec<&str> = words.split(' ').collect();
    let added = host.run_with_stdin(&words, entry(login, uid).as_bytes()).unwrap();
    assert!(added.success(), "{added}");
}

fn start_directory(host: &Host) {
    let words = "systemd-run --quiet --unit=directory slapd -d 0 -f /etc/ldap/directory.conf \
                 -h ldap://127.0.0.1";
    host.run_ok(&words.split_whitespace().collect::<Vec<_>>()).unwrap();
    let words = "ldapsearch -x -H ldap://127.0.0.1 -b dc=example -s base";
    let words: Vec<&str> = words.split(' ').collect();
    wait::until(SOON, "the directory to answer", || {
        host.run(&words).unwrap().success().then_some(())
    })
    .unwrap();
}

/// A fleet of one host whose accounts come from the files and, by sssd, from a directory in which
/// there is `dora` with uid 34567.
fn with_directory(image: &str) -> Fleet {
    let fleet = start(image);
    let host = fleet.host(HOST);
    host.run_ok(&["mkdir", "/var/lib/directory"]).unwrap();
    host.write("/etc/ldap/directory.conf", SLAPD.as_bytes(), 0o600).unwrap();
    let whole = format!("{DIRECTORY}\n{}", entry("dora", 34_567));
    let load = ["slapadd", "-f", "/etc/ldap/directory.conf"];
    let loaded = host.run_with_stdin(&load, whole.as_bytes()).unwrap();
    assert!(loaded.success(), "{loaded}");
    start_directory(host);
    host.write("/etc/sssd/sssd.conf", SSSD.as_bytes(), 0o600).unwrap();
    host.run_ok(&["systemctl", "start", "sssd.service"]).unwrap();
    ask_also(host, "sss");
    assert!(host.run_ok(&["getent", "passwd", "dora"]).unwrap().contains("34567"));
    fleet
}

/// Applies what gives somebody an account while her host cannot know whether another source has
/// her, and asserts that she has none, and that the host says why.
fn assert_unknown(fleet: &Fleet, yaml: &str, newcomer: &Person, why: &str) {
    let applied = apply(fleet, yaml);
    assert_eq!(applied.status, 4, "{applied}");
    assert!(applied.stderr.contains(&format!("not confirmed: {HOST} (partly)")), "{applied}");
    let shown = fleet.ask(&["host", "show", HOST]).unwrap().to_string();
    let told = format!("unknown-elsewhere {}: a source cannot be asked: {why}", newcomer.login);
    assert!(shown.contains(&told), "no `{told}`: {shown}");
    assert_not_made(fleet.host(HOST), &newcomer.login);
}

/// Asserts that a session has been there all the time.
fn assert_still_open(session: &mut Running, when: &str) {
    session.send(format!("{when}\n").as_bytes()).unwrap();
    session.wait_for_line(SOON, when).unwrap();
}

#[test]
fn a_login_and_a_uid_of_extrausers_are_left_to_it_and_told() {
    let fleet = start("bookworm-extra");
    let host = fleet.host(HOST);
    host.run_ok(&["mkdir", "--parents", "/var/lib/extrausers"]).unwrap();
    let people = "/var/lib/extrausers/passwd";
    host.write(people, b"dora:x:34567:34567::/nowhere:/bin/sh\n", 0o644).unwrap();
    ask_also(host, "extrausers");
    assert!(host.run_ok(&["getent", "passwd", "dora"]).unwrap().contains("34567"));
    let dora = assert_left_to_it(&fleet, "extrausers");

    // Once the other source knows her no more, the next look makes her.
    host.write(people, b"", 0o644).unwrap();
    host.run_ok(&["systemctl", "restart", "muster-agent.service"]).unwrap();
    assert_comes_in(&fleet, &dora);
}

#[test]
fn whoever_a_directory_behind_sssd_knows_is_left_to_it_and_whoever_it_cannot_be_asked_for_waits() {
    shown_with_directory("bookworm-extra");
}

/// Its sssd talks to its backends by another bus.
#[test]
fn a_directory_behind_the_sssd_of_debian_13_is_asked_just_so() {
    shown_with_directory("trixie-extra");
}

fn shown_with_directory(image: &str) {
    let fleet = with_directory(image);
    let host = fleet.host(HOST);
    assert_left_to_it(&fleet, "sss");

    let people = ["hope", "gwen", "ivan", "kate", "liam"];
    let [hope, gwen, ivan, kate, liam] = people.map(|login| fleet.person(login).unwrap());
    fleet.apply_ok(&declared(&[(&hope, ""), (&gwen, "")])).unwrap();
    let number = uid(host, "hope");
    let mut session = open_session(&fleet, HOST, &hope);

    // sssd does not run: nobody comes, and whoever goes goes.
    host.run_ok(&["systemctl", "stop", "sssd.service"]).unwrap();
    let yaml = declared(&[(&hope, ""), (&ivan, "")]) + "absent: {assignments: [gwen]}\n";
    assert_unknown(&fleet, &yaml, &ivan, "`sss` does not answer: ");
    assert!(is_refused(&fleet.ssh(HOST, &gwen).command("true").run().unwrap()));
    assert_let_in(&fleet, HOST, &hope);

    // sssd runs and does not reach its directory: of a stranger it says that there is none.
    host.run_ok(&["systemctl", "stop", "directory.service"]).unwrap();
    host.run_ok(&["systemctl", "start", "sssd.service"]).unwrap();
    assert_eq!(host.run(&["getent", "passwd", "kate"]).unwrap().status, 2);
    assert_unknown(&fleet, &declared(&[(&kate, "")]), &kate, "sssd is offline: ");
    assert_let_in(&fleet, HOST, &hope);

    // Once it does, what was put off is made up for, and nobody need ask for it.
    start_directory(host);
    host.run_ok(&["systemctl", "restart", "sssd.service"]).unwrap();
    assert_comes_in(&fleet, &ivan);
    assert_comes_in(&fleet, &kate);

    // sssd and its backend hang.
    let all = ["pkill", "--signal", "STOP", "sssd_"];
    host.run_ok(&all).unwrap();
    assert_unknown(&fleet, &declared(&[(&liam, "")]), &liam, "");
    // Logins wait for pam_sss then, whoever it is: who is in stays in.
    assert_still_open(&mut session, "while sssd hangs");
    host.run_ok(&["pkill", "--signal", "CONT", "sssd_"]).unwrap();
    host.run_ok(&["systemctl", "restart", "muster-agent.service"]).unwrap();
    assert_comes_in(&fleet, &liam);

    // Who has her account keeps it, though the directory come to know her too.
    add(host, "hope", 34_568);
    let there = ["getent", "-s", "sss", "passwd", "hope"];
    wait::until(RETRIED, "sssd to know her", || {
        host.run(&there).unwrap().stdout.contains("34568").then_some(())
    })
    .unwrap();
    host.run_ok(&["systemctl", "restart", "muster-agent.service"]).unwrap();
    let planned = host.run_ok(&["muster-agent", "plan"]).unwrap();
    assert!(!planned.contains("hope"), "{planned}");
    assert_eq!(uid(host, "hope"), number);
    assert_let_in(&fleet, HOST, &hope);
    assert_still_open(&mut session, "at the end");
    assert_kept_out(&fleet, HOST, &gwen);
}
