//! A host that will not let itself be changed for a while: `/etc` is read-only or full, or somebody else
//! holds a lock on the account files. Nothing is left half done, it is told why, and done when it is
//! over.

use std::{fmt::Write, time::Duration};

use muster_tests::{Fleet, Host, Output, Person, Running, wait};

use crate::{SOON, assert_kept_out, assert_let_in, fleet, open_session, sudo};

const HOST: &str = "db1";

/// How long something may take that is tried every ten seconds.
const RETRIED: Duration = Duration::from_secs(40);

/// Holds the lock of lckpwdf(3) until its input ends: `F_SETLK` of a whole `F_WRLCK`, by their numbers
/// since a host's perl has no modules.
const HOLD: &str = r#"
    open(my $lock, ">>", "/etc/.pwd.lock") or die "open: $!";
    my $whole = pack("s s x4 q q l x4", 1, 0, 0, 0, 0);
    fcntl($lock, 6, $whole) or die "lock: $!";
    $| = 1;
    print "held\n";
    <STDIN>;
"#;

/// Declares these people on the host, each with a role of her own.
fn on(people: &[&Person]) -> String {
    let mut all = [String::new(), String::new(), String::new()];
    for Person { login, key } in people {
        writeln!(all[0], "  {login}: {{keys: [\"{}\"]}}", key.public).unwrap();
        writeln!(all[1], "  {login}: {{sudo: [{{commands: [/usr/bin/id]}}]}}").unwrap();
        let hosts = format!("hosts: muster/hostname={HOST}");
        writeln!(all[2], "  {login}: {{user: {login}, role: {login}, {hosts}}}").unwrap();
    }
    let [users, roles, assignments] = all;
    format!("users:\n{users}roles:\n{roles}assignments:\n{assignments}")
}

/// Applies a declaration that the host cannot follow for now.
fn apply_in_vain(fleet: &Fleet, yaml: &str) -> Output {
    let path = fleet.declare(yaml).unwrap();
    let output = fleet.muster(&["apply", "--yes", "--timeout", "20", "--file", path]).unwrap();
    assert_eq!(output.status, 4, "{output}");
    output
}

/// Returns what `muster host show` says of the host.
fn shown(fleet: &Fleet) -> String {
    fleet.ask(&["host", "show", HOST]).unwrap().to_string()
}

fn wait_until_told(fleet: &Fleet, all: &[&str]) {
    wait::until(RETRIED, &format!("a receipt with {all:?}"), || {
        let shown = shown(fleet);
        all.iter().all(|word| shown.contains(word)).then_some(())
    })
    .unwrap_or_else(|error| panic!("{error}\n{}", shown(fleet)));
}

/// Returns everything of the host's that says who has an account and what it may.
fn everything(host: &Host) -> String {
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

/// Starts the keeper with an `/etc` that it cannot write to, as on a file system that has met an error.
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
    fleet.apply_ok(&on(&[&ines])).unwrap();
    make_read_only(&fleet, host);
    let before = everything(host);
    let mut session = open_session(&fleet, HOST, &ines);

    apply_in_vain(&fleet, &on(&[&joan]));
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

/// Puts a host's `/etc` on a disk of its own whose size can be set, until it is dropped.
struct SmallEtc<'a> {
    fleet: &'a Fleet,
    host: &'a Host,
}

/// How much is left on a disk, in pages of 4 KiB: less than that no file takes.
#[derive(Clone, Copy, Debug)]
enum Room {
    Pages(u32),
    Plenty,
}

impl<'a> SmallEtc<'a> {
    fn new(fleet: &'a Fleet, host: &'a Host) -> Self {
        const SCRIPT: &str = "
            systemctl stop muster-agent.service
            mkdir -p /mnt/etc
            mount -t tmpfs -o size=16m,mode=0755 etc /mnt/etc
            cp -a /etc/. /mnt/etc/
            mount --bind /mnt/etc /etc
            systemctl start muster-agent.service
        ";
        host.run_ok(&["sh", "-euc", SCRIPT]).unwrap();
        let etc = Self { fleet, host };
        fleet.wait_until_connected(&[host.name()]).unwrap();
        etc
    }

    fn leave(&self, room: Room) {
        const SCRIPT: &str = r#"
            used=$(df --output=used --block-size=1 /mnt/etc | tail --lines=1)
            mount -o "remount,size=$((used + 4096 * $1))" /mnt/etc
        "#;
        let pages = match room {
            Room::Pages(pages) => pages,
            Room::Plenty => 2_500,
        };
        self.host.run_ok(&["sh", "-euc", SCRIPT, "leave", &pages.to_string()]).unwrap();
    }
}

impl Drop for SmallEtc<'_> {
    fn drop(&mut self) {
        const SCRIPT: &str = "
            systemctl stop muster-agent.service
            umount --lazy /etc
            find /etc -mindepth 1 -delete
            cp -a /mnt/etc/. /etc/
            umount --lazy /mnt/etc
            systemctl start muster-agent.service
        ";
        // A failure shows in the next test, which waits for the host.
        let _ = self.host.run(&["sh", "-euc", SCRIPT]);
        let _ = self.fleet.wait_until_connected(&[self.host.name()]);
    }
}

/// Fails if a file was begun in `/etc` and is still there, or a lock.
fn assert_nothing_begun(host: &Host) {
    let find = ["find", "/etc", "-name", ".muster-*", "-o", "-name", "*.lock", "-size", "+0"];
    assert_eq!(host.run_ok(&find).unwrap(), "");
}

#[test]
fn a_full_etc_is_told_leaves_nothing_half_done_and_is_made_up_for() {
    let fleet = fleet();
    let host = fleet.host(HOST);
    let [quin, rhea, saul] = ["quin", "rhea", "saul"].map(|login| fleet.person(login).unwrap());
    fleet.apply_ok(&on(&[&quin])).unwrap();
    let etc = SmallEtc::new(&fleet, host);
    let before = everything(host);
    let mut session = open_session(&fleet, HOST, &quin);

    // Six pages are enough for the four locks and two of the four account files.
    for (person, room) in [(&rhea, Room::Pages(0)), (&saul, Room::Pages(6))] {
        let login = &person.login;
        etc.leave(room);
        apply_in_vain(&fleet, &on(&[person]));
        let created = format!("account-created {login}");
        wait_until_told(&fleet, &[&created, "FAILED", "No space left on device"]);
        assert_eq!(everything(host), before, "{room:?}");
        assert_nothing_begun(host);
        assert_kept_out(&fleet, HOST, person);
    }
    // Her keys, rules and processes go without room; the line in shadow goes later.
    etc.leave(Room::Pages(0));
    let left = fleet.muster(&["offboard", "quin", "--yes", "--timeout", "20"]).unwrap();
    assert_eq!(left.status, 4, "{left}");
    assert_eq!(session.finish(SOON).unwrap().status, 255);
    assert_kept_out(&fleet, HOST, &quin);
    assert!(!host.run(&["test", "-e", "/etc/sudoers.d/50-muster-quin"]).unwrap().success());
    assert!(host.run_ok(&["getent", "shadow", "quin"]).unwrap().starts_with("quin:*"));
    assert_nothing_begun(host);

    etc.leave(Room::Plenty);
    wait::until(RETRIED, "what was asked for to be done", || {
        let shadow = host.run_ok(&["getent", "shadow", "quin"]).unwrap();
        let let_in = |person| fleet.ssh(HOST, person).command("true").run().unwrap().success();
        (shadow.starts_with("quin:!") && let_in(&rhea) && let_in(&saul)).then_some(())
    })
    .unwrap();
    for person in [&rhea, &saul] {
        assert_let_in(&fleet, HOST, person);
        assert!(sudo(&fleet, HOST, person, "/usr/bin/id").success());
    }
    assert_nothing_begun(host);
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
    fleet.apply_ok(&on(&[&kat])).unwrap();
    let before = everything(host);
    let mut session = open_session(&fleet, HOST, &kat);
    let mut holder = hold(host);

    apply_in_vain(&fleet, &on(&[&lia]));
    let reason = "`/etc/.pwd.lock` is held by another process";
    wait_until_told(&fleet, &["account-created lia", "FAILED", reason]);
    assert_eq!(everything(host), before);
    assert_kept_out(&fleet, HOST, &lia);
    // Keys, sudo and sessions need no lock, so they go at once; the line in shadow goes later.
    let left = fleet.muster(&["offboard", "kat", "--yes", "--timeout", "20"]).unwrap();
    assert_eq!(left.status, 4, "{left}");
    assert_eq!(session.finish(SOON).unwrap().status, 255);
    assert_kept_out(&fleet, HOST, &kat);
    let rules = ["test", "-e", "/etc/sudoers.d/50-muster-kat"];
    assert!(!host.run(&rules).unwrap().success());
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
    assert!(!host.run(&["test", "-e", "/etc/passwd.lock"]).unwrap().success());
}

#[test]
fn a_lock_of_useradds_kind_is_waited_for_and_one_of_a_dead_process_is_not() {
    let fleet = fleet();
    let host = fleet.host(HOST);
    let [mae, nan] = ["mae", "nan"].map(|login| fleet.person(login).unwrap());
    // Number 1 lives; no process can have the highest number that there is.
    host.write("/etc/passwd.lock", b"1\0", 0o600).unwrap();
    apply_in_vain(&fleet, &on(&[&mae]));
    wait_until_told(&fleet, &["account-created mae", "`/etc/passwd.lock` is held"]);
    assert!(!host.run(&["getent", "passwd", "mae"]).unwrap().success());
    host.run_ok(&["rm", "/etc/passwd.lock"]).unwrap();
    wait::until(RETRIED, "a login", || {
        fleet.ssh(HOST, &mae).command("true").run().unwrap().success().then_some(())
    })
    .unwrap();

    host.write("/etc/group.lock", b"4194304\0", 0o600).unwrap();
    fleet.apply_ok(&on(&[&nan])).unwrap();
    assert_let_in(&fleet, HOST, &nan);
    assert!(!host.run(&["test", "-e", "/etc/group.lock"]).unwrap().success());
}
