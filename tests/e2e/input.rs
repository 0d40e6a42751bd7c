//! Bad input: a clear error with the right exit code, and nothing changed.
//!
//! What is wrong in a file is told with file, line and column. Exit code 2 is for usage, files and
//! configuration, 1 for what failed otherwise.

use muster_tests::Fleet;

use crate::{assert_failed, assert_let_in, fleet, standing};

/// Where the declaration is on the controller's host.
const FILE: &str = "/root/people.yaml";

const KEY: &str =
    "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8g a";
/// 1024 bits.
const WEAK_KEY: &str = "ssh-rsa AAAAB3NzaC1yc2EAAAADAQABAAAAgQDTPN7N/l/i24HWXKngYty0NHeoFNcVhxEyelihr\
    6Wv4g7fEfwa7nu8rlmo1M8nqdwEi+PYuSBvqSBTLl/NVze8rMyLMwUi1jayrffhkfTB4mxnPv/63XZaC33XfOfDUXF29nV/E\
    sXaqRMaq8k1gmE9cYcipXNwfSsuvl+JrMertQ== weak";

/// A declaration that is wrong, with the line of what is, or its line and column, and words of the
/// error.
struct Case {
    yaml: &'static str,
    place: &'static str,
    words: &'static [&'static str],
}

const fn case(yaml: &'static str, place: &'static str, words: &'static [&'static str]) -> Case {
    Case { yaml, place, words }
}

/// Lets `plan` and `apply` refuse a declaration, and returns what they say and what is wrong with
/// how they did.
fn refusal(fleet: &Fleet, yaml: &str) -> (String, Vec<String>) {
    let path = fleet.declare(yaml).unwrap();
    let planned = fleet.muster(&["plan", "--file", path]).unwrap();
    let applied = fleet.muster(&["apply", "--yes", "--file", path]).unwrap();
    let mut faults = Vec::new();
    for output in [&planned, &applied] {
        let clear = output.stderr.starts_with("error: ") && output.stdout.is_empty();
        if output.status != 2 || !clear {
            faults.push(format!("no clear refusal: {output}"));
        }
        let hints = output.stderr.lines().filter(|line| line.starts_with("hint: "));
        if hints.count() != 1 {
            faults.push("not one line says what to do".to_owned());
        }
    }
    if planned.stderr != applied.stderr {
        faults.push("`plan` and `apply` say different things".to_owned());
    }
    (applied.stderr, faults)
}

/// Asserts of every case that it is refused as it should be, and that nothing came of any.
fn assert_refused(fleet: &Fleet, cases: &[Case]) {
    let before = standing(fleet);
    let mut all = Vec::new();
    for Case { yaml, place, words } in cases {
        let yaml = yaml.replace("$KEY", KEY).replace("$WEAK", WEAK_KEY);
        let (said, mut faults) = refusal(fleet, &yaml);
        if !said.contains(&format!("{FILE}:{place}:")) {
            faults.push(format!("not at {place}"));
        }
        let missing = words.iter().filter(|word| !said.contains(*word));
        faults.extend(missing.map(|word| format!("without the word `{word}`")));
        if !faults.is_empty() {
            all.push(format!("{yaml}{said}=> {}", faults.join(", ")));
        }
    }
    assert!(all.is_empty(), "\n{}", all.join("\n\n"));
    assert_eq!(standing(fleet), before);
}

#[test]
fn yaml_that_is_not_of_the_form_is_refused() {
    assert_refused(
        &fleet(),
        &[
            case("users: [\n", "1:8", &["expected a mapping"]),
            case("users:\n  una: {name: \"U}\n", "2:15", &["unclosed quote"]),
            case("users:\n\tuna: {}\n", "2", &["tab"]),
            case("userz: {}\n", "1:1", &["userz", "users"]),
            case("users:\n  una: {shel: /bin/sh}\n", "2:9", &["shel", "shell"]),
            case("roles:\n  r:\n    sudo:\n      - {comand: [/bin/ls]}\n", "4:10", &["comand"]),
            case("users:\n  una: []\n", "2:8", &["expected a mapping"]),
            case("- users\n", "1:1", &["expected a mapping"]),
            case("users:\n  una: {uid: many}\n", "2:14", &["number"]),
            case("users:\n  una: {uid: -1}\n", "2:14", &["number"]),
            case("users:\n  una: {uid: 4294967296}\n", "2:14", &["number"]),
        ],
    );
}

#[test]
fn what_is_there_twice_is_refused() {
    let fleet = fleet();
    assert_refused(
        &fleet,
        &[
            case("users:\n  una: {}\n  una: {}\n", "3:3", &["una", "duplicate"]),
            case("users: {}\nusers: {}\n", "2:1", &["users", "duplicate"]),
            case("users:\n  una: {uid: 7001}\n  uta: {uid: 7001}\n", "3:14", &["7001", "una"]),
            case("users:\n  una: {keys: [\"$KEY\", \"$KEY\"]}\n", "2:102", &["twice"]),
        ],
    );
    // Also in two files, and against what is in force.
    let ula = fleet.person("ula").unwrap();
    let declaration = |login: &str| {
        format!(
            "users:\n  {login}: {{uid: 7002, keys: [\"{}\"]}}\n\
             roles:\n  guest: {{}}\n\
             assignments:\n  ula: {{user: {login}, role: guest, hosts: \"tier=web\"}}\n",
            ula.key.public
        )
    };
    fleet.apply_ok(&declaration("ula")).unwrap();
    assert_let_in(&fleet, "web1", &ula);
    let before = standing(&fleet);
    assert_refused(
        &fleet,
        &[case(
            "users:\n  uma: {uid: 7002}\n",
            "2:14",
            &["7002", "`ula`", "hint: take the number out"],
        )],
    );
    fleet.controller().run_ok(&["mkdir", "-p", "/root/two"]).unwrap();
    for file in ["/root/two/a.yaml", "/root/two/b.yaml"] {
        fleet.controller().write(file, b"users:\n  una: {}\n", 0o644).unwrap();
    }
    let twice = fleet.muster(&["apply", "--yes", "--file", "/root/two"]).unwrap();
    let both = ["/root/two/b.yaml:2:3: ", "una", "/root/two/a.yaml:2:3 too", "hint: keep one"];
    assert_failed(&twice, 2, &both);
    assert_eq!(standing(&fleet), before);
}

#[test]
fn logins_that_a_system_would_stumble_over_are_refused() {
    let login = &["login"][..];
    assert_refused(
        &fleet(),
        &[
            case("users:\n  ..: {}\n", "2:3", login),
            case("users:\n  -rf: {}\n", "2:3", login),
            case("users:\n  ALL: {}\n", "2:3", login),
            case("users:\n  0day: {}\n", "2:3", login),
            case("users:\n  root: {}\n", "2:3", &["belongs to the system"]),
            case("users:\n  muster-accounts: {}\n", "2:3", &["belongs to the system"]),
            case("users:\n  \"una\\nroot\": {}\n", "2:3", login),
            case("users:\n  \"una:x:0:0\": {}\n", "2:3", login),
            case("users:\n  una.b: {}\n", "2:3", login),
            case("users:\n  \"una \": {}\n", "2:3", login),
            case("users:\n  \"\": {}\n", "2:3", login),
            case("users:\n  Una: {}\n", "2:3", login),
            case("users:\n  ünal: {}\n", "2:3", login),
            case("users:\n  a1234567890123456789012345678901: {}\n", "2:3", login),
            case("users:\n  una: {name: \"Una:x:0:0\"}\n", "2:15", &["GECOS"]),
            case("users:\n  una: {name: \"Una\\nroot::0:0::/:\"}\n", "2:15", &["GECOS"]),
            case("users:\n  una: {shell: bash}\n", "2:16", &["absolute"]),
            case("users:\n  una: {home: /home/../root}\n", "2:15", &["`..`"]),
            case("unix_groups:\n  sudo: {}\n", "2:3", &["belongs to the system"]),
            case("users:\n  una: {uid: 0}\n", "2:14", &["1000"]),
            case("users:\n  una: {uid: 999}\n", "2:14", &["1000"]),
            case("users:\n  una: {uid: 65534}\n", "2:14", &["59999"]),
        ],
    );
}

#[test]
fn keys_that_are_none_or_not_good_enough_are_refused() {
    let fleet = fleet();
    assert_refused(
        &fleet,
        &[
            case("users:\n  una: {keys: [hello]}\n", "2:16", &["public key"]),
            case("users:\n  una: {keys: [\"\"]}\n", "2:16", &["public key"]),
            case("users:\n  una: {keys: [\"ssh-ed25519 AAAA una\"]}\n", "2:16", &["public key"]),
            case(
                "users:\n  una: {keys: [\"ssh-dss AAAAB3NzaC1kc3MAAACBAP u\"]}\n",
                "2:16",
                &["ssh-dss", "refused"],
            ),
            case(
                "users:\n  una: {keys: [\"ssh-ed25519-cert-v01@openssh.com AAAA u\"]}\n",
                "2:16",
                &["cert-v01", "refused"],
            ),
            case(
                "users:\n  una: {keys: [\"command=\\\"sh\\\" $KEY\"]}\n",
                "2:16",
                &["`sh`", "absolute path"],
            ),
            case(
                "users:\n  una: {keys: [\"environment=\\\"A=b\\\" $KEY\"]}\n",
                "2:16",
                &["`environment`", "`restrict`"],
            ),
            case("users:\n  una: {keys: [\"restrict, $KEY\"]}\n", "2:16", &["option"]),
            case("users:\n  una: {keys: [\"$KEY\\n$KEY\"]}\n", "2:16", &["public key"]),
            case(
                "users:\n  una: {keys: [\"-----BEGIN OPENSSH PRIVATE KEY-----\"]}\n",
                "2:16",
                &["private key"],
            ),
            case("users:\n  una: {keys: $KEY}\n", "2:15", &["expected a list"]),
            case("users:\n  una: {keys: [\"$WEAK\"]}\n", "2:16", &["1024 bits", "2048"]),
        ],
    );
}

#[test]
fn sudo_rules_that_say_more_than_they_seem_to_are_refused() {
    assert_refused(
        &fleet(),
        &[
            case("roles:\n  r: {sudo: [{commands: [psql]}]}\n", "2:26", &["absolute path"]),
            case("roles:\n  r: {sudo: [{commands: [./psql]}]}\n", "2:26", &["absolute path"]),
            case("roles:\n  r: {sudo: [{commands: [\"!/bin/sh\"]}]}\n", "2:26", &["absolute path"]),
            case("roles:\n  r: {sudo: [{commands: [sudoedit]}]}\n", "2:26", &["absolute path"]),
            case("roles:\n  r: {sudo: [{commands: [\"/bin/vi *\"]}]}\n", "2:26", &["wildcards"]),
            case("roles:\n  r: {sudo: [{commands: [\"/bin/*\"]}]}\n", "2:26", &["absolute"]),
            case(
                "roles:\n  r: {sudo: [{commands: [\"/bin/a x, /bin/b\"]}]}\n",
                "2:26",
                &["commas"],
            ),
            case("roles:\n  r: {sudo: [{commands: [\"/bin/a\\nALL\"]}]}\n", "2:26", &["absolute"]),
            case("roles:\n  r: {sudo: [{commands: [\"/bin/a x\\ny\"]}]}\n", "2:26", &["argument"]),
            case("roles:\n  r: {sudo: [{commands: [\"/bin/a ^x$\"]}]}\n", "2:26", &["argument"]),
            case("roles:\n  r: {sudo: [{commands: [\"/bin/../sh\"]}]}\n", "2:26", &["`..`"]),
            case("roles:\n  r: {sudo: [{run_as: \"#0\", commands: [ALL]}]}\n", "2:23", &["#0"]),
            case("roles:\n  r: {sudo: [{commands: []}]}\n", "2:25", &["command"]),
            case("roles:\n  ../r: {}\n", "2:3", &["name"]),
            case("roles:\n  r.d: {}\n", "2:3", &["name"]),
        ],
    );
}

#[test]
fn assignments_that_cannot_be_meant_are_refused() {
    assert_refused(
        &fleet(),
        &[
            case("assignments:\n  a: {user: una, role: r, hosts: \"\"}\n", "2:34", &["`all`"]),
            case("assignments:\n  a: {user: una, role: r, hosts: \"env=\"}\n", "2:34", &["label"]),
            case(
                "assignments:\n  a: {user: una, role: r, hosts: \"env in prod\"}\n",
                "2:34",
                &["env in prod", "key in (a,b)"],
            ),
            case(
                "assignments:\n  a: {user: una, role: r, hosts: \"env==a,,b\"}\n",
                "2:34",
                &["key=value"],
            ),
            case("assignments:\n  a: {user: una, role: r}\n", "2", &["hosts"]),
            case("assignments:\n  a: {user: una, hosts: all}\n", "2", &["role"]),
            case(
                "users: {una: {}}\nassignments:\n  a: {user: una, role: none, hosts: all}\n",
                "3:24",
                &["none"],
            ),
            case(
                "roles: {r: {}}\nassignments:\n  a: {user: none, role: r, hosts: all}\n",
                "3:13",
                &["none"],
            ),
            case("roles: {r: {}}\nassignments:\n  a: {role: r, hosts: all}\n", "3", &["group"]),
            case(
                "users: {una: {}}\ngroups: {g: {}}\nroles: {r: {}}\n\
                 assignments:\n  a: {user: una, group: g, role: r, hosts: all}\n",
                "5",
                &["group"],
            ),
            case("users:\n  una: {groups: [none]}\n", "2:18", &["none"]),
            case(
                "absent: {users: [nobody-of-ours]}\n",
                "1:18",
                &["nobody-of-ours", "hint: take it out of `absent`", "`muster user list`"],
            ),
            case("users: {una: {}}\nabsent: {users: [una]}\n", "2:18", &["una"]),
        ],
    );
}

#[test]
fn dates_that_end_before_they_begin_are_refused() {
    assert_refused(
        &fleet(),
        &[
            case("users:\n  una: {ends: tomorrow}\n", "2:15", &["not a date"]),
            case("users:\n  una: {ends: 2027-02-30}\n", "2:15", &["not a date"]),
            case("users:\n  una: {starts: 2027-02-02, ends: 2027-02-01}\n", "2:35", &["starts"]),
            case(
                "users:\n  una: {starts: 2027-02-02T10:00:00Z, ends: 2027-02-02T10:00:00Z}\n",
                "2:45",
                &["starts"],
            ),
            case(
                "users: {una: {}}\nroles: {r: {}}\nassignments:\n  \
                 a: {user: una, role: r, hosts: all, from: 2027-02-02, until: 2027-01-01}\n",
                "4:64",
                &["from"],
            ),
        ],
    );
}

#[test]
fn files_and_arguments_that_are_not_there_are_refused() {
    let fleet = fleet();
    let before = standing(&fleet);
    let muster = |words: &[&str]| fleet.muster(words).unwrap();
    let none = muster(&["plan", "--file", "/root/none.yaml"]);
    assert_failed(&none, 2, &["/root/none.yaml", "hint:"]);
    let empty = muster(&["plan", "--file", "/etc/skel"]);
    assert_failed(&empty, 2, &["/etc/skel", ".yaml", "hint:"]);
    fleet.controller().write("/root/bytes.yaml", b"users:\n  \xff: {}\n", 0o644).unwrap();
    let bytes = muster(&["plan", "--file", "/root/bytes.yaml"]);
    assert_failed(&bytes, 2, &["/root/bytes.yaml", "UTF-8", "hint:"]);
    let long = "printf 'users: {}\\n' >/root/long.yaml; truncate --size 16777217 /root/long.yaml";
    fleet.controller().run_ok(&["sh", "-c", long]).unwrap();
    let long = muster(&["apply", "--yes", "--file", "/root/long.yaml"]);
    assert_failed(&long, 2, &["/root/long.yaml", "16 MiB", "hint: split it"]);
    assert_eq!(muster(&["plan"]).status, 2);
    assert_eq!(muster(&["no-such-verb"]).status, 2);
    assert_failed(&muster(&["offboard", "..", "--yes"]), 2, &["login"]);
    assert_failed(&muster(&["host", "token", "--valid-for", "soon"]), 2, &["soon", "15m"]);
    assert_failed(&muster(&["host", "show", "none"]), 2, &["none"]);
    assert_failed(&muster(&["change", "show", "999999"]), 2, &["999999"]);
    assert_failed(&muster(&["revoke", "key", "not a key", "--yes"]), 2, &["key"]);
    let path = fleet.declare("users: {una: {}}\n").unwrap();
    let line = muster(&["apply", "--yes", "--file", path, "--reason", "two\nlines"]);
    assert_failed(&line, 2, &["--reason"]);
    // Nobody is there to be asked.
    assert_failed(&muster(&["apply", "--file", path]), 2, &["--yes"]);
    assert_eq!(standing(&fleet), before);
}
