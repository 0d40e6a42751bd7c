//! What a controller has of an earlier release: its database. The files under `golden/` hold one of
//! each schema that was released, as text, and are never written again; whatever comes later opens
//! them, brings their tables up to date, and finds everything that was there.
#![expect(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    reason = "a test makes a database of old, when a variable says so"
)]

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write as _,
    fs,
    path::{Path, PathBuf},
};

use muster_controller::{
    audit::Entry,
    current::{Current, Event},
    enrol::certificate::{Issue, Shown as ShownCertificate},
    exception::{DriftScope, Exception, Thing},
    host::{BreakKind, Decision, ReceiptBreak, Sent, Shown, Verdict},
    store::{
        DriftQuery, FILE, FoundBreak, NewHost, SentTo, Store, StoredReceipt, Token, TokenRefused,
    },
};
use muster_proto::{
    crypto::sha256,
    drift::{Culprit, Drift, DriftKind, Response, Severity},
    envelope::Document,
    id::{Digest, Kind},
    link::Target,
    name::Line,
    receipt::{HostMode, Receipt, Standing},
    selector::LabelValue,
    time::Timestamp,
    trust::verify_by_host,
};
use sqlx::{Connection as _, Row as _, SqliteConnection, sqlite::SqliteConnectOptions};

use crate::{
    host::{Host, labels},
    world::{NOW, World, id},
};

/// The schema of each release.
const RELEASED: [&str; 1] = ["store-9"];

fn entry(kind: &'static str, body: &[u8]) -> Entry {
    Entry { time: NOW, kind, salt: [3; 16], body: body.to_vec() }
}

fn line(text: &str) -> Line {
    Line::parse(text).unwrap()
}

fn token(secret: &str) -> Token {
    let secret = sha256(&[secret.as_bytes()]);
    Token { secret, made: NOW, made_by: "ana".to_owned(), expires: NOW.plus(60) }
}

fn drift() -> Drift {
    Drift {
        kind: DriftKind::SudoForeign.as_str().to_owned(),
        subject: "sudoers.d/x".to_owned(),
        place: "mode".to_owned(),
        expected: "0440".to_owned(),
        found: "0666".to_owned(),
        since: Timestamp(NOW.0 - 9),
        severity: Severity::Critical,
        response: Response::Reported,
        rounds: 0,
        culprit: Some(Culprit { pid: 7, login: "ops".to_owned(), ..Culprit::default() }),
    }
}

fn exception() -> Exception {
    let (until, made) = (NOW.plus(100), NOW);
    Exception { until, by: "ana".to_owned(), made, reason: line("OPS-1") }
}

fn decision(verdict: Verdict) -> Decision {
    Decision { verdict, by: "ana".to_owned(), at: NOW, reason: line("odd") }
}

fn standing(world: &World) -> Standing {
    Standing {
        trust_version: 1,
        floor: world.chain.newest(),
        labels: labels(&[("tier", "db"), ("env", "prod")]),
        mode: HostMode::Enforce,
        agent_version: "0.1.0".to_owned(),
        refusal: "no".to_owned(),
    }
}

async fn join(store: &Store, host: &Host, hostname: &str) {
    store.add_token(&token(hostname), &entry("token", b"")).await.unwrap();
    let new = NewHost {
        id: host.id(),
        keeper_key: host.key.public(),
        hostname: LabelValue::parse(hostname).unwrap(),
        certificate: Issue { key: Digest::new([1; 32]), at: NOW },
    };
    let secret = token(hostname).secret;
    store.join(secret, &new, &entry("enrolment", b"e")).await.unwrap();
}

/// Makes a store with something in each of its tables.
async fn fill(directory: &Path) {
    let mut world = World::new();
    let first = entry("trust-root", &world.trust.encode());
    let store = Store::create(directory, &world.trust, &first).await.unwrap();
    for number in 1..=3 {
        let link = world.publish(match number {
            1 => vec![world.group("g"), world.role("r", &[]), world.user("ben", 1_001, &["g"])],
            2 => vec![world.assignment("gs", "g", "r", "env=prod", None)],
            _ => vec![world.removal("gs", Kind::Assignment)],
        });
        let digest = world.chain.newest().unwrap().digest;
        let entries = [entry("link", b"l"), entry("approval", b"a")];
        store.add_link(number, digest, &link, &entries).await.unwrap();
    }
    let target = Target::Statement { id: id("ben"), revision: 1 };
    for revocation in [world.online_revocation("out", target), world.revocation("out", target)] {
        store
            .add_revocation(id("out"), &revocation, NOW, &entry("revocation", b"r"))
            .await
            .unwrap();
    }

    let (mut db1, web1) = (Host::new(&world, &[]), Host::new(&world, &[]));
    join(&store, &db1, "db1").await;
    join(&store, &web1, "web1").await;
    store.add_token(&token("unused"), &entry("token", b"")).await.unwrap();
    store.set_standing(db1.id(), &standing(&world), NOW).await.unwrap();
    for (number, drift, tells_accounts) in [(1, vec![drift()], true), (2, Vec::new(), false)] {
        db1.drift.clone_from(&drift);
        let envelope = db1.receipt();
        let digest = envelope.digest();
        let stored = StoredReceipt {
            number,
            digest,
            floor: Some(1),
            envelope,
            drift,
            tells_accounts,
            pause: None,
            logged: None,
        };
        store.add_receipts(db1.id(), &[stored], &[]).await.unwrap();
    }
    let found = ReceiptBreak { number: 9, known: 2, kind: BreakKind::Missing, found: NOW };
    let digest = Digest::new([9; 32]);
    let broken = FoundBreak { found, digest, entry: Some(entry("receipt-break", b"b")) };
    store.add_receipts(db1.id(), &[], &[broken]).await.unwrap();

    let shown = Shown::Statement(Digest::new([9; 32]));
    let sent = Sent { link: 1, shown, wanted: true, confirmed: Some(Shown::Absent) };
    let nothing = SentTo {
        host: db1.id(),
        confirmed: 0,
        statements: BTreeMap::new(),
        revocations: BTreeMap::new(),
    };
    let some = SentTo {
        host: db1.id(),
        confirmed: 2,
        statements: BTreeMap::from([(id("ben"), sent)]),
        revocations: BTreeMap::from([(id("out"), true)]),
    };
    store.set_sent(&[(nothing, some)]).await.unwrap();
    let thing = thing(&db1);
    store.accept(&thing, &drift(), &exception(), &entry("exception", b"x")).await.unwrap();
    let banned = decision(Verdict::Banned);
    store.decide(web1.id(), Some(&banned), &entry("ban", b"")).await.unwrap();
    store.begin_log([5; 16], NOW).await.unwrap();
    store.add_token(&token("later"), &entry("token", b"")).await.unwrap();
    store.close().await;
}

fn thing(host: &Host) -> Thing {
    let Drift { kind, subject, place, .. } = drift();
    Thing { host: host.id(), kind, subject, place }
}

async fn connect(file: &Path) -> SqliteConnection {
    let options = SqliteConnectOptions::new().filename(file).create_if_missing(true);
    SqliteConnection::connect_with(&options.foreign_keys(false)).await.unwrap()
}

/// Returns the statements that make a database what it is, each on a line of its own.
async fn dump(file: &Path) -> String {
    let mut from = connect(file).await;
    // What the engine keeps for itself cannot be made, and comes by itself.
    let made = "SELECT type, name, sql FROM sqlite_schema
                WHERE sql IS NOT NULL AND name NOT LIKE 'sqlite\\_%' ESCAPE '\\' ORDER BY rowid";
    let made = sqlx::query(made).fetch_all(&mut from).await.unwrap();
    let mut text = "PRAGMA application_id = 1299542900;\n".to_owned();
    for row in &made {
        let (kind, name, sql): (String, String, String) = (row.get(0), row.get(1), row.get(2));
        writeln!(text, "{sql};").unwrap();
        if kind != "table" {
            continue;
        }
        let columns = format!("SELECT group_concat(name) FROM pragma_table_info('{name}')");
        let columns: String =
            sqlx::query_scalar(sqlx::AssertSqlSafe(columns)).fetch_one(&mut from).await.unwrap();
        let quoted = columns.replace(',', ") || ',' || quote(");
        let rows = format!("SELECT quote({quoted}) FROM {name}");
        let rows: Vec<String> =
            sqlx::query_scalar(sqlx::AssertSqlSafe(rows)).fetch_all(&mut from).await.unwrap();
        for row in rows {
            writeln!(text, "INSERT INTO {name} ({columns}) VALUES ({row});").unwrap();
        }
    }
    from.close().await.unwrap();
    text
}

fn golden(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join(format!("tests/it/golden/{name}.sql"))
}

/// Makes the newest golden file, if there is none and a variable says so.
async fn make_golden() {
    let path = golden(RELEASED[RELEASED.len() - 1]);
    if !path.exists() && std::env::var_os("MUSTER_ACCEPT_GOLDEN").is_some() {
        let dir = tempfile::tempdir().unwrap();
        fill(dir.path()).await;
        fs::write(path, dump(&dir.path().join(FILE)).await).unwrap();
    }
}

#[tokio::test]
async fn the_database_of_every_release_is_opened_and_nothing_of_it_is_lost() {
    make_golden().await;
    for name in RELEASED {
        let dir = tempfile::tempdir().unwrap();
        let sql = fs::read_to_string(golden(name)).unwrap();
        let mut database = connect(&dir.path().join(FILE)).await;
        sqlx::raw_sql(sqlx::AssertSqlSafe(sql)).execute(&mut database).await.unwrap();
        database.close().await.unwrap();

        let store = Store::open(dir.path()).await.unwrap();
        store.check().await.unwrap();
        assert_history(&store).await;
        assert_hosts(&store).await;
        assert_tokens(&store).await;
        store.check().await.unwrap();
        store.close().await;
    }
}

/// Everything that was signed is there, in its order, and verifies.
async fn assert_history(store: &Store) {
    let history = store.history().await.unwrap();
    let kind = |event: &Event| match event {
        Event::TrustRoot(_) => 't',
        Event::Link(_) => 'l',
        Event::Revocation(_) => 'r',
    };
    assert_eq!(history.iter().map(kind).collect::<String>(), "tlllrr");
    let current = Current::load(store.lineage(), &history).unwrap();
    assert_eq!(current.chain().newest().unwrap().number, 3);
    let ids: BTreeSet<_> = current.chain().statements().keys().copied().collect();
    assert!(["g", "r", "ben", "gs"].map(id).iter().all(|id| ids.contains(id)));
    assert_eq!(store.trust_roots(0).await.unwrap().len(), 1);
    assert_eq!(store.links(0, 10).await.unwrap().len(), 3);

    let began = store.beginnings().await.unwrap();
    assert_eq!(began.len(), 1);
    assert_eq!(began[0].origin(store.lineage()), store.head().origin);
    assert!(store.had_head(&began[0].last).await.unwrap());
    assert_eq!(store.head().size, 2);
}

/// Whatever is known of hosts is there, and what they signed verifies by their keys.
async fn assert_hosts(store: &Store) {
    let mut hosts = store.hosts().await.unwrap();
    hosts.sort_by(|a, b| a.hostname.cmp(&b.hostname));
    let [db1, web1] = hosts.as_slice() else { panic!("{hosts:?}") };
    assert_eq!((db1.hostname.as_str(), web1.hostname.as_str()), ("db1", "web1"));
    assert_eq!((db1.id, db1.joined, db1.token_by.as_str()), (db1.keeper_key.digest(), NOW, "ana"));
    assert_eq!((db1.last_seen, db1.confirmed), (Some(NOW), 2));
    let stands = db1.standing.as_ref().unwrap();
    assert_eq!(stands.labels, labels(&[("tier", "db"), ("env", "prod")]));
    assert_eq!((stands.mode, stands.floor.unwrap().number), (HostMode::Enforce, 3));
    assert_eq!((stands.agent_version.as_str(), stands.refusal.as_str()), ("0.1.0", "no"));
    let broken = ReceiptBreak { number: 9, known: 2, kind: BreakKind::Missing, found: NOW };
    assert_eq!(db1.breaks, [broken]);
    assert_eq!((&db1.decision, &web1.decision), (&None, &Some(decision(Verdict::Banned))));
    assert_eq!(web1.standing, None);
    assert_eq!(store.decisions().await.unwrap(), [(web1.id, decision(Verdict::Banned))].into());

    let receipts = store.receipts_before(db1.id, u64::MAX, 10).await.unwrap().receipts;
    let read: Vec<_> = receipts
        .iter()
        .map(|(_, envelope)| verify_by_host::<Receipt>(envelope, db1.keeper_key).unwrap())
        .collect();
    assert_eq!(read.iter().map(|receipt| receipt.number).collect::<Vec<_>>(), [2, 1]);
    assert_eq!(db1.receipts, Some((2, receipts[0].1.digest())));
    assert_eq!(read[1].drift, [drift()]);
    assert_eq!(store.inventory(db1.id).await.unwrap().as_ref(), Some(&receipts[1].1));
    let query = DriftQuery { scope: DriftScope::Open, limit: 10, ..DriftQuery::default() };
    let page = store.drift(&query, NOW).await.unwrap();
    assert_eq!((page.found.len(), page.found[0].host, page.found[0].receipt), (1, db1.id, 1));
    assert_eq!(page.found[0].exception, Some(exception()));
    let by = DriftQuery { by: "ops".to_owned(), since: Some(drift().since), ..query };
    assert_eq!(store.drift(&by, NOW).await.unwrap().found.len(), 1);

    let shown = Shown::Statement(Digest::new([9; 32]));
    let sent = Sent { link: 1, shown, wanted: true, confirmed: Some(Shown::Absent) };
    assert_eq!(store.sent().await.unwrap()[&db1.id], BTreeMap::from([(id("ben"), sent)]));
    let revocations = store.sent_revocations().await.unwrap();
    assert_eq!(revocations[&db1.id], BTreeMap::from([(id("out"), true)]));
    let issue = Issue { key: Digest::new([1; 32]), at: NOW };
    let shown = |host| ShownCertificate { host, issue, until: NOW.plus(60) };
    store.let_in(&shown(db1.id), NOW).await.unwrap();
    assert!(store.let_in(&shown(web1.id), NOW).await.is_err(), "it is banned");
}

/// A secret that was not used opens the door, and one that was does not.
async fn assert_tokens(store: &Store) {
    let host = Host::new(&World::new(), &[]);
    let new = NewHost {
        id: host.id(),
        keeper_key: host.key.public(),
        hostname: LabelValue::parse("new").unwrap(),
        certificate: Issue { key: Digest::new([2; 32]), at: NOW },
    };
    let used = store.join(token("db1").secret, &new, &entry("enrolment", b"")).await;
    assert!(matches!(used, Err(TokenRefused::Used)), "{used:?}");
    store.join(token("unused").secret, &new, &entry("enrolment", b"")).await.unwrap();
}
