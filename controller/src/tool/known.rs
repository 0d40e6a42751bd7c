//! The hosts that the operator's tool has seen with a receipt of their own, by name and id. Which
//! hosts there are, and each host's key, comes from the controller; this is what her tool remembers
//! of it.
//!
//! An attacker who holds the controller can show a host of his own making under the name of one that
//! he hides, or leave a host out: to a tool that knows the host, neither passes in silence. A host
//! that it never saw, he can hide.

use std::{collections::BTreeMap, io};

use muster_proto::{
    id::{Digest, HostId},
    name::Line,
};

use super::{Tool, ToolError, write};

/// The file with the names.
const FILE: &str = "hosts";

/// The names of hosts by their ids.
pub type Hosts = BTreeMap<HostId, Line>;

/// What a host is to an operator who has seen some.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Acquaintance {
    /// Nobody is known by its name.
    New,
    /// It is known, by this name.
    Known(Line),
    /// Its name is that of another, which the controller does not list any more.
    Stranger(HostId),
}

/// What an operator knows, and what the controller lists.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Acquaintances {
    known: Hosts,
    unlisted: Hosts,
}

impl Acquaintances {
    /// Compares what is known with the ids that the controller lists.
    pub fn new(known: Hosts, listed: impl IntoIterator<Item = HostId>) -> Self {
        let mut unlisted = known.clone();
        for id in listed {
            unlisted.remove(&id);
        }
        Self { known, unlisted }
    }

    /// Returns the hosts that are known and not listed.
    pub fn unlisted(&self) -> &Hosts {
        &self.unlisted
    }

    /// Judges a host by its id and name. Two hosts that are both there may have one name: nobody is
    /// hidden by that.
    pub fn of(&self, id: &HostId, name: &str) -> Acquaintance {
        if let Some(name) = self.known.get(id) {
            return Acquaintance::Known(name.clone());
        }
        let mut other = self.unlisted.iter().filter(|(_, known)| known.as_str() == name);
        other.next().map_or(Acquaintance::New, |(id, _)| Acquaintance::Stranger(*id))
    }
}

/// What there was to forget.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Forgotten {
    /// A host that was known by this name.
    Host(Line),
    /// Nothing.
    Nothing,
}

fn render(hosts: &Hosts) -> String {
    hosts.iter().flat_map(|(id, name)| [id.to_string(), format!(" {name}\n")]).collect()
}

fn parse(text: &str) -> Option<Hosts> {
    let line = |line: &str| {
        let (id, name) = line.split_once(' ')?;
        Some((Digest::parse_hex(id)?, Line::parse(name).ok()?))
    };
    text.lines().map(line).collect()
}

impl Tool {
    /// Returns the hosts that were seen, but for those that are revoked: nobody waits for them, and
    /// their names are free.
    pub fn known_hosts(&self) -> Result<Hosts, ToolError> {
        let path = self.directory.join(FILE);
        let text = match std::fs::read_to_string(&path) {
            Ok(text) => text,
            Err(cause) if cause.kind() == io::ErrorKind::NotFound => return Ok(Hosts::new()),
            Err(cause) => return Err(ToolError::Read { path, cause }),
        };
        let mut hosts = parse(&text).ok_or(ToolError::Hosts(path))?;
        hosts.retain(|id, _| !self.chain.revocations().ends_host(id));
        Ok(hosts)
    }

    /// Remembers hosts whose receipts were verified. The name of the first time stays.
    pub fn remember_hosts(&self, seen: Hosts) -> Result<(), ToolError> {
        let known = self.known_hosts()?;
        let mut all = seen;
        all.extend(known.iter().map(|(id, name)| (*id, name.clone())));
        if all == known {
            return Ok(());
        }
        write(&self.directory.join(FILE), render(&all).as_bytes())
    }

    /// Forgets a host that nobody is to wait for any more; says whether it was known.
    pub fn forget_host(&self, id: &HostId) -> Result<Forgotten, ToolError> {
        let mut all = self.known_hosts()?;
        let Some(name) = all.remove(id) else { return Ok(Forgotten::Nothing) };
        write(&self.directory.join(FILE), render(&all).as_bytes())?;
        Ok(Forgotten::Host(name))
    }
}

#[cfg(test)]
mod tests {
    use muster_proto::crypto::sha256;

    use super::*;

    fn id(word: &str) -> HostId {
        sha256(&[word.as_bytes()])
    }

    fn line(name: &str) -> Line {
        Line::parse(name).unwrap()
    }

    #[test]
    fn a_host_under_the_name_of_one_that_is_hidden_is_a_stranger() {
        let known = Hosts::from([(id("one"), line("db1")), (id("two"), line("web1"))]);
        let seen = Acquaintances::new(known.clone(), [id("two"), id("new")]);
        assert_eq!(seen.unlisted(), &Hosts::from([(id("one"), line("db1"))]));
        assert_eq!(seen.of(&id("two"), "web1"), Acquaintance::Known(line("web1")));
        assert_eq!(seen.of(&id("two"), "db1"), Acquaintance::Known(line("web1")), "a new name");
        assert_eq!(seen.of(&id("new"), "db1"), Acquaintance::Stranger(id("one")));
        assert_eq!(seen.of(&id("new"), "web1"), Acquaintance::New, "both are there");
        assert_eq!(seen.of(&id("new"), "db2"), Acquaintance::New);
        let all = Acquaintances::new(known, [id("one"), id("two"), id("new")]);
        assert!(all.unlisted().is_empty());
        assert_eq!(all.of(&id("new"), "db1"), Acquaintance::New, "nobody is hidden");
    }

    #[test]
    fn what_is_kept_of_hosts_reads_back_and_nothing_else_does() {
        let hosts = Hosts::from([(id("one"), line("db1")), (id("two"), line("a b"))]);
        assert_eq!(parse(&render(&hosts)), Some(hosts.clone()));
        assert_eq!(parse(""), Some(Hosts::new()));
        assert_eq!(parse(&render(&hosts)[..70]), None);
    }
}
