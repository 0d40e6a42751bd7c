//! The server's configuration: the file as written, and as meant. Everything that is wrong with it
//! is said at once, before anything is opened.

mod written;

use std::{
    fmt,
    net::SocketAddr,
    path::{Path, PathBuf},
    time::Duration,
};

use muster_proto::link::{CHECKPOINT_INTERVAL, CHECKPOINT_VALIDITY};
use serde::Deserialize;

use self::written::Written;

/// Where the packages put it.
pub const DEFAULT_PATH: &str = "/etc/muster/muster.toml";
/// Where the fleet's data is, unless told otherwise.
pub const DEFAULT_DATA_DIR: &str = "/var/lib/muster";
/// Where operators' tools connect, unless told otherwise.
pub const DEFAULT_OPERATOR_SOCKET: &str = "/run/muster/operator.sock";
/// Where agents connect, unless told otherwise.
pub const DEFAULT_AGENT_LISTENER: &str = "[::]:7420";
/// The most seconds between two checkpoints, so that one may get lost while the last is valid.
const MAX_CHECKPOINT: u64 = CHECKPOINT_VALIDITY / 2;

/// The file as written.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct RawConfig {
    data_dir: Option<PathBuf>,
    agent_listener: Option<String>,
    agent_address: Option<String>,
    operator_socket: Option<PathBuf>,
    operator_group: Option<String>,
    checkpoint_seconds: Option<u64>,
    log_level: Option<String>,
}

/// The configuration as meant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// The store, the CA and the online key.
    pub data_dir: PathBuf,
    /// Where agents connect, here.
    pub agent_listener: SocketAddr,
    /// Where agents connect, as they see it: host:port.
    pub agent_address: String,
    /// The Unix socket for operators' tools.
    pub operator_socket: PathBuf,
    /// The Unix group that may use it besides root.
    pub operator_group: Option<String>,
    /// How often a checkpoint is signed.
    pub checkpoint_every: Duration,
    /// How much is logged.
    pub log_level: LogLevel,
}

/// How much is logged: each says what the one before does, and more.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LogLevel {
    /// Where somebody must act.
    Error,
    /// Where it went on in a lesser way.
    Warn,
    /// The story of a day.
    #[default]
    Info,
    /// For those who look into the program.
    Debug,
}

impl LogLevel {
    fn parse(word: &str) -> Option<Self> {
        Some(match word {
            "error" => Self::Error,
            "warn" => Self::Warn,
            "info" => Self::Info,
            "debug" => Self::Debug,
            _ => return None,
        })
    }
}

/// Why there is no configuration.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file could not be read.
    #[error("cannot read the configuration `{path}`")]
    Read {
        /// Which.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// It is not TOML.
    #[error("cannot read the configuration")]
    Syntax(#[from] toml::de::Error),
    /// Keys that nobody knows and values that cannot be.
    #[error("the configuration is wrong: {0}")]
    Values(Faults),
}

/// Everything that is wrong.
#[derive(Debug, PartialEq, Eq)]
pub struct Faults(Vec<String>);

impl fmt::Display for Faults {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.join("; "))
    }
}

impl Config {
    /// Reads a file.
    pub fn load(path: &Path) -> Result<Self, ConfigError> {
        let read = |source| ConfigError::Read { path: path.to_owned(), source };
        Self::parse(&std::fs::read_to_string(path).map_err(read)?)
    }

    /// Reads a text; an empty one means the defaults.
    pub fn parse(text: &str) -> Result<Self, ConfigError> {
        let Written::<RawConfig> { said: raw, mut faults } = written::read(text)?;
        let listener = raw.agent_listener.as_deref().unwrap_or(DEFAULT_AGENT_LISTENER);
        let agent_listener = listener.parse::<SocketAddr>();
        if agent_listener.is_err() {
            faults.push(format!(
                "`agent_listener` is `{listener}`, which is not an IP address and a port"
            ));
        }
        let port = agent_listener.as_ref().map_or(0, SocketAddr::port);
        let agent_address =
            raw.agent_address.unwrap_or_else(|| format!("{}:{port}", own_hostname()));
        if host_of(&agent_address).is_none() {
            faults.push(format!("`agent_address` is `{agent_address}`, which is not host:port"));
        }
        let mut absolute = |path: Option<PathBuf>, default: &str, key: &str| {
            let path = path.unwrap_or_else(|| PathBuf::from(default));
            if !path.is_absolute() {
                faults.push(format!("`{key}` is `{}`, which is not absolute", path.display()));
            }
            path
        };
        let data_dir = absolute(raw.data_dir, DEFAULT_DATA_DIR, "data_dir");
        let operator_socket =
            absolute(raw.operator_socket, DEFAULT_OPERATOR_SOCKET, "operator_socket");
        let seconds = raw.checkpoint_seconds.unwrap_or(CHECKPOINT_INTERVAL);
        if !(1..=MAX_CHECKPOINT).contains(&seconds) {
            faults.push(format!(
                "`checkpoint_seconds` is {seconds}; it must be 1 to {MAX_CHECKPOINT}, since a \
                 checkpoint is valid for {CHECKPOINT_VALIDITY}"
            ));
        }
        let word = raw.log_level.as_deref().unwrap_or("info");
        let log_level = LogLevel::parse(word);
        if log_level.is_none() {
            faults.push(format!("`log_level` is `{word}`; it must be error, warn, info or debug"));
        }
        match agent_listener {
            Ok(agent_listener) if faults.is_empty() => Ok(Self {
                data_dir,
                agent_listener,
                agent_address,
                operator_socket,
                operator_group: raw.operator_group,
                checkpoint_every: Duration::from_secs(seconds),
                log_level: log_level.unwrap_or_default(),
            }),
            _ => Err(ConfigError::Values(Faults(faults))),
        }
    }
}

/// Returns the host of host:port, without the brackets of an IPv6 address.
pub fn host_of(address: &str) -> Option<&str> {
    let (host, port) = address.rsplit_once(':')?;
    port.parse::<u16>().ok()?;
    let bare = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
    let plain = bare.bytes().all(|b| b.is_ascii_alphanumeric() || b".-:_".contains(&b));
    let bracketed = bare.len() != host.len();
    (plain && !bare.is_empty() && bare.contains(':') == bracketed).then_some(bare)
}

fn own_hostname() -> String {
    let name = nix::unistd::gethostname().ok().and_then(|name| name.into_string().ok());
    name.filter(|name| !name.is_empty()).unwrap_or_else(|| "localhost".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_empty_file_means_the_defaults() {
        let config = Config::parse("").unwrap();
        assert_eq!(config.data_dir, Path::new("/var/lib/muster"));
        assert_eq!(config.operator_socket, Path::new("/run/muster/operator.sock"));
        assert_eq!(config.agent_listener.port(), 7420);
        assert!(config.agent_address.ends_with(":7420"));
        assert_eq!(config.checkpoint_every, Duration::from_secs(CHECKPOINT_INTERVAL));
    }

    #[test]
    fn everything_wrong_is_said_at_once() {
        let text = "agent_listener = 'here'\nagent_address = 'db1'\ndata_dir = 'var'\n\
                    checkpoint_seconds = 900\nlog_level = 'all'\n";
        let error = Config::parse(text).unwrap_err().to_string();
        for key in
            ["agent_listener", "agent_address", "data_dir", "checkpoint_seconds", "log_level"]
        {
            assert!(error.contains(key), "{key}: {error}");
        }
        assert!(Config::parse("data_dirr = '/x'").is_err());
        assert!(matches!(Config::parse("data_dir ="), Err(ConfigError::Syntax(_))));
    }

    #[test]
    fn keys_that_nobody_knows_wrong_types_and_bad_values_are_all_said_at_once() {
        let text = "data_dirr = '/x'\nlog_level = 'all'\n\nagent_address = 7420\n\
                    checkpoint_seconds = 900\n[agents]\nlistener = 'here'\n";
        let error = Config::parse(text).unwrap_err();
        let ConfigError::Values(Faults(found)) = error else { panic!("{error}") };
        let [data_dirr, agent_address, agents, checkpoint_seconds, log_level] = &found[..] else {
            panic!("{found:?}")
        };
        assert_eq!(data_dirr, "`data_dirr`: there is no such key (line 1)");
        let wrong_type =
            "`agent_address`: invalid type: integer `7420`, expected a string (line 4)";
        assert_eq!(agent_address, wrong_type);
        assert_eq!(agents, "`agents`: there is no such key (line 6)");
        assert!(checkpoint_seconds.starts_with("`checkpoint_seconds` is 900"), "{found:?}");
        assert!(log_level.starts_with("`log_level` is `all`"), "{found:?}");
    }

    /// The configuration as packaged, in which every key stands.
    const EXAMPLE: &str = include_str!("../../packaging/config/muster.toml");

    #[test]
    fn every_key_stands_in_the_packaged_example_with_a_value_that_can_be() {
        // What serde says to a key that does not exist names all that do.
        let error = toml::from_str::<RawConfig>("nonsense = 1").unwrap_err();
        let (_, expected) = error.message().split_once("expected one of ").unwrap();
        let keys: Vec<&str> = expected.split(", ").map(|key| key.trim_matches('`')).collect();
        assert!(keys.contains(&"data_dir") && keys.contains(&"log_level"), "{keys:?}");
        let mut text = String::new();
        for key in keys {
            let shown = EXAMPLE.lines().filter_map(|line| line.strip_prefix('#'));
            let mut lines = shown.filter(|line| line.starts_with(&format!("{key} = ")));
            text.push_str(lines.next().unwrap_or_else(|| panic!("`{key}` is not explained")));
            text.push('\n');
            assert_eq!(lines.next(), None, "`{key}` stands there twice");
        }
        let default = Config::parse("").unwrap();
        // Without these two there is this machine's own name, and nobody.
        let shown = Config {
            agent_address: default.agent_address.clone(),
            operator_group: None,
            ..Config::parse(&text).unwrap()
        };
        assert_eq!(shown, default);
        assert_eq!(Config::parse(EXAMPLE).unwrap(), default);
    }

    #[test]
    fn each_level_of_the_log_has_a_word() {
        for (word, level) in [
            ("error", LogLevel::Error),
            ("warn", LogLevel::Warn),
            ("info", LogLevel::Info),
            ("debug", LogLevel::Debug),
        ] {
            let config = Config::parse(&format!("log_level = '{word}'")).unwrap();
            assert_eq!(config.log_level, level);
        }
        assert!(Config::parse("log_level = 'trace'").is_err());
    }

    #[test]
    fn checkpoints_come_often_enough_and_not_always() {
        for (seconds, is_right) in [(0, false), (1, true), (300, true), (301, false)] {
            let config = Config::parse(&format!("checkpoint_seconds = {seconds}"));
            assert_eq!(config.is_ok(), is_right, "{seconds}");
        }
        assert_eq!(2 * MAX_CHECKPOINT, CHECKPOINT_VALIDITY, "one may be missed");
    }

    #[test]
    fn hosts_of_addresses() {
        assert_eq!(host_of("db1.example:7420"), Some("db1.example"));
        assert_eq!(host_of("[2001:db8::1]:7420"), Some("2001:db8::1"));
        for bad in ["db1", "db1:", ":7420", "2001:db8::1:7420", "a b:1", "a:99999"] {
            assert_eq!(host_of(bad), None, "{bad}");
        }
    }
}
