//! Follows a change onto the hosts: each host's own signed receipt is the proof, verified here
//! against the host's own key, and whoever has not confirmed is named. Confirmed has only who did all
//! that was asked: a host that left a part undone, or that only observes, has not.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use anyhow::Result;
use clap::Args;
use muster_proto::{
    derive::Statements,
    envelope::Verified,
    id::{HostId, Id},
    receipt::{Convergence, Finding, HostMode, Receipt},
    statement::Content,
    trust::verify_by_host,
};
use serde::Serialize;

use super::{
    End,
    output::{self, Format, Rows},
    session::Session,
};
use crate::{client::Progress, declare::Resolved, preview::Effect};

/// How long to wait for the hosts.
#[derive(Clone, Debug, Args)]
pub struct Wait {
    /// Do not wait for the hosts.
    #[arg(long)]
    no_wait: bool,
    /// Seconds to wait for the hosts.
    #[arg(long, default_value_t = 60)]
    timeout: u64,
}

/// What hosts are asked to do.
#[derive(Clone, Debug)]
pub struct Asked {
    /// Verify this link …
    pub link: Option<u64>,
    /// … and these revocations …
    pub revocations: Vec<Id>,
    /// … on these hosts.
    pub hosts: Vec<HostId>,
    /// The names and numbers that it is about: a host's finding about one of them says that it did
    /// only a part.
    pub about: BTreeSet<String>,
    /// What a host that only observes has left undone, in a word.
    pub undone: &'static str,
}

/// How far a host has come. Programs read these words.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
enum State {
    /// All that was asked is done.
    Done,
    /// It did what it could, and left something undone that it names.
    Partly,
    /// It only observes: it changed nothing.
    Observing,
    /// Something failed and is tried again.
    Retrying,
    /// Connected, and has not confirmed yet.
    Waiting,
    /// Has not confirmed in time.
    Outstanding,
    /// It refused what it was sent.
    Refused,
    /// What came in its name is not its own.
    Forged,
}

impl State {
    fn word(self) -> &'static str {
        match self {
            Self::Done => "done",
            Self::Partly => "partly",
            Self::Observing => "observing",
            Self::Retrying => "retrying",
            Self::Waiting => "waiting",
            Self::Outstanding => "outstanding",
            Self::Refused => "refused",
            Self::Forged => "forged",
        }
    }

    /// Says whether waiting longer would tell nothing new.
    fn is_final(self) -> bool {
        matches!(self, Self::Done | Self::Partly | Self::Observing)
    }
}

/// One host's state, as it is shown.
#[derive(Clone, Debug, Serialize)]
struct HostLine {
    host: String,
    id: String,
    state: State,
    receipt: Option<u64>,
    detail: String,
}

impl Rows for HostLine {
    fn head() -> &'static [&'static str] {
        &["HOST", "STATE", "RECEIPT", "DETAIL"]
    }

    fn row(&self) -> Vec<String> {
        let receipt = self.receipt.map_or_else(String::new, |number| number.to_string());
        vec![self.host.clone(), self.state.word().to_owned(), receipt, self.detail.clone()]
    }
}

/// Returns the names and numbers that a change is about: what it alters, whom it reaches, and what
/// gives these what they have. `statements` is the directory after it.
pub fn about(resolved: &Resolved, effects: &[Effect], statements: &Statements) -> BTreeSet<String> {
    let mut about = reached(effects);
    about.extend(resolved.differences.iter().map(|difference| difference.name.clone()));
    let changed: BTreeSet<Id> = resolved.statements.iter().map(|statement| statement.id).collect();
    let mut subjects = changed.clone();
    for statement in &resolved.statements {
        match &statement.content {
            Content::User(user) => {
                about.insert(user.uid.to_string());
                subjects.extend(&user.groups);
            }
            Content::UnixGroup(group) => drop(about.insert(group.gid.to_string())),
            _ => {}
        }
    }
    for (id, statement) in statements {
        let Content::Assignment(assignment) = &statement.content else { continue };
        let concerned = [*id, assignment.subject, assignment.role];
        if !concerned.iter().any(|id| subjects.contains(id)) {
            continue;
        }
        let name = |id: &Id| statements.get(id).and_then(|s| s.content.name()).map(str::to_owned);
        about.insert(assignment.name.to_string());
        about.extend(name(&assignment.role));
        if let Some(Content::Role(role)) = statements.get(&assignment.role).map(|s| &s.content) {
            about.extend(role.unix_groups.iter().filter_map(name));
            about.extend(role.host_unix_groups.iter().map(ToString::to_string));
        }
    }
    about
}

/// Returns the logins on which something has an effect.
pub fn reached(effects: &[Effect]) -> BTreeSet<String> {
    let logins = |effect: &Effect| -> Vec<String> {
        let all = effect.gained.iter().chain(&effect.lost).chain(effect.changed.keys());
        all.map(ToString::to_string).collect()
    };
    effects.iter().flat_map(logins).collect()
}

/// Follows until every host has confirmed or the time is up.
pub async fn run(session: &mut Session, format: Format, wait: &Wait, asked: &Asked) -> Result<End> {
    let hosts = &asked.hosts;
    if hosts.is_empty() {
        output::say("no host is concerned");
        return Ok(End::Done);
    }
    if wait.no_wait {
        output::say(&format!("{} hosts are concerned; not waiting for them", hosts.len()));
        return Ok(End::Waiting);
    }
    let mut lines: BTreeMap<HostId, HostLine> = BTreeMap::new();
    let mut stream = session.client.follow(asked.link, &asked.revocations, hosts).await?;
    let watch = async {
        while let Some(progress) = stream.next().await? {
            let line = judge(&progress, asked);
            let text = format!("  {}: {} {}", line.host, line.state.word(), line.detail);
            output::say(text.trim_end());
            lines.insert(progress.host, line);
            if hosts.iter().all(|host| lines.get(host).is_some_and(|line| line.state.is_final())) {
                break;
            }
        }
        Ok::<_, anyhow::Error>(())
    };
    if let Ok(ended) = tokio::time::timeout(Duration::from_secs(wait.timeout), watch).await {
        ended?;
    }
    for host in hosts {
        lines.entry(*host).or_insert_with(|| HostLine {
            host: host.short(),
            id: host.to_string(),
            state: State::Outstanding,
            receipt: None,
            detail: "nothing heard of it".to_owned(),
        });
    }
    for line in lines.values_mut().filter(|line| line.state == State::Waiting) {
        line.state = State::Outstanding;
        if line.detail.is_empty() {
            "has not confirmed in time".clone_into(&mut line.detail);
        }
    }
    let all: Vec<HostLine> = lines.into_values().collect();
    output::list(format, &all)?;
    let (done, left): (Vec<&HostLine>, Vec<&HostLine>) =
        all.iter().partition(|line| line.state == State::Done);
    output::say(&format!("{} of {} hosts have confirmed", done.len(), all.len()));
    for line in &left {
        output::say(&format!("not confirmed: {} ({})", line.host, line.state.word()));
    }
    Ok(if left.is_empty() { End::Done } else { End::Waiting })
}

/// Believes a host's receipt only as far as it verifies, and only for what was asked.
fn judge(progress: &Progress, asked: &Asked) -> HostLine {
    let mut line = HostLine {
        host: progress.hostname.clone(),
        id: progress.host.to_string(),
        state: if progress.connected { State::Waiting } else { State::Outstanding },
        receipt: None,
        detail: if progress.connected { String::new() } else { "not connected".to_owned() },
    };
    if !progress.refusal.is_empty() {
        line.state = State::Refused;
        line.detail.clone_from(&progress.refusal);
    }
    if progress.receipts.is_empty() {
        return line;
    }
    if progress.keeper_key.digest() != progress.host {
        line.state = State::Forged;
        "its key is not the one that its id names".clone_into(&mut line.detail);
        return line;
    }
    let verified = progress.receipts.iter().map(|e| verify_by_host(e, progress.keeper_key));
    let receipts: Vec<Verified<Receipt>> = match verified.collect() {
        Ok(receipts) => receipts,
        Err(error) => {
            line.state = State::Forged;
            line.detail = error.to_string();
            return line;
        }
    };
    let Some(newest) = receipts.iter().max_by_key(|receipt| receipt.number) else { return line };
    line.receipt = Some(newest.number);
    let (undone, others): (Vec<&Finding>, Vec<&Finding>) =
        newest.findings.iter().partition(|finding| is_undone(finding, &asked.about));
    let reached = asked.link.is_none_or(|number| newest.floor.is_some_and(|f| f.number >= number));
    let judged = |id: &Id| receipts.iter().any(|receipt| receipt.revocations.contains(id));
    line.state = match (newest.convergence, newest.mode) {
        _ if !reached || !asked.revocations.iter().all(judged) => State::Waiting,
        (Convergence::Observed, _) | (_, HostMode::Observe) => State::Observing,
        (Convergence::Retrying, _) => State::Retrying,
        (Convergence::Done, _) if undone.is_empty() => State::Done,
        (Convergence::Done, _) => State::Partly,
    };
    let mut words = Vec::new();
    if line.state == State::Observing {
        words.push(format!("{}; {OBSERVING}", asked.undone));
    }
    words.extend(undone.iter().map(|f| format!("{} {}: {}", f.kind, f.subject, f.detail)));
    words.extend(receipts.iter().flat_map(|receipt| &receipt.outcomes).map(|outcome| {
        let failure = outcome.failure.as_ref().map(|why| format!(" FAILED: {why}"));
        format!("{} {}{}", outcome.action, outcome.subject, failure.unwrap_or_default())
    }));
    words.extend(others.iter().map(|found| format!("{} {}", found.kind, found.subject)));
    line.detail = words.join(", ");
    line
}

/// The cure for a host that only observes.
const OBSERVING: &str = "set `mode = \"enforce\"` in its /etc/muster/agent.toml";

/// Says whether a finding means that something was left undone that these names ask for. What the
/// host lacks as a whole stands in the way of everybody.
fn is_undone(finding: &Finding, about: &BTreeSet<String>) -> bool {
    match finding.kind.as_str() {
        // A remark on what was done.
        "jobs-set-aside" => false,
        "ineffective" => true,
        _ => about.contains(&finding.subject) || finding.subject == "muster-accounts",
    }
}
