//! What accounts a host has, whoever made them, beside what was granted; and which of them are taken
//! over by a proposal that somebody reviewed.

use std::{collections::BTreeMap, fmt::Write, time::Duration};

use muster_tests::{Fleet, Host, Person, wait};
use serde_json::Value;

use crate::{assert_let_in, existing::lines_of, fleet, sudo, uid};

/// How long it may take until a host's accounts are told.
const LATER: Duration = Duration::from_mins(2);

/// Accounts made by hand: the login, the uid, the full name.
const BY_HAND: [(&str, u32, &str); 12] = [
    ("inva", 4_401, "Inva One"),
    ("invb", 4_402, ""),
    ("invc", 4_403, "Invc Three"),
    ("invd", 4_404, "Somebody Else"),
    ("oldinve", 4_405, "Inve Five"),
    ("oldinvf", 4_406, ""),
    ("invg", 4_407, "Nobody Known"),
    ("invh", 4_408, ""),
    ("invi", 4_409, ""),
    ("invj", 4_410, ""),
    ("invk", 4_411, ""),
    ("invl", 4_412, ""),
];

/// The users of the directory that some of them are.
const USERS: [(&str, &str); 6] = [
    ("inva", "Inva One"),
    ("invb", ""),
    ("invc", "Invc Three"),
    ("invd", "Invd Four"),
    ("inve", "Inve Five"),
    ("invf", ""),
];

fn make_by_hand(host: &Host, people: &BTreeMap<&str, Person>) {
    const KEYS: &str = r#"
        install --directory --mode 0700 --owner "$1" --group "$1" "/home/$1/.ssh"
        echo "$2" > "/home/$1/.ssh/authorized_keys"
        chown "$1:$1" "/home/$1/.ssh/authorized_keys"
    "#;
    for (login, uid, name) in BY_HAND {
        let uid = uid.to_string();
        let words = ["useradd", "--create-home", "--shell", "/bin/bash", "--uid", &uid];
        host.run_ok(&[&words[..], &["--comment", name, login]].concat()).unwrap();
    }
    host.run_ok(&["usermod", "--password", "$6$not$ours", "invg"]).unwrap();
    host.run_ok(&["gpasswd", "--add", "invh", "sudo"]).unwrap();
    host.write("/etc/sudoers.d/inv", b"invi ALL=(root) NOPASSWD: /usr/bin/id\n", 0o440).unwrap();
    for (login, user) in [("invc", "invc"), ("oldinvf", "invf")] {
        host.run_ok(&["sh", "-c", KEYS, "keys", login, &people[user].key.public]).unwrap();
    }
    // No link leads the keeper anywhere, and a pipe does not hold it up.
    host.run_ok(&["ln", "-s", "/root", "/home/invj/.ssh"]).unwrap();
    host.run_ok(&["sh", "-c", "mkdir /home/invk/.ssh && mkfifo /home/invk/.ssh/authorized_keys"])
        .unwrap();
}

/// Returns what `--observed` says of each account of a host, once it says what it should.
fn await_observed(
    fleet: &Fleet,
    host: &str,
    what: &str,
    fits: impl Fn(&BTreeMap<String, Value>) -> bool,
) -> BTreeMap<String, Value> {
    let mut last = BTreeMap::new();
    wait::until(LATER, what, || {
        let found = fleet.ask(&["access", "who-can", host, "--observed"]).ok()?;
        let by_login = |line: &Value| (line["login"].as_str().unwrap().to_owned(), line.clone());
        last = found.as_array()?.iter().map(by_login).collect();
        fits(&last).then_some(())
    })
    .unwrap_or_else(|error| panic!("{error}: {last:#?}"));
    last
}

fn strings(line: &Value, field: &str) -> Vec<String> {
    let all = line[field].as_array().unwrap().iter();
    all.map(|text| text.as_str().unwrap().to_owned()).collect()
}

#[test]
fn accounts_made_by_hand_are_told_proposed_and_taken_over_with_their_uids() {
    let fleet = fleet();
    let dev1 = fleet.host("dev1");
    let people: BTreeMap<&str, Person> =
        USERS.map(|(login, _)| (login, fleet.person(login).unwrap())).into();
    make_by_hand(dev1, &people);
    let mut users = "users:\n".to_owned();
    for (login, name) in USERS {
        let key = &people[login].key.public;
        writeln!(users, "  {login}: {{name: \"{name}\", keys: [\"{key}\"]}}").unwrap();
    }
    fleet.apply_ok(&users).unwrap();
    dev1.run_ok(&["systemctl", "reload", "muster-agent"]).unwrap();

    let told = await_observed(&fleet, "dev1", "all accounts to be told", |found| {
        BY_HAND.iter().all(|(login, _, _)| found.contains_key(*login))
    });
    for (login, uid, _) in BY_HAND {
        assert_eq!(told[login]["uid"], uid, "{login}");
        assert_eq!(strings(&told[login], "granted_by"), [""; 0], "{login}");
    }
    assert_eq!(told["invg"]["password"], "set");
    assert_eq!(strings(&told["invh"], "root_by")[0], "Unix group sudo");
    assert!(strings(&told["root"], "root_by").contains(&"uid 0".to_owned()));
    let by_sudo = strings(&told["invi"], "root_by");
    assert_eq!(by_sudo, ["sudo invi: /usr/bin/id"], "{:?}", told["invi"]);
    assert_eq!(strings(&told["invc"], "keys").len(), 1);
    assert_eq!(strings(&told["oldinvf"], "keys").len(), 1);
    for login in ["invj", "invk"] {
        assert!(strings(&told[login], "keys").is_empty(), "{login}");
        assert!(!strings(&told[login], "unknown").is_empty(), "{login}");
    }
    let table = fleet.muster(&["access", "who-can", "dev1", "--observed"]).unwrap();
    let line = table.stdout.lines().find(|line| line.contains(" invg ")).unwrap();
    assert!(line.contains("ungranted"), "{line}");

    let proposed = fleet.muster_ok(&["host", "adopt", "dev1", "--propose"]).unwrap();
    // In other tests the way in for an emergency is a user's too.
    let others = |line: &&str| !line.contains("ops-dev1");
    let proposed: String = proposed.lines().filter(others).flat_map(|l| [l, "\n"]).collect();
    let entries: Vec<&str> = proposed
        .lines()
        .filter(|line| !line.trim_start().starts_with('#'))
        .filter_map(|line| line.trim().strip_suffix('}'))
        .collect();
    let named: Vec<&str> = entries.iter().filter_map(|line| line.split(':').next()).collect();
    let named: Vec<&str> = named.iter().map(|name| name.trim_matches('"')).collect();
    assert_eq!(named, ["inva-dev1", "invc-dev1"], "{proposed}");
    let bare = proposed.replace(['"', '`'], "");
    for comment in [
        "likely: it has the login, the full name",
        "sure: it has the login",
        "invd-dev1",
        "oldinve (uid 4405): possible inve's",
        "oldinvf (uid 4406): likely invf's",
        "invg: {name:",
        "it has the login, but nothing else speaks for it",
    ] {
        assert!(bare.contains(comment), "{comment}: {proposed}");
    }
    // Somebody knows that this one is right all the same.
    let known = |line: &str| {
        let comment = line.starts_with('#') && line.contains("invb-dev1");
        if comment { line.replacen("# ", "", 1) } else { line.to_owned() }
    };
    let proposed: String = proposed.lines().map(|line| known(line) + "\n").collect();

    let untouched: Vec<_> =
        BY_HAND[3..].iter().map(|(login, _, _)| lines_of(dev1, login)).collect();
    let declaration = format!(
        "{users}roles: {{invs: {{sudo: [{{commands: [/usr/bin/id]}}]}}}}\nassignments:\n\
         {}{proposed}",
        ["inva", "invb", "invc"]
            .map(|login| format!("  {login}s: {{user: {login}, role: invs, hosts: env=dev}}\n"))
            .concat(),
    );
    let plan = fleet.muster(&["plan", "--file", fleet.declare(&declaration).unwrap()]).unwrap();
    assert!(plan.stdout.contains("takes over the account of inva, uid 4401 kept"), "{plan}");
    fleet.apply_ok(&declaration).unwrap();
    for (login, own, _) in &BY_HAND[..3] {
        assert_eq!(uid(dev1, login), *own);
        assert_let_in(&fleet, "dev1", &people[login]);
        assert!(sudo(&fleet, "dev1", &people[login], "/usr/bin/id").success(), "{login}");
    }
    let after: Vec<_> = BY_HAND[3..].iter().map(|(login, _, _)| lines_of(dev1, login)).collect();
    assert_eq!(after, untouched);
    let told = await_observed(&fleet, "dev1", "the adopted ones to be granted", |found| {
        strings(&found["inva"], "granted_by") == ["invas"]
    });
    assert_eq!(strings(&told["invd"], "granted_by"), [""; 0]);

    fleet.apply_ok("absent: {assignments: [invas, invbs, invcs]}\n").unwrap();
    dev1.run_ok(&["rm", "/etc/sudoers.d/inv"]).unwrap();
    for (login, _, _) in &BY_HAND[3..] {
        dev1.run_ok(&["userdel", "--remove", login]).unwrap();
    }
}
