use muster_proto::{
    name::Uid,
    statement::{UnixGroupMode, UserKind},
};

use super::*;
use crate::{
    format::Table,
    observed::RootFile,
    ownership::{Origin, OwnedAccount},
};

fn table(text: &str) -> Table {
    Table::parse(text.as_bytes().to_vec()).unwrap()
}

fn observed() -> ObservedState {
    let key = b"ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA\n";
    let keys = ["ana", "bob"]
        .map(|login| (login.to_owned(), RootFile { text: key.to_vec(), sound: true }));
    ObservedState {
        passwd: table(
            "root:x:0:0:root:/root:/bin/bash\nsys:x:3:3::/:/usr/sbin/nologin\n\
             mail:x:8:8::/:/usr/sbin/nologin\ntoor:x:0:0::/root:/usr/sbin/nologin\n\
             ana:x:2001:2001:Ana A,room 1:/home/ana:/bin/bash\n\
             bob:x:2002:27:Bob:/home/bob:/bin/sh\nbob:x:9:9::/:/bin/sh\n\
             cid:x:2003:2003::/home/cid:/bin/sh\n",
        ),
        shadow: table("root:*:1::::::\nana:!*:1::::::\nbob:$y$x:1:::::100:\ncid::1:::::101:\n"),
        group: table("root:x:0:\nsys:x:3:\nsudo:x:27:\ndocker:x:99:mail\nops:x:300:cid\n"),
        keys: keys.into(),
        ..ObservedState::default()
    }
}

fn ownership() -> Ownership {
    let ana = OwnedAccount {
        uid: Uid::parse(2_001).unwrap(),
        origin: Origin::Created,
        home: None,
        kind: UserKind::Person,
        mode: UnixGroupMode::AtLeast,
        given: BTreeSet::new(),
        sessions_owed: false,
        locked_at: None,
    };
    let accounts = BTreeMap::from([(Login::parse("ana").unwrap(), ana)]);
    Ownership { accounts, ..Ownership::default() }
}

fn counted(sudo: Sudo) -> BTreeMap<String, LocalAccount> {
    let keys = BTreeMap::from([("cid".to_owned(), Keys::unknown("a link"))]);
    let found = inventory(&observed(), &ownership(), &Sources { keys, sudo }, 100);
    found.accounts.into_iter().map(|account| (account.login.clone(), account)).collect()
}

#[test]
fn all_who_can_log_in_or_become_root_are_told_with_their_ways() {
    let rule = |who, what: &str| Rule { who, what: what.to_owned() };
    let found = counted(Sudo::Rules(vec![
        rule(Who::UnixGroup("ops".to_owned()), "/bin/a"),
        rule(Who::Gid(300), "/bin/b"),
        rule(Who::Uid(2_001), "ALL"),
        rule(Who::User("nobody".to_owned()), "ALL"),
    ]));
    let logins: Vec<&str> = found.keys().map(String::as_str).collect();
    assert_eq!(logins, ["ana", "bob", "cid", "mail", "root", "toor"]);
    let root_by = |login: &str| found[login].root_by.clone();
    assert_eq!(root_by("ana"), ["sudo #2001: ALL"]);
    assert_eq!(root_by("bob"), ["Unix group sudo"]);
    assert_eq!(root_by("cid"), ["sudo %#300: /bin/b", "sudo %ops: /bin/a"]);
    assert_eq!(root_by("mail"), ["Unix group docker"]);
    assert_eq!((root_by("root"), root_by("toor")), (vec!["uid 0".into()], vec!["uid 0".into()]));
    let ana = &found["ana"];
    assert_eq!((ana.name.as_str(), ana.uid, ana.owned), ("Ana A", 2_001, true));
    assert_eq!((ana.password, ana.keys.len()), (LocalPassword::Locked, 1));
    // The file in Muster's directory is for an account of Muster's alone.
    assert!(!found["bob"].owned && found["bob"].keys.is_empty());
    assert_eq!(found["bob"].uid, 2_002);
    let shut = |login: &str| (found[login].password, found[login].shut);
    assert_eq!(shut("bob"), (LocalPassword::Set, true));
    assert_eq!(shut("cid"), (LocalPassword::Empty, false));
    assert_eq!(shut("toor"), (LocalPassword::None, true));
    assert_eq!(found["cid"].unknown, ["keys: a link"]);
}

#[test]
fn what_sudo_gives_is_unknown_of_everybody_if_nobody_could_say() {
    let found = counted(Sudo::Unknown("no cvtsudoers".to_owned()));
    for login in ["ana", "root"] {
        assert_eq!(found[login].unknown, ["sudo: no cvtsudoers"], "{login}");
    }
    let everybody = counted(Sudo::Rules(vec![Rule { who: Who::Anybody, what: "ALL".to_owned() }]));
    assert!(everybody.contains_key("sys"), "{:?}", everybody.keys());
}

#[test]
fn only_keys_of_accounts_that_are_not_musters_and_can_log_in_are_looked_for() {
    let logins: Vec<String> =
        others(&observed(), &ownership()).into_iter().map(|other| other.login).collect();
    assert_eq!(logins, ["root", "bob", "cid"]);
}
