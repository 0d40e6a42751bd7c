//! Stops whatever is done to files at a chosen point, as a crash would.

use std::sync::{
    Mutex,
    atomic::{AtomicBool, Ordering},
};

use super::FileError;

/// Says before and after each step whether to stop there.
type Hook = Box<dyn FnMut(&str) -> bool + Send>;

/// A fault that happens at a chosen point; from then on nothing is done any more.
pub struct Faults {
    hook: Mutex<Option<Hook>>,
    stopped: AtomicBool,
}

impl std::fmt::Debug for Faults {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Faults")
    }
}

impl Faults {
    /// Nothing ever stops.
    pub fn none() -> Self {
        Self { hook: Mutex::new(None), stopped: AtomicBool::new(false) }
    }

    /// Stops where the hook says so.
    pub fn at(hook: impl FnMut(&str) -> bool + Send + 'static) -> Self {
        Self { hook: Mutex::new(Some(Box::new(hook))), stopped: AtomicBool::new(false) }
    }

    /// Says whether it has happened.
    pub fn stopped(&self) -> bool {
        self.stopped.load(Ordering::Relaxed)
    }

    pub(super) fn pass(&self, point: &str) -> Result<(), FileError> {
        if self.stopped() {
            return Err(FileError::Stopped);
        }
        if let Ok(mut hook) = self.hook.lock()
            && hook.as_mut().is_some_and(|hook| hook(point))
        {
            self.stopped.store(true, Ordering::Relaxed);
            return Err(FileError::Stopped);
        }
        Ok(())
    }
}
