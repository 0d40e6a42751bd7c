//! Statements and directory entries between wire and domain.

use std::collections::BTreeSet;

use super::{Fault, digest_bytes, kind, known, required, some_digest};
use crate::{
    id::{Digest, Id},
    key::SshPublicKey,
    name::{AbsolutePath, FullName, Gid, Line, Login, ObjectName, Uid, UnixGroupName},
    options::{ForcedCommand, KeyOptions},
    selector::Selector,
    statement::{
        Adoption, Assignment, Content, Entry, Group, HomeMode, LeafState, LoginMethod, MemberList,
        PasswordPolicy, Restrictions, Role, SourceNetwork, Statement, UnixGroup, UnixGroupMode,
        User, UserKey, UserKind,
    },
    sudo::{BadSudo, RunAs, RunAsUser, SudoCommand, SudoPassword, SudoRule},
    time::Timestamp,
    wire::{self, statement::Content as WireContent},
};

impl TryFrom<wire::Statement> for Statement {
    type Error = Fault;

    fn try_from(wire: wire::Statement) -> Result<Self, Fault> {
        if wire.revision == 0 {
            return Err(Fault::Missing("revision"));
        }
        let content = match required(wire.content, "content")? {
            WireContent::User(user) => Content::User(user.try_into()?),
            WireContent::Group(group) => {
                Content::Group(Group { name: ObjectName::parse(&group.name)? })
            }
            WireContent::UnixGroup(group) => Content::UnixGroup(group.try_into()?),
            WireContent::Role(role) => Content::Role(role.try_into()?),
            WireContent::Assignment(a) => Content::Assignment(a.try_into()?),
            WireContent::Adoption(adoption) => Content::Adoption(adoption.try_into()?),
            WireContent::Removal(removal) => Content::Removal(kind(removal.kind)?),
            WireContent::Revoked(revoked) => Content::Revoked {
                kind: kind(revoked.kind)?,
                revocation: Id::parse(&revoked.revocation)?,
            },
        };
        Ok(Self {
            lineage: Digest::parse(&wire.lineage)?,
            id: Id::parse(&wire.id)?,
            revision: wire.revision,
            previous: some_digest(&wire.previous)?,
            reinstates: ids(&wire.reinstates)?,
            content,
        })
    }
}

impl From<&Statement> for wire::Statement {
    fn from(statement: &Statement) -> Self {
        let content = match &statement.content {
            Content::User(user) => WireContent::User(user.into()),
            Content::Group(group) => {
                WireContent::Group(wire::Group { name: group.name.to_string() })
            }
            Content::UnixGroup(group) => WireContent::UnixGroup(group.into()),
            Content::Role(role) => WireContent::Role(role.into()),
            Content::Assignment(assignment) => WireContent::Assignment(assignment.into()),
            Content::Adoption(adoption) => WireContent::Adoption(adoption.into()),
            Content::Removal(kind) => {
                WireContent::Removal(wire::Removal { kind: wire::Kind::from(*kind).into() })
            }
            Content::Revoked { kind, revocation } => WireContent::Revoked(wire::Revoked {
                kind: wire::Kind::from(*kind).into(),
                revocation: revocation.as_bytes().to_vec(),
            }),
        };
        Self {
            lineage: statement.lineage.as_bytes().to_vec(),
            id: statement.id.as_bytes().to_vec(),
            revision: statement.revision,
            previous: digest_bytes(statement.previous),
            reinstates: id_bytes(&statement.reinstates),
            content: Some(content),
        }
    }
}

fn ids(bytes: &[Vec<u8>]) -> Result<BTreeSet<Id>, Fault> {
    bytes.iter().map(|id| Id::parse(id).map_err(Fault::from)).collect()
}

fn id_bytes(ids: &BTreeSet<Id>) -> Vec<Vec<u8>> {
    ids.iter().map(|id| id.as_bytes().to_vec()).collect()
}

pub(super) fn some_path(text: &str) -> Result<Option<AbsolutePath>, Fault> {
    if text.is_empty() { Ok(None) } else { Ok(Some(AbsolutePath::parse(text)?)) }
}

pub(super) fn some_home_mode(bits: u32) -> Result<Option<HomeMode>, Fault> {
    Ok((bits != 0).then(|| HomeMode::from_bits(bits)).transpose()?)
}

pub(super) fn path_text(path: Option<&AbsolutePath>) -> String {
    path.map(ToString::to_string).unwrap_or_default()
}

impl TryFrom<wire::User> for User {
    type Error = Fault;

    fn try_from(wire: wire::User) -> Result<Self, Fault> {
        let mut keys = Vec::new();
        for key in wire.keys {
            let key = UserKey::try_from(key)?;
            if keys.last().is_some_and(|last: &UserKey| last.key >= key.key) {
                return Err(Fault::NotCanonical);
            }
            keys.push(key);
        }
        let restrictions = wire.restrictions.map(Restrictions::try_from).transpose()?;
        Ok(Self {
            login: Login::parse(&wire.login)?,
            uid: Uid::parse(wire.uid)?,
            name: FullName::parse(&wire.name)?,
            keys,
            groups: ids(&wire.groups)?,
            shell: some_path(&wire.shell)?,
            home: some_path(&wire.home)?,
            home_mode: some_home_mode(wire.home_mode)?,
            starts: wire.starts.map(Timestamp),
            ends: wire.ends.map(Timestamp),
            kind: match known::<wire::UserKind>(wire.kind, "kind")? {
                wire::UserKind::Person => UserKind::Person,
                wire::UserKind::Service => UserKind::Service,
            },
            restrictions: restrictions.unwrap_or_default(),
        })
    }
}

impl From<&User> for wire::User {
    fn from(user: &User) -> Self {
        let keys = user.keys.iter().map(wire::UserKey::from);
        let restrictions = &user.restrictions;
        Self {
            login: user.login.to_string(),
            uid: user.uid.get(),
            name: user.name.to_string(),
            keys: keys.collect(),
            groups: id_bytes(&user.groups),
            shell: path_text(user.shell.as_ref()),
            home: path_text(user.home.as_ref()),
            home_mode: user.home_mode.map_or(0, HomeMode::bits),
            starts: user.starts.map(|time| time.0),
            ends: user.ends.map(|time| time.0),
            kind: match user.kind {
                UserKind::Person => wire::UserKind::Person,
                UserKind::Service => wire::UserKind::Service,
            }
            .into(),
            restrictions: (*restrictions != Restrictions::default()).then(|| restrictions.into()),
        }
    }
}

impl TryFrom<wire::UserKey> for UserKey {
    type Error = Fault;

    fn try_from(wire: wire::UserKey) -> Result<Self, Fault> {
        let command = match wire.command.as_str() {
            "" => None,
            text => Some(ForcedCommand::parse(text)?),
        };
        Ok(Self {
            key: SshPublicKey::from_blob(&wire.key)?,
            comment: Line::parse(&wire.comment)?,
            options: KeyOptions { from: networks(&wire.from)?, command, restrict: wire.restrict },
        })
    }
}

impl From<&UserKey> for wire::UserKey {
    fn from(key: &UserKey) -> Self {
        let KeyOptions { from, command, restrict } = &key.options;
        Self {
            key: key.key.blob().to_vec(),
            comment: key.comment.to_string(),
            from: network_texts(from),
            command: command.as_ref().map(ToString::to_string).unwrap_or_default(),
            restrict: *restrict,
        }
    }
}

fn networks(texts: &[String]) -> Result<BTreeSet<SourceNetwork>, Fault> {
    Ok(texts.iter().map(|text| SourceNetwork::parse(text)).collect::<Result<_, _>>()?)
}

fn network_texts(networks: &BTreeSet<SourceNetwork>) -> Vec<String> {
    networks.iter().map(|network| network.as_str().to_owned()).collect()
}

impl TryFrom<wire::Restrictions> for Restrictions {
    type Error = Fault;

    fn try_from(wire: wire::Restrictions) -> Result<Self, Fault> {
        Ok(Self {
            hardware_keys_only: wire.hardware_keys_only,
            verify_required: wire.verify_required,
            from: networks(&wire.from)?,
        })
    }
}

impl From<&Restrictions> for wire::Restrictions {
    fn from(restrictions: &Restrictions) -> Self {
        Self {
            hardware_keys_only: restrictions.hardware_keys_only,
            verify_required: restrictions.verify_required,
            from: network_texts(&restrictions.from),
        }
    }
}

impl TryFrom<wire::UnixGroup> for UnixGroup {
    type Error = Fault;

    fn try_from(wire: wire::UnixGroup) -> Result<Self, Fault> {
        Ok(Self {
            name: UnixGroupName::parse_own(&wire.name)?,
            gid: Gid::parse(wire.gid)?,
            members: match known::<wire::MemberList>(wire.members, "members")? {
                wire::MemberList::AtLeast => MemberList::AtLeast,
                wire::MemberList::Exactly => MemberList::Exactly,
            },
        })
    }
}

impl From<&UnixGroup> for wire::UnixGroup {
    fn from(group: &UnixGroup) -> Self {
        Self {
            name: group.name.to_string(),
            gid: group.gid.get(),
            members: match group.members {
                MemberList::AtLeast => wire::MemberList::AtLeast,
                MemberList::Exactly => wire::MemberList::Exactly,
            }
            .into(),
        }
    }
}

impl TryFrom<wire::Role> for Role {
    type Error = Fault;

    fn try_from(wire: wire::Role) -> Result<Self, Fault> {
        let host_unix_groups: Result<BTreeSet<_>, _> =
            wire.host_unix_groups.iter().map(|name| UnixGroupName::parse(name)).collect();
        let sudo: Result<Vec<_>, _> = wire.sudo.into_iter().map(SudoRule::try_from).collect();
        let login_methods: Result<BTreeSet<_>, Fault> =
            wire.login_methods.iter().map(|method| login_method(*method)).collect();
        Ok(Self {
            name: ObjectName::parse(&wire.name)?,
            unix_group_mode: unix_group_mode(wire.unix_group_mode)?,
            unix_groups: ids(&wire.unix_groups)?,
            host_unix_groups: host_unix_groups?,
            sudo: sudo?,
            login_methods: login_methods?,
            password: wire.password.map(PasswordPolicy::from),
        })
    }
}

pub(super) fn login_method(value: i32) -> Result<LoginMethod, Fault> {
    Ok(match known::<wire::LoginMethod>(value, "login_methods")? {
        wire::LoginMethod::Key => LoginMethod::Key,
        wire::LoginMethod::HardwareKey => LoginMethod::HardwareKey,
        wire::LoginMethod::Password => LoginMethod::Password,
        wire::LoginMethod::Unspecified => return Err(Fault::Missing("login_methods")),
    })
}

pub(super) fn wire_method(method: LoginMethod) -> i32 {
    match method {
        LoginMethod::Key => wire::LoginMethod::Key,
        LoginMethod::HardwareKey => wire::LoginMethod::HardwareKey,
        LoginMethod::Password => wire::LoginMethod::Password,
    }
    .into()
}

pub(super) fn unix_group_mode(value: i32) -> Result<UnixGroupMode, Fault> {
    Ok(match known::<wire::UnixGroupMode>(value, "unix_group_mode")? {
        wire::UnixGroupMode::HandsOff => UnixGroupMode::HandsOff,
        wire::UnixGroupMode::AtLeast => UnixGroupMode::AtLeast,
        wire::UnixGroupMode::Exactly => UnixGroupMode::Exactly,
    })
}

pub(super) fn wire_mode(mode: UnixGroupMode) -> i32 {
    match mode {
        UnixGroupMode::HandsOff => wire::UnixGroupMode::HandsOff,
        UnixGroupMode::AtLeast => wire::UnixGroupMode::AtLeast,
        UnixGroupMode::Exactly => wire::UnixGroupMode::Exactly,
    }
    .into()
}

impl From<&Role> for wire::Role {
    fn from(role: &Role) -> Self {
        Self {
            name: role.name.to_string(),
            unix_group_mode: wire_mode(role.unix_group_mode),
            unix_groups: id_bytes(&role.unix_groups),
            host_unix_groups: role.host_unix_groups.iter().map(ToString::to_string).collect(),
            sudo: role.sudo.iter().map(wire::SudoRule::from).collect(),
            login_methods: role.login_methods.iter().map(|method| wire_method(*method)).collect(),
            password: role.password.map(wire::PasswordPolicy::from),
        }
    }
}

impl TryFrom<wire::SudoRule> for SudoRule {
    type Error = Fault;

    fn try_from(wire: wire::SudoRule) -> Result<Self, Fault> {
        let user = if wire.run_as_user.is_empty() { "root" } else { &wire.run_as_user };
        let group = match wire.run_as_group.as_str() {
            "" => None,
            name => Some(UnixGroupName::parse(name)?),
        };
        let commands: Result<Vec<_>, _> =
            wire.commands.iter().map(|command| SudoCommand::parse(command)).collect();
        if wire.commands.is_empty() {
            return Err(BadSudo::Empty.into());
        }
        Ok(Self {
            run_as: RunAs { user: RunAsUser::parse(user)?, group },
            commands: commands?,
            password: match known::<wire::SudoPassword>(wire.password, "password")? {
                wire::SudoPassword::None => SudoPassword::None,
                wire::SudoPassword::Required => SudoPassword::Required,
            },
            noexec: wire.noexec,
            directory: some_path(&wire.directory)?,
        })
    }
}

impl From<&SudoRule> for wire::SudoRule {
    fn from(rule: &SudoRule) -> Self {
        let user = match rule.run_as.user.to_string() {
            root if root == "root" => String::new(),
            other => other,
        };
        Self {
            run_as_user: user,
            run_as_group: rule.run_as.group.as_ref().map(ToString::to_string).unwrap_or_default(),
            commands: rule.commands.iter().map(ToString::to_string).collect(),
            password: match rule.password {
                SudoPassword::None => wire::SudoPassword::None,
                SudoPassword::Required => wire::SudoPassword::Required,
            }
            .into(),
            noexec: rule.noexec,
            directory: path_text(rule.directory.as_ref()),
        }
    }
}

impl TryFrom<wire::Assignment> for Assignment {
    type Error = Fault;

    fn try_from(wire: wire::Assignment) -> Result<Self, Fault> {
        Ok(Self {
            name: ObjectName::parse(&wire.name)?,
            subject: Id::parse(&wire.subject)?,
            role: Id::parse(&wire.role)?,
            hosts: Selector::parse(&wire.hosts)?,
            from: wire.from.map(Timestamp),
            until: wire.until.map(Timestamp),
            reason: Line::parse(&wire.reason)?,
            ticket: Line::parse(&wire.ticket)?,
            recertify_by: wire.recertify_by.map(Timestamp),
        })
    }
}

impl From<&Assignment> for wire::Assignment {
    fn from(assignment: &Assignment) -> Self {
        Self {
            name: assignment.name.to_string(),
            subject: assignment.subject.as_bytes().to_vec(),
            role: assignment.role.as_bytes().to_vec(),
            hosts: assignment.hosts.to_string(),
            from: assignment.from.map(|time| time.0),
            until: assignment.until.map(|time| time.0),
            reason: assignment.reason.to_string(),
            ticket: assignment.ticket.to_string(),
            recertify_by: assignment.recertify_by.map(|time| time.0),
        }
    }
}

impl TryFrom<wire::Adoption> for Adoption {
    type Error = Fault;

    fn try_from(wire: wire::Adoption) -> Result<Self, Fault> {
        Ok(Self {
            user: Id::parse(&wire.user)?,
            host: Digest::parse(&wire.host)?,
            login: Login::parse(&wire.login)?,
            uid: Uid::parse(wire.uid)?,
        })
    }
}

impl From<&Adoption> for wire::Adoption {
    fn from(adoption: &Adoption) -> Self {
        Self {
            user: adoption.user.as_bytes().to_vec(),
            host: adoption.host.as_bytes().to_vec(),
            login: adoption.login.to_string(),
            uid: adoption.uid.get(),
        }
    }
}

impl TryFrom<wire::DirectoryEntry> for Entry {
    type Error = Fault;

    fn try_from(wire: wire::DirectoryEntry) -> Result<Self, Fault> {
        Ok(Self {
            kind: kind(wire.kind)?,
            id: Id::parse(&wire.id)?,
            revision: wire.revision,
            digest: Digest::parse(&wire.digest)?,
            state: match known::<wire::LeafState>(wire.state, "state")? {
                wire::LeafState::Live => LeafState::Live,
                wire::LeafState::Revoked => LeafState::Revoked,
                wire::LeafState::Removed => LeafState::Removed,
            },
        })
    }
}

impl From<&Entry> for wire::DirectoryEntry {
    fn from(entry: &Entry) -> Self {
        Self {
            kind: wire::Kind::from(entry.kind).into(),
            id: entry.id.as_bytes().to_vec(),
            revision: entry.revision,
            digest: entry.digest.as_bytes().to_vec(),
            state: match entry.state {
                LeafState::Live => wire::LeafState::Live,
                LeafState::Revoked => wire::LeafState::Revoked,
                LeafState::Removed => wire::LeafState::Removed,
            }
            .into(),
        }
    }
}
