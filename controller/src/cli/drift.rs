//! `muster drift list|show`: what hosts have come to be without any change. What is printed of an item
//! is read from a receipt that was verified here with the host's own key. In which receipts to look,
//! what of it is still there, and so how many hosts pass, is the controller's word.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use anyhow::Result;
use clap::{
    Args, Subcommand,
    builder::{PossibleValuesParser, TypedValueParser},
};
use muster_proto::{
    drift::{Culprit, Drift, DriftKind, Severity},
    id::HostId,
    receipt::Receipt,
    trust::verify_by_host,
};
use serde::{Serialize, Serializer};

use super::{
    End, Globals, host,
    output::{self, Format, Rows, count},
    session::Session,
};
use crate::client::{DriftWanted, Drifted, Host};

/// What to ask about drift.
#[derive(Clone, Debug, Subcommand)]
pub enum DriftVerb {
    /// List what differs now, gravest first, and how many hosts pass.
    List(ListArgs),
    /// Show what a host told last, newest first, with all that is known of it.
    Show {
        /// Its name or id.
        host: String,
        /// So many at most.
        #[arg(long, default_value_t = 20)]
        limit: u32,
    },
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
    /// Also what has been put right or has gone.
    #[arg(long)]
    all: bool,
    /// Stay, and print what comes.
    #[arg(long, conflicts_with = "all")]
    watch: bool,
}

fn severity() -> impl TypedValueParser<Value = Severity> {
    let words = Severity::ALL.iter().map(|severity| severity.as_str());
    PossibleValuesParser::new(words)
        .try_map(|word| Severity::parse(&word).ok_or("there is no such severity"))
}

fn kind(word: &str) -> Result<DriftKind, String> {
    DriftKind::parse(word).ok_or_else(|| {
        let words: Vec<&str> = DriftKind::ALL.iter().map(|kind| kind.as_str()).collect();
        format!("there is no such kind of drift; there are {}", words.join(", "))
    })
}

/// The most that is asked for at once.
const MOST: u32 = 1_000;
/// So many hosts with drift are named before the list.
const NAMED: usize = 20;
/// How often what comes is asked for.
const WATCHED: Duration = Duration::from_secs(1);

#[derive(Debug, Serialize)]
struct DriftLine {
    host: String,
    host_id: String,
    receipt: u64,
    #[serde(serialize_with = "word")]
    severity: Severity,
    kind: String,
    subject: String,
    place: String,
    expected: String,
    found: String,
    since: String,
    /// When the host told it.
    told: String,
    response: &'static str,
    rounds: u32,
    open: bool,
    by: Option<ByLine>,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde calls it so")]
fn word<S: Serializer>(severity: &Severity, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(severity.as_str())
}

/// Who did it; what is empty the kernel did not tell.
#[derive(Debug, Serialize)]
struct ByLine {
    pid: u32,
    program: String,
    command: String,
    login: String,
    unit: String,
}

impl From<&Culprit> for ByLine {
    fn from(culprit: &Culprit) -> Self {
        let Culprit { pid, program, command, login, unit } = culprit.clone();
        Self { pid, program, command, login, unit }
    }
}

impl Rows for DriftLine {
    fn head() -> &'static [&'static str] {
        &["HOST", "SEVERITY", "WHAT", "EXPECTED", "FOUND", "SINCE", "BY", "RESPONSE"]
    }

    fn row(&self) -> Vec<String> {
        let what = [&self.kind, &self.subject, &self.place];
        let what: Vec<&str> = what.into_iter().map(String::as_str).collect();
        vec![
            self.host.clone(),
            self.severity.as_str().to_owned(),
            what.join(" ").trim_end().to_owned(),
            self.expected.clone(),
            self.found.clone(),
            self.since.clone(),
            self.by.as_ref().map_or_else(|| "unknown".to_owned(), ByLine::in_words),
            self.response.to_owned(),
        ]
    }
}

impl ByLine {
    fn in_words(&self) -> String {
        if self.program.is_empty() {
            return format!("process {}, gone", self.pid);
        }
        let login = Some(&self.login).filter(|login| !login.is_empty());
        let login = login.map(|login| format!("{login} by ")).unwrap_or_default();
        let unit = Some(&self.unit).filter(|unit| !unit.is_empty());
        let unit = unit.map(|unit| format!(" in {unit}")).unwrap_or_default();
        format!("{login}{}{unit}", self.program)
    }
}

/// Runs the verb.
pub async fn run(common: &Globals, verb: &DriftVerb) -> Result<End> {
    let mut session = common.session().await?;
    match verb {
        DriftVerb::List(args) => list(common, &mut session, args).await,
        DriftVerb::Show { host, limit } => {
            let host = host::find(&mut session, host).await?;
            let id = Some(host.labels.id);
            let wanted = DriftWanted { host: id, limit: *limit, ..DriftWanted::default() };
            let read = read(&session.client.drift(&wanted).await?, &[host]);
            Ok(output::value(common.output, &read.lines)?.and(read.end()))
        }
    }
}

async fn list(common: &Globals, session: &mut Session, args: &ListArgs) -> Result<End> {
    let host = match &args.host {
        Some(host) => Some(host::find(session, host).await?.labels.id),
        None => None,
    };
    let mut wanted = DriftWanted {
        host,
        open: !args.all,
        least: args.severity,
        kind: args.kind.map(|kind| kind.as_str().to_owned()),
        subject: args.subject.clone(),
        after: None,
        limit: MOST,
    };
    let hosts = session.client.hosts().await?;
    let drifted = session.client.drift(&wanted).await?;
    let mut found = read(&drifted, &hosts);
    if !args.all {
        found.lines.sort_by(|a, b| gravest(a).cmp(&gravest(b)));
    }
    if common.output == Format::Table {
        output::say(&summary(&hosts, &drifted.hosts));
    }
    if common.output != Format::Table || !found.lines.is_empty() {
        output::list(common.output, &found.lines)?;
    }
    if drifted.more {
        output::say("there is more than this: narrow it down");
    }
    if !args.watch {
        let differs = found.lines.iter().any(|line| line.open);
        return Ok(found.end().and(if differs { End::Differences } else { End::Done }));
    }
    wanted.open = false;
    let mut after = drifted.newest;
    loop {
        tokio::time::sleep(WATCHED).await;
        let page = DriftWanted { after: Some(after), ..wanted.clone() };
        let drifted = session.client.drift(&page).await?;
        if let Some(last) = drifted.found.last() {
            after = last.place;
            let hosts = session.client.hosts().await?;
            for line in read(&drifted, &hosts).lines {
                output::lines(&[watched(common.output, &line)?])?;
            }
        }
    }
}

/// One line for each item that comes, in whichever form was asked for.
fn watched(format: Format, line: &DriftLine) -> Result<String> {
    Ok(match format {
        Format::Table => line.row().join("  "),
        // One of JSON is one of YAML too.
        Format::Json | Format::Yaml => serde_json::to_string(line)?,
    })
}

fn gravest(line: &DriftLine) -> (Reverse<Severity>, &str, &str, &str) {
    (Reverse(line.severity), &line.host, &line.subject, &line.kind)
}

/// Says how many hosts pass, and which do not, in a few lines however many there are.
fn summary(hosts: &[Host], drifted: &BTreeSet<HostId>) -> String {
    let joined: Vec<&Host> = hosts.iter().filter(|host| !host.pending).collect();
    let failing: Vec<&str> = joined
        .iter()
        .filter(|host| drifted.contains(&host.labels.id))
        .map(|host| host.labels.hostname.as_str())
        .collect();
    let all = count(joined.len(), "host", "hosts");
    let passing = joined.len() - failing.len();
    if failing.is_empty() {
        return format!("{passing} of {all} pass");
    }
    let (shown, rest) = failing.split_at(failing.len().min(NAMED));
    let more = if rest.is_empty() { String::new() } else { format!(" and {} more", rest.len()) };
    format!("{passing} of {all} pass; drift on {}{more}", shown.join(", "))
}

/// What was read from receipts.
#[derive(Debug, Default)]
struct Read {
    lines: Vec<DriftLine>,
    /// Of how many items there is no receipt that could be believed.
    unbelieved: usize,
}

impl Read {
    /// Says what cannot be shown, since nobody may take it for nothing.
    fn end(&self) -> End {
        if self.unbelieved == 0 {
            return End::Done;
        }
        let items = count(self.unbelieved, "item", "items");
        output::say(&format!("{items} of drift cannot be shown: no receipt tells it as said"));
        End::Findings
    }
}

/// Reads the items from the receipts that tell them. What cannot be believed is said, never shown.
fn read(drifted: &Drifted, hosts: &[Host]) -> Read {
    let hosts: BTreeMap<_, &Host> = hosts.iter().map(|host| (host.labels.id, host)).collect();
    let mut receipts: BTreeMap<_, Option<Receipt>> = BTreeMap::new();
    let mut read = Read::default();
    for told in &drifted.found {
        let host = hosts.get(&told.host);
        let receipt = receipts.entry((told.host, told.receipt)).or_insert_with(|| {
            let envelope = drifted.receipts.get(&(told.host, told.receipt))?;
            let receipt = verify_by_host::<Receipt>(envelope, host?.keeper_key).ok()?.into_inner();
            (receipt.number == told.receipt).then_some(receipt)
        });
        let item = usize::try_from(told.item).ok();
        let drift = item.and_then(|item| receipt.as_ref()?.drift.get(item));
        match (host, receipt.as_ref(), drift) {
            (Some(host), Some(receipt), Some(drift)) => {
                read.lines.push(line(host, receipt, drift, told.open));
            }
            _ => read.unbelieved += 1,
        }
    }
    read
}

fn line(host: &Host, receipt: &Receipt, drift: &Drift, open: bool) -> DriftLine {
    DriftLine {
        host: host.labels.hostname.clone(),
        host_id: host.labels.id.to_string(),
        receipt: receipt.number,
        severity: drift.severity,
        kind: drift.kind.clone(),
        subject: drift.subject.clone(),
        place: drift.place.clone(),
        expected: drift.expected.clone(),
        found: drift.found.clone(),
        since: drift.since.to_string(),
        told: receipt.time.to_string(),
        response: drift.response.as_str(),
        rounds: drift.rounds,
        open,
        by: drift.culprit.as_ref().map(ByLine::from),
    }
}

#[cfg(test)]
mod tests;
