//! `muster offboard`: revoked at once, then removed. The revocation needs one signature and goes
//! first; the removal is the link that tells every host and tool for ever.

use anyhow::{Context, Result};
use clap::Args;
use muster_proto::{
    link::Target,
    name::{Line, Login},
    statement::LeafState,
};

use super::{
    End, Globals,
    apply::{agree, load_key},
    follow::{self, Asked, Wait},
    hint,
    output::{self, Format},
    plan, usage,
};
use crate::declare::resolve::removal_of;

/// The verb's own arguments.
#[derive(Clone, Debug, Args)]
pub struct OffboardArgs {
    /// Who.
    login: String,
    /// Why; it is signed and kept.
    #[arg(long, default_value = "offboarded")]
    reason: String,
    /// Do not ask.
    #[arg(long, short)]
    yes: bool,
    /// Show what would be done and end.
    #[arg(long)]
    dry_run: bool,
    #[command(flatten)]
    wait: Wait,
}

/// Runs the verb.
pub async fn run(common: &Globals, args: &OffboardArgs) -> Result<End> {
    let login = Login::parse(&args.login).map_err(usage)?;
    let reason = Line::parse(&args.reason).context("--reason").map_err(usage)?;
    let mut session = common.session().await?;
    let chain = session.tool.chain();
    let removal = removal_of(chain, &login).ok_or_else(|| {
        hint(
            anyhow::anyhow!("the directory has no user `{login}`"),
            "`muster user list` shows who there is",
        )
    })?;
    let user = chain.taken().logins.get(&login).and_then(|id| chain.statements().get(id));
    let user = user.context("the directory names a user that it does not have")?;
    if user.content.state() == LeafState::Removed {
        output::say(&format!("`{login}` has been offboarded already"));
        return Ok(End::Done);
    }
    let target = Target::Statement { id: user.id, revision: user.revision };
    let already = chain.revocations().ends(user);
    let hosts = plan::hosts(&mut session).await?;
    let effects = plan::effects(&session, &removal.statements, &hosts);
    if common.output == Format::Table {
        plan::show(common.output, &removal, &effects, session.tool.chain(), &[])?;
    }
    if args.dry_run {
        return Ok(End::Differences);
    }
    agree(args.yes, &format!("Lock `{login}` on {} hosts?", effects.len()))?;
    let key = load_key(common)?;
    let mut revoked = (Vec::new(), Vec::new());
    if !already {
        revoked = session.revoke(&[target], &reason, &key).await?;
        output::say(&format!("revoked `{login}` on {} hosts", revoked.1.len()));
    }
    let mut about = follow::reached(&effects);
    about.insert(login.to_string());
    let (link, mut hosts) = session.publish(removal.statements, reason, &[], &key).await?;
    output::say(&format!("published change {}, the removal", link.number));
    hosts.extend(revoked.1);
    hosts.sort();
    hosts.dedup();
    let (link, undone) = (Some(link.number), "not locked");
    let asked = Asked { link, revocations: revoked.0, hosts, about, undone };
    follow::run(&mut session, common.output, &args.wait, &asked).await
}
