//! Follows a change onto the hosts: each host's own signed receipt is the proof, verified here
//! against the host's own key, and whoever has not confirmed is named.

use std::{collections::BTreeMap, time::Duration};

use anyhow::Result;
use clap::Args;
use muster_proto::{
    envelope::Verified,
    id::{HostId, Id},
    receipt::{Convergence, HostMode, Receipt},
    trust::verify_by_host,
};
use serde::Serialize;

use super::{
    End,
    output::{self, Format, Rows},
    session::Session,
};
use crate::client::Progress;

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

/// One host's state, as it is shown.
#[derive(Clone, Debug, Serialize)]
struct HostLine {
    host: String,
    id: String,
    state: &'static str,
    receipt: Option<u64>,
    detail: String,
}

impl Rows for HostLine {
    fn head() -> &'static [&'static str] {
        &["HOST", "STATE", "RECEIPT", "DETAIL"]
    }

    fn row(&self) -> Vec<String> {
        let receipt = self.receipt.map_or_else(String::new, |number| number.to_string());
        vec![self.host.clone(), self.state.to_owned(), receipt, self.detail.clone()]
    }
}

/// Follows until every host has confirmed or the time is up.
pub async fn run(
    session: &mut Session,
    format: Format,
    wait: &Wait,
    link: Option<u64>,
    revocations: &[Id],
    hosts: &[HostId],
) -> Result<End> {
    if hosts.is_empty() {
        output::say("no host is concerned");
        return Ok(End::Done);
    }
    if wait.no_wait {
        output::say(&format!("{} hosts are concerned; not waiting for them", hosts.len()));
        return Ok(End::Waiting);
    }
    let mut lines: BTreeMap<HostId, HostLine> = BTreeMap::new();
    let mut stream = session.client.follow(link, revocations, hosts).await?;
    let watch = async {
        while let Some(progress) = stream.next().await? {
            let line = judge(&progress, link, revocations);
            let text = format!("  {}: {} {}", line.host, line.state, line.detail);
            output::say(text.trim_end());
            lines.insert(progress.host, line);
            if hosts.iter().all(|host| lines.get(host).is_some_and(HostLine::is_settled)) {
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
            state: "outstanding",
            receipt: None,
            detail: "nothing heard of it".to_owned(),
        });
    }
    for line in lines.values_mut().filter(|line| line.state == "waiting") {
        line.state = "outstanding";
        if line.detail.is_empty() {
            "has not confirmed in time".clone_into(&mut line.detail);
        }
    }
    let all: Vec<HostLine> = lines.into_values().collect();
    output::list(format, &all)?;
    let confirmed = all.iter().filter(|line| line.is_settled()).count();
    output::say(&format!("{confirmed} of {} hosts have confirmed", all.len()));
    Ok(if confirmed == all.len() { End::Done } else { End::Waiting })
}

impl HostLine {
    fn is_settled(&self) -> bool {
        matches!(self.state, "done" | "observed")
    }
}

/// Believes a host's receipt only as far as it verifies, and only for what was asked.
fn judge(progress: &Progress, link: Option<u64>, revocations: &[Id]) -> HostLine {
    let mut line = HostLine {
        host: progress.hostname.clone(),
        id: progress.host.to_string(),
        state: if progress.connected { "waiting" } else { "outstanding" },
        receipt: None,
        detail: if progress.connected { String::new() } else { "not connected".to_owned() },
    };
    if !progress.refusal.is_empty() {
        line.state = "refused";
        line.detail.clone_from(&progress.refusal);
    }
    if progress.receipts.is_empty() {
        return line;
    }
    if progress.keeper_key.digest() != progress.host {
        line.state = "forged";
        "its key is not the one that its id names".clone_into(&mut line.detail);
        return line;
    }
    let verified = progress.receipts.iter().map(|e| verify_by_host(e, progress.keeper_key));
    let receipts: Vec<Verified<Receipt>> = match verified.collect() {
        Ok(receipts) => receipts,
        Err(error) => {
            line.state = "forged";
            line.detail = error.to_string();
            return line;
        }
    };
    let Some(newest) = receipts.iter().max_by_key(|receipt| receipt.number) else { return line };
    line.receipt = Some(newest.number);
    let reached = link.is_none_or(|number| newest.floor.is_some_and(|f| f.number >= number));
    let judged = |id: &Id| receipts.iter().any(|receipt| receipt.revocations.contains(id));
    line.state = match (newest.convergence, newest.mode) {
        _ if !reached || !revocations.iter().all(judged) => "waiting",
        (Convergence::Observed, _) | (_, HostMode::Observe) => "observed",
        (Convergence::Done, _) => "done",
        (Convergence::Retrying, _) => "retrying",
    };
    let outcomes = receipts.iter().flat_map(|receipt| &receipt.outcomes).map(|outcome| {
        let failure = outcome.failure.as_ref().map(|why| format!(" FAILED: {why}"));
        format!("{} {}{}", outcome.action, outcome.subject, failure.unwrap_or_default())
    });
    let findings = newest.findings.iter().map(|found| format!("{} {}", found.kind, found.subject));
    line.detail = outcomes.chain(findings).collect::<Vec<_>>().join(", ");
    line
}
