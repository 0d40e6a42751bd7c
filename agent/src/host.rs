//! The only place that touches the machine. A `Host` looks and does what a plan says; it decides
//! nothing but how. `Linux` is the real one, over `/` or, for tests, over any other root, where no
//! program is run. Every file operation is relative to a directory that was opened without
//! following links.

mod accounts;
pub mod capability;
pub mod clocks;
mod culprit;
mod effects;
pub mod examine;
pub mod files;
pub mod hangup;
mod homes;
pub mod inquiry;
mod inventory;
mod jobs;
mod left;
pub mod lock;
mod locked;
mod names;
pub mod notify;
mod observe;
pub mod outlet;
mod pam_files;
pub mod peer;
pub mod probes;
mod processes;
mod program;
mod purge;
mod quality;
mod reap;
pub mod rest;
mod rooted;
mod security;
mod sessions;
mod ssh;
pub mod state;
mod still_in;
mod sudo;
mod sudo_files;
pub mod timer;
pub mod units;
pub mod watch;

use std::{
    collections::{BTreeMap, BTreeSet},
    error::Error,
    io,
    path::Path,
    sync::Arc,
};

use muster_proto::name::Login;

use self::{
    files::{Dir, Faults, FileError},
    inquiry::{Answers, Inquiry},
    probes::News,
    program::Programs,
    rest::{Looked, Remembered, Still},
    rooted::Staged,
};
use crate::{
    clock::Clocks,
    drift::{
        Difference, Touch,
        effect::{Asking, Expected},
    },
    format::{self, sudoers},
    inventory::{Other, Sources},
    observed::{ObservedState, Scope},
    plan::Action,
};

/// A host as `plan` and `apply` know it.
pub trait Host {
    /// Reads its clocks.
    fn clocks(&self) -> Clocks;

    /// Looks at everything once.
    fn observe(&mut self, scope: &Scope) -> Result<ObservedState, ObserveError>;

    /// Returns what an inventory takes besides the account files.
    fn sources(&mut self, observed: &ObservedState, others: &[Other]) -> Sources;

    /// Asks what the system makes of our files, as far as they are as they should be.
    fn effects(
        &mut self,
        observed: &ObservedState,
        expected: &Expected<'_>,
        asking: Asking,
    ) -> Vec<Difference>;

    /// Returns why PAM is not asked about single accounts though sshd asks it, as of the last time
    /// that the system was asked what it makes of our files.
    fn unasked(&self) -> Option<&str> {
        None
    }

    /// Returns what sudo and PAM are to be asked about single accounts, away from the keeper's work.
    fn inquiry(&mut self) -> Option<Inquiry> {
        None
    }

    /// Takes down what they said.
    fn hear(&mut self, _: Answers) -> News {
        News::None
    }

    /// Returns who made what sudo and PAM say of single accounts, as of the last time that the system
    /// was asked what it makes of our files: one for each, who is nobody where that is not known.
    fn heard_after(&self) -> Vec<Touch> {
        Vec::new()
    }

    /// Remembers what the last look saw, so that it can be said whether another would see the same.
    fn remember(&mut self);

    /// Gives up what the last look saw: a host with a thousand accounts holds none of them in memory
    /// while nothing happens, but for what is remembered.
    fn forget(&mut self);

    /// Says whether all is as it was at the look that is remembered.
    fn still(&mut self) -> Still;

    /// Writes what these actions will need, durably and under names that nobody reads. What fails
    /// here is reported when the action is done.
    fn prepare(&mut self, actions: &[&Action]);

    /// Does one action.
    fn perform(&mut self, action: &Action) -> Report;

    /// Cleans up after the actions of a phase and tells those who cache.
    fn settle(&mut self);
}

/// How an action went.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// Why nothing of it could be done.
    pub whole: Option<String>,
    /// Whether in that case the host is as it was.
    pub untouched: bool,
    /// Whether somebody else was at the same files meanwhile, so that it can be done once they have
    /// been looked at again.
    pub outrun: bool,
    /// Whose jobs had come back after the host was looked at, and were set aside.
    pub jobs_back: BTreeSet<Login>,
    /// Why something could not be done, by subject.
    pub failures: BTreeMap<String, String>,
    /// What exactly was done, by subject, where the plan could not know.
    pub details: BTreeMap<String, String>,
}

/// Why a host cannot be looked at, so that nothing can be planned.
#[derive(Debug, thiserror::Error)]
pub enum ObserveError {
    /// A file cannot be read.
    #[error("cannot read the accounts")]
    File(#[from] FileError),
    /// An account file is not one.
    #[error("`/etc/{name}` is not an account file")]
    Table {
        /// Which.
        name: &'static str,
        /// Why.
        #[source]
        source: crate::format::BadTable,
    },
    /// An account file that every system has.
    #[error("`/etc/{0}` is missing")]
    Missing(&'static str),
}

/// The machine.
#[derive(Debug)]
pub struct Linux {
    root: Dir,
    programs: Programs,
    staged: BTreeMap<&'static str, Staged>,
    homes: homes::Staged,
    accounts_changed: bool,
    /// Asked once: a newer sshd is known when the keeper is started again.
    sshd_knows_utc: Option<bool>,
    learnt: inventory::Learnt,
    effects: effects::Effects,
    looked: Option<Looked>,
    remembered: Option<Remembered>,
}

impl Linux {
    /// Opens the machine itself, and removes what an earlier life left half done.
    pub fn open(home_base: &str) -> Result<Self, FileError> {
        let host = Self::over(Path::new("/"), Programs::System, Arc::new(Faults::none()))?;
        host.clean(home_base)?;
        Ok(host)
    }

    /// Opens the machine only to look at it: another process may be half-way through a change.
    pub fn open_to_look() -> Result<Self, FileError> {
        Self::over(Path::new("/"), Programs::System, Arc::new(Faults::none()))
    }

    /// Makes ready to watch the machine. It takes `CAP_SYS_ADMIN` to be told who did something.
    pub fn watch() -> io::Result<watch::Watch> {
        let root = Dir::open(Path::new("/"), Arc::new(Faults::none())).map_err(io::Error::other)?;
        watch::Watch::open(root)
    }

    /// Opens another root, where no program is run and a fault can be made to happen.
    pub fn open_root(root: &Path, home_base: &str, faults: Arc<Faults>) -> Result<Self, FileError> {
        let host = Self::over(root, Programs::None, faults)?;
        host.clean(home_base)?;
        Ok(host)
    }

    /// Makes durable whatever was written on the file system of a directory.
    pub fn sync_file_system(path: &Path) -> Result<(), FileError> {
        let dir = Dir::open(path, Arc::new(Faults::none()))?;
        files::sync_file_systems(&[dir])
    }

    fn over(root: &Path, programs: Programs, faults: Arc<Faults>) -> Result<Self, FileError> {
        Ok(Self {
            root: Dir::open(root, faults)?,
            programs,
            staged: BTreeMap::new(),
            homes: homes::Staged::default(),
            accounts_changed: false,
            sshd_knows_utc: None,
            learnt: inventory::Learnt::default(),
            effects: effects::Effects::default(),
            looked: None,
            remembered: None,
        })
    }

    fn clean(&self, home_base: &str) -> Result<(), FileError> {
        let root = &self.root;
        if let Some(etc) = root.walk("etc")? {
            lock::clear_stale(&etc, &accounts::FILES, lock::boot_time(root)?)?;
        }
        let places = [
            "/etc",
            sudoers::DIRECTORY,
            format::ssh::KEYS_DIRECTORY,
            format::ssh::DROP_IN_DIRECTORY,
            format::pwquality::DIRECTORY,
        ];
        for place in places {
            if let Some(dir) = root.walk(place)? {
                dir.remove_leftovers()?;
            }
        }
        homes::remove_leftovers(root, home_base)
    }
}

impl Host for Linux {
    fn clocks(&self) -> Clocks {
        clocks::read()
    }

    fn observe(&mut self, scope: &Scope) -> Result<ObservedState, ObserveError> {
        let programs = self.programs;
        let sshd_knows_utc = *self.sshd_knows_utc.get_or_insert_with(|| ssh::knows_utc(programs));
        (self.looked, self.remembered) = (None, None);
        let (root, asked) = self.root.taking_down();
        let began = clocks::read().wall;
        let asking = (programs, sshd_knows_utc);
        let (observed, owners) = observe::observe(&root, &self.root, asking, scope)?;
        self.looked = Some(Looked::new(asked, began, owners, scope, &observed));
        Ok(observed)
    }

    fn remember(&mut self) {
        self.remembered = self.looked.take().and_then(|looked| looked.remember(&self.root));
    }

    fn forget(&mut self) {
        self.looked = None;
    }

    fn still(&mut self) -> Still {
        match &self.remembered {
            Some(remembered) if remembered.still(&self.root) == Still::AsItWas => {
                self.learnt.still(&self.root)
            }
            Some(_) | None => Still::Changed,
        }
    }

    fn sources(&mut self, observed: &ObservedState, others: &[Other]) -> Sources {
        self.learnt.sources(&self.root, self.programs, observed, others)
    }

    fn effects(
        &mut self,
        observed: &ObservedState,
        expected: &Expected<'_>,
        asking: Asking,
    ) -> Vec<Difference> {
        let place = (&self.root, self.programs);
        self.effects.ask(place, &mut self.learnt, observed, (expected, asking))
    }

    fn inquiry(&mut self) -> Option<Inquiry> {
        self.effects.inquiry()
    }

    fn unasked(&self) -> Option<&str> {
        self.effects.unasked()
    }

    fn hear(&mut self, answers: Answers) -> News {
        self.effects.hear(answers)
    }

    fn heard_after(&self) -> Vec<Touch> {
        self.effects.heard_after()
    }

    fn prepare(&mut self, actions: &[&Action]) {
        let mut touched: Vec<Dir> = Vec::new();
        for action in actions {
            match action {
                Action::Homes(homes) => {
                    self.homes = homes::stage(&self.root, homes);
                    touched.extend(self.homes.built().map(|staging| staging.place().clone()));
                }
                Action::Keys(files) => {
                    let staged = ssh::stage_keys(&self.root, files);
                    touched.extend(staged.place().cloned());
                    self.staged.insert("keys", staged);
                }
                Action::Sudo(files) => {
                    let staged = sudo::stage(&self.root, self.programs, files);
                    touched.extend(staged.place().cloned());
                    self.staged.insert("sudo", staged);
                }
                Action::DropIn(files) => {
                    let staged = ssh::stage_drop_in(&self.root, files);
                    touched.extend(staged.place().cloned());
                    self.staged.insert("drop-in", staged);
                }
                Action::PasswordPolicy(files) => {
                    let staged = quality::stage(&self.root, files);
                    touched.extend(staged.place().cloned());
                    self.staged.insert("password-policy", staged);
                }
                Action::Accounts(_)
                | Action::Jobs(_)
                | Action::Sessions(_)
                | Action::LeftBehind(_)
                | Action::Purge(_)
                | Action::Sweep(_) => {}
            }
        }
        let synced = files::sync_file_systems(&touched);
        if let Err(error) = synced {
            let reason = chain(&error);
            for staged in self.staged.values_mut() {
                staged.spoil(&reason);
            }
            self.homes.spoil(&reason);
        }
    }

    fn perform(&mut self, action: &Action) -> Report {
        match action {
            Action::Accounts(edits) => {
                let report = accounts::rewrite(&self.root, edits);
                self.accounts_changed |= report.whole.is_none();
                report
            }
            Action::Homes(homes) => homes::install(&self.homes, homes),
            Action::Keys(files) => {
                let staged = self.staged.remove("keys");
                staged.map_or_else(unprepared, |staged| staged.install(files))
            }
            Action::Sudo(files) => {
                let staged = self.staged.remove("sudo");
                let programs = self.programs;
                staged.map_or_else(unprepared, |staged| sudo::install(staged, programs, files))
            }
            Action::DropIn(files) => {
                let staged = self.staged.remove("drop-in");
                let programs = self.programs;
                staged
                    .map_or_else(unprepared, |staged| ssh::install_drop_in(staged, programs, files))
            }
            Action::PasswordPolicy(files) => {
                let staged = self.staged.remove("password-policy");
                staged.map_or_else(unprepared, |staged| staged.install(files))
            }
            Action::Jobs(leavers) => jobs::set_aside(&self.root, leavers),
            Action::Sessions(leavers) => sessions::end(&self.root, self.programs, leavers),
            Action::LeftBehind(departed) => left::tell(&self.root, departed),
            Action::Purge(purged) => {
                let report = purge::purge(&self.root, purged);
                self.accounts_changed |= report.whole.is_none();
                report
            }
            Action::Sweep(place) => purge::sweep(&self.root, place),
        }
    }

    fn settle(&mut self) {
        for (_, staged) in std::mem::take(&mut self.staged) {
            staged.discard();
        }
        std::mem::take(&mut self.homes).discard();
        if std::mem::take(&mut self.accounts_changed) {
            names::forget_cached(&self.root, self.programs);
        }
    }
}

impl Report {
    /// Nothing of it could be done.
    pub fn failed(reason: impl Into<String>) -> Self {
        Self { whole: Some(reason.into()), ..Self::default() }
    }
}

fn unprepared() -> Report {
    Report::failed("it was not prepared")
}

/// Returns an error with its causes, for reports.
pub fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        source = cause.source();
    }
    text
}
