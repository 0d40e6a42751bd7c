//! Looks at disks, places, locks, numbers, other sources of accounts and labels.

use std::{fs, io, os::unix::fs::MetadataExt, path::Path};

use muster_proto::time::Timestamp;
use nix::sys::statvfs::{FsFlags, statvfs};

use crate::{
    config::Config,
    doctor::{
        ground::{Access, Base, Disk, Ground, Held, Holder, LOCKED_LONG},
        ways_in::Presence,
    },
    format::subid,
    host::{
        accounts, chain,
        files::{Dir, FileError},
        lock::{self, FileHolder, WholeHolder},
        names,
        state::StateError,
    },
    labels::HostLabels,
};

use super::Look;

impl Look<'_> {
    pub(super) fn ground(&mut self, config: Option<&Config>) -> Ground {
        let policy = config.map(|config| &config.policy);
        let mut places = vec![self.at("etc"), self.places.state.to_owned()];
        places.extend(policy.map(|policy| self.at(policy.home_base.as_str())));
        let mut disks: Vec<(u64, Disk)> = Vec::new();
        for place in places {
            let disk = disk(&place);
            if let Some((device, disk)) = self.see("room", disk)
                && disks.iter().all(|(other, seen)| (*other, seen.access) != (device, disk.access))
            {
                disks.push((device, disk));
            }
        }
        let ranges = ["etc/subuid", "etc/subgid"].map(|path| self.text("uids", path));
        let ranges = ranges.into_iter().flatten().flat_map(|text| subid::parse(text.as_bytes()));
        let locks = self.locks();
        let source = names::trouble(&self.root, self.programs);
        Ground {
            disks: disks.into_iter().map(|(_, disk)| disk).collect(),
            home_base: policy.map_or(Base::Sound, |policy| self.base(policy.home_base.as_str())),
            shells: self.text("shell", "etc/shells").or_else(|| Some(String::new())),
            default_shell: policy.map_or(Presence::There, |policy| {
                let is_there = self.at(policy.default_shell.as_str()).is_file();
                if is_there { Presence::There } else { Presence::Missing }
            }),
            locks: self.see("lock", locks),
            subordinate: ranges.collect(),
            source: self.see("other sources", source),
            labels: Some(
                HostLabels::load(self.places.root)
                    .map(|labels| labels.findings)
                    .map_err(|error| chain(&error)),
            ),
        }
    }

    fn base(&self, path: &str) -> Base {
        let found = self.root.walk(path);
        match found.and_then(|dir| dir.map(|dir| dir.require_rooted()).transpose()) {
            Ok(Some(())) => Base::Sound,
            Ok(None) => Base::Missing,
            Err(error) => Base::Unsound(chain(&error)),
        }
    }

    fn locks(&self) -> Result<Vec<Held>, FileError> {
        let mut locks = Vec::new();
        let etc = self.root.need("etc")?;
        if let Some(holder) = lock::held_long(&etc)? {
            let by = match holder {
                WholeHolder::Process(pid) => Holder::Process(pid, self.name_of(pid)),
                WholeHolder::Unnamed => Holder::Unknown,
            };
            locks.push(Held { path: shown(lock::WHOLE), by, since: None });
        }
        for file in accounts::FILES {
            let Some((holder, since)) = lock::file_holder(&etc, file)? else { continue };
            let since = Timestamp(u64::try_from(since).unwrap_or_default());
            // Most are let go before anybody has read this.
            if self.now.since(since) < LOCKED_LONG {
                continue;
            }
            let by = match holder {
                FileHolder::Process(pid) => Holder::Process(pid, self.name_of(pid)),
                FileHolder::Nobody => Holder::Nobody,
            };
            locks.push(Held { path: shown(&format!("{file}.lock")), by, since: Some(since) });
        }
        Ok(locks)
    }

    fn name_of(&self, pid: i32) -> String {
        let of = |dir: Dir| dir.read("comm").ok().flatten();
        let text = self.root.walk(&format!("proc/{pid}")).ok().flatten().and_then(of);
        let text = text.map(|(text, _)| String::from_utf8_lossy(&text).trim().to_owned());
        text.unwrap_or_else(|| "?".to_owned())
    }
}

fn shown(name: &str) -> String {
    format!("/etc/{name}")
}

/// Looks at the file system of a directory, if that is there; which one it is comes first.
fn disk(place: &Path) -> Result<Option<(u64, Disk)>, StateError> {
    let failed = |cause| StateError::Read { path: place.to_owned(), cause };
    let device = match fs::metadata(place) {
        Ok(found) => found.dev(),
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(failed(error)),
    };
    let found = statvfs(place).map_err(|error| failed(error.into()))?;
    let read_only = found.flags().contains(FsFlags::ST_RDONLY);
    let disk = Disk {
        of: place.display().to_string(),
        blocks: (found.blocks_available(), found.blocks()),
        files: (found.files_available(), found.files()),
        access: if read_only { Access::ReadOnly } else { Access::Write },
    };
    Ok(Some((device, disk)))
}
