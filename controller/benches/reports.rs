//! How many reports of drift the controller takes in a second: receipts that hosts have signed, each
//! verified, fitted onto the one before and durable in SQLite on disk before it is acknowledged.
//!
//! ```text
//! reports [RECEIPTS]      of each host; each tells one drift
//! ```
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::print_stdout,
    clippy::disallowed_methods,
    dead_code,
    unreachable_pub,
    unused_imports,
    reason = "it is a measurement that people read, with the hosts of the tests"
)]

#[path = "../tests/it/host.rs"]
mod host;
#[path = "../tests/it/world.rs"]
mod world;

use std::{env, path::Path, sync::Arc, time::Instant};

use muster_controller::{
    enrol::certificate::Issue,
    fleet::Fleet,
    setup,
    signer::Signer,
    store::{DriftQuery, KEPT_DRIFT, NewHost, Store},
};
use muster_proto::{
    drift::{Culprit, Drift, Response, Severity},
    envelope::{Document, Envelope},
    id::{Digest, HostId},
    receipt::{Convergence, HostMode, Receipt, Trigger},
    selector::LabelValue,
};

use crate::{
    host::Host,
    world::{NOW, World},
};

const HOSTS: usize = 8;
/// As many as the controller takes at once from a host that has more to tell.
const GATHERED: usize = 256;
fn drift(number: u64) -> Drift {
    Drift {
        kind: "account-changed".to_owned(),
        subject: format!("user{}", number % 100),
        place: "shell".to_owned(),
        expected: "/bin/bash".to_owned(),
        found: "/bin/sh".to_owned(),
        since: NOW.plus(number),
        severity: Severity::Medium,
        response: Response::Repaired,
        rounds: 1,
        culprit: Some(Culprit {
            pid: 4_711,
            program: "usermod".to_owned(),
            command: "usermod --shell /bin/sh user1".to_owned(),
            login: "root".to_owned(),
            unit: "session-3.scope".to_owned(),
        }),
    }
}

/// What a host has to tell, signed and chained.
fn spool(world: &World, host: &Host, receipts: u64) -> Vec<Envelope> {
    let mut previous = None;
    let mut spool = Vec::new();
    for number in 1..=receipts {
        let receipt = Receipt {
            lineage: world.lineage(),
            host: host.id(),
            number,
            previous,
            time: NOW.plus(number),
            floor: None,
            trust_version: 1,
            mode: HostMode::Enforce,
            trigger: Trigger::Change,
            revocations: [].into(),
            outcomes: Vec::new(),
            convergence: Convergence::Done,
            findings: Vec::new(),
            drift: vec![drift(number)],
            inventory: None,
        };
        previous = Some(receipt.digest());
        spool.push(Envelope::sign(&receipt, &host.key));
    }
    spool
}

/// Counts what is found of a host's drift.
async fn stored(store: &Store, host: HostId) -> u64 {
    let (mut after, mut found) = (0, 0);
    loop {
        let query = DriftQuery {
            host: Some(host),
            after: Some(after),
            limit: 1_000,
            ..DriftQuery::default()
        };
        let page = store.drift(&query, NOW).await.unwrap();
        let Some(last) = page.found.last() else { return found };
        after = last.place;
        found += u64::try_from(page.found.len()).unwrap();
    }
}

/// All hosts tell all of theirs at the same time, so many at once; returns the reports in a second.
async fn measure(base: &Path, receipts: u64, at_once: usize) -> f64 {
    let world = World::new();
    let data = base.join(format!("data-{at_once}"));
    setup::create(&data, &world.online, &world.trust, NOW).await.unwrap();
    let signer = Signer::open(&data.join(setup::ONLINE_KEY)).unwrap();
    let fleet = Arc::new(Fleet::load(Store::open(&data).await.unwrap(), signer).await.unwrap());
    let mut spools: Vec<(HostId, Vec<Envelope>)> = Vec::new();
    for number in 0..HOSTS {
        let host = Host::new(&world, &[]);
        let new = NewHost {
            id: host.id(),
            keeper_key: host.key.public(),
            hostname: LabelValue::parse(&format!("db{number}")).unwrap(),
            certificate: Issue { key: Digest::new([1; 32]), at: NOW },
        };
        fleet.welcome(&new, "ana".to_owned(), NOW).await.unwrap();
        spools.push((host.id(), spool(&world, &host, receipts)));
    }
    let hosts: Vec<HostId> = spools.iter().map(|(host, _)| *host).collect();
    let started = Instant::now();
    let told: Vec<_> = spools
        .into_iter()
        .map(|(host, spool)| {
            let fleet = Arc::clone(&fleet);
            tokio::spawn(async move {
                for some in spool.chunks(at_once) {
                    fleet.receive(host, some, NOW.plus(10)).await.unwrap();
                }
            })
        })
        .collect();
    for one in told {
        one.await.unwrap();
    }
    let taken = started.elapsed();
    for host in hosts {
        let found = stored(fleet.store(), host).await;
        assert!(found >= receipts.min(u64::from(KEPT_DRIFT)), "reports are missing");
    }
    fleet.store().close().await;
    let reports = u32::try_from(receipts).unwrap() * u32::try_from(HOSTS).unwrap();
    f64::from(reports) / taken.as_secs_f64()
}

#[tokio::main]
async fn main() {
    let receipts = env::args().find_map(|word| word.parse().ok()).unwrap_or(2_048);
    // Where a controller's data lies, on a disk, and not in memory.
    let folder = tempfile::tempdir_in("/var/tmp").unwrap();
    let gathered = measure(folder.path(), receipts, GATHERED).await;
    let single = measure(folder.path(), receipts / 8, 1).await;
    let load = std::fs::read_to_string("/proc/loadavg").unwrap();
    let load = load.split(' ').next().unwrap();
    println!(
        "{HOSTS} hosts at the same time, one drift in each receipt, durable in SQLite, load {load}"
    );
    println!("{:<52} {gathered:>8.0} reports/s", format!("{GATHERED} receipts at once"));
    println!("{:<52} {single:>8.0} reports/s", "each receipt by itself");
}
