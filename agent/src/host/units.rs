//! The agent's own units, which root stops for good when the host leaves.

use super::program::{Programs, Ran};

/// The keeper's and the courier's.
const UNITS: [&str; 2] = ["muster-agent-courier.service", "muster-agent.service"];

/// Why they could not be stopped.
#[derive(Debug, thiserror::Error)]
#[error("cannot stop and disable the agent's units: systemctl says {0}")]
pub struct NotStopped(String);

/// Stops them, and keeps them from starting with the system. Without systemd nothing has started
/// them.
pub fn retire() -> Result<(), NotStopped> {
    match Programs::System
        .run("systemctl", &[["disable", "--now", "--quiet"].as_slice(), &UNITS].concat())
    {
        Ran::Done | Ran::Missing => Ok(()),
        Ran::Failed(reason) => Err(NotStopped(reason)),
    }
}
