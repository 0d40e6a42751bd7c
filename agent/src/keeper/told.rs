//! What the keeper leaves in /run for others on this host: when the controller was heard, for whoever
//! asks why nothing comes, and what times were signed, for the courier's TLS. Neither is
//! a secret, and the keeper itself reads neither again.

use std::path::{Path, PathBuf};

use muster_proto::time::Timestamp;

use super::Keeper;
use crate::{
    clock::Told,
    host::{
        Host, chain,
        state::{self, StateError},
    },
};

/// What was told last, and where.
#[derive(Debug, Default)]
pub(super) struct Notes {
    heard: Timestamp,
    heard_in: Option<PathBuf>,
    time: Option<Told>,
    time_in: Option<PathBuf>,
}

impl<H: Host> Keeper<H> {
    /// Has it written in this file when the controller was heard: who asks why nothing comes can see
    /// since when.
    pub fn tell_heard_in(&mut self, path: &Path) {
        self.notes.heard_in = Some(path.to_owned());
    }

    /// Has it written in this file what times were signed, from now on.
    pub fn tell_time_in(&mut self, path: &Path) {
        self.notes.time_in = Some(path.to_owned());
        self.tell_time();
    }

    /// Writes down when a checkpoint was made.
    pub(super) fn tell_heard(&mut self, time: Timestamp) {
        if time <= self.notes.heard {
            return;
        }
        self.notes.heard = time;
        let Some(path) = &self.notes.heard_in else { return };
        if let Err(error) = state::replace(path, time.0.to_string().as_bytes(), 0o600) {
            tracing::warn!(error = %chain(&error), "cannot say when the controller was heard");
        }
    }

    /// Writes down what times were signed, unless whoever carries forward what stands there comes
    /// to the same. What was told and holds no more, since its key was rotated, goes.
    pub(super) fn tell_time(&mut self) {
        let Some(path) = &self.notes.time_in else { return };
        let clocks = self.host.clocks();
        let told = self.clock.told(clocks);
        if self.notes.time.map(|told| told.carried(clocks)) == told {
            return;
        }
        match write(path, told) {
            Ok(()) => self.notes.time = told,
            Err(error) => {
                tracing::warn!(error = %chain(&error), "cannot tell the courier what time it is");
            }
        }
    }
}

/// For everybody: the courier is not root, and it is no secret.
fn write(path: &Path, told: Option<Told>) -> Result<(), StateError> {
    match told {
        Some(told) => state::replace(path, told.to_string().as_bytes(), 0o644),
        None => state::remove(path),
    }
}
