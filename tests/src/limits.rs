//! The one limit of the machine that a larger lab runs into: inotify instances per user.
//!
//! Each host takes seven of root's, of which there are 128. The limit is raised while labs are
//! up, and put back when the last one is gone.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::Context;

use crate::state::FOLDER;

const LIMIT: &str = "/proc/sys/fs/inotify/max_user_instances";
/// Seven are measured; the rest is for what a test starts in a host.
const PER_HOST: usize = 10;

/// Makes room for `hosts` hosts in all labs together. Needs the registry's lock.
pub(crate) fn make_room(hosts: usize) -> anyhow::Result<()> {
    let now = read(Path::new(LIMIT))?;
    let before = if saved().exists() { read(&saved())? } else { now };
    let wanted = before + hosts * PER_HOST;
    if wanted > now {
        write(&saved(), before)?;
        write(Path::new(LIMIT), wanted)?;
    }
    Ok(())
}

/// Puts the limit back to what it was before the first lab. Needs the registry's lock.
pub(crate) fn put_back() -> anyhow::Result<()> {
    if !saved().exists() {
        return Ok(());
    }
    write(Path::new(LIMIT), read(&saved())?)?;
    fs::remove_file(saved()).context("cannot forget the former limit of inotify instances")
}

fn saved() -> PathBuf {
    Path::new(FOLDER).join("inotify-instances")
}

fn read(path: &Path) -> anyhow::Result<usize> {
    let text =
        fs::read_to_string(path).with_context(|| format!("cannot read `{}`", path.display()))?;
    text.trim().parse().with_context(|| format!("no number in `{}`", path.display()))
}

fn write(path: &Path, value: usize) -> anyhow::Result<()> {
    fs::write(path, format!("{value}\n"))
        .with_context(|| format!("cannot write `{}`", path.display()))
}
