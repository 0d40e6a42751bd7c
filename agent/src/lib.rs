//! The agent: keeps the local accounts of one Linux host as the signed bundles say.
//!
//! ```text
//! controller ═mTLS═ courier ─socket─▶ keeper ─verify─▶ Ledger ─derive─▶ DesiredState ─┐
//!                                              Host::observe ─▶ ObservedState ─────────┤
//!                     receipt ◀─ Outcomes ◀─ apply ◀─ Plan ◀─ plan ◀─ Ownership ───────┘
//! ```

pub mod accepted_keys;
pub mod apply;
pub mod channel;
pub mod clock;
pub mod config;
pub mod courier;
pub mod doctor;
pub mod door;
pub mod drift;
pub mod ends;
pub mod format;
pub mod guard;
pub mod host;
pub mod inventory;
pub mod join;
pub mod keeper;
pub mod labels;
pub mod leave;
pub mod ledger;
pub mod listing;
pub mod observed;
pub mod orders;
pub mod ownership;
pub mod pause;
pub mod plan;
pub mod policy;
pub mod receipt;
