//! Who a process is, from what `/proc` says of it while it lives: its program and command line, who
//! logged in to begin with (`loginuid`, which stays the same through sudo), its unit or session.
//! Nobody is held up for that: of one that has gone only the number is known.

use std::{collections::VecDeque, fs::File, io::Read};

use muster_proto::drift::Culprit;
use nix::unistd::{Uid, User};

/// The most bytes of a command line that are kept.
const MOST_COMMAND: u64 = 512;
/// So many processes are remembered, since one that has written is often gone at its last event.
const MOST_KNOWN: usize = 64;
/// What `loginuid` says where nobody has logged in.
const NOBODY: u32 = u32::MAX;

/// The processes that were seen last.
#[derive(Debug, Default)]
pub(super) struct Known(VecDeque<Culprit>);

impl Known {
    /// Says who a process is, or was a moment ago; nothing if the kernel did not tell its number.
    pub(super) fn of(&mut self, pid: u32) -> Option<Culprit> {
        if pid == 0 {
            return None;
        }
        let now = look(pid);
        if now.program.is_empty() {
            let before = self.0.iter().rev().find(|known| known.pid == pid);
            return Some(before.cloned().unwrap_or(now));
        }
        self.0.retain(|known| known.pid != pid);
        if self.0.len() == MOST_KNOWN {
            self.0.pop_front();
        }
        self.0.push_back(now.clone());
        Some(now)
    }
}

fn look(pid: u32) -> Culprit {
    let program = proc(pid, "comm").trim_end().to_owned();
    let command = proc(pid, "cmdline");
    Culprit {
        pid,
        program,
        command: command.trim_end_matches('\0').replace('\0', " "),
        login: proc(pid, "loginuid").trim().parse().ok().map(login).unwrap_or_default(),
        unit: unit(&proc(pid, "cgroup")),
    }
}

fn proc(pid: u32, file: &str) -> String {
    let mut bytes = Vec::new();
    // A process that has gone has no files.
    let _ = File::open(format!("/proc/{pid}/{file}"))
        .and_then(|file| file.take(MOST_COMMAND).read_to_end(&mut bytes));
    String::from_utf8_lossy(&bytes).into_owned()
}

fn login(uid: u32) -> String {
    if uid == NOBODY {
        return String::new();
    }
    let user = User::from_uid(Uid::from_raw(uid)).ok().flatten();
    user.map_or_else(|| uid.to_string(), |user| user.name)
}

/// Returns the innermost unit of a process in the one hierarchy of control groups (v2).
fn unit(cgroup: &str) -> String {
    let path = cgroup.lines().find_map(|line| line.strip_prefix("0::")).unwrap_or_default();
    let is_unit = |part: &&str| matches!(part.rsplit_once('.'), Some((_, "service" | "scope")));
    path.rsplit('/').find(is_unit).unwrap_or_default().to_owned()
}

#[cfg(test)]
#[allow(clippy::disallowed_types, reason = "somebody has to be there to be told of")]
mod tests {
    use super::*;

    #[test]
    fn a_process_that_has_gone_is_who_it_was_a_moment_ago() {
        let mut known = Known::default();
        let own = known.of(std::process::id()).unwrap();
        assert!(!own.program.is_empty() && !own.command.is_empty());
        let mut child =
            std::process::Command::new("cat").stdin(std::process::Stdio::piped()).spawn().unwrap();
        // It is a copy of this program until it has begun to be another.
        let pid = child.id();
        while known.of(pid).unwrap().program != "cat" {
            std::thread::yield_now();
        }
        drop(child.stdin.take());
        child.wait().unwrap();
        let gone = known.of(pid).unwrap();
        assert_eq!((gone.program.as_str(), gone.command.as_str()), ("cat", "cat"));
        let stranger = Known::default().of(pid).unwrap();
        assert_eq!(stranger, Culprit { pid, ..Culprit::default() });
        assert_eq!(known.of(0), None);
    }

    #[test]
    fn the_unit_is_the_innermost_one() {
        let of = |path: &str| unit(&format!("0::{path}\n"));
        assert_eq!(of("/user.slice/user-1000.slice/session-3.scope"), "session-3.scope");
        assert_eq!(of("/system.slice/cron.service"), "cron.service");
        assert_eq!(of("/user.slice/user-1.slice/user@1.service/app.slice"), "user@1.service");
        assert_eq!(of("/"), "");
    }
}
