//! What hosts tell again just as it stands, and how much of what they tell is kept.

use std::slice::from_ref;

use muster_controller::{
    client::DriftWanted,
    exception::DriftScope,
    store::{DriftQuery, FILE, FoundDrift, KEPT_DRIFT, Store, StoredReceipt},
};
use muster_proto::{
    drift::{Culprit, Drift, Response, Severity},
    time::Timestamp,
};

use crate::{
    drift::{Telling, content, sudo_file},
    host::Host,
    net::alter,
    store::{create, joined},
    world::{NOW, World},
};

#[tokio::test]
async fn what_is_told_again_just_as_it_stands_is_the_same_one() {
    let mut told = Telling::start(&World::new()).await;
    let file = sudo_file("one");
    let all = DriftWanted::default();
    told.tell(from_ref(&file)).await;
    let first = told.find(&all).await;
    // When it began and who did it is what the newest receipt says.
    let culprit = Some(Culprit { pid: 7, login: "eve".to_owned(), ..Culprit::default() });
    let again = Drift { since: Timestamp(200), culprit, ..file.clone() };
    told.tell(&[sudo_file("two"), again.clone()]).await;
    let second = told.find(&all).await;
    assert_eq!((first.found.len(), second.found.len()), (1, 2));
    let one = second.found.iter().find(|one| one.place == first.found[0].place).unwrap();
    assert_eq!((one.receipt, one.item, one.open), (2, 1, true));
    assert_eq!(second.newest, first.newest + 1, "only the other is new");
    let eve = DriftWanted { by: Some("eve".to_owned()), ..all.clone() };
    assert_eq!(told.find(&eve).await.found.len(), 1);
    told.accept(&again).await;
    assert_eq!(told.count().await, (1, 1));

    // What differs in what was found, how grave it is or what was done about it is another, and so
    // is what had gone meanwhile.
    let mut known = 2;
    for other in [
        Drift { response: Response::Contested, ..file.clone() },
        Drift { response: Response::Contested, found: content(2), ..file.clone() },
        Drift { response: Response::Gone, ..file.clone() },
        Drift { severity: Severity::High, ..file.clone() },
        file.clone(),
    ] {
        told.tell(from_ref(&other)).await;
        known += 1;
        assert_eq!(told.find(&all).await.found.len(), known, "{other:?}");
    }
    // What is over is told as often as it happens.
    for _ in 0..2 {
        told.tell(&[Drift { response: Response::Repaired, ..sudo_file("three") }]).await;
        known += 1;
        assert_eq!(told.find(&all).await.found.len(), known);
    }
    told.server.stop().await;
}

#[tokio::test]
async fn what_a_restored_controller_has_lost_is_there_once_it_is_told_again() {
    let mut told = Telling::start(&World::new()).await;
    let file = sudo_file("one");
    told.tell(from_ref(&file)).await;
    alter(&told.server.data().join(FILE), "DELETE FROM drift").await;
    assert_eq!(told.count().await, (0, 0));
    told.tell(from_ref(&file)).await;
    assert_eq!(told.count().await, (1, 0));
    told.server.stop().await;
}

/// A store with one host, which tells what a test gives it.
struct Kept {
    dir: tempfile::TempDir,
    store: Store,
    host: Host,
}

impl Kept {
    async fn begin() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let world = World::new();
        let store = create(&dir, &world).await;
        let host = Host::new(&world, &[]);
        joined(&store, &host).await;
        Self { dir, store, host }
    }

    async fn tell(&mut self, number: u64, drift: Vec<Drift>) {
        let envelope = self.host.receipt();
        let digest = envelope.digest();
        let receipt = StoredReceipt {
            number,
            digest,
            floor: None,
            envelope,
            drift,
            tells_accounts: false,
            pause: None,
            logged: None,
        };
        self.store.add_receipts(self.host.id(), &[receipt], &[]).await.unwrap();
    }

    async fn found(&self, scope: DriftScope) -> Vec<FoundDrift> {
        let query = DriftQuery { scope, limit: u32::MAX, ..DriftQuery::default() };
        self.store.drift(&query, NOW).await.unwrap().found
    }

    /// Whether the first item of a receipt can be found.
    async fn has(&self, receipt: u64) -> bool {
        self.found(DriftScope::All).await.iter().any(|one| (one.receipt, one.item) == (receipt, 0))
    }
}

/// Adds as many rows as are kept but one, all of the first receipt.
macro_rules! rows {
    ($open:literal) => {
        concat!(
            "INSERT INTO drift (host, receipt, item, kind, subject, part, severity, open)
             WITH RECURSIVE n (i) AS (SELECT 100 UNION ALL SELECT i + 1 FROM n WHERE i < 20098)
             SELECT id, 1, i, 'uid-zero', i, '', 3, ",
            $open,
            " FROM n, hosts"
        )
    };
}

fn repaired() -> Drift {
    Drift { response: Response::Repaired, ..sudo_file("done") }
}

#[tokio::test]
async fn what_is_still_there_is_kept_however_much_was_put_right_since() {
    let mut kept = Kept::begin().await;
    kept.tell(1, vec![sudo_file("first")]).await;
    kept.tell(2, vec![repaired()]).await;
    alter(&kept.dir.path().join(FILE), rows!("0")).await;
    let most = usize::try_from(KEPT_DRIFT).unwrap();
    assert_eq!(kept.found(DriftScope::All).await.len(), most + 1);
    // As many as are kept are kept …
    kept.tell(32, Vec::new()).await;
    assert_eq!(kept.found(DriftScope::All).await.len(), most + 1);
    // … and one more is more, which is looked at now and then: the oldest gives way.
    kept.tell(33, vec![repaired()]).await;
    assert_eq!(kept.found(DriftScope::All).await.len(), most + 2);
    assert!(kept.has(2).await);
    kept.tell(64, Vec::new()).await;
    assert_eq!(kept.found(DriftScope::All).await.len(), most + 1);
    assert!(!kept.has(2).await && kept.has(33).await);
    let open = kept.found(DriftScope::Open).await;
    assert_eq!((open.len(), open[0].receipt), (1, 1), "it stands, the oldest of all");
    // Nobody puts the look off by telling very many at once.
    kept.tell(65, vec![repaired(); 32]).await;
    assert_eq!(kept.found(DriftScope::All).await.len(), most + 33);
    kept.tell(66, vec![repaired(); 33]).await;
    assert_eq!(kept.found(DriftScope::All).await.len(), most + 1);
    kept.store.close().await;
}

#[tokio::test]
async fn of_very_much_that_is_still_there_the_gravest_is_kept() {
    let mut kept = Kept::begin().await;
    kept.tell(1, vec![sudo_file("first")]).await;
    alter(&kept.dir.path().join(FILE), rows!("1")).await;
    kept.tell(32, Vec::new()).await;
    let most = usize::try_from(KEPT_DRIFT).unwrap();
    assert_eq!(kept.found(DriftScope::Open).await.len(), most);
    kept.tell(64, vec![Drift { severity: Severity::Low, ..sudo_file("least") }]).await;
    assert_eq!(kept.found(DriftScope::Open).await.len(), most);
    assert!(kept.has(1).await, "it is critical");
    assert!(!kept.has(64).await, "it is the least of all");
    kept.store.close().await;
}
