//! `muster revoke`: takes something away at once; one signature is enough.

use std::collections::BTreeSet;

use anyhow::{Context, Result};
use clap::{Args, Subcommand};
use muster_proto::{
    id::{Digest, HostId, Id, Kind},
    key::SshPublicKey,
    link::{Revocation, Target},
    name::{Line, Login},
};
use serde::Serialize;

use super::{
    End, Globals,
    apply::{agree, load_key},
    follow::{self, Asked, Wait},
    hint,
    output::{self, Format, Rows, count},
    plan,
    session::Session,
    usage,
};
use crate::preview::{self, Effect, HostLabels};

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
    /// Show what would be done and end.
    #[arg(long, global = true)]
    dry_run: bool,
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
        /// A public key file, a key line, or a fingerprint: `SHA256:…` as sshd logs it, or its
        /// SHA-256 in hexadecimal digits.
        #[arg(value_name = "KEY")]
        login_key: String,
    },
    /// A host: it gives nothing any more.
    Host {
        /// Its name or id.
        host: String,
    },
}

/// What a revocation takes away on one host, by labels that the host reported: no proof.
#[derive(Clone, Debug, Serialize)]
struct Loss {
    host: String,
    locks: Vec<String>,
    loses_root: Vec<String>,
    changes: Vec<String>,
}

impl Rows for Loss {
    fn head() -> &'static [&'static str] {
        &["HOST", "LOCKS", "NO LONGER ROOT", "CHANGES"]
    }

    fn row(&self) -> Vec<String> {
        let Self { host, locks, loses_root, changes } = self;
        vec![host.clone(), locks.join(", "), loses_root.join(", "), changes.join(", ")]
    }
}

impl From<&Effect> for Loss {
    fn from(effect: &Effect) -> Self {
        let texts = |logins: &BTreeSet<Login>| logins.iter().map(ToString::to_string).collect();
        let changed = effect.changed.iter();
        let changes =
            changed.flat_map(|(login, words)| words.iter().map(move |w| format!("{login}: {w}")));
        Self {
            host: effect.hostname.clone(),
            locks: texts(&effect.lost),
            loses_root: texts(&effect.loses_root),
            changes: changes.collect(),
        }
    }
}

/// Runs the verb.
pub async fn run(common: &Globals, args: &RevokeArgs) -> Result<End> {
    let reason = Line::parse(&args.reason).context("--reason").map_err(usage)?;
    let mut session = common.session().await?;
    let target = target(&args.what, &mut session).await?;
    let revocation = session.revocation(target, reason)?;
    let labels = plan::hosts(&mut session).await?;
    let effects = effects(&session, &revocation, &labels);
    let what = describe(&args.what);
    if args.dry_run || common.output == Format::Table {
        show(common.output, &effects)?;
    }
    if args.dry_run {
        return Ok(End::Differences);
    }
    agree(args.yes, &format!("Revoke {what} on {}?", count(effects.len(), "host", "hosts")))?;
    let key = load_key(common)?;
    let mut hosts: BTreeSet<HostId> = follow::affected(&effects).collect();
    hosts.extend(session.revoke(&revocation, &key).await?);
    let sent = count(hosts.len(), "host", "hosts");
    output::say(&format!("revocation of {what} sent to {sent} (revocation {})", revocation.id));
    let about = follow::reached(&effects);
    let (revocations, locks) = (vec![revocation], follow::locked(&effects));
    let (revoked_on, undone) = (hosts.clone(), "not taken away");
    let asked = Asked { link: None, revocations, hosts, revoked_on, about, locks, undone };
    follow::run(&mut session, common.output, &args.wait, &asked).await
}

/// Returns what is lost once the revocation is kept.
fn effects(session: &Session, revocation: &Revocation, hosts: &[HostLabels]) -> Vec<Effect> {
    let chain = session.tool.chain();
    let mut after = chain.revocations().clone();
    after.insert(revocation);
    let (all, both) = (chain.statements(), (chain.revocations(), &after));
    preview::preview(all, all, both, hosts, session.now())
}

fn show(format: Format, effects: &[Effect]) -> Result<End> {
    let losses: Vec<Loss> = effects.iter().map(Loss::from).collect();
    if format == Format::Table && losses.is_empty() {
        return output::write("No host changes, by the labels that hosts reported.\n");
    }
    output::list(format, &losses)
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
        What::Host { host } => Target::Host(host_id(session, host).await?),
    })
}

/// A host that the controller does not list any more goes by its whole id.
async fn host_id(session: &mut Session, wanted: &str) -> Result<HostId> {
    let whole = HostId::parse_hex(wanted);
    match (super::host::find(session, wanted).await, whole) {
        (Ok(host), _) => Ok(host.labels.id),
        (Err(_), Some(id)) if session.tool.known_hosts()?.contains_key(&id) => Ok(id),
        (Err(error), _) => Err(error),
    }
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

/// Takes a fingerprint in either form, a public key, or a file with one.
fn fingerprint(text: &str) -> Result<Digest> {
    let given = Digest::parse_hex(text).or_else(|| SshPublicKey::parse_fingerprint(text));
    if let Some(digest) = given {
        return Ok(digest);
    }
    if let Ok((key, _)) = SshPublicKey::parse(text.trim()) {
        return Ok(key.fingerprint());
    }
    let what = "neither a public key, nor a file with one, nor a fingerprint";
    let line = std::fs::read_to_string(text).with_context(|| format!("`{text}` is {what}"));
    let (key, _) = SshPublicKey::parse(line.map_err(usage)?.trim())
        .with_context(|| format!("what is in `{text}` is no public key"))
        .map_err(usage)?;
    Ok(key.fingerprint())
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    const KEY: &str = "ssh-ed25519 \
        AAAAC3NzaC1lZDI1NTE5AAAAIAABAgMEBQYHCAkKCwwNDg8QERITFBUWFxgZGhscHR4f";

    fn told(text: &str) -> String {
        format!("{:#}", fingerprint(text).unwrap_err())
    }

    #[test]
    fn a_key_is_named_by_itself_its_file_or_its_fingerprint_in_either_form() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("key.pub");
        #[expect(clippy::disallowed_methods, reason = "a test lays its own files down")]
        std::fs::write(&file, format!("{KEY} eva@laptop\n")).unwrap();
        let digest = SshPublicKey::parse(KEY).unwrap().0.fingerprint();
        let logged = "SHA256:ZkAslGjFiUHdGf/WUL8rQvkib4PTvQatUV0OUQSncCA";
        for text in [KEY, file.to_str().unwrap(), &digest.to_string(), logged] {
            assert_eq!(fingerprint(text).unwrap(), digest, "{text}");
        }
    }

    #[test]
    fn a_key_file_that_cannot_be_read_is_told_as_that() {
        let dir = tempfile::tempdir().unwrap();
        let place = |path: &Path| path.to_str().unwrap().to_owned();
        assert!(told(&place(&dir.path().join("none"))).contains("No such file"));
        assert!(told(&place(dir.path())).contains("Is a directory"));
        let file = dir.path().join("empty");
        #[expect(clippy::disallowed_methods, reason = "a test lays its own files down")]
        std::fs::write(&file, "").unwrap();
        assert!(told(&place(&file)).contains("is no public key"));
        assert!(told("SHA256:short").contains("neither a public key"));
    }
}
