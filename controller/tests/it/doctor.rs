//! The doctor: nothing is said of a controller that is well, and every finding is caused here.
#![expect(clippy::disallowed_methods, reason = "a test breaks files")]
#![expect(clippy::disallowed_types, reason = "the doctor is run where nobody else mounts")]

use std::{
    fs,
    os::unix::fs::{PermissionsExt, chown, symlink},
    path::{Path, PathBuf},
    process::Command,
};

use muster_controller::doctor;
use muster_proto::time::Timestamp;
use serde_json::Value;

use crate::{
    net::{Running, alter},
    server::{grant, wired},
    world::{NOW, World},
};

/// Writes the configuration of a server that runs, and the operator's key.
fn places(server: &Running) -> (PathBuf, PathBuf) {
    let (config, key) = (server.dir.path().join("muster.toml"), server.dir.path().join("approver"));
    configure(&config, server, &server.data());
    fs::write(&key, "secret").unwrap();
    allow(&key, 0o600);
    for file in fs::read_dir(server.data()).unwrap() {
        allow(&file.unwrap().path(), 0o600);
    }
    (config, key)
}

fn configure(config: &Path, server: &Running, data: &Path) {
    let text = format!(
        "data_dir = '{}'\noperator_socket = '{}'\nagent_listener = '{}'\n",
        data.display(),
        server.socket().display(),
        server.address
    );
    fs::write(config, text).unwrap();
}

/// Somebody else than whom the data belongs to.
const NOBODY: u32 = 65_534;

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
    chown(&online, Some(NOBODY), None).expect("this test needs root");
    one(NOW, "data directory", "online.key` does not belong to uid 0").await;
    chown(&online, Some(0), None).unwrap();
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

#[tokio::test(flavor = "multi_thread")]
async fn a_data_directory_that_cannot_be_looked_at_is_told_of_with_the_reason() {
    let server = Running::start(&World::new()).await;
    let (config, key) = places(&server);
    let told = |found: Vec<(String, String)>, words: &[&str]| {
        let (about, fault) = found.first().unwrap();
        assert_eq!(about, "data directory");
        assert!(words.iter().all(|word| fault.contains(word)), "{fault}");
        assert!(found.iter().any(|(about, _)| about == "data"), "{found:?}");
    };
    let [file, round, none] = ["file", "round", "none"].map(|name| server.dir.path().join(name));
    fs::write(&file, "").unwrap();
    allow(&file, 0o600);
    symlink(&round, &round).unwrap();
    for (data, why) in [(&file, "Not a directory"), (&round, "Too many"), (&none, "No such file")] {
        configure(&config, &server, data);
        told(found(&config, &key, NOW).await, &["cannot look at", data.to_str().unwrap(), why]);
    }

    // Somebody who can see that there is a directory, and not what is in it.
    configure(&config, &server, &server.data());
    allow(server.dir.path(), 0o711);
    let stranger = std::thread::spawn(move || {
        let nobody = rustix::process::Uid::from_raw(NOBODY);
        // In Linux a thread can be somebody else than its process; those that it starts are too.
        rustix::thread::set_thread_uid(nobody).expect("this test needs root");
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(found(&config, &key, NOW))
    });
    told(stranger.join().unwrap(), &["cannot look at", "/data`", "Permission denied"]);
    server.stop().await;
}

/// Copies the data in `$1` to a small disk of 2000 blocks at `$2`, which nobody else sees, fills that
/// until `$3` are free, and asks the doctor.
const ON_A_SMALL_DISK: &str = r#"
    mount -t tmpfs -o "size=$((2000 * $(getconf PAGESIZE)))" small "$2"
    cp -a "$1" "$2/data"
    filling=$(($(stat -f -c %a "$2") - $3))
    head -c "$((filling * $(stat -f -c %S "$2")))" /dev/zero >"$2/filling"
    [ "$(stat -f -c '%a of %b' "$2")" = "$3 of 2000" ]
    shift 3
    exec "$@"
"#;

#[tokio::test(flavor = "multi_thread")]
async fn a_disk_is_told_of_when_less_than_one_block_in_twenty_is_free() {
    let server = Running::start(&World::new()).await;
    let (_, key) = places(&server);
    let dir = server.stop().await;
    let [small, config, data] = ["small", "small.toml", "data"].map(|name| dir.path().join(name));
    fs::create_dir(&small).unwrap();
    // The copy is not touched by the server, which answers at the doors.
    let server = Running::resume(dir).await;
    configure(&config, &server, &small.join("data"));
    let ask = |free: &str| {
        let mut command = Command::new("unshare");
        command.args(["--mount", "sh", "-euc", ON_A_SMALL_DISK, "doctor"]);
        command.arg(&data).arg(&small).arg(free).arg(env!("CARGO_BIN_EXE_muster"));
        command.arg("--key").arg(&key).arg("doctor").arg("--config").arg(&config);
        let output = command.args(["--output", "json"]).output().unwrap();
        assert!(output.stderr.is_empty(), "this test needs root: {output:?}");
        let found: Vec<Value> = serde_json::from_slice(&output.stdout).unwrap();
        // By the wall clock the trust root of these tests has expired long ago.
        let found = found.into_iter().filter(|one| one["subject"] != "trust root");
        found.map(|one| one["finding"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(ask("100"), Vec::<String>::new());
    let place = small.join("data");
    let fault = format!("less than 5 % of the disk of `{}` is free", place.display());
    assert_eq!(ask("99"), [fault]);
    server.stop().await;
}
