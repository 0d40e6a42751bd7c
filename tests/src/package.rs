//! What Muster's two packages would put on a machine, installed on a host from this checkout.

use std::path::{Path, PathBuf};

use crate::Host;

/// One of Muster's packages.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Package {
    /// The controller and the operator's command line.
    Controller,
    /// The agent, keeper and courier.
    Agent,
}

impl Package {
    /// Returns the package's units.
    pub fn units(self) -> &'static [&'static str] {
        match self {
            Self::Controller => &["muster.service"],
            Self::Agent => &["muster-agent.service", "muster-agent-courier.service"],
        }
    }

    /// Returns where the package puts its binary.
    pub fn program(self) -> &'static str {
        match self {
            Self::Controller => "/usr/bin/muster",
            Self::Agent => "/usr/bin/muster-agent",
        }
    }

    /// Installs the package with `program` as its binary, as a package manager would: nothing is
    /// started.
    pub fn install(self, host: &Host, program: &Path) -> anyhow::Result<()> {
        let name = self.name();
        host.install(program, self.program(), 0o755)?;
        for unit in self.units() {
            let place = format!("/usr/lib/systemd/system/{unit}");
            host.install(&packaging().join("systemd").join(unit), &place, 0o644)?;
        }
        for folder in ["sysusers.d", "tmpfiles.d"] {
            let file = format!("{folder}/{name}.conf");
            host.install(&packaging().join(&file), &format!("/usr/lib/{file}"), 0o644)?;
        }
        if self == Self::Agent {
            let service = "pam.d/muster-account";
            host.install(&packaging().join(service), &format!("/usr/lib/{service}"), 0o644)?;
        }
        host.run_ok(&["systemd-sysusers", &format!("/usr/lib/sysusers.d/{name}.conf")])?;
        let folders = format!("/usr/lib/tmpfiles.d/{name}.conf");
        host.run_ok(&["systemd-tmpfiles", "--create", &folders])?;
        host.run_ok(&["systemctl", "daemon-reload"])?;
        Ok(())
    }

    fn name(self) -> &'static str {
        match self {
            Self::Controller => "muster",
            Self::Agent => "muster-agent",
        }
    }
}

fn packaging() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../packaging")
}
