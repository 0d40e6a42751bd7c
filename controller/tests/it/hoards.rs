//! Hosts whose receipts are as large as they may be: no answer to an operator grows with them.

use muster_controller::{
    client::{Client, DriftWanted},
    exception::DriftScope,
    store::RECEIPT_PAGE,
};
use muster_proto::{
    bundle::MAX_MESSAGE,
    convert::MAX_RECEIPT,
    drift::{Drift, DriftKind, Response, Severity},
    envelope::{Document, Envelope},
    receipt::FindingKind,
    wire,
};

use crate::{
    hearing::{Hearing, padded},
    host::Host,
    net::Running,
    server::listed,
    world::{NOW, World},
};

#[tokio::test]
async fn hosts_whose_pauses_are_told_at_great_length_are_listed_all_the_same() {
    let world = World::new();
    let mut hosts: Vec<Host> = (0..5).map(|_| Host::new(&world, &[])).collect();
    let hearing = Hearing::of(&world, &hosts.iter().collect::<Vec<_>>()).await;
    let mut told = Vec::new();
    for host in &mut hosts {
        let larger = padded(host, FindingKind::Paused, MAX_RECEIPT + 1);
        hearing.receive(host.id(), &[larger]).await.unwrap_err();
        host.receipts = None;
        let largest = padded(host, FindingKind::Paused, MAX_RECEIPT);
        hearing.receive(host.id(), std::slice::from_ref(&largest)).await.unwrap();
        told.push((host.id().as_bytes().to_vec(), largest));
    }

    // More than one answer may have, and each is had by itself.
    let server = Running::resume(hearing.stop().await).await;
    let listed = listed(&server).await;
    assert_eq!(listed.iter().map(|host| host.paused_in).collect::<Vec<_>>(), [1; 5]);
    for (host, largest) in told {
        let request = wire::ReceiptsRequest { host, limit: 1, below: Some(2) };
        let mut operator = server.operator().await.max_decoding_message_size(MAX_MESSAGE);
        let reply = operator.receipts(request).await.unwrap().into_inner();
        assert_eq!(reply.receipts, [wire::Envelope::from(&largest)]);
        assert_eq!(reply.rest, None);
    }
    server.stop().await;
}

/// Drift of which a host tells no end, with so much beside it in its receipt.
fn told(host: &mut Host, subject: &str, size: usize) -> Envelope {
    let drift = Drift {
        kind: DriftKind::BreakGlass.as_str().to_owned(),
        subject: subject.to_owned(),
        place: String::new(),
        expected: "somebody gets in".to_owned(),
        found: "nobody".to_owned(),
        since: NOW,
        severity: Severity::High,
        response: Response::Reported,
        rounds: 0,
        culprit: None,
    };
    host.drift = vec![drift];
    padded(host, FindingKind::BundleRefused, size)
}

#[tokio::test]
async fn a_host_that_tells_drift_in_the_largest_receipts_hides_no_other_hosts() {
    let world = World::new();
    let (mut loud, mut quiet) = (Host::new(&world, &[]), Host::new(&world, &[]));
    let hearing = Hearing::of(&world, &[&loud, &quiet]).await;
    for n in 0..4 {
        let receipt = told(&mut loud, &format!("loud{n}"), MAX_RECEIPT);
        hearing.receive(loud.id(), &[receipt]).await.unwrap();
    }
    let honest = told(&mut quiet, "quiet", 1_000);
    hearing.receive(quiet.id(), &[honest]).await.unwrap();
    let server = Running::resume(hearing.stop().await).await;
    let mut client = Client::connect(&server.socket()).await.unwrap();
    let all = DriftWanted { scope: DriftScope::Unaccepted, limit: 1_000, ..DriftWanted::default() };
    let first = DriftWanted { after: Some(0), ..all };
    let page = client.drift(&first).await.unwrap();
    assert_eq!(page.found.iter().map(|told| told.host).collect::<Vec<_>>(), [loud.id()]);
    assert!(page.more);

    // After it comes the rest of it, or what others tell.
    let after = Some(page.found[0].place);
    let next = DriftWanted { after, ..first.clone() };
    let page = client.drift(&next).await.unwrap();
    assert_eq!(page.found.iter().map(|told| told.host).collect::<Vec<_>>(), [loud.id()]);
    assert!(page.more);
    let others = DriftWanted { without: [loud.id()].into(), ..next };
    let page = client.drift(&others).await.unwrap();
    assert_eq!(page.found.iter().map(|told| told.host).collect::<Vec<_>>(), [quiet.id()]);
    assert!(!page.more);
    let nobody = DriftWanted { without: [loud.id(), quiet.id()].into(), ..first };
    assert!(client.drift(&nobody).await.unwrap().found.is_empty());
    server.stop().await;
}

fn numbers(receipts: &[(u64, Envelope)]) -> Vec<u64> {
    receipts.iter().map(|(number, _)| *number).collect()
}

#[tokio::test]
async fn a_page_of_receipts_has_so_many_bytes_and_no_more_or_one_receipt() {
    let world = World::new();
    let mut host = Host::new(&world, &[]);
    let hearing = Hearing::of(&world, &[&host]).await;
    let (id, kind) = (host.id(), FindingKind::BundleRefused);
    let half = RECEIPT_PAGE / 2;
    let spare = padded(&mut host, kind, half).encode().len() - half;
    host.receipts = None;
    // From the newest: two that just fit together, one that does not fit at all, and two that are
    // larger by one byte than two may be.
    let sizes = [half - spare, half - spare + 1, MAX_RECEIPT, half - spare, half - spare];
    let receipts = sizes.map(|size| padded(&mut host, kind, size));
    hearing.receive(id, &receipts).await.unwrap();

    let store = hearing.fleet.store();
    for (below, limit, found, rest) in [
        (u64::MAX, 10, vec![5, 4], Some(4)),
        (4, 10, vec![3], Some(3)),
        (3, 10, vec![2], Some(2)),
        (2, 10, vec![1], None),
        (u64::MAX, 2, vec![5, 4], None),
        (u64::MAX, 3, vec![5, 4], Some(4)),
    ] {
        let page = store.receipts_before(id, below, limit).await.unwrap();
        assert_eq!((numbers(&page.receipts), page.rest), (found, rest), "below {below}");
    }
    hearing.stop().await;
}
