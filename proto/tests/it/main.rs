//! Tests of the contract from outside: golden bytes, attacks, properties, the approver's path.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::missing_panics_doc,
    unreachable_pub,
    reason = "tests say what is wrong by panicking"
)]

mod attacks;
mod chain;
mod documents;
mod ends;
mod floors;
mod golden;
mod host;
mod keys;
mod properties;
mod redteam;
mod signatures;
mod texts;
mod world;
