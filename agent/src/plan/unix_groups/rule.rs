//! Which memberships of an account are taken away where nobody wants them: by its mode, by whether it
//! is kept, and by what Muster gave it.

use std::collections::{BTreeMap, BTreeSet};

use muster_proto::{name::UnixGroupName, privilege::is_root_equivalent, statement::UnixGroupMode};

use crate::plan::judge::{Judged, Standing};

/// What is taken of one account.
#[derive(Clone, Copy)]
pub(super) struct Rule<'a> {
    pub(super) stand: Stand,
    mode: UnixGroupMode,
    given: Option<&'a BTreeSet<UnixGroupName>>,
}

/// How an account stands.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Stand {
    /// It is kept as desired.
    Kept,
    /// It shall be, and nobody can say whose it is.
    Fenced,
    /// It shall be no longer.
    Leaving,
}

impl Rule<'_> {
    /// Says whether a membership that nobody wants is taken away.
    pub(super) fn takes(&self, unix_group: &str) -> bool {
        let is_given = self.given.is_some_and(|g| g.iter().any(|g| g.as_str() == unix_group));
        let is_root = is_root_equivalent(unix_group);
        match self.stand {
            Stand::Kept => is_given || self.mode == UnixGroupMode::Exactly,
            Stand::Fenced => is_given && is_root,
            Stand::Leaving => is_given || is_root || self.mode != UnixGroupMode::HandsOff,
        }
    }
}

/// Returns the rules of all accounts that Muster has to do with.
pub(super) fn rules<'a>(judged: &Judged<'a>) -> BTreeMap<&'a str, Rule<'a>> {
    let kept = judged.kept.iter().map(|(login, kept)| {
        let given = match &kept.standing {
            Standing::Held(_, owned) => Some(&owned.given),
            _ => None,
        };
        (login, Rule { stand: Stand::Kept, mode: kept.account.unix_group_mode, given })
    });
    let fenced = judged.fenced.iter().map(|(login, owned)| {
        (login, Rule { stand: Stand::Fenced, mode: owned.mode, given: Some(&owned.given) })
    });
    let leaving = judged.leaving.iter().map(|(login, leaving)| {
        let owned = leaving.owned;
        (login, Rule { stand: Stand::Leaving, mode: owned.mode, given: Some(&owned.given) })
    });
    kept.chain(fenced).chain(leaving).map(|(login, rule)| (login.as_str(), rule)).collect()
}
