//! Leaving a fleet: what was adopted is as it was before, byte for byte, what has ended stays ended,
//! and a stop anywhere is made up for by leaving again.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use muster_agent::{
    apply::{Applied, Reach, apply},
    format::Table,
    host::{Host, files::Faults, state},
    join::{JoinError, Known, Memory, known},
    leave as left,
    ownership::Ownership,
    plan::leave::{Created, Leave, LeavePlan},
};
use muster_proto::{
    desired::Account, id::Digest, name::Uid, receipt::Convergence, statement::UnixGroupMode,
};

use crate::{
    fake::Fake,
    world::{
        Desired, GROUP, GSHADOW, NOW, PASSWD, Root, SHADOW, by_word, converge, findings, login,
        look, members, need_root, policy,
    },
};

const DROP_IN: &str = "etc/ssh/sshd_config.d/00-muster.conf";

/// eve is adopted, with all that an adoption replaces; ana is created.
fn team() -> Desired {
    Desired::default()
        .user("ana", 2_001)
        .user("eve", 2_002)
        .change("eve", |eve| {
            eve.adopts = Some(Uid::parse(1_500).unwrap());
            eve.unix_group_mode = UnixGroupMode::Exactly;
        })
        .host_unix_group("docker", "eve")
        .sudo("ops", "ALL", &["ana", "eve"])
}

/// eve alone, in whatever Unix groups she is.
fn alone() -> Desired {
    let adopt = |eve: &mut Account| eve.adopts = Some(Uid::parse(1_500).unwrap());
    Desired::default().user("eve", 2_002).change("eve", adopt)
}

fn on_both(test: impl Fn(&mut dyn Host)) {
    test(&mut Fake::new());
    need_root();
    test(&mut Root::new().host());
}

fn leaving(
    host: &mut dyn Host,
    desired: &Desired,
    owned: &Ownership,
    created: Created,
) -> LeavePlan {
    let leave = Leave::of(&desired.0, owned, created);
    let observed = host.observe(&leave.scope(&policy())).unwrap();
    leave.plan(&observed, owned, &policy(), NOW)
}

fn leave(
    host: &mut dyn Host,
    desired: &Desired,
    owned: &mut Ownership,
    created: Created,
) -> (LeavePlan, Applied) {
    let planned = leaving(host, desired, owned, created);
    let applied = apply(&planned.plan, Reach::Everything, owned, host);
    if applied.convergence == Convergence::Done {
        *owned = applied.ownership.clone();
    }
    (planned, applied)
}

fn line(table: &Table, name: &str) -> String {
    String::from_utf8(table.get(name).unwrap().line().to_vec()).unwrap()
}

#[test]
fn what_was_adopted_is_as_it_was_and_what_was_created_stays() {
    on_both(|host| {
        let mut owned = Ownership::default();
        converge(host, &team(), &mut owned);
        let (before, _) = look(host, &team(), &owned);
        assert!(line(&before.shadow, "eve").starts_with("eve:*:"));
        let group = String::from_utf8(before.group.text().to_vec()).unwrap();
        assert!(members(&group, "sudo").is_empty());
        assert!(members(&group, "docker").contains("eve"));

        let (planned, applied) = leave(host, &team(), &mut owned, Created::Stay);
        assert_eq!(by_word(&applied)["account-given-back"], 1, "{:#?}", applied.outcomes);
        assert_eq!(planned.stays, [(login("ana"), "stays as it is")]);
        let (after, _) = look(host, &Desired::default(), &Ownership::default());
        let whose = |text: &str| text.lines().find(|l| l.starts_with("eve:")).unwrap().to_owned();
        assert_eq!(line(&after.passwd, "eve"), whose(PASSWD));
        assert_eq!(line(&after.shadow, "eve"), whose(SHADOW));
        for (table, text) in [(&after.group, GROUP), (after.gshadow.as_ref().unwrap(), GSHADOW)] {
            let after = String::from_utf8(table.text().to_vec()).unwrap();
            for name in ["sudo", "docker"] {
                assert_eq!(members(&after, name), members(text, name), "{name}");
            }
            assert_eq!(members(&after, "muster-accounts"), ["ana".to_owned()].into());
        }
        assert_eq!(line(&after.shadow, "ana"), line(&before.shadow, "ana"));
        assert!(after.keys.contains_key("ana") && !after.keys.contains_key("eve"));
        let sudo = &after.sudo.as_ref().unwrap()["50-muster-ops"].text;
        let sudo = String::from_utf8(sudo.clone()).unwrap();
        assert!(sudo.contains("\nana ALL") && !sudo.contains("\neve ALL"), "{sudo}");
        assert_eq!(owned.accounts.keys().collect::<Vec<_>>(), [&login("ana")]);
    });
}

#[test]
fn leaving_puts_nobody_into_a_line_where_he_was_not() {
    need_root();
    let root = Root::new();
    // In the second line of a Unix group, and in group alone.
    let unix_groups = GROUP.replace("sudo:x:27:eve", "sudo:x:27:bin\nsudo:x:27:eve");
    let gshadow = GSHADOW.replace("sudo:*::eve", "sudo:*::bin");
    root.write("etc/group", 0o644, &unix_groups);
    root.write("etc/gshadow", 0o640, &gshadow);
    let mut owned = Ownership::default();
    converge(&mut root.host(), &alone(), &mut owned);
    let (_, applied) = leave(&mut root.host(), &alone(), &mut owned, Created::Stay);
    assert_eq!(by_word(&applied)["account-given-back"], 1, "{:#?}", applied.outcomes);
    for (file, was) in [("etc/group", unix_groups), ("etc/gshadow", gshadow)] {
        assert_eq!(root.read(file), was, "{file}");
    }
}

#[test]
fn with_the_last_account_goes_what_let_musters_accounts_in() {
    need_root();
    for (desired, created, stays) in [
        (team(), Created::Stay, true),
        (team(), Created::Lock, true),
        (alone(), Created::Stay, false),
    ] {
        let root = Root::new();
        let mut owned = Ownership::default();
        converge(&mut root.host(), &desired, &mut owned);
        assert!(root.path(DROP_IN).exists());
        for _ in 0..2 {
            let (_, applied) = leave(&mut root.host(), &desired, &mut owned, created);
            assert_eq!(applied.convergence, Convergence::Done, "{:#?}", applied.outcomes);
            assert_eq!(root.path(DROP_IN).exists(), stays);
            for file in ["etc/group", "etc/gshadow"] {
                assert_eq!(root.read(file).contains("muster-accounts:"), stays, "{file}");
            }
        }
    }
}

#[test]
fn with_lock_what_was_created_is_locked_and_what_was_adopted_is_not() {
    on_both(|host| {
        let mut owned = Ownership::default();
        converge(host, &team(), &mut owned);
        let (planned, applied) = leave(host, &team(), &mut owned, Created::Lock);
        assert_eq!(planned.stays, [(login("ana"), "locked")]);
        let words = by_word(&applied);
        assert_eq!((words["account-locked"], words["account-given-back"]), (1, 1));
        let (after, _) = look(host, &Desired::default(), &Ownership::default());
        assert!(line(&after.shadow, "ana").starts_with("ana:!"));
        assert!(line(&after.shadow, "eve").starts_with("eve:$6$"));
        assert!(after.keys.is_empty() && after.sudo.as_ref().unwrap().is_empty());
    });
}

#[test]
fn leaving_gives_nobody_back_whose_access_has_ended() {
    on_both(|host| {
        let mut owned = Ownership::default();
        converge(host, &team(), &mut owned);
        let alone = Desired::default().user("ana", 2_001);
        converge(host, &alone, &mut owned);
        let (planned, _) = leave(host, &alone, &mut owned, Created::Stay);
        let how = "stays locked: its access has ended";
        assert!(planned.stays.contains(&(login("eve"), how)), "{:?}", planned.stays);
        let (after, _) = look(host, &Desired::default(), &Ownership::default());
        assert!(line(&after.shadow, "eve").starts_with("eve:!"));
        assert!(owned.accounts.contains_key(&login("eve")));
    });
}

#[test]
fn what_cannot_be_given_back_stays_musters_and_is_told() {
    need_root();
    let root = Root::new();
    let mut owned = Ownership::default();
    converge(&mut root.host(), &team(), &mut owned);
    let passwd = root.read("etc/passwd").replace("eve:x:1500:", "eve:x:1501:");
    root.write("etc/passwd", 0o644, &passwd);
    let (planned, _) = leave(&mut root.host(), &team(), &mut owned, Created::Stay);
    assert!(findings(&planned.plan).contains(&("conflict", "eve")));
    assert!(owned.accounts.contains_key(&login("eve")));
    assert_eq!(root.read("etc/passwd"), passwd);
}

/// Stops at one point of leaving, and leaves again; says whether the point was reached.
fn stop_at(point: usize, desired: &Desired) -> bool {
    let root = Root::new();
    let mut owned = Ownership::default();
    converge(&mut root.host(), desired, &mut owned);
    let passed = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&passed);
    let faults = Faults::at(move |_| counter.fetch_add(1, Ordering::Relaxed) == point);
    // Nothing of what came of it is saved.
    let _ = leave(&mut root.host_with(faults), desired, &mut owned.clone(), Created::Stay);
    let (planned, applied) = leave(&mut root.host(), desired, &mut owned, Created::Stay);
    assert_eq!(applied.convergence, Convergence::Done, "at {point}: {:#?}", applied.outcomes);
    for (file, text) in [("etc/passwd", PASSWD), ("etc/shadow", SHADOW)] {
        let after = root.read(file);
        let own = text.lines().filter(|line| line.starts_with("eve:"));
        assert!(own.into_iter().all(|line| after.contains(line)), "{file} at {point}");
    }
    assert_eq!(members(&root.read("etc/group"), "sudo"), members(GROUP, "sudo"), "at {point}");
    if planned.stays.is_empty() {
        assert_eq!(root.read("etc/passwd"), PASSWD, "at {point}");
        assert!(!root.read("etc/group").contains("muster-accounts"), "at {point}");
        assert!(!root.path(DROP_IN).exists(), "at {point}");
    }
    assert_eq!(root.leftovers(), Vec::<String>::new(), "at {point}");
    passed.load(Ordering::Relaxed) > point
}

#[test]
fn a_stop_anywhere_while_leaving_is_made_up_for_by_leaving_again() {
    need_root();
    for desired in [team(), alone()] {
        let reached = (0..500).take_while(|point| stop_at(*point, &desired)).count();
        assert!(reached > 10, "{reached}");
    }
}

#[test]
fn a_damaged_ledger_is_given_up_only_when_root_says_so() {
    let folder = tempfile::tempdir().unwrap();
    let known = |memory| known(folder.path(), Digest::new([1; 32]), memory);
    assert!(matches!(known(Memory::Keep), Ok(Known::Nothing)));
    state::replace(&folder.path().join("ledger"), &[0xff; 4], 0o600).unwrap();
    assert!(matches!(known(Memory::Keep), Err(JoinError::Ledger(_))));
    assert!(matches!(known(Memory::Reset), Ok(Known::Nothing)));
}

#[test]
fn that_a_host_has_left_is_known_until_it_has_joined_again() {
    let folder = tempfile::tempdir().unwrap();
    assert!(!left::has_left(folder.path()).unwrap());
    for _ in 0..2 {
        left::mark(folder.path()).unwrap();
        assert!(left::has_left(folder.path()).unwrap());
    }
    for _ in 0..2 {
        left::unmark(folder.path()).unwrap();
        assert!(!left::has_left(folder.path()).unwrap());
    }
}

#[test]
fn how_long_passwords_have_to_be_goes_with_the_accounts_that_asked_for_it() {
    need_root();
    let ours = "etc/security/pwquality.conf.d/50-muster.conf";
    for (who, created, stays) in
        [("eve", Created::Stay, false), ("ana", Created::Stay, true), ("ana", Created::Lock, false)]
    {
        let root = Root::new();
        let (mut host, mut owned) = (root.host(), Ownership::default());
        let team = team().password(who, 14);
        converge(&mut host, &team, &mut owned);
        assert!(root.path(ours).exists());
        let (_, applied) = leave(&mut host, &team, &mut owned, created);
        assert_eq!(applied.convergence, Convergence::Done, "{:#?}", applied.outcomes);
        assert_eq!(root.path(ours).exists(), stays, "{who} {created:?}");
    }
}
