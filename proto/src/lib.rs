//! The contract between Muster's controller, its agents and the approvers' tools: the signed
//! documents, how they are verified, and what they mean together. Only what two sides must compute
//! identically is here; there is no clock, no file, no network and no randomness.
//!
//! ```text
//! Envelope ──trust──▶ Verified<T>
//!   links ──chain──▶ Chain (approver's tool, controller: every link recomputed)
//!   bundle ─bundle─▶ VerifiedBundle (a host: floor, proofs) ─derive─▶ grants ─desired─▶ DesiredState
//! ```
#![forbid(unsafe_code)]
#![warn(missing_docs)]

pub mod bundle;
pub mod chain;
pub mod change;
pub mod convert;
pub mod crypto;
pub mod derive;
pub mod desired;
pub mod directory;
pub mod drift;
pub mod envelope;
pub mod id;
pub mod inventory;
pub mod key;
pub mod link;
pub mod merkle;
pub mod name;
pub mod note;
pub mod options;
pub mod parts;
pub mod privilege;
pub mod receipt;
pub mod revocations;
pub mod selector;
pub mod statement;
pub mod sudo;
pub mod time;
pub mod token;
pub mod trust;
#[allow(missing_docs, reason = "the .proto files document them")]
pub mod wire;
