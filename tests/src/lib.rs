//! Real hosts for Muster's end-to-end tests and its demo.
//!
//! A [`Lab`] is a small fleet on one machine: each [`Host`] has its own root file system, network
//! address, systemd, sshd and sudo, and all of them hang on one bridge without a way out. Hosts
//! are containers of systemd-nspawn over a read-only base image that `tests/prepare` builds, so
//! one is up in about a second.
//!
//! ```no_run
//! use muster_tests::Lab;
//!
//! let lab = Lab::start("story", &["db1", "web1"])?;
//! let db1 = lab.host("db1");
//! db1.run_ok(&["useradd", "--create-home", "ana"])?;
//! let key = lab.keygen("ana", "ed25519")?;
//! lab.ssh("db1", "ana", &key.private).command("id").run()?;
//! db1.power_cut()?;
//! # anyhow::Ok(())
//! ```
//!
//! A [`Fleet`] is a lab with Muster on it: a controller, and agents that have joined it.
//!
//! A lab lives in namespaces of its own (pid, mount, network) below one process, its *holder*.
//! When the holder ends, the kernel ends every process, mount and interface of the lab with it,
//! and the holder ends when its owner does, even by SIGKILL. What is left then is inert: a folder,
//! a cgroup, a route. The next lab to start on the machine removes it.
//!
//! The lab needs root. It sends nothing outside: its addresses exist only in its namespaces, and
//! the machine itself gets a blackhole route for them.

#![expect(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    reason = "a harness runs commands, writes files and watches the clock"
)]

mod base;
mod command;
pub mod edits;
mod fleet;
mod hardware;
mod holder;
mod host;
mod lab;
mod layer;
mod limits;
mod net;
mod package;
mod process;
mod running;
mod ssh;
mod state;
mod teardown;
pub mod wait;

pub use command::Output;
pub use fleet::{Fleet, Member, Mode, Person, Programs};
pub use hardware::HardwareKey;
pub use host::{Boot, Host};
pub use lab::{Lab, Setup, Stay};
pub use package::Package;
pub use running::Running;
pub use ssh::{KeyPair, Ssh};
