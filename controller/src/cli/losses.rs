//! What the controller's online key revoked and no approver confirmed: shown as losses, and kept by
//! a change only when its signer names them. Whose signature a revocation has was found by
//! verification when it came.

use std::collections::BTreeSet;

use anyhow::Result;
use muster_proto::{
    chain::{Chain, Loss},
    id::{Id, Kind},
    link::Target,
};
use serde::Serialize;

use super::{hint, usage};

/// A loss as it is shown.
#[derive(Debug, Serialize)]
pub struct LossView {
    revocation: String,
    target: String,
    concerned: Vec<String>,
    confirmed: bool,
}

impl LossView {
    /// Says whether the signer confirms it.
    pub fn is_confirmed(&self) -> bool {
        self.confirmed
    }

    /// Returns it for people.
    pub fn lines(&self) -> Vec<String> {
        let Self { revocation, target, concerned, confirmed } = self;
        let line = |kept| {
            format!("! the controller itself revoked {target} ({kept}): {}", concerned.join(", "))
        };
        if *confirmed {
            return vec![line("confirmed by you")];
        }
        let keep = format!("muster apply --file PATH --confirm-revocation {revocation}");
        vec![line("open"), format!("      `{keep}` keeps it")]
    }
}

/// Returns all open losses, and says which of them are confirmed.
pub fn views(chain: &Chain, confirmed: &[Loss]) -> Vec<LossView> {
    let view = |loss: Loss| LossView {
        revocation: loss.revocation.to_string(),
        target: target(&loss.target, chain),
        concerned: loss.concerned.iter().map(|id| name(id, chain)).collect(),
        confirmed: confirmed.contains(&loss),
    };
    chain.losses().into_iter().map(view).collect()
}

/// Returns the losses that the signer names, one of an id that is not open among them being her
/// mistake.
pub fn confirmed(named: &[String], chain: &Chain) -> Result<Vec<Loss>> {
    let open = chain.losses();
    if named.iter().any(|word| word == "all") {
        return Ok(open);
    }
    let mut ids = BTreeSet::new();
    for word in named {
        let id = Id::parse_hex(word).filter(|id| open.iter().any(|loss| loss.revocation == *id));
        let id = id.ok_or_else(|| {
            let what = anyhow::anyhow!("no revocation `{word}` of the controller's is open");
            hint(usage(what), "`muster status` shows those that are")
        })?;
        // Whoever holds the online key could otherwise lay one beside that which was looked at.
        if open.iter().filter(|loss| loss.revocation == id).count() > 1 {
            let what = anyhow::anyhow!("the controller signed several revocations called `{word}`");
            return Err(hint(usage(what), "look at all of them; `all` keeps all that are shown"));
        }
        ids.insert(id);
    }
    Ok(open.into_iter().filter(|loss| ids.contains(&loss.revocation)).collect())
}

fn target(target: &Target, chain: &Chain) -> String {
    match target {
        Target::Statement { id, revision } => {
            format!("{} up to revision {revision}", name(id, chain))
        }
        Target::Membership { user, group } => {
            format!("the membership of {} in {}", name(user, chain), name(group, chain))
        }
        Target::Key(fingerprint) => format!("key {}", fingerprint.short()),
        Target::Host(host) => format!("host {}", host.short()),
    }
}

fn name(id: &Id, chain: &Chain) -> String {
    if let Id::Host(host) = id {
        return format!("{} {}", Kind::Host, host.short());
    }
    let known = chain.statements().get(id).map(|statement| &statement.content);
    known.map_or_else(
        || id.to_string(),
        |content| format!("{} `{}`", content.kind(), content.name().unwrap_or("(gone)")),
    )
}
