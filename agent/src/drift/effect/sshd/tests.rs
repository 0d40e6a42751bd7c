use muster_proto::{
    name::{Login, ObjectName},
    sudo::{SudoPassword, SudoRule},
};

use super::*;

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

fn told(said: &str, passwords: Passwords, rules: &Rules) -> Option<(String, Severity)> {
    let difference = difference(&by_sshd(said, passwords), Some(rules))?;
    assert_eq!(difference.what, What::new(DriftKind::EffectDiffers, "muster-accounts", "sshd"));
    Some((difference.found, difference.severity))
}

#[test]
fn each_setting_of_ours_that_sshd_does_not_follow_is_told_by_what_it_opens() {
    let (root, other) = (rules("root"), rules("postgres"));
    assert_eq!(told(WELL, Passwords::Refused, &root), None);
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
            assert_eq!(told(&said, Passwords::Refused, rules), wanted);
        }
        // What this sshd does not know it does not name.
        assert_eq!(told(&WELL.replace(ours, ""), Passwords::Refused, &root), None);
    }
}

#[test]
fn what_only_shuts_somebody_out_is_less_grave() {
    let (root, found) = (rules("root"), "passwordauthentication no");
    let taken = WELL.replace("kbdinteractiveauthentication no", "kbdinteractiveauthentication yes");
    let wanted = Some((found.to_owned(), Severity::Medium));
    assert_eq!(told(&taken, Passwords::Taken, &root), wanted);
    let none = WELL.replace("/etc/ssh/muster-keys/%u", "none");
    let wanted = Some(("authorizedkeysfile none".to_owned(), Severity::Medium));
    assert_eq!(told(&none, Passwords::Refused, &root), wanted);
}
