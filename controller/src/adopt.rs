//! Which of a host's own accounts are whose, worked out from what the host told and the directory.
//! Pure, and only a proposal: it is a file of adoptions for somebody to read, of which only what is
//! likely stands in force and all else as a comment. Texts of a host's stand in comments alone, and
//! escaped, so that no account can write an entry of its own.

mod names;
mod render;

use std::collections::BTreeSet;

use muster_proto::{
    derive::Statements,
    id::{HostId, Id},
    inventory::{Inventory, LocalAccount},
    name::Uid,
    revocations::Revocations,
    statement::{Content, LeafState, User},
};

pub(crate) use self::render::{quoted, shown};
pub use self::{names::Names, render::render};

/// What is proposed for one account.
#[derive(Clone, Debug)]
pub struct Proposed<'a> {
    /// The account.
    pub account: &'a LocalAccount,
    /// What becomes of it.
    pub verdict: Verdict<'a>,
}

/// What may become of an account.
#[derive(Clone, Debug)]
pub enum Verdict<'a> {
    /// It is a user's, who takes it over.
    Adopt {
        /// Whose.
        user: &'a User,
        /// The uid that it keeps.
        uid: Uid,
        /// What speaks for it.
        why: Evidence,
    },
    /// It has a user's login, and something speaks against its being that user's.
    Doubtful {
        /// Whose login it is.
        user: &'a User,
        /// What speaks for it.
        why: Evidence,
        /// What speaks against it.
        against: String,
    },
    /// It may be a user's, under another login: it cannot be taken over so.
    OtherLogin {
        /// Whose it may be.
        user: &'a User,
        /// What speaks for it.
        why: Evidence,
    },
    /// The directory has nobody like it.
    Nobody,
    /// An adoption of it is in the directory already.
    Adopted,
    /// No account of a person has this uid.
    System,
}

/// What speaks for an account's being a user's.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Evidence {
    /// Fingerprints of keys of the user's that let somebody in.
    pub keys: BTreeSet<String>,
    /// It has the login.
    pub login: bool,
    /// It has the uid.
    pub uid: bool,
    /// It has the full name.
    pub name: bool,
}

impl Evidence {
    fn of(account: &LocalAccount, user: &User) -> Self {
        let own: BTreeSet<String> =
            user.keys.iter().map(|key| key.key.shown_fingerprint()).collect();
        let name = user.name.as_str().trim();
        Self {
            keys: account.keys.iter().filter(|key| own.contains(*key)).cloned().collect(),
            login: account.login == user.login.as_str(),
            uid: account.uid == user.uid.get(),
            name: !name.is_empty() && account.name.trim().eq_ignore_ascii_case(name),
        }
    }

    fn is_any(&self) -> bool {
        *self != Self::default()
    }

    /// Says whether it is the login and nothing else: whoever makes an account chooses that.
    fn is_login_alone(&self) -> bool {
        self.login && self.keys.is_empty() && !self.uid && !self.name
    }

    /// Returns how sure it makes, in a word.
    pub fn surely(&self) -> &'static str {
        match (self.login, self.keys.is_empty(), self.uid || self.name) {
            (true, false, _) => "sure",
            (true, true, true) | (false, false, _) => "likely",
            (true, true, false) | (false, true, _) => "possible",
        }
    }
}

/// Returns what is proposed for each account of a host that is not Muster's.
pub fn propose<'a>(
    inventory: &'a Inventory,
    statements: &'a Statements,
    revocations: &Revocations,
    host: HostId,
) -> Vec<Proposed<'a>> {
    let live = statements.values().filter(|statement| {
        statement.content.state() == LeafState::Live && !revocations.ends(statement)
    });
    let mut users: Vec<(Id, &User)> = Vec::new();
    let mut adopted: BTreeSet<Id> = BTreeSet::new();
    for statement in live {
        match &statement.content {
            Content::User(user) => users.push((statement.id, user)),
            Content::Adoption(adoption) if adoption.host == host => {
                adopted.insert(adoption.user);
            }
            _ => {}
        }
    }
    let others = inventory.accounts.iter().filter(|account| !account.owned);
    others.map(|account| Proposed { account, verdict: judge(account, &users, &adopted) }).collect()
}

fn judge<'a>(
    account: &LocalAccount,
    users: &[(Id, &'a User)],
    adopted: &BTreeSet<Id>,
) -> Verdict<'a> {
    let Ok(uid) = Uid::parse(account.uid) else { return Verdict::System };
    let with = users.iter().map(|(id, user)| (Evidence::of(account, user), *id, *user));
    let mut with: Vec<_> = with.filter(|(why, _, _)| why.is_any()).collect();
    let own = with.iter().position(|(why, _, _)| why.login);
    let Some(own) = own else {
        // Keys first, then the uid, then the name.
        let best = with.into_iter().max_by_key(|(why, _, _)| (why.keys.len(), why.uid, why.name));
        return best.map_or(Verdict::Nobody, |(why, _, user)| Verdict::OtherLogin { user, why });
    };
    let (why, id, user) = with.swap_remove(own);
    if adopted.contains(&id) {
        return Verdict::Adopted;
    }
    let against = against(account, user, &why, &with);
    if against.is_empty() {
        return Verdict::Adopt { user, uid, why };
    }
    Verdict::Doubtful { user, why, against: against.join("; ") }
}

/// What speaks against an account's being the user's whose login it has; `others` are the other users
/// whom something speaks for. A key of hers makes up for none of it: a public key is no secret, and
/// whoever has an account puts into it which keys he likes.
fn against(
    account: &LocalAccount,
    user: &User,
    why: &Evidence,
    others: &[(Evidence, Id, &User)],
) -> Vec<String> {
    let mut against = Vec::new();
    let named = !account.name.trim().is_empty() && !user.name.as_str().trim().is_empty();
    if named && !why.name {
        against.push(format!("it is of `{}`, and {} is `{}`", account.name, user.login, user.name));
    }
    for (other, _, whose) in others {
        if other.uid {
            against.push(format!("its uid is {}'s", whose.login));
        }
        if !other.keys.is_empty() {
            against.push(format!("a key of {} lets somebody in", whose.login));
        }
    }
    if why.is_login_alone() && against.is_empty() {
        against.push("nothing else speaks for it".to_owned());
    }
    against
}

#[cfg(test)]
mod tests;
