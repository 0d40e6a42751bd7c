//! Those at the agents' listener whom nobody knows: they keep no host out, and cost little.
#![expect(clippy::disallowed_methods, reason = "a test measures")]

use std::{
    net::{Ipv4Addr, SocketAddr},
    sync::Arc,
    time::{Duration, Instant},
};

use muster_controller::api::{MAX_JOIN, MAX_RENEW, MAX_SAID};
use muster_proto::{envelope::MAX_SIGNATURES, wire};
use prost::Message;
use rcgen::KeyPair;
use rustls::{ClientConfig, RootCertStore, crypto::ring, pki_types::ServerName};
use tokio::{
    io::AsyncReadExt,
    net::{TcpSocket, TcpStream},
    sync::mpsc,
};
use tokio_rustls::TlsConnector;
use tonic::Code;

use crate::{
    host::Host,
    net::{Running, join_request, soon},
    server::report,
    world::World,
};

/// Connects from an address of loopback of one's own.
async fn from(address: Ipv4Addr, to: SocketAddr) -> TcpStream {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind(SocketAddr::from((address, 0))).unwrap();
    soon(socket.connect(to)).await.unwrap()
}

#[tokio::test]
async fn those_who_say_nothing_hold_nobody_up() {
    let world = World::new();
    let server = Running::start(&world).await;
    let host = Host::new(&world, &[]);
    let secret = server.token(60).await;
    let mut silent = Vec::new();
    // From the host's own address, and from so many others that all turns are taken.
    for _ in 0..50 {
        silent.push(TcpStream::connect(server.address).await.unwrap());
    }
    for other in 1..=60 {
        for _ in 0..10 {
            silent.push(from(Ipv4Addr::new(127, 0, 1, other), server.address).await);
        }
    }
    let start = Instant::now();
    server.join(&host, secret).await.unwrap();
    assert!(start.elapsed().as_secs() < 3, "{:?}", start.elapsed());
    server.stop().await;
}

#[tokio::test]
async fn strangers_have_few_connections_and_not_for_long_and_hosts_keep_theirs() {
    let world = World::new();
    let server = Running::start(&world).await;
    let mut host = Host::new(&world, &[]);
    let mut courier = server.join(&host, server.token(60).await).await.unwrap();
    let mut session = courier.session(&host).await;
    session.next().await.unwrap();

    let mut roots = RootCertStore::empty();
    roots.add(server.ca()).unwrap();
    let mut tls = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_protocol_versions(&[&rustls::version::TLS13])
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    tls.alpn_protocols = vec![b"h2".to_vec()];
    let connector = TlsConnector::from(Arc::new(tls));
    let start = Instant::now();
    let (closed, mut ends) = mpsc::unbounded_channel();
    for _ in 0..40 {
        let stream = from(Ipv4Addr::new(127, 0, 2, 1), server.address).await;
        let name = ServerName::try_from("127.0.0.1").unwrap();
        let mut stream = soon(connector.connect(name, stream)).await.unwrap();
        let closed = closed.clone();
        tokio::spawn(async move {
            let mut some = [0; 1_024];
            while stream.read(&mut some).await.is_ok_and(|length| length > 0) {}
            closed.send(start.elapsed()).unwrap();
        });
    }
    let mut took = Vec::new();
    for _ in 0..40 {
        took.push(soon(ends.recv()).await.unwrap());
    }
    let (early, late) = took.split_at(8);
    assert!(early.iter().all(|after| after.as_secs() < 10), "{early:?}");
    assert!(late.iter().all(|after| *after >= Duration::from_secs(14)), "{late:?}");
    // A host stays.
    report(&mut session, &mut host).await;
    server.stop().await;
}

/// Makes a message as long as it is to be by one of its fields.
fn sized<M: Message + Default>(bytes: usize, fill: impl Fn(usize) -> M) -> M {
    let rest = fill(bytes).encoded_len() - bytes;
    // Lengths take more bytes as they grow.
    let mut near = (bytes - rest..=bytes).map(fill);
    near.find(|message| message.encoded_len() == bytes).unwrap()
}

#[tokio::test]
async fn what_is_read_before_anybody_is_known_is_small() {
    let world = World::new();
    let server = Running::start(&world).await;
    let mut host = Host::new(&world, &[]);
    let key = KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256).unwrap();
    let whole = join_request(&host, &key, vec![1; 32]);
    let join = |bytes| {
        sized(bytes, |length| wire::JoinRequest { secret: vec![1; length], ..whole.clone() })
    };
    let mut stranger = server.stranger().await;
    let read = soon(stranger.join(join(MAX_JOIN))).await.unwrap_err();
    assert_eq!(read.code(), Code::Unauthenticated, "{read}");
    let unread = soon(stranger.join(join(MAX_JOIN + 1))).await.unwrap_err();
    assert_eq!(unread.code(), Code::OutOfRange, "{unread}");

    for (more, code) in [(0, Code::Unauthenticated), (1, Code::InvalidArgument)] {
        let mut many = whole.clone();
        let signatures = &mut many.enrolment.as_mut().unwrap().signatures;
        signatures.resize(MAX_SIGNATURES + more, signatures[0].clone());
        let refused = soon(stranger.join(many)).await.unwrap_err();
        assert_eq!(refused.code(), code, "{refused}");
    }

    let mut courier = server.join(&host, server.token(60).await).await.unwrap();
    let renew =
        |bytes| sized(bytes, |length| wire::RenewRequest { certificate_request: vec![1; length] });
    let read = soon(courier.client.renew(renew(MAX_RENEW))).await.unwrap_err();
    assert_eq!(read.code(), Code::InvalidArgument, "{read}");
    let unread = soon(courier.client.renew(renew(MAX_RENEW + 1))).await.unwrap_err();
    assert_eq!(unread.code(), Code::OutOfRange, "{unread}");

    let said = |bytes| {
        sized(bytes, |length| {
            let receipt = wire::Envelope { payload: vec![1; length], ..Default::default() };
            let entry = wire::SpoolEntry { number: 0, receipt: Some(receipt) };
            wire::FromKeeper { message: Some(wire::from_keeper::Message::Spool(entry)) }
        })
    };
    let mut session = courier.session(&host).await;
    session.say(said(MAX_SAID).message.unwrap()).await;
    // What is no receipt is not stored, and cuts nobody off.
    report(&mut session, &mut host).await;
    session.try_to_say(said(MAX_SAID + 1).message.unwrap()).await;
    assert_eq!(session.failure().await.code(), Code::OutOfRange);
    server.stop().await;
}
