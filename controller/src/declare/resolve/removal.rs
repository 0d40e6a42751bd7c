//! Taking a user out for good, with whatever names them alone.

use std::collections::BTreeSet;

use muster_proto::{
    chain::Chain,
    envelope::Document,
    name::Login,
    statement::{Content, Statement},
};

use super::{Difference, Resolved};

/// Returns the removal of a user and of every assignment that names them alone.
pub fn removal_of(chain: &Chain, login: &Login) -> Option<Resolved> {
    let user = *chain.taken().logins.get(login)?;
    let mut resolved = Resolved::default();
    for (id, statement) in chain.statements() {
        let goes = match &statement.content {
            Content::Assignment(assignment) => assignment.subject == user,
            Content::Adoption(adoption) => adoption.user == user,
            Content::User(_) | Content::Revoked { .. } => *id == user,
            _ => false,
        };
        if !goes {
            continue;
        }
        let (kind, name) = (statement.content.kind(), statement.content.name());
        let name = name.map_or_else(|| login.to_string(), ToOwned::to_owned);
        resolved.statements.push(Statement {
            lineage: chain.lineage(),
            id: *id,
            revision: statement.revision + 1,
            previous: Some(statement.digest()),
            reinstates: statement.reinstates.clone(),
            content: Content::Removal(kind),
        });
        resolved.differences.push(Difference {
            kind,
            name,
            before: Some(statement.content.clone()),
            after: Content::Removal(kind),
            reinstates: BTreeSet::new(),
        });
    }
    Some(resolved)
}
