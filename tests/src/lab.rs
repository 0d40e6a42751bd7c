//! Bringing a lab up, using it, taking it down.

use std::collections::BTreeMap;
use std::fs;
use std::net::Ipv4Addr;
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::thread;

use anyhow::{Context, anyhow, bail};

use crate::base::{self, Base};
use crate::command::{self, Output};
use crate::holder::Holder;
use crate::layer::Layer;
use crate::process::Process;
use crate::state::{self, Owner, Registry, State};
use crate::{Boot, HardwareKey, Host, KeyPair, Running, Ssh, limits, net, teardown};

/// The most hosts that one range of addresses has room for.
const MOST_HOSTS: usize = 200;
/// The name by which hosts know the place of the controller.
const CONTROLLER: &str = "controller";

/// A small fleet of real hosts on this machine.
#[derive(Debug)]
pub struct Lab {
    state: State,
    holder: Holder,
    hosts: BTreeMap<String, Host>,
    /// What the lab's holder hangs on, when this process owns the lab.
    owned: Option<Child>,
}

/// What lab to bring up.
#[derive(Debug, Clone, Copy)]
pub struct Setup<'a> {
    /// Its name, unlike that of any other lab that is up on this machine.
    pub name: &'a str,
    /// The names of its hosts.
    pub hosts: &'a [&'a str],
    /// The image of the hosts, by its name with `tests/prepare`.
    pub image: &'a str,
    /// How long it stays.
    pub stay: Stay,
}

/// How long a lab stays up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stay {
    /// Until the [`Lab`] is dropped or its process ends.
    UntilDropped,
    /// Until [`Lab::take_down`], by whatever process.
    UntilTakenDown,
}

impl Lab {
    /// Brings up a lab for as long as the value lives, on Debian 12. Returns when every host says
    /// that it runs.
    pub fn start(name: &str, hosts: &[&str]) -> anyhow::Result<Self> {
        Self::set_up(Setup { name, hosts, image: "bookworm", stay: Stay::UntilDropped })
    }

    /// Brings up a lab. Whatever is left of labs whose process has died is removed first.
    pub fn set_up(setup: Setup<'_>) -> anyhow::Result<Self> {
        check(&setup)?;
        let base = Base::find(setup.image)?;
        let state = register(&setup)?;
        let result = Self::bring_up(state.clone(), &base, setup.stay);
        if result.is_err() {
            // The first failure is the one to tell.
            let _ = Registry::lock().and_then(|registry| teardown::remove(&state, &registry));
        }
        result.with_context(|| format!("cannot bring up the lab `{}`", setup.name))
    }

    /// Uses a lab that is up and that another process looks after.
    pub fn attach(name: &str) -> anyhow::Result<Self> {
        let state = State::read(name)?.with_context(|| format!("there is no lab `{name}`"))?;
        let holder = Holder::of(&state)?;
        Ok(Self { hosts: hosts(&state, &holder), state, holder, owned: None })
    }

    /// Takes down the lab `name`, whoever has brought it up.
    pub fn take_down(name: &str) -> anyhow::Result<()> {
        let registry = Registry::lock()?;
        let state = State::read(name)?.with_context(|| format!("there is no lab `{name}`"))?;
        teardown::remove(&state, &registry)
    }

    /// Returns the names of the labs that are up on this machine.
    pub fn list() -> anyhow::Result<Vec<String>> {
        let labs = state::all()?;
        Ok(labs.into_iter().filter(|lab| !lab.is_stale()).map(|lab| lab.name).collect())
    }

    /// Returns the lab's name.
    pub fn name(&self) -> &str {
        &self.state.name
    }

    /// Returns a host by its name.
    ///
    /// # Panics
    ///
    /// When the lab has no such host: in a test that is a slip of the pen.
    pub fn host(&self, name: &str) -> &Host {
        self.find_host(name)
            .unwrap_or_else(|| panic!("the lab `{}` has no host `{name}`", self.state.name))
    }

    /// Returns a host by its name, if there is one.
    pub fn find_host(&self, name: &str) -> Option<&Host> {
        self.hosts.get(name)
    }

    /// Returns the lab's hosts in the order of their names.
    pub fn hosts(&self) -> impl Iterator<Item = &Host> {
        self.hosts.values()
    }

    /// Returns the address where hosts reach what [`Lab::command`] starts; its name there is
    /// `controller`.
    pub fn controller_address(&self) -> Ipv4Addr {
        self.state.controller_address()
    }

    /// Returns a folder of this machine that goes with the lab, readable by root alone.
    pub fn scratch(&self) -> PathBuf {
        self.state.layers.join("scratch")
    }

    /// Returns a command, yet to be started, that runs on this machine but on the lab's network:
    /// a client or a controller.
    pub fn command(&self, words: &[&str]) -> Command {
        self.holder.command(words)
    }

    /// Runs a command of this machine on the lab's network.
    pub fn run(&self, words: &[&str]) -> anyhow::Result<Output> {
        command::run(self.command(words))
    }

    /// Starts a command of this machine on the lab's network and lets it run.
    pub fn spawn(&self, words: &[&str]) -> anyhow::Result<Running> {
        Running::start(self.command(words))
    }

    /// Prepares a login to `host` as `login` with the private key in the file `key`.
    pub fn ssh(&self, host: &str, login: &str, key: &Path) -> Ssh {
        Ssh::new(&self.holder, host, login, key)
    }

    /// Makes a pair of keys in the lab's scratch folder; `kind` is one of `ssh-keygen -t`.
    pub fn keygen(&self, name: &str, kind: &str) -> anyhow::Result<KeyPair> {
        KeyPair::generate(&self.scratch(), name, kind)
    }

    /// Makes a key that lives in hardware, which software plays.
    pub fn hardware_key(&self, name: &str) -> anyhow::Result<HardwareKey> {
        HardwareKey::generate(&self.scratch(), name)
    }

    /// Pulls a host's cable: it sees at once that it has no carrier.
    pub fn cut_cable(&self, host: &str) -> anyhow::Result<()> {
        net::cut(&self.holder, &self.host(host).port)
    }

    /// Lets everything to and from a host vanish without a sign.
    pub fn silence(&self, host: &str) -> anyhow::Result<()> {
        net::silence(&self.holder, &self.host(host).port)
    }

    /// Undoes [`Lab::cut_cable`] and [`Lab::silence`].
    pub fn mend_cable(&self, host: &str) -> anyhow::Result<()> {
        net::mend(&self.holder, &self.host(host).port)
    }

    fn bring_up(mut state: State, base: &Base, stay: Stay) -> anyhow::Result<Self> {
        let names = net::names(&state);
        fs::write(state.folder().join("hosts"), &names).context("cannot write the names")?;
        fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(state.layers.join("scratch"))
            .context("cannot create the scratch folder")?;
        teardown::guard_outside(&state)?;
        let (holder, child) = Holder::start(&state, base, stay)?;
        // From here on the lab ends by being dropped.
        state.holder = Some(holder.process());
        let mut lab = Self { hosts: hosts(&state, &holder), state, holder, owned: Some(child) };
        lab.state.write()?;
        net::wire(&lab.state, &lab.holder)?;
        lab.boot(base, &names)?;
        if stay == Stay::UntilTakenDown {
            lab.state.owner = Owner::Nobody;
            lab.state.write()?;
            lab.owned = None;
        }
        Ok(lab)
    }

    /// Starts all hosts at once.
    fn boot(&self, base: &Base, names: &str) -> anyhow::Result<()> {
        let boot = |host: &Host| {
            host.layer.create(&host.name, names)?;
            host.layer.mount(base, &self.holder)?;
            match host.start()? {
                Boot::Running => Ok(()),
                Boot::Degraded(units) => bail!("units of `{}` failed: {units:?}", host.name),
            }
        };
        thread::scope(|scope| {
            let boots: Vec<_> =
                self.hosts.values().map(|host| scope.spawn(move || boot(host))).collect();
            boots.into_iter().try_for_each(|boot| {
                boot.join().unwrap_or_else(|_| Err(anyhow!("a host's start panicked")))
            })
        })
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        let Some(mut child) = self.owned.take() else { return };
        let removed =
            Registry::lock().and_then(|registry| teardown::remove(&self.state, &registry));
        let _ = child.wait();
        // Inside another panic this one would hide it. What is left is inert, and the next lab
        // removes it.
        if let Err(error) = removed
            && !thread::panicking()
        {
            panic!("cannot take down the lab `{}`: {error:#}", self.state.name);
        }
    }
}

/// Writes the new lab down, once nothing old is in its way.
fn register(setup: &Setup<'_>) -> anyhow::Result<State> {
    let registry = Registry::lock()?;
    teardown::remove_stale(&registry)?;
    let labs = state::all()?;
    if labs.iter().any(|lab| lab.name == setup.name) {
        bail!("the lab `{}` is up already", setup.name);
    }
    let others: usize = labs.iter().map(|lab| lab.hosts.len()).sum();
    limits::make_room(others + setup.hosts.len())?;
    let state = State {
        name: setup.name.to_owned(),
        owner: Owner::Process(Process::this()?),
        holder: None,
        range: 0,
        layers: base::cache().join("labs").join(setup.name),
        hosts: setup.hosts.iter().map(ToString::to_string).collect(),
    };
    state::add(state, &registry)
}

fn hosts(state: &State, holder: &Holder) -> BTreeMap<String, Host> {
    let host = |(index, (name, address)): (usize, (&str, Ipv4Addr))| {
        let host = Host {
            name: name.to_owned(),
            address,
            port: net::port(index),
            layer: Layer::new(&state.layers, name),
            holder: holder.clone(),
        };
        (name.to_owned(), host)
    };
    state.addresses().enumerate().map(host).collect()
}

fn check(setup: &Setup<'_>) -> anyhow::Result<()> {
    if fs::metadata("/proc/self").context("cannot read `/proc`")?.uid() != 0 {
        bail!("a lab needs root: namespaces, mounts and bridges are made");
    }
    if setup.hosts.is_empty() || setup.hosts.len() > MOST_HOSTS {
        bail!("a lab has 1 to {MOST_HOSTS} hosts, not {}", setup.hosts.len());
    }
    let unfit = |name: &&str| {
        let fits = |byte: u8| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'-');
        !name.starts_with(|first: char| first.is_ascii_lowercase())
            || name.len() > 32
            || !name.bytes().all(fits)
    };
    if let Some(name) = setup.hosts.iter().chain([&setup.name]).copied().find(unfit) {
        bail!("`{name}` is no name for a lab or a host: a letter, then a-z, 0-9 and -, up to 32");
    }
    for (index, name) in setup.hosts.iter().enumerate() {
        let twice = setup.hosts.iter().skip(index + 1).any(|other| other == name);
        if twice || matches!(*name, CONTROLLER | "localhost" | "scratch") {
            bail!("the host name `{name}` is taken");
        }
    }
    Ok(())
}
