//! Names of accounts and Unix groups.

use std::fmt;

use super::{BadName, bad};

/// A user's login: `[a-z_][a-z0-9_-]{0,30}`, and none that a system has for itself.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Login(String);

/// A Unix group's name, of the same form; system groups are fine to refer to.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct UnixGroupName(String);

/// Names that base systems and their packages use (Debian base-passwd, systemd sysusers, common
/// daemons). A user of Muster's with such a name could inherit files or rules that wait for it.
const RESERVED: &[&str] = &[
    "root",
    "daemon",
    "bin",
    "sys",
    "sync",
    "games",
    "man",
    "lp",
    "mail",
    "news",
    "uucp",
    "proxy",
    "www-data",
    "backup",
    "list",
    "irc",
    "gnats",
    "nobody",
    "nogroup",
    "_apt",
    "sshd",
    "messagebus",
    "polkitd",
    "dbus",
    "adm",
    "tty",
    "disk",
    "kmem",
    "dialout",
    "fax",
    "voice",
    "cdrom",
    "floppy",
    "tape",
    "sudo",
    "audio",
    "dip",
    "operator",
    "src",
    "shadow",
    "utmp",
    "video",
    "sasl",
    "plugdev",
    "staff",
    "users",
    "crontab",
    "input",
    "sgx",
    "kvm",
    "render",
    "wheel",
    "docker",
    "lxd",
    "libvirt",
    "netdev",
    "ssl-cert",
    "all",
    "halt",
    "shutdown",
    "ftp",
    "postgres",
    "mysql",
    "redis",
    "nginx",
    "apache",
    "ntp",
    "chrony",
    "rpc",
    "tss",
    "tcpdump",
    "puppet",
    "muster",
    "muster-agent",
    "muster-accounts",
];

fn is_account_name(text: &str) -> bool {
    let mut bytes = text.bytes();
    let first = bytes.next().is_some_and(|b| b.is_ascii_lowercase() || b == b'_');
    first
        && text.len() <= 31
        && bytes.all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_' || b == b'-')
}

/// Returns the names that no user and no Unix group of Muster's can have; those that begin with
/// `systemd-` are others.
pub const fn reserved() -> &'static [&'static str] {
    RESERVED
}

fn is_reserved(text: &str) -> bool {
    RESERVED.contains(&text) || text.starts_with("systemd-")
}

const ACCOUNT_NAME: &str =
    "a lower-case letter or `_`, then up to 30 of lower-case letters, digits, `_` and `-`";

impl Login {
    /// Reads a login.
    pub fn parse(text: &str) -> Result<Self, BadName> {
        if !is_account_name(text) {
            return Err(bad("a login", text, ACCOUNT_NAME));
        }
        if is_reserved(text) {
            return Err(BadName::Reserved(text.to_owned()));
        }
        Ok(Self(text.to_owned()))
    }
}

impl UnixGroupName {
    /// Reads the name of a Unix group that exists or shall exist.
    pub fn parse(text: &str) -> Result<Self, BadName> {
        if is_account_name(text) {
            Ok(Self(text.to_owned()))
        } else {
            Err(bad("a Unix group name", text, ACCOUNT_NAME))
        }
    }

    /// Reads the name of a Unix group that Muster is to create.
    pub fn parse_own(text: &str) -> Result<Self, BadName> {
        let name = Self::parse(text)?;
        if is_reserved(text) { Err(BadName::Reserved(text.to_owned())) } else { Ok(name) }
    }

    /// Returns the name of a user's primary Unix group, which is the login.
    pub fn primary(login: &Login) -> Self {
        Self(login.0.clone())
    }
}

text!(Login, UnixGroupName);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn logins_are_an_allow_list() {
        for good in ["a", "_x", "alice", "a-b_c9", &"a".repeat(31)] {
            assert!(Login::parse(good).is_ok(), "{good}");
        }
        for bad in [
            "",
            ".",
            "..",
            "-rf",
            "0day",
            "123",
            "0x10",
            "ALL",
            "all",
            "root",
            "Root",
            "root ",
            "a.b",
            "a/b",
            "a b",
            "a:b",
            "a\nb",
            "a\r",
            "a\0",
            "a$",
            "аdmin",
            "%wheel",
            "#0",
            "+ng",
            "@x",
            "daemon",
            "systemd-network",
            &"a".repeat(32),
        ] {
            assert!(Login::parse(bad).is_err(), "{bad:?}");
        }
    }
}
