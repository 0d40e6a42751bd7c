//! `muster apply`: propose what files declare, sign it, publish it, follow it onto the hosts.

use std::collections::BTreeSet;

use anyhow::{Context, Result, bail};
use clap::Args;
use muster_proto::{id::HostId, name::Line};

use super::{
    End, Globals,
    follow::{self, Asked, Wait},
    hint, losses,
    output::{self, Format, count},
    plan::{self, Files, Planned},
    resume,
    sign::PersonKey,
    usage,
};

/// The verb's own arguments.
#[derive(Clone, Debug, Args)]
pub struct ApplyArgs {
    #[command(flatten)]
    files: Files,
    /// Why; it is signed and kept.
    #[arg(long, default_value = "")]
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
pub async fn run(common: &Globals, args: &ApplyArgs) -> Result<End> {
    let reason = Line::parse(&args.reason).context("--reason").map_err(usage)?;
    let mut session = common.session().await?;
    let resumed =
        if args.dry_run { None } else { resume::run(common, &mut session, args.yes).await? };
    let hosts = plan::hosts(&mut session).await?;
    let resolved = plan::resolve(&args.files, &session, &hosts)?;
    let confirmed = losses::confirmed(&args.files.confirm_revocation, session.tool.chain())?;
    let effects = plan::effects(&session, &resolved.statements, &hosts);
    if common.output == Format::Table {
        plan::show(common.output, &Planned::new(&session, &resolved, &effects, &confirmed))?;
    }
    if resolved.statements.is_empty() && confirmed.is_empty() {
        return match resumed {
            Some(resumed) => resumed.follow(&mut session, common.output, &args.wait).await,
            // A host that is behind has something else to do: it is named, and nothing waits for it.
            None => follow::behind(&mut session, u64::MAX).await.map(|_| End::Done),
        };
    }
    if args.dry_run {
        return Ok(End::Differences);
    }
    let lost = match confirmed.len() {
        0 => String::new(),
        n => {
            let kept = count(n, "revocation", "revocations");
            format!(" and keep {kept} of the controller's")
        }
    };
    let statements = count(resolved.statements.len(), "statement", "statements");
    agree(args.yes, &format!("Sign and publish {statements}{lost}?"))?;
    let key = load_key(common)?;
    let about = follow::about(&resolved, &effects, &plan::after(&session, &resolved.statements));
    let published = session.publish(resolved.statements, reason, &confirmed, &key).await?;
    let link = published.link;
    output::say(&format!("published change {} ({})", link.number, link.digest.short()));
    let mut hosts: BTreeSet<HostId> = published.hosts.into_iter().collect();
    hosts.extend(follow::affected(&effects));
    let (locks, undone) = (follow::locked(&effects), "not changed");
    let link = Some(link.number);
    let mut asked = Asked { link, hosts, about, locks, undone, ..Asked::default() };
    let before = resumed.map_or(End::Done, |resumed| resumed.join(&mut asked));
    let followed = follow::run(&mut session, common.output, &args.wait, &asked).await?;
    Ok(followed.and(before))
}

/// Loads the operator's approver key, with a cure if it is not there.
pub fn load_key(common: &Globals) -> Result<PersonKey> {
    PersonKey::load(&common.key()?)
        .map_err(|error| hint(error, "name your approver key with `--key FILE`"))
}

/// Asks, unless it was answered already; where nobody can be asked, that is a failure.
pub fn agree(yes: bool, question: &str) -> Result<()> {
    if yes {
        return Ok(());
    }
    if !output::is_interactive() {
        return Err(hint(
            usage(anyhow::anyhow!("this needs an answer, and nobody is here to give it")),
            "give `--yes` when you have read the plan",
        ));
    }
    if output::confirm(question)? { Ok(()) } else { bail!("not confirmed; nothing was done") }
}
