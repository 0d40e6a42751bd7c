//! When the accounts of a host are told: at the first look, and whenever they have become others. The
//! memory of it is not kept, so that whoever starts the keeper has them told anew.

use muster_proto::{crypto::sha256, id::Digest, inventory::Inventory, receipt::Trigger};

use super::{portions, turn::Turn};
use crate::{
    host::Host,
    inventory::{self, Sources, emergency::Emergency},
    observed::ObservedState,
};

/// So many seconds lie between two tellings that nobody waits for: somebody who changes his own
/// account again and again must not fill the spool with all of them.
const APART: u64 = 60;

/// What was told of the accounts of a host.
#[derive(Debug, Default)]
pub(super) struct Counted {
    /// What they were counted from, the last time.
    from: Option<Digest>,
    told: Option<Digest>,
    /// When that was told, in seconds since the machine was started.
    at: Option<u64>,
    /// What is to be told.
    pub(super) untold: Option<Inventory>,
    /// What the accounts for an emergency had come to by then.
    pub(super) emergency: Emergency,
}

impl Counted {
    /// Says whether what is untold is to be told now.
    pub(super) fn is_due(&self, trigger: Trigger, boot: u64) -> bool {
        let awaited = matches!(trigger, Trigger::Start | Trigger::Bundle);
        let soon = self.at.is_some_and(|at| boot < at.saturating_add(APART));
        self.untold.is_some() && (awaited || !soon)
    }

    /// Notes what there is, and says so if it is another than what was told.
    fn count(&mut self, found: Inventory) {
        let digest = sha256(&[format!("{found:?}").as_bytes()]);
        self.untold = (self.told != Some(digest)).then_some(found);
    }

    /// What was told is lost: all is counted and told anew.
    pub(super) fn forget(&mut self) {
        (self.from, self.told) = (None, None);
    }

    /// It was told.
    pub(super) fn told(&mut self, inventory: &Inventory, boot: u64) {
        self.told = Some(sha256(&[format!("{inventory:?}").as_bytes()]));
        self.at = Some(boot);
    }
}

impl<H: Host> Turn<'_, H> {
    /// Counts the accounts anew if anything has changed from which they are counted, those for an
    /// emergency among them.
    pub(super) fn count(&mut self, observed: &ObservedState, sources: &Sources, today: u64) {
        let ownership = &self.ledger.ownership;
        let names = &self.keeper.config.policy.break_glass;
        let rest = format!("{today} {:?} {names:?}", ownership.accounts.keys());
        let from = basis(observed, sources, &rest);
        if self.keeper.counted.from == Some(from) {
            return;
        }
        let found = inventory::inventory(observed, ownership, sources, today);
        self.keeper.counted.emergency = Emergency::of(names, observed, ownership, sources, today);
        self.keeper.counted.count(portions::inventory(found));
        self.keeper.counted.from = Some(from);
    }
}

fn basis(observed: &ObservedState, sources: &Sources, rest: &str) -> Digest {
    let tables = [&observed.passwd, &observed.shadow, &observed.group];
    let tables = tables.map(|table| sha256(&[table.text()]));
    let keys = observed
        .keys
        .iter()
        .map(|(name, file)| sha256(&[name.as_bytes(), &[0, u8::from(file.sound)], &file.text]));
    let digests: Vec<Digest> = tables.into_iter().chain(keys).collect();
    let mut parts: Vec<&[u8]> = digests.iter().map(|digest| digest.as_bytes().as_slice()).collect();
    let sources = format!("{sources:?} {rest}");
    parts.push(sources.as_bytes());
    sha256(&parts)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn accounts_are_told_when_they_are_others_and_not_again_too_soon() {
        let inventory = |more| Inventory { more, ..Inventory::default() };
        let mut counted = Counted::default();
        assert!(!counted.is_due(Trigger::Start, 0));
        counted.count(inventory(0));
        assert!(counted.is_due(Trigger::Scan, 5));
        counted.told(&counted.untold.clone().unwrap(), 5);
        counted.count(inventory(0));
        assert_eq!(counted.untold, None);
        counted.count(inventory(1));
        assert!(!counted.is_due(Trigger::Change, 5 + APART - 1));
        assert!(counted.is_due(Trigger::Bundle, 6));
        assert!(counted.is_due(Trigger::Change, 5 + APART));
        // What has become as it was told is nothing to tell, unless that was lost.
        counted.count(inventory(0));
        assert!(!counted.is_due(Trigger::Start, 5 + APART));
        counted.forget();
        counted.count(inventory(0));
        assert!(counted.is_due(Trigger::Start, 5 + APART));
    }
}
