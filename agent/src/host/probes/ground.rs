//! What lies around sudo and PAM on a host: whether PAM can be asked at all, and whether somebody
//! was at the configuration of either. Nothing in it is understood here; that it is another is
//! enough to ask.

use std::hash::{DefaultHasher, Hash, Hasher};

use super::super::{
    files::{Dir, FileError},
    inquiry::{AskPam, SERVICE},
    names,
    pam_files::{self, Check},
};
use crate::{format::pam::is_remembered, observed::ObservedState};

/// Where PAM and its modules are told what to do.
const PAM_PLACES: [&str; 3] = ["etc/pam.d", "usr/lib/pam.d", SECURITY];
/// Where the modules are, and where some of them remember things.
const SECURITY: &str = "etc/security";

/// What somebody else's configuration is like, each in one number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Marks {
    pub(super) sudo: u64,
    pub(super) pam: u64,
}

/// Whether PAM's account check is part of a login over ssh, as far as sshd says so.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(in crate::host) enum UsesPam {
    /// It is.
    Yes,
    /// It is not, or that is not known.
    #[default]
    No,
}

/// Says whether PAM can be asked: only by an account check that changes nothing, since `pam_faillock`
/// takes each one for a login that went well and forgets how often somebody has guessed. While the
/// system starts or stops, `pam_nologin` lets nobody in.
pub(super) fn ask_pam(root: &Dir, uses_pam: UsesPam) -> AskPam {
    let is_there = |path: &str, name: &str| {
        let dir = root.walk(path).ok().flatten();
        dir.is_some_and(|dir| dir.stat(name).is_ok_and(|found| found.is_some()))
    };
    match (uses_pam, pam_files::account_check(root, SERVICE)) {
        (UsesPam::No, _) => AskPam::Unused,
        (UsesPam::Yes, Check::MayAct(reason)) => AskPam::No(reason),
        (UsesPam::Yes, Check::OnlyLooks) if is_there("run", "nologin") => AskPam::NotNow,
        (UsesPam::Yes, Check::OnlyLooks) => AskPam::Yes,
    }
}

/// Reads what tells whether somebody was at it.
pub(super) fn marks(root: &Dir, observed: &ObservedState) -> Result<Marks, FileError> {
    let mut sudo = DefaultHasher::new();
    names::configuration(root)?.hash(&mut sudo);
    format!("{:?}", observed.foreign_sudo).hash(&mut sudo);
    if let Some(etc) = root.walk("etc")? {
        mark(&etc, "sudo.conf", &mut sudo)?;
    }
    Ok(Marks { sudo: sudo.finish(), pam: pam_mark(root)? })
}

/// The same of PAM's alone.
pub(in crate::host) fn pam_mark(root: &Dir) -> Result<u64, FileError> {
    let mut pam = DefaultHasher::new();
    if let Some(etc) = root.walk("etc")? {
        mark(&etc, "nologin", &mut pam)?;
    }
    for place in PAM_PLACES {
        let Some(dir) = root.walk(place)? else { continue };
        for name in dir.names()? {
            if place != SECURITY || !is_remembered(&name) {
                mark(&dir, &name, &mut pam)?;
            }
        }
    }
    Ok(pam.finish())
}

fn mark(dir: &Dir, name: &str, hasher: &mut DefaultHasher) -> Result<(), FileError> {
    name.hash(hasher);
    if let Some(found) = dir.stat(name)? {
        let stamp = (found.st_ino, found.st_size, found.st_ctime, found.st_ctime_nsec);
        stamp.hash(hasher);
    }
    Ok(())
}
