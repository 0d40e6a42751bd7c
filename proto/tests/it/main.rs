//! Tests of the contract from outside: golden bytes, attacks, properties, the approver's path.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::missing_panics_doc,
    unreachable_pub,
    reason = "tests say what is wrong by panicking"
)]

mod attacks;
mod bounds;
mod chain;
mod changes;
mod contents;
mod documents;
mod duties;
mod encoding;
mod ends;
mod floors;
mod golden;
mod host;
mod keys;
mod losses;
mod note;
mod properties;
mod readers;
mod redteam;
mod rotation;
mod signatures;
mod styles;
mod texts;
mod withheld;
mod world;
