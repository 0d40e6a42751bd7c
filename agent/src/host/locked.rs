//! What is left of a locked account, by what the system itself says once its processes have ended:
//! nothing of it may be believed because it was asked for.

use std::collections::BTreeSet;

use muster_proto::statement::UserKind;

use crate::{
    format::{
        Table,
        shadow::{self, Password},
        ssh,
    },
    plan::Leaver,
};

use super::{
    chain,
    files::Dir,
    jobs::{self, Jobs},
};

/// What the files say of the accounts.
#[derive(Debug)]
pub(super) struct Look {
    jobs: Jobs,
    shadow: Table,
    keys: BTreeSet<String>,
}

impl Look {
    /// Looks after the processes have ended; in words why that is not possible.
    pub(super) fn again(root: &Dir, leavers: &[(&Leaver, UserKind)]) -> Result<Self, String> {
        let look = |root: &Dir| Jobs::observe(root).map_err(|error| chain(&error));
        let mut jobs = look(root)?;
        // A process may have put a crontab in place while it was being ended.
        let is_back = |leaver: &Leaver| !jobs.of(leaver.login.as_str(), leaver.uid).is_empty();
        let back: Vec<&Leaver> =
            leavers.iter().map(|(leaver, _)| *leaver).filter(|leaver| is_back(leaver)).collect();
        if !back.is_empty() {
            for leaver in back {
                // What that could not do is seen by the look that follows.
                let _ = jobs::set_one_aside(root, leaver);
            }
            jobs = look(root)?;
        }
        let shadow = root.need("etc").and_then(|etc| etc.read("shadow"));
        let shadow = shadow.map_err(|error| chain(&error))?.map(|(text, _)| text);
        let shadow = Table::parse(shadow.unwrap_or_default()).map_err(|error| chain(&error))?;
        let keys = root
            .walk(ssh::KEYS_DIRECTORY)
            .and_then(|dir| dir.map_or(Ok(Vec::new()), |dir| dir.names()));
        let keys = keys.map_err(|error| chain(&error))?.into_iter().collect();
        Ok(Self { jobs, shadow, keys })
    }

    /// Returns what is left of an account, in words.
    pub(super) fn left(&self, leaver: &Leaver, kind: UserKind) -> Vec<&'static str> {
        let login = leaver.login.as_str();
        let mut left = self.jobs.of(login, leaver.uid);
        if self.keys.contains(login) {
            left.push("a file of keys");
        }
        // Without a line nobody is let in.
        if let Some(entry) = self.shadow.get(login) {
            if Password::of(entry.field(shadow::PASSWORD)) != Password::Locked {
                left.push("a password that is not locked");
            }
            if kind == UserKind::Person && entry.field(shadow::EXPIRE) != b"1" {
                left.push("an account that is not expired");
            }
        }
        left
    }
}
