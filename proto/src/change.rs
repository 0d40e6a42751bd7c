//! The rules of a valid directory, and what a link's body makes of the one before. Everybody who
//! recomputes a directory root applies them, so nobody has to be believed for them.

mod fold;
mod taken;

use std::collections::BTreeSet;

use self::fold::is_fold;
pub use self::{fold::fold, taken::Taken};

use crate::{
    derive::Statements,
    envelope::Document,
    id::{Digest, HostId, Id, Kind},
    link::LinkBody,
    name::Login,
    revocations::Revocations,
    statement::{Content, LeafState, Statement},
};

/// Which rule a change breaks.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadChange {
    /// One id twice in a link.
    #[error("statement {0} is changed twice")]
    Twice(Id),
    /// The statement belongs to another fleet.
    #[error("statement {0} belongs to another fleet")]
    Lineage(Id),
    /// Its predecessor is no longer the newest.
    #[error("{kind} {id} was changed meanwhile: revision {found} does not follow revision {known}")]
    Stale {
        /// What it is about.
        kind: Kind,
        /// Its id.
        id: Id,
        /// The newest revision.
        known: u64,
        /// What came.
        found: u64,
    },
    /// An id changes what it is about.
    #[error("{id} is a {known} and cannot become a {found}")]
    Kind {
        /// The id.
        id: Id,
        /// What it is.
        known: Kind,
        /// What it would become.
        found: Kind,
    },
    /// A host's id for something else, or something else's for a host.
    #[error("{0} is a host's id or an object's, and the statement is about the other")]
    IdForm(Id),
    /// One account of one host for one user is adopted twice.
    #[error("user {user} adopts an account of host {} already", .host.short())]
    AdoptedTwice {
        /// The user.
        user: Id,
        /// The host.
        host: HostId,
    },
    /// An adoption of an account that has another login than its user.
    #[error("adoption {0} names another login than its user has")]
    AdoptedLogin(Id),
    /// Something other than a user comes back under the id of what was removed. A user who returns
    /// has the login, uid and id of before.
    #[error("{kind} {id} was removed; what comes back is new and has an id of its own")]
    Removed {
        /// What it was about.
        kind: Kind,
        /// Its id.
        id: Id,
    },
    /// A revision takes back what an earlier one did not list.
    #[error("{0} forgets revocations that an earlier revision took back")]
    Forgets(Id),
    /// A revoked statement comes back without saying so.
    #[error("{id} was revoked and does not list revocation {revocation} under what it reinstates")]
    NotReinstated {
        /// The statement.
        id: Id,
        /// The revocation.
        revocation: Id,
    },
    /// A revoked key.
    #[error("`{login}` has the key {} that was revoked and is not reinstated", .key.short())]
    RevokedKey {
        /// Whose.
        login: Login,
        /// Its fingerprint.
        key: Digest,
    },
    /// A revoked membership.
    #[error("`{login}` is in group {group}, which was revoked and is not reinstated")]
    RevokedMembership {
        /// Whose.
        login: Login,
        /// In which group.
        group: Id,
    },
    /// What never changes.
    #[error("{what} of {id} never changes")]
    Fixed {
        /// What.
        what: &'static str,
        /// Of which statement.
        id: Id,
    },
    /// A name or number that was given to something else.
    #[error("{what} `{name}` is taken, or was: it is never given again")]
    Taken {
        /// What.
        what: &'static str,
        /// Which.
        name: String,
    },
    /// A reference to nothing, or to something of another kind.
    #[error("{kind} `{name}` refers to {target}, which {why}")]
    Reference {
        /// What refers.
        kind: Kind,
        /// Which.
        name: String,
        /// To what.
        target: Id,
        /// What is wrong.
        why: &'static str,
    },
    /// It ends before it begins.
    #[error("{kind} `{name}` ends before it begins")]
    Dates {
        /// What.
        kind: Kind,
        /// Which.
        name: String,
    },
    /// A fold that is not what the revocations come to.
    #[error("the fold of {0} is not what the revocations make of it")]
    Fold(Id),
}

/// Applies a link's body, or says which rule it breaks; then nothing is to be kept.
pub(crate) fn apply(
    statements: &mut Statements,
    taken: &mut Taken,
    revocations: &Revocations,
    lineage: Digest,
    body: &LinkBody,
) -> Result<(), BadChange> {
    let mut seen = BTreeSet::new();
    for statement in body.all() {
        if !seen.insert(statement.id) {
            return Err(BadChange::Twice(statement.id));
        }
        if statement.lineage != lineage {
            return Err(BadChange::Lineage(statement.id));
        }
        succeed(statements.get(&statement.id), statement)?;
        check_own(statement)?;
    }
    for found in &body.folds {
        if !is_fold(statements.get(&found.id), found, revocations) {
            return Err(BadChange::Fold(found.id));
        }
    }
    for statement in body.all() {
        if let Some(old) = statements.insert(statement.id, statement.clone()) {
            taken.release(&old);
        }
    }
    for statement in body.all() {
        taken.take(statement)?;
    }
    statements.values().try_for_each(|statement| check_references(statement, statements))?;
    check_adoptions(statements)
}

/// On one host a user adopts one account, the one with her login.
fn check_adoptions(statements: &Statements) -> Result<(), BadChange> {
    let mut seen = BTreeSet::new();
    for statement in statements.values() {
        let Content::Adoption(adoption) = &statement.content else { continue };
        let (user, host) = (adoption.user, adoption.host);
        if !seen.insert((user, host)) {
            return Err(BadChange::AdoptedTwice { user, host });
        }
        if let Some(Content::User(found)) = statements.get(&user).map(|s| &s.content)
            && found.login != adoption.login
        {
            return Err(BadChange::AdoptedLogin(statement.id));
        }
    }
    Ok(())
}

/// Refuses what nobody should sign: a key or a membership that was revoked and is not reinstated.
/// This is a rule for those who cut and sign, not for those who recompute old links, and not for
/// folds: one that takes an approver's revocation in may leave what the online key alone has revoked.
pub(crate) fn check_signable(body: &LinkBody, revocations: &Revocations) -> Result<(), BadChange> {
    for statement in &body.statements {
        let Content::User(user) = &statement.content else { continue };
        for key in &user.keys {
            let fingerprint = key.key.fingerprint();
            if revocations.ends_key(&fingerprint, &statement.reinstates) {
                let login = user.login.clone();
                return Err(BadChange::RevokedKey { login, key: fingerprint });
            }
        }
        let ended =
            |group: &&Id| revocations.ends_membership(&statement.id, group, &statement.reinstates);
        if let Some(group) = user.groups.iter().find(ended) {
            let (login, group) = (user.login.clone(), *group);
            return Err(BadChange::RevokedMembership { login, group });
        }
    }
    Ok(())
}

/// Refuses a statement that a revocation still ends: hosts that hold the revocation would go on
/// refusing it and hosts that do not would not, so nobody should sign it.
pub(crate) fn check_reinstated(
    body: &LinkBody,
    revocations: &Revocations,
) -> Result<(), BadChange> {
    let live = body.statements.iter().filter(|s| s.content.state() == LeafState::Live);
    for statement in live {
        if let Some(revocation) = revocations.of_statement(statement) {
            return Err(BadChange::NotReinstated { id: statement.id, revocation });
        }
    }
    Ok(())
}

fn succeed(old: Option<&Statement>, new: &Statement) -> Result<(), BadChange> {
    let id = new.id;
    if matches!(id, Id::Host(_)) != (new.content.kind() == Kind::Host) {
        return Err(BadChange::IdForm(id));
    }
    let known = old.map_or(0, |old| old.revision);
    let stale = || BadChange::Stale { kind: new.content.kind(), id, known, found: new.revision };
    if Some(new.revision) != known.checked_add(1) || new.previous != old.map(Document::digest) {
        return Err(stale());
    }
    let Some(old) = old else { return Ok(()) };
    let (was, is) = (old.content.kind(), new.content.kind());
    if was != is {
        return Err(BadChange::Kind { id, known: was, found: is });
    }
    let returns = matches!(new.content, Content::User(_));
    if old.content.state() == LeafState::Removed && !returns {
        return Err(BadChange::Removed { kind: was, id });
    }
    if !new.reinstates.is_superset(&old.reinstates) {
        return Err(BadChange::Forgets(id));
    }
    if let Content::Revoked { revocation, .. } = &old.content
        && new.content.state() == LeafState::Live
        && !new.reinstates.contains(revocation)
    {
        return Err(BadChange::NotReinstated { id, revocation: *revocation });
    }
    let fixed = |what| Err(BadChange::Fixed { what, id });
    match (&old.content, &new.content) {
        (Content::User(a), Content::User(b)) if a.login != b.login => fixed("the login"),
        (Content::User(a), Content::User(b)) if a.uid != b.uid => fixed("the uid"),
        (Content::Group(a), Content::Group(b)) if a.name != b.name => fixed("the name"),
        (Content::UnixGroup(a), Content::UnixGroup(b)) if a.name != b.name => fixed("the name"),
        (Content::UnixGroup(a), Content::UnixGroup(b)) if a.gid != b.gid => fixed("the gid"),
        _ => Ok(()),
    }
}

fn check_own(statement: &Statement) -> Result<(), BadChange> {
    let kind = statement.content.kind();
    match &statement.content {
        Content::User(user) => check_dates(kind, user.login.as_str(), user.starts, user.ends),
        Content::Assignment(a) => check_dates(kind, a.name.as_str(), a.from, a.until),
        _ => Ok(()),
    }
}

fn check_dates(
    kind: Kind,
    name: &str,
    from: Option<crate::time::Timestamp>,
    until: Option<crate::time::Timestamp>,
) -> Result<(), BadChange> {
    match (from, until) {
        (Some(from), Some(until)) if from >= until => {
            Err(BadChange::Dates { kind, name: name.to_owned() })
        }
        _ => Ok(()),
    }
}

fn check_references(statement: &Statement, statements: &Statements) -> Result<(), BadChange> {
    for (target, kinds) in statement.content.references() {
        let why = match statements.get(&target).map(|s| (s.content.kind(), s.content.state())) {
            None => "does not exist",
            Some((_, LeafState::Removed)) => "was removed",
            Some((kind, _)) if !kinds.contains(&kind) => "is of another kind",
            Some(_) => continue,
        };
        let name = statement.content.name().unwrap_or_default().to_owned();
        return Err(BadChange::Reference { kind: statement.content.kind(), name, target, why });
    }
    Ok(())
}
