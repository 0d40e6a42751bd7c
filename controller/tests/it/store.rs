//! What every database must do. The suite knows the store by its methods alone, so that a second
//! database runs the very same.
#![expect(clippy::disallowed_methods, reason = "a test plants foreign files")]

use std::collections::BTreeMap;

use muster_controller::{
    audit::Entry,
    current::{Current, Event},
    enrol::certificate::Issue,
    host::{Sent, Shown},
    store::{NewHost, ReceiptPage, SentTo, Store, StoreError, StoredReceipt, Token, TokenRefused},
};
use muster_proto::{
    crypto::sha256,
    envelope::Document,
    id::{Digest, Id},
    link::{LogHead, Target},
    merkle::Tree,
    receipt::{HostMode, Standing},
    selector::LabelValue,
};

use crate::{
    host::{Host, labels},
    net::alter,
    world::{NOW, World, id},
};

pub(crate) fn entry(kind: &'static str, body: &[u8]) -> Entry {
    Entry { time: NOW, kind, salt: [3; 16], body: body.to_vec() }
}

pub(crate) async fn create(dir: &tempfile::TempDir, world: &World) -> Store {
    let first = entry("trust-root", &world.trust.encode());
    Store::create(dir.path(), &world.trust, &first).await.unwrap()
}

fn token(secret: &str, seconds: u64) -> Token {
    Token {
        secret: sha256(&[secret.as_bytes()]),
        made: NOW,
        made_by: "ana".to_owned(),
        expires: NOW.plus(seconds),
    }
}

fn new_host(host: &Host) -> NewHost {
    NewHost {
        id: host.id(),
        keeper_key: host.key.public(),
        hostname: LabelValue::parse("db1").unwrap(),
        certificate: Issue { key: Digest::new([1; 32]), at: NOW },
    }
}

pub(crate) async fn joined(store: &Store, host: &Host) {
    store.add_token(&token("secret", 60), &entry("token", b"")).await.unwrap();
    let secret = sha256(&[b"secret"]);
    let by = store.join(secret, &new_host(host), &entry("enrolment", b"")).await.unwrap();
    assert_eq!(by, "ana");
}

#[tokio::test]
async fn the_history_comes_back_in_the_order_in_which_it_came() {
    let dir = tempfile::tempdir().unwrap();
    let mut world = World::new();
    let store = create(&dir, &world).await;
    let mut events = vec![Event::TrustRoot(world.trust.clone())];
    for n in 1..=3_u64 {
        let user = world.user(&format!("user{n}"), 1_000 + u32::try_from(n).unwrap(), &[]);
        let link = world.publish(vec![user]);
        let place = world.chain.newest().unwrap();
        let entries = [entry("link", b"l"), entry("approval", b"a")];
        store.add_link(n, place.digest, &link, &entries).await.unwrap();
        events.push(Event::Link(link));
        let target = Target::Statement { id: id(&format!("user{n}")), revision: 1 };
        let revocation = world.revocation(&format!("revocation {n}"), target);
        let name = id(&format!("revocation {n}"));
        store.add_revocation(name, &revocation, NOW, &entry("revocation", b"r")).await.unwrap();
        events.push(Event::Revocation(revocation));
    }
    store.close().await;
    let store = Store::open(dir.path()).await.unwrap();
    assert_eq!(store.lineage(), world.lineage());
    assert_eq!(store.history().await.unwrap(), events);
    assert_eq!(store.links(1, 10).await.unwrap(), world.links[1..]);
    assert_eq!(store.links(0, 2).await.unwrap(), world.links[..2]);
    assert_eq!(store.trust_roots(0).await.unwrap(), [world.trust.clone()]);
    assert_eq!(store.revocations().await.unwrap().len(), 3);
    let current = Current::load(store.lineage(), &events).unwrap();
    assert_eq!(current.chain().newest(), world.chain.newest());
}

#[tokio::test]
async fn the_log_only_grows_and_remembers_every_head() {
    let dir = tempfile::tempdir().unwrap();
    let world = World::new();
    let store = create(&dir, &world).await;
    let mut heads = vec![world.log.clone(), store.head()];
    for n in 0..9 {
        let secret = format!("secret {n}");
        store.add_token(&token(&secret, 60), &entry("token", secret.as_bytes())).await.unwrap();
        heads.push(store.head());
    }
    store.close().await;
    let store = Store::open(dir.path()).await.unwrap();
    assert_eq!(store.head(), *heads.last().unwrap());
    let leaves = store.leaves().await.unwrap();
    for head in &heads {
        assert!(store.had_head(head).await.unwrap(), "{head:?}");
        let proof = Tree::Log.consistency(&leaves, usize::try_from(head.size).unwrap()).unwrap();
        let (old, new) = ((head.size, head.root), (store.head().size, store.head().root));
        assert!(Tree::Log.is_consistent(old, new, &proof));
    }
    let mut forged = heads[3].clone();
    forged.root = Digest::new([1; 32]);
    assert!(!store.had_head(&forged).await.unwrap());
    let mut other = heads[3].clone();
    other.origin = "muster/other".to_owned();
    assert!(!store.had_head(&other).await.unwrap());
    let mut future = heads[3].clone();
    future.size = 99;
    assert!(!store.had_head(&future).await.unwrap());
}

#[tokio::test]
async fn a_log_that_follows_another_has_heads_of_its_own_and_the_old_one_stays_readable() {
    let dir = tempfile::tempdir().unwrap();
    let world = World::new();
    let store = create(&dir, &world).await;
    store.add_token(&token("one", 60), &entry("token", b"one")).await.unwrap();
    let (old, leaves) = (store.head(), store.leaves().await.unwrap());
    let beyond = LogHead { size: 3, root: Digest::new([1; 32]), ..old.clone() };
    let lost = LogHead { origin: format!("{}/lost", old.origin), ..beyond.clone() };
    assert!(!store.had_head(&beyond).await.unwrap(), "nothing was lost yet");
    assert!(!store.had_head(&lost).await.unwrap());

    let begun = store.begin_log([5; 16], NOW).await.unwrap();
    assert_eq!((begun.size, store.head()), (1, begun.clone()));
    assert_ne!(begun.origin, old.origin);
    store.add_token(&token("two", 60), &entry("token", b"two")).await.unwrap();
    let present = store.head();
    assert_eq!((present.size, &present.origin), (2, &begun.origin));
    store.close().await;
    let store = Store::open(dir.path()).await.unwrap();
    assert_eq!(store.head(), present);
    store.check().await.unwrap();
    let beginnings = store.beginnings().await.unwrap();
    assert_eq!(beginnings.len(), 1);
    assert_eq!(beginnings[0].last, old);
    assert_eq!(beginnings[0].origin(world.lineage()), begun.origin);
    assert_eq!(store.leaves().await.unwrap()[0], beginnings[0].leaf());

    for head in [&old, &begun, &present, &beyond, &lost] {
        assert!(store.had_head(head).await.unwrap(), "{head:?}");
    }
    let forged = LogHead { root: Digest::new([1; 32]), ..old.clone() };
    let longer = LogHead { size: 3, ..present.clone() };
    let foreign = LogHead { origin: "muster/other".to_owned(), ..old.clone() };
    for head in [&forged, &longer, &foreign] {
        assert!(!store.had_head(head).await.unwrap(), "{head:?}");
    }
    let proof = store.consistency(&old.origin, 1, 2).await.unwrap().unwrap();
    assert_eq!(proof, Tree::Log.consistency(&leaves, 1).unwrap());
    let proof = store.consistency(&begun.origin, 1, 2).await.unwrap().unwrap();
    assert!(Tree::Log.is_consistent((1, begun.root), (2, present.root), &proof));
    assert_eq!(store.consistency(&old.origin, 1, 3).await.unwrap(), None);
    assert_eq!(store.consistency(&begun.origin, 1, 3).await.unwrap(), None);
    assert_eq!(store.consistency("muster/other", 0, 0).await.unwrap(), None);
}

#[tokio::test]
async fn what_fails_leaves_no_trace_in_the_log() {
    let dir = tempfile::tempdir().unwrap();
    let world = World::new();
    let store = create(&dir, &world).await;
    let host = Host::new(&world, &[]);
    let head = store.head();
    let unknown = store.join(sha256(&[b"x"]), &new_host(&host), &entry("enrolment", b"")).await;
    assert!(matches!(unknown, Err(TokenRefused::Unknown)));
    store.add_token(&token("secret", 60), &entry("token", b"")).await.unwrap();
    let after = store.head();
    assert_eq!(after.size, head.size + 1);
    let twice = store.add_token(&token("secret", 60), &entry("token", b"")).await;
    assert!(matches!(twice, Err(StoreError::Database { .. })));
    assert_eq!(store.head(), after);
    let mut late = entry("enrolment", b"");
    late.time = NOW.plus(60);
    let expired = store.join(sha256(&[b"secret"]), &new_host(&host), &late).await;
    assert!(matches!(expired, Err(TokenRefused::Expired(_))));
    assert!(store.hosts().await.unwrap().is_empty());
    assert_eq!(store.head(), after);
}

#[tokio::test]
async fn of_two_who_come_with_one_secret_one_gets_in() {
    let dir = tempfile::tempdir().unwrap();
    let world = World::new();
    let store = create(&dir, &world).await;
    store.add_token(&token("secret", 60), &entry("token", b"")).await.unwrap();
    let (a, b) = (new_host(&Host::new(&world, &[])), new_host(&Host::new(&world, &[])));
    let (secret, one) = (sha256(&[b"secret"]), entry("enrolment", b""));
    let (a, b) = tokio::join!(store.join(secret, &a, &one), store.join(secret, &b, &one));
    assert_eq!(usize::from(a.is_ok()) + usize::from(b.is_ok()), 1);
    assert_eq!(store.hosts().await.unwrap().len(), 1);
}

#[tokio::test]
async fn hosts_come_back_as_they_were() {
    let dir = tempfile::tempdir().unwrap();
    let mut world = World::new();
    let store = create(&dir, &world).await;
    let mut host = Host::new(&world, &[]);
    joined(&store, &host).await;
    world.publish(vec![world.group("g")]);
    let mut standing = Standing {
        trust_version: 1,
        floor: world.chain.newest(),
        labels: labels(&[("tier", "db"), ("env", "prod")]),
        mode: HostMode::Enforce,
        agent_version: "0.1.0".to_owned(),
        refusal: "no".to_owned(),
    };
    store.set_standing(host.id(), &standing, NOW).await.unwrap();
    standing.labels = labels(&[("tier", "web")]);
    store.set_standing(host.id(), &standing, NOW).await.unwrap();
    let receipts: Vec<StoredReceipt> = (1..=3)
        .map(|number| {
            let envelope = host.receipt();
            StoredReceipt {
                number,
                digest: envelope.digest(),
                floor: Some(1),
                envelope,
                drift: Vec::new(),
                tells_accounts: number < 3,
                pause: None,
                logged: None,
            }
        })
        .collect();
    assert_eq!(store.inventory(host.id()).await.unwrap(), None);
    store.add_receipts(host.id(), &receipts[..2], &[]).await.unwrap();
    store.add_receipts(host.id(), &receipts[2..], &[]).await.unwrap();
    assert!(
        store.add_receipts(host.id(), &receipts[2..], &[]).await.is_err(),
        "a number is stored once"
    );
    store.close().await;
    let store = Store::open(dir.path()).await.unwrap();
    let found = store.hosts().await.unwrap().remove(0);
    assert_eq!(found.standing, Some(standing));
    assert_eq!(found.receipts, Some((3, receipts[2].digest)));
    assert_eq!((found.hostname.as_str(), found.token_by.as_str()), ("db1", "ana"));
    let newest = store.receipts_before(host.id(), u64::MAX, 2).await.unwrap();
    let [third, second] = [2, 1].map(|n| (receipts[n].number, receipts[n].envelope.clone()));
    assert_eq!(newest, ReceiptPage { receipts: vec![third, second], rest: None });
    // The third does not tell which accounts the host has.
    let accounts = store.inventory(host.id()).await.unwrap();
    assert_eq!(accounts, Some(receipts[1].envelope.clone()));
    let below = store.receipts_before(host.id(), 3, 1).await.unwrap();
    assert_eq!(below.receipts, [(2, receipts[1].envelope.clone())]);
    assert!(store.has_receipt(host.id(), 2, receipts[1].digest).await.unwrap());
    assert!(!store.has_receipt(host.id(), 2, receipts[2].digest).await.unwrap());
    assert!(store.decisions().await.unwrap().is_empty());
}

#[tokio::test]
async fn what_was_sent_comes_back_as_it_was() {
    let dir = tempfile::tempdir().unwrap();
    let world = World::new();
    let store = create(&dir, &world).await;
    let host = Host::new(&world, &[]);
    joined(&store, &host).await;
    let nothing = SentTo {
        host: host.id(),
        confirmed: 0,
        statements: BTreeMap::new(),
        revocations: BTreeMap::new(),
    };
    let shown = Shown::Statement(Digest::new([9; 32]));
    let sent = |link, shown, confirmed| Sent { link, shown, wanted: true, confirmed };
    let mut some = nothing.clone();
    some.statements.insert(id("a"), sent(1, shown, None));
    some.statements.insert(id("b"), sent(1, Shown::Absent, Some(shown)));
    some.statements.insert(Id::Host(host.id()), sent(2, shown, Some(Shown::Absent)));
    some.revocations.insert(id("r"), false);
    store.set_sent(&[(nothing, some.clone())]).await.unwrap();
    assert_eq!(store.sent().await.unwrap()[&host.id()], some.statements);
    let mut other = some.clone();
    other.confirmed = 2;
    other.statements.remove(&id("a"));
    other.statements.insert(id("b"), sent(3, shown, None));
    other.revocations.insert(id("r"), true);
    store.set_sent(&[(some, other.clone())]).await.unwrap();
    assert_eq!(store.sent().await.unwrap()[&host.id()], other.statements);
    assert_eq!(store.sent_revocations().await.unwrap()[&host.id()], other.revocations);
    assert_eq!(store.hosts().await.unwrap()[0].confirmed, 2);
}

#[tokio::test]
async fn what_is_not_ours_is_left_alone() {
    let dir = tempfile::tempdir().unwrap();
    let world = World::new();
    assert!(matches!(Store::open(dir.path()).await, Err(StoreError::Absent(_))));
    let file = dir.path().join("muster.db");
    let text =
        b"no database at all, and rather longer than a header of one hundred bytes would be; \
                 it stays what it is, whoever looks at it";
    std::fs::write(&file, text).unwrap();
    let none = Store::open(dir.path()).await.unwrap_err();
    assert!(matches!(none, StoreError::Database { .. }), "{none}");
    let why = std::error::Error::source(&none).unwrap().to_string();
    assert!(why.contains("not a database"), "{why}");
    let first = entry("trust-root", b"");
    let exists = Store::create(dir.path(), &world.trust, &first).await;
    assert!(matches!(exists, Err(StoreError::Exists(_))));
    assert_eq!(std::fs::read(&file).unwrap(), text);
    // A database of some other program has no mark, or another one.
    std::fs::write(&file, b"").unwrap();
    assert!(matches!(Store::open(dir.path()).await, Err(StoreError::Foreign(_))));
}

#[tokio::test]
async fn a_store_that_was_not_made_to_the_end_or_cannot_be_looked_at_is_not_called_anothers() {
    let dir = tempfile::tempdir().unwrap();
    let world = World::new();
    let first = entry("trust-root", b"");
    // The tables are there, and the first transaction is not.
    let store = Store::create(dir.path(), &world.trust, &first).await.unwrap();
    store.close().await;
    let file = dir.path().join("muster.db");
    alter(&file, "DELETE FROM fleet").await;
    let half = Store::open(dir.path()).await.unwrap_err();
    assert!(matches!(half, StoreError::Unfinished(_)), "{half}");
    alter(&file, "PRAGMA application_id = 7").await;
    let other = Store::open(dir.path()).await.unwrap_err();
    assert!(matches!(other, StoreError::Foreign(_)), "{other}");
    // A file in the place of a directory cannot be looked into, by root either.
    let hidden = Store::open(&file).await.unwrap_err();
    assert!(matches!(hidden, StoreError::File { .. }), "{hidden}");
}

#[tokio::test]
async fn what_does_not_read_back_says_why() {
    let dir = tempfile::tempdir().unwrap();
    let world = World::new();
    let store = create(&dir, &world).await;
    joined(&store, &Host::new(&world, &[])).await;
    store.close().await;
    alter(&dir.path().join("muster.db"), "UPDATE hosts SET mode = 7").await;
    let store = Store::open(dir.path()).await.unwrap();
    let corrupt = store.hosts().await.unwrap_err();
    assert_eq!(corrupt.to_string(), "the store's host mode does not read back");
    let why = std::error::Error::source(&corrupt).unwrap().to_string();
    assert_eq!(why, "7 is no mode of a host");
}
