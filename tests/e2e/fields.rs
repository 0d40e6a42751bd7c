//! What a user, a key and a role can say besides who may log in, as sshd and PAM take it.

mod bound;

use std::time::Duration;

use muster_tests::{Fleet, Person, wait};

use crate::{
    SOON, assert_kept_out, assert_let_in, fleet, is_locked, is_refused, is_there, open_session,
};

const KEEPER: &str = "muster-agent.service";

/// Declares one user on one host, with these lines of hers and these of her role.
fn declaration(login: &str, user: &str, role: &str) -> String {
    format!(
        "users:\n  {login}: {{{user}}}\nroles:\n  {login}: {{{role}}}\n\
         assignments:\n  {login}: {{user: {login}, role: {login}, hosts: muster/hostname=web1}}\n"
    )
}

/// Quotes a line for YAML.
fn quoted(line: &str) -> String {
    format!("'{line}'")
}

/// Returns the moment this many seconds from now, as a declaration says it.
fn at(fleet: &Fleet, seconds: u64) -> String {
    let date = format!("--date={seconds} seconds");
    let moment = ["date", "--utc", &date, "+%Y-%m-%dT%H:%M:%SZ"];
    fleet.host("web1").run_ok(&moment).unwrap().trim().to_owned()
}

#[test]
fn an_end_comes_though_controller_and_agent_are_dead() {
    let fleet = fleet();
    let ted = fleet.person("ted").unwrap();
    let Person { login, key } = &ted;
    let ends = at(&fleet, 15);
    let user = format!("keys: [{}], ends: {ends}", quoted(&key.public));
    fleet.apply_ok(&declaration(login, &user, "")).unwrap();
    let web1 = fleet.host("web1");
    fleet.controller().run_ok(&["systemctl", "stop", "muster"]).unwrap();
    web1.run_ok(&["systemctl", "stop", KEEPER]).unwrap();
    assert_let_in(&fleet, "web1", &ted);
    // Nor would PAM let him in from the first day that lies wholly behind it.
    let day = format!("--date={ends} + 1 day");
    let day = web1.run_ok(&["date", "--utc", &day, "+%s"]).unwrap();
    let day = day.trim().parse::<u64>().unwrap() / 86_400;
    let shadow = web1.run_ok(&["getent", "shadow", "ted"]).unwrap();
    assert_eq!(shadow.trim_end().split(':').nth(7), Some(day.to_string().as_str()), "{shadow}");
    // Each login is told in the second in which it was asked for: to the last one before, and from
    // the first one after.
    let date = moment(&fleet, &ends);
    wait::until(Duration::from_secs(30), "sshd itself to take the key no longer", || {
        let asked = now(&fleet);
        let said = fleet.ssh("web1", &ted).command("true").run().unwrap();
        let told = now(&fleet);
        let out = is_refused(&said);
        assert!(out || said.success(), "{said}");
        assert!(if out { told >= date } else { asked < date }, "{asked} to {told}: {said}");
        out.then_some(())
    })
    .unwrap();

    // And the keeper does its part when it is back.
    web1.run_ok(&["systemctl", "start", KEEPER]).unwrap();
    wait::until(SOON, "the account to be locked", || {
        web1.run_ok(&["getent", "shadow", "ted"]).unwrap().starts_with("ted:!").then_some(())
    })
    .unwrap();
    fleet.controller().run_ok(&["systemctl", "start", "muster"]).unwrap();
    assert_kept_out(&fleet, "web1", &ted);
}

/// Returns what time it is on a host, in nanoseconds since 1970.
fn now(fleet: &Fleet) -> u64 {
    fleet.host("web1").run_ok(&["date", "+%s%N"]).unwrap().trim().parse().unwrap()
}

/// Returns a date in nanoseconds since 1970.
fn moment(fleet: &Fleet, date: &str) -> u64 {
    let date = format!("--date={date}");
    fleet.host("web1").run_ok(&["date", &date, "+%s%N"]).unwrap().trim().parse().unwrap()
}

/// Returns when a file became what it is, in nanoseconds since 1970, by the host's own file system.
fn changed(fleet: &Fleet, path: &str) -> u64 {
    let said = fleet.host("web1").run_ok(&["stat", "--format=%.9Z", path]).unwrap();
    said.trim().replace('.', "").parse().unwrap()
}

#[track_caller]
fn assert_within_its_second(found: u64, date: u64, what: &str) {
    let second = date..date + 1_000_000_000;
    assert!(second.contains(&found), "{what}: {found}, and not {date}");
}

#[test]
fn a_start_and_an_end_come_in_time_though_the_controller_is_dead() {
    let fleet = fleet();
    let web1 = fleet.host("web1");
    // The dates of one are her assignment's, those of the other his own.
    let people = ["fee", "fitz"].map(|login| fleet.person(login).unwrap());
    let [fee, fitz] = &people;
    let (start, end) = (at(&fleet, 14), at(&fleet, 22));
    let role = "sudo: [{commands: [/usr/bin/id]}]";
    let [hers, his] = [fee, fitz].map(|person| format!("keys: [{}]", quoted(&person.key.public)));
    let declared = format!(
        "users:\n  fee: {{{hers}}}\n  fitz: {{{his}, starts: {start}, ends: {end}}}\n\
         roles:\n  fee: {{{role}}}\n  fitz: {{{role}}}\nassignments:\n  \
         fee: {{user: fee, role: fee, hosts: muster/hostname=web1, from: {start}, until: {end}}}\n  \
         fitz: {{user: fitz, role: fitz, hosts: muster/hostname=web1}}\n"
    );
    fleet.apply_ok(&declared).unwrap();
    fleet.controller().run_ok(&["systemctl", "stop", "muster"]).unwrap();
    let [start, end] = [start, end].map(|date| moment(&fleet, &date));
    for Person { login, .. } in &people {
        assert!(!web1.run(&["getent", "passwd", login]).unwrap().success());
    }
    assert!(now(&fleet) < start, "the test was too slow to see the start");

    // Their rules are what is given last.
    let rules = people.each_ref().map(|one| format!("/etc/sudoers.d/50-muster-{}", one.login));
    let given = || rules.iter().filter(|rule| is_there(web1, rule)).count();
    wait::until(Duration::from_secs(30), "the start", || (given() == 2).then_some(())).unwrap();
    for rule in &rules {
        assert_within_its_second(changed(&fleet, rule), start, rule);
    }
    let sessions = people.each_ref().map(|person| open_session(&fleet, "web1", person));

    for mut session in sessions {
        let ended = session.finish(Duration::from_secs(30)).unwrap();
        assert_eq!(ended.status, 255, "{ended}");
    }
    // When the account files are made the last of the keys is gone and the lock is there.
    for path in ["/etc/sudoers.d", "/etc/ssh/muster-keys", "/etc/shadow"] {
        assert_within_its_second(changed(&fleet, path), end, path);
    }
    assert_eq!(given(), 0);
    for person in &people {
        assert!(is_locked(web1, &person.login));
        assert_kept_out(&fleet, "web1", person);
    }
    fleet.controller().run_ok(&["systemctl", "start", "muster"]).unwrap();
}

#[test]
fn a_password_that_is_set_on_the_host_ages_as_its_role_says() {
    let fleet = fleet();
    let ursa = fleet.person("ursa").unwrap();
    let user = format!("keys: [{}]", quoted(&ursa.key.public));
    let ages = "min_days: 1, max_days: 90, warn_days: 14, inactive_days: 30, min_length: 12";
    let role = format!("password: {{{ages}}}");
    // All of it is done but for the length, which nothing on this host looks at.
    let applied = fleet.apply(&declaration("ursa", &user, &role)).unwrap();
    assert_eq!(applied.status, 4, "{applied}");
    assert!(applied.stderr.contains("not confirmed: web1 (partly)"), "{applied}");
    let shown = fleet.ask(&["host", "show", "web1"]).unwrap().to_string();
    let unmet = "password-policy-unmet ursa: new passwords of fewer than 12 characters are taken: \
                 `passwd` does not run pam_pwquality: install libpam-pwquality";
    assert!(shown.contains(unmet), "{shown}");
    let web1 = fleet.host("web1");
    let aging = || {
        let line = web1.run_ok(&["getent", "shadow", "ursa"]).unwrap();
        line.trim_end().split(':').skip(3).take(4).collect::<Vec<_>>().join(":")
    };
    // Whoever has only keys is not shut out by the age of a password that she has not.
    assert_eq!(aging(), ":::");
    web1.run_ok(&["sh", "-c", "echo 'ursa:correct horse battery' | chpasswd"]).unwrap();
    web1.run_ok(&["systemctl", "restart", KEEPER]).unwrap();
    wait::until(SOON, "the ages to be set", || (aging() == "1:90:14:30").then_some(())).unwrap();
    assert_let_in(&fleet, "web1", &ursa);

    // A role without a password takes it away.
    fleet.apply_ok(&declaration("ursa", &user, "")).unwrap();
    assert!(web1.run_ok(&["getent", "shadow", "ursa"]).unwrap().starts_with("ursa:*:"));
    assert_eq!(aging(), "::14:");
    assert_let_in(&fleet, "web1", &ursa);
}

#[test]
fn a_name_is_changed_in_place_and_a_home_is_where_it_was_said_when_the_account_was_made() {
    let fleet = fleet();
    let web1 = fleet.host("web1");
    web1.run_ok(&["mkdir", "--parents", "/srv/homes"]).unwrap();
    let gildor = fleet.person("gildor").unwrap();
    let declared = |name: &str, home: &str| {
        let keys = quoted(&gildor.key.public);
        declaration("gildor", &format!("keys: [{keys}], name: {name}, home: {home}"), "")
    };
    let passwd = || {
        let line = web1.run_ok(&["getent", "passwd", "gildor"]).unwrap();
        let fields: Vec<&str> = line.trim_end().split(':').collect();
        (fields[4].to_owned(), fields[5].to_owned())
    };
    let own = |name: &str, home: &str| (name.to_owned(), home.to_owned());
    fleet.apply_ok(&declared("Gil Before", "/srv/homes/gildor")).unwrap();
    assert_eq!(passwd(), own("Gil Before", "/srv/homes/gildor"));
    let home = fleet.ssh("web1", &gildor).command("pwd").run_ok().unwrap();
    assert_eq!(home, "/srv/homes/gildor\n");
    fleet.apply_ok(&declared("Gil After", "/srv/elsewhere")).unwrap();
    assert_eq!(passwd(), own("Gil After", "/srv/homes/gildor"));
    assert_let_in(&fleet, "web1", &gildor);
}
