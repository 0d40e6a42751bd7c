//! Who can become root by what a change gives, and where.

use std::collections::{BTreeMap, BTreeSet};

use muster_controller::preview::reaches_root;
use muster_proto::{
    desired::{Entitlement, UnixGroupGrant},
    name::{Gid, Login, UnixGroupName},
    statement::{LoginMethod, MemberList},
    sudo::{RunAs, RunAsUser, SudoCommand, SudoPassword, SudoRule},
};

use crate::{
    plan::{effects, people, resolved},
    world::{World, name},
};

fn rule(user: &str, group: Option<&str>, command: &str) -> Entitlement {
    let run_as = RunAs {
        user: RunAsUser::parse(user).unwrap(),
        group: group.map(|group| UnixGroupName::parse(group).unwrap()),
    };
    let commands = vec![SudoCommand::parse(command).unwrap()];
    let password = SudoPassword::Required;
    let rule = SudoRule { run_as, commands, password, noexec: false, directory: None };
    Entitlement::Sudo(name("r"), rule)
}

#[test]
fn root_is_reached_by_all_as_root_and_by_every_unix_group_that_is_as_good() {
    let host = |group: &str| Entitlement::HostUnixGroup(UnixGroupName::parse(group).unwrap());
    let own = |group: &str| {
        let name = UnixGroupName::parse(group).unwrap();
        let (gid, members) = (Gid::parse(30_000).unwrap(), MemberList::AtLeast);
        Entitlement::UnixGroup(UnixGroupGrant { name, gid, members })
    };
    for (entitlement, reaches) in [
        (rule("root", None, "ALL"), true),
        (rule("ALL", None, "ALL"), true),
        (rule("postgres", Some("docker"), "ALL"), true),
        (rule("postgres", Some("postgres"), "ALL"), false),
        (rule("postgres", None, "ALL"), false),
        (rule("root", None, "/usr/bin/id"), false),
        (host("docker"), true),
        (host("incus-admin"), true),
        (host("kmem"), true),
        (host("postgres"), false),
        (own("podman"), true),
        (own("dbdata"), false),
        (Entitlement::Login(LoginMethod::Password), false),
    ] {
        assert_eq!(reaches_root(&entitlement), reaches, "{entitlement:?}");
    }
}

#[test]
fn an_effect_names_who_gains_and_who_loses_root_on_the_hosts_where_it_is_so() {
    let mut world = World::new();
    let first = resolved(&world, &people(), &[]);
    world.publish(first.statements);
    let root = resolved(&world, "roles:\n  dba: {sudo: [{commands: [ALL]}]}\n", &[]);
    let ana = || BTreeSet::from([Login::parse("ana").unwrap()]);
    let [effect] = &effects(&world, &root)[..] else { panic!("one host is concerned") };
    assert_eq!(effect.hostname, "db1");
    assert_eq!((&effect.gained, &effect.lost), (&BTreeSet::new(), &BTreeSet::new()));
    assert_eq!((&effect.gains_root, &effect.loses_root), (&ana(), &BTreeSet::new()));
    world.publish(root.statements);
    let away = resolved(&world, "absent: {assignments: [dbas]}\n", &[]);
    let [effect] = &effects(&world, &away)[..] else { panic!("one host is concerned") };
    assert_eq!((&effect.gains_root, &effect.loses_root), (&BTreeSet::new(), &ana()));
    assert_eq!((&effect.lost, &effect.changed), (&ana(), &BTreeMap::new()));
    world.publish(away.statements);
    assert_eq!(effects(&world, &resolved(&world, "groups: {other: {}}\n", &[])), []);
}
