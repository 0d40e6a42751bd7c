//! What of the configuration can change while the server runs: who may use the operators' socket, how
//! often a checkpoint is signed, how much is logged. Sessions go on. All else is said to need a new
//! start, and what cannot be taken up leaves everything as it was.

use std::{
    fmt,
    os::unix::fs::{MetadataExt, chown},
    path::{Path, PathBuf},
    time::Duration,
};

use nix::unistd::Gid;
use tokio::sync::watch;

use crate::{
    api::caller::{self, OperatorRule},
    config::{Config, LogLevel},
    told::told,
};

/// The settings that hold.
pub struct Settings {
    config: Config,
    operators: OperatorRule,
    checkpoint_every: watch::Sender<Duration>,
    log: SetLog,
}

/// What sets how much is logged.
pub type SetLog = Box<dyn Fn(LogLevel) + Send + Sync>;

/// Why a configuration is not taken up.
#[derive(Debug, thiserror::Error)]
pub enum SettingsError {
    /// It cannot be read, or is wrong.
    #[error(transparent)]
    Config(#[from] crate::config::ConfigError),
    /// The group does not exist.
    #[error("there is no Unix group `{0}`, which `operator_group` names")]
    Group(String),
    /// The socket cannot be given to the group.
    #[error("cannot give `{path}` to the Unix group that `operator_group` names")]
    Socket {
        /// The socket.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
}

impl fmt::Debug for Settings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Settings").field("config", &self.config).finish_non_exhaustive()
    }
}

impl Settings {
    pub(super) fn new(config: Config, operators: OperatorRule) -> Self {
        let checkpoint_every = watch::channel(config.checkpoint_every).0;
        Self { config, operators, checkpoint_every, log: Box::new(|_| {}) }
    }

    /// Takes what sets how much is logged.
    #[must_use]
    pub fn logging_by(self, log: SetLog) -> Self {
        Self { log, ..self }
    }

    pub(super) fn checkpoints(&self) -> watch::Receiver<Duration> {
        self.checkpoint_every.subscribe()
    }

    /// Reads the configuration anew, and says in the log what became of it.
    pub(super) fn read(&mut self, path: &Path) {
        match Config::load(path).map_err(SettingsError::from).and_then(|new| self.take(new)) {
            Ok(waiting) => {
                tracing::info!("configuration read anew");
                for key in waiting {
                    tracing::warn!(key, "takes effect when the server is started again");
                }
            }
            Err(error) => {
                tracing::error!(error = told(&error), "the configuration stays as it was");
            }
        }
    }

    /// Takes up what can change, or nothing; returns the keys that wait for a new start.
    pub fn take(&mut self, new: Config) -> Result<Vec<&'static str>, SettingsError> {
        if new.operator_group != self.config.operator_group {
            let group = group(new.operator_group.as_deref()).map_err(SettingsError::Group)?;
            self.give_socket(group)?;
            self.operators.set(group);
        }
        let old = &self.config;
        let waits = [
            ("data_dir", new.data_dir != old.data_dir),
            ("agent_listener", new.agent_listener != old.agent_listener),
            ("agent_address", new.agent_address != old.agent_address),
            ("operator_socket", new.operator_socket != old.operator_socket),
        ];
        self.checkpoint_every.send_if_modified(|every| {
            std::mem::replace(every, new.checkpoint_every) != new.checkpoint_every
        });
        (self.log)(new.log_level);
        self.config.operator_group = new.operator_group;
        self.config.checkpoint_every = new.checkpoint_every;
        self.config.log_level = new.log_level;
        Ok(waits.into_iter().filter_map(|(key, waits)| waits.then_some(key)).collect())
    }

    /// Gives the socket to a group; without one, to the server's own, which is root alone's by rule.
    fn give_socket(&self, group: Option<Gid>) -> Result<(), SettingsError> {
        let path = &self.config.operator_socket;
        let group = group.unwrap_or_else(Gid::effective).as_raw();
        let given = path.symlink_metadata().and_then(|found| {
            if found.gid() == group { Ok(()) } else { chown(path, None, Some(group)) }
        });
        given.map_err(|source| SettingsError::Socket { path: path.clone(), source })
    }
}

/// Finds the group that may use the operators' socket, or returns the name that no group has.
pub(super) fn group(name: Option<&str>) -> Result<Option<Gid>, String> {
    name.map(|name| caller::group_id(name).ok_or_else(|| name.to_owned())).transpose()
}
