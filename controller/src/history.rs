//! What things were called before they went. A removal and a folded revocation say of what kind the
//! thing was and not which, and the directory holds nothing else of it; whoever passes every link
//! remembers the last that said so. Pure.

use muster_proto::{derive::Statements, id::Id, link::LinkBody, statement::Statement};

/// The last statement that named each thing that has no name in the directory any more.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct History {
    gone: Statements,
}

impl History {
    /// Notes what a link takes the names of, or gives them back; `before` is the directory that it
    /// alters.
    pub fn pass(&mut self, before: &Statements, body: &LinkBody) {
        for statement in body.all() {
            if statement.content.name().is_some() {
                self.gone.remove(&statement.id);
            } else if let Some(old) = before.get(&statement.id)
                && old.content.name().is_some()
            {
                self.gone.insert(old.id, old.clone());
            }
        }
    }

    /// Returns what has gone, each as it was last.
    pub fn gone(&self) -> impl Iterator<Item = &Statement> {
        self.gone.values()
    }

    /// Returns what something that has gone was called.
    pub fn name(&self, id: &Id) -> Option<&str> {
        self.gone.get(id)?.content.name()
    }

    /// Returns a directory in which what has gone is still called by its name: for words, since it
    /// gives what was taken.
    #[must_use]
    pub fn named(&self, statements: &Statements) -> Statements {
        let mut named = statements.clone();
        named.extend(self.gone.iter().map(|(id, statement)| (*id, statement.clone())));
        named
    }
}
