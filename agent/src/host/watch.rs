//! Watches what decides about access, and says who was at it (`fanotify(7)`). One group of marks for
//! each place, so that an event tells its place by where it comes from and no file handle has to be
//! resolved. Marks are on directories: whoever replaces a file makes a new one.
//!
//! A group that tells which process it was can be made only with `CAP_SYS_ADMIN`, so all are made at
//! the start and the capability is given up right after. Marks need none.
#![expect(clippy::disallowed_methods, reason = "waiting for another thread that has work to do")]

mod event;
mod pace;

use std::{
    collections::VecDeque,
    io,
    os::fd::{AsFd, BorrowedFd},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::Duration,
};

use nix::{
    errno::Errno,
    poll::{PollFd, PollFlags, PollTimeout, poll},
    sys::fanotify::{EventFFlags, Fanotify, InitFlags, MarkFlags, MaskFlags},
    unistd::read,
};

use self::{
    event::{Event, Events},
    pace::Pace,
};
use super::{
    chain, clocks, culprit,
    files::{Dir, LEFTOVER},
};
use crate::{
    drift::{Place, Touch},
    format::{pam::is_remembered, ssh::ROOT_KEYS},
};

/// The directories of each place. Where one is on a system of another kind it is missing.
const PLACES: &[(Place, &[&str])] = &[
    (Place::Etc, &["etc"]),
    (Place::Sudoers, &["etc/sudoers.d"]),
    (Place::Ssh, &["etc/ssh"]),
    (Place::SshDropIns, &["etc/ssh/sshd_config.d"]),
    (Place::Keys, &["etc/ssh/muster-keys"]),
    (Place::Crontabs, &["var/spool/cron/crontabs", "var/spool/cron/tabs", "var/spool/cron"]),
    (Place::AtJobs, &["var/spool/cron/atjobs", "var/spool/at"]),
    (Place::Linger, &["var/lib/systemd/linger"]),
    // The configuration says where that is.
    (Place::Homes, &[]),
    (Place::Passwords, &["etc/pam.d", "etc/security", "etc/security/pwquality.conf.d"]),
    (Place::RootHome, &["root"]),
    (Place::RootKeys, &["root/.ssh"]),
];

/// Files of `/etc` itself that decide about access.
const ETC: &[&str] = &[
    "passwd",
    "shadow",
    "group",
    "gshadow",
    "subuid",
    "subgid",
    "sudoers",
    "sudoers-rs",
    "sudo.conf",
    "nsswitch.conf",
    "nologin",
];

/// Touches of one place that wait to be judged; of more than these the oldest are forgotten, and what
/// they did is found by looking.
const MOST_TOUCHES: usize = 256;

/// For so long nobody has to have touched anything until the host is looked at: who changes an
/// account writes several files.
const QUIET: Duration = Duration::from_millis(40);

/// Whoever holds one of these locks of shadow-utils is at the account files, which do not fit one
/// another until he lets go.
const LOCKS: &[&str] = &["passwd.lock", "group.lock", "gshadow.lock", "shadow.lock"];

/// Milliseconds at most until what the kernel has told already is read.
const LATEST: u32 = 10;

/// Bytes of stack for the thread that waits.
const STACK: usize = 256 << 10;

/// `FAN_REPORT_DFID_NAME`: events name the entry of the directory.
const REPORT_NAMES: u32 = 0x0000_0c00;

/// What is watched.
#[derive(Debug)]
pub struct Watch {
    root: Dir,
    groups: Arc<Vec<(Place, Fanotify)>>,
    touches: Arc<Mutex<VecDeque<Touch>>>,
    /// Whether the thread that reads has ended.
    is_blind: Arc<AtomicBool>,
    /// Whether it has read something that is not noted yet.
    is_reading: Arc<AtomicBool>,
    /// Whether something was noted since the last time that all was taken.
    is_touched: Arc<AtomicBool>,
}

impl Watch {
    /// Makes the groups for a root; nothing is watched until [`Watch::mark`].
    pub fn open(root: Dir) -> io::Result<Self> {
        let flags = InitFlags::FAN_CLOEXEC | InitFlags::FAN_NONBLOCK | InitFlags::FAN_CLASS_NOTIF;
        let flags = flags | InitFlags::from_bits_retain(REPORT_NAMES);
        let group = |(place, _): &(Place, _)| -> io::Result<(Place, Fanotify)> {
            Ok((*place, Fanotify::init(flags, EventFFlags::O_RDONLY)?))
        };
        let groups = PLACES.iter().map(group).collect::<io::Result<_>>()?;
        let touches = Arc::new(Mutex::new(VecDeque::new()));
        let (is_blind, is_reading, is_touched) = (Arc::default(), Arc::default(), Arc::default());
        Ok(Self { root, groups: Arc::new(groups), touches, is_blind, is_reading, is_touched })
    }

    /// Begins to wait; `wake` is called when somebody has been at something and has come to rest, and
    /// says whether anybody still listens. It must not wait: who did what is read meanwhile.
    pub fn start(&self, mut wake: impl FnMut() -> bool + Send + 'static) -> io::Result<()> {
        let (groups, touches) = (Arc::clone(&self.groups), Arc::clone(&self.touches));
        let (root, is_blind) = (self.root.clone(), Arc::clone(&self.is_blind));
        let (is_reading, is_touched) = (Arc::clone(&self.is_reading), Arc::clone(&self.is_touched));
        thread::Builder::new().name("watch".to_owned()).stack_size(STACK).spawn(move || {
            let mut known = culprit::Known::default();
            let mut pace = Pace::default();
            let mut take = || {
                is_reading.store(true, Ordering::SeqCst);
                let any = take(&groups, &touches, &mut known);
                is_touched.fetch_or(any, Ordering::SeqCst);
                is_reading.store(false, Ordering::SeqCst);
                any
            };
            while wait(&groups, None) {
                let begun = clocks::monotonic();
                if !take() {
                    continue;
                }
                let patience = pace.patience(begun);
                loop {
                    let waited = clocks::monotonic().saturating_sub(begun);
                    if waited >= patience.most {
                        break;
                    }
                    if wait(&groups, Some(QUIET)) {
                        take();
                    } else if waited >= patience.least && !is_locked(&root) {
                        break;
                    }
                }
                if !wake() {
                    break;
                }
            }
            is_blind.store(true, Ordering::Relaxed);
        })?;
        Ok(())
    }

    /// Watches the directories that are there, also those that have taken the place of others.
    /// Returns which of them cannot be watched, and why.
    pub fn mark(&self, home_base: &str) -> Vec<(String, String)> {
        let mut unwatched = Vec::new();
        if self.is_blind.load(Ordering::Relaxed) {
            unwatched.push(("/".to_owned(), "what the kernel tells cannot be read".to_owned()));
        }
        let home_base = home_base.trim_start_matches('/');
        for (place, paths) in PLACES {
            let Some((_, group)) = self.groups.iter().find(|(own, _)| own == place) else {
                continue;
            };
            let homes = (*place == Place::Homes).then_some(home_base);
            for path in paths.iter().copied().chain(homes) {
                if let Err(why) = mark(group, &self.root, path, mask(*place)) {
                    unwatched.push((format!("/{path}"), why));
                }
            }
        }
        unwatched
    }

    /// Says whether anybody has been at anything since the last time.
    pub fn is_touched(&self) -> bool {
        self.is_touched.load(Ordering::SeqCst)
    }

    /// Returns who has been at what since the last time.
    pub fn touches(&self) -> Vec<Touch> {
        self.is_touched.store(false, Ordering::SeqCst);
        self.noted().drain(..).collect()
    }

    /// Returns who has been at what since then, also what the kernel has told and nobody has read
    /// yet. The next look will know of it as well.
    pub fn late(&self) -> Vec<Touch> {
        for _ in 0..LATEST {
            if !wait(&self.groups, Some(Duration::ZERO)) && !self.is_reading.load(Ordering::SeqCst)
            {
                break;
            }
            thread::sleep(Duration::from_millis(1));
        }
        self.noted().iter().cloned().collect()
    }

    /// Forgets who was told of by now. The next look is taken all the same.
    pub fn forget(&self, told: &[Touch]) {
        self.noted().retain(|touch| !told.contains(touch));
    }

    fn noted(&self) -> MutexGuard<'_, VecDeque<Touch>> {
        self.touches.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What happens to the entries of a directory, and to the directory itself. Where people live it
/// matters only which there are: what they do to their own is nobody's business.
fn mask(place: Place) -> MaskFlags {
    let entries = MaskFlags::FAN_CREATE
        | MaskFlags::FAN_DELETE
        | MaskFlags::FAN_MOVED_FROM
        | MaskFlags::FAN_MOVED_TO
        | MaskFlags::FAN_ONDIR;
    match place {
        Place::Homes | Place::RootHome => entries,
        _ => {
            entries | MaskFlags::FAN_MODIFY | MaskFlags::FAN_ATTRIB | MaskFlags::FAN_EVENT_ON_CHILD
        }
    }
}

/// Marks a directory if it is there. It is marked again each time: a directory that has taken the
/// place of another may have got its inode too.
fn mark(group: &Fanotify, root: &Dir, path: &str, mask: MaskFlags) -> Result<(), String> {
    let Some(dir) = root.walk(path).map_err(|error| chain(&error))? else { return Ok(()) };
    let flags = MarkFlags::FAN_MARK_ADD | MarkFlags::FAN_MARK_ONLYDIR;
    let none: Option<&str> = None;
    group.mark(flags, mask, dir.as_fd(), none).map_err(|error| chain(&error))
}

/// Says whether somebody is in the middle of a change of accounts. Who crashed in one, and left his
/// lock, costs the patience there is.
fn is_locked(root: &Dir) -> bool {
    let Ok(Some(etc)) = root.walk("etc") else { return false };
    LOCKS.iter().any(|lock| matches!(etc.stat(lock), Ok(Some(_))))
}

/// Waits until there is something to read; not if the time runs out before.
fn wait(groups: &[(Place, Fanotify)], patience: Option<Duration>) -> bool {
    let mut all: Vec<PollFd<'_>> =
        groups.iter().map(|(_, group)| PollFd::new(group.as_fd(), PollFlags::POLLIN)).collect();
    let timeout = patience.map_or(PollTimeout::NONE, |patience| {
        PollTimeout::try_from(patience).unwrap_or(PollTimeout::ZERO)
    });
    loop {
        match poll(&mut all, timeout) {
            Ok(ready) => return ready > 0,
            Err(Errno::EINTR) => {}
            Err(error) => {
                tracing::error!(error = %error, "nothing is watched any more");
                return false;
            }
        }
    }
}

/// Reads all events there are, and says whether one of them matters.
fn take(
    groups: &[(Place, Fanotify)],
    touches: &Mutex<VecDeque<Touch>>,
    known: &mut culprit::Known,
) -> bool {
    let mut any = false;
    for (place, group) in groups {
        while let Some(events) = read_some(group.as_fd()) {
            for event in Events(&events) {
                if event.pid == std::process::id() {
                    continue;
                }
                if !matters(*place, &event) {
                    if is_beside(*place, &event) {
                        known.of(event.pid);
                    }
                    continue;
                }
                any = true;
                let (place, name, culprit) = (*place, event.name.to_owned(), known.of(event.pid));
                let mut touches = touches.lock().unwrap_or_else(PoisonError::into_inner);
                note(&mut touches, Touch { place, name, culprit });
            }
        }
    }
    any
}

/// Notes a touch. One that is known already takes no room, and no place is pushed out by another:
/// users can touch their crontabs as often as they like.
fn note(touches: &mut VecDeque<Touch>, touch: Touch) {
    touches.retain(|known| *known != touch);
    let here = |known: &Touch| known.place == touch.place;
    if touches.iter().filter(|known| here(known)).count() >= MOST_TOUCHES
        && let Some(oldest) = touches.iter().position(here)
    {
        touches.remove(oldest);
    }
    touches.push_back(touch);
}

fn matters(place: Place, event: &Event<'_>) -> bool {
    if event.name.starts_with(LEFTOVER) {
        return false;
    }
    // Events were lost: what they were is found by looking.
    let lost = event.mask & MaskFlags::FAN_Q_OVERFLOW.bits() != 0;
    lost || match place {
        Place::Etc => ETC.contains(&event.name),
        Place::Ssh => event.name == "sshd_config",
        Place::Passwords => !is_remembered(event.name),
        Place::RootHome => event.name == ".ssh",
        Place::RootKeys => event.name.is_empty() || ROOT_KEYS.contains(&event.name),
        _ => true,
    }
}

/// Says whether this is what somebody has beside a file whose turn comes: its lock, or what it will
/// be renamed from. Whoever is at that lives still, and is often gone when the file itself is.
fn is_beside(place: Place, event: &Event<'_>) -> bool {
    place == Place::Etc && ETC.iter().any(|file| event.name.starts_with(file))
}

fn read_some(group: BorrowedFd<'_>) -> Option<Vec<u8>> {
    let mut buffer = vec![0; 4_096];
    let length = read(group, &mut buffer).ok().filter(|length| *length > 0)?;
    buffer.truncate(length);
    Some(buffer)
}

#[cfg(test)]
mod tests;
