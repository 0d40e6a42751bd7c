//! The agent: keeps the local accounts of one Linux host as the signed bundles say.
//!
//! ```text
//! DesiredState ─┐
//! Host::observe ─▶ ObservedState ─▶ plan ─▶ Plan ─▶ apply ─▶ Outcomes   (Host does, plan decides)
//! Ownership ────┘
//! ```

pub mod apply;
pub mod format;
pub mod host;
pub mod observed;
pub mod ownership;
pub mod plan;
pub mod policy;
