use std::collections::{BTreeMap, BTreeSet};

use muster_proto::{
    name::ObjectName,
    sudo::{SudoPassword, SudoRule},
};

use super::{alike::classes, *};
use crate::{
    format::sshd::{Text, blocks::Blocks},
    observed::ObservedState,
};

const WELL: &str = "authorizedkeysfile /etc/ssh/muster-keys/%u\nauthorizedkeyscommand none\n\
    trustedusercakeys none\npasswordauthentication no\nkbdinteractiveauthentication no\n\
    hostbasedauthentication no\ngssapiauthentication no\npermitrootlogin yes\n";

fn rules(run_as: &str) -> Rules {
    let rule = SudoRule {
        run_as: muster_proto::sudo::RunAs {
            user: muster_proto::sudo::RunAsUser::parse(run_as).unwrap(),
            group: None,
        },
        commands: vec![muster_proto::sudo::SudoCommand::parse("/usr/bin/id").unwrap()],
        password: SudoPassword::Required,
        noexec: false,
        directory: None,
    };
    let users = BTreeSet::from([Login::parse("ana").unwrap()]);
    Rules::from([(ObjectName::parse("ops").unwrap(), BTreeMap::from([(rule, users)]))])
}

/// What is told of accounts, all of the same kind, of each of whom sshd says this.
fn told(
    said: &BTreeMap<&Login, String>,
    passwords: Passwords,
    rules: &Rules,
) -> Vec<(String, String, Severity)> {
    let accounts: Vec<_> = said.keys().map(|login| (*login, passwords)).collect();
    let classes = classes(&Blocks::Unclear, &accounts, &ObservedState::default());
    let answers = answers(&classes, said);
    let mut others = Others::default();
    others.take(&classes, &answers);
    in_words(&others, rules)
}

fn answers(classes: &[Classmates<'_>], said: &BTreeMap<&Login, String>) -> Answers {
    let mut answers = Answers::default();
    for Classmates { class, logins } in classes {
        if let Some(said) = said.get(logins[0]) {
            answers.take(class.clone(), Policy::parse(said));
        }
    }
    answers
}

fn in_words(others: &Others, rules: &Rules) -> Vec<(String, String, Severity)> {
    let differences = others.differences(Some(rules)).into_iter().map(|one| {
        assert_eq!((one.what.kind, one.what.place.as_str()), (DriftKind::EffectDiffers, "sshd"));
        assert_eq!(one.expected, "what 00-muster.conf says");
        (one.what.subject, one.found, one.severity)
    });
    differences.collect()
}

fn login(login: &str) -> Login {
    Login::parse(login).unwrap()
}

/// What is told of the only account.
fn told_of_one(said: &str, passwords: Passwords, rules: &Rules) -> Option<(String, Severity)> {
    let mut told = told(&BTreeMap::from([(&login("ana"), said.to_owned())]), passwords, rules);
    assert!(told.len() <= 1, "{told:?}");
    let (subject, found, severity) = told.pop()?;
    assert_eq!(subject, "muster-accounts");
    Some((found, severity))
}

#[test]
fn each_setting_of_ours_that_sshd_does_not_follow_is_told_by_what_it_opens() {
    let (root, other) = (rules("root"), rules("postgres"));
    assert_eq!(told_of_one(WELL, Passwords::Refused, &root), None);
    for (ours, found) in [
        ("authorizedkeysfile /etc/ssh/muster-keys/%u", "authorizedkeysfile .ssh/authorized_keys"),
        ("authorizedkeyscommand none", "authorizedkeyscommand /usr/bin/keys"),
        ("trustedusercakeys none", "trustedusercakeys /etc/ssh/ca.pub"),
        ("passwordauthentication no", "passwordauthentication yes"),
        ("kbdinteractiveauthentication no", "kbdinteractiveauthentication yes"),
        ("hostbasedauthentication no", "hostbasedauthentication yes"),
        ("gssapiauthentication no", "gssapiauthentication yes"),
    ] {
        let said = WELL.replace(ours, found);
        let graver = [(&root, Severity::Critical), (&other, Severity::High)];
        for (rules, severity) in graver {
            let wanted = Some((found.to_owned(), severity));
            assert_eq!(told_of_one(&said, Passwords::Refused, rules), wanted);
        }
        // What this sshd does not know it does not name.
        assert_eq!(told_of_one(&WELL.replace(ours, ""), Passwords::Refused, &root), None);
    }
}

#[test]
fn what_only_shuts_somebody_out_is_less_grave() {
    let (root, found) = (rules("root"), "passwordauthentication no");
    let taken = WELL.replace("kbdinteractiveauthentication no", "kbdinteractiveauthentication yes");
    let wanted = Some((found.to_owned(), Severity::Medium));
    assert_eq!(told_of_one(&taken, Passwords::Taken, &root), wanted);
    let none = WELL.replace("/etc/ssh/muster-keys/%u", "none");
    let wanted = Some(("authorizedkeysfile none".to_owned(), Severity::Medium));
    assert_eq!(told_of_one(&none, Passwords::Refused, &root), wanted);
}

const OPEN: &str = "passwordauthentication yes";

fn open(said: &str) -> String {
    said.replace("passwordauthentication no", OPEN)
}

#[test]
fn what_is_so_of_all_is_told_once_and_what_is_so_of_one_of_her() {
    let [ana, bob, cas] = ["ana", "bob", "cas"].map(login);
    let elsewhere = WELL.replace("/etc/ssh/muster-keys/%u", ".ssh/authorized_keys");
    let told = |ana_is: &str, bob_is: &str, cas_is: &str| {
        let said =
            [(&ana, ana_is.to_owned()), (&bob, bob_is.to_owned()), (&cas, cas_is.to_owned())];
        told(&BTreeMap::from(said), Passwords::Refused, &rules("root"))
    };
    let words =
        |subject: &str, found: &str, severity| (subject.to_owned(), found.to_owned(), severity);
    let keys = "authorizedkeysfile .ssh/authorized_keys";
    // Ana alone becomes root.
    assert_eq!(told(&open(WELL), WELL, WELL), [words("ana", OPEN, Severity::Critical)]);
    assert_eq!(told(WELL, &open(WELL), WELL), [words("bob", OPEN, Severity::High)]);
    assert_eq!(
        told(&elsewhere, &open(&elsewhere), &elsewhere),
        [words("muster-accounts", keys, Severity::Critical), words("bob", OPEN, Severity::High),]
    );
    let two = told(WELL, &elsewhere, &elsewhere);
    assert_eq!(two, [words("bob", keys, Severity::High), words("cas", keys, Severity::High)]);
}

#[test]
fn what_is_so_of_many_is_told_once_with_the_first_of_them() {
    let logins: Vec<Login> = (0..=FEW).map(|number| login(&format!("b{number:02}"))).collect();
    let well = login("well");
    let told = |count: usize| {
        let mut said: BTreeMap<&Login, String> = BTreeMap::from([(&well, WELL.to_owned())]);
        said.extend(logins.iter().take(count).map(|login| (login, open(WELL))));
        told(&said, Passwords::Refused, &rules("root"))
    };
    let of_each = told(FEW);
    assert_eq!(of_each.len(), FEW);
    assert!(of_each.iter().zip(&logins).all(|((subject, ..), login)| subject == login.as_str()));
    let found = format!("{OPEN} for b00, b01, b02 and others");
    assert_eq!(told(FEW + 1), [("muster-accounts".to_owned(), found, Severity::High)]);
}

#[test]
fn a_class_that_nothing_is_said_of_is_as_it_was_and_who_has_gone_is_no_more() {
    let [ana, bob, cas] = ["ana", "bob", "cas"].map(login);
    let of = |logins: &[&'_ Login]| {
        logins
            .iter()
            .map(|login| (login.to_string(), OPEN.to_owned(), Severity::High))
            .collect::<Vec<_>>()
    };
    let blocks = |text: &str| Blocks::parse(&[Text::Read(text.into())], "/etc/ssh/sshd_config.d");
    let accounts = [&ana, &bob, &cas].map(|login| (login, Passwords::Refused));
    let host = ObservedState::default();
    let by_login = classes(&blocks("Match User bob\nMatch User cas\n"), &accounts, &host);
    let said = [(&ana, WELL.to_owned()), (&bob, open(WELL)), (&cas, open(WELL))];
    let said = BTreeMap::from(said);
    let mut others = Others::default();
    let none = rules("postgres");
    others.take(&by_login, &answers(&by_login, &said));
    assert_eq!(in_words(&others, &none), of(&[&bob, &cas]));
    // With another configuration nothing is known, then something.
    let alone = classes(&Blocks::Unclear, &accounts, &host);
    others.take(&alone, &Answers::default());
    assert_eq!(in_words(&others, &none), of(&[&bob, &cas]));
    let some = BTreeMap::from([(&ana, WELL.to_owned()), (&bob, WELL.to_owned())]);
    others.take(&alone, &answers(&alone, &some));
    assert_eq!(in_words(&others, &none), of(&[&cas]));
    let fewer = classes(&Blocks::Unclear, &accounts[..2], &host);
    others.take(&fewer, &Answers::default());
    assert_eq!(in_words(&others, &none), of(&[]));
}

#[test]
fn no_more_is_told_of_a_value_than_the_bound_and_nothing_that_ends_a_line() {
    let of = |count: usize| {
        let said = format!("authorizedkeysfile {}\n", "k".repeat(count));
        let told = told_of_one(&said, Passwords::Refused, &rules("root"));
        told.unwrap().0.len() - "authorizedkeysfile ".len()
    };
    assert_eq!((of(MOST_SHOWN), of(MOST_SHOWN + 1)), (MOST_SHOWN, MOST_SHOWN));
    let bell = "authorizedkeysfile /etc/ssh/muster-keys/%u\u{7}\n";
    assert_eq!(
        told_of_one(bell, Passwords::Refused, &rules("root")).unwrap().0,
        "authorizedkeysfile /etc/ssh/muster-keys/%u\u{fffd}"
    );
}
