//! What each kind of declaration means: from the values of a file to the content of a statement.

use std::collections::BTreeSet;

use muster_proto::{
    id::{HostId, Id, Kind},
    name::{Gid, Login, ObjectName, Uid, UnixGroupName},
    statement::{
        Adoption, Assignment, Content, LoginMethod, MemberList, PasswordPolicy, Restrictions, Role,
        UnixGroup, UnixGroupMode, User, UserKey, UserKind,
    },
    sudo::{RunAs, RunAsUser, SudoPassword, SudoRule},
    time::Timestamp,
};

use super::{Entry, Fault, Work};
use crate::declare::{
    dates::When,
    fault::{Flaw, ResolveError},
    file,
    text::{At, HostName, KeyLine, Text},
};

impl Work<'_, '_> {
    pub(super) fn unix_group(
        &mut self,
        entry: Entry<'_>,
        declared: &file::UnixGroup,
    ) -> Result<Content, Fault> {
        let name = UnixGroupName::parse_own(entry.name);
        let name = name.map_err(|cause| entry.number(entry.at, cause))?;
        let known = match self.current(Kind::UnixGroup, entry.name).map(|s| &s.content) {
            Some(Content::UnixGroup(group)) => Some(group.gid.get()),
            _ => None,
        };
        let gid = self.numbers.settle(entry, known, declared.gid.as_ref())?;
        let members =
            if declared.exact_members { MemberList::Exactly } else { MemberList::AtLeast };
        let at = declared.gid.as_ref().map_or(entry.at, |gid| gid.at);
        let gid = Gid::parse(gid).map_err(|cause| entry.number(at, cause))?;
        Ok(Content::UnixGroup(UnixGroup { name, gid, members }))
    }

    pub(super) fn user(
        &mut self,
        entry: Entry<'_>,
        login: &Login,
        declared: &file::User,
    ) -> Result<Content, Fault> {
        let taken = self.ground.chain.taken();
        let known = taken.logins.get(login).and_then(|id| {
            taken.uids.iter().find(|(_, owner)| *owner == id).map(|(uid, _)| uid.get())
        });
        let uid = self.numbers.settle(entry, known, declared.uid.as_ref())?;
        let groups = declared.groups.iter().map(|group| self.find(entry, Kind::Group, group));
        let groups: Result<BTreeSet<Id>, _> = groups.collect();
        let mut seen = BTreeSet::new();
        if let Some(again) = declared.keys.iter().find(|key| !seen.insert(&key.value.key)) {
            return Err(entry.value(again.at, Flaw::KeyTwice));
        }
        let key = |key: &Text<KeyLine>| UserKey {
            key: key.value.key.clone(),
            comment: key.value.comment.clone(),
            options: key.value.options.clone(),
        };
        let mut keys: Vec<UserKey> = declared.keys.iter().map(key).collect();
        keys.sort();
        let (starts, ends) = span(declared.starts.as_ref(), declared.ends.as_ref())
            .map_err(|at| entry.value(at, Flaw::Ends))?;
        let at = declared.uid.as_ref().map_or(entry.at, |uid| uid.at);
        Ok(Content::User(User {
            login: login.clone(),
            uid: Uid::parse(uid).map_err(|cause| entry.number(at, cause))?,
            name: inner(declared.name.as_ref()).unwrap_or_default(),
            keys,
            groups: groups?,
            shell: inner(declared.shell.as_ref()),
            home: inner(declared.home.as_ref()),
            home_mode: inner(declared.home_mode.as_ref()),
            starts,
            ends,
            kind: if declared.service { UserKind::Service } else { UserKind::Person },
            restrictions: Restrictions {
                hardware_keys_only: declared.hardware_keys_only,
                verify_required: declared.verify_required,
                from: declared.from.iter().map(|network| network.value.clone()).collect(),
            },
        }))
    }

    pub(super) fn role(
        &self,
        entry: Entry<'_>,
        name: &ObjectName,
        declared: &file::Role,
    ) -> Result<Content, Fault> {
        let (unix_group_mode, groups) =
            match (&declared.unix_groups.at_least, &declared.unix_groups.exactly) {
                (None, None) => (UnixGroupMode::HandsOff, &Vec::new()),
                (Some(groups), None) => (UnixGroupMode::AtLeast, groups),
                (None, Some(groups)) => (UnixGroupMode::Exactly, &groups.value),
                (Some(_), Some(groups)) => {
                    return Err(entry.value(groups.at, Flaw::BothModes));
                }
            };
        let (mut unix_groups, mut host_unix_groups) = (BTreeSet::new(), BTreeSet::new());
        for group in groups {
            match self.find(entry, Kind::UnixGroup, group) {
                Ok(id) => drop(unix_groups.insert(id)),
                Err(_) => drop(host_unix_groups.insert(group.value.clone())),
            }
        }
        let mut sudo = Vec::new();
        for rule in &declared.sudo {
            if rule.commands.value.is_empty() {
                return Err(entry.value(rule.commands.at, Flaw::NoCommand));
            }
            sudo.push(sudo_rule(rule));
        }
        sudo.sort();
        sudo.dedup();
        let login_methods = declared.ssh.methods.iter().map(|method| match method {
            file::LoginMethod::Key => LoginMethod::Key,
            file::LoginMethod::HardwareKey => LoginMethod::HardwareKey,
            file::LoginMethod::Password => LoginMethod::Password,
        });
        let password = declared.password.as_ref().map(|password| PasswordPolicy {
            max_days: password.max_days.filter(|days| *days > 0),
            min_days: password.min_days.filter(|days| *days > 0),
            warn_days: password.warn_days.filter(|days| *days > 0),
            inactive_days: password.inactive_days,
            min_length: password.min_length,
        });
        Ok(Content::Role(Role {
            name: name.clone(),
            unix_group_mode,
            unix_groups,
            host_unix_groups,
            sudo,
            login_methods: login_methods.collect(),
            password,
        }))
    }

    pub(super) fn assignment(
        &self,
        entry: Entry<'_>,
        name: &ObjectName,
        declared: &file::Assignment,
    ) -> Result<Content, Fault> {
        let one = |at| entry.value(at, Flaw::Subject);
        let subject = match (&declared.user, &declared.group) {
            (Some(login), None) => self.find(entry, Kind::User, login)?,
            (None, Some(group)) => self.find(entry, Kind::Group, group)?,
            (Some(_), Some(group)) => return Err(one(group.at)),
            (None, None) => return Err(one(entry.at)),
        };
        let (from, until) = span(declared.from.as_ref(), declared.until.as_ref())
            .map_err(|at| entry.value(at, Flaw::Until))?;
        Ok(Content::Assignment(Assignment {
            name: name.clone(),
            subject,
            role: self.find(entry, Kind::Role, &declared.role)?,
            hosts: declared.hosts.value.clone(),
            from,
            until,
            reason: inner(declared.reason.as_ref()).unwrap_or_default(),
            ticket: inner(declared.ticket.as_ref()).unwrap_or_default(),
            recertify_by: None,
        }))
    }

    pub(super) fn adoption(
        &self,
        entry: Entry<'_>,
        declared: &file::Adoption,
    ) -> Result<Content, Fault> {
        let user = self.find(entry, Kind::User, &declared.user)?;
        let host = self.host(entry, &declared.host)?;
        let chain = self.ground.chain;
        let is_revoked = chain.revocations().ends_host(&host)
            || chain.statements().contains_key(&Id::Host(host));
        if is_revoked && self.current(entry.kind, entry.name).is_none() {
            let (name, at) = (entry.name.to_owned(), declared.host.at);
            let host = declared.host.value.as_str().to_owned();
            return Err(Fault { at, error: ResolveError::RevokedHost { name, host } });
        }
        let uid = Uid::parse(declared.uid.value.0);
        let uid = uid.map_err(|cause| entry.number(declared.uid.at, cause))?;
        // The old host would never hear that it ended there.
        if let Some(Content::Adoption(known)) =
            self.current(entry.kind, entry.name).map(|s| &s.content)
            && (known.user, known.host) != (user, host)
        {
            let moved = if known.user == user { declared.host.at } else { declared.user.at };
            return Err(entry.value(moved, Flaw::Moved));
        }
        Ok(Content::Adoption(Adoption { user, host, login: declared.user.value.clone(), uid }))
    }

    /// Finds a host: a full id is one host's alone, whatever others call themselves.
    fn host(&self, entry: Entry<'_>, named: &Text<HostName>) -> Result<HostId, Fault> {
        let name = named.value.as_str();
        if let Some(id) = HostId::parse_hex(name) {
            return Ok(id);
        }
        let mut called = self.ground.hosts.iter().filter(|host| host.hostname == name);
        match (called.next(), called.count()) {
            (Some(host), 0) => Ok(host.id),
            (first, others) => {
                let found = others + usize::from(first.is_some());
                let (adoption, host) = (entry.name.to_owned(), name.to_owned());
                let error = ResolveError::Host { name: adoption, host, found };
                Err(Fault { at: named.at, error })
            }
        }
    }
}

fn inner<T: Clone>(text: Option<&Text<T>>) -> Option<T> {
    text.map(|text| text.value.clone())
}

/// Returns from when until when, or where the end stands that is not after the start.
fn span(
    from: Option<&Text<When>>,
    until: Option<&Text<When>>,
) -> Result<(Option<Timestamp>, Option<Timestamp>), At> {
    let start = from.map(|when| when.value.start());
    match until {
        Some(until) if start.is_some_and(|start| start >= until.value.end()) => Err(until.at),
        until => Ok((start, until.map(|when| when.value.end()))),
    }
}

fn sudo_rule(declared: &file::SudoRule) -> SudoRule {
    let root = || RunAsUser::parse("root").unwrap_or(RunAsUser::Any);
    SudoRule {
        run_as: RunAs {
            user: inner(declared.run_as.as_ref()).unwrap_or_else(root),
            group: inner(declared.run_as_group.as_ref()),
        },
        commands: declared.commands.value.iter().map(|command| command.value.clone()).collect(),
        password: match declared.password {
            file::SudoPassword::None => SudoPassword::None,
            file::SudoPassword::Required => SudoPassword::Required,
        },
        noexec: declared.noexec,
        directory: inner(declared.directory.as_ref()),
    }
}
