//! `muster host token|list|show`, and what is decided about hosts.

mod adopt;
mod decide;

use anyhow::Result;
use clap::Subcommand;
use muster_proto::{
    crypto::MachinePublicKey, envelope::Envelope, receipt::Receipt, token::JoinToken,
    trust::verify_by_host,
};
use serde::Serialize;

use self::{adopt::AdoptArgs, decide::DecideArgs};
use super::{
    End, Globals, hint,
    output::{self, Rows},
    session::Session,
    usage,
};
use crate::{
    client::Host,
    declare::dates,
    host::{MAX_RECEIPTS, Measure, Verdict},
};

/// What to do with hosts.
#[derive(Clone, Debug, Subcommand)]
pub enum HostVerb {
    /// Print a token with which one host can join.
    Token {
        /// How long it works: 90s, 15m, 2h, 7d.
        #[arg(long, default_value = "1h")]
        valid_for: String,
    },
    /// List the hosts.
    List,
    /// Show one host and its newest receipts.
    Show {
        /// Its name or id.
        host: String,
        /// How many receipts, at most.
        #[arg(long, value_name = "N", default_value = "10")]
        #[arg(value_parser = clap::value_parser!(u32).range(1..=i64::from(MAX_RECEIPTS)))]
        receipts: u32,
    },
    /// Propose which accounts that a host has already are whose.
    Adopt(AdoptArgs),
    /// Send a host only what takes away, until it is released.
    Quarantine(DecideArgs),
    /// Lift a quarantine; or a ban, after which the host may join again.
    Release(DecideArgs),
    /// Void a host's certificates; it may join again with a new token.
    Evict(DecideArgs),
    /// Void a host's certificates and let its key join no more.
    Ban(DecideArgs),
    /// Forget a host that is not connected, here and in your own store.
    Purge(DecideArgs),
}

#[derive(Debug, Serialize)]
struct HostLine {
    host: String,
    id: String,
    /// `connected`, `away`, or `pending`: enrolled and never shown up. Or what was decided about it:
    /// `quarantined`, `evicted`, `banned`.
    state: &'static str,
    connected: bool,
    mode: String,
    change: Option<u64>,
    /// Whether that is newer than what the controller has.
    ahead: bool,
    labels: Vec<String>,
    last_seen: String,
    joined: String,
    token_by: String,
    agent_version: String,
    refusal: String,
    /// What was decided about it, by whom, when and why.
    decision: Option<String>,
}

impl Rows for HostLine {
    fn head() -> &'static [&'static str] {
        &["HOST", "STATE", "MODE", "CHANGE", "LAST SEEN", "LABELS"]
    }

    fn row(&self) -> Vec<String> {
        vec![
            self.host.clone(),
            self.state.to_owned(),
            self.mode.clone(),
            match self.change {
                Some(number) if self.ahead => format!("{number} (ahead)"),
                Some(number) => number.to_string(),
                None => String::new(),
            },
            self.last_seen.clone(),
            self.labels.join(","),
        ]
    }
}

#[derive(Debug, Serialize)]
struct HostDetail {
    #[serde(flatten)]
    line: HostLine,
    /// What the controller found out about it.
    notes: Vec<String>,
    receipts: Vec<ReceiptLine>,
}

#[derive(Debug, Serialize)]
struct ReceiptLine {
    number: u64,
    time: String,
    change: Option<u64>,
    verified: bool,
    outcomes: Vec<String>,
    findings: Vec<String>,
}

/// Runs the verb.
pub async fn run(common: &Globals, verb: &HostVerb) -> Result<End> {
    let mut session = common.session().await?;
    match verb {
        HostVerb::Token { valid_for } => {
            let valid_for = dates::seconds(valid_for).map_err(anyhow::Error::msg).map_err(usage)?;
            token(&mut session, valid_for).await
        }
        HostVerb::List => {
            let hosts = session.client.hosts().await?;
            let newest = session.newest();
            let mut lines: Vec<HostLine> = hosts.iter().map(|host| line(host, newest)).collect();
            lines.sort_by(|a, b| (&a.host, &a.id).cmp(&(&b.host, &b.id)));
            output::list(common.output, &lines)
        }
        HostVerb::Adopt(args) => adopt::run(common, &mut session, args).await,
        HostVerb::Quarantine(args) => {
            decide::run(common, &mut session, Measure::Quarantine, args).await
        }
        HostVerb::Release(args) => decide::run(common, &mut session, Measure::Release, args).await,
        HostVerb::Evict(args) => decide::run(common, &mut session, Measure::Evict, args).await,
        HostVerb::Ban(args) => decide::run(common, &mut session, Measure::Ban, args).await,
        HostVerb::Purge(args) => decide::run(common, &mut session, Measure::Purge, args).await,
        HostVerb::Show { host, receipts } => {
            let host = find(&mut session, host).await?;
            let receipts = receipt_lines(&mut session, &host, *receipts).await?;
            let end = end(&receipts);
            let notes = host.notes.clone();
            let detail = HostDetail { line: line(&host, session.newest()), notes, receipts };
            Ok(output::value(common.output, &detail)?.and(end))
        }
    }
}

/// Returns how it ends: with a receipt that is not believed something is wrong, and of a host without
/// any nothing is known yet.
fn end(receipts: &[ReceiptLine]) -> End {
    if receipts.iter().any(|receipt| !receipt.verified) {
        output::say("a receipt is not believed: what it says is not shown");
        return End::Findings;
    }
    if receipts.is_empty() {
        output::say("it has told nothing yet: no receipt of it is here");
        return End::Waiting;
    }
    End::Done
}

/// Reads a host's newest receipts, page by page.
async fn receipt_lines(session: &mut Session, host: &Host, most: u32) -> Result<Vec<ReceiptLine>> {
    let (mut lines, mut below, mut left) = (Vec::new(), None, most);
    while left > 0 {
        let page = session.client.receipts(host.labels.id, below, left).await?;
        lines.extend(page.found.iter().map(|envelope| shown(envelope, host.keeper_key)));
        left = left.saturating_sub(u32::try_from(page.found.len()).unwrap_or(u32::MAX));
        below = page.rest;
        if below.is_none() || page.found.is_empty() {
            break;
        }
    }
    Ok(lines)
}

fn shown(envelope: &Envelope, key: MachinePublicKey) -> ReceiptLine {
    match verify_by_host::<Receipt>(envelope, key) {
        Ok(receipt) => receipt_line(&receipt),
        Err(error) => ReceiptLine {
            number: 0,
            time: String::new(),
            change: None,
            verified: false,
            outcomes: Vec::new(),
            findings: vec![error.to_string()],
        },
    }
}

/// Composes the token from what this operator has verified; the controller adds the secret alone.
async fn token(session: &mut Session, valid_for: u64) -> Result<End> {
    let parts = session.client.create_token(valid_for).await?;
    let chain = session.tool.chain();
    let token = JoinToken {
        lineage: chain.lineage(),
        address: parts.address,
        ca: parts.ca,
        trust_version: chain.trust().version,
        trust_digest: chain.trust().digest(),
        floor: chain.newest(),
        secret: parts.secret,
        expires: parts.expires,
    };
    output::say(&format!(
        "on the host: muster-agent join TOKEN   (works once, until {})",
        parts.expires
    ));
    output::write(&(token.render() + "\n"))
}

/// Finds a host by its id, its name, or the beginning of its id.
pub async fn find(session: &mut Session, wanted: &str) -> Result<Host> {
    let hosts = session.client.hosts().await?;
    let found = pick(&hosts, wanted)?;
    let passed = passed_over(&hosts, &found);
    if !passed.is_empty() {
        let (name, ids) = (&found.labels.hostname, ids(&passed));
        output::say(&format!("note: a host that is called `{name}` too has not shown up: {ids}"));
    }
    Ok(found)
}

/// Returns the hosts of the same name that have never shown up: a join that was refused or began
/// anew leaves one behind for a day, which is not meant.
fn passed_over<'h>(hosts: &'h [Host], found: &Host) -> Vec<&'h Host> {
    let alike = |host: &&Host| {
        host.pending && !found.pending && host.labels.hostname == found.labels.hostname
    };
    hosts.iter().filter(alike).collect()
}

/// A whole id is one host's alone, whatever others call themselves: a host chooses its own name, and
/// must not be able to stand before another.
fn pick(hosts: &[Host], wanted: &str) -> Result<Host> {
    if let Some(exact) = hosts.iter().find(|host| host.labels.id.to_string() == wanted) {
        return Ok(exact.clone());
    }
    let fits = |host: &&Host| {
        host.labels.hostname == wanted
            || (wanted.len() >= 8 && host.labels.id.to_string().starts_with(wanted))
    };
    let mut found: Vec<&Host> = hosts.iter().filter(fits).collect();
    if found.iter().any(|host| !host.pending) {
        found.retain(|host| !host.pending);
    }
    match found.as_slice() {
        [one] => Ok((*one).clone()),
        [] => Err(hint(
            usage(anyhow::anyhow!("no host is called `{wanted}`")),
            "`muster host list` shows which there are",
        )),
        several => Err(hint(
            usage(anyhow::anyhow!(
                "{} hosts are called `{wanted}`: {}",
                several.len(),
                ids(several)
            )),
            "name one by its id, or by the first 8 digits of it or more",
        )),
    }
}

fn ids(hosts: &[&Host]) -> String {
    let id = |host: &&Host| {
        let pending = if host.pending { " (pending)" } else { "" };
        format!("{}{pending}", host.labels.id)
    };
    hosts.iter().map(id).collect::<Vec<_>>().join(", ")
}

fn line(host: &Host, newest: u64) -> HostLine {
    HostLine {
        host: host.labels.hostname.clone(),
        id: host.labels.id.to_string(),
        state: match host {
            Host { decision: Some(decision), .. } => Verdict::word(decision.verdict),
            Host { pending: true, .. } => "pending",
            Host { connected: true, .. } => "connected",
            _ => "away",
        },
        connected: host.connected,
        mode: host.mode.to_owned(),
        change: host.floor.map(|floor| floor.number),
        ahead: host.floor.is_some_and(|floor| floor.number > newest),
        labels: host.labels.labels.iter().map(|(k, v)| format!("{k}={v}")).collect(),
        last_seen: host.last_seen.to_string(),
        joined: host.joined.to_string(),
        token_by: host.token_by.clone(),
        agent_version: host.agent_version.clone(),
        refusal: host.refusal.clone(),
        decision: host.decision.as_ref().map(ToString::to_string),
    }
}

fn receipt_line(receipt: &Receipt) -> ReceiptLine {
    let outcomes = receipt.outcomes.iter().map(|outcome| {
        let failure = outcome.failure.as_ref().map(|why| format!(" FAILED: {why}"));
        let failure = failure.unwrap_or_default();
        format!("{} {} {}{failure}", outcome.action, outcome.subject, outcome.detail)
    });
    let findings =
        receipt.findings.iter().map(|f| format!("{} {}: {}", f.kind, f.subject, f.detail));
    ReceiptLine {
        number: receipt.number,
        time: receipt.time.to_string(),
        change: receipt.floor.map(|floor| floor.number),
        verified: true,
        outcomes: outcomes.collect(),
        findings: findings.collect(),
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;
    use muster_proto::{crypto::MachineKey, id::Digest, selector::Labels, time::Timestamp};

    use super::*;
    use crate::{cli::drift, client::Record, preview::HostLabels, signer};

    fn host(id: u8, hostname: &str) -> Host {
        let key = MachineKey::from_pkcs8(&signer::generate().unwrap()).unwrap();
        let (id, hostname) = (Digest::new([id; 32]), hostname.to_owned());
        Host {
            labels: HostLabels { id, hostname, labels: Labels::default() },
            keeper_key: key.public(),
            connected: true,
            last_seen: Timestamp(0),
            joined: Timestamp(0),
            floor: None,
            mode: "enforce",
            agent_version: String::new(),
            refusal: String::new(),
            receipts: 0,
            token_by: "ana".to_owned(),
            pending: false,
            notes: Vec::new(),
            paused: None,
            behind: false,
            record: Record::Whole,
            decision: None,
        }
    }

    #[test]
    fn a_host_with_a_receipt_that_is_not_believed_or_with_none_is_not_said_to_be_well() {
        let (db1, thief) = (drift::tests::key(), drift::tests::key());
        let read = |by| shown(&drift::tests::receipt(&db1, by, 1), db1.public());
        assert_eq!(end(&[read(&db1)]), End::Done);
        assert_eq!(end(&[read(&db1), read(&thief)]), End::Findings);
        assert_eq!(end(&[]), End::Waiting);
    }

    #[derive(Debug, Parser)]
    struct Typed {
        #[command(subcommand)]
        verb: HostVerb,
    }

    #[test]
    fn as_many_receipts_are_shown_as_are_sent_at_once_and_ten_unless_asked_for() {
        let typed = |more: &[&str]| {
            let words = [&["muster", "show", "db1"], more].concat();
            Typed::try_parse_from(words).ok().map(|typed| match typed.verb {
                HostVerb::Show { receipts, .. } => receipts,
                other => panic!("{other:?}"),
            })
        };
        assert_eq!(typed(&[]), Some(10));
        for (number, expected) in
            [("0", None), ("1", Some(1)), ("1000", Some(MAX_RECEIPTS)), ("1001", None)]
        {
            assert_eq!(typed(&["--receipts", number]), expected, "{number}");
        }
    }

    #[test]
    fn a_host_that_calls_itself_by_the_id_of_another_does_not_hide_it() {
        let victim = host(1, "db1");
        let id = victim.labels.id.to_string();
        let hosts = [host(2, &id), victim, host(3, &id[..8]), host(4, "web")];
        let found = |wanted: &str| pick(&hosts, wanted).map(|host| host.labels.id);
        assert_eq!(found(&id).unwrap(), Digest::new([1; 32]));
        assert_eq!(found("db1").unwrap(), Digest::new([1; 32]));
        assert_eq!(found("web").unwrap(), Digest::new([4; 32]));
        assert!(found(&id[..8]).unwrap_err().to_string().contains("hosts are called"));
        assert!(found("nobody").is_err());
    }

    #[test]
    fn of_two_hosts_of_one_name_none_is_picked_and_both_ids_are_told() {
        let (one, two) = (Digest::new([1; 32]), Digest::new([2; 32]));
        let error = pick(&[host(1, "db1"), host(2, "db1")], "db1").unwrap_err().to_string();
        assert_eq!(error, format!("2 hosts are called `db1`: {one}, {two}"));
        let pending = [1, 2].map(|id| Host { pending: true, ..host(id, "db1") });
        let error = pick(&pending, "db1").unwrap_err().to_string();
        assert_eq!(error, format!("2 hosts are called `db1`: {one} (pending), {two} (pending)"));
    }

    #[test]
    fn one_that_never_showed_up_is_passed_over_for_one_that_did_and_told_of() {
        let waiting = Host { pending: true, ..host(2, "db1") };
        let hosts = [host(1, "db1"), waiting, host(3, "web1")];
        let found = pick(&hosts, "db1").unwrap();
        assert_eq!(found.labels.id, Digest::new([1; 32]));
        let passed = passed_over(&hosts, &found);
        assert_eq!(ids(&passed), format!("{} (pending)", Digest::new([2; 32])));
        assert!(passed_over(&hosts, &hosts[2]).is_empty());
        assert!(passed_over(&hosts, &hosts[1]).is_empty());
    }
}
