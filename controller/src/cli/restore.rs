//! `muster restore`: a controller from a backup, into an empty data directory.

use std::path::PathBuf;

use anyhow::{Context, Result};
use clap::Args;

use super::{End, Globals, hint, init, output, session};
use crate::{
    backup::{self, BackupError, ConfigOutcome, Restored},
    config::{self, Config},
    tool::{Tool, ToolError},
};

/// The verb's own arguments.
#[derive(Clone, Debug, Args)]
pub struct RestoreArgs {
    /// The backup.
    file: PathBuf,
    /// Where the controller's data goes; it must not exist yet, or be empty.
    #[arg(long, default_value = config::DEFAULT_DATA_DIR)]
    data: PathBuf,
    /// Where the configuration goes; one that is there stays.
    #[arg(long, default_value = config::DEFAULT_PATH)]
    config: PathBuf,
    /// The system account that the controller runs as.
    #[arg(long, default_value = "muster")]
    user: String,
}

/// Runs the verb.
pub async fn run(common: &Globals, args: &RestoreArgs) -> Result<End> {
    let owner = init::owner(&args.user)?.map(|user| (user.uid.as_raw(), user.gid.as_raw()));
    let restored =
        backup::restore(&args.file, &args.data, &args.config, owner, session::now()).await;
    let restored = restored.map_err(|error| {
        let cure = cure(&error);
        hint(error, cure)
    })?;
    tell(args, &restored)?;
    tell_of_tool(common, &restored)?;
    Ok(End::Done)
}

fn cure(error: &BackupError) -> &'static str {
    match error {
        BackupError::Place(_) => "nothing is overwritten: move it away, or name another `--data`",
        BackupError::Archive { .. } | BackupError::Unsound(_) => "take another backup",
        _ => "nothing was restored; mend it and run it once more",
    }
}

fn tell(args: &RestoreArgs, restored: &Restored) -> Result<()> {
    let Restored { manifest, contents, config, log } = restored;
    let (change, made) = (contents.change, &manifest.made);
    output::say(&format!("restored fleet {} as of {made}, change {change}", contents.lineage));
    output::say(&format!("  data           {}", args.data.display()));
    let kept = match config {
        ConfigOutcome::Written => "",
        ConfigOutcome::Kept => " (was there, and stays)",
    };
    output::say(&format!("  configuration  {}{kept}", args.config.display()));
    let found = Config::load(&args.config)
        .with_context(|| format!("cannot use `{}`", args.config.display()))?
        .data_dir;
    if found != args.data {
        output::say(&format!(
            "note: the configuration says `data_dir = \"{}\"`; set it to `{}`",
            found.display(),
            args.data.display()
        ));
    }
    output::say(&format!("  audit log      {}", log.origin));
    output::say(&format!(
        "note: what came after the backup is lost, also from the audit log, so a new one begins. Once \
         the controller runs, every operator says that she goes on with it, or she can sign nothing: \
         `muster status --accept-log {}`",
        log.origin
    ));
    output::say(
        "note: never run this controller and the one that it was taken from together. Hosts",
    );
    output::say("      that joined after the backup was made have to join again.");
    Ok(())
}

/// An operator's tool on this machine knows what came after the backup.
fn tell_of_tool(common: &Globals, restored: &Restored) -> Result<()> {
    let tool = match Tool::open(&common.store()?) {
        Ok(tool) => tool,
        Err(ToolError::Missing(_)) => return Ok(()),
        Err(error) => return Err(error.into()),
    };
    let newest = tool.chain().newest().map_or(0, |link| link.number);
    let change = restored.contents.change;
    if tool.chain().lineage() != restored.contents.lineage {
        output::say("note: your own store on this machine is of another fleet");
    } else if newest > change {
        output::say(&format!(
            "note: this backup ends with change {change}, and you have verified change {newest}: once \
             the controller runs, any command of yours gives back what it takes"
        ));
    }
    Ok(())
}
