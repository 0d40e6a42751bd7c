//! That a host has left its fleet: one file beside the ledger. The keeper does not start while it is
//! there; joining again takes it away.

use std::path::Path;

use crate::host::state::{self, StateError};

const MARKER: &str = "left";

/// Says whether the host has left, or was stopped while leaving.
pub fn has_left(keeper: &Path) -> Result<bool, StateError> {
    Ok(state::read(&keeper.join(MARKER))?.is_some())
}

/// Writes down that the host leaves.
pub fn mark(keeper: &Path) -> Result<(), StateError> {
    state::replace(&keeper.join(MARKER), b"this host has left its fleet\n", 0o600)
}

/// Takes that back: the host has joined again.
pub fn unmark(keeper: &Path) -> Result<(), StateError> {
    state::remove(&keeper.join(MARKER))
}

/// Takes away what the courier reaches the controller with.
pub fn forget_controller(courier: &Path) -> Result<(), StateError> {
    ["identity", "controller", "ca.der"]
        .iter()
        .try_for_each(|name| state::remove(&courier.join(name)))
}
