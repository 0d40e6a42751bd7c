//! Certificates and the door: what the CA writes, whom the handshake lets in.
#![expect(clippy::disallowed_methods, reason = "a test measures")]

use std::{collections::BTreeSet, os::unix::fs::PermissionsExt};

use muster_controller::{
    enrol::{self, Ca, EnrolError, VALIDITY},
    setup::{self, SetupError},
    signer,
};
use muster_proto::{
    id::Digest,
    time::Timestamp,
    wire::{self, agents_client::AgentsClient},
};
use rcgen::{CertificateParams, DnType, KeyPair, SanType, string::Ia5String};
use tokio::net::TcpStream;
use tonic::Code;
use x509_parser::prelude::{FromDer, X509Certificate};

use crate::{
    host::Host,
    net::{Running, soon, wall},
    world::{NOW, World},
};

fn ca() -> (tempfile::TempDir, Ca) {
    let dir = tempfile::tempdir().unwrap();
    Ca::create(dir.path(), Digest::new([5; 32]), NOW).unwrap();
    let ca = Ca::open(dir.path()).unwrap();
    (dir, ca)
}

#[test]
fn of_a_request_only_the_key_counts() {
    let (_dir, ca) = ca();
    let key = KeyPair::generate().unwrap();
    let mut wish = CertificateParams::default();
    wish.distinguished_name.push(DnType::CommonName, "root");
    let other = format!("spiffe://muster/agent/{}", Digest::new([9; 32]));
    wish.subject_alt_names = vec![
        SanType::URI(Ia5String::try_from(other).unwrap()),
        SanType::DnsName(Ia5String::try_from("controller").unwrap()),
    ];
    let request = wish.serialize_request(&key).unwrap();
    let host = Digest::new([7; 32]);
    let certificate = ca.agent_certificate(request.der(), host, NOW).unwrap();
    assert_eq!(enrol::host_of(&certificate), Some(host));
    let (_, parsed) = X509Certificate::from_der(&certificate).unwrap();
    assert!(!parsed.subject().to_string().contains("root"));
    let usage = parsed.extended_key_usage().unwrap().unwrap().value;
    assert!(usage.client_auth && !usage.server_auth && !usage.any);
    assert!(!parsed.is_ca());
    let validity = parsed.validity();
    let now = i64::try_from(NOW.0).unwrap();
    assert_eq!(validity.not_after.timestamp() - now, i64::try_from(VALIDITY).unwrap());
    assert!(validity.not_before.timestamp() <= now);
    let again = ca.agent_certificate(request.der(), host, NOW).unwrap();
    let (_, again) = X509Certificate::from_der(&again).unwrap();
    assert_ne!(parsed.raw_serial(), again.raw_serial());
}

#[test]
fn a_request_that_its_key_did_not_sign_is_refused() {
    let (_dir, ca) = ca();
    let key = KeyPair::generate().unwrap();
    let mut der = CertificateParams::default().serialize_request(&key).unwrap().der().to_vec();
    *der.last_mut().unwrap() ^= 1;
    for bad in [der, Vec::new(), vec![0x30; 100_000]] {
        let refused = ca.agent_certificate(&bad, Digest::new([7; 32]), NOW);
        assert!(matches!(refused, Err(EnrolError::Request)));
    }
}

#[tokio::test]
async fn a_fleet_is_made_once_and_for_one_pair_of_eyes() {
    let world = World::new();
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    let stranger = signer::generate().unwrap();
    let other = setup::create(&data, &stranger, &world.trust, NOW).await;
    assert!(matches!(other, Err(SetupError::OtherKey)));
    assert!(!data.exists());
    let fleet = setup::create(&data, &world.online, &world.trust, NOW).await.unwrap();
    assert_eq!(fleet.lineage, world.lineage());
    assert_eq!(fleet.ca, Ca::open(&data).unwrap().pin());
    let mode = |path: &std::path::Path| path.metadata().unwrap().permissions().mode() & 0o7777;
    assert_eq!(mode(&data), 0o700);
    let mut names = BTreeSet::new();
    for file in std::fs::read_dir(&data).unwrap() {
        let file = file.unwrap();
        assert_eq!(mode(&file.path()), 0o600, "{:?}", file.path());
        names.insert(file.file_name().into_string().unwrap());
    }
    for name in ["ca.der", "ca.key", "muster.db", "online.key"] {
        assert!(names.contains(name), "{name}");
    }
    let twice = setup::create(&data, &world.online, &world.trust, NOW).await;
    assert!(matches!(twice, Err(SetupError::NotEmpty(_))));
}

#[tokio::test]
async fn a_certificate_of_another_ca_does_not_open_the_door() {
    let world = World::new();
    let server = Running::start(&world).await;
    let (_dir, other) = ca();
    let key = KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256).unwrap();
    let request = CertificateParams::default().serialize_request(&key).unwrap();
    let host = Host::new(&world, &[]);
    let forged = other.agent_certificate(request.der(), host.id(), Timestamp(wall())).unwrap();
    // TLS 1.3 tells a client only at its first call.
    if let Ok(channel) = soon(server.channel(Some((forged.to_vec(), &key)))).await {
        let renew = wire::RenewRequest { certificate_request: request.der().to_vec() };
        assert!(soon(AgentsClient::new(channel).renew(renew)).await.is_err());
    }
    server.stop().await;
}

#[tokio::test]
async fn a_host_that_was_away_for_longer_than_its_certificate_lasts_may_renew_it_and_nothing_else()
{
    let world = World::new();
    let server = Running::start(&world).await;
    let (host, stranger) = (Host::new(&world, &[]), Host::new(&world, &[]));
    server.join(&host, server.token(60).await).await.unwrap();
    let ca = Ca::open(&server.data()).unwrap();
    let key = KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256).unwrap();
    let request = CertificateParams::default().serialize_request(&key).unwrap().der().to_vec();
    let renew = || wire::RenewRequest { certificate_request: request.clone() };
    let month = Timestamp(wall() - 30 * 86_400);
    let with = async |host: &Host, at| {
        let certificate = ca.agent_certificate(&request, host.id(), at).unwrap().to_vec();
        AgentsClient::new(soon(server.channel(Some((certificate, &key)))).await.unwrap())
    };

    let unknown = soon(with(&stranger, month).await.renew(renew())).await.unwrap_err();
    assert_eq!(unknown.code(), Code::PermissionDenied);
    let mut old = with(&host, month).await;
    let session = soon(old.session(tokio_stream::empty())).await.unwrap_err();
    assert_eq!(session.code(), Code::Unauthenticated, "{session}");
    assert!(session.message().contains("expired"), "{session}");
    let new = soon(old.renew(renew())).await.unwrap().into_inner().certificate;
    let channel = soon(server.channel(Some((new, &key)))).await.unwrap();
    assert!(soon(AgentsClient::new(channel).session(tokio_stream::empty())).await.is_ok());
    server.stop().await;
}

#[tokio::test]
async fn those_who_say_nothing_hold_nobody_up() {
    let world = World::new();
    let server = Running::start(&world).await;
    let mut silent = Vec::new();
    for _ in 0..50 {
        silent.push(TcpStream::connect(server.address).await.unwrap());
    }
    let host = Host::new(&world, &[]);
    let secret = server.token(60).await;
    let start = std::time::Instant::now();
    server.join(&host, secret).await.unwrap();
    assert!(start.elapsed().as_secs() < 3, "{:?}", start.elapsed());
    server.stop().await;
}
