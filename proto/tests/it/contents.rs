//! What statements say, in a few words.

use std::collections::BTreeSet;

use muster_proto::{
    crypto::sha256,
    id::Digest,
    key::SshPublicKey,
    link::LogHead,
    name::{FullName, Gid, Line, Login, Uid, UnixGroupName},
    options::KeyOptions,
    selector::Selector,
    statement::{
        Adoption, Assignment, Content, Group, MemberList, Role, UnixGroup, UnixGroupMode, User,
        UserKey, UserKind,
    },
    sudo::{RunAs, RunAsUser, SudoCommand, SudoPassword, SudoRule},
};

use super::{
    keys::Signer,
    world::{Shape, World, id, line, name},
};

pub fn key(tag: &str) -> SshPublicKey {
    Signer::new(tag).public()
}

pub fn user(login: &str, uid: u32, keys: &[&str], groups: &[&str]) -> Content {
    let mut keys: Vec<UserKey> = keys
        .iter()
        .map(|tag| UserKey { key: key(tag), comment: line(tag), options: KeyOptions::default() })
        .collect();
    keys.sort();
    Content::User(User {
        login: Login::parse(login).unwrap(),
        uid: Uid::parse(uid).unwrap(),
        name: FullName::parse("Some Body").unwrap(),
        keys,
        groups: groups.iter().map(|group| id(group)).collect(),
        shell: None,
        home: None,
        home_mode: None,
        starts: None,
        ends: None,
        kind: UserKind::Person,
        restrictions: muster_proto::statement::Restrictions::default(),
    })
}

pub fn group(text: &str) -> Content {
    Content::Group(Group { name: name(text) })
}

pub fn unix_group(text: &str, gid: u32) -> Content {
    let name = UnixGroupName::parse_own(text).unwrap();
    Content::UnixGroup(UnixGroup {
        name,
        gid: Gid::parse(gid).unwrap(),
        members: MemberList::AtLeast,
    })
}

pub fn role(text: &str, sudo: &[&str]) -> Content {
    let rule = |command: &&str| SudoRule {
        run_as: RunAs { user: RunAsUser::parse("root").unwrap(), group: None },
        commands: vec![SudoCommand::parse(command).unwrap()],
        password: SudoPassword::None,
        noexec: false,
        directory: None,
    };
    Content::Role(Role {
        name: name(text),
        unix_group_mode: UnixGroupMode::HandsOff,
        unix_groups: BTreeSet::new(),
        host_unix_groups: BTreeSet::new(),
        sudo: sudo.iter().map(rule).collect(),
        login_methods: BTreeSet::new(),
        password: None,
    })
}

pub fn assignment(text: &str, subject: &str, role: &str, hosts: &str) -> Content {
    Content::Assignment(Assignment {
        name: name(text),
        subject: id(subject),
        role: id(role),
        hosts: Selector::parse(hosts).unwrap(),
        from: None,
        until: None,
        reason: line("OPS-1"),
        ticket: Line::default(),
        recertify_by: None,
    })
}

pub fn adoption(user: &str, login: &str, host: Digest, uid: u32) -> Content {
    let (login, uid) = (Login::parse(login).unwrap(), Uid::parse(uid).unwrap());
    Content::Adoption(Adoption { user: id(user), host, login, uid })
}

pub fn log_head() -> LogHead {
    LogHead { origin: "fleet/log".to_owned(), size: 0, root: sha256(&[]) }
}

/// Alice in `dba`, with a role, on every `env=prod` host.
pub fn staffed(shape: Shape) -> World {
    let mut world = World::new(shape);
    staff(&mut world);
    world
}

/// Publishes them in a world of one's own.
pub fn staff(world: &mut World) {
    world.publish(vec![
        (id("alice"), user("alice", 10_001, &["alice key"], &["dba"])),
        (id("dba"), group("dba")),
        (id("admin"), role("admin", &["ALL"])),
        (id("dbas"), assignment("dbas", "dba", "admin", "env=prod")),
    ]);
}
