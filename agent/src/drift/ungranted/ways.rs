//! Ways in and to root that nobody granted and that the account files alone do not show: keys in
//! the homes of accounts that are not Muster's, and members of Unix groups that a rule of sudo's
//! makes root.

use muster_proto::{
    crypto::sha256,
    drift::{DriftKind, Severity},
    privilege::root_equivalence,
};

use super::{Difference, What, contents, is_given, primaries};
use crate::{
    format::{cvtsudoers::Rule, group},
    inventory::{Sources, Sudo},
    observed::{Content, ObservedState},
    ownership::Ownership,
};

/// So many rules are named of one Unix group.
const NAMED: usize = 3;

/// Returns what a host's sources give that no statement gave. What they could not learn is told with
/// the accounts of the host, as unknown.
pub fn by_ways(
    observed: &ObservedState,
    ownership: &Ownership,
    sources: &Sources,
) -> Vec<Difference> {
    let mut found: Vec<Difference> = keys(sources).collect();
    found.extend(members(observed, ownership, sources));
    found
}

/// Says whether something is told because of a rule of sudo's.
pub fn by_rule(what: &What) -> bool {
    what.kind == DriftKind::MemberUngranted && root_equivalence(&what.place).is_none()
}

/// Says whether something is told of keys that may be there still, though they cannot be seen now.
pub fn may_lie_unseen(what: &What, sources: &Sources) -> bool {
    let keys = sources.keys.get(&what.subject);
    what.kind == DriftKind::KeysUngranted && keys.is_some_and(|keys| !keys.unseen.is_empty())
}

/// Root's own are told by their files.
fn keys(sources: &Sources) -> impl Iterator<Item = Difference> {
    let others = sources.keys.iter().filter(|(login, _)| *login != "root");
    others.filter_map(|(login, keys)| {
        let content = match (keys.read, keys.unread) {
            (None, None) => return None,
            (Some(read), None) => Content::Read(read),
            (None, Some(unread)) => Content::Unread(unread),
            (Some(read), Some(unread)) => {
                Content::Unread(sha256(&[read.as_bytes(), unread.as_bytes()]))
            }
        };
        Some(Difference {
            what: What::new(DriftKind::KeysUngranted, login, ""),
            expected: "no keys, or as they were".to_owned(),
            found: contents(&content),
            severity: Severity::High,
        })
    })
}

fn members(observed: &ObservedState, ownership: &Ownership, sources: &Sources) -> Vec<Difference> {
    let Sudo::Rules(rules) = &sources.sudo else { return Vec::new() };
    let primaries = primaries(observed);
    let mut found = Vec::new();
    for entry in observed.group.entries() {
        let (Some(name), Some(gid)) = (entry.text(0), entry.number(group::GID)) else { continue };
        // Those are told whatever sudo says.
        if root_equivalence(name).is_some() {
            continue;
        }
        let is_it =
            |rule: &&Rule| rule.who.unix_group() == Some(name) || rule.who.gid() == Some(gid);
        let given: Vec<&str> =
            rules.iter().filter(is_it).map(|rule| rule.what.as_str()).take(NAMED).collect();
        if given.is_empty() {
            continue;
        }
        let is_all = given.contains(&"ALL");
        let primary = primaries.get(&gid).into_iter().flatten().copied();
        for login in group::members(entry).chain(primary.filter(|login| *login != name)) {
            if login == "root" || is_given(ownership, login, name) {
                continue;
            }
            found.push(Difference {
                what: What::new(DriftKind::MemberUngranted, login, name),
                expected: "no member".to_owned(),
                found: format!("a member, whom sudo lets do as root: {}", given.join(", ")),
                severity: if is_all { Severity::Critical } else { Severity::High },
            });
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::format::{
        Table,
        authorized_keys::{self, Keys},
        cvtsudoers::Who,
    };

    const KEY: &str = "ssh-ed25519 \
        AAAAC3NzaC1lZDI1NTE5AAAAIAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA\n";

    fn table(text: &str) -> Table {
        Table::parse(text.as_bytes().to_vec()).unwrap()
    }

    fn found(sources: &Sources) -> BTreeMap<String, Difference> {
        let observed = ObservedState {
            passwd: table("eve:x:1500:300::/home/eve:/bin/sh\nops:x:9:300::/:/bin/sh\n"),
            group: table(
                "ops:x:300:ben,root\nops2:x:300:\nweb:x:301:ben\nsudo:x:27:ben\nfree:x:9:ben\n",
            ),
            ..ObservedState::default()
        };
        let all = by_ways(&observed, &Ownership::default(), sources);
        let named = |found: Difference| {
            let What { kind, subject, place } = &found.what;
            (format!("{} {subject} {place}", kind.as_str()), found)
        };
        all.into_iter().map(named).collect()
    }

    #[test]
    fn members_of_whom_a_rule_makes_root_are_told_and_no_others() {
        let rule = |who, what: &str| Rule { who, what: what.to_owned() };
        let rules = vec![
            rule(Who::UnixGroup("ops".to_owned()), "ALL"),
            rule(Who::Gid(301), "/bin/reload"),
            rule(Who::UnixGroup("sudo".to_owned()), "ALL"),
            rule(Who::User("eve".to_owned()), "ALL"),
        ];
        let found = found(&Sources { keys: BTreeMap::new(), sudo: Sudo::Rules(rules) });
        let all: Vec<(&str, Severity)> =
            found.iter().map(|(name, found)| (name.as_str(), found.severity)).collect();
        let expected = [
            ("member-ungranted ben ops", Severity::Critical),
            ("member-ungranted ben web", Severity::High),
            ("member-ungranted eve ops", Severity::Critical),
        ];
        assert_eq!(all, expected);
        assert!(found["member-ungranted ben web"].found.ends_with("as root: /bin/reload"));
    }

    #[test]
    fn keys_of_others_are_told_by_which_they_are_and_roots_are_not() {
        let told = |eve: Keys| {
            let root = authorized_keys::parse(KEY.as_bytes());
            let keys = [("root", root), ("eve", eve)];
            let keys = keys.map(|(login, keys)| (login.to_owned(), keys)).into();
            let all = found(&Sources { keys, sudo: Sudo::Unknown("no cvtsudoers".to_owned()) });
            all.into_iter().map(|(name, found)| format!("{name}{}", found.found)).next()
        };
        let parse = |text: &str| told(authorized_keys::parse(text.as_bytes()));
        assert_eq!(parse("# nothing\nno key\n"), None);
        let one = parse(KEY).unwrap();
        assert!(one.starts_with("keys-ungranted eve content "), "{one}");
        assert_eq!(parse(&format!("# hers\n\n{KEY}")), Some(one.clone()), "what does not count");
        for other in [
            format!("{KEY}{KEY}"),
            format!("command=\"/bin/true\" {KEY}"),
            format!("cert-authority {KEY}"),
        ] {
            assert!(parse(&other).is_some_and(|other| other != one), "{other}");
        }
        // A link, or a file that is too large: sshd may read it all the same.
        let unread = told(Keys::unread("a link")).unwrap();
        assert!(unread.starts_with("keys-ungranted eve not read: "), "{unread}");
        assert_ne!(told(Keys::unread("too large")), Some(unread));
        assert_eq!(told(Keys::unknown("the file system may not answer")), None);
    }
}
