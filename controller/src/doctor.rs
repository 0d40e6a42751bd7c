//! What is wrong on the controller's own host, each with a cure: the configuration, the data and who
//! can read it, room, the doors, and what runs out. Looks only, and asks nobody but this machine.

use std::{
    fs, io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream},
    os::unix::{
        fs::{MetadataExt, PermissionsExt},
        net::UnixStream,
    },
    path::Path,
    time::Duration,
};

use muster_proto::{time::Timestamp, trust::TrustRoot};
use nix::sys::statvfs::statvfs;

use crate::{
    backup::{self, Contents, Unsound},
    config::Config,
    told::told,
};

/// Seconds before a trust root expires from which on that is told: 60 days.
const EXPIRES_SOON: u64 = 60 * 86_400;
/// Seconds by which the newest change may be ahead of this clock.
const SKEW: u64 = 300;
/// What can be done about a trust root that ends.
const NEXT_TRUST_ROOT: &str = "its signers sign the next one with a coming version of `muster`: \
                               no command of this one does that";
/// The least room, in hundredths.
const ROOM: u64 = 5;
/// How long this machine's own listener may take.
const PATIENCE: Duration = Duration::from_secs(3);

/// Something that is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// With what.
    pub subject: String,
    /// What.
    pub fault: String,
    /// What to do about it.
    pub cure: String,
}

fn finding(subject: &str, fault: impl Into<String>, cure: impl Into<String>) -> Finding {
    Finding { subject: subject.to_owned(), fault: fault.into(), cure: cure.into() }
}

/// Looks at everything.
pub async fn examine(config: &Path, key: &Path, now: Timestamp) -> Vec<Finding> {
    let mut found: Vec<Finding> = key_of_operator(key).into_iter().collect();
    let config = match Config::load(config) {
        Ok(config) => config,
        Err(error) => {
            let cure =
                format!("mend `{}`; the packaged example explains every key", config.display());
            found.push(finding("configuration", told(&error), cure));
            return found;
        }
    };
    found.extend(ownership(&config.data_dir));
    found.extend(room(&config.data_dir));
    match backup::inspect(&config.data_dir).await {
        Ok(contents) => found.extend(standing(&contents, now)),
        Err(error) => found.push(unsound(&error)),
    }
    found.extend(doors(&config));
    found
}

fn unsound(error: &Unsound) -> Finding {
    let cure = match error {
        Unsound::OnlineKey => "put the fleet's own online.key back, from a backup",
        _ => "keep a copy of it, and restore the newest backup with `muster restore`",
    };
    finding("data", told(error), cure)
}

/// Everything belongs to one account, and nobody else can read it.
fn ownership(data: &Path) -> Vec<Finding> {
    let unreadable = |path: &Path, error: &io::Error| {
        let fault = format!("cannot look at `{}`: {error}", path.display());
        finding("data directory", fault, "run this as root on the controller's host")
    };
    let owner = match data.metadata() {
        Ok(found) => found,
        Err(error) => return vec![unreadable(data, &error)],
    };
    let mut found: Vec<Finding> = open_to_others(data, &owner, "700").into_iter().collect();
    let files = match fs::read_dir(data) {
        Ok(files) => files,
        Err(error) => return vec![unreadable(data, &error)],
    };
    for file in files {
        let looked = file.and_then(|file| Ok((file.path(), file.metadata()?)));
        let (path, looks) = match looked {
            Ok(looked) => looked,
            // The database's own files beside it come and go.
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            Err(error) => return vec![unreadable(data, &error)],
        };
        found.extend(open_to_others(&path, &looks, "600"));
        if looks.uid() != owner.uid() {
            let (path, uid) = (path.display(), owner.uid());
            let fault = format!("`{path}` does not belong to uid {uid}, as the directory does");
            found.push(finding("data directory", fault, format!("chown {uid} {path}")));
        }
    }
    found
}

fn open_to_others(path: &Path, looks: &fs::Metadata, mode: &str) -> Option<Finding> {
    (looks.permissions().mode() & 0o077 != 0).then(|| {
        let path = path.display();
        let fault = format!("others than its owner may use `{path}`");
        finding("data directory", fault, format!("chmod {mode} {path}"))
    })
}

fn key_of_operator(key: &Path) -> Option<Finding> {
    let looks = key.metadata().ok()?;
    (looks.permissions().mode() & 0o077 != 0).then(|| {
        let path = key.display();
        let fault = format!("others than you may read `{path}`, and could give anybody root");
        finding("operator's key", fault, format!("chmod 600 {path}"))
    })
}

fn room(data: &Path) -> Option<Finding> {
    // What cannot be looked at is told of already.
    let disk = statvfs(data).ok()?;
    is_narrow(disk.blocks_available(), disk.blocks()).then(|| {
        let fault = format!("less than {ROOM} % of the disk of `{}` is free", data.display());
        finding("room", fault, "make room: a controller that cannot write takes no change")
    })
}

fn is_narrow(free: u64, all: u64) -> bool {
    free.saturating_mul(100) < all.saturating_mul(ROOM)
}

/// What the fleet's own documents say of its future.
fn standing(contents: &Contents, now: Timestamp) -> Vec<Finding> {
    let mut found = Vec::new();
    let TrustRoot { version, expires, .. } = &contents.trust;
    if now >= *expires {
        let fault = format!("trust root {version} has expired: nothing new is granted");
        found.push(finding("trust root", fault, NEXT_TRUST_ROOT));
    } else if expires.since(now) < EXPIRES_SOON {
        let fault = format!("trust root {version} grants nothing new from {expires} on");
        found.push(finding("trust root", fault, NEXT_TRUST_ROOT));
    }
    if let Some(time) = contents.time
        && time.since(now) > SKEW
    {
        let fault = format!("the clock is behind the newest change, which is of {time}");
        found.push(finding("clock", fault, "set the clock: `timedatectl set-ntp true`"));
    }
    found
}

/// Whether somebody answers where operators and agents come.
fn doors(config: &Config) -> Vec<Finding> {
    let mut found = Vec::new();
    let cure = "`systemctl status muster` says why it is not running";
    if let Err(error) = UnixStream::connect(&config.operator_socket) {
        let fault = format!("nobody answers at `{}`: {error}", config.operator_socket.display());
        found.push(finding("operators' socket", fault, cure));
    }
    let address = reachable(config.agent_listener);
    if let Err(error) = TcpStream::connect_timeout(&address, PATIENCE) {
        found.push(finding("agents' port", format!("nobody answers at {address}: {error}"), cure));
    }
    found
}

/// Where this machine itself reaches a listener.
fn reachable(listener: SocketAddr) -> SocketAddr {
    let address = match listener.ip() {
        IpAddr::V4(address) if address.is_unspecified() => IpAddr::V4(Ipv4Addr::LOCALHOST),
        IpAddr::V6(address) if address.is_unspecified() => IpAddr::V6(Ipv6Addr::LOCALHOST),
        address => address,
    };
    SocketAddr::new(address, listener.port())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn room_is_told_of_below_its_bound() {
        assert!(is_narrow(49, 1_000));
        assert!(!is_narrow(50, 1_000));
        assert!(!is_narrow(0, 0), "what has no size is not full");
    }

    #[test]
    fn a_listener_on_all_addresses_is_reached_on_the_loopback() {
        let on = |text: &str| reachable(text.parse().unwrap()).to_string();
        assert_eq!(on("0.0.0.0:7420"), "127.0.0.1:7420");
        assert_eq!(on("[::]:7420"), "[::1]:7420");
        assert_eq!(on("192.0.2.1:7420"), "192.0.2.1:7420");
    }
}
