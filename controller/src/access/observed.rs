//! What a host says of its accounts, beside what the directory grants there. Pure. An account is
//! somebody's by grant only if it is Muster's on the host: one of the same login that is not is
//! nobody's grant, whoever has been assigned there.

use std::collections::BTreeMap;

use muster_proto::inventory::{Inventory, LocalAccount};

use super::Access;

/// One account of a host, or one that should be there.
#[derive(Clone, Debug)]
pub struct Beside<'a> {
    /// Its login.
    pub login: &'a str,
    /// What is there; nothing: no account that can log in or become root.
    pub found: Option<&'a LocalAccount>,
    /// What is granted; nothing: nobody granted it.
    pub granted: Option<&'a Access>,
}

impl Beside<'_> {
    /// Says whether what is there is there by a grant.
    pub fn is_granted(&self) -> bool {
        self.granted.is_some() && self.found.is_none_or(|found| found.owned)
    }
}

/// Holds what is granted on a host beside what is there, by login.
pub fn beside<'a>(granted: &'a [Access], inventory: &'a Inventory) -> Vec<Beside<'a>> {
    let mut all: BTreeMap<&str, Beside<'_>> = BTreeMap::new();
    for found in &inventory.accounts {
        let login = found.login.as_str();
        all.insert(login, Beside { login, found: Some(found), granted: None });
    }
    for access in granted {
        let login = access.login.as_str();
        let empty = Beside { login, found: None, granted: None };
        all.entry(login).or_insert(empty).granted = Some(access);
    }
    all.into_values().collect()
}

#[cfg(test)]
pub(crate) mod tests {
    use std::collections::BTreeSet;

    use muster_proto::{id::Digest, inventory::LocalPassword, name::Login, selector::Labels};

    use super::*;
    use crate::preview::HostLabels;

    pub(crate) fn local(login: &str, owned: bool) -> LocalAccount {
        LocalAccount {
            login: login.to_owned(),
            uid: 1_001,
            name: String::new(),
            shell: "/bin/sh".to_owned(),
            password: LocalPassword::Set,
            shut: false,
            keys: Vec::new(),
            root_by: Vec::new(),
            unknown: Vec::new(),
            owned,
        }
    }

    fn access(login: &str) -> Access {
        let labels = Labels::default();
        Access {
            host: HostLabels { id: Digest::new([1; 32]), hostname: "db1".to_owned(), labels },
            login: Login::parse(login).unwrap(),
            methods: BTreeSet::new(),
            keys: BTreeSet::new(),
            root_by: BTreeSet::new(),
            by: Vec::new(),
            until: None,
        }
    }

    #[test]
    fn only_what_is_musters_and_assigned_is_granted() {
        let accounts =
            vec![local("ana", true), local("bob", false), local("cid", true), local("eve", false)];
        let inventory = Inventory { accounts, more: 0 };
        let granted = [access("ana"), access("bob"), access("dot")];
        let found: Vec<_> = beside(&granted, &inventory)
            .iter()
            .map(|one| (one.login.to_owned(), one.found.is_some(), one.is_granted()))
            .collect();
        let expected = [
            ("ana", true, true),
            ("bob", true, false),
            ("cid", true, false),
            ("dot", false, true),
            ("eve", true, false),
        ];
        assert_eq!(found, expected.map(|(login, there, by)| (login.to_owned(), there, by)));
    }
}
