//! How often one thing is told. What anybody can change of his own account without being root is
//! told at once, but some times in a minute only, and then as it is when that is over: else he fills
//! the spool with it, and the controller's history, until nothing older is left.

use std::collections::BTreeMap;

use muster_proto::drift::{Culprit, DriftKind};

use super::{super::What, Circumstances};

/// In so many seconds such a thing is told no more than [`AT_ONCE`] times.
pub const APART_SECONDS: u64 = 60;
/// Whoever does something and undoes it is told at once.
pub const AT_ONCE: u32 = 4;

/// What was told of such things a short time ago. Not kept over a restart, which only root can
/// make.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tellings {
    last: BTreeMap<What, Telling>,
    /// Seconds since boot when the first of what is held back is to be told.
    due: Option<u64>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Telling {
    /// Seconds since boot at the first.
    at: u64,
    /// How often since then.
    count: u32,
    /// Who was there alone since, at last.
    culprit: Option<Culprit>,
}

impl Tellings {
    /// Returns in how many seconds something that is held back is to be told.
    pub fn wait(&self, boot: u64) -> Option<u64> {
        self.due.map(|due| due.saturating_sub(boot))
    }

    /// Says whether something is held back.
    pub(super) fn is_due(&self) -> bool {
        self.due.is_some()
    }

    /// Begins a look, which finds all again that is to be held back.
    pub(super) fn begin(&mut self) {
        self.due = None;
    }

    /// Ends a look: what was told long enough ago is as if it never was.
    pub(super) fn end(&mut self, boot: u64) {
        self.last.retain(|_, telling| telling.is_recent(boot));
    }

    /// Says whether something that is news has to wait.
    pub(super) fn holds_back(&mut self, what: &What, at: &Circumstances<'_>) -> bool {
        let is_enough = |last: &&mut Telling| last.is_recent(at.boot) && last.count >= AT_ONCE;
        let Some(telling) = self.last.get_mut(what).filter(is_enough) else { return false };
        if let Some(culprit) = what.culprit(at.touches) {
            telling.culprit = Some(culprit.clone());
        }
        let due = telling.at.saturating_add(APART_SECONDS);
        self.due = Some(self.due.map_or(due, |other| other.min(due)));
        true
    }

    /// Says whether it was told a short time ago, so that it may be held back.
    pub(super) fn are_of(&self, what: &What) -> bool {
        self.last.contains_key(what)
    }

    /// Returns who did what is told now, or was held back until now, as far as it is known.
    pub(super) fn culprit<'a>(
        &'a self,
        what: &What,
        at: &Circumstances<'a>,
    ) -> Option<&'a Culprit> {
        let before = || self.last.get(what).and_then(|telling| telling.culprit.as_ref());
        what.culprit(at.touches).or_else(before)
    }

    /// Takes down that something is told.
    pub(super) fn told(&mut self, what: &What, boot: u64) {
        if !is_anybodys(what) {
            return;
        }
        let before = self.last.get(what).filter(|last| last.is_recent(boot));
        let (at, count) = before.map_or((boot, 0), |before| (before.at, before.count));
        let telling = Telling { at, count: count.saturating_add(1), culprit: None };
        self.last.insert(what.clone(), telling);
    }
}

impl Telling {
    fn is_recent(&self, boot: u64) -> bool {
        boot.saturating_sub(self.at) < APART_SECONDS
    }
}

/// Says whether one needs not be root to change it: his shell and his name by `chsh` and `chfn`,
/// his keys, his jobs and his processes.
fn is_anybodys(what: &What) -> bool {
    match what.kind {
        DriftKind::AccountNew | DriftKind::JobsBack | DriftKind::Running => true,
        DriftKind::KeysUngranted => what.subject != "root",
        DriftKind::AccountChanged => matches!(what.place.as_str(), "shell" | "name"),
        DriftKind::AccountMissing
        | DriftKind::AccountUnlocked
        | DriftKind::BreakGlass
        | DriftKind::EffectDiffers
        | DriftKind::HomeMissing
        | DriftKind::KeysChanged
        | DriftKind::MemberAdded
        | DriftKind::MemberMissing
        | DriftKind::MemberUngranted
        | DriftKind::PasswordPolicy
        | DriftKind::Sshd
        | DriftKind::SudoChanged
        | DriftKind::SudoForeign
        | DriftKind::UidZero
        | DriftKind::UnixGroupChanged => false,
    }
}
