//! The process that holds a lab's namespaces, and the way into them.
//!
//! Namespaces are entered by commands only (`nsenter`), never by the process that uses the lab:
//! a program with several threads cannot change its own.

use std::env;
use std::fs::{self, File};
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use anyhow::{Context, bail};

use crate::base::Base;
use crate::command;
use crate::lab::Stay;
use crate::process::{self, Process};
use crate::state::State;

/// The first process of a lab's namespaces.
#[derive(Debug, Clone)]
pub(crate) struct Holder {
    process: Process,
    cgroup: String,
}

impl Holder {
    /// Starts the holder of the lab `state`. The child is what it hangs on: an owned lab ends when
    /// the child's standard input is closed.
    pub(crate) fn start(state: &State, base: &Base, stay: Stay) -> anyhow::Result<(Self, Child)> {
        let log = state.folder().join("holder.log");
        let stderr =
            File::create(&log).with_context(|| format!("cannot create `{}`", log.display()))?;
        let (word, stdin) = match stay {
            Stay::UntilDropped => ("owned", Stdio::piped()),
            Stay::UntilTakenDown => ("kept", Stdio::null()),
        };
        let mut child = Command::new("setsid")
            .args(["unshare", "--pid", "--fork", "--kill-child", "--mount", "--mount-proc"])
            .args(["--propagation", "private", "--net", "--"])
            .args(["bash", "-c", include_str!("script/holder.sh"), "holder"])
            .arg(state.folder())
            .arg(&base.lock)
            .args([&cgroup(&state.name), word])
            .current_dir("/")
            .stdin(stdin)
            .stdout(Stdio::piped())
            .stderr(stderr)
            .spawn()
            .context("cannot run `setsid`")?;
        let mut said = String::new();
        if let Some(stdout) = child.stdout.take() {
            BufReader::new(stdout).read_line(&mut said).context("cannot read from the holder")?;
        }
        if said.trim() != "up" {
            child.wait().context("cannot wait for the holder")?;
            let log = fs::read_to_string(&log).unwrap_or_default();
            bail!("the holder of the lab's namespaces did not start: {}", log.trim());
        }
        let process = process::children(child.id())
            .first()
            .and_then(|pid| Process::with_pid(*pid))
            .context("the holder of the lab's namespaces has died")?;
        Ok((Self { process, cgroup: cgroup(&state.name) }, child))
    }

    /// Finds the holder of a lab that is up.
    pub(crate) fn of(state: &State) -> anyhow::Result<Self> {
        match state.holder {
            Some(process) if process.is_alive() => {
                Ok(Self { process, cgroup: cgroup(&state.name) })
            }
            _ => bail!("the lab `{}` is not up", state.name),
        }
    }

    pub(crate) fn process(&self) -> Process {
        self.process
    }

    /// Returns a command that runs in the lab's own namespaces, where its hosts can be reached,
    /// and otherwise on this machine: same files, same folder, same environment.
    pub(crate) fn command(&self, words: &[&str]) -> Command {
        let mut folder = std::ffi::OsString::from("--wd=");
        folder.push(env::current_dir().unwrap_or_else(|_| "/".into()));
        let mut command = Command::new("nsenter");
        command
            .args(["--target", &self.process.pid.to_string(), "--mount", "--net", "--pid"])
            .arg(folder)
            .arg("--")
            .args(words);
        command
    }

    /// Runs a command in the lab's namespaces and fails unless it exits with 0.
    pub(crate) fn ok(&self, words: &[&str]) -> anyhow::Result<String> {
        command::ok(self.command(words))
    }

    /// Returns the cgroup of a host as seen in the lab's namespaces.
    pub(crate) fn cgroup_inside(&self, host: &str) -> String {
        format!("/sys/fs/cgroup/{}/{host}", self.cgroup)
    }

    /// Returns the cgroup of a host as seen from outside: through the holder's root folder.
    pub(crate) fn cgroup_outside(&self, host: &str) -> PathBuf {
        Path::new(&format!("/proc/{}/root/sys/fs/cgroup", self.process.pid))
            .join(&self.cgroup)
            .join(host)
    }
}

/// Returns the name of a lab's cgroup, below the root of cgroup v2.
pub(crate) fn cgroup(lab: &str) -> String {
    format!("muster-lab-{lab}")
}
