//! The units shown to be sound, as closed as they claim to be, and not so closed that the keeper
//! could not do its work, on a real host of each release with stand-ins for the programs; and the
//! demo, which is the first thing that anybody runs. Needs root.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking, in its helpers too")]
#![expect(clippy::disallowed_methods, reason = "a stand-in is made here and installed there")]
#![expect(clippy::disallowed_types, reason = "the demo is a program of its own")]

use std::{
    fs,
    process::Command,
    sync::{Mutex, MutexGuard, OnceLock, PoisonError},
};

use muster_tests::{Host, Lab, Package, Setup, Stay};

/// What a unit may be exposed to at most, in tenths of the scale of `systemd-analyze security`.
const LIMITS: [(&str, u32); 3] =
    [("muster.service", 15), ("muster-agent.service", 40), ("muster-agent-courier.service", 15)];

/// The images of Debian 12 and 13.
const RELEASES: [&str; 2] = ["bookworm", "trixie"];

/// A lab of each release, with one host on which everything is installed.
type Labs = [Lab; RELEASES.len()];

/// Waits for the hosts to be free, and returns them.
fn labs() -> MutexGuard<'static, Labs> {
    static LABS: OnceLock<Mutex<Labs>> = OnceLock::new();
    let labs = LABS.get_or_init(|| {
        Mutex::new(RELEASES.map(|image| {
            let name = format!("units-{image}-{}", std::process::id());
            let setup = Setup { name: &name, hosts: &["db1"], image, stay: Stay::UntilDropped };
            let lab = Lab::set_up(setup).unwrap();
            install(&lab, lab.host("db1"));
            lab
        }))
    });
    labs.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Installs all that the packages would, with a stand-in for both binaries, and makes what `init`
/// and `join` make.
fn install(lab: &Lab, host: &Host) {
    let stand_in = lab.scratch().join("stand-in");
    fs::write(&stand_in, "#!/bin/sh\n").unwrap();
    for package in [Package::Controller, Package::Agent] {
        package.install(host, &stand_in).unwrap();
    }
    host.run_ok(&["install", "-d", "-m", "0700", "/var/lib/muster-agent"]).unwrap();
    let courier = "/var/lib/muster-agent/courier";
    host.run_ok(&["install", "-d", "-m", "0700", "-o", "muster-agent", courier]).unwrap();
    host.write("/etc/muster/muster.toml", b"", 0o644).unwrap();
}

/// Runs `script` once in the place of a unit's own program, within all that the unit says, and
/// returns what the journal has of it.
fn run_in(host: &Host, unit: &str, script: &str) -> String {
    let path = format!("/usr/local/lib/probe-{unit}");
    let refused = r#"refused() { if "$@"; then echo "was allowed: $*"; exit 1; fi; }"#;
    let script = format!("#!/bin/sh\nset -eux\n{refused}\n{script}\n");
    host.write(&path, script.as_bytes(), 0o755).unwrap();
    let folder = format!("/run/systemd/system/{unit}.d");
    host.run_ok(&["mkdir", "-p", &folder]).unwrap();
    // The shell is not the one static binary that the courier may run.
    let drop_in = format!(
        "[Service]\nType=oneshot\nRestart=no\nExecStart=\nExecStart={path}\nNoExecPaths=\n"
    );
    host.write(&format!("{folder}/probe.conf"), drop_in.as_bytes(), 0o644).unwrap();
    host.run_ok(&["systemctl", "daemon-reload"]).unwrap();
    let started = host.run(&["systemctl", "start", unit]).unwrap();
    host.run_ok(&["journalctl", "--sync"]).unwrap();
    let journal = host.journal(unit).unwrap();
    host.run_ok(&["rm", "-r", &folder]).unwrap();
    host.run_ok(&["systemctl", "daemon-reload"]).unwrap();
    assert!(started.success(), "{started}\n{journal}");
    journal
}

#[test]
fn every_unit_is_valid_and_exposed_no_more_than_it_has_to_be() {
    for (lab, release) in labs().iter().zip(RELEASES) {
        let db1 = lab.host("db1");
        for (unit, limit) in LIMITS {
            let place = format!("/usr/lib/systemd/system/{unit}");
            let verify = ["systemd-analyze", "verify", "--man=no", "--recursive-errors=no", &place];
            let verified = db1.run(&verify).unwrap();
            assert!(verified.success() && verified.stderr.is_empty(), "{release}: {verified}");
            let threshold = format!("--threshold={limit}");
            let security = ["systemd-analyze", "security", "--no-pager", "--offline=true"];
            let exposed = db1.run(&[&security[..], &[&threshold, &place]].concat()).unwrap();
            assert!(exposed.success(), "{release}, {unit}: {exposed}");
        }
    }
}

#[test]
fn nobody_logs_in_by_the_service_that_pam_is_asked_by() {
    for (lab, release) in labs().iter().zip(RELEASES) {
        let db1 = lab.host("db1");
        let script = "id caller || useradd caller
            id goal || useradd goal
            echo goal:password | chpasswd
            echo password | runuser --user caller -- su goal --command 'id --user --name'";
        let by_su = db1.run(&["sh", "-c", script]).unwrap();
        assert!(by_su.success() && by_su.stdout.ends_with("goal\n"), "{release}: {by_su}");
        let su = db1.read("/etc/pam.d/su").unwrap();
        db1.run_ok(&["cp", "/usr/lib/pam.d/muster-account", "/etc/pam.d/su"]).unwrap();
        let by_ours = db1.run(&["sh", "-c", script]).unwrap();
        db1.write("/etc/pam.d/su", &su, 0o644).unwrap();
        assert!(!by_ours.success() && !by_ours.stdout.ends_with("goal\n"), "{release}: {by_ours}");
        assert!(by_ours.stderr.contains("Authentication failure"), "{release}: {by_ours}");
    }
}

/// What a unit's section of the service says of what is run, as whom, and where it keeps what. All
/// else there is a wall.
const PLAIN: [&str; 11] = [
    "Type",
    "ExecStart",
    "ExecReload",
    "User",
    "Group",
    "Restart",
    "RestartSec",
    "RuntimeDirectory",
    "RuntimeDirectoryMode",
    "StateDirectory",
    "StateDirectoryMode",
];

/// How many walls may stand under one reason.
const MOST_FOR_ONE_REASON: usize = 3;

/// Returns the walls in a unit that have no reason: none above them, or one that is for too many.
fn without_reason(unit: &str) -> Vec<&str> {
    let service = unit.split_once("[Service]\n").unwrap().1.split_once("\n[").unwrap().0;
    let mut found = Vec::new();
    // How many stand under the last reason; none is there at the beginning and after an empty line.
    let mut under = None;
    for line in service.lines() {
        match line.split_once('=') {
            _ if line.is_empty() => under = None,
            _ if line.starts_with('#') => under = Some(0),
            Some((key, _)) if PLAIN.contains(&key) => {}
            _ => {
                under = under.map(|walls| walls + 1);
                if under.is_none_or(|walls| walls > MOST_FOR_ONE_REASON) {
                    found.push(line);
                }
            }
        }
    }
    found
}

#[test]
fn every_wall_of_a_unit_has_its_reason_beside_it() {
    let planted = "[Unit]\nWants=x\n[Service]\nA=1\n# Why.\nB=1\nC=1\nD=\nE=1\nType=notify\n\nF=1\n\
                   # Why.\n\nG=1\n# Why.\nType=notify\nH=1\n\n[Install]\nWantedBy=y\n";
    assert_eq!(without_reason(planted), ["A=1", "E=1", "F=1", "G=1"]);
    for (unit, _) in LIMITS {
        let path = format!("{}/../packaging/systemd/{unit}", env!("CARGO_MANIFEST_DIR"));
        let text = fs::read_to_string(path).unwrap();
        let walls = text.matches("\nProtect").count();
        assert!(walls > 5, "{unit} has no walls");
        assert_eq!(without_reason(&text), [""; 0], "{unit}");
    }
}

#[test]
fn every_unit_says_how_it_is_and_reads_its_configuration_anew_if_it_has_one() {
    for (lab, release) in labs().iter().zip(RELEASES) {
        for (unit, _) in LIMITS {
            let properties = "--property=Type,CanReload,LimitCORE";
            let shown = lab.host("db1").run_ok(&["systemctl", "show", properties, unit]).unwrap();
            let reload = if unit == "muster-agent-courier.service" { "no" } else { "yes" };
            let mut lines: Vec<&str> = shown.lines().collect();
            lines.sort_unstable();
            let can_reload = format!("CanReload={reload}");
            let expected = [can_reload.as_str(), "LimitCORE=0", "Type=notify"];
            assert_eq!(lines, expected, "{release}, {unit}");
        }
    }
}

#[test]
fn the_keeper_is_let_do_its_work_and_has_no_network() {
    labs().iter().for_each(|lab| try_keeper(lab.host("db1")));
}

fn try_keeper(db1: &Host) {
    db1.run_ok(&["useradd", "--create-home", "ana"]).unwrap();
    // A newer logind asks for the control group of whoever calls.
    let lingering = db1.run_unit(&[], &["loginctl", "enable-linger", "ana"]).unwrap();
    assert!(lingering.success(), "{lingering}");
    db1.run_ok(&["install", "-o", "ana", "/dev/null", "/tmp/hers"]).unwrap();
    db1.run_ok(&["install", "-o", "ana", "/dev/null", "/var/tmp/hers"]).unwrap();
    db1.write("/etc/sudoers.d/ana", b"ana ALL=(root) NOPASSWD: /usr/bin/id\n", 0o440).unwrap();
    let journal = run_in(
        db1,
        "muster-agent.service",
        r#"
        # Account files are replaced by renaming; so are homes and what is set aside.
        cp --preserve=all /etc/shadow /etc/.shadow.new && mv /etc/.shadow.new /etc/shadow
        install -d -m 0700 /home/.muster-new && cp -r /etc/skel/. /home/.muster-new
        chown -R 4242:4242 /home/.muster-new && chmod 0750 /home/.muster-new
        mv --no-target-directory /home/.muster-new /home/bob
        install -d /var/spool/cron/.muster-aside && touch /var/spool/cron/crontabs/ana
        mv /var/spool/cron/crontabs/ana /var/spool/cron/.muster-aside/ana
        # The programs that it asks, and the ones that it tells.
        visudo -c -q
        visudo -c -q -f /etc/sudoers.d/ana
        sshd -t
        sshd -T -C user=ana,host=localhost,addr=127.0.0.1
        getent passwd ana
        systemctl reload ssh
        loginctl list-users
        # Ends everything of a user: all processes are seen, and the cgroup can be killed.
        test "$(cat /proc/1/comm)" = systemd
        uid=$(id --user ana)
        echo 1 >"/sys/fs/cgroup/user.slice/user-$uid.slice/cgroup.kill"
        loginctl disable-linger ana
        setpriv --reuid=4242 true
        # Its own places.
        touch /run/muster-agent/keeper.sock /var/lib/muster-agent/ledger
        # What others have left where everybody can write.
        test "$(stat --format=%U /tmp/hers /var/tmp/hers | uniq)" = ana
        chgrp muster-agent /run/muster-agent/keeper.sock
        # And what it may not.
        test "$(grep --count : /proc/self/net/dev)" = 1
        refused touch /usr/bin/something
        refused touch /tmp/something
        refused touch /var/tmp/something
        refused chmod u+s /home/bob
        refused setpriv --regid=4242 --clear-groups true
        echo all done
        "#,
    );
    assert!(journal.contains("all done"), "{journal}");
    assert_eq!(db1.run_ok(&["stat", "--format=%u %a", "/home/bob"]).unwrap(), "4242 750\n");
    assert_eq!(db1.run_ok(&["stat", "--format=%a", "/var/lib/muster-agent"]).unwrap(), "711\n");
}

#[test]
fn the_courier_writes_in_its_own_directory_and_nowhere_else() {
    labs().iter().for_each(|lab| try_courier(lab.host("db1")));
}

fn try_courier(db1: &Host) {
    let journal = run_in(
        db1,
        "muster-agent-courier.service",
        r#"
        test "$(id --user --name)" = muster-agent
        grep --quiet 'CapBnd:\s*0000000000000000' /proc/self/status
        echo key >/var/lib/muster-agent/courier/key.der
        refused ls /var/lib/muster-agent
        refused touch /tmp/../var/tmp/../lib/muster-agent/ledger
        refused touch /etc/muster/something
        refused cat /etc/shadow
        refused test -e /proc/1/comm
        echo all done
        "#,
    );
    assert!(journal.contains("all done"), "{journal}");
    let mode = ["stat", "--format=%U %a", "/var/lib/muster-agent/courier/key.der"];
    assert_eq!(db1.run_ok(&mode).unwrap(), "muster-agent 600\n");
}

#[test]
fn the_controller_has_its_two_directories_and_no_more() {
    labs().iter().for_each(|lab| try_controller(lab.host("db1")));
}

fn try_controller(ctl: &Host) {
    let journal = run_in(
        ctl,
        "muster.service",
        r#"
        test "$(id --user --name)" = muster
        touch /var/lib/muster/muster.db /run/muster/operator.sock
        refused touch /etc/muster/muster.toml
        refused ls /root
        echo all done
        "#,
    );
    assert!(journal.contains("all done"), "{journal}");
    assert_eq!(ctl.run_ok(&["stat", "--format=%U %a", "/var/lib/muster"]).unwrap(), "muster 700\n");
}

#[test]
fn the_demo_tells_its_story_to_the_end() {
    let fleet = format!("demo-{}", std::process::id());
    let demo = Command::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../packaging/demo"))
        .arg("--once")
        .env("MUSTER_DEMO_FLEET", &fleet)
        .output()
        .unwrap();
    let told = String::from_utf8_lossy(&demo.stdout);
    let errors = String::from_utf8_lossy(&demo.stderr);
    assert!(demo.status.success(), "{told}\n{errors}");
    // It says so only behind its last step.
    assert!(told.ends_with("everything was as it should be\n"), "{told}");
    assert!(!fs::exists(format!("/run/muster-lab/{fleet}")).unwrap(), "its fleet is still up");
}
