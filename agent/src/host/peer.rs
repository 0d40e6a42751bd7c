//! Who is at the other end of a socket, as the kernel says; who this process is; which account of
//! the system has a name.

use std::{io, os::unix::net::UnixStream};

use muster_proto::drift::Culprit;
use nix::{
    sys::socket::{getsockopt, sockopt::PeerCredentials},
    unistd::{Uid, User},
};

use super::culprit;

/// Returns the uid of the process that connected.
pub fn uid(stream: &UnixStream) -> io::Result<u32> {
    Ok(getsockopt(stream, PeerCredentials)?.uid())
}

/// Returns who the process that connected is, as far as the kernel tells.
pub fn who(stream: &UnixStream) -> io::Result<Culprit> {
    let pid = getsockopt(stream, PeerCredentials)?.pid();
    Ok(u32::try_from(pid).map(culprit::look).unwrap_or_default())
}

/// Returns uid and gid of an account of the system, such as the courier's.
pub fn account(name: &str) -> io::Result<Option<(u32, u32)>> {
    Ok(User::from_name(name)?.map(|user| (user.uid.as_raw(), user.gid.as_raw())))
}

/// Says whether this process is root.
pub fn is_root() -> bool {
    Uid::effective().is_root()
}
