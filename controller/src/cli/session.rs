//! What most verbs begin with: the operator's store, brought up to date by verifying forward, and a
//! connection to the controller.
#![expect(
    clippy::disallowed_methods,
    reason = "the operator side asks the clock and where home is here"
)]

use std::{collections::BTreeMap, path::PathBuf};

use anyhow::{Context, Result, bail};
use muster_proto::{
    chain::Loss,
    change,
    envelope::{Document, Envelope, Verified},
    id::Id,
    link::{Link, LinkBody, LogHead, Proposal, PublishedLink, Revocation, Target},
    name::Line,
    statement::Statement,
    time::{Now, Timestamp},
};

use super::{Globals, hint, output, sign::PersonKey};
use crate::{
    client::Client,
    tool::{Tool, ToolError},
};

/// The operator's store and the controller.
#[derive(Debug)]
pub struct Session {
    /// What was verified.
    pub tool: Tool,
    /// The controller.
    pub client: Client,
}

impl Globals {
    /// Returns where the operator's store is.
    pub fn store(&self) -> Result<PathBuf> {
        place(self.store.as_ref(), "XDG_STATE_HOME", ".local/state/muster", "muster")
    }

    /// Returns where the operator's approver key is.
    pub fn key(&self) -> Result<PathBuf> {
        place(self.key.as_ref(), "XDG_CONFIG_HOME", ".config/muster/approver", "muster/approver")
    }

    /// Opens the store and the connection, and verifies forward.
    pub async fn session(&self) -> Result<Session> {
        let directory = self.store()?;
        let mut tool = Tool::open(&directory).map_err(|error| match error {
            ToolError::Missing(_) => hint(
                error,
                "`muster init` makes one; a new operator begins with what a colleague's tool shows",
            ),
            other => other.into(),
        })?;
        let mut client = self.connect().await?;
        sync(&mut tool, &mut client).await?;
        if let Err(error) = witness(&tool, &mut client).await {
            // Reading goes on, and so does taking away; only a change carries the log's head.
            output::say(&format!("warning: {error:#}"));
        }
        Ok(Session { tool, client })
    }

    /// Connects to the controller.
    pub async fn connect(&self) -> Result<Client> {
        let socket = &self.socket;
        Client::connect(socket).await.map_err(|error| {
            hint(
                error,
                format!("is `muster serve` running, and may you open `{}`?", socket.display()),
            )
        })
    }
}

fn place(
    given: Option<&PathBuf>,
    variable: &str,
    under_home: &str,
    under_variable: &str,
) -> Result<PathBuf> {
    if let Some(path) = given {
        return Ok(path.clone());
    }
    if let Some(base) = std::env::var_os(variable).filter(|base| !base.is_empty()) {
        return Ok(PathBuf::from(base).join(under_variable));
    }
    let home = std::env::var_os("HOME").context("HOME is not set; say where with an option")?;
    Ok(PathBuf::from(home).join(under_home))
}

/// Returns what the clock says.
pub fn now() -> Timestamp {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    Timestamp(since.map_or(0, |since| since.as_secs()))
}

/// Makes an id that was never used.
pub fn new_id() -> Result<Id> {
    Ok(Id::Object(crate::signer::random()?))
}

/// Fetches what the store does not have, and believes it only as far as it verifies.
async fn sync(tool: &mut Tool, client: &mut Client) -> Result<()> {
    let status = client.status().await?;
    let lineage = tool.chain().lineage();
    if status.lineage != lineage {
        bail!(
            "this controller runs fleet {}, and your store is of fleet {}",
            status.lineage.short(),
            lineage.short()
        );
    }
    for envelope in client.trust_roots(tool.chain().trust().version).await? {
        tool.take_trust_root(&envelope)?;
    }
    if status.revocations as usize != tool.revocations() {
        for envelope in client.revocations().await? {
            match tool.take_revocation(&envelope) {
                Ok(_) => {}
                // What is not believed takes nothing, and shall not keep the others out.
                Err(error @ ToolError::Revocation(_)) => {
                    output::say(&format!("warning: {:#}", anyhow::Error::from(error)));
                }
                Err(error) => return Err(error.into()),
            }
        }
    }
    let newest = tool.chain().newest().map_or(0, |link| link.number);
    for published in client.links(newest).await? {
        tool.take_link(&published, now())?;
    }
    if let Some(published) = tool.pending()? {
        output::say("finishing a change that you signed and the controller does not have yet");
        client.publish(&published).await?;
        tool.take_link(&published, now())?;
        return Ok(());
    }
    let (ours, theirs) = (tool.chain().newest(), status.newest);
    if ours != theirs && ours.is_some() && theirs.map(|l| l.number) <= ours.map(|l| l.number) {
        bail!(
            "the controller's newest link is not yours: it shows {:?}, and you have verified {:?}",
            theirs.map(|link| link.number),
            ours.map(|link| link.number)
        );
    }
    Ok(())
}

/// Asks for the proof that the audit log continues the head seen last and those that the new links'
/// signers saw; the links came before, so none of them can have seen more.
async fn witness(tool: &Tool, client: &mut Client) -> Result<LogHead> {
    let head = client.status().await?.log;
    let mut proofs = BTreeMap::new();
    for old in tool.heads_to_continue()? {
        if (1..head.size).contains(&old.size) && !proofs.contains_key(&old.size) {
            match client.consistency(old.size, head.size).await {
                Ok(proof) => {
                    proofs.insert(old.size, proof);
                }
                // A proof that does not come is judged like any that does not hold.
                Err(error) => output::say(&format!("no proof of the audit log: {error}")),
            }
        }
    }
    tool.witness(&head, &proofs)?;
    Ok(head)
}

impl Session {
    /// Proposes statements, cuts them into the next link, signs both, and publishes the link.
    pub async fn publish(
        &mut self,
        statements: Vec<Statement>,
        reason: Line,
        confirmed: &[Loss],
        key: &PersonKey,
    ) -> Result<(Verified<Link>, Vec<muster_proto::id::HostId>)> {
        let log = witness(&self.tool, &mut self.client).await.map_err(|error| {
            hint(error, "compare the evidence with what your colleagues' tools saw")
        })?;
        let chain = self.tool.chain();
        let changed = statements.iter().map(|statement| statement.id).collect();
        let time = now();
        let proposer = key.owner(chain.trust())?;
        let proposal = Proposal {
            lineage: chain.lineage(),
            id: new_id()?,
            time,
            reason,
            statements,
            proposer,
        };
        let mut proposal = Envelope::new(&proposal);
        key.sign(&mut proposal)?;
        let proposals = vec![proposal];
        let candidate = chain.cut(&proposals, chain.folds(&changed, confirmed), time, log)?;
        change::check_reinstated(&candidate.body, chain.revocations())?;
        let published = self.sign_link(&candidate.link, &candidate.body, proposals, key)?;
        let hosts = self.client.publish(&published).await?;
        let link = self.tool.take_link(&published, now())?;
        Ok((link, hosts))
    }

    fn sign_link(
        &self,
        link: &Link,
        body: &LinkBody,
        proposals: Vec<Envelope>,
        key: &PersonKey,
    ) -> Result<PublishedLink> {
        self.tool.record_signing(link)?;
        let mut envelope = Envelope::new(link);
        key.sign(&mut envelope)?;
        let published = PublishedLink { link: envelope, body: body.encode(), proposals };
        self.tool.keep_signed(link.number, &published)?;
        Ok(published)
    }

    /// Signs revocations as an approver and hands them in.
    pub async fn revoke(
        &mut self,
        targets: &[Target],
        reason: &Line,
        key: &PersonKey,
    ) -> Result<(Vec<Id>, Vec<muster_proto::id::HostId>)> {
        let (mut ids, mut hosts) = (Vec::new(), std::collections::BTreeSet::new());
        for target in targets {
            let revocation = Revocation {
                lineage: self.tool.chain().lineage(),
                id: new_id()?,
                time: now(),
                reason: reason.clone(),
                target: *target,
            };
            let mut envelope = Envelope::new(&revocation);
            key.sign(&mut envelope)?;
            hosts.extend(self.client.revoke(&envelope).await?);
            self.tool.take_revocation(&envelope)?;
            ids.push(revocation.id);
        }
        Ok((ids, hosts.into_iter().collect()))
    }

    /// Returns what time it is, as far as a preview goes.
    pub fn now(&self) -> Now {
        Now::at(now())
    }
}
