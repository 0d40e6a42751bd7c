//! `muster doctor` on the controller's host and `muster-agent doctor` on others: each says nothing
//! of one that is well, and names every fault that is made there, alone and with a cure, as long as
//! it is there.

use muster_tests::{Fleet, Host, Output, wait};
use serde_json::{Value, json};

use crate::{MEMBERS, SOON, fleet, hindered::HOLD};

const HOST: &str = "dev1";
const SOCKET: &str = "/run/muster-agent/keeper.sock";

fn ask(host: &Host, words: &[&str]) -> Output {
    host.run(&[&["muster-agent", "doctor"], words].concat()).unwrap()
}

/// Returns what is found, each with its subject.
pub(crate) fn found(host: &Host) -> Vec<(String, String)> {
    let output = ask(host, &["--output", "json"]);
    let list: Vec<Value> = serde_json::from_str(&output.stdout).unwrap();
    assert_eq!(output.status, i32::from(!list.is_empty()), "{output}");
    let text = |one: &Value, field: &str| one.get(field).unwrap().as_str().unwrap().to_owned();
    assert!(list.iter().all(|one| !text(one, "cure").is_empty()), "{output}");
    list.iter().map(|one| (text(one, "subject"), text(one, "finding"))).collect()
}

pub(crate) fn assert_well(host: &Host) {
    wait::until(SOON, "nothing to be wrong", || found(host).is_empty().then_some(()))
        .unwrap_or_else(|error| panic!("{error}: {}: {:?}", host.name(), found(host)));
}

/// Makes a fault, asserts that it and nothing else is found, and undoes it.
#[track_caller]
fn one(host: &Host, (subject, words): (&str, &str), make: &str, undo: &str) {
    host.run_ok(&["sh", "-euc", make]).unwrap();
    let all = found(host);
    host.run_ok(&["sh", "-euc", undo]).unwrap();
    let [(about, fault)] = all.as_slice() else { panic!("{subject}, {words}: {all:?}") };
    assert_eq!(about, subject);
    assert!(fault.contains(words), "no `{words}`: {fault}");
    assert_well(host);
}

/// Lets somebody in on the host.
fn prepare(fleet: &Fleet) {
    let doro = fleet.person("doro").unwrap();
    let declared = format!(
        "users:\n  doro: {{keys: [{}]}}\nroles:\n  doro: {{sudo: [{{commands: [/usr/bin/id]}}]}}\n\
         assignments:\n  doro: {{user: doro, role: doro, hosts: muster/hostname={HOST}}}\n",
        format_args!("\"{}\"", doro.key.public)
    );
    fleet.apply_ok(&declared).unwrap();
}

#[test]
fn a_host_that_is_well_has_no_finding_and_each_fault_has_one_with_a_cure() {
    let fleet = fleet();
    prepare(&fleet);
    for member in MEMBERS {
        assert_well(fleet.host(member.name));
    }
    let host = fleet.host(HOST);
    let silent = ask(host, &[]);
    assert_eq!((silent.status, silent.stdout.as_str()), (0, "SUBJECT  FINDING  CURE\n"));
    silence(&fleet, host);
    units(host);
    files(host);
    sshd_and_sudo(host);
    emergency(host);
    ground(host);
}

fn units(host: &Host) {
    const COURIER: &str = "muster-agent-courier";
    let reload = "systemctl daemon-reload";
    let drop_in = format!("/run/systemd/system/{COURIER}.service.d");
    let is_not = ("unit", "does not run");
    let (stop, start) = (format!("systemctl stop {COURIER}"), format!("systemctl start {COURIER}"));
    one(host, is_not, &stop, &start);
    let mask = format!("systemctl mask --quiet --runtime {COURIER}");
    let unmask = format!("systemctl unmask --quiet --runtime {COURIER}; {start}");
    one(host, ("unit", "is masked"), &mask, &unmask);
    let disable = format!("systemctl disable --quiet {COURIER}");
    let enable = format!("systemctl enable --quiet {COURIER}");
    one(host, ("unit", "does not start with the system"), &disable, &enable);
    let write =
        format!("mkdir -p {drop_in}; printf '[Service]\\nWatchdogSec=0\\n' >{drop_in}/x.conf");
    let remove = format!("rm -r {drop_in}; {reload}; systemctl restart {COURIER}");
    let touch = format!("touch /usr/lib/systemd/system/{COURIER}.service");
    one(host, ("unit", "does not count yet"), &touch, reload);
    one(
        host,
        ("unit", "not started anew"),
        &format!("{write}; {reload}; systemctl restart {COURIER}"),
        &remove,
    );

    let keeper = "/run/systemd/system/muster-agent.service.d";
    let again = format!("{reload}; systemctl restart muster-agent");
    let shared =
        format!("mkdir -p {keeper}; printf '[Service]\\nPrivateNetwork=no\\n' >{keeper}/x.conf");
    one(
        host,
        ("unit", "is in the network of the host"),
        &format!("{shared}; {again}"),
        &format!("rm -r {keeper}; {again}"),
    );
    // One that systemd does not find, and one that it cannot use.
    let file = format!("/usr/lib/systemd/system/{COURIER}.service");
    let away = format!("mv {file} /root/away; {reload}");
    let again = format!("mv /root/away {file}; {reload}; systemctl restart {COURIER}");
    one(host, ("unit", "systemd knows no"), &away, &again);
    let spoil = format!("mkdir -p {drop_in}; printf '[Service]\\nExecStart=\\n' >{drop_in}/x.conf");
    one(host, ("unit", "bad-setting"), &format!("{spoil}; {reload}"), &remove);

    // A program that cannot run: both units of it, and what nobody opens.
    let cannot = "systemctl stop muster-agent; mv /usr/bin/muster-agent /usr/bin/aside; \
                  cp /usr/bin/aside /root/agent; systemctl start muster-agent || true";
    host.run_ok(&["sh", "-euc", cannot]).unwrap();
    let output = host.run(&["/root/agent", "doctor"]).unwrap();
    let back = "mv /usr/bin/aside /usr/bin/muster-agent; systemctl restart muster-agent";
    host.run_ok(&["sh", "-euc", back]).unwrap();
    assert_eq!(output.status, 1, "{output}");
    let line = output.stdout.lines().find(|line| line.contains("muster-agent.service` does not"));
    assert!(line.unwrap().contains("`journalctl -u muster-agent.service` says why"), "{output}");
    assert_well(host);
}

fn files(host: &Host) {
    let state = "/var/lib/muster-agent";
    let socket = SOCKET;
    one(
        host,
        ("keeper's socket", "and not of 0:"),
        &format!("chmod 666 {socket}"),
        &format!("chmod 660 {socket}"),
    );
    let aside = format!("mv {socket} {socket}.x");
    one(host, ("keeper's socket", "is not there"), &aside, &format!("mv {socket}.x {socket}"));
    let directory = "/run/muster-agent";
    for (mode, words) in [("777", "pose as the keeper"), ("700", "is not let into")] {
        let make = format!("chmod {mode} {directory}");
        one(host, ("keeper's socket", words), &make, &format!("chmod 755 {directory}"));
    }
    let (open, close) =
        (format!("chmod 640 {state}/keeper/ledger"), format!("chmod 600 {state}/keeper/ledger"));
    one(host, ("state directory", "others than root"), &open, &close);
    let identity = format!("{state}/courier/identity");
    let (take, give) = (format!("chown root {identity}"), format!("chown muster-agent {identity}"));
    one(host, ("courier", "the courier cannot use it"), &take, &give);
    let pins = format!("{state}/courier/ca.der");
    one(
        host,
        ("courier", "is missing: nobody can be reached"),
        &format!("mv {pins} {pins}.x"),
        &format!("mv {pins}.x {pins}"),
    );
    let config = "/etc/muster/agent.toml";
    let wrong = format!("cp -p {config} {config}.x; echo 'scan_seconds = 1' >>{config}");
    one(host, ("configuration", "scan_seconds"), &wrong, &format!("mv {config}.x {config}"));
}

/// What the keeper has heard is written down with the change that has just come; then as if it had
/// been long ago, and as if it lay ahead, while nobody is there to be heard.
fn silence(fleet: &Fleet, host: &Host) {
    let heard = "/run/muster-agent/heard";
    let at: u64 = String::from_utf8(host.read(heard).unwrap()).unwrap().parse().unwrap();
    let now: u64 = host.run_ok(&["date", "+%s"]).unwrap().trim().parse().unwrap();
    assert!(now.abs_diff(at) < 120, "{at}, and not about {now}");
    // Nor is it a secret what time it is by that: the courier, which is not root, goes by it.
    let read =
        ["runuser", "-u", "muster-agent", "--", "cut", "-d", " ", "-f1", "/run/muster-agent/time"];
    let signed: u64 = host.run_ok(&read).unwrap().trim().parse().unwrap();
    assert!(now.abs_diff(signed) < 3_600, "{signed}, and not about {now}");
    fleet.controller().run_ok(&["systemctl", "stop", "muster"]).unwrap();
    let keep = format!("cp {heard} {heard}.x");
    let back = format!("mv {heard}.x {heard}");
    let [past, future] =
        ["- 700", "+ 400"].map(|by| format!("{keep}; echo $(($(date +%s) {by})) >{heard}"));
    one(host, ("controller", "its newest word here is of"), &past, &back);
    one(host, ("clock", "is behind what was signed"), &future, &back);
    // Nor is a keeper that has been up for long and has heard nothing.
    let never = format!("mv {heard} {heard}.x; touch -d '700 seconds ago' {SOCKET}");
    one(host, ("controller", "not a word from it since"), &never, &back);
    fleet.controller().run_ok(&["systemctl", "start", "muster"]).unwrap();
}

fn sshd_and_sudo(host: &Host) {
    let config = "/etc/ssh/sshd_config";
    let keep = format!("cp -p {config} {config}.x");
    let back = format!("mv {config}.x {config}");
    let nonsense = format!("{keep}; echo 'Nonsense yes' >>{config}");
    one(host, ("sshd", "Bad configuration option: Nonsense"), &nonsense, &back);
    let without = format!("{keep}; sed -i '/^Include/d' {config}");
    one(host, ("sshd", "does not include our settings"), &without, &back);
    let before = "Match Group muster-accounts\\n    AuthorizedKeysFile /x\\nMatch all\\n";
    let before = format!("{keep}; {{ printf '{before}'; cat {config}.x; }} >{config}");
    one(host, ("sshd", "the keys of `"), &before, &back);
    let program = "Match Group muster-accounts\\n    AuthorizedKeysCommand /bin/true\\n    \
                   AuthorizedKeysCommandUser nobody\\nMatch all\\n";
    let program = format!("{keep}; {{ printf '{program}'; cat {config}.x; }} >{config}");
    one(host, ("sshd", "keys that a program names"), &program, &back);

    let without = "cp -p /etc/sudoers /etc/sudoers.x; sed -i '/includedir/d' /etc/sudoers";
    let back = "mv /etc/sudoers.x /etc/sudoers";
    one(host, ("sudo", "does not include our rules"), without, back);
    let broken = "echo 'ops ALL=(' >/etc/sudoers.d/broken; chmod 440 /etc/sudoers.d/broken";
    let mended = "rm /etc/sudoers.d/broken";
    one(host, ("sudo", "/etc/sudoers.d/broken"), broken, mended);
}

fn emergency(host: &Host) {
    let about = |words: &'static str| ("break glass", words);
    one(host, about("is locked"), "passwd -q --lock ops", "passwd -q --unlock ops");
    let expire = "usermod --expiredate 2020-01-01 ops";
    one(host, about("has expired"), expire, "usermod --expiredate '' ops");
    let shell = "usermod --shell /usr/sbin/nologin ops";
    one(host, about("its shell"), shell, "usermod --shell /bin/bash ops");
    let no_rule = "cp -p /etc/sudoers /etc/sudoers.x; sed -i 's/^%sudo/#&/' /etc/sudoers";
    let back = "mv /etc/sudoers.x /etc/sudoers";
    one(host, about("does not become root"), no_rule, back);
    // With a key a lock is none, as long as sshd asks PAM.
    host.run_ok(&["sh", "-euc", "passwd -q --lock ops; install -d -o ops /home/ops/.ssh"]).unwrap();
    host.run_ok(&["sh", "-euc", "echo key >/home/ops/.ssh/authorized_keys"]).unwrap();
    assert_well(host);
    let without = "cp -p /etc/ssh/sshd_config /root/x; sed -i 's/^UsePAM yes/UsePAM no/' /etc/ssh/sshd_config";
    one(host, about("with `UsePAM no`"), without, "mv /root/x /etc/ssh/sshd_config");
    host.run_ok(&["sh", "-euc", "passwd -q --unlock ops; rm -r /home/ops/.ssh"]).unwrap();
}

fn ground(host: &Host) {
    let shells = "cp -p /etc/shells /etc/shells.x; sed -i /bash/d /etc/shells";
    one(host, ("shell", "/etc/shells"), shells, "mv /etc/shells.x /etc/shells");
    one(host, ("homes", "writable for others"), "chmod 777 /home", "chmod 755 /home");
    let read_only = "mount --bind /home /home; mount -o remount,bind,ro /home";
    one(host, ("room", "`/home` is read-only"), read_only, "umount /home");
    // To the block and the file below the bound: 5 of 100 are free, and then fewer.
    let small = |options: &str| format!("mount -t tmpfs -o mode=755,{options} small /home");
    let fill = |blocks: u32| format!("head --bytes={}K /dev/zero >/home/full", 4 * blocks);
    let full = format!("{}; {}", small("nr_blocks=100"), fill(96));
    one(host, ("room", "less than 5 % of the disk of `/home`"), &full, "umount /home");
    host.run_ok(&["sh", "-euc", &format!("{}; {}", small("nr_blocks=100"), fill(95))]).unwrap();
    assert_well(host);
    host.run_ok(&["umount", "/home"]).unwrap();
    let files = format!("{}; touch /home/$(seq --separator ' /home/' 96)", small("nr_inodes=100"));
    one(host, ("room", "less than 5 % of the files that `/home`"), &files, "umount /home");
    let source = "cp -p /etc/nsswitch.conf /etc/nsswitch.x; \
                  sed -i 's/^passwd:.*/passwd: files ldap/' /etc/nsswitch.conf";
    let back = "mv /etc/nsswitch.x /etc/nsswitch.conf";
    one(host, ("other sources", "`ldap` does not answer"), source, back);
    let range = "cp -p /etc/subuid /etc/subuid.x; echo eve:50000:9 >>/etc/subuid";
    one(host, ("uids", "`eve` may run as 50000"), range, "mv /etc/subuid.x /etc/subuid");
    let label = "echo 'a b=c' >/etc/muster/labels.d/odd";
    one(host, ("label", "`a b`"), label, "rm /etc/muster/labels.d/odd");
    let lock = "touch -d '2 minutes ago' /etc/group.lock";
    one(host, ("lock", "`/etc/group.lock` names no process"), lock, "rm /etc/group.lock");

    let fault = while_held(host, HOLD);
    assert!(fault.contains("`/etc/.pwd.lock` is held by process"), "{fault}");
    assert!(fault.contains("(`perl`)"), "{fault}");
    // A lock of an open file and no process (`F_OFD_SETLK`), of which the kernel names none.
    let nameless = HOLD.replace("fcntl($lock, 6,", "fcntl($lock, 37,");
    let fault = while_held(host, &nameless);
    assert!(fault.contains("`/etc/.pwd.lock` is held by some process"), "{fault}");
}

/// Returns what is found about a lock while a program holds it, which is all that is found.
fn while_held(host: &Host, program: &str) -> String {
    let mut holder = host.spawn(&["perl", "-e", program]).unwrap();
    holder.wait_for_line(SOON, "held").unwrap();
    let all = found(host);
    holder.close_stdin();
    holder.finish(SOON).unwrap();
    let [(about, fault)] = all.as_slice() else { panic!("{all:?}") };
    assert_eq!(about, "lock");
    assert_well(host);
    fault.clone()
}

#[test]
fn what_is_wrong_on_the_controllers_host_is_told_with_the_command_that_cures_it() {
    let fleet = fleet();
    let key = "/var/lib/muster/online.key";
    let well = fleet.muster(&["doctor"]).unwrap();
    assert_eq!((well.status, well.stdout.as_str()), (0, "SUBJECT  FINDING  CURE\n"), "{well}");
    assert_eq!(fleet.ask(&["doctor"]).unwrap(), json!([]));

    fleet.controller().run_ok(&["chmod", "644", key]).unwrap();
    let fault = format!("others than its owner may use `{key}`");
    let table = fleet.muster(&["doctor"]).unwrap();
    let list = fleet.muster(&["doctor", "--output", "json"]).unwrap();
    // What it says to do is done to the letter, before anything is asserted.
    let list_of: Value = serde_json::from_str(&list.stdout).unwrap();
    let cure = list_of.pointer("/0/cure").and_then(Value::as_str).unwrap_or_default();
    fleet.controller().run_ok(&["sh", "-euc", cure]).unwrap();

    assert_eq!((table.status, list.status), (1, 1), "{table}{list}");
    let said = format!("data directory  {fault}  chmod 600 {key}");
    assert_eq!(table.stdout.lines().nth(1), Some(said.as_str()), "{table}");
    let line = json!({"subject": "data directory", "finding": fault, "cure": cure});
    assert_eq!(list_of, json!([line]));
    let cured = fleet.muster(&["doctor"]).unwrap();
    assert_eq!((cured.status, cured.stdout.as_str()), (0, "SUBJECT  FINDING  CURE\n"), "{cured}");
}
