//! Lock means lock: every way in, each shown to work before, and not after.

mod certificates;
mod jobs;

use std::time::Duration;

use muster_tests::{Fleet, Host, Person, Running, wait};

use crate::{
    PATIENCE, SOON,
    access::{PASSWORD, by_password, set_password},
    assert_kept_out, assert_let_in, fleet, is_refused, processes, uid,
};

/// How long logind may keep the record of somebody of whom nothing runs.
const FORGOTTEN: Duration = Duration::from_secs(30);

/// Numbers that an account has for its containers, beyond those of accounts.
const SUBUID: u32 = 700_000;

/// Declares one user on `web1` who may log in with a password too, and needs one for sudo.
fn declared(Person { login, key }: &Person, more: &str) -> String {
    format!(
        "users:\n  {login}: {{keys: [\"{key}\"]{more}}}\n\
         roles:\n  {login}:\n    ssh: {{methods: [key, password]}}\n    password: {{max_days: 90}}\n    \
         sudo: [{{commands: [/usr/bin/id], password: required}}]\n\
         assignments:\n  {login}: {{user: {login}, role: {login}, hosts: muster/hostname=web1}}\n",
        key = key.public
    )
}

fn succeeds(host: &Host, words: &[&str]) -> bool {
    host.run(words).unwrap().success()
}

/// Has the host keep a manager of an account's own running, whether it is logged in or not.
fn lingering(host: &Host, login: &str) {
    host.run_ok(&["loginctl", "enable-linger", login]).unwrap();
    let bus = format!("/run/user/{}/systemd/private", uid(host, login));
    wait::until(SOON, "a manager of its own", || {
        succeeds(host, &["test", "-S", &bus]).then_some(())
    })
    .unwrap();
}

/// Starts what a login leaves behind: a crontab, an at job, files and a service of its own.
fn leave_behind(fleet: &Fleet, person: &Person) {
    lingering(fleet.host("web1"), &person.login);
    let script = "set -eu
        export XDG_RUNTIME_DIR=/run/user/$(id --user)
        echo '* * * * * true' | crontab -
        echo hers > /tmp/lisl
        ln -s /etc/shadow /tmp/lisl-link
        mkdir -p /var/tmp/lisl/deep
        echo true | at now + 1 day 2>/dev/null
        systemd-run --user --quiet --unit=own-service sleep 1001";
    fleet.ssh("web1", person).command(script).run_ok().unwrap();
}

/// Runs in a user namespace as a number of the account's, outside of all that is hers: as what a
/// container without root has handed to somebody else.
fn container(host: &Host, login: &str) -> Running {
    let line = format!("{login}:{SUBUID}:65536\n");
    let added = host.run_with_stdin(&["tee", "--append", "/etc/subuid"], line.as_bytes()).unwrap();
    assert!(added.success(), "{added}");
    let number = (SUBUID + 7).to_string();
    let user = ["setpriv", "--reuid", &number, "--regid", &number, "--clear-groups", "--"];
    let inside = ["unshare", "--user", "--map-current-user", "sleep", "1003"];
    host.spawn(&[&user[..], &inside].concat()).unwrap()
}

/// Starts a container without root as podman does: she makes the user namespace in a service of her
/// own, root gives it her numbers as newuidmap does, and inside runs somebody who is not she.
fn own_container(fleet: &Fleet, person: &Person) {
    let web1 = fleet.host("web1");
    let inside = "until test $(id --user) = 0; do sleep 0.02; done
        exec setpriv --reuid 8 --regid 8 --clear-groups -- sleep 1006";
    let start = format!(
        "export XDG_RUNTIME_DIR=/run/user/$(id --user)
        systemd-run --user --quiet --unit=own-container unshare --user sh -c '{inside}'"
    );
    fleet.ssh("web1", person).command(&start).run_ok().unwrap();
    let number = uid(web1, &person.login);
    let find = ["pgrep", "--uid", &number.to_string(), "--full", "^sh -c until"];
    let pid = wait::until(SOON, "a user namespace of hers", || {
        let found = web1.run(&find).unwrap();
        found.success().then(|| found.stdout.trim().to_owned())
    })
    .unwrap();
    let map = format!("0 {number} 1\n1 {SUBUID} 65536\n");
    for which in ["gid_map", "uid_map"] {
        let path = format!("/proc/{pid}/{which}");
        let given = web1.run_with_stdin(&["tee", &path], map.as_bytes());
        assert!(given.unwrap().success(), "{path}");
    }
    wait::until(SOON, "her container", || {
        processes(web1, SUBUID + 7).contains("sleep 1006").then_some(())
    })
    .unwrap();
}

/// Shows sudo her password in a session that stays open, so that it remembers it.
fn remembered_by_sudo(fleet: &Fleet, person: &Person) -> Running {
    let command = format!(
        "echo '{PASSWORD}' | sudo --stdin --prompt= /usr/bin/id --user && \
         sudo --non-interactive /usr/bin/id --user && echo remembered; exec cat"
    );
    let socket = format!("ControlPath=/tmp/muster-{}", person.login);
    let session = fleet.ssh("web1", person).option("ControlMaster=yes").option(&socket).terminal();
    let mut session = session.command(&command).spawn().unwrap();
    session.wait_for_line(SOON, "remembered").unwrap();
    session
}

/// Asserts that nothing of systemd's is left of an account, and that nothing of it starts again.
fn assert_systemd_has_nothing_of(host: &Host, number: u32) {
    let manager = format!("user@{number}.service");
    let slice = format!("/sys/fs/cgroup/user.slice/user-{number}.slice");
    let service = format!("{slice}/{manager}/app.slice/own-service.service");
    assert!(!succeeds(host, &["test", "-e", &service]));
    // logind keeps its record of somebody for a while after the last process is gone.
    let record = format!("/run/systemd/users/{number}");
    wait::until(FORGOTTEN, "logind to forget her", || {
        (!succeeds(host, &["test", "-e", &record])).then_some(())
    })
    .unwrap();
    assert!(!succeeds(host, &["systemctl", "start", &manager]));
    assert!(!succeeds(host, &["systemctl", "is-active", "--quiet", &manager]));
    // What has just failed to start may take a moment to be gone.
    wait::until(SOON, "an empty slice", || {
        let populated = ["grep", "--quiet", "populated 1", &format!("{slice}/cgroup.events")];
        (!succeeds(host, &populated)).then_some(())
    })
    .unwrap();
}

/// Asserts that the host's receipt says what it saw after the lock, and what stays as it was.
fn assert_told(fleet: &Fleet, number: u32) {
    let shown = fleet.ask(&["host", "show", "web1"]).unwrap().to_string();
    assert!(
        shown.contains("left 0; empty control group, no job, no lingering, no time stamp"),
        "{shown}"
    );
    // What stays is told and is as it was, where everybody can write too.
    let home = "home /home/lisl, 2 jobs set aside, 2 in /tmp, 1 in /var/tmp";
    for told in ["left-behind lisl", home] {
        assert!(shown.contains(told), "no `{told}`: {shown}");
    }
    let left = ["find", "/tmp", "/var/tmp", "-name", "lisl*", "-printf", "%p %U %l\\n"];
    let left = fleet.host("web1").run_ok(&left).unwrap();
    let mut left: Vec<&str> = left.lines().map(str::trim).collect();
    left.sort_unstable();
    let link = format!("/tmp/lisl-link {number} /etc/shadow");
    assert_eq!(left, [format!("/tmp/lisl {number}"), link, format!("/var/tmp/lisl {number}")]);
}

#[test]
fn every_way_in_works_before_a_lock_and_none_after_it() {
    let fleet = fleet();
    let web1 = fleet.host("web1");
    let lisl = fleet.person("lisl").unwrap();
    fleet.apply_ok(&declared(&lisl, "")).unwrap();
    let number = uid(web1, "lisl");
    let manager = format!("user@{number}.service");
    let slice = format!("/sys/fs/cgroup/user.slice/user-{number}.slice");
    let stamp = "ls /run/sudo/ts | grep --line-regexp --quiet -e lisl -e";
    let stamp = format!("{stamp} {number}");
    set_password(web1, "lisl");

    assert_let_in(&fleet, "web1", &lisl);
    assert_eq!(by_password(&fleet, "web1", "lisl").stdout.trim(), "lisl");
    let su = ["su", "--login", "lisl", "--command", "true"];
    assert!(succeeds(web1, &su));
    leave_behind(&fleet, &lisl);
    let mut master = remembered_by_sudo(&fleet, &lisl);
    let through_it = fleet.ssh("web1", &lisl).option("ControlPath=/tmp/muster-lisl");
    let through_it = through_it.option("PreferredAuthentications=none").command("true");
    assert!(through_it.run().unwrap().success());
    web1.run_ok(&["systemd-run", "--quiet", "--uid=lisl", "--unit=lisl-work", "sleep", "1004"])
        .unwrap();
    let mut contained = container(web1, "lisl");
    own_container(&fleet, &lisl);
    wait::until(SOON, "the container", || {
        processes(web1, SUBUID + 7).contains("sleep 1003").then_some(())
    })
    .unwrap();
    let running = processes(web1, number);
    assert!(["1001", "1004"].iter().all(|time| running.contains(time)), "{running}");
    assert!(succeeds(web1, &["sh", "-c", &stamp]));
    assert!(succeeds(web1, &["test", "-e", "/var/spool/cron/crontabs/lisl"]));
    let at_jobs =
        ["find", "/var/spool/cron/atjobs", "-maxdepth", "1", "-type", "f", "-user", "lisl"];
    assert_ne!(web1.run_ok(&at_jobs).unwrap(), "");
    assert!(succeeds(web1, &["systemctl", "is-active", "--quiet", &manager]));
    let service = format!("{slice}/{manager}/app.slice/own-service.service");
    assert!(succeeds(web1, &["test", "-d", &service]));
    let by_sudo = ["sudo", "--list", "--other-user", "lisl"];
    assert!(web1.run_ok(&by_sudo).unwrap().contains("/usr/bin/id"));

    let output = fleet.muster(&["offboard", "lisl", "--yes"]).unwrap();
    assert!(output.success(), "{output}");

    assert_eq!(
        master.finish(SOON).unwrap().status,
        255,
        "the session and whatever went through it"
    );
    assert!(is_refused(&through_it.run().unwrap()));
    assert!(!contained.finish(SOON).unwrap().success());
    assert_kept_out(&fleet, "web1", &lisl);
    let output = by_password(&fleet, "web1", "lisl");
    assert!(is_refused(&output), "{output}");
    assert!(!succeeds(web1, &su));
    assert_eq!(processes(web1, number) + &processes(web1, SUBUID + 7), "");
    assert!(!succeeds(web1, &["sh", "-c", &stamp]));
    assert!(!succeeds(web1, &["test", "-e", "/var/spool/cron/crontabs/lisl"]));
    assert_eq!(web1.run_ok(&at_jobs).unwrap(), "");
    for place in ["crontabs", "atjobs"] {
        let aside = format!("/var/spool/cron/{place}/.muster-set-aside");
        assert!(web1.run_ok(&["ls", &aside]).unwrap().contains("lisl."), "{aside}");
    }
    assert!(!succeeds(web1, &["test", "-e", "/var/lib/systemd/linger/lisl"]));
    assert_systemd_has_nothing_of(web1, number);
    // What sudo and shadow themselves say of her.
    let listed = web1.run(&by_sudo).unwrap();
    assert!(listed.stdout.contains("not allowed to run sudo"), "{listed}");
    let line = web1.run_ok(&["getent", "shadow", "lisl"]).unwrap();
    let fields: Vec<&str> = line.trim().split(':').collect();
    assert!(fields[1].starts_with("!$") && fields[7] == "1", "{line}");
    assert_told(&fleet, number);
    web1.run_ok(&["sed", "--in-place", "/^lisl:/d", "/etc/subuid"]).unwrap();
}

#[test]
fn a_locked_service_identity_is_out_and_root_still_runs_what_is_its() {
    let fleet = fleet();
    let web1 = fleet.host("web1");
    let depot = fleet.person("depot").unwrap();
    fleet.apply_ok(&declared(&depot, ", service: true")).unwrap();
    let number = uid(web1, "depot");
    assert_let_in(&fleet, "web1", &depot);
    web1.run_ok(&["systemd-run", "--quiet", "--uid=depot", "--unit=depot-work", "sleep", "1005"])
        .unwrap();
    wait::until(SOON, "its work", || processes(web1, number).contains("1005").then_some(()))
        .unwrap();
    let su = ["su", "depot", "--command", "id --user --name"];
    assert_eq!(web1.run_ok(&su).unwrap(), "depot\n");

    fleet.muster_ok(&["offboard", "depot", "--yes"]).unwrap();
    assert_kept_out(&fleet, "web1", &depot);
    wait::until(PATIENCE, "nothing of it", || processes(web1, number).is_empty().then_some(()))
        .unwrap();
    assert!(!succeeds(web1, &["test", "-e", "/etc/ssh/muster-keys/depot"]));
    let shadow = web1.run_ok(&["getent", "shadow", "depot"]).unwrap();
    assert!(shadow.starts_with("depot:!") && !shadow.contains(":1:"), "{shadow}");
    // The jobs of root that do this must go on, and an expired account would break them.
    assert_eq!(web1.run_ok(&su).unwrap(), "depot\n");
}
