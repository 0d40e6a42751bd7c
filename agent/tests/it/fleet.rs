//! The contract's own builders: a fleet whose documents are signed by those who should.

#![allow(dead_code, unused_imports, reason = "the contract's tests build more")]

#[path = "../../../proto/tests/it/contents.rs"]
pub mod contents;
#[path = "../../../proto/tests/it/host.rs"]
pub mod host;
#[path = "../../../proto/tests/it/keys.rs"]
pub mod keys;
#[path = "../../../proto/tests/it/world.rs"]
pub mod world;
