use std::collections::BTreeSet;

use muster_proto::{
    drift::Culprit,
    name::Uid,
    sudo::{RunAs, RunAsUser, SudoCommand},
};

use super::*;
use crate::{
    drift::{Place, Touch},
    format::{
        Table,
        cvtsudoers::{explain, weigh::Person},
    },
    ownership::{Origin, OwnedAccount},
};

fn ana() -> Login {
    Login::parse("ana").unwrap()
}

/// How ana stands by this line of shadow, on day 20,000; locked by us unless she is to have an
/// account.
fn stands(shadow: &str, kind: UserKind) -> Option<Stands> {
    let observed = ObservedState {
        passwd: Table::parse(b"ana:x:10001:100::/home/ana:/bin/sh\n".to_vec()).unwrap(),
        shadow: Table::parse(format!("ana:{shadow}\n").into_bytes()).unwrap(),
        ..ObservedState::default()
    };
    let own = OwnedAccount {
        uid: Uid::parse(10_001).unwrap(),
        origin: Origin::Created,
        home: None,
        kind,
        mode: muster_proto::statement::UnixGroupMode::AtLeast,
        given: BTreeSet::new(),
        sessions_owed: false,
        locked_at: None,
    };
    let ownership = Ownership { accounts: [(ana(), own)].into(), ..Ownership::default() };
    let desired = DesiredState::default();
    let found = subjects(&desired, &observed, &ownership, None, 20_000);
    found.first().map(|subject| subject.stands)
}

#[test]
fn a_person_whom_we_locked_and_expired_stands_shut_and_a_service_identity_is_not_asked_about() {
    assert_eq!(stands("!*:19000:::::1:", UserKind::Person), Some(Stands::Shut));
    assert_eq!(stands("!*:19000::::::", UserKind::Person), None, "not expired yet");
    assert_eq!(stands("!*:19000:::::1:", UserKind::Service), None);
}

#[test]
fn an_account_stands_open_only_where_no_date_can_shut_it_tomorrow() {
    let open = |line: &str| {
        let table = Table::parse(format!("ana:{line}\n").into_bytes()).unwrap();
        is_open(table.get("ana").unwrap(), 20_000)
    };
    for line in [
        "*:19000::::::",
        "*:::::::",
        "*:19000:::::20002:",
        "*:19990:0:11::::",
        "*:19000:0:99999:7:::",
    ] {
        assert!(open(line), "{line}");
    }
    // Ended or about to, a password to be changed, and what is no number.
    for line in [
        "*:19000:::::20001:",
        "*:19000:::::1:",
        "*:0::::::",
        "*:19990:0:10::::",
        "*:x::::::",
        "*:19000:::::x:",
    ] {
        assert!(!open(line), "{line}");
    }
}

#[test]
fn pam_is_told_of_where_it_refuses_whom_we_let_in_and_the_other_way_round() {
    let told = |stands, verdict| match by_pam(&ana(), stands, verdict) {
        Heard::Otherwise(found) => {
            assert_eq!(found.what, What::new(DriftKind::EffectDiffers, "ana", "pam"));
            Some((found.severity, found.expected, found.found))
        }
        Heard::AsExpected => None,
        other => panic!("{other:?}"),
    };
    let words = |severity, expected: &str, found: &str| {
        Some((severity, expected.to_owned(), found.to_owned()))
    };
    assert_eq!(told(Stands::Open, Verdict::LetsIn), None);
    assert_eq!(told(Stands::Shut, Verdict::Refuses), None);
    let refuses = words(Severity::Medium, "lets in", "the account check of PAM refuses");
    assert_eq!(told(Stands::Open, Verdict::Refuses), refuses);
    let lets_in =
        words(Severity::High, "refuses, as it is locked", "the account check of PAM lets in");
    assert_eq!(told(Stands::Shut, Verdict::LetsIn), lets_in);
    for verdict in [Verdict::LetsIn, Verdict::Refuses] {
        assert_eq!(by_pam(&ana(), Stands::Between, verdict), Heard::Nothing);
    }
}

#[test]
fn that_everybody_is_refused_is_told_once_from_two_on_or_with_its_reason() {
    let (ana, bob) = (ana(), Login::parse("bob").unwrap());
    let (none, one, two) = ([], [&ana], [&ana, &bob]);
    let found = |refused: &[&Login], no_login| everybody(refused, no_login).map(|told| told.found);
    assert_eq!(found(&none, NoLogin::Absent), None);
    assert_eq!(found(&one, NoLogin::Absent), None);
    let all = "the account check of PAM refuses everybody who was asked about";
    assert_eq!(found(&two, NoLogin::Absent).as_deref(), Some(all));
    assert_eq!(found(&none, NoLogin::Present), None);
    assert_eq!(found(&one, NoLogin::Present), Some(format!("{all}: /etc/nologin is there")));
}

fn rule(command: &str, password: SudoPassword) -> SudoRule {
    SudoRule {
        run_as: RunAs { user: RunAsUser::parse("root").unwrap(), group: None },
        commands: vec![SudoCommand::parse(command).unwrap()],
        password,
        noexec: false,
        directory: None,
    }
}

/// What comes of what sudo says to somebody who may run `id` as root by ours; cvtsudoers knows of
/// that.
fn of_id(entries: &str) -> Vec<(Severity, String)> {
    let said = format!("User ana may run the following commands on db1:\n\n{entries}");
    heard(&said, &[rule("/usr/bin/id", SudoPassword::Required)])
}

fn heard(said: &str, rules: &[SudoRule]) -> Vec<(Severity, String)> {
    let answer = r#"{"User_Specs": [{"User_List": [{"username": "ana"}], "Cmnd_Specs": [
        {"Commands": [{"command": "/usr/bin/id"}, {"command": "/usr/bin/tty"}]},
        {"runasusers": [{"username": "backup"}], "Commands": [{"command": "/usr/bin/cat"}]}]}]}"#;
    let explained = explain::programs(answer, &ana(), &Person::new(None)).unwrap();
    match by_sudo(&ana(), rules, said, Some(&explained)) {
        Heard::Otherwise(found) => {
            assert_eq!(found.what, What::new(DriftKind::EffectDiffers, "ana", "sudo"));
            vec![(found.severity, found.found)]
        }
        Heard::AsExpected => Vec::new(),
        other => panic!("{other:?} of {said}"),
    }
}

const ID: &str = "Sudoers entry: /etc/sudoers.d/50-muster-ops\n    RunAsUsers: root\n    Commands:\n\
                  \t/usr/bin/id\n";

fn told(severity: Severity, words: &str) -> Vec<(Severity, String)> {
    vec![(severity, words.to_owned())]
}

#[test]
fn a_rule_of_ours_that_sudo_does_not_list_is_told_and_one_that_another_covers_is_not() {
    assert_eq!(of_id(ID), []);
    for covers in ["ALL", "/usr/bin/"] {
        let listed = ID.replace("/usr/bin/id", covers);
        let said = format!("User ana may run the following commands on x:\n{listed}");
        let ours = [rule("/usr/bin/id", SudoPassword::Required)];
        assert_eq!(by_sudo(&ana(), &ours, &said, None), Heard::AsExpected, "{covers}");
    }
    let missing = told(Severity::Medium, "/usr/bin/id as root: sudo does not list it");
    assert_eq!(of_id(""), missing);
    assert_eq!(of_id(&ID.replace("/usr/bin/id", "/usr/bin/tty")), missing);
    assert_eq!(of_id(&ID.replace("root", "backup")), missing);
    let none = "User ana is not allowed to run sudo on db1.\n";
    let ours = [rule("/usr/bin/id", SudoPassword::Required)];
    assert_eq!(heard(none, &ours), told(Severity::Medium, "sudo lets it run nothing"));
    assert_eq!(heard(none, &[]), []);
}

#[test]
fn what_sudo_lists_and_no_file_says_is_told_by_what_it_gives() {
    let also = |entry: &str| of_id(&format!("{ID}\n{entry}"));
    let ldap = "LDAP Role: ops\n    RunAsUsers: root\n    Commands:\n\t/usr/bin/less\n";
    assert_eq!(also(ldap), told(Severity::High, "/usr/bin/less as root: LDAP Role: ops"));
    let all = ldap.replace("/usr/bin/less", "ALL");
    assert_eq!(also(&all), told(Severity::Critical, "ALL as root: LDAP Role: ops"));
    let as_backup = all.replace("root", "backup");
    assert_eq!(also(&as_backup), told(Severity::High, "ALL as backup: LDAP Role: ops"));
    let other = ldap.replace("LDAP Role: ops", "Sudoers entry:");
    let words = "/usr/bin/less as root: by no rule that cvtsudoers reads";
    assert_eq!(also(&other), told(Severity::High, words));
    // What is in a file that everybody can read is told as that.
    assert_eq!(also(&other.replace("/usr/bin/less", "/usr/bin/tty -s")), []);
    assert_eq!(also(&ldap.replace("/usr/bin/less", "!/usr/bin/less")), []);
    // So is what a file gives as somebody else, but not what it would be as root.
    let cat = other.replace("/usr/bin/less", "/usr/bin/cat");
    assert_eq!(also(&cat.replace("RunAsUsers: root", "RunAsUsers: backup")), []);
    for as_root in ["root", "ALL", "#0"] {
        let words = format!("/usr/bin/cat as {as_root}: by no rule that cvtsudoers reads");
        let entry = cat.replace("RunAsUsers: root", &format!("RunAsUsers: {as_root}"));
        assert_eq!(also(&entry), told(Severity::High, &words));
    }
    let unknown = by_sudo(
        &ana(),
        &[],
        &format!("User ana may run the following commands on x:\n{other}"),
        None,
    );
    assert_eq!(unknown, Heard::AsExpected, "without cvtsudoers nobody knows what files explain");
}

#[test]
fn defaults_by_which_nobody_is_asked_for_a_password_are_told_where_ours_asks_for_one() {
    let said = format!(
        "Matching Defaults entries for ana on db1:\n    env_reset, !authenticate\n\n\
         User ana may run the following commands on db1:\n\n{ID}"
    );
    let words = "no password is asked for: Defaults !authenticate";
    let asks = rule("/usr/bin/id", SudoPassword::Required);
    assert_eq!(heard(&said, &[asks]), told(Severity::High, words));
    assert_eq!(heard(&said, &[rule("/usr/bin/id", SudoPassword::None)]), []);
}

#[test]
fn an_answer_that_is_none_comes_to_nothing_and_of_many_things_three_are_named() {
    for said in ["", "sudo: unknown user ana", "sudo: unable to open /etc/sudoers"] {
        assert_eq!(by_sudo(&ana(), &[], said, None), Heard::Nothing, "{said}");
    }
    let many = "SSSD Role: x\n    RunAsUsers: root\n    Commands:\n\t/a\n\t/b\n\t/c\n\t/d\n";
    let named = ["/a", "/b", "/c"].map(|path| format!("{path} as root: SSSD Role: x"));
    let words = format!("{}; 1 more", named.join("; "));
    assert_eq!(of_id(&format!("{ID}\n{many}")), told(Severity::High, &words));
}

#[test]
fn whoever_changes_his_own_password_has_changed_no_configuration_of_pams() {
    let at = |name: &str| Touch {
        place: Place::Passwords,
        name: name.to_owned(),
        culprit: Some(Culprit { pid: 7, ..Culprit::default() }),
    };
    for kind in [DriftKind::EffectDiffers, DriftKind::PasswordPolicy] {
        let what = What::new(kind, "ana", PAM);
        let by = |name| what.culprit(&[at(name)]).map(|by| by.pid);
        assert_eq!(by("access.conf"), Some(7));
        for name in ["opasswd", "opasswd.tmpX1", "nopasswd", ".pwd.lock"] {
            assert_eq!(by(name), None, "{name}");
        }
    }
}

#[test]
fn what_is_said_of_somebody_is_of_whom_it_is_known_to_be_and_of_nobody_else_who_was_there() {
    let touch = |place, name: &str, pid: Option<u32>| {
        let culprit = pid.map(|pid| Culprit { pid, ..Culprit::default() });
        Touch { place, name: name.to_owned(), culprit }
    };
    for (place, says, watched) in
        [(SUDO, Place::SudoSays, Place::Sudoers), (PAM, Place::PamSays, Place::Passwords)]
    {
        let what = What::new(DriftKind::EffectDiffers, "ana", place);
        let by = |touches: &[Touch]| what.culprit(touches).map(|by| by.pid);
        let somebody = touch(watched, "x", Some(7));
        assert_eq!(by(&[touch(says, "ana", Some(8))]), Some(8));
        assert_eq!(by(&[somebody.clone(), touch(says, "ana", None)]), None);
        assert_eq!(by(&[somebody, touch(says, "bob", None)]), Some(7));
    }
}
