//! Processes by number: who is alive, whose children, and an end to them.
//!
//! A number alone means little, since the kernel hands it out again; [`Process`] pairs it with
//! the time of its start.

use std::fs;
use std::process::{Command, Stdio};

use anyhow::{Context, bail};

/// One process of this machine, which no later bearer of its number is mistaken for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Process {
    pub(crate) pid: u32,
    /// Clock ticks between the machine's start and the process's.
    pub(crate) started: u64,
}

impl Process {
    pub(crate) fn this() -> anyhow::Result<Self> {
        Self::with_pid(std::process::id()).context("this process is not in `/proc`")
    }

    pub(crate) fn with_pid(pid: u32) -> Option<Self> {
        Some(Self { pid, started: start_time(pid)? })
    }

    pub(crate) fn is_alive(self) -> bool {
        start_time(self.pid) == Some(self.started)
    }
}

/// Reads the 22nd field of `/proc/PID/stat` (proc(5)); a process that is only waiting to be
/// collected has none.
fn start_time(pid: u32) -> Option<u64> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The second field is the command's name, which may hold spaces and parentheses.
    let (_, fields) = stat.rsplit_once(") ")?;
    let mut fields = fields.split(' ');
    if matches!(fields.next()?, "Z" | "X") {
        return None;
    }
    fields.nth(18)?.parse().ok()
}

/// Returns the processes that `pid` has started itself and that still run.
pub(crate) fn children(pid: u32) -> Vec<u32> {
    fs::read_to_string(format!("/proc/{pid}/task/{pid}/children"))
        .unwrap_or_default()
        .split_whitespace()
        .filter_map(|child| child.parse().ok())
        .collect()
}

/// Ends `pid` and all that it has started.
///
/// A command in another pid namespace is a child of the `nsenter` that went there, and outlives
/// it unless it is ended as well.
pub(crate) fn kill_tree(pid: u32) -> anyhow::Result<()> {
    let mut doomed = vec![pid];
    let mut next = 0;
    while let Some(&parent) = doomed.get(next) {
        doomed.extend(children(parent));
        next += 1;
    }
    kill(&doomed)
}

/// Sends SIGKILL to `pids`. One that has ended before is no failure.
pub(crate) fn kill(pids: &[u32]) -> anyhow::Result<()> {
    let output = Command::new("kill")
        .arg("-KILL")
        .args(pids.iter().map(u32::to_string))
        .stdin(Stdio::null())
        .output()
        .context("cannot run `kill`")?;
    let left: Vec<u32> =
        pids.iter().copied().filter(|pid| Process::with_pid(*pid).is_some()).collect();
    if !output.status.success() && !left.is_empty() {
        let stderr = String::from_utf8_lossy(&output.stderr);
        // The rest may be on its way out, which takes the kernel a moment.
        if stderr.lines().any(|line| !line.contains("No such process")) {
            bail!("cannot end processes {left:?}: {}", stderr.trim());
        }
    }
    Ok(())
}
