//! The lab shown to do what it promises. Needs root, and `tests/prepare` to have been run.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking, in its helpers too")]
#![expect(clippy::disallowed_types, reason = "it looks at the machine from outside of the lab")]

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use muster_tests::{Boot, KeyPair, Lab, Running, wait};

const SOON: Duration = Duration::from_secs(15);

/// Makes an account with a key on a host, as an administrator would by hand.
fn add_user(lab: &Lab, host: &str, login: &str) -> KeyPair {
    let key = lab.keygen(login, "ed25519").unwrap();
    let host = lab.host(host);
    host.run_ok(&["useradd", "--create-home", "--shell", "/bin/bash", login]).unwrap();
    let ssh = format!("/home/{login}/.ssh");
    host.run_ok(&["install", "-d", "-m", "700", "-o", login, "-g", login, &ssh]).unwrap();
    let file = format!("{ssh}/authorized_keys");
    host.write(&file, format!("{}\n", key.public).as_bytes(), 0o644).unwrap();
    key
}

#[test]
fn hosts_are_whole_machines_that_know_each_other() {
    let lab = Lab::start("whole", &["db1", "web1"]).unwrap();
    for host in lab.hosts() {
        let state = host.run_ok(&["systemctl", "is-system-running"]).unwrap();
        assert_eq!(state.trim(), "running");
        assert_eq!(host.run_ok(&["hostname"]).unwrap().trim(), host.name());
        assert_eq!(host.run_ok(&["cat", "/proc/1/comm"]).unwrap().trim(), "systemd");
    }
    let found = lab.host("db1").run_ok(&["getent", "hosts", "web1"]).unwrap();
    assert!(found.starts_with(&lab.host("web1").address().to_string()), "{found}");

    for unlike in ["/etc/machine-id", "/etc/ssh/ssh_host_ed25519_key.pub"] {
        let all: BTreeSet<_> = lab.hosts().map(|host| host.read(unlike).unwrap()).collect();
        assert_eq!(all.len(), 2, "{unlike} must differ from host to host");
    }
}

#[test]
fn a_user_logs_in_with_a_key_gets_a_session_and_sudo() {
    let lab = Lab::start("login", &["db1"]).unwrap();
    let key = add_user(&lab, "db1", "ana");
    let db1 = lab.host("db1");
    db1.write("/etc/sudoers.d/ana", b"ana ALL=(root) NOPASSWD: /usr/bin/id\n", 0o440).unwrap();
    let ssh = lab.ssh("db1", "ana", &key.private);

    let who = ssh.clone().command("id --user --name; sudo --non-interactive id --user");
    assert_eq!(who.run_ok().unwrap(), "ana\n0\n");
    let refused = ssh.clone().command("sudo --non-interactive cat /etc/shadow").run().unwrap();
    assert_eq!(refused.status, 1, "{refused}");

    let mut open = ssh.command("echo here; cat").spawn().unwrap();
    open.wait_for_line(SOON, "here").unwrap();
    let sessions = db1.run_ok(&["loginctl", "list-sessions", "--no-legend"]).unwrap();
    assert!(sessions.contains("ana"), "{sessions}");
    open.close_stdin();
    assert_eq!(open.finish(SOON).unwrap().status, 0);
    wait::until(SOON, "the session to be gone", || {
        let sessions = db1.run_ok(&["loginctl", "list-sessions", "--no-legend"]).ok()?;
        (!sessions.contains("ana")).then_some(())
    })
    .unwrap();

    let stranger = lab.keygen("stranger", "ed25519").unwrap();
    let refused = lab.ssh("db1", "ana", &stranger.private).command("true").run().unwrap();
    assert_eq!(refused.status, 255, "{refused}");
    assert!(refused.stderr.contains("Permission denied"), "{refused}");
}

#[test]
fn power_comes_and_goes_and_files_stay() {
    let lab = Lab::start("power", &["db1", "web1"]).unwrap();
    let db1 = lab.host("db1");
    db1.write("/root/kept", b"\xff and more", 0o600).unwrap();
    let mut follower = db1.spawn(&["tail", "-f", "/root/kept"]).unwrap();

    db1.power_cut().unwrap();
    assert!(!db1.is_up());
    assert!(db1.run(&["true"]).is_err());
    assert_ne!(follower.finish(SOON).unwrap().status, 0);
    assert!(lab.host("web1").is_up());

    assert_eq!(db1.start().unwrap(), Boot::Running);
    assert_eq!(db1.read("/root/kept").unwrap(), b"\xff and more");
    let address = format!("{}/24", db1.address());
    assert!(db1.run_ok(&["ip", "-brief", "address"]).unwrap().contains(&address));

    let booted = || db1.run_ok(&["systemctl", "show", "--property=UserspaceTimestamp"]).unwrap();
    let before = booted();
    // The time is told in seconds.
    wait::until(SOON, "the next second", || {
        let now = db1.run_ok(&["date", "+%H:%M:%S"]).ok()?;
        (!before.contains(now.trim())).then_some(())
    })
    .unwrap();
    assert_eq!(db1.reboot().unwrap(), Boot::Running);
    assert_ne!(before, booted());

    db1.power_off().unwrap();
    assert_eq!(db1.start().unwrap(), Boot::Running);
}

#[test]
fn a_cut_cable_shows_and_a_silent_one_does_not_and_both_mend() {
    let lab = Lab::start("cable", &["db1", "web1"]).unwrap();
    let key = add_user(&lab, "db1", "ana");
    let login = lab.ssh("db1", "ana", &key.private).command("true");
    let carrier = || lab.host("db1").run_ok(&["ip", "link", "show", "host0"]).unwrap();
    assert_eq!(login.run().unwrap().status, 0);

    lab.cut_cable("db1").unwrap();
    assert_eq!(login.run().unwrap().status, 255);
    assert!(carrier().contains("NO-CARRIER"));

    lab.mend_cable("db1").unwrap();
    wait::until(SOON, "a login", || login.run().ok()?.success().then_some(())).unwrap();

    lab.silence("db1").unwrap();
    assert_eq!(login.run().unwrap().status, 255);
    assert!(!carrier().contains("NO-CARRIER"));

    lab.mend_cable("db1").unwrap();
    wait::until(SOON, "a login", || login.run().ok()?.success().then_some(())).unwrap();
}

#[test]
fn a_unit_is_bound_by_what_the_host_allows() {
    let lab = Lab::start("unit", &["db1"]).unwrap();
    let db1 = lab.host("db1");
    let bounded = db1.run_unit(&[], &["grep", "CapBnd", "/proc/self/status"]).unwrap();
    let entered = db1.run_ok(&["grep", "CapBnd", "/proc/self/status"]).unwrap();
    assert!(bounded.success(), "{bounded}");
    assert_ne!(bounded.stdout, entered);

    let refused = db1.run_unit(&["ProtectSystem=strict"], &["touch", "/etc/something"]).unwrap();
    assert!(refused.stderr.contains("Read-only file system"), "{refused}");
}

#[test]
fn a_program_is_replaced_while_it_runs_and_its_journal_is_kept() {
    let lab = Lab::start("program", &["db1"]).unwrap();
    let db1 = lab.host("db1");
    let path = "/usr/local/bin/a/program";
    for program in ["/bin/sleep", "/bin/echo"] {
        db1.install(program.as_ref(), path, 0o755).unwrap();
        let unit = format!("{}.service", program.rsplit('/').next().unwrap());
        db1.run_ok(&["systemd-run", "--quiet", "--unit", &unit, path, "600"]).unwrap();
        wait::until(SOON, "the unit in the journal", || {
            db1.journal(&unit).ok()?.contains("Started").then_some(())
        })
        .unwrap();
    }
    assert_eq!(db1.run_ok(&[path, "new"]).unwrap(), "new\n");
    assert!(db1.run(&["systemctl", "is-active", "--quiet", "sleep"]).unwrap().success());
}

#[test]
fn two_labs_share_a_machine_and_not_a_name() {
    let one = Lab::start("one", &["db1"]).unwrap();
    let two = Lab::start("two", &["db1"]).unwrap();
    assert_ne!(one.host("db1").address(), two.host("db1").address());
    let again = Lab::start("one", &["db1"]).unwrap_err();
    assert!(format!("{again:#}").contains("up already"), "{again:#}");

    let guest = Lab::attach("one").unwrap();
    assert_eq!(guest.host("db1").run_ok(&["hostname"]).unwrap(), "db1\n");
    drop(guest);
    assert!(one.host("db1").is_up());
}

#[test]
fn a_lab_brings_the_room_that_the_agents_of_its_hosts_need_for_watching() {
    let number = |path| fs::read_to_string(path).unwrap().trim().parse::<usize>().unwrap();
    let lab = Lab::start("watching", &["db1", "web1"]).unwrap();
    let before = number("/run/muster-lab/fanotify-groups");
    let now = number("/proc/sys/fs/fanotify/max_user_groups");
    assert!(now >= before + 2 * 12, "{now}, {before} before the first lab");
    drop(lab);
}

#[test]
fn the_end_of_a_lab_leaves_nothing_behind() {
    let lab = Lab::start("traces", &["db1", "web1"]).unwrap();
    let network = format!("{}/24", lab.controller_address()).replace(".1/24", ".0/24");
    let routes = || {
        let output = Command::new("ip").arg("route").output().unwrap();
        String::from_utf8(output.stdout).unwrap()
    };
    assert!(routes().contains(&network));
    assert!(!traces("labs/traces").is_empty());
    let open = lab.host("db1").spawn(&["sleep", "600"]).unwrap();

    drop(lab);

    assert_eq!(traces("labs/traces"), BTreeSet::new());
    assert!(!routes().contains(&network));
    assert!(!Lab::list().unwrap().contains(&"traces".to_owned()));
    assert!(!fs::exists("/run/muster-lab/traces").unwrap());
    drop(open);
}

#[test]
fn a_lab_dies_with_its_owner_and_the_next_one_cleans_up() {
    let lab = Path::new("/run/muster-lab/orphan");
    let mut hold = Command::new(env!("CARGO_BIN_EXE_muster-lab"));
    hold.args(["hold", "orphan", "db1"]);
    let mut owner = Running::start(hold).unwrap();
    owner.wait_for_line(Duration::from_mins(1), "db1").unwrap();

    assert_eq!(owner.stop().unwrap().status, 128 + 9);
    wait::until(SOON, "the hosts to die", || traces("labs/orphan").is_empty().then_some(()))
        .unwrap();

    drop(Lab::start("heir", &["db1"]).unwrap());
    assert!(!lab.exists());
}

/// Returns the processes that name `path` in their command line or have a mount from it.
fn traces(path: &str) -> BTreeSet<String> {
    let processes = fs::read_dir("/proc").unwrap().map(|entry| entry.unwrap().path());
    let names = |file: PathBuf| {
        fs::read(file).is_ok_and(|bytes| String::from_utf8_lossy(&bytes).contains(path))
    };
    processes
        .filter(|process| names(process.join("cmdline")) || names(process.join("mounts")))
        .map(|process| process.display().to_string())
        .collect()
}
