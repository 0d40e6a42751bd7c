//! Hosts that have joined and mean harm: what they say costs the others nothing and shows nobody
//! what is not there.
#![expect(clippy::disallowed_methods, reason = "a test measures")]

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use muster_controller::store::Store;
use muster_proto::{
    crypto::sha256,
    id::Id,
    link::Target,
    receipt::{self, Authority},
    wire,
};
use rcgen::KeyPair;
use tonic::Code;

use crate::{
    host::Host,
    net::{Running, join_request_as, standing},
    server::{grant, report, until, wired},
    world::{World, id},
};

#[tokio::test]
async fn a_receipt_confirms_only_revocations_that_there_are() {
    let mut world = World::new();
    let server = Running::start(&world).await;
    let mut operator = server.operator().await;
    operator.publish(wired(&world.publish(grant(&world)))).await.unwrap();
    let mut host = Host::new(&world, &[("tier", "db")]);
    let mut courier = server.join(&host, server.token(600).await).await.unwrap();
    let mut session = courier.session(&host).await;
    for word in ["sent", "other"] {
        let target = Target::Statement { id: id("ana"), revision: 1 };
        let revocation = world.revocation(word, target);
        let request = wire::RevokeRequest { revocation: Some((&revocation).into()) };
        operator.revoke(request).await.unwrap();
    }
    until(&mut session, &mut host, |bundle| !bundle.revocations.is_empty()).await;
    let invented = |n: u64| Id::parse(&sha256(&[&n.to_be_bytes()]).as_bytes()[..16]).unwrap();
    let both = ["sent", "other"].map(|word| {
        let revocation = world.revoking(word, Target::Statement { id: id("ana"), revision: 1 });
        receipt::named(&revocation, Authority::Approver)
    });
    let receipt = host.receipt_naming((0..10_000).map(invented).chain(both.into_iter().flatten()));
    session.spool(&receipt).await;
    until(&mut session, &mut host, |bundle| bundle.acknowledgement.is_some()).await;
    let dir = server.stop().await;
    let store = Store::open(&dir.path().join("data")).await.unwrap();
    let kept = store.sent_revocations().await.unwrap().remove(&host.id());
    assert_eq!(kept, Some(BTreeMap::from([(id("sent"), true), (id("other"), true)])));
    store.close().await;
}

#[tokio::test]
async fn nobody_joins_by_a_name_that_is_no_label_and_the_secret_is_kept() {
    let world = World::new();
    let server = Running::start(&world).await;
    let host = Host::new(&world, &[]);
    let tls = KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256).unwrap();
    let secret = server.token(600).await;
    let long = "x".repeat(63);
    for (name, taken) in [
        ("db1,tier=db", false),
        ("=db1", false),
        ("db1 ", false),
        ("", false),
        (&format!("{long}x"), false),
        (&long, true),
    ] {
        let request = join_request_as(name, &host, &tls, secret.clone());
        let joined = server.stranger().await.join(request).await.map(drop);
        let code = joined.as_ref().err().map(tonic::Status::code);
        assert_eq!(code, (!taken).then_some(Code::InvalidArgument), "{name}: {joined:?}");
    }
    server.stop().await;
}

#[tokio::test]
async fn words_that_could_move_an_operators_cursor_are_refused() {
    let world = World::new();
    let server = Running::start(&world).await;
    let mut host = Host::new(&world, &[("tier", "db")]);
    let mut courier = server.join(&host, server.token(600).await).await.unwrap();
    let long = "x".repeat(4_096);
    for (version, refusal, label, taken) in [
        ("0.1.0", "link 7: a rollback", "db", true),
        ("0.1.0", long.as_str(), "db", true),
        ("0.1.0", &format!("{long}x"), "db", false),
        (&long[..200], "", "db", true),
        (&long[..201], "", "db", false),
        ("0.1.0", "\u{1b}[2J", "db", false),
        ("0.1.0", "a\u{202e}b", "db", false),
        ("0.1.0\n", "", "db", false),
        ("0.1.0", "", "d\u{1b}b", false),
        ("0.1.0", "", &long[..64], false),
    ] {
        let mut session = courier.session(&host).await;
        let labels = vec![wire::Label { key: "tier".to_owned(), value: label.to_owned() }];
        let said = wire::Standing {
            agent_version: version.to_owned(),
            refusal: refusal.to_owned(),
            labels,
            ..standing(&host)
        };
        session.next().await.unwrap();
        session.say(wire::from_keeper::Message::Standing(said)).await;
        if taken {
            report(&mut session, &mut host).await;
        } else {
            assert_eq!(session.failure().await.code(), Code::InvalidArgument);
        }
    }
    server.stop().await;
}

#[tokio::test]
async fn a_host_that_says_too_much_waits_before_it_is_heard() {
    let world = World::new();
    let server = Running::start(&world).await;
    let (mut loud, mut quiet) = (Host::new(&world, &[]), Host::new(&world, &[]));
    let mut courier = server.join(&loud, server.token(600).await).await.unwrap();
    let mut other = server.join(&quiet, server.token(600).await).await.unwrap();
    let mut session = courier.session(&loud).await;
    let mut quiet_session = other.session(&quiet).await;
    let start = Instant::now();
    // With the one at the beginning three more than it may say at once, and the receipt.
    for _ in 0..258 {
        session.stand(&loud).await;
    }
    session.report(&mut loud).await;
    report(&mut quiet_session, &mut quiet).await;
    until(&mut session, &mut loud, |bundle| bundle.acknowledgement.is_some()).await;
    let waited = start.elapsed();
    assert!(waited >= Duration::from_millis(2_500), "{waited:?}");
    server.stop().await;
}
