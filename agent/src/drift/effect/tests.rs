use muster_proto::sudo::SudoPassword;

use super::*;
use crate::format::Table;

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
    let difference = sshd_difference(&by_sshd(said, passwords), Some(rules))?;
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

#[test]
fn an_account_that_another_source_gives_otherwise_is_told_by_what_is_another() {
    let table = Table::parse(b"ana:x:1001:1001:Ana,,,:/home/ana:/bin/bash\n".to_vec()).unwrap();
    let (ana, own) = (Login::parse("ana").unwrap(), table.get("ana").unwrap());
    let told = |answer: Option<&str>| {
        by_names(&ana, own, answer).map(|one| (one.expected, one.found, one.severity))
    };
    let same = "ana:*:1001:1001:Another name:/home/ana:/bin/bash";
    assert_eq!(told(Some(same)), None);
    for (ours, theirs, severity) in [
        ("uid 1001", "uid 2002", Severity::High),
        ("uid 1001", "uid 0", Severity::Critical),
        ("home /home/ana", "home /", Severity::Medium),
        ("shell /bin/bash", "shell /bin/sh", Severity::Medium),
    ] {
        let [was, is] = [ours, theirs].map(|words| words.split_once(' ').unwrap().1);
        let answer = same.replacen(&format!(":{was}"), &format!(":{is}"), 1);
        let wanted = Some((ours.to_owned(), theirs.to_owned(), severity));
        assert_eq!(told(Some(&answer)), wanted);
    }
    let gid = told(Some("ana:*:1001:5:Ana:/home/ana:/bin/bash"));
    assert_eq!(gid.map(|(_, found, _)| found).as_deref(), Some("gid 5"));
    assert_eq!(told(None).unwrap().1, "no such account");
}
