//! Receipts that come together, some of them wrong: what is kept of them, what is acknowledged, and
//! what a host that says nothing new may cost.

use muster_controller::fleet::ReceiptError;
use muster_proto::{id::Digest, link::Acknowledgement};

use crate::{hearing::Hearing, host::Host, world::World};

fn acknowledged(word: &Acknowledgement) -> (u64, Digest) {
    (word.number, word.digest)
}

#[tokio::test]
async fn a_receipt_that_is_refused_costs_none_of_those_that_came_with_it() {
    let world = World::new();
    let mut host = Host::new(&world, &[]);
    let mut stranger = Host::new(&world, &[]);
    let mut hearing = Hearing::of(&world, &[&host]).await;
    let id = host.id();

    let (first, _lost, third) = (host.receipt(), host.receipt(), host.receipt());
    let wrong = stranger.receipt();
    let batch = [first.clone(), wrong.clone(), third.clone()];
    let fault = hearing.receive(id, &batch).await.unwrap_err();
    assert!(matches!(fault, ReceiptError::Refused(_)), "{fault:?}");
    assert_eq!(hearing.stored(id).await, [first.clone(), third.clone()]);
    let words = hearing.acknowledged(&mut host);
    let words: Vec<_> = words.iter().map(acknowledged).collect();
    assert_eq!(words, [(3, third.digest())], "what is kept, and with it what never can be");
    let breaks = hearing.breaks().await;
    assert_eq!(breaks.len(), 1, "{breaks:?}");
    assert!(breaks[0].starts_with("receipt 2 never came"), "{breaks:?}");

    // At the end of what came it is not acknowledged, and at the beginning it hides nothing.
    let (fourth, fifth) = (host.receipt(), host.receipt());
    hearing.receive(id, &[fourth.clone(), wrong.clone()]).await.unwrap_err();
    let words = hearing.acknowledged(&mut host);
    assert_eq!(words.iter().map(acknowledged).collect::<Vec<_>>(), [(4, fourth.digest())]);
    hearing.receive(id, &[wrong.clone(), fifth.clone()]).await.unwrap_err();
    let words = hearing.acknowledged(&mut host);
    assert_eq!(words.iter().map(acknowledged).collect::<Vec<_>>(), [(5, fifth.digest())]);
    assert_eq!(hearing.stored(id).await, [first, third, fourth, fifth]);
    assert_eq!(hearing.breaks().await, breaks, "no number is missing");

    hearing.receive(id, &[wrong.clone(), wrong]).await.unwrap_err();
    assert_eq!(hearing.acknowledged(&mut host).len(), 0, "nothing was kept");
    hearing.stop().await;
}
