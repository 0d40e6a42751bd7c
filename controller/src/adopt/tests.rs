use muster_proto::{
    id::Digest,
    inventory::LocalPassword,
    key::SshPublicKey,
    name::{FullName, Line, Login},
    options::KeyOptions,
    statement::{Restrictions, UserKey, UserKind},
};

use super::*;

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

#[test]
fn no_account_writes_an_entry_of_its_own() {
    let users = [user("ann", 10_001, "Ann A", &[])];
    let all = vec![
        account("ann", 1_001, "x\nadoptions: {a: {}}", &[]),
        account("eve\r\n  b: 1", 1_002, "\" }\n  evil: {uid: 1}\u{2028}#", &[]),
    ];
    let inventory = Inventory { accounts: all, more: 0 };
    let users: Vec<(Id, &User)> = users.iter().map(|user| (id(1), user)).collect();
    let proposed: Vec<Proposed<'_>> = inventory
        .accounts
        .iter()
        .map(|account| Proposed { account, verdict: judge(account, &users, &BTreeSet::new()) })
        .collect();
    let text = render(&proposed, "db1\nusers: {}", Digest::new([1; 32]), "now");
    assert!(text.lines().all(|line| line.is_empty() || line.starts_with('#')), "{text}");
    assert!(text.contains("eve\\r\\n"), "{text}");
}
