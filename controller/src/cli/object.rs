//! `muster user|group|role|assignment list|show`: the directory as it was verified here.

use anyhow::Result;
use clap::Subcommand;
use muster_proto::{
    derive::Statements,
    id::{Id, Kind},
    statement::{Content, LeafState, Statement},
    time::Timestamp,
};
use serde::Serialize;

use super::{
    Common, End, hint,
    output::{self, Rows},
    usage,
};

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
pub async fn run(common: &Common, kind: Kind, verb: &ObjectVerb) -> Result<End> {
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
        Some(ObjectLine {
            name: known.or_else(|| login.map(|(login, _)| login.to_string()))?,
            revision: statement.revision,
            state,
            id: statement.id.to_string(),
            details: describe(&statement.content, statements),
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

/// Says in words what a statement holds; ids become names where the directory has them.
pub fn describe(content: &Content, statements: &Statements) -> Vec<String> {
    let name = |id: &Id| {
        let found = statements.get(id).and_then(|s| s.content.name());
        found.map_or_else(|| id.to_string(), ToOwned::to_owned)
    };
    let mut lines = Vec::new();
    let date = |what: &str, time: Option<Timestamp>, lines: &mut Vec<String>| {
        if let Some(time) = time {
            lines.push(format!("{what} {time}"));
        }
    };
    match content {
        Content::User(user) => {
            lines.push(format!("uid {}", user.uid));
            if !user.name.as_str().is_empty() {
                lines.push(format!("name {}", user.name));
            }
            lines.extend(user.groups.iter().map(|group| format!("group {}", name(group))));
            lines.extend(
                user.keys
                    .iter()
                    .map(|key| format!("key {} {}", key.key.fingerprint().short(), key.comment)),
            );
            lines.extend(user.shell.iter().map(|shell| format!("shell {shell}")));
            lines.extend(user.home.iter().map(|home| format!("home {home}")));
            date("starts", user.starts, &mut lines);
            date("ends", user.ends, &mut lines);
        }
        Content::UnixGroup(group) => lines.push(format!("gid {}", group.gid)),
        Content::Role(role) => {
            lines.extend(role.unix_groups.iter().map(|g| format!("Unix group {}", name(g))));
            lines.extend(role.host_unix_groups.iter().map(|g| format!("Unix group {g} (host's)")));
            lines.extend(role.sudo.iter().map(|rule| {
                let commands: Vec<String> = rule.commands.iter().map(ToString::to_string).collect();
                format!("sudo as {}: {}", rule.run_as.user, commands.join(", "))
            }));
        }
        Content::Assignment(assignment) => {
            lines.push(format!("{} → {}", name(&assignment.subject), name(&assignment.role)));
            lines.push(format!("hosts {}", assignment.hosts));
            date("from", assignment.from, &mut lines);
            date("until", assignment.until, &mut lines);
            if !assignment.reason.as_str().is_empty() {
                lines.push(format!("reason {}", assignment.reason));
            }
        }
        Content::Adoption(adoption) => {
            lines.push(format!("{} with uid {} there", adoption.login, adoption.uid));
        }
        Content::Group(_) | Content::Removal(_) => {}
        Content::Revoked { revocation, .. } => lines.push(format!("by revocation {revocation}")),
    }
    lines
}
