//! What is written down about each lab of this machine, so that others can use it, keep out of
//! its way, and clean up after it.
//!
//! One folder per lab under `/run/muster-lab`, and in it a file of `word value…` lines that is
//! replaced as a whole. Changes are made under the [`Registry`]'s lock.

use std::fs::{self, File};
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};

use crate::process::Process;

pub(crate) const FOLDER: &str = "/run/muster-lab";

/// The last range: labs get 10.213.0.0/24 to 10.213.255.0/24.
const LAST_RANGE: u8 = 255;
/// The place of the first host in its lab's range; before it there is only the controller, at 1.
const FIRST_HOST: u8 = 11;

/// What is known of one lab.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct State {
    pub(crate) name: String,
    pub(crate) owner: Owner,
    /// The first process of the lab's namespaces; none while the lab is only being started.
    pub(crate) holder: Option<Process>,
    /// The third number of the lab's addresses.
    pub(crate) range: u8,
    /// The folder of what its hosts write.
    pub(crate) layers: PathBuf,
    /// Its hosts, in the order of their addresses.
    pub(crate) hosts: Vec<String>,
}

/// Who decides when a lab ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Owner {
    /// The lab ends with this process.
    Process(Process),
    /// The lab stays until somebody takes it down.
    Nobody,
}

impl State {
    /// Reads what is written about the lab `name`; none when nothing is.
    pub(crate) fn read(name: &str) -> anyhow::Result<Option<Self>> {
        let path = folder(name).join("state");
        match fs::read_to_string(&path) {
            Ok(text) => Self::parse(name, &text)
                .map(Some)
                .with_context(|| format!("cannot understand `{}`", path.display())),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error).with_context(|| format!("cannot read `{}`", path.display())),
        }
    }

    pub(crate) fn write(&self) -> anyhow::Result<()> {
        let path = self.folder().join("state");
        let new = path.with_extension("new");
        fs::write(&new, self.render())
            .and_then(|()| fs::rename(&new, &path))
            .with_context(|| format!("cannot write `{}`", path.display()))
    }

    /// Tells whether nobody needs the lab any more, or it has died by itself.
    pub(crate) fn is_stale(&self) -> bool {
        let owner_gone = matches!(self.owner, Owner::Process(process) if !process.is_alive());
        owner_gone || self.holder.is_some_and(|holder| !holder.is_alive())
    }

    pub(crate) fn folder(&self) -> PathBuf {
        folder(&self.name)
    }

    pub(crate) fn controller_address(&self) -> Ipv4Addr {
        Ipv4Addr::new(10, 213, self.range, 1)
    }

    /// Returns the hosts with their addresses.
    pub(crate) fn addresses(&self) -> impl Iterator<Item = (&str, Ipv4Addr)> {
        let address = |last| Ipv4Addr::new(10, 213, self.range, last);
        self.hosts.iter().zip(FIRST_HOST..).map(move |(host, last)| (host.as_str(), address(last)))
    }

    /// Returns the range of the lab's addresses as the kernel's tools want it.
    pub(crate) fn network(&self) -> String {
        format!("10.213.{}.0/24", self.range)
    }

    fn parse(name: &str, text: &str) -> anyhow::Result<Self> {
        let mut state = Self {
            name: name.to_owned(),
            owner: Owner::Nobody,
            holder: None,
            range: 0,
            layers: PathBuf::new(),
            hosts: Vec::new(),
        };
        for line in text.lines() {
            match line.split_once(' ').with_context(|| format!("no value in `{line}`"))? {
                ("owner", value) => state.owner = Owner::Process(parse_process(value)?),
                ("holder", value) => state.holder = Some(parse_process(value)?),
                ("range", value) => state.range = value.parse()?,
                ("layers", value) => state.layers = value.into(),
                ("host", value) => state.hosts.push(value.to_owned()),
                (word, _) => bail!("unknown word `{word}`"),
            }
        }
        Ok(state)
    }

    fn render(&self) -> String {
        let mut lines = Vec::new();
        let processes = match self.owner {
            Owner::Process(owner) => [("owner", Some(owner)), ("holder", self.holder)],
            Owner::Nobody => [("owner", None), ("holder", self.holder)],
        };
        for (word, process) in processes {
            if let Some(Process { pid, started }) = process {
                lines.push(format!("{word} {pid} {started}"));
            }
        }
        lines.push(format!("range {}", self.range));
        lines.push(format!("layers {}", self.layers.display()));
        lines.extend(self.hosts.iter().map(|host| format!("host {host}")));
        lines.join("\n") + "\n"
    }
}

fn parse_process(value: &str) -> anyhow::Result<Process> {
    let (pid, started) = value.split_once(' ').context("a process needs a number and a start")?;
    Ok(Process { pid: pid.parse()?, started: started.parse()? })
}

fn folder(name: &str) -> PathBuf {
    Path::new(FOLDER).join(name)
}

/// The right to change which labs there are. Held by one process of the machine at a time.
#[derive(Debug)]
pub(crate) struct Registry {
    _lock: File,
}

impl Registry {
    /// Waits for its turn.
    pub(crate) fn lock() -> anyhow::Result<Self> {
        let take = || {
            fs::create_dir_all(FOLDER)?;
            let lock = File::create(Path::new(FOLDER).join("lock"))?;
            lock.lock()?;
            std::io::Result::Ok(lock)
        };
        Ok(Self { _lock: take().with_context(|| format!("cannot lock `{FOLDER}`"))? })
    }
}

/// Writes down a new lab with a range of addresses that no other has.
pub(crate) fn add(mut state: State, _registry: &Registry) -> anyhow::Result<State> {
    let taken: Vec<u8> = all()?.iter().map(|lab| lab.range).collect();
    state.range = (0..=LAST_RANGE)
        .find(|range| !taken.contains(range))
        .context("every range of addresses is taken by another lab")?;
    fs::create_dir_all(state.folder())
        .with_context(|| format!("cannot create `{}`", state.folder().display()))?;
    state.write()?;
    Ok(state)
}

/// Returns every lab that something is written about, in the order of their names.
pub(crate) fn all() -> anyhow::Result<Vec<State>> {
    let mut names = Vec::new();
    match fs::read_dir(FOLDER) {
        Ok(entries) => {
            for entry in entries {
                names.extend(entry?.file_name().into_string());
            }
        }
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
        Err(error) => return Err(error).with_context(|| format!("cannot read `{FOLDER}`")),
    }
    names.sort();
    names.retain(|name| folder(name).is_dir());
    names.iter().filter_map(|name| State::read(name).transpose()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lab(owner: Owner, holder: Option<Process>) -> State {
        State {
            name: "story".to_owned(),
            owner,
            holder,
            range: 7,
            layers: "/somewhere/story".into(),
            hosts: vec!["db1".to_owned(), "web1".to_owned()],
        }
    }

    #[test]
    fn a_state_is_read_back_as_it_was_written() -> anyhow::Result<()> {
        let process = Process { pid: 42, started: 123_456 };
        for state in [
            lab(Owner::Nobody, Some(process)),
            lab(Owner::Process(process), None),
            lab(Owner::Process(process), Some(Process { pid: 43, started: 123_460 })),
        ] {
            assert_eq!(State::parse("story", &state.render())?, state);
        }
        Ok(())
    }

    #[test]
    fn addresses_follow_the_order_of_the_hosts() {
        let state = lab(Owner::Nobody, None);
        let addresses: Vec<_> =
            state.addresses().map(|(host, address)| format!("{host} {address}")).collect();
        assert_eq!(addresses, ["db1 10.213.7.11", "web1 10.213.7.12"]);
    }

    #[test]
    fn a_lab_whose_owner_is_gone_is_stale() -> anyhow::Result<()> {
        let here = Process::this()?;
        let gone = Process { started: here.started + 1, ..here };
        assert!(lab(Owner::Process(gone), Some(here)).is_stale());
        assert!(lab(Owner::Nobody, Some(gone)).is_stale());
        assert!(!lab(Owner::Process(here), None).is_stale());
        assert!(!lab(Owner::Nobody, Some(here)).is_stale());
        Ok(())
    }
}
