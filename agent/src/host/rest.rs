//! Whether a host still is what the last look saw, without reading it again: what was asked of its
//! files is asked anew, and processes of Muster's accounts are looked for as ever. It is said only of
//! a look that can be repeated in full; all else counts as changed.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use muster_proto::{id::Digest, time::Timestamp};

use super::{
    files::{Asked, Dir},
    processes::{self, Owners},
};
use crate::observed::{ObservedState, Running, Scope};

/// Whether a host is as it was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub enum Still {
    /// Another look would see the same.
    AsItWas,
    /// It may see something else.
    Changed,
}

/// A look, as far as it can be asked again.
#[derive(Debug)]
pub(super) struct Looked {
    asked: Arc<Asked>,
    began: Timestamp,
    running: Processes,
}

/// A look that was old enough, and what answers it then got.
#[derive(Debug)]
pub(super) struct Remembered {
    asked: Arc<Asked>,
    answers: Digest,
    running: Processes,
}

/// What matters of the processes of accounts.
#[derive(Debug)]
struct Processes {
    owners: Owners,
    /// Accounts that shall have none.
    leaving: BTreeSet<u32>,
    seen: BTreeMap<u32, Running>,
}

impl Looked {
    pub(super) fn new(
        asked: Arc<Asked>,
        began: Timestamp,
        owners: Owners,
        scope: &Scope,
        observed: &ObservedState,
    ) -> Self {
        if !observed.elsewhere.is_empty() {
            // Another source of accounts was asked, whose answers nobody watches.
            asked.beyond();
        }
        let leaving: BTreeSet<u32> = scope.leaving.values().copied().collect();
        let seen = what_matters(observed.running.clone(), &leaving);
        Self { asked, began, running: Processes { owners, leaving, seen } }
    }

    /// Remembers the answers, unless something was so young that it may have changed since unseen.
    pub(super) fn remember(self, root: &Dir) -> Option<Remembered> {
        let Self { asked, began, running } = self;
        let answers = asked.again(root).filter(|answers| answers.had_settled(began))?;
        Some(Remembered { asked, answers: answers.digest, running })
    }
}

impl Remembered {
    pub(super) fn still(&self, root: &Dir) -> Still {
        let same_files =
            || self.asked.again(root).is_some_and(|answers| answers.digest == self.answers);
        if same_files() && self.running.are_the_same(root) {
            Still::AsItWas
        } else {
            Still::Changed
        }
    }
}

impl Processes {
    fn are_the_same(&self, root: &Dir) -> bool {
        let running = processes::running(root, &self.owners);
        running.is_ok_and(|running| what_matters(running, &self.leaving) == self.seen)
    }
}

/// How many there are matters of those who shall have none; of others, which Unix groups they hold.
fn what_matters(
    mut running: BTreeMap<u32, Running>,
    leaving: &BTreeSet<u32>,
) -> BTreeMap<u32, Running> {
    for (uid, running) in &mut running {
        if !leaving.contains(uid) {
            running.processes = 0;
        }
    }
    running
}

#[cfg(test)]
mod tests;
