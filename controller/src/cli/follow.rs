//! Follows a change onto the hosts: each host's own signed receipt is the proof, verified here
//! against the host's own key, and whoever has not confirmed is named.

use std::{collections::BTreeMap, time::Duration};

use anyhow::Result;
use clap::Args;
use muster_proto::{
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
            let mut line = judge(&progress, link);
            if let Some(before) = lines.get(&progress.host) {
                line.remember(before);
            }
            output::say(&format!("  {}: {} {}", line.host, line.state, line.detail));
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
    let all: Vec<HostLine> = lines.into_values().collect();
    output::list(format, &all)?;
    let confirmed = all.iter().filter(|line| line.is_settled()).count();
    output::say(&format!("{confirmed} of {} hosts have confirmed", all.len()));
    Ok(if confirmed == all.len() { End::Done } else { End::Waiting })
}

impl HostLine {
    /// Keeps what an earlier receipt of the same change said was done.
    fn remember(&mut self, before: &Self) {
        if before.receipt.is_some() && before.receipt != self.receipt {
            let parts = [before.detail.as_str(), self.detail.as_str()];
            let parts: Vec<&str> = parts.into_iter().filter(|part| !part.is_empty()).collect();
            self.detail = parts.join(", ");
        }
    }

    fn is_settled(&self) -> bool {
        matches!(self.state, "done" | "observed")
    }
}

/// Believes a host's receipt only as far as it verifies, and only for what was asked.
fn judge(progress: &Progress, link: Option<u64>) -> HostLine {
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
    let Some(envelope) = &progress.receipt else { return line };
    if progress.keeper_key.digest() != progress.host {
        line.state = "forged";
        "its key is not the one that its id names".clone_into(&mut line.detail);
        return line;
    }
    let receipt = match verify_by_host::<Receipt>(envelope, progress.keeper_key) {
        Ok(receipt) => receipt,
        Err(error) => {
            line.state = "forged";
            line.detail = error.to_string();
            return line;
        }
    };
    line.receipt = Some(receipt.number);
    let reached = link.is_none_or(|number| receipt.floor.is_some_and(|f| f.number >= number));
    let failures: Vec<String> = receipt
        .outcomes
        .iter()
        .filter_map(|o| o.failure.as_ref().map(|why| format!("{} {}: {why}", o.action, o.subject)))
        .collect();
    line.state = match (receipt.convergence, receipt.mode) {
        _ if !reached => "waiting",
        (Convergence::Done, _) => "done",
        (Convergence::Observed, _) | (_, HostMode::Observe) => "observed",
        (Convergence::Retrying, _) => "retrying",
    };
    let done: Vec<String> = receipt
        .outcomes
        .iter()
        .filter(|outcome| outcome.failure.is_none())
        .map(|outcome| format!("{} {}", outcome.action, outcome.subject))
        .collect();
    line.detail = if failures.is_empty() { done.join(", ") } else { failures.join(", ") };
    line
}
