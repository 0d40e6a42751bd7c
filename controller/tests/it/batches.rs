//! Receipts that come together, some of them wrong: what is kept of them, what is acknowledged, and
//! what a host that says nothing new may cost.

use muster_controller::{
    enrol::certificate::Issue,
    fleet::{Fleet, ReceiptError},
    setup,
    signer::Signer,
    store::{NewHost, Store},
};
use muster_proto::{
    envelope::{Envelope, Verified},
    id::{Digest, HostId},
    link::Acknowledgement,
};
use tokio::sync::mpsc;

use crate::{
    host::Host,
    world::{NOW, World},
};

/// A controller without its edges, that knows one host and is connected to it.
struct Hearing {
    fleet: Fleet,
    told: mpsc::Receiver<Vec<u8>>,
    _dir: tempfile::TempDir,
}

impl Hearing {
    async fn of(world: &World, host: &Host) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let data = dir.path().join("data");
        setup::create(&data, &world.online, &world.trust, NOW).await.unwrap();
        let signer = Signer::open(&data.join(setup::ONLINE_KEY)).unwrap();
        let fleet = Fleet::load(Store::open(&data).await.unwrap(), signer).await.unwrap();
        let new = NewHost {
            id: host.id(),
            keeper_key: host.key.public(),
            hostname: "db1".to_owned(),
            certificate: Issue { key: Digest::new([1; 32]), at: NOW },
        };
        fleet.welcome(&new, "ana".to_owned(), NOW).await.unwrap();
        let (to, told) = mpsc::channel(64);
        fleet.connect(host.id(), to).await.unwrap();
        Self { fleet, told, _dir: dir }
    }

    async fn receive(&self, host: HostId, receipts: &[Envelope]) -> Result<(), ReceiptError> {
        self.fleet.receive(host, receipts, NOW).await
    }

    /// What was acknowledged since this was asked for the last time.
    fn acknowledged(&mut self, host: &mut Host) -> Vec<Acknowledgement> {
        let mut words = Vec::new();
        while let Ok(bytes) = self.told.try_recv() {
            let bundle = host.take(&bytes).unwrap();
            words.extend(bundle.acknowledgement.map(Verified::into_inner));
        }
        words
    }

    async fn stored(&self, host: HostId) -> Vec<Envelope> {
        let mut stored = self.fleet.store().receipts(host, 1_000).await.unwrap();
        stored.reverse();
        stored
    }

    async fn breaks(&self) -> Vec<String> {
        let hosts = self.fleet.hosts().await;
        hosts.iter().flat_map(|(host, _)| &host.breaks).map(ToString::to_string).collect()
    }
}

fn acknowledged(word: &Acknowledgement) -> (u64, Digest) {
    (word.number, word.digest)
}

#[tokio::test]
async fn a_receipt_that_is_refused_costs_none_of_those_that_came_with_it() {
    let world = World::new();
    let mut host = Host::new(&world, &[]);
    let mut stranger = Host::new(&world, &[]);
    let mut hearing = Hearing::of(&world, &host).await;
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
    hearing.fleet.store().close().await;
}
