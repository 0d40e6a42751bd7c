//! `muster init`: makes a fleet. The trust root of the first day has one approver, the operator who
//! runs this, and one root key, which is written sealed and belongs somewhere else.
//!
//! Everything that can be wrong with what was asked is looked at first; a step that fails all the
//! same takes away what the ones before it made.

mod places;

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    os::unix::fs::{OpenOptionsExt, chown},
    path::{Path, PathBuf},
};

use anyhow::{Context, Result};
use clap::Args;
use muster_proto::{
    crypto::MachineKey,
    envelope::Envelope,
    name::ObjectName,
    trust::{ApproverGroup, Duty, Limits, ProposerRule, TrustRoot},
};
use nix::unistd::{Uid, User};

use self::places::{Made, Places};
use super::{End, Globals, hint, output, session, sign, usage};
use crate::{
    config::{self, Config},
    setup::{self, Fleet},
    signer,
    tool::Tool,
};

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
    #[arg(long, default_value = config::DEFAULT_AGENT_LISTENER)]
    listen: String,
    /// The controller's data; it must not exist yet, or be empty.
    #[arg(long, default_value = config::DEFAULT_DATA_DIR)]
    data: PathBuf,
    /// The configuration to write.
    #[arg(long, default_value = config::DEFAULT_PATH)]
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
    /// The uids that are chosen for new users: FIRST-LAST within 1000-59999 or 100000-499999.
    #[arg(long, value_name = "FIRST-LAST", default_value = "10000-49999", value_parser = range)]
    uid_range: (u32, u32),
    /// The gids that are chosen for new Unix groups, apart from the uids: FIRST-LAST.
    #[arg(long, value_name = "FIRST-LAST", default_value = "50000-59999", value_parser = range)]
    gid_range: (u32, u32),
}

/// Seconds for which the first trust root grants anything new: two years.
const TRUST_ROOT_LIFETIME: u64 = 2 * 365 * 86_400;

/// Seconds after which a floor grants nothing new: 90 days.
const STALE_AFTER: u64 = 90 * 86_400;

/// The fewest characters of a passphrase.
const MIN_PASSPHRASE: usize = 12;

/// What was asked, once it has been looked at.
struct Asked {
    operator: ObjectName,
    places: Places,
    config: String,
    limits: Limits,
    passphrase: Passphrase,
    /// Whom the data will belong to, if we may give it away.
    owner: Option<User>,
}

/// What seals the recovery key.
enum Passphrase {
    /// From the operator's file.
    Given(String),
    /// Made here, and printed once.
    MadeUp(String),
}

impl Passphrase {
    fn as_str(&self) -> &str {
        let (Self::Given(text) | Self::MadeUp(text)) = self;
        text
    }
}

/// Runs the verb.
pub async fn run(common: &Globals, args: &Init) -> Result<End> {
    let asked = check(common, args)?;
    let mut made = Made::default();
    match make(&asked, &mut made).await {
        Ok(fleet) => {
            tell(&asked.places, &fleet);
            Ok(End::Done)
        }
        Err(error) => {
            let left = made.take_away();
            Err(if left.is_empty() {
                hint(error, "what was made until then is gone again; mend it and run it once more")
            } else {
                hint(error, format!("take away what was made until then: {}", left.join(", ")))
            })
        }
    }
}

/// Looks at everything that can be looked at before anything is written.
fn check(common: &Globals, args: &Init) -> Result<Asked> {
    let operator = ObjectName::parse(&args.operator).context("--operator").map_err(usage)?;
    let limits = Limits { uids: args.uid_range, gids: args.gid_range, recertify_after: None };
    limits.check().context("--uid-range and --gid-range").map_err(|error| {
        hint(usage(error), "both within 1000-59999 or 100000-499999, and no number in both")
    })?;
    let config = config_text(args, common);
    Config::parse(&config).map_err(usage)?;
    let approver = common.key()?;
    let recovery = args.recovery_key.clone().unwrap_or_else(|| approver.with_file_name("recovery"));
    let (data, config_file) = (args.data.clone(), args.config.clone());
    let places = Places { data, config: config_file, store: common.store()?, approver, recovery };
    places.check_free()?;
    let owner = owner(&args.user)?;
    let passphrase = passphrase(args.recovery_passphrase_file.as_deref())?;
    Ok(Asked { operator, places, config, limits, passphrase, owner })
}

/// Finds the account that the controller runs as; who is not root keeps what she makes.
pub(super) fn owner(user: &str) -> Result<Option<User>> {
    if !Uid::effective().is_root() {
        return Ok(None);
    }
    let found = User::from_name(user).with_context(|| format!("cannot look up `{user}`"))?;
    if found.is_none() {
        let what = anyhow::anyhow!("the system has no account `{user}` for the controller");
        return Err(hint(usage(what), "the package makes `muster`; name another with `--user`"));
    }
    Ok(found)
}

/// Makes everything, the configuration last: without it no controller starts.
async fn make(asked: &Asked, made: &mut Made) -> Result<Fleet> {
    let Asked { operator, places, config, limits, passphrase, owner } = asked;
    for key in [&places.approver, &places.recovery] {
        made.parent_of(key, 0o700)?;
        made.keys(key);
    }
    let approver = sign::generate(&places.approver, &format!("muster approver {operator}"), None)?;
    let sealed = Some(passphrase.as_str());
    let recovery = sign::generate(&places.recovery, "muster recovery", sealed)?;
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
            ApproverGroup { members: BTreeSet::from([operator.clone()]), threshold: 1 },
        )]),
        root_threshold: 1,
        machine_keys: BTreeSet::from([MachineKey::from_pkcs8(&online)?.public()]),
        proposers: ProposerRule::Count,
        stale_after: STALE_AFTER,
        expires: now.plus(TRUST_ROOT_LIFETIME),
        limits: limits.clone(),
    };
    let mut envelope = Envelope::new(&root);
    sign::sign_sealed(&recovery, passphrase.as_str(), &mut envelope)?;
    made.directory(&places.data)?;
    if let Some(owner) = owner {
        chown(&places.data, Some(owner.uid.as_raw()), Some(owner.gid.as_raw()))
            .with_context(|| format!("cannot give `{}` away", places.data.display()))?;
    }
    let fleet = setup::create(&places.data, &online, &envelope, now).await?;
    made.directory(&places.store)?;
    Tool::create(&places.store, &envelope)?;
    made.parent_of(&places.config, 0o755)?;
    made.file(&places.config);
    write_config(&places.config, config)?;
    if let Passphrase::MadeUp(words) = passphrase {
        output::say("The recovery key's passphrase, shown this once:");
        output::write(&format!("{words}\n"))?;
    }
    Ok(fleet)
}

fn tell(places: &Places, fleet: &Fleet) {
    let Places { data, config, store, approver, recovery } = places;
    output::say(&format!("made fleet {}", fleet.lineage));
    output::say(&format!("  data           {}", data.display()));
    output::say(&format!("  configuration  {}", config.display()));
    output::say(&format!("  your store     {}", store.display()));
    output::say(&format!("  approver key   {}", approver.display()));
    output::say(&format!("  recovery key   {} (sealed)", recovery.display()));
    output::say("note: one approver is enough for every change, and that is you. No command names");
    output::say("      more approvers yet: seal your key with a passphrase of your own,");
    output::say(&format!("      `ssh-keygen -p -f {}`,", approver.display()));
    output::say("      and move the recovery key off this machine.");
}

fn config_text(args: &Init, common: &Globals) -> String {
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

fn write_config(path: &Path, text: &str) -> Result<()> {
    use std::io::Write;
    let mut options = fs::OpenOptions::new();
    let mut file = options
        .write(true)
        .create_new(true)
        .mode(0o644)
        .open(path)
        .with_context(|| format!("cannot write `{}`", path.display()))?;
    Ok(file.write_all(text.as_bytes())?)
}

/// Reads the passphrase, or makes one up.
fn passphrase(file: Option<&Path>) -> Result<Passphrase> {
    let Some(path) = file else {
        let bytes: [u8; 20] = signer::random()?;
        let words = bytes.chunks(4).map(|four| {
            four.iter().fold(String::new(), |word, byte| word + &format!("{byte:02x}"))
        });
        return Ok(Passphrase::MadeUp(words.collect::<Vec<_>>().join("-")));
    };
    let text = fs::read_to_string(path)
        .with_context(|| format!("cannot read the passphrase from `{}`", path.display()))
        .map_err(usage)?;
    let text = text.lines().next().unwrap_or_default().to_owned();
    if text.chars().count() < MIN_PASSPHRASE {
        let what = anyhow::anyhow!(
            "the first line of `{}` has fewer than {MIN_PASSPHRASE} characters, which seals nothing",
            path.display()
        );
        return Err(hint(usage(what), "write a longer one, or leave it out to have one made"));
    }
    Ok(Passphrase::Given(text))
}

/// Reads FIRST-LAST.
fn range(text: &str) -> Result<(u32, u32), String> {
    let found = text.split_once('-').and_then(|(first, last)| {
        let number = |text: &str| text.parse().ok();
        Some((number(first)?, number(last)?))
    });
    found.ok_or_else(|| "expected FIRST-LAST, such as 10000-49999".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_range_is_two_numbers() {
        assert_eq!(range("1000-59999"), Ok((1_000, 59_999)));
        for bad in ["", "1000", "1000-", "-1", "a-b", "1000-2000-3000", "1000 - 2000"] {
            assert!(range(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_passphrase_has_twelve_characters_at_least() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("passphrase");
        let read = |text: &str| {
            let mut options = fs::OpenOptions::new();
            let mut out = options.write(true).create(true).truncate(true).open(&file).unwrap();
            std::io::Write::write_all(&mut out, text.as_bytes()).unwrap();
            passphrase(Some(&file)).map(|found| found.as_str().to_owned())
        };
        assert_eq!(read("twelve chars\nand more\n").unwrap(), "twelve chars");
        assert!(read("eleven char\nand more\n").is_err());
        assert!(read("").is_err());
    }
}
