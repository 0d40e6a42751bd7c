//! The rules of a valid directory, as the tool that cuts a link applies them.

use muster_proto::{
    chain::{BadLink, Candidate},
    change::{BadChange, fold},
    crypto::sha256,
    id::{Id, Kind},
    link::Target,
    statement::{Content, Statement},
};

use crate::{
    keys::machine,
    world::{
        SHAPES, Shape, World, adoption, assignment, group, id, log_head, role, staffed, unix_group,
        user,
    },
};

/// What a tool says to one change.
fn judge(world: &World, statements: Vec<Statement>) -> Result<Candidate, BadChange> {
    match world.cut(&[world.propose(statements)]) {
        Ok(candidate) => Ok(candidate),
        Err(BadLink::Change { cause, .. }) => Err(cause),
        Err(other) => panic!("{other}"),
    }
}

fn change(world: &World, name: &str, content: Content) -> Result<Candidate, BadChange> {
    judge(world, vec![world.next(id(name), content)])
}

#[test]
fn a_proposal_whose_predecessor_is_no_longer_the_newest_is_stale() {
    let mut world = staffed(Shape::Two);
    let stale = world.propose(vec![world.next(id("alice"), user("alice", 10_001, &[], &[]))]);
    world.publish(vec![(id("alice"), user("alice", 10_001, &["new key"], &["dba"]))]);
    let found = world.cut(&[stale]);
    let is_stale =
        |e: &BadLink| matches!(e, BadLink::Change { cause: BadChange::Stale { .. }, .. });
    assert!(found.as_ref().is_err_and(is_stale), "{found:?}");
    let mut wrong = world.next(id("alice"), user("alice", 10_001, &[], &[]));
    wrong.previous = Some(sha256(&[]));
    assert!(matches!(judge(&world, vec![wrong]), Err(BadChange::Stale { .. })));
    let twice = world.propose(vec![world.next(id("x"), group("x"))]);
    let other = world.propose(vec![world.next(id("x"), group("y"))]);
    assert!(world.cut(&[twice, other]).is_err(), "one id in two proposals");
}

#[test]
fn logins_uids_names_and_gids_are_never_given_again() {
    let mut world = staffed(Shape::Two);
    world.publish(vec![(id("web"), unix_group("web", 20_001))]);
    let try_all = |world: &World| {
        for (what, content) in [
            ("the login", user("alice", 10_002, &[], &[])),
            ("the uid", user("other", 10_001, &[], &[])),
            ("the Unix group name", unix_group("web", 20_002)),
            ("the gid", unix_group("other", 20_001)),
            ("the group name", group("dba")),
            ("the login", user("web", 10_003, &[], &[])),
            ("the uid", user("other", 20_001, &[], &[])),
            ("the Unix group name", unix_group("alice", 20_003)),
            ("the gid", unix_group("other", 10_001)),
        ] {
            let found = change(world, "fresh", content);
            let fits = matches!(&found, Err(BadChange::Taken { what: w, .. }) if *w == what);
            assert!(fits, "{what}: {found:?}");
        }
    };
    try_all(&world);
    world.publish(vec![
        (id("alice"), Content::Removal(Kind::User)),
        (id("web"), Content::Removal(Kind::UnixGroup)),
        (id("dbas"), Content::Removal(Kind::Assignment)),
        (id("dba"), Content::Removal(Kind::Group)),
        (id("admin"), Content::Removal(Kind::Role)),
    ]);
    try_all(&world);
    assert!(
        change(&world, "fresh", role("admin", &["ALL"])).is_ok(),
        "a role's name is free again"
    );
}

#[test]
fn what_never_changes_and_what_was_removed_does_not_come_back() {
    let mut world = staffed(Shape::Two);
    world.publish(vec![(id("web"), unix_group("web", 20_001))]);
    for (name, content) in [
        ("alice", user("alicia", 10_001, &[], &[])),
        ("alice", user("alice", 10_002, &[], &[])),
        ("dba", group("dbb")),
        ("web", unix_group("webb", 20_001)),
        ("web", unix_group("web", 20_002)),
    ] {
        let found = change(&world, name, content);
        assert!(matches!(found, Err(BadChange::Fixed { .. })), "{name}: {found:?}");
    }
    assert!(matches!(change(&world, "alice", group("x")), Err(BadChange::Kind { .. })));
    world.publish(vec![(id("alice"), Content::Removal(Kind::User))]);
    // A user who returns is who she was; nothing else comes back.
    assert!(change(&world, "alice", user("alice", 10_001, &["new key"], &[])).is_ok());
    for other in [user("alicia", 10_001, &[], &[]), user("alice", 10_002, &[], &[])] {
        let back = change(&world, "alice", other);
        assert!(matches!(back, Err(BadChange::Fixed { .. })), "{back:?}");
    }
    world.publish(vec![(id("web"), Content::Removal(Kind::UnixGroup))]);
    let back = change(&world, "web", unix_group("web", 20_001));
    assert!(matches!(back, Err(BadChange::Removed { .. })), "{back:?}");
    let mut stray = world.next(id("stray"), group("stray"));
    stray.lineage = sha256(&[]);
    assert!(matches!(judge(&world, vec![stray]), Err(BadChange::Lineage(_))));
}

#[test]
fn references_lead_to_what_is_there() {
    let mut world = staffed(Shape::Two);
    let refused = |world: &World, content| {
        let found = change(world, "fresh", content);
        assert!(matches!(found, Err(BadChange::Reference { .. })), "{found:?}");
    };
    refused(&world, assignment("x", "nobody", "admin", "all"));
    refused(&world, assignment("x", "admin", "admin", "all"));
    refused(&world, assignment("x", "alice", "dba", "all"));
    refused(&world, user("bob", 10_002, &[], &["nothing"]));
    let found = change(&world, "dba", Content::Removal(Kind::Group));
    assert!(matches!(found, Err(BadChange::Reference { .. })), "still referred to");
    world.publish(vec![(id("idle"), group("idle"))]);
    world.publish(vec![(id("idle"), Content::Removal(Kind::Group))]);
    refused(&world, user("bob", 10_002, &[], &["idle"]));
}

#[test]
fn an_id_of_a_host_is_for_a_host_alone() {
    let world = staffed(Shape::Two);
    let host = Id::Host(machine("db1").public().digest());
    let disguised = judge(&world, vec![world.next(host, group("new"))]);
    assert_eq!(disguised.unwrap_err(), BadChange::IdForm(host));
    let found = change(&world, "fresh", Content::Removal(Kind::Host));
    assert_eq!(found.unwrap_err(), BadChange::IdForm(id("fresh")));
}

#[test]
fn one_account_of_a_host_is_adopted_once_and_under_its_own_login() {
    let mut world = staffed(Shape::Two);
    let host = machine("db1").public().digest();
    let other = change(&world, "a", adoption("alice", "oracle", host, 1_001));
    assert!(matches!(other, Err(BadChange::AdoptedLogin(_))), "{other:?}");
    world.publish(vec![(id("a"), adoption("alice", "alice", host, 1_001))]);
    let twice = change(&world, "b", adoption("alice", "alice", host, 1_002));
    assert!(matches!(twice, Err(BadChange::AdoptedTwice { .. })), "{twice:?}");
    let elsewhere = machine("db2").public().digest();
    assert!(change(&world, "b", adoption("alice", "alice", elsewhere, 1_002)).is_ok());
}

/// What a tool says to a fold.
fn folded(world: &World, fold: Statement) -> bool {
    match world.chain.cut(&[], vec![fold], world.time, log_head()) {
        Ok(_) => true,
        Err(BadLink::Change { cause: BadChange::Fold(_), .. }) => false,
        Err(other) => panic!("{other}"),
    }
}

#[test]
fn a_fold_takes_away_what_was_revoked_and_hides_nothing_else() {
    for shape in SHAPES {
        let mut world = World::new(shape);
        world.publish(vec![
            (id("a"), group("a")),
            (id("b"), group("b")),
            (id("zoe"), user("zoe", 10_001, &["k1", "k2", "k3"], &["a", "b"])),
        ]);
        let next = |content| world.next(id("zoe"), content);
        assert!(
            !folded(&world, next(user("zoe", 10_001, &["k2", "k3"], &["a", "b"]))),
            "no revocation"
        );
        let mut world = world.revoked("key", Target::Key(crate::world::key("k1").fingerprint()));
        world.revoke("other", Target::Key(crate::world::key("k2").fingerprint()));
        world.revoke("out", Target::Membership { user: id("zoe"), group: id("a") });
        let next = |content| world.next(id("zoe"), content);
        let cases = [
            (true, user("zoe", 10_001, &["k3"], &["b"])),
            (true, user("zoe", 10_001, &["k2", "k3"], &["a", "b"])),
            (true, user("zoe", 10_001, &["k1", "k2", "k3"], &["b"])),
            (false, user("zoe", 10_001, &["k1", "k2", "k3"], &["a", "b"])),
            (false, user("zoe", 10_001, &["k1", "k2"], &["b"])),
            (false, user("zoe", 10_001, &["k3"], &[])),
            (false, user("zoe", 10_001, &["k3", "evil"], &["b"])),
            (false, Content::Removal(Kind::User)),
            (false, Content::Revoked { kind: Kind::User, revocation: id("key") }),
            (false, Content::Revoked { kind: Kind::User, revocation: id("none") }),
        ];
        for (fits, content) in cases {
            let text = format!("{content:?}");
            assert_eq!(folded(&world, next(content)), fits, "{shape:?}: {text}");
        }
        let mut reinstating = next(user("zoe", 10_001, &["k3"], &["b"]));
        reinstating.reinstates.insert(id("key"));
        assert!(!folded(&world, reinstating));
        world.revoke("all", Target::Statement { id: id("zoe"), revision: 1 });
        world.revoke("again", Target::Statement { id: id("zoe"), revision: 1 });
        let revoked = |tag| Content::Revoked { kind: Kind::User, revocation: id(tag) };
        assert!(folded(&world, world.next(id("zoe"), revoked("all"))));
        assert!(folded(&world, world.next(id("zoe"), revoked("again"))));
        let old = world.chain.statements().get(&id("zoe"));
        let own = fold(id("zoe"), old, world.chain.revocations(), world.lineage()).unwrap();
        assert!(folded(&world, own));
        let host = Id::Host(machine("db1").public().digest());
        let content = Content::Revoked { kind: Kind::Host, revocation: id("all") };
        assert!(!folded(&world, world.next(host, content)), "that host was not revoked");
    }
}

#[test]
fn what_was_revoked_comes_back_only_when_it_says_so() {
    for shape in SHAPES {
        let mut world =
            staffed(shape).revoked("r", Target::Statement { id: id("dbas"), revision: 1 });
        let old = world.chain.statements().get(&id("dbas"));
        let fold = fold(id("dbas"), old, world.chain.revocations(), world.lineage()).unwrap();
        let candidate = world.chain.cut(&[], vec![fold], world.time, log_head()).unwrap();
        world.extend(&candidate, Vec::new()).unwrap();
        let back = assignment("dbas", "dba", "admin", "env=prod");
        let found = change(&world, "dbas", back.clone());
        assert!(matches!(found, Err(BadChange::NotReinstated { .. })), "{found:?}");
        let mut good = world.next(id("dbas"), back.clone());
        good.reinstates.insert(id("r"));
        world.publish_statements(vec![good]);
        let mut forgets = world.next(id("dbas"), back);
        forgets.reinstates.clear();
        assert_eq!(judge(&world, vec![forgets]).unwrap_err(), BadChange::Forgets(id("dbas")));
        // A revoked key stands in no new statement.
        world.revoke("k", Target::Key(crate::world::key("lost").fingerprint()));
        let again = user("alice", 10_001, &["lost"], &["dba"]);
        let found = change(&world, "alice", again.clone());
        assert!(matches!(found, Err(BadChange::RevokedKey { .. })), "{found:?}");
        let mut good = world.next(id("alice"), again);
        good.reinstates.insert(id("k"));
        assert!(judge(&world, vec![good]).is_ok());
        // Nor does what is revoked stand in one while no link carries the revocation yet.
        world.revoke("open", Target::Statement { id: id("alice"), revision: 1 });
        let again = user("alice", 10_001, &["other"], &["dba"]);
        let found = change(&world, "alice", again.clone());
        let expected = BadChange::NotReinstated { id: id("alice"), revocation: id("open") };
        assert_eq!(found.unwrap_err(), expected);
        let mut good = world.next(id("alice"), again);
        good.reinstates.insert(id("open"));
        assert!(judge(&world, vec![good.clone()]).is_ok());
        // Nor a membership: a host that is not told of the revocation would give what it gives.
        world.revoke("out", Target::Membership { user: id("alice"), group: id("dba") });
        let found = judge(&world, vec![good.clone()]);
        assert!(matches!(found, Err(BadChange::RevokedMembership { .. })), "{found:?}");
        good.reinstates.insert(id("out"));
        assert!(judge(&world, vec![good]).is_ok());
    }
}
