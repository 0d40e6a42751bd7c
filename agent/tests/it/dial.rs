//! The courier dials: whom it takes for the controller.
#![expect(clippy::disallowed_methods, reason = "a test lays down what `join` does")]

use std::{error::Error, path::Path, sync::Arc};

use muster_agent::{
    clock::Clocks,
    courier::{self, CourierError, HostTime, Identity},
    host::clocks,
};
use muster_proto::time::Timestamp;
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use rustls::{
    ServerConfig,
    pki_types::{CertificateDer, PrivatePkcs8KeyDer},
};
use tokio::{io::AsyncReadExt, net::TcpListener};
use tokio_rustls::TlsAcceptor;

struct Ca {
    issuer: Issuer<'static, KeyPair>,
    der: CertificateDer<'static>,
}

fn ca() -> Ca {
    let key = KeyPair::generate().unwrap();
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    let der = params.self_signed(&key).unwrap().der().clone();
    Ca { issuer: Issuer::new(params, key), der }
}

/// Listens with a certificate of this CA for this name, and returns the address.
async fn listen(ca: &Ca, name: &str) -> String {
    listen_with(ca, CertificateParams::new(vec![name.to_owned()]).unwrap()).await
}

async fn listen_with(ca: &Ca, params: CertificateParams) -> String {
    let key = KeyPair::generate().unwrap();
    let certificate = params.signed_by(&key, &ca.issuer).unwrap().der().clone();
    let config = ServerConfig::builder()
        .with_no_client_auth()
        .with_single_cert(vec![certificate], PrivatePkcs8KeyDer::from(key.serialize_der()).into())
        .unwrap();
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let acceptor = acceptor.clone();
            tokio::spawn(async move {
                // Whoever refuses the certificate goes away.
                let Ok(mut stream) = acceptor.accept(stream).await else { return };
                let _ = stream.read_to_end(&mut Vec::new()).await;
            });
        }
    });
    address
}

/// What `join` laid down: a CA that is pinned, and a certificate of it.
fn identity(ca: &Ca) -> (tempfile::TempDir, Identity) {
    let dir = tempfile::tempdir().unwrap();
    let (key, _) = courier::certificate_request().unwrap();
    let pair = KeyPair::try_from(key.clone()).unwrap();
    let certificate = CertificateParams::default().signed_by(&pair, &ca.issuer).unwrap();
    let identity = courier::join_identity(&key, certificate.der());
    let files: [(&str, &[u8]); 3] =
        [("identity", &identity), ("ca.der", &ca.der), ("controller", b"127.0.0.1:7420")];
    for (name, bytes) in files {
        std::fs::write(dir.path().join(name), bytes).unwrap();
    }
    let identity = Identity::load(dir.path()).unwrap();
    (dir, identity)
}

fn causes(error: &CourierError) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    text
}

#[tokio::test]
async fn a_controller_of_another_ca_or_name_is_refused() {
    let (own, other) = (ca(), ca());
    let (_dir, identity) = identity(&own);
    let time = HostTime::new(Path::new("/nowhere"), clocks::read);
    let dial = async |address: &str| courier::dial(address, identity.tls(&time).unwrap()).await;

    dial(&listen(&own, "127.0.0.1").await).await.unwrap();
    let stranger = dial(&listen(&other, "127.0.0.1").await).await.unwrap_err();
    assert!(matches!(stranger, CourierError::Connect { .. }), "{stranger}");
    // It has the same name, and not the key.
    assert!(causes(&stranger).contains("BadSignature"), "{}", causes(&stranger));
    let elsewhere = dial(&listen(&own, "localhost").await).await.unwrap_err();
    assert!(causes(&elsewhere).contains("not valid for name"), "{}", causes(&elsewhere));
}

/// 2031-02-03 and the day after it, which no real clock has reached.
const BEGINS: u64 = 1_927_843_200;
const ENDS: u64 = 1_927_929_600;

type Clock = fn() -> Clocks;

/// A machine without a battery, a minute after its start.
fn dead() -> Clocks {
    Clocks { wall: Timestamp(60), boot: 60 }
}

/// One with a battery.
fn right() -> Clocks {
    Clocks { wall: Timestamp(BEGINS + 600), boot: 60 }
}

#[tokio::test]
async fn a_host_with_a_dead_clock_finds_its_controller_by_signed_time_and_not_without() {
    let own = ca();
    let (dir, identity) = identity(&own);
    let mut params = CertificateParams::new(vec!["127.0.0.1".to_owned()]).unwrap();
    params.not_before = rcgen::date_time_ymd(2031, 2, 3);
    params.not_after = rcgen::date_time_ymd(2031, 2, 4);
    let address = listen_with(&own, params).await;
    let path = dir.path().join("time");

    // All that is told was told half a minute ago.
    let told = |sworn: u64, said: u64| format!("{sworn} {said} 30\n");
    let cases: [(String, Clock, Option<&str>); 7] = [
        (told(BEGINS - 31, 0), dead, Some("not valid yet")),
        (told(BEGINS - 30, 0), dead, None),
        (told(ENDS - 30, 0), dead, None),
        (told(ENDS - 29, 0), dead, Some("expired")),
        (told(BEGINS - 86_400, BEGINS), dead, None),
        // What a stolen controller said does not keep the one that comes after it away.
        (told(BEGINS, BEGINS + 86_400), right, None),
        (String::new(), dead, Some("not valid yet")),
    ];
    for (text, clocks, refusal) in cases {
        std::fs::write(&path, &text).unwrap();
        let tls = identity.tls(&HostTime::new(&path, clocks)).unwrap();
        let why = courier::dial(&address, tls).await.err().map(|error| causes(&error));
        match refusal {
            Some(word) => {
                assert!(why.as_ref().is_some_and(|why| why.contains(word)), "{text}: {why:?}");
            }
            None => assert_eq!(why, None, "{text}"),
        }
    }
}
