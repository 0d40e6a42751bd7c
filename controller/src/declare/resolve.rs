//! From what files declare to the statements that it takes: pure. Names find ids here and nowhere
//! else; numbers that the files leave open are chosen here, and never twice.

use std::collections::{BTreeMap, BTreeSet};

use muster_proto::{
    chain::Chain,
    envelope::Document,
    id::{Id, Kind},
    name::{Gid, Login, ObjectName, Uid, UnixGroupName},
    statement::{
        self, Assignment, Content, Group, LeafState, LoginMethod, MemberList, PasswordPolicy,
        Restrictions, Role, Statement, UnixGroup, UnixGroupMode, User, UserKey, UserKind,
    },
    sudo::{RunAs, RunAsUser, SudoPassword, SudoRule},
    trust::Limits,
};

use super::{Declared, fault::ResolveError, file, text::Text};

/// The statements that a declaration takes, and what they alter.
#[derive(Clone, Debug, Default)]
pub struct Resolved {
    /// Ascending by id; empty if everything is as declared.
    pub statements: Vec<Statement>,
    /// One for each statement, in the order of kinds and names.
    pub differences: Vec<Difference>,
}

/// One thing that differs from what is declared.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Difference {
    /// What.
    pub kind: Kind,
    /// Which.
    pub name: String,
    /// What it is now; absent if it is new.
    pub before: Option<Content>,
    /// What it will be.
    pub after: Content,
}

/// What a declaration is resolved against.
pub struct Ground<'a> {
    /// Everything up to the newest link.
    pub chain: &'a Chain,
    /// People who may come back after they were offboarded or revoked.
    pub reinstate: &'a BTreeSet<Login>,
    /// Makes ids that were never used.
    pub new_id: &'a mut dyn FnMut() -> Id,
}

impl std::fmt::Debug for Ground<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Ground").field("newest", &self.chain.newest()).finish_non_exhaustive()
    }
}

/// Returns the statements that a declaration takes.
pub fn resolve(declared: &Declared, ground: &mut Ground<'_>) -> Result<Resolved, ResolveError> {
    let mut work = Work::new(ground);
    work.names(declared);
    for name in declared.groups.keys() {
        let content = Content::Group(Group { name: name.0.clone() });
        work.put(Kind::Group, name.0.as_str(), content)?;
    }
    for (name, group) in &declared.unix_groups {
        let content = work.unix_group(&name.0, group)?;
        work.put(Kind::UnixGroup, name.0.as_str(), content)?;
    }
    for (login, user) in &declared.users {
        let content = work.user(&login.0, user)?;
        work.put(Kind::User, login.0.as_str(), content)?;
    }
    for (name, role) in &declared.roles {
        let content = work.role(&name.0, role)?;
        work.put(Kind::Role, name.0.as_str(), content)?;
    }
    for (name, assignment) in &declared.assignments {
        let content = work.assignment(&name.0, assignment)?;
        work.put(Kind::Assignment, name.0.as_str(), content)?;
    }
    work.remove_all(declared)?;
    Ok(work.finish())
}

struct Work<'a, 'g> {
    ground: &'a mut Ground<'g>,
    ids: BTreeMap<(Kind, String), Id>,
    uids: BTreeSet<u32>,
    gids: BTreeSet<u32>,
    claimed: BTreeMap<u32, String>,
    changed: BTreeMap<Id, (Statement, Difference)>,
}

impl<'a, 'g> Work<'a, 'g> {
    fn new(ground: &'a mut Ground<'g>) -> Self {
        let chain = ground.chain;
        let mut ids = BTreeMap::new();
        for (id, statement) in chain.statements() {
            if let Some(name) = statement.content.name() {
                ids.insert((statement.content.kind(), name.to_owned()), *id);
            }
        }
        let taken = chain.taken();
        for (login, id) in &taken.logins {
            ids.insert((Kind::User, login.to_string()), *id);
        }
        let uids = taken.uids.keys().map(|uid| uid.get());
        let gids = taken.gids.keys().map(|gid| gid.get());
        let (uids, gids) = (uids.collect(), gids.collect());
        Self { ground, ids, uids, gids, claimed: BTreeMap::new(), changed: BTreeMap::new() }
    }

    /// Gives ids to everything that is new, so that the files may be in any order.
    fn names(&mut self, declared: &Declared) {
        let mut add = |kind, name: String| {
            let new_id = &mut self.ground.new_id;
            self.ids.entry((kind, name)).or_insert_with(new_id);
        };
        declared.groups.keys().for_each(|name| add(Kind::Group, name.0.to_string()));
        declared.unix_groups.keys().for_each(|name| add(Kind::UnixGroup, name.0.to_string()));
        declared.users.keys().for_each(|login| add(Kind::User, login.0.to_string()));
        declared.roles.keys().for_each(|name| add(Kind::Role, name.0.to_string()));
        declared.assignments.keys().for_each(|name| add(Kind::Assignment, name.0.to_string()));
    }

    fn find(&self, from: (Kind, &str), kind: Kind, name: &str) -> Result<Id, ResolveError> {
        let live = |id: &&Id| {
            let known = self.ground.chain.statements().get(id);
            known.is_none_or(|s| s.content.state() == LeafState::Live) || kind == Kind::User
        };
        let found = self.ids.get(&(kind, name.to_owned())).filter(live).copied();
        found.ok_or_else(|| ResolveError::Unknown {
            from_kind: from.0,
            from: from.1.to_owned(),
            kind,
            name: name.to_owned(),
        })
    }

    fn current(&self, kind: Kind, name: &str) -> Option<&'g Statement> {
        let id = self.ids.get(&(kind, name.to_owned()))?;
        self.ground.chain.statements().get(id)
    }

    /// Takes a statement in if it differs from what is there.
    fn put(&mut self, kind: Kind, name: &str, content: Content) -> Result<(), ResolveError> {
        let Some(id) = self.ids.get(&(kind, name.to_owned())).copied() else { return Ok(()) };
        let chain = self.ground.chain;
        let before = chain.statements().get(&id);
        let mut reinstates = before.map(|s| s.reinstates.clone()).unwrap_or_default();
        let gone = before.is_some_and(|statement| {
            statement.content.state() != LeafState::Live || chain.revocations().ends(statement)
        });
        if gone && content.state() == LeafState::Live {
            if let Content::User(user) = &content
                && !self.ground.reinstate.contains(&user.login)
            {
                return Err(ResolveError::Gone(user.login.clone()));
            }
            reinstates.extend(chain.revocations().of_id(&id));
        } else if before.is_some_and(|statement| statement.content == content) {
            return Ok(());
        }
        let statement = Statement {
            lineage: chain.lineage(),
            id,
            revision: before.map_or(1, |statement| statement.revision + 1),
            previous: before.map(Document::digest),
            reinstates,
            content: content.clone(),
        };
        let difference = Difference {
            kind,
            name: name.to_owned(),
            before: before.map(|statement| statement.content.clone()),
            after: content,
        };
        self.changed.insert(id, (statement, difference));
        Ok(())
    }

    fn unix_group(
        &mut self,
        name: &UnixGroupName,
        declared: &file::UnixGroup,
    ) -> Result<Content, ResolveError> {
        let text = name.as_str();
        let number =
            |cause| ResolveError::Number { kind: Kind::UnixGroup, name: text.into(), cause };
        let name = UnixGroupName::parse_own(text).map_err(number)?;
        let known = match self.current(Kind::UnixGroup, text).map(|s| &s.content) {
            Some(Content::UnixGroup(group)) => Some(group.gid.get()),
            _ => None,
        };
        let gid =
            self.number(Kind::UnixGroup, text, known, declared.gid.as_ref().map(|gid| gid.0.0))?;
        let members =
            if declared.exact_members { MemberList::Exactly } else { MemberList::AtLeast };
        let gid = Gid::parse(gid).map_err(number)?;
        Ok(Content::UnixGroup(UnixGroup { name, gid, members }))
    }

    /// Settles a uid or gid: the one for ever, the one asked for, or the next free one.
    fn number(
        &mut self,
        kind: Kind,
        name: &str,
        known: Option<u32>,
        asked: Option<u32>,
    ) -> Result<u32, ResolveError> {
        let what = if kind == Kind::User { "uid" } else { "gid" };
        match (known, asked) {
            (Some(known), Some(asked)) if known != asked => {
                let (name, what) = (name.to_owned(), format!("{what} {known}"));
                return Err(ResolveError::Fixed { kind, name, what });
            }
            (Some(known), _) => return Ok(known),
            (None, Some(asked)) if self.uids.contains(&asked) || self.gids.contains(&asked) => {
                return Err(self.taken(kind, name, what, asked));
            }
            (None, Some(asked)) => {
                self.claim(kind, name, asked);
                return Ok(asked);
            }
            (None, None) => {}
        }
        let limits: &Limits = &self.ground.chain.trust().limits;
        let (first, last) = if kind == Kind::User { limits.uids } else { limits.gids };
        let free = |n: &u32| !self.uids.contains(n) && !self.gids.contains(n);
        let chosen = (first..=last).find(free).ok_or(ResolveError::Exhausted(what))?;
        self.claim(kind, name, chosen);
        Ok(chosen)
    }

    fn claim(&mut self, kind: Kind, name: &str, number: u32) {
        self.claimed.insert(number, format!("{kind} `{name}`"));
        if kind == Kind::User {
            self.uids.insert(number)
        } else {
            self.gids.insert(number)
        };
    }

    fn taken(&self, kind: Kind, name: &str, what: &str, number: u32) -> ResolveError {
        let taken = self.ground.chain.taken();
        let login = taken.uids.iter().find(|(uid, _)| uid.get() == number).and_then(|(_, id)| {
            taken.logins.iter().find(|(_, owner)| *owner == id).map(|(login, _)| login)
        });
        let here = || self.claimed.get(&number).cloned().unwrap_or_else(|| "another one".into());
        let owner = login.map_or_else(here, |login| format!("user `{login}`"));
        let (name, what) = (name.to_owned(), format!("{what} {number}"));
        ResolveError::Taken { kind, name, what, owner }
    }

    fn user(&mut self, login: &Login, declared: &file::User) -> Result<Content, ResolveError> {
        let text = login.as_str();
        let from = (Kind::User, text);
        let taken = self.ground.chain.taken();
        let known = taken.logins.get(login).and_then(|id| {
            taken.uids.iter().find(|(_, owner)| *owner == id).map(|(uid, _)| uid.get())
        });
        let uid = self.number(Kind::User, text, known, declared.uid.as_ref().map(|uid| uid.0.0))?;
        let groups: Result<BTreeSet<Id>, _> = declared
            .groups
            .iter()
            .map(|group| self.find(from, Kind::Group, group.0.as_str()))
            .collect();
        let mut keys: Vec<UserKey> = declared
            .keys
            .iter()
            .map(|key| UserKey { key: key.0.key.clone(), comment: key.0.comment.clone() })
            .collect();
        keys.sort();
        let value = |what| ResolveError::Value { kind: Kind::User, name: text.to_owned(), what };
        if keys.windows(2).any(|pair| matches!(pair, [a, b] if a.key == b.key)) {
            return Err(value("a key stands there twice"));
        }
        let starts = declared.starts.as_ref().map(|when| when.0.start());
        let ends = declared.ends.as_ref().map(|when| when.0.end());
        if starts.zip(ends).is_some_and(|(starts, ends)| starts >= ends) {
            return Err(value("`ends` is not after `starts`"));
        }
        let number =
            |cause| ResolveError::Number { kind: Kind::User, name: text.to_owned(), cause };
        Ok(Content::User(User {
            login: login.clone(),
            uid: Uid::parse(uid).map_err(number)?,
            name: inner(declared.name.as_ref()).unwrap_or_default(),
            keys,
            groups: groups?,
            shell: inner(declared.shell.as_ref()),
            home: inner(declared.home.as_ref()),
            starts,
            ends,
            kind: if declared.service { UserKind::Service } else { UserKind::Person },
            restrictions: Restrictions {
                hardware_keys_only: declared.hardware_keys_only,
                verify_required: declared.verify_required,
                from: declared.from.iter().map(|network| network.0.clone()).collect(),
            },
        }))
    }

    fn role(&self, name: &ObjectName, declared: &file::Role) -> Result<Content, ResolveError> {
        let value = |what| ResolveError::Value { kind: Kind::Role, name: name.to_string(), what };
        let (unix_group_mode, groups) =
            match (&declared.unix_groups.at_least, &declared.unix_groups.exactly) {
                (None, None) => (UnixGroupMode::HandsOff, &Vec::new()),
                (Some(groups), None) => (UnixGroupMode::AtLeast, groups),
                (None, Some(groups)) => (UnixGroupMode::Exactly, groups),
                (Some(_), Some(_)) => {
                    return Err(value("`at_least` and `exactly` exclude each other"));
                }
            };
        let (mut unix_groups, mut host_unix_groups) = (BTreeSet::new(), BTreeSet::new());
        for group in groups {
            match self.find((Kind::Role, name.as_str()), Kind::UnixGroup, group.0.as_str()) {
                Ok(id) => drop(unix_groups.insert(id)),
                Err(_) => drop(host_unix_groups.insert(group.0.clone())),
            }
        }
        let mut sudo = Vec::new();
        for rule in &declared.sudo {
            if rule.commands.is_empty() {
                return Err(value("a sudo rule has no command"));
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

    fn assignment(
        &self,
        name: &ObjectName,
        declared: &file::Assignment,
    ) -> Result<Content, ResolveError> {
        let from = (Kind::Assignment, name.as_str());
        let value =
            |what| ResolveError::Value { kind: Kind::Assignment, name: name.to_string(), what };
        let subject = match (&declared.user, &declared.group) {
            (Some(login), None) => self.find(from, Kind::User, login.0.as_str())?,
            (None, Some(group)) => self.find(from, Kind::Group, group.0.as_str())?,
            _ => return Err(value("it needs a `user` or a `group`, one of them")),
        };
        let starts = declared.from.as_ref().map(|when| when.0.start());
        let until = declared.until.as_ref().map(|when| when.0.end());
        if starts.zip(until).is_some_and(|(starts, until)| starts >= until) {
            return Err(value("`until` is not after `from`"));
        }
        Ok(Content::Assignment(Assignment {
            name: name.clone(),
            subject,
            role: self.find(from, Kind::Role, declared.role.0.as_str())?,
            hosts: declared.hosts.0.clone(),
            from: starts,
            until,
            reason: inner(declared.reason.as_ref()).unwrap_or_default(),
            ticket: inner(declared.ticket.as_ref()).unwrap_or_default(),
            recertify_by: None,
        }))
    }

    fn remove_all(&mut self, declared: &Declared) -> Result<(), ResolveError> {
        let absent = &declared.absent;
        let mut names: Vec<(Kind, String)> = Vec::new();
        names.extend(absent.users.iter().map(|name| (Kind::User, name.0.to_string())));
        names.extend(absent.groups.iter().map(|name| (Kind::Group, name.0.to_string())));
        names.extend(absent.unix_groups.iter().map(|name| (Kind::UnixGroup, name.0.to_string())));
        names.extend(absent.roles.iter().map(|name| (Kind::Role, name.0.to_string())));
        names.extend(absent.assignments.iter().map(|name| (Kind::Assignment, name.0.to_string())));
        for (kind, name) in names {
            let Some(statement) = self.current(kind, &name) else {
                return Err(if self.ids.contains_key(&(kind, name.clone())) {
                    ResolveError::Both { kind, name }
                } else {
                    ResolveError::NotThere { kind, name }
                });
            };
            if self.changed.contains_key(&statement.id) {
                return Err(ResolveError::Both { kind, name });
            }
            if statement.content.state() != LeafState::Removed {
                self.put(kind, &name, Content::Removal(kind))?;
            }
        }
        Ok(())
    }

    fn finish(self) -> Resolved {
        let (statements, mut differences): (Vec<_>, Vec<_>) = self.changed.into_values().unzip();
        differences.sort_by(|a, b| (a.kind, &a.name).cmp(&(b.kind, &b.name)));
        Resolved { statements, differences }
    }
}

fn inner<T: Clone>(text: Option<&Text<T>>) -> Option<T> {
    text.map(|text| text.0.clone())
}

fn sudo_rule(declared: &file::SudoRule) -> SudoRule {
    let root = || RunAsUser::parse("root").unwrap_or(RunAsUser::Any);
    SudoRule {
        run_as: RunAs {
            user: inner(declared.run_as.as_ref()).unwrap_or_else(root),
            group: inner(declared.run_as_group.as_ref()),
        },
        commands: declared.commands.iter().map(|command| command.0.clone()).collect(),
        password: match declared.password {
            file::SudoPassword::None => SudoPassword::None,
            file::SudoPassword::Required => SudoPassword::Required,
        },
        noexec: declared.noexec,
        directory: inner(declared.directory.as_ref()),
    }
}

/// Returns the removal of a user and of every assignment that names them alone.
pub fn removal_of(chain: &Chain, login: &Login) -> Option<Resolved> {
    let user = *chain.taken().logins.get(login)?;
    let mut resolved = Resolved::default();
    for (id, statement) in chain.statements() {
        let goes = match &statement.content {
            statement::Content::Assignment(assignment) => assignment.subject == user,
            statement::Content::Adoption(adoption) => adoption.user == user,
            statement::Content::User(_) | statement::Content::Revoked { .. } => *id == user,
            _ => false,
        };
        if !goes {
            continue;
        }
        let (kind, name) = (statement.content.kind(), statement.content.name());
        let name = name.map_or_else(|| login.to_string(), ToOwned::to_owned);
        resolved.statements.push(Statement {
            lineage: chain.lineage(),
            id: *id,
            revision: statement.revision + 1,
            previous: Some(statement.digest()),
            reinstates: statement.reinstates.clone(),
            content: Content::Removal(kind),
        });
        resolved.differences.push(Difference {
            kind,
            name,
            before: Some(statement.content.clone()),
            after: Content::Removal(kind),
        });
    }
    Some(resolved)
}
