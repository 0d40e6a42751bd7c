//! Receipts that come together, some of them wrong: what is kept of them, what is acknowledged, and
//! what a host that says nothing new may cost.

use muster_controller::fleet::{LOGGED, LOGGED_WITHIN, ReceiptError};
use muster_proto::{
    envelope::Envelope,
    id::Digest,
    link::Acknowledgement,
    receipt::{Finding, FindingKind},
};

use crate::{
    hearing::Hearing,
    host::Host,
    world::{NOW, World},
};

/// So often one of the hosts here does what is logged, and three times each.
const LOGGED_IN_ALL: u64 = 20;

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

/// A host that has this number next, whatever it had before.
fn numbered(host: &mut Host, number: u64) -> Envelope {
    host.receipts = Some((number - 1, Digest::new([7; 32])));
    host.receipt()
}

#[tokio::test]
async fn a_host_that_breaks_its_receipts_again_and_again_is_logged_a_few_times_an_hour() {
    let world = World::new();
    let mut host = Host::new(&world, &[]);
    let mut hearing = Hearing::of(&world, &[&host]).await;
    let id = host.id();
    let first = host.receipt();
    hearing.receive(id, &[first]).await.unwrap();
    let before = hearing.fleet.store().log_kinds().await.unwrap().len();

    // Gaps, numbers that were passed, and pauses that begin and change, with no end of words.
    let large = "x".repeat(100_000);
    let mut batch = Vec::new();
    for n in 0..LOGGED_IN_ALL {
        let number = 3 + 2 * n;
        host.findings = vec![Finding {
            kind: FindingKind::Paused.into(),
            subject: "bob".to_owned(),
            detail: format!("{n} {large}"),
        }];
        batch.extend([numbered(&mut host, number), numbered(&mut host, 2)]);
    }
    hearing.receive(id, &batch).await.unwrap();
    let kinds = hearing.fleet.store().log_kinds().await.unwrap();
    assert_eq!(kinds.len() - before, usize::try_from(LOGGED).unwrap(), "{kinds:?}");
    assert_eq!(hearing.acknowledged(&mut host).pop().map(|word| word.number), Some(2));
    assert_eq!(hearing.stored(id).await.len(), 1 + usize::try_from(LOGGED_IN_ALL).unwrap());

    // The next hour has what was only counted, and a host that is set back then is told of.
    let later = NOW.plus(LOGGED_WITHIN);
    hearing.fleet.receive(id, &[numbered(&mut host, 1_000)], later).await.unwrap();
    let breaks = hearing.breaks().await;
    assert!(breaks.last().unwrap().contains("to 999 never came"), "{breaks:?}");
    hearing.stop().await;
}
