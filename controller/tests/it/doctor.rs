//! The doctor: nothing is said of a controller that is well, and every finding is caused here.
#![expect(clippy::disallowed_methods, reason = "a test breaks files")]

use std::{
    fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
};

use muster_controller::doctor;
use muster_proto::time::Timestamp;

use crate::{
    net::{Running, alter},
    server::{grant, wired},
    world::{NOW, World},
};

/// Writes the configuration of a server that runs, and the operator's key.
fn places(server: &Running) -> (PathBuf, PathBuf) {
    let (config, key) = (server.dir.path().join("muster.toml"), server.dir.path().join("approver"));
    let text = format!(
        "data_dir = '{}'\noperator_socket = '{}'\nagent_listener = '{}'\n",
        server.data().display(),
        server.socket().display(),
        server.address
    );
    fs::write(&config, text).unwrap();
    fs::write(&key, "secret").unwrap();
    allow(&key, 0o600);
    (config, key)
}

fn allow(path: &Path, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}

async fn found(config: &Path, key: &Path, now: Timestamp) -> Vec<(String, String)> {
    let found = doctor::examine(config, key, now).await;
    assert!(found.iter().all(|finding| !finding.cure.is_empty() && !finding.cure.contains('\n')));
    found.into_iter().map(|finding| (finding.subject, finding.fault)).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn every_finding_has_a_cause_and_goes_with_it() {
    let mut world = World::new();
    let server = Running::start(&world).await;
    let (config, key) = places(&server);
    let link = world.publish(grant(&world));
    server.operator().await.publish(wired(&link)).await.unwrap();
    for file in fs::read_dir(server.data()).unwrap() {
        allow(&file.unwrap().path(), 0o600);
    }
    assert_eq!(found(&config, &key, NOW).await, []);

    let one = async |now: Timestamp, subject: &str, words: &str| {
        let found = found(&config, &key, now).await;
        let [(about, fault)] = found.as_slice() else { panic!("{subject}: {found:?}") };
        assert_eq!(about, subject);
        assert!(fault.contains(words), "{fault}");
    };
    allow(&key, 0o640);
    one(NOW, "operator's key", "others than you may read").await;
    allow(&key, 0o600);
    allow(&server.data(), 0o750);
    one(NOW, "data directory", "others than its owner").await;
    allow(&server.data(), 0o700);
    let online = server.data().join("online.key");
    allow(&online, 0o604);
    one(NOW, "data directory", "online.key").await;
    allow(&online, 0o600);
    // The clock, to the second.
    one(Timestamp(NOW.0 - 301), "clock", "behind the newest change").await;
    assert_eq!(found(&config, &key, Timestamp(NOW.0 - 300)).await, []);
    let expires = NOW.plus(2 * 365 * 86_400);
    let soon = |seconds| Timestamp(expires.0 - seconds);
    assert_eq!(found(&config, &key, soon(60 * 86_400)).await, []);
    one(soon(60 * 86_400 - 1), "trust root", "grants nothing new from").await;
    one(expires, "trust root", "has expired").await;
    let mine = fs::read(&online).unwrap();
    fs::write(&online, &World::new().online).unwrap();
    one(NOW, "data", "does not name the online key").await;
    fs::write(&online, mine).unwrap();
    assert_eq!(found(&config, &key, NOW).await, []);
    alter(&server.data().join("muster.db"), "UPDATE log SET root = leaf WHERE place = 1").await;
    one(NOW, "data", "does not continue at entry 1").await;

    let dir = server.stop().await;
    let subjects: Vec<String> =
        found(&config, &key, NOW).await.into_iter().map(|(subject, _)| subject).collect();
    assert_eq!(subjects, ["data", "operators' socket", "agents' port"]);
    fs::write(&config, "data_dirr = '/x'").unwrap();
    one(NOW, "configuration", "data_dirr").await;
    drop(dir);
}
