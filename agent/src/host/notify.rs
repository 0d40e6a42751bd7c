//! Tells systemd how this service is (`sd_notify(3)`): that it is up, that it reads its configuration
//! anew, and again and again that it gets on with its work, without which systemd starts it anew.
//! The only place that reads what systemd says in the environment.
#![expect(
    clippy::disallowed_methods,
    reason = "systemd names its socket in the environment, and how often is measured"
)]

use std::{
    env,
    ffi::OsStr,
    os::{
        linux::net::SocketAddrExt,
        unix::{
            ffi::OsStrExt,
            net::{SocketAddr, UnixDatagram},
        },
    },
    time::{Duration, Instant},
};

use nix::time::{ClockId, clock_gettime};

/// What has started this process; without systemd there is nobody to tell.
#[derive(Debug, Default)]
pub struct Manager {
    socket: Option<(UnixDatagram, SocketAddr)>,
    watchdog: Option<Duration>,
    told: Option<Instant>,
}

/// How long a manager that takes nothing is waited for. It may be busy; it must not hang us.
const PATIENCE: Duration = Duration::from_secs(5);

/// The least time between two signs of life where there are minutes for them: whoever gives much work
/// must not keep systemd busy.
const SELDOM: Duration = Duration::from_secs(1);

impl Manager {
    /// Finds out from the environment whom to tell, and how often.
    pub fn from_environment() -> Self {
        let socket = env::var_os("NOTIFY_SOCKET");
        let watchdog = env::var_os("WATCHDOG_USEC");
        Self::named(socket.as_deref(), watchdog.as_deref())
    }

    fn named(socket: Option<&OsStr>, watchdog: Option<&OsStr>) -> Self {
        let socket = socket.and_then(|place| {
            let address = match place.as_bytes() {
                [b'@', name @ ..] => SocketAddr::from_abstract_name(name),
                _ => SocketAddr::from_pathname(place),
            };
            let socket = UnixDatagram::unbound().ok()?;
            socket.set_write_timeout(Some(PATIENCE)).ok()?;
            Some((socket, address.ok()?))
        });
        let microseconds = watchdog.and_then(OsStr::to_str).and_then(|text| text.parse().ok());
        let watchdog = microseconds.filter(|count| *count > 0).map(Duration::from_micros);
        Self { watchdog: socket.as_ref().and(watchdog), socket, told: None }
    }

    /// Says that the service is up, or has taken up its configuration.
    pub fn ready(&mut self) {
        self.send("READY=1");
    }

    /// Says that the configuration is read anew; [`Manager::ready`] ends it.
    pub fn reloading(&mut self) {
        let now = clock_gettime(ClockId::CLOCK_MONOTONIC).map_or(Duration::ZERO, Duration::from);
        self.send(&format!("RELOADING=1\nMONOTONIC_USEC={}", now.as_micros()));
    }

    /// Says that the work goes on. For whoever does the work: a thread of its own would say so
    /// of one that hangs, too.
    pub fn alive(&mut self) {
        let Some(pulse) = self.pulse() else { return };
        let seldom = SELDOM.min(pulse / 2);
        if self.told.is_none_or(|told| told.elapsed() >= seldom) {
            self.send("WATCHDOG=1");
            self.told = Some(Instant::now());
        }
    }

    /// Returns how long may pass at most between two signs of life, if anybody waits for them: half
    /// the time after which systemd acts, as `sd_watchdog_enabled(3)` has it.
    pub fn pulse(&self) -> Option<Duration> {
        self.watchdog.map(|watchdog| watchdog / 2)
    }

    fn send(&self, state: &str) {
        if let Some((socket, address)) = &self.socket
            && let Err(error) = socket.send_to_addr(state.as_bytes(), address)
        {
            tracing::warn!(%error, "the service manager could not be told");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A manager's side, and ours with this `WATCHDOG_USEC`.
    fn pair(watchdog: &str) -> (tempfile::TempDir, UnixDatagram, Manager) {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("notify");
        let theirs = UnixDatagram::bind(&path).unwrap();
        theirs.set_nonblocking(true).unwrap();
        let ours = Manager::named(Some(path.as_os_str()), Some(OsStr::new(watchdog)));
        (directory, theirs, ours)
    }

    fn heard(socket: &UnixDatagram) -> Option<String> {
        let mut bytes = [0; 256];
        let count = socket.recv(&mut bytes).ok()?;
        Some(String::from_utf8_lossy(&bytes[..count]).into_owned())
    }

    #[test]
    fn the_manager_hears_of_a_start_and_of_a_new_configuration() {
        let (_directory, theirs, mut ours) = pair("180000000");
        ours.ready();
        assert_eq!(heard(&theirs).as_deref(), Some("READY=1"));
        ours.reloading();
        let reloading = heard(&theirs).unwrap();
        let since_boot: u64 =
            reloading.strip_prefix("RELOADING=1\nMONOTONIC_USEC=").unwrap().parse().unwrap();
        assert!(since_boot > 0);
    }

    #[test]
    fn signs_of_life_are_given_at_half_the_time_and_no_more_often_than_once_a_second() {
        let (_directory, theirs, mut ours) = pair("180000000");
        assert_eq!(ours.pulse(), Some(Duration::from_secs(90)));
        ours.alive();
        ours.alive();
        assert_eq!(heard(&theirs).as_deref(), Some("WATCHDOG=1"));
        assert_eq!(heard(&theirs), None, "the second came too soon");
        ours.told = Instant::now().checked_sub(SELDOM);
        ours.alive();
        assert_eq!(heard(&theirs).as_deref(), Some("WATCHDOG=1"));
    }

    #[test]
    fn a_manager_that_waits_for_no_sign_of_life_is_given_none() {
        for watchdog in ["0", "", "soon", "-1"] {
            let (_directory, theirs, mut ours) = pair(watchdog);
            assert_eq!(ours.pulse(), None, "{watchdog}");
            ours.alive();
            assert_eq!(heard(&theirs), None, "{watchdog}");
        }
        let mut nobody = Manager::named(None, Some(OsStr::new("180000000")));
        assert_eq!(nobody.pulse(), None);
        nobody.ready();
    }
}
