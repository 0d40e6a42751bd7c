use muster_proto::{
    desired::UnixGroupGrant,
    name::{Gid, Login, Uid, UnixGroupName},
    statement::{MemberList, UnixGroupMode, UserKind},
};

use super::*;
use crate::{
    format::Table,
    ownership::{Origin, OwnedAccount},
    plan::{Leaver, NewHome, Phase, Planned},
};

fn table(text: &str) -> Table {
    Table::parse(text.as_bytes().to_vec()).unwrap()
}

fn observed() -> ObservedState {
    ObservedState {
        passwd: table(
            "ana:x:2001:2001:Ana:/home/ana:/bin/sh\nbob:x:2002:2002::/home/bob:/bin/sh\n",
        ),
        shadow: table("ana:$y$1:1::::::\nbob:*:1:::::1:\n"),
        ..ObservedState::default()
    }
}

/// What is Muster's where ana and bob are.
fn ownership() -> Ownership {
    let owned = |(login, uid): (&str, u32)| {
        let account = OwnedAccount {
            uid: Uid::parse(uid).unwrap(),
            origin: Origin::Created,
            home: None,
            kind: UserKind::Person,
            mode: UnixGroupMode::AtLeast,
            given: BTreeSet::new(),
            sessions_owed: false,
            locked_at: None,
        };
        (Login::parse(login).unwrap(), account)
    };
    Ownership {
        accounts: [("ana", 2_001), ("bob", 2_002)].map(owned).into(),
        unix_groups: [dbas(), (UnixGroupName::parse("old").unwrap(), Gid::parse(3_001).unwrap())]
            .into(),
    }
}

/// A Unix group of Muster's.
fn dbas() -> (UnixGroupName, Gid) {
    (UnixGroupName::parse("dbas").unwrap(), Gid::parse(3_000).unwrap())
}

fn of(observed: &ObservedState, actions: Vec<Action>) -> Vec<String> {
    let planned = |action| Planned { phase: Phase::Take, action, notes: Vec::new() };
    let plan = Plan { actions: actions.into_iter().map(planned).collect(), ..Plan::default() };
    let (name, gid) = dbas();
    let grant = UnixGroupGrant { name: name.clone(), gid, members: MemberList::AtLeast };
    let desired = DesiredState { unix_groups: [(name, grant)].into(), ..DesiredState::default() };
    let found = differences(observed, &desired, &ownership(), &plan);
    let words = |one: &Difference| {
        let What { kind, subject, place } = &one.what;
        let severity = one.severity.as_str();
        format!(
            "{} {subject} {place}: {} but {}, {severity}",
            kind.as_str(),
            one.expected,
            one.found
        )
    };
    found.iter().map(words).collect()
}

fn set(name: &str, field: usize, value: Value) -> Edit {
    Edit::Set { name: name.to_owned(), field, value }
}

fn text(text: &str) -> Value {
    Value::Text(text.to_owned())
}

#[test]
fn a_primary_unix_group_that_is_as_good_as_root_is_the_gravest() {
    for (gid, severity) in [("27", "critical"), ("0", "critical"), ("100", "high"), ("x", "high")] {
        let observed = ObservedState {
            passwd: table(&format!("ana:x:2001:{gid}::/home/ana:/bin/sh\n")),
            group: table("sudo:x:27:\nusers:x:100:\n"),
            ..ObservedState::default()
        };
        let passwd = vec![set("ana", passwd::GID, text("2001"))];
        let edits = AccountEdits { passwd, ..AccountEdits::default() };
        let told = format!("account-changed ana gid: 2001 but {gid}, {severity}");
        assert_eq!(of(&observed, vec![Action::Accounts(edits)]), [told]);
    }
}

#[test]
fn another_uid_of_an_account_of_musters_is_told_though_nothing_is_done_about_it() {
    for (found, severity) in [("3001", "high"), ("0", "critical"), ("x", "high"), ("", "high")] {
        let line = |login, uid| format!("{login}:x:{uid}:100::/home/{login}:/bin/sh\n");
        // Bob's line is gone, which is told otherwise; nobody but root knows whose eve's is.
        let passwd = line("ana", found) + &line("eve", found);
        let observed = ObservedState { passwd: table(&passwd), ..ObservedState::default() };
        let told = format!("account-changed ana uid: 2001 but {found}, {severity}");
        assert_eq!(of(&observed, Vec::new()), [told]);
    }
    assert_eq!(of(&observed(), Vec::new()), [""; 0]);
}

#[test]
fn another_gid_of_a_unix_group_of_musters_is_told_as_long_as_that_is_wanted() {
    let gids = [("999", "high"), ("27", "critical"), ("0", "critical"), ("x", "high")];
    for (found, severity) in gids {
        let group = format!("sudo:x:27:\ndbas:x:{found}:ana\nold:x:5000:\neve:x:3000:\n");
        let observed = ObservedState { group: table(&group), ..ObservedState::default() };
        let told = format!("unix-group-changed dbas gid: 3000 but {found}, {severity}");
        assert_eq!(of(&observed, Vec::new()), [told]);
    }
    let observed = ObservedState { group: table("dbas:x:3000:ana\n"), ..ObservedState::default() };
    assert_eq!(of(&observed, Vec::new()), [""; 0]);
}

#[test]
fn an_edit_of_a_field_is_a_field_that_is_another() {
    let edits = AccountEdits {
        passwd: vec![
            Edit::Add { name: "eve".to_owned(), line: "eve:x:2003:2003::/home/eve:/bin/sh".into() },
            set("ana", passwd::SHELL, text("/bin/bash")),
            set("ana", passwd::GECOS, text("Ana Example")),
        ],
        shadow: vec![
            Edit::Add { name: "eve".to_owned(), line: "eve:*:1::::::".to_owned() },
            set("ana", shadow::PASSWORD, text("*")),
            set("bob", shadow::EXPIRE, text("")),
            set("ana", shadow::EXPIRE, text("20000")),
        ],
        group: vec![Edit::Members {
            name: "docker".to_owned(),
            add: BTreeSet::new(),
            remove: BTreeSet::from(["bob".to_owned()]),
        }],
        gshadow: vec![Edit::Members {
            name: "docker".to_owned(),
            add: BTreeSet::from(["ana".to_owned()]),
            remove: BTreeSet::from(["bob".to_owned()]),
        }],
    };
    assert_eq!(
        of(&observed(), vec![Action::Accounts(edits)]),
        [
            "account-changed ana expiry: day 20000 since 1970 but never, high",
            "account-changed ana name: Ana Example but Ana, low",
            "account-changed ana password: none but one that is set, high",
            "account-changed ana shell: /bin/bash but /bin/sh, medium",
            "account-changed bob expiry: never but expired, medium",
            "account-missing eve : uid 2003 but no line in passwd, medium",
            "member-added bob docker: no member but a member, critical",
            "member-missing ana docker: a member but none, medium",
        ]
    );
}

#[test]
fn a_lock_that_is_open_is_told_as_such_and_never_with_the_hash() {
    let edits = AccountEdits {
        shadow: vec![
            set("ana", shadow::PASSWORD, Value::Locked),
            set("ana", shadow::EXPIRE, text("1")),
        ],
        ..AccountEdits::default()
    };
    assert_eq!(
        of(&observed(), vec![Action::Accounts(edits)]),
        [
            "account-unlocked ana expiry: expired but never, high",
            "account-unlocked ana password: locked but one that is set, high",
        ]
    );
}

#[test]
fn a_file_is_compared_with_its_last_step() {
    let file = |text: &str, sound| RootFile { text: text.as_bytes().to_vec(), sound };
    let observed = ObservedState {
        sudo: Some(BTreeMap::from([
            ("50-muster-dba".to_owned(), file("# head\na\nb\n", true)),
            ("50-muster-ops".to_owned(), file("a\n", false)),
            ("50-muster-old".to_owned(), file("a\n", true)),
        ])),
        keys: BTreeMap::from([("bob".to_owned(), file("k1\n", true))]),
        ..observed()
    };
    let write = |name: &str, text: &str| (name.to_owned(), text.to_owned());
    let take = Files {
        write: BTreeMap::from([
            write("50-muster-dba", "# head\na\n"),
            write("50-muster-ops", "a\n"),
        ]),
        remove: BTreeSet::from(["50-muster-old".to_owned()]),
    };
    let give = Files {
        write: BTreeMap::from([write("50-muster-dba", "# head\na\nc\n")]),
        remove: BTreeSet::new(),
    };
    let keys = Files {
        write: BTreeMap::from([write("ana", "k1\n"), write("bob", "k1\nk2\n")]),
        remove: BTreeSet::new(),
    };
    assert_eq!(
        of(&observed, vec![Action::Sudo(take), Action::Keys(keys), Action::Sudo(give)]),
        [
            "keys-changed ana : 1 line but no file, medium",
            "keys-changed bob : 2 lines but 0 other lines, 1 missing, medium",
            "sudo-changed dba : 2 lines but 1 other line, 1 missing, critical",
            "sudo-changed old : no file but 1 other line, 0 missing, critical",
            "sudo-changed ops : 1 line but another owner, mode or kind of file, critical",
        ]
    );
}

#[test]
fn what_only_time_has_made_due_is_no_difference_and_what_runs_is() {
    let login = Login::parse("ana").unwrap();
    let leaver = |ending| Leaver {
        login: login.clone(),
        uid: 2_001,
        has_its_uid: true,
        subuids: Vec::new(),
        ending,
    };
    let locked = Ending::Locked(UserKind::Person);
    let mut seen = observed();
    let sessions =
        |ending| vec![Action::Sessions(vec![leaver(ending)]), Action::LeftBehind(Vec::new())];
    assert_eq!(of(&seen, sessions(locked)), [""; 0], "nothing runs");
    let running = crate::observed::Running { processes: 2, unix_groups: BTreeSet::new() };
    seen.running.insert(2_001, running);
    assert_eq!(of(&seen, sessions(Ending::Kept)), [""; 0], "it may run");
    assert_eq!(of(&seen, sessions(locked)), ["running ana : none but 2 processes, high"]);
    let home = NewHome {
        login: login.clone(),
        uid: 2_001,
        gid: 2_001,
        path: "/home/ana".to_owned(),
        mode: 0o700,
    };
    let others = vec![Action::Jobs(vec![leaver(locked)]), Action::Homes(vec![home])];
    assert_eq!(
        of(&seen, others),
        [
            "home-missing ana : /home/ana but nothing there, medium",
            "jobs-back ana : none but a crontab, at jobs or lingering, high",
        ]
    );
}
