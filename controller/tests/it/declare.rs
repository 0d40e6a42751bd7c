//! What shows only when all files are known: told with the place of the value that is wrong.
#![expect(clippy::disallowed_methods, reason = "a test writes files of its own")]

use std::collections::BTreeSet;

use muster_controller::{
    declare::{
        self, Resolved,
        resolve::{Ground, removal_of},
    },
    preview::HostLabels,
};
use muster_proto::{id::Digest, name::Login, selector::Labels, statement::Content};

use crate::world::{World, id};

const KEY: &str =
    "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8g a";

/// Three hosts, of which two call themselves alike.
fn hosts() -> Vec<HostLabels> {
    let host = |id: u8, hostname: &str| {
        let (id, hostname) = (Digest::new([id; 32]), hostname.to_owned());
        HostLabels { id, hostname, labels: Labels::default() }
    };
    vec![host(1, "web1"), host(2, "twin"), host(3, "twin")]
}

/// Resolves files against an empty directory; they are called `a.yaml`, `b.yaml` and so on.
fn resolve(files: &[&str]) -> Result<Resolved, String> {
    resolve_in(&World::new(), files)
}

fn resolve_in(world: &World, files: &[&str]) -> Result<Resolved, String> {
    let folder = tempfile::tempdir().unwrap();
    for (name, text) in ('a'..).zip(files) {
        std::fs::write(folder.path().join(format!("{name}.yaml")), text).unwrap();
    }
    let mut made = 0_u32;
    let mut new_id = || {
        made += 1;
        id(&made.to_string())
    };
    let (hosts, reinstate) = (&hosts(), BTreeSet::new());
    let (chain, history, now) = (&world.chain, &world.history, world.time);
    let mut ground =
        Ground { chain, history, reinstate: &reinstate, hosts, new_id: &mut new_id, now };
    let declared = declare::read(&[folder.path().to_owned()]).map_err(|error| error.to_string());
    let resolved = declare::resolve(&declared?, &mut ground);
    resolved
        .map_err(|error| error.to_string().replace(&format!("{}/", folder.path().display()), ""))
}

#[test]
fn a_fault_names_the_place_of_the_value_that_is_wrong() {
    let keys = format!("users:\n  una:\n    keys:\n    - \"{KEY}\"\n    - \"{KEY}\"\n");
    let cases = [
        ("users:\n  una: {uid: 7001}\n  uta: {uid: 7001}\n", "3:14", "`una` has or had"),
        (&keys, "5:7", "twice"),
        ("users:\n  una: {groups: [a, none]}\ngroups: {a: {}}\n", "2:21", "group `none`"),
        ("users:\n  una: {starts: 2027-02-02, ends: 2027-02-01}\n", "2:35", "not after `starts`"),
        ("roles:\n  r: {sudo: [{commands: []}]}\n", "2:25", "no command"),
        (
            "roles:\n  r: {unix_groups: {exactly: [b], at_least: [a]}}\n",
            "2:30",
            "exclude each other",
        ),
        (
            "users: {una: {}}\nassignments:\n  a: {user: una, role: none, hosts: all}\n",
            "3:24",
            "role `none`",
        ),
        (
            "roles: {r: {}}\nassignments:\n  a: {role: r, hosts: all}\n",
            "3:3",
            "`user` or a `group`",
        ),
        ("users: {una: {}}\nabsent: {users: [una]}\n", "2:18", "listed under `absent`"),
        ("absent: {groups: [una]}\n", "1:19", "does not have"),
        // A name that stands elsewhere too, as a key and as a value.
        ("groups: {una: {}}\nusers: {una: {}}\nabsent:\n  roles:\n  - una\n", "5:5", "role `una`"),
        (
            "users: {una: {}}\nadoptions:\n  a: {user: una, host: web2, uid: 1001}\n",
            "3:24",
            "host `web2`, and no host is called so",
        ),
        (
            "users: {una: {}}\nadoptions:\n  a: {user: una, host: twin, uid: 1001}\n",
            "3:24",
            "2 hosts are called so",
        ),
        ("adoptions:\n  a: {user: una, host: web1, uid: 1001}\n", "2:13", "user `una`"),
        ("absent: {adoptions: [a]}\n", "1:22", "adoption `a`, which the directory does not have"),
        // By an anchor: where it is used.
        (
            "users:\n  una: {ends: &day 2027-01-01, starts: 2026-01-01}\n  \
             uta: {starts: 2028-01-01, ends: *day}\n",
            "3:35",
            "not after",
        ),
    ];
    for (text, place, words) in cases {
        let said = resolve(&[text]).unwrap_err();
        assert!(said.starts_with(&format!("a.yaml:{place}: ")), "{text}: {said}");
        assert!(said.contains(words), "{text}: {said}");
    }
}

#[test]
fn a_fault_names_the_file_of_several() {
    let said = resolve(&["users:\n  una: {}\n", "groups: {}\nusers:\n  una: {}\n"]).unwrap_err();
    assert!(said.contains("b.yaml:3:3: user `una` is declared in "), "{said}");
    assert!(said.contains("a.yaml:2:3 too"), "{said}");
    let said = resolve(&["users: {una: {}}\n", "users:\n  uta: {groups: [none]}\n"]).unwrap_err();
    assert!(said.starts_with("b.yaml:2:18: "), "{said}");
    let said = resolve(&["roles: {r: {}}\n", "\nabsent: {roles: [r]}\n"]).unwrap_err();
    assert!(said.starts_with("b.yaml:2:18: "), "{said}");
}

/// The uids of the users that a declaration takes, by login.
fn uids(resolved: &Resolved) -> Vec<(String, u32)> {
    let found = resolved.differences.iter().filter_map(|difference| match &difference.after {
        Content::User(user) => Some((user.login.to_string(), user.uid.get())),
        _ => None,
    });
    found.collect()
}

#[test]
fn the_next_free_number_is_chosen_and_none_that_is_a_gid_or_was_asked_for() {
    let world = World::with_limits((2_000, 2_003), (3_000, 3_001));
    let text = "unix_groups: {shared: {gid: 2000}}\nusers: {una: {}, uta: {uid: 2001}, uza: {}}\n";
    // By login: una comes first, and is not given what uta asks for after her.
    let found = uids(&resolve_in(&world, &[text]).unwrap());
    let numbers: BTreeSet<u32> = found.iter().map(|(_, uid)| *uid).collect();
    assert_eq!(numbers, [2_001, 2_002, 2_003].into(), "{found:?}");
}

#[test]
fn when_no_number_is_left_in_the_range_it_is_said_where_one_is_wanted() {
    let world = World::with_limits((2_000, 2_001), (3_000, 3_000));
    assert_eq!(uids(&resolve_in(&world, &["users: {una: {}, uta: {}}\n"]).unwrap()).len(), 2);
    let said = resolve_in(&world, &["users:\n  una: {}\n  uta: {}\n  uza: {}\n"]).unwrap_err();
    assert!(said.starts_with("a.yaml:4:3: no uid is left"), "{said}");
    let said = resolve_in(&world, &["unix_groups:\n  a: {}\n  b: {}\n"]).unwrap_err();
    assert!(said.starts_with("a.yaml:3:3: no gid is left"), "{said}");
    // Asked for, one from outside the range is given.
    let asked = "users: {una: {}, uta: {}, uza: {uid: 4000}}\n";
    assert_eq!(uids(&resolve_in(&world, &[asked]).unwrap()).len(), 3);
}

#[test]
fn an_offboarded_users_number_is_neither_chosen_nor_given_on_request() {
    let mut world = World::with_limits((2_000, 2_001), (3_000, 3_001));
    let ula = world.user("ula", 2_000, &[]);
    world.publish(vec![ula]);
    let gone = removal_of(&world.chain, &Login::parse("ula").unwrap()).unwrap();
    world.publish(gone.statements);
    let chosen = uids(&resolve_in(&world, &["users: {una: {}}\n"]).unwrap());
    assert_eq!(chosen, [("una".to_owned(), 2_001)]);
    let said = resolve_in(&world, &["users: {una: {uid: 2000}}\n"]).unwrap_err();
    assert!(said.contains("uid 2000, which user `ula` has or had"), "{said}");
    let said = resolve_in(&world, &["unix_groups: {data: {gid: 2000}}\n"]).unwrap_err();
    assert!(said.contains("gid 2000, which user `ula` has or had"), "{said}");
    let said = resolve_in(&world, &["users: {una: {}, uta: {}}\n"]).unwrap_err();
    assert!(said.contains("no uid is left"), "{said}");
}

/// Declares una and the adoption of her account, with this user, host and uid.
fn adoption(user: &str, host: &str, uid: u32) -> String {
    format!(
        "users: {{una: {{uid: 7001}}, uta: {{}}}}\n\
         adoptions: {{old: {{user: {user}, host: {host}, uid: {uid}}}}}\n"
    )
}

fn adopted(resolved: &Resolved) -> Vec<(String, Digest, u32)> {
    let found = resolved.differences.iter().filter_map(|difference| match &difference.after {
        Content::Adoption(own) => Some((own.login.to_string(), own.host, own.uid.get())),
        _ => None,
    });
    found.collect()
}

#[test]
fn an_adoption_names_its_host_by_name_or_by_full_id() {
    for (named, id) in [("web1".to_owned(), 1), ("03".repeat(32), 3), ("09".repeat(32), 9)] {
        let found = adopted(&resolve(&[&adoption("una", &named, 1_001)]).unwrap());
        assert_eq!(found, [("una".to_owned(), Digest::new([id; 32]), 1_001)], "{named}");
    }
}

#[test]
fn an_adoption_is_found_by_its_name_again_changed_removed_and_declared_anew() {
    let mut world = World::new();
    let first = resolve_in(&world, &[&adoption("una", "web1", 1_001)]).unwrap();
    world.publish(first.statements);
    let again = resolve_in(&world, &[&adoption("una", "web1", 1_001)]).unwrap();
    assert_eq!(again.statements, []);
    let other = resolve_in(&world, &[&adoption("una", "web1", 1_002)]).unwrap();
    assert_eq!(other.statements.len(), 1);
    assert_eq!(other.statements[0].revision, 2);

    let gone = resolve_in(&world, &["absent: {adoptions: [old]}\n"]).unwrap();
    assert_eq!(gone.statements.len(), 1);
    world.publish(gone.statements);
    let again = resolve_in(&world, &["absent: {adoptions: [old]}\n"]).unwrap();
    assert_eq!((again.statements.len(), again.notes.len()), (0, 1));
    // What was removed never returns: the name leads to another one, which may have another host.
    let back = resolve_in(&world, &[&adoption("una", &"03".repeat(32), 1_001)]).unwrap();
    assert_eq!(back.statements.len(), 1);
    assert_eq!(back.statements[0].revision, 1);
    assert_ne!(back.statements[0].id, other.statements[0].id);
    world.publish(back.statements);
}

#[test]
fn an_adoption_stays_with_its_user_and_its_host() {
    let mut world = World::new();
    let first = resolve_in(&world, &[&adoption("una", "web1", 1_001)]).unwrap();
    world.publish(first.statements);
    let host = "03".repeat(32);
    for (text, place) in
        [(adoption("una", &host, 1_001), "2:36"), (adoption("uta", "web1", 1_001), "2:25")]
    {
        let said = resolve_in(&world, &[&text]).unwrap_err();
        assert!(said.starts_with(&format!("a.yaml:{place}: adoption `old`: ")), "{said}");
        assert!(said.contains("stays with its user and its host"), "{said}");
    }
}
