//! One host of a lab: its power, its commands and its files.
//!
//! Commands are run as root by entering the host's namespaces from outside, so they work without
//! sshd and leave no session. They are not bound by the limits that hold for the host's own
//! processes; see [`Host::run_unit`].

use std::fs;
use std::io;
use std::net::Ipv4Addr;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, bail};

use crate::command::{self, Output};
use crate::holder::Holder;
use crate::layer::Layer;
use crate::{Running, teardown, wait};

const BOOT: Duration = Duration::from_mins(1);
const SHUTDOWN: Duration = Duration::from_mins(1);

/// A host of a [`Lab`](crate::Lab).
#[derive(Debug, Clone)]
pub struct Host {
    pub(crate) name: String,
    pub(crate) address: Ipv4Addr,
    /// The bridge's end of the host's cable.
    pub(crate) port: String,
    pub(crate) layer: Layer,
    pub(crate) holder: Holder,
}

/// How a host has come up.
#[must_use]
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Boot {
    /// Every unit of the host is well.
    Running,
    /// The host is up, but these units have failed.
    Degraded(Vec<String>),
}

impl Host {
    /// Returns the host's name, which every host, client and controller of the lab can resolve.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Returns the host's address, which can be reached only from inside the lab.
    pub fn address(&self) -> Ipv4Addr {
        self.address
    }

    /// Runs a command as root in the host.
    pub fn run(&self, words: &[&str]) -> anyhow::Result<Output> {
        command::run(self.command(words)?)
    }

    /// Runs a command as root in the host and returns its standard output; fails with all that is
    /// known unless it exits with 0.
    pub fn run_ok(&self, words: &[&str]) -> anyhow::Result<String> {
        command::ok(self.command(words)?).with_context(|| format!("on `{}`", self.name))
    }

    /// Runs a command as root in the host with `stdin` on its standard input.
    pub fn run_with_stdin(&self, words: &[&str], stdin: &[u8]) -> anyhow::Result<Output> {
        command::run_with_stdin(self.command(words)?, stdin)
    }

    /// Runs a command in a unit of the host's own systemd, and so within the capabilities, the
    /// system calls and the cgroup that the host's services have. Each of `properties` is a setting
    /// of the unit, such as `ProtectSystem=strict`.
    pub fn run_unit(&self, properties: &[&str], words: &[&str]) -> anyhow::Result<Output> {
        let mut all = vec!["systemd-run", "--quiet", "--wait", "--pipe", "--collect"];
        all.extend(properties.iter().flat_map(|property| ["--property", property]));
        all.push("--");
        all.extend(words);
        self.run(&all)
    }

    /// Starts a command as root in the host and lets it run.
    pub fn spawn(&self, words: &[&str]) -> anyhow::Result<Running> {
        Running::start(self.command(words)?)
    }

    /// Returns a command, yet to be started, that runs as root in the host with a fresh
    /// environment.
    pub fn command(&self, words: &[&str]) -> anyhow::Result<Command> {
        let leader = self.leader().with_context(|| format!("the host `{}` is down", self.name))?;
        let mut command = Command::new("nsenter");
        command.args(["--target", &leader.to_string(), "--all", "--"]).args(words);
        command.env_clear().envs([
            ("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"),
            ("HOME", "/root"),
            ("USER", "root"),
            ("LOGNAME", "root"),
            ("SHELL", "/bin/bash"),
            ("LANG", "C.UTF-8"),
        ]);
        Ok(command)
    }

    /// Reads a file of the host.
    pub fn read(&self, path: &str) -> anyhow::Result<Vec<u8>> {
        command::bytes_ok(self.command(&["cat", "--", path])?)
            .with_context(|| format!("on `{}`", self.name))
    }

    /// Reads a file of the host without any process there; nothing if it is missing.
    pub fn look(&self, path: &str) -> anyhow::Result<Option<Vec<u8>>> {
        match fs::read(self.outside(path)?) {
            Ok(bytes) => Ok(Some(bytes)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => {
                Err(error).with_context(|| format!("cannot read `{path}` on `{}`", self.name))
            }
        }
    }

    /// Tells whether there is a directory of the host, without any process there.
    pub fn is_directory(&self, path: &str) -> anyhow::Result<bool> {
        Ok(self.outside(path)?.is_dir())
    }

    /// Writes a file of the host in place, as root and with the mode `mode`: an existing file
    /// stays the same inode, with its owner.
    pub fn write(&self, path: &str, bytes: &[u8], mode: u32) -> anyhow::Result<()> {
        const SCRIPT: &str = r#"umask 077 && cat >"$1" && chmod "$2" "$1""#;
        let words = ["sh", "-c", SCRIPT, "write", path, &format!("{mode:o}")];
        command::ok_with_stdin(self.command(&words)?, bytes)
            .with_context(|| format!("cannot write `{path}` on `{}`", self.name))?;
        Ok(())
    }

    /// Puts a file of this machine into the host as a new file, with missing folders, so that a
    /// program can be replaced while it runs.
    pub fn install(&self, file: &Path, path: &str, mode: u32) -> anyhow::Result<()> {
        let bytes = fs::read(file).with_context(|| format!("cannot read `{}`", file.display()))?;
        let words = ["install", "-D", "--mode", &format!("{mode:o}"), "/dev/stdin", path];
        command::ok_with_stdin(self.command(&words)?, &bytes)
            .with_context(|| format!("cannot install `{path}` on `{}`", self.name))?;
        Ok(())
    }

    /// Connects to a Unix socket of the host. Whoever listens there sees root.
    pub fn connect(&self, path: &str) -> anyhow::Result<UnixStream> {
        UnixStream::connect(self.outside(path)?)
            .with_context(|| format!("cannot connect to `{path}` on `{}`", self.name))
    }

    /// Returns what the host's journal has of a unit, oldest first.
    pub fn journal(&self, unit: &str) -> anyhow::Result<String> {
        self.run_ok(&["journalctl", "--quiet", "--no-pager", "--unit", unit])
    }

    /// Tells whether the host has power.
    pub fn is_up(&self) -> bool {
        self.leader().is_some()
    }

    /// Ends every process of the host at once, with nothing told to anybody. What the kernel had
    /// taken from them is still written: this shows a crash of programs, not of disks.
    pub fn power_cut(&self) -> anyhow::Result<()> {
        let cgroup = self.holder.cgroup_outside(&self.name);
        let switch = cgroup.join("cgroup.kill");
        fs::write(&switch, "1").with_context(|| format!("cannot write `{}`", switch.display()))?;
        self.wait_until_off()?;
        // The kernel counts the kills of a cgroup, and ends a process that begins in another one
        // than its parent's if the two were not killed equally often. A newer systemd begins every
        // unit so.
        teardown::remove_cgroups(&cgroup)
    }

    /// Shuts the host down in good order.
    pub fn power_off(&self) -> anyhow::Result<()> {
        // The answer may be lost with the host.
        let _ = self.run(&["systemctl", "poweroff"])?;
        self.wait_until_off()
    }

    /// Gives power to a host that has none, and returns when it is up.
    pub fn start(&self) -> anyhow::Result<Boot> {
        if self.is_up() {
            bail!("the host `{}` is up already", self.name);
        }
        let script = include_str!("script/host.sh");
        let (root, console) = (self.layer.root(), self.layer.console());
        let cgroup = self.holder.cgroup_inside(&self.name);
        let host = ["bash", "-c", script, "host", &self.name, &root, &cgroup, &console];
        self.holder.ok(&[&["setsid", "--fork"], host.as_slice()].concat())?;
        self.wait_until_up(None)
    }

    /// Restarts the host in good order, and returns when it is up again.
    pub fn reboot(&self) -> anyhow::Result<Boot> {
        let before = self.leader();
        // The answer may be lost with the host.
        let _ = self.run(&["systemctl", "reboot"])?;
        self.wait_until_up(before)
    }

    fn wait_until_off(&self) -> anyhow::Result<()> {
        let events = self.holder.cgroup_outside(&self.name).join("cgroup.events");
        wait::until(SHUTDOWN, &format!("`{}` to be off", self.name), || {
            let events = fs::read_to_string(&events).ok()?;
            events.lines().any(|line| line == "populated 0").then_some(())
        })
    }

    /// Waits for another first process than `before`, and for it to say that it is done.
    fn wait_until_up(&self, before: Option<u32>) -> anyhow::Result<Boot> {
        let up = wait::until(BOOT, &format!("`{}` to be up", self.name), || {
            if self.leader() == before {
                return None;
            }
            let state = self.run(&["systemctl", "is-system-running"]).ok()?.stdout;
            matches!(state.trim(), "running" | "degraded").then_some(state)
        });
        let state = up.with_context(|| {
            let console = fs::read_to_string(self.layer.console()).unwrap_or_default();
            format!("the console of `{}` says\n{console}", self.name)
        })?;
        if state.trim() == "running" { Ok(Boot::Running) } else { self.failed_units() }
    }

    fn failed_units(&self) -> anyhow::Result<Boot> {
        let list =
            self.run_ok(&["systemctl", "list-units", "--failed", "--plain", "--no-legend"])?;
        let unit = |line: &str| line.split_whitespace().next().map(str::to_owned);
        Ok(Boot::Degraded(list.lines().filter_map(unit).collect()))
    }

    /// Returns where a path of the host is found from outside.
    fn outside(&self, path: &str) -> anyhow::Result<PathBuf> {
        let leader = self.leader().with_context(|| format!("the host `{}` is down", self.name))?;
        // The kernel looks the rest of the path up in the host's own mounts (proc(5)).
        Ok(PathBuf::from(format!("/proc/{leader}/root{path}")))
    }

    /// Returns the host's first process by its number outside.
    fn leader(&self) -> Option<u32> {
        let payload = self.holder.cgroup_outside(&self.name).join("machine/payload");
        let listed = |cgroup: &Path| fs::read_to_string(cgroup.join("cgroup.procs")).ok();
        // It moves to a scope of its own while it starts.
        [payload.join("init.scope"), payload]
            .iter()
            .filter_map(|cgroup| listed(cgroup))
            .flat_map(|pids| pids.lines().map(str::to_owned).collect::<Vec<_>>())
            .filter_map(|pid| pid.parse().ok())
            .find(|pid| is_first_of_namespace(*pid))
    }
}

fn is_first_of_namespace(pid: u32) -> bool {
    // The last number is the one in the process's own namespace (proc(5)).
    fs::read_to_string(format!("/proc/{pid}/status")).is_ok_and(|status| {
        let numbers = status.lines().find_map(|line| line.strip_prefix("NSpid:"));
        numbers.is_some_and(|numbers| numbers.split_whitespace().last() == Some("1"))
    })
}
