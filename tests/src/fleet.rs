//! A fleet of Muster's on the hosts of a lab: the controller and the agents as their packages
//! install them, run by their own units, and joined by token.
//!
//! Operators' commands run as root on the controller's host, which is called `ctl`. On every other
//! host there is the local account `ops`, which the agent's configuration names as break glass: it
//! has a password, and becomes root by sudo.

mod moved;

use std::collections::BTreeMap;
use std::env;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::thread;
use std::time::Duration;

use anyhow::{Context, anyhow, bail};
use serde_json::Value;

use crate::{Host, KeyPair, Lab, Output, Package, Setup, Ssh, Stay, wait};

/// The name of the host that the controller runs on.
const CONTROLLER: &str = "ctl";
/// Where a declaration is put before it is applied.
const DECLARATION: &str = "/root/people.yaml";
/// How long a host may take to be back after something was taken from it. A courier that has tried
/// in vain for long tries every half minute.
const RETURN: Duration = Duration::from_mins(2);

/// A controller and the hosts that have joined it.
#[derive(Debug)]
pub struct Fleet {
    lab: Lab,
    /// Where the controller runs.
    controller: String,
    members: Vec<String>,
    /// A token that one of them has joined with.
    spent: OnceLock<String>,
}

/// A host that is to join.
#[derive(Debug, Clone, Copy)]
pub struct Member<'a> {
    /// Its name.
    pub name: &'a str,
    /// Its labels, as `key=value`.
    pub labels: &'a [&'a str],
    /// Whether Muster may change it.
    pub mode: Mode,
}

/// Whether Muster may change a host.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// It may.
    Enforce,
    /// It may only say what it would do.
    Observe,
    /// It does not join: nothing of Muster's is on it.
    Apart,
}

/// The programs that a fleet is made of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Programs {
    /// The controller and the operator's command line.
    pub muster: PathBuf,
    /// The agent: one static binary.
    pub agent: PathBuf,
}

/// Somebody with a key to log in with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Person {
    /// The login.
    pub login: String,
    /// The pair of keys.
    pub key: KeyPair,
}

impl Programs {
    /// Finds what `tests/run` builds: the agent as it is shipped, the controller as it is tested.
    pub fn tested() -> anyhow::Result<Self> {
        Self::find("debug/muster", "cargo build --package muster-controller")
    }

    /// Finds both programs as they are shipped.
    pub fn shipped() -> anyhow::Result<Self> {
        Self::find("release/muster", "cargo build --release --package muster-controller")
    }

    fn find(muster: &str, build: &str) -> anyhow::Result<Self> {
        const TARGET: &str = "x86_64-unknown-linux-musl";
        let agent = format!("{TARGET}/agent/muster-agent");
        let build_agent =
            format!("cargo build --profile agent --target {TARGET} --package muster-agent");
        Ok(Self { muster: built(muster, build)?, agent: built(&agent, &build_agent)? })
    }
}

impl Fleet {
    /// Brings up a lab with a controller and these hosts, for as long as the value lives. Returns
    /// when every host is connected.
    pub fn start(name: &str, programs: &Programs, members: &[Member<'_>]) -> anyhow::Result<Self> {
        Self::start_on("bookworm", name, programs, members)
    }

    /// Does the same on hosts of another image, by its name with `tests/prepare`.
    pub fn start_on(
        image: &str,
        name: &str,
        programs: &Programs,
        members: &[Member<'_>],
    ) -> anyhow::Result<Self> {
        let names: Vec<&str> = members.iter().map(|member| member.name).collect();
        let hosts = [&[CONTROLLER], names.as_slice()].concat();
        let lab = Lab::set_up(Setup { name, hosts: &hosts, image, stay: Stay::UntilDropped })?;
        let members: Vec<_> = members.iter().filter(|m| m.mode != Mode::Apart).collect();
        let names: Vec<&str> = members.iter().map(|member| member.name).collect();
        let fleet = Self {
            lab,
            controller: CONTROLLER.to_owned(),
            members: names.iter().map(ToString::to_string).collect(),
            spent: OnceLock::new(),
        };
        fleet.begin(&programs.muster).context("cannot set up the controller")?;
        thread::scope(|scope| {
            let joins: Vec<_> = members
                .iter()
                .map(|member| (member.name, scope.spawn(|| fleet.join(**member, &programs.agent))))
                .collect();
            joins.into_iter().try_for_each(|(name, join)| {
                let joined = join.join().unwrap_or_else(|_| Err(anyhow!("the join panicked")));
                joined.with_context(|| format!("cannot let `{name}` join"))
            })
        })?;
        fleet.wait_until_connected(&names)?;
        Ok(fleet)
    }

    /// Returns the lab that the fleet is on.
    pub fn lab(&self) -> &Lab {
        &self.lab
    }

    /// Returns a host by its name.
    ///
    /// # Panics
    ///
    /// When there is no such host: in a test that is a slip of the pen.
    pub fn host(&self, name: &str) -> &Host {
        self.lab.host(name)
    }

    /// Returns the controller's host.
    pub fn controller(&self) -> &Host {
        self.lab.host(&self.controller)
    }

    /// Makes a pair of keys for somebody new.
    pub fn person(&self, login: &str) -> anyhow::Result<Person> {
        Ok(Person { login: login.to_owned(), key: self.lab.keygen(login, "ed25519")? })
    }

    /// Prepares a person's login to a host with her own key.
    pub fn ssh(&self, host: &str, person: &Person) -> Ssh {
        self.lab.ssh(host, &person.login, &person.key.private)
    }

    /// Runs an operator's command: `muster` with these arguments.
    pub fn muster(&self, words: &[&str]) -> anyhow::Result<Output> {
        self.controller().run(&[&["muster"], words].concat())
    }

    /// Runs an operator's command and returns its standard output; fails unless it exits with 0.
    pub fn muster_ok(&self, words: &[&str]) -> anyhow::Result<String> {
        self.controller().run_ok(&[&["muster"], words].concat())
    }

    /// Runs an operator's command that lists or shows something, and returns what.
    pub fn ask(&self, words: &[&str]) -> anyhow::Result<Value> {
        let json = self.muster_ok(&[words, &["--output", "json"]].concat())?;
        serde_json::from_str(&json).with_context(|| format!("no JSON from `muster {words:?}`"))
    }

    /// Writes a declaration down where [`Fleet::apply`] finds it, and returns its path there.
    pub fn declare(&self, yaml: &str) -> anyhow::Result<&'static str> {
        self.controller().write(DECLARATION, yaml.as_bytes(), 0o644)?;
        Ok(DECLARATION)
    }

    /// Applies a declaration, and waits for the hosts as the command does.
    pub fn apply(&self, yaml: &str) -> anyhow::Result<Output> {
        self.muster(&["apply", "--yes", "--file", self.declare(yaml)?])
    }

    /// Applies a declaration, which must end with every host that it concerns having confirmed.
    pub fn apply_ok(&self, yaml: &str) -> anyhow::Result<()> {
        let output = self.apply(yaml)?;
        if !output.success() {
            bail!("`muster apply` of\n{yaml}\n{output}");
        }
        Ok(())
    }

    /// Returns a token with which one host can join.
    pub fn token(&self, valid_for: &str) -> anyhow::Result<String> {
        let token = self.muster_ok(&["host", "token", "--valid-for", valid_for])?;
        Ok(token.trim().to_owned())
    }

    /// Returns a token that a host has joined with.
    pub fn spent_token(&self) -> anyhow::Result<&str> {
        self.spent.get().map(String::as_str).context("no host has joined yet")
    }

    /// Returns the number of the newest change, 0 before the first.
    pub fn newest_change(&self) -> anyhow::Result<u64> {
        let status = self.ask(&["status"])?;
        let change = status.get("change").context("no change in `muster status`")?;
        Ok(change.as_u64().unwrap_or_default())
    }

    /// Waits until the controller says of each of these hosts that it is connected.
    pub fn wait_until_connected(&self, hosts: &[&str]) -> anyhow::Result<()> {
        let mut last = String::new();
        wait::until(RETURN, &format!("{hosts:?} to be connected"), || {
            let connected = match self.connected() {
                Ok(connected) => connected,
                Err(error) => {
                    last = format!("{error:#}");
                    return None;
                }
            };
            last = format!("{connected:?}");
            hosts.iter().all(|host| connected.get(*host) == Some(&true)).then_some(())
        })
        .with_context(|| last)
    }

    /// Undoes what a test may have left behind when it failed: cables, units, power.
    pub fn settle(&self) -> anyhow::Result<()> {
        for host in self.lab.hosts() {
            if !host.is_up() {
                let _ = host.start()?;
            }
            self.lab.mend_cable(host.name())?;
        }
        self.controller().run_ok(&["systemctl", "start", "muster"])?;
        for member in &self.members {
            self.host(member)
                .run_ok(&[&["systemctl", "start"], Package::Agent.units()].concat())?;
        }
        let members: Vec<&str> = self.members.iter().map(String::as_str).collect();
        self.wait_until_connected(&members)
    }

    fn begin(&self, program: &Path) -> anyhow::Result<()> {
        let host = self.controller();
        Package::Controller.install(host, program)?;
        let address = format!("{CONTROLLER}:7420");
        self.muster_ok(&["init", "--operator", "alice", "--address", &address])?;
        enable(host, Package::Controller)
    }

    fn join(&self, member: Member<'_>, program: &Path) -> anyhow::Result<()> {
        let host = self.host(member.name);
        Package::Agent.install(host, program)?;
        let labels = member.labels.join("\n") + "\n";
        host.write("/etc/muster/labels.d/lab", labels.as_bytes(), 0o644)?;
        let emergency = "useradd --create-home --shell /bin/bash --groups sudo ops
            echo ops:break-glass | chpasswd";
        host.run_ok(&["sh", "-euc", emergency])?;
        let token = self.token("2h")?;
        let mut words = vec!["muster-agent", "join", &token];
        if member.mode == Mode::Enforce {
            words.extend(["--enforce", "--break-glass", "ops"]);
        }
        host.run_ok(&words)?;
        self.spent.get_or_init(|| token.clone());
        enable(host, Package::Agent)
    }

    fn connected(&self) -> anyhow::Result<BTreeMap<String, bool>> {
        let hosts = self.ask(&["host", "list"])?;
        let hosts = hosts.as_array().context("`muster host list` is no list")?;
        let pair = |host: &Value| {
            let name = host.get("host")?.as_str()?.to_owned();
            Some((name, host.get("connected")?.as_bool()?))
        };
        let shown_up = hosts.iter().filter(|host| host.get("state") != Some(&"pending".into()));
        shown_up.map(|host| pair(host).context("a host without a name")).collect()
    }
}

fn enable(host: &Host, package: Package) -> anyhow::Result<()> {
    let enable = [&["systemctl", "enable", "--quiet", "--now"], package.units()].concat();
    if host.run(&enable)?.success() {
        return Ok(());
    }
    let journals: Vec<String> =
        package.units().iter().map(|unit| host.journal(unit)).collect::<anyhow::Result<_>>()?;
    bail!("{:?} did not start\n{}", package.units(), journals.join("\n"));
}

/// Finds a program in the folder that this one was built into.
fn built(program: &str, build: &str) -> anyhow::Result<PathBuf> {
    let this = env::current_exe().context("cannot tell where this program is")?;
    let target = this.ancestors().find(|folder| folder.join("CACHEDIR.TAG").exists());
    let path = target.context("this program is not in a target folder of cargo's")?.join(program);
    if !path.exists() {
        bail!("`{}` is not built; `tests/run` builds it, or: {build}", path.display());
    }
    Ok(path)
}
