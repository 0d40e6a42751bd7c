//! Looks at what the doctor judges, and changes nothing. Whatever cannot be looked at is told with
//! the rest: one thing that is broken must not hide another.

mod ground;
mod ways_in;

use std::{
    error::Error,
    fs, io,
    os::unix::fs::{FileTypeExt, MetadataExt},
    path::{Path, PathBuf},
    sync::Arc,
};

use muster_proto::{crypto::MachineKey, time::Timestamp};

use super::{
    chain,
    files::{Dir, Faults, FileError, Looks},
    program::Programs,
    state,
};
use crate::{
    channel,
    config::Config,
    courier::{self, Identity},
    doctor::{
        Facts, Place,
        memory::{Known, Memory, Standing},
        units::{self, Network, Socket, Unit, Units},
    },
    format::{Table, passwd},
    join, labels, leave,
    ledger::Ledger,
};

/// Where to look.
#[derive(Clone, Copy, Debug)]
pub struct Places<'a> {
    /// The host's root. In any other than the running system's no program is run.
    pub root: &'a Path,
    /// The agent's state.
    pub state: &'a Path,
    /// Its configuration.
    pub config: &'a Path,
}

/// A look at a host.
struct Look<'a> {
    places: Places<'a>,
    root: Dir,
    programs: Programs,
    now: Timestamp,
    unseen: Vec<(&'static str, String)>,
}

/// Looks at everything.
pub fn examine(places: Places<'_>, now: Timestamp) -> Result<Facts, FileError> {
    let programs = if places.root == Path::new("/") { Programs::System } else { Programs::None };
    let root = Dir::open(places.root, Arc::new(Faults::none()))?;
    let mut look = Look { places, root, programs, now, unseen: Vec::new() };
    let config = Config::load(places.config).map_err(|error| error.in_one_line());
    let guards = look.guards();
    let passwd = look.table("passwd");
    let memory = look.memory(&passwd);
    let units = look.units();
    let ways_in = look.ways_in(config.as_ref().ok(), &passwd);
    let ground = look.ground(config.as_ref().ok());
    Ok(Facts { config, guards, memory, units, ways_in, ground, unseen: look.unseen })
}

impl Look<'_> {
    /// Takes what was seen, or says that it was not.
    fn see<T: Default, E: Error>(&mut self, subject: &'static str, seen: Result<T, E>) -> T {
        seen.unwrap_or_else(|error| {
            self.unseen.push((subject, chain(&error)));
            T::default()
        })
    }

    /// Returns the place of something in the host's root.
    fn at(&self, path: &str) -> PathBuf {
        self.places.root.join(path.trim_start_matches('/'))
    }

    fn text(&mut self, subject: &'static str, path: &str) -> Option<String> {
        let text = state::read_system(&self.at(path));
        self.see(subject, text)
    }

    fn table(&mut self, name: &'static str) -> Table {
        let text = self.root.need("etc").and_then(|etc| etc.read(name));
        let text = self.see("account files", text).map(|(text, _)| text);
        let table = Table::parse(text.unwrap_or_default());
        self.see("account files", table)
    }

    /// Looks at an entry, not through it.
    fn entry(&mut self, path: &Path) -> Option<fs::Metadata> {
        let found = match fs::symlink_metadata(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            other => other.map(Some),
        };
        self.see(
            "files",
            found.map_err(|cause| state::StateError::Read { path: path.to_owned(), cause }),
        )
    }

    fn place(&mut self, path: &Path) -> Option<Place> {
        self.entry(path).map(|found| place(path, &found))
    }

    /// The files of labels are looked at as they are read.
    fn guards(&mut self) -> Vec<Place> {
        let labels = self.at(labels::DIRECTORY);
        let config = self.places.config;
        let guards = [config.parent(), Some(config), Some(&labels)];
        guards.into_iter().flatten().filter_map(|path| self.place(path)).collect()
    }

    fn memory(&mut self, passwd: &Table) -> Memory {
        let state = self.places.state;
        let (keeper, courier) = (state.join("keeper"), state.join("courier"));
        let account = passwd.get(join::COURIER_ACCOUNT);
        let account = account
            .and_then(|entry| Some((entry.number(passwd::UID)?, entry.number(passwd::GID)?)));
        let keepers =
            [state.to_owned(), keeper.clone(), keeper.join("ledger"), keeper.join("key.der")];
        let files = ["identity", "ca.der", "controller"].map(|name| courier.join(name));
        let missing: Vec<String> = files
            .iter()
            .filter(|path| self.entry(path).is_none())
            .map(|path| path.display().to_string())
            .collect();
        let certificate = missing.is_empty().then(|| {
            let ends = Identity::load(&courier).map_err(courier::Void::from);
            ends.and_then(|identity| identity.ends()).map_err(|error| chain(&error))
        });
        let heard = self.text("controller", channel::HEARD);
        Memory {
            directory: state.display().to_string(),
            standing: self.standing(&keeper, &courier),
            courier: account,
            keepers: keepers.iter().filter_map(|path| self.place(path)).collect(),
            couriers: [courier].iter().chain(&files).filter_map(|path| self.place(path)).collect(),
            missing,
            certificate,
            heard: heard.and_then(|text| text.trim().parse().ok()).map(Timestamp),
        }
    }

    fn standing(&mut self, keeper: &Path, courier: &Path) -> Standing {
        let has_left = leave::has_left(keeper);
        let has_left = self.see("ledger", has_left);
        let ledger = match state::read(&keeper.join("ledger")) {
            Err(error) => return Standing::Damaged(chain(&error)),
            Ok(None) if has_left => return Standing::Left,
            Ok(None) => {
                let any = [keeper.join("key.der"), courier.join("identity")];
                let joined = any.iter().any(|path| self.entry(path).is_some());
                return if joined { Standing::Lost } else { Standing::NotJoined };
            }
            Ok(Some(bytes)) => match Ledger::decode(&bytes) {
                Err(error) => return Standing::Damaged(chain(&error)),
                Ok(_) if has_left => return Standing::Left,
                Ok(ledger) => ledger,
            },
        };
        let path = keeper.join("key.der");
        let other = |why: String| Standing::OtherKey(format!("`{}` {why}", path.display()));
        let key = match state::read(&path) {
            Err(error) => return Standing::OtherKey(chain(&error)),
            Ok(None) => return other("is missing: nothing can be signed here".to_owned()),
            Ok(Some(bytes)) => MachineKey::from_pkcs8(&bytes),
        };
        match key {
            Err(error) => other(format!("is damaged: {}", chain(&error))),
            Ok(key) if key.public().digest() != ledger.host => {
                other("is not the key of this host's ledger".to_owned())
            }
            Ok(_) => Standing::Joined(known(&ledger)),
        }
    }

    /// Whoever looks is in the host's network.
    fn network(&mut self, keeper: Option<u32>) -> Network {
        let Some(pid) = keeper else { return Network::Own };
        let (theirs, ours) =
            (namespace(&format!("/proc/{pid}/ns/net")), namespace("/proc/self/ns/net"));
        let (theirs, ours) = (self.see("unit", theirs), self.see("unit", ours));
        if theirs.is_some() && theirs == ours { Network::Host } else { Network::Own }
    }

    fn units(&mut self) -> Units {
        let mut units = Vec::new();
        // What systemd itself has started has this directory (sd_booted(3)).
        if self.at("run/systemd/system").is_dir() {
            let asked = ["show", units::PROPERTIES, units::KEEPER, units::COURIER];
            match self.programs.status("systemctl", &asked) {
                Some(Ok((0, said))) => units = Unit::parse_all(&said),
                Some(Ok((status, _))) => {
                    self.unseen.push(("unit", format!("systemctl ended with status {status}")));
                }
                Some(Err(reason)) => self.unseen.push(("unit", reason)),
                None => {}
            }
        }
        let socket = self.at(channel::SOCKET);
        let directory = socket.parent().and_then(|directory| self.place(directory));
        let found = self.entry(&socket).filter(|found| found.file_type().is_socket());
        let opened = found.as_ref().and_then(|found| u64::try_from(found.mtime()).ok());
        let socket = found.map(|found| place(&socket, &found));
        let opened = opened.map(Timestamp);
        let socket = Socket { directory, socket };
        let mut units = Units { units, socket, opened, network: Network::Own };
        units.network = self.network(units.keeper());
        units
    }
}

/// What a link of a process's namespaces names (`namespaces(7)`); nothing of one that has ended.
fn namespace(link: &str) -> Result<Option<PathBuf>, state::StateError> {
    match fs::read_link(link) {
        Ok(name) => Ok(Some(name)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(cause) => Err(state::StateError::Read { path: link.into(), cause }),
    }
}

fn place(path: &Path, found: &fs::Metadata) -> Place {
    let looks = Looks { uid: found.uid(), gid: found.gid(), mode: found.mode() & 0o7777 };
    Place { path: path.display().to_string(), looks }
}

fn known(ledger: &Ledger) -> Known {
    let trust = ledger.trust();
    Known {
        trust_root: (trust.version, trust.expires),
        stale_after: trust.stale_after,
        changed: ledger.floor_link().map(|link| link.time),
        believed: ledger.time.sworn.max(ledger.time.said),
    }
}
