//! In the log before it takes effect: what a running server writes down, and that nothing happens
//! when it cannot.

use muster_controller::{current::PublishedLink, store::Store};
use muster_proto::{link::Target, note, wire};
use tonic::Code;

use crate::{
    host::Host,
    net::{Running, alter},
    server::{grant, report, until, wired},
    world::{Key, World, id},
};

/// What the log has entries of, read beside the server that writes it.
async fn kinds(server: &Running) -> Vec<String> {
    let store = Store::open(&server.data()).await.unwrap();
    let kinds = store.log_kinds().await.unwrap();
    store.close().await;
    kinds
}

async fn head(server: &Running) -> wire::LogHead {
    let status = server.operator().await.status(wire::StatusRequest {}).await.unwrap();
    status.into_inner().log.unwrap()
}

fn revocation(world: &World) -> wire::RevokeRequest {
    let target = Target::Statement { id: id("ana"), revision: 1 };
    wire::RevokeRequest { revocation: Some((&world.revocation("offboard", target)).into()) }
}

/// The link with one signature more; whoever's it is, the log has an entry of each.
fn signed_twice(link: &PublishedLink) -> PublishedLink {
    let mut link = link.clone();
    Key::new("stranger").sign(&mut link.link);
    link
}

#[tokio::test]
async fn every_step_is_in_the_log_once_it_has_taken_effect() {
    let mut world = World::new();
    let server = Running::start(&world).await;
    let mut operator = server.operator().await;
    let host = Host::new(&world, &[("tier", "db")]);
    let mut expected = vec!["trust-root"];
    assert_eq!(kinds(&server).await, expected);

    let secret = server.token(600).await;
    expected.push("token");
    assert_eq!(kinds(&server).await, expected);
    server.join(&host, secret).await.unwrap();
    expected.push("enrolment");
    assert_eq!(kinds(&server).await, expected);

    let first = world.publish(grant(&world));
    operator.publish(wired(&first)).await.unwrap();
    expected.extend(["link", "approval"]);
    assert_eq!(kinds(&server).await, expected);
    operator.publish(wired(&first)).await.unwrap();
    assert_eq!(kinds(&server).await, expected, "the same again is nothing new");
    let second = world.publish(vec![world.group("more")]);
    operator.publish(wired(&signed_twice(&second))).await.unwrap();
    expected.extend(["link", "approval", "approval"]);
    assert_eq!(kinds(&server).await, expected);

    operator.revoke(revocation(&world)).await.unwrap();
    expected.push("revocation");
    assert_eq!(kinds(&server).await, expected);
    operator.revoke(revocation(&world)).await.unwrap();
    assert_eq!(kinds(&server).await, expected, "the same again is nothing new");
    let status = operator.status(wire::StatusRequest {}).await.unwrap().into_inner();
    let head = note::verify(&status.log_note, &world.chain.trust().machine_keys).unwrap();
    assert_eq!((head.size, Some((&head).into())), (expected.len() as u64, status.log));
    server.stop().await;
}

#[tokio::test]
async fn what_cannot_be_logged_takes_no_effect() {
    let mut world = World::new();
    let server = Running::start(&world).await;
    let database = server.data().join("muster.db");
    let mut operator = server.operator().await;
    let mut host = Host::new(&world, &[("tier", "db")]);
    let secret = server.token(600).await;
    let before = head(&server).await;
    // The log takes nothing any more; every other table does.
    alter(
        &database,
        "CREATE TRIGGER full BEFORE INSERT ON log BEGIN SELECT RAISE(ABORT, 'full'); END",
    )
    .await;

    let failed = operator.create_token(wire::CreateTokenRequest { valid_for: 60 }).await;
    assert_eq!(failed.err().unwrap().code(), Code::Internal);
    let failed = server.join(&host, secret.clone()).await.err().unwrap();
    assert_eq!(failed.code(), Code::Internal);
    let listed = operator.hosts(wire::HostsRequest {}).await.unwrap().into_inner().hosts;
    assert!(listed.is_empty());
    let link = world.publish(grant(&world));
    assert_eq!(operator.publish(wired(&link)).await.err().unwrap().code(), Code::Internal);
    let refused = operator.revoke(revocation(&world)).await.err().unwrap();
    assert_eq!(refused.code(), Code::Internal);
    assert_eq!(head(&server).await, before);

    alter(&database, "DROP TRIGGER full").await;
    // The secret was not spent, and the host is given nothing of what failed.
    let mut courier = server.join(&host, secret).await.unwrap();
    let mut session = courier.session(&host).await;
    let first = until(&mut session, &mut host, |_| true).await;
    assert!(first.checkpoint.unwrap().link.is_none() && first.link.is_none());
    let status = operator.status(wire::StatusRequest {}).await.unwrap().into_inner();
    assert_eq!((status.newest, status.revocations), (None, 0));

    // With the link in place: the approval alone fails, and then what is taken away.
    alter(
        &database,
        "CREATE TRIGGER full BEFORE INSERT ON log WHEN NEW.kind IN ('approval', 'revocation')
         BEGIN SELECT RAISE(ABORT, 'full'); END",
    )
    .await;
    assert_eq!(operator.publish(wired(&link)).await.err().unwrap().code(), Code::Internal);
    alter(&database, "DROP TRIGGER full").await;
    operator.publish(wired(&link)).await.unwrap();
    let taken = until(&mut session, &mut host, |bundle| bundle.link.is_some()).await;
    assert_eq!(taken.link.unwrap().link.number, 1);
    session.stand(&host).await;
    report(&mut session, &mut host).await;
    alter(
        &database,
        "CREATE TRIGGER full BEFORE INSERT ON log BEGIN SELECT RAISE(ABORT, 'full'); END",
    )
    .await;
    let refused = operator.revoke(revocation(&world)).await.err().unwrap();
    assert_eq!(refused.code(), Code::Internal);
    session.report(&mut host).await;
    let next = until(&mut session, &mut host, |_| true).await;
    assert!(next.revocations.is_empty() && next.acknowledgement.is_some(), "nothing was sent");
    assert!(!host.held.is_empty());
    server.stop().await;
}
