//! The controller's server from outside: its store, its table of callers, what it publishes, and a
//! whole server with hosts on loopback.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::missing_panics_doc,
    reason = "tests"
)]

mod api;
mod bad_hosts;
mod begun;
mod declare;
mod deltas;
mod enrol;
mod host;
mod net;
mod pending;
mod publish;
mod server;
mod sessions;
mod signing;
mod store;
mod strangers;
mod witness;
mod world;
