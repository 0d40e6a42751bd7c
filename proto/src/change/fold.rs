//! Folds: what revocations make of a statement when a link carries them into the directory. They only
//! subtract, and nobody proposes them.

use std::collections::BTreeSet;

use crate::{
    envelope::Document,
    id::{Digest, Id, Kind},
    revocations::Revocations,
    statement::{Content, LeafState, Statement, User},
};

/// Returns the next revision that revocations make of a statement or a host, or nothing if they do
/// not concern it. It only subtracts, so nobody has to propose it.
pub fn fold(
    id: Id,
    old: Option<&Statement>,
    revocations: &Revocations,
    lineage: Digest,
) -> Option<Statement> {
    let revoked = |kind, revocation| Content::Revoked { kind, revocation };
    let (content, reinstates) = match (id, old) {
        (Id::Host(host), None) => {
            (revoked(Kind::Host, revocations.of_host(&host)?), BTreeSet::new())
        }
        (_, Some(old)) if old.content.state() == LeafState::Live => {
            let content = match (revocations.of_statement(old), &old.content) {
                (Some(revocation), content) => revoked(content.kind(), revocation),
                (None, Content::User(user)) => {
                    Content::User(without_revoked(id, user, &old.reinstates, revocations)?)
                }
                (None, _) => return None,
            };
            (content, old.reinstates.clone())
        }
        _ => return None,
    };
    let revision = old.map_or(0, |old| old.revision).checked_add(1)?;
    Some(Statement {
        lineage,
        id,
        revision,
        previous: old.map(Document::digest),
        reinstates,
        content,
    })
}

/// Says whether a fold takes away only what revocations end. It need not take all of it: whoever
/// recomputes an old link may know revocations that its signers could not.
pub(super) fn is_fold(old: Option<&Statement>, new: &Statement, revocations: &Revocations) -> bool {
    match (old, &new.content) {
        (None, Content::Revoked { kind: Kind::Host, revocation }) => {
            matches!(new.id, Id::Host(host) if revocations.is_of_host(revocation, &host))
                && new.reinstates.is_empty()
        }
        (Some(old), Content::Revoked { revocation, .. }) => {
            old.content.state() == LeafState::Live
                && revocations.is_of_statement(revocation, old)
                && new.reinstates == old.reinstates
        }
        (Some(old), Content::User(user)) => {
            let Content::User(was) = &old.content else { return false };
            let mut rest = was.clone();
            rest.keys.retain(|key| {
                user.keys.contains(key)
                    || !revocations.ends_key(&key.key.fingerprint(), &old.reinstates)
            });
            rest.groups.retain(|group| {
                user.groups.contains(group)
                    || !revocations.ends_membership(&old.id, group, &old.reinstates)
            });
            rest == *user && rest != *was && new.reinstates == old.reinstates
        }
        _ => false,
    }
}

/// A user without revoked keys and memberships, or nothing if there are none.
fn without_revoked(
    id: Id,
    user: &User,
    reinstates: &BTreeSet<Id>,
    revocations: &Revocations,
) -> Option<User> {
    let mut rest = user.clone();
    rest.keys.retain(|key| !revocations.ends_key(&key.key.fingerprint(), reinstates));
    rest.groups.retain(|group| !revocations.ends_membership(&id, group, reinstates));
    (rest != *user).then_some(rest)
}
