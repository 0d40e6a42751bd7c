//! What a plan shows before anybody signs: every line of the text.

use expect_test::{Expect, expect};
use muster_controller::{
    cli::{
        folds::Grounds,
        plan::{self, Planned},
    },
    declare::{
        Resolved,
        read::parse,
        resolve,
        resolve::{Ground, Named},
    },
    preview::{Effect, HostLabels, preview},
};
use muster_proto::{
    crypto::sha256,
    envelope::Verified,
    id::{Id, Kind},
    key::SshPublicKey,
    link::{Revocation, Target},
    name::Login,
    selector::Labels,
    time::Now,
};

use crate::world::{World, id};

const KEY: &str =
    "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8g ana@desk";

/// What the fleet begins with.
pub(crate) fn people() -> String {
    format!(
        "users:\n  ana: {{name: Ana Example, groups: [dba], keys: [\"{KEY}\"]}}\n\
         groups: {{dba: {{}}}}\n\
         unix_groups: {{dbdata: {{}}}}\n\
         roles:\n  dba:\n    unix_groups: {{at_least: [dbdata]}}\n    \
         sudo: [{{run_as: postgres, commands: [/usr/bin/psql], noexec: true}}]\n\
         assignments:\n  dbas: {{group: dba, role: dba, hosts: tier=db, reason: OPS-1}}\n"
    )
}

fn hosts() -> Vec<HostLabels> {
    let host = |hostname: &str, tier: &str| {
        let mut labels = Labels::default();
        labels.insert("tier", tier).unwrap();
        HostLabels { id: sha256(&[hostname.as_bytes()]), hostname: hostname.to_owned(), labels }
    };
    vec![host("db1", "db"), host("web1", "web")]
}

pub(crate) fn resolved(world: &World, yaml: &str, reinstate: &[&str]) -> Resolved {
    let mut made = 0_u32;
    let mut new_id = || {
        made += 1;
        id(&format!("{} {made}", world.links.len()))
    };
    let chain = &world.chain;
    let reinstate = reinstate.iter().map(|word| Named::parse(word, chain).unwrap()).collect();
    let mut ground = Ground {
        chain,
        history: &world.history,
        reinstate: &reinstate,
        hosts: &hosts(),
        new_id: &mut new_id,
        now: world.time,
    };
    resolve(&parse(yaml, "x.yaml".as_ref()).unwrap(), &mut ground).unwrap()
}

pub(crate) fn effects(world: &World, resolved: &Resolved) -> Vec<Effect> {
    let (chain, mut after) = (&world.chain, world.chain.statements().clone());
    after.extend(resolved.statements.iter().map(|s| (s.id, s.clone())));
    let both = (chain.revocations(), chain.revocations());
    preview(chain.statements(), &after, both, &hosts(), Now::at(world.time))
}

/// What a plan says, these revocations being kept.
fn text(world: &World, resolved: &Resolved, kept: &[Verified<Revocation>]) -> String {
    let changed = resolved.statements.iter().map(|statement| statement.id).collect();
    let (chain, folds) = (&world.chain, world.chain.folds(&changed, &[]));
    let grounds = Grounds { chain, kept, confirmed: &[] };
    let effects = &effects(world, resolved);
    plan::text(&Planned { resolved, effects, folds, grounds }).join("\n") + "\n"
}

/// Asserts what a plan says, and takes it as published.
fn assert_plan(world: &mut World, yaml: &str, reinstate: &[&str], expected: &Expect) {
    let resolved = resolved(world, yaml, reinstate);
    expected.assert_eq(&text(world, &resolved, &[]));
    if !resolved.statements.is_empty() {
        let mut statements = resolved.statements;
        statements.sort_by_key(|statement| statement.id);
        world.publish(statements);
    }
}

#[test]
fn a_plan_shows_all_that_is_new_and_on_which_hosts() {
    let mut world = World::new();
    assert_plan(
        &mut world,
        &people(),
        &[],
        &expect![[r"
        + create user ana
              uid 1000
              name Ana Example
              in group dba
              key SHA256:mKqU+0K8OhKmA8bBQi9Rz0Q5l7/g160hIP+rJYSTNj4 ssh-ed25519 ana@desk
        + create group dba
        + create Unix group dbdata
              gid 30000
              members: those that roles give, and others may be
        + create role dba
              supplementary Unix groups: at least those named
              Unix group dbdata
              sudo as postgres, NOPASSWD, NOEXEC: /usr/bin/psql
              login by key, since nothing else is said
        + create assignment dbas
              group dba → role dba
              hosts tier=db
              reason OPS-1

        on db1:
          + gives an account to ana

        5 changes, 1 host affected, root gained by 0 logins. Host effects rest on labels that the hosts reported themselves; this is no proof.
    "]],
    );
    assert_plan(
        &mut world,
        &people(),
        &[],
        &expect![[r"
        Nothing to change: the directory is as declared.
    "]],
    );
}

#[test]
fn a_plan_shows_a_sudo_rule_that_loses_noexec_and_its_password() {
    let mut world = World::new();
    let with = people().replace("noexec: true", "noexec: true, password: required");
    let resolved = resolved(&world, &with, &[]);
    world.publish(resolved.statements);
    let password_gone = people();
    assert_plan(
        &mut world,
        &password_gone,
        &[],
        &expect![[r"
        ~ change role dba
              - sudo as postgres, PASSWD, NOEXEC: /usr/bin/psql
              + sudo as postgres, NOPASSWD, NOEXEC: /usr/bin/psql

        on db1:
          ~ ana: + sudo as postgres, NOPASSWD, NOEXEC: /usr/bin/psql (role dba)
          ~ ana: - sudo as postgres, PASSWD, NOEXEC: /usr/bin/psql (role dba)

        1 change, 1 host affected, root gained by 0 logins. Host effects rest on labels that the hosts reported themselves; this is no proof.
    "]],
    );
    let noexec_gone = people().replace(", noexec: true", "");
    assert_plan(
        &mut world,
        &noexec_gone,
        &[],
        &expect![[r"
        ~ change role dba
              - sudo as postgres, NOPASSWD, NOEXEC: /usr/bin/psql
              + sudo as postgres, NOPASSWD: /usr/bin/psql

        on db1:
          ~ ana: + sudo as postgres, NOPASSWD: /usr/bin/psql (role dba)
          ~ ana: - sudo as postgres, NOPASSWD, NOEXEC: /usr/bin/psql (role dba)

        1 change, 1 host affected, root gained by 0 logins. Host effects rest on labels that the hosts reported themselves; this is no proof.
    "]],
    );
}

#[test]
fn a_plan_shows_who_gains_root_and_who_loses_it() {
    let mut world = World::new();
    let first = resolved(&world, &people(), &[]);
    world.publish(first.statements);
    let root = "roles:\n  dba: {sudo: [{commands: [ALL]}]}\n";
    assert_plan(
        &mut world,
        root,
        &[],
        &expect![[r"
        ~ change role dba
              - Unix group dbdata
              - sudo as postgres, NOPASSWD, NOEXEC: /usr/bin/psql
              - supplementary Unix groups: at least those named
              + sudo as root, NOPASSWD: ALL
              + supplementary Unix groups: hands off

        on db1:
          ! lets become ROOT: ana
          ~ ana: + supplementary Unix groups: hands off
          ~ ana: + sudo as root, NOPASSWD: ALL (role dba)
          ~ ana: - supplementary Unix groups: at least those named
          ~ ana: - Unix group dbdata with gid 30000, members: those that roles give, and others may be
          ~ ana: - sudo as postgres, NOPASSWD, NOEXEC: /usr/bin/psql (role dba)

        1 change, 1 host affected, root gained by 1 login. Host effects rest on labels that the hosts reported themselves; this is no proof.
    "]],
    );
    let docker = "roles:\n  dba: {unix_groups: {exactly: [docker]}}\n";
    assert_plan(
        &mut world,
        docker,
        &[],
        &expect![[r"
        ~ change role dba
              - sudo as root, NOPASSWD: ALL
              - supplementary Unix groups: hands off
              + Unix group docker of the host
              + supplementary Unix groups: exactly those named

        on db1:
          ~ ana: + supplementary Unix groups: exactly those named
          ~ ana: + Unix group docker of the host
          ~ ana: - supplementary Unix groups: hands off
          ~ ana: - sudo as root, NOPASSWD: ALL (role dba)

        1 change, 1 host affected, root gained by 0 logins. Host effects rest on labels that the hosts reported themselves; this is no proof.
    "]],
    );
    let gone = "absent: {assignments: [dbas]}\n";
    assert_plan(
        &mut world,
        gone,
        &[],
        &expect![[r"
        - remove assignment dbas

        on db1:
          - locks ana
          - no longer lets become root: ana

        1 change, 1 host affected, root gained by 0 logins. Host effects rest on labels that the hosts reported themselves; this is no proof.
    "]],
    );
}

#[test]
fn a_plan_shows_what_else_is_signed() {
    let mut world = World::new();
    let first = resolved(&world, &people(), &[]);
    world.publish(first.statements);
    let yaml = format!(
        "users:\n  ana: {{groups: [dba], keys: [\"{KEY}\"], shell: /bin/zsh, home: /srv/ana, \
         starts: 2023-01-01, ends: 2033-01-01, service: true, hardware_keys_only: true, \
         verify_required: true, from: [10.0.0.0/8, 192.0.2.1]}}\n\
         unix_groups: {{dbdata: {{exact_members: true}}}}\n\
         roles:\n  dba:\n    unix_groups: {{exactly: [dbdata]}}\n    ssh: {{methods: [hardware-key, \
         password]}}\n    password: {{max_days: 90, min_length: 14}}\n    sudo: [{{run_as: ALL, \
         run_as_group: docker, directory: /srv, commands: [/usr/bin/id]}}]\n\
         assignments:\n  dbas: {{group: dba, role: dba, hosts: all, from: 2023-01-01, until: \
         2032-01-01, reason: another, ticket: OPS-2}}\n"
    );
    assert_plan(
        &mut world,
        &yaml,
        &[],
        &expect![[r"
        ~ change user ana
              - name Ana Example
              + a service identity, not a person
              + ends 2033-01-02T00:00:00Z
              + hardware keys must verify their user
              + home /srv/ana
              + only by keys that live in hardware
              + only from 10.0.0.0/8 or 192.0.2.1
              + shell /bin/zsh
              + starts 2023-01-01T00:00:00Z
        ~ change Unix group dbdata
              - members: those that roles give, and others may be
              + members: those that roles give and no others
        ~ change role dba
              - login by key, since nothing else is said
              - sudo as postgres, NOPASSWD, NOEXEC: /usr/bin/psql
              - supplementary Unix groups: at least those named
              + a password that the user sets on the host: characters at least: 14; has to change after days: 90
              + login by a key that lives in hardware
              + login by password
              + sudo as ALL, with Unix group docker, NOPASSWD, in /srv: /usr/bin/id
              + supplementary Unix groups: exactly those named
        ~ change assignment dbas
              - hosts tier=db
              - reason OPS-1
              + from 2023-01-01T00:00:00Z
              + hosts all
              + reason another
              + ticket OPS-2
              + until 2032-01-02T00:00:00Z

        on db1:
          ~ ana: + account with uid 1000, shell /bin/zsh, home /srv/ana, a service identity, not a person
          ~ ana: + login by a key that lives in hardware
          ~ ana: + supplementary Unix groups: exactly those named
          ~ ana: + Unix group dbdata with gid 30000, members: those that roles give and no others
          ~ ana: + sudo as ALL, with Unix group docker, NOPASSWD, in /srv: /usr/bin/id (role dba)
          ~ ana: + a password that the user sets on the host: characters at least: 14; has to change after days: 90
          ~ ana: - account with uid 1000, name Ana Example
          ~ ana: - key SHA256:mKqU+0K8OhKmA8bBQi9Rz0Q5l7/g160hIP+rJYSTNj4 ssh-ed25519 ana@desk
          ~ ana: - login by key
          ~ ana: - supplementary Unix groups: at least those named
          ~ ana: - Unix group dbdata with gid 30000, members: those that roles give, and others may be
          ~ ana: - sudo as postgres, NOPASSWD, NOEXEC: /usr/bin/psql (role dba)
        on web1:
          + gives an account to ana

        4 changes, 2 hosts affected, root gained by 0 logins. Host effects rest on labels that the hosts reported themselves; this is no proof.
    "]],
    );
}

#[test]
fn a_plan_shows_which_account_is_taken_over_and_that_it_is_locked_without_the_adoption() {
    let mut world = World::new();
    let first = resolved(&world, "groups: {dba: {}}\nroles: {dba: {}}\n", &[]);
    world.publish(first.statements);
    let adopting = "users: {ben: {groups: [dba]}}\n\
         assignments: {dbas: {group: dba, role: dba, hosts: all}}\n\
         adoptions: {ben-db1: {user: ben, host: db1, uid: 1001}}\n";
    assert_plan(
        &mut world,
        adopting,
        &[],
        &expect![[r"
        + create user ben
              uid 1000
              in group dba
        + create assignment dbas
              group dba → role dba
              hosts all
        + create adoption ben-db1
              user ben takes over the account `ben`
              on host 82e64648d9abefef3ab5143537554e7681ea1ba7b387881792033e9dce77f650
              uid 1001 is kept there

        on db1:
          ! takes over the account of ben, uid 1001 kept
        on web1:
          + gives an account to ben

        3 changes, 2 hosts affected, root gained by 0 logins. Host effects rest on labels that the hosts reported themselves; this is no proof.
    "]],
    );
    assert_plan(
        &mut world,
        "absent: {adoptions: [ben-db1]}\n",
        &[],
        &expect![[r"
        - remove adoption ben-db1

        on db1:
          - locks ben
          ~ ben: - takes over the account with uid 1001

        1 change, 1 host affected, root gained by 0 logins. Host effects rest on labels that the hosts reported themselves; this is no proof.
    "]],
    );
}

#[test]
fn a_plan_shows_which_revocations_are_taken_back() {
    let mut world = World::new();
    let first = resolved(&world, &people(), &[]);
    world.publish(first.statements);
    let user = *world.chain.taken().logins.get(&Login::parse("ana").unwrap()).unwrap();
    let revocation = world.revocation("gone", Target::Statement { id: user, revision: 1 });
    world.chain.keep(&revocation).unwrap();
    assert_plan(
        &mut world,
        &people(),
        &["ana"],
        &expect![[r"
        + bring back user ana
              uid 1000
              name Ana Example
              in group dba
              key SHA256:mKqU+0K8OhKmA8bBQi9Rz0Q5l7/g160hIP+rJYSTNj4 ssh-ed25519 ana@desk
              takes back revocation 283bb9deef02e6843abfb538efa1eca7

        on db1:
          + gives an account to ana

        1 change, 1 host affected, root gained by 0 logins. Host effects rest on labels that the hosts reported themselves; this is no proof.
    "]],
    );
}

/// The id of somebody or something that was published.
fn of(world: &World, kind: Kind, name: &str) -> Id {
    let mut all =
        world.chain.statements().values().map(|statement| (statement.id, &statement.content));
    all.find(|(_, content)| content.kind() == kind && content.name() == Some(name)).unwrap().0
}

#[test]
fn a_plan_shows_what_was_revoked_meanwhile_whose_it_is_and_who_revoked_it() {
    let mut world = World::new();
    let ben = "users: {ben: {groups: [dba]}}\n\
        assignments: {bens: {user: ben, role: dba, hosts: all}}\n";
    for yaml in [people().as_str(), ben] {
        let first = resolved(&world, yaml, &[]);
        world.publish(first.statements);
    }
    let key = SshPublicKey::parse(KEY).unwrap().0.fingerprint();
    let ben = of(&world, Kind::User, "ben");
    let (dba, bens) = (of(&world, Kind::Group, "dba"), of(&world, Kind::Assignment, "bens"));
    let targets = [
        ("key", Target::Key(key)),
        ("out", Target::Membership { user: ben, group: dba }),
        ("ended", Target::Statement { id: bens, revision: 1 }),
        ("host", Target::Host(hosts()[1].id)),
        // Nobody has it, so nothing is carried.
        ("nobody", Target::Key(sha256(&[b"nobody"]))),
    ];
    let revoked = targets.map(|(word, target)| world.revocation(word, target));
    let kept = revoked.map(|envelope| world.chain.keep(&envelope).unwrap());
    let nothing = text(&world, &resolved(&world, "groups: {dba: {}}\n", &[]), &kept);
    expect![[r"
        Nothing to change: the directory is as declared.
        Revoked since the last change; the next one carries it into the directory:
        - assignment bens
              - all that it gives
              revoked by ana at 2023-11-14T22:13:20Z: a test (revocation e87ba7a0b779d8b797f86d1960450449)
        - host 659a7fb2af47
              - all that is given there
              revoked by ana at 2023-11-14T22:13:20Z: a test (revocation 4740ae6347b0172c01254ff55bae5aff)
        - user ana
              - key SHA256:mKqU+0K8OhKmA8bBQi9Rz0Q5l7/g160hIP+rJYSTNj4 ssh-ed25519 ana@desk
              revoked by ana at 2023-11-14T22:13:20Z: a test (revocation 2c70e12b7a0646f92279f427c7b38e73)
        - user ben
              - in group dba
              revoked by ana at 2023-11-14T22:13:20Z: a test (revocation 762069bc07a6e1b5df123a5ae7bd91c1)
    "]].assert_eq(&nothing);
    let something = text(&world, &resolved(&world, "groups: {other: {}}\n", &[]), &kept);
    expect![[r"
        + create group other

        Revoked since the last change, and carried into the directory by this one:
        - assignment bens
              - all that it gives
              revoked by ana at 2023-11-14T22:13:20Z: a test (revocation e87ba7a0b779d8b797f86d1960450449)
        - host 659a7fb2af47
              - all that is given there
              revoked by ana at 2023-11-14T22:13:20Z: a test (revocation 4740ae6347b0172c01254ff55bae5aff)
        - user ana
              - key SHA256:mKqU+0K8OhKmA8bBQi9Rz0Q5l7/g160hIP+rJYSTNj4 ssh-ed25519 ana@desk
              revoked by ana at 2023-11-14T22:13:20Z: a test (revocation 2c70e12b7a0646f92279f427c7b38e73)
        - user ben
              - in group dba
              revoked by ana at 2023-11-14T22:13:20Z: a test (revocation 762069bc07a6e1b5df123a5ae7bd91c1)

        No host changes.

        1 change, 0 hosts affected, root gained by 0 logins. Host effects rest on labels that the hosts reported themselves; this is no proof.
    "]].assert_eq(&something);
    // Who is removed is not carried along as well.
    let removed = resolved(&world, "absent: {users: [ben], assignments: [bens]}\n", &[]);
    let removed = text(&world, &removed, &kept);
    assert!(!removed.contains("- user ben") && removed.contains("- user ana"), "{removed}");
}
