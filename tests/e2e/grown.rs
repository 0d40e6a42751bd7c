//! A server with twenty years behind it: an LDAP that was switched off, what cloud-init left, NIS
//! lines, comments, lines that stand there twice, sudo files with aliases. It is only observed, then
//! twelve of its accounts are taken over, then it leaves.

#![expect(clippy::indexing_slicing, reason = "a test fails by panicking, in its helpers too")]

mod fixture;

use std::collections::BTreeSet;
use std::fmt::Write;
use std::time::Duration;

use muster_tests::wait;

use self::fixture::{FILES, Found, Grown, LINES, TWELVE, roles};
use crate::{assert_kept_out, assert_let_in, sudo, uid};

/// How long a keeper that was just started may take to have looked at its host.
const LATER: Duration = Duration::from_mins(1);
const HOST: &str = "old1";
const CONFIG: &str = "/etc/muster/agent.toml";

impl Grown {
    fn assert_untouched(&self) {
        let now = Found::on(self.host());
        let texts = |found: &Found| found.files.each_ref().map(|text| latin(text));
        assert_eq!(texts(&now), texts(&self.found));
        assert_eq!(now.etc, self.found.etc);
        assert_eq!(now.rest, self.found.rest);
    }

    /// Returns what the account files shall be with the twelve taken over, but for shadow.
    fn taken_over(&self) -> [String; 3] {
        let least = "boehm,ebner,fuchs,gruber,haas,imhof,jung,keller,lang";
        let [passwd, _, group, gshadow] = &self.found.files;
        let group = changed(
            group,
            &[
                ("games:x:60:adler,boehm,carr", "games:x:60:boehm,carr"),
                ("project:x:1200:adler,carr", "project:x:1200:carr"),
                ("dialout:x:20:", &format!("dialout:x:20:{least}")),
            ],
        );
        let gshadow = changed(
            gshadow,
            &[
                ("games:*::adler,boehm,carr", "games:*::boehm,carr"),
                ("project:!::adler", "project:!::"),
                ("dialout:*::", &format!("dialout:*::{least}")),
            ],
        );
        [changed(passwd, &[]), group, gshadow]
    }

    /// Asserts that of all lines only those of the twelve have changed.
    fn assert_taken_over(&self) {
        let now = LINES.map(|(file, _, _)| self.host().read(file).unwrap());
        let [passwd, shadow, group, gshadow] = now;
        let own = ["muster-accounts"];
        let kept = [&passwd, &group, &gshadow].map(|text| without(text, &own));
        assert_eq!(kept, self.taken_over());
        let twelve = TWELVE.map(|(login, ..)| login);
        assert_eq!(without(&shadow, &twelve), without(&self.found.files[1], &twelve));
        for login in twelve {
            let line = changed(&shadow, &[]);
            let line = line.lines().find(|line| line.starts_with(&format!("{login}:"))).unwrap();
            assert!(line.starts_with(&format!("{login}:*:")), "{line}");
        }
        let now = Found::on(self.host());
        assert_eq!(now.rest, self.found.rest);
        for (file, _, text) in FILES {
            assert_eq!(self.host().read(file).unwrap(), text.as_bytes(), "{file}");
        }
    }
}

/// Returns a text with other lines in the place of some, each byte of it as a character.
fn changed(text: &[u8], lines: &[(&str, &str)]) -> String {
    let mut text = format!("\n{}", latin(text));
    for (was, is) in lines {
        let was = format!("\n{was}\n");
        assert_eq!(text.matches(&was).count(), 1, "{was}: {text}");
        text = text.replace(&was, &format!("\n{is}\n"));
    }
    text.split_off(1)
}

/// Returns a text without the lines of some names.
fn without(text: &[u8], names: &[&str]) -> String {
    let text = latin(text);
    let kept = |line: &&str| !names.iter().any(|name| line.starts_with(&format!("{name}:")));
    text.split_inclusive('\n').filter(kept).collect()
}

fn latin(text: &[u8]) -> String {
    text.iter().map(|byte| char::from(*byte)).collect()
}

/// Returns the paths below `/etc` that one of two states has otherwise, whenever they were changed.
fn differing(was: &str, is: &str) -> BTreeSet<String> {
    // A path with its owner, Unix group and mode, or a digest with its path.
    let part = |line: &str| -> (String, String) {
        let words: Vec<&str> = line.split_whitespace().collect();
        match words[..] {
            [digest, path] => (path.to_owned(), digest.to_owned()),
            _ => (words[0].to_owned(), words[1..4].join(" ")),
        }
    };
    let all = |text: &str| -> BTreeSet<(String, String)> { text.lines().map(part).collect() };
    let (was, is) = (all(was), all(is));
    was.symmetric_difference(&is).map(|(path, _)| path.clone()).collect()
}

fn a_grown_server_is_observed_taken_over_and_given_back(image: &str, name: &str) {
    // One at a time with the others: the machine has room for one fleet.
    let others = crate::fleet();
    let grown = Grown::start(image, name);
    let (fleet, host) = (&grown.fleet, grown.host());

    // It observes: whatever is signed, and however often it looks.
    fleet.apply_ok(&grown.users()).unwrap();
    grown.look();
    let proposed = grown.propose();
    let declared = fleet.declare(&(grown.users() + &roles())).unwrap();
    let apply = ["apply", "--yes", "--file", declared, "--file", proposed];
    let applied = fleet.muster(&apply).unwrap();
    assert_eq!(applied.status, 4, "{applied}");
    assert!(applied.stderr.contains("(observing)"), "{applied}");
    for _ in 0..2 {
        grown.look();
    }
    let plan = host.run(&["muster-agent", "plan"]).unwrap();
    assert_eq!(plan.stdout.matches("account-adopted ").count(), 12, "{plan}");
    // Nor is anything of Muster's there that would have to be given back.
    let leave = host.run_ok(&["muster-agent", "leave", "--dry-run"]).unwrap();
    assert_eq!(leave, "nothing of Muster's is here\n");
    grown.assert_untouched();

    // It takes over twelve accounts, with their uids, homes and files.
    let config = "mode = \"enforce\"\nbreak_glass = [\"debian\"]\n";
    let observing = host.read(CONFIG).unwrap();
    host.write(CONFIG, config.as_bytes(), 0o644).unwrap();
    grown.look();
    wait::until(LATER, "the twelve to be taken over", || {
        host.run(&["muster-agent", "plan"]).ok()?.success().then_some(())
    })
    .unwrap();
    grown.assert_taken_over();
    for (login, number, ..) in TWELVE {
        assert_let_in(fleet, HOST, &grown.people[login]);
        assert_eq!(uid(host, login), number);
        let own = fleet.ssh(HOST, &grown.people[login]).command("cat file").run().unwrap();
        assert_eq!(own.stdout, format!("precious to {login}\n"), "{own}");
    }
    assert_kept_out(fleet, HOST, &grown.old_keller);
    for login in ["adler", "boehm"] {
        // By an alias of the host's own file, and by the role.
        assert!(sudo(fleet, HOST, &grown.people[login], "/usr/bin/id").success(), "{login}");
    }

    // What is not clear is refused and told, and changes nothing.
    refused_and_told(&grown);
    grown.assert_taken_over();

    // It leaves, and has what it had.
    host.run_ok(&["muster-agent", "leave", "--yes"]).unwrap();
    host.write(CONFIG, &observing, 0o644).unwrap();
    let now = Found::on(host);
    assert_eq!(changed(&now.files[0], &[]), changed(&grown.found.files[0], &[]));
    assert_eq!(changed(&now.files[1], &[]), changed(&grown.found.files[1], &[]));
    // Whoever was taken out of a Unix group stands last in its first line.
    let back = [
        [
            ("games:x:60:adler,boehm,carr", "games:x:60:boehm,carr,adler"),
            ("project:x:1200:boehm,oldsys", "project:x:1200:boehm,oldsys,adler"),
            ("project:x:1200:adler,carr", "project:x:1200:carr"),
        ],
        [
            ("games:*::adler,boehm,carr", "games:*::boehm,carr,adler"),
            ("project:!:boehm:boehm,oldsys", "project:!:boehm:boehm,oldsys,adler"),
            ("project:!::adler", "project:!::"),
        ],
    ];
    for (at, lines) in [(2, &back[0]), (3, &back[1])] {
        let was = changed(&grown.found.files[at], lines);
        assert_eq!(latin(&now.files[at]), was);
    }
    assert_eq!(now.rest, grown.found.rest);
    let left = differing(&grown.found.etc, &now.etc);
    let left: Vec<&str> = left.iter().map(String::as_str).collect();
    // Beside them the backups of account files, a directory with nothing in it, and that the agent is
    // not started any more.
    let unlike = [
        "/etc/group",
        "/etc/group-",
        "/etc/gshadow",
        "/etc/gshadow-",
        "/etc/shadow-",
        "/etc/ssh/muster-keys",
        "/etc/systemd/system/multi-user.target.wants/muster-agent-courier.service",
        "/etc/systemd/system/multi-user.target.wants/muster-agent.service",
    ];
    assert_eq!(left, unlike);
    assert_eq!(host.run_ok(&["ls", "/etc/ssh/muster-keys"]).unwrap(), "");
    assert_let_in(fleet, HOST, &grown.old_keller);
    assert_kept_out(fleet, HOST, &grown.people["keller"]);
    assert_let_in(fleet, HOST, &grown.people["boehm"]);
    drop(others);
}

/// A login with two lines, one of two logins with one uid, and one that an LDAP that is not there may
/// have.
fn refused_and_told(grown: &Grown) {
    let id = grown.fleet.ask(&["host", "show", HOST]).unwrap()["id"].as_str().unwrap().to_owned();
    let mut yaml = "users:\n".to_owned();
    for login in ["doppel", "twina", "neumann"] {
        let key = grown.fleet.person(login).unwrap().key.public;
        writeln!(yaml, "  {login}: {{keys: [\"{key}\"]}}").unwrap();
    }
    yaml.push_str("assignments:\n");
    for login in ["doppel", "twina", "neumann"] {
        writeln!(yaml, "  {login}: {{user: {login}, role: off, hosts: env=old}}").unwrap();
    }
    writeln!(yaml, "adoptions:\n  doppel: {{user: doppel, host: {id}, uid: 1120}}").unwrap();
    writeln!(yaml, "  twina: {{user: twina, host: {id}, uid: 1130}}").unwrap();
    let applied = grown.fleet.apply(&yaml).unwrap();
    assert_eq!(applied.status, 4, "{applied}");
    let status = grown.host().run_ok(&["muster-agent", "status"]).unwrap();
    for told in [
        "conflict doppel: passwd has several lines for it",
        "conflict twina: several logins have uid 1130",
        "unknown-elsewhere neumann: a source cannot be asked: `ldap` does not answer",
    ] {
        assert!(status.contains(told), "{told}: {status}");
    }
}

#[test]
fn a_grown_debian_12_server_is_observed_taken_over_and_given_back() {
    a_grown_server_is_observed_taken_over_and_given_back("bookworm", "grown12");
}

#[test]
fn a_grown_debian_13_server_is_observed_taken_over_and_given_back() {
    a_grown_server_is_observed_taken_over_and_given_back("trixie", "grown13");
}
