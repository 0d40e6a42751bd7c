//! How the fleet stands, in a few lines however many hosts there are: who passes, who does not, and
//! of whom nobody can tell. A host passes only if it is heard, does what it is sent, and has told
//! all that it had to tell; whoever says nothing has not said that nothing differs.
//!
//! Which hosts there are, and what of theirs is still there, is the controller's word.

use anyhow::Result;
use muster_proto::{drift::Severity, link::CHECKPOINT_VALIDITY, time::Timestamp};
use serde::Serialize;

use super::{
    super::{
        End, Globals,
        output::{self, Format, count},
        session::{self, Session},
    },
    line::read,
};
use crate::{
    client::{Client, DriftWanted, Drifted, Host, Record},
    exception::DriftScope,
    host::Verdict,
};

/// So many hosts with drift are named.
const NAMED: usize = 20;
/// So many hosts are named of which, for one reason, nobody can tell.
const NAMED_UNKNOWN: usize = 5;
/// A host that is away passes as long as the controller's word on the time holds, in seconds.
const HEARD: u64 = CHECKPOINT_VALIDITY;

/// Why nobody can tell whether anything differs on a host of which nothing is told. Of several the
/// first counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Doubt {
    Decided(Verdict),
    Unheard,
    Refusing,
    Behind,
    Gap,
    Paused,
    Observing,
}

/// How the fleet stands.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(in crate::cli) struct Summary {
    hosts: usize,
    pass: usize,
    /// How much is there and accepted.
    exceptions: u64,
    /// Of all drift; nothing if there is none, or if it was not asked for.
    gravest: Option<&'static str>,
    /// The hosts that do not pass.
    drift: Vec<Failing>,
    /// The hosts of which nobody can tell.
    not_known: Vec<Unknown>,
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
struct Failing {
    host: String,
    host_id: String,
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
struct Unknown {
    #[serde(skip)]
    doubt: Doubt,
    host: String,
    host_id: String,
    why: &'static str,
    /// Nothing: never.
    last_seen: Option<String>,
}

impl Doubt {
    fn of(host: &Host, now: Timestamp) -> Option<Self> {
        let unheard = !host.connected && now.since(host.last_seen) > HEARD;
        let all = [
            host.decision.as_ref().map(|decision| Self::Decided(decision.verdict)),
            unheard.then_some(Self::Unheard),
            (!host.refusal.is_empty()).then_some(Self::Refusing),
            host.behind.then_some(Self::Behind),
            (host.record == Record::Gap).then_some(Self::Gap),
            host.paused.is_some().then_some(Self::Paused),
            (host.mode != "enforce").then_some(Self::Observing),
        ];
        all.into_iter().flatten().next()
    }

    /// The stable word that programs read.
    fn word(self) -> &'static str {
        match self {
            Self::Decided(verdict) => verdict.word(),
            Self::Unheard => "not-heard",
            Self::Refusing => "refusing",
            Self::Behind => "behind",
            Self::Gap => "gap",
            Self::Paused => "paused",
            Self::Observing => "observing",
        }
    }

    /// How it is told of some hosts.
    fn of_some(self) -> &'static str {
        match self {
            Self::Unheard => "not heard",
            Self::Gap => "with gaps in receipts",
            Self::Observing => "only observing",
            Self::Decided(_) | Self::Refusing | Self::Behind | Self::Paused => self.word(),
        }
    }
}

impl Unknown {
    fn named(&self) -> String {
        match (self.doubt, &self.last_seen) {
            (Doubt::Unheard, Some(since)) => format!("{} since {since}", self.host),
            (Doubt::Unheard, None) => format!("{} ever", self.host),
            _ => self.host.clone(),
        }
    }
}

impl Summary {
    /// Sums up what the controller says of the fleet now.
    pub(super) fn of(hosts: &[Host], drifted: &Drifted, now: Timestamp) -> Self {
        let mut summary = Self {
            hosts: 0,
            pass: 0,
            exceptions: drifted.exceptions,
            gravest: None,
            drift: Vec::new(),
            not_known: Vec::new(),
        };
        for host in hosts.iter().filter(|host| !host.pending) {
            summary.hosts += 1;
            let (name, host_id) = (host.labels.hostname.clone(), host.labels.id.to_string());
            if drifted.hosts.contains(&host.labels.id) {
                summary.drift.push(Failing { host: name, host_id });
                continue;
            }
            let Some(doubt) = Doubt::of(host, now) else {
                summary.pass += 1;
                continue;
            };
            let last_seen = (host.last_seen.0 > 0).then(|| host.last_seen.to_string());
            let why = doubt.word();
            summary.not_known.push(Unknown { doubt, host: name, host_id, why, last_seen });
        }
        summary.drift.sort();
        summary.not_known.sort();
        summary
    }

    /// Asks how the fleet stands, and how grave it is. What cannot be believed is said.
    pub(in crate::cli) async fn ask(client: &mut Client, hosts: &[Host]) -> Result<(Self, End)> {
        let scope = DriftScope::Unaccepted;
        let wanted = DriftWanted { scope, limit: 1, ..DriftWanted::default() };
        let drifted = client.drift(&wanted).await?;
        let read = read(&drifted, hosts);
        let gravest = read.lines.first().map(|line| line.severity);
        let summary = Self::of(hosts, &drifted, session::now());
        Ok((Self { gravest: gravest.map(Severity::as_str), ..summary }, read.end()))
    }

    /// The figures alone.
    pub(in crate::cli) fn line(&self) -> String {
        let unknown = match self.not_known.len() {
            0 => String::new(),
            some => format!(", {some} not known"),
        };
        format!("{}{}{unknown}", self.passing(), self.gravest())
    }

    /// All of it, with the names of a few.
    pub(in crate::cli) fn lines(&self) -> Vec<String> {
        let failing: Vec<&str> = self.drift.iter().map(|failing| failing.host.as_str()).collect();
        let failing = match failing.as_slice() {
            [] => String::new(),
            some => format!("; drift on {}{}", few(some, NAMED), self.gravest()),
        };
        let mut lines = vec![format!("{}{failing}", self.passing())];
        let unknown: Vec<String> = self
            .not_known
            .chunk_by(|one, next| one.doubt == next.doubt)
            .map(|alike| {
                let named: Vec<String> = alike.iter().map(Unknown::named).collect();
                let what = alike.first().map_or("", |one| one.doubt.of_some());
                format!("{} {what} ({})", alike.len(), few(&named, NAMED_UNKNOWN))
            })
            .collect();
        if !unknown.is_empty() {
            lines.push(format!("not known: {}", unknown.join(", ")));
        }
        lines
    }

    fn passing(&self) -> String {
        let exceptions = match usize::try_from(self.exceptions).unwrap_or(usize::MAX) {
            0 => String::new(),
            some => format!(", {}", count(some, "exception", "exceptions")),
        };
        let verb = if self.hosts == 1 { "passes" } else { "pass" };
        format!("{} of {} {verb}{exceptions}", self.pass, count(self.hosts, "host", "hosts"))
    }

    fn gravest(&self) -> String {
        self.gravest.map(|gravest| format!(", gravest {gravest}")).unwrap_or_default()
    }

    /// Whoever is not known has not failed, and has not passed either.
    fn end(&self) -> End {
        match (self.drift.is_empty(), self.not_known.is_empty()) {
            (false, _) => End::Differences,
            (true, false) => End::Waiting,
            (true, true) => End::Done,
        }
    }
}

/// Names some, and says how many more there are.
fn few<T: AsRef<str>>(names: &[T], most: usize) -> String {
    let (shown, rest) = names.split_at(names.len().min(most));
    let shown: Vec<&str> = shown.iter().map(AsRef::as_ref).collect();
    let more = if rest.is_empty() { String::new() } else { format!(" and {} more", rest.len()) };
    format!("{}{more}", shown.join(", "))
}

/// Runs the verb.
pub(super) async fn run(common: &Globals, session: &mut Session) -> Result<End> {
    let hosts = session.client.hosts().await?;
    let (summary, read) = Summary::ask(&mut session.client, &hosts).await?;
    if common.output == Format::Table {
        output::lines(&summary.lines())?;
        output::say(
            "what a host had when it joined is no drift: `muster access who-can all --observed` \
             lists who gets in and becomes root, whoever made that",
        );
    } else {
        output::value(common.output, &summary)?;
    }
    Ok(read.and(summary.end()))
}

#[cfg(test)]
mod tests;
