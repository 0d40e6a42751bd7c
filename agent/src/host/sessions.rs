//! Processes: whose run, and how they end. First all at once by control group, then the session by
//! logind, then all at once by uid (`reap`), so that nothing can fork away; then by what `/proc`
//! shows, until none is left or ten seconds are over. A process is held by a descriptor between
//! looking at it and killing it, since numbers are used again.
#![expect(
    clippy::disallowed_methods,
    reason = "waiting until processes are gone, for a bounded time"
)]

use std::{
    collections::{BTreeMap, BTreeSet},
    time::{Duration, Instant},
};

use nix::errno::Errno;
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};

use crate::{observed::Running, plan::Leaver};

use super::{
    Report, chain,
    files::{Dir, FileError},
    program::Programs,
    reap,
};

const PATIENCE: Duration = Duration::from_secs(10);

/// A process's uids (real, effective, saved, file system) and supplementary Unix groups.
struct Status {
    uids: BTreeSet<u32>,
    unix_groups: BTreeSet<u32>,
}

/// Returns what runs as these uids.
pub(super) fn running(
    root: &Dir,
    uids: &BTreeSet<u32>,
) -> Result<BTreeMap<u32, Running>, FileError> {
    let mut running: BTreeMap<u32, Running> = BTreeMap::new();
    if uids.is_empty() {
        return Ok(running);
    }
    each_process(root, |_, status| {
        for uid in status.uids.intersection(uids) {
            let running = running.entry(*uid).or_default();
            running.processes += 1;
            running.unix_groups.extend(&status.unix_groups);
        }
    })?;
    Ok(running)
}

fn each_process(root: &Dir, mut visit: impl FnMut(i32, &Status)) -> Result<(), FileError> {
    let proc = root.need("proc")?;
    for name in proc.names()? {
        let Ok(pid) = name.parse::<i32>() else { continue };
        if let Some(status) = status(&proc, pid)? {
            visit(pid, &status);
        }
    }
    Ok(())
}

/// Returns nothing of a process that has ended in the meantime. One that cannot be read for another
/// reason may still run, and that is an error.
fn status(proc: &Dir, pid: i32) -> Result<Option<Status>, FileError> {
    let read = || -> Result<Option<Vec<u8>>, FileError> {
        let Some(dir) = proc.walk(&pid.to_string())? else { return Ok(None) };
        Ok(dir.read("status")?.map(|(text, _)| text))
    };
    let text = match read() {
        Ok(Some(text)) => text,
        Ok(None) | Err(FileError::System { source: Errno::ESRCH, .. }) => return Ok(None),
        Err(error) => return Err(error),
    };
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

/// Ends everything that runs as these accounts.
pub(super) fn end(root: &Dir, programs: Programs, leavers: &[Leaver]) -> Report {
    let mut report = Report::default();
    let uids: BTreeSet<u32> =
        leavers.iter().map(|leaver| leaver.uid).filter(|uid| *uid > 0).collect();
    let before = match running(root, &uids) {
        Ok(before) => before,
        Err(error) => return Report::failed(chain(&error)),
    };
    for uid in &uids {
        // Where there is no such group the uid finds the processes.
        let _ = kill_control_group(root, *uid);
    }
    let sessions: Vec<&str> = leavers
        .iter()
        .filter(|leaver| has_session(root, leaver.uid))
        .map(|leaver| leaver.login.as_str())
        .collect();
    if !sessions.is_empty() {
        let mut arguments = vec!["terminate-user"];
        arguments.extend(sessions);
        // What it misses is found by uid.
        let _ = programs.run("loginctl", &arguments);
    }
    let left = match kill_until_none(root, programs, &uids) {
        Ok(left) => left,
        Err(error) => return Report::failed(chain(&error)),
    };
    for leaver in leavers {
        let count = |running: &BTreeMap<u32, Running>| {
            running.get(&leaver.uid).map_or(0, |running| running.processes)
        };
        let (had, left) = (count(&before), count(&left));
        let login = leaver.login.as_str().to_owned();
        if left > 0 {
            report.failures.insert(login.clone(), format!("{left} processes do not end"));
        }
        report.details.insert(login, format!("processes {had}, left {left}"));
    }
    report
}

fn kill_control_group(root: &Dir, uid: u32) -> Result<(), FileError> {
    let path = format!("sys/fs/cgroup/user.slice/user-{uid}.slice");
    if let Some(dir) = root.walk(&path)? {
        dir.write_control("cgroup.kill", b"1")?;
    }
    Ok(())
}

fn has_session(root: &Dir, uid: u32) -> bool {
    let users = root.walk("run/systemd/users").ok().flatten();
    users.is_some_and(|users| matches!(users.stat(uid.to_string()), Ok(Some(_))))
}

fn kill_until_none(
    root: &Dir,
    programs: Programs,
    uids: &BTreeSet<u32>,
) -> Result<BTreeMap<u32, Running>, FileError> {
    let started = Instant::now();
    let mut pause = Duration::from_millis(1);
    loop {
        // Whatever forks without end is in none of the lists that are read one by one.
        if programs == Programs::System {
            for uid in uids {
                // What it could not do is seen by the look that follows.
                let _ = reap::all_of(*uid);
            }
        }
        let left = running(root, uids)?;
        if left.is_empty() || started.elapsed() > PATIENCE {
            return Ok(left);
        }
        let proc = root.need("proc")?;
        for name in proc.names()? {
            if let Some(pid) = name.parse().ok().and_then(Pid::from_raw) {
                kill_one(&proc, pid, uids);
            }
        }
        std::thread::sleep(pause);
        pause = (pause * 2).min(Duration::from_millis(100));
    }
}

fn kill_one(proc: &Dir, pid: Pid, uids: &BTreeSet<u32>) {
    let is_theirs = || {
        // One that cannot be read is found again by the next look.
        let status = status(proc, pid.as_raw_nonzero().get());
        matches!(status, Ok(Some(status)) if !status.uids.is_disjoint(uids))
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
#[expect(clippy::disallowed_types, reason = "a test starts processes to end them")]
mod tests {
    use std::{os::unix::process::CommandExt, path::Path, process::Command, sync::Arc};

    use muster_proto::name::Login;

    use super::super::files::Faults;
    use super::*;

    /// A uid of no range that anybody gives.
    const UID: u32 = 61_789;

    #[test]
    #[allow(clippy::unwrap_used, clippy::expect_used, reason = "it is a test")]
    fn processes_end_by_uid_and_nothing_else_does() {
        let root = Dir::open(Path::new("/"), Arc::new(Faults::none())).unwrap();
        let sleep =
            |uid| Command::new("/bin/sleep").arg("100").uid(uid).spawn().expect("needs root");
        let (mut theirs, mut other) = (sleep(UID), sleep(UID + 1));
        let leavers = [Leaver { login: Login::parse("ana").unwrap(), uid: UID }];
        let report = end(&root, Programs::None, &leavers);
        assert_eq!(report.failures, BTreeMap::new());
        assert_eq!(report.details.get("ana").map(String::as_str), Some("processes 1, left 0"));
        assert!(!theirs.wait().unwrap().success());
        assert!(other.try_wait().unwrap().is_none());
        other.kill().unwrap();
        other.wait().unwrap();
    }

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
        let found = running(&root, &BTreeSet::from([UID])).unwrap();
        assert_eq!(found.get(&UID).map(|running| running.processes), Some(2));
    }
}
