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
mod commands;
mod declare;
mod deltas;
mod describe;
mod enrol;
mod host;
mod net;
mod pending;
mod plan;
mod publish;
mod schema;
mod server;
mod sessions;
mod store;
mod witness;
mod world;
