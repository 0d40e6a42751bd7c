//! Items of drift as they are shown, each read from a receipt that was verified with the key of the
//! host that tells it. What cannot be believed is counted and never shown.

use std::collections::BTreeMap;

use muster_proto::{
    drift::{Culprit, Drift, Severity},
    id::Digest,
    receipt::Receipt,
    trust::verify_by_host,
};
use serde::{Serialize, Serializer};

use super::{
    End,
    output::{self, Rows, count},
};
use crate::{
    client::{Drifted, Host, Told},
    exception::{Exception, Thing},
};

#[derive(Debug, Serialize)]
pub(super) struct DriftLine {
    pub(super) host: String,
    pub(super) host_id: String,
    /// Its number over all hosts.
    pub(super) id: u64,
    pub(super) receipt: u64,
    #[serde(serialize_with = "word")]
    pub(super) severity: Severity,
    pub(super) kind: String,
    pub(super) subject: String,
    pub(super) place: String,
    pub(super) expected: String,
    pub(super) found: String,
    pub(super) since: String,
    /// When the host told it.
    pub(super) told: String,
    pub(super) response: &'static str,
    pub(super) rounds: u32,
    pub(super) open: bool,
    pub(super) by: Option<ByLine>,
    /// By the controller's word: somebody has accepted it just so.
    pub(super) exception: Option<ExceptionLine>,
    /// There is more of this host than is listed.
    pub(super) more: bool,
    /// The same, as the host has signed it.
    #[serde(skip)]
    pub(super) signed: Drift,
}

/// A line of the list.
#[derive(Debug, Serialize)]
#[serde(untagged)]
#[expect(clippy::large_enum_variant, reason = "most lines are the large one")]
pub(super) enum Listed {
    /// What a host told.
    Told(DriftLine),
    /// What is accepted though it is not there.
    Accepted(AcceptedLine),
}

/// What is accepted and not there as it was accepted, by the controller's word: it would be no drift
/// if it came back.
#[derive(Debug, Serialize)]
pub(super) struct AcceptedLine {
    pub(super) host: String,
    host_id: String,
    /// None: it may be told in no receipt any more.
    id: Option<u64>,
    kind: String,
    subject: String,
    place: String,
    open: bool,
    /// Nothing: it was withdrawn just now.
    pub(super) exception: Option<ExceptionLine>,
}

impl AcceptedLine {
    pub(super) fn of(thing: &Thing, exception: &Exception, hosts: &[Host]) -> Self {
        let Thing { host: id, kind, subject, place } = thing.clone();
        let host = hosts.iter().find(|host| host.labels.id == id);
        Self {
            host: host.map_or_else(|| id.short(), |host| host.labels.hostname.clone()),
            host_id: id.to_string(),
            id: None,
            kind,
            subject,
            place,
            open: false,
            exception: Some(ExceptionLine::from(exception)),
        }
    }
}

impl AcceptedLine {
    pub(super) fn what(&self) -> String {
        what(&self.kind, &self.subject, &self.place)
    }
}

impl Rows for Listed {
    fn head() -> &'static [&'static str] {
        DriftLine::head()
    }

    fn row(&self) -> Vec<String> {
        let line = match self {
            Self::Told(line) => return line.row(),
            Self::Accepted(line) => line,
        };
        let AcceptedLine { host, kind, subject, place, exception, .. } = line;
        let [severity, expected, since, by] = [""; 4].map(str::to_owned);
        let (what, found) = (what(kind, subject, place), "not there now".to_owned());
        let standing = exception.as_ref().map(ExceptionLine::in_words).unwrap_or_default();
        vec!["-".to_owned(), host.clone(), severity, what, expected, found, since, by, standing]
    }
}

/// Says what differs, in a few words.
fn what(kind: &str, subject: &str, place: &str) -> String {
    [kind, subject, place].join(" ").trim_end().to_owned()
}

/// Who accepted something until when, and why.
#[derive(Debug, Serialize)]
pub(super) struct ExceptionLine {
    until: String,
    by: String,
    made: String,
    reason: String,
}

impl From<&Exception> for ExceptionLine {
    fn from(exception: &Exception) -> Self {
        let Exception { until, by, made, reason } = exception.clone();
        let [until, made] = [until, made].map(|time| time.to_string());
        Self { until, by, made, reason: reason.to_string() }
    }
}

impl ExceptionLine {
    fn in_words(&self) -> String {
        let Self { until, by, reason, .. } = self;
        format!("accepted until {until} by {by}: {reason}")
    }
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde calls it so")]
fn word<S: Serializer>(severity: &Severity, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(severity.as_str())
}

/// Who did it; what is empty the kernel did not tell.
#[derive(Debug, Serialize)]
pub(super) struct ByLine {
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
        &["ID", "HOST", "SEVERITY", "WHAT", "EXPECTED", "FOUND", "SINCE", "BY", "RESPONSE"]
    }

    fn row(&self) -> Vec<String> {
        vec![
            self.id.to_string(),
            self.host.clone(),
            self.severity.as_str().to_owned(),
            self.what(),
            self.expected.clone(),
            self.found_shown(),
            self.since.clone(),
            self.by.as_ref().map_or_else(|| "unknown".to_owned(), ByLine::in_words),
            self.standing(),
        ]
    }
}

impl DriftLine {
    /// Says what differs, in a few words.
    pub(super) fn what(&self) -> String {
        what(&self.kind, &self.subject, &self.place)
    }

    /// What was found, as a table shows it: of a digest the first digits.
    fn found_shown(&self) -> String {
        let digest = self.found.strip_prefix("content ").and_then(Digest::parse_hex);
        digest.map_or_else(|| self.found.clone(), |digest| format!("content {}…", digest.short()))
    }

    /// Says whether something is to be done about it.
    pub(super) fn is_drift(&self) -> bool {
        self.open && self.exception.is_none()
    }

    fn standing(&self) -> String {
        match &self.exception {
            Some(exception) if self.open => exception.in_words(),
            _ => self.response.to_owned(),
        }
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

/// What was read from receipts.
#[derive(Debug, Default)]
pub(super) struct Read {
    pub(super) lines: Vec<DriftLine>,
    /// Of how many items there is no receipt that could be believed.
    pub(super) unbelieved: usize,
}

impl Read {
    /// Says what cannot be shown, since nobody may take it for nothing.
    pub(super) fn end(&self) -> End {
        if self.unbelieved == 0 {
            return End::Done;
        }
        let items = count(self.unbelieved, "item", "items");
        output::say(&format!("{items} of drift cannot be shown: no receipt tells it as said"));
        End::Findings
    }
}

/// Reads the items from the receipts that tell them. What cannot be believed is said, never shown.
pub(super) fn read(drifted: &Drifted, hosts: &[Host]) -> Read {
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
                read.lines.push(line(host, receipt, drift, told));
            }
            _ => read.unbelieved += 1,
        }
    }
    read
}

fn line(host: &Host, receipt: &Receipt, drift: &Drift, told: &Told) -> DriftLine {
    DriftLine {
        host: host.labels.hostname.clone(),
        host_id: host.labels.id.to_string(),
        id: told.place,
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
        open: told.open,
        exception: told.exception.as_ref().map(ExceptionLine::from),
        more: false,
        signed: drift.clone(),
        by: drift.culprit.as_ref().map(ByLine::from),
    }
}
