use std::collections::BTreeMap;

use proptest::{collection::vec, prelude::*};

use super::*;
use crate::format::{Table, sshd::Text};

const DIRECTORY: &str = "/etc/ssh/sshd_config.d";

fn table(text: &str) -> Table {
    Table::parse(text.as_bytes().to_vec()).unwrap()
}

/// Five of the accounts with a line of their own; `ops` and `also` have one gid.
fn host() -> ObservedState {
    let logins = ["ana", "anb", "bea", "cas", "dan"];
    let passwd = logins.iter().enumerate().map(|(n, login)| {
        let gid = if *login == "dan" { 50 } else { 1_001 + n };
        format!("{login}:x:{}:{gid}::/home/{login}:/bin/sh\n", 1_001 + n)
    });
    let group = "ana:x:1001:\nanb:x:1002:\nbea:x:1003:\ncas:x:1004:\nops:x:50:ana\n\
        also:x:50:cas\nweb:x:60:anb,cas,zoe\n";
    ObservedState {
        passwd: table(&passwd.collect::<String>()),
        group: table(group),
        ..ObservedState::default()
    }
}

fn logins() -> [Login; 5] {
    ["ana", "anb", "bea", "cas", "dan"].map(|login| Login::parse(login).unwrap())
}

/// The classes of those five, of whom `bea` may use a password, in words.
fn told(config: &str) -> Vec<String> {
    let (logins, observed) = (logins(), host());
    let kind = |login: &Login| {
        if login.as_str() == "bea" { Passwords::Taken } else { Passwords::Refused }
    };
    let accounts: Vec<_> = logins.iter().map(|login| (login, kind(login))).collect();
    let blocks = Blocks::parse(&[Text::Read(config.into())], DIRECTORY);
    let classes = classes(&blocks, &accounts, &observed);
    let words = |mates: &Classmates<'_>| {
        mates.logins.iter().map(|login| login.as_str()).collect::<Vec<_>>().join(" ")
    };
    let mut told: Vec<String> = classes.iter().map(words).collect();
    told.sort();
    told
}

#[test]
fn accounts_to_which_the_same_blocks_apply_are_asked_about_once() {
    for (config, wanted) in [
        ("Port 22\nMatch Address ::1\n X y\n", &["ana anb cas dan", "bea"] as &[_]),
        ("Match User cas\n X y\n", &["ana anb dan", "bea", "cas"]),
        ("Match User an?,!anb\n", &["ana", "anb cas dan", "bea"]),
        ("Match User bea,zoe\n", &["ana anb cas dan", "bea"]),
        ("Match Group web\n", &["ana dan", "anb cas", "bea"]),
        ("Match Group ana\n", &["ana", "anb cas dan", "bea"]),
        // The primary one counts, and of one gid the first name.
        ("Match Group ops\n", &["ana cas dan", "anb", "bea"]),
        ("Match Group also\n", &["ana anb cas dan", "bea"]),
        ("Match User ana\nMatch Group web LocalPort 22\n", &["ana", "anb cas", "bea", "dan"]),
        ("Match User ana,cas Group web\n", &["ana anb dan", "bea", "cas"]),
        ("Match exec true\n", &["ana", "anb", "bea", "cas", "dan"]),
    ] {
        assert_eq!(told(config), wanted, "{config}");
    }
}

/// What is asked of an account: by which of the two it is named, and the patterns.
type Criterion = (bool, Vec<(bool, &'static str)>);

fn criterion() -> impl Strategy<Value = Criterion> {
    let pattern = prop::sample::select(vec!["ana", "an?", "*", "b*", "ops", "web", "*s", "d?n"]);
    (any::<bool>(), vec((any::<bool>(), pattern), 1..4))
}

/// As the manual says it, of the few patterns above.
fn names(pattern: &str, name: &str) -> bool {
    match pattern {
        "*" => true,
        "an?" => name.len() == 3 && name.starts_with("an"),
        "d?n" => name.len() == 3 && name.starts_with('d') && name.ends_with('n'),
        "b*" => name.starts_with('b'),
        "*s" => name.ends_with('s'),
        _ => pattern == name,
    }
}

fn asks((by_login, patterns): &Criterion, login: &str) -> bool {
    let unix_groups: &[&str] = match login {
        "ana" => &["ana", "ops"],
        "anb" => &["anb", "web"],
        "bea" => &["bea"],
        "cas" => &["cas", "ops", "web"],
        _ => &["ops"],
    };
    let all = if *by_login { &[login][..] } else { unix_groups };
    let fits = |negated: bool| {
        patterns.iter().any(|(is, pattern)| *is == negated && all.iter().any(|n| names(pattern, n)))
    };
    fits(false) && !fits(true)
}

proptest! {
    #[test]
    fn accounts_are_in_one_class_if_and_only_if_the_same_blocks_apply_to_them(
        blocks in vec(vec(criterion(), 1..3), 0..6)
    ) {
        let written = |(by_login, patterns): &Criterion| {
            let patterns = patterns.iter().map(|(negated, pattern)| {
                format!("{}{pattern}", if *negated { "!" } else { "" })
            });
            let word = if *by_login { "User" } else { "Group" };
            format!(" {word} {}", patterns.collect::<Vec<_>>().join(","))
        };
        let line = |criteria: &Vec<Criterion>| {
            format!("Match{}\n X y\n", criteria.iter().map(written).collect::<String>())
        };
        let config = blocks.iter().map(line).collect::<Vec<_>>().concat();
        let mut wanted: BTreeMap<(bool, Vec<bool>), Vec<&str>> = BTreeMap::new();
        for login in ["ana", "anb", "bea", "cas", "dan"] {
            let applying = blocks.iter().map(|criteria| criteria.iter().all(|one| asks(one, login)));
            wanted.entry((login == "bea", applying.collect())).or_default().push(login);
        }
        let mut wanted: Vec<String> = wanted.into_values().map(|logins| logins.join(" ")).collect();
        wanted.sort();
        prop_assert_eq!(told(&config), wanted, "{}", config);
    }
}
