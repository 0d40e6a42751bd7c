//! The capability that only the start needs (`capabilities(7)`). It goes from the calling thread and
//! from all that it starts; with `no_new_privs`, which the unit sets, no program gets it back.

use std::io;

use rustix::thread::{CapabilitySet, CapabilitySets, capabilities, set_capabilities};

/// Gives up `CAP_SYS_ADMIN`. To be called before other threads are started.
pub fn give_up_administration() -> io::Result<()> {
    let CapabilitySets { effective, permitted, inheritable } = capabilities(None)?;
    let admin = CapabilitySet::SYS_ADMIN;
    let less = CapabilitySets {
        effective: effective - admin,
        permitted: permitted - admin,
        inheritable: inheritable - admin,
    };
    Ok(set_capabilities(None, less)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_given_up_is_gone_and_nothing_else() {
        std::thread::spawn(|| {
            let before = capabilities(None).unwrap();
            assert!(before.effective.contains(CapabilitySet::SYS_ADMIN), "this test needs root");
            give_up_administration().unwrap();
            let after = capabilities(None).unwrap();
            assert_eq!(before.effective - after.effective, CapabilitySet::SYS_ADMIN);
            assert_eq!(before.permitted - after.permitted, CapabilitySet::SYS_ADMIN);
        })
        .join()
        .unwrap();
    }
}
