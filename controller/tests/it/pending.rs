//! Hosts that were enrolled and never show up: nobody waits for them, what is taken away reaches
//! them if they do, and they are forgotten when they cannot any more.

use std::time::Duration;

use muster_controller::{
    enrol::VALIDITY,
    fleet::{Fleet, LapseError},
    signer::Signer,
    store::Store,
};
use muster_proto::{link::Target, time::Timestamp, wire};

use crate::{
    host::Host,
    net::{Running, wall},
    server::{grant, listed, until, wired},
    world::World,
};

#[tokio::test]
async fn a_host_that_never_showed_up_is_not_waited_for_and_gets_a_revocation_when_it_does() {
    let mut world = World::new();
    let server = Running::start(&world).await;
    let mut operator = server.operator().await;
    let mut host = Host::new(&world, &[("tier", "db")]);
    let mut courier = server.join(&host, server.token(600).await).await.unwrap();
    assert!(listed(&server).await[0].pending);
    let status = operator.status(wire::StatusRequest {}).await.unwrap().into_inner();
    assert_eq!(status.hosts, 0);

    operator.publish(wired(&world.publish(grant(&world)))).await.unwrap();
    let revocation = world.revocation("lost", Target::Host(host.id()));
    let request = wire::RevokeRequest { revocation: Some(wire::Envelope::from(&revocation)) };
    let reply = operator.revoke(request).await.unwrap().into_inner();
    assert!(reply.hosts.is_empty(), "nobody waits for it");

    let mut session = courier.session(&host).await;
    until(&mut session, &mut host, |bundle| !bundle.revocations.is_empty()).await;
    assert!(host.held.is_empty());
    assert!(!listed(&server).await[0].pending);
    let status = operator.status(wire::StatusRequest {}).await.unwrap().into_inner();
    assert_eq!(status.hosts, 1);
    server.stop().await;
}

#[tokio::test]
async fn an_enrolment_that_was_never_used_lapses_with_its_certificate() -> Result<(), LapseError> {
    let world = World::new();
    let server = Running::start(&world).await;
    let (ghost, host) = (Host::new(&world, &[]), Host::new(&world, &[]));
    server.join(&ghost, server.token(600).await).await.unwrap();
    let mut courier = server.join(&host, server.token(600).await).await.unwrap();
    let mut session = courier.session(&host).await;
    session.next().await.unwrap();
    assert_eq!(listed(&server).await.len(), 2);
    let dir = server.stop().await;

    let data = dir.path().join("data");
    let signer = Signer::open(&data.join(muster_controller::setup::ONLINE_KEY)).unwrap();
    let fleet = Fleet::load(Store::open(&data).await.unwrap(), signer).await.unwrap();
    let ids = async || fleet.hosts().await.iter().map(|(host, _)| host.id).collect::<Vec<_>>();
    let log = fleet.store().head().size;
    fleet.lapse(Timestamp(wall() + VALIDITY - 60)).await?;
    assert_eq!(ids().await.len(), 2, "its certificate still works");
    fleet.lapse(Timestamp(wall() + VALIDITY + 60)).await?;
    assert_eq!(ids().await, [host.id()], "a host that has shown up stays");
    assert_eq!(fleet.store().head().size, log + 1, "the log says so");
    fleet.store().close().await;

    // It may join again under a new token, with the same key or with another.
    let server = Running::resume(dir).await;
    assert_eq!(listed(&server).await.len(), 1);
    let mut courier = server.join(&ghost, server.token(600).await).await.unwrap();
    let mut session = courier.session(&ghost).await;
    assert!(tokio::time::timeout(Duration::from_secs(10), session.next()).await.is_ok());
    assert_eq!(listed(&server).await.iter().filter(|host| !host.pending).count(), 2);
    server.stop().await;
    Ok(())
}
