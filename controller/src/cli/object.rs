//! `muster user|group|role|assignment list|show`: the directory as it was verified here.

use anyhow::Result;
use clap::Subcommand;
use muster_proto::{
    id::Kind,
    statement::{LeafState, Statement},
};
use serde::Serialize;

use super::{
    End, Globals, hint,
    output::{self, Rows},
    usage,
};
use crate::describe;

/// What to do with a kind of thing.
#[derive(Clone, Debug, Subcommand)]
pub enum ObjectVerb {
    /// List what there is.
    List,
    /// Show one.
    Show {
        /// Its name.
        name: String,
    },
}

#[derive(Debug, Serialize)]
struct ObjectLine {
    name: String,
    revision: u64,
    state: &'static str,
    id: String,
    details: Vec<String>,
}

impl Rows for ObjectLine {
    fn head() -> &'static [&'static str] {
        &["NAME", "REVISION", "STATE", "DETAILS"]
    }

    fn row(&self) -> Vec<String> {
        let revision = self.revision.to_string();
        vec![self.name.clone(), revision, self.state.to_owned(), self.details.join("; ")]
    }
}

/// Runs the verb.
pub async fn run(common: &Globals, kind: Kind, verb: &ObjectVerb) -> Result<End> {
    let session = common.session().await?;
    let chain = session.tool.chain();
    let statements = chain.statements();
    let line = |statement: &Statement| {
        let state = match statement.content.state() {
            LeafState::Live if chain.revocations().ends(statement) => "revoked",
            LeafState::Live => "live",
            LeafState::Revoked => "revoked",
            LeafState::Removed => "removed",
        };
        let login = chain.taken().logins.iter().find(|(_, id)| **id == statement.id);
        let known = statement.content.name().map(ToOwned::to_owned);
        let mut details = describe::content(&statement.content, statements);
        details.extend(describe::reinstates(&statement.reinstates));
        Some(ObjectLine {
            name: known.or_else(|| login.map(|(login, _)| login.to_string()))?,
            revision: statement.revision,
            state,
            id: statement.id.to_string(),
            details,
        })
    };
    let of_kind = statements.values().filter(|s| s.content.kind() == kind);
    let mut lines: Vec<ObjectLine> = of_kind.filter_map(line).collect();
    lines.sort_by(|a, b| a.name.cmp(&b.name));
    match verb {
        ObjectVerb::List => output::list(common.output, &lines),
        ObjectVerb::Show { name } => {
            let found = lines.into_iter().find(|line| line.name == *name);
            let found = found.ok_or_else(|| {
                hint(
                    usage(anyhow::anyhow!("the directory has no {kind} `{name}`")),
                    format!("`muster {kind} list` shows what there is"),
                )
            })?;
            output::value(common.output, &found)
        }
    }
}
