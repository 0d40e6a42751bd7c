//! Muster's controller: it holds the chain of signed changes, believes nobody, and sends every host
//! what concerns it.
//!
//! ```text
//! operators' socket ─▶ api ─▶ current (recompute) ─▶ store (log, then effect) ─▶ fleet ─▶ publish ─▶ hosts
//! hosts ═mTLS═▶ api ─▶ fleet ─▶ store (receipts) ─▶ acknowledgement, progress
//! ```
#![forbid(unsafe_code)]

pub mod audit;
pub mod current;
pub mod host;
pub mod publish;
pub mod signer;
pub mod store;
