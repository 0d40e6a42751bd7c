//! What is kept of revocations: when they came, by whom they were signed, and what becomes of them
//! when who signed them has gone.

use std::collections::{BTreeMap, BTreeSet};

use muster_controller::{
    current::Current,
    signer,
    store::Store,
    tool::{Tool, ToolError},
};
use muster_proto::{
    bundle::VerifiedBundle,
    crypto::MachineKey,
    envelope::Envelope,
    link::{Revocation, Target},
    trust::{Duty, TrustRoot},
    wire,
};

use crate::{
    host::Host,
    net::{Running, soon},
    server::{grant, listed, report, until, wired},
    world::{Key, World, id, name},
};

/// The next trust root, in which neither the approver's key nor the online key is what it was.
fn after_a_theft(world: &World) -> Envelope {
    let machine = MachineKey::from_pkcs8(&signer::generate().unwrap()).unwrap();
    let root = Key::new("root");
    let keys = BTreeMap::from([
        (Key::new("the approver's next").public(), Duty::Approver),
        (root.public(), Duty::Root),
    ]);
    let next = TrustRoot {
        version: 2,
        lineage: Some(world.lineage()),
        previous: Some(world.lineage()),
        people: BTreeMap::from([(name("ana"), keys)]),
        machine_keys: BTreeSet::from([machine.public()]),
        ..TrustRoot::clone(world.chain.trust())
    };
    let mut envelope = Envelope::new(&next);
    root.sign(&mut envelope);
    envelope
}

fn key_of(login: &str) -> Target {
    Target::Key(Key::new(login).public().fingerprint())
}

#[test]
fn what_an_operator_has_kept_stays_though_who_signed_it_has_gone_since() {
    let world = World::new();
    let dir = tempfile::tempdir().unwrap();
    let mut tool = Tool::create(dir.path(), &world.trust).unwrap();
    let ours = world.revocation("ours", key_of("eva"));
    let theirs = world.online_revocation("theirs", key_of("eve"));
    tool.take_revocation(&ours).unwrap();
    tool.take_revocation(&theirs).unwrap();
    tool.take_trust_root(&after_a_theft(&world)).unwrap();
    let late = [
        world.revocation("late", key_of("uta")),
        world.online_revocation("late as well", key_of("uta")),
    ];

    for mut tool in [tool, Tool::open(dir.path()).unwrap()] {
        let chain = tool.chain();
        assert_eq!((chain.trust().version, tool.revocations()), (2, 2));
        let [ours, theirs] = [("ours", "eva"), ("theirs", "eve")]
            .map(|(word, login)| world.revoking(word, key_of(login)));
        assert!([&ours, &theirs].into_iter().all(|kept| chain.revocations().contains(kept)));
        assert!(chain.is_approved(&ours) && !chain.is_approved(&theirs));
        // What comes is judged by what holds now.
        for envelope in &late {
            let refused = tool.take_revocation(envelope);
            assert!(matches!(refused, Err(ToolError::Revocation(_))), "{refused:?}");
        }
        assert_eq!(tool.revocations(), 2);
    }
}

async fn revoke(server: &Running, revocation: &Envelope) {
    let revocation = Some(wire::Envelope::from(revocation));
    server.operator().await.revoke(wire::RevokeRequest { revocation }).await.unwrap();
}

/// Returns the one revocation of a bundle, with whether an approver has signed it.
fn only(bundle: &VerifiedBundle) -> Vec<(Revocation, bool)> {
    let all = bundle.revocations.iter();
    all.map(|(one, _)| (Revocation::clone(one), !one.signers().is_empty())).collect()
}

async fn is_behind(server: &Running) -> bool {
    listed(server).await.remove(0).behind
}

#[tokio::test]
async fn a_receipt_that_was_under_way_confirms_nothing_that_an_approver_has_signed_since() {
    let mut world = World::new();
    let server = Running::start(&world).await;
    server.operator().await.publish(wired(&world.publish(grant(&world)))).await.unwrap();
    let mut host = Host::new(&world, &[("tier", "db")]);
    let mut courier = server.join(&host, server.token(600).await).await.unwrap();
    let mut session = courier.session(&host).await;
    soon(until(&mut session, &mut host, |bundle| bundle.link.is_some())).await;
    report(&mut session, &mut host).await;

    let target = Target::Statement { id: id("dbas"), revision: 1 };
    let ours = world.revocation("gone", target);
    let is_taking = |bundle: &VerifiedBundle| !bundle.revocations.is_empty();
    revoke(&server, &world.online_revocation("gone", target)).await;
    soon(until(&mut session, &mut host, is_taking)).await;
    // The host names what it was sent. Before that comes, an approver signs the same, and what the
    // host says of it is lost with the connection.
    let under_way = host.receipt();
    revoke(&server, &ours).await;
    soon(until(&mut session, &mut host, is_taking)).await;
    host.receipt();
    session.spool(&under_way).await;
    let newest = under_way.digest();
    let is_stored = |bundle: &VerifiedBundle| {
        bundle.acknowledgement.as_ref().is_some_and(|word| word.digest == newest)
    };
    soon(until(&mut session, &mut host, is_stored)).await;
    assert!(is_behind(&server).await, "the approver's has not come");
    drop(session);

    let mut session = courier.session(&host).await;
    let bundle = soon(until(&mut session, &mut host, is_taking)).await;
    assert!(only(&bundle).contains(&(world.revoking("gone", target), true)), "{bundle:?}");
    report(&mut session, &mut host).await;
    assert!(!is_behind(&server).await);
    server.stop().await;
}

#[tokio::test]
async fn what_the_controller_revoked_reaches_hosts_again_when_an_approver_signs_it() {
    let mut world = World::new();
    let server = Running::start(&world).await;
    server.operator().await.publish(wired(&world.publish(grant(&world)))).await.unwrap();
    let mut host = Host::new(&world, &[("tier", "db")]);
    let mut courier = server.join(&host, server.token(600).await).await.unwrap();
    let mut session = courier.session(&host).await;
    soon(until(&mut session, &mut host, |bundle| bundle.link.is_some())).await;
    report(&mut session, &mut host).await;

    let target = Target::Statement { id: id("dbas"), revision: 1 };
    let (online, ours) =
        (world.online_revocation("gone", target), world.revocation("gone", target));
    let is_taking = |bundle: &VerifiedBundle| !bundle.revocations.is_empty();
    revoke(&server, &online).await;
    let bundle = soon(until(&mut session, &mut host, is_taking)).await;
    assert_eq!(only(&bundle), [(world.revoking("gone", target), false)]);
    report(&mut session, &mut host).await;

    revoke(&server, &ours).await;
    let bundle = soon(until(&mut session, &mut host, is_taking)).await;
    assert!(only(&bundle).contains(&(world.revoking("gone", target), true)), "{bundle:?}");
    report(&mut session, &mut host).await;
    // Another one of the same id is another one.
    let other = Target::Key(Key::new("ana").public().fingerprint());
    revoke(&server, &world.revocation("gone", other)).await;
    let bundle = soon(until(&mut session, &mut host, is_taking)).await;
    assert!(only(&bundle).contains(&(world.revoking("gone", other), true)), "{bundle:?}");
    // And what says nothing new is taken for what is known.
    for known in [&online, &ours] {
        revoke(&server, known).await;
    }

    let dir = server.stop().await;
    let store = Store::open(&dir.path().join("data")).await.unwrap();
    assert_eq!(store.revocations().await.unwrap().len(), 3);
    let current = Current::load(store.lineage(), &store.history().await.unwrap()).unwrap();
    assert!(current.chain().is_approved(&world.revoking("gone", target)));
}
