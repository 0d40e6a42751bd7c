//! The agent's units as systemd has them, and the keeper's socket.

use std::collections::BTreeMap;

use muster_proto::time::Timestamp;

use super::{Finding, Place, finding, is_others};

/// The keeper's unit.
pub const KEEPER: &str = "muster-agent.service";
/// The courier's.
pub const COURIER: &str = "muster-agent-courier.service";
/// What systemd is asked about each of them (`org.freedesktop.systemd1(5)`).
pub const PROPERTIES: &str = "--property=Id,LoadState,ActiveState,SubState,Result,UnitFileState,WatchdogUSec,NeedDaemonReload,MainPID";

/// The agent's units.
#[derive(Clone, Debug, Default)]
pub struct Units {
    /// What systemd says; nothing where there is no systemd.
    pub units: Vec<Unit>,
    /// The keeper's socket and the directory that it is in.
    pub socket: Socket,
    /// When the socket was made.
    pub opened: Option<Timestamp>,
    /// The network that the keeper is in.
    pub network: Network,
}

/// The network that the keeper is in.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Network {
    /// Its own, in which there is nobody else, or it does not run.
    #[default]
    Own,
    /// That of the host.
    Host,
}

/// The keeper's socket.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Socket {
    /// The directory.
    pub directory: Option<Place>,
    /// The socket, if what is there is one.
    pub socket: Option<Place>,
}

/// A unit, by the properties that were asked for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Unit(BTreeMap<String, String>);

impl Unit {
    /// Reads what `systemctl show` says: a block of `Name=value` for each unit.
    pub fn parse_all(text: &str) -> Vec<Self> {
        let unit = |block: &str| {
            let pairs = block.lines().filter_map(|line| line.split_once('='));
            Self(pairs.map(|(name, value)| (name.to_owned(), value.to_owned())).collect())
        };
        text.split("\n\n").filter(|block| !block.trim().is_empty()).map(unit).collect()
    }

    fn get(&self, property: &str) -> &str {
        self.0.get(property).map_or("", String::as_str)
    }

    fn runs(&self) -> bool {
        matches!(self.get("ActiveState"), "active" | "reloading")
    }

    fn findings(&self) -> Vec<Finding> {
        let name = self.get("Id");
        let one = |fault: String, cure: String| vec![finding("unit", fault, cure)];
        match self.get("LoadState") {
            "loaded" => {}
            "masked" => {
                let cure = format!("systemctl unmask {name}; systemctl enable --now {name}");
                return one(format!("`{name}` is masked and can never start"), cure);
            }
            "not-found" => {
                return one(
                    format!("systemd knows no `{name}`"),
                    "install the package again".into(),
                );
            }
            other => {
                let cure = format!("`systemctl status {name}` says what is wrong in its file");
                return one(format!("systemd cannot load `{name}`: {other}"), cure);
            }
        }
        let mut found = Vec::new();
        let mut add = |fault: String, cure: String| found.push(finding("unit", fault, cure));
        match self.get("ActiveState") {
            "active" | "reloading" => {}
            "inactive" => add(format!("`{name}` does not run"), format!("systemctl start {name}")),
            state => {
                let (sub, result) = (self.get("SubState"), self.get("Result"));
                let cure = format!("`journalctl -u {name}` says why");
                add(format!("`{name}` does not run: {state}, {sub}, {result}"), cure);
            }
        }
        let file = self.get("UnitFileState");
        if matches!(file, "disabled" | "enabled-runtime" | "linked" | "linked-runtime") {
            let fault = format!("`{name}` does not start with the system: {file}");
            add(fault, format!("systemctl enable {name}"));
        }
        // Of one that does not run systemd says what held the last time.
        if self.runs() && matches!(self.get("WatchdogUSec"), "0" | "infinity") {
            let fault = format!("`{name}` is not started anew when it hangs");
            add(fault, "put `WatchdogSec=3min` back into its file".to_owned());
        }
        if self.get("NeedDaemonReload") == "yes" {
            let cure = format!("systemctl daemon-reload; systemctl restart {name}");
            add(format!("the file of `{name}` was changed and does not count yet"), cure);
        }
        found
    }
}

impl Units {
    /// Says whether there is a keeper at work.
    pub(super) fn keeper_runs(&self) -> bool {
        self.units.iter().any(|unit| unit.get("Id") == KEEPER && unit.runs())
    }

    /// Returns the keeper's process.
    pub fn keeper(&self) -> Option<u32> {
        let keeper = self.units.iter().find(|unit| unit.get("Id") == KEEPER)?;
        keeper.get("MainPID").parse().ok().filter(|pid| *pid != 0)
    }

    pub(super) fn findings(&self) -> Vec<Finding> {
        let mut found: Vec<Finding> = self.units.iter().flat_map(Unit::findings).collect();
        // systemd leaves `PrivateNetwork=` out without a word where it may not make a network.
        if self.network == Network::Host {
            let fault =
                format!("`{KEEPER}` is in the network of the host, and not in one of its own");
            let cure = format!(
                "let systemd make networks, in a container by `CAP_NET_ADMIN`, and see that no drop-in \
                 takes `PrivateNetwork=yes` away: systemctl cat {KEEPER}; systemctl restart {KEEPER}"
            );
            found.push(finding("unit", fault, cure));
        }
        found
    }

    pub(super) fn socket_findings(&self, courier: Option<(u32, u32)>) -> Vec<Finding> {
        let mut found = Vec::new();
        let mut add = |fault: String| {
            found.push(finding("keeper's socket", fault, format!("systemctl restart {KEEPER}")));
        };
        match &self.socket.directory {
            Some(Place { path, looks }) if is_others(*looks) => {
                add(format!("others than root may write `{path}`, and so pose as the keeper"));
            }
            Some(Place { path, looks }) if looks.mode & 0o001 == 0 => {
                add(format!("the courier is not let into `{path}`"));
            }
            _ => {}
        }
        match (&self.socket.socket, courier) {
            (None, _) => add("it is not there: the courier cannot reach the keeper".to_owned()),
            (Some(Place { path, looks }), Some((_, gid)))
                if (looks.uid, looks.gid, looks.mode) != (0, gid, 0o660) =>
            {
                let (uid, mode) = (looks.uid, looks.mode);
                add(format!(
                    "`{path}` is of {uid}:{}, mode {mode:03o}, and not of 0:{gid}, 660",
                    looks.gid
                ));
            }
            _ => {}
        }
        found
    }
}
