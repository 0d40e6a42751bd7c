//! The host half against hosts: a fake one in memory and Linux over a temporary root. The tests
//! over a temporary root change owners, so they need root, and say so when they are skipped.

#![allow(
    clippy::indexing_slicing,
    clippy::print_stderr,
    clippy::unwrap_used,
    clippy::panic,
    clippy::similar_names,
    unreachable_pub,
    missing_debug_implementations,
    reason = "these are tests"
)]

mod clocks;
mod contract;
mod crash;
mod dial;
mod doctor;
mod doctor_joined;
mod emergency;
mod fake;
mod fixed_point;
mod fleet;
mod heartbeat;
mod keys;
mod leaving;
mod life;
mod locking;
mod odd;
mod outrun;
mod passwords;
mod pausing;
mod power;
mod purging;
mod renumbered;
mod repeated;
mod spool;
mod stored;
mod told;
mod world;
