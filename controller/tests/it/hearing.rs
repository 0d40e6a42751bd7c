//! A controller without its edges, that is told receipts in batches of the test's choice.

use muster_controller::{
    enrol::certificate::Issue,
    fleet::{Fleet, ReceiptError},
    setup,
    signer::Signer,
    store::{NewHost, Store, Token},
};
use muster_proto::{
    envelope::{Document, Envelope, Verified},
    id::{Digest, HostId},
    link::Acknowledgement,
    receipt::{Finding, FindingKind},
    selector::LabelValue,
};
use tokio::sync::mpsc;

use crate::{
    host::Host,
    store::entry,
    world::{NOW, World},
};

/// Signs the next receipt, with so many bytes for its payload, which finds one thing and says no end
/// of it.
pub(crate) fn padded(host: &mut Host, kind: FindingKind, size: usize) -> Envelope {
    let (before, drift) = (host.receipts, host.drift.clone());
    let mut detail = size;
    loop {
        host.receipts = before;
        host.drift.clone_from(&drift);
        let (subject, detail_of) = ("bob".to_owned(), "x".repeat(detail));
        host.findings = vec![Finding { kind: kind.into(), subject, detail: detail_of }];
        let receipt = host.next_receipt();
        let found = receipt.encode().len();
        if found == size {
            return Envelope::sign(&receipt, &host.key);
        }
        detail = detail + size - found;
    }
}

/// A controller without its edges, that knows some hosts and is connected to them.
pub(crate) struct Hearing {
    pub(crate) fleet: Fleet,
    told: mpsc::Receiver<Vec<u8>>,
    dir: tempfile::TempDir,
}

impl Hearing {
    pub(crate) async fn of(world: &World, hosts: &[&Host]) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let data = dir.path().join("data");
        setup::create(&data, &world.online, &world.trust, NOW).await.unwrap();
        let store = Store::open(&data).await.unwrap();
        for (n, host) in (1..).zip(hosts) {
            let secret = Digest::new([n; 32]);
            let (made, expires) = (NOW, NOW.plus(60));
            let token = Token { secret, made, made_by: "ana".to_owned(), expires };
            store.add_token(&token, &entry("token", b"")).await.unwrap();
            let new = NewHost {
                id: host.id(),
                keeper_key: host.key.public(),
                hostname: LabelValue::parse(&format!("db{n}")).unwrap(),
                certificate: Issue { key: secret, at: NOW },
            };
            store.join(secret, &new, &entry("enrolment", b"")).await.unwrap();
        }
        let signer = Signer::open(&data.join(setup::ONLINE_KEY)).unwrap();
        let fleet = Fleet::load(store, signer).await.unwrap();
        let (to, told) = mpsc::channel(64);
        for host in hosts {
            fleet.connect(host.id(), to.clone()).await.unwrap();
        }
        Self { fleet, told, dir }
    }

    /// Ends it, and returns where its files are.
    pub(crate) async fn stop(self) -> tempfile::TempDir {
        self.fleet.store().close().await;
        self.dir
    }

    pub(crate) async fn receive(
        &self,
        host: HostId,
        receipts: &[Envelope],
    ) -> Result<(), ReceiptError> {
        let received = self.fleet.receive(host, receipts, NOW).await?;
        received.refused.map_or(Ok(()), Err)
    }

    /// What was acknowledged since this was asked for the last time.
    pub(crate) fn acknowledged(&mut self, host: &mut Host) -> Vec<Acknowledgement> {
        let mut words = Vec::new();
        while let Ok(bytes) = self.told.try_recv() {
            let bundle = host.take(&bytes).unwrap();
            words.extend(bundle.acknowledgement.map(Verified::into_inner));
        }
        words
    }

    pub(crate) async fn stored(&self, host: HostId) -> Vec<Envelope> {
        let stored = self.fleet.store().receipts_before(host, u64::MAX, 1_000).await.unwrap();
        stored.receipts.into_iter().rev().map(|(_, receipt)| receipt).collect()
    }

    pub(crate) async fn breaks(&self) -> Vec<String> {
        let hosts = self.fleet.hosts().await;
        hosts.iter().flat_map(|(host, _)| &host.breaks).map(ToString::to_string).collect()
    }
}
