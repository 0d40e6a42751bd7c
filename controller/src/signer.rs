//! The controller's online key, and the randomness that documents need. It signs checkpoints,
//! acknowledgements and the log's head as a note, and nothing else. Hosts would believe a
//! revocation of its as well: whoever steals it can take access away, and give none.

use std::{
    fs,
    io::{self, Write},
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
};

use muster_proto::{
    crypto::{BadMachineKey, MachineKey, MachinePublicKey},
    envelope::Envelope,
    link::{Acknowledgement, Checkpoint, LogHead},
    note,
};
use ring::{
    rand::{SecureRandom, SystemRandom},
    signature::Ed25519KeyPair,
};

/// Signs with the online key.
#[derive(Debug)]
pub struct Signer {
    key: MachineKey,
}

/// Why there is no signer.
#[derive(Debug, thiserror::Error)]
pub enum SignerError {
    /// The system gave no randomness.
    #[error("cannot get randomness from the system")]
    Random,
    /// The file could not be read or written.
    #[error("cannot use the key file `{path}`")]
    File {
        /// Which.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The file holds something else.
    #[error("cannot use the online key `{path}`")]
    Key {
        /// Which.
        path: PathBuf,
        /// Why.
        #[source]
        source: BadMachineKey,
    },
}

/// Returns a new online key in PKCS #8 form.
pub fn generate() -> Result<Vec<u8>, SignerError> {
    let key = Ed25519KeyPair::generate_pkcs8(&SystemRandom::new());
    Ok(key.map_err(|_| SignerError::Random)?.as_ref().to_vec())
}

/// Returns random bytes: salts, one-time secrets.
pub fn random<const N: usize>() -> Result<[u8; N], SignerError> {
    let mut bytes = [0; N];
    SystemRandom::new().fill(&mut bytes).map_err(|_| SignerError::Random)?;
    Ok(bytes)
}

/// Writes a secret to a new file that nobody else can read; one that is there already stays.
pub fn write_secret(path: &Path, bytes: &[u8]) -> Result<(), SignerError> {
    let file = |source| SignerError::File { path: path.to_owned(), source };
    let mut options = fs::OpenOptions::new();
    let mut out = options.write(true).create_new(true).mode(0o600).open(path).map_err(file)?;
    out.write_all(bytes).and_then(|()| out.sync_all()).map_err(file)
}

impl Signer {
    /// Opens the key in a file.
    pub fn open(path: &Path) -> Result<Self, SignerError> {
        let file = |source| SignerError::File { path: path.to_owned(), source };
        let bytes = fs::read(path).map_err(file)?;
        let key = |source| SignerError::Key { path: path.to_owned(), source };
        Ok(Self { key: MachineKey::from_pkcs8(&bytes).map_err(key)? })
    }

    /// Returns the public half.
    pub fn public(&self) -> MachinePublicKey {
        self.key.public()
    }

    /// Signs a checkpoint.
    pub fn checkpoint(&self, checkpoint: &Checkpoint) -> Envelope {
        Envelope::sign(checkpoint, &self.key)
    }

    /// Signs the log's head as a note.
    pub fn note(&self, head: &LogHead) -> String {
        note::sign(head, &self.key)
    }

    /// Signs an acknowledgement.
    pub fn acknowledge(&self, acknowledgement: &Acknowledgement) -> Envelope {
        Envelope::sign(acknowledgement, &self.key)
    }
}
