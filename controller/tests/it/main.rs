//! The controller's server from outside: its store, its table of callers, what it publishes, and a
//! whole server with hosts on loopback.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::missing_panics_doc,
    reason = "tests"
)]

mod access;
mod anew;
mod api;
mod backup;
mod bad_hosts;
mod batches;
mod begun;
mod bounds;
mod commands;
mod decisions;
mod declare;
mod deltas;
mod describe;
mod doctor;
mod drift;
mod enrol;
mod hearing;
mod hoards;
mod host;
mod logged;
mod net;
mod pending;
mod plan;
mod proposal;
mod publish;
mod receipts;
mod returning;
mod revocations;
mod root;
mod schema;
mod server;
mod sessions;
mod signing;
mod socket;
mod store;
mod stored;
mod strangers;
mod tls;
mod told_again;
mod witness;
mod world;
