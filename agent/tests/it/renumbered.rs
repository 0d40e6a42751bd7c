//! An account of Muster's that has another uid by now: nobody can say whose it is, and neither does
//! it get out of Muster's hands nor does anything end that may be somebody else's. A Unix group of
//! Muster's with another gid stays its own.
#![expect(clippy::disallowed_methods, reason = "a test lays out its root")]

use std::{collections::BTreeSet, fs, os::unix::fs::chown};

use muster_agent::{
    format::{Edit, Value},
    host::Host,
    observed::Scope,
    ownership::Ownership,
    plan::{AccountEdits, Action, Leaver, Plan, plan},
    policy::{AccountName, HostPolicy},
};
use muster_proto::{name::Uid, statement::MemberList};

use crate::{
    fake::Fake,
    world::{
        Desired, NOW, Root, by_word, converge, edit_passwd, findings, login, look, members,
        need_root, policy, unix_group,
    },
};

const MARKER: &str = "muster-accounts";
const DROP_IN: &str = "etc/ssh/sshd_config.d/00-muster.conf";

fn ana() -> Desired {
    Desired::default()
        .user("ana", 2_001)
        .unix_group("web", 3_000, &["ana"])
        .host_unix_group("docker", "ana")
        .sudo("ops", "/usr/bin/id", &["ana"])
        .password("ana", 0)
}

/// Runs a test on both hosts, on which ana is.
fn on_both(test: impl Fn(&mut dyn Host, &mut Ownership)) {
    need_root();
    for host in [&mut Fake::new() as &mut dyn Host, &mut Root::new().host()] {
        let mut owned = Ownership::default();
        converge(host, &ana(), &mut owned);
        test(host, &mut owned);
    }
}

/// The Unix groups that an account is in, by group and by gshadow.
fn unix_groups(host: &mut dyn Host, owned: &Ownership) -> [BTreeSet<&'static str>; 2] {
    let (observed, _) = look(host, &ana(), owned);
    let text = |text: &[u8]| String::from_utf8(text.to_vec()).unwrap();
    [text(observed.group.text()), text(observed.gshadow.unwrap().text())].map(|text| {
        let names = ["web", "docker", MARKER].into_iter();
        names.filter(|name| members(&text, name).contains("ana")).collect()
    })
}

/// Edits the account files as somebody does by hand.
fn by_hand(host: &mut dyn Host, edits: AccountEdits) {
    let action = Action::Accounts(edits);
    host.prepare(&[&action]);
    assert_eq!(host.perform(&action).whole, None);
    host.settle();
}

fn edit_group(host: &mut dyn Host, edit: Edit) {
    by_hand(host, AccountEdits { group: vec![edit], ..AccountEdits::default() });
}

fn set(name: &str, field: usize, text: &str) -> Edit {
    Edit::Set { name: name.to_owned(), field, value: Value::Text(text.to_owned()) }
}

fn take_out_of_marker(host: &mut dyn Host) {
    let remove = BTreeSet::from(["ana".to_owned()]);
    edit_group(host, Edit::Members { name: MARKER.to_owned(), add: BTreeSet::new(), remove });
}

fn assert_settled(host: &mut dyn Host, desired: &Desired, owned: &Ownership) {
    let (_, plan) = look(host, desired, owned);
    assert!(plan.is_empty(), "{:#?}", plan.actions);
}

/// Whose processes end.
fn ended(plan: &Plan) -> Vec<&Leaver> {
    let leavers = plan.actions.iter().filter_map(|planned| match &planned.action {
        Action::Sessions(leavers) => Some(leavers),
        _ => None,
    });
    leavers.flatten().collect()
}

#[test]
fn it_has_nothing_of_musters_and_stays_where_its_own_keys_do_not_count_until_it_is_put_right() {
    on_both(|host, owned| {
        let (before, _) = look(host, &ana(), owned);
        let was_owned = owned.clone();
        for uid in ["3001", "0", "x"] {
            edit_passwd(host, "ana", 2, uid);
            let (plan, _) = converge(host, &ana(), owned);
            assert_eq!(findings(&plan), [("conflict", "ana")].into(), "{uid}");
            assert_eq!(ended(&plan), [] as [&Leaver; 0], "{uid}");
            let (observed, _) = look(host, &ana(), owned);
            assert!(!observed.keys.contains_key("ana"), "{uid}");
            assert!(observed.sudo.unwrap().is_empty(), "{uid}");
            // What is as good as root is taken, if Muster gave it.
            let fenced = BTreeSet::from(["web", MARKER]);
            assert_eq!(unix_groups(host, owned), [fenced.clone(), fenced.clone()], "{uid}");
            assert_settled(host, &ana(), owned);
            assert_eq!(*owned, was_owned, "{uid}");

            take_out_of_marker(host);
            converge(host, &ana(), owned);
            assert_eq!(unix_groups(host, owned), [fenced.clone(), fenced], "{uid}");
        }
        edit_passwd(host, "ana", 2, "2001");
        let (plan, _) = converge(host, &ana(), owned);
        assert_eq!(findings(&plan), [].into());
        assert_eq!(unix_groups(host, owned)[0], ["web", "docker", MARKER].into());
        let (after, _) = look(host, &ana(), owned);
        assert_eq!((after.passwd, after.shadow), (before.passwd, before.shadow));
        assert_eq!((after.keys, after.sudo), (before.keys, before.sudo));
        assert_eq!(*owned, was_owned);
    });
}

#[test]
fn sshd_is_kept_from_its_own_keys_and_passwords_though_it_is_the_only_one_here() {
    need_root();
    let root = Root::new();
    let (mut host, mut owned) = (root.host(), Ownership::default());
    converge(&mut host, &ana(), &mut owned);
    assert!(root.read(DROP_IN).contains("User ana\n"));
    edit_passwd(&mut host, "ana", 2, "3001");
    converge(&mut host, &ana(), &mut owned);
    let fence = root.read(DROP_IN);
    assert!(!fence.contains("User ana\n") && fence.contains("Match Group muster-accounts\n"));

    // Somebody takes down all of it.
    fs::remove_file(root.path(DROP_IN)).unwrap();
    for name in ["etc/group", "etc/gshadow"] {
        let text = root.read(name);
        let rest = text.split_inclusive('\n').filter(|line| !line.starts_with(MARKER));
        root.write(name, 0o640, &rest.collect::<String>());
    }
    converge(&mut host, &ana(), &mut owned);
    assert_eq!(root.read(DROP_IN), fence);
    assert_eq!(members(&root.read("etc/group"), MARKER), ["ana".to_owned()].into());
    assert_settled(&mut host, &ana(), &owned);
}

#[test]
fn one_that_the_host_protects_is_not_fenced() {
    on_both(|host, owned| {
        edit_passwd(host, "ana", 2, "3001");
        take_out_of_marker(host);
        let protected = [AccountName::parse("ana").unwrap()].into();
        let policy = HostPolicy { protected, ..policy() };
        let desired = ana();
        let observed = host.observe(&Scope::of(&desired.0, owned, &policy)).unwrap();
        let plan = plan(&observed, &desired.0, owned, &policy, NOW);
        assert_eq!(findings(&plan), [("protected", "ana")].into());
        assert!(plan.is_empty(), "{:#?}", plan.actions);
    });
}

#[test]
fn a_login_that_is_let_go_is_locked_and_nothing_of_the_uid_that_it_has_ends() {
    need_root();
    let root = Root::new();
    let (mut host, mut owned) = (root.host(), Ownership::default());
    root.write("etc/subuid", 0o644, "ana:100000:65536\n");
    converge(&mut host, &ana(), &mut owned);
    edit_passwd(&mut host, "ana", 2, "3001");
    root.write("var/spool/cron/crontabs/ana", 0o600, "* * * * * true\n");
    root.write("var/lib/systemd/linger/ana", 0o644, "");
    for (name, uid) in [("a2001", 2_001), ("a3001", 3_001)] {
        let path = format!("var/spool/cron/atjobs/{name}");
        root.write(&path, 0o700, "");
        chown(root.path(&path), Some(uid), None).unwrap();
    }
    // Above the largest number that a process can have.
    for (pid, uid, map) in [("4194901", 3_001, "0 0 4294967295"), ("4194902", 100_000, "0 1 2")] {
        let place = root.path("proc").join(pid);
        fs::create_dir_all(&place).unwrap();
        let status = format!("State:\tS (sleeping)\nUid:\t{uid}\t{uid}\t{uid}\t{uid}\n");
        fs::write(place.join("status"), status).unwrap();
        fs::write(place.join("uid_map"), map).unwrap();
    }
    let nobody = Desired::default();
    let (plan, applied) = converge(&mut host, &nobody, &mut owned);
    assert_eq!(findings(&plan), [("conflict", "ana")].into());
    let told = plan.findings.iter().find(|found| found.subject == "ana").unwrap();
    assert!(told.detail.ends_with("what runs as `3001` goes on"), "{told:?}");
    let failed = applied.outcomes.iter().find(|outcome| outcome.failure.is_some());
    assert_eq!(failed, None);

    let shadow = root.read("etc/shadow");
    let line = shadow.lines().find(|line| line.starts_with("ana:")).unwrap();
    assert!(line.starts_with("ana:!") && line.ends_with(":1:"), "{line}");
    for name in ["etc/group", "etc/gshadow"] {
        let text = root.read(name);
        for unix_group in ["web", "docker"] {
            assert_eq!(members(&text, unix_group), [].into(), "{name} {unix_group}");
        }
        assert_eq!(members(&text, MARKER), ["ana".to_owned()].into());
    }
    let gone = ["crontabs/ana", "atjobs/a2001"].map(|name| format!("var/spool/cron/{name}"));
    assert!(gone.iter().all(|name| !root.path(name).exists()));
    assert!(!root.path("var/lib/systemd/linger/ana").exists());
    assert!(root.path("var/spool/cron/atjobs/a3001").exists(), "it may be somebody else's");
    let [leaver] = ended(&plan).try_into().unwrap();
    assert_eq!((leaver.uid, leaver.subuids.as_slice()), (2_001, &[][..]));
    assert_settled(&mut host, &nobody, &owned);

    // Nor does it ever go with its home.
    let policy = HostPolicy { purge_after_days: Some(30), ..policy() };
    let observed = host.observe(&Scope::of(&nobody.0, &owned, &policy)).unwrap();
    let late = NOW.plus(9_999 * 86_400);
    let planned = muster_agent::plan::plan(&observed, &nobody.0, &owned, &policy, late);
    assert!(planned.is_empty(), "{:#?}", planned.actions);
}

#[test]
fn what_has_the_uid_that_a_leaver_had_is_left_alone_if_another_login_has_it() {
    need_root();
    let root = Root::new();
    let (mut host, mut owned) = (root.host(), Ownership::default());
    converge(&mut host, &ana(), &mut owned);
    edit_passwd(&mut host, "ana", 2, "3001");
    let passwd = root.read("etc/passwd");
    root.write("etc/passwd", 0o644, &format!("{passwd}too:x:2001:2001::/home/too:/bin/sh\n"));
    for name in ["var/spool/cron/atjobs/a2001", "run/sudo/ts/2001"] {
        fs::create_dir_all(root.path(name).parent().unwrap()).unwrap();
        root.write(name, 0o600, "");
        chown(root.path(name), Some(2_001), None).unwrap();
    }
    root.write("var/spool/cron/crontabs/ana", 0o600, "* * * * * true\n");
    let nobody = Desired::default();
    let (plan, _) = converge(&mut host, &nobody, &mut owned);
    assert_eq!(findings(&plan), [("conflict", "ana"), ("uid-shared", "ana")].into());
    assert_eq!(ended(&plan), [] as [&Leaver; 0]);
    assert!(root.path("var/spool/cron/atjobs/a2001").exists());
    assert!(root.path("run/sudo/ts/2001").exists());
    assert!(!root.path("var/spool/cron/crontabs/ana").exists());
    assert!(root.read("etc/shadow").contains("\nana:!"));
    assert_settled(&mut host, &nobody, &owned);
}

#[test]
fn a_locked_login_that_comes_back_with_another_uid_is_locked_again() {
    on_both(|host, owned| {
        let nobody = Desired::default();
        converge(host, &nobody, owned);
        // As after `userdel` and `useradd`: Muster was told that nobody is to have this login.
        edit_passwd(host, "ana", 2, "3001");
        let shadow = vec![set("ana", 1, "$6$hash")];
        by_hand(host, AccountEdits { shadow, ..AccountEdits::default() });
        converge(host, &nobody, owned);
        let (observed, _) = look(host, &nobody, owned);
        assert_eq!(observed.shadow.get("ana").unwrap().field(1), b"!$6$hash");
        assert_settled(host, &nobody, owned);
        assert_eq!(owned.accounts[&login("ana")].uid, Uid::parse(2_001).unwrap());
    });
}

#[test]
fn a_unix_group_gets_its_gid_back_and_keeps_its_members() {
    on_both(|host, owned| {
        let (before, _) = look(host, &ana(), owned);
        let was_owned = owned.clone();
        // Docker's among them.
        for gid in ["4000", "999", "0", "x", ""] {
            edit_group(host, set("web", 2, gid));
            let (plan, applied) = converge(host, &ana(), owned);
            assert_eq!(by_word(&applied), [("unix-group-changed", 1)].into(), "{gid}");
            assert_eq!(applied.outcomes[0].detail, "gid 3000");
            assert_eq!(findings(&plan), [].into(), "{gid}");
            let (after, _) = look(host, &ana(), owned);
            assert_eq!((&after.group, &after.gshadow), (&before.group, &before.gshadow), "{gid}");
            assert_eq!(*owned, was_owned, "{gid}");
            assert_settled(host, &ana(), owned);
        }
    });
}

#[test]
fn a_unix_group_whose_gid_another_has_stays_musters_and_as_it_is_until_that_is_free() {
    on_both(|host, owned| {
        let with_ben = |ana: Desired| ana.user("ben", 2_002).unix_group("web", 3_000, &["ben"]);
        let exactly = |mut desired: Desired| {
            let web = desired.0.unix_groups.get_mut(&unix_group("web")).unwrap();
            web.members = MemberList::Exactly;
            desired
        };
        let desired = exactly(with_ben(ana()));
        edit_group(host, set("web", 2, "4000"));
        let add = BTreeSet::from(["eve".to_owned()]);
        edit_group(host, Edit::Members { name: "web".to_owned(), add, remove: BTreeSet::new() });
        edit_group(host, Edit::Add { name: "too".to_owned(), line: "too:x:3000:".to_owned() });
        let members_now = |host: &mut dyn Host, owned: &Ownership| {
            let (observed, _) = look(host, &desired, owned);
            let text = String::from_utf8(observed.group.text().to_vec()).unwrap();
            let gid = observed.group.get("web").unwrap().number(2).unwrap();
            (gid, members(&text, "web").into_iter().collect::<Vec<_>>().join(" "))
        };
        let (plan, _) = converge(host, &desired, owned);
        assert_eq!(findings(&plan), [("conflict", "web")].into());
        assert_eq!(members_now(host, owned), (4_000, "ana eve".to_owned()));
        assert_settled(host, &desired, owned);
        assert!(owned.unix_groups.contains_key(&unix_group("web")));

        let line = b"too:x:3000:".to_vec();
        edit_group(host, Edit::Remove { name: "too".to_owned(), line });
        let (plan, _) = converge(host, &desired, owned);
        assert_eq!(findings(&plan), [].into());
        assert_eq!(members_now(host, owned), (3_000, "ana ben".to_owned()));
        assert_settled(host, &desired, owned);

        // Whoever loses it is taken out all the same.
        edit_group(host, set("web", 2, "2001"));
        edit_group(host, Edit::Add { name: "too".to_owned(), line: "too:x:3000:".to_owned() });
        let without = exactly(with_ben(Desired::default().user("ana", 2_001)));
        converge(host, &without, owned);
        assert_eq!(members_now(host, owned), (2_001, "ben".to_owned()));
        assert_settled(host, &without, owned);
    });
}
