//! What was found on a host, proposed as a change: read back, it is what was found and nothing else.

use std::collections::BTreeSet;

use muster_controller::{
    declare::{Resolved, read::parse, resolve, resolve::Ground},
    preview::HostLabels,
    proposal::{Inexpressible, Site, propose},
};
use muster_proto::{
    drift::{Drift, DriftKind, Response, Severity},
    id::{Digest, Kind},
    inventory::{Inventory, LocalAccount, LocalPassword},
    link::Target,
    name::{AbsolutePath, FullName, UnixGroupName},
    selector::{HOSTNAME, Labels},
    statement::{Content, User},
    time::Timestamp,
};

use crate::world::{World, id};

const KEY: &str =
    "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8g";
const OTHER: &str =
    "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";

/// A host as it joined, and the label by which it says what it is called.
fn host(id: u8, hostname: &str, label: Option<&str>) -> HostLabels {
    let mut labels = Labels::default();
    if let Some(label) = label {
        labels.insert(HOSTNAME, label).unwrap();
    }
    HostLabels { id: Digest::new([id; 32]), hostname: hostname.to_owned(), labels }
}

fn hosts() -> Vec<HostLabels> {
    vec![host(1, "db1", Some("db1")), host(2, "web1", Some("web1"))]
}

fn resolved(world: &World, yaml: &str) -> Resolved {
    let mut made = 0_u32;
    let mut new_id = || {
        made += 1;
        id(&format!("{} {made}", world.links.len()))
    };
    let (chain, history, hosts) = (&world.chain, &world.history, hosts());
    let reinstate = BTreeSet::new();
    let (new_id, now) = (&mut new_id, world.time);
    let mut ground = Ground { chain, history, reinstate: &reinstate, hosts: &hosts, new_id, now };
    let declared = parse(yaml, "x.yaml".as_ref()).unwrap_or_else(|error| panic!("{error}: {yaml}"));
    resolve(&declared, &mut ground).unwrap_or_else(|error| panic!("{error}: {yaml}"))
}

fn publish(world: &mut World, yaml: &str) {
    let mut statements = resolved(world, yaml).statements;
    statements.sort_by_key(|statement| statement.id);
    world.publish(statements);
}

/// A fleet one of whose people has one of everything that a file can say of her.
fn fleet() -> World {
    let mut world = World::new();
    let yaml = r#"
groups: {dba: {}, ops: {}}
users:
  ana:
    name: Ana "the" Example
    uid: 1234
    groups: [dba, ops]
    keys:
    - 'from="10.0.0.0/8,::1",command="/usr/bin/rsync --server .",restrict KEY ana \ "at" desk'
    - OTHER
    shell: /bin/bash
    home: /srv/ana
    home_mode: "0750"
    starts: 2023-01-01
    ends: 2027-06-30
    service: true
    hardware_keys_only: true
    verify_required: true
    from: [192.0.2.0/24]
  bob: {name: Bob Example}
"#;
    publish(&mut world, &yaml.replace("KEY", KEY).replace("OTHER", OTHER));
    world
}

fn user(world: &World, login: &str) -> User {
    let mut users = world.chain.statements().values().filter_map(|one| match &one.content {
        Content::User(user) => Some(user.clone()),
        _ => None,
    });
    users.find(|user| user.login.as_str() == login).unwrap()
}

fn drift(kind: DriftKind, subject: &str, place: &str, found: &str) -> Drift {
    Drift {
        kind: kind.as_str().to_owned(),
        subject: subject.to_owned(),
        place: place.to_owned(),
        expected: String::new(),
        found: found.to_owned(),
        since: Timestamp(100),
        severity: Severity::High,
        response: Response::Reported,
        rounds: 0,
        culprit: None,
    }
}

fn proposed(
    world: &World,
    drift: &Drift,
    accounts: &[LocalAccount],
) -> Result<String, Inexpressible> {
    propose_where(world, drift, accounts, &hosts())
}

fn propose_where(
    world: &World,
    drift: &Drift,
    accounts: &[LocalAccount],
    hosts: &[HostLabels],
) -> Result<String, Inexpressible> {
    let inventory = Inventory { accounts: accounts.to_vec(), more: 0 };
    let site =
        Site { host: &hosts[0], hosts, chain: &world.chain, inventory: Some((&inventory, "now")) };
    propose(drift, &site)
}

/// What a proposal changes, each as its kind and name with what it is to be.
fn changes(
    world: &World,
    drift: &Drift,
    accounts: &[LocalAccount],
) -> Vec<(Kind, String, Content)> {
    let text = proposed(world, drift, accounts).unwrap();
    let differences = resolved(world, &text).differences;
    differences.into_iter().map(|one| (one.kind, one.name, one.after)).collect()
}

fn account(login: &str, uid: u32, name: &str) -> LocalAccount {
    LocalAccount {
        login: login.to_owned(),
        uid,
        name: name.to_owned(),
        shell: "/bin/sh".to_owned(),
        password: LocalPassword::None,
        shut: false,
        keys: Vec::new(),
        root_by: Vec::new(),
        unknown: Vec::new(),
        owned: false,
    }
}

#[test]
fn a_field_that_was_changed_by_hand_is_proposed_and_all_else_of_the_user_stays() {
    let world = fleet();
    let shell = drift(DriftKind::AccountChanged, "ana", "shell", "/bin/zsh");
    let wanted =
        User { shell: Some(AbsolutePath::parse("/bin/zsh").unwrap()), ..user(&world, "ana") };
    let only = |user| vec![(Kind::User, "ana".to_owned(), Content::User(user))];
    assert_eq!(changes(&world, &shell, &[]), only(wanted));
    let name = drift(DriftKind::AccountChanged, "ana", "name", "Ana #2 \"x\" {y}");
    let wanted = User { name: FullName::parse("Ana #2 \"x\" {y}").unwrap(), ..user(&world, "ana") };
    assert_eq!(changes(&world, &name, &[]), only(wanted));
    // What a host has put right may be what is wanted all the same.
    let repaired = Drift { response: Response::Repaired, ..shell };
    assert_eq!(changes(&world, &repaired, &[]).len(), 1);
}

#[test]
fn what_was_revoked_of_a_user_is_in_no_proposal() {
    let mut world = fleet();
    let ana = user(&world, "ana");
    let revocation = world.revocation("lost", Target::Key(ana.keys[0].key.fingerprint()));
    world.chain.keep(&revocation).unwrap();
    let shell = drift(DriftKind::AccountChanged, "ana", "shell", "/bin/zsh");
    let text = proposed(&world, &shell, &[]).unwrap();
    let shows = |n: usize| text.contains(&ana.keys[n].key.to_string());
    assert_eq!((shows(0), shows(1)), (false, true), "{text}");
}

#[test]
fn a_member_is_proposed_by_a_role_for_that_host_which_is_there_or_is_made() {
    let mut world = fleet();
    let member = drift(DriftKind::MemberAdded, "bob", "docker", "a member");
    let new = changes(&world, &member, &[]);
    let [(_, role, Content::Role(given)), (_, _, Content::Assignment(assignment))] = &new[..]
    else {
        panic!("{new:?}");
    };
    assert_eq!(role, "unix-group-docker");
    assert_eq!(given.host_unix_groups, [UnixGroupName::parse("docker").unwrap()].into());
    assert!(given.sudo.is_empty());
    assert_eq!(assignment.hosts.to_string(), "muster/hostname=db1");
    let text = proposed(&world, &member, &[]).unwrap();
    publish(&mut world, &text);
    // For ana the role is there already, and what bob has stays his.
    let member = Drift { subject: "ana".to_owned(), ..member };
    let again = changes(&world, &member, &[]);
    assert_eq!(again.len(), 1, "{again:?}");
    assert_eq!(again[0].1, "ana-docker-db1");
    // A second time nothing that is there is altered.
    let member = Drift { subject: "bob".to_owned(), ..member };
    assert_eq!(changes(&world, &member, &[])[0].1, "bob-docker-db1-2");
}

#[test]
fn an_account_that_nobody_granted_becomes_a_user_and_is_taken_over_with_its_uid() {
    let world = fleet();
    let new = drift(DriftKind::AccountNew, "eve", "", "uid 1900, /bin/bash, a password");
    let found = [account("eve", 1_900, "Eve"), account("bob", 1_901, "Bob Example")];
    let made = changes(&world, &new, &found);
    let [(_, login, Content::User(user)), (_, adoption, Content::Adoption(taken))] = &made[..]
    else {
        panic!("{made:?}");
    };
    assert_eq!((login.as_str(), user.name.as_str(), user.keys.len()), ("eve", "Eve", 0));
    assert_eq!((adoption.as_str(), taken.uid.get()), ("eve-db1", 1_900));
    assert_eq!(taken.host, Digest::new([1; 32]));
    // Whom the directory has takes it over.
    let new = Drift { subject: "bob".to_owned(), ..new };
    let made = changes(&world, &new, &found);
    assert!(matches!(&made[..], [(_, _, Content::Adoption(_))]), "{made:?}");
}

#[test]
fn what_no_file_can_say_is_refused_with_the_reason() {
    let world = fleet();
    let found = [account("x y", 1_900, ""), account("www-data", 33, "")];
    let refused = |drift: &Drift| proposed(&world, drift, &found).unwrap_err();
    for (kind, place) in [
        (DriftKind::SudoForeign, ""),
        (DriftKind::SudoChanged, ""),
        (DriftKind::KeysUngranted, ""),
        (DriftKind::KeysChanged, ""),
        (DriftKind::UidZero, ""),
        (DriftKind::BreakGlass, ""),
        (DriftKind::Sshd, ""),
        (DriftKind::AccountChanged, "uid"),
        (DriftKind::AccountChanged, "home"),
        (DriftKind::AccountChanged, "expiry"),
        (DriftKind::AccountChanged, "max days"),
    ] {
        let error = refused(&drift(kind, "ana", place, "/x"));
        assert!(matches!(error, Inexpressible::Never(_)), "{kind:?} {place}: {error:?}");
    }
    let shell = |found: &str| drift(DriftKind::AccountChanged, "ana", "shell", found);
    let gone = Drift { response: Response::Gone, ..shell("/bin/sh") };
    assert!(matches!(refused(&gone), Inexpressible::Gone));
    let evil = refused(&shell("/bin/sh\"}\nroles: {}"));
    assert!(matches!(evil, Inexpressible::Value(_)), "{evil:?}");
    // GECOS has no `:`, which ends a field.
    let name = refused(&drift(DriftKind::AccountChanged, "ana", "name", "a: b"));
    assert!(matches!(name, Inexpressible::Value(_)), "{name:?}");
    let member = |login, group| refused(&drift(DriftKind::MemberAdded, login, group, "a member"));
    assert!(matches!(member("nobody", "docker"), Inexpressible::NoUser(_)));
    assert!(matches!(member("ana", "do cker"), Inexpressible::Value(_)));
    let new = |login| refused(&drift(DriftKind::AccountNew, login, "", ""));
    assert!(matches!(new("eve"), Inexpressible::NotTold(_)));
    assert!(matches!(new("x y"), Inexpressible::Value(_)));
    assert!(matches!(new("www-data"), Inexpressible::Value(_)));
}

#[test]
fn what_is_proposed_has_a_name_that_an_object_can_have_and_that_is_not_taken() {
    let mut world = fleet();
    publish(&mut world, "users: {al_ice: {}}\n");
    let member = drift(DriftKind::MemberAdded, "al_ice", "my_group", "a member");
    let names = |world: &World| {
        let made = changes(world, &member, &[]);
        made.into_iter().map(|(_, name, _)| name).collect::<Vec<_>>()
    };
    assert_eq!(names(&world), ["unix-group-my-group", "al-ice-my-group-db1"]);
    // A second host of one name does not alter what the first one's file made.
    let new = drift(DriftKind::AccountNew, "bob", "", "uid 1901, /bin/bash, a password");
    let found = [account("bob", 1_901, "Bob Example")];
    let first = proposed(&world, &new, &found).unwrap();
    publish(&mut world, &first);
    let second = [host(3, "db1", Some("db1"))];
    let text = propose_where(&world, &new, &found, &second).unwrap();
    let differences = resolved(&world, &text).differences;
    let names: Vec<&str> = differences.iter().map(|one| one.name.as_str()).collect();
    assert_eq!(names, ["bob-db1-2"], "{text}");
    // Nor is a name taken of an adoption that has gone.
    publish(&mut world, "absent: {adoptions: [bob-db1]}\n");
    assert_eq!(changes(&world, &new, &found)[0].1, "bob-db1-2");
}

#[test]
fn a_member_is_proposed_for_the_host_that_told_it_alone_whatever_hosts_call_themselves() {
    let world = fleet();
    let joined = drift(DriftKind::MemberUngranted, "bob", "docker", "a member");
    let proposed = |hosts: &[HostLabels]| propose_where(&world, &joined, &[], hosts);
    let db1 = || host(1, "db1", Some("db1"));
    let selector = "hosts: \"muster/hostname=db1\"";
    assert!(proposed(&[db1(), host(2, "web1", Some("web1"))]).unwrap().contains(selector));
    // What it joined by is not what it judges itself by.
    for joined_as in ["db2,tier=db", "db2", "db1 "] {
        let text = proposed(&[host(1, joined_as, Some("db1"))]).unwrap();
        assert!(text.contains(selector), "{text}");
        assert!(!text.contains("hosts: \"muster/hostname=db2"), "{text}");
    }
    // Another that is called so, by its label, or by its name where it has told no label yet.
    for other in [host(2, "evil", Some("db1")), host(2, "db1", None), host(2, "db1", Some("x"))] {
        let several = proposed(&[db1(), other]);
        assert!(matches!(&several, Err(Inexpressible::Several(name)) if name.as_str() == "db1"));
    }
    let untold = proposed(&[host(1, "db1", None)]);
    assert!(matches!(&untold, Err(Inexpressible::Unnamed(name)) if name == "db1"), "{untold:?}");
}

#[test]
fn no_word_of_a_host_makes_a_line_that_counts() {
    let world = fleet();
    let evil = "x\nusers: {evil: {}}\u{2028}#";
    let name = account("eve", 1_900, evil);
    let mut ways = account("eve", 1_900, "Eve");
    ways.root_by = vec![evil.to_owned()];
    ways.keys = vec![evil.to_owned()];
    for found in [name, ways] {
        let new = drift(DriftKind::AccountNew, "eve", "", evil);
        let text = proposed(&world, &new, &[found]).unwrap();
        let counts = |line: &&str| !line.starts_with('#');
        assert!(text.contains("evil"), "{text}");
        assert!(text.lines().filter(counts).all(|line| !line.contains("evil")), "{text}");
    }
}
