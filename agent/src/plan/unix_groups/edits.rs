//! The edits of group and gshadow that what was settled comes to, with the words for them.

use std::collections::{BTreeMap, BTreeSet};

use super::{Membership, members_of};
use crate::{
    format::{Edit, Table, Value, group},
    observed::ObservedState,
    plan::action::{AccountEdits, Note, note},
};

impl Membership<'_> {
    /// Adds what takes memberships away. A Unix group with another gid gives its members whatever has
    /// that, so that its own is put back here.
    pub(in crate::plan) fn take(
        &self,
        observed: &ObservedState,
        edits: &mut AccountEdits,
    ) -> Vec<Note> {
        let put_back = self.put_back.iter().map(|(name, gid)| {
            let value = Value::Text(gid.to_string());
            edits.group.push(Edit::Set { name: (*name).to_owned(), field: group::GID, value });
            note("unix-group-changed", name, format!("gid {gid}"))
        });
        let put_back: Vec<Note> = put_back.collect();
        let mut told: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
        for (table, edits) in both(observed, edits) {
            for (name, out) in &self.out {
                let present = members_of(table, name);
                let out = out.intersection(&present);
                let remove: BTreeSet<String> = out
                    .map(|login| {
                        told.entry(login).or_default().insert(name);
                        (*login).to_owned()
                    })
                    .collect();
                if !remove.is_empty() {
                    let name = (*name).to_owned();
                    edits.push(Edit::Members { name, add: BTreeSet::new(), remove });
                }
            }
        }
        let out = told.into_iter();
        let out =
            out.map(|(login, names)| note("memberships-changed", login, list("out of", names)));
        put_back.into_iter().chain(out).collect()
    }

    /// Adds what creates Unix groups and puts members into them.
    pub(in crate::plan) fn give(
        &self,
        observed: &ObservedState,
        edits: &mut AccountEdits,
    ) -> Vec<Note> {
        let mut told: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
        for (at, (table, edits)) in both(observed, edits).into_iter().enumerate() {
            let nobody = BTreeSet::new();
            let names: BTreeSet<&str> =
                self.into.keys().chain(self.created.keys()).copied().collect();
            for name in names {
                let into = self.into.get(name).unwrap_or(&nobody);
                let present = first_members(table, name);
                let add: BTreeSet<&str> = into.difference(&present).copied().collect();
                let members: BTreeSet<String> =
                    add.iter().map(|login| (*login).to_owned()).collect();
                let owned_name = name.to_owned();
                if table.get(name).is_some() {
                    if !add.is_empty() {
                        let remove = BTreeSet::new();
                        edits.push(Edit::Members { name: owned_name, add: members, remove });
                    }
                } else if let Some(gid) = self.created.get(name) {
                    let line = if at == 0 {
                        group::new_group_line(name, *gid, &members)
                    } else {
                        group::new_gshadow_line(name, &members)
                    };
                    edits.push(Edit::Add { name: owned_name, line });
                } else {
                    continue;
                }
                for login in add {
                    told.entry(login).or_default().insert(name);
                }
            }
        }
        let created = self.created.iter();
        let created =
            created.map(|(name, gid)| note("unix-group-created", name, format!("gid {gid}")));
        let into = told.into_iter();
        let into =
            into.map(|(login, names)| note("memberships-changed", login, list("into", names)));
        created.chain(into).collect()
    }
}

fn both<'a>(
    observed: &'a ObservedState,
    edits: &'a mut AccountEdits,
) -> Vec<(&'a Table, &'a mut Vec<Edit>)> {
    let mut tables = vec![(&observed.group, &mut edits.group)];
    tables.extend(observed.gshadow.as_ref().map(|gshadow| (gshadow, &mut edits.gshadow)));
    tables
}

fn first_members<'a>(table: &'a Table, name: &str) -> BTreeSet<&'a str> {
    table.get(name).into_iter().flat_map(group::members).collect()
}

fn list(head: &str, names: BTreeSet<&str>) -> String {
    format!("{head} {}", names.into_iter().collect::<Vec<_>>().join(", "))
}
