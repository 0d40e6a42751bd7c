//! How long a host takes to get 1,000 accounts, and to look at them when nothing is to be done,
//! beside the floor (the least that any program has to do for the same files to be there and
//! durable) and beside a loop of useradd and install. Needs root.
//!
//! ```text
//! converge                                      all times, and their ratios
//! converge times ACCOUNTS FOLDER [IMAGE]        the same, in a folder that is left as it then is;
//!                                               with the root of a Debian host for the loop
//! converge ours|floor ACCOUNTS FOLDER           one of them once, for counting system calls
//! converge again|floor-again ACCOUNTS FOLDER    the same, and a check after it
//! ```
#![expect(clippy::disallowed_methods, reason = "a benchmark builds its root and measures")]
#![expect(clippy::disallowed_types, reason = "the loop of programs is one")]
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
    os::unix::fs::{MetadataExt, PermissionsExt, chown},
    path::{Path, PathBuf},
    process::Command,
    sync::Arc,
    time::{Duration, Instant},
};

use muster_agent::{
    accepted_keys::AcceptedKeys,
    apply::{Reach, apply},
    host::{Host, Linux, files::Faults, rest::Still},
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
    options::KeyOptions,
    receipt::{Convergence, HostMode},
    statement::{
        HomeMode, LoginMethod, MemberList, Restrictions, UnixGroupMode, UserKey, UserKind,
    },
    sudo::{RunAs, RunAsUser, SudoCommand, SudoPassword, SudoRule},
    time::Timestamp,
};

const RUNS: usize = 5;
/// These take so little that more of them meet calm weather.
const PASSES: usize = 25;
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
    (
        UserKey { key, comment: Line::parse("bench").unwrap(), options: KeyOptions::default() },
        Restrictions::default(),
    )
}

fn desired(accounts: u32) -> DesiredState {
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
    for at in 0..accounts {
        let login = Login::parse(&name(at)).unwrap();
        let team = teams.iter().cycle().nth(usize::try_from(at).unwrap() % 10).unwrap();
        let account = Account {
            grant: AccountGrant {
                user: Id::Object([1; 16]),
                uid: Uid::parse(10_000 + at).unwrap(),
                name: FullName::parse("Bench User").unwrap(),
                shell: None,
                home: None,
                home_mode: None,
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
            ends: None,
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
        home_mode: HomeMode::parse("0700").unwrap(),
        protected: BTreeSet::new(),
        break_glass: BTreeSet::new(),
        uid_ranges: vec![1_000..=59_999],
        purge_after_days: None,
        refused_roles: BTreeSet::new(),
        accepted_keys: AcceptedKeys::default(),
    }
}

fn fresh(base: &Path, label: &str) -> PathBuf {
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
        let keys = muster_agent::format::ssh::key_file(&account.keys, None);
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
    let applied = apply(&plan, Reach::Everything, owned, &mut host);
    assert_eq!(applied.convergence, Convergence::Done);
    *owned = applied.ownership;
    plan.actions.len()
}

/// Looks at each home, each key file and whatever else there is, and at nothing that is in them.
fn stat_pass(root: &Path, desired: &DesiredState) {
    let etc = root.join("etc");
    let mut modes = 0;
    for name in ["passwd", "shadow", "group", "gshadow", "ssh/muster-keys", "sudoers.d"] {
        modes += fs::symlink_metadata(etc.join(name)).unwrap().mode();
    }
    let (homes, keys) = (root.join("home"), etc.join("ssh/muster-keys"));
    for login in desired.accounts.keys() {
        modes += fs::symlink_metadata(homes.join(login.as_str())).unwrap().mode();
        modes += fs::symlink_metadata(keys.join(login.as_str())).unwrap().mode();
    }
    for role in desired.sudo.keys() {
        let path = etc.join("sudoers.d").join(format!("50-muster-{role}"));
        modes += fs::symlink_metadata(path).unwrap().mode();
    }
    assert!(modes > 0);
}

/// What the keeper does at a scan when nothing was changed since the last.
fn still(host: &mut Linux) {
    assert_eq!(host.still(), Still::AsItWas);
}

/// What one run cost: the time until it was done, and of that the time on a processor.
#[derive(Clone, Copy)]
struct Cost {
    wall: Duration,
    cpu: Duration,
}

impl Cost {
    fn of(run: impl FnOnce()) -> Self {
        let (started, before) = (Instant::now(), on_cpu());
        run();
        Self { wall: started.elapsed(), cpu: on_cpu().saturating_sub(before) }
    }
}

/// This process has one thread, whose time on a processor the kernel keeps in nanoseconds, and
/// brings up to date when the thread yields.
fn on_cpu() -> Duration {
    std::thread::yield_now();
    let text = fs::read_to_string("/proc/self/schedstat").unwrap();
    Duration::from_nanos(text.split(' ').next().unwrap().parse().unwrap())
}

fn best(costs: &[Cost]) -> Cost {
    *costs.iter().min_by_key(|cost| cost.wall).unwrap()
}

/// The loop in a copy of the image, with the same keys and sudo rules as ours.
fn useradd_loop(base: &Path, image: &str, accounts: u32, input: &Path, run: usize) -> Cost {
    let work = base.join(format!("loop{run}"));
    fs::create_dir(&work).unwrap();
    let done = Command::new("unshare")
        .args(["--mount", "--propagation", "private"])
        .arg(concat!(env!("CARGO_MANIFEST_DIR"), "/benches/useradd-loop"))
        .args([image.as_ref(), input, &work])
        .arg(accounts.to_string())
        .output()
        .unwrap();
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    let text = String::from_utf8(done.stdout).unwrap();
    let seconds: Vec<f64> = text.split_whitespace().map(|word| word.parse().unwrap()).collect();
    let &[wall, user, system] = seconds.as_slice() else { panic!("not three numbers: {text}") };
    Cost { wall: Duration::from_secs_f64(wall), cpu: Duration::from_secs_f64(user + system) }
}

/// Keys and sudo rules for the loop, as ours wrote them.
fn input(base: &Path, root: &Path) -> PathBuf {
    let input = base.join("input");
    for (from, to) in [("etc/ssh/muster-keys", "keys"), ("etc/sudoers.d", "sudo")] {
        let to = input.join(to);
        fs::create_dir_all(&to).unwrap();
        for entry in fs::read_dir(root.join(from)).unwrap() {
            let entry = entry.unwrap();
            fs::copy(entry.path(), to.join(entry.file_name())).unwrap();
        }
    }
    input
}

/// The first over the second.
fn line(what: &str, first: (&str, Cost), second: (&str, Cost)) {
    let ratio = first.1.wall.as_secs_f64() / second.1.wall.as_secs_f64();
    print!("{what:20}");
    for (name, cost) in [first, second] {
        print!("  {name:5} {:>8.1?} ({:>8.1?} cpu)", cost.wall, cost.cpu);
    }
    println!("  {}/{} {ratio:.2}", first.0, second.0);
}

fn times(accounts: u32, base: &Path, image: Option<&str>) {
    let desired = desired(accounts);
    let mut owned = Ownership::default();
    let mut last = base.to_owned();
    let (mut all_ours, mut floors, mut loops) = (Vec::new(), Vec::new(), Vec::new());
    // Side by side, so that all meet the same weather.
    for run in 0..RUNS {
        let root = fresh(base, &format!("floor{run}"));
        Linux::sync_file_system(&root).unwrap();
        floors.push(Cost::of(|| floor(&root, &desired)));
        let root = fresh(base, &format!("ours{run}"));
        Linux::sync_file_system(&root).unwrap();
        owned = Ownership::default();
        all_ours.push(Cost::of(|| {
            ours(&root, &desired, &mut owned);
        }));
        if let Some(image) = image {
            let input = input(base, &root);
            loops.push(useradd_loop(base, image, accounts, &input, run));
        }
        last = root;
    }
    let (mut checks, mut floor_checks) = (Vec::new(), Vec::new());
    for _ in 0..RUNS {
        checks.push(Cost::of(|| assert_eq!(ours(&last, &desired, &mut owned), 0)));
        floor_checks.push(Cost::of(|| floor_check(&last, &desired)));
    }
    let mut host = Linux::open_root(&last, "/home", Arc::new(Faults::none())).unwrap();
    // Until nothing is so young that it might yet change unseen.
    let settled = Instant::now();
    while host.still() == Still::Changed {
        assert!(settled.elapsed() < Duration::from_secs(30), "it does not settle");
        host.observe(&Scope::of(&desired, &owned, &policy())).unwrap();
        host.remember();
    }
    let (mut passes, mut stats) = (Vec::new(), Vec::new());
    for _ in 0..PASSES {
        passes.push(Cost::of(|| still(&mut host)));
        stats.push(Cost::of(|| stat_pass(&last, &desired)));
    }
    let load = fs::read_to_string("/proc/loadavg").unwrap();
    println!("{accounts} accounts, best of {RUNS}, load {}", load.split(' ').next().unwrap());
    let ours = ("ours", best(&all_ours));
    line("from empty, durable", ours, ("floor", best(&floors)));
    if loops.is_empty() {
        println!("no image was named: the loop of useradd and install was not run");
    } else {
        line("from empty, durable", ("loop", best(&loops)), ours);
    }
    line("nothing to do", ("ours", best(&checks)), ("floor", best(&floor_checks)));
    line("nothing changed", ("pass", best(&passes)), ("stat", best(&stats)));
}

fn main() {
    let arguments: Vec<String> =
        std::env::args().skip(1).filter(|argument| !argument.starts_with('-')).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let [what, accounts, folder, image @ ..] = words.as_slice() else {
        let folder = tempfile::tempdir_in("/var/tmp").unwrap();
        return times(1_000, folder.path(), None);
    };
    let (accounts, folder) = (accounts.parse().unwrap(), Path::new(folder));
    match *what {
        "times" => times(accounts, folder, image.first().copied()),
        "ours" | "again" => {
            let (root, desired) = (fresh(folder, what), desired(accounts));
            let mut owned = Ownership::default();
            ours(&root, &desired, &mut owned);
            if *what == "again" {
                assert_eq!(ours(&root, &desired, &mut owned), 0);
            }
        }
        "floor" | "floor-again" => {
            let (root, desired) = (fresh(folder, what), desired(accounts));
            floor(&root, &desired);
            if *what == "floor-again" {
                floor_check(&root, &desired);
            }
        }
        other => panic!("there is no `{other}`"),
    }
}
