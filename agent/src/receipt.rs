//! Signs receipts, chains them, and spools them until the controller's signed word says that it has
//! them. The keeper deletes nothing on anybody else's word.

use std::path::{Path, PathBuf};

use muster_proto::{
    crypto::MachineKey,
    envelope::{Document, Envelope},
    id::Digest,
    receipt::Receipt,
};

use ring::{rand::SystemRandom, signature::Ed25519KeyPair};

use crate::host::state::{self, StateError};

/// Makes the keeper's own key, in PKCS #8; nothing if the system gives no random bytes.
pub fn generate_key() -> Option<Vec<u8>> {
    let key = Ed25519KeyPair::generate_pkcs8(&SystemRandom::new()).ok()?;
    Some(key.as_ref().to_vec())
}

/// Receipts that the controller has not acknowledged yet, oldest first.
#[derive(Debug)]
pub struct Spool {
    directory: PathBuf,
}

/// The most receipts that wait; beyond, the oldest go and their gap in the numbers shows it.
const MAX_SPOOLED: usize = 10_000;

impl Spool {
    /// Opens the spool, making its directory the first time.
    pub fn open(state: &Path) -> Result<Self, StateError> {
        let directory = state.join("spool");
        state::make_directory(&directory, 0o700)?;
        Ok(Self { directory })
    }

    /// Signs a receipt, stores it, and returns its digest and envelope in bytes.
    pub fn store(
        &self,
        receipt: &Receipt,
        key: &MachineKey,
    ) -> Result<(Digest, Vec<u8>), StateError> {
        let envelope = Envelope::sign(receipt, key);
        let bytes = envelope.encode();
        state::replace(&self.path(receipt.number), &bytes, 0o600)?;
        let numbers = self.numbers()?;
        for number in numbers.iter().take(numbers.len().saturating_sub(MAX_SPOOLED)) {
            state::remove(&self.path(*number))?;
        }
        Ok((envelope.digest(), bytes))
    }

    /// Returns the numbers of what waits, oldest first.
    pub fn numbers(&self) -> Result<Vec<u64>, StateError> {
        let names = state::names(&self.directory)?;
        Ok(names.iter().filter_map(|name| name.parse().ok()).collect())
    }

    /// Returns one receipt's envelope in bytes, if it still waits.
    pub fn read(&self, number: u64) -> Result<Option<Vec<u8>>, StateError> {
        state::read(&self.path(number))
    }

    /// Drops what the controller has signed for: everything up to this number.
    pub fn acknowledged(&self, number: u64) -> Result<(), StateError> {
        for waiting in self.numbers()?.into_iter().filter(|waiting| *waiting <= number) {
            state::remove(&self.path(waiting))?;
        }
        Ok(())
    }

    fn path(&self, number: u64) -> PathBuf {
        self.directory.join(format!("{number:020}"))
    }
}
