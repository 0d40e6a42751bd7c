//! The root file system of a host: the base image, and over it what this host writes.
//!
//! Here a host also gets what must differ from host to host: its name, its identity, its keys.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::Context;

use crate::base::Base;
use crate::command::{command, ok};
use crate::holder::Holder;

/// What one host writes, and where its root is mounted in the lab's namespaces.
#[derive(Debug, Clone)]
pub(crate) struct Layer {
    folder: PathBuf,
}

impl Layer {
    /// Names the layer of `host` among a lab's `layers`; touches nothing.
    pub(crate) fn new(layers: &Path, host: &str) -> Self {
        Self { folder: layers.join(host) }
    }

    /// Returns the host's root folder, which only the lab's namespaces see.
    pub(crate) fn root(&self) -> String {
        self.at("root")
    }

    /// Returns the file that holds what the host prints to its console.
    pub(crate) fn console(&self) -> String {
        self.at("console")
    }

    /// Makes the layer of a new host, with `hosts` as its list of names.
    pub(crate) fn create(&self, host: &str, hosts: &str) -> anyhow::Result<()> {
        let etc = self.folder.join("upper/etc");
        let create = || {
            for folder in ["work", "root", "upper/etc/ssh"] {
                fs::create_dir_all(self.folder.join(folder))?;
            }
            let identity = fs::read_to_string("/proc/sys/kernel/random/uuid")?.replace('-', "");
            fs::write(etc.join("machine-id"), identity)?;
            fs::write(etc.join("hostname"), format!("{host}\n"))?;
            fs::write(etc.join("hosts"), hosts)
        };
        create().with_context(|| format!("cannot create `{}`", self.folder.display()))?;
        let key = etc.join("ssh/ssh_host_ed25519_key");
        let mut keygen = command(&["ssh-keygen", "-q", "-t", "ed25519", "-N", ""]);
        keygen.args(["-C", &format!("root@{host}"), "-f"]).arg(key);
        ok(keygen)?;
        Ok(())
    }

    /// Mounts the host's root in the lab's namespaces.
    pub(crate) fn mount(&self, base: &Base, holder: &Holder) -> anyhow::Result<()> {
        // Without the last two, fanotify cannot mark the whole file system in a host.
        let options = format!(
            "lowerdir={},upperdir={},workdir={},nfs_export=on,index=on",
            base.root.display(),
            self.at("upper"),
            self.at("work"),
        );
        holder.ok(&["mount", "-t", "overlay", "-o", &options, "overlay", &self.root()])?;
        Ok(())
    }

    fn at(&self, name: &str) -> String {
        self.folder.join(name).display().to_string()
    }
}
