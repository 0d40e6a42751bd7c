//! `muster doctor`: what is wrong on the controller's own host, and what to do about it.

use std::path::PathBuf;

use anyhow::Result;
use clap::Args;
use serde::Serialize;

use super::{
    End, Globals,
    output::{self, Rows},
    session,
};
use crate::doctor::{self, Finding};

/// The verb's own arguments.
#[derive(Clone, Debug, Args)]
pub struct DoctorArgs {
    /// The controller's configuration.
    #[arg(long, env = "MUSTER_CONFIG", default_value = crate::config::DEFAULT_PATH)]
    config: PathBuf,
}

#[derive(Debug, Serialize)]
struct FindingLine {
    subject: String,
    finding: String,
    cure: String,
}

impl Rows for FindingLine {
    fn head() -> &'static [&'static str] {
        &["SUBJECT", "FINDING", "CURE"]
    }

    fn row(&self) -> Vec<String> {
        vec![self.subject.clone(), self.finding.clone(), self.cure.clone()]
    }
}

/// Runs the verb.
pub async fn run(common: &Globals, args: &DoctorArgs) -> Result<End> {
    let found = doctor::examine(&args.config, &common.key()?, session::now()).await;
    let line = |Finding { subject, fault, cure }| FindingLine { subject, finding: fault, cure };
    let lines: Vec<FindingLine> = found.into_iter().map(line).collect();
    let end = if lines.is_empty() { End::Done } else { End::Findings };
    output::list(common.output, &lines).map(|_| end)
}
