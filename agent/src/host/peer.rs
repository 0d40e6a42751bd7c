//! Who is at the other end of a socket, as the kernel says; who this process is; what time it is.

use std::{io, os::unix::net::UnixStream};

use nix::{
    sys::socket::{getsockopt, sockopt::PeerCredentials},
    time::{ClockId, clock_gettime},
    unistd::{Gid, Uid, User, chown},
};

use crate::clock::Clocks;
use muster_proto::time::Timestamp;

/// Returns the uid of the process that connected.
pub fn uid(stream: &UnixStream) -> io::Result<u32> {
    Ok(getsockopt(stream, PeerCredentials)?.uid())
}

/// Returns uid and gid of an account of the system, such as the courier's.
pub fn account(name: &str) -> io::Result<Option<(u32, u32)>> {
    Ok(User::from_name(name)?.map(|user| (user.uid.as_raw(), user.gid.as_raw())))
}

/// Gives a file of the agent's own to an account; only in directories that root alone can write.
pub fn give(path: &std::path::Path, uid: u32, gid: u32) -> io::Result<()> {
    Ok(chown(path, Some(Uid::from_raw(uid)), Some(Gid::from_raw(gid)))?)
}

/// Sets the mode of a file of the agent's own; only in directories that root alone can write.
pub fn allow(path: &std::path::Path, mode: u32) -> io::Result<()> {
    std::fs::set_permissions(path, std::os::unix::fs::PermissionsExt::from_mode(mode))
}

/// Waits a moment after a connection could not be taken: what has run out, such as descriptors, is
/// not there again at once, and asking without a pause would keep a processor busy.
#[expect(clippy::disallowed_methods, reason = "a failing accept must not spin")]
pub fn pause() {
    std::thread::sleep(std::time::Duration::from_secs(1));
}

/// Says whether this process is root.
pub fn is_root() -> bool {
    Uid::effective().is_root()
}

/// Returns what the machine's clocks say.
pub fn clocks() -> Clocks {
    let seconds =
        |clock| clock_gettime(clock).map_or(0, |time| u64::try_from(time.tv_sec()).unwrap_or(0));
    Clocks {
        wall: Timestamp(seconds(ClockId::CLOCK_REALTIME)),
        boot: seconds(ClockId::CLOCK_BOOTTIME),
    }
}
