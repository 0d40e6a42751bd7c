//! `muster host adopt HOST --propose`: a file that takes over accounts which a host has already, for
//! somebody to review. Nothing is signed and nothing is changed.

use std::path::PathBuf;

use clap::Args;

use super::{End, Globals, Result, find, hint, output};
use crate::{
    adopt::{Names, Verdict, propose, render},
    cli::{access::observed, session::Session},
};

/// Which host, and where to write.
#[derive(Clone, Debug, Args)]
pub struct AdoptArgs {
    /// Its name or id.
    host: String,
    /// Match the host's accounts to users, and write what is likely into a file to review.
    #[arg(long, required = true)]
    propose: bool,
    /// Where to write it, instead of to standard output; a file that is there is left as it is.
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
}

pub(super) async fn run(_: &Globals, session: &mut Session, args: &AdoptArgs) -> Result<End> {
    let host = find(session, &args.host).await?;
    let Some(told) = observed::told(session, &host).await? else {
        return Err(hint(
            anyhow::anyhow!("nothing can be proposed for `{}`", host.labels.hostname),
            "wait until its agent has looked, and see that it is connected: `muster host list`",
        ));
    };
    let chain = session.tool.chain();
    let id = host.labels.id;
    let proposed = propose(&told.inventory, chain.statements(), chain.revocations(), id);
    let text = render(&proposed, &host.labels, &told.at, &mut Names::of(chain));
    let taken = proposed.iter().filter(|one| matches!(one.verdict, Verdict::Adopt { .. })).count();
    let accounts = output::count(proposed.len(), "account", "accounts");
    output::say(&format!(
        "{accounts} of {} not Muster's, {taken} proposed; nothing is signed: `muster plan -f FILE` says \
         what it would do",
        host.labels.hostname
    ));
    output::file(args.out.as_deref(), &text)
}
