//! Sessions over time: several hosts at once, connections that break, state that is lost.
#![expect(clippy::disallowed_methods, reason = "a test measures")]

use muster_proto::{
    link::Target,
    wire::{self, operators_client::OperatorsClient},
};
use tonic::transport::Channel;

use crate::{
    host::Host,
    net::{Running, soon},
    server::{grant, report, until, wired},
    world::{World, id},
};

#[tokio::test]
async fn three_hosts_confirm_a_change_within_a_second() {
    let mut world = World::new();
    let server = Running::start(&world).await;
    let mut operator = server.operator().await;
    let mut many = grant(&world);
    many.extend((0..1_000).map(|n| world.user(&format!("user{n}"), 2_000 + n, &[])));
    operator.publish(wired(&world.publish(many))).await.unwrap();
    let mut fleet = Vec::new();
    for _ in 0..3 {
        let mut host = Host::new(&world, &[("tier", "db")]);
        let mut courier = server.join(&host, server.token(600).await).await.unwrap();
        let mut session = courier.session(&host).await;
        until(&mut session, &mut host, |bundle| bundle.link.is_some()).await;
        session.stand(&host).await;
        report(&mut session, &mut host).await;
        fleet.push((host, courier, session));
    }
    let mut took = Vec::new();
    for round in 0..10 {
        let user = world.user(&format!("new{round}"), 5_000 + round, &["dba-team"]);
        let link = wired(&world.publish(vec![user]));
        let start = std::time::Instant::now();
        let reply = operator.publish(link).await.unwrap().into_inner();
        let number = reply.link.unwrap().number;
        assert_eq!(reply.hosts.len(), 3);
        let follow =
            wire::FollowRequest { link: number, revocations: Vec::new(), hosts: reply.hosts };
        let mut progress = operator.follow(follow).await.unwrap().into_inner();
        for (host, _, session) in &mut fleet {
            until(session, host, |bundle| bundle.link.is_some()).await;
            session.stand(host).await;
            session.report(host).await;
        }
        while soon(progress.message()).await.unwrap().is_some() {}
        took.push(start.elapsed());
        for (host, ..) in &fleet {
            assert_eq!(host.held, host.due(world.chain.statements()));
        }
    }
    took.sort();
    assert!(took[took.len() / 2].as_secs() < 1, "{took:?}");
    server.stop().await;
}

#[tokio::test]
async fn what_was_not_confirmed_is_sent_again_and_a_lost_state_gets_everything() {
    let mut world = World::new();
    let server = Running::start(&world).await;
    let mut operator = server.operator().await;
    operator.publish(wired(&world.publish(grant(&world)))).await.unwrap();
    let mut host = Host::new(&world, &[("tier", "db")]);
    let mut courier = server.join(&host, server.token(600).await).await.unwrap();
    let mut lost = courier.session(&host).await;
    while lost.next().await.is_some_and(|bytes| !has_link(&bytes)) {}
    // The connection breaks before the keeper saw the bundle.
    drop(lost);
    let mut session = courier.session(&host).await;
    let first = until(&mut session, &mut host, |bundle| bundle.link.is_some()).await;
    assert_eq!(first.link.unwrap().statements.len(), 4);
    session.stand(&host).await;
    report(&mut session, &mut host).await;

    // Nothing is sent twice to a host that has it.
    drop(session);
    let mut session = courier.session(&host).await;
    let link = world.publish(vec![world.user("bob", 1_002, &["dba-team"])]);
    operator.publish(wired(&link)).await.unwrap();
    let delta = until(&mut session, &mut host, |bundle| bundle.link.is_some()).await;
    let delta = delta.link.unwrap();
    assert_eq!((delta.link.number, delta.statements.len()), (2, 4), "bob and what he gains by");
    session.stand(&host).await;
    report(&mut session, &mut host).await;

    host.floor = None;
    host.known.clear();
    host.held.clear();
    session.stand(&host).await;
    let whole = until(&mut session, &mut host, |bundle| bundle.link.is_some()).await;
    assert_eq!(whole.link.unwrap().statements.len(), 5);
    assert_eq!(host.held, host.due(world.chain.statements()));

    // Receipts that got lost cut nobody off.
    host.receipt();
    let (_, stored) = report(&mut session, &mut host).await;
    assert_eq!(stored.number, 4);
    let target = Target::Statement { id: id("dbas"), revision: 1 };
    let revocation = world.revocation("end it", target);
    let request = wire::RevokeRequest { revocation: Some(wire::Envelope::from(&revocation)) };
    operator.revoke(request).await.unwrap();
    until(&mut session, &mut host, |bundle| !bundle.revocations.is_empty()).await;
    assert!(host.held.is_empty());
    server.stop().await;
}

#[tokio::test]
async fn a_host_that_joins_again_is_shown_everything_again() {
    let mut world = World::new();
    let server = Running::start(&world).await;
    let mut operator = server.operator().await;
    operator.publish(wired(&world.publish(grant(&world)))).await.unwrap();
    let mut host = Host::new(&world, &[("tier", "db")]);
    for _ in 0..2 {
        let mut courier = server.join(&host, server.token(600).await).await.unwrap();
        let mut session = courier.session(&host).await;
        let whole = until(&mut session, &mut host, |bundle| bundle.link.is_some()).await;
        assert_eq!(whole.link.unwrap().statements.len(), 4);
        report(&mut session, &mut host).await;
        // It has the floor of its token, and lost the rest.
        host.known.clear();
        host.proved.clear();
        host.held.clear();
    }
    server.stop().await;
}

#[tokio::test]
async fn a_refusal_reaches_the_operator_and_goes_when_it_is_over() {
    let mut world = World::new();
    let server = Running::start(&world).await;
    let mut operator = server.operator().await;
    let mut host = Host::new(&world, &[("tier", "db")]);
    let mut courier = server.join(&host, server.token(600).await).await.unwrap();
    let mut session = courier.session(&host).await;
    let link = world.publish(grant(&world));
    let hosts = operator.publish(wired(&link)).await.unwrap().into_inner().hosts;
    until(&mut session, &mut host, |bundle| bundle.link.is_some()).await;
    let follow = wire::FollowRequest { link: 1, revocations: Vec::new(), hosts };
    let mut progress = operator.follow(follow).await.unwrap().into_inner();
    let refusal = async |operator: &mut OperatorsClient<Channel>| {
        let hosts = operator.hosts(wire::HostsRequest {}).await.unwrap().into_inner().hosts;
        hosts[0].standing.clone().unwrap().refusal
    };
    let current = async |operator: &mut OperatorsClient<Channel>| {
        operator.status(wire::StatusRequest {}).await.unwrap().into_inner().hosts_current
    };

    let floor = host.floor.take();
    session.refuse(&host, "the link is for another host").await;
    let mut told = soon(progress.message()).await.unwrap().unwrap();
    while told.refusal.is_empty() {
        told = soon(progress.message()).await.unwrap().unwrap();
    }
    assert_eq!(told.refusal, "the link is for another host");
    assert!(told.receipts.is_empty());
    assert_eq!(refusal(&mut operator).await, told.refusal);
    assert_eq!(current(&mut operator).await, 0);

    host.floor = floor;
    session.stand(&host).await;
    session.report(&mut host).await;
    while let Some(more) = soon(progress.message()).await.unwrap() {
        told = more;
    }
    assert_eq!((told.refusal.as_str(), told.receipts.len()), ("", 1));
    assert_eq!(refusal(&mut operator).await, "");
    assert_eq!(current(&mut operator).await, 1);
    server.stop().await;
}

fn has_link(bytes: &[u8]) -> bool {
    use muster_proto::{bundle::Bundle, envelope::Document};
    Bundle::decode(bytes).unwrap().link.is_some()
}
