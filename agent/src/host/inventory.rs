//! What an inventory takes besides the account files: keys in homes, and what all sudo files say
//! together. Homes are their users': they are walked by descriptor and through no link, only a
//! regular file of a bounded size is read, and only on a file system that answers by itself, so that
//! nobody can hold the keeper up. What was read is read again only when it has changed.

use std::collections::BTreeMap;

use muster_proto::{crypto::sha256, id::Digest};
use nix::{sys::stat::FileStat, unistd};

use crate::{
    drift::{
        Difference,
        effect::{self, Expected},
    },
    format::{
        authorized_keys::{self, Keys},
        cvtsudoers::{self, weigh},
        ssh,
        sshd::{KeyFiles, Text},
    },
    inventory::{Other, Sources, Sudo},
    observed::ObservedState,
};

use super::{
    chain,
    files::{Dir, FileError, is_regular, split},
    program::Programs,
    rest::Still,
};

/// The most bytes of a file of keys.
const MOST_BYTES: i64 = 256 << 10;
/// File systems that answer by themselves. Others may wait for a network or for somebody's program.
const ANSWERING: &[&str] =
    &["bcachefs", "btrfs", "ext2", "ext3", "ext4", "f2fs", "overlay", "tmpfs", "xfs", "zfs"];

/// What was learnt the last time.
#[derive(Debug, Default)]
pub(super) struct Learnt {
    sshd: Option<(Digest, KeyFiles)>,
    sudo: Option<(Digest, Sudo)>,
    /// What sudo does otherwise than our files say.
    weighed: Option<(Digest, Vec<Difference>)>,
    /// By path.
    keys: BTreeMap<String, (Stamp, Keys)>,
    /// Where keys were looked for, and what the file looked like, if there was one.
    looked: Vec<(String, Option<Stamp>)>,
}

/// What a file looked like when it was read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Stamp {
    place: (u64, u64),
    size: i64,
    changed: (i64, i64),
}

impl Stamp {
    fn of(found: &FileStat) -> Self {
        Self {
            place: (found.st_dev, found.st_ino),
            size: found.st_size,
            changed: (found.st_ctime, found.st_ctime_nsec),
        }
    }
}

/// What the file of a path looks like, if there is one.
fn stamp(root: &Dir, path: &str) -> Result<Option<Stamp>, FileError> {
    let (directory, name) = split(path);
    let Some(dir) = root.walk(directory)? else { return Ok(None) };
    Ok(dir.stat(name)?.map(|found| Stamp::of(&found)))
}

impl Learnt {
    /// Says whether the files of keys look as they did when they were looked for.
    pub(super) fn still(&self, root: &Dir) -> Still {
        let mounts = mounts(root);
        let is_same = |(path, known): &(String, Option<Stamp>)| {
            backing(&mounts, path) == Backing::Kernel && stamp(root, path).ok().flatten() == *known
        };
        if self.looked.iter().all(is_same) { Still::AsItWas } else { Still::Changed }
    }

    /// Returns what the account files do not say.
    pub(super) fn sources(
        &mut self,
        root: &Dir,
        programs: Programs,
        observed: &ObservedState,
        others: &[Other],
    ) -> Sources {
        let files = self.key_files(root, programs);
        let mounts = mounts(root);
        let before = std::mem::take(&mut self.keys);
        self.looked.clear();
        let mut keys = BTreeMap::new();
        for other in others {
            let mut all = Keys::default();
            for why in &files.unknown {
                all.extend(Keys::unknown(why));
            }
            for pattern in &files.patterns {
                let Some(path) = KeyFiles::path(pattern, &other.login, other.uid, &other.home)
                else {
                    all.extend(Keys::unknown(format!("`{pattern}` is not understood")));
                    continue;
                };
                match backing(&mounts, &path) {
                    Backing::Kernel => {}
                    Backing::User => {
                        all.extend(Keys::unread("on a file system of somebody's own program"));
                        continue;
                    }
                    Backing::Unknown => {
                        let why = "on a file system that may not answer";
                        all.extend(Keys::unseen(&path, why));
                        continue;
                    }
                }
                self.looked.push((path.clone(), stamp(root, &path).ok().flatten()));
                match self.read(root, &path, other.uid, &before) {
                    Ok(found) => all.extend(found),
                    Err(error) => all.extend(Keys::unread(&chain(&error))),
                }
            }
            keys.insert(other.login.clone(), all);
        }
        Sources { keys, sudo: self.sudo(programs, observed) }
    }

    fn read(
        &mut self,
        root: &Dir,
        path: &str,
        uid: u32,
        before: &BTreeMap<String, (Stamp, Keys)>,
    ) -> Result<Keys, FileError> {
        let (directory, name) = split(path);
        let Some(dir) = root.walk(directory)? else { return Ok(Keys::default()) };
        let Some(found) = dir.stat(name)? else { return Ok(Keys::default()) };
        let unsound = |problem| FileError::Unsafe { path: dir.show(name), problem };
        if !is_regular(&found) {
            return Err(unsound("not a regular file"));
        }
        if found.st_size > MOST_BYTES {
            return Err(unsound("larger than 256 KiB"));
        }
        // sshd takes no keys from a file of somebody else's (StrictModes).
        if found.st_uid != uid && found.st_uid != 0 {
            return Ok(Keys::unknown(chain(&unsound("somebody else's"))));
        }
        let stamp = Stamp::of(&found);
        let known = before.get(path).filter(|(known, _)| *known == stamp);
        let keys = match known {
            Some((_, keys)) => keys.clone(),
            // It may have become another meanwhile: whatever it is, it is not read to its end.
            None => match dir.read_up_to(name, MOST_BYTES)? {
                Some((text, read)) if Stamp::of(&read) == stamp => authorized_keys::parse(&text),
                // Whoever writes it now has done so when the next look comes.
                Some(_) => before.get(path).map_or_else(
                    || Keys::unknown(chain(&unsound("changing"))),
                    |(_, keys)| keys.clone(),
                ),
                None => Keys::default(),
            },
        };
        self.keys.insert(path.to_owned(), (stamp, keys.clone()));
        Ok(keys)
    }

    /// Asks sshd where it looks for keys, once for each state of its configuration.
    fn key_files(&mut self, root: &Dir, programs: Programs) -> KeyFiles {
        let texts = match sshd_texts(root) {
            Ok(texts) => texts,
            Err(error) => return KeyFiles::unknown(&chain(&error)),
        };
        let parts: Vec<Digest> = texts.iter().map(|text| sha256(&[text.seen()])).collect();
        let state = sha256(&[format!("{parts:?}").as_bytes()]);
        if let Some((known, files)) = &self.sshd
            && *known == state
        {
            return files.clone();
        }
        let mut files = match programs.status("sshd", &["-T"]) {
            None => KeyFiles::default(),
            Some(Ok((0, said))) => KeyFiles::parse(&said),
            Some(Ok((status, _))) => KeyFiles::unknown(&format!("sshd ends with status {status}")),
            Some(Err(reason)) => KeyFiles::unknown(&reason),
        };
        if texts.iter().any(Text::is_conditional) {
            files.unknown.insert("sshd may look elsewhere, by a Match".to_owned());
        }
        self.sshd = Some((state, files.clone()));
        files
    }

    /// Has whoever could not say asked again.
    pub(super) fn forget_unknown(&mut self) {
        self.sudo.take_if(|(_, sudo)| matches!(sudo, Sudo::Unknown(_)));
    }

    /// Has all sudo files read, once for each state of them.
    fn sudo(&mut self, programs: Programs, observed: &ObservedState) -> Sudo {
        if !observed.foreign_sudo.contains_key("sudoers") {
            return Sudo::Rules(Vec::new());
        }
        let state = sudo_state(observed);
        if let Some((known, sudo)) = &self.sudo
            && *known == state
        {
            return sudo.clone();
        }
        let sudo = sudo_rules(programs);
        self.sudo = Some((state, sudo.clone()));
        sudo
    }

    /// Weighs our rules among all that sudo reads, once for each state of them and of whom they are
    /// for. What cannot be read is as it was.
    pub(super) fn weigh(
        &mut self,
        programs: Programs,
        observed: &ObservedState,
        expected: &Expected<'_>,
    ) -> Vec<Difference> {
        let people = effect::people(observed, expected);
        if people.is_empty() || !observed.foreign_sudo.contains_key("sudoers") {
            self.weighed = None;
            return Vec::new();
        }
        // A host without a name is none that a rule could name.
        let host = unistd::gethostname().ok().and_then(|name| name.into_string().ok());
        let host = host.unwrap_or_default();
        let files = sudo_state(observed);
        let state = sha256(&[files.as_bytes(), format!("{host} {people:?}").as_bytes()]);
        if let Some((known, weighed)) = &self.weighed
            && *known == state
        {
            return weighed.clone();
        }
        let answer = read_sudo(programs);
        // The inventory of the same look takes the same answer.
        self.sudo = Some((files, rules(&answer)));
        let weighed = answer.ok().and_then(|answer| weigh::weigh(&answer, &people, &host).ok());
        let Some(others) = weighed else {
            return self.weighed.as_ref().map(|(_, before)| before.clone()).unwrap_or_default();
        };
        let weighed = effect::sudo_differences(&others);
        self.weighed = Some((state, weighed.clone()));
        weighed
    }
}

fn sudo_state(observed: &ObservedState) -> Digest {
    let ours = observed.sudo.iter().flatten().map(|(name, file)| (name, sha256(&[&file.text])));
    let ours: BTreeMap<_, _> = ours.collect();
    sha256(&[format!("{:?} {ours:?}", observed.foreign_sudo).as_bytes()])
}

/// Has all sudo files read; in words why that is not possible.
pub(super) fn read_sudo(programs: Programs) -> Result<String, String> {
    // No configuration of its own, which could leave somebody out (cvtsudoers.conf(5)).
    let words = ["-c", "/dev/null", "-e", "-f", "json", "/etc/sudoers"];
    match programs.status("cvtsudoers", &words) {
        None => Err("there is no cvtsudoers to read its files with".to_owned()),
        Some(Ok((0, answer))) => Ok(answer),
        Some(Ok((status, _))) => Err(format!("cvtsudoers ends with status {status}")),
        Some(Err(reason)) => Err(reason),
    }
}

/// Returns who becomes root by sudo, by all of its files.
pub(super) fn sudo_rules(programs: Programs) -> Sudo {
    rules(&read_sudo(programs))
}

fn rules(answer: &Result<String, String>) -> Sudo {
    match answer {
        Ok(answer) => match cvtsudoers::parse(answer) {
            Ok(rules) => Sudo::Rules(rules),
            Err(error) => Sudo::Unknown(chain(&error)),
        },
        Err(reason) => Sudo::Unknown(reason.clone()),
    }
}

/// Returns the texts of sshd's configuration but for Muster's own.
pub(super) fn sshd_texts(root: &Dir) -> Result<Vec<Text>, FileError> {
    let mut texts = Vec::new();
    if let Some(dir) = root.walk("etc/ssh")? {
        texts.extend(dir.read("sshd_config")?.map(|(text, _)| Text::Read(text)));
    }
    if let Some(dir) = root.walk(ssh::DROP_IN_DIRECTORY)? {
        for name in dir.first_entries(usize::MAX)? {
            match name.to_str() {
                Some(ssh::DROP_IN) => {}
                Some(name) => match dir.read(name) {
                    Ok(read) => texts.extend(read.map(|(text, _)| Text::Read(text))),
                    // What it links to is not followed here; sshd itself is asked.
                    Err(FileError::Unsafe { problem, .. }) => texts.push(Text::Unread(problem)),
                    Err(error) => return Err(error),
                },
                None => texts.push(Text::Unread("its name is no text")),
            }
        }
    }
    Ok(texts)
}

/// Something that is mounted.
#[derive(Debug)]
pub(super) struct Mount {
    path: String,
    kind: String,
    /// Whether a user's own program answers for it.
    own: Own,
}

/// Who has mounted something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Own {
    /// Root, as far as that is known.
    Root,
    /// A user, by FUSE.
    User,
}

/// Who answers for what lies in a file system.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Backing {
    /// The kernel by itself.
    Kernel,
    /// A program of a user's, as it likes: sshd, which reads keys as their owner, is answered too.
    User,
    /// It may wait for somebody, or is not known.
    Unknown,
}

/// Returns what is mounted where, the last of a path last.
pub(super) fn mounts(root: &Dir) -> Vec<Mount> {
    let own = root.walk(&format!("proc/{}", std::process::id())).ok().flatten();
    let text = own.and_then(|own| own.read("mountinfo").ok().flatten()).map(|(text, _)| text);
    let text = String::from_utf8_lossy(&text.unwrap_or_default()).into_owned();
    let mounts = text.lines().filter_map(|line| {
        // id, parent, device, what of it, where, options, …, `-`, kind, source, options of the
        // file system (proc_pid_mountinfo(5)), among them whose FUSE it is (mount.fuse(8)).
        let path = line.split(' ').nth(4)?;
        let mut behind = line.split_once(" - ")?.1.split(' ');
        let kind = behind.next()?;
        let mut options = behind.nth(1).unwrap_or_default().split(',');
        let user = options.find_map(|option| option.strip_prefix("user_id="));
        let own = if user.is_some_and(|uid| uid != "0") { Own::User } else { Own::Root };
        Some(Mount { path: path.to_owned(), kind: kind.to_owned(), own })
    });
    mounts.collect()
}

/// Returns who answers for what is at a path.
pub(super) fn backing(mounts: &[Mount], path: &str) -> Backing {
    let holds = |mount: &&Mount| {
        let rest = path.strip_prefix(mount.path.trim_end_matches('/'));
        rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    };
    match mounts.iter().filter(holds).max_by_key(|mount| mount.path.len()) {
        Some(mount) if ANSWERING.contains(&mount.kind.as_str()) => Backing::Kernel,
        Some(Mount { own: Own::User, .. }) => Backing::User,
        Some(_) | None => Backing::Unknown,
    }
}

#[cfg(test)]
mod tests;
