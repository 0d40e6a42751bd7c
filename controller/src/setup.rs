//! Making a fleet: the data directory with the store, the CA and the online key. What is there
//! already stays; nothing is ever overwritten.

use std::{
    fs, io,
    os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt, chown},
    path::{Path, PathBuf},
};

use muster_proto::{
    crypto::{BadMachineKey, MachineKey},
    envelope::{Document, Envelope, Verified},
    id::Digest,
    time::Timestamp,
    trust::{Refused, TrustRoot},
};

use crate::{
    audit::Entry,
    enrol::{Ca, EnrolError},
    signer::{self, SignerError},
    store::{Store, StoreError},
};

/// The online key's file in the data directory.
pub const ONLINE_KEY: &str = "online.key";

/// A fleet that was made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fleet {
    /// The digest of trust root 1: the fleet's name for ever.
    pub lineage: Digest,
    /// What join tokens pin of the CA.
    pub ca: Digest,
}

/// Why no fleet was made.
#[derive(Debug, thiserror::Error)]
pub enum SetupError {
    /// Something is there.
    #[error("the directory `{0}` is not empty; nothing was changed")]
    NotEmpty(PathBuf),
    /// The directory could not be made or looked at.
    #[error("cannot use the directory `{path}`")]
    Directory {
        /// Which.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The trust root is not believed.
    #[error("cannot believe the trust root")]
    TrustRoot(#[source] Refused),
    /// The online key is none.
    #[error("cannot use the online key")]
    OnlineKey(#[source] BadMachineKey),
    /// The trust root does not name it.
    #[error("the trust root does not name the online key")]
    OtherKey,
    /// A key could not be written.
    #[error(transparent)]
    Signer(#[from] SignerError),
    /// No CA.
    #[error(transparent)]
    Enrol(#[from] EnrolError),
    /// No store.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Makes a fleet in a directory that is empty or does not exist. Everything belongs to whoever owns
/// the directory, so that root can make what the server's own user will read.
pub async fn create(
    data_dir: &Path,
    online_key: &[u8],
    trust_root: &Envelope,
    now: Timestamp,
) -> Result<Fleet, SetupError> {
    let lineage = trust_root.digest();
    let root =
        Verified::<TrustRoot>::genesis(trust_root, lineage).map_err(SetupError::TrustRoot)?;
    let key = MachineKey::from_pkcs8(online_key).map_err(SetupError::OnlineKey)?;
    if !root.machine_keys.contains(&key.public()) {
        return Err(SetupError::OtherKey);
    }
    let directory = |source| SetupError::Directory { path: data_dir.to_owned(), source };
    prepare(data_dir)?;
    signer::write_secret(&data_dir.join(ONLINE_KEY), online_key)?;
    let ca = Ca::create(data_dir, lineage, now)?;
    let entry =
        Entry { time: now, kind: "trust-root", salt: signer::random()?, body: trust_root.encode() };
    let store = Store::create(data_dir, trust_root, &entry).await?;
    store.close().await;
    let owner = fs::metadata(data_dir).map_err(directory)?;
    for file in fs::read_dir(data_dir).map_err(directory)? {
        let path = file.map_err(directory)?.path();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).map_err(directory)?;
        chown(&path, Some(owner.uid()), Some(owner.gid())).map_err(directory)?;
    }
    Ok(Fleet { lineage, ca: ca.pin() })
}

/// Makes the directory for its owner alone, or takes one that is empty.
pub(crate) fn prepare(data_dir: &Path) -> Result<(), SetupError> {
    let directory = |source| SetupError::Directory { path: data_dir.to_owned(), source };
    match fs::read_dir(data_dir) {
        Ok(mut entries) => {
            if entries.next().is_some() {
                return Err(SetupError::NotEmpty(data_dir.to_owned()));
            }
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            fs::DirBuilder::new()
                .recursive(true)
                .mode(0o700)
                .create(data_dir)
                .map_err(directory)?;
        }
        Err(error) => return Err(directory(error)),
    }
    fs::set_permissions(data_dir, fs::Permissions::from_mode(0o700)).map_err(directory)
}
