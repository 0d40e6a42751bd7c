//! People come and people go.

use std::time::Duration;

use muster_tests::{Fleet, Person, wait};
use serde_json::Value;

use crate::{
    ENFORCED, HOSTS, SOON, assert_kept_out, assert_let_in, fleet, open_session, processes, sudo,
    uid,
};

/// How long a host may take that has just been found again.
const LATER: Duration = Duration::from_mins(2);

/// Declares one user with a role of her own on every host that Muster may change.
pub(crate) fn everywhere(person: &Person) -> String {
    let Person { login, key } = person;
    format!(
        "users:\n  {login}: {{keys: [\"{key}\"]}}\n\
         roles:\n  {login}: {{sudo: [{{commands: [/usr/bin/id]}}]}}\n\
         assignments:\n  {login}: {{user: {login}, role: {login}, hosts: \"{ENFORCED}\"}}\n",
        key = key.public
    )
}

/// Returns the row of a host in what a command that follows hosts has printed as JSON.
fn row<'a>(rows: &'a Value, host: &str) -> &'a Value {
    let of = |row: &&Value| row.get("host").and_then(Value::as_str) == Some(host);
    rows.as_array().unwrap().iter().find(of).unwrap_or_else(|| panic!("no {host} in {rows}"))
}

fn text<'a>(row: &'a Value, field: &str) -> &'a str {
    row.get(field).and_then(Value::as_str).unwrap_or_default()
}

/// Asserts that an account is out in every way that there is.
pub(crate) fn assert_out(fleet: &Fleet, host: &str, person: &Person, uid: u32) {
    assert_kept_out(fleet, host, person);
    let (machine, login, number) = (fleet.host(host), person.login.as_str(), uid.to_string());
    let su = machine.run(&["su", "--login", login, "--command", "true"]).unwrap();
    assert!(!su.success(), "su on {host}: {su}");
    // As if a process of his had been overlooked.
    let as_user = ["setpriv", "--reuid", &number, "--regid", &number, "--clear-groups", "--"];
    let sudo = ["sudo", "--non-interactive", "/usr/bin/id"];
    let sudo = machine.run(&[&as_user[..], &sudo].concat()).unwrap();
    assert!(!sudo.success() && sudo.stdout.is_empty(), "sudo on {host}: {sudo}");
    assert_eq!(processes(machine, uid), "", "processes on {host}");
    let sessions = machine.run_ok(&["loginctl", "list-sessions", "--no-legend"]).unwrap();
    assert!(!sessions.contains(login), "sessions on {host}: {sessions}");
    let keys = machine.run(&["test", "-e", &format!("/etc/ssh/muster-keys/{login}")]).unwrap();
    assert!(!keys.success(), "the keys file is still on {host}");
    let shadow = machine.run_ok(&["getent", "shadow", login]).unwrap();
    let mut fields = shadow.trim_end().split(':').skip(1);
    assert!(fields.next().unwrap().starts_with('!'), "shadow on {host}: {shadow}");
    assert_eq!(fields.nth(5), Some("1"), "expiry on {host}: {shadow}");
}

#[test]
fn one_file_lets_three_people_in_where_they_belong_and_nowhere_else() {
    let fleet = fleet();
    let [ana, ben, cleo] = ["ana", "ben", "cleo"].map(|login| fleet.person(login).unwrap());
    let declaration = format!(
        r#"
users:
  ana: {{name: Ana Example, keys: ["{ana}"]}}
  ben: {{name: Ben Example, groups: [dbas], keys: ["{ben}"]}}
  cleo: {{groups: [dbas], keys: ["{cleo}"]}}
groups:
  dbas: {{}}
unix_groups:
  dbdata: {{}}
roles:
  webmaster:
    sudo: [{{commands: ["/usr/bin/systemctl restart cron"]}}]
  dba:
    unix_groups: {{at_least: [dbdata, adm]}}
    sudo: [{{run_as: backup, commands: [/usr/bin/id]}}]
assignments:
  web: {{user: ana, role: webmaster, hosts: "env=prod"}}
  databases: {{group: dbas, role: dba, hosts: "tier=db,env!=watch"}}
  cleo-web: {{user: cleo, role: webmaster, hosts: "env=prod,tier in (web)"}}
"#,
        ana = ana.key.public,
        ben = ben.key.public,
        cleo = cleo.key.public,
    );
    let plan = fleet.muster(&["plan", "--file", fleet.declare(&declaration).unwrap()]).unwrap();
    assert_eq!(plan.status, 3, "{plan}");
    for host in HOSTS {
        assert!(plan.stdout.contains(&format!("on {host}:")), "{plan}");
        assert_kept_out(&fleet, host, &ana);
    }

    let applied = fleet.apply(&declaration).unwrap();
    assert!(applied.success(), "{applied}");
    for host in HOSTS {
        let line = applied.stdout.lines().find(|line| line.starts_with(host)).unwrap_or_default();
        assert!(line.contains(" done "), "{applied}");
    }

    let expected = [(&ana, "web1 db1"), (&ben, "db1 dev1"), (&cleo, "web1 db1 dev1")];
    for (person, where_to) in expected {
        let (inside, outside): (Vec<&str>, Vec<&str>) =
            HOSTS.iter().partition(|host| where_to.contains(**host));
        for host in outside {
            assert_kept_out(&fleet, host, person);
        }
        for host in &inside {
            assert_let_in(&fleet, host, person);
        }
        let uids: Vec<u32> =
            inside.iter().map(|host| uid(fleet.host(host), &person.login)).collect();
        assert!(uids.iter().all(|uid| *uid == uids[0] && *uid >= 1000), "{uids:?}");
    }
    assert!(!fleet.host("watch1").run(&["id", "ben"]).unwrap().success());

    let restarted = sudo(&fleet, "web1", &ana, "/usr/bin/systemctl restart cron");
    assert!(restarted.success(), "{restarted}");
    for other in ["/usr/bin/systemctl restart ssh", "/usr/bin/id", "-u backup /usr/bin/id", "-i"] {
        let refused = sudo(&fleet, "web1", &ana, other);
        assert_eq!(refused.status, 1, "`sudo {other}`: {refused}");
    }
    let backup = sudo(&fleet, "dev1", &ben, "-u backup /usr/bin/id --user --name");
    assert_eq!(backup.stdout, "backup\n", "{backup}");
    assert_eq!(sudo(&fleet, "dev1", &ben, "/usr/bin/id").status, 1);
    // Two roles where both match, one where one does.
    assert!(sudo(&fleet, "web1", &cleo, "/usr/bin/systemctl restart cron").success());
    assert_eq!(sudo(&fleet, "db1", &cleo, "/usr/bin/systemctl restart cron").status, 1);
    let groups = fleet.ssh("db1", &ben).command("id --groups --name").run_ok().unwrap();
    assert_eq!(sorted(&groups), ["adm", "ben", "dbdata", "muster-accounts"], "{groups}");

    let again = fleet.apply(&declaration).unwrap();
    assert!(again.success() && again.stdout.contains("Nothing to change"), "{again}");
}

fn sorted(words: &str) -> Vec<&str> {
    let mut words: Vec<&str> = words.split_whitespace().collect();
    words.sort_unstable();
    words
}

#[test]
fn an_account_is_made_as_the_system_would_make_it() {
    let fleet = fleet();
    let gil = fleet.person("gil").unwrap();
    fleet.apply_ok(&everywhere(&gil)).unwrap();
    let web1 = fleet.host("web1");
    let number = uid(web1, "gil");
    let passwd = web1.run_ok(&["getent", "passwd", "gil"]).unwrap();
    assert_eq!(passwd, format!("gil:x:{number}:{number}::/home/gil:/bin/bash\n"));
    assert_eq!(web1.run_ok(&["getent", "group", "gil"]).unwrap(), format!("gil:x:{number}:\n"));
    // Never `!`, by which sshd without PAM would keep a key-only user out.
    let shadow = web1.run_ok(&["getent", "shadow", "gil"]).unwrap();
    assert!(shadow.starts_with("gil:*:"), "{shadow}");
    let home = web1.run_ok(&["stat", "--format=%u %g", "/home/gil", "/home/gil/.bashrc"]).unwrap();
    assert_eq!(home, format!("{number} {number}\n").repeat(2));
    let keys = ["stat", "--format=%u %a", "/etc/ssh/muster-keys/gil"];
    assert!(web1.run_ok(&keys).unwrap().starts_with("0 "));
    for check in ["pwck", "grpck"] {
        // Debian's own system users have homes that are not there.
        let checked = web1.run(&[check, "--read-only"]).unwrap();
        assert!(!checked.to_string().contains("gil"), "{check}: {checked}");
    }
    web1.run_ok(&["visudo", "--check", "--strict"]).unwrap();
}

#[test]
fn whoever_is_offboarded_is_out_on_every_host_at_once() {
    let fleet = fleet();
    let mia = fleet.person("mia").unwrap();
    fleet.apply_ok(&everywhere(&mia)).unwrap();
    let number = uid(fleet.host("web1"), "mia");
    let mut sessions: Vec<_> = HOSTS.iter().map(|host| open_session(&fleet, host, &mia)).collect();
    for host in HOSTS {
        assert!(sudo(&fleet, host, &mia, "/usr/bin/id").success());
        // What a session leaves behind goes too.
        let leave = "setsid --fork sleep 1000 </dev/null >/dev/null 2>&1";
        fleet.ssh(host, &mia).command(leave).run_ok().unwrap();
        assert!(processes(fleet.host(host), number).contains("sleep 1000"));
    }

    let json = ["offboard", "mia", "--yes", "--reason", "left us", "--output", "json"];
    let output = fleet.muster(&json).unwrap();
    assert!(output.success(), "{output}");

    for (host, session) in HOSTS.iter().zip(&mut sessions) {
        assert_eq!(session.finish(SOON).unwrap().status, 255, "the session on {host}");
        assert_out(&fleet, host, &mia, number);
    }
    let rows: Value = serde_json::from_str(&output.stdout).unwrap();
    for host in HOSTS {
        let row = row(&rows, host);
        assert_eq!(text(row, "state"), "done", "{row}");
        assert!(row.get("receipt").unwrap().as_u64().is_some(), "{row}");
        assert!(text(row, "detail").contains("account-locked mia"), "{row}");
        let shown = fleet.ask(&["host", "show", host]).unwrap().to_string();
        assert!(shown.contains("account-locked mia") && shown.contains("sessions-ended mia"));
        assert!(!shown.contains("\"verified\":false"), "{shown}");
        assert!(output.stderr.contains(&format!("{host}: done")), "{output}");
    }
    // Nobody else was touched on the way.
    assert!(fleet.host("web1").run(&["id", "ops"]).unwrap().success());

    let again = fleet.muster(&["offboard", "mia", "--yes"]).unwrap();
    assert!(again.success(), "{again}");
    let unknown = fleet.muster(&["offboard", "nobody-of-ours", "--yes"]).unwrap();
    assert_eq!(unknown.status, 2, "{unknown}");
}

#[test]
fn whoever_was_offboarded_comes_back_only_by_name() {
    let fleet = fleet();
    let rob = fleet.person("rob").unwrap();
    fleet.apply_ok(&everywhere(&rob)).unwrap();
    let number = uid(fleet.host("web1"), "rob");
    fleet.muster_ok(&["offboard", "rob", "--yes"]).unwrap();
    let before = fleet.newest_change().unwrap();

    let refused = fleet.apply(&everywhere(&rob)).unwrap();
    assert_eq!(refused.status, 2, "{refused}");
    assert!(refused.stderr.contains("--reinstate rob"), "{refused}");
    assert_eq!(fleet.newest_change().unwrap(), before);
    assert_kept_out(&fleet, "web1", &rob);

    let path = fleet.declare(&everywhere(&rob)).unwrap();
    let back = fleet.muster(&["apply", "--yes", "--file", path, "--reinstate", "rob"]).unwrap();
    assert!(back.success(), "{back}");
    for host in HOSTS {
        assert_let_in(&fleet, host, &rob);
        assert_eq!(uid(fleet.host(host), "rob"), number);
    }
}

#[test]
fn a_host_that_is_cut_off_is_named_and_catches_up() {
    let fleet = fleet();
    let nora = fleet.person("nora").unwrap();
    fleet.apply_ok(&everywhere(&nora)).unwrap();
    let db1 = fleet.host("db1");
    let number = uid(db1, "nora");

    fleet.lab().cut_cable("db1").unwrap();
    let json = ["offboard", "nora", "--yes", "--timeout", "5", "--output", "json"];
    let output = fleet.muster(&json).unwrap();
    assert_eq!(output.status, 4, "{output}");
    let rows: Value = serde_json::from_str(&output.stdout).unwrap();
    assert_eq!(text(row(&rows, "db1"), "state"), "outstanding", "{output}");
    for host in ["web1", "dev1"] {
        assert_eq!(text(row(&rows, host), "state"), "done", "{output}");
        assert_out(&fleet, host, &nora, number);
    }
    assert!(db1.run_ok(&["getent", "shadow", "nora"]).unwrap().starts_with("nora:*:"));

    fleet.lab().mend_cable("db1").unwrap();
    let newest = fleet.newest_change().unwrap();
    wait::until(LATER, "db1 to catch up", || {
        let hosts = fleet.ask(&["host", "list"]).ok()?;
        (row(&hosts, "db1").get("change")?.as_u64()? == newest).then_some(())
    })
    .unwrap();
    assert_out(&fleet, "db1", &nora, number);
}

#[test]
fn a_silent_host_holds_nobody_up() {
    let fleet = fleet();
    let otto = fleet.person("otto").unwrap();
    fleet.lab().silence("dev1").unwrap();
    let output = fleet
        .muster(&[
            "apply",
            "--yes",
            "--timeout",
            "5",
            "--file",
            fleet.declare(&everywhere(&otto)).unwrap(),
        ])
        .unwrap();
    assert_eq!(output.status, 4, "{output}");
    assert_let_in(&fleet, "web1", &otto);
    assert_let_in(&fleet, "db1", &otto);
    fleet.lab().mend_cable("dev1").unwrap();
    wait::until(LATER, "a login on dev1", || {
        fleet.ssh("dev1", &otto).command("true").run().ok()?.success().then_some(())
    })
    .unwrap();
}

#[test]
fn a_revoked_key_and_a_revoked_assignment_end_at_once() {
    let fleet = fleet();
    let eva = fleet.person("eva").unwrap();
    let spare = fleet.person("eva-spare").unwrap();
    let two_keys = everywhere(&eva)
        .replace(&eva.key.public, &format!("{}\", \"{}", eva.key.public, spare.key.public));
    fleet.apply_ok(&two_keys).unwrap();
    let by_spare = |host: &str| {
        fleet.lab().ssh(host, "eva", &spare.key.private).command("true").run().unwrap()
    };
    assert_let_in(&fleet, "web1", &eva);
    assert!(by_spare("web1").success());

    let revoked = fleet.muster(&["revoke", "key", &eva.key.public, "--yes"]).unwrap();
    assert!(revoked.success(), "{revoked}");
    for host in HOSTS {
        assert_kept_out(&fleet, host, &eva);
        assert!(by_spare(host).success(), "{host}");
    }
    let revoked = fleet.muster(&["revoke", "assignment", "eva", "--yes"]).unwrap();
    assert!(revoked.success(), "{revoked}");
    for host in HOSTS {
        assert_eq!(by_spare(host).status, 255, "{host}");
    }
}
