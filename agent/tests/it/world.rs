//! The smallest world for a test: a temporary root or a fake host, and desired states in a few
//! words.
#![expect(clippy::disallowed_methods, reason = "a test builds its root")]

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    os::unix::fs::{MetadataExt, PermissionsExt},
    path::{Path, PathBuf},
    sync::Arc,
};

use muster_agent::{
    accepted_keys::AcceptedKeys,
    apply::{Applied, Reach, apply},
    format::{Edit, Value},
    host::{Host, Linux, files::Faults},
    observed::{ObservedState, Scope},
    ownership::Ownership,
    plan::{AccountEdits, Action, Plan, plan},
    policy::{AccountName, HostPolicy},
};
use muster_proto::{
    desired::{Account, AccountGrant, DesiredState, UnixGroupGrant},
    id::Id,
    key::SshPublicKey,
    name::{AbsolutePath, FullName, Gid, Line, Login, ObjectName, Uid, UnixGroupName},
    options::KeyOptions,
    receipt::HostMode,
    statement::{
        HomeMode, LoginMethod, MemberList, PasswordPolicy, Restrictions, UnixGroupMode, UserKey,
        UserKind,
    },
    sudo::{RunAs, RunAsUser, SudoCommand, SudoPassword, SudoRule},
    time::Timestamp,
};

pub const NOW: Timestamp = Timestamp(1_795_305_909);

pub const PASSWD: &str = "# local accounts\n\
    root:x:0:0:root:/root:/bin/bash\n\
    broken line\n\
    bin:x:2:2:bin:/bin:/usr/sbin/nologin\n\
    admin:x:1400:2:Protected:/root:/bin/sh\n\
    eve:x:1500:1500:Eve,Room 1:/home/eve:/bin/sh\n\
    +@admins::::::\n";
pub const SHADOW: &str = "root:$6$root:20000:0:99999:7:::\n\
    bin:*:20000::::::\n\
    admin:*:20000::::::\n\
    eve:$6$eve$hash:20000:0:99999:7:::\n";
pub const GROUP: &str = "root:x:0:\nbin:x:2:\nsudo:x:27:eve\ndocker:x:999:\neve:x:1500:\n+:::\n";
pub const GSHADOW: &str = "root:*::\nbin:*::\nsudo:*::eve\ndocker:!::\neve:!::\n";

/// As libpam-pwquality has it.
const COMMON_PASSWORD: &str = "password requisite pam_pwquality.so retry=3\n\
    password [success=1 default=ignore] pam_unix.so obscure use_authtok try_first_pass yescrypt\n\
    password requisite pam_deny.so\npassword required pam_permit.so\n";

pub fn login(text: &str) -> Login {
    Login::parse(text).unwrap()
}

pub fn unix_group(text: &str) -> UnixGroupName {
    UnixGroupName::parse(text).unwrap()
}

pub fn policy() -> HostPolicy {
    HostPolicy {
        mode: HostMode::Enforce,
        default_shell: AbsolutePath::parse("/bin/bash").unwrap(),
        home_base: AbsolutePath::parse("/home").unwrap(),
        home_mode: HomeMode::parse("0700").unwrap(),
        protected: BTreeSet::from([AccountName::parse("admin").unwrap()]),
        break_glass: BTreeSet::new(),
        uid_ranges: vec![1_000..=59_999],
        purge_after_days: None,
        refused_roles: BTreeSet::new(),
        accepted_keys: AcceptedKeys::default(),
    }
}

pub fn key(number: u8) -> (UserKey, Restrictions) {
    let mut blob = vec![0, 0, 0, 11];
    blob.extend(b"ssh-ed25519");
    blob.extend([0, 0, 0, 32]);
    blob.extend([number; 32]);
    let key = SshPublicKey::from_blob(&blob).unwrap();
    (
        UserKey { key, comment: Line::parse("a key").unwrap(), options: KeyOptions::default() },
        Restrictions::default(),
    )
}

/// Desired states in a few words.
#[derive(Clone, Debug, Default)]
pub struct Desired(pub DesiredState);

impl Desired {
    pub fn user(mut self, name: &str, uid: u32) -> Self {
        let account = Account {
            grant: AccountGrant {
                user: Id::Object([1; 16]),
                uid: Uid::parse(uid).unwrap(),
                name: FullName::parse("Some Body").unwrap(),
                shell: None,
                home: None,
                home_mode: None,
                kind: UserKind::Person,
            },
            adopts: None,
            keys: BTreeSet::from([key(u8::try_from(uid % 251).unwrap())]),
            methods: BTreeSet::from([LoginMethod::Key]),
            unix_group_mode: UnixGroupMode::AtLeast,
            unix_groups: BTreeSet::new(),
            host_unix_groups: BTreeSet::new(),
            password: None,
            assignments: BTreeSet::from([Id::Object([2; 16])]),
            ends: None,
        };
        self.0.accounts.insert(login(name), account);
        self
    }

    pub fn change(mut self, name: &str, change: impl FnOnce(&mut Account)) -> Self {
        change(self.0.accounts.get_mut(&login(name)).unwrap());
        self
    }

    pub fn password(self, name: &str, min_length: u32) -> Self {
        self.change(name, |account| {
            account.methods.insert(LoginMethod::Password);
            account.password = Some(PasswordPolicy {
                max_days: None,
                min_days: None,
                warn_days: None,
                inactive_days: None,
                min_length,
            });
        })
    }

    pub fn unix_group(mut self, name: &str, gid: u32, members: &[&str]) -> Self {
        let gid = Gid::parse(gid).unwrap();
        let grant = UnixGroupGrant { name: unix_group(name), gid, members: MemberList::AtLeast };
        self.0.unix_groups.insert(unix_group(name), grant);
        for member in members {
            let account = self.0.accounts.get_mut(&login(member)).unwrap();
            account.unix_groups.insert(unix_group(name));
        }
        self
    }

    pub fn host_unix_group(self, name: &str, member: &str) -> Self {
        self.change(member, |account| {
            account.host_unix_groups.insert(unix_group(name));
        })
    }

    pub fn sudo(mut self, role: &str, command: &str, logins: &[&str]) -> Self {
        let rule = SudoRule {
            run_as: RunAs { user: RunAsUser::Any, group: None },
            commands: vec![SudoCommand::parse(command).unwrap()],
            password: SudoPassword::None,
            noexec: false,
            directory: None,
        };
        let rules = self.0.sudo.entry(ObjectName::parse(role).unwrap()).or_default();
        rules.entry(rule).or_default().extend(logins.iter().map(|name| login(name)));
        self
    }
}

/// Looks and plans.
pub fn look(host: &mut dyn Host, desired: &Desired, owned: &Ownership) -> (ObservedState, Plan) {
    let observed = host.observe(&Scope::of(&desired.0, owned, &policy())).unwrap();
    let plan = plan(&observed, &desired.0, owned, &policy(), NOW);
    (observed, plan)
}

/// Changes a field of a line in passwd as somebody does by hand.
pub fn edit_passwd(host: &mut dyn Host, login: &str, field: usize, text: &str) {
    let (name, value) = (login.to_owned(), Value::Text(text.to_owned()));
    let passwd = vec![Edit::Set { name, field, value }];
    let action = Action::Accounts(AccountEdits { passwd, ..AccountEdits::default() });
    host.prepare(&[&action]);
    assert_eq!(host.perform(&action).whole, None);
    host.settle();
}

/// Looks, plans and applies, and returns what came of it.
pub fn converge(host: &mut dyn Host, desired: &Desired, owned: &mut Ownership) -> (Plan, Applied) {
    let (_, plan) = look(host, desired, owned);
    let applied = apply(&plan, Reach::Everything, owned, host);
    *owned = applied.ownership.clone();
    (plan, applied)
}

pub fn findings(plan: &Plan) -> BTreeSet<(&str, &str)> {
    plan.findings.iter().map(|found| (found.kind.as_str(), found.subject.as_str())).collect()
}

/// Fails where the test could only be left out: one that is silently left out says nothing.
pub fn need_root() {
    assert_eq!(fs::metadata("/proc/self").unwrap().uid(), 0, "this test needs root");
}

/// A temporary root.
pub struct Root {
    pub dir: tempfile::TempDir,
}

impl Root {
    pub fn new() -> Self {
        Self::lay(tempdir())
    }

    /// Lays it out in a directory.
    pub fn lay(dir: tempfile::TempDir) -> Self {
        let root = Self { dir };
        for directory in [
            "etc/sudoers.d",
            "etc/ssh/sshd_config.d",
            "etc/skel/.config",
            "etc/pam.d",
            "etc/security",
            "home/eve",
            "var/spool/cron/crontabs",
            "var/spool/cron/atjobs",
            "var/lib/systemd/linger",
            "proc",
        ] {
            fs::create_dir_all(root.path(directory)).unwrap();
        }
        for (name, mode, text) in [
            ("etc/passwd", 0o644, PASSWD),
            ("etc/shadow", 0o640, SHADOW),
            ("etc/group", 0o644, GROUP),
            ("etc/gshadow", 0o640, GSHADOW),
            ("etc/skel/.profile", 0o644, "umask 027\n"),
            ("etc/skel/.config/x", 0o600, "y"),
            ("etc/pam.d/passwd", 0o644, "@include common-password\n"),
            ("etc/pam.d/common-password", 0o644, COMMON_PASSWORD),
            ("etc/nsswitch.conf", 0o644, "passwd: files systemd\n"),
        ] {
            root.write(name, mode, text);
        }
        root
    }

    pub fn path(&self, below: &str) -> PathBuf {
        self.dir.path().join(below)
    }

    pub fn write(&self, name: &str, mode: u32, text: &str) {
        fs::write(self.path(name), text).unwrap();
        fs::set_permissions(self.path(name), fs::Permissions::from_mode(mode)).unwrap();
    }

    pub fn read(&self, name: &str) -> String {
        fs::read_to_string(self.path(name)).unwrap()
    }

    pub fn host(&self) -> Linux {
        self.host_with(Faults::none())
    }

    pub fn host_with(&self, faults: Faults) -> Linux {
        Linux::open_root(self.dir.path(), "/home", Arc::new(faults)).unwrap()
    }

    /// Every file below with its text, and what is odd about owners and modes.
    pub fn leftovers(&self) -> Vec<String> {
        let mut found = Vec::new();
        collect(self.dir.path(), &mut found);
        found.retain(|path| path.contains("/.muster-") && !path.contains("set-aside"));
        found
    }
}

/// In memory where there is such a place: hundreds of roots are synced.
pub fn tempdir() -> tempfile::TempDir {
    tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).unwrap()
}

fn collect(path: &Path, found: &mut Vec<String>) {
    for entry in fs::read_dir(path).unwrap() {
        let entry = entry.unwrap();
        found.push(entry.path().display().to_string());
        if entry.file_type().unwrap().is_dir() {
            collect(&entry.path(), found);
        }
    }
}

/// The members of a Unix group in a text.
pub fn members(text: &str, name: &str) -> BTreeSet<String> {
    let line = text.lines().find(|line| line.split(':').next() == Some(name)).unwrap_or_default();
    let list = line.split(':').nth(3).unwrap_or_default();
    list.split(',').filter(|member| !member.is_empty()).map(str::to_owned).collect()
}

pub fn by_word(applied: &Applied) -> BTreeMap<&str, usize> {
    let mut words = BTreeMap::new();
    for outcome in &applied.outcomes {
        *words.entry(outcome.action.as_str()).or_default() += 1;
    }
    words
}
