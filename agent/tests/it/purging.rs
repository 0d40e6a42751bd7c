//! Accounts that have been locked for as long as the host says: they go, once, and nothing else does.

use std::{
    collections::BTreeSet,
    fs,
    os::unix::fs::chown,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use muster_agent::{
    apply::{Applied, Reach, apply},
    format::Table,
    host::{Host, files::Faults},
    observed::Scope,
    ownership::Ownership,
    plan::{Plan, plan},
    policy::HostPolicy,
};
use muster_proto::name::Uid;

use crate::world::{
    Desired, GROUP, GSHADOW, NOW, PASSWD, Root, SHADOW, converge, findings, login, need_root,
    policy,
};

const DAY: u64 = 86_400;

fn ana() -> Desired {
    Desired::default().user("ana", 2_001).host_unix_group("docker", "ana")
}

/// Looks as long after the lock, with a retention of thirty days.
fn planned_after(host: &mut dyn Host, owned: &Ownership, seconds: u64) -> Plan {
    let policy = HostPolicy { purge_after_days: Some(30), ..policy() };
    let nobody = Desired::default();
    let observed = host.observe(&Scope::of(&nobody.0, owned, &policy)).unwrap();
    plan(&observed, &nobody.0, owned, &policy, NOW.plus(seconds))
}

fn done(host: &mut dyn Host, plan: &Plan, owned: &mut Ownership) -> Applied {
    let applied = apply(plan, Reach::Everything, owned, host);
    *owned = applied.ownership.clone();
    applied
}

/// A host on which ana was and is locked.
fn locked() -> (Root, Ownership) {
    need_root();
    let root = Root::new();
    let mut owned = Ownership::default();
    converge(&mut root.host(), &ana(), &mut owned);
    fs::create_dir_all(root.path("var/mail")).unwrap();
    root.write("var/mail/ana", 0o600, "hello");
    chown(root.path("var/mail/ana"), Some(2_001), None).unwrap();
    converge(&mut root.host(), &Desired::default(), &mut owned);
    (root, owned)
}

fn words(plan: &Plan) -> Vec<&'static str> {
    plan.actions.iter().flat_map(|planned| &planned.notes).map(|note| note.word).collect()
}

#[test]
fn a_locked_account_goes_when_its_days_are_over_and_not_before() {
    let (root, mut owned) = locked();
    let mut host = root.host();
    assert_eq!(words(&planned_after(&mut host, &owned, 30 * DAY - 1)), [""; 0]);
    let plan = planned_after(&mut host, &owned, 30 * DAY);
    assert_eq!(words(&plan), ["account-purged"]);
    let applied = done(&mut host, &plan, &mut owned);
    let outcome = &applied.outcomes[0];
    assert_eq!(outcome.detail, "uid 2001, mail removed, home set aside to be removed");
    assert_eq!(outcome.failure, None);

    assert!(owned.accounts.is_empty());
    let marker = "muster-accounts";
    let without = |name: &str| {
        let text = root.read(name);
        let kept = text.lines().filter(|line| !line.starts_with(marker));
        kept.fold(String::new(), |all, line| all + line + "\n")
    };
    let files = [("passwd", PASSWD), ("shadow", SHADOW), ("group", GROUP), ("gshadow", GSHADOW)];
    for (name, before) in files {
        assert_eq!(without(&format!("etc/{name}")), before, "{name}");
    }
    assert!(!root.read("etc/group").contains("ana"));
    assert!(!root.path("home/ana").exists() && !root.path("var/mail/ana").exists());
    assert_eq!(fs::read_dir(root.path("home/.muster-purge")).unwrap().count(), 0);
    assert!(root.path("home/eve").exists());
    let plan = planned_after(&mut host, &owned, 31 * DAY);
    assert!(plan.is_empty() && plan.findings.is_empty(), "{plan:#?}");
}

#[test]
fn an_adopted_account_is_never_purged_and_without_a_retention_none_is() {
    need_root();
    let root = Root::new();
    let mut host = root.host();
    let mut owned = Ownership::default();
    let eve = Desired::default().user("eve", 2_001);
    let eve = eve.change("eve", |eve| eve.adopts = Some(Uid::parse(1_500).unwrap()));
    converge(&mut host, &eve, &mut owned);
    converge(&mut host, &Desired::default(), &mut owned);
    assert!(owned.accounts[&login("eve")].locked_at.is_some());
    assert_eq!(words(&planned_after(&mut host, &owned, 99_999 * DAY)), [""; 0]);

    let (root, owned) = locked();
    let nobody = Desired::default();
    let observed = root.host().observe(&Scope::of(&nobody.0, &owned, &policy())).unwrap();
    let plan = plan(&observed, &nobody.0, &owned, &policy(), NOW.plus(99_999 * DAY));
    assert!(plan.is_empty(), "{plan:#?}");
}

#[test]
fn an_account_stays_whose_uid_another_has_or_who_has_something_running() {
    let (root, owned) = locked();
    let mut host = root.host();
    let passwd = root.read("etc/passwd");
    root.write("etc/passwd", 0o644, &format!("{passwd}too:x:2001:2001::/home/too:/bin/sh\n"));
    let plan = planned_after(&mut host, &owned, 31 * DAY);
    assert_eq!(words(&plan), [""; 0]);
    assert!(findings(&plan).contains(&("uid-shared", "ana")));
    root.write("etc/passwd", 0o644, &passwd);

    // Above the largest number that a process can have; it comes after the plan was made.
    let due = planned_after(&mut host, &owned, 31 * DAY);
    assert_eq!(words(&due), ["account-purged"]);
    fs::create_dir(root.path("proc/4194901")).unwrap();
    let status = "State:\tS (sleeping)\nUid:\t2001\t2001\t2001\t2001\n";
    root.write("proc/4194901/status", 0o444, status);
    let mut after = owned.clone();
    let applied = done(&mut host, &due, &mut after);
    assert_eq!(applied.outcomes[0].failure.as_deref(), Some("processes of it run"));
    assert_eq!(after.accounts, owned.accounts);
    assert_eq!(root.read("etc/passwd"), passwd);
    assert_eq!(words(&planned_after(&mut host, &owned, 31 * DAY)), ["sessions-ended"]);
}

#[test]
fn a_home_that_is_somebody_elses_or_holds_another_one_stays() {
    let (root, owned) = locked();
    chown(root.path("home/ana"), Some(1_500), None).unwrap();
    let mut host = root.host();
    let plan = planned_after(&mut host, &owned, 31 * DAY);
    let applied = done(&mut host, &plan, &mut owned.clone());
    assert!(applied.outcomes[0].detail.ends_with("home left, since it is not its own"));
    assert!(root.path("home/ana").exists());

    let (root, owned) = locked();
    let passwd = root.read("etc/passwd").replace("/home/eve", "/home/ana/eve");
    root.write("etc/passwd", 0o644, &passwd);
    let mut host = root.host();
    let plan = planned_after(&mut host, &owned, 31 * DAY);
    let applied = done(&mut host, &plan, &mut owned.clone());
    assert!(applied.outcomes[0].detail.ends_with("home left where it is"));
    assert!(root.path("home/ana").exists());
}

/// Stops a purge at one point; says whether the point was reached.
fn stop_at(point: usize) -> bool {
    let (root, mut owned) = locked();
    let passed = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&passed);
    let faults = Faults::at(move |_| counter.fetch_add(1, Ordering::Relaxed) == point);
    {
        let mut host = root.host_with(faults);
        let plan = planned_after(&mut host, &owned, 31 * DAY);
        // What apply returns is lost in the crash.
        apply(&plan, Reach::Everything, &owned, &mut host);
    }
    let table = |name: &str| Table::parse(root.read(name).into_bytes()).unwrap();
    let (passwd, shadow) = (table("etc/passwd"), table("etc/shadow"));
    if passwd.get("ana").is_some()
        && let Some(line) = shadow.get("ana")
    {
        assert!(line.field(1).starts_with(b"!"), "at {point}");
    }
    let mut host = root.host();
    for _ in 0..4 {
        let plan = planned_after(&mut host, &owned, 31 * DAY);
        done(&mut host, &plan, &mut owned);
    }
    let names = |text: String| -> BTreeSet<String> {
        text.lines().filter_map(|line| line.split(':').next()).map(str::to_owned).collect()
    };
    assert_eq!(names(root.read("etc/passwd")), names(PASSWD.to_owned()), "at {point}");
    assert_eq!(names(root.read("etc/shadow")), names(SHADOW.to_owned()), "at {point}");
    assert!(!root.read("etc/group").contains("ana"), "at {point}");
    assert!(owned.accounts.is_empty(), "at {point}: {owned:?}");
    assert!(!root.path("home/ana").exists(), "at {point}");
    assert_eq!(fs::read_dir(root.path("home/.muster-purge")).unwrap().count(), 0, "at {point}");
    passed.load(Ordering::Relaxed) > point
}

#[test]
fn a_stop_anywhere_while_purging_is_finished_by_the_next_start() {
    let reached = (0..500).take_while(|point| stop_at(*point)).count();
    assert!(reached > 30, "{reached}");
}
