//! The word to the service manager (`sd_notify(3)`): that the server is up, reads its configuration
//! anew, stops; and again and again that it works, without which it is started anew. The only place
//! that reads what systemd says in the environment.
#![expect(clippy::disallowed_methods, reason = "systemd names its socket in the environment")]

use std::{
    env,
    error::Error,
    ffi::OsStr,
    io,
    os::{
        linux::net::SocketAddrExt,
        unix::{
            ffi::OsStrExt,
            net::{SocketAddr, UnixDatagram},
        },
    },
    time::Duration,
};

use nix::time::{ClockId, clock_gettime};
use tokio::time::timeout;

use crate::told::told;

/// How long a manager that takes nothing is waited for.
const PATIENCE: Duration = Duration::from_secs(5);

/// What has started this process; without systemd there is nobody to tell.
#[derive(Debug, Default)]
pub(super) struct Manager {
    socket: Option<(UnixDatagram, SocketAddr)>,
    watchdog: Option<Duration>,
}

impl Manager {
    /// Finds out from the environment whom to tell, and how often.
    pub(super) fn from_environment() -> Self {
        let socket = env::var_os("NOTIFY_SOCKET");
        let watchdog = env::var_os("WATCHDOG_USEC");
        let told = socket.as_deref().and_then(|place| match open(place) {
            Ok(socket) => Some(socket),
            Err(error) => {
                tracing::warn!(%error, "the service manager cannot be told");
                None
            }
        });
        Self { socket: told, watchdog: watchdog.as_deref().and_then(span) }
    }

    pub(super) fn ready(&self) {
        self.send("READY=1");
    }

    pub(super) fn stopping(&self) {
        self.send("STOPPING=1");
    }

    /// Says that the configuration is read anew; [`Manager::ready`] ends it.
    pub(super) fn reloading(&self) {
        let now = clock_gettime(ClockId::CLOCK_MONOTONIC).map_or(Duration::ZERO, Duration::from);
        self.send(&format!("RELOADING=1\nMONOTONIC_USEC={}", now.as_micros()));
    }

    /// Gives signs of life for ever, each after a proof of it: `works` has to succeed in time. If it
    /// does not, something is locked that nobody unlocks, and a new start is the cure.
    pub(super) async fn pulse<F, E>(&self, mut works: impl FnMut() -> F)
    where
        F: Future<Output = Result<(), E>>,
        E: Error + 'static,
    {
        let Some(watchdog) = self.watchdog else { return std::future::pending().await };
        let mut ticks = tokio::time::interval(watchdog / 2);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            match timeout(watchdog / 4, works()).await {
                Ok(Ok(())) => self.send("WATCHDOG=1"),
                Ok(Err(error)) => {
                    tracing::error!(error = told(&error), "the server cannot do its work");
                }
                Err(_) => tracing::error!("the server does not get on with its work"),
            }
        }
    }

    fn send(&self, state: &str) {
        if let Some((socket, address)) = &self.socket
            && let Err(error) = socket.send_to_addr(state.as_bytes(), address)
        {
            tracing::warn!(%error, "the service manager could not be told");
        }
    }
}

fn open(place: &OsStr) -> io::Result<(UnixDatagram, SocketAddr)> {
    let address = match place.as_bytes() {
        [b'@', name @ ..] => SocketAddr::from_abstract_name(name)?,
        _ => SocketAddr::from_pathname(place)?,
    };
    let socket = UnixDatagram::unbound()?;
    socket.set_write_timeout(Some(PATIENCE))?;
    Ok((socket, address))
}

/// Reads `WATCHDOG_USEC`.
fn span(microseconds: &OsStr) -> Option<Duration> {
    let count = microseconds.to_str()?.parse().ok().filter(|count| *count > 0)?;
    Some(Duration::from_micros(count))
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;

    fn heard(socket: &UnixDatagram) -> Vec<String> {
        let mut all = Vec::new();
        let mut bytes = [0; 256];
        while let Ok(count) = socket.recv(&mut bytes) {
            all.push(String::from_utf8_lossy(&bytes[..count]).into_owned());
        }
        all
    }

    fn pair(watchdog: Option<Duration>) -> (tempfile::TempDir, UnixDatagram, Manager) {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("notify");
        let theirs = UnixDatagram::bind(&path).unwrap();
        theirs.set_nonblocking(true).unwrap();
        let socket = Some(open(path.as_os_str()).unwrap());
        (directory, theirs, Manager { socket, watchdog })
    }

    #[test]
    fn the_manager_hears_of_a_start_a_new_configuration_and_a_stop() {
        let (_directory, theirs, ours) = pair(None);
        ours.ready();
        ours.reloading();
        ours.stopping();
        let all = heard(&theirs);
        let [ready, reloading, stopping] = all.as_slice() else { panic!("{all:?}") };
        assert_eq!((ready.as_str(), stopping.as_str()), ("READY=1", "STOPPING=1"));
        let since_boot = reloading.strip_prefix("RELOADING=1\nMONOTONIC_USEC=").unwrap();
        assert!(since_boot.parse::<u64>().unwrap() > 0);
    }

    #[test]
    fn a_server_that_does_not_get_on_gives_no_sign_of_life_and_one_that_does_gives_one() {
        let (_directory, theirs, ours) = pair(Some(Duration::from_millis(80)));
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        let rounds = Cell::new(0);
        let stuck = || {
            rounds.set(rounds.get() + 1);
            std::future::pending::<io::Result<()>>()
        };
        runtime.block_on(async {
            let long = timeout(Duration::from_secs(2), ours.pulse(stuck)).await;
            assert!(long.is_err());
        });
        assert!(rounds.get() >= 2, "it is tried again");
        runtime.block_on(async {
            let broken = || std::future::ready(Err(io::Error::other("the database is gone")));
            let long = timeout(Duration::from_millis(500), ours.pulse(broken)).await;
            assert!(long.is_err());
        });
        assert_eq!(heard(&theirs), [""; 0]);
        runtime.block_on(async {
            let long = timeout(
                Duration::from_secs(2),
                ours.pulse(|| std::future::ready(Ok::<(), io::Error>(()))),
            )
            .await;
            assert!(long.is_err());
        });
        let all = heard(&theirs);
        assert!(all.len() >= 2 && all.iter().all(|word| word == "WATCHDOG=1"), "{all:?}");
    }

    #[test]
    fn a_time_that_is_none_is_no_watchdog() {
        assert_eq!(span(OsStr::new("180000000")), Some(Duration::from_mins(3)));
        for none in ["", "0", "-1", "soon"] {
            assert_eq!(span(OsStr::new(none)), None, "{none}");
        }
    }
}
