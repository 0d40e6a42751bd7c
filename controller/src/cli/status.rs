//! `muster status`: the fleet and the controller on one screen, and what the trust root means.

use std::collections::BTreeSet;

use anyhow::Result;
use clap::Args;
use muster_proto::{
    envelope::Envelope,
    id::Digest,
    receipt::{FindingKind, Receipt},
    statement::LeafState,
    trust::verify_by_host,
};
use serde::Serialize;

use super::{
    End, Globals,
    drift::{self, summary::Summary},
    output::{self, Format, count},
    session::Session,
};
use crate::client::Host;

/// The verb's own arguments.
#[derive(Clone, Debug, Args)]
pub struct StatusArgs {
    /// Go on with this audit log, which the controller has begun in the place of the one you saw.
    #[arg(long, value_name = "ORIGIN")]
    accept_log: Option<String>,
}

#[derive(Debug, Serialize)]
struct StatusView {
    fleet: String,
    controller: String,
    agents_connect_to: String,
    trust_root: u64,
    trust_root_expires: String,
    approvals: Vec<String>,
    change: Option<u64>,
    audit_log: u64,
    hosts: u32,
    hosts_connected: u32,
    hosts_current: u32,
    drift: Summary,
    /// Hosts that have not confirmed all that concerns them.
    behind: Vec<String>,
    /// Hosts that have verified a newer change than there is here.
    ahead: Vec<String>,
    /// Hosts that refused what they were sent, each with its reason.
    refusing: Vec<RefusalView>,
    /// Hosts on which no account for an emergency gets anybody in and to root.
    without_emergency: BTreeSet<String>,
    /// Hosts that say, in a receipt that was verified, that root there has paused them.
    paused: Vec<PauseView>,
    revocations: u32,
    revoked_and_not_removed: Vec<String>,
    unconfirmed_revocations: Vec<super::losses::LossView>,
    advice: Vec<String>,
}

#[derive(Debug, Serialize)]
struct RefusalView {
    host: String,
    refusal: String,
}

#[derive(Debug, Serialize)]
struct PauseView {
    host: String,
    by: String,
    /// Until when, and why.
    detail: String,
}

impl PauseView {
    /// Reads it from the host's own word in this fleet; nothing where the receipt shown is none of
    /// its.
    fn of(host: &Host, receipt: &Envelope, lineage: Digest) -> Option<Self> {
        let receipt = verify_by_host::<Receipt>(receipt, host.keeper_key).ok()?;
        let told = receipt.findings.iter().find(|found| found.kind == FindingKind::Paused)?;
        (receipt.lineage == lineage).then(|| Self {
            host: host.labels.hostname.clone(),
            by: told.subject.clone(),
            detail: told.detail.clone(),
        })
    }
}

/// Asks each host that is paused for its word on it, one receipt at a time.
async fn paused(session: &mut Session, hosts: &[Host]) -> Result<Vec<PauseView>> {
    let lineage = session.tool.chain().lineage();
    let mut views = Vec::new();
    for host in hosts {
        let Some(number) = host.paused else { continue };
        let below = Some(number.saturating_add(1));
        let told = session.client.receipts(host.labels.id, below, 1).await?;
        views.extend(told.found.iter().filter_map(|told| PauseView::of(host, told, lineage)));
    }
    Ok(views)
}

/// Runs the verb.
pub async fn run(common: &Globals, args: &StatusArgs) -> Result<End> {
    let mut session = match &args.accept_log {
        Some(origin) => common.session_accepting(origin).await?,
        None => common.session().await?,
    };
    // In this order: what is published meanwhile makes no host seem to be ahead.
    let hosts = session.client.hosts().await?;
    let status = session.client.status().await?;
    let (summary, read) = Summary::ask(&mut session.client, &hosts).await?;
    let behind = hosts.iter().filter(|host| host.behind);
    let behind: Vec<String> = behind.map(|host| host.labels.hostname.clone()).collect();
    let newest = status.newest.map_or(0, |link| link.number).max(session.newest());
    let ahead = hosts.iter().filter(|host| host.floor.is_some_and(|floor| floor.number > newest));
    let ahead: Vec<String> = ahead.map(|host| host.labels.hostname.clone()).collect();
    let (without_emergency, believed) = drift::without_emergency(&mut session, &hosts).await?;
    let paused = paused(&mut session, &hosts).await?;
    let refusing = hosts.into_iter().filter(|host| !host.refusal.is_empty());
    let refusing = refusing
        .map(|host| RefusalView { host: host.labels.hostname, refusal: host.refusal })
        .collect();
    let chain = session.tool.chain();
    let trust = chain.trust();
    let approvals = trust.approver_groups.iter().map(|(name, group)| {
        format!("{} of {} in group {name}", group.threshold, group.members.len())
    });
    let revoked = chain.statements().values().filter(|statement| {
        statement.content.state() == LeafState::Live && chain.revocations().ends(statement)
    });
    let mut advice = Vec::new();
    if trust.approver_groups.values().any(|group| group.threshold == 1) {
        advice.push(
            "one approver is enough: whoever holds that one key can give anybody root. No command \
             names more approvers yet; until one does, a passphrase on that key \
             (`ssh-keygen -p -f KEY`) and a machine that is hers alone are what protects"
                .to_owned(),
        );
    }
    if trust.root_threshold == 1 {
        advice.push(
            "one root key is enough to change who approves: keep the sealed key off this machine"
                .to_owned(),
        );
    }
    let view = StatusView {
        fleet: chain.lineage().to_string(),
        controller: status.version,
        agents_connect_to: status.agent_address,
        trust_root: trust.version,
        trust_root_expires: trust.expires.to_string(),
        approvals: approvals.collect(),
        change: chain.newest().map(|link| link.number),
        audit_log: status.log.size,
        hosts: status.hosts.0,
        hosts_connected: status.hosts.1,
        hosts_current: status.hosts.2,
        drift: summary,
        behind,
        ahead,
        refusing,
        without_emergency,
        paused,
        revocations: status.revocations,
        revoked_and_not_removed: revoked
            .filter_map(|statement| statement.content.name().map(ToOwned::to_owned))
            .collect(),
        unconfirmed_revocations: super::losses::views(chain, &[]),
        advice,
    };
    let shown = if common.output == Format::Table {
        output::lines(&lines(&view))
    } else {
        output::value(common.output, &view)
    };
    Ok(shown?.and(read).and(believed))
}

fn lines(view: &StatusView) -> Vec<String> {
    let change = view.change.map_or_else(|| "none yet".to_owned(), |number| number.to_string());
    let entries = usize::try_from(view.audit_log).unwrap_or(usize::MAX);
    let mut lines = vec![
        format!("fleet        {}", view.fleet),
        format!("controller   {}, agents connect to {}", view.controller, view.agents_connect_to),
        format!("trust root   {}, until {}", view.trust_root, view.trust_root_expires),
        format!("approvals    {}", view.approvals.join(" and ")),
        format!("change       {change}"),
        format!("audit log    {}", count(entries, "entry", "entries")),
        format!(
            "hosts        {}, {} connected, {} current",
            view.hosts, view.hosts_connected, view.hosts_current
        ),
        format!("drift        {}", view.drift.line()),
        format!("revocations  {}", view.revocations),
    ];
    if !view.behind.is_empty() {
        lines.push(format!("behind       {}", view.behind.join(", ")));
    }
    if !view.ahead.is_empty() {
        lines.push(format!(
            "ahead        {}, by what they say of themselves: if that is so, the controller and your \
             own store were set back; sign nothing before somebody who has verified more has run any \
             command (`muster host show` has what a host has signed)",
            view.ahead.join(", ")
        ));
    }
    lines.extend(
        view.refusing.iter().map(|found| format!("refused by   {}: {}", found.host, found.refusal)),
    );
    if !view.without_emergency.is_empty() {
        let names: Vec<&str> = view.without_emergency.iter().map(String::as_str).collect();
        lines.push(format!(
            "no way in for an emergency on {}: `muster drift list --kind break-glass` says why",
            names.join(", ")
        ));
    }
    lines.extend(
        view.paused
            .iter()
            .map(|found| format!("paused       {}: by {} {}", found.host, found.by, found.detail)),
    );
    if !view.revoked_and_not_removed.is_empty() {
        lines.push(format!(
            "revoked, and no change removes them yet: {}",
            view.revoked_and_not_removed.join(", ")
        ));
    }
    lines.extend(view.unconfirmed_revocations.iter().flat_map(super::losses::LossView::lines));
    lines.extend(view.advice.iter().map(|advice| format!("note: {advice}")));
    lines
}
