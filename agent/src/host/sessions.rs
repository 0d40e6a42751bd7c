//! How sessions and processes end. First all at once by control group, then the session by logind,
//! then all at once by uid (`reap`), so that nothing can fork away; then by what `/proc` shows,
//! until none is left or ten seconds are over. What a locked account still has then is said and
//! tried again.
#![expect(
    clippy::disallowed_methods,
    reason = "waiting until processes are gone, for a bounded time"
)]

use std::{
    collections::{BTreeMap, BTreeSet},
    time::{Duration, Instant},
};

use nix::errno::Errno;
use rustix::process::Pid;

use muster_proto::statement::UserKind;

use crate::{
    listing,
    observed::Running,
    plan::{self, Leaver},
};

use super::{
    Report, chain,
    files::{Dir, FileError},
    locked,
    processes::{self, Owners, running},
    program::Programs,
    reap,
    still_in::{self, BySshd},
};

const PATIENCE: Duration = Duration::from_secs(10);

/// Ends everything that runs as these accounts, and looks whether those that are locked have anything
/// left.
pub(super) fn end(root: &Dir, programs: Programs, leavers: &[Leaver]) -> Report {
    end_within(PATIENCE, root, programs, leavers)
}

fn end_within(patience: Duration, root: &Dir, programs: Programs, leavers: &[Leaver]) -> Report {
    let mut owners = Owners::default();
    for leaver in leavers {
        owners.add(leaver.uid, &leaver.subuids);
    }
    let before = match running(root, &owners) {
        Ok(before) => before,
        Err(error) => return Report::failed(chain(&error)),
    };
    for uid in &owners.uids {
        // Where there is no such group the uid finds the processes.
        let _ = kill_control_group(root, *uid);
    }
    // By uid: a login may be another one's by now, and that may be root's.
    let sessions: Vec<String> = leavers
        .iter()
        .filter(|leaver| has_session(root, leaver.uid))
        .map(|leaver| leaver.uid.to_string())
        .collect();
    if !sessions.is_empty() {
        let mut arguments = vec!["terminate-user"];
        arguments.extend(sessions.iter().map(String::as_str));
        // What it misses is found by uid.
        let _ = programs.run("loginctl", &arguments);
    }
    let locked: Vec<(&Leaver, UserKind)> = leavers.iter().filter_map(locked).collect();
    let ending = Ending { patience, root, programs, owners: &owners, locked: &locked };
    let left = match ending.until_none() {
        Ok(left) => left,
        Err(error) => return Report::failed(chain(&error)),
    };
    let look = locked::Look::again(root, &locked);
    let services = locked.iter().filter(|(_, kind)| *kind == UserKind::Service);
    let still_in = still_in::by_sshd(programs, services.map(|(leaver, _)| &leaver.login));
    let back = look.as_ref().map(|look| look.back.clone()).unwrap_or_default();
    let mut report = Report { jobs_back: back, ..Report::default() };
    for leaver in leavers {
        let count = |running: &BTreeMap<u32, Running>| {
            running.get(&leaver.uid).map_or(0, |running| running.processes)
        };
        let mut detail = format!("processes {}, left {}", count(&before), count(&left.running));
        let mut failures = Vec::new();
        if count(&left.running) > 0 {
            let stay = count(&left.running) as usize;
            let does = listing::count(stay, "process does", "processes do");
            failures.push(format!("{does} not end"));
        }
        if let plan::Ending::Locked(kind) = leaver.ending {
            let known = left.units.get(&leaver.uid).into_iter().flatten().copied();
            match &look {
                Ok(look) => {
                    let left: Vec<&str> = known.chain(look.left(leaver, kind)).collect();
                    if !left.is_empty() {
                        failures.push(format!("left: {}", left.join(", ")));
                    }
                }
                Err(reason) => failures.push(format!("what is left cannot be seen: {reason}")),
            }
            match still_in.get(&leaver.login) {
                Some(BySshd::Takes(ways)) => failures.push(format!("sshd still takes {ways}")),
                Some(BySshd::Unsaid(why)) => {
                    detail = format!("{detail}; sshd does not say what it takes: {why}");
                }
                None => {}
            }
            if failures.is_empty() {
                detail.push_str(
                    "; empty control group, no job, no lingering, no time stamp of sudo, no key",
                );
            }
        }
        let login = leaver.login.as_str().to_owned();
        if !failures.is_empty() {
            report.failures.insert(login.clone(), failures.join("; "));
        }
        report.details.insert(login, detail);
    }
    report
}

fn locked(leaver: &Leaver) -> Option<(&Leaver, UserKind)> {
    match leaver.ending {
        plan::Ending::Locked(kind) => Some((leaver, kind)),
        plan::Ending::Kept => None,
    }
}

fn control_group(root: &Dir, uid: u32) -> Result<Option<Dir>, FileError> {
    root.walk(&format!("sys/fs/cgroup/user.slice/user-{uid}.slice"))
}

fn kill_control_group(root: &Dir, uid: u32) -> Result<(), FileError> {
    if let Some(dir) = control_group(root, uid)? {
        dir.write_control("cgroup.kill", b"1")?;
    }
    Ok(())
}

/// Says whether anything runs in a user's control group, whatever its uid.
fn has_populated_group(root: &Dir, uid: u32) -> Result<bool, FileError> {
    let Some(dir) = control_group(root, uid)? else { return Ok(false) };
    let events = match dir.read("cgroup.events") {
        Ok(events) => events,
        // It went while it was read.
        Err(FileError::System { source: Errno::ENODEV, .. }) => None,
        Err(error) => return Err(error),
    };
    let text = events.map(|(text, _)| text).unwrap_or_default();
    Ok(String::from_utf8_lossy(&text).lines().any(|line| line == "populated 1"))
}

fn has_session(root: &Dir, uid: u32) -> bool {
    let users = root.walk("run/systemd/users").ok().flatten();
    users.is_some_and(|users| matches!(users.stat(uid.to_string()), Ok(Some(_))))
}

/// Whose processes are to end, and which of them are locked.
struct Ending<'a> {
    patience: Duration,
    root: &'a Dir,
    programs: Programs,
    owners: &'a Owners,
    locked: &'a [(&'a Leaver, UserKind)],
}

/// What did not end.
struct Left {
    running: BTreeMap<u32, Running>,
    /// What systemd still has of locked accounts, in words.
    units: BTreeMap<u32, Vec<&'static str>>,
}

impl Ending<'_> {
    fn until_none(&self) -> Result<Left, FileError> {
        let started = Instant::now();
        let mut pause = Duration::from_millis(1);
        let mut inside = BTreeSet::new();
        loop {
            // Whatever forks without end is in none of the lists that are read one by one.
            if self.programs == Programs::System {
                for uid in self.owners.uids.iter().chain(&inside) {
                    // What it could not do is seen by the look that follows.
                    let _ = reap::all_of(*uid);
                }
            }
            let seen = self.owners.look(self.root)?;
            let left = Left { running: seen.running, units: self.units()? };
            let is_empty = left.running.is_empty() && left.units.is_empty();
            if is_empty || started.elapsed() > self.patience {
                return Ok(left);
            }
            inside = seen.inside;
            for uid in left.units.keys() {
                let _ = kill_control_group(self.root, *uid);
            }
            let proc = self.root.need("proc")?;
            for name in proc.names()? {
                if let Some(pid) = name.parse().ok().and_then(Pid::from_raw) {
                    processes::kill(&proc, pid, self.owners);
                }
            }
            std::thread::sleep(pause);
            pause = (pause * 2).min(Duration::from_millis(100));
        }
    }

    /// Looks for what is locked alone: who stays may have come back already. That logind still has a
    /// record of somebody says nothing: it keeps one for a while after the last process is gone.
    fn units(&self) -> Result<BTreeMap<u32, Vec<&'static str>>, FileError> {
        let mut units: BTreeMap<u32, Vec<&'static str>> = BTreeMap::new();
        for (leaver, _) in self.locked {
            if has_populated_group(self.root, leaver.uid)? {
                units.entry(leaver.uid).or_default().push("processes in its control group");
            }
        }
        Ok(units)
    }
}

#[cfg(test)]
#[expect(clippy::disallowed_types, reason = "a test starts processes to end them")]
mod tests {
    use std::{
        fs, ops::RangeInclusive, os::unix::process::CommandExt, path::Path, process::Command,
        sync::Arc,
    };

    use muster_proto::name::Login;

    use super::super::files::Faults;
    use super::*;

    /// A uid of no range that anybody gives.
    const UID: u32 = 61_789;

    fn leaver(uid: u32, subuids: Vec<RangeInclusive<u32>>) -> Leaver {
        let login = Login::parse("ana").expect("a login");
        Leaver { login, uid, has_its_uid: true, subuids, ending: plan::Ending::Kept }
    }

    #[test]
    #[allow(clippy::unwrap_used, clippy::expect_used, reason = "it is a test")]
    fn processes_end_by_uid_and_nothing_else_does() {
        let root = Dir::open(Path::new("/"), Arc::new(Faults::none())).unwrap();
        let sleep =
            |uid| Command::new("/bin/sleep").arg("100").uid(uid).spawn().expect("needs root");
        let (mut theirs, mut other) = (sleep(UID), sleep(UID + 1));
        let leavers = [leaver(UID, Vec::new())];
        let report = end(&root, Programs::None, &leavers);
        assert_eq!(report.failures, BTreeMap::new());
        assert_eq!(report.details.get("ana").map(String::as_str), Some("processes 1, left 0"));
        assert!(!theirs.wait().unwrap().success());
        assert!(other.try_wait().unwrap().is_none());
        other.kill().unwrap();
        other.wait().unwrap();
    }

    /// A root with processes that nobody can end: no process has so large a number.
    fn with_processes(uids: &[u32]) -> (tempfile::TempDir, Dir) {
        let folder = tempfile::tempdir().unwrap();
        let write = |path: String, text: &str| {
            let path = folder.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        };
        fs::create_dir(folder.path().join("proc")).unwrap();
        write("etc/shadow".to_owned(), "ana:!*:20000:::::1:\n");
        for (number, uid) in uids.iter().enumerate() {
            let status = format!("State:\tS (sleeping)\nUid:\t{uid}\t{uid}\t{uid}\t{uid}\n");
            write(format!("proc/{}/status", 4_194_901 + number), &status);
        }
        let root = Dir::open(folder.path(), Arc::new(Faults::none())).unwrap();
        (folder, root)
    }

    /// What becomes of an end for which nobody waits.
    fn at_once(root: &Dir, ending: plan::Ending) -> Report {
        let leavers = [Leaver { ending, ..leaver(UID, Vec::new()) }];
        end_within(Duration::ZERO, root, Programs::None, &leavers)
    }

    #[test]
    fn what_is_left_when_time_is_up_is_a_failure_and_nothing_else_is_claimed() {
        let locked = plan::Ending::Locked(UserKind::Person);
        let group = format!("sys/fs/cgroup/user.slice/user-{UID}.slice");
        // Processes, whether its control group has any, and what is told of that.
        for (uids, populated, ending, failure) in [
            (&[UID + 1][..], 0, locked, None),
            (&[UID, UID], 0, locked, Some("2 processes do not end")),
            (&[UID], 0, plan::Ending::Kept, Some("1 process does not end")),
            (&[], 1, locked, Some("left: processes in its control group")),
            (
                &[UID],
                1,
                locked,
                Some("1 process does not end; left: processes in its control group"),
            ),
            // Who stays may have come back already.
            (&[], 1, plan::Ending::Kept, None),
        ] {
            let (folder, root) = with_processes(uids);
            let group = folder.path().join(&group);
            fs::create_dir_all(&group).unwrap();
            fs::write(group.join("cgroup.events"), format!("populated {populated}\n")).unwrap();
            let report = at_once(&root, ending);
            assert_eq!(report.failures.get("ana").map(String::as_str), failure, "{report:?}");
            let claims = report.details.get("ana").is_some_and(|told| told.contains("empty"));
            assert_eq!(claims, failure.is_none() && ending == locked, "{report:?}");
        }
    }

    #[test]
    fn a_look_that_is_not_possible_is_a_failure() {
        let (folder, root) = with_processes(&[]);
        fs::remove_file(folder.path().join("etc/shadow")).unwrap();
        fs::create_dir(folder.path().join("etc/shadow")).unwrap();
        let report = at_once(&root, plan::Ending::Locked(UserKind::Person));
        let failure = report.failures.get("ana").cloned().unwrap_or_default();
        assert!(failure.starts_with("what is left cannot be seen: "), "{report:?}");
        assert_eq!(at_once(&root, plan::Ending::Kept).failures, BTreeMap::new());
    }

    #[test]
    #[allow(clippy::unwrap_used, clippy::expect_used, reason = "it is a test")]
    fn containers_end_with_whose_numbers_they_run_as_and_uids_of_others_do_not() {
        let root = Dir::open(Path::new("/"), Arc::new(Faults::none())).unwrap();
        // Apart from the other test, which runs at the same time.
        let (owner, number) = (UID + 20, UID + 100);
        let run = |words: &[&str], uid| {
            let mut command = Command::new(words[0]);
            command.args(&words[1..]).arg("100").uid(uid).spawn().expect("needs root")
        };
        let mut container = run(&["unshare", "--user", "--map-current-user", "sleep"], number);
        let mut last = run(&["unshare", "--user", "--map-current-user", "sleep"], number + 9);
        // A uid of that number outside, and a container of the number after the last.
        let outside = run(&["sleep"], number + 1);
        let next = run(&["unshare", "--user", "--map-current-user", "sleep"], number + 10);
        let mut owners = Owners::default();
        owners.add(owner, &[number..=number + 9]);
        let started = Instant::now();
        while running(&root, &owners).unwrap().get(&owner).is_none_or(|found| found.processes < 2) {
            assert!(started.elapsed() < PATIENCE, "no user namespaces here");
            std::thread::yield_now();
        }
        let report = end(&root, Programs::None, &[leaver(owner, vec![number..=number + 9])]);
        assert_eq!(report.failures, BTreeMap::new());
        assert_eq!(report.details.get("ana").map(String::as_str), Some("processes 2, left 0"));
        assert!(!container.wait().unwrap().success() && !last.wait().unwrap().success());
        for mut other in [outside, next] {
            assert!(other.try_wait().unwrap().is_none());
            other.kill().unwrap();
            other.wait().unwrap();
        }
    }
}
