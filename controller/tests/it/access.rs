//! Who can do what where: from the directory and the labels that hosts report.

use std::collections::BTreeSet;

use muster_controller::{
    access::{self, Access, Ground},
    preview::HostLabels,
};
use muster_proto::{
    crypto::sha256,
    id::Id,
    link::{Revocation, Target},
    name::Line,
    revocations::Revocations,
    statement::{Content, LoginMethod, Statement},
    sudo::{RunAs, RunAsUser, SudoCommand, SudoPassword, SudoRule},
    time::{Now, Timestamp},
};

use crate::{
    host::labels,
    world::{Key, NOW, World, id},
};

fn hosts() -> Vec<HostLabels> {
    let host = |hostname: &str, tier: &str| HostLabels {
        id: sha256(&[hostname.as_bytes()]),
        hostname: hostname.to_owned(),
        labels: labels(&[("tier", tier)]),
    };
    vec![host("web1", "web"), host("db2", "db"), host("db1", "db")]
}

fn sudo(command: SudoCommand) -> SudoRule {
    SudoRule {
        run_as: RunAs { user: RunAsUser::parse("root").unwrap(), group: None },
        commands: vec![command],
        password: SudoPassword::None,
        noexec: false,
        directory: None,
    }
}

fn ending(mut statement: Statement, at: Timestamp) -> Statement {
    match &mut statement.content {
        Content::User(user) => user.ends = Some(at),
        Content::Assignment(assignment) => assignment.until = Some(at),
        _ => panic!("it does not end"),
    }
    statement
}

/// Two users of a group that is on all databases, one of whom is root on `db1` by herself.
fn world() -> World {
    let mut world = World::new();
    let mut root = world.role("root", &[]);
    if let Content::Role(role) = &mut root.content {
        role.sudo = vec![sudo(SudoCommand::All)];
    }
    let mut plain = world.role("plain", &[]);
    if let Content::Role(role) = &mut plain.content {
        role.sudo = vec![sudo(SudoCommand::parse("/usr/bin/id").unwrap())];
    }
    world.publish(vec![
        world.group("dba"),
        world.user("ana", 1_000, &["dba"]),
        ending(world.user("bob", 1_001, &["dba"]), NOW.plus(500)),
        plain,
        root,
        ending(world.assignment("dbas", "dba", "plain", "tier=db", None), NOW.plus(1_000)),
        ending(world.assignment("ana-root", "ana", "root", "muster/x=1", None), NOW.plus(2_000)),
    ]);
    world
}

fn ask(world: &World, revocations: &Revocations, now: Timestamp) -> Vec<Access> {
    let mut hosts = hosts();
    hosts[2].labels.insert("muster/x", "1").unwrap();
    let ground = Ground { statements: world.chain.statements(), revocations, now: Now::at(now) };
    access::on(&ground, &hosts)
}

fn names(found: &[Access]) -> Vec<String> {
    found.iter().map(|access| format!("{} on {}", access.login, access.host.hostname)).collect()
}

#[test]
fn everybody_is_named_with_how_why_and_until_when() {
    let world = world();
    let found = ask(&world, world.chain.revocations(), NOW);
    assert_eq!(names(&found), ["ana on db1", "bob on db1", "ana on db2", "bob on db2"]);
    let [ana, bob, elsewhere, _] = &found[..] else { panic!("{found:?}") };
    assert_eq!(ana.methods, BTreeSet::from([LoginMethod::Key]));
    let key = Key::new("ana").public().shown_fingerprint();
    assert!(ana.keys.iter().all(|shown| shown.contains(&key)) && ana.keys.len() == 1);
    let given = |access: &Access| -> Vec<(String, String)> {
        let pair = |by: &access::By| (by.assignment.to_string(), by.role.1.clone());
        access.by.iter().map(pair).collect()
    };
    let pair = |a: &str, b: &str| (a.to_owned(), b.to_owned());
    let mut both = given(ana);
    both.sort();
    assert_eq!(both, [pair("ana-root", "root"), pair("dbas", "plain")]);
    assert_eq!(given(bob), [pair("dbas", "plain")]);
    assert_eq!(ana.until, Some(NOW.plus(2_000)), "the last of her assignments");
    assert_eq!(elsewhere.until, Some(NOW.plus(1_000)));
    assert_eq!(bob.until, Some(NOW.plus(500)), "he ends before what he was given");
}

#[test]
fn root_is_named_where_it_is_and_by_what() {
    let world = world();
    let found = ask(&world, world.chain.revocations(), NOW);
    let root: Vec<String> = found
        .iter()
        .filter(|access| !access.root_by.is_empty())
        .map(|access| format!("{} on {}: {:?}", access.login, access.host.hostname, access.root_by))
        .collect();
    assert_eq!(root, ["ana on db1: {\"sudo as root, NOPASSWD: ALL (role root)\"}"]);
}

#[test]
fn what_has_ended_or_was_revoked_is_not_named() {
    let world = world();
    let at = |seconds| names(&ask(&world, world.chain.revocations(), NOW.plus(seconds)));
    assert_eq!(at(499).len(), 4);
    assert_eq!(at(500), ["ana on db1", "ana on db2"], "bob has ended");
    assert_eq!(at(1_000), ["ana on db1"], "the group's assignment has ended");
    assert!(at(2_000).is_empty());
    let revoke = |target| {
        let (lineage, reason) = (world.lineage(), Line::parse("a test").unwrap());
        let mut revocations = world.chain.revocations().clone();
        revocations.insert(&Revocation { lineage, id: id("r"), time: NOW, reason, target });
        names(&ask(&world, &revocations, NOW))
    };
    let ana = Target::Statement { id: id("ana"), revision: 1 };
    assert_eq!(revoke(ana), ["bob on db1", "bob on db2"]);
    assert_eq!(revoke(Target::Host(hosts()[1].id)), ["ana on db1", "bob on db1"]);
    let membership = Target::Membership { user: id("bob"), group: id("dba") };
    assert_eq!(revoke(membership), ["ana on db1", "ana on db2"]);
}

#[test]
fn whatever_never_ends_has_no_end() {
    let mut world = world();
    let endless = world.assignment("more", "ana", "plain", "tier=db", None);
    world.publish(vec![endless]);
    let found = ask(&world, world.chain.revocations(), NOW);
    let ana: Vec<Option<Timestamp>> =
        found.iter().filter(|access| access.login.as_str() == "ana").map(|a| a.until).collect();
    assert_eq!(ana, [None, None]);
    let ids: BTreeSet<Id> = found[0].by.iter().map(|by| by.id).collect();
    assert_eq!(ids, BTreeSet::from([id("ana-root"), id("dbas"), id("more")]));
}
