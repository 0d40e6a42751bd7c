//! Processes and whose they are, by what `/proc` shows: those of a uid, and those that run as a
//! number of its own inside a user namespace, as containers without root do. A process is held by a
//! descriptor between looking at it and killing it, since numbers are used again.

use std::{
    collections::{BTreeMap, BTreeSet},
    ops::RangeInclusive,
};

use nix::errno::Errno;
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};

use crate::observed::Running;

use super::files::{Dir, FileError};

/// A process's uids (real, effective, saved, file system) and supplementary Unix groups.
struct Status {
    uids: BTreeSet<u32>,
    unix_groups: BTreeSet<u32>,
}

/// Whose processes are meant: those of uids, and those of the numbers that each of them alone may run
/// as inside user namespaces.
#[derive(Clone, Debug, Default)]
pub(super) struct Owners {
    pub(super) uids: BTreeSet<u32>,
    subuids: Vec<(RangeInclusive<u32>, u32)>,
}

/// What was seen at one look.
#[derive(Default)]
pub(super) struct Seen {
    pub(super) running: BTreeMap<u32, Running>,
    /// Numbers that run inside somebody's user namespace and nowhere else.
    pub(super) inside: BTreeSet<u32>,
}

impl Owners {
    /// Adds a uid with its numbers; root's are never meant.
    pub(super) fn add(&mut self, uid: u32, subuids: &[RangeInclusive<u32>]) {
        if uid > 0 {
            self.uids.insert(uid);
            self.subuids.extend(subuids.iter().map(|numbers| (numbers.clone(), uid)));
        }
    }

    fn has(&self, number: u32) -> bool {
        self.subuids.iter().any(|(numbers, _)| numbers.contains(&number))
    }

    /// Returns whose a process would be inside a user namespace of theirs.
    fn inside(&self, status: &Status) -> BTreeSet<u32> {
        let has =
            |numbers: &RangeInclusive<u32>| status.uids.iter().any(|uid| numbers.contains(uid));
        self.subuids.iter().filter(|(numbers, _)| has(numbers)).map(|(_, owner)| *owner).collect()
    }

    /// Returns whose a process is. A number of somebody's range counts only inside a user namespace:
    /// outside it may be a uid that another source of accounts has given.
    fn of(&self, space: &Space<'_>, pid: i32, status: &Status) -> Result<BTreeSet<u32>, FileError> {
        let mut owners: BTreeSet<u32> = status.uids.intersection(&self.uids).copied().collect();
        let inside = self.inside(status);
        if !inside.is_empty() && space.is_another(pid)? {
            owners.extend(inside);
        }
        Ok(owners)
    }

    pub(super) fn look(&self, root: &Dir) -> Result<Seen, FileError> {
        let mut seen = Seen::default();
        if self.uids.is_empty() {
            return Ok(seen);
        }
        let proc = root.need("proc")?;
        let space = Space::own(&proc)?;
        let mut outside = BTreeSet::new();
        for name in proc.names()? {
            let Ok(pid) = name.parse::<i32>() else { continue };
            let Some(status) = status(&proc, pid)? else { continue };
            let owners = self.of(&space, pid, &status)?;
            let is_inside = !owners.is_disjoint(&self.inside(&status));
            let numbers = if is_inside { &mut seen.inside } else { &mut outside };
            numbers.extend(status.uids.iter().filter(|uid| self.has(**uid)));
            for owner in owners {
                let running = seen.running.entry(owner).or_default();
                running.processes += 1;
                // sudo has root's Unix groups a moment before it is root and nobody else any more.
                if is_inside || status.uids.len() == 1 {
                    running.unix_groups.extend(&status.unix_groups);
                }
            }
        }
        seen.inside.retain(|number| !outside.contains(number));
        Ok(seen)
    }
}

/// The user namespace that this process is in.
struct Space<'a> {
    proc: &'a Dir,
    map: Option<Vec<u8>>,
}

impl<'a> Space<'a> {
    fn own(proc: &'a Dir) -> Result<Self, FileError> {
        let own = i32::try_from(std::process::id()).unwrap_or_default();
        Ok(Self { proc, map: read(proc, own, "uid_map")? })
    }

    /// Says whether a process is in another one, by its map (`user_namespaces(7)`), which anybody may
    /// read; the namespace itself may be named only to whoever may trace the process.
    fn is_another(&self, pid: i32) -> Result<bool, FileError> {
        let map = read(self.proc, pid, "uid_map")?;
        Ok(map.is_some_and(|map| Some(&map) != self.map.as_ref()))
    }
}

/// Returns what runs as these.
pub(super) fn running(root: &Dir, owners: &Owners) -> Result<BTreeMap<u32, Running>, FileError> {
    owners.look(root).map(|seen| seen.running)
}

/// Returns a file of a process; nothing if it has ended.
fn read(proc: &Dir, pid: i32, name: &str) -> Result<Option<Vec<u8>>, FileError> {
    let read = || -> Result<Option<Vec<u8>>, FileError> {
        let Some(dir) = proc.walk(&pid.to_string())? else { return Ok(None) };
        Ok(dir.read(name)?.map(|(text, _)| text))
    };
    match read() {
        Err(FileError::System { source: Errno::ESRCH, .. }) => Ok(None),
        other => other,
    }
}

/// Returns nothing of a process that has ended in the meantime. One that cannot be read for another
/// reason may still run, and that is an error.
fn status(proc: &Dir, pid: i32) -> Result<Option<Status>, FileError> {
    let Some(text) = read(proc, pid, "status")? else { return Ok(None) };
    let text = String::from_utf8_lossy(&text);
    let numbers = |key: &str| -> BTreeSet<u32> {
        let line = text.lines().find_map(|line| line.strip_prefix(key));
        line.unwrap_or_default().split_whitespace().filter_map(|n| n.parse().ok()).collect()
    };
    let state = text.lines().find_map(|line| line.strip_prefix("State:"));
    // The first thread of a process may be gone while others go on.
    let is_alone = numbers("Threads:").first().is_none_or(|threads| *threads <= 1);
    if is_alone && state.is_some_and(|state| state.trim_start().starts_with(['Z', 'X'])) {
        return Ok(None);
    }
    Ok(Some(Status { uids: numbers("Uid:"), unix_groups: numbers("Groups:") }))
}

/// Kills a process if it is theirs.
pub(super) fn kill(proc: &Dir, pid: Pid, owners: &Owners) {
    let is_theirs = || {
        let pid = pid.as_raw_nonzero().get();
        // One that cannot be read is found again by the next look.
        let Ok(Some(status)) = status(proc, pid) else { return false };
        let space = Space::own(proc);
        space.is_ok_and(|space| owners.of(&space, pid, &status).is_ok_and(|of| !of.is_empty()))
    };
    if !is_theirs() {
        return;
    }
    // Held, then looked at again: what is killed is what was seen.
    if let Ok(held) = pidfd_open(pid, PidfdFlags::empty())
        && is_theirs()
    {
        // One that is gone already is what we want.
        let _ = pidfd_send_signal(held, Signal::KILL);
    }
}

#[cfg(test)]
#[expect(clippy::disallowed_methods, reason = "a test lays out its processes")]
mod tests {
    use std::sync::Arc;

    use super::super::files::Faults;
    use super::*;

    const UID: u32 = 61_789;

    #[test]
    #[allow(clippy::unwrap_used, reason = "it is a test")]
    fn a_process_whose_first_thread_is_gone_still_runs() {
        let place = tempfile::tempdir().unwrap();
        let write = |pid: &str, state: &str, threads: u32| {
            let directory = place.path().join("proc").join(pid);
            std::fs::create_dir_all(&directory).unwrap();
            let text =
                format!("State:\t{state}\nUid:\t{UID}\t{UID}\t{UID}\t{UID}\nThreads:\t{threads}\n");
            std::fs::write(directory.join("status"), text).unwrap();
        };
        write("101", "Z (zombie)", 2);
        write("102", "Z (zombie)", 1);
        write("103", "S (sleeping)", 1);
        let root = Dir::open(place.path(), Arc::new(Faults::none())).unwrap();
        let mut owners = Owners::default();
        owners.add(UID, &[]);
        let found = running(&root, &owners).unwrap();
        assert_eq!(found.get(&UID).map(|running| running.processes), Some(2));
    }

    #[test]
    #[allow(clippy::unwrap_used, reason = "it is a test")]
    fn what_becomes_root_has_the_unix_groups_of_no_session() {
        let place = tempfile::tempdir().unwrap();
        let write = |pid: &str, uids: [u32; 4], unix_group: u32| {
            let directory = place.path().join("proc").join(pid);
            std::fs::create_dir_all(&directory).unwrap();
            let [real, effective, saved, files] = uids;
            let text = format!(
                "State:\tS\nUid:\t{real}\t{effective}\t{saved}\t{files}\nGroups:\t{unix_group}\n"
            );
            std::fs::write(directory.join("status"), text).unwrap();
        };
        // A shell; and sudo, that has let go of all of its user but the real uid.
        write("101", [UID; 4], 27);
        write("102", [UID, 0, 0, 0], 0);
        let root = Dir::open(place.path(), Arc::new(Faults::none())).unwrap();
        let mut owners = Owners::default();
        owners.add(UID, &[]);
        let found = running(&root, &owners).unwrap();
        assert_eq!(found.get(&UID), Some(&Running { processes: 2, unix_groups: [27].into() }));
    }
}
