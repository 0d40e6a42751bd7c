//! What pwck and grpck say of the account files that a killed keeper has left, and which of it has to
//! be borne. Exit codes decide: 0 is good, whatever was printed.
//!
//! Four files cannot be renamed as one, by anybody. The keeper renames gshadow, group, shadow and
//! passwd in this order, so between the first and the last of them a new account is in some and not
//! in others, for which the checkers exit with 2. That is borne only there, only of this change's
//! new people, and only what follows from how far the renames have come. Nothing else is, and
//! nothing before and after.

use std::collections::BTreeSet;

use anyhow::{Context, bail, ensure};

/// The files in the order in which the keeper renames them.
pub(crate) const FILES: [&str; 4] = ["gshadow", "group", "shadow", "passwd"];

/// The Unix groups that a change puts its people into: the role's, and the one of all Muster's
/// accounts.
const GROUPS: [&str; 2] = ["audio", "muster-accounts"];

/// What there was to see in the files that a killed keeper left.
pub(crate) struct Found<'a> {
    /// Everything that the checkers printed, and their exit codes.
    pub(crate) said: &'a str,
    /// The names in each of the files, with the file's before them: `passwd:ana`.
    pub(crate) lines: &'a BTreeSet<&'a str>,
}

/// The people of one change.
pub(crate) struct Changed<'a> {
    /// Everybody.
    pub(crate) all: &'a BTreeSet<&'a str>,
    /// Those who have no account yet.
    pub(crate) new: &'a BTreeSet<&'a str>,
}

/// What had to be borne.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Borne {
    /// Whether the kill fell between the first and the last rename of files with new accounts in
    /// them, so that a checker exited with 2.
    pub(crate) between: bool,
    /// Whether grpck exited with 0 and warned that a member is in one of group and gshadow only.
    pub(crate) warned: bool,
}

/// A line of a checker's, of somebody's login.
enum Complaint<'a> {
    /// She is a member of a Unix group in only one of group and gshadow; a warning.
    InOneOnly(&'a str),
    /// Somebody has a line in gshadow and none in group.
    OnlyInGshadow,
    /// Somebody has a line in shadow and none in passwd.
    OnlyInShadow,
    /// A member in group has no account.
    NoUser(&'a str),
    /// A member in gshadow has no account.
    NoUserInGshadow(&'a str),
    /// What the checker would do about the line before, were it asked to.
    Cure(&'a str),
    /// It has changed nothing, as it was told.
    NoChanges,
}

/// Fails unless the checkers found nothing, or only what cannot be helped.
pub(crate) fn judge(found: &Found<'_>, changed: &Changed<'_>) -> anyhow::Result<Borne> {
    let renamed = renamed(found, changed.new)?;
    let between = (1..FILES.len()).contains(&renamed);
    let mut borne = Borne::default();
    for line in found.said.lines() {
        if let Some((checker, code)) = line.split_once(" exits with ") {
            match (checker, code) {
                (_, "0") => {}
                ("grpck" | "pwck", "2") if between => borne.between = true,
                _ => bail!("{line}, after {renamed} renames"),
            }
            continue;
        }
        let fits = match parse(line) {
            Some(Complaint::InOneOnly(login)) => {
                borne.warned = true;
                changed.all.contains(login)
            }
            Some(Complaint::OnlyInGshadow) => renamed == 1,
            Some(Complaint::OnlyInShadow) => renamed == 3,
            Some(Complaint::NoUser(login)) => {
                (2..=3).contains(&renamed) && changed.new.contains(login)
            }
            Some(Complaint::NoUserInGshadow(login) | Complaint::Cure(login)) => {
                between && changed.new.contains(login)
            }
            Some(Complaint::NoChanges) => between,
            None => false,
        };
        ensure!(fits, "`{line}`, after {renamed} renames");
    }
    Ok(borne)
}

fn parse(line: &str) -> Option<Complaint<'_>> {
    match line {
        "grpck: no changes" | "pwck: no changes" => return Some(Complaint::NoChanges),
        "no matching group file entry in group" => return Some(Complaint::OnlyInGshadow),
        "no matching password file entry in passwd" => return Some(Complaint::OnlyInShadow),
        _ => {}
    }
    for group in GROUPS {
        let (no_user, member) = (
            format!("group {group}: no user "),
            format!("' is a member of the '{group}' group in "),
        );
        if let Some(login) = line.strip_prefix("shadow ").and_then(|it| it.strip_prefix(&no_user)) {
            return Some(Complaint::NoUserInGshadow(login));
        }
        if let Some(login) = line.strip_prefix(&no_user) {
            return Some(Complaint::NoUser(login));
        }
        if let Some((login, files)) = line.strip_prefix('\'').and_then(|it| it.split_once(&member))
        {
            let both = ["group but not in gshadow", "gshadow but not in group"];
            return both.contains(&files).then_some(Complaint::InOneOnly(login));
        }
    }
    if let Some(cure) = line.strip_prefix("delete member '") {
        return cure.strip_suffix("'? No").map(Complaint::Cure);
    }
    let cure = line.strip_prefix("delete line '")?.strip_suffix("'? No")?;
    cure.split_once(':').map(|(login, _)| Complaint::Cure(login))
}

/// Returns into how many of the files the new accounts have come: each has all of them or none, and
/// none has them before the one that is renamed before it.
fn renamed(found: &Found<'_>, new: &BTreeSet<&str>) -> anyhow::Result<usize> {
    if new.is_empty() {
        return Ok(0);
    }
    let mut last = 0;
    for (number, file) in FILES.iter().enumerate() {
        let has = |name: &&&str| found.lines.contains(format!("{file}:{name}").as_str());
        let count = new.iter().filter(has).count();
        ensure!(count == 0 || count == new.len(), "{count} of {} in {file}", new.len());
        if count > 0 {
            ensure!(last == number, "{file} has the new accounts, and the one before it has not");
            last = number + 1;
        }
    }
    Ok(last)
}

/// Returns the names in the account files, from lines of `file:name:…`.
pub(crate) fn names(text: &str) -> anyhow::Result<BTreeSet<&str>> {
    text.lines()
        .map(|line| {
            let second = line.match_indices(':').nth(1).context("no name in a line")?;
            line.get(..second.0).context("no name in a line")
        })
        .collect()
}
