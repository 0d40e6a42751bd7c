//! Uids and gids: the one for ever, the one asked for, or the next free one; never one twice.

use std::collections::{BTreeMap, BTreeSet};

use muster_proto::{chain::Chain, id::Kind};

use super::{Entry, Fault};
use crate::declare::{
    Declared,
    fault::ResolveError,
    text::{Number, Text},
};

/// The numbers that are or were somebody's, those chosen here included.
pub(super) struct Numbers<'g> {
    chain: &'g Chain,
    uids: BTreeSet<u32>,
    gids: BTreeSet<u32>,
    claimed: BTreeMap<u32, String>,
    /// Those that the files ask for: not chosen for anything else, whatever comes first.
    asked: BTreeSet<u32>,
}

impl<'g> Numbers<'g> {
    pub(super) fn of(chain: &'g Chain) -> Self {
        let taken = chain.taken();
        let uids = taken.uids.keys().map(|uid| uid.get()).collect();
        let gids = taken.gids.keys().map(|gid| gid.get()).collect();
        Self { chain, uids, gids, claimed: BTreeMap::new(), asked: BTreeSet::new() }
    }

    /// Notes what the files ask for.
    pub(super) fn note(&mut self, declared: &Declared) {
        let uids = declared.users.values().filter_map(|user| user.uid.as_ref());
        let gids = declared.unix_groups.values().filter_map(|group| group.gid.as_ref());
        self.asked.extend(uids.chain(gids).map(|number| number.value.0));
    }

    fn is_free(&self, number: u32) -> bool {
        !self.uids.contains(&number) && !self.gids.contains(&number)
    }

    /// Settles an entry's number.
    pub(super) fn settle(
        &mut self,
        entry: Entry<'_>,
        known: Option<u32>,
        asked: Option<&Text<Number>>,
    ) -> Result<u32, Fault> {
        let (kind, name) = (entry.kind, entry.name.to_owned());
        let what = if kind == Kind::User { "uid" } else { "gid" };
        match (known, asked) {
            (Some(known), Some(asked)) if known != asked.value.0 => {
                let what = format!("{what} {known}");
                Err(Fault { at: asked.at, error: ResolveError::Fixed { kind, name, what } })
            }
            (Some(known), _) => Ok(known),
            (None, Some(asked)) if !self.is_free(asked.value.0) => {
                let (owner, what) =
                    (self.owner(asked.value.0), format!("{what} {}", asked.value.0));
                Err(Fault { at: asked.at, error: ResolveError::Taken { kind, name, what, owner } })
            }
            (None, Some(asked)) => Ok(self.claim(entry, asked.value.0)),
            (None, None) => {
                let limits = &self.chain.trust().limits;
                let (first, last) = if kind == Kind::User { limits.uids } else { limits.gids };
                let free = (first..=last)
                    .find(|number| self.is_free(*number) && !self.asked.contains(number));
                let error = ResolveError::Exhausted(what);
                Ok(self.claim(entry, free.ok_or(Fault { at: entry.at, error })?))
            }
        }
    }

    fn claim(&mut self, entry: Entry<'_>, number: u32) -> u32 {
        self.claimed.insert(number, format!("{} `{}`", entry.kind, entry.name));
        let own = if entry.kind == Kind::User { &mut self.uids } else { &mut self.gids };
        own.insert(number);
        number
    }

    fn owner(&self, number: u32) -> String {
        let taken = self.chain.taken();
        let login = taken.uids.iter().find(|(uid, _)| uid.get() == number).and_then(|(_, id)| {
            taken.logins.iter().find(|(_, owner)| *owner == id).map(|(login, _)| login)
        });
        let here = || self.claimed.get(&number).cloned().unwrap_or_else(|| "another one".into());
        login.map_or_else(here, |login| format!("user `{login}`"))
    }
}
