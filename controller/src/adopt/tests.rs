use muster_proto::{
    id::Digest,
    inventory::LocalPassword,
    key::SshPublicKey,
    name::{FullName, Line, Login},
    options::KeyOptions,
    selector::Labels,
    statement::{Restrictions, UserKey, UserKind},
};

use super::*;
use crate::{declare::read::parse, preview::HostLabels};

const KEY: &str =
    "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";

const STRANGERS: &str =
    "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8g";

fn id(number: u8) -> Id {
    Id::parse(&[number; 16]).unwrap()
}

fn user(login: &str, uid: u32, name: &str, with_key: &[&str]) -> User {
    let keys = with_key.iter().map(|line| UserKey {
        key: SshPublicKey::parse(line).unwrap().0,
        comment: Line::parse("").unwrap(),
        options: KeyOptions::default(),
    });
    User {
        login: Login::parse(login).unwrap(),
        uid: Uid::parse(uid).unwrap(),
        name: FullName::parse(name).unwrap(),
        keys: keys.collect(),
        groups: BTreeSet::new(),
        shell: None,
        home: None,
        starts: None,
        ends: None,
        home_mode: None,
        kind: UserKind::Person,
        restrictions: Restrictions::default(),
    }
}

fn account(login: &str, uid: u32, name: &str, keys: &[&str]) -> LocalAccount {
    let shown = |line: &&str| SshPublicKey::parse(line).unwrap().0.shown_fingerprint();
    LocalAccount {
        login: login.to_owned(),
        uid,
        name: name.to_owned(),
        shell: "/bin/sh".to_owned(),
        password: LocalPassword::None,
        shut: false,
        keys: keys.iter().map(shown).collect(),
        root_by: Vec::new(),
        unknown: Vec::new(),
        owned: false,
    }
}

fn verdict(account: &LocalAccount, users: &[User]) -> String {
    let users: Vec<(Id, &User)> = users.iter().zip(0..).map(|(user, n)| (id(n), user)).collect();
    match judge(account, &users, &BTreeSet::from([id(9)])) {
        Verdict::Adopt { user, uid, why } => format!("{} {uid} {}", user.login, why.surely()),
        Verdict::Doubtful { user, .. } => format!("{} doubtful", user.login),
        Verdict::OtherLogin { user, why } => format!("{} other, {}", user.login, why.surely()),
        Verdict::Nobody => "nobody".to_owned(),
        Verdict::Adopted => "adopted".to_owned(),
        Verdict::System => "system".to_owned(),
    }
}

#[test]
fn an_account_is_whose_most_speaks_for_it() {
    let users = [
        user("ann", 10_001, "Ann A", &[KEY]),
        user("bob", 10_002, "Bob B", &[]),
        user("cid", 10_003, "", &[]),
    ];
    for (found, expected) in [
        (account("ann", 1_001, "", &[KEY]), "ann 1001 sure"),
        (account("ann", 1_001, "ann a", &[]), "ann 1001 likely"),
        (account("ann", 10_001, "", &[]), "ann 10001 likely"),
        (account("bob", 1_002, "Berta C", &[]), "bob doubtful"),
        (account("bob", 1_002, "Bob B", &[KEY]), "bob doubtful"),
        // A public key is no secret: it does not make up for another name, or another's uid.
        (account("ann", 1_001, "Mallory", &[KEY]), "ann doubtful"),
        (account("ann", 10_001, "Mallory", &[KEY]), "ann doubtful"),
        (account("ann", 10_002, "Ann A", &[KEY]), "ann doubtful"),
        // By the login alone, whatever name it has that nobody could hold against it.
        (account("cid", 1_003, "Anybody", &[]), "cid doubtful"),
        (account("ann", 1_001, "", &[]), "ann doubtful"),
        (account("ann", 1_001, "", &[STRANGERS]), "ann doubtful"),
        (account("cid", 10_003, "Anybody", &[STRANGERS]), "cid 10003 likely"),
        (account("old", 10_002, "", &[KEY]), "ann other, likely"),
        (account("old", 10_002, "", &[]), "bob other, possible"),
        (account("old", 1_009, "Bob B", &[]), "bob other, possible"),
        (account("eve", 1_010, "Eve", &[]), "nobody"),
        (account("ann", 0, "Ann A", &[KEY]), "system"),
    ] {
        assert_eq!(verdict(&found, &users), expected, "{found:?}");
    }
}

#[test]
fn all_that_speaks_against_an_account_is_said() {
    let users = [user("ann", 10_001, "Ann A", &[]), user("bob", 10_002, "Bob B", &[KEY])];
    let users: Vec<(Id, &User)> = users.iter().zip(0..).map(|(user, n)| (id(n), user)).collect();
    let against = |account| match judge(&account, &users, &BTreeSet::new()) {
        Verdict::Doubtful { against, .. } => against,
        other => panic!("{other:?}"),
    };
    assert_eq!(
        against(account("ann", 10_002, "Mallory", &[KEY])),
        "it is of `Mallory`, and ann is `Ann A`; its uid is bob's; a key of bob lets somebody in"
    );
    assert_eq!(against(account("ann", 1_001, "", &[])), "nothing else speaks for it");
}

/// Writes the proposal for accounts of a host that calls itself so.
fn rendered(accounts: Vec<LocalAccount>, users: &[User], hostname: &str) -> String {
    let inventory = Inventory { accounts, more: 0 };
    let users: Vec<(Id, &User)> = users.iter().zip(0..).map(|(user, n)| (id(n), user)).collect();
    let proposed: Vec<Proposed<'_>> = inventory
        .accounts
        .iter()
        .map(|account| Proposed { account, verdict: judge(account, &users, &BTreeSet::new()) })
        .collect();
    let (id, hostname) = (Digest::new([1; 32]), hostname.to_owned());
    let host = HostLabels { id, hostname, labels: Labels::default() };
    render(&proposed, &host, "now", &mut Names::new(|_| false))
}

#[test]
fn no_account_writes_an_entry_of_its_own() {
    let users = [user("ann", 10_001, "Ann A", &[])];
    let all = vec![
        account("ann", 1_001, "x\nadoptions: {a: {}}", &[]),
        account("eve\r\n  b: 1", 1_002, "\" }\n  evil: {uid: 1}\u{2028}#", &[]),
    ];
    let text = rendered(all, &users, "db1\nusers: {}");
    assert!(text.lines().all(|line| line.is_empty() || line.starts_with('#')), "{text}");
    assert!(text.contains("eve\\r\\n"), "{text}");
}

#[test]
fn no_account_writes_an_entry_where_somebody_takes_a_comments_mark_away() {
    let evil = [
        "alice: {keys: []} #",
        "alice: {name: Alice, keys: [\"ssh-ed25519 AAAA\"]} #",
        "\"a\": {keys: []} #",
        "? a",
        "`a`: {} #",
        "- a",
        "a:",
        "",
    ];
    let mut all: Vec<_> = evil.iter().map(|login| account(login, 1_002, "Eve", &[])).collect();
    // In every section: nobody's, the system's, and of another login than its user's.
    all.extend(evil.iter().map(|login| account(login, 33, "Eve", &[])));
    all.extend(evil.iter().map(|login| account(login, 10_001, "Eve", &[])));
    all.push(account("bea", 1_003, "Bea O'Neil \"b\"", &[]));
    all.push(account("cora", 1_004, "x, keys: [y]}\n#: \\", &[]));
    let text = rendered(all, &[user("ann", 10_001, "", &[])], "db1");
    let comments = || text.lines().filter_map(|line| line.strip_prefix("#   "));
    assert_eq!(comments().count(), 3 * evil.len() + 2, "{text}");
    let mut users = Vec::new();
    for line in comments() {
        for section in ["users", "adoptions"] {
            let Ok(read) = parse(&format!("{section}:\n  {line}\n"), "x.yaml".as_ref()) else {
                continue;
            };
            assert!(read.adoptions.is_empty(), "{line}");
            users.extend(read.users.into_iter().map(|(login, user)| {
                let keys = user.keys.len();
                (login.value.to_string(), user.name.map(|name| name.value.to_string()), keys)
            }));
        }
    }
    let bea = ("bea".to_owned(), Some("Bea O'Neil \"b\"".to_owned()), 0);
    assert_eq!(users, [bea, ("cora".to_owned(), None, 0)], "{text}");
}

#[test]
fn a_login_or_a_host_whose_name_no_object_can_have_does_not_spoil_the_file() {
    let users = [
        user("al_ice", 10_001, "Al", &[]),
        user("al-ice", 10_002, "Al", &[]),
        user("no", 10_003, "No", &[]),
    ];
    let all = ["al_ice", "al-ice", "no"].iter().zip(["Al", "Al", "No"]);
    let all = all.map(|(login, name)| account(login, 1_001, name, &[])).collect();
    let text = rendered(all, &users, "DB_1.example");
    let read = parse(&text, "x.yaml".as_ref()).unwrap_or_else(|error| panic!("{error}: {text}"));
    let found: Vec<_> = read
        .adoptions
        .iter()
        .map(|(name, adoption)| (name.value.to_string(), adoption.user.value.to_string()))
        .collect();
    let wanted = [
        ("al-ice-db-1-example", "al_ice"),
        ("al-ice-db-1-example-2", "al-ice"),
        ("no-db-1-example", "no"),
    ];
    assert_eq!(found, wanted.map(|(name, login)| (name.to_owned(), login.to_owned())), "{text}");
}
