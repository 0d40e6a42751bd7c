//! Verifying forward: fetches what the operator's store does not have and believes it only as far as
//! it verifies, sends what she signed and the controller does not have, and tells of a chain or a log
//! that is not the one she knows. Signs nothing.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Result, bail};
use muster_proto::{
    chain::Chain,
    envelope::Envelope,
    link::{LinkRef, LogHead, PublishedLink},
};

use super::{Session, hint, now, output, usage};
use crate::{
    client::Client,
    tool::{
        Tool, ToolError,
        log::{LogFault, accept::Step},
        signing::{Unfinished, Void},
    },
};

/// Says how the newest link that the controller shows does not belong to what was verified; `known`
/// is the newest number before it was asked for more.
fn fork(chain: &Chain, known: u64, shown: Option<LinkRef>) -> Option<anyhow::Error> {
    let told = |link: LinkRef| format!("change {} ({})", link.number, link.digest.short());
    let ours = chain.newest().map(told).unwrap_or_default();
    let theirs = shown.map_or_else(|| "no change".to_owned(), told);
    let own = shown.and_then(|shown| chain.place(shown.number));
    if let (Some(own), Some(shown)) = (own, shown)
        && own != shown
    {
        let (own, what) = (told(own), "you have verified another of that number");
        let error =
            anyhow::anyhow!("the chain is forked: the controller shows {theirs}, {what}: {own}");
        return Some(hint(
            error,
            "compare with what your colleagues' tools show, and sign nothing until it is clear",
        ));
    }
    (shown.map_or(0, |shown| shown.number) < known).then(|| {
        let error = anyhow::anyhow!(
            "the controller is older than what you have verified: it shows {theirs}, and you have {ours}"
        );
        hint(
            error,
            "was it set back to an old copy of its data? `muster restore` of a backup takes back what \
             you have; compare with what your colleagues' tools show; rebuilding it from your store, \
             `muster restore --from-tool`, is not there yet",
        )
    })
}

/// Says whether what the controller shows is an earlier state of the very chain that was verified.
fn was_set_back(chain: &Chain, shown: Option<LinkRef>) -> bool {
    shown.is_none_or(|shown| chain.place(shown.number) == Some(shown))
}

/// Asks for the proof that the audit log continues the head seen last and those that the new links'
/// signers saw; the links came before, so none of them can have seen more.
pub(super) async fn witness(tool: &Tool, client: &mut Client) -> Result<LogHead> {
    witnessed(tool, client).await.map_err(|error| {
        let cure = match error.downcast_ref::<ToolError>() {
            Some(ToolError::Log { cause: LogFault::Origin { found, .. }, .. }) => format!(
                "was the controller restored from a backup, and do you know by whom and why? Then \
                 `muster status --accept-log {found}` goes on with the log that it began. A new log \
                 can also hide what was in the one before"
            ),
            _ => "compare the evidence with what your colleagues' tools saw".to_owned(),
        };
        hint(error, cure)
    })
}

/// Goes on with the log of this name in the place of the one that was seen, at the operator's word.
pub(super) async fn accept(tool: &Tool, client: &mut Client, origin: &str) -> Result<()> {
    let status = client.status().await?;
    if status.log.origin != origin {
        let shown = &status.log.origin;
        return Err(usage(anyhow::anyhow!("the controller's log is `{shown}`, not `{origin}`")));
    }
    let mut proofs = BTreeMap::new();
    for Step { old, new } in tool.steps_to(&status.log, &status.log_beginnings)? {
        if old.size < new.size {
            match client.consistency(&old.origin, old.size, new.size).await {
                Ok(proof) => {
                    proofs.insert((old.origin, old.size), proof);
                }
                Err(error) => output::say(&format!("no proof of the audit log: {error}")),
            }
        }
    }
    let accepted = tool.accept_log(&status.log, &status.log_beginnings, &proofs)?;
    for (left, lost) in accepted.lost() {
        output::say(&format!(
            "left the audit log `{left}` for `{origin}`; entries of it that you saw and that are gone: {lost}"
        ));
    }
    Ok(())
}

async fn witnessed(tool: &Tool, client: &mut Client) -> Result<LogHead> {
    let head = client.status().await?.log;
    let mut proofs = BTreeMap::new();
    for old in tool.heads_to_continue()? {
        if (1..head.size).contains(&old.size) && !proofs.contains_key(&old.size) {
            match client.consistency(&head.origin, old.size, head.size).await {
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
    /// Fetches what the store does not have, and believes it only as far as it verifies. What an
    /// earlier run signed and could not send is sent; if it still cannot be, that is no hindrance to
    /// reading and to taking away.
    pub(super) async fn sync(&mut self) -> Result<()> {
        let status = self.client.status().await?;
        let lineage = self.tool.chain().lineage();
        if status.lineage != lineage {
            bail!(
                "this controller runs fleet {}, and your store is of fleet {}",
                status.lineage.short(),
                lineage.short()
            );
        }
        for envelope in self.client.trust_roots(self.tool.chain().trust().version).await? {
            self.tool.take_trust_root(&envelope)?;
        }
        if status.revocations as usize != self.tool.revocations() {
            self.take_revocations().await?;
        }
        let newest = self.tool.chain().newest().map_or(0, |link| link.number);
        for published in self.client.links(newest).await? {
            self.tool.take_link(&published, now())?;
        }
        if let Some(error) = fork(self.tool.chain(), newest, status.newest) {
            if !was_set_back(self.tool.chain(), status.newest) {
                return Err(error);
            }
            self.give_back(status.newest, newest, error).await?;
        }
        for void in self.tool.clear_finished()? {
            output::say(&match void {
                Void::Overtaken(number) => format!(
                    "change {number}, which you began to sign, is void: another has its number now"
                ),
                Void::Forbidden(number) => format!(
                    "change {number}, which you began to sign, is void: it cannot be signed any more"
                ),
            });
        }
        match self.tool.unfinished()? {
            Some(Unfinished::Signed(link)) => self.send_again(&link).await,
            Some(Unfinished::Begun(begun)) => {
                output::say(&format!(
                    "note: you began to sign change {}; `muster apply` and `muster offboard` take it up",
                    begun.candidate.link.number
                ));
                Ok(())
            }
            None => Ok(()),
        }
    }

    /// Gives back to a controller that was set back what its quorum signed since, link by link; it
    /// checks each like a new one. If it does not take them, `error` says how it stands.
    async fn give_back(
        &mut self,
        shown: Option<LinkRef>,
        newest: u64,
        error: anyhow::Error,
    ) -> Result<()> {
        let first = shown.map_or(0, |shown| shown.number) + 1;
        output::say(&format!(
            "the controller was set back to before change {first}; giving back what you have of it"
        ));
        for number in first..=newest {
            let Some(link) = self.tool.published(number)? else { return Err(error) };
            if let Err(refused) = self.client.publish(&link).await {
                output::say(&format!("warning: it does not take change {number} back: {refused}"));
                return Err(error);
            }
        }
        Ok(())
    }

    async fn take_revocations(&mut self) -> Result<()> {
        let theirs = self.client.revocations().await?;
        let known: BTreeSet<_> = theirs.iter().map(Envelope::digest).collect();
        for envelope in self.tool.kept_revocations()? {
            if known.contains(&envelope.digest()) {
                continue;
            }
            // Taking away goes before all else, and what was taken away stays so.
            output::say("giving back a revocation that the controller does not have");
            if let Err(refused) = self.client.revoke(&envelope).await {
                output::say(&format!("warning: it does not take it: {refused}"));
            }
        }
        for envelope in theirs {
            match self.tool.take_revocation(&envelope) {
                Ok(_) => {}
                // What is not believed takes nothing, and shall not keep the others out.
                Err(error @ ToolError::Revocation(_)) => {
                    output::say(&format!("warning: {:#}", anyhow::Error::from(error)));
                }
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }

    async fn send_again(&mut self, link: &PublishedLink) -> Result<()> {
        output::say("sending a change that you signed and the controller does not have yet");
        match self.client.publish(link).await {
            Ok(hosts) => self.sent = Some(self.taken(link, hosts)?),
            Err(error) => {
                output::say(&format!("warning: it could not be sent: {error}"));
                self.unsent = Some(error);
            }
        }
        Ok(())
    }
}
