//! People move, lose a part of what they had, and come back. What is lost goes before what is gained
//! comes, whoever loses a way in is put out, and nobody else notices.

use std::{
    fmt::Write,
    sync::atomic::{AtomicBool, AtomicU32, Ordering},
    thread,
    time::Duration,
};

use muster_tests::{Fleet, Person, Running, wait};
use serde_json::Value;

use crate::{
    ENFORCED, HOSTS, SOON, assert_kept_out, assert_let_in, fleet, is_locked, is_refused, is_there,
    open_session, sudo, uid,
};

/// How often somebody logs in while others are moved.
const LOGINS: u32 = 50;

/// How long that may take.
const MANY_LOGINS: Duration = Duration::from_mins(2);

/// Returns what each of a host's receipts says that was done, the newest first.
fn receipts(fleet: &Fleet, host: &str) -> Vec<Vec<String>> {
    let shown = fleet.ask(&["host", "show", host]).unwrap();
    let mut receipts = shown.get("receipts").unwrap().as_array().unwrap().clone();
    let number = |receipt: &Value| receipt.get("number").unwrap().as_u64().unwrap();
    receipts.sort_by_key(|receipt| std::cmp::Reverse(number(receipt)));
    let outcomes = |receipt: &Value| {
        let outcomes = receipt.get("outcomes").unwrap().as_array().unwrap().iter();
        outcomes.map(|outcome| outcome.as_str().unwrap().to_owned()).collect()
    };
    receipts.iter().map(outcomes).collect()
}

/// Asserts that the newest receipt of all that has the first of these words has all of them, in this
/// order.
fn assert_in_order(fleet: &Fleet, host: &str, order: &[&str]) {
    let all = receipts(fleet, host);
    let has =
        |done: &&Vec<String>| done.iter().any(|o| order.iter().take(1).any(|w| o.starts_with(w)));
    let done = all.iter().find(has).unwrap_or_else(|| panic!("{order:?} on {host}: {all:#?}"));
    let mut rest = done.iter();
    for word in order {
        assert!(rest.any(|outcome| outcome.starts_with(word)), "`{word}` on {host}: {done:#?}");
    }
}

/// Asserts that a session is one still, both ways.
fn assert_goes_on(session: &mut Running, word: &str) {
    session.send(format!("{word}\n").as_bytes()).unwrap();
    session.wait_for_line(SOON, word).unwrap();
}

fn groups(fleet: &Fleet, host: &str, login: &str) -> String {
    fleet.host(host).run_ok(&["id", "--name", "--groups", login]).unwrap()
}

/// Two places to be: one is `web1` and `db1`, the other `db1` and `dev1`.
const PLACES: &str = r#"
groups: {fay-old: {}, fay-new: {}}
unix_groups: {fay-data: {}}
roles:
  fay-old: {unix_groups: {at_least: [disk]}, sudo: [{commands: [/usr/bin/id]}]}
  fay-new: {unix_groups: {at_least: [fay-data]}, sudo: [{commands: [/usr/bin/whoami]}]}
assignments:
  fay-old: {group: fay-old, role: fay-old, hosts: "env=prod"}
  fay-new: {group: fay-new, role: fay-new, hosts: "tier=db,env!=watch"}
"#;

#[test]
fn whoever_moves_has_lost_the_old_before_she_has_the_new() {
    let fleet = fleet();
    let [fay, new_key] = ["fay", "fay-new"].map(|name| fleet.person(name).unwrap());
    let moved = Person { login: "fay".to_owned(), key: new_key.key };
    let user = |group: &str, Person { key, .. }: &Person, shell: &str| {
        let key = &key.public;
        format!("users:\n  fay: {{groups: [{group}], keys: [\"{key}\"], shell: {shell}}}\n{PLACES}")
    };
    fleet.apply_ok(&user("fay-old", &fay, "/bin/bash")).unwrap();
    let number = uid(fleet.host("web1"), "fay");
    assert!(groups(&fleet, "db1", "fay").contains("disk"));
    let mut sessions = ["web1", "db1"].map(|host| open_session(&fleet, host, &fay));

    fleet.apply_ok(&user("fay-new", &moved, "/bin/sh")).unwrap();

    // The place that she left.
    assert!(is_locked(fleet.host("web1"), "fay"));
    for person in [&fay, &moved] {
        assert_kept_out(&fleet, "web1", person);
    }
    // The place where she is for another reason now.
    for session in &mut sessions {
        assert_eq!(session.finish(SOON).unwrap().status, 255);
    }
    assert_in_order(
        &fleet,
        "db1",
        &[
            "sudo-removed fay-old all",
            "memberships-changed fay out of disk",
            "keys-removed fay",
            "sessions-ended fay",
            "account-changed fay",
            "memberships-changed fay into fay-data",
            "keys-installed fay",
            "sudo-installed fay-new",
        ],
    );
    assert_in_order(
        &fleet,
        "web1",
        &["sudo-removed fay-old", "account-locked fay", "keys-removed fay", "sessions-ended fay"],
    );
    assert_kept_out(&fleet, "db1", &fay);
    for host in ["db1", "dev1"] {
        assert_let_in(&fleet, host, &moved);
        assert_eq!(uid(fleet.host(host), "fay"), number);
        let groups = groups(&fleet, host, "fay");
        assert!(groups.contains("fay-data") && !groups.contains("disk"), "{groups}");
        let passwd = fleet.host(host).run_ok(&["getent", "passwd", "fay"]).unwrap();
        assert!(passwd.ends_with(":/bin/sh\n"), "{passwd}");
        assert!(sudo(&fleet, host, &moved, "/usr/bin/whoami").success());
        assert_eq!(sudo(&fleet, host, &moved, "/usr/bin/id").status, 1);
    }

    // The same role elsewhere: by its selector alone.
    let mut here = open_session(&fleet, "db1", &moved);
    let elsewhere = PLACES.replace("tier=db,env!=watch", "env=prod");
    let narrowed = user("fay-new", &moved, "/bin/sh").replace(PLACES, &elsewhere);
    fleet.apply_ok(&narrowed).unwrap();
    assert!(is_locked(fleet.host("dev1"), "fay"));
    assert_kept_out(&fleet, "dev1", &moved);
    assert_let_in(&fleet, "web1", &moved);
    assert_eq!(uid(fleet.host("web1"), "fay"), number);
    assert_goes_on(&mut here, "nothing has changed here");
}

/// Somebody with a spare key, and what she has before and after.
struct Mover {
    person: Person,
    before: &'static str,
    after: &'static str,
}

/// Declares people on every host, each with a role of her own; what is in it may say `KEY` and
/// `SPARE`.
fn declared(fleet: &Fleet, movers: &[Mover], of: impl Fn(&Mover) -> &'static str) -> String {
    let mut all = [String::new(), String::new(), String::new()];
    for mover in movers {
        let Person { login, key } = &mover.person;
        let spare = fleet.lab().scratch().join(format!("{login}-spare.pub"));
        let spare = std::fs::read_to_string(spare).unwrap();
        let (keys, role) = of(mover).split_once('|').unwrap();
        let keys = keys.replace("KEY", &format!("\"{}\"", key.public));
        let keys = keys.replace("SPARE", &format!("\"{}\"", spare.trim_end()));
        writeln!(all[0], "  {login}: {{keys: [{keys}]}}").unwrap();
        if role != "nothing" {
            writeln!(all[1], "  {login}: {{unix_groups: {{at_least: [{role}]}}}}").unwrap();
            let hosts = format!("\"{ENFORCED}\"");
            writeln!(all[2], "  {login}: {{user: {login}, role: {login}, hosts: {hosts}}}")
                .unwrap();
        }
    }
    let [users, roles, assignments] = all;
    format!("users:\n{users}roles:\n{roles}assignments:\n{assignments}")
}

#[test]
fn sessions_end_for_whoever_loses_a_way_in_and_nobody_else_blinks() {
    let fleet = fleet();
    let mover = |login, before, after| {
        fleet.person(&format!("{login}-spare")).unwrap();
        Mover { person: fleet.person(login).unwrap(), before, after }
    };
    let movers = [
        mover("gains", "KEY|audio", "KEY, SPARE|audio, disk"),
        mover("harmless", "KEY|audio, video", "KEY|audio"),
        mover("unkeyed", "KEY, SPARE|audio", "KEY|audio"),
        mover("unrooted", "KEY|audio, disk", "KEY|audio"),
        mover("leaver", "KEY|audio", "KEY|nothing"),
        mover("stander", "KEY|audio", "KEY|audio"),
    ];
    fleet.apply_ok(&declared(&fleet, &movers, |mover| mover.before)).unwrap();
    let mut sessions: Vec<_> = HOSTS
        .iter()
        .flat_map(|host| movers.iter().map(move |mover| (*host, mover)))
        .map(|(host, mover)| (host, mover, open_session(&fleet, host, &mover.person)))
        .collect();
    let stander = &movers.last().unwrap().person;
    let after = declared(&fleet, &movers, |mover| mover.after)
        + "absent: {assignments: [leaver], roles: [leaver]}\n";

    let (count, changed) = (AtomicU32::new(0), AtomicBool::new(false));
    let logins = || {
        // As often as was promised, and as long as anything may still be changing.
        while count.load(Ordering::Relaxed) < LOGINS || !changed.load(Ordering::Relaxed) {
            let host = HOSTS[count.fetch_add(1, Ordering::Relaxed) as usize % HOSTS.len()];
            assert_let_in(&fleet, host, stander);
        }
    };
    thread::scope(|scope| {
        let logins = scope.spawn(logins);
        wait::until(MANY_LOGINS, "some logins before the change", || {
            (count.load(Ordering::Relaxed) > LOGINS / 5).then_some(())
        })
        .unwrap();
        fleet.apply_ok(&after).unwrap();
        changed.store(true, Ordering::Relaxed);
        logins.join().unwrap();
    });
    assert!(count.load(Ordering::Relaxed) >= LOGINS);

    for (host, Mover { person, .. }, session) in &mut sessions {
        let login = person.login.as_str();
        if matches!(login, "unkeyed" | "unrooted" | "leaver") {
            let ended = session.finish(SOON).unwrap();
            assert_eq!(ended.status, 255, "{login} on {host}: {ended}");
        } else {
            assert_goes_on(session, "as before");
        }
    }
    for host in HOSTS {
        assert_kept_out(&fleet, host, &movers[4].person);
        for mover in &movers[..4] {
            assert_let_in(&fleet, host, &mover.person);
        }
        let now = ["gains", "harmless", "unrooted"].map(|login| groups(&fleet, host, login));
        assert!(now[0].contains("disk"), "{now:?}");
        assert!(!now[1].contains("video") && !now[2].contains("disk"), "{now:?}");
    }
}

#[test]
fn a_removed_assignment_role_and_key_are_gone_everywhere() {
    let fleet = fleet();
    let [cam, spare] = ["cam", "cam-spare"].map(|name| fleet.person(name).unwrap());
    let spare = Person { login: "cam".to_owned(), key: spare.key };
    let [kept, gone] = [&cam.key.public, &spare.key.public];
    let more = format!(
        "users:\n  cam: {{keys: [\"{kept}\", \"{gone}\"]}}\n\
         roles:\n  cam: {{}}\n  cam-more: {{unix_groups: {{at_least: [disk]}}, \
         sudo: [{{commands: [/usr/bin/id]}}]}}\n\
         assignments:\n  cam: {{user: cam, role: cam, hosts: \"{ENFORCED}\"}}\n  \
         cam-more: {{user: cam, role: cam-more, hosts: \"{ENFORCED}\"}}\n"
    );
    fleet.apply_ok(&more).unwrap();
    for host in HOSTS {
        assert!(sudo(&fleet, host, &spare, "/usr/bin/id").success(), "{host}");
    }
    let less = format!(
        "users:\n  cam: {{keys: [\"{kept}\"]}}\n\
         absent: {{assignments: [cam-more], roles: [cam-more]}}\n"
    );
    fleet.apply_ok(&less).unwrap();
    for host in HOSTS {
        assert!(!is_there(fleet.host(host), "/etc/sudoers.d/50-muster-cam-more"), "{host}");
        let keys = fleet.host(host).read("/etc/ssh/muster-keys/cam").unwrap();
        let keys = String::from_utf8(keys).unwrap();
        assert!(keys.contains(kept.as_str()) && !keys.contains(gone.as_str()), "{keys}");
        assert!(!groups(&fleet, host, "cam").contains("disk"), "{host}");
        assert!(is_refused(&fleet.ssh(host, &spare).command("true").run().unwrap()), "{host}");
        assert_let_in(&fleet, host, &cam);
        assert_eq!(sudo(&fleet, host, &cam, "/usr/bin/id").status, 1, "{host}");
    }
}

#[test]
fn whoever_returns_has_her_number_her_home_and_her_files() {
    let fleet = fleet();
    let rae = fleet.person("rae").unwrap();
    let user = format!("users:\n  rae: {{keys: [\"{}\"]}}\nroles:\n  rae: {{}}\n", rae.key.public);
    let assigned = |name: &str| {
        format!("{user}assignments:\n  {name}: {{user: rae, role: rae, hosts: \"{ENFORCED}\"}}\n")
    };
    fleet.apply_ok(&assigned("rae-first")).unwrap();
    let numbers = HOSTS.map(|host| uid(fleet.host(host), "rae"));
    for host in HOSTS {
        let note = format!("umask 077; echo 'mine on {host}' > note");
        fleet.ssh(host, &rae).command(&note).run_ok().unwrap();
    }

    fleet.apply_ok(&format!("{user}absent: {{assignments: [rae-first]}}\n")).unwrap();
    for host in HOSTS {
        assert!(is_locked(fleet.host(host), "rae"), "{host}");
        assert_kept_out(&fleet, host, &rae);
        // Nobody else has come to her things meanwhile.
        let note = fleet.host(host).read("/home/rae/note").unwrap();
        assert_eq!(note, format!("mine on {host}\n").into_bytes());
    }

    fleet.apply_ok(&assigned("rae-again")).unwrap();
    for (host, number) in HOSTS.iter().zip(numbers) {
        assert_eq!(uid(fleet.host(host), "rae"), number, "{host}");
        let said = fleet.ssh(host, &rae).command("stat --format='%U %a' note && cat note").run_ok();
        assert_eq!(said.unwrap(), format!("rae 600\nmine on {host}\n"));
        let wrote = "echo again >> note && tail --lines=1 note";
        let wrote = fleet.ssh(host, &rae).command(wrote).run_ok().unwrap();
        assert_eq!(wrote, "again\n");
    }
}
