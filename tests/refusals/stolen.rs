//! The controller's online key in the hands of a thief who revokes: what the host's own guard lets
//! him take away, and what it does not.

use std::collections::BTreeSet;

use muster_agent::{guard::Limit, ledger::Ledger};
use muster_proto::{
    bundle::Bundle,
    crypto::sha256,
    derive::{Circumstances, derive},
    envelope::{Document, Envelope},
    id::{Id, Kind},
    link::{Revocation, Target},
    receipt::{self, Authority, Convergence, FindingKind, Receipt},
    revocations::Revocations,
    statement::Content,
    time::{Now, Timestamp},
    trust::Duty,
};
use muster_tests::Lab;

use crate::{
    forged::fleet,
    host::Host as Twin,
    keys::machine,
    victim::{BREAK_GLASS, NATIVE, Victim},
    world::{World, id, signed_by, user},
};

/// With Alice ten accounts.
const USERS: [&str; 9] = ["u1", "u2", "u3", "u4", "u5", "u6", "u7", "u8", "u9"];

/// All of them but Alice, each with this one key.
fn users(key: &str) -> Vec<(Id, Content)> {
    let uids = 10_010..;
    let each = USERS.iter().zip(uids);
    each.map(|(login, uid)| (id(login), user(login, uid, &[&format!("{login} {key}")], &["dba"])))
        .collect()
}

fn ten() -> World {
    let mut world = fleet();
    world.publish(users("key"));
    world
}

fn only(db1: &Victim, revocations: Vec<Envelope>) -> Bundle {
    Bundle { revocations, ..Bundle::empty(db1.twin.id) }
}

fn of_user(world: &World, login: &str) -> Revocation {
    world.revocation(&format!("{login} ends"), Target::Statement { id: id(login), revision: 1 })
}

/// Who still has keys.
fn left(db1: &Victim) -> Vec<&'static str> {
    USERS.into_iter().chain(["alice"]).filter(|login| db1.gives(login)).collect()
}

/// How many revocations a receipt names.
pub(crate) fn named(receipt: &Receipt) -> usize {
    receipt.revocations.iter().filter(|name| matches!(name, Id::Object(_))).count()
}

/// The revocations that a receipt tells to be held.
fn held(receipt: &Receipt) -> Vec<&str> {
    let held = receipt.findings.iter().filter(|found| found.kind == FindingKind::RevocationHeld);
    held.map(|found| found.subject.as_str()).collect()
}

#[test]
fn a_stolen_online_key_takes_from_three_accounts_and_the_rest_needs_an_approver() {
    let lab = Lab::start("refuse-thief", &["db1"]).unwrap();
    let mut world = ten();
    let mut db1 = Victim::join(&lab, "db1", &world, None);
    db1.take(&world.bundle(&db1.twin));
    assert_eq!(left(&db1).len(), 10);

    // The host itself: all at once, by one signature of the thief's.
    let thief = machine("online");
    let host = world.revocation("db1 ends", Target::Host(db1.twin.id));
    let receipt = db1.take(&only(&db1, vec![Envelope::sign(&host, &thief)]));
    assert_eq!(held(&receipt), [host.id.to_string()]);
    assert!(receipt.findings[0].detail.contains("10 more accounts"), "{:?}", receipt.findings);
    assert_eq!((named(&receipt), left(&db1).len()), (0, 10));

    let receipt = db1.take(&only(&db1, vec![Envelope::sign(&host, &thief)]));
    assert_eq!(named(&receipt), 0, "sent again, and held as before");

    // Everybody, one by one.
    let all = USERS.iter().chain(&["alice"]);
    let ends: Vec<Revocation> = all.map(|login| of_user(&world, login)).collect();
    let signed = ends.iter().map(|one| Envelope::sign(one, &thief)).collect();
    let receipt = db1.take(&only(&db1, signed));
    assert_eq!((named(&receipt), held(&receipt).len()), (3, 8));
    assert_eq!(left(&db1).len(), 7);
    assert!(db1.has(BREAK_GLASS.0));

    // Neither a restart nor a clock that was set back opens the window again.
    let mut receipt = receipt;
    for ahead in [0, 400 * 86_400] {
        receipt = db1.restart(|ledger| {
            ledger.window.taken.values_mut().for_each(|at| *at = at.plus(ahead));
        });
        assert_eq!((named(&receipt), held(&receipt).len()), (0, 8));
        assert_eq!(left(&db1).len(), 7);
    }

    // An approver's signature of the same counts at once, and another revocation of the same.
    let is_held = |one: &&Revocation| held(&receipt).contains(&one.id.to_string().as_str());
    let same = ends.iter().find(is_held).unwrap();
    let receipt = db1.take(&only(&db1, vec![signed_by(same, Duty::Approver, &["ana"])]));
    assert_eq!(receipt.revocations, receipt::named(same, Authority::Approver));
    assert_eq!((held(&receipt).len(), left(&db1).len()), (7, 6));
    let again = Revocation { id: id("once more"), ..of_user(&world, left(&db1)[0]) };
    let receipt = db1.take(&only(&db1, vec![signed_by(&again, Duty::Approver, &["ana"])]));
    assert!(receipt.confirms(&again, Authority::Approver));
    assert_eq!((held(&receipt).len(), left(&db1).len()), (6, 5));

    // A day later there is room for three more.
    let receipt = db1.restart(|ledger| {
        let now = ledger.time.said.max(ledger.time.sworn);
        let day_ago = Timestamp(now.0 - 86_400);
        ledger.window.taken.values_mut().for_each(|at| *at = day_ago);
    });
    assert_eq!((named(&receipt), held(&receipt).len()), (3, 3));
    assert_eq!(left(&db1).len(), 2);

    // With the key goes what is held by it.
    let next = machine("next online").public();
    let trust_roots = vec![world.rotate(|root| root.machine_keys = [next].into())];
    let receipt = db1.take(&Bundle { trust_roots, ..only(&db1, Vec::new()) });
    assert_eq!((held(&receipt).len(), left(&db1).len()), (0, 2));
}

#[test]
fn traps_that_a_thief_lays_beforehand_do_not_close_all_at_once() {
    let lab = Lab::start("refuse-traps", &["db1"]).unwrap();
    let mut world = ten();
    let mut db1 = Victim::join(&lab, "db1", &world, None);
    db1.take(&world.bundle(&db1.twin));

    // Of the keys that everybody is about to have, and of one that nobody will.
    let thief = machine("online");
    let keys = users("new").into_iter().map(|(_, content)| match content {
        Content::User(user) => user.keys[0].key.fingerprint(),
        _ => panic!("not a user"),
    });
    let traps = keys.chain([sha256(&[b"nobody's"])]).map(|fingerprint| {
        let trap = world.revocation(&fingerprint.to_string(), Target::Key(fingerprint));
        Envelope::sign(&trap, &thief)
    });
    let receipt = db1.take(&only(&db1, traps.collect()));
    assert_eq!((named(&receipt), held(&receipt).len(), left(&db1).len()), (10, 0, 10));

    world.publish(users("new"));
    let receipt = db1.take(&world.bundle(&db1.twin));
    assert_eq!((held(&receipt).len(), left(&db1).len()), (6, 7));
}

#[test]
fn what_the_quorum_takes_from_everybody_is_taken_at_once_however_little_the_window_leaves() {
    let lab = Lab::start("refuse-all", &["db1"]).unwrap();
    let mut world = ten();
    let mut db1 = Victim::join(&lab, "db1", &world, None);
    db1.take(&world.bundle(&db1.twin));
    // A thief has used the window up.
    let ends = USERS.map(|login| Envelope::sign(&of_user(&world, login), &machine("online")));
    let receipt = db1.take(&only(&db1, ends.into()));
    assert_eq!((held(&receipt).len(), left(&db1).len()), (6, 7));

    let all = USERS.iter().chain(&["alice"]);
    world.publish(all.map(|login| (id(login), Content::Removal(Kind::User))).collect());
    let receipt = db1.take(&world.bundle(&db1.twin));
    assert_eq!(receipt.convergence, Convergence::Done);
    assert_eq!(left(&db1), [""; 0]);
    assert!(db1.has(BREAK_GLASS.0) && db1.has(NATIVE.0));
}

#[test]
fn a_host_that_only_observes_holds_nothing_and_weighs_it_once_it_enforces() {
    let world = ten();
    let twin = Twin::new(&world, "db1");
    let roots = world.trust_roots[..1].to_vec();
    let mut ledger = Ledger::begin(twin.id, world.lineage(), roots, None).unwrap();
    let host = world.revocation("db1 ends", Target::Host(twin.id));
    let mut bundle = world.bundle(&twin);
    bundle.revocations.push(Envelope::sign(&host, &machine("online")));
    assert_eq!(ledger.take(twin.verify(&bundle.encode()).unwrap()), 0);

    let (known, now) = (ledger.known(), Now::at(world.time));
    let grants = |revocations: &Revocations| {
        let (host, labels) = (twin.id, &twin.labels);
        derive(&known, &Circumstances { host, labels, revocations, now })
    };
    assert!(ledger.weigh_nothing(grants).is_empty());
    assert_eq!(ledger.unreported, receipt::named(&host, Authority::Online));

    let mut ledger = Ledger::decode(&ledger.encode()).unwrap();
    let limit = Limit::parse(None, None, None).unwrap();
    let (left, held) = ledger.weigh(&limit, now, grants);
    assert_eq!(held.len(), 1);
    let logins: BTreeSet<&str> = left.iter().map(|grant| grant.login.as_str()).collect();
    assert_eq!(logins.len(), 10);
    // One that may take more from so many lets it through.
    let wide = Limit::parse(Some(10), None, None).unwrap();
    assert!(ledger.weigh(&wide, now, grants).0.is_empty());
    assert!(ledger.revocations().ends_host(&twin.id));
    // Once it was let through it counts, however little the host lets through later.
    let mut ledger = Ledger::decode(&ledger.encode()).unwrap();
    let (left, held) = ledger.weigh(&limit, now, grants);
    assert!(left.is_empty() && held.is_empty());
}

#[test]
fn a_thief_has_no_host_confirm_what_an_approver_revoked_by_another_of_its_id() {
    let world = ten();
    let twin = Twin::new(&world, "db1");
    let roots = world.trust_roots[..1].to_vec();
    let mut ledger = Ledger::begin(twin.id, world.lineage(), roots, None).unwrap();
    let mut told = |revocation: Envelope| {
        let mut bundle = world.bundle(&twin);
        bundle.revocations.push(revocation);
        assert_eq!(ledger.take(twin.verify(&bundle.encode()).unwrap()), 0);
        ledger.weigh_nothing(|_| BTreeSet::new());
        std::mem::take(&mut ledger.unreported)
    };
    let hers = of_user(&world, "u9");
    let harmless = Target::Key(sha256(&[b"nobody's"]));
    let harmless = Revocation { target: harmless, ..hers.clone() };
    let (online, mine) = (Authority::Online, receipt::named(&hers, Authority::Approver));
    let thief = machine("online");
    assert_eq!(told(Envelope::sign(&harmless, &thief)), receipt::named(&harmless, online));
    assert_eq!(told(Envelope::sign(&hers, &thief)), receipt::named(&hers, online));
    // Neither is it confirmed by a mark of hers that he takes for an id.
    for mark in mine.iter().filter(|name| **name != hers.id) {
        let forged = Revocation { id: *mark, ..harmless.clone() };
        assert_eq!(told(Envelope::sign(&forged, &thief)), BTreeSet::new());
    }
    assert!(!mine.is_subset(&receipt::named(&hers, online)));
    assert_eq!(told(signed_by(&hers, Duty::Approver, &["ana"])), mine);
}
