//! A table of what an account for an emergency may have come to.

use muster_proto::privilege::is_root_equivalent;

use super::*;
use crate::format::{
    authorized_keys::Keys,
    cvtsudoers::{Rule, Who},
};

const TODAY: u64 = 20_000;
const PASSWD: &str = "root:x:0:0::/root:/bin/bash\nops:x:1600:1600::/home/ops:/bin/bash\n";
const SHADOW: &str = "root:*:1::::::\nops:$6$ops$hash:19000::::::\n";
const GROUP: &str = "sudo:x:27:ops\nops:x:1600:\ndocker:x:99:\nadm:x:4:\n";

/// A host on which `ops` gets in by a password, and to root by a rule for its Unix group.
struct Site {
    passwd: String,
    shadow: String,
    group: String,
    sources: Sources,
}

impl Site {
    fn well() -> Self {
        let rule = Rule { who: Who::UnixGroup("sudo".to_owned()), what: "ALL".to_owned() };
        Self {
            passwd: PASSWD.to_owned(),
            shadow: SHADOW.to_owned(),
            group: GROUP.to_owned(),
            sources: Sources { keys: BTreeMap::new(), sudo: Sudo::Rules(vec![rule]) },
        }
    }

    fn emergency(&self, names: &[&str]) -> Emergency {
        let table = |text: &str| Table::parse(text.as_bytes().to_vec()).unwrap();
        let observed = ObservedState {
            passwd: table(&self.passwd),
            shadow: table(&self.shadow),
            group: table(&self.group),
            ..ObservedState::default()
        };
        let names = names.iter().map(|name| AccountName::parse(name).unwrap()).collect();
        Emergency::of(&names, &observed, &Ownership::default(), &self.sources, TODAY)
    }

    fn without(change: impl FnOnce(&mut Self)) -> Option<String> {
        let mut site = Self::well();
        change(&mut site);
        site.emergency(&["ops"]).faults.into_values().next()
    }
}

fn of_shell(shell: &str) -> Option<String> {
    Site::without(|site| {
        site.passwd = site.passwd.replace("ops:/bin/bash", &format!("ops:{shell}"));
    })
}

fn of_line(line: &str) -> Option<String> {
    Site::without(|site| site.shadow = format!("root:*:1::::::\n{line}"))
}

#[test]
fn an_account_that_nobody_can_use_is_no_way_in() {
    assert_eq!(Site::without(|_| {}), None);
    assert_eq!(Site::without(|site| site.passwd.clear()).unwrap(), "is no account of this host");
    for shell in ["/usr/sbin/nologin", "/opt/nologin", "/bin/false", "/bin/true"] {
        assert!(of_shell(shell).unwrap().contains(shell));
    }
    assert_eq!(of_shell(""), None);
    for (day, good) in [(TODAY - 1, false), (TODAY, false), (TODAY + 1, true)] {
        let found = of_line(&format!("ops:$6$ops$hash:19000:::::{day}:\n"));
        assert_eq!(found.is_none(), good, "{day}: {found:?}");
    }
    assert_eq!(of_line("").unwrap(), "cannot be used: it has no line in shadow");
}

#[test]
fn whoever_has_neither_a_password_nor_a_key_does_not_get_in() {
    let (locked, none) = ("ops:!$6$ops$hash:1::::::\n", "ops:*:1::::::\n");
    assert_eq!(of_line(locked).unwrap(), "cannot be used: it is locked and has no key");
    assert_eq!(of_line(none).unwrap(), "cannot be used: it has neither a password nor a key");
    assert_eq!(of_line("ops::1::::::\n"), None);
    // With a key a lock is none, and what could not be learnt may be one.
    let key = Keys { found: ["SHA256:x".to_owned()].into(), ..Keys::default() };
    for keys in [key, Keys::unknown("a program names them")] {
        let found = Site::without(|site| {
            site.shadow = site.shadow.replace("$6$ops", "!$6$ops");
            site.sources.keys.insert("ops".to_owned(), keys);
        });
        assert_eq!(found, None);
    }
}

#[test]
fn whoever_does_not_become_root_is_no_way_to_root() {
    let why = Some(format!("does not become root: {NO_WAY}"));
    let no_rules = |site: &mut Site| site.sources.sudo = Sudo::Rules(Vec::new());
    assert_eq!(Site::without(no_rules), why);
    assert_eq!(Site::without(|site| site.group = site.group.replace("27:ops", "27:")), why);
    let in_group = |name: &'static str| {
        Site::without(|site| {
            no_rules(site);
            site.group = site.group.replace(name, &format!("{name}ops"));
        })
    };
    assert_eq!(in_group("docker:x:99:"), None);
    assert_eq!(in_group("adm:x:4:"), why, "it reads logs");
    assert!(AT_ONCE.iter().all(|name| is_root_equivalent(name)));
    let with = |change: fn(&mut Site)| {
        Site::without(|site| {
            no_rules(site);
            change(site);
        })
    };
    assert_eq!(with(|site| site.passwd = site.passwd.replace("1600:1600", "0:0")), None);
    assert_eq!(with(|site| site.shadow = site.shadow.replace("root:*", "root:$6$r$h")), None);
    assert_eq!(with(|site| site.sources.sudo = Sudo::Unknown("no cvtsudoers".to_owned())), None);
}

#[test]
fn that_none_is_left_is_told_as_something_that_nobody_granted_and_one_that_works_is_enough() {
    let mut site = Site::well();
    site.passwd += "old:x:1601:27::/home/old:/bin/bash\n";
    let subjects = |emergency: &Emergency| -> Vec<String> {
        let told = emergency.findings().map(|finding| finding.detail);
        let last = told.last().unwrap_or_default();
        let none = last.ends_with("; none that works is left");
        assert_eq!(none, !emergency.differences().is_empty(), "{last}");
        emergency.differences().into_iter().map(|found| found.what.subject).collect()
    };
    assert_eq!(subjects(&site.emergency(&[])), [""; 0], "nobody is named");
    assert_eq!(subjects(&site.emergency(&["ops"])), [""; 0]);
    let one = site.emergency(&["ops", "old"]);
    assert_eq!((one.faults.len(), subjects(&one)), (1, vec![]));
    site.shadow = site.shadow.replace("$6$ops", "!$6$ops");
    let none = site.emergency(&["ops", "old"]);
    assert_eq!(subjects(&none), ["old", "ops"]);
    let grave = |found: &Difference| found.severity == Severity::Critical;
    assert!(none.differences().iter().all(grave));
}
