//! A host that will not let itself be changed for a while: `/etc` is read-only, or somebody else
//! holds a lock on the account files. Nothing is left half done, it is told why, and done when it
//! is over. Disks that are full are in `full`.

use std::time::Duration;

use muster_tests::{Fleet, Host, Output, Running, wait};

use crate::{
    SOON, assert_kept_out, assert_let_in, each_on, fleet, is_there, open_session, shown, sudo,
};

pub(crate) const HOST: &str = "db1";

/// How long something may take that is tried every ten seconds.
pub(crate) const RETRIED: Duration = Duration::from_secs(40);

/// Holds the lock of lckpwdf(3) until its input ends: `F_SETLK` of a whole `F_WRLCK`, by their
/// numbers since a host's perl has no modules.
pub(crate) const HOLD: &str = r#"
    open(my $lock, ">>", "/etc/.pwd.lock") or die "open: $!";
    my $whole = pack("s s x4 q q l x4", 1, 0, 0, 0, 0);
    fcntl($lock, 6, $whole) or die "lock: $!";
    $| = 1;
    print "held\n";
    <STDIN>;
"#;

/// Applies a declaration that the host cannot follow for now.
pub(crate) fn apply_in_vain(fleet: &Fleet, yaml: &str) -> Output {
    let path = fleet.declare(yaml).unwrap();
    let output = fleet.muster(&["apply", "--yes", "--timeout", "20", "--file", path]).unwrap();
    assert_eq!(output.status, 4, "{output}");
    output
}

pub(crate) fn wait_until_told(fleet: &Fleet, all: &[&str]) {
    wait::until(RETRIED, &format!("a receipt with {all:?}"), || {
        let shown = shown(fleet, HOST);
        all.iter().all(|word| shown.contains(word)).then_some(())
    })
    .unwrap_or_else(|error| panic!("{error}\n{}", shown(fleet, HOST)));
}

/// Returns everything of the host's that says who has an account and what it may.
pub(crate) fn everything(host: &Host) -> String {
    const SCRIPT: &str = "
        cd /etc
        for file in passwd shadow group gshadow sudoers.d/* ssh/muster-keys/*; do
            echo \"$file\"
            cat \"$file\" 2>/dev/null || true
        done
        ls -lA /home
    ";
    host.run_ok(&["sh", "-c", SCRIPT]).unwrap()
}

/// Starts the keeper with an `/etc` that it cannot write to, as on a file system that has met an
/// error.
fn make_read_only(fleet: &Fleet, host: &Host) {
    const SCRIPT: &str = "
        unit=/run/systemd/system/muster-agent.service.d
        mkdir -p $unit
        printf '[Service]\\nReadOnlyPaths=/etc\\n' >$unit/read-only.conf
        systemctl daemon-reload
        systemctl restart muster-agent.service
        rm $unit/read-only.conf
        systemctl daemon-reload
    ";
    host.run_ok(&["sh", "-euc", SCRIPT]).unwrap();
    fleet.wait_until_connected(&[host.name()]).unwrap();
}

/// Ends that for the keeper that runs.
fn make_writable(host: &Host) {
    const SCRIPT: &str = "
        keeper=$(systemctl show --property=MainPID --value muster-agent.service)
        nsenter --target $keeper --mount -- mount -o remount,bind,rw /etc
    ";
    host.run_ok(&["sh", "-euc", SCRIPT]).unwrap();
}

#[test]
fn a_read_only_etc_is_told_leaves_nothing_half_done_and_is_made_up_for() {
    let fleet = fleet();
    let host = fleet.host(HOST);
    let [ines, joan] = ["ines", "joan"].map(|login| fleet.person(login).unwrap());
    fleet.apply_ok(&each_on(HOST, &[&ines])).unwrap();
    make_read_only(&fleet, host);
    let before = everything(host);
    let mut session = open_session(&fleet, HOST, &ines);

    apply_in_vain(&fleet, &each_on(HOST, &[&joan]));
    wait_until_told(&fleet, &["account-created joan", "FAILED", "Read-only file system"]);
    assert_eq!(everything(host), before);
    assert_kept_out(&fleet, HOST, &joan);
    // Whoever leaves cannot be locked; what runs ends all the same, and it is not called done.
    let left = fleet.muster(&["offboard", "ines", "--yes", "--timeout", "20"]).unwrap();
    assert_eq!(left.status, 4, "{left}");
    assert_eq!(session.finish(SOON).unwrap().status, 255);
    assert_eq!(everything(host), before);

    make_writable(host);
    wait_until_told(&fleet, &["account-locked ines"]);
    wait::until(RETRIED, "what was asked for to be done", || {
        let let_in = fleet.ssh(HOST, &joan).command("true").run().unwrap();
        let_in.success().then_some(())
    })
    .unwrap();
    assert_kept_out(&fleet, HOST, &ines);
    assert!(sudo(&fleet, HOST, &joan, "/usr/bin/id").success());
    assert!(host.run_ok(&["getent", "shadow", "ines"]).unwrap().starts_with("ines:!"));
}

fn hold(host: &Host) -> Running {
    let mut holder = host.spawn(&["perl", "-e", HOLD]).unwrap();
    holder.wait_for_line(SOON, "held").unwrap();
    holder
}

#[test]
fn a_lock_that_somebody_holds_keeps_nobody_in_and_stops_only_what_needs_it() {
    let fleet = fleet();
    let host = fleet.host(HOST);
    let [kat, lia] = ["kat", "lia"].map(|login| fleet.person(login).unwrap());
    fleet.apply_ok(&each_on(HOST, &[&kat])).unwrap();
    let before = everything(host);
    let mut session = open_session(&fleet, HOST, &kat);
    let mut holder = hold(host);

    apply_in_vain(&fleet, &each_on(HOST, &[&lia]));
    let reason = "`/etc/.pwd.lock` is held by another process";
    wait_until_told(&fleet, &["account-created lia", "FAILED", reason]);
    assert_eq!(everything(host), before);
    assert_kept_out(&fleet, HOST, &lia);
    // Keys, sudo and sessions need no lock, so they go at once; the line in shadow goes later.
    let left = fleet.muster(&["offboard", "kat", "--yes", "--timeout", "20"]).unwrap();
    assert_eq!(left.status, 4, "{left}");
    assert_eq!(session.finish(SOON).unwrap().status, 255);
    assert_kept_out(&fleet, HOST, &kat);
    assert!(!is_there(host, "/etc/sudoers.d/50-muster-kat"));
    assert!(host.run_ok(&["getent", "shadow", "kat"]).unwrap().starts_with("kat:*"));

    holder.close_stdin();
    holder.finish(SOON).unwrap();
    wait::until(RETRIED, "what was asked for to be done", || {
        let shadow = host.run_ok(&["getent", "shadow", "kat"]).unwrap();
        let let_in = fleet.ssh(HOST, &lia).command("true").run().unwrap();
        (shadow.starts_with("kat:!") && let_in.success()).then_some(())
    })
    .unwrap();
    assert_let_in(&fleet, HOST, &lia);
    wait_until_told(&fleet, &["account-locked kat"]);
    assert!(!is_there(host, "/etc/passwd.lock"));
}

#[test]
fn a_lock_of_useradds_kind_is_waited_for_and_one_of_a_dead_process_is_not() {
    let fleet = fleet();
    let host = fleet.host(HOST);
    let [mae, nan] = ["mae", "nan"].map(|login| fleet.person(login).unwrap());
    // Number 1 lives; no process can have the highest number that there is.
    host.write("/etc/passwd.lock", b"1\0", 0o600).unwrap();
    apply_in_vain(&fleet, &each_on(HOST, &[&mae]));
    wait_until_told(&fleet, &["account-created mae", "`/etc/passwd.lock` is held"]);
    assert!(!host.run(&["getent", "passwd", "mae"]).unwrap().success());
    host.run_ok(&["rm", "/etc/passwd.lock"]).unwrap();
    wait::until(RETRIED, "a login", || {
        fleet.ssh(HOST, &mae).command("true").run().unwrap().success().then_some(())
    })
    .unwrap();

    host.write("/etc/group.lock", b"4194304\0", 0o600).unwrap();
    fleet.apply_ok(&each_on(HOST, &[&nan])).unwrap();
    assert_let_in(&fleet, HOST, &nan);
    assert!(!host.run(&["test", "-e", "/etc/group.lock"]).unwrap().success());
}
