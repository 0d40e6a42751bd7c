//! `muster init`: makes a fleet. The trust root of the first day has one approver, the operator who
//! runs this, and one root key, which is written sealed and belongs somewhere else.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    os::unix::fs::{DirBuilderExt, OpenOptionsExt},
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, bail};
use clap::Args;
use muster_proto::{
    crypto::MachineKey,
    envelope::Envelope,
    name::ObjectName,
    trust::{ApproverGroup, Duty, Limits, ProposerRule, TrustRoot},
};

use super::{Common, End, hint, output, session, sign, usage};
use crate::{setup, signer, tool::Tool};

/// The verb's own arguments.
#[derive(Clone, Debug, Args)]
pub struct Init {
    /// Your name as approver: lower-case letters, digits and `-`.
    #[arg(long)]
    operator: String,
    /// Where agents will connect, as they see it: host:port.
    #[arg(long)]
    address: String,
    /// Where the controller listens for agents.
    #[arg(long, default_value = "[::]:7420")]
    listen: String,
    /// The controller's data; it must not exist yet, or be empty.
    #[arg(long, default_value = "/var/lib/muster")]
    data: PathBuf,
    /// The configuration to write.
    #[arg(long, default_value = "/etc/muster/muster.toml")]
    config: PathBuf,
    /// The system account that the controller runs as.
    #[arg(long, default_value = "muster")]
    user: String,
    /// Where the sealed root key goes [default: recovery beside your approver key].
    #[arg(long)]
    recovery_key: Option<PathBuf>,
    /// A file with the passphrase that seals it; without it one is made and printed once.
    #[arg(long)]
    recovery_passphrase_file: Option<PathBuf>,
}

/// Seconds for which the first trust root grants anything new: two years.
const TRUST_ROOT_LIFETIME: u64 = 2 * 365 * 86_400;

/// Seconds after which a floor grants nothing new: 90 days.
const STALE_AFTER: u64 = 90 * 86_400;

/// Runs the verb.
pub async fn run(common: &Common, args: &Init) -> Result<End> {
    let operator = ObjectName::parse(&args.operator).context("--operator").map_err(usage)?;
    let (store, approver) = (common.store()?, common.key()?);
    let recovery = args.recovery_key.clone().unwrap_or_else(|| approver.with_file_name("recovery"));
    check_free(args, &store, &[&approver, &recovery])?;
    let config = config_text(args, common);
    crate::config::Config::parse(&config).map_err(usage)?;
    for key in [&approver, &recovery] {
        make_private_directory(key.parent().unwrap_or(Path::new("/")))?;
    }
    let (passphrase, made_up) = passphrase(args)?;
    let approver = sign::generate(&approver, &format!("muster approver {operator}"), None)?;
    let recovery = sign::generate(&recovery, "muster recovery", Some(&passphrase))?;
    let online = signer::generate()?;
    let now = session::now();
    let mut keys = BTreeMap::new();
    keys.insert(approver.public.clone(), Duty::Approver);
    keys.insert(recovery.public.clone(), Duty::Root);
    let root = TrustRoot {
        lineage: None,
        version: 1,
        previous: None,
        since: None,
        people: BTreeMap::from([(operator.clone(), keys)]),
        approver_groups: BTreeMap::from([(
            ObjectName::parse("approvers")?,
            ApproverGroup { members: BTreeSet::from([operator]), threshold: 1 },
        )]),
        root_threshold: 1,
        machine_keys: BTreeSet::from([MachineKey::from_pkcs8(&online)?.public()]),
        proposers: ProposerRule::Count,
        stale_after: STALE_AFTER,
        expires: now.plus(TRUST_ROOT_LIFETIME),
        limits: Limits { uids: (10_000, 49_999), gids: (50_000, 59_999), recertify_after: None },
    };
    let mut envelope = Envelope::new(&root);
    sign::sign_sealed(&recovery, &passphrase, &mut envelope)?;
    give_directory(args)?;
    let fleet = setup::create(&args.data, &online, &envelope, now).await?;
    Tool::create(&store, &envelope)?;
    write_config(&args.config, &config)?;
    output::say(&format!("made fleet {}", fleet.lineage));
    output::say(&format!("  data           {}", args.data.display()));
    output::say(&format!("  configuration  {}", args.config.display()));
    output::say(&format!("  your store     {}", store.display()));
    output::say(&format!("  approver key   {}", approver.path.display()));
    output::say(&format!("  recovery key   {} (sealed)", recovery.path.display()));
    output::say("note: one approver is enough for every change, and that is you: guard your key,");
    output::say("      move the recovery key off this machine, and name more approvers soon.");
    if made_up {
        output::say("The recovery key's passphrase, shown this once:");
        return output::write(&(passphrase + "\n"));
    }
    Ok(End::Done)
}

/// Refuses to begin where anything of a fleet is already.
fn check_free(args: &Init, store: &Path, keys: &[&PathBuf]) -> Result<()> {
    let cure = "nothing is overwritten: move it away, or name another place";
    if args.data.exists() {
        let mut entries = fs::read_dir(&args.data)
            .with_context(|| format!("cannot look into `{}`", args.data.display()))?;
        if entries.next().is_some() {
            let data = args.data.display();
            return Err(hint(anyhow::anyhow!("the data directory `{data}` is not empty"), cure));
        }
    }
    let files = keys.iter().map(|key| key.as_path()).chain([args.config.as_path()]);
    for path in files.chain([store.join("lineage").as_path()]) {
        if path.exists() {
            let path = path.display();
            return Err(hint(anyhow::anyhow!("`{path}` is there already"), cure));
        }
    }
    Ok(())
}

fn config_text(args: &Init, common: &Common) -> String {
    let line = |key: &str, value: &str| format!("{key} = {}\n", toml::Value::from(value));
    [
        "# Made by `muster init`. Every key is explained in the packaged example.\n".to_owned(),
        line("data_dir", &args.data.display().to_string()),
        line("agent_listener", &args.listen),
        line("agent_address", &args.address),
        line("operator_socket", &common.socket.display().to_string()),
    ]
    .concat()
}

fn make_private_directory(path: &Path) -> Result<()> {
    fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(path)
        .with_context(|| format!("cannot make `{}`", path.display()))
}

/// Makes the data directory and gives it to the account that the controller runs as.
fn give_directory(args: &Init) -> Result<()> {
    make_private_directory(&args.data)?;
    if !nix::unistd::Uid::effective().is_root() {
        return Ok(());
    }
    let Some(user) = nix::unistd::User::from_name(&args.user)? else {
        bail!("the system has no account `{}` for the controller; name one with --user", args.user);
    };
    nix::unistd::chown(&args.data, Some(user.uid), Some(user.gid))
        .with_context(|| format!("cannot give `{}` to `{}`", args.data.display(), args.user))
}

fn write_config(path: &Path, text: &str) -> Result<()> {
    use std::io::Write;
    let parent = path.parent().unwrap_or(Path::new("/"));
    fs::create_dir_all(parent).with_context(|| format!("cannot make `{}`", parent.display()))?;
    let mut options = fs::OpenOptions::new();
    let mut file = options
        .write(true)
        .create_new(true)
        .mode(0o644)
        .open(path)
        .with_context(|| format!("cannot write `{}`", path.display()))?;
    Ok(file.write_all(text.as_bytes())?)
}

/// Returns the passphrase and whether it was made up here.
fn passphrase(args: &Init) -> Result<(String, bool)> {
    let Some(path) = &args.recovery_passphrase_file else {
        let bytes: [u8; 20] = signer::random()?;
        let words = bytes.chunks(4).map(|four| {
            four.iter().fold(String::new(), |word, byte| word + &format!("{byte:02x}"))
        });
        return Ok((words.collect::<Vec<_>>().join("-"), true));
    };
    let text = fs::read_to_string(path)
        .with_context(|| format!("cannot read the passphrase from `{}`", path.display()))?;
    let text = text.lines().next().unwrap_or_default().to_owned();
    if text.len() < 12 {
        return Err(usage(anyhow::anyhow!(
            "a passphrase of fewer than 12 characters seals nothing"
        )));
    }
    Ok((text, false))
}
