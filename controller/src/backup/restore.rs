//! The way back: out of an archive into an empty data directory. Everything is unpacked and verified
//! beside its place first; the database is moved last, and without it there is no fleet, so whatever
//! fails leaves none.

use std::{
    fs::{self, File},
    io::{self, Read, Write},
    os::unix::fs::{DirBuilderExt, MetadataExt, chown},
    path::{Path, PathBuf},
};

use muster_proto::{crypto::sha256_of, link::LogHead, time::Timestamp};

use super::{
    BackupError, CONFIG, Contents, DATA, FORMAT, MANIFEST, Manifest, Unsound, clear, file_error,
    inspect, new_file, sync_directory,
};
use crate::{setup, signer, store::Store};

/// The most bytes of a manifest.
const MAX_MANIFEST: u64 = 65_536;
/// Where things are until they are verified.
const STAGING: &str = ".restore";

/// What was restored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Restored {
    /// What the archive held.
    pub manifest: Manifest,
    /// What was verified of it.
    pub contents: Contents,
    /// What became of the configuration.
    pub config: ConfigOutcome,
    /// The audit log that begins with this.
    pub log: LogHead,
}

/// What became of the configuration.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ConfigOutcome {
    /// There was none, and the archive's is there now.
    Written,
    /// There was one, and it stays.
    Kept,
}

/// Restores an archive to a data directory that is empty or does not exist. Everything there belongs
/// to whoever is named, else to the directory's owner. A configuration that is there stays. Nobody
/// can know what was lost, so the audit log of the backup ends there, and another follows it.
pub async fn restore(
    archive: &Path,
    data: &Path,
    config: &Path,
    owner: Option<(u32, u32)>,
    now: Timestamp,
) -> Result<Restored, BackupError> {
    let file = File::open(archive).map_err(file_error("read", archive))?;
    let was_there = data.symlink_metadata().is_ok();
    setup::prepare(data)?;
    let restored = bring(file, archive, data, config, owner, now).await;
    if restored.is_err() {
        take_away(data, was_there)?;
    }
    restored
}

/// Only what is ours can be there: the directory was empty.
fn take_away(data: &Path, was_there: bool) -> Result<(), BackupError> {
    clear(&data.join(STAGING))?;
    for name in DATA {
        let path = data.join(name);
        match fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                return Err(file_error("remove", &path)(error));
            }
            _ => {}
        }
    }
    if was_there { Ok(()) } else { fs::remove_dir(data).map_err(file_error("remove", data)) }
}

async fn bring(
    file: File,
    archive: &Path,
    data: &Path,
    config: &Path,
    owner: Option<(u32, u32)>,
    now: Timestamp,
) -> Result<Restored, BackupError> {
    let staging = data.join(STAGING);
    fs::DirBuilder::new()
        .mode(0o700)
        .create(&staging)
        .map_err(file_error("make the directory", &staging))?;
    let manifest = unpack(file, archive, &staging)?;
    let contents = inspect(&staging).await?;
    let said = (manifest.lineage.clone(), manifest.change, manifest.audit_log);
    if said != (contents.lineage.to_string(), contents.change, contents.audit_log) {
        return Err(fault(archive)("the manifest is about another state"));
    }
    let log = begin_log(&staging, now).await?;
    let place = file_error("write", data);
    let (uid, gid) = match owner {
        Some(owner) => owner,
        None => data.metadata().map(|found| (found.uid(), found.gid())).map_err(&place)?,
    };
    chown(data, Some(uid), Some(gid)).map_err(&place)?;
    for name in DATA {
        let (from, to) = (staging.join(name), data.join(name));
        let moved = chown(&from, Some(uid), Some(gid)).and_then(|()| fs::rename(&from, &to));
        moved.map_err(file_error("write", &to))?;
        sync_directory(data).map_err(&place)?;
    }
    let config = bring_config(&staging.join(CONFIG), config)?;
    clear(&staging)?;
    sync_directory(data).map_err(&place)?;
    Ok(Restored { manifest, contents, config, log })
}

/// Ends with the whole database in its one file, as it is when nobody has it open.
async fn begin_log(staging: &Path, now: Timestamp) -> Result<LogHead, BackupError> {
    let salt = signer::random().map_err(Unsound::Signer)?;
    let store = Store::open(staging).await?;
    let log = store.begin_log(salt, now).await;
    store.close().await;
    Ok(log?)
}

fn bring_config(from: &Path, to: &Path) -> Result<ConfigOutcome, BackupError> {
    let text = fs::read(from).map_err(file_error("read", from))?;
    let failed = file_error("write", to);
    let above = to.parent().unwrap_or(Path::new("/"));
    fs::DirBuilder::new().recursive(true).mode(0o755).create(above).map_err(&failed)?;
    let mut file = match new_file(to, 0o644) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            return Ok(ConfigOutcome::Kept);
        }
        Err(error) => return Err(failed(error)),
    };
    let written = file.write_all(&text).and_then(|()| file.sync_all());
    if let Err(error) = written.and_then(|()| sync_directory(above)) {
        fs::remove_file(to).map_err(file_error("remove", to))?;
        return Err(failed(error));
    }
    Ok(ConfigOutcome::Written)
}

fn fault(archive: &Path) -> impl Fn(&str) -> BackupError {
    let path: PathBuf = archive.to_owned();
    move |fault| BackupError::Archive { path: path.clone(), fault: fault.to_owned() }
}

/// Takes exactly the files that the manifest names out of the archive, each once and as it says.
fn unpack(file: File, archive: &Path, staging: &Path) -> Result<Manifest, BackupError> {
    let fault = fault(archive);
    let unreadable = |error: io::Error| fault(&error.to_string());
    let mut tar = tar::Archive::new(file);
    let mut entries = tar.entries().map_err(unreadable)?;
    let first = entries.next().ok_or_else(|| fault("it is empty"))?.map_err(unreadable)?;
    if first.path_bytes() != MANIFEST.as_bytes() {
        return Err(fault("it does not begin with a manifest"));
    }
    let mut text = Vec::new();
    first.take(MAX_MANIFEST + 1).read_to_end(&mut text).map_err(unreadable)?;
    if text.len() as u64 > MAX_MANIFEST {
        return Err(fault("its manifest is too long"));
    }
    let manifest: Manifest =
        serde_json::from_slice(&text).map_err(|error| fault(&format!("its manifest: {error}")))?;
    if manifest.format != FORMAT {
        return Err(fault(&format!("it has form {}, and {FORMAT} is known", manifest.format)));
    }
    let mut missing = manifest.files.clone();
    if !missing.keys().map(String::as_str).eq(names()) {
        return Err(fault("its manifest does not name what a backup holds"));
    }
    for entry in entries {
        let mut entry = entry.map_err(unreadable)?;
        let name = String::from_utf8_lossy(&entry.path_bytes()).into_owned();
        let part = missing.remove(&name).filter(|_| entry.header().entry_type().is_file());
        let part = part.ok_or_else(|| fault(&format!("`{name}` has no business in it")))?;
        let path = staging.join(&name);
        let mut out = new_file(&path, 0o600).map_err(file_error("write", &path))?;
        let copied = io::copy(&mut entry.by_ref().take(part.size + 1), &mut out);
        copied.and_then(|_| out.sync_all()).map_err(file_error("write", &path))?;
        let digest = File::open(&path).and_then(sha256_of);
        let (digest, size) = digest.map_err(file_error("read", &path))?;
        if (size, digest.to_string()) != (part.size, part.sha256) {
            return Err(fault(&format!("`{name}` is not what its manifest says")));
        }
    }
    match missing.keys().next() {
        None => Ok(manifest),
        Some(name) => Err(fault(&format!("`{name}` is missing"))),
    }
}

/// All files but the manifest, in the order of their names.
fn names() -> impl Iterator<Item = &'static str> {
    let mut names: Vec<&str> = DATA.into_iter().chain([CONFIG]).collect();
    names.sort_unstable();
    names.into_iter()
}
