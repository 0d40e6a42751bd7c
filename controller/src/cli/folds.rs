//! What a link carries into the directory beside what its proposals say: the next revision of all
//! that was revoked since the link before. Nobody proposes it and the signers answer for it, so it is
//! shown to them with who revoked it. Which folds there are is the chain's to say; here are words.

use std::collections::BTreeSet;

use muster_proto::{
    chain::{Chain, Loss},
    envelope::Verified,
    id::{Id, Kind},
    link::{Revocation, Target},
    statement::{Content, Statement, User},
};
use serde::Serialize;

use crate::describe;

/// What a fold rests on.
#[derive(Clone, Copy, Debug)]
pub struct Grounds<'a> {
    /// Everything up to the link before.
    pub chain: &'a Chain,
    /// The revocations, each with who signed it.
    pub kept: &'a [Verified<Revocation>],
    /// Those of the controller's that the signer confirms.
    pub confirmed: &'a [Loss],
}

/// A fold as it is shown.
#[derive(Debug, Serialize)]
pub struct FoldView {
    kind: String,
    name: String,
    loses: Vec<String>,
    revocations: Vec<RevocationView>,
}

#[derive(Debug, Serialize)]
struct RevocationView {
    id: String,
    /// Nobody, if it is the controller's own.
    by: Vec<String>,
    time: String,
    reason: String,
}

impl FoldView {
    /// Returns it for people.
    pub fn lines(&self) -> Vec<String> {
        let mut lines = vec![format!("- {} {}", self.kind, self.name)];
        lines.extend(self.loses.iter().map(|what| format!("      - {what}")));
        for RevocationView { id, by, time, reason } in &self.revocations {
            let by = match by.as_slice() {
                [] => "the controller itself, confirmed by you".to_owned(),
                people => people.join(", "),
            };
            let why = if reason.is_empty() { String::new() } else { format!(": {reason}") };
            lines.push(format!("      revoked by {by} at {time}{why} (revocation {id})"));
        }
        lines
    }
}

/// Returns folds in the order of kinds and names.
pub fn views(folds: &[Statement], grounds: &Grounds<'_>) -> Vec<FoldView> {
    let mut views: Vec<FoldView> = folds.iter().map(|fold| view(fold, grounds)).collect();
    views.sort_by(|a, b| (&a.kind, &a.name).cmp(&(&b.kind, &b.name)));
    views
}

fn view(fold: &Statement, grounds: &Grounds<'_>) -> FoldView {
    let statements = grounds.chain.statements();
    let old = statements.get(&fold.id);
    let name = match fold.id {
        Id::Host(host) => host.short(),
        Id::Object(_) => old.and_then(|old| old.content.name()).unwrap_or("(gone)").to_owned(),
    };
    let words = |content| -> BTreeSet<String> {
        describe::content(content, statements).into_iter().collect()
    };
    let loses = match (old.map(|old| &old.content), &fold.content) {
        (Some(before @ Content::User(_)), after @ Content::User(_)) => {
            words(before).difference(&words(after)).cloned().collect()
        }
        _ if fold.content.kind() == Kind::Host => vec!["all that is given there".to_owned()],
        _ => vec!["all that it gives".to_owned()],
    };
    let mut seen = BTreeSet::new();
    let caused = grounds.kept.iter().filter(|revocation| {
        counts(revocation, grounds) && causes(revocation, fold, old) && seen.insert(revocation.id)
    });
    let revocations = caused.map(|revocation| RevocationView {
        id: revocation.id.to_string(),
        by: revocation.signers().iter().cloned().collect(),
        time: revocation.time.to_string(),
        reason: revocation.reason.to_string(),
    });
    let (kind, revocations) = (fold.content.kind().to_string(), revocations.collect());
    FoldView { kind, name, loses, revocations }
}

/// Says whether a revocation folds at all: an approver has signed it, or confirms it. Where both the
/// controller and an approver signed one, the approver's word is the one that is shown.
fn counts(revocation: &Verified<Revocation>, grounds: &Grounds<'_>) -> bool {
    if !revocation.signers().is_empty() {
        return true;
    }
    let is_confirmed =
        |loss: &Loss| (loss.revocation, loss.target) == (revocation.id, revocation.target);
    !grounds.chain.is_approved(revocation) && grounds.confirmed.iter().any(is_confirmed)
}

/// Says whether a revocation ends what a fold leaves out.
fn causes(revocation: &Revocation, fold: &Statement, old: Option<&Statement>) -> bool {
    let reinstated = old.is_some_and(|old| old.reinstates.contains(&revocation.id));
    let was = match old.map(|old| &old.content) {
        Some(Content::User(user)) => Some(user),
        _ => None,
    };
    match (&revocation.target, &fold.content, was) {
        (Target::Host(host), Content::Revoked { .. }, _) => fold.id == Id::Host(*host),
        (Target::Statement { id, revision }, Content::Revoked { .. }, _) => {
            *id == fold.id && (fold.revision <= revision.saturating_add(1) || !reinstated)
        }
        (Target::Key(key), Content::User(user), Some(was)) => {
            let has = |user: &User| user.keys.iter().any(|own| own.key.fingerprint() == *key);
            has(was) && !has(user) && !reinstated
        }
        (Target::Membership { user, group }, Content::User(rest), Some(was)) => {
            let left = was.groups.contains(group) && !rest.groups.contains(group);
            *user == fold.id && left && !reinstated
        }
        _ => false,
    }
}
