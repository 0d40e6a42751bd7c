//! How long a host takes to get 1,000 accounts, and to look at them when nothing is to be done,
//! beside the floor: the least that any program has to do for the same files to be there and
//! durable. Needs root. `cargo bench --bench converge [-- ours|floor]`; with an argument only that
//! one runs, once, for counting its system calls with strace.
#![expect(clippy::disallowed_methods, reason = "a benchmark builds its root and measures")]
#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "it is a measurement that people read"
)]

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write as _,
    fs::{self, File, Permissions},
    io::Write as _,
    os::unix::fs::{PermissionsExt, chown},
    path::Path,
    sync::Arc,
    time::{Duration, Instant},
};

use muster_agent::{
    apply::apply,
    host::{Host, Linux, files::Faults},
    observed::Scope,
    ownership::Ownership,
    plan::plan,
    policy::HostPolicy,
};
use muster_proto::{
    desired::{Account, AccountGrant, DesiredState, UnixGroupGrant},
    id::Id,
    key::SshPublicKey,
    name::{AbsolutePath, FullName, Gid, Line, Login, ObjectName, Uid, UnixGroupName},
    receipt::{Convergence, HostMode},
    statement::{LoginMethod, MemberList, Restrictions, UnixGroupMode, UserKey, UserKind},
    sudo::{RunAs, RunAsUser, SudoCommand, SudoPassword, SudoRule},
    time::Timestamp,
};

const ACCOUNTS: u32 = 1_000;
const RUNS: usize = 5;
const NOW: Timestamp = Timestamp(1_795_305_909);

fn name(at: u32) -> String {
    format!("user{at}")
}

fn key(user: u32, which: u8) -> (UserKey, Restrictions) {
    let mut blob = vec![0, 0, 0, 11];
    blob.extend(b"ssh-ed25519");
    blob.extend([0, 0, 0, 32]);
    blob.extend([which; 28]);
    blob.extend(user.to_be_bytes());
    let key = SshPublicKey::from_blob(&blob).unwrap();
    (UserKey { key, comment: Line::parse("bench").unwrap() }, Restrictions::default())
}

fn desired() -> DesiredState {
    let mut state = DesiredState::default();
    let teams = (0..10).map(|team| UnixGroupName::parse(&format!("team{team}")).unwrap());
    let teams: Vec<UnixGroupName> = teams.collect();
    for (team, gid) in teams.iter().zip(40_000..) {
        let gid = Gid::parse(gid).unwrap();
        let grant = UnixGroupGrant { name: team.clone(), gid, members: MemberList::AtLeast };
        state.unix_groups.insert(team.clone(), grant);
    }
    let rule = SudoRule {
        run_as: RunAs { user: RunAsUser::Any, group: None },
        commands: vec![SudoCommand::parse("/usr/bin/id").unwrap()],
        password: SudoPassword::None,
        noexec: false,
        directory: None,
    };
    for at in 0..ACCOUNTS {
        let login = Login::parse(&name(at)).unwrap();
        let team = teams.iter().cycle().nth(usize::try_from(at).unwrap() % 10).unwrap();
        let account = Account {
            grant: AccountGrant {
                user: Id::Object([1; 16]),
                uid: Uid::parse(10_000 + at).unwrap(),
                name: FullName::parse("Bench User").unwrap(),
                shell: None,
                home: None,
                kind: UserKind::Person,
            },
            adopts: None,
            keys: BTreeSet::from([key(at, 1), key(at, 2)]),
            methods: BTreeSet::from([LoginMethod::Key]),
            unix_group_mode: UnixGroupMode::AtLeast,
            unix_groups: BTreeSet::from([team.clone()]),
            host_unix_groups: BTreeSet::new(),
            password: None,
            assignments: BTreeSet::from([Id::Object([2; 16])]),
        };
        state.accounts.insert(login.clone(), account);
        let role = ObjectName::parse(&format!("role{}", at / 10)).unwrap();
        state.sudo.entry(role).or_default().entry(rule.clone()).or_default().insert(login);
    }
    state
}

fn policy() -> HostPolicy {
    HostPolicy {
        mode: HostMode::Enforce,
        default_shell: AbsolutePath::parse("/bin/bash").unwrap(),
        home_base: AbsolutePath::parse("/home").unwrap(),
        protected: BTreeSet::new(),
        uid_ranges: vec![1_000..=59_999],
        refused_roles: BTreeSet::new(),
    }
}

fn fresh(base: &Path, label: &str) -> std::path::PathBuf {
    let root = base.join(label);
    for dir in ["etc/sudoers.d", "etc/ssh/sshd_config.d", "etc/skel", "home", "proc"] {
        fs::create_dir_all(root.join(dir)).unwrap();
    }
    for (file, mode, text) in [
        ("passwd", 0o644, "root:x:0:0:root:/root:/bin/bash\n"),
        ("shadow", 0o640, "root:*:20000:0:99999:7:::\n"),
        ("group", 0o644, "root:x:0:\n"),
        ("gshadow", 0o640, "root:*::\n"),
        ("skel/.bashrc", 0o644, "# bashrc\n"),
        ("skel/.profile", 0o644, "# profile\n"),
        ("skel/.bash_logout", 0o644, "# logout\n"),
    ] {
        let path = root.join("etc").join(file);
        fs::write(&path, text).unwrap();
        fs::set_permissions(&path, Permissions::from_mode(mode)).unwrap();
    }
    root
}

/// Everything written, one syncfs, the account files synced and renamed, `/etc` synced.
fn floor(root: &Path, desired: &DesiredState) {
    let etc = root.join("etc");
    let skel: Vec<_> = fs::read_dir(etc.join("skel"))
        .unwrap()
        .map(|entry| entry.unwrap())
        .map(|entry| (entry.file_name(), fs::read(entry.path()).unwrap()))
        .collect();
    let read = |name: &str| fs::read_to_string(etc.join(name)).unwrap();
    let mut texts: BTreeMap<&str, String> =
        ["passwd", "shadow", "group", "gshadow"].map(|name| (name, read(name))).into();
    let keys_dir = etc.join("ssh/muster-keys");
    fs::create_dir_all(&keys_dir).unwrap();
    for (login, account) in &desired.accounts {
        let uid = account.grant.uid;
        let home = root.join("home").join(login.as_str());
        fs::create_dir(&home).unwrap();
        for (name, bytes) in &skel {
            fs::write(home.join(name), bytes).unwrap();
            chown(home.join(name), Some(uid.get()), Some(uid.get())).unwrap();
        }
        fs::set_permissions(&home, Permissions::from_mode(0o700)).unwrap();
        chown(&home, Some(uid.get()), Some(uid.get())).unwrap();
        let keys = muster_agent::format::ssh::key_file(&account.keys);
        fs::write(keys_dir.join(login.as_str()), keys).unwrap();
        let add = |texts: &mut BTreeMap<&str, String>, name: &str, line: String| {
            texts.get_mut(name).unwrap().push_str(&line);
        };
        let line = format!("{login}:x:{uid}:{uid}:Bench User:/home/{login}:/bin/bash\n");
        add(&mut texts, "passwd", line);
        add(&mut texts, "shadow", format!("{login}:*:20778::::::\n"));
        add(&mut texts, "group", format!("{login}:x:{uid}:\n"));
        add(&mut texts, "gshadow", format!("{login}:!::\n"));
    }
    for (name, group) in &desired.unix_groups {
        let members: Vec<&str> = desired
            .accounts
            .iter()
            .filter(|(_, account)| account.unix_groups.contains(name))
            .map(|(login, _)| login.as_str())
            .collect();
        let line = format!("{name}:x:{}:{}\n", group.gid, members.join(","));
        texts.get_mut("group").unwrap().push_str(&line);
    }
    for (role, rules) in &desired.sudo {
        let mut text = String::new();
        for login in rules.values().flatten() {
            writeln!(text, "{login} ALL=(ALL) NOPASSWD: /usr/bin/id").unwrap();
        }
        let path = etc.join("sudoers.d").join(format!("50-muster-{role}"));
        fs::write(&path, text).unwrap();
        fs::set_permissions(path, Permissions::from_mode(0o440)).unwrap();
    }
    let dir = File::open(&etc).unwrap();
    Linux::sync_file_system(root).unwrap();
    for (name, text) in texts {
        let temp = etc.join(format!("{name}.new"));
        let mut file = File::create(&temp).unwrap();
        file.write_all(text.as_bytes()).unwrap();
        file.sync_all().unwrap();
        fs::rename(temp, etc.join(name)).unwrap();
    }
    dir.sync_all().unwrap();
}

/// Four files parsed, homes looked at, keys and sudo files read.
fn floor_check(root: &Path, desired: &DesiredState) {
    let etc = root.join("etc");
    let mut fields = 0;
    for name in ["passwd", "shadow", "group", "gshadow"] {
        let text = fs::read_to_string(etc.join(name)).unwrap();
        let entries: BTreeMap<&str, Vec<&str>> = text
            .lines()
            .map(|line| (line.split(':').next().unwrap(), line.split(':').collect()))
            .collect();
        fields += entries.values().map(Vec::len).sum::<usize>();
    }
    for login in desired.accounts.keys() {
        fs::symlink_metadata(root.join("home").join(login.as_str())).unwrap();
        let path = etc.join("ssh/muster-keys").join(login.as_str());
        fields += fs::metadata(&path).unwrap().permissions().mode() as usize;
        fields += fs::read(path).unwrap().len();
    }
    for entry in fs::read_dir(etc.join("sudoers.d")).unwrap() {
        fields += fs::read(entry.unwrap().path()).unwrap().len();
    }
    assert!(fields > 0);
}

fn ours(root: &Path, desired: &DesiredState, owned: &mut Ownership) -> usize {
    let mut host = Linux::open_root(root, "/home", Arc::new(Faults::none())).unwrap();
    let observed = host.observe(&Scope::of(desired, owned, &policy())).unwrap();
    let plan = plan(&observed, desired, owned, &policy(), NOW);
    let applied = apply(&plan, owned, &mut host);
    assert_eq!(applied.convergence, Convergence::Done);
    *owned = applied.ownership;
    plan.actions.len()
}

fn best(mut run: impl FnMut(usize) -> Duration) -> Duration {
    (0..RUNS).map(&mut run).min().unwrap()
}

fn timed(run: impl FnOnce()) -> Duration {
    let started = Instant::now();
    run();
    started.elapsed()
}

fn main() {
    let base = tempfile::tempdir_in("/var/tmp").unwrap();
    let desired = desired();
    let which = std::env::args().skip(1).find(|argument| !argument.starts_with('-'));
    match which.as_deref() {
        Some("floor") => return floor(&fresh(base.path(), "floor"), &desired),
        Some("ours") => {
            ours(&fresh(base.path(), "ours"), &desired, &mut Ownership::default());
            return;
        }
        _ => {}
    }
    let mut owned = Ownership::default();
    let mut last = base.path().to_owned();
    let mut least_floor = Duration::MAX;
    // Side by side, so that both meet the same weather.
    let least_ours = best(|run| {
        let root = fresh(base.path(), &format!("floor{run}"));
        Linux::sync_file_system(&root).unwrap();
        least_floor = least_floor.min(timed(|| floor(&root, &desired)));
        let root = fresh(base.path(), &format!("ours{run}"));
        Linux::sync_file_system(&root).unwrap();
        owned = Ownership::default();
        let took = timed(|| {
            ours(&root, &desired, &mut owned);
        });
        last = root;
        took
    });
    let check = best(|_| timed(|| assert_eq!(ours(&last, &desired, &mut owned), 0)));
    let check_floor = best(|_| timed(|| floor_check(&last, &desired)));
    let line = |what: &str, ours: Duration, floor: Duration| {
        let ratio = ours.as_secs_f64() / floor.as_secs_f64();
        println!("{what:24} ours {ours:>9.1?}   floor {floor:>9.1?}   {ratio:.2} times");
    };
    println!("{ACCOUNTS} accounts, best of {RUNS}");
    line("from empty, durable", least_ours, least_floor);
    line("nothing to do", check, check_floor);
}
