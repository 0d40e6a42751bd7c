//! The sudo files that are not ours, wherever sudo reads them: `/etc/sudoers`, its directory, and
//! what these include. They are walked to as root's files are, by descriptor and through no link.

use std::collections::{BTreeMap, VecDeque};

use muster_proto::crypto::sha256;

use crate::{
    format::sudoers::{
        self,
        included::{Included, included},
    },
    observed::Content,
};

use super::{
    files::{Dir, FileError, split},
    observe::content,
};

/// So many files are looked into; sudo itself stops at an inclusion of depth 128.
const MOST_FILES: usize = 256;

/// Under this name it is told that there are more.
const MORE: &str = "more";

/// Returns what sudo reads besides our files, by path: from `/etc` on where it is below. sudo-rs
/// has a main file of its own, which goes first.
pub(super) fn foreign(root: &Dir) -> Result<BTreeMap<String, Content>, FileError> {
    let main = ["/etc/sudoers", "/etc/sudoers-rs"].map(|path| Included::File(path.to_owned()));
    let mut waiting = VecDeque::from(main);
    // It is told what lies there also while no other file includes it.
    waiting.push_back(Included::Directory(sudoers::DIRECTORY.to_owned()));
    let mut found = BTreeMap::new();
    while let Some(next) = waiting.pop_front() {
        match next {
            Included::Directory(path) => match files(root, &path) {
                Ok(files) => waiting.extend(files),
                Err(error) if path == sudoers::DIRECTORY => return Err(error),
                // A link in the way: sudo may follow it, root here does not.
                Err(error) => {
                    found.insert(path, unread(&error));
                }
            },
            Included::File(path) => {
                let name = path.strip_prefix("/etc/").unwrap_or(&path).to_owned();
                if found.contains_key(&name) {
                    continue;
                }
                if found.len() == MOST_FILES {
                    found.insert(MORE.to_owned(), Content::Unread(sha256(&[b"more"])));
                    break;
                }
                let (directory, _) = split(&path);
                let read = read(root, &path, |text| {
                    let included = included(text).into_iter();
                    waiting.extend(included.map(|included| included.beside(directory)));
                })?;
                found.extend(read.map(|content| (name, content)));
            }
        }
    }
    Ok(found)
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

/// Returns the files of a directory that sudo reads and that are not ours.
fn files(root: &Dir, path: &str) -> Result<Vec<Included>, FileError> {
    let path = path.trim_end_matches('/');
    let is_ours = |name: &str| path == sudoers::DIRECTORY && name.starts_with(sudoers::PREFIX);
    let is_read = |name: &String| !name.contains('.') && !name.ends_with('~') && !is_ours(name);
    let Some(dir) = root.walk(path)? else { return Ok(Vec::new()) };
    let names = dir.names()?.into_iter().filter(is_read);
    Ok(names.map(|name| Included::File(format!("{path}/{name}"))).collect())
}

fn read(root: &Dir, path: &str, mut take: impl FnMut(&[u8])) -> Result<Option<Content>, FileError> {
    let (directory, name) = split(path);
    match root.walk(directory) {
        Ok(Some(dir)) => content(&dir, name, |text| {
            take(text);
            true
        }),
        Ok(None) => Ok(None),
        Err(error) => Ok(Some(unread(&error))),
    }
}

fn unread(error: &FileError) -> Content {
    Content::Unread(sha256(&[super::chain(error).as_bytes()]))
}

#[cfg(test)]
#[expect(clippy::disallowed_methods, reason = "a test lays out its root")]
mod tests {
    use std::{fs, path::Path, sync::Arc};

    use super::*;
    use crate::host::files::Faults;

    fn names(lay: impl Fn(&Path)) -> BTreeMap<String, Content> {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir_all(folder.path().join("etc/sudoers.d")).unwrap();
        lay(folder.path());
        foreign(&Dir::open(folder.path(), Arc::new(Faults::none())).unwrap()).unwrap()
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
        for name in ["local", "there/local", "/etc/there"] {
            assert!(matches!(found[name], Content::Unread(_)), "{name}");
        }
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
