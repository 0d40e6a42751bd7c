//! How much the controller's online key may take away here, pure. Whoever steals it can revoke, and
//! must not be able to lock everybody out at once: what it revokes counts until a window of time is
//! used up, and the rest is held until an approver signs the same. What an approver has signed, a
//! change or a date takes away is never weighed here.

use std::collections::{BTreeMap, BTreeSet};

use muster_proto::{
    name::Login,
    time::{Now, Timestamp},
};

/// How much may be taken away in a window.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limit {
    accounts: usize,
    percent: usize,
    hours: u64,
}

/// Why there is no such limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadLimit {
    /// So many accounts no host has.
    #[error("online_revocation_accounts: from 0 to {}", Limit::MOST_ACCOUNTS)]
    Accounts,
    /// More than all of them.
    #[error("online_revocation_percent: from 0 to 100")]
    Percent,
    /// No time at all, or years.
    #[error("online_revocation_hours: from 1 to {}", Limit::MOST_HOURS)]
    Hours,
}

impl Limit {
    /// The most accounts that can be named.
    pub const MOST_ACCOUNTS: usize = 100_000;
    /// The longest window.
    pub const MOST_HOURS: u64 = 8_760;

    /// Takes each number, or what holds without it: three accounts or 20 % of them in a day.
    pub fn parse(
        accounts: Option<usize>,
        percent: Option<usize>,
        hours: Option<u64>,
    ) -> Result<Self, Vec<BadLimit>> {
        let limit = Self {
            accounts: accounts.unwrap_or(3),
            percent: percent.unwrap_or(20),
            hours: hours.unwrap_or(24),
        };
        let faults = [
            (limit.accounts > Self::MOST_ACCOUNTS, BadLimit::Accounts),
            (limit.percent > 100, BadLimit::Percent),
            (!(1..=Self::MOST_HOURS).contains(&limit.hours), BadLimit::Hours),
        ];
        let faults: Vec<BadLimit> =
            faults.into_iter().filter(|(is_bad, _)| *is_bad).map(|(_, fault)| fault).collect();
        if faults.is_empty() { Ok(limit) } else { Err(faults) }
    }

    /// Returns of how many accounts, out of so many, something may be taken in a window.
    pub fn most(&self, accounts: usize) -> usize {
        (accounts.saturating_mul(self.percent) / 100).max(self.accounts)
    }

    /// Returns how long a window is.
    pub fn hours(&self) -> u64 {
        self.hours
    }
}

/// So many of what waits are looked at one by one in a turn: whoever holds the online key can send
/// thousands.
pub const MOST_TRIED: usize = 64;

/// Who has lost something in the window, and when the last time.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Window {
    /// By login.
    pub taken: BTreeMap<Login, Timestamp>,
}

/// What becomes of one that waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub enum Verdict {
    /// It takes effect now, and for good.
    Admitted,
    /// It takes nothing from anybody as things are, and is looked at again when they are otherwise:
    /// or traps that were laid beforehand would close all at once.
    Idle,
    /// It has no effect. So many more accounts would lose something by it, if that was looked at.
    Held(Option<usize>),
}

impl Window {
    /// Decides on what waits, in its order. `losers` says who loses something by these together: each
    /// grant rests on statements that must all be there, so that is whoever loses something by any of
    /// them. Whoever has lost something in the window may lose more: he is counted once.
    pub fn weigh<K>(
        &mut self,
        waiting: &[K],
        (limit, accounts): (&Limit, usize),
        now: Now,
        mut losers: impl FnMut(&[K]) -> BTreeSet<Login>,
    ) -> Vec<Verdict> {
        self.pass(limit, now);
        if waiting.is_empty() || losers(waiting).is_empty() {
            return vec![Verdict::Idle; waiting.len()];
        }
        let most = limit.most(accounts);
        let verdict = |(tried, one): (usize, &K)| {
            if tried >= MOST_TRIED {
                return Verdict::Held(None);
            }
            let lose = losers(std::slice::from_ref(one));
            if lose.is_empty() {
                return Verdict::Idle;
            }
            let new = lose.iter().filter(|login| !self.taken.contains_key(*login)).count();
            if new > 0 && self.taken.len() + new > most {
                return Verdict::Held(Some(new));
            }
            self.taken.extend(lose.into_iter().map(|login| (login, now.latest)));
            Verdict::Admitted
        };
        waiting.iter().enumerate().map(verdict).collect()
    }

    /// Forgets who lost something longer ago than a window. That has passed only when every clock
    /// says so, and a time ahead of all of them was written under a wrong one: it counts as now.
    fn pass(&mut self, limit: &Limit, now: Now) {
        self.taken.values_mut().for_each(|at| *at = (*at).min(now.latest));
        self.taken.retain(|_, at| now.earliest.since(*at) < limit.hours * 3_600);
    }
}

#[cfg(test)]
mod tests;
