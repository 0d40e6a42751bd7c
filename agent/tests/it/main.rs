//! The host half against hosts: a fake one in memory and Linux over a temporary root. The tests
//! over a temporary root change owners, so they need root, and say so when they are skipped.

mod contract;
mod crash;
mod fake;
mod fixed_point;
mod world;
