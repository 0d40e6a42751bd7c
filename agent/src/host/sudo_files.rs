//! The sudo files that are not ours, wherever sudo reads them: `/etc/sudoers`, its directory, and
//! what these include. They are walked to as root's files are, by descriptor and through no link.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    ffi::OsStr,
};

use muster_proto::crypto::sha256;
use nix::{sys::stat::FileStat, unistd};

use crate::{
    format::sudoers::{
        self,
        included::{Included, included},
    },
    observed::Content,
};

use super::{
    chain,
    files::{Dir, split},
    inventory::{Backing, Mount, backing, mounts},
    observe::content,
};

/// So many files are looked into; sudo itself stops at an inclusion of depth 128.
const MOST_FILES: usize = 256;
/// So many are waiting at most.
const MOST_WAITING: usize = 4 * MOST_FILES;
/// The most bytes of one.
const MOST_BYTES: i64 = 1 << 20;

/// Under this name it is told that there are more.
const MORE: &str = "more";

/// Returns what sudo reads besides our files, by path: from `/etc` on where it is below. sudo-rs has
/// a main file of its own, which goes first. Whatever keeps a file from being read is told of it and
/// keeps nothing else from being done.
pub(super) fn foreign(root: &Dir) -> BTreeMap<String, Content> {
    let mut search = Search::new(root);
    for main in ["/etc/sudoers", "/etc/sudoers-rs"] {
        search.waiting.push_back(Included::File(main.to_owned()));
    }
    // It is told what lies there also while no other file includes it.
    search.waiting.push_back(Included::Directory(sudoers::DIRECTORY.to_owned()));
    while let Some(next) = search.waiting.pop_front() {
        match next {
            Included::Directory(path) => search.list(path.trim_end_matches('/')),
            Included::File(path) => search.file(&path),
        }
    }
    search.found
}

struct Search<'a> {
    root: &'a Dir,
    /// What is mounted where.
    mounts: Vec<Mount>,
    /// The host's name without its domain.
    host: String,
    waiting: VecDeque<Included>,
    listed: BTreeSet<String>,
    found: BTreeMap<String, Content>,
}

impl<'a> Search<'a> {
    fn new(root: &'a Dir) -> Self {
        let host = unistd::gethostname().ok().and_then(|name| name.into_string().ok());
        let host = host.unwrap_or_default().split('.').next().unwrap_or_default().to_owned();
        let (waiting, listed, found) = (VecDeque::new(), BTreeSet::new(), BTreeMap::new());
        Self { root, mounts: mounts(root), host, waiting, listed, found }
    }

    /// Whoever includes something from a file system that may not answer must not hold the keeper up.
    fn is_answering(&self, path: &str) -> bool {
        path.starts_with("/etc/") || backing(&self.mounts, path) == Backing::Kernel
    }

    fn take(&mut self, path: &str, content: Content) {
        if self.found.len() < MOST_FILES {
            self.found.insert(path.strip_prefix("/etc/").unwrap_or(path).to_owned(), content);
        } else {
            self.overflow();
        }
    }

    fn overflow(&mut self) {
        self.found.insert(MORE.to_owned(), Content::Unread(sha256(&[MORE.as_bytes()])));
        self.waiting.clear();
    }

    fn add(&mut self, included: Included) {
        if self.waiting.len() < MOST_WAITING {
            self.waiting.push_back(included);
        } else {
            self.overflow();
        }
    }

    fn list(&mut self, path: &str) {
        if !self.listed.insert(path.to_owned()) {
            return;
        }
        if !self.is_answering(path) {
            return self.take(path, unread(b"it may not answer"));
        }
        let listed = self.root.walk(path).and_then(|dir| {
            let Some(dir) = dir else { return Ok(Vec::new()) };
            let mut entries = dir.first_entries(MOST_WAITING)?;
            entries.sort();
            Ok(entries.into_iter().map(|name| (dir.stat(&name), name)).collect())
        });
        match listed {
            Ok(entries) => {
                for (found, name) in entries {
                    self.entry(path, &name, found.ok().flatten());
                }
            }
            // A link in the way: sudo may follow it, root here does not.
            Err(error) => self.take(path, unread(chain(&error).as_bytes())),
        }
    }

    fn entry(&mut self, directory: &str, name: &OsStr, found: Option<FileStat>) {
        let bytes = name.as_encoded_bytes();
        if bytes.contains(&b'.') || bytes.ends_with(b"~") {
            return;
        }
        match name.to_str() {
            Some(name) if directory == sudoers::DIRECTORY && name.starts_with(sudoers::PREFIX) => {}
            Some(name) => self.add(Included::File(format!("{directory}/{name}"))),
            // sudo reads it, whatever it is called.
            None => {
                let state = found.map(|f| (f.st_ino, f.st_size, f.st_ctime, f.st_ctime_nsec));
                let path = format!("{directory}/{}", bytes.escape_ascii());
                self.take(&path, unread(format!("{state:?}").as_bytes()));
            }
        }
    }

    fn file(&mut self, path: &str) {
        let path = path.replace("%h", &self.host);
        if self.found.contains_key(path.strip_prefix("/etc/").unwrap_or(&path)) {
            return;
        }
        if !self.is_answering(&path) {
            return self.take(&path, unread(b"it may not answer"));
        }
        let (directory, name) = split(&path);
        let mut more = Vec::new();
        let read = self.root.walk(directory).and_then(|dir| {
            let Some(dir) = dir else { return Ok(None) };
            content(&dir, name, MOST_BYTES, |text| {
                more = included(text);
                true
            })
        });
        let read = read.unwrap_or_else(|error| Some(unread(chain(&error).as_bytes())));
        if let Some(content) = read {
            self.take(&path, content);
        }
        for included in more {
            self.add(included.beside(directory));
        }
    }
}

impl Included {
    /// A path without a slash in front begins where the file lies that names it.
    fn beside(self, directory: &str) -> Self {
        let whole = |path: String| {
            if path.starts_with('/') { path } else { format!("{directory}/{path}") }
        };
        match self {
            Self::File(path) => Self::File(whole(path)),
            Self::Directory(path) => Self::Directory(whole(path)),
        }
    }
}

fn unread(why: &[u8]) -> Content {
    Content::Unread(sha256(&[why]))
}

#[cfg(test)]
#[expect(clippy::disallowed_methods, reason = "a test lays out its root")]
mod tests {
    use std::{fs, os::unix::ffi::OsStrExt, path::Path, sync::Arc};

    use super::*;
    use crate::host::files::Faults;

    fn names(lay: impl Fn(&Path)) -> BTreeMap<String, Content> {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir_all(folder.path().join("etc/sudoers.d")).unwrap();
        let mounts = "1 0 8:1 / / rw - ext4 x rw\n2 1 0:9 / /net rw - nfs4 x rw\n";
        put(folder.path(), &format!("proc/{}/mountinfo", std::process::id()), mounts);
        lay(folder.path());
        foreign(&Dir::open(folder.path(), Arc::new(Faults::none())).unwrap())
    }

    fn put(root: &Path, path: &str, text: &str) {
        let path = root.join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    #[test]
    fn what_files_include_is_read_too_and_once_and_ours_is_not() {
        let found = names(|root| {
            put(root, "etc/sudoers", "@include sudoers.local\n#includedir /etc/sudoers.d\n");
            put(root, "etc/sudoers.local", "@include /opt/rules/main\n@include /etc/sudoers\n");
            put(root, "opt/rules/main", "@includedir more\n@include gone\n");
            for name in ["one", "two.bak", "three~"] {
                put(root, &format!("opt/rules/more/{name}"), "");
            }
            for name in ["50-muster-dba", "mine", "mine.old"] {
                put(root, &format!("etc/sudoers.d/{name}"), "");
            }
        });
        let names: Vec<&str> = found.keys().map(String::as_str).collect();
        let expected = [
            "/opt/rules/main",
            "/opt/rules/more/one",
            "sudoers",
            "sudoers.d/mine",
            "sudoers.local",
        ];
        assert_eq!(names, expected);
        assert!(found.values().all(|content| matches!(content, Content::Read(_))));
    }

    #[test]
    fn an_included_file_that_is_a_link_is_told_as_not_read() {
        let found = names(|root| {
            put(root, "etc/sudoers", "@include local\n@include there/local\n@includedir there\n");
            std::os::unix::fs::symlink("/elsewhere", root.join("etc/local")).unwrap();
            std::os::unix::fs::symlink("/elsewhere", root.join("etc/there")).unwrap();
        });
        for name in ["local", "there/local", "there"] {
            assert!(matches!(found[name], Content::Unread(_)), "{name}");
        }
    }

    #[test]
    fn nothing_that_is_included_keeps_the_rest_from_being_read() {
        let found = names(|root| {
            let long = "x".repeat(300);
            let text = format!("@include {long}\n@include odd/socket\n@include /net/rules\n");
            put(root, "etc/sudoers", &(text + "@includedir /net/more\n@include local.%h\n"));
            fs::create_dir(root.join("etc/odd")).unwrap();
            std::os::unix::net::UnixListener::bind(root.join("etc/odd/socket")).unwrap();
            put(root, "net/rules", "");
            let name = std::ffi::OsStr::from_bytes(b"\xffodd");
            fs::write(root.join("etc/sudoers.d").join(name), "").unwrap();
            let host = nix::unistd::gethostname().unwrap().into_string().unwrap();
            put(root, &format!("etc/local.{}", host.split('.').next().unwrap()), "");
        });
        let unread = |name: &str| matches!(found[name], Content::Unread(_));
        for name in ["odd/socket", "/net/rules", "/net/more", "sudoers.d/\\xffodd"] {
            assert!(unread(name), "{name}: {found:?}");
        }
        assert!(found.keys().any(|name| name.starts_with("xxx") && unread(name)), "{found:?}");
        let read = found.iter().filter(|(_, content)| matches!(content, Content::Read(_)));
        let read: Vec<&str> = read.map(|(name, _)| name.split('.').next().unwrap()).collect();
        assert_eq!(read, ["local", "sudoers"]);
    }

    #[test]
    fn a_directory_that_is_included_over_and_over_is_listed_once() {
        let found = names(|root| {
            put(root, "etc/sudoers", &"@includedir /opt/rules\n".repeat(MOST_WAITING - 2));
            put(root, "opt/rules/one", &"@includedir /opt/rules\n".repeat(100));
        });
        let names: Vec<&str> = found.keys().map(String::as_str).collect();
        assert_eq!(names, ["/opt/rules/one", "sudoers"]);
    }

    #[test]
    fn files_up_to_a_bound_are_read_and_that_there_are_more_is_told() {
        let many = |count: usize| {
            names(|root| {
                for number in 0..count {
                    put(root, &format!("etc/sudoers.d/f{number}"), "");
                }
            })
        };
        let all = many(MOST_FILES);
        assert_eq!((all.len(), all.contains_key(MORE)), (MOST_FILES, false));
        let more = many(MOST_FILES + 1);
        assert_eq!((more.len(), more.contains_key(MORE)), (MOST_FILES + 1, true));
    }
}
