//! `muster change list|show`: the links that were verified here, with who signed them.

use anyhow::Result;
use clap::Subcommand;
use muster_proto::{envelope::Verified, id::Id, link::LinkBody};
use serde::Serialize;

use super::{
    End, Globals, hint,
    output::{self, Rows},
    session::Session,
    usage,
};
use crate::describe;

/// What to do with changes.
#[derive(Clone, Debug, Subcommand)]
pub enum ChangeVerb {
    /// List the newest changes.
    List {
        /// How many at most.
        #[arg(long, default_value_t = 20)]
        most: u64,
    },
    /// Show one change.
    Show {
        /// Its number.
        number: u64,
    },
}

#[derive(Debug, Serialize)]
struct ChangeLine {
    number: u64,
    time: String,
    signed_by: Vec<String>,
    proposed_by: Vec<String>,
    statements: usize,
    folds: usize,
    digest: String,
}

impl Rows for ChangeLine {
    fn head() -> &'static [&'static str] {
        &["CHANGE", "TIME", "SIGNED BY", "PROPOSED BY", "STATEMENTS", "DIGEST"]
    }

    fn row(&self) -> Vec<String> {
        vec![
            self.number.to_string(),
            self.time.clone(),
            self.signed_by.join(","),
            self.proposed_by.join(","),
            (self.statements + self.folds).to_string(),
            self.digest.chars().take(12).collect(),
        ]
    }
}

#[derive(Debug, Serialize)]
struct ChangeDetail {
    #[serde(flatten)]
    line: ChangeLine,
    reasons: Vec<String>,
    content: Vec<Vec<String>>,
}

/// Runs the verb.
pub async fn run(common: &Globals, verb: &ChangeVerb) -> Result<End> {
    let session = common.session().await?;
    let newest = session.tool.chain().newest().map_or(0, |link| link.number);
    match verb {
        ChangeVerb::List { most } => {
            let first = newest.saturating_sub(*most) + 1;
            let lines: Result<Vec<ChangeLine>> =
                (first..=newest).rev().map(|number| Ok(load(&session, number)?.0)).collect();
            output::list(common.output, &lines?)
        }
        ChangeVerb::Show { number } => {
            let (line, body, reasons) = load(&session, *number)?;
            let history = session.tool.history();
            let statements = history.named(session.tool.chain().statements());
            let content = body.all().map(|statement| {
                let name = statement.content.name();
                // What has come back since has its name in the directory again.
                let name = name.or_else(|| statements.get(&statement.id)?.content.name());
                let kind = statement.content.kind();
                let name = match (statement.id, name) {
                    (_, Some(name)) => name.to_owned(),
                    (Id::Host(host), None) => host.short(),
                    (Id::Object(_), None) => "(gone)".to_owned(),
                };
                let mut lines = vec![format!("{kind} {name} revision {}", statement.revision)];
                lines.extend(describe::content(&statement.content, &statements));
                lines.extend(describe::reinstates(&statement.reinstates));
                lines
            });
            let detail = ChangeDetail { line, reasons, content: content.collect() };
            output::value(common.output, &detail)
        }
    }
}

fn load(session: &Session, number: u64) -> Result<(ChangeLine, LinkBody, Vec<String>)> {
    let published = session.tool.published(number)?.ok_or_else(|| {
        let newest = session.tool.chain().newest().map_or(0, |link| link.number);
        hint(
            usage(anyhow::anyhow!("there is no change {number}")),
            format!("the newest change is {newest}"),
        )
    })?;
    // By the people of its own time: the newest trust root may not name them any more.
    let chain = session.tool.chain();
    let (link, body, trust) = chain.verify_link(&published.link, &published.body, number)?;
    let mut reasons = Vec::new();
    for envelope in &published.proposals {
        let proposal: Verified<muster_proto::link::Proposal> = trust.verify(envelope)?;
        reasons.push(proposal.reason.to_string());
    }
    let line = ChangeLine {
        number,
        time: link.time.to_string(),
        signed_by: link.signers().iter().cloned().collect(),
        proposed_by: link.proposers.iter().cloned().collect(),
        statements: body.statements.len(),
        folds: body.folds.len(),
        digest: link.digest().to_string(),
    };
    Ok((line, body, reasons))
}
