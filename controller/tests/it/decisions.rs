//! What operators decide about hosts: each state against sessions, renewals and joining.

use muster_controller::{
    fleet::Fleet,
    host::Verdict,
    signer::Signer,
    store::Store,
    tool::{
        Tool,
        known::{Forgotten, Hosts},
    },
};
use muster_proto::{
    link::Target,
    name::Line,
    wire::{self, Measure},
};
use rcgen::{CertificateParams, KeyPair};
use tonic::{Code, Status};

use crate::{
    host::Host,
    net::{Courier, Running, soon},
    server::{grant, listed, report, until, wired},
    world::{World, id},
};

async fn decide(
    server: &Running,
    host: &Host,
    measure: Measure,
) -> Result<Option<wire::Decision>, Status> {
    let request = wire::DecideRequest {
        host: host.id().as_bytes().to_vec(),
        measure: measure.into(),
        reason: "a test".to_owned(),
    };
    Ok(server.operator().await.decide(request).await?.into_inner().decision)
}

async fn joined(server: &Running, host: &Host) -> Result<Courier, Status> {
    server.join(host, server.token(600).await).await
}

/// Tries all that a certificate is for, on a connection that is open and on a new one.
async fn assert_void(server: &Running, courier: &mut Courier) {
    let key = KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256).unwrap();
    let request = CertificateParams::default().serialize_request(&key).unwrap();
    let renew = wire::RenewRequest { certificate_request: request.der().to_vec() };
    soon(courier.client.renew(renew.clone())).await.unwrap_err();
    soon(courier.client.session(tokio_stream::empty())).await.unwrap_err();
    let shown = Some((courier.reply.certificate.clone(), &courier.key));
    // TLS 1.3 tells a client only at its first call.
    if let Ok(channel) = soon(server.channel(shown)).await {
        let mut client = wire::agents_client::AgentsClient::new(channel);
        assert!(soon(client.renew(renew)).await.is_err());
        assert!(soon(client.session(tokio_stream::empty())).await.is_err());
    }
}

#[tokio::test]
async fn a_quarantined_host_is_sent_what_takes_away_and_no_link_until_it_is_released() {
    let mut world = World::new();
    let server = Running::start(&world).await;
    let mut operator = server.operator().await;
    let mut host = Host::new(&world, &[("tier", "db")]);
    let mut courier = joined(&server, &host).await.unwrap();
    let mut session = courier.session(&host).await;
    operator.publish(wired(&world.publish(grant(&world)))).await.unwrap();
    until(&mut session, &mut host, |bundle| bundle.link.is_some()).await;
    report(&mut session, &mut host).await;
    let held = host.held.clone();
    assert!(!held.is_empty());

    let decision = decide(&server, &host, Measure::Quarantine).await.unwrap().unwrap();
    assert_eq!(decision.verdict(), wire::Verdict::Quarantined);
    assert_eq!(decision.reason, "a test");
    let ended = session.failure().await;
    assert_eq!(ended.code(), Code::PermissionDenied, "what waits in it is not sent: {ended}");

    // A controller that starts again knows it, and so does a host that joins again.
    let server = Running::resume(server.stop().await).await;
    let mut operator = server.operator().await;
    let mut courier = joined(&server, &host).await.unwrap();
    assert_eq!(listed(&server).await[0].decision, Some(decision));
    let mut session = courier.session(&host).await;
    let bob = world.publish(vec![world.user("bob", 1_002, &["dba-team"])]);
    operator.publish(wired(&bob)).await.unwrap();
    let revoked = Target::Key(world_key("ana"));
    let lost = [("one", Target::Statement { id: id("ana"), revision: 1 }), ("two", revoked)];
    for (word, target) in lost {
        let revocation = world.revocation(word, target);
        let request = wire::RevokeRequest { revocation: Some(wire::Envelope::from(&revocation)) };
        operator.revoke(request).await.unwrap();
    }
    let mut links = 0;
    let mut kept = 0;
    while kept < 2 {
        let bytes = session.next().await.unwrap();
        let bundle = host.take(&bytes).unwrap();
        links += usize::from(bundle.link.is_some());
        kept += bundle.revocations.len();
    }
    session.stand(&host).await;
    report(&mut session, &mut host).await;
    assert_eq!(links, 0, "a link can give");
    assert_eq!(host.link().unwrap().number, 1);
    assert!(host.held.is_subset(&held) && host.held != held);

    // Whoever follows hears that it is held back, with what was taken away.
    let hosts = vec![host.id().as_bytes().to_vec()];
    let follow = wire::FollowRequest { link: 2, revocations: Vec::new(), hosts };
    let mut progress = operator.follow(follow).await.unwrap().into_inner();
    let told = soon(progress.message()).await.unwrap().unwrap();
    assert!(told.refusal.starts_with("quarantined by "), "{}", told.refusal);
    assert!(!told.receipts.is_empty());
    assert!(soon(progress.message()).await.unwrap().is_none(), "nothing more will come");

    assert_eq!(decide(&server, &host, Measure::Release).await.unwrap(), None);
    until(&mut session, &mut host, |bundle| bundle.link.is_some()).await;
    assert_eq!(host.link().unwrap().number, 2);
    assert_eq!(host.held, host.due(world.chain.statements()));
    assert_eq!(listed(&server).await[0].decision, None);
    server.stop().await;
}

fn world_key(login: &str) -> muster_proto::id::Digest {
    crate::world::Key::new(login).public().fingerprint()
}

#[tokio::test]
async fn an_evicted_hosts_certificates_are_void_at_once_and_it_may_join_again() {
    let world = World::new();
    let server = Running::start(&world).await;
    let host = Host::new(&world, &[]);
    let mut old = joined(&server, &host).await.unwrap();
    let mut session = old.session(&host).await;
    session.next().await.unwrap();
    let decision = decide(&server, &host, Measure::Evict).await.unwrap().unwrap();
    assert_eq!(decision.verdict(), wire::Verdict::Evicted);
    assert_eq!(session.failure().await.code(), Code::PermissionDenied);
    assert_void(&server, &mut old).await;
    assert_eq!(listed(&server).await[0].decision, Some(decision), "its record stays");

    let server = Running::resume(server.stop().await).await;
    let shown = Some((old.reply.certificate.clone(), &old.key));
    if let Ok(channel) = soon(server.channel(shown)).await {
        old.client = wire::agents_client::AgentsClient::new(channel);
        assert_void(&server, &mut old).await;
    }
    let mut new = joined(&server, &host).await.unwrap();
    new.session(&host).await.next().await.unwrap();
    assert_eq!(listed(&server).await[0].decision, None);
    // The door is open again, and the old key opens it no more.
    if let Ok(channel) = soon(server.channel(Some((old.reply.certificate.clone(), &old.key)))).await
    {
        old.client = wire::agents_client::AgentsClient::new(channel);
    }
    assert_void(&server, &mut old).await;
    new.session(&host).await.next().await.unwrap();
    server.stop().await;
}

#[tokio::test]
async fn a_banned_host_joins_no_more_until_the_ban_is_lifted_though_its_record_is_forgotten() {
    let world = World::new();
    let server = Running::start(&world).await;
    let (host, other) = (Host::new(&world, &[]), Host::new(&world, &[]));
    let mut courier = joined(&server, &host).await.unwrap();
    let mut session = courier.session(&host).await;
    session.next().await.unwrap();
    decide(&server, &host, Measure::Ban).await.unwrap();
    assert_eq!(session.failure().await.code(), Code::PermissionDenied);
    assert_void(&server, &mut courier).await;
    let secret = server.token(600).await;
    let refused = server.join(&host, secret.clone()).await.err().unwrap();
    assert_eq!(refused.code(), Code::PermissionDenied, "{refused}");
    server.join(&other, secret).await.expect("whoever is banned spends nothing");

    decide(&server, &host, Measure::Purge).await.unwrap();
    assert!(listed(&server).await.iter().all(|listed| listed.id != host.id().as_bytes()));
    let server = Running::resume(server.stop().await).await;
    let refused = joined(&server, &host).await.err().unwrap();
    assert_eq!(refused.code(), Code::PermissionDenied, "{refused}");

    assert_eq!(decide(&server, &host, Measure::Release).await.unwrap(), None);
    let again = decide(&server, &host, Measure::Release).await.unwrap_err();
    assert_eq!(again.code(), Code::NotFound, "{again}");
    let mut courier = joined(&server, &host).await.unwrap();
    courier.session(&host).await.next().await.unwrap();
    server.stop().await;
}

#[tokio::test]
async fn a_ban_that_is_lifted_leaves_the_eviction() {
    let world = World::new();
    let server = Running::start(&world).await;
    let host = Host::new(&world, &[]);
    let mut courier = joined(&server, &host).await.unwrap();
    decide(&server, &host, Measure::Ban).await.unwrap();
    let released = decide(&server, &host, Measure::Release).await.unwrap().unwrap();
    assert_eq!(released.verdict(), wire::Verdict::Evicted);
    assert_void(&server, &mut courier).await;
    joined(&server, &host).await.unwrap();
    server.stop().await;
}

#[tokio::test]
async fn who_is_connected_is_not_forgotten_and_whoever_is_leaves_what_it_signed() {
    let world = World::new();
    let server = Running::start(&world).await;
    let mut host = Host::new(&world, &[("tier", "db")]);
    let mut courier = joined(&server, &host).await.unwrap();
    let mut session = courier.session(&host).await;
    let (receipt, _) = report(&mut session, &mut host).await;
    let refused = decide(&server, &host, Measure::Purge).await.unwrap_err();
    assert_eq!(refused.code(), Code::FailedPrecondition, "{refused}");
    decide(&server, &host, Measure::Evict).await.unwrap();
    session.failure().await;
    assert_eq!(decide(&server, &host, Measure::Purge).await.unwrap(), None);
    assert!(listed(&server).await.is_empty());
    assert_void(&server, &mut courier).await;

    let dir = server.stop().await;
    let data = dir.path().join("data");
    let store = Store::open(&data).await.unwrap();
    let kept = store.receipts_before(host.id(), u64::MAX, 10).await.unwrap();
    assert_eq!(kept.receipts, [(1, receipt)]);
    assert!(store.decisions().await.unwrap().is_empty());
    let signer = Signer::open(&data.join(muster_controller::setup::ONLINE_KEY)).unwrap();
    let fleet = Fleet::load(store, signer).await.unwrap();
    assert!(!fleet.bans().contains(&host.id()));
    fleet.store().close().await;
    let server = Running::resume(dir).await;
    let mut courier = joined(&server, &host).await.unwrap();
    courier.session(&host).await.next().await.unwrap();
    server.stop().await;
}

#[tokio::test]
async fn every_decision_is_in_the_log_and_what_is_not_taken_is_not() {
    let world = World::new();
    let server = Running::start(&world).await;
    let (host, nobody) = (Host::new(&world, &[]), Host::new(&world, &[]));
    let mut courier = joined(&server, &host).await.unwrap();
    courier.session(&host).await.next().await.unwrap();
    let size = async || {
        let mut operator = server.operator().await;
        operator.status(wire::StatusRequest {}).await.unwrap().into_inner().log.unwrap().size
    };
    let begin = size().await;
    for (measure, code) in [
        (Measure::Release, Code::FailedPrecondition),
        (Measure::Unspecified, Code::InvalidArgument),
    ] {
        assert_eq!(decide(&server, &host, measure).await.unwrap_err().code(), code);
    }
    let unknown = decide(&server, &nobody, Measure::Ban).await.unwrap_err();
    assert_eq!(unknown.code(), Code::NotFound);
    let request = wire::DecideRequest {
        host: host.id().as_bytes().to_vec(),
        measure: Measure::Ban.into(),
        reason: "two\nlines".to_owned(),
    };
    let refused = server.operator().await.decide(request).await.unwrap_err();
    assert_eq!(refused.code(), Code::InvalidArgument);
    assert_eq!(size().await, begin);
    let measures = [
        Measure::Quarantine,
        Measure::Release,
        Measure::Quarantine,
        Measure::Evict,
        Measure::Ban,
        Measure::Release,
        Measure::Purge,
    ];
    for (n, measure) in (1..).zip(measures) {
        decide(&server, &host, measure).await.unwrap();
        assert_eq!(size().await, begin + n, "{measure:?}");
    }
    server.stop().await;
}

#[test]
fn a_host_that_is_forgotten_is_waited_for_no_more_and_its_name_is_free() {
    let world = World::new();
    let dir = tempfile::tempdir().unwrap();
    let tool = Tool::create(dir.path(), &world.trust).unwrap();
    let (one, two) = (Host::new(&world, &[]).id(), Host::new(&world, &[]).id());
    let line = |name| Line::parse(name).unwrap();
    tool.remember_hosts(Hosts::from([(one, line("db1")), (two, line("web1"))])).unwrap();
    assert_eq!(tool.forget_host(&one).unwrap(), Forgotten::Host(line("db1")));
    assert_eq!(tool.forget_host(&one).unwrap(), Forgotten::Nothing);
    assert_eq!(tool.known_hosts().unwrap(), Hosts::from([(two, line("web1"))]));
}

#[test]
fn only_eviction_and_ban_shut_out() {
    let shut = Verdict::ALL.map(Verdict::shuts_out);
    assert_eq!(shut, [false, true, true]);
}
