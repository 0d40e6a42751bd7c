//! What may be done to a host by hand: the commands, what has to be told of it, and by what the host
//! itself shows that it is put right.

use crate::Host;

/// Something that is done by hand.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Deed {
    /// Another shell, by usermod.
    Shell,
    /// Another name, by usermod.
    Name,
    /// Another home, by usermod.
    Home,
    /// `users` for a primary Unix group, by usermod.
    PrimaryGroup,
    /// A password, by chpasswd.
    Password,
    /// A lock, by usermod.
    Lock,
    /// An end, by chage.
    Expiry,
    /// A password that has to be changed, by chage.
    Ageing,
    /// One more key, by appending to the file.
    AddKey,
    /// No keys.
    RemoveKeys,
    /// One more rule, by appending to the role's file.
    AddRule,
    /// No rules of the role.
    RemoveRules,
    /// A member of `sudo`, by gpasswd.
    Join,
    /// No member of `audio` any more, by gpasswd.
    Leave,
    /// No home.
    RemoveHome,
    /// An account that nobody granted, by useradd.
    Stranger,
    /// A second root, by useradd.
    Root,
    /// A sudo file that is not Muster's.
    ForeignRules,
    /// No lock on an account that is locked, by usermod.
    Unlock,
    /// No end of an account that has ended, by chage.
    Unexpire,
    /// A crontab put back for a locked account.
    Crontab,
    /// An at job put back for a locked account.
    AtJob,
    /// Something in sshd's drop-in.
    DropIn,
}

/// Where a host shows that something is put right.
pub(super) enum Trace {
    /// A field of somebody's line.
    Field(&'static str, usize),
    /// Whether somebody is in a Unix group.
    Member(&'static str),
    /// A file, or none.
    File(String),
    /// A directory, or none.
    Directory(String),
    /// Nowhere: it is only told.
    None,
}

impl Deed {
    /// What is done to people, each of one thing in one of several ways.
    pub(super) const TO_PEOPLE: &[&[Self]] = &[
        &[Self::Shell],
        &[Self::Name],
        &[Self::Home],
        &[Self::PrimaryGroup],
        &[Self::Password, Self::Lock],
        &[Self::Expiry],
        &[Self::Ageing],
        &[Self::AddKey, Self::RemoveKeys],
        &[Self::AddRule, Self::RemoveRules],
        &[Self::Join],
        &[Self::Leave],
        &[Self::RemoveHome],
        &[Self::Stranger],
        &[Self::Root],
        &[Self::ForeignRules],
    ];
    /// What is done to people who have left.
    pub(super) const TO_LEAVERS: &[&[Self]] =
        &[&[Self::Unlock], &[Self::Unexpire], &[Self::Crontab, Self::AtJob]];
    /// What is done to a host, whoever is on it.
    pub(super) const TO_HOSTS: &[&[Self]] = &[&[Self::DropIn]];

    /// Returns the command; `number` is unlike that of any other.
    pub(super) fn command(self, login: &str, number: u32) -> String {
        match self {
            Self::Shell => format!("usermod --shell /bin/sh {login}"),
            Self::Name => format!("usermod --comment By.Hand {login}"),
            Self::Home => format!("usermod --home /srv/{login} {login}"),
            Self::PrimaryGroup => format!("usermod --gid users {login}"),
            Self::Password => format!("echo {login}:by-hand-{number} | chpasswd"),
            Self::Lock => format!("usermod --lock {login}"),
            Self::Expiry => format!("chage --expiredate 2031-02-03 {login}"),
            Self::Ageing => format!("chage --maxdays 30 {login}"),
            Self::AddKey => {
                format!("echo 'ssh-ed25519 AAAA by-hand' >> /etc/ssh/muster-keys/{login}")
            }
            Self::RemoveKeys => format!("rm /etc/ssh/muster-keys/{login}"),
            Self::AddRule => {
                format!("echo '{login} ALL=(root) /bin/true' >> /etc/sudoers.d/50-muster-{login}")
            }
            Self::RemoveRules => format!("rm /etc/sudoers.d/50-muster-{login}"),
            Self::Join => format!("gpasswd --add {login} sudo"),
            Self::Leave => format!("gpasswd --delete {login} audio"),
            Self::RemoveHome => format!("rm --recursive /home/{login}"),
            Self::Stranger => {
                format!("useradd --uid {number} --no-create-home --shell /bin/bash by-{login}")
            }
            Self::Root => format!(
                "useradd --non-unique --uid 0 --gid 100 --no-create-home \
                 --shell /usr/sbin/nologin root-{login}"
            ),
            Self::ForeignRules => format!(
                "echo '{login} ALL=(root) /bin/true' > /root/by-{login} && \
                 chmod 0440 /root/by-{login} && mv /root/by-{login} /etc/sudoers.d/by-{login}"
            ),
            Self::Unlock => format!("usermod --unlock {login}"),
            Self::Unexpire => format!("chage --expiredate -1 {login}"),
            Self::Crontab => format!(
                "install --owner {login} --mode 0600 /dev/null /var/spool/cron/crontabs/{login}"
            ),
            Self::AtJob => {
                format!("install --owner {login} --mode 0700 /dev/null {}", at_job(number))
            }
            Self::DropIn => "echo '# by hand' >> /etc/ssh/sshd_config.d/00-muster.conf".to_owned(),
        }
    }

    /// Returns the command that takes back what is not put right by itself.
    pub(super) fn undoing(self, login: &str) -> Option<String> {
        Some(match self {
            Self::Join => format!("gpasswd --delete {login} sudo"),
            Self::Stranger => format!("userdel by-{login}"),
            // Whoever has its uid is logged in.
            Self::Root => format!("userdel --force root-{login}"),
            Self::ForeignRules => format!("rm /etc/sudoers.d/by-{login}"),
            _ => return None,
        })
    }

    /// Returns the kind, subject and place of what has to be told.
    pub(super) fn told(self, login: &str) -> [String; 3] {
        let changed = |place| ("account-changed", login.to_owned(), place);
        let (kind, subject, place) = match self {
            Self::Shell => changed("shell"),
            Self::Name => changed("name"),
            Self::Home => changed("home"),
            Self::PrimaryGroup => changed("gid"),
            Self::Password | Self::Lock => changed("password"),
            Self::Expiry => changed("expiry"),
            Self::Ageing => changed("max days"),
            Self::AddKey | Self::RemoveKeys => ("keys-changed", login.to_owned(), ""),
            Self::AddRule | Self::RemoveRules => ("sudo-changed", login.to_owned(), ""),
            Self::Join => ("member-ungranted", login.to_owned(), "sudo"),
            Self::Leave => ("member-missing", login.to_owned(), "audio"),
            Self::RemoveHome => ("home-missing", login.to_owned(), ""),
            Self::Stranger => ("account-new", format!("by-{login}"), ""),
            Self::Root => ("uid-zero", format!("root-{login}"), ""),
            Self::ForeignRules => ("sudo-foreign", format!("sudoers.d/by-{login}"), ""),
            Self::Unlock => ("account-unlocked", login.to_owned(), "password"),
            Self::Unexpire => ("account-unlocked", login.to_owned(), "expiry"),
            Self::Crontab | Self::AtJob => ("jobs-back", login.to_owned(), ""),
            Self::DropIn => ("sshd", "sshd".to_owned(), "00-muster.conf"),
        };
        [kind.to_owned(), subject, place.to_owned()]
    }

    pub(super) fn trace(self, login: &str, number: u32) -> Trace {
        match self {
            Self::Shell => Trace::Field("/etc/passwd", 6),
            Self::Name => Trace::Field("/etc/passwd", 4),
            Self::Home => Trace::Field("/etc/passwd", 5),
            Self::PrimaryGroup => Trace::Field("/etc/passwd", 3),
            Self::Password | Self::Lock | Self::Unlock => Trace::Field("/etc/shadow", 1),
            Self::Ageing => Trace::Field("/etc/shadow", 4),
            Self::Expiry | Self::Unexpire => Trace::Field("/etc/shadow", 7),
            Self::AddKey | Self::RemoveKeys => Trace::File(format!("/etc/ssh/muster-keys/{login}")),
            Self::AddRule | Self::RemoveRules => {
                Trace::File(format!("/etc/sudoers.d/50-muster-{login}"))
            }
            Self::Leave => Trace::Member("audio"),
            Self::RemoveHome => Trace::Directory(format!("/home/{login}")),
            Self::Crontab => Trace::File(format!("/var/spool/cron/crontabs/{login}")),
            Self::AtJob => Trace::File(at_job(number)),
            Self::DropIn => Trace::File("/etc/ssh/sshd_config.d/00-muster.conf".to_owned()),
            Self::Join | Self::Stranger | Self::Root | Self::ForeignRules => Trace::None,
        }
    }
}

impl Trace {
    /// Returns what is there now; nothing where nothing is.
    pub(super) fn look(&self, host: &Host, login: &str) -> anyhow::Result<Option<Vec<u8>>> {
        let line = |file, name: &str| -> anyhow::Result<Option<String>> {
            let text = host.look(file)?.unwrap_or_default();
            let text = String::from_utf8_lossy(&text);
            let own = |line: &&str| line.split(':').next() == Some(name);
            Ok(text.lines().find(own).map(str::to_owned))
        };
        Ok(match self {
            Self::Field(file, field) => {
                let line = line(file, login)?;
                line.and_then(|line| line.split(':').nth(*field).map(Into::into))
            }
            Self::Member(unix_group) => {
                let line = line("/etc/group", unix_group)?.unwrap_or_default();
                line.split([':', ',']).any(|member| member == login).then(Vec::new)
            }
            Self::File(path) => host.look(path)?,
            Self::Directory(path) => host.is_directory(path)?.then(Vec::new),
            Self::None => None,
        })
    }
}

/// Due in the year 2065.
fn at_job(number: u32) -> String {
    format!("/var/spool/cron/atjobs/a{number:05x}02ffffff")
}
