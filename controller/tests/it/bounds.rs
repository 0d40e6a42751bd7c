//! What callers may ask for: at each bound, and one beyond.

use std::time::Duration;

use muster_controller::{
    enrol::{Ca, certificate::Issue},
    fleet::{Fleet, Goal, Progress},
    setup,
    signer::Signer,
    store::{NewHost, Store},
};
use muster_proto::{id::Digest, selector::LabelValue, wire};
use rcgen::{CertificateParams, DnType, KeyPair};
use tokio::sync::mpsc;
use tonic::{Code, Request};

use crate::{
    host::Host,
    net::{Running, soon},
    server::until,
    world::{NOW, World},
};

#[tokio::test]
async fn a_token_is_valid_for_a_week_at_most() {
    let server = Running::start(&World::new()).await;
    let mut operator = server.operator().await;
    for (valid_for, code) in [
        (0, Some(Code::InvalidArgument)),
        (1, None),
        (7 * 86_400, None),
        (7 * 86_400 + 1, Some(Code::InvalidArgument)),
        (u64::MAX, Some(Code::InvalidArgument)),
    ] {
        let made = operator.create_token(wire::CreateTokenRequest { valid_for }).await;
        assert_eq!(made.err().map(|status| status.code()), code, "{valid_for}");
    }
    server.stop().await;
}

#[tokio::test]
async fn drift_is_asked_for_without_so_many_hosts_and_no_more() {
    let server = Running::start(&World::new()).await;
    let mut operator = server.operator().await;
    let without = |hosts| wire::DriftRequest {
        without: vec![vec![7; 32]; hosts],
        ..wire::DriftRequest::default()
    };
    let most = operator.drift(without(100_000)).await.unwrap().into_inner();
    assert!(most.found.is_empty());
    let refused = operator.drift(without(100_001)).await.err().unwrap();
    assert_eq!(refused.code(), Code::InvalidArgument);
    server.stop().await;
}

#[tokio::test]
async fn so_many_hosts_and_revocations_are_followed_at_once_and_no_more() {
    let server = Running::start(&World::new()).await;
    let mut operator = server.operator().await;
    let follow = |hosts, revocations| wire::FollowRequest {
        link: 1,
        revocations: vec![vec![7; 16]; revocations],
        hosts: vec![vec![7; 32]; hosts],
    };
    let mut most = operator.follow(follow(100_000, 100_000)).await.unwrap().into_inner();
    assert!(soon(most.message()).await.unwrap().is_none(), "nobody knows these");
    for more in [follow(100_001, 0), follow(0, 100_001)] {
        let refused = operator.follow(more).await.err().unwrap();
        assert_eq!(refused.code(), Code::InvalidArgument);
    }
    server.stop().await;
}

#[tokio::test]
async fn a_connection_has_so_many_calls_at_once_and_the_next_waits() {
    let world = World::new();
    let server = Running::start(&world).await;
    let mut host = Host::new(&world, &[]);
    let mut courier = server.join(&host, server.token(600).await).await.unwrap();
    let mut session = courier.session(&host).await;
    until(&mut session, &mut host, |bundle| bundle.checkpoint.is_some()).await;
    let mut operator = server.operator().await;
    let never = wire::FollowRequest {
        link: 9,
        revocations: Vec::new(),
        hosts: vec![host.id().as_bytes().to_vec()],
    };
    let mut open = Vec::new();
    for _ in 0..63 {
        open.push(soon(operator.follow(never.clone())).await.unwrap());
    }
    soon(operator.status(wire::StatusRequest {})).await.expect("one more is possible");
    open.push(soon(operator.follow(never)).await.unwrap());
    {
        let waiting = operator.status(wire::StatusRequest {});
        tokio::pin!(waiting);
        let early = tokio::time::timeout(Duration::from_millis(200), &mut waiting).await;
        assert!(early.is_err(), "64 are open");
        open.pop();
        soon(waiting).await.expect("one has ended");
    }
    server.stop().await;
}

#[tokio::test]
async fn a_call_has_so_many_bytes_of_headers_and_no_more() {
    let server = Running::start(&World::new()).await;
    let mut operator = server.operator().await;
    let mut padded = async |bytes: usize| {
        let mut request = Request::new(wire::StatusRequest {});
        request.metadata_mut().insert("x-pad", "x".repeat(bytes).parse().unwrap());
        soon(operator.status(request)).await.is_ok()
    };
    let (mut taken, mut refused) = (1, 16 << 10);
    assert!(padded(taken).await);
    assert!(!padded(refused).await);
    while refused - taken > 1 {
        let middle = usize::midpoint(taken, refused);
        if padded(middle).await { taken = middle } else { refused = middle }
    }
    // The rest of 16 KiB is what every call has (RFC 9113 section 6.5.2 adds 32 to each header).
    assert!((15 << 10..16 << 10).contains(&taken), "{taken}");
    server.stop().await;
}

#[test]
fn a_certificate_request_has_so_many_bytes_and_no_more() {
    let dir = tempfile::tempdir().unwrap();
    let host = Host::new(&World::new(), &[]).id();
    let ca = Ca::create(dir.path(), host, NOW).unwrap();
    // Ed25519: signatures of one length.
    let key = KeyPair::generate_for(&rcgen::PKCS_ED25519).unwrap();
    let request = |name: usize| {
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::OrganizationName, "x".repeat(name));
        params.serialize_request(&key).unwrap().der().to_vec()
    };
    let rest = request(8_000).len() - 8_000;
    let (largest, larger) = (request(8_192 - rest), request(8_192 - rest + 1));
    assert_eq!((largest.len(), larger.len()), (8_192, 8_193));
    ca.agent_certificate(&largest, host, NOW).unwrap();
    assert!(ca.agent_certificate(&larger, host, NOW).is_err());
}

#[tokio::test]
async fn a_follower_that_missed_the_news_looks_at_everybody_again() {
    let world = World::new();
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    setup::create(&data, &world.online, &world.trust, NOW).await.unwrap();
    let signer = Signer::open(&data.join(setup::ONLINE_KEY)).unwrap();
    let fleet = Fleet::load(Store::open(&data).await.unwrap(), signer).await.unwrap();
    let host = Host::new(&world, &[]);
    let (id, keeper_key) = (host.id(), host.key.public());
    let new = NewHost {
        id,
        keeper_key,
        hostname: LabelValue::parse("db1").unwrap(),
        certificate: Issue { key: Digest::new([1; 32]), at: NOW },
    };
    fleet.welcome(&new, "ana".to_owned(), NOW).await.unwrap();
    let goal = Goal { link: 1, revocations: Vec::new(), hosts: vec![id] };
    // It is slow: it has room for one, and takes nothing until the news are over.
    let (to, mut heard) = mpsc::channel::<Progress>(1);
    let connections = async {
        let mut first = heard.recv().await.unwrap();
        // One waits in the channel and one to get into it, and all else is missed.
        for _ in 0..4_096 + 4 {
            let (to, _from) = mpsc::channel(1);
            let number = fleet.connect(id, to).await.unwrap().number;
            fleet.disconnect(id, number).await;
        }
        let (to, _from) = mpsc::channel(1);
        fleet.connect(id, to).await.unwrap();
        while !first.connected || !heard.is_empty() {
            first = soon(heard.recv()).await.expect("it is followed on");
        }
        heard.close();
    };
    let (followed, ()) = soon(async { tokio::join!(fleet.follow(goal, to), connections) }).await;
    followed.unwrap();
}
