//! `muster drift summary|list|show|accept`: what hosts have come to be without any change. What is
//! printed of an item is read from a receipt that was verified here with the host's own key. In which
//! receipts to look, what of it is still there or accepted, and so how many hosts pass, is the
//! controller's word.

mod accept;
mod line;
mod propose;
pub(super) mod summary;
mod walk;
mod watch;

use std::{cmp::Reverse, collections::BTreeSet};

use anyhow::{Context, Result};
use clap::{
    Args, Subcommand,
    builder::{PossibleValuesParser, TypedValueParser},
};
use muster_proto::{
    drift::{DriftKind, Severity},
    id::HostId,
    time::Timestamp,
};

use self::{
    accept::AcceptArgs,
    line::{AcceptedLine, DriftLine, Listed, read},
    summary::Summary,
    walk::{Share, walk},
    watch::Watch,
};
use super::{
    End, Globals, host,
    output::{self, Format},
    session::{self, Session},
    usage,
};
use crate::{
    client::{DriftWanted, Host},
    declare::{
        dates::{self, When},
        text::FromText,
    },
    exception::DriftScope,
};

/// What to ask about drift.
#[derive(Clone, Debug, Subcommand)]
pub enum DriftVerb {
    /// Say how many hosts pass, which do not, and of which nobody can tell: who is away for ten
    /// minutes, has not done what it was sent, only observes, or whose receipts are missing. Exit
    /// code 3 if one does not pass, 4 if some are only not known.
    Summary,
    /// List what differs now, gravest first, and how many hosts pass. Exit code 3 if anything of what
    /// was asked for differs, 4 if nothing that is listed does and there is more; 0 says nothing of
    /// hosts that are not known.
    List(ListArgs),
    /// Show what a host told last, newest first, with all that is known of it.
    Show {
        /// Its name or id.
        host: String,
        /// So many at most.
        #[arg(long, default_value_t = 20)]
        limit: u32,
    },
    /// Accept something until a date, as it was found: it does not count as drift meanwhile. Or
    /// propose the change that makes it what is wanted.
    Accept(AcceptArgs),
}

/// Which drift to list.
#[derive(Clone, Debug, Args)]
pub struct ListArgs {
    /// Only of this host, by name or id.
    #[arg(long)]
    host: Option<String>,
    /// Only what is at least as grave: `medium` if somebody can do less than was granted, `high` if
    /// somebody can do more, `critical` if somebody may become root.
    #[arg(long, value_parser = severity())]
    severity: Option<Severity>,
    /// Only of this kind, such as `sudo-foreign`.
    #[arg(long, value_parser = kind)]
    kind: Option<DriftKind>,
    /// Only about this login, Unix group, role or file.
    #[arg(long)]
    subject: Option<String>,
    /// Only what this user made, by the name that he logged in with on the host.
    #[arg(long, value_name = "LOGIN")]
    by: Option<String>,
    /// Only what began from then on: `2027-06-30`, `2027-06-30T18:00:00Z`, or so long ago: `2h`.
    #[arg(long, value_name = "WHEN")]
    since: Option<String>,
    /// Only what began until then; a bare day is included.
    #[arg(long, value_name = "WHEN")]
    until: Option<String>,
    /// Also what somebody has accepted until a date, with who and why; and, unless narrowed down by
    /// more than host, kind and subject, what is accepted and not there now.
    #[arg(long, conflicts_with = "all")]
    accepted: bool,
    /// Also what is accepted, has been put right or has gone.
    #[arg(long)]
    all: bool,
    /// Stay, and print what comes; also across a restart of the controller.
    #[arg(long, conflicts_with = "all")]
    watch: bool,
}

impl ListArgs {
    /// Says whether it is narrowed down by nothing that an exception does not have.
    fn is_about_things(&self) -> bool {
        let Self { severity, by, since, until, .. } = self;
        severity.is_none() && by.is_none() && since.is_none() && until.is_none()
    }
}

fn severity() -> impl TypedValueParser<Value = Severity> {
    let words = Severity::ALL.iter().map(|severity| severity.as_str());
    PossibleValuesParser::new(words)
        .try_map(|word| Severity::parse(&word).ok_or("there is no such severity"))
}

/// Reads a date, or how long ago something was.
fn moment(
    text: Option<&str>,
    option: &'static str,
    bound: fn(When) -> Timestamp,
) -> Result<Option<Timestamp>> {
    let Some(text) = text else { return Ok(None) };
    if let Ok(ago) = dates::seconds(text) {
        return Ok(Some(Timestamp(session::now().0.saturating_sub(ago))));
    }
    let when = When::from_text(text).map_err(anyhow::Error::msg);
    Ok(Some(bound(when.context(option).map_err(usage)?)))
}

fn kind(word: &str) -> Result<DriftKind, String> {
    DriftKind::parse(word).ok_or_else(|| {
        let words: Vec<&str> = DriftKind::ALL.iter().map(|kind| kind.as_str()).collect();
        format!("there is no such kind of drift; there are {}", words.join(", "))
    })
}

/// The most that is asked for at once.
const MOST: u32 = 1_000;

/// Runs the verb.
pub async fn run(common: &Globals, verb: &DriftVerb) -> Result<End> {
    let mut session = common.session().await?;
    match verb {
        DriftVerb::Summary => summary::run(common, &mut session).await,
        DriftVerb::List(args) => list(common, &mut session, args).await,
        DriftVerb::Accept(args) => accept::run(common, &mut session, args).await,
        DriftVerb::Show { host, limit } => {
            let host = host::find(&mut session, host).await?;
            let id = Some(host.labels.id);
            let wanted = DriftWanted { host: id, limit: *limit, ..DriftWanted::default() };
            let drifted = session.client.drift(&wanted).await?;
            let mut read = read(&drifted, &[host]);
            let fewer = drifted.found.len() < usize::try_from(*limit).unwrap_or(usize::MAX);
            read.lines.iter_mut().for_each(|line| line.more = drifted.more);
            let end = output::value(common.output, &read.lines)?.and(read.end());
            if drifted.more && fewer {
                output::say("there is more than this: its receipts are too large for one answer");
            }
            Ok(end)
        }
    }
}

async fn list(common: &Globals, session: &mut Session, args: &ListArgs) -> Result<End> {
    let host = match &args.host {
        Some(host) => Some(host::find(session, host).await?.labels.id),
        None => None,
    };
    let wanted = wanted(args, host)?;
    let hosts = session.client.hosts().await?;
    let (drifted, mut found) = if args.all {
        let drifted = session.client.drift(&wanted).await?;
        let mut found = read(&drifted, &hosts);
        found.lines.iter_mut().for_each(|line| line.more = drifted.more);
        (drifted, found)
    } else {
        let share = if host.is_some() { Share::ONE_HOST } else { Share::EACH };
        walk(&mut session.client, &wanted, &hosts, share).await?
    };
    if !args.all {
        found.lines.sort_by(|a, b| gravest(a).cmp(&gravest(b)));
    }
    if common.output == Format::Table {
        let summary = Summary::of(&hosts, &drifted, session::now());
        summary.lines().iter().for_each(|line| output::say(line));
    }
    let end = found.end();
    let differs = found.lines.iter().any(DriftLine::is_drift);
    let more = drifted.more.then(|| more(&found.lines, args));
    let mut lines: Vec<Listed> = found.lines.into_iter().map(Listed::Told).collect();
    if args.is_about_things() {
        let accepted = drifted.unfound.iter();
        let accepted = accepted.map(|(thing, made)| AcceptedLine::of(thing, made, &hosts));
        lines.extend(accepted.map(Listed::Accepted));
    }
    if common.output != Format::Table || !lines.is_empty() {
        output::list(common.output, &lines)?;
    }
    if let Some(more) = more {
        output::say(&more);
    }
    if args.watch {
        return Watch::new(wanted, &drifted).run(common.output, session).await;
    }
    Ok(end.and(match (differs, drifted.more) {
        (true, _) => End::Differences,
        (false, true) => End::Waiting,
        (false, false) => End::Done,
    }))
}

/// Says that not all is listed, and of whom.
fn more(lines: &[DriftLine], args: &ListArgs) -> String {
    if args.all || args.host.is_some() {
        return "there is more than this: narrow it down".to_owned();
    }
    let hosts: BTreeSet<&str> =
        lines.iter().filter(|line| line.more).map(|line| line.host.as_str()).collect();
    let hosts: Vec<&str> = hosts.into_iter().collect();
    format!("of {} there is more than this: `--host` lists it", hosts.join(", "))
}

/// Returns what to ask for.
fn wanted(args: &ListArgs, host: Option<HostId>) -> Result<DriftWanted> {
    Ok(DriftWanted {
        host,
        without: BTreeSet::new(),
        scope: match (args.all, args.accepted) {
            (true, _) => DriftScope::All,
            (false, true) => DriftScope::Open,
            (false, false) => DriftScope::Unaccepted,
        },
        least: args.severity,
        kind: args.kind.map(|kind| kind.as_str().to_owned()),
        subject: args.subject.clone(),
        by: args.by.clone(),
        since: moment(args.since.as_deref(), "--since", When::start)?,
        until: moment(args.until.as_deref(), "--until", When::end)?,
        after: None,
        limit: MOST,
    })
}

/// Returns the names of all hosts on which no account for an emergency works, by their own signed
/// word, whatever else they tell. What cannot be believed is said.
pub(super) async fn without_emergency(
    session: &mut Session,
    hosts: &[Host],
) -> Result<(BTreeSet<String>, End)> {
    let wanted = DriftWanted {
        scope: DriftScope::Unaccepted,
        kind: Some(DriftKind::BreakGlass.as_str().to_owned()),
        limit: MOST,
        ..DriftWanted::default()
    };
    let (_, read) = walk(&mut session.client, &wanted, hosts, Share::ONE_ITEM).await?;
    let end = read.end();
    Ok((read.lines.into_iter().map(|line| line.host).collect(), end))
}

fn gravest(line: &DriftLine) -> (Reverse<Severity>, &str, &str, &str) {
    (Reverse(line.severity), &line.host, &line.subject, &line.kind)
}

#[cfg(test)]
pub(super) mod tests;
