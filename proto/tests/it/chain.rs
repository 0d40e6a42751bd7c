//! The path of the approver's tool: what it refuses to extend its chain by, and to sign.

use muster_proto::{
    chain::{BadLink, Candidate, Chain, MAX_AHEAD},
    change::{BadChange, fold},
    crypto::sha256,
    envelope::{Document, Envelope, Verified},
    id::{Id, Kind},
    link::{Link, LinkBody, Target},
    statement::{Content, Statement},
    trust::Duty,
};

use crate::{
    keys::machine,
    world::{
        SHAPES, Shape, World, adoption, assignment, group, id, log_head, role, signed_by, staffed,
        unix_group, user,
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
fn a_second_chain_comes_to_the_same_and_takes_every_link() {
    for shape in SHAPES {
        let mut world = staffed(shape);
        world.rotate(|_| ());
        world.publish(vec![(id("alice"), Content::Removal(Kind::User))]);
        let genesis = Verified::genesis(&world.trust_roots[0], world.lineage()).unwrap();
        let mut tool = Chain::new(genesis);
        tool.follow(&world.trust_roots[1]).unwrap();
        for link in &world.links {
            tool.extend(&link.envelope, &link.body, &link.proposals, world.time).unwrap();
        }
        assert_eq!(tool.newest(), world.chain.newest());
        assert_eq!(tool.directory().root(), world.chain.directory().root());
        assert_eq!(tool.taken(), world.chain.taken());
    }
}

/// Bends a good candidate, has it signed by the quorum, and returns what a tool says.
fn bent(
    shape: Shape,
    alter: impl Fn(&World, &mut Link, &mut LinkBody, &mut Vec<Envelope>),
) -> BadLink {
    let mut world = staffed(shape);
    world.publish(vec![(id("more"), group("more"))]);
    let mut proposals = vec![world.propose(vec![world.next(id("zoe"), group("zoe"))])];
    let Candidate { mut link, mut body } = world.cut(&proposals).unwrap();
    let honest = signed_by(&link, Duty::Approver, shape.quorum());
    let now = world.time;
    world.chain.clone().extend(&honest, &body.encode(), &proposals, now).unwrap();
    let untouched = body.digest();
    alter(&world, &mut link, &mut body, &mut proposals);
    if body.digest() != untouched && link.body == untouched {
        link.body = body.digest();
    }
    let envelope = signed_by(&link, Duty::Approver, shape.quorum());
    world.chain.extend(&envelope, &body.encode(), &proposals, now).unwrap_err()
}

#[test]
fn what_a_link_says_of_itself_is_recomputed() {
    for shape in SHAPES {
        let succession =
            |error: BadLink| assert!(matches!(error, BadLink::Succession { .. }), "{error}");
        succession(bent(shape, |_, link, _, _| link.number = 4));
        succession(bent(shape, |_, link, _, _| link.previous = sha256(&[])));
        succession(bent(shape, |_, link, _, _| link.history_root = sha256(&[])));
        succession(bent(shape, |world, link, _, _| link.time.0 = world.time.0 - 1));
        succession(bent(shape, |world, link, _, _| link.time = world.time.plus(MAX_AHEAD + 1)));
        assert_eq!(bent(shape, |_, link, _, _| link.number = 1), BadLink::Equivocation(1));
        let unknown = bent(shape, |_, link, _, _| link.trust_version = 2);
        assert!(matches!(unknown, BadLink::UnknownTrustRoot { version: 2, .. }), "{unknown}");
        let unknown = bent(shape, |_, link, _, _| link.trust_digest = sha256(&[]));
        assert!(matches!(unknown, BadLink::UnknownTrustRoot { version: 1, .. }), "{unknown}");
        for what in ["a body", "a directory root", "proposals", "proposers"] {
            let error = bent(shape, |world, link, body, proposals| match what {
                "a body" => link.body = sha256(&[]),
                "a directory root" => link.directory_root = sha256(&[]),
                "proposals" if shape == Shape::One => proposals.clear(),
                "proposals" => {
                    body.statements.push(world.next(id("evil"), group("evil")));
                    body.statements.sort_by_key(|s| s.id);
                }
                _ => {
                    link.proposers.insert("bob".to_owned());
                }
            });
            assert!(matches!(error, BadLink::Differs { what: w, .. } if w == what), "{error}");
        }
        let error = bent(shape, |_, _, _, proposals| proposals[0] = Envelope::new(&log_proposal()));
        assert!(matches!(error, BadLink::Part { part: "proposal", .. }), "{error}");
    }
}

fn log_proposal() -> muster_proto::link::Proposal {
    World::new(Shape::One).proposal(Vec::new())
}

#[test]
fn a_time_five_minutes_ahead_is_the_last_that_is_taken() {
    let mut world = staffed(Shape::Two);
    let now = world.time;
    let candidate = world.chain.cut(&[], Vec::new(), now.plus(MAX_AHEAD), log_head()).unwrap();
    assert_eq!(world.extend(&candidate, Vec::new()), Ok(()));
    assert_eq!(world.cut(&[]).unwrap().link.time, now.plus(MAX_AHEAD), "never older than the last");
}

#[test]
fn trust_roots_never_fall_along_the_chain() {
    for shape in SHAPES {
        let mut world = staffed(shape);
        let mut old = world.cut(&[]).unwrap();
        world.rotate(|_| ());
        world.publish(vec![(id("more"), group("more"))]);
        let newest = world.chain.newest().unwrap();
        let candidate = world.cut(&[]).unwrap();
        old.link = Link { trust_version: 1, trust_digest: old.link.trust_digest, ..candidate.link };
        assert_eq!(old.link.number, newest.number + 1);
        let found = world.extend(&old, Vec::new());
        assert!(matches!(found, Err(BadLink::Succession { .. })), "{found:?}");
    }
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
    }
}
