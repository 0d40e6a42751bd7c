//! How long new passwords have to be: our drop-in says what the strictest role asks for, nothing of
//! others is made weaker, and what the host does not make sure of is told.

use muster_agent::{format::pwquality::Check, host::Host, ownership::Ownership};
use muster_proto::receipt::Convergence;

use crate::{
    fake::Fake,
    world::{Desired, Root, by_word, converge, findings, look, need_root},
};

const OURS: &str = "etc/security/pwquality.conf.d/50-muster.conf";
const UNMET: &str = "password-policy-unmet";

fn two() -> Desired {
    let both = Desired::default().user("ana", 2_001).user("ben", 2_002);
    both.password("ana", 12).password("ben", 14)
}

/// Goes to a state and asserts that it is settled then; returns who is told of.
fn settle(host: &mut dyn Host, desired: &Desired, owned: &mut Ownership) -> Vec<String> {
    let (_, applied) = converge(host, desired, owned);
    assert_eq!(applied.convergence, Convergence::Done, "{:#?}", applied.outcomes);
    let (_, plan) = look(host, desired, owned);
    assert!(plan.is_empty(), "{:#?}", plan.actions);
    assert!(findings(&plan).iter().all(|(kind, _)| *kind == UNMET), "{:#?}", plan.findings);
    plan.findings.into_iter().map(|found| found.subject).collect()
}

fn ours(root: &Root) -> Option<String> {
    root.path(OURS).exists().then(|| root.read(OURS).lines().last().unwrap().to_owned())
}

#[test]
fn the_strictest_role_counts_and_with_the_last_that_asks_the_drop_in_goes() {
    need_root();
    let root = Root::new();
    let (mut host, mut owned) = (root.host(), Ownership::default());
    let (_, applied) = converge(&mut host, &two(), &mut owned);
    assert_eq!(by_word(&applied)["password-policy-installed"], 1);
    assert_eq!(settle(&mut host, &two(), &mut owned), [""; 0]);
    assert_eq!(ours(&root).unwrap(), "minlen = 14");

    let one = Desired::default().user("ana", 2_001).password("ana", 12);
    assert_eq!(settle(&mut host, &one, &mut owned), [""; 0]);
    assert_eq!(ours(&root).unwrap(), "minlen = 12");

    let none = Desired::default().user("ana", 2_001);
    let (_, applied) = converge(&mut host, &none, &mut owned);
    assert_eq!(by_word(&applied)["password-policy-removed"], 1);
    assert_eq!(settle(&mut host, &none, &mut owned), [""; 0]);
    assert_eq!(ours(&root), None);
}

#[test]
fn a_drop_in_that_somebody_changed_is_made_right_again() {
    need_root();
    let root = Root::new();
    let (mut host, mut owned) = (root.host(), Ownership::default());
    settle(&mut host, &two(), &mut owned);
    for (mode, text) in [(0o644, "minlen = 6\n"), (0o666, "minlen = 14\n")] {
        root.write(OURS, mode, text);
        assert_eq!(settle(&mut host, &two(), &mut owned), [""; 0]);
        assert_eq!(ours(&root).unwrap(), "minlen = 14");
    }
}

#[test]
fn what_others_say_is_never_made_weaker_and_what_they_weaken_is_told() {
    need_root();
    let root = Root::new();
    let (mut host, mut owned) = (root.host(), Ownership::default());
    let site = "etc/security/pwquality.conf.d/10-site.conf";
    settle(&mut host, &two(), &mut owned);
    root.write(site, 0o644, "minlen = 20\n");
    assert_eq!(settle(&mut host, &two(), &mut owned), [""; 0]);
    assert_eq!(ours(&root), None);

    // Read after all drop-ins, it holds.
    root.write("etc/security/pwquality.conf", 0o644, "minlen = 13\n");
    assert_eq!(settle(&mut host, &two(), &mut owned), ["ben"]);
    assert_eq!(ours(&root), None);

    // What cannot be read is not trusted, and nothing is made weaker meanwhile.
    root.write("etc/security/pwquality.conf", 0o644, "");
    root.write(site, 0o644, "");
    assert_eq!(settle(&mut host, &two(), &mut owned), [""; 0]);
    root.write(site, 0o644, "nonsense = 1\n");
    assert_eq!(settle(&mut host, &two(), &mut owned), ["ana", "ben"]);
    assert_eq!(ours(&root).unwrap(), "minlen = 14");
}

#[test]
fn where_nothing_checks_new_passwords_each_who_should_have_it_is_told_and_the_rest_is_done() {
    need_root();
    let root = Root::new();
    let (mut host, mut owned) = (root.host(), Ownership::default());
    root.write("etc/pam.d/common-password", 0o644, "password required pam_unix.so minlen=12\n");
    let (plan, applied) = converge(&mut host, &two(), &mut owned);
    assert_eq!(findings(&plan), [(UNMET, "ben")].into());
    assert_eq!(by_word(&applied)["account-created"], 2);
    let detail = &plan.findings[0].detail;
    assert!(detail.contains("fewer than 14") && detail.contains("libpam-pwquality"), "{detail}");
    assert_eq!(ours(&root), None);
}

#[test]
fn a_service_that_is_missing_a_link_or_includes_itself_is_unclear() {
    need_root();
    for spoil in [
        |root: &Root| std::fs::remove_file(root.path("etc/pam.d/passwd")).unwrap(),
        |root: &Root| {
            std::fs::remove_file(root.path("etc/pam.d/passwd")).unwrap();
            let to = root.path("etc/pam.d/passwd");
            std::os::unix::fs::symlink("common-password", to).unwrap();
        },
        |root: &Root| root.write("etc/pam.d/common-password", 0o644, "@include passwd\n"),
    ] {
        let root = Root::new();
        spoil(&root);
        let (mut host, mut owned) = (root.host(), Ownership::default());
        let (observed, _) = look(&mut host, &two(), &owned);
        assert!(matches!(observed.password_check, Check::Unclear(_)), "{observed:?}");
        assert_eq!(settle(&mut host, &two(), &mut owned), ["ana", "ben"]);
    }
}

#[test]
fn a_host_on_which_nobody_has_looked_says_so() {
    let mut host = Fake::new();
    host.password_check = Check::Unseen;
    assert_eq!(settle(&mut host, &two(), &mut Ownership::default()), ["ana", "ben"]);
}
