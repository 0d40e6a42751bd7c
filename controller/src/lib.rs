//! Muster's controller: it holds the chain of signed changes, believes nobody, and sends every host
//! what concerns it.
//!
//! ```text
//! operators' socket ─▶ api ─▶ current (recompute) ─▶ store (log, then effect) ─▶ fleet ─▶ publish ─▶ hosts
//! hosts ═mTLS═▶ api ─▶ fleet ─▶ store (receipts) ─▶ acknowledgement, progress
//! ```
#![forbid(unsafe_code)]

pub mod access;
pub mod adopt;
pub mod api;
pub mod audit;
pub mod backup;
pub mod cli;
pub mod client;
pub mod config;
pub mod current;
pub mod declare;
pub mod describe;
pub mod doctor;
pub mod enrol;
pub mod exception;
pub mod fleet;
pub mod history;
pub mod host;
pub mod preview;
pub mod proposal;
pub mod publish;
pub mod server;
pub mod setup;
pub mod signer;
pub mod store;
mod told;
pub mod tool;
