//! `muster backup`: everything that the controller holds in one file, made on its own host while it
//! runs.

use std::path::PathBuf;

use anyhow::Result;
use clap::Args;

use super::{End, Globals, hint, output, session, usage};
use crate::{
    backup::{self, BackupError},
    store::StoreError,
};

/// The verb's own arguments.
#[derive(Clone, Debug, Args)]
pub struct BackupArgs {
    /// The file to write; it must not exist. It will hold secrets.
    file: PathBuf,
    /// The controller's configuration.
    #[arg(long, env = "MUSTER_CONFIG", default_value = crate::config::DEFAULT_PATH)]
    config: PathBuf,
}

/// Runs the verb.
pub async fn run(common: &Globals, args: &BackupArgs) -> Result<End> {
    let made = backup::backup(&args.config, &args.file, session::now()).await;
    let manifest = made.map_err(|error| {
        let cure = cure(&error);
        let error = match error {
            BackupError::Config(_) | BackupError::Exists(_) | BackupError::Name(_) => usage(error),
            other => other.into(),
        };
        hint(error, cure)
    })?;
    output::say(&format!("wrote `{}`", args.file.display()));
    output::say("note: it holds the online key and the CA's key; whoever has them can pose as the");
    output::say("      controller and take access away. Keep it where only root can read it.");
    output::value(common.output, &manifest)
}

fn cure(error: &BackupError) -> &'static str {
    match error {
        BackupError::Exists(_) | BackupError::Name(_) => "name another file",
        BackupError::Config(_) => "run it on the controller's host, or say where with `--config`",
        BackupError::Store(StoreError::Absent(_)) => {
            "run it on the controller's host; `data_dir` in its configuration says where its data is"
        }
        BackupError::Unsound(_) => {
            "keep the backups that you have; `muster doctor` says more of what is wrong"
        }
        _ => "run it as root on the controller's host, with room for a copy of the database",
    }
}
