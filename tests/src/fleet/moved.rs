//! What becomes of a fleet when the controller's machine is lost.

use std::path::Path;

use anyhow::Context;

use super::{CONTROLLER, Fleet};
use crate::Package;

impl Fleet {
    /// Has a host that has not joined take the controller's place from now on, with its package and
    /// nothing else: every host that is up finds it by the controller's name.
    pub fn move_controller(&mut self, to: &str, program: &Path) -> anyhow::Result<()> {
        const NAMES: &str = "/etc/hosts";
        let address = self.host(to).address();
        for host in self.lab.hosts().filter(|host| host.is_up()) {
            let names = String::from_utf8(host.read(NAMES)?).context("names that are no text")?;
            let is_other = |line: &&str| line.split_whitespace().nth(1) != Some(CONTROLLER);
            let mut lines: Vec<&str> = names.lines().filter(is_other).collect();
            let line = format!("{address} {CONTROLLER}");
            lines.push(&line);
            host.write(NAMES, (lines.join("\n") + "\n").as_bytes(), 0o644)?;
        }
        Package::Controller.install(self.host(to), program)?;
        to.clone_into(&mut self.controller);
        Ok(())
    }
}
