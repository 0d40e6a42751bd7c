use muster_proto::{
    crypto::sha256,
    id::Digest,
    name::{Uid, UnixGroupName},
    receipt::HostMode,
    statement::{UnixGroupMode, UserKind},
    time::Timestamp,
};

use super::*;
use crate::{
    drift::memory::{Circumstances, Looked, Memory},
    format::Table,
    ownership::{Origin, OwnedAccount},
};

fn table(text: &str) -> Table {
    Table::parse(text.as_bytes().to_vec()).unwrap()
}

#[test]
fn all_that_nobody_granted_is_found_and_what_was_granted_is_not() {
    let observed = ObservedState {
        passwd: table(
            "root:x:0:0::/root:/bin/bash\ntoor:x:0:0::/root:/usr/sbin/nologin\n\
             sys:x:3:3::/:/usr/sbin/nologin\nana:x:2001:2001::/home/ana:/bin/bash\n\
             bob:x:2002:27::/home/bob:/bin/sh\n\
             odd:x: 0:3::/:/usr/sbin/nologin\nfake:x:9:9::/:/usr/local/bin/nologin\nempty:x:2003:2003::/:\n",
        ),
        shadow: table("bob:$y$x:1::::::\n"),
        group: table(
            "root:x:0:\nsys:x:3:\nsudo:x:27:ana\ndocker:x:99:ana,bob\nalias:x:27:eve\nusers:x:100:bob\n",
        ),
        root_keys: BTreeMap::from([("authorized_keys".to_owned(), Content::Read(sha256(&[b"y"])))]),
        foreign_sudo: BTreeMap::from([("extra".to_owned(), Content::Read(sha256(&[b"x"])))]),
        ..ObservedState::default()
    };
    let given = UnixGroupName::parse("docker").unwrap();
    let ana = OwnedAccount {
        uid: Uid::parse(2_001).unwrap(),
        origin: Origin::Created,
        home: None,
        kind: UserKind::Person,
        mode: UnixGroupMode::AtLeast,
        given: BTreeSet::from([given]),
        sessions_owed: false,
        locked_at: None,
    };
    let accounts = BTreeMap::from([(Login::parse("ana").unwrap(), ana)]);
    let ownership = Ownership { accounts, ..Ownership::default() };
    let found: BTreeSet<String> = ungranted(&observed, &ownership)
        .iter()
        .map(|one| {
            let What { kind, subject, place } = &one.what;
            format!("{} {subject} {place}", kind.as_str())
        })
        .collect();
    let expected = [
        "account-new bob ",
        "account-new empty ",
        "account-new fake ",
        "account-new root ",
        "keys-ungranted root authorized_keys",
        "member-ungranted ana sudo",
        "member-ungranted bob alias",
        "member-ungranted bob docker",
        "member-ungranted bob sudo",
        "member-ungranted eve alias",
        "member-ungranted odd sys",
        "member-ungranted toor root",
        "sudo-foreign extra ",
        "uid-zero odd ",
        "uid-zero toor ",
    ];
    assert_eq!(found, expected.map(str::to_owned).into());
}

#[test]
fn a_new_account_is_told_with_the_ways_that_it_has_in() {
    let observed = |shadow: &str| ObservedState {
        passwd: table("bob:x:2002:2002::/home/bob:/bin/sh\n"),
        shadow: table(shadow),
        ..ObservedState::default()
    };
    for (shadow, word) in [
        ("", "no line in shadow"),
        ("bob:!:1\n", "locked password"),
        ("bob:*:1\n", "no password"),
        ("bob::1\n", "an empty password"),
        ("bob:$y$x:1\n", "a password"),
    ] {
        let found = ungranted(&observed(shadow), &Ownership::default());
        assert_eq!(found.len(), 1);
        assert_eq!(found[0].found, format!("uid 2002, /bin/sh, {word}"));
    }
}

#[test]
fn contents_that_differ_in_one_bit_of_their_digests_are_two_findings() {
    let found = |last: u8| {
        let mut digest = [7; 32];
        digest[31] = last;
        let content = Content::Read(Digest::new(digest));
        let observed = ObservedState {
            root_keys: BTreeMap::from([("authorized_keys".to_owned(), content)]),
            foreign_sudo: BTreeMap::from([("extra".to_owned(), content)]),
            ..ObservedState::default()
        };
        let all = ungranted(&observed, &Ownership::default());
        all.into_iter().map(|difference| difference.found).collect::<Vec<_>>()
    };
    let (one, other) = (found(0), found(1));
    assert_eq!(one.len(), 2);
    assert!(one.iter().zip(&other).all(|(one, other)| one != other), "{one:?}");
}

#[test]
fn an_account_that_was_there_at_the_first_look_is_told_once_it_gets_a_password() {
    let look = |password: &str| {
        let observed = ObservedState {
            passwd: table("root:x:0:0::/root:/bin/bash\n"),
            shadow: table(&format!("root:{password}:1\n")),
            ..ObservedState::default()
        };
        let ungranted = ungranted(&observed, &Ownership::default());
        Looked { ungranted, ..Looked::default() }
    };
    let at = Circumstances {
        wanted: sha256(&[b"something"]),
        mode: HostMode::Enforce,
        touches: &[],
        now: Timestamp(1_000),
        boot: 10,
    };
    let mut memory = Memory::default();
    assert_eq!(memory.take(&look("*"), &at), []);
    assert_eq!(memory.take(&look("*"), &at), []);
    let told = memory.take(&look("$y$x"), &at);
    let told: Vec<(&str, &str)> =
        told.iter().map(|told| (told.kind.as_str(), told.found.as_str())).collect();
    assert_eq!(told, [("account-new", "uid 0, /bin/bash, a password")]);
}

#[test]
fn several_lines_of_one_login_are_one_difference_that_says_them_all() {
    let observed = ObservedState {
        passwd: table(
            "root:x:0:0::/root:/usr/sbin/nologin\ntoor:x:0:0::/root:/bin/sh\n\
             toor:x:00:0::/root:/bin/sh\ntoor:x:0:0::/root:/bin/bash\n",
        ),
        shadow: table("toor:!:1::::::\n"),
        group: table("root:x:0:\nsudo:x:27:bob,bob\n"),
        ..ObservedState::default()
    };
    let found: Vec<String> = ungranted(&observed, &Ownership::default())
        .iter()
        .map(|one| format!("{} {} {}", one.what.kind.as_str(), one.what.subject, one.found))
        .collect();
    let locked = ["uid 0, /bin/sh", "uid 00, /bin/sh", "uid 0, /bin/bash"];
    let locked = locked.map(|one| format!("{one}, locked password")).join("; ");
    let expected =
        ["uid-zero toor uid `0`; uid `00`".to_owned(), format!("account-new toor {locked}")];
    assert_eq!(found[..2], expected);
    assert_eq!(found.len(), 4, "toor is in root by her gid, and bob once in sudo: {found:?}");
}
