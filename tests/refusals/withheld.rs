//! Claims about what is left out, and about what is sent again.

use muster_proto::{envelope::Document, id::Kind, receipt::Finding, statement::Content};
use muster_tests::Lab;

use crate::{
    forged::{fleet, put},
    victim::Victim,
    world::{assignment, id, role, user},
};

#[test]
fn a_superseded_statement_is_refused_by_a_fresh_host_and_by_an_old_one() {
    let lab = Lab::start("refuse-superseded", &["db1", "web1"]).unwrap();
    let mut world = fleet();
    let mut old = Victim::join(&lab, "db1", &world, None);
    old.take(&world.bundle(&old.twin));
    let superseded = world.chain.statements()[&id("alice")].clone();
    world.publish(vec![(id("alice"), user("alice", 10_001, &["alice new key"], &[]))]);
    let mut fresh = Victim::join(&lab, "web1", &world, None);
    for victim in [&mut old, &mut fresh] {
        let mut bundle = world.bundle(&victim.twin);
        put(&mut bundle, &superseded);
        let found = victim.refuses(&bundle);
        assert!(
            found.ends_with("is not in the directory of link 2: another revision is"),
            "{found}"
        );
        // Beside the one that follows it.
        let mut bundle = world.bundle(&victim.twin);
        bundle.statements.push(superseded.encode());
        victim.refuses(&bundle);
        // She is in no group any more.
        victim.take(&world.bundle(&victim.twin));
        assert!(!victim.gives("alice"));
    }
}

#[test]
fn a_role_that_was_narrowed_and_is_withheld_gives_nothing_to_a_new_assignment() {
    let lab = Lab::start("refuse-withheld", &["db1", "web1"]).unwrap();
    let mut world = fleet();
    let mut old = Victim::join(&lab, "db1", &world, None);
    old.take(&world.bundle(&old.twin));
    let wide = world.chain.statements()[&id("admin")].clone();
    world.publish(vec![
        (id("admin"), role("admin", &["/usr/bin/id"])),
        (id("zoe"), user("zoe", 10_002, &["zoe key"], &[])),
        (id("zoes"), assignment("zoes", "zoe", "admin", "env=prod")),
    ]);
    let mut fresh = Victim::join(&lab, "web1", &world, None);
    for victim in [&mut old, &mut fresh] {
        // The wide one in its place is refused; none at all is taken and gives nothing.
        let mut bundle = world.bundle(&victim.twin);
        put(&mut bundle, &wide);
        let found = victim.refuses(&bundle);
        assert!(found.contains("role"), "{found}");
        let without = world.bundle_at(&victim.twin, 2, |statement| statement.id != id("admin"));
        let found = victim.takes_and_gives_nothing(&without);
        let unproved =
            |found: &Finding| found.kind.as_str() == "unproved" && found.subject == "zoes";
        assert!(found.iter().any(unproved), "{found:?}");
        assert!(!victim.gives("zoe"));
    }
    // What was held stays until it is disproved.
    assert!(old.gives("alice") && old.sudo_of("alice").contains("ALL\n"));
    for victim in [&mut old, &mut fresh] {
        victim.take(&world.bundle(&victim.twin));
        for login in ["alice", "zoe"] {
            assert!(victim.gives(login));
            let sudo = victim.sudo_of(login);
            assert!(sudo.contains("/usr/bin/id\n") && !sudo.contains("ALL\n"), "{sudo}");
        }
    }
}

#[test]
fn a_removed_user_does_not_come_back_with_her_statement_sent_again() {
    let lab = Lab::start("refuse-removed", &["db1", "db2", "web1"]).unwrap();
    let mut world = fleet();
    let mut told = Victim::join(&lab, "db1", &world, None);
    let mut old = Victim::join(&lab, "db2", &world, None);
    let first = world.bundle(&told.twin);
    told.take(&first);
    old.take(&world.bundle(&old.twin));
    let alice = world.chain.statements()[&id("alice")].clone();
    world.publish(vec![(id("alice"), Content::Removal(Kind::User))]);
    told.take(&world.bundle(&told.twin));
    assert!(!told.gives("alice") && old.gives("alice"));
    told.refuses(&first);
    let mut fresh = Victim::join(&lab, "web1", &world, None);
    for victim in [&mut told, &mut old, &mut fresh] {
        let mut bundle = world.bundle(&victim.twin);
        put(&mut bundle, &alice);
        let found = victim.refuses(&bundle);
        assert!(
            found.ends_with("is not in the directory of link 2: another revision is"),
            "{found}"
        );
        victim.take(&world.bundle(&victim.twin));
        assert!(!victim.gives("alice"));
    }
    world.publish(vec![(id("zoe"), user("zoe", 10_002, &["zoe key"], &["dba"]))]);
    for victim in [&mut told, &mut old, &mut fresh] {
        victim.take(&world.bundle(&victim.twin));
        assert!(victim.gives("zoe") && !victim.gives("alice"));
    }
}
