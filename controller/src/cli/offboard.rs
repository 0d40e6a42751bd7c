//! `muster offboard`: revoked at once, then removed. The revocation needs one signature and goes
//! first; the removal is the link that tells every host and tool for ever.

use anyhow::{Context, Result};
use clap::Args;
use muster_proto::{
    envelope::Verified,
    id::Id,
    link::{Link, LinkBody, Target},
    name::{Line, Login},
    statement::LeafState,
};

use super::{
    End, Globals, Hint,
    apply::{agree, load_key},
    follow::{self, Asked, Wait},
    hint,
    output::{self, Format, count},
    plan::{self, Planned},
    resume::{self, Resumed},
    session::{Published, Session},
    usage,
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
            usage(anyhow::anyhow!("the directory has no user `{login}`")),
            "`muster user list` shows who there is",
        )
    })?;
    let user = chain.taken().logins.get(&login).and_then(|id| chain.statements().get(id));
    let user = user.context("the directory names a user that it does not have")?;
    if user.content.state() == LeafState::Removed {
        let id = user.id;
        output::say(&format!("`{login}` has been offboarded already"));
        if let Some(resumed) = resume::run(common, &mut session, args.yes).await? {
            return resumed.follow(&mut session, common.output, &args.wait).await;
        }
        let change = removed_in(&session, id)?;
        return follow::behind(&mut session, change).await;
    }
    let target = Target::Statement { id: user.id, revision: user.revision };
    let already = chain.revocations().ends(user);
    let hosts = plan::hosts(&mut session).await?;
    let effects = plan::effects(&session, &removal.statements, &hosts);
    if common.output == Format::Table {
        plan::show(common.output, &Planned::new(&session, &removal, &effects, &[]))?;
    }
    if args.dry_run {
        return Ok(End::Differences);
    }
    agree(args.yes, &format!("Lock `{login}` on {}?", count(effects.len(), "host", "hosts")))?;
    let key = load_key(common)?;
    let mut asked = Asked { undone: "not locked", ..Asked::default() };
    asked.hosts.extend(follow::affected(&effects));
    asked.about = follow::reached(&effects);
    asked.about.insert(login.to_string());
    asked.locks.insert(login.to_string());
    if !already {
        let revocation = session.revocation(target, reason.clone())?;
        let hosts = session.revoke(&revocation, &key).await?;
        let sent = count(hosts.len(), "host", "hosts");
        output::say(&format!("revocation of `{login}` sent to {sent}"));
        asked.revocations.push(revocation.id);
        asked.revoked_on.clone_from(&asked.hosts);
        asked.revoked_on.extend(&hosts);
        asked.hosts.extend(hosts);
    }
    let removed = remove(common, &mut session, args.yes, &login, reason).await;
    let before = match removed {
        Ok((published, resumed)) => {
            asked.link = Some(published.link.number);
            asked.hosts.extend(published.hosts);
            resumed.map_or(End::Done, |resumed| resumed.join(&mut asked))
        }
        Err(error) => {
            // What was revoked is on its way, and whoever asked must hear how far it has come.
            if !asked.revocations.is_empty()
                && let Err(error) =
                    follow::run(&mut session, common.output, &args.wait, &asked).await
            {
                output::failure(&error);
            }
            return Err(outstanding(error, &login));
        }
    };
    let followed = follow::run(&mut session, common.output, &args.wait, &asked).await?;
    Ok(followed.and(before))
}

/// Returns the change in which a user went.
fn removed_in(session: &Session, user: Id) -> Result<u64> {
    let chain = session.tool.chain();
    let newest = chain.newest().map_or(0, |link| link.number);
    for number in (1..=newest).rev() {
        let published = session.tool.published(number)?;
        let published = published.with_context(|| format!("change {number} is missing"))?;
        let (_, body, _): (Verified<Link>, LinkBody, _) =
            chain.verify_link(&published.link, &published.body, number)?;
        if body.all().any(|statement| statement.id == user) {
            return Ok(number);
        }
    }
    Ok(newest)
}

/// Publishes the removal, after whatever an earlier run began: that may have been this very removal.
async fn remove(
    common: &Globals,
    session: &mut Session,
    yes: bool,
    login: &Login,
    reason: Line,
) -> Result<(Published, Option<Resumed>)> {
    let resumed = resume::run(common, session, yes).await?;
    let chain = session.tool.chain();
    let removal = removal_of(chain, login)
        .with_context(|| format!("the directory has no user `{login}` any more"))?;
    if let (Some(resumed), true) = (&resumed, removal.statements.is_empty()) {
        return Ok((resumed.published().clone(), None));
    }
    let key = load_key(common)?;
    let published = session.publish(removal.statements, reason, &[], &key).await?;
    output::say(&format!("published change {}, the removal", published.link.number));
    Ok((published, resumed))
}

/// The removal failed and the revocation stands: the error says so, and what to do.
fn outstanding(error: anyhow::Error, login: &Login) -> anyhow::Error {
    let cure = match error.downcast_ref::<Hint>() {
        Some(found) => found.hint.clone(),
        None => format!("`muster offboard {login}` again; `muster status` lists whoever is left"),
    };
    let what = format!("`{login}` is revoked, and the removal is outstanding");
    hint(error.context(what), cure)
}
