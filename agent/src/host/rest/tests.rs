#![expect(clippy::disallowed_methods, reason = "a test builds its root")]

use std::{
    fs::{self, Permissions},
    os::unix::fs::{MetadataExt, PermissionsExt, chown, symlink},
    path::{Path, PathBuf},
};

use muster_proto::name::Login;

use super::*;
use crate::{
    host::{files::Faults, observe, program::Programs},
    observed::{Passwords, Wanted, WantedHome},
};

const PASSWD: &str = "root:x:0:0::/root:/bin/sh\n\
    ana:x:2001:2001::/home/ana:/bin/sh\n\
    ben:x:2002:2002::/home/ben:/bin/sh\n\
    cas:x:2003:2003::/home/cas:/bin/sh\n\
    dan:x:2004:2004::/home/dan:/bin/sh\n\
    eve:x:2005:2005::/home/eve:/bin/sh\n";

/// Of a distribution that has libpwquality.
const PAM: &str = "password requisite pam_pwquality.so retry=3\n\
    password [success=1 default=ignore] pam_unix.so obscure use_authtok try_first_pass yescrypt\n\
    password requisite pam_deny.so\npassword required pam_permit.so\n";

/// All that a look may come upon.
const FILES: &[(&str, u32, &str)] = &[
    ("etc/passwd", 0o644, PASSWD),
    ("etc/shadow", 0o640, "root:*:20000::::::\nana:*:20000::::::\n"),
    ("etc/group", 0o644, "root:x:0:\nana:x:2001:\n"),
    ("etc/gshadow", 0o640, "root:*::\nana:!::\n"),
    ("etc/subuid", 0o644, "ana:100000:65536\n"),
    ("etc/subgid", 0o644, "ana:100000:65536\n"),
    ("etc/sudoers", 0o440, "root ALL=(ALL:ALL) ALL\n"),
    ("etc/sudoers.d/50-muster-ops", 0o440, "ana ALL=(ALL) NOPASSWD: ALL\n"),
    ("etc/sudoers.d/other", 0o440, "ben ALL=(ALL) NOPASSWD: ALL\n"),
    ("etc/ssh/muster-keys/ana", 0o644, "ssh-ed25519 AAAA ana\n"),
    ("etc/ssh/sshd_config.d/00-muster.conf", 0o644, "Match Group muster-accounts\n"),
    ("etc/pam.d/passwd", 0o644, "@include common-password\n"),
    ("etc/pam.d/common-password", 0o644, PAM),
    ("etc/security/pwquality.conf", 0o644, "minlen = 8\n"),
    ("etc/security/pwquality.conf.d/50-muster.conf", 0o644, "minlen = 12\n"),
    ("etc/security/pwquality.conf.d/60-other.conf", 0o644, "minlen = 10\n"),
    ("var/spool/cron/crontabs/ben", 0o600, "@hourly id\n"),
    ("var/spool/cron/atjobs/a1", 0o700, "id\n"),
    ("var/lib/systemd/linger/cas", 0o644, ""),
    ("run/sudo/ts/dan", 0o600, "x"),
];

struct World {
    folder: tempfile::TempDir,
    root: Dir,
}

impl World {
    fn new() -> Self {
        let folder = tempfile::tempdir_in("/dev/shm").unwrap();
        for directory in ["home/ana", "home/.muster-purge", "proc/self", "run/sudo"] {
            fs::create_dir_all(folder.path().join(directory)).unwrap();
        }
        for (name, mode, text) in FILES {
            let path = folder.path().join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(&path, text).unwrap();
            fs::set_permissions(&path, Permissions::from_mode(*mode)).unwrap();
        }
        let root = Dir::open(folder.path(), Arc::new(Faults::none())).unwrap();
        Self { folder, root }
    }

    fn path(&self, below: &str) -> PathBuf {
        self.folder.path().join(below)
    }

    /// Looks, as if long after all was written.
    fn look(&self) -> Result<(ObservedState, Looked), crate::host::ObserveError> {
        let (root, asked) = self.root.taking_down();
        let asking = (Programs::None, true);
        let (observed, owners) = observe::observe(&root, &self.root, asking, &scope())?;
        let began = Timestamp(u64::MAX);
        let looked = Looked::new(asked, began, owners, &scope(), &observed);
        Ok((observed, looked))
    }

    /// Puts a process there, as `/proc` shows it.
    fn run(&self, pid: u32, uid: u32, groups: &str) {
        let place = self.path(&format!("proc/{pid}"));
        fs::create_dir_all(&place).unwrap();
        let uids = format!("{uid}\t{uid}\t{uid}\t{uid}");
        let text = format!("State:\tS\nUid:\t{uids}\nGroups:\t{groups}\nThreads:\t1\n");
        fs::write(place.join("status"), text).unwrap();
    }
}

fn scope() -> Scope {
    let login = |name: &str| Login::parse(name).unwrap();
    Scope {
        wanted: [(
            login("ana"),
            Wanted { uid: 2_001, home: WantedHome::Given("/home/ana".to_owned()) },
        )]
        .into(),
        leaving: [("ben", 2_002), ("cas", 2_003), ("dan", 2_004), ("eve", 2_005)]
            .map(|(name, uid)| (login(name), uid))
            .into(),
        home_base: "/home".to_owned(),
        uids: [(2_001, login("ana")), (2_002, login("ben"))].into(),
        passwords: Passwords::OfSomeLength,
    }
}

/// What somebody may do to a file or a directory.
type Change = fn(&Path);

const CHANGES: &[(&str, Change)] = &[
    ("other bytes, as many", |path| {
        let mut bytes = fs::read(path).unwrap_or_default();
        if let Some(last) = bytes.last_mut().filter(|last| **last == b'\n') {
            *last = b'#';
            fs::write(path, bytes).unwrap();
        }
    }),
    ("more bytes", |path| {
        if let Ok(bytes) = fs::read(path) {
            fs::write(path, [bytes.as_slice(), b"# more\n"].concat()).unwrap();
        }
    }),
    ("another mode", |path| fs::set_permissions(path, Permissions::from_mode(0o777)).unwrap()),
    ("another owner", |path| chown(path, Some(2_005), None).unwrap()),
    ("gone", |path| fs::rename(path, path.with_extension("away.away")).unwrap()),
    ("a link", |path| {
        let away = path.with_extension("away.away");
        fs::rename(path, &away).unwrap();
        symlink(away, path).unwrap();
    }),
    ("another name for it", |path| {
        if path.is_file() {
            fs::hard_link(path, path.with_extension("twin.twin")).unwrap();
        }
    }),
    ("one more beside it", |path| {
        fs::write(path.parent().unwrap().join("one-more"), "one more\n").unwrap();
    }),
    ("one more within", |path| {
        if path.is_dir() {
            fs::write(path.join("ben"), "one more\n").unwrap();
        }
    }),
];

fn all_below(path: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(path).unwrap() {
        let path = entry.unwrap().path();
        found.push(path.clone());
        if path.is_dir() {
            all_below(&path, found);
        }
    }
}

/// What happens within one tick of the clock is for [`Answers::had_settled`] to rule out.
///
/// [`Answers::had_settled`]: crate::host::files::Answers::had_settled
fn let_the_clock_tick(world: &World) {
    let probe = world.path("tick");
    let write = || {
        fs::write(&probe, "").unwrap();
        let found = fs::metadata(&probe).unwrap();
        (found.ctime(), found.ctime_nsec())
    };
    let first = write();
    while write() == first {}
}

#[test]
fn whatever_changes_what_a_look_sees_makes_the_next_one_full() {
    let mut names = Vec::new();
    let world = World::new();
    all_below(world.folder.path(), &mut names);
    let names: Vec<PathBuf> =
        names.iter().map(|p| p.strip_prefix(world.folder.path()).unwrap().to_owned()).collect();
    let mut seen = BTreeSet::new();
    for name in names.iter().filter(|name| !name.starts_with("proc")) {
        for (what, change) in CHANGES {
            let world = World::new();
            let (before, looked) = world.look().unwrap();
            let remembered = looked.remember(&world.root).unwrap();
            assert_eq!(remembered.still(&world.root), Still::AsItWas);
            let_the_clock_tick(&world);
            change(&world.folder.path().join(name));
            if world.look().map_or(true, |(after, _)| after != before) {
                let still = remembered.still(&world.root);
                assert_eq!(still, Still::Changed, "{}: {what}", name.display());
                seen.insert(name.clone());
            }
        }
    }
    let unseen: Vec<&str> =
        FILES.iter().map(|(name, ..)| *name).filter(|n| !seen.contains(Path::new(n))).collect();
    assert!(unseen.is_empty(), "nothing that was done to these was seen: {unseen:?}");
}

#[test]
fn somebodys_own_files_and_what_nobody_looks_at_change_nothing() {
    let world = World::new();
    let (_, looked) = world.look().unwrap();
    let remembered = looked.remember(&world.root).unwrap();
    fs::create_dir(world.path("home/ana/.cache")).unwrap();
    fs::write(world.path("home/ana/.bash_history"), "id\n").unwrap();
    fs::write(world.path("etc/hosts"), "127.0.0.1 localhost\n").unwrap();
    assert_eq!(remembered.still(&world.root), Still::AsItWas);
}

#[test]
fn a_process_of_whoever_shall_have_none_is_a_change_and_one_more_session_of_others_is_none() {
    let world = World::new();
    world.run(10, 2_001, "2001");
    let (_, looked) = world.look().unwrap();
    let remembered = looked.remember(&world.root).unwrap();
    world.run(11, 2_001, "2001");
    world.run(12, 3_000, "27");
    assert_eq!(remembered.still(&world.root), Still::AsItWas);
    world.run(13, 2_001, "2001 27");
    assert_eq!(remembered.still(&world.root), Still::Changed, "a Unix group that nobody held");
    fs::remove_dir_all(world.path("proc/13")).unwrap();
    assert_eq!(remembered.still(&world.root), Still::AsItWas);
    world.run(14, 2_002, "");
    assert_eq!(remembered.still(&world.root), Still::Changed);
}

#[test]
fn what_other_sources_were_asked_for_is_not_remembered() {
    let world = World::new();
    let path = world.path("etc/passwd");
    fs::write(path, "root:x:0:0::/root:/bin/sh\n").unwrap();
    let (observed, looked) = world.look().unwrap();
    assert_eq!(observed.elsewhere.len(), 1);
    assert!(looked.remember(&world.root).is_none());
}

#[test]
fn a_look_at_what_was_changed_just_before_it_is_not_remembered() {
    let world = World::new();
    let (_, looked) = world.look().unwrap();
    let looked = Looked { began: crate::host::clocks::read().wall, ..looked };
    assert!(looked.remember(&world.root).is_none());
}
