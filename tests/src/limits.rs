//! The limits of the machine that a larger lab runs into: what one user may watch of the file system.
//! Root has 128 instances of inotify, of which each host takes seven, and 128 groups of fanotify, of
//! which each agent takes twelve.
//!
//! The limits are raised while labs are up, and put back when the last one is gone.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::Context;

use crate::state::FOLDER;

/// A number of the kernel's.
struct Limit {
    file: &'static str,
    /// What every host takes, and some more for what a test starts there.
    per_host: usize,
    /// Where the number before the first lab is kept.
    kept: &'static str,
}

const LIMITS: [Limit; 2] = [
    Limit {
        file: "/proc/sys/fs/inotify/max_user_instances",
        per_host: 10,
        kept: "inotify-instances",
    },
    Limit { file: "/proc/sys/fs/fanotify/max_user_groups", per_host: 16, kept: "fanotify-groups" },
];

/// Makes room for `hosts` hosts in all labs together. Needs the registry's lock.
pub(crate) fn make_room(hosts: usize) -> anyhow::Result<()> {
    for limit in &LIMITS {
        let (file, kept) = (Path::new(limit.file), limit.kept());
        let now = read(file)?;
        let before = if kept.exists() { read(&kept)? } else { now };
        let wanted = before + hosts * limit.per_host;
        if wanted > now {
            write(&kept, before)?;
            write(file, wanted)?;
        }
    }
    Ok(())
}

/// Puts the limits back to what they were before the first lab. Needs the registry's lock.
pub(crate) fn put_back() -> anyhow::Result<()> {
    for limit in &LIMITS {
        let kept = limit.kept();
        if kept.exists() {
            write(Path::new(limit.file), read(&kept)?)?;
            fs::remove_file(&kept)
                .with_context(|| format!("cannot forget the former limit {}", limit.kept))?;
        }
    }
    Ok(())
}

impl Limit {
    fn kept(&self) -> PathBuf {
        Path::new(FOLDER).join(self.kept)
    }
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
