//! The agents' listener: which protocol it speaks, and the certificate that it shows over time.

use std::time::Duration;

use muster_controller::{config::Config, enrol::VALIDITY, setup};
use muster_proto::time::Timestamp;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

use crate::{
    host::Host,
    net::{Running, Session, config, soon, wall},
    server::{grant, until, wired},
    world::{NOW, World},
};

/// Waits for a heartbeat at or after a time: what the server does now and then it has done by then.
async fn heartbeat(session: &mut Session, host: &mut Host, at: u64) {
    let said = |time: Timestamp| time >= Timestamp(at);
    until(session, host, |bundle| bundle.checkpoint.as_ref().is_some_and(|c| said(c.time))).await;
}

#[tokio::test]
async fn the_controllers_certificate_is_renewed_at_half_its_life_and_sessions_go_on() {
    let mut world = World::new();
    let dir = tempfile::tempdir().unwrap();
    setup::create(&dir.path().join("data"), &world.online, &world.trust, NOW).await.unwrap();
    let config = Config { checkpoint_every: Duration::from_secs(1), ..config(dir.path()) };
    // TLS goes by the wall clock, to which the server's catches up.
    let start = wall() - VALIDITY / 2;
    let server = Running::with(dir, config, start).await;
    let mut host = Host::new(&world, &[("tier", "db")]);
    let mut courier = server.join(&host, server.token(600).await).await.unwrap();
    let mut session = courier.session(&host).await;
    let first = server.certificate().await;

    server.turn_clock(VALIDITY / 2 - 1);
    heartbeat(&mut session, &mut host, start + VALIDITY / 2 - 1).await;
    assert_eq!(server.certificate().await, first, "half its life is not over");
    server.turn_clock(1);
    heartbeat(&mut session, &mut host, start + VALIDITY / 2).await;
    let second = server.certificate().await;
    assert_ne!(second, first);

    server.operator().await.publish(wired(&world.publish(grant(&world)))).await.unwrap();
    until(&mut session, &mut host, |bundle| bundle.link.is_some()).await;
    assert_eq!(server.certificate().await, second, "once is enough");
    server.stop().await;
}

/// A hello of TLS 1.2 (RFC 5246 section 7.4.1.2), in which everything is well but the version.
fn old_hello() -> Vec<u8> {
    let extension = |kind: u16, body: &[u8]| {
        let length = u16::try_from(body.len()).unwrap();
        [&kind.to_be_bytes()[..], &length.to_be_bytes(), body].concat()
    };
    let extensions = [
        extension(10, &[0, 4, 0, 29, 0, 23]),
        extension(11, &[1, 0]),
        extension(13, &[0, 4, 4, 3, 8, 4]),
    ]
    .concat();
    let length = u16::try_from(extensions.len()).unwrap().to_be_bytes();
    let body = [
        &[3, 3][..],
        &[7; 32],
        &[0],
        &[0, 4, 0xc0, 0x2b, 0xc0, 0x2f],
        &[1, 0],
        &length,
        &extensions,
    ]
    .concat();
    let handshake = [&[1, 0], &u16::try_from(body.len()).unwrap().to_be_bytes()[..], &body];
    let handshake = handshake.concat();
    let length = u16::try_from(handshake.len()).unwrap().to_be_bytes();
    [&[22, 3, 1][..], &length, &handshake].concat()
}

#[tokio::test]
async fn tls_before_1_3_is_refused() {
    let world = World::new();
    let server = Running::start(&world).await;
    let mut stream = TcpStream::connect(server.address).await.unwrap();
    stream.write_all(&old_hello()).await.unwrap();
    let mut answer = Vec::new();
    soon(stream.read_to_end(&mut answer)).await.unwrap();
    // A fatal alert (21), protocol_version (70): RFC 8446 section 6.
    assert_eq!((answer[0], &answer[5..]), (21, &[2, 70][..]));
    server.stop().await;
}
