//! Leaving: what root on the console asks for when the host leaves its fleet. The keeper is stopped
//! by then and does not start again until the host has joined. Floor and ledger stay, so that a
//! host that joins again knows what it knew; a stop at any point is made up for by leaving again.

use std::path::Path;

use muster_proto::{id::Digest, name::Login, receipt::Finding};

use super::{Keeper, KeeperError, turn::Turn};
use crate::{
    apply::{self, Applied, Reach},
    config::Config,
    host::{Host, state},
    leave,
    plan::leave::{Created, Leave, LeavePlan},
};

/// What leaving would do.
#[derive(Debug)]
pub struct Leaving<H> {
    keeper: Keeper<H>,
    planned: LeavePlan,
}

impl<H: Host> Leaving<H> {
    /// Looks at the host and says what leaving would do; nothing is changed.
    pub fn look(
        config: Config,
        directory: &Path,
        host: H,
        created: Created,
    ) -> Result<Self, KeeperError> {
        let mut keeper = Keeper::open_whole(config, directory, host)?;
        let time = keeper.clock.read(keeper.host.clocks());
        let mut turn = Turn::begin(&mut keeper)?;
        let look = turn.look(&time)?;
        let ownership = &turn.ledger.ownership;
        let leave = Leave::of(&look.desired, ownership, created);
        let policy = &turn.keeper.config.policy;
        let observed = turn.keeper.host.observe(&leave.scope(policy))?;
        let planned = leave.plan(&observed, ownership, policy, time.sure);
        Ok(Self { keeper, planned })
    }

    /// Says whether nothing of Muster's is on this host.
    pub fn is_nothing(&self) -> bool {
        let LeavePlan { plan, stays } = &self.planned;
        plan.is_empty() && plan.findings.is_empty() && stays.is_empty()
    }

    /// Returns what would be done, each with whom and what.
    pub fn notes(&self) -> impl Iterator<Item = (&'static str, &str, &str)> {
        let actions = self.planned.plan.actions.iter();
        let notes = actions.flat_map(|planned| &planned.notes);
        notes.map(|note| (note.word, note.subject.as_str(), note.detail.as_str()))
    }

    /// Returns who stays, each with how.
    pub fn stays(&self) -> &[(Login, &'static str)] {
        &self.planned.stays
    }

    /// Returns what cannot be done, and what people should know.
    pub fn findings(&self) -> &[Finding] {
        &self.planned.plan.findings
    }

    /// Leaves. That the host leaves is written down first, so that no keeper starts on a host that
    /// is half given back.
    pub fn leave(mut self) -> Result<(Digest, Applied), KeeperError> {
        leave::mark(&self.keeper.directory)?;
        let mut turn = Turn::begin(&mut self.keeper)?;
        let before = turn.ledger.ownership.clone();
        let plan = &self.planned.plan;
        let applied = apply::apply(plan, Reach::Everything, &before, &mut turn.keeper.host);
        // What failed is tried again from where it began: what was given back is given back again.
        if applied.outcomes.iter().all(|outcome| outcome.failure.is_none()) {
            turn.ledger.ownership = applied.ownership.clone();
            // Who lets the host join again may know nothing of what it has told.
            turn.ledger.drift.has_gap = true;
            turn.ledger.pause = None;
            let bytes = turn.ledger.encode();
            state::replace(&turn.keeper.directory.join("ledger"), &bytes, 0o600)?;
        }
        Ok((turn.ledger.lineage, applied))
    }
}
