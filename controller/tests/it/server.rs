//! A whole server: join, session, publish, bundle, receipt, follow.

use muster_controller::{
    config::Config,
    server::{ServeError, Server},
    setup::{self, SetupError},
};
use muster_proto::{
    bundle::VerifiedBundle,
    envelope::{Envelope, Verified},
    link::{Acknowledgement, Target},
    wire,
};
use nix::fcntl::{Flock, FlockArg};
use tonic::Code;

use crate::{
    host::Host,
    net::{Running, Session, alter, config, join_request, soon},
    world::{NOW, World, id},
};

pub(crate) fn wired(link: &muster_controller::current::PublishedLink) -> wire::PublishedLink {
    link.into()
}

pub(crate) fn grant(world: &World) -> Vec<muster_proto::statement::Statement> {
    vec![
        world.group("dba-team"),
        world.role("dba", &[]),
        world.user("ana", 1_001, &["dba-team"]),
        world.assignment("dbas", "dba-team", "dba", "tier=db", None),
    ]
}

/// Takes bundles until one is what the test waits for.
pub(crate) async fn until(
    session: &mut Session,
    host: &mut Host,
    wanted: impl Fn(&VerifiedBundle) -> bool,
) -> VerifiedBundle {
    loop {
        let bytes = session.next().await.expect("the session ended");
        let verified = host.take(&bytes).unwrap();
        if wanted(&verified) {
            return verified;
        }
    }
}

/// Reports, and waits until that is stored; returns the receipt and the controller's word on it.
pub(crate) async fn report(
    session: &mut Session,
    host: &mut Host,
) -> (Envelope, Verified<Acknowledgement>) {
    let receipt = session.report(host).await;
    let answer = until(session, host, |bundle| bundle.acknowledgement.is_some()).await;
    (receipt, answer.acknowledgement.unwrap())
}

/// The hosts as an operator is told of them.
pub(crate) async fn listed(server: &Running) -> Vec<wire::Host> {
    server.operator().await.hosts(wire::HostsRequest {}).await.unwrap().into_inner().hosts
}

#[tokio::test]
async fn a_link_reaches_a_host_and_its_receipt_reaches_who_follows() {
    let mut world = World::new();
    let server = Running::start(&world).await;
    let mut host = Host::new(&world, &[("tier", "db")]);
    let mut other = Host::new(&world, &[("tier", "web")]);
    let mut courier = server.join(&host, server.token(600).await).await.unwrap();
    assert_eq!(courier.reply.trust_roots, [wire::Envelope::from(&world.trust)]);
    let mut session = courier.session(&host).await;
    let mut other_courier = server.join(&other, server.token(600).await).await.unwrap();
    let mut other_session = other_courier.session(&other).await;
    until(&mut session, &mut host, |bundle| bundle.checkpoint.is_some()).await;
    until(&mut other_session, &mut other, |bundle| bundle.checkpoint.is_some()).await;

    let mut operator = server.operator().await;
    let link = world.publish(grant(&world));
    let reply = operator.publish(wired(&link)).await.unwrap().into_inner();
    assert_eq!(reply.hosts, [host.id().as_bytes().to_vec()]);
    let place = reply.link.unwrap();
    assert_eq!(place.number, 1);
    let follow = wire::FollowRequest { link: 1, revocations: Vec::new(), hosts: reply.hosts };
    let mut progress = operator.follow(follow).await.unwrap().into_inner();
    let first = soon(progress.message()).await.unwrap().unwrap();
    assert!(first.connected && first.receipts.is_empty());

    until(&mut session, &mut host, |bundle| bundle.link.is_some()).await;
    assert_eq!(host.held, host.due(world.chain.statements()));
    assert!(!host.held.is_empty());
    session.stand(&host).await;
    let receipt = session.report(&mut host).await;
    let acknowledged =
        until(&mut session, &mut host, |bundle| bundle.acknowledgement.is_some()).await;
    assert_eq!(acknowledged.acknowledgement.unwrap().digest, receipt.digest());
    let mut last = first;
    while let Some(progress) = soon(progress.message()).await.unwrap() {
        last = progress;
    }
    assert_eq!(last.receipts, vec![wire::Envelope::from(&receipt)]);

    // Taking away is pushed at once, on its own.
    let target = Target::Statement { id: id("ana"), revision: 1 };
    let revocation = world.revocation("offboard", target);
    let request = wire::RevokeRequest { revocation: Some(wire::Envelope::from(&revocation)) };
    let reply = operator.revoke(request).await.unwrap().into_inner();
    assert_eq!(reply.hosts, [host.id().as_bytes().to_vec()]);
    until(&mut session, &mut host, |bundle| !bundle.revocations.is_empty()).await;
    assert!(host.held.is_empty());
    let receipt = session.report(&mut host).await;
    let follow = wire::FollowRequest {
        link: 0,
        revocations: vec![id("offboard").as_bytes().to_vec()],
        hosts: reply.hosts,
    };
    let mut progress = operator.follow(follow).await.unwrap().into_inner();
    let mut last = None;
    while let Some(progress) = soon(progress.message()).await.unwrap() {
        last = progress.receipts.into_iter().next_back();
    }
    assert_eq!(last, Some(wire::Envelope::from(&receipt)));

    let status = operator.status(wire::StatusRequest {}).await.unwrap().into_inner();
    assert_eq!((status.hosts, status.hosts_connected, status.revocations), (2, 2, 1));
    server.stop().await;
}

#[tokio::test]
async fn a_secret_opens_the_door_once_and_in_time() {
    let world = World::new();
    let server = Running::start(&world).await;
    let host = Host::new(&world, &[]);
    let secret = server.token(600).await;
    server.join(&host, secret.clone()).await.unwrap();
    let again = server.join(&Host::new(&world, &[]), secret).await.err().unwrap();
    assert_eq!(again.code(), Code::Unauthenticated);
    assert!(again.message().contains("used already"), "{again}");
    let wrong = server.join(&host, vec![7; 32]).await.err().unwrap();
    assert!(wrong.message().contains("not known"), "{wrong}");
    let late = server.token(60).await;
    server.turn_clock(60);
    let late = server.join(&host, late).await.err().unwrap();
    assert!(late.message().contains("expired"), "{late}");
    let tls = rcgen::KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256).unwrap();
    let secret = server.token(600).await;
    let mut request = join_request(&host, &tls, secret.clone());
    request.certificate_request =
        join_request(&host, &rcgen::KeyPair::generate().unwrap(), vec![]).certificate_request;
    let other = server.stranger().await.join(request).await.err().unwrap();
    assert_eq!(other.code(), Code::InvalidArgument);
    server.join(&host, secret).await.expect("a bad request does not spend the secret");
    server.stop().await;
}

#[tokio::test]
async fn without_a_certificate_only_joining_is_possible() {
    let world = World::new();
    let server = Running::start(&world).await;
    let renew = wire::RenewRequest { certificate_request: Vec::new() };
    let refused = server.stranger().await.renew(renew).await.err().unwrap();
    assert_eq!(refused.code(), Code::Unauthenticated);
    let mut courier = {
        let host = Host::new(&world, &[]);
        server.join(&host, server.token(60).await).await.unwrap()
    };
    let key = rcgen::KeyPair::generate().unwrap();
    let csr = rcgen::CertificateParams::default().serialize_request(&key).unwrap();
    let renew = wire::RenewRequest { certificate_request: csr.der().to_vec() };
    assert!(!courier.client.renew(renew).await.unwrap().into_inner().certificate.is_empty());
    server.stop().await;
}

#[tokio::test]
async fn the_server_believes_nobody_for_a_link() {
    let mut world = World::new();
    let server = Running::start(&world).await;
    let mut operator = server.operator().await;
    let mut unsigned = wired(&world.cut(grant(&world)));
    if let Some(link) = &mut unsigned.link {
        link.signatures.clear();
    }
    let refused = operator.publish(unsigned).await.err().unwrap();
    assert_eq!(refused.code(), Code::PermissionDenied, "{refused}");
    let log = world.log.clone();
    world.log.size = 7;
    let refused = operator.publish(wired(&world.cut(grant(&world)))).await.err().unwrap();
    assert!(refused.message().contains("audit-log head"), "{refused}");
    world.log = log;
    let link = world.publish(grant(&world));
    operator.publish(wired(&link)).await.unwrap();
    let again = operator.publish(wired(&link)).await.unwrap().into_inner();
    assert_eq!(again.link.unwrap().number, 1, "a sender who heard nothing asks again");

    let dir = server.stop().await;
    let server = Running::resume(dir).await;
    let status = server.operator().await.status(wire::StatusRequest {}).await.unwrap();
    assert_eq!(status.into_inner().newest.unwrap().number, 1);
    let links = server.operator().await.links(wire::LinksRequest { after: 0 }).await.unwrap();
    let first = soon(links.into_inner().message()).await.unwrap().unwrap();
    assert_eq!(first, wired(&link));
    server.stop().await;
}

#[tokio::test]
async fn what_cannot_be_served_is_said_plainly() {
    let world = World::new();
    let server = Running::start(&world).await;
    let busy = tempfile::tempdir().unwrap();
    setup::create(&busy.path().join("data"), &world.online, &world.trust, NOW).await.unwrap();
    let taken = Config { agent_listener: server.address, ..config(busy.path()) };
    let error = Server::bind(taken).await.err().unwrap();
    assert_eq!(error.to_string(), format!("cannot listen on `{}`", server.address));
    let twice = Server::bind(config(server.dir.path())).await.err().unwrap();
    assert!(matches!(twice, ServeError::Locked(_)), "{twice}");
    // Whoever has the lock has the tables too.
    let old = busy.path().join("data");
    let lock = std::fs::File::open(&old).unwrap();
    let lock = Flock::lock(lock, FlockArg::LockExclusiveNonblock).unwrap();
    alter(&old.join("muster.db"), "DELETE FROM _sqlx_migrations WHERE version = 2").await;
    alter(&old.join("muster.db"), "DROP TABLE receipt_breaks").await;
    let locked = Server::bind(config(busy.path())).await.err().unwrap();
    assert!(matches!(locked, ServeError::Locked(_)), "{locked}");
    alter(&old.join("muster.db"), "CREATE TABLE receipt_breaks (mine)").await;
    drop(lock);
    let empty = tempfile::tempdir().unwrap();
    let absent = Server::bind(config(empty.path())).await.err().unwrap();
    assert!(matches!(absent, ServeError::Store(_)), "{absent}");
    let data = busy.path().join("data");
    let again = setup::create(&data, &world.online, &world.trust, NOW).await.unwrap_err();
    assert!(matches!(again, SetupError::NotEmpty(_)), "{again}");
    server.stop().await;
}
