//! What every host has to do, the fake one and Linux alike.

use std::{fs, os::unix::fs::MetadataExt};

use muster_agent::{
    host::Host,
    observed::{Elsewhere, Running},
    ownership::Ownership,
    plan::Plan,
};
use muster_proto::{
    name::{AbsolutePath, Uid},
    receipt::Convergence,
    statement::UnixGroupMode,
};

use crate::{
    fake::Fake,
    world::{
        Desired, GROUP, PASSWD, Root, by_word, converge, edit_passwd, findings, key, login, look,
        members, need_root,
    },
};

fn team() -> Desired {
    Desired::default()
        .user("ana", 2_001)
        .user("ben", 2_002)
        .unix_group("web", 3_000, &["ana", "ben"])
        .host_unix_group("docker", "ben")
        .sudo("ops", "/usr/bin/systemctl restart nginx", &["ana"])
        .sudo("root", "ALL", &["ben"])
}

/// Runs a test on both hosts.
fn on_both(test: impl Fn(&mut dyn Host)) {
    test(&mut Fake::new());
    need_root();
    test(&mut Root::new().host());
}

fn settled(host: &mut dyn Host, desired: &Desired, owned: &Ownership) -> Plan {
    let (_, plan) = look(host, desired, owned);
    assert!(plan.is_empty(), "{:#?}", plan.actions);
    plan
}

#[test]
fn a_team_comes_and_goes() {
    on_both(|host| {
        let mut owned = Ownership::default();
        let (_, applied) = converge(host, &team(), &mut owned);
        assert_eq!(applied.convergence, Convergence::Done, "{:#?}", applied.outcomes);
        assert_eq!(by_word(&applied)["account-created"], 2);
        assert_eq!(by_word(&applied)["home-created"], 2);
        settled(host, &team(), &owned);

        let alone = Desired::default().user("ana", 2_001);
        let (_, applied) = converge(host, &alone, &mut owned);
        assert_eq!(applied.convergence, Convergence::Done, "{:#?}", applied.outcomes);
        assert_eq!(by_word(&applied)["account-locked"], 1);
        assert_eq!(by_word(&applied)["sudo-removed"], 2);
        let (observed, _) = look(host, &alone, &owned);
        let ben = observed.shadow.get("ben").unwrap();
        assert_eq!((ben.field(1), ben.field(7)), (&b"!*"[..], &b"1"[..]));
        assert!(!observed.keys.contains_key("ben"));
        settled(host, &alone, &owned);

        let (_, applied) = converge(host, &team(), &mut owned);
        assert_eq!(by_word(&applied)["account-unlocked"], 1);
        let (observed, _) = look(host, &team(), &owned);
        let ben = observed.shadow.get("ben").unwrap();
        assert_eq!((ben.field(1), ben.field(7)), (&b"*"[..], &b""[..]));
        settled(host, &team(), &owned);
    });
}

#[test]
fn an_account_of_somebody_else_is_left_alone() {
    on_both(|host| {
        let mut owned = Ownership::default();
        let desired = Desired::default().user("eve", 2_001).sudo("ops", "ALL", &["eve"]);
        let (plan, applied) = converge(host, &desired, &mut owned);
        assert_eq!(findings(&plan), [("conflict", "eve")].into());
        assert!(applied.outcomes.is_empty(), "{:#?}", applied.outcomes);
        let (observed, _) = look(host, &desired, &owned);
        assert_eq!(observed.passwd.text(), PASSWD.as_bytes());
        assert_eq!(observed.group.text(), GROUP.as_bytes());
    });
}

#[test]
fn an_adopted_account_keeps_its_uid_and_what_it_replaces_is_remembered() {
    on_both(|host| {
        let mut owned = Ownership::default();
        let desired = Desired::default()
            .user("eve", 2_001)
            .change("eve", |eve| eve.adopts = Some(Uid::parse(1_500).unwrap()));
        let (_, applied) = converge(host, &desired, &mut owned);
        assert_eq!(by_word(&applied)["account-adopted"], 1);
        assert_eq!(owned.accounts[&login("eve")].uid.get(), 1_500);
        assert!(!format!("{owned:?}").contains("$6$"), "hashes are not shown");
        let (observed, _) = look(host, &desired, &owned);
        assert_eq!(observed.passwd.text(), PASSWD.as_bytes());
        assert!(observed.group.text().starts_with(b"root:x:0:\nbin:x:2:\nsudo:x:27:eve\n"));
        settled(host, &desired, &owned);

        let exact = desired.change("eve", |eve| eve.unix_group_mode = UnixGroupMode::Exactly);
        let (plan, applied) = converge(host, &exact, &mut owned);
        assert_eq!(by_word(&applied)["sessions-ended"], 1, "{:#?}", plan.actions);
        let (observed, _) = look(host, &exact, &owned);
        let group = String::from_utf8(observed.group.text().to_vec()).unwrap();
        assert!(members(&group, "sudo").is_empty());
        assert!(members(&group, "muster-accounts").contains("eve"));
    });
}

#[test]
fn an_adoption_that_ends_locks_the_account_though_its_user_is_still_assigned() {
    on_both(|host| {
        let mut owned = Ownership::default();
        // The same uid in the fleet and on the host, and another one.
        for uid in [1_500, 2_002] {
            let adopted = Desired::default()
                .user("eve", uid)
                .change("eve", |eve| eve.adopts = Some(Uid::parse(1_500).unwrap()));
            let (_, applied) = converge(host, &adopted, &mut owned);
            assert_eq!(applied.convergence, Convergence::Done);
            let ended = Desired::default().user("eve", uid);
            let (_, applied) = converge(host, &ended, &mut owned);
            assert_eq!(by_word(&applied)["account-locked"], 1);
            let (observed, plan) = look(host, &ended, &owned);
            assert!(observed.shadow.get("eve").unwrap().field(1).starts_with(b"!"));
            assert!(!observed.keys.contains_key("eve"));
            assert!(plan.is_empty(), "{:#?}", plan.actions);
        }
    });
}

#[test]
fn gid_and_home_that_muster_gave_are_put_right_and_nothing_else_moves_a_home() {
    on_both(|host| {
        let mut owned = Ownership::default();
        converge(host, &team(), &mut owned);
        let (before, _) = look(host, &team(), &owned);
        for (field, text) in [(3, "27"), (5, "/srv/else"), (5, ""), (3, "root"), (6, "/bin/sh")] {
            edit_passwd(host, "ana", field, text);
            let (_, applied) = converge(host, &team(), &mut owned);
            assert_eq!(by_word(&applied), [("account-changed", 1)].into(), "{field} {text}");
            let (observed, _) = look(host, &team(), &owned);
            assert_eq!(observed.passwd.text(), before.passwd.text(), "{field} {text}");
        }
        let home = Some(AbsolutePath::parse("/srv/ana").unwrap());
        let moved = team().change("ana", |ana| ana.grant.home = home);
        settled(host, &moved, &owned);

        // A ledger from before has no home: the one that is found is taken down, and once only.
        owned.accounts.get_mut(&login("ana")).unwrap().home = None;
        edit_passwd(host, "ana", 5, "/home/ben");
        let (observed, _) = look(host, &team(), &owned);
        assert!(owned.take_down_homes(&observed.passwd));
        assert_eq!(owned.accounts[&login("ana")].home.as_ref().unwrap().as_str(), "/home/ben");
        assert!(!owned.take_down_homes(&before.passwd));
    });
}

#[test]
fn an_account_whose_line_is_gone_comes_back_to_the_home_that_it_had() {
    need_root();
    let (root, mut owned) = (Root::new(), Ownership::default());
    let mut host = root.host();
    converge(&mut host, &team(), &mut owned);
    let passwd = root.read("etc/passwd");
    let without: Vec<&str> = passwd.lines().filter(|line| !line.starts_with("ana:")).collect();
    root.write("etc/passwd", 0o644, &format!("{}\n", without.join("\n")));
    root.write("etc/nsswitch.conf", 0o644, "passwd: files\n");
    let home = Some(AbsolutePath::parse("/srv/ana").unwrap());
    let moved = team().change("ana", |ana| ana.grant.home = home);
    converge(&mut host, &moved, &mut owned);
    assert!(root.read("etc/passwd").contains(":/home/ana:"), "{}", root.read("etc/passwd"));
}

#[test]
fn an_adopted_account_keeps_the_gid_and_home_that_it_comes_to_have() {
    on_both(|host| {
        let mut owned = Ownership::default();
        let desired = Desired::default()
            .user("eve", 2_001)
            .change("eve", |eve| eve.adopts = Some(Uid::parse(1_500).unwrap()));
        converge(host, &desired, &mut owned);
        assert_eq!(owned.accounts[&login("eve")].home, None);
        edit_passwd(host, "eve", 3, "2");
        edit_passwd(host, "eve", 5, "/srv/eve");
        settled(host, &desired, &owned);
        let (observed, _) = look(host, &desired, &owned);
        assert!(!owned.take_down_homes(&observed.passwd));
    });
}

#[test]
fn a_lost_key_ends_sessions_and_an_added_one_does_not() {
    on_both(|host| {
        let mut owned = Ownership::default();
        converge(host, &team(), &mut owned);
        let more = team().change("ana", |ana| {
            ana.keys.insert(key(7));
        });
        let (_, applied) = converge(host, &more, &mut owned);
        assert!(!by_word(&applied).contains_key("sessions-ended"));
        let (_, applied) = converge(host, &team(), &mut owned);
        assert_eq!(by_word(&applied)["sessions-ended"], 1);
        assert!(!owned.accounts[&login("ana")].sessions_owed);
    });
}

#[test]
fn a_stop_between_taking_a_key_and_ending_sessions_is_made_up_for() {
    let mut host = Fake::new();
    let mut owned = Ownership::default();
    converge(&mut host, &team(), &mut owned);
    let less = team().change("ana", |ana| ana.keys.clear());
    host.failing = vec!["Sessions"];
    let (_, applied) = converge(&mut host, &less, &mut owned);
    assert_eq!(applied.convergence, Convergence::Retrying);
    assert!(owned.accounts[&login("ana")].sessions_owed);
    host.failing.clear();
    let (_, applied) = converge(&mut host, &less, &mut owned);
    assert_eq!(by_word(&applied), [("sessions-ended", 1)].into());
    settled(&mut host, &less, &owned);
}

#[test]
fn sessions_that_hold_a_lost_unix_group_end() {
    let mut host = Fake::new();
    let mut owned = Ownership::default();
    let desired = Desired::default().user("ana", 2_001);
    converge(&mut host, &desired, &mut owned);
    let docker = Running { processes: 1, unix_groups: [999, 2_001].into() };
    host.running.insert(2_001, docker);
    let (_, applied) = converge(&mut host, &desired, &mut owned);
    assert_eq!(by_word(&applied), [("sessions-ended", 1)].into());
    settled(&mut host, &desired, &owned);
}

#[test]
fn a_failed_taking_away_stops_the_giving_of_its_kind() {
    let mut host = Fake::new();
    let mut owned = Ownership::default();
    converge(&mut host, &team(), &mut owned);
    host.failing = vec!["Accounts"];
    host.done.clear();
    let next = Desired::default().user("ana", 2_001).user("cas", 2_003);
    let (_, applied) = converge(&mut host, &next, &mut owned);
    assert_eq!(applied.convergence, Convergence::Retrying);
    assert_eq!(host.done.iter().filter(|name| *name == "Accounts").count(), 1);
    assert!(!host.passwd().contains("cas"));
    assert!(!host.done.contains(&"Homes".to_owned()), "{:?}", host.done);
    assert!(!owned.accounts.contains_key(&login("cas")), "nothing of it was created");
    host.failing.clear();
    converge(&mut host, &next, &mut owned);
    settled(&mut host, &next, &owned);
}

#[test]
fn revoking_goes_from_sudo_to_sessions_and_granting_the_other_way() {
    let mut host = Fake::new();
    let mut owned = Ownership::default();
    converge(&mut host, &team(), &mut owned);
    assert_eq!(host.done, ["Accounts", "Homes", "Keys", "DropIn", "Sudo"]);
    host.done.clear();
    converge(&mut host, &Desired::default(), &mut owned);
    assert_eq!(host.done, ["Sudo", "Accounts", "Keys", "Sessions", "LeftBehind"]);
}

#[test]
fn names_that_others_know_or_may_know_are_not_created() {
    let mut host = Fake::new();
    let mut owned = Ownership::default();
    host.elsewhere.insert("ana".to_owned(), Elsewhere::Known("ldap".to_owned()));
    host.elsewhere.insert("ben".to_owned(), Elsewhere::Unknown("down".to_owned()));
    let desired = Desired::default()
        .user("ana", 2_001)
        .user("ben", 2_002)
        .user("cas", 2_003)
        .user("dan", 1_500)
        .user("admin", 2_005)
        .user("far", 120_000)
        .host_unix_group("wheel", "cas");
    let (plan, applied) = converge(&mut host, &desired, &mut owned);
    let expected = [
        ("known-elsewhere", "ana"),
        ("unknown-elsewhere", "ben"),
        ("conflict", "dan"),
        ("protected", "admin"),
        ("uid-out-of-range", "far"),
        ("unmet", "wheel"),
    ];
    assert_eq!(findings(&plan), expected.into());
    assert_eq!(by_word(&applied)["account-created"], 1);
}

#[test]
fn files_are_roots_and_homes_are_their_users() {
    need_root();
    let root = Root::new();
    let mut owned = Ownership::default();
    converge(&mut root.host(), &team(), &mut owned);
    let looks = |name: &str| {
        let found = fs::symlink_metadata(root.path(name)).unwrap();
        (found.uid(), found.gid(), found.mode() & 0o7777)
    };
    for (name, expected) in [
        ("home/ana", (2_001, 2_001, 0o700)),
        ("home/ana/.profile", (2_001, 2_001, 0o644)),
        ("home/ana/.config/x", (2_001, 2_001, 0o600)),
        ("etc/ssh/muster-keys", (0, 0, 0o755)),
        ("etc/ssh/muster-keys/ana", (0, 0, 0o644)),
        ("etc/sudoers.d/50-muster-ops", (0, 0, 0o440)),
        ("etc/ssh/sshd_config.d/00-muster.conf", (0, 0, 0o644)),
        ("etc/passwd", (0, 0, 0o644)),
        ("etc/shadow", (0, 0, 0o640)),
        ("etc/shadow-", (0, 0, 0o640)),
    ] {
        assert_eq!(looks(name), expected, "{name}");
    }
    let passwd = root.read("etc/passwd");
    let (own, nis) =
        (passwd.find("ana:x:2001:2001:Some Body:/home/ana:/bin/bash"), passwd.find('+'));
    assert!(own.is_some() && own < nis, "{passwd}");
    assert_eq!(root.leftovers(), Vec::<String>::new());
}

#[test]
fn jobs_of_a_locked_account_are_set_aside_and_lingering_ends() {
    need_root();
    let root = Root::new();
    let mut owned = Ownership::default();
    let mut host = root.host();
    let desired = Desired::default().user("ana", 2_001);
    converge(&mut host, &desired, &mut owned);
    root.write("var/spool/cron/crontabs/ana", 0o600, "* * * * * true\n");
    root.write("var/lib/systemd/linger/ana", 0o644, "");
    root.write("var/spool/cron/atjobs/a0001", 0o700, "");
    std::os::unix::fs::chown(root.path("var/spool/cron/atjobs/a0001"), Some(2_001), None).unwrap();
    let (_, applied) = converge(&mut host, &Desired::default(), &mut owned);
    assert_eq!(by_word(&applied)["jobs-set-aside"], 1);
    let gone = [
        "var/spool/cron/crontabs/ana",
        "var/lib/systemd/linger/ana",
        "var/spool/cron/atjobs/a0001",
    ];
    assert!(gone.iter().all(|name| !root.path(name).exists()));
    settled(&mut host, &Desired::default(), &owned);
    let (plan, _) = converge(&mut host, &desired, &mut owned);
    assert_eq!(findings(&plan), [("jobs-set-aside", "ana")].into());
}

#[test]
fn a_lock_of_a_dead_process_is_taken_over_and_one_that_names_nobody_is_reported() {
    need_root();
    let root = Root::new();
    let mut owned = Ownership::default();
    let mut host = root.host();
    // Above the largest number that a process can have.
    root.write("etc/passwd.lock", 0o600, "4194999\0");
    let (_, applied) = converge(&mut host, &team(), &mut owned);
    assert_eq!(applied.convergence, Convergence::Done, "{:#?}", applied.outcomes);
    assert!(!root.path("etc/passwd.lock").exists());

    root.write("etc/group.lock", 0o600, "");
    let more = team().user("cas", 2_003);
    let (_, applied) = converge(&mut host, &more, &mut owned);
    let failures: Vec<&str> =
        applied.outcomes.iter().filter_map(|o| o.failure.as_deref()).collect();
    assert!(failures.iter().any(|reason| reason.contains("names no process")), "{failures:?}");
    assert!(root.path("etc/group.lock").exists() && !root.path("etc/passwd.lock").exists());
    assert!(!owned.accounts.contains_key(&login("cas")));
}

#[test]
fn what_others_add_meanwhile_survives() {
    need_root();
    let root = Root::new();
    let mut host = root.host();
    let owned = Ownership::default();
    let (_, plan) = look(&mut host, &team(), &owned);
    root.write("etc/passwd", 0o644, &format!("{PASSWD}zoe:x:1700:1700::/home/zoe:/bin/sh\n"));
    let applied = muster_agent::apply::apply(
        &plan,
        muster_agent::apply::Reach::Everything,
        &owned,
        &mut host,
    );
    assert_eq!(applied.convergence, Convergence::Done, "{:#?}", applied.outcomes);
    let passwd = root.read("etc/passwd");
    assert!(passwd.contains("\nzoe:") && passwd.contains("\nana:"), "{passwd}");
}

#[test]
fn links_in_the_place_of_our_files_are_replaced_and_not_followed() {
    need_root();
    let root = Root::new();
    let mut host = root.host();
    let mut owned = Ownership::default();
    converge(&mut host, &team(), &mut owned);
    root.write("etc/victim", 0o600, "as it was");
    let ours = [
        "etc/ssh/muster-keys/ana",
        "etc/sudoers.d/50-muster-ops",
        "etc/ssh/sshd_config.d/00-muster.conf",
    ];
    for name in ours {
        fs::remove_file(root.path(name)).unwrap();
        std::os::unix::fs::symlink(root.path("etc/victim"), root.path(name)).unwrap();
    }
    let (_, applied) = converge(&mut host, &team(), &mut owned);
    assert_eq!(applied.convergence, Convergence::Done, "{:#?}", applied.outcomes);
    assert_eq!(root.read("etc/victim"), "as it was");
    assert!(root.read("etc/ssh/muster-keys/ana").starts_with("ssh-ed25519 "));
    settled(&mut host, &team(), &owned);
}
