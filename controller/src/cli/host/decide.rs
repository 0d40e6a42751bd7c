//! `muster host quarantine|release|evict|ban|purge`: what the controller does with a host from now
//! on. Nothing of it is signed, since it gives nothing; the controller's log says who and why.

use anyhow::{Context, Result};
use clap::Args;
use muster_proto::{id::HostId, name::Line};
use serde::Serialize;

use super::{
    super::{
        End, Globals,
        apply::agree,
        hint,
        output::{self, Format, Rows},
        session::Session,
        usage,
    },
    pick,
};
use crate::{
    client::{Client, Decided, Host},
    host::{Measure, Unfit, Verdict},
    tool::known::Forgotten,
};

/// What these verbs take.
#[derive(Clone, Debug, Args)]
pub struct DecideArgs {
    /// Its name or id.
    host: String,
    /// Why; it is kept in the log.
    #[arg(long, default_value = "")]
    reason: String,
    /// Do not ask.
    #[arg(long, short)]
    yes: bool,
    /// Show what would be done and end.
    #[arg(long)]
    dry_run: bool,
}

/// What becomes of a host.
#[derive(Debug, Serialize)]
struct DecisionLine {
    host: String,
    id: String,
    /// `normal`, `quarantined`, `evicted`, `banned`, or `unlisted`.
    before: &'static str,
    /// The same, or `forgotten`.
    after: &'static str,
    means: &'static str,
}

impl Rows for DecisionLine {
    fn head() -> &'static [&'static str] {
        &["HOST", "BEFORE", "AFTER", "WHICH MEANS"]
    }

    fn row(&self) -> Vec<String> {
        let words = [self.before, self.after, self.means];
        [self.host.clone()].into_iter().chain(words.map(ToOwned::to_owned)).collect()
    }
}

/// Whom it is about.
enum Whom {
    /// A host that the controller lists.
    Listed(Box<Host>),
    /// One that it does not, by its whole id: its ban can be lifted, and the own tool can forget it.
    Unlisted(HostId),
}

impl Whom {
    async fn find(client: &mut Client, wanted: &str, measure: Measure) -> Result<Self> {
        match (pick(&client.hosts().await?, wanted), HostId::parse_hex(wanted)) {
            (Ok(host), _) => Ok(Self::Listed(Box::new(host))),
            (Err(_), Some(id)) if matches!(measure, Measure::Release | Measure::Purge) => {
                Ok(Self::Unlisted(id))
            }
            (Err(error), _) => Err(error),
        }
    }

    fn id(&self) -> HostId {
        match self {
            Self::Listed(host) => host.labels.id,
            Self::Unlisted(id) => *id,
        }
    }

    fn name(&self) -> String {
        match self {
            Self::Listed(host) => host.labels.hostname.clone(),
            Self::Unlisted(id) => id.short(),
        }
    }

    /// Says what the measure comes to, or why it cannot be taken.
    fn line(&self, measure: Measure) -> Result<DecisionLine> {
        let (before, after) = match self {
            Self::Unlisted(_) => ("unlisted", None),
            Self::Listed(host) => {
                let before = host.decision.as_ref().map(|decision| decision.verdict);
                if measure == Measure::Purge && host.connected {
                    return Err(unfit(Unfit::Connected));
                }
                (word(before), measure.after(before).map_err(unfit)?)
            }
        };
        let after = if measure == Measure::Purge { "forgotten" } else { word(after) };
        let (host, id) = (self.name(), self.id().to_string());
        Ok(DecisionLine { host, id, before, after, means: means(measure, after) })
    }
}

fn word(verdict: Option<Verdict>) -> &'static str {
    verdict.map_or("normal", Verdict::word)
}

fn means(measure: Measure, after: &str) -> &'static str {
    match measure {
        Measure::Quarantine => {
            "it is sent only what takes away; what it holds stays, and so does what begins there later"
        }
        Measure::Release if after == "evicted" => "it may join again with a new token",
        Measure::Release => "it is sent what it lacks",
        Measure::Evict => {
            "its certificates are void and its session ends; accounts stay there unless it was \
             revoked before; it may join again with a new token"
        }
        Measure::Ban => {
            "its certificates are void and its session ends; accounts stay there unless it was \
             revoked before; its key may not join again"
        }
        Measure::Purge => "nobody waits for it any more; its receipts, the log and a ban stay",
    }
}

fn unfit(error: Unfit) -> anyhow::Error {
    let cure = match error {
        Unfit::Already(_) => "`muster host show` says who decided that, and why",
        Unfit::Free => "a host that was evicted joins again with what `muster host token` prints",
        Unfit::Connected => "`muster host evict` ends its session; then it can be forgotten",
    };
    hint(error, cure)
}

fn question(measure: Measure, name: &str) -> String {
    match measure {
        Measure::Quarantine => format!("Quarantine host `{name}`?"),
        Measure::Release => format!("Release host `{name}`?"),
        Measure::Evict => format!("Evict host `{name}`?"),
        Measure::Ban => format!("Ban host `{name}`?"),
        Measure::Purge => format!("Forget the record of host `{name}`?"),
    }
}

/// Runs the verb.
pub(super) async fn run(
    common: &Globals,
    session: &mut Session,
    measure: Measure,
    args: &DecideArgs,
) -> Result<End> {
    let reason = Line::parse(&args.reason).context("--reason").map_err(usage)?;
    let whom = Whom::find(&mut session.client, &args.host, measure).await?;
    let line = whom.line(measure)?;
    if args.dry_run {
        output::list(common.output, &[line])?;
        return Ok(End::Differences);
    }
    if common.output == Format::Table {
        output::say(&format!("{}: {} → {}; {}", line.host, line.before, line.after, line.means));
    }
    agree(args.yes, &question(measure, &line.host))?;
    let decided = session.client.decide(whom.id(), measure, &reason).await?;
    let forgotten = match measure {
        Measure::Purge => session.tool.forget_host(&whom.id())?,
        _ => Forgotten::Nothing,
    };
    match (decided, forgotten) {
        (Decided::Taken(_), _) => {}
        (Decided::Unknown, Forgotten::Host(name)) => {
            output::say(&format!("the controller did not list `{name}`; your tool forgets it"));
        }
        (Decided::Unknown, Forgotten::Nothing) => {
            return Err(hint(
                usage(anyhow::anyhow!("there is nothing to do about a host `{}`", args.host)),
                "`muster host list` shows which there are",
            ));
        }
    }
    output::list(common.output, &[line])
}
