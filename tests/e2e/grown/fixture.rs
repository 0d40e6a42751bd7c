//! A grown server: what is laid down on a host of a lab, what is found there, and who is proposed.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;

use muster_tests::{Fleet, Host, Member, Mode, Person, Programs, wait};

use super::{HOST, LATER};
use crate::existing::tree;

/// What is added to the account files, which are as the release has them.
pub(super) const LINES: [(&str, u32, &[u8]); 4] = [
    ("/etc/passwd", 0o644, include_bytes!("passwd")),
    ("/etc/shadow", 0o640, include_bytes!("shadow")),
    ("/etc/group", 0o644, include_bytes!("group")),
    ("/etc/gshadow", 0o640, include_bytes!("gshadow")),
];
/// Who is in Unix groups that the release has.
const MEMBERS: [(&str, &str); 3] =
    [("adm", "debian,adler"), ("sudo", "debian,gruber"), ("games", "adler,boehm,carr")];
pub(super) const FILES: [(&str, u32, &str); 3] = [
    ("/etc/sudoers.d/10-team", 0o440, include_str!("sudoers-team")),
    ("/etc/sudoers.d/90-cloud-init-users", 0o440, include_str!("sudoers-cloud")),
    ("/etc/nsswitch.conf", 0o644, include_str!("nsswitch.conf")),
];

/// What is said of an account that has the login of a user and nothing else of hers.
const ALONE: &str = "it has the login, but nothing else speaks for it";

type Known = (&'static str, u32, &'static str, &'static str);

/// The twelve: login, uid, what their user is declared with besides a key, and what speaks for them.
pub(super) const TWELVE: [Known; 12] = [
    ("adler", 1_101, "name: Anna Adler", "sure: it has the login, the full name, key "),
    ("boehm", 1_102, "", "sure: it has the login, key "),
    ("carr", 1_103, "name: Cleo Carr", "likely: it has the login, the full name"),
    ("dahl", 1_104, "name: Dirk Dahl, uid: 1104", "likely: it has the login, the uid, the full"),
    ("ebner", 1_105, "uid: 1105", "likely: it has the login, the uid"),
    ("fuchs", 1_106, "", ALONE),
    ("gruber", 1_107, "name: Gerd Gruber", "likely: it has the login, the full name"),
    ("haas", 1_108, "", ALONE),
    ("imhof", 1_109, "", "sure: it has the login, key "),
    ("jung", 1_110, "name: Jutta Jung", "likely: it has the login, the full name"),
    ("keller", 1_111, "", ALONE),
    ("lang", 1_112, "name: Lena Lang", "likely: it has the login, the full name"),
];

/// A grown host that has joined, and those who are its users.
pub(super) struct Grown {
    pub(super) fleet: Fleet,
    pub(super) people: BTreeMap<&'static str, Person>,
    /// keller with the key that let him in before.
    pub(super) old_keller: Person,
    pub(super) found: Found,
}

/// All that a host has of its own, as it was found.
#[derive(PartialEq, Eq)]
pub(super) struct Found {
    pub(super) files: [Vec<u8>; 4],
    pub(super) etc: String,
    pub(super) rest: [String; 3],
}

impl Found {
    pub(super) fn on(host: &Host) -> Self {
        Self {
            files: LINES.map(|(file, _, _)| host.read(file).unwrap()),
            etc: tree(host, "/etc"),
            rest: ["/home", "/srv", "/var/spool"].map(|folder| tree(host, folder)),
        }
    }
}

impl Grown {
    pub(super) fn start(image: &str, name: &str) -> Self {
        let members = [Member { name: HOST, labels: &["env=old"], mode: Mode::Observe }];
        let programs = Programs::tested().unwrap();
        let name = format!("e2e-{name}-{}", std::process::id());
        let fleet = Fleet::start_on(image, &name, &programs, &members).unwrap();
        let people: BTreeMap<_, _> =
            TWELVE.map(|(login, ..)| (login, fleet.person(login).unwrap())).into();
        let key = fleet.lab().keygen("keller-before", "ed25519").unwrap();
        let old_keller = Person { login: "keller".to_owned(), key };
        let host = fleet.host(HOST);
        for (file, mode, lines) in LINES {
            let mut text = String::from_utf8(host.read(file).unwrap()).unwrap();
            if file.ends_with("group") || file.ends_with("gshadow") {
                text = with_members(&text);
            }
            host.write(file, &[text.as_bytes(), lines].concat(), mode).unwrap();
        }
        for (file, mode, text) in FILES {
            host.write(file, text.as_bytes(), mode).unwrap();
        }
        host.run_ok(&["sh", "-c", include_str!("homes.sh")]).unwrap();
        for login in ["adler", "boehm", "imhof"] {
            authorize(host, &people[login]);
        }
        authorize(host, &old_keller);
        let found = Found::on(host);
        Self { fleet, people, old_keller, found }
    }

    pub(super) fn host(&self) -> &Host {
        self.fleet.host(HOST)
    }

    /// Declares the twelve as users of the directory.
    pub(super) fn users(&self) -> String {
        let mut yaml = "users:\n".to_owned();
        for (login, _, more, _) in TWELVE {
            let comma = if more.is_empty() { "" } else { ", " };
            let key = &self.people[login].key.public;
            writeln!(yaml, "  {login}: {{{more}{comma}keys: [\"{key}\"]}}").unwrap();
        }
        yaml
    }

    /// Has the host looked at, and waits for its word on it.
    pub(super) fn look(&self) {
        let newest = || {
            let shown = self.fleet.ask(&["host", "show", HOST]).ok()?;
            shown["receipts"].as_array()?.iter().filter_map(|it| it["number"].as_u64()).max()
        };
        let before = newest();
        self.host().run_ok(&["systemctl", "reload", "muster-agent"]).unwrap();
        wait::until(LATER, "a receipt of another look", || (newest() > before).then_some(()))
            .unwrap();
    }

    /// Proposes to take over what is there, and returns the file for it, in which somebody has made
    /// what is doubtful count too.
    pub(super) fn propose(&self) -> &'static str {
        const PROPOSED: &str = "/root/grown.yaml";
        wait::until(LATER, "all accounts to be told", || {
            let told = self.fleet.ask(&["access", "who-can", HOST, "--observed"]).ok()?;
            let told: BTreeSet<&str> =
                told.as_array()?.iter().filter_map(|it| it["login"].as_str()).collect();
            TWELVE.iter().all(|(login, ..)| told.contains(login)).then_some(())
        })
        .unwrap();
        let words = ["host", "adopt", HOST, "--propose", "--out", PROPOSED];
        self.fleet.muster_ok(&words).unwrap();
        let text = String::from_utf8(self.fleet.controller().read(PROPOSED).unwrap()).unwrap();
        let bare = text.replace(['"', '`'], "");
        let lines: Vec<&str> = bare.lines().map(str::trim).collect();
        let entry = |line: &&&str| line.ends_with('}') && !line.starts_with('#');
        let (doubtful, likely): (Vec<Known>, Vec<Known>) =
            TWELVE.into_iter().partition(|(.., why)| *why == ALONE);
        assert_eq!(lines.iter().filter(entry).count(), likely.len(), "{text}");
        for (login, uid, ..) in &doubtful {
            let start = format!("#   {login}-{HOST}: {{user: {login}, ");
            let end = format!("uid: {uid}}}  # {ALONE}");
            let said = |line: &&str| line.starts_with(&start) && line.ends_with(&end);
            assert!(lines.iter().any(said), "{login}: {text}");
        }
        for (login, uid, _, why) in likely {
            let start = format!("{login}-{HOST}: {{user: {login}, ");
            let at = lines.iter().position(|line| line.starts_with(&start));
            let at = at.unwrap_or_else(|| panic!("{login}: {text}"));
            assert!(lines[at].ends_with(&format!("uid: {uid}}}")), "{login}: {text}");
            let reasons = &lines[..at].iter().rev().take(2).collect::<Vec<_>>();
            let said = reasons.iter().any(|line| line.starts_with(&format!("# {why}")));
            assert!(said, "{login}: {text}");
        }
        for other in ["debian: {", "twina: {", "toor (uid 0)", "oldsys (uid 501)"] {
            assert!(
                lines.iter().any(|line| line.starts_with('#') && line.contains(other)),
                "{text}"
            );
        }
        let reviewed = text.lines().map(|line| {
            let line =
                if line.ends_with(ALONE) { line.replacen("# ", "", 1) } else { line.to_owned() };
            line + "\n"
        });
        let reviewed = reviewed.collect::<String>();
        self.fleet.controller().write(PROPOSED, reviewed.as_bytes(), 0o644).unwrap();
        PROPOSED
    }
}

/// Gives each of the twelve a role: who is in which Unix groups is kept exactly for one of them,
/// not at all for two, and for the rest it is at least what the role says.
pub(super) fn roles() -> String {
    let mut yaml = "roles:\n  exact: {unix_groups: {exactly: [adm]}}\n  off: {}\n  \
                    least: {unix_groups: {at_least: [dialout]}, sudo: [{commands: \
                    [/usr/bin/id]}]}\nassignments:\n"
        .to_owned();
    for (login, ..) in TWELVE {
        let role = match login {
            "adler" => "exact",
            "carr" | "dahl" => "off",
            _ => "least",
        };
        writeln!(yaml, "  {login}: {{user: {login}, role: {role}, hosts: env=old}}").unwrap();
    }
    yaml
}

/// Puts the members into the Unix groups of a release, none of which has any.
fn with_members(text: &str) -> String {
    let line = |line: &str| {
        let found = MEMBERS.iter().find(|(name, _)| line.starts_with(&format!("{name}:")));
        format!("{line}{}\n", found.map_or("", |(_, members)| members))
    };
    text.lines().map(line).collect()
}

fn authorize(host: &Host, person: &Person) {
    const SCRIPT: &str = r#"
        install --directory --mode 0700 --owner "$1" --group "$1" "/home/$1/.ssh"
        echo "$2" >"/home/$1/.ssh/authorized_keys"
        chown "$1:$1" "/home/$1/.ssh/authorized_keys"
    "#;
    host.run_ok(&["sh", "-c", SCRIPT, "keys", &person.login, &person.key.public]).unwrap();
}
