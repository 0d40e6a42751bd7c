//! Follows a change onto the hosts: each host's own signed receipt is the proof, and whoever has not
//! confirmed is named. What a host's word is worth is judged in `judge`; here is who is asked, for
//! how long, and what is told.

mod judge;

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use anyhow::Result;
use clap::Args;
use muster_proto::{
    derive::Statements,
    id::{HostId, Id},
    link::Revocation,
    name::Line,
    statement::Content,
};

use super::{
    End,
    output::{self, Format, count},
    session::Session,
};
use crate::{
    client::{Follow, Progress},
    declare::Resolved,
    preview::Effect,
    tool::known::{Acquaintances, Hosts},
};
use judge::{Bench, HostLine, State};

/// How long to wait for the hosts.
#[derive(Clone, Debug, Args)]
pub struct Wait {
    /// Do not wait for the hosts.
    #[arg(long, global = true)]
    no_wait: bool,
    /// Seconds to wait for the hosts.
    #[arg(long, global = true, default_value_t = 60)]
    timeout: u64,
}

/// What hosts are asked to do.
#[derive(Clone, Debug, Default)]
pub struct Asked {
    /// Verify this link …
    pub link: Option<u64>,
    /// … and these revocations of the operator's own …
    pub revocations: Vec<Revocation>,
    /// … on these hosts.
    pub hosts: BTreeSet<HostId>,
    /// Those of them that the revocations concern; the others are asked for the link alone.
    pub revoked_on: BTreeSet<HostId>,
    /// The names and numbers that it is about: a host's finding about one of them says that it did
    /// only a part.
    pub about: BTreeSet<String>,
    /// The logins that lose an account.
    pub locks: BTreeSet<String>,
    /// What a host that only observes has left undone, in a word.
    pub undone: &'static str,
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

/// Returns the logins that lose their account somewhere.
pub fn locked(effects: &[Effect]) -> BTreeSet<String> {
    effects.iter().flat_map(|effect| &effect.lost).map(ToString::to_string).collect()
}

/// Returns the hosts on which something has an effect: those that the controller should name, and are
/// followed though it does not.
pub fn affected(effects: &[Effect]) -> impl Iterator<Item = HostId> {
    effects.iter().map(|effect| effect.id)
}

/// Follows until every host has confirmed or the time is up.
pub async fn run(session: &mut Session, format: Format, wait: &Wait, asked: &Asked) -> Result<End> {
    let mut names: BTreeMap<HostId, String> = BTreeMap::new();
    for host in session.client.hosts().await? {
        names.insert(host.labels.id, host.labels.hostname);
    }
    let acquaintances = Acquaintances::new(session.tool.known_hosts()?, names.keys().copied());
    let mut lines: BTreeMap<HostId, HostLine> = BTreeMap::new();
    for (id, name) in acquaintances.unlisted() {
        output::say(&format!("warning: `{name}` ({}) was known, is not listed", id.short()));
        lines.insert(*id, HostLine::unlisted(*id, name));
    }
    let hosts: BTreeSet<HostId> =
        asked.hosts.iter().copied().filter(|host| !lines.contains_key(host)).collect();
    if hosts.is_empty() && lines.is_empty() {
        output::say("no host is concerned");
        return Ok(End::Done);
    }
    let name = |host: &HostId| names.get(host).cloned().unwrap_or_else(|| host.short());
    if wait.no_wait {
        let mut named: Vec<String> = hosts.iter().map(name).collect();
        named.sort();
        let concerned = count(named.len(), "host is", "hosts are");
        let named = named.join(", ");
        output::say(&format!("{concerned} concerned, and not waited for: {named}"));
        return Ok(End::Waiting);
    }
    let lineage = session.tool.chain().lineage();
    let bench = Bench { asked, lineage, acquaintances: &acquaintances };
    let mut seen = Hosts::new();
    if !hosts.is_empty() {
        let (revoked, others): (Vec<HostId>, Vec<HostId>) =
            hosts.iter().copied().partition(|host| asked.revoked_on.contains(host));
        let mut streams = Vec::new();
        let ids: Vec<Id> = asked.revocations.iter().map(|revocation| revocation.id).collect();
        for (revocations, list) in [(ids.as_slice(), revoked), (&[], others)] {
            if !list.is_empty() {
                streams.push(session.client.follow(asked.link, revocations, &list).await?);
            }
        }
        let watch = async {
            while let Some(progress) = next(&mut streams).await? {
                let line = bench.judge(&progress);
                let text = format!("  {}: {} {}", line.host, line.state.word(), line.detail);
                output::say(text.trim_end());
                // A name that is none cannot be remembered, and was shown as it is.
                if let (true, Ok(name)) = (line.is_own_word(), Line::parse(&progress.hostname)) {
                    seen.insert(progress.host, name);
                }
                lines.insert(progress.host, line);
                let settled = |host| lines.get(host).is_some_and(|line| line.state.is_final());
                if hosts.iter().all(settled) {
                    break;
                }
            }
            Ok::<_, anyhow::Error>(())
        };
        if let Ok(ended) = tokio::time::timeout(Duration::from_secs(wait.timeout), watch).await {
            ended?;
        }
    }
    session.tool.remember_hosts(seen)?;
    for host in &hosts {
        let unheard = || HostLine::unheard(*host, name(host));
        lines.entry(*host).or_insert_with(unheard).give_up();
    }
    tell(format, &lines.into_values().collect::<Vec<_>>())
}

/// Returns what comes next on any of the streams, of which there are two at most.
async fn next(streams: &mut Vec<Follow>) -> Result<Option<Progress>> {
    loop {
        let (at, heard) = match streams.as_mut_slice() {
            [] => return Ok(None),
            [one] => (0, one.next().await?),
            [one, other, ..] => tokio::select! {
                heard = one.next() => (0, heard?),
                heard = other.next() => (1, heard?),
            },
        };
        if heard.is_some() {
            return Ok(heard);
        }
        drop(streams.remove(at));
    }
}

/// Names the hosts that have not confirmed all that they were sent, this change among it.
pub async fn behind(session: &mut Session, change: u64) -> Result<End> {
    let hosts = session.client.hosts().await?.into_iter();
    let behind =
        hosts.filter(|host| host.behind && host.floor.is_none_or(|floor| floor.number < change));
    let mut behind: Vec<String> = behind.map(|host| host.labels.hostname).collect();
    behind.sort();
    for host in &behind {
        output::say(&format!("not confirmed: {host} (has not done all that it was sent)"));
    }
    Ok(if behind.is_empty() { End::Done } else { End::Waiting })
}

fn tell(format: Format, all: &[HostLine]) -> Result<End> {
    output::list(format, all)?;
    let (done, left): (Vec<&HostLine>, Vec<&HostLine>) =
        all.iter().partition(|line| line.state == State::Done);
    let hosts = count(all.len(), "host", "hosts");
    let have = if done.len() == 1 { "has" } else { "have" };
    output::say(&format!("{} of {hosts} {have} confirmed", done.len()));
    for line in &left {
        output::say(&format!("not confirmed: {} ({})", line.host, line.state.word()));
    }
    Ok(if left.is_empty() { End::Done } else { End::Waiting })
}
