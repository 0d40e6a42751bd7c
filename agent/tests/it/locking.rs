//! What a lock takes besides sudo, keys and the password, and what it says of what it could not.
#![expect(clippy::disallowed_methods, reason = "a test lays out its root")]

use std::{
    fs,
    os::unix::fs::{PermissionsExt, chown},
};

use muster_agent::{host::Host, ownership::Ownership, plan::Action};
use muster_proto::receipt::{Convergence, Outcome};

use crate::world::{Desired, NOW, Root, converge, login, look, need_root};

fn ana() -> Desired {
    Desired::default().user("ana", 2_001)
}

fn assert_settled(host: &mut dyn Host, desired: &Desired, owned: &Ownership) {
    let (_, plan) = look(host, desired, owned);
    assert!(plan.is_empty(), "{:#?}", plan.actions);
}

fn ended(outcomes: &[Outcome]) -> &Outcome {
    outcomes.iter().find(|outcome| outcome.action == "sessions-ended").unwrap()
}

#[test]
fn sudo_forgets_the_password_of_whoever_is_locked_and_of_nobody_else() {
    need_root();
    let root = Root::new();
    let mut owned = Ownership::default();
    let mut host = root.host();
    let desired = ana();
    converge(&mut host, &desired, &mut owned);
    let (theirs, others) = (
        ["run/sudo/ts/ana", "run/sudo/ts/2001", "var/lib/sudo/ts/ana"],
        ["run/sudo/ts/eve", "run/sudo/ts/20010", "var/db/sudo/ts/ana"],
    );
    for name in theirs.iter().chain(&others) {
        fs::create_dir_all(root.path(name).parent().unwrap()).unwrap();
        root.write(name, 0o600, "");
    }
    // sudo itself believes nothing in a directory that another can write into.
    fs::set_permissions(root.path("var/db/sudo/ts"), fs::Permissions::from_mode(0o777)).unwrap();
    assert_settled(&mut host, &desired, &owned);

    converge(&mut host, &Desired::default(), &mut owned);
    assert!(theirs.iter().all(|name| !root.path(name).exists()));
    assert!(others.iter().all(|name| root.path(name).exists()));
    assert_settled(&mut host, &Desired::default(), &owned);
}

#[test]
fn what_a_lock_leaves_is_a_failure_and_tried_again() {
    need_root();
    let root = Root::new();
    let mut owned = Ownership::default();
    let mut host = root.host();
    converge(&mut host, &ana(), &mut owned);
    root.write("var/spool/cron/crontabs/ana", 0o600, "* * * * * true\n");
    let aside = root.path("var/spool/cron/crontabs/.muster-set-aside");
    fs::create_dir(&aside).unwrap();
    fs::set_permissions(&aside, fs::Permissions::from_mode(0o777)).unwrap();
    let nobody = Desired::default();

    let (_, applied) = converge(&mut host, &nobody, &mut owned);
    let found = ended(&applied.outcomes);
    assert_eq!(found.failure.as_deref(), Some("left: a crontab"));
    assert_eq!(applied.convergence, Convergence::Retrying);
    fs::set_permissions(&aside, fs::Permissions::from_mode(0o700)).unwrap();
    let (_, applied) = converge(&mut host, &nobody, &mut owned);
    let found = ended(&applied.outcomes);
    assert_eq!(found.failure, None);
    assert!(
        found.detail.starts_with("processes 0, left 0; empty control group, no job"),
        "{found:?}"
    );
    assert_settled(&mut host, &nobody, &owned);
}

#[test]
fn what_runs_in_a_user_namespace_of_a_leavers_numbers_is_seen_as_his() {
    need_root();
    let root = Root::new();
    let mut owned = Ownership::default();
    let mut host = root.host();
    let desired = ana();
    root.write("etc/subuid", 0o644, "ana:100000:65536\neve:165536:65536\n");
    converge(&mut host, &desired, &mut owned);
    let container = |pid: &str, uid: u32| {
        let place = root.path("proc").join(pid);
        fs::create_dir_all(&place).unwrap();
        let status = format!("State:\tS (sleeping)\nUid:\t{uid}\t{uid}\t{uid}\t{uid}\n");
        fs::write(place.join("status"), status).unwrap();
        fs::write(place.join("uid_map"), "0 100000 65536\n").unwrap();
    };
    // Above the largest number that a process can have.
    container("4194901", 100_000);
    container("4194902", 165_535);
    container("4194903", 165_536);
    let (observed, plan) = look(&mut host, &Desired::default(), &owned);
    assert_eq!(observed.running[&2_001].processes, 2);
    let leavers = plan.actions.iter().find_map(|planned| match &planned.action {
        Action::Sessions(leavers) => Some(leavers),
        _ => None,
    });
    assert_eq!(leavers.unwrap()[0].subuids, [100_000..=165_535]);
}

#[test]
fn what_is_left_behind_is_told_once_for_each_lock() {
    need_root();
    let root = Root::new();
    let mut owned = Ownership::default();
    let mut host = root.host();
    root.write("etc/subuid", 0o644, "ana:100000:65536\n");
    converge(&mut host, &ana(), &mut owned);
    root.write("var/spool/cron/crontabs/ana", 0o600, "* * * * * true\n");
    for name in ["var/mail/ana", "tmp/hers", "dev/shm/hers", "dev/shm/too", "dev/shm/others"] {
        fs::create_dir_all(root.path(name).parent().unwrap()).unwrap();
        root.write(name, 0o600, "hello");
        let whose = if name.ends_with("others") { 2_002 } else { 2_001 };
        chown(root.path(name), Some(whose), None).unwrap();
    }
    fs::create_dir(root.path("proc/sysvipc")).unwrap();
    root.write("proc/sysvipc/shm", 0o444, "key shmid uid gid\n 0 1 2001 2001\n 0 2 20 2001\n");
    // As a unit with PrivateTmp= has it.
    let own = format!("proc/{}", std::process::id());
    fs::create_dir(root.path(&own)).unwrap();
    let mounts = "9 1 0:1 / / rw\n10 9 0:1 /var/tmp/systemd-private-1-keeper/tmp /var/tmp rw\n";
    root.write(&format!("{own}/mountinfo"), 0o444, mounts);

    let (_, applied) = converge(&mut host, &Desired::default(), &mut owned);
    let of = |outcomes: &[Outcome]| {
        let told = outcomes.iter().filter(|outcome| outcome.action == "left-behind");
        told.map(|outcome| outcome.detail.clone()).collect::<Vec<_>>()
    };
    assert_eq!(
        of(&applied.outcomes),
        [
            "home /home/ana, mail /var/mail/ana (5 bytes), 1 job set aside, 1 in /tmp, 2 in /dev/shm, \
         1 piece of shared memory, subuid 100000-165535, /var/tmp unseen"
        ]
    );
    assert_eq!(owned.accounts[&login("ana")].locked_at, Some(NOW));
    assert_settled(&mut host, &Desired::default(), &owned);

    // Whoever comes back and is locked again leaves something else behind.
    converge(&mut host, &ana(), &mut owned);
    assert_eq!(owned.accounts[&login("ana")].locked_at, None);
    fs::remove_file(root.path("var/mail/ana")).unwrap();
    let (_, applied) = converge(&mut host, &Desired::default(), &mut owned);
    assert!(of(&applied.outcomes)[0].starts_with("home /home/ana, 1 job set aside"), "{applied:?}");
}
