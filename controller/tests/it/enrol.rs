//! Certificates and the door: what the CA writes, whom the handshake lets in.
use std::{collections::BTreeSet, os::unix::fs::PermissionsExt};

use muster_controller::{
    enrol::{self, Ca, EnrolError, VALIDITY, certificate::COMEBACK},
    setup::{self, SetupError},
    signer,
};
use muster_proto::{
    id::Digest,
    time::Timestamp,
    wire::{self, agents_client::AgentsClient},
};
use rcgen::{CertificateParams, DnType, KeyPair, SanType, string::Ia5String};
use tonic::{Code, Status, transport::Channel};
use x509_parser::prelude::{FromDer, X509Certificate};

use crate::{
    host::Host,
    net::{Courier, Running, soon, wall},
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

fn request(key: &KeyPair) -> Vec<u8> {
    CertificateParams::default().serialize_request(key).unwrap().der().to_vec()
}

fn key() -> KeyPair {
    KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256).unwrap()
}

async fn with(server: &Running, certificate: &[u8], key: &KeyPair) -> AgentsClient<Channel> {
    let channel = soon(server.channel(Some((certificate.to_vec(), key)))).await.unwrap();
    AgentsClient::new(channel)
}

/// Asks for a certificate for another key.
async fn renew(client: &mut AgentsClient<Channel>, next: &KeyPair) -> Result<Vec<u8>, Status> {
    let renew = wire::RenewRequest { certificate_request: request(next) };
    Ok(soon(client.renew(renew)).await?.into_inner().certificate)
}

async fn session(client: &mut AgentsClient<Channel>) -> Result<(), Status> {
    soon(client.session(tokio_stream::empty())).await.map(|_| ())
}

/// What the CA issued for a key in the past.
fn issued(server: &Running, host: &Host, key: &KeyPair, at: Timestamp) -> Vec<u8> {
    let ca = Ca::open(&server.data()).unwrap();
    ca.agent_certificate(&request(key), host.id(), at).unwrap().to_vec()
}

#[tokio::test]
async fn a_host_that_was_away_for_longer_than_its_certificate_lasts_may_renew_it_and_nothing_else()
{
    let world = World::new();
    let server = Running::start(&world).await;
    let (host, stranger) = (Host::new(&world, &[]), Host::new(&world, &[]));
    let joined = server.join(&host, server.token(60).await).await.unwrap();
    let month = Timestamp(wall() - 30 * 86_400);

    let forgotten = issued(&server, &stranger, &joined.key, month);
    let mut unknown = with(&server, &forgotten, &joined.key).await;
    let unknown = renew(&mut unknown, &key()).await.unwrap_err();
    assert_eq!(unknown.code(), Code::PermissionDenied);
    let old = issued(&server, &host, &joined.key, month);
    let mut old = with(&server, &old, &joined.key).await;
    let refused = session(&mut old).await.unwrap_err();
    assert_eq!(refused.code(), Code::Unauthenticated, "{refused}");
    assert!(refused.message().contains("expired"), "{refused}");
    let next = key();
    let new = renew(&mut old, &next).await.unwrap();
    session(&mut with(&server, &new, &next).await).await.unwrap();
    server.stop().await;
}

#[tokio::test]
async fn an_expired_certificate_can_be_renewed_for_thirty_days_and_not_for_a_second_longer() {
    let world = World::new();
    let server = Running::start(&world).await;
    let host = Host::new(&world, &[]);
    let joined = server.join(&host, server.token(60).await).await.unwrap();
    let at = Timestamp(server.now().0 - VALIDITY - COMEBACK);
    let old = issued(&server, &host, &joined.key, at);
    let mut old = with(&server, &old, &joined.key).await;
    renew(&mut old, &key()).await.unwrap();
    server.turn_clock(1);
    let late = renew(&mut old, &key()).await.unwrap_err();
    assert_eq!(late.code(), Code::Unauthenticated, "{late}");
    assert!(late.message().ends_with("join this host again"), "{late}");
    server.stop().await;
}

#[tokio::test]
async fn a_copy_of_an_old_key_opens_nothing_once_the_host_has_shown_a_newer_one() {
    let world = World::new();
    let server = Running::start(&world).await;
    let host = Host::new(&world, &[]);
    let mut first = server.join(&host, server.token(60).await).await.unwrap();
    session(&mut first.client).await.unwrap();
    let (lost, second) = (key(), key());
    let unheard = renew(&mut first.client, &lost).await.unwrap();
    let new = renew(&mut first.client, &second).await.unwrap();
    session(&mut first.client).await.expect("the answer may have been lost");
    session(&mut with(&server, &new, &second).await).await.unwrap();

    let dir = server.stop().await;
    let server = Running::resume(dir).await;
    let year = Timestamp(wall() - 365 * 86_400);
    for (certificate, key) in [
        (first.reply.certificate, &first.key),
        (unheard, &lost),
        (issued(&server, &host, &first.key, year), &first.key),
        (issued(&server, &host, &lost, year), &lost),
    ] {
        let mut copy = with(&server, &certificate, key).await;
        let refused = renew(&mut copy, key).await.unwrap_err();
        assert_eq!(refused.code(), Code::Unauthenticated, "{refused}");
        assert!(refused.message().ends_with("join this host again"), "{refused}");
        assert_eq!(session(&mut copy).await.unwrap_err().code(), Code::Unauthenticated);
    }
    let mut sound = with(&server, &new, &second).await;
    session(&mut sound).await.unwrap();
    renew(&mut sound, &key()).await.unwrap();
    server.stop().await;
}

#[tokio::test]
async fn a_host_that_joins_again_keeps_its_old_certificate_until_it_shows_the_new_one() {
    let world = World::new();
    let server = Running::start(&world).await;
    let host = Host::new(&world, &[]);
    let mut old = server.join(&host, server.token(60).await).await.unwrap();
    session(&mut old.client).await.unwrap();
    let mut new = server.join(&host, server.token(60).await).await.unwrap();
    session(&mut old.client).await.expect("it may not have heard the answer");
    session(&mut new.client).await.unwrap();
    assert_eq!(session(&mut old.client).await.unwrap_err().code(), Code::Unauthenticated);
    server.stop().await;
}

#[tokio::test]
async fn a_connection_and_a_session_do_not_outlive_their_certificate() {
    let world = World::new();
    let server = Running::start(&world).await;
    let host = Host::new(&world, &[]);
    let joined = server.join(&host, server.token(60).await).await.unwrap();
    let at = Timestamp(server.now().0 - VALIDITY + 1);
    let almost = issued(&server, &host, &joined.key, at);
    let mut client = with(&server, &almost, &joined.key).await;
    let mut courier = Courier { client: client.clone(), ..joined };
    let mut open = courier.session(&host).await;
    open.next().await.expect("in its last second it is valid");
    server.turn_clock(2);
    let ended = open.failure().await;
    assert_eq!(ended.code(), Code::Unauthenticated, "{ended}");
    let refused = session(&mut client).await.unwrap_err();
    assert!(refused.message().contains("expired"), "{refused}");
    renew(&mut client, &key()).await.expect("it may still renew");
    server.stop().await;
}
