//! What the keeper's work rests on besides: room on the disks, the places of homes and shells, locks
//! that nobody lets go, numbers, other sources of accounts, labels.

use muster_proto::{receipt, time::Timestamp};

use super::{Finding, finding, ways_in::Presence};
use crate::{format::subid::Range, policy::HostPolicy};

/// The least room, in hundredths.
const ROOM: u64 = 5;
/// Seconds after which a lock is not one that is about to be let go.
pub const LOCKED_LONG: u64 = 60;

/// What the keeper's work rests on.
#[derive(Clone, Debug, Default)]
pub struct Ground {
    /// The file systems that are written to.
    pub disks: Vec<Disk>,
    /// The directory of homes.
    pub home_base: Base,
    /// The text of `/etc/shells`, if there is one.
    pub shells: Option<String>,
    /// Whether the shell of those who have none of their own is there.
    pub default_shell: Presence,
    /// Locks that are not let go.
    pub locks: Vec<Held>,
    /// Numbers that users may run as beside their own.
    pub subordinate: Vec<Range>,
    /// Why another source of accounts cannot be asked.
    pub source: Option<String>,
    /// What is wrong with the labels, or why they cannot be read.
    pub labels: Option<Result<Vec<receipt::Finding>, String>>,
}

/// A file system.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Disk {
    /// One of our directories on it.
    pub of: String,
    /// How many blocks are free, of how many.
    pub blocks: (u64, u64),
    /// How many files there is still room for, of how many.
    pub files: (u64, u64),
    /// Whether it can be written to.
    pub access: Access,
}

/// Whether something can be written to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// It can.
    Write,
    /// It can only be read.
    ReadOnly,
}

/// A directory in which homes are made.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Base {
    /// It is root's alone.
    #[default]
    Sound,
    /// It is not there.
    Missing,
    /// It is not one that root may rely on, and why.
    Unsound(String),
}

/// A lock that is held.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Held {
    /// Which.
    pub path: String,
    /// By whom.
    pub by: Holder,
    /// Since when, where the lock says that.
    pub since: Option<Timestamp>,
}

/// Who holds a lock.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Holder {
    /// A process that lives: its number and name.
    Process(i32, String),
    /// A process that the kernel does not name.
    Unknown,
    /// Nobody: the lock names no process, and every tool waits for it.
    Nobody,
}

impl Ground {
    pub(super) fn findings(&self, policy: Option<&HostPolicy>) -> Vec<Finding> {
        let mut found: Vec<Finding> = self.disks.iter().flat_map(Disk::findings).collect();
        if let Some(policy) = policy {
            found.extend(self.home_base(policy));
            found.extend(self.shell(policy));
            found.extend(self.numbers(policy));
        }
        found.extend(self.locks.iter().map(Held::finding));
        if let Some(reason) = &self.source {
            let cure = "mend it, or take it out of `passwd:` in /etc/nsswitch.conf";
            let fault = format!("no account can be created: {reason}");
            found.push(finding("other sources", fault, cure));
        }
        let label = "mend it: lines of `key=value`, in files that root alone can write";
        match &self.labels {
            Some(Ok(findings)) => {
                found.extend(findings.iter().map(|one| {
                    finding("label", format!("`{}`: {}", one.subject, one.detail), label)
                }));
            }
            Some(Err(reason)) => {
                found.push(finding("label", format!("the agent does not start: {reason}"), label));
            }
            None => {}
        }
        found
    }

    fn home_base(&self, policy: &HostPolicy) -> Option<Finding> {
        let base = &policy.home_base;
        let cure = format!("install -d -o root -g root -m 755 {base}, or another `home_base`");
        match &self.home_base {
            Base::Sound => None,
            Base::Missing => {
                Some(finding("homes", format!("`{base}` is missing: no home can be made"), cure))
            }
            Base::Unsound(reason) => {
                let cure = "a directory of root's that nobody else can write, and no link";
                Some(finding("homes", format!("no home can be made: {reason}"), cure))
            }
        }
    }

    fn shell(&self, policy: &HostPolicy) -> Option<Finding> {
        let shell = &policy.default_shell;
        if self.default_shell == Presence::Missing {
            let fault =
                format!("`{shell}` is missing, and who has no shell of their own is given it");
            let cure = "install it, or set another `default_shell`";
            return Some(finding("shell", fault, cure));
        }
        let listed = self.shells.as_deref()?.lines().any(|line| line.trim() == shell.as_str());
        (!listed).then(|| {
            let fault =
                format!("`{shell}` does not stand in /etc/shells: some services let nobody in");
            finding("shell", fault, format!("echo {shell} >>/etc/shells"))
        })
    }

    fn numbers(&self, policy: &HostPolicy) -> Option<Finding> {
        let shared = |range: &&Range| {
            let last = range.first.saturating_add(range.count.saturating_sub(1));
            let uids = &mut policy.uid_ranges.iter();
            range.count > 0 && uids.any(|own| *own.start() <= last && range.first <= *own.end())
        };
        let range = self.subordinate.iter().find(shared)?;
        let Range { owner, first, count } = range;
        let last = first.saturating_add(count.saturating_sub(1));
        let fault =
            format!("`{owner}` may run as {first} to {last}: no account gets one of these uids");
        let cure = "other numbers in /etc/subuid and subgid, or other `uid_ranges`";
        Some(finding("uids", fault, cure))
    }
}

impl Disk {
    fn findings(&self) -> Vec<Finding> {
        let of = &self.of;
        let mut found = Vec::new();
        let mut add = |fault: String, cure: &str| found.push(finding("room", fault, cure));
        let narrow = "make room: what cannot be written down gives no access";
        if self.access == Access::ReadOnly {
            let cure = "mount it writable; the kernel's log says why, if it was an error";
            add(format!("the disk of `{of}` is read-only"), cure);
        }
        if is_narrow(self.blocks) {
            add(format!("less than {ROOM} % of the disk of `{of}` is free"), narrow);
        }
        if is_narrow(self.files) {
            add(
                format!("less than {ROOM} % of the files that `{of}` has room for are left"),
                narrow,
            );
        }
        found
    }
}

fn is_narrow((free, all): (u64, u64)) -> bool {
    free.saturating_mul(100) < all.saturating_mul(ROOM)
}

impl Held {
    fn finding(&self) -> Finding {
        let Self { path, by, since } = self;
        let since = since.map_or_else(String::new, |time| format!(" since {time}"));
        match by {
            Holder::Process(pid, name) => {
                let fault = format!("`{path}` is held by process {pid} (`{name}`){since}");
                let cure = "wait for it, or end it; no account can be changed meanwhile";
                finding("lock", fault, cure)
            }
            Holder::Unknown => {
                let cure =
                    format!("`fuser -v {path}` names it; no account can be changed meanwhile");
                finding("lock", format!("`{path}` is held by some process{since}"), cure)
            }
            Holder::Nobody => {
                let fault = format!("`{path}` names no process{since}: all account tools wait");
                finding("lock", fault, format!("rm {path}"))
            }
        }
    }
}
