//! What is given once and never again: logins, numbers and names, removed ones included.

use std::collections::BTreeMap;

use super::BadChange;
use crate::{
    id::{Id, Kind},
    name::{Gid, Login, ObjectName, Uid, UnixGroupName},
    statement::{Content, Statement, User},
};

/// Every login, number and name that was ever given, and to what: none is given twice.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Taken {
    /// Logins.
    pub logins: BTreeMap<Login, Id>,
    /// Uids.
    pub uids: BTreeMap<Uid, Id>,
    /// Names of Unix groups.
    pub unix_groups: BTreeMap<UnixGroupName, Id>,
    /// Gids of Unix groups.
    pub gids: BTreeMap<Gid, Id>,
    /// Names of groups, for ever, and of live roles and assignments.
    pub names: BTreeMap<(Kind, ObjectName), Id>,
}

impl Taken {
    /// Frees what may be given again: the names of roles and assignments.
    pub(super) fn release(&mut self, old: &Statement) {
        match &old.content {
            Content::Role(role) => {
                self.names.remove(&(Kind::Role, role.name.clone()));
            }
            Content::Assignment(assignment) => {
                self.names.remove(&(Kind::Assignment, assignment.name.clone()));
            }
            _ => {}
        }
    }

    pub(super) fn take(&mut self, statement: &Statement) -> Result<(), BadChange> {
        let id = statement.id;
        match &statement.content {
            Content::User(user) => {
                claim(&mut self.logins, &user.login, id, "the login")?;
                claim(&mut self.uids, &user.uid, id, "the uid")?;
                if statement.revision > 1 {
                    self.check_same_user(user, id)?;
                }
                self.check_apart(Some(&user.login), Some(user.uid.primary_gid()))
            }
            Content::Group(group) => {
                claim_name(&mut self.names, Kind::Group, &group.name, id, "the group name")
            }
            Content::UnixGroup(group) => {
                claim(&mut self.unix_groups, &group.name, id, "the Unix group name")?;
                claim(&mut self.gids, &group.gid, id, "the gid")?;
                self.check_apart_group(&group.name, group.gid)
            }
            Content::Role(role) => {
                claim_name(&mut self.names, Kind::Role, &role.name, id, "the role name")
            }
            Content::Assignment(a) => {
                claim_name(&mut self.names, Kind::Assignment, &a.name, id, "the assignment name")
            }
            Content::Adoption(_) | Content::Removal(_) | Content::Revoked { .. } => Ok(()),
        }
    }

    /// A user who returns after a removal is who she was, since a removal no longer says.
    fn check_same_user(&self, user: &User, id: Id) -> Result<(), BadChange> {
        if self.logins.iter().any(|(login, owner)| *owner == id && *login != user.login) {
            return Err(BadChange::Fixed { what: "the login", id });
        }
        if self.uids.iter().any(|(uid, owner)| *owner == id && *uid != user.uid) {
            return Err(BadChange::Fixed { what: "the uid", id });
        }
        Ok(())
    }

    /// A user's primary Unix group has the login's name and the uid's number.
    fn check_apart(&self, login: Option<&Login>, gid: Option<Gid>) -> Result<(), BadChange> {
        if let Some(login) = login
            && self.unix_groups.contains_key(&UnixGroupName::primary(login))
        {
            return Err(BadChange::Taken { what: "the login", name: login.to_string() });
        }
        if let Some(gid) = gid
            && self.gids.contains_key(&gid)
        {
            return Err(BadChange::Taken { what: "the uid", name: gid.to_string() });
        }
        Ok(())
    }

    fn check_apart_group(&self, name: &UnixGroupName, gid: Gid) -> Result<(), BadChange> {
        if self.logins.keys().any(|login| UnixGroupName::primary(login) == *name) {
            let name = name.to_string();
            return Err(BadChange::Taken { what: "the Unix group name", name });
        }
        if self.uids.keys().any(|uid| uid.primary_gid() == gid) {
            return Err(BadChange::Taken { what: "the gid", name: gid.to_string() });
        }
        Ok(())
    }
}

fn claim<K: Ord + ToString + Clone>(
    map: &mut BTreeMap<K, Id>,
    key: &K,
    id: Id,
    what: &'static str,
) -> Result<(), BadChange> {
    let owner = *map.entry(key.clone()).or_insert(id);
    if owner == id { Ok(()) } else { Err(BadChange::Taken { what, name: key.to_string() }) }
}

fn claim_name(
    map: &mut BTreeMap<(Kind, ObjectName), Id>,
    kind: Kind,
    name: &ObjectName,
    id: Id,
    what: &'static str,
) -> Result<(), BadChange> {
    let owner = *map.entry((kind, name.clone())).or_insert(id);
    if owner == id { Ok(()) } else { Err(BadChange::Taken { what, name: name.to_string() }) }
}
