//! Names for what is proposed, made of logins, Unix groups and hosts' names. Each is one that an
//! object can have and that nothing has yet: a file that names something alters it.

use std::{collections::BTreeSet, fmt};

use muster_proto::{chain::Chain, name::ObjectName, selector::LabelValue};

use crate::{declare::resolve::is_adoption, preview::HostLabels};

/// The names that are taken: by what there is, and in the file that is being written.
pub struct Names<'a> {
    is_taken: Box<dyn Fn(&str) -> bool + 'a>,
    given: BTreeSet<String>,
}

impl fmt::Debug for Names<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Names").field(&self.given).finish()
    }
}

impl<'a> Names<'a> {
    /// Begins with those that a directory has. An adoption's statement does not hold its name.
    pub fn of(chain: &'a Chain) -> Self {
        let names = chain.statements().values().filter_map(|one| one.content.name());
        let names: BTreeSet<&str> = names.collect();
        Self::new(move |name| names.contains(name) || is_adoption(chain, name))
    }

    /// Begins with those of which this says that they are taken.
    pub fn new(is_taken: impl Fn(&str) -> bool + 'a) -> Self {
        Self { is_taken: Box::new(is_taken), given: BTreeSet::new() }
    }

    /// Returns a name for something on a host, and takes it.
    pub fn on(&mut self, host: &HostLabels, parts: &[&str]) -> String {
        let short = host.id.short();
        let place = LabelValue::parse(&host.hostname);
        let place = place.as_ref().map_or(short.as_str(), LabelValue::as_str);
        self.unused(&[parts, &[place]].concat())
    }

    /// Returns the first name of these parts that nothing has, and takes it.
    pub fn unused(&mut self, parts: &[&str]) -> String {
        let begin = parts.join("-");
        let mut candidate = named(&begin, "");
        let mut number = 2_u64;
        while (self.is_taken)(&candidate) || !self.given.insert(candidate.clone()) {
            candidate = named(&begin, &format!("-{number}"));
            number += 1;
        }
        candidate
    }
}

/// The most characters that a name has.
const LONGEST: usize = 63;

/// Writes a name that begins so, as far as there is room before its end. What a login or a host's
/// name may have and an object's may not becomes a hyphen or a small letter.
fn named(begin: &str, end: &str) -> String {
    let letter = |c: char| if c.is_ascii_alphanumeric() { c.to_ascii_lowercase() } else { '-' };
    let begin: String = begin.trim_start_matches(|c: char| !c.is_ascii_alphanumeric()).into();
    let room = LONGEST.saturating_sub(end.len());
    let name: String = begin.chars().map(letter).take(room).chain(end.chars()).collect();
    ObjectName::parse(&name).map_or_else(|_| format!("proposed{end}"), |name| name.to_string())
}

#[cfg(test)]
mod tests {
    use muster_proto::{id::Digest, selector::Labels};

    use super::*;

    fn host(hostname: &str) -> HostLabels {
        let (id, labels) = (Digest::new([7; 32]), Labels::default());
        HostLabels { id, hostname: hostname.to_owned(), labels }
    }

    #[test]
    fn whatever_an_account_or_a_host_is_called_the_name_is_an_objects() {
        for (login, hostname, expected) in [
            ("alice", "db1", "alice-db1"),
            ("al_ice", "db1", "al-ice-db1"),
            ("_svc", "db1", "svc-db1"),
            ("__", "db1", "db1"),
            ("alice", "DB1.example_2", "alice-db1-example-2"),
            ("alice", "db1\nusers: {}", "alice-07070707"),
        ] {
            let name = Names::new(|_| false).on(&host(hostname), &[login]);
            assert!(name.starts_with(expected), "{login} {hostname:?}: {name}");
            assert!(ObjectName::parse(&name).is_ok(), "{name}");
        }
        let long = "x".repeat(63);
        let mut names = Names::new(|_| false);
        assert_eq!(names.on(&host(&long), &["alice"]), format!("alice-{}", "x".repeat(57)));
        assert_eq!(names.on(&host(&long), &["alice"]), format!("alice-{}-2", "x".repeat(55)));
        assert_eq!(names.unused(&["_"]), "proposed");
        assert_eq!(names.unused(&["_"]), "proposed-2");
    }

    #[test]
    fn no_name_is_given_twice() {
        let mut names = Names::new(|_| false);
        let mut taken = Names::new(|name| name == "a-b-db1" || name == "a-b-db1-2");
        assert_eq!(taken.on(&host("db1"), &["a_b"]), "a-b-db1-3");
        let given = ["a_b", "a-b", "a_b"].map(|login| names.on(&host("db1"), &[login]));
        assert_eq!(given, ["a-b-db1", "a-b-db1-2", "a-b-db1-3"]);
    }
}
