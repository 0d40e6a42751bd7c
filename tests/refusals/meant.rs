//! Claims about what was signed and is not for this host, or cannot be on it.

use muster_proto::{
    bundle::Bundle,
    crypto::sha256,
    envelope::{Document, Envelope},
    id::Id,
    link::{Acknowledgement, Target},
    receipt::Finding,
    statement::Entry,
};
use muster_tests::Lab;

use crate::{
    forged::{fleet, lawless, put},
    keys::machine,
    victim::{BREAK_GLASS, NATIVE, Victim},
    world::{adoption, assignment, id, user},
};

fn has(findings: &[Finding], kind: &str, subject: &str, detail: &str) -> bool {
    findings.iter().any(|f| f.kind.as_str() == kind && f.subject == subject && f.detail == detail)
}

#[test]
fn of_two_users_on_one_uid_a_host_keeps_the_one_it_has_and_otherwise_takes_neither() {
    let lab = Lab::start("refuse-uid", &["db1", "web1"]).unwrap();
    let mut world = fleet();
    let mut old = Victim::join(&lab, "db1", &world, None);
    old.take(&world.bundle(&old.twin));
    let mut fresh = Victim::join(&lab, "web1", &world, None);
    let evil = world.next(id("evil"), user("evil", 10_001, &["evil key"], &["dba"]));
    for victim in [&mut old, &mut fresh] {
        let both = lawless(&world, &victim.twin, &[(Entry::of(&evil), evil.encode())]);
        let findings = victim.takes_and_gives_nothing(&both);
        assert!(has(&findings, "clash", "10001", "one uid for alice, evil"), "{findings:?}");
        assert!(!victim.gives("evil"));
    }
    assert!(old.gives("alice") && !fresh.gives("alice"));
    // With one of the two revoked, nothing stands against the other.
    world.revoke("r", Target::Statement { id: id("evil"), revision: 1 });
    for victim in [&mut old, &mut fresh] {
        let revocations = world.revocations.clone();
        victim.take(&Bundle { revocations, ..Bundle::empty(victim.twin.id) });
        assert!(victim.gives("alice") && !victim.gives("evil"));
    }
}

#[test]
fn a_uid_or_login_that_the_host_has_given_itself_is_left_alone() {
    let lab = Lab::start("refuse-native", &["db1"]).unwrap();
    let mut world = fleet();
    let mut db1 = Victim::join(&lab, "db1", &world, None);
    db1.take(&world.bundle(&db1.twin));
    let ((login, uid), (protected, _)) = (NATIVE, BREAK_GLASS);
    world.publish(vec![
        (id("zoe"), user("zoe", uid, &["zoe key"], &["dba"])),
        (id("native"), user(login, 10_061, &["evil key"], &["dba"])),
        (id("rescue"), user(protected, 10_051, &["evil key"], &["dba"])),
    ]);
    let findings = db1.takes_and_gives_nothing(&world.bundle(&db1.twin));
    let detail = format!("uid {uid} is `{login}`'s");
    assert!(has(&findings, "conflict", "zoe", &detail), "{findings:?}");
    let detail = "the host protects this account";
    assert!(has(&findings, "protected", protected, detail), "{findings:?}");
    assert!(
        findings.iter().any(|f| f.kind.as_str() == "conflict" && f.subject == login),
        "{findings:?}"
    );
    world.publish(vec![(id("yan"), user("yan", 10_003, &["yan key"], &["dba"]))]);
    db1.take(&world.bundle(&db1.twin));
    assert!(db1.gives("yan") && !db1.gives("zoe"));
}

#[test]
fn what_is_another_hosts_is_refused() {
    let lab = Lab::start("refuse-other", &["db1"]).unwrap();
    let mut world = fleet();
    let web1 = machine("web1").public().digest();
    let mut db1 = Victim::join(&lab, "db1", &world, None);
    let (login, uid) = NATIVE;
    world.publish(vec![
        (id("taken"), adoption("alice", "alice", web1, uid)),
        (id("zoe"), user("zoe", 10_002, &["zoe key"], &["dba"])),
    ]);
    let other = crate::host::Host::new(&world, "web1");
    let found = db1.refuses(&world.bundle(&other));
    assert!(found.starts_with("the bundle is for host"), "{found}");
    let mut bundle = world.bundle(&db1.twin);
    put(&mut bundle, &world.chain.statements()[&id("taken")]);
    let ids: Vec<Id> = world.chain.statements().keys().copied().collect();
    bundle.directory = Some(world.chain.prove(&[&ids[..], &[Id::Host(db1.twin.id)]].concat()));
    let found = db1.refuses(&bundle);
    assert!(found.contains("does not concern this host"), "{found}");
    let (lineage, number, digest) = (world.lineage(), 1, sha256(&[]));
    let acknowledgement = Acknowledgement { lineage, host: web1, number, digest };
    let mut bundle = Bundle::empty(db1.twin.id);
    bundle.acknowledgement = Some(Envelope::sign(&acknowledgement, &world.online));
    let found = db1.refuses(&bundle);
    assert!(found.starts_with("the bundle is for host"), "{found}");

    db1.take(&world.bundle(&db1.twin));
    assert!(db1.gives("alice") && db1.gives("zoe") && !db1.gives(login));
}

#[test]
fn a_selector_that_does_not_match_is_refused_whatever_the_controller_says() {
    let lab = Lab::start("refuse-selector", &["db1"]).unwrap();
    let mut world = fleet();
    let mut db1 = Victim::join(&lab, "db1", &world, None);
    world.publish(vec![
        (id("zoe"), user("zoe", 10_002, &["zoe key"], &[])),
        (id("elsewhere"), assignment("elsewhere", "zoe", "admin", "env=dev")),
        (id("negated"), assignment("negated", "zoe", "admin", "env=prod,muster/hostname!=db1")),
        (id("foreign"), assignment("foreign", "zoe", "admin", "muster/os=plan9")),
    ]);
    // A twin knows nothing of facts, so the host's own labels are told to it.
    let ids: Vec<Id> = world.chain.statements().keys().copied().collect();
    for fact in [("muster/hostname", "db1"), ("muster/os", "debian")] {
        db1.twin.labels.insert(fact.0, fact.1).unwrap();
    }
    for stray in ["elsewhere", "negated", "foreign"] {
        let mut bundle = world.bundle(&db1.twin);
        put(&mut bundle, &world.chain.statements()[&id(stray)]);
        bundle.directory = Some(world.chain.prove(&[&ids[..], &[Id::Host(db1.twin.id)]].concat()));
        let found = db1.refuses(&bundle);
        assert!(found.ends_with("its selector does not match the labels here"), "{found}");
    }
    db1.take(&world.bundle(&db1.twin));
    assert!(db1.gives("alice") && !db1.gives("zoe"));
    world.publish(vec![(id("zoes"), assignment("zoes", "zoe", "admin", "muster/hostname=db1"))]);
    db1.take(&world.bundle(&db1.twin));
    assert!(db1.gives("zoe"));
}
