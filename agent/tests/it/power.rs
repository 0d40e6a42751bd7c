//! The disk after a power cut. A root lies on a file system of its own over a file: what ext4 has not
//! sent to its device is not in that file, so a copy of the file at any moment is the disk of a
//! machine whose power was cut just then, but for what the disk's own cache would lose. ext4 would
//! hide a sync that is missing: it writes a file out when it is renamed over another one, and
//! everything every five seconds. Both are off here. One thing it goes on hiding: any sync of a name
//! brings along every change of a name before it, so that of two in a row only the last is missed.
#![expect(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    reason = "a test makes disks, with the system's programs, and cuts their power"
)]

use std::{
    collections::{BTreeMap, BTreeSet},
    fs::{self, File},
    os::unix::{ffi::OsStrExt, fs::MetadataExt},
    path::{Path, PathBuf},
    process::Command,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
};

use muster_agent::{
    apply::{Reach, apply},
    clock::Clocks,
    drift::{
        Difference,
        effect::{Asking, Expected},
    },
    host::{Host, Linux, ObserveError, Report, files::Faults, rest::Still, state},
    inventory::{Other, Sources},
    observed::{ObservedState, Scope},
    ownership::Ownership,
    plan::Action,
};
use nix::{
    mount::{MntFlags, MsFlags, mount, umount2},
    sched::{CloneFlags, unshare},
};

use crate::{
    crash::{assert_finished, first, second},
    world::{Desired, Root, converge, look, need_root, tempdir},
};

const SIZE: u64 = 8 << 20;

fn run(program: &str, arguments: &[&str]) {
    let output = Command::new(program).args(arguments).output().unwrap();
    assert!(output.status.success(), "{program} {arguments:?}: {output:?}");
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

/// A root on a disk of its own.
struct Disk {
    root: Root,
    file: PathBuf,
    _place: tempfile::TempDir,
}

impl Disk {
    fn new() -> Self {
        let place = tempdir();
        let file = place.path().join("disk");
        File::create(&file).unwrap().set_len(SIZE).unwrap();
        run("mkfs.ext4", &["-q", "-b", "1024", text(&file)]);
        let root = Root::lay(mounted(&file));
        let disk = Self { root, file, _place: place };
        disk.sync();
        disk
    }

    fn of(image: &[u8]) -> Self {
        let place = tempdir();
        let file = place.path().join("disk");
        fs::write(&file, image).unwrap();
        let root = Root { dir: mounted(&file) };
        // Whoever starts again has been started after everything that lies there.
        root.write("proc/stat", 0o444, "btime 32503680000\n");
        Self { root, file, _place: place }
    }

    fn sync(&self) {
        Linux::sync_file_system(self.root.dir.path()).unwrap();
    }

    /// Returns the disk of the machine whose power is cut now.
    fn cut(&self) -> Self {
        Self::of(&fs::read(&self.file).unwrap())
    }
}

fn mounted(file: &Path) -> tempfile::TempDir {
    let dir = tempdir();
    let options = "loop,noauto_da_alloc,commit=900";
    run("mount", &["-t", "ext4", "-o", options, text(file), text(dir.path())]);
    dir
}

impl Drop for Disk {
    fn drop(&mut self) {
        umount2(self.root.dir.path(), MntFlags::MNT_DETACH).unwrap();
    }
}

/// Runs a test where nothing that it mounts outlives it.
fn alone(test: impl FnOnce() + Send + 'static) {
    need_root();
    let test = move || {
        unshare(CloneFlags::CLONE_NEWNS).unwrap();
        let private = MsFlags::MS_REC | MsFlags::MS_PRIVATE;
        mount(None::<&str>, "/", None::<&str>, private, None::<&str>).unwrap();
        test();
    };
    if let Err(panic) = thread::spawn(test).join() {
        std::panic::resume_unwind(panic);
    }
}

/// What lies under a name: mode, owner, Unix group and content.
type Entry = (u32, u32, u32, Vec<u8>);

/// What lies under each name that somebody reads.
type Tree = BTreeMap<PathBuf, Entry>;

fn tree(root: &Root) -> Tree {
    let mut tree = Tree::new();
    collect(root.dir.path(), root.dir.path(), &mut tree);
    tree
}

fn collect(root: &Path, directory: &Path, into: &mut Tree) {
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap();
        let unread = name.starts_with(".muster-") && name != ".muster-set-aside";
        let lock = path.extension().is_some_and(|extension| extension == "lock");
        if unread || lock || ["lost+found", "proc", BYSTANDER].contains(&name) {
            continue;
        }
        let found = fs::symlink_metadata(&path).unwrap();
        let content = if found.is_dir() {
            collect(root, &path, into);
            Vec::new()
        } else if found.is_symlink() {
            fs::read_link(&path).unwrap().as_os_str().as_bytes().to_vec()
        } else {
            fs::read(&path).unwrap()
        };
        let entry = (found.mode(), found.uid(), found.gid(), content);
        into.insert(path.strip_prefix(root).unwrap().to_owned(), entry);
    }
}

/// What somebody else writes on the same disk.
const BYSTANDER: &str = "bystander";

/// How much of what was not synced has come to the disk by itself when the power is cut.
#[derive(Clone, Copy)]
enum Luck {
    /// Nothing.
    None,
    /// All that was done to names, and nothing that was written into files: what somebody else's
    /// fsync brings to the disk.
    Names,
}

/// Cuts the power at every step, and looks at what is left.
struct Cuts {
    luck: Luck,
    live: PathBuf,
    file: PathBuf,
    /// What each name has stood for until now.
    versions: BTreeMap<PathBuf, BTreeSet<Option<Entry>>>,
    image: Vec<u8>,
    to: Desired,
    saved: Ownership,
    steps: u64,
    /// How many different disks were left.
    left: Arc<AtomicUsize>,
}

impl Cuts {
    fn at(&mut self, point: &str) {
        self.steps += 1;
        self.note();
        if let Luck::Names = self.luck {
            let bystander = File::create(self.live.join(BYSTANDER)).unwrap();
            bystander.set_len(self.steps).unwrap();
            bystander.sync_all().unwrap();
        }
        let image = fs::read(&self.file).unwrap();
        if image == self.image {
            return;
        }
        self.image = image;
        self.left.fetch_add(1, Ordering::Relaxed);
        let left = Disk::of(&self.image);
        let found = tree(&left.root);
        for (path, versions) in &self.versions {
            let entry = found.get(path).cloned();
            assert!(versions.contains(&entry), "{} at {point}: {entry:?}", path.display());
        }
        for path in found.keys() {
            assert!(self.versions.contains_key(path), "{} at {point}", path.display());
        }
        let point = format!("step {}, {point}", self.steps);
        assert_finished(&left.root, &self.to, &mut self.saved.clone(), point);
    }

    fn note(&mut self) {
        let mut now = Tree::new();
        collect(&self.live, &self.live, &mut now);
        for path in now.keys() {
            // What is new was not there before.
            self.versions.entry(path.clone()).or_insert_with(|| BTreeSet::from([None]));
        }
        for (path, versions) in &mut self.versions {
            versions.insert(now.get(path).cloned());
        }
    }
}

/// Goes from one state to another with the power cut at every step, and says how many different disks
/// that left.
fn cut_everywhere(luck: Luck, from: Option<&Desired>, to: &Desired) -> usize {
    let disk = Disk::new();
    let mut saved = Ownership::default();
    if let Some(from) = from {
        converge(&mut disk.root.host(), from, &mut saved);
        disk.sync();
    }
    let (_, plan) = look(&mut disk.root.host(), to, &saved);
    let cuts = Arc::new(AtomicUsize::new(0));
    let at_first = tree(&disk.root).into_iter();
    let mut all = Cuts {
        luck,
        live: disk.root.dir.path().to_owned(),
        file: disk.file.clone(),
        versions: at_first.map(|(path, entry)| (path, BTreeSet::from([Some(entry)]))).collect(),
        image: Vec::new(),
        to: to.clone(),
        // The keeper saves this first; what apply returns is lost in the cut.
        saved: plan.ownership_after.clone(),
        steps: 0,
        left: Arc::clone(&cuts),
    };
    let faults = Faults::at(move |point| {
        all.at(point);
        false
    });
    let mut host = disk.root.host_with(faults);
    let applied = apply(&plan, Reach::Everything, &saved, &mut host);
    assert!(applied.outcomes.iter().all(|outcome| outcome.failure.is_none()), "{applied:?}");
    cuts.load(Ordering::Relaxed)
}

#[test]
fn a_power_cut_anywhere_while_granting_leaves_whole_files_and_is_finished_by_the_next_start() {
    alone(|| {
        let cuts = [Luck::None, Luck::Names].map(|luck| cut_everywhere(luck, None, &first()));
        assert!(cuts[0] > 5 && cuts[1] > 50, "{cuts:?}");
    });
}

#[test]
fn a_power_cut_anywhere_while_revoking_leaves_whole_files_and_is_finished_by_the_next_start() {
    alone(|| {
        let cut = |luck| cut_everywhere(luck, Some(&first()), &second());
        let cuts = [Luck::None, Luck::Names].map(cut);
        assert!(cuts[0] > 5 && cuts[1] > 50, "{cuts:?}");
    });
}

/// The machine, whose power is cut whenever it has reported something as done.
struct Reporting<'a> {
    host: Linux,
    disk: &'a Disk,
    done: usize,
}

impl Host for Reporting<'_> {
    fn clocks(&self) -> Clocks {
        self.host.clocks()
    }

    fn observe(&mut self, scope: &Scope) -> Result<ObservedState, ObserveError> {
        self.host.observe(scope)
    }

    fn sources(&mut self, observed: &ObservedState, others: &[Other]) -> Sources {
        self.host.sources(observed, others)
    }

    fn effects(
        &mut self,
        observed: &ObservedState,
        expected: &Expected<'_>,
        asking: Asking,
    ) -> Vec<Difference> {
        self.host.effects(observed, expected, asking)
    }

    fn remember(&mut self) {
        self.host.remember();
    }

    fn forget(&mut self) {
        self.host.forget();
    }

    fn still(&mut self) -> Still {
        self.host.still()
    }

    fn prepare(&mut self, actions: &[&Action]) {
        self.host.prepare(actions);
    }

    fn perform(&mut self, action: &Action) -> Report {
        let report = self.host.perform(action);
        assert_eq!((&report.whole, report.failures.len()), (&None, 0), "{action:?}");
        let (mut left, live) = (tree(&self.disk.cut().root), tree(&self.disk.root));
        for (path, entry) in live {
            let found = left.remove(&path);
            assert_eq!(found, Some(entry), "{} after {action:?}", path.display());
        }
        assert!(left.is_empty(), "{:?} after {action:?}", left.keys());
        self.done += 1;
        report
    }

    fn settle(&mut self) {
        self.host.settle();
    }
}

#[test]
fn what_is_reported_as_done_is_done_after_a_power_cut() {
    alone(|| {
        let disk = Disk::new();
        let mut host = Reporting { host: disk.root.host(), disk: &disk, done: 0 };
        let mut saved = Ownership::default();
        converge(&mut host, &first(), &mut saved);
        let granted = host.done;
        disk.root.write("var/spool/cron/crontabs/ben", 0o600, "* * * * * true\n");
        disk.sync();
        converge(&mut host, &second(), &mut saved);
        assert!(granted >= 5 && host.done >= granted + 5, "{granted}, {}", host.done);
    });
}

#[test]
fn what_the_agent_remembers_is_remembered_after_a_power_cut() {
    alone(|| {
        let disk = Disk::new();
        let name = "var/lib/ledger";
        for text in ["the first", "another one, which is longer", "short"] {
            state::replace(&disk.root.path(name), text.as_bytes(), 0o600).unwrap();
            assert_eq!(disk.cut().root.read(name), text);
        }
    });
}
