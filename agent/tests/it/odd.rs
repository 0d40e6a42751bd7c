//! Hosts on which something is not as it should be: it is said, and the rest is done.

use std::{fs, os::unix::fs::PermissionsExt};

use muster_agent::{
    apply::{Reach, apply},
    host::{Host, files::Faults},
    observed::Scope,
    ownership::Ownership,
    plan::plan,
    policy::AccountName,
};
use muster_proto::{desired::Account, name::Uid, receipt::Convergence, statement::LoginMethod};

use crate::world::{
    Desired, NOW, PASSWD, Root, SHADOW, by_word, converge, findings, look, need_root, policy,
};

fn ana() -> Desired {
    Desired::default().user("ana", 2_001)
}

#[test]
fn an_account_that_lost_its_passwd_line_is_reported_and_what_else_it_had_is_taken() {
    need_root();
    let root = Root::new();
    let mut owned = Ownership::default();
    let mut host = root.host();
    let desired = ana().sudo("ops", "/usr/bin/id", &["ana"]);
    converge(&mut host, &desired, &mut owned);
    let passwd = root.read("etc/passwd");
    let kept: Vec<&str> = passwd.lines().filter(|line| !line.starts_with("ana:")).collect();
    root.write("etc/passwd", 0o644, &(kept.join("\n") + "\n"));

    let (plan, applied) = converge(&mut host, &Desired::default(), &mut owned);
    assert!(findings(&plan).contains(&("account-missing", "ana")), "{:?}", plan.findings);
    let done = by_word(&applied);
    assert!(done.contains_key("keys-removed") && done.contains_key("sudo-removed"), "{done:?}");
    assert!(root.read("etc/shadow").lines().any(|line| line.starts_with("ana:!")));
    let (_, plan) = look(&mut host, &Desired::default(), &owned);
    assert!(plan.is_empty(), "{:?}", plan.actions);
}

#[test]
fn a_place_of_jobs_that_is_a_link_is_said_when_somebody_leaves() {
    need_root();
    let root = Root::new();
    let mut owned = Ownership::default();
    let mut host = root.host();
    fs::remove_dir(root.path("var/spool/cron/atjobs")).unwrap();
    std::os::unix::fs::symlink("/tmp", root.path("var/spool/cron/atjobs")).unwrap();
    let (plan, _) = converge(&mut host, &ana(), &mut owned);
    assert_eq!(findings(&plan), [].into());
    let (plan, _) = converge(&mut host, &Desired::default(), &mut owned);
    assert_eq!(findings(&plan), [("jobs-unseen", "/var/spool/cron/atjobs")].into());
}

#[test]
fn an_account_that_the_host_protects_and_does_not_have_is_said() {
    need_root();
    let root = Root::new();
    let (observed, _) = look(&mut root.host(), &Desired::default(), &Ownership::default());
    let mut policy = policy();
    policy.protected = ["bin", "oracle"].map(|name| AccountName::parse(name).unwrap()).into();
    let plan = plan(&observed, &Desired::default().0, &Ownership::default(), &policy, NOW);
    assert_eq!(findings(&plan), [("protected-missing", "oracle")].into());
}

#[test]
fn an_account_that_stands_in_a_file_twice_is_not_adopted() {
    need_root();
    for (file, text) in [("passwd", PASSWD), ("shadow", SHADOW)] {
        let root = Root::new();
        let own = text.lines().find(|line| line.starts_with("eve:")).unwrap();
        let twice = text.replace(own, &format!("{own}\n{own}"));
        let path = format!("etc/{file}");
        root.write(&path, 0o640, &twice);
        let uid = Uid::parse(1_500).unwrap();
        let desired = ana().user("eve", 2_002).change("eve", |eve| eve.adopts = Some(uid));
        let (plan, applied) = converge(&mut root.host(), &desired, &mut Ownership::default());
        let told = plan.findings.iter().find(|found| found.subject == "eve").unwrap();
        assert_eq!(told.detail, format!("{file} has several lines for it: leave one"));
        assert_eq!(by_word(&applied)["account-created"], 1);
        let kept = |line: &&str| !line.starts_with("ana:");
        let after = root.read(&path);
        assert_eq!(
            after.lines().filter(kept).collect::<Vec<_>>(),
            twice.lines().collect::<Vec<_>>()
        );
    }
}

#[test]
fn an_account_of_musters_that_the_host_protects_by_now_keeps_what_it_has() {
    need_root();
    let root = Root::new();
    let (mut host, mut owned) = (root.host(), Ownership::default());
    let by_password = |ben: &mut Account| ben.methods.extend([LoginMethod::Password]);
    let with = || ana().user("ben", 2_002).change("ben", by_password);
    let both = |ben: &str| with().sudo("ops", "/usr/bin/id", &["ana", ben]);
    converge(&mut host, &both("ben"), &mut owned);
    let own = |file: &str| -> Vec<String> {
        let text = root.read(file);
        text.lines().filter(|line| line.starts_with("ben")).map(str::to_owned).collect()
    };
    let files = ["etc/passwd", "etc/shadow", "etc/group", "etc/sudoers.d/50-muster-ops"];
    let (before, keys) = (files.map(own), root.read("etc/ssh/muster-keys/ben"));
    assert!(before.iter().all(|lines| lines.len() == 1), "{before:?}");

    // Still desired, changed, gone with everybody: whatever is signed, nothing of it is touched.
    let mut protecting = policy();
    protecting.break_glass = [AccountName::parse("ben").unwrap()].into();
    let nobody = Desired::default();
    for (desired, ana_is_there) in [(both("ben"), true), (both("ana"), true), (nobody, false)] {
        for _ in 0..2 {
            let scope = Scope::of(&desired.0, &owned, &protecting);
            let observed = host.observe(&scope).unwrap();
            let plan = plan(&observed, &desired.0, &owned, &protecting, NOW);
            assert!(findings(&plan).contains(&("protected", "ben")), "{:?}", plan.findings);
            let applied = apply(&plan, Reach::Everything, &owned, &mut host);
            assert_eq!(applied.convergence, Convergence::Done, "{:#?}", applied.outcomes);
            owned = applied.ownership;
        }
        assert_eq!(
            (files.map(own), root.read("etc/ssh/muster-keys/ben")),
            (before.clone(), keys.clone())
        );
        let sudo = root.read("etc/sudoers.d/50-muster-ops");
        assert_eq!(sudo.contains("\nana ALL"), ana_is_there, "{sudo}");
        assert_eq!(root.path("etc/ssh/muster-keys/ana").exists(), ana_is_there);
        let sshd = root.read("etc/ssh/sshd_config.d/00-muster.conf");
        assert!(sshd.contains("User ben\n    PasswordAuthentication yes"), "{sshd}");
    }
    let scope = Scope::of(&Desired::default().0, &owned, &protecting);
    let observed = host.observe(&scope).unwrap();
    assert!(plan(&observed, &Desired::default().0, &owned, &protecting, NOW).is_empty());
}

#[test]
fn a_home_that_cannot_be_built_says_why() {
    need_root();
    let root = Root::new();
    fs::remove_dir_all(root.path("etc/skel")).unwrap();
    root.write("etc/skel", 0o644, "no directory");
    let mut owned = Ownership::default();
    let (_, applied) = converge(&mut root.host(), &ana(), &mut owned);
    let failures: Vec<&str> =
        applied.outcomes.iter().filter_map(|outcome| outcome.failure.as_deref()).collect();
    assert!(failures.iter().any(|reason| reason.contains("etc/skel")), "{failures:?}");
}

#[test]
fn a_skeleton_that_is_too_deep_is_said_and_one_at_the_bound_is_copied_whole() {
    need_root();
    let root = Root::new();
    let depth = |depth: usize| vec!["d"; depth].join("/");
    fs::create_dir_all(root.path(&format!("etc/skel/{}", depth(16)))).unwrap();
    let mut owned = Ownership::default();
    converge(&mut root.host(), &ana(), &mut owned);
    assert!(root.path(&format!("home/ana/{}", depth(16))).is_dir());

    fs::create_dir(root.path(&format!("etc/skel/{}", depth(17)))).unwrap();
    let (_, applied) = converge(&mut root.host(), &ana().user("ben", 2_002), &mut owned);
    let failures: Vec<&str> =
        applied.outcomes.iter().filter_map(|outcome| outcome.failure.as_deref()).collect();
    assert!(failures.iter().any(|reason| reason.contains("16 directories")), "{failures:?}");
    assert!(!root.path("home/ben").exists());
}

#[test]
fn an_account_file_that_somebody_replaces_meanwhile_is_not_overwritten() {
    need_root();
    let root = Root::new();
    // Whenever a new file is begun, somebody without a lock puts another one in gshadow's place.
    let (other, gshadow) = (root.path("etc/other"), root.path("etc/gshadow"));
    let faults = Faults::at(move |point| {
        if point == "create" {
            fs::copy(&gshadow, &other).unwrap();
            fs::set_permissions(&other, fs::Permissions::from_mode(0o640)).unwrap();
            fs::rename(&other, &gshadow).unwrap();
        }
        false
    });
    let mut owned = Ownership::default();
    let (_, applied) = converge(&mut root.host_with(faults), &ana(), &mut owned);
    let failures: Vec<&str> =
        applied.outcomes.iter().filter_map(|outcome| outcome.failure.as_deref()).collect();
    let told = "`/etc/gshadow` was changed by somebody else while its successor was written";
    assert!(failures.contains(&told), "{failures:?}");
    assert!(applied.outrun, "another look is worth while");
    assert_eq!(root.read("etc/passwd"), PASSWD);
    assert_eq!(root.leftovers(), [""; 0]);

    converge(&mut root.host(), &ana(), &mut owned);
    assert!(root.read("etc/passwd").contains("\nana:x:2001:"));
}

#[test]
fn a_number_that_a_local_user_may_run_as_is_given_to_nobody() {
    need_root();
    let root = Root::new();
    root.write("etc/subuid", 0o644, "eve:2001:2\n");
    root.write("etc/subgid", 0o644, "eve:2003:1\n");
    let desired = (2_000..=2_004).fold(Desired::default(), |d, n| d.user(&format!("u{n}"), n));
    let (plan, applied) = converge(&mut root.host(), &desired, &mut Ownership::default());
    let refused = [("conflict", "u2001"), ("conflict", "u2002"), ("conflict", "u2003")];
    assert_eq!(findings(&plan), refused.into());
    assert_eq!(by_word(&applied)["account-created"], 2);
}
