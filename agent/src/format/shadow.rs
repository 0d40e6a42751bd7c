//! `/etc/shadow`: what a password field says, and what the ageing fields must be so that they
//! never lock out somebody who has only keys (`pam_unix` demands a new password for `lstchg` 0 and
//! after `max` days even when a key was used).

use muster_proto::{
    statement::{PasswordPolicy, UserKind},
    time::Timestamp,
};

use super::{Edit, Entry, Value};

/// The field of the password.
pub const PASSWORD: usize = 1;
/// The field of the day of the last change.
pub const LAST_CHANGE: usize = 2;
/// The field of the days before a password may change.
pub const MIN: usize = 3;
/// The field of the days until it must.
pub const MAX: usize = 4;
/// The field of the days before that in which there is a warning.
pub const WARN: usize = 5;
/// The field of the days after that until the account is shut.
pub const INACTIVE: usize = 6;
/// The field of the day from which the account is shut.
pub const EXPIRE: usize = 7;

/// What a password field says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Password {
    /// `!` before it: sshd without PAM refuses even keys.
    Locked,
    /// No password fits.
    Impossible,
    /// The empty password fits.
    Empty,
    /// A hash.
    Set,
}

impl Password {
    /// Reads a field.
    pub fn of(field: &[u8]) -> Self {
        match field {
            [] => Self::Empty,
            [b'!', ..] => Self::Locked,
            [b'$' | b'_', ..] => Self::Set,
            other if other.len() >= 13 && !other.starts_with(b"*") => Self::Set,
            _ => Self::Impossible,
        }
    }
}

/// Returns a field without its `!`, or `*` where nothing else is left: an empty field would let
/// anybody in.
pub fn unlocked(field: &[u8]) -> &[u8] {
    let bare = field.iter().position(|byte| *byte != b'!').and_then(|at| field.get(at..));
    bare.unwrap_or(b"*")
}

/// Returns the line of a new account that has only keys, and the day from which it is shut.
pub fn new_line(login: &str, today: u64, expire: Option<u64>) -> String {
    let expire = expire.map(|day| day.to_string()).unwrap_or_default();
    format!("{login}:*:{today}:::::{expire}:")
}

/// Returns the first day that lies wholly behind an end: `pam_unix` refuses from that day on, and an
/// hour too early would be wrong. What ends in between is the keeper's to end.
pub fn expire_day(ends: Timestamp) -> u64 {
    ends.0.div_ceil(86_400)
}

/// Returns the line of an account that has none and is shut: without one PAM lets nobody in,
/// with one nothing depends on that.
pub fn locked_line(login: &str, kind: UserKind) -> String {
    let expire = if expires(kind) { "1" } else { "" };
    format!("{login}:!*::::::{expire}:")
}

/// A service identity is not expired, since that breaks `su SERVICE -c`.
fn expires(kind: UserKind) -> bool {
    kind == UserKind::Person
}

/// Returns the edits that shut an account.
pub fn locking(login: &str, entry: Entry<'_>, kind: UserKind) -> Vec<Edit> {
    let mut edits = Vec::new();
    if Password::of(entry.field(PASSWORD)) != Password::Locked {
        edits.push(set(login, PASSWORD, Value::Locked));
    }
    if expires(kind) && entry.field(EXPIRE) != b"1" {
        edits.push(set(login, EXPIRE, Value::Text("1".to_owned())));
    }
    edits
}

/// Returns the edits that make an account one that its holder can enter; without a policy it has no
/// password.
pub fn opening(
    login: &str,
    entry: Entry<'_>,
    policy: Option<PasswordPolicy>,
    expire: Option<u64>,
    today: u64,
) -> Vec<Edit> {
    let mut edits = Vec::new();
    let bare = unlocked(entry.field(PASSWORD));
    let policy = policy.filter(|_| Password::of(bare) == Password::Set);
    if policy.is_some() {
        if bare != entry.field(PASSWORD) {
            edits.push(set(login, PASSWORD, Value::Unlocked));
        }
    } else if entry.field(PASSWORD) != b"*" {
        edits.push(set(login, PASSWORD, Value::Text("*".to_owned())));
    }
    // Ageing is for those who have a password: it would shut out who has only keys.
    let days = |days: fn(PasswordPolicy) -> Option<u32>| {
        policy.and_then(days).map(|days| days.to_string()).unwrap_or_default()
    };
    let fields = [
        (MIN, days(|policy| policy.min_days)),
        (MAX, days(|policy| policy.max_days)),
        (INACTIVE, days(|policy| policy.inactive_days)),
        (EXPIRE, expire.map(|day| day.to_string()).unwrap_or_default()),
    ];
    // A warning without an age warns of nothing, so it may stand where it is.
    let warn = policy.map(|_| (WARN, days(|policy| policy.warn_days)));
    for (field, wanted) in fields.into_iter().chain(warn) {
        if entry.field(field) != wanted.as_bytes() {
            edits.push(set(login, field, Value::Text(wanted)));
        }
    }
    if matches!(entry.field(LAST_CHANGE), b"0" | b"") {
        edits.push(set(login, LAST_CHANGE, Value::Text(today.to_string())));
    }
    edits
}

fn set(login: &str, field: usize, value: Value) -> Edit {
    Edit::Set { name: login.to_owned(), field, value }
}
