//! `muster revoke`: takes something away at once; one signature is enough.

use anyhow::{Context, Result};
use clap::{Args, Subcommand};
use muster_proto::{
    id::{Digest, Id, Kind},
    key::SshPublicKey,
    link::Target,
    name::Line,
};

use super::{
    End, Globals,
    apply::{agree, load_key},
    follow::{self, Asked, Wait},
    hint, output, plan,
    session::Session,
    usage,
};
use crate::preview;

/// The verb's own arguments.
#[derive(Clone, Debug, Args)]
pub struct RevokeArgs {
    #[command(subcommand)]
    what: What,
    /// Why; it is signed and kept.
    #[arg(long, global = true, default_value = "")]
    reason: String,
    /// Do not ask.
    #[arg(long, short, global = true)]
    yes: bool,
    #[command(flatten)]
    wait: Wait,
}

#[derive(Clone, Debug, Subcommand)]
enum What {
    /// A user, everywhere.
    User {
        /// The login.
        login: String,
    },
    /// An assignment.
    Assignment {
        /// Its name.
        name: String,
    },
    /// A user's being in a group.
    Membership {
        /// The login.
        login: String,
        /// The group.
        group: String,
    },
    /// A login key, whoever has it.
    Key {
        /// A public key file, a key line, or a SHA-256 fingerprint in hexadecimal digits.
        #[arg(value_name = "KEY")]
        login_key: String,
    },
    /// A host: it gives nothing any more.
    Host {
        /// Its name or id.
        host: String,
    },
}

/// Runs the verb.
pub async fn run(common: &Globals, args: &RevokeArgs) -> Result<End> {
    let reason = Line::parse(&args.reason).context("--reason").map_err(usage)?;
    let mut session = common.session().await?;
    let target = target(&args.what, &mut session).await?;
    agree(args.yes, &format!("Revoke {}?", describe(&args.what)))?;
    let key = load_key(common)?;
    let before = session.tool.chain().revocations().clone();
    let labels = plan::hosts(&mut session).await?;
    let (revocations, hosts) = session.revoke(&[target], &reason, &key).await?;
    output::say(&format!("revoked {}", describe(&args.what)));
    let chain = session.tool.chain();
    let (all, both) = (chain.statements(), (&before, chain.revocations()));
    let about = follow::reached(&preview::preview(all, all, both, &labels, session.now()));
    let asked = Asked { link: None, revocations, hosts, about, undone: "not taken away" };
    follow::run(&mut session, common.output, &args.wait, &asked).await
}

fn describe(what: &What) -> String {
    match what {
        What::User { login } => format!("user `{login}` everywhere"),
        What::Assignment { name } => format!("assignment `{name}`"),
        What::Membership { login, group } => format!("`{login}`'s being in group `{group}`"),
        What::Key { login_key } => format!("key `{login_key}`"),
        What::Host { host } => format!("host `{host}`"),
    }
}

async fn target(what: &What, session: &mut Session) -> Result<Target> {
    Ok(match what {
        What::User { login } => statement(session, Kind::User, login)?,
        What::Assignment { name } => statement(session, Kind::Assignment, name)?,
        What::Membership { login, group } => Target::Membership {
            user: find(session, Kind::User, login)?.0,
            group: find(session, Kind::Group, group)?.0,
        },
        What::Key { login_key } => Target::Key(fingerprint(login_key)?),
        What::Host { host } => Target::Host(super::host::find(session, host).await?.labels.id),
    })
}

fn statement(session: &Session, kind: Kind, name: &str) -> Result<Target> {
    let (id, revision) = find(session, kind, name)?;
    Ok(Target::Statement { id, revision })
}

fn find(session: &Session, kind: Kind, name: &str) -> Result<(Id, u64)> {
    let found = session.tool.chain().statements().values().find(|statement| {
        statement.content.kind() == kind && statement.content.name() == Some(name)
    });
    let found = found.ok_or_else(|| {
        let verb = kind.to_string();
        hint(
            usage(anyhow::anyhow!("the directory has no {kind} `{name}`")),
            format!("`muster {verb} list` shows what there is"),
        )
    })?;
    Ok((found.id, found.revision))
}

fn fingerprint(text: &str) -> Result<Digest> {
    if let Some(digest) = Digest::parse_hex(text) {
        return Ok(digest);
    }
    let line = std::fs::read_to_string(text).unwrap_or_else(|_| text.to_owned());
    let (key, _) = SshPublicKey::parse(line.trim())
        .context("neither a key, nor a file with one, nor 64 hexadecimal digits")
        .map_err(usage)?;
    Ok(key.fingerprint())
}
