//! Who a process is, from what `/proc` says of it while it lives: its program and command line, who
//! logged in to begin with (`loginuid`, which stays the same through sudo), its unit or session.
//! Nobody is held up for that: of one that has gone only the number is known.
//!
//! Number, login and unit are the kernel's word. Program and command line are what the process calls
//! itself, and whoever can change an account file can call himself what he likes.

use std::{collections::VecDeque, fs::File, io::Read};

use muster_proto::drift::Culprit;
use nix::unistd::{Uid, User};

/// The most bytes of a command line that are kept.
const MOST_COMMAND: u64 = 512;
/// The most bytes of one argument that is shown.
const MOST_ARGUMENT: usize = 64;
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

/// Says who a process is now. Reads all there is before anything is made of it: it is there no longer
/// than the process is.
pub(super) fn look(pid: u32) -> Culprit {
    let [cgroup, loginuid, comm, cmdline] =
        ["cgroup", "loginuid", "comm", "cmdline"].map(|file| proc(pid, file));
    Culprit {
        pid,
        program: comm.trim_end().to_owned(),
        command: command(&cmdline),
        login: loginuid.trim().parse().ok().map(login).unwrap_or_default(),
        unit: unit(&cgroup),
    }
}

fn proc(pid: u32, file: &str) -> String {
    let mut bytes = Vec::new();
    // A process that has gone has no files.
    let _ = File::open(format!("/proc/{pid}/{file}"))
        .and_then(|file| file.take(MOST_COMMAND).read_to_end(&mut bytes));
    String::from_utf8_lossy(&bytes).into_owned()
}

/// Returns a command line without what may be secret in it: a password or its hash stands behind an
/// option that says so, in such an option, or in an argument that is more than a name, a path or an
/// option.
fn command(line: &str) -> String {
    let mut shown: Vec<&str> = Vec::new();
    let mut is_secret = false;
    for argument in line.trim_end_matches('\0').split('\0') {
        let is_plain = argument.len() <= MOST_ARGUMENT
            && argument.chars().all(|c| c.is_alphanumeric() || "_./@,+-=".contains(c));
        let long = argument.starts_with("--p");
        let short =
            argument.starts_with('-') && !argument.starts_with("--") && argument.contains('p');
        let holds_it = (long && argument.contains('=')) || (short && !argument.ends_with('p'));
        let is_shown = shown.is_empty() || (is_plain && !is_secret && !holds_it);
        shown.push(if is_shown { argument } else { "…" });
        is_secret = (long || short) && !holds_it;
    }
    shown.join(" ")
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
        // It is a copy of this program until it has begun to be another, whose name is there before
        // its command line is.
        let pid = child.id();
        while known.of(pid).unwrap().command != "cat" {
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
    fn a_command_line_is_told_without_passwords_and_their_hashes() {
        let of = |words: &[&str]| command(&(words.join("\0") + "\0"));
        for (words, shown) in [
            (&["usermod", "--shell", "/bin/sh", "ana"][..], "usermod --shell /bin/sh ana"),
            (&["usermod", "--password", "$6$salt$hash", "ana"], "usermod --password … ana"),
            (&["usermod", "--password", "plain", "ana"], "usermod --password … ana"),
            (&["usermod", "--password=plain", "ana"], "usermod … ana"),
            (&["useradd", "-p", "plain", "--uid=7", "ana"], "useradd -p … --uid=7 ana"),
            (&["useradd", "-mp", "ab01FAX.bQRSU", "ana"], "useradd -mp … ana"),
            (&["useradd", "-pab01FAX.bQRSU", "ana"], "useradd … ana"),
            (&["sh", "-c", "echo ana:secret | chpasswd"], "sh -c …"),
            (&["vipw"], "vipw"),
            (&[""], ""),
        ] {
            assert_eq!(of(words), shown);
        }
        assert_eq!(of(&["x", &"a".repeat(MOST_ARGUMENT + 1)]), "x …");
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
