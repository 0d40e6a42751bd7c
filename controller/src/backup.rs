//! A fleet's data in one file, and back: the database as of one moment, the CA, the online key and
//! the configuration, in a tar archive that begins with a manifest of them. Only these names are
//! taken out of an archive, and only if every digest is right and the chain in it verifies.
//!
//! Whoever holds such a file holds what the controller holds: he can pose as it, take access away,
//! and give none.

mod restore;

use std::{
    collections::BTreeMap,
    fs::{self, File, OpenOptions},
    io::{self, Read, Seek, Write},
    os::unix::fs::{DirBuilderExt, OpenOptionsExt},
    path::{Path, PathBuf},
};

use muster_proto::{crypto::sha256_of, id::Digest, time::Timestamp, trust::TrustRoot};
use serde::{Deserialize, Serialize};

use crate::{
    config::{Config, ConfigError},
    current::{BadHistory, Current},
    enrol::{self, Ca, EnrolError},
    setup::{self, SetupError},
    signer::{Signer, SignerError},
    store::{self, Damage, Store, StoreError},
};

pub use restore::{ConfigOutcome, Restored, restore};

/// The form of the archive.
const FORMAT: u32 = 1;
/// The archive's first file.
const MANIFEST: &str = "manifest.json";
/// The configuration in the archive.
const CONFIG: &str = "muster.toml";
/// What is in the data directory; the database comes last, since without it there is no fleet.
const DATA: [&str; 4] = [enrol::CERTIFICATE_FILE, enrol::KEY_FILE, setup::ONLINE_KEY, store::FILE];

/// What an archive holds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    /// The form of the archive.
    pub format: u32,
    /// The program that made it.
    pub version: String,
    /// When.
    pub made: String,
    /// The digest of trust root 1.
    pub lineage: String,
    /// The newest change; 0 before the first.
    pub change: u64,
    /// The entries of the audit log.
    pub audit_log: u64,
    /// All other files.
    pub files: BTreeMap<String, Part>,
}

/// One file of an archive.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Part {
    /// Its bytes.
    pub size: u64,
    /// Its digest.
    pub sha256: String,
}

/// What a data directory holds, as far as it was verified.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Contents {
    /// The digest of trust root 1.
    pub lineage: Digest,
    /// The newest change; 0 before the first.
    pub change: u64,
    /// When that was signed.
    pub time: Option<Timestamp>,
    /// The entries of the audit log.
    pub audit_log: u64,
    /// The newest trust root.
    pub trust: TrustRoot,
}

/// Why what is there is not a fleet that could be served.
#[derive(Debug, thiserror::Error)]
pub enum Unsound {
    /// The database is damaged.
    #[error(transparent)]
    Damage(#[from] Damage),
    /// The database cannot be read.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// What is stored is no chain.
    #[error("the chain in the database does not verify")]
    History(#[from] BadHistory),
    /// There is no CA.
    #[error(transparent)]
    Ca(#[from] EnrolError),
    /// There is no online key.
    #[error(transparent)]
    Signer(#[from] SignerError),
    /// It is another fleet's.
    #[error("the newest trust root does not name the online key")]
    OnlineKey,
}

/// Why there is no backup, or nothing was restored.
#[derive(Debug, thiserror::Error)]
pub enum BackupError {
    /// There is one of that name.
    #[error("`{0}` is there already; a backup is never overwritten")]
    Exists(PathBuf),
    /// The name is none.
    #[error("`{0}` is no name for a file")]
    Name(PathBuf),
    /// A file could not be read or written.
    #[error("cannot {doing} `{path}`")]
    File {
        /// What was being done.
        doing: &'static str,
        /// With which.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// No configuration.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The database could not be copied.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// What would be kept, or was kept, is of no use.
    #[error("the fleet's data is not sound")]
    Unsound(#[from] Unsound),
    /// The manifest could not be put into words.
    #[error("cannot write the manifest")]
    Manifest(#[source] serde_json::Error),
    /// The archive is damaged, or something else.
    #[error("`{path}` is no whole backup: {fault}; nothing was restored")]
    Archive {
        /// Which.
        path: PathBuf,
        /// What is wrong.
        fault: String,
    },
    /// The place for the data cannot be used.
    #[error(transparent)]
    Place(#[from] SetupError),
}

fn file_error(doing: &'static str, path: &Path) -> impl Fn(io::Error) -> BackupError {
    move |source| BackupError::File { doing, path: path.to_owned(), source }
}

fn new_file(path: &Path, mode: u32) -> io::Result<File> {
    OpenOptions::new().read(true).write(true).create_new(true).mode(mode).open(path)
}

fn sync_directory(path: &Path) -> io::Result<()> {
    File::open(path)?.sync_all()
}

/// Verifies all that a server needs of a data directory, without writing to it.
pub async fn inspect(directory: &Path) -> Result<Contents, Unsound> {
    let store = Store::look(directory).await?;
    let contents = inspect_store(&store, directory).await;
    store.close().await;
    contents
}

async fn inspect_store(store: &Store, directory: &Path) -> Result<Contents, Unsound> {
    store.check().await?;
    let current = Current::load(store.lineage(), &store.history().await?)?;
    Ca::open(directory)?;
    let signer = Signer::open(&directory.join(setup::ONLINE_KEY))?;
    if !current.chain().trust().machine_keys.contains(&signer.public()) {
        return Err(Unsound::OnlineKey);
    }
    let change = current.chain().newest().map_or(0, |link| link.number);
    Ok(Contents {
        lineage: store.lineage(),
        change,
        time: current.chain().time_of(change),
        audit_log: store.head().size,
        trust: TrustRoot::clone(current.chain().trust()),
    })
}

/// Writes everything that the controller with this configuration holds to a new file, whole or not at
/// all; the controller may be running.
pub async fn backup(config: &Path, to: &Path, now: Timestamp) -> Result<Manifest, BackupError> {
    if to.symlink_metadata().is_ok() {
        return Err(BackupError::Exists(to.to_owned()));
    }
    let name = to.file_name().ok_or_else(|| BackupError::Name(to.to_owned()))?;
    let above = to.parent().filter(|above| !above.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let staging = above.join(format!(".{}.part", name.to_string_lossy()));
    clear(&staging)?;
    fs::DirBuilder::new()
        .mode(0o700)
        .create(&staging)
        .map_err(file_error("make the directory", &staging))?;
    let made = assemble(config, &staging, to, now).await;
    let cleared = clear(&staging);
    let manifest = made?;
    cleared?;
    sync_directory(above).map_err(file_error("write", above))?;
    Ok(manifest)
}

fn clear(staging: &Path) -> Result<(), BackupError> {
    match fs::remove_dir_all(staging) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            Err(file_error("remove", staging)(error))
        }
        _ => Ok(()),
    }
}

async fn assemble(
    config: &Path,
    staging: &Path,
    to: &Path,
    now: Timestamp,
) -> Result<Manifest, BackupError> {
    let data = Config::load(config)?.data_dir;
    let database = staging.join(store::FILE);
    // For its owner alone before there is anything in it.
    new_file(&database, 0o600).map_err(file_error("write", &database))?;
    Store::copy(&data, &database).await?;
    let sources =
        DATA.iter().filter(|name| **name != store::FILE).map(|name| (data.join(name), *name));
    for (from, name) in sources.chain([(config.to_owned(), CONFIG)]) {
        let mut source = File::open(&from).map_err(file_error("read", &from))?;
        let place = staging.join(name);
        let mut copy = new_file(&place, 0o600).map_err(file_error("write", &place))?;
        io::copy(&mut source, &mut copy).map_err(file_error("copy", &from))?;
    }
    let Contents { lineage, change, audit_log, .. } = inspect(staging).await?;
    let mut files = BTreeMap::new();
    for name in [CONFIG].into_iter().chain(DATA) {
        let place = staging.join(name);
        let digest = File::open(&place).and_then(sha256_of);
        let (sha256, size) = digest.map_err(file_error("read", &place))?;
        files.insert(name.to_owned(), Part { size, sha256: sha256.to_string() });
    }
    let manifest = Manifest {
        format: FORMAT,
        version: env!("CARGO_PKG_VERSION").to_owned(),
        made: now.to_string(),
        lineage: lineage.to_string(),
        change,
        audit_log,
        files,
    };
    let text = serde_json::to_vec_pretty(&manifest).map_err(BackupError::Manifest)?;
    let archive = staging.join("archive");
    pack(&archive, staging, &text, now).map_err(file_error("write", &archive))?;
    // Unlike a rename, this never takes the place of another file.
    fs::hard_link(&archive, to).map_err(|source| match source.kind() {
        io::ErrorKind::AlreadyExists => BackupError::Exists(to.to_owned()),
        _ => file_error("write", to)(source),
    })?;
    Ok(manifest)
}

fn pack(archive: &Path, staging: &Path, manifest: &[u8], now: Timestamp) -> io::Result<()> {
    let mut tar = tar::Builder::new(new_file(archive, 0o600)?);
    append(&mut tar, MANIFEST, manifest.len() as u64, now, manifest)?;
    for name in [CONFIG].into_iter().chain(DATA) {
        let mut file = File::open(staging.join(name))?;
        let size = file.seek(io::SeekFrom::End(0))?;
        file.rewind()?;
        append(&mut tar, name, size, now, file)?;
    }
    let mut file = tar.into_inner()?;
    file.flush()?;
    file.sync_all()
}

fn append(
    tar: &mut tar::Builder<File>,
    name: &str,
    size: u64,
    now: Timestamp,
    from: impl Read,
) -> io::Result<()> {
    let mut header = tar::Header::new_gnu();
    header.set_size(size);
    header.set_mode(0o600);
    header.set_mtime(now.0);
    tar.append_data(&mut header, name, from)
}
