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
pub const MAX_SPOOLED: usize = 10_000;

/// The most bytes of them, for which the same holds; the newest waits whatever its size.
pub const MAX_SPOOLED_BYTES: u64 = 256 << 20;

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
        Ok((envelope.digest(), bytes))
    }

    /// Returns how many of those that wait, oldest first, there is no room for.
    pub fn surplus(&self, waiting: &[u64]) -> Result<usize, StateError> {
        let (mut stays, mut bytes) = (0, 0);
        for number in waiting.iter().rev().take(MAX_SPOOLED) {
            bytes += state::length(&self.path(*number))?;
            if stays > 0 && bytes > MAX_SPOOLED_BYTES {
                break;
            }
            stays += 1;
        }
        Ok(waiting.len().saturating_sub(stays))
    }

    /// Drops what there is no room for.
    pub fn drop_surplus(&self, surplus: &[u64]) -> Result<(), StateError> {
        surplus.iter().try_for_each(|number| state::remove(&self.path(*number)))
    }

    /// Takes back a receipt that was not handed over. One that stays is written over by the next.
    pub fn withdraw(&self, number: u64) {
        let _ = state::remove(&self.path(number));
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

    /// Drops what the controller has signed for, everything up to this number, and returns how many
    /// waited for that.
    pub fn acknowledged(&self, number: u64) -> Result<usize, StateError> {
        let mut all = self.numbers()?;
        all.retain(|waiting| *waiting <= number);
        for waiting in &all {
            state::remove(&self.path(*waiting))?;
        }
        Ok(all.len())
    }

    fn path(&self, number: u64) -> PathBuf {
        self.directory.join(format!("{number:020}"))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use muster_proto::{
        receipt::{Convergence, HostMode, Trigger},
        time::Timestamp,
        trust::verify_by_host,
    };

    use super::*;

    fn receipt(number: u64, host: Digest) -> Receipt {
        Receipt {
            lineage: host,
            host,
            number,
            previous: (number > 1).then_some(host),
            time: Timestamp(number),
            floor: None,
            trust_version: 1,
            mode: HostMode::Enforce,
            trigger: Trigger::Start,
            revocations: BTreeSet::new(),
            outcomes: Vec::new(),
            convergence: Convergence::Done,
            findings: Vec::new(),
            drift: Vec::new(),
            inventory: None,
        }
    }

    #[test]
    fn receipts_wait_on_disk_until_they_are_acknowledged() {
        let state = tempfile::tempdir().unwrap();
        let key = MachineKey::from_pkcs8(&generate_key().unwrap()).unwrap();
        let spool = Spool::open(state.path()).unwrap();
        for number in 1..=3 {
            spool.store(&receipt(number, key.public().digest()), &key).unwrap();
        }
        drop(spool);
        // Another life of the keeper finds them, signed and in order.
        let spool = Spool::open(state.path()).unwrap();
        assert_eq!(spool.numbers().unwrap(), [1, 2, 3]);
        let envelope = Envelope::decode(&spool.read(2).unwrap().unwrap()).unwrap();
        let found = verify_by_host::<Receipt>(&envelope, key.public()).unwrap();
        assert_eq!(found.number, 2);
        spool.acknowledged(0).unwrap();
        assert_eq!(spool.numbers().unwrap(), [1, 2, 3]);
        spool.acknowledged(2).unwrap();
        assert_eq!(spool.numbers().unwrap(), [3]);
        assert_eq!(spool.read(2).unwrap(), None);
    }
}
