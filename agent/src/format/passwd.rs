//! `/etc/passwd`: the fields that Muster reads and writes. Values come from types that have no
//! place for `:` or a newline (CVE-2011-0721); this file only puts them together.

use super::Entry;

/// The field of the uid.
pub const UID: usize = 2;
/// The field of the primary gid.
pub const GID: usize = 3;
/// The field of the full name.
pub const GECOS: usize = 4;
/// The field of the home.
pub const HOME: usize = 5;
/// The field of the shell.
pub const SHELL: usize = 6;

/// What a new account's line says.
#[derive(Clone, Copy, Debug)]
pub struct NewLine<'a> {
    /// The login.
    pub login: &'a str,
    /// The uid, which is the primary gid too.
    pub uid: u32,
    /// The full name.
    pub name: &'a str,
    /// Where it lives.
    pub home: &'a str,
    /// What it runs.
    pub shell: &'a str,
}

impl NewLine<'_> {
    /// Returns the line; the password is in shadow.
    pub fn render(&self) -> String {
        let Self { login, uid, name, home, shell } = self;
        format!("{login}:x:{uid}:{uid}:{name}:{home}:{shell}")
    }
}

/// Returns the GECOS field with another full name, and the rest (room, telephone) as it is.
pub fn with_name(entry: Entry<'_>, name: &str) -> Option<String> {
    let gecos = entry.text(GECOS)?;
    let rest = gecos.split_once(',').map(|(_, rest)| rest);
    Some(rest.map_or_else(|| name.to_owned(), |rest| format!("{name},{rest}")))
}
