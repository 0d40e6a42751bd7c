//! Backups: made while the controller writes, restored to the same, refused whole when damaged.
#![expect(clippy::disallowed_methods, reason = "a test damages files")]

use std::{
    fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
};

use muster_controller::{
    backup::{self, BackupError, ConfigOutcome, Unsound},
    config::Config,
    setup,
    store::Store,
};
use muster_proto::wire::{self, agents_client::AgentsClient};

use crate::{
    host::Host,
    net::{Running, alter},
    server::{grant, until, wired},
    world::{NOW, World},
};

/// Writes the configuration of the server in a directory.
pub(crate) fn config_file(dir: &Path) -> PathBuf {
    let path = dir.join("muster.toml");
    let text = format!(
        "data_dir = '{}'\noperator_socket = '{}'\n",
        dir.join("data").display(),
        dir.join("operator.sock").display()
    );
    fs::write(&path, text).unwrap();
    path
}

/// A fleet that nobody serves, and a backup of it.
async fn backed_up(dir: &Path) -> PathBuf {
    let world = World::new();
    setup::create(&dir.join("data"), &world.online, &world.trust, NOW).await.unwrap();
    let file = dir.join("backup.tar");
    backup::backup(&config_file(dir), &file, NOW).await.unwrap();
    file
}

async fn restored(file: &Path, to: &Path) -> Result<backup::Restored, BackupError> {
    backup::restore(file, &to.join("data"), &to.join("etc/muster.toml"), None, NOW).await
}

fn names(directory: &Path) -> Vec<String> {
    let entries = fs::read_dir(directory).unwrap();
    let mut names: Vec<String> =
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

#[tokio::test]
async fn a_backup_is_made_while_the_controller_writes_and_restores_to_the_same() {
    let mut world = World::new();
    let server = Running::start(&world).await;
    let config_file = config_file(server.dir.path());
    let link = world.publish(grant(&world));
    server.operator().await.publish(wired(&link)).await.unwrap();
    let file = server.dir.path().join("backup.tar");
    let writing = async {
        for _ in 0..50 {
            server.token(600).await;
        }
    };
    let (made, ()) = tokio::join!(backup::backup(&config_file, &file, NOW), writing);
    let manifest = made.unwrap();
    assert_eq!(manifest.change, 1);
    let mode = fs::metadata(&file).unwrap().permissions().mode();
    assert_eq!(mode & 0o7777, 0o600);
    assert!(!names(server.dir.path()).iter().any(|name| name.contains(".part")));
    let again = backup::backup(&config_file, &file, NOW).await.unwrap_err();
    assert!(matches!(again, BackupError::Exists(_)), "{again}");
    let dir = server.stop().await;

    let new = tempfile::tempdir().unwrap();
    let back = restored(&file, new.path()).await.unwrap();
    assert_eq!(back.manifest, manifest);
    assert_eq!(back.config, ConfigOutcome::Written);
    assert_eq!(
        fs::read(new.path().join("etc/muster.toml")).unwrap(),
        fs::read(config_file).unwrap()
    );
    assert_eq!(names(&new.path().join("data")), ["ca.der", "ca.key", "muster.db", "online.key"]);
    let (old, then) = (
        Store::open(&dir.path().join("data")).await.unwrap(),
        Store::open(&new.path().join("data")).await.unwrap(),
    );
    let ended = then.beginnings().await.unwrap()[0].last.clone();
    assert_eq!(ended.size, manifest.audit_log);
    assert!(old.had_head(&ended).await.unwrap(), "it is one moment of the same log");
    assert_eq!(then.head(), back.log, "another follows it");
    then.check().await.unwrap();
    assert_eq!(then.history().await.unwrap(), old.history().await.unwrap());
    then.close().await;
    old.close().await;
    let server = Running::resume(new).await;
    let status = server.operator().await.status(wire::StatusRequest {}).await.unwrap().into_inner();
    assert_eq!(status.newest.unwrap().number, 1);
    server.stop().await;
}

#[tokio::test]
async fn a_damaged_archive_is_refused_whole() {
    let dir = tempfile::tempdir().unwrap();
    let file = backed_up(dir.path()).await;
    let whole = fs::read(&file).unwrap();
    let damaged = dir.path().join("damaged.tar");
    // One bit in every part, and every length.
    let bits = (0..whole.len()).step_by(4_999).map(|at| {
        let mut bytes = whole.clone();
        bytes[at] ^= 1;
        bytes
    });
    // The end of a tar archive is nothing but zeroes.
    let end = whole.iter().rposition(|byte| *byte != 0).unwrap();
    let lengths = [0, 1, 511, 512, 700, whole.len() / 2, end].map(|at| whole[..at].to_vec());
    let mut refused = 0;
    for bytes in bits.chain(lengths) {
        fs::write(&damaged, &bytes).unwrap();
        let to = tempfile::tempdir().unwrap();
        match restored(&damaged, to.path()).await {
            Err(_) => {
                refused += 1;
                assert_eq!(names(to.path()), [""; 0], "something is left");
            }
            // Fields of a header that say nothing of the file.
            Ok(back) => assert_eq!(back.manifest.files.len(), 5),
        }
    }
    assert!(refused > 15, "{refused}");
    let to = tempfile::tempdir().unwrap();
    restored(&file, to.path()).await.unwrap();
}

#[tokio::test]
async fn what_is_there_is_never_overwritten() {
    let dir = tempfile::tempdir().unwrap();
    let file = backed_up(dir.path()).await;
    let to = tempfile::tempdir().unwrap();
    let (data, config) = (to.path().join("data"), to.path().join("muster.toml"));
    fs::create_dir(&data).unwrap();
    fs::write(data.join("theirs"), "precious").unwrap();
    let refused = backup::restore(&file, &data, &config, None, NOW).await.unwrap_err();
    assert!(refused.to_string().contains("not empty"), "{refused}");
    assert_eq!(names(&data), ["theirs"]);
    fs::remove_file(data.join("theirs")).unwrap();
    fs::write(&config, "data_dir = '/elsewhere'\n").unwrap();
    let back = backup::restore(&file, &data, &config, None, NOW).await.unwrap();
    assert_eq!(back.config, ConfigOutcome::Kept);
    assert_eq!(Config::load(&config).unwrap().data_dir, Path::new("/elsewhere"));
    let again = backup::restore(&file, &data, &config, None, NOW).await.unwrap_err();
    assert!(again.to_string().contains("not empty"), "{again}");
    assert_eq!(names(&data), ["ca.der", "ca.key", "muster.db", "online.key"]);
}

#[tokio::test]
async fn data_that_is_not_sound_is_not_backed_up() {
    let dir = tempfile::tempdir().unwrap();
    backed_up(dir.path()).await;
    let (config, file) = (dir.path().join("muster.toml"), dir.path().join("again.tar"));
    alter(&dir.path().join("data/muster.db"), "UPDATE log SET body = x'00' WHERE place = 0").await;
    let refused = backup::backup(&config, &file, NOW).await.unwrap_err();
    assert!(matches!(refused, BackupError::Unsound(Unsound::Damage(_))), "{refused}");
    assert!(!file.exists());
    assert_eq!(names(dir.path()), ["backup.tar", "data", "muster.toml"]);
}

#[tokio::test]
async fn a_host_that_is_ahead_of_a_restored_controller_is_named_until_it_has_caught_up() {
    let mut world = World::new();
    let server = Running::start(&world).await;
    let mut host = Host::new(&world, &[("tier", "db")]);
    let mut courier = server.join(&host, server.token(600).await).await.unwrap();
    let file = server.dir.path().join("backup.tar");
    backup::backup(&config_file(server.dir.path()), &file, NOW).await.unwrap();
    let link = world.publish(grant(&world));
    server.operator().await.publish(wired(&link)).await.unwrap();
    let mut session = courier.session(&host).await;
    until(&mut session, &mut host, |bundle| bundle.link.is_some()).await;
    let old = server.stop().await;

    let new = tempfile::tempdir().unwrap();
    restored(&file, new.path()).await.unwrap();
    drop(old);
    let server = Running::resume(new).await;
    let shown = Some((courier.reply.certificate.clone(), &courier.key));
    courier.client = AgentsClient::new(server.channel(shown).await.unwrap());
    let mut session = courier.session(&host).await;
    until(&mut session, &mut host, |bundle| bundle.checkpoint.is_some()).await;
    let notes = async || {
        let reply = server.operator().await.hosts(wire::HostsRequest {}).await.unwrap();
        reply.into_inner().hosts[0].notes.join(" ")
    };
    assert!(notes().await.contains("ahead: it has verified change 1"), "{}", notes().await);
    // It keeps what it has, and the link is taken back like any other.
    assert_eq!(host.held, host.due(world.chain.statements()));
    server.operator().await.publish(wired(&link)).await.unwrap();
    assert_eq!(notes().await, "");
    server.stop().await;
}
