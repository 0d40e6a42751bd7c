//! A log that takes the place of one that cannot be continued, such as after a controller was
//! restored from a backup: what an operator's tool asks of it before it goes on with it, once per
//! log and only at its operator's word.
//!
//! An attacker who holds the controller can begin one to hide what was in the log before. Its first
//! entry has to name a head that continues one that was seen; what was seen beyond that is kept and
//! told as lost.

use std::collections::BTreeMap;

use muster_proto::{id::Digest, link::LogHead};

use super::{LogFault, Seen, continues};
use crate::{
    audit::Beginning,
    tool::{Tool, ToolError},
};

/// A head and a later one of the same log, which has to continue it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step {
    /// The earlier head.
    pub old: LogHead,
    /// What the first entry of the next log names.
    pub new: LogHead,
}

/// What an operator leaves behind with the log before.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Accepted {
    /// The newest head that was seen of every log that was left just now.
    pub left: Vec<LogHead>,
    /// What the logs' first entries name.
    pub named: Vec<LogHead>,
}

impl Accepted {
    /// Returns, for every log that was left, its name and how many entries were seen that are gone.
    pub fn lost(&self) -> Vec<(&str, u64)> {
        let kept = |left: &LogHead| {
            let named = self.named.iter().filter(|named| named.origin == left.origin);
            named.map(|named| named.size).max().unwrap_or(0)
        };
        let lost = |left: &LogHead| left.size.saturating_sub(kept(left));
        self.left.iter().map(|left| (left.origin.as_str(), lost(left))).collect()
    }
}

impl Tool {
    /// Returns what has to be proved before the log with this head is accepted, by how logs began.
    pub fn steps_to(
        &self,
        head: &LogHead,
        beginnings: &[Beginning],
    ) -> Result<Vec<Step>, ToolError> {
        let seen = self.seen()?;
        let steps = self.steps(seen.as_ref(), head, beginnings);
        steps.or_else(|cause| Err(self.refused(seen.as_ref(), head, cause)?))
    }

    /// Goes on with the log that has this head: its beginning is what is seen of it from now on, and
    /// whatever was seen of others is left behind. That it continues its beginning, and each of
    /// these what was seen, is proved or nothing changes; a log that was left stays left.
    pub fn accept_log(
        &self,
        head: &LogHead,
        beginnings: &[Beginning],
        proofs: &BTreeMap<(String, u64), Vec<Digest>>,
    ) -> Result<Accepted, ToolError> {
        let seen = self.seen()?;
        let refused = |cause| self.refused(seen.as_ref(), head, cause);
        let steps = match self.steps(seen.as_ref(), head, beginnings) {
            Ok(steps) => steps,
            Err(cause) => return Err(refused(cause)?),
        };
        for Step { old, new } in &steps {
            let proof = proofs.get(&(old.origin.clone(), old.size)).map(Vec::as_slice);
            if let Err(cause) = continues(old, new, proof) {
                return Err(refused(cause)?);
            }
        }
        let mut newest: BTreeMap<&str, &LogHead> = BTreeMap::new();
        let known = seen.iter().flat_map(|seen| [&seen.head].into_iter().chain(&seen.left));
        for known in known.chain(self.links_heads(0)).filter(|known| known.origin != head.origin) {
            let kept = newest.entry(&known.origin).or_insert(known);
            if kept.size < known.size {
                *kept = known;
            }
        }
        let left: Vec<LogHead> = newest.into_values().cloned().collect();
        let was_left = |found: &LogHead| {
            seen.iter().flat_map(|seen| &seen.left).any(|left| left.origin == found.origin)
        };
        let named = beginnings.iter().map(|begun| begun.last.clone()).collect();
        let just_left = left.iter().filter(|left| !was_left(left)).cloned().collect();
        let accepted = Accepted { left: just_left, named };
        let links = seen.as_ref().map_or(0, |seen| seen.links);
        let begun = match (&seen, beginnings.last()) {
            (Some(seen), _) if seen.head.origin == head.origin => seen.head.clone(),
            (_, Some(begun)) => {
                LogHead { origin: head.origin.clone(), size: 1, root: begun.leaf() }
            }
            (_, None) => return Err(refused(LogFault::Unfounded { origin: head.origin.clone() })?),
        };
        self.remember(&Seen { head: begun, links, left })?;
        Ok(accepted)
    }

    fn steps(
        &self,
        seen: Option<&Seen>,
        head: &LogHead,
        beginnings: &[Beginning],
    ) -> Result<Vec<Step>, LogFault> {
        if seen.is_some_and(|seen| seen.head.origin == head.origin) {
            return Ok(Vec::new());
        }
        if seen.is_some_and(|seen| seen.has_left(&head.origin)) {
            return Err(LogFault::Left { origin: head.origin.clone() });
        }
        let lineage = self.chain.lineage();
        let mut following = head.origin.clone();
        let mut steps = Vec::new();
        let mut remaining = beginnings.iter().rev().peekable();
        while let Some(begun) = remaining.next() {
            if begun.origin(lineage) != following {
                return Err(LogFault::Unfounded { origin: following });
            }
            let step = |old| Step { old, new: begun.last.clone() };
            let known = self.known_of(seen, &begun.last);
            if !known.is_empty() {
                steps.extend(known.into_iter().map(step));
                return Ok(steps);
            }
            // Nothing was seen of this part of it: what it follows in its turn may have been.
            following.clone_from(&begun.last.origin);
            if let Some(earlier) = remaining.peek() {
                steps.push(step(LogHead {
                    origin: following.clone(),
                    size: 1,
                    root: earlier.leaf(),
                }));
            }
        }
        Err(match beginnings.first() {
            Some(begun) => {
                LogFault::Unseen { origin: begun.last.origin.clone(), size: begun.last.size }
            }
            None => LogFault::Unfounded { origin: following },
        })
    }

    /// Returns the heads that were seen of the log that ends with this one, and not beyond it: the
    /// newest of those that were shown to continue one another, and all that came in links since.
    fn known_of(&self, seen: Option<&Seen>, last: &LogHead) -> Vec<LogHead> {
        let of_it =
            |known: &&LogHead| known.origin == last.origin && (1..=last.size).contains(&known.size);
        let links = seen.map_or(0, |seen| seen.links);
        let heads = seen.into_iter().flat_map(|seen| [&seen.head].into_iter().chain(&seen.left));
        let checked = heads.chain((1..=links).filter_map(|number| self.chain.log_of(number)));
        let newest = checked.filter(of_it).max_by_key(|known| known.size);
        newest.into_iter().chain(self.links_heads(links).filter(of_it)).cloned().collect()
    }

    fn refused(
        &self,
        seen: Option<&Seen>,
        head: &LogHead,
        cause: LogFault,
    ) -> Result<ToolError, ToolError> {
        let kept = self.keep_evidence(seen.map(|seen| &seen.head), head, None)?;
        Ok(ToolError::Log { kept, cause })
    }
}
