//! `muster drift list --watch`: prints what comes, each once, until it is ended. A controller that is
//! away for a while is waited for: what hosts told meanwhile comes when it is back.

use std::{collections::BTreeSet, time::Duration};

use anyhow::Result;

use super::{
    super::{
        End, hint,
        output::{self, Format, Rows},
        session::Session,
    },
    line::{DriftLine, Read, read},
};
use crate::{
    client::{Client, ClientError, DriftWanted, Drifted, Host},
    exception::DriftScope,
};

/// How often what comes is asked for.
const EVERY: Duration = Duration::from_secs(1);

/// What is watched, and up to where it was seen.
#[derive(Debug)]
pub(super) struct Watch {
    wanted: DriftWanted,
    /// All up to this place was printed.
    after: u64,
    /// What was printed of what comes after that.
    printed: BTreeSet<u64>,
}

/// Whether the controller answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Controller {
    Answers,
    Away,
}

impl Watch {
    /// Begins after what was listed.
    pub(super) fn new(wanted: DriftWanted, listed: &Drifted) -> Self {
        // What came between the controller's two looks stands in the list already.
        let printed = listed.found.iter().map(|told| told.place);
        let printed = printed.filter(|place| *place > listed.newest).collect();
        let wanted = DriftWanted { scope: DriftScope::All, ..wanted };
        Self { wanted, after: listed.newest, printed }
    }

    /// Prints what comes.
    pub(super) async fn run(mut self, format: Format, session: &mut Session) -> Result<End> {
        let mut controller = Controller::Answers;
        loop {
            tokio::time::sleep(EVERY).await;
            match self.look(&mut session.client).await {
                Ok((told, hosts)) => {
                    if controller == Controller::Away {
                        output::say("the controller answers again");
                    }
                    controller = Controller::Answers;
                    print(format, &read(&self.fresh(told)?, &hosts))?;
                }
                Err(error) if error.is_passing() => {
                    if controller == Controller::Answers {
                        output::warning(&error.into());
                        output::say("the controller is asked until it answers again");
                    }
                    controller = Controller::Away;
                }
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// Asks for what came; the hosts after that, so that nobody who told it is missing.
    async fn look(&self, client: &mut Client) -> Result<(Drifted, Vec<Host>), ClientError> {
        let wanted = DriftWanted { after: Some(self.after), ..self.wanted.clone() };
        let told = client.drift(&wanted).await?;
        let hosts = if told.found.is_empty() { Vec::new() } else { client.hosts().await? };
        Ok((told, hosts))
    }

    /// Leaves what was not printed yet, and goes on after it: after all that there was, unless that
    /// did not fit into one answer.
    fn fresh(&mut self, mut told: Drifted) -> Result<Drifted> {
        if told.newest < self.after {
            let (after, newest) = (self.after, told.newest);
            return Err(hint(
                anyhow::anyhow!(
                    "the controller was set back: it had told {after} items, and has {newest} now"
                ),
                "begin again: the list has all that is there, also what hosts tell it once more",
            ));
        }
        let last = told.found.iter().map(|one| one.place).max().unwrap_or_default();
        let all = if told.more { self.after } else { told.newest };
        told.found.retain(|one| !self.printed.contains(&one.place));
        let after = self.after.max(all).max(last);
        self.after = after;
        self.printed.retain(|place| *place > after);
        Ok(told)
    }
}

/// Prints one line for each item, in whichever form was asked for, and says what cannot be shown.
fn print(format: Format, found: &Read) -> Result<()> {
    for line in &found.lines {
        output::lines(&[shown(format, line)?])?;
    }
    // A watch ends by no code of its own: it is said.
    let _ = found.end();
    Ok(())
}

fn shown(format: Format, line: &DriftLine) -> Result<String> {
    Ok(match format {
        Format::Table => line.row().join("  "),
        // One of JSON is one of YAML too.
        Format::Json | Format::Yaml => serde_json::to_string(line)?,
    })
}

#[cfg(test)]
mod tests;
