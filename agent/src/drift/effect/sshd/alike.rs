//! Which accounts are the same to sshd: those that may use a password, or may not, and to which the
//! same blocks of its configuration apply. One of each class says what is so of all.

use muster_proto::name::Login;

use super::Passwords;
use crate::{
    format::{group, passwd, sshd::blocks::Blocks},
    observed::ObservedState,
};

/// What accounts have in common to which sshd does the same.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Class {
    /// Whether they may use a password.
    pub passwords: Passwords,
    by: Alike,
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Alike {
    /// The blocks that apply to them, by their numbers.
    Blocks(Vec<usize>),
    /// Nobody can say what applies to this one.
    Alone(Login),
}

/// A class and whoever is in it, never nobody.
#[derive(Clone, Debug)]
pub struct Classmates<'a> {
    /// What they have in common.
    pub class: Class,
    /// Their logins, in order.
    pub logins: Vec<&'a Login>,
}

/// Puts the accounts with the same policy together; each stands alone where the blocks are unclear.
/// The accounts are in order, and so are the classes by the first of each.
pub fn classes<'a>(
    blocks: &Blocks,
    accounts: &[(&'a Login, Passwords)],
    observed: &ObservedState,
) -> Vec<Classmates<'a>> {
    let mut classes: Vec<Classmates<'_>> = Vec::new();
    let unix_groups = match blocks {
        Blocks::Known(_) if blocks.name_unix_groups() => unix_groups(accounts, observed),
        Blocks::Known(_) | Blocks::Unclear => Vec::new(),
    };
    for (number, (login, passwords)) in accounts.iter().enumerate() {
        let passwords = *passwords;
        let Blocks::Known(blocks) = blocks else {
            let class = Class { passwords, by: Alike::Alone((*login).clone()) };
            classes.push(Classmates { class, logins: vec![login] });
            continue;
        };
        let own = unix_groups.get(number).map_or(&[][..], Vec::as_slice);
        let applying = blocks.iter().enumerate();
        let applying = applying.filter(|(_, block)| block.applies(login.as_str(), own));
        let by = Alike::Blocks(applying.map(|(number, _)| number).collect());
        let class = Class { passwords, by };
        match classes.iter_mut().find(|known| known.class == class) {
            Some(known) => known.logins.push(login),
            None => classes.push(Classmates { class, logins: vec![login] }),
        }
    }
    classes
}

/// Returns the names of the Unix groups that each of the accounts is in, the primary one first. Of
/// several with one gid the system knows the first (`getgrgid(3)`).
fn unix_groups<'a>(
    accounts: &[(&Login, Passwords)],
    observed: &'a ObservedState,
) -> Vec<Vec<&'a str>> {
    let mut names: Vec<(u32, &str)> = Vec::new();
    for entry in observed.group.entries() {
        names.extend(entry.number(group::GID).zip(entry.text(0)));
    }
    let name = |wanted: u32| names.iter().find(|(gid, _)| *gid == wanted).map(|(_, name)| *name);
    let mut all: Vec<Vec<&str>> = Vec::new();
    for (login, _) in accounts {
        let entry = observed.passwd.get(login.as_str());
        let primary = entry.and_then(|entry| name(entry.number(passwd::GID)?));
        all.push(primary.into_iter().collect());
    }
    for entry in observed.group.entries() {
        let Some(name) = entry.number(group::GID).and_then(name) else { continue };
        for member in group::members(entry) {
            let found = accounts.binary_search_by(|(login, _)| login.as_str().cmp(member));
            if let Some(own) = found.ok().and_then(|number| all.get_mut(number)) {
                own.push(name);
            }
        }
    }
    all
}

#[cfg(test)]
mod tests;
