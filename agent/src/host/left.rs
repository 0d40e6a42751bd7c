//! What an account that is locked leaves behind on its host: told once, so that somebody can decide
//! about it. Nothing is changed and no home is entered; what cannot be seen is said to be unseen.

use std::collections::{BTreeMap, BTreeSet};

use crate::{listing, plan::Departed};

use super::{
    Report,
    files::{Dir, FileError, is_directory, is_regular, split},
    jobs::Jobs,
};

/// Where mail waits: one of them is a link to the other.
const MAIL: &[&str] = &["var/mail", "var/spool/mail"];
/// Directories that everybody can write into.
const PUBLIC: &[&str] = &["tmp", "var/tmp", "dev/shm", "dev/mqueue"];
/// How many entries of each of them are looked at: anybody can fill them.
const MOST_LOOKED_AT: usize = 10_000;
/// What is shared by System V's calls (`sysvipc(7)`), a table each.
const SHARED: &[(&str, &str, &str)] = &[
    ("shm", "piece of shared memory", "pieces of shared memory"),
    ("sem", "set of semaphores", "sets of semaphores"),
    ("msg", "message queue", "message queues"),
];

/// Tells of each what is left.
pub(super) fn tell(root: &Dir, departed: &[Departed]) -> Report {
    let uids: BTreeSet<u32> = departed.iter().map(|one| one.uid).collect();
    let (mut open, unseen) = public(root, &uids);
    for (uid, words) in shared(root, &uids) {
        open.entry(uid).or_default().extend(words);
    }
    let jobs = Jobs::observe(root);
    let mut report = Report::default();
    for one in departed {
        let login = one.login.as_str();
        let mut left = vec![home(root, one)];
        left.extend(mail(root, login));
        match &jobs {
            Ok(jobs) if jobs.set_aside(login) > 0 => {
                let jobs = listing::count(jobs.set_aside(login), "job", "jobs");
                left.push(format!("{jobs} set aside"));
            }
            Ok(_) => {}
            Err(_) => left.push("jobs set aside unseen".to_owned()),
        }
        left.extend(open.get(&one.uid).into_iter().flatten().cloned());
        let range = |range: &std::ops::RangeInclusive<u32>| {
            format!("subuid {}-{}", range.start(), range.end())
        };
        left.extend(one.subuids.iter().map(range));
        left.extend(unseen.iter().cloned());
        report.details.insert(login.to_owned(), left.join(", "));
    }
    report
}

fn home(root: &Dir, one: &Departed) -> String {
    let Some(path) = &one.home else { return "home unknown".to_owned() };
    let shown: String = path.escape_debug().take(256).collect();
    let (place, name) = split(path);
    let found = root.walk(place).and_then(|dir| match dir {
        Some(dir) if !name.is_empty() => dir.stat(name),
        _ => Ok(None),
    });
    match found {
        Ok(None) => format!("no home {shown}"),
        Ok(Some(found)) if is_directory(&found) && found.st_uid == one.uid => {
            format!("home {shown}")
        }
        Ok(Some(found)) if is_directory(&found) => {
            format!("home {shown} of uid {}", found.st_uid)
        }
        Ok(Some(_)) => format!("home {shown}, which is no directory"),
        Err(_) => format!("home {shown} unseen"),
    }
}

fn mail(root: &Dir, login: &str) -> Option<String> {
    let found = |place: &&str| {
        // Where it is a link the other name is none.
        let found = root.walk(place).ok().flatten()?.stat(login).ok().flatten()?;
        is_regular(&found).then(|| format!("mail /{place}/{login} ({} bytes)", found.st_size))
    };
    MAIL.iter().find_map(found)
}

/// Returns how much is in the public directories, by uid, and which of those cannot be seen.
fn public(root: &Dir, uids: &BTreeSet<u32>) -> (BTreeMap<u32, Vec<String>>, Vec<String>) {
    let mut words: BTreeMap<u32, Vec<String>> = BTreeMap::new();
    let mut unseen = Vec::new();
    for place in PUBLIC {
        let counted = if is_private(root, place) { None } else { count(root, place, uids).ok() };
        let Some((counts, all)) = counted else {
            unseen.push(format!("/{place} unseen"));
            continue;
        };
        for (uid, count) in counts {
            words.entry(uid).or_default().push(format!("{count} in /{place}"));
        }
        if !all {
            unseen.push(format!("/{place} seen in part"));
        }
    }
    (words, unseen)
}

/// Counts the entries of each uid, and says whether all were looked at.
fn count(
    root: &Dir,
    place: &str,
    uids: &BTreeSet<u32>,
) -> Result<(BTreeMap<u32, u32>, bool), FileError> {
    let mut counts: BTreeMap<u32, u32> = BTreeMap::new();
    let Some(dir) = root.walk(place)? else { return Ok((counts, true)) };
    let names = dir.first_names(MOST_LOOKED_AT + 1)?;
    for name in names.iter().take(MOST_LOOKED_AT) {
        // One that has gone meanwhile is not left.
        if let Some(found) = dir.stat(name)?
            && uids.contains(&found.st_uid)
        {
            *counts.entry(found.st_uid).or_default() += 1;
        }
    }
    Ok((counts, names.len() <= MOST_LOOKED_AT))
}

/// Says whether this process has a directory of its own in the place of everybody's, as its unit
/// asks for (`PrivateTmp=`, systemd.exec(5)).
fn is_private(root: &Dir, place: &str) -> bool {
    let own = root.walk(&format!("proc/{}", std::process::id())).ok().flatten();
    let mounts = own.and_then(|dir| dir.read("mountinfo").ok().flatten());
    let text = mounts.map(|(text, _)| text).unwrap_or_default();
    let place = format!("/{place}");
    String::from_utf8_lossy(&text).lines().any(|line| {
        // mountinfo: id, parent, device, what of it, where (proc_pid_mountinfo(5)).
        let mut fields = line.split(' ').skip(3);
        let what = fields.next().unwrap_or_default();
        fields.next() == Some(place.as_str()) && what.contains("/systemd-private-")
    })
}

/// Returns what is shared by System V's calls, by uid.
fn shared(root: &Dir, uids: &BTreeSet<u32>) -> BTreeMap<u32, Vec<String>> {
    let mut words: BTreeMap<u32, Vec<String>> = BTreeMap::new();
    // A kernel may be built without them.
    let Some(tables) = root.walk("proc/sysvipc").ok().flatten() else { return words };
    for (name, one, many) in SHARED {
        let Some((text, _)) = tables.read(name).ok().flatten() else { continue };
        let text = String::from_utf8_lossy(&text);
        let mut lines = text.lines().map(|line| line.split_whitespace().collect::<Vec<_>>());
        let at = lines.next().and_then(|head| head.iter().position(|field| *field == "uid"));
        let Some(at) = at else { continue };
        let mut counts: BTreeMap<u32, usize> = BTreeMap::new();
        for uid in lines.filter_map(|line| line.get(at)?.parse().ok()) {
            if uids.contains(&uid) {
                *counts.entry(uid).or_default() += 1;
            }
        }
        for (uid, number) in counts {
            words.entry(uid).or_default().push(listing::count(number, one, many));
        }
    }
    words
}
