//! `muster offboard`: revoked at once, then removed. The revocation needs one signature and goes
//! first; the removal is the link that tells every host and tool for ever.

use std::collections::BTreeSet;

use anyhow::{Context, Result};
use clap::Args;
use muster_proto::{
    derive::Statements,
    envelope::Verified,
    id::{HostId, Id},
    link::{Link, LinkBody, Target},
    name::{Line, Login},
    revocations::Revocations,
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
use crate::{
    declare::resolve::removal_of,
    preview::{self, HostLabels},
};

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
        let gone = gone_in(&session, id)?;
        return again(&mut session, common.output, &args.wait, &login, &gone).await;
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
        asked.revocations.push(revocation);
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

/// The change in which a user went.
struct Removal {
    number: u64,
    before: Statements,
    after: Statements,
}

/// Returns the change in which a user went, with the directory as it was before and after.
fn gone_in(session: &Session, user: Id) -> Result<Removal> {
    let chain = session.tool.chain();
    let (mut statements, mut before, mut number) = (Statements::new(), Statements::new(), 0);
    let mut after = Statements::new();
    for next in 1..=chain.newest().map_or(0, |link| link.number) {
        let published = session.tool.published(next)?;
        let published = published.with_context(|| format!("change {next} is missing"))?;
        let (_, body, _): (Verified<Link>, LinkBody, _) =
            chain.verify_link(&published.link, &published.body, next)?;
        let is_of_her = body.all().any(|statement| statement.id == user);
        if is_of_her {
            before.clone_from(&statements);
        }
        statements.extend(body.all().map(|statement| (statement.id, statement.clone())));
        if is_of_her {
            number = next;
            after.clone_from(&statements);
        }
    }
    Ok(Removal { number, before, after })
}

/// Asks the hosts on which a removal had something to do whether it is done, and names whoever has
/// not come as far. What was revoked before does not count: it was to be taken away all the same.
async fn again(
    session: &mut Session,
    format: Format,
    wait: &Wait,
    login: &Login,
    gone: &Removal,
) -> Result<End> {
    let hosts = session.client.hosts().await?;
    let labels: Vec<HostLabels> = hosts.iter().map(|host| host.labels.clone()).collect();
    let none = Revocations::default();
    let effects =
        preview::preview(&gone.before, &gone.after, (&none, &none), &labels, session.now());
    let concerned: BTreeSet<HostId> = follow::affected(&effects).collect();
    // A host that is sent nothing of it, such as one that has joined since, will confirm nothing.
    let asked = Asked {
        link: Some(gone.number),
        hosts: hosts
            .iter()
            .filter(|host| concerned.contains(&host.labels.id))
            .filter(|host| host.floor.is_some_and(|floor| floor.number >= gone.number))
            .map(|host| host.labels.id)
            .collect(),
        about: follow::reached(&effects).into_iter().chain([login.to_string()]).collect(),
        locks: BTreeSet::from([login.to_string()]),
        undone: "not locked",
        ..Asked::default()
    };
    let followed = follow::run(session, format, wait, &asked).await?;
    Ok(followed.and(follow::behind(session, gone.number).await?))
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
