//! The end of a lab, and of what a lab that died has left.
//!
//! Every step is fine with finding its work done, so that an end that was itself interrupted can
//! be repeated. The state is forgotten last.

use std::fs;
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, bail};

use crate::command::{self, command};
use crate::state::{Registry, State};
use crate::{holder, limits, process, state, wait};

/// Removes a lab and all traces of it. The registry is asked for since it must be locked.
pub(crate) fn remove(lab: &State, _registry: &Registry) -> anyhow::Result<()> {
    if let Some(holder) = lab.holder.filter(|holder| holder.is_alive()) {
        process::kill(&[holder.pid])?;
        // The kernel lets the first process of a pid namespace go only after all the others.
        wait::until(Duration::from_secs(30), "the lab's processes to end", || {
            (!holder.is_alive()).then_some(())
        })?;
    }
    let _ = blackhole(lab, "del")?;
    remove_cgroup(&holder::cgroup(&lab.name))?;
    remove_folder(&lab.layers)?;
    remove_folder(&lab.folder())?;
    if state::all()?.is_empty() {
        limits::put_back()?;
    }
    Ok(())
}

/// Removes every lab that has died or whose owner has.
pub(crate) fn remove_stale(registry: &Registry) -> anyhow::Result<()> {
    for state in state::all()?.iter().filter(|state| state.is_stale()) {
        remove(state, registry)
            .with_context(|| format!("cannot clean up after the lab `{}`", state.name))?;
    }
    Ok(())
}

/// Makes sure that nothing meant for the lab leaves this machine by its usual route.
pub(crate) fn guard_outside(state: &State) -> anyhow::Result<()> {
    let output = blackhole(state, "replace")?;
    if !output.success() {
        bail!("cannot set a blackhole route for `{}`: {output}", state.network());
    }
    Ok(())
}

fn blackhole(state: &State, verb: &str) -> anyhow::Result<command::Output> {
    command::run(command(&["ip", "route", verb, "blackhole", &state.network()]))
}

fn remove_cgroup(name: &str) -> anyhow::Result<()> {
    // On a machine without cgroup v2 of its own there is no way to it from here; it stays, empty.
    let Some(root) = cgroup_root()? else { return Ok(()) };
    remove_cgroups(&root.join(name))
}

/// Removes a cgroup in which nothing runs any more, with all below it.
pub(crate) fn remove_cgroups(top: &Path) -> anyhow::Result<()> {
    // The kernel may still be counting out the processes that have just ended.
    wait::until(Duration::from_secs(10), "the lab's cgroups to be empty", || {
        remove_cgroups_below(top).ok()
    })
}

fn remove_cgroups_below(folder: &Path) -> io::Result<()> {
    let entries = match fs::read_dir(folder) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
        entries => entries?,
    };
    for entry in entries {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            remove_cgroups_below(&entry.path())?;
        }
    }
    fs::remove_dir(folder)
}

/// Finds where this machine has mounted cgroup v2, which is not the same place everywhere.
fn cgroup_root() -> anyhow::Result<Option<PathBuf>> {
    let mounts = fs::read_to_string("/proc/self/mounts").context("cannot read the mounts")?;
    let mut fields = mounts.lines().map(|line| line.split(' ').skip(1));
    Ok(fields.find_map(|mut fields| {
        let folder = fields.next()?;
        (fields.next()? == "cgroup2").then(|| folder.into())
    }))
}

fn remove_folder(folder: &Path) -> anyhow::Result<()> {
    match fs::remove_dir_all(folder) {
        Err(error) if error.kind() != ErrorKind::NotFound => {
            Err(error).with_context(|| format!("cannot remove `{}`", folder.display()))
        }
        _ => Ok(()),
    }
}
