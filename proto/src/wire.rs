//! The generated messages and nothing more. Only `convert` and the edges (the controller's API, the
//! agent's courier and channel) name them; everything else works with the domain types.
#![allow(
    missing_debug_implementations,
    unreachable_pub,
    clippy::pedantic,
    clippy::allow_attributes_without_reason,
    reason = "generated code"
)]

tonic::include_proto!("muster.v1");
