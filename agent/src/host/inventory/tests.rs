#![expect(clippy::disallowed_methods, reason = "a home as its user may have made it")]

use std::{fs, os::unix::fs::symlink, path::Path, sync::Arc};

use nix::{sys::stat::Mode, unistd};

use super::*;
use crate::host::files::Faults;

const KEY: &str =
    "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA\n";

struct Root {
    folder: tempfile::TempDir,
    learnt: Learnt,
}

impl Root {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let proc = folder.path().join(format!("proc/{}", std::process::id()));
        fs::create_dir_all(&proc).unwrap();
        let mounts = "1 1 8:1 / / rw - ext4 /dev/a rw\n2 1 0:9 / /far rw - nfs4 far:/ rw\n";
        fs::write(proc.join("mountinfo"), mounts).unwrap();
        fs::create_dir_all(folder.path().join("home/ann/.ssh")).unwrap();
        Self { folder, learnt: Learnt::default() }
    }

    fn path(&self, path: &str) -> std::path::PathBuf {
        self.folder.path().join(path)
    }

    fn keys(&mut self, home: &str) -> Keys {
        let root = Dir::open(self.folder.path(), Arc::new(Faults::none())).unwrap();
        let uid = unistd::getuid().as_raw();
        let other = Other { login: "ann".to_owned(), uid, home: home.to_owned() };
        let observed = ObservedState::default();
        let sources = self.learnt.sources(&root, Programs::None, &observed, &[other]);
        sources.keys["ann"].clone()
    }
}

fn file() -> &'static str {
    "home/ann/.ssh/authorized_keys"
}

#[test]
fn keys_of_a_home_are_found_and_found_anew_when_they_have_changed() {
    let mut root = Root::new();
    assert_eq!(root.keys("/home/ann"), Keys::default());
    fs::write(root.path(file()), KEY).unwrap();
    for _ in 0..2 {
        assert_eq!(root.keys("/home/ann").found.len(), 1);
    }
    fs::remove_file(root.path(file())).unwrap();
    assert_eq!(root.keys("/home/ann"), Keys::default());
    assert_eq!(root.keys("/home/nobody"), Keys::default());
}

#[test]
fn no_file_of_a_user_leads_elsewhere_or_holds_anybody_up() {
    type Make = fn(&Path);
    let makes: [(&str, Make); 4] = [
        ("not a regular file", |path| symlink("/etc/passwd", path).unwrap()),
        ("not a regular file", |path| unistd::mkfifo(path, Mode::S_IRUSR).unwrap()),
        ("not a regular file", |path| fs::create_dir(path).unwrap()),
        ("larger than", |path| {
            let most = u64::try_from(MOST_BYTES).unwrap();
            fs::File::create(path).unwrap().set_len(most + 1).unwrap();
        }),
    ];
    for (why, make) in makes {
        let mut root = Root::new();
        make(&root.path(file()));
        let keys = root.keys("/home/ann");
        assert!(keys.found.is_empty(), "{keys:?}");
        assert!(keys.unknown.iter().any(|unknown| unknown.contains(why)), "{keys:?}");
    }
    let mut root = Root::new();
    let most = format!("{KEY}{}", "#".repeat(usize::try_from(MOST_BYTES).unwrap() - KEY.len()));
    fs::write(root.path(file()), most).unwrap();
    assert_eq!(root.keys("/home/ann").found.len(), 1);
    // A home that is a link.
    symlink("ann", root.path("home/bob")).unwrap();
    let keys = root.keys("/home/bob");
    assert!(keys.found.is_empty() && !keys.unknown.is_empty(), "{keys:?}");
}

#[test]
fn a_home_that_may_not_answer_is_not_touched() {
    let mut root = Root::new();
    fs::create_dir_all(root.path("far/ann/.ssh")).unwrap();
    fs::write(root.path("far/ann/.ssh/authorized_keys"), KEY).unwrap();
    let keys = root.keys("/far/ann");
    assert!(keys.found.is_empty(), "{keys:?}");
    assert_eq!(keys.unknown.len(), 1);
    assert!(keys.unseen.contains("/far/ann/.ssh/authorized_keys"), "{keys:?}");
    assert_eq!(backing(&mounts(&open(&root)), "/farther/ann"), Backing::Kernel);
    assert_eq!(backing(&[], "/home/ann"), Backing::Unknown);
}

#[test]
fn keys_behind_a_file_system_of_a_users_own_are_told_as_keys_that_are_not_read() {
    let mut root = Root::new();
    fs::write(root.path(file()), KEY).unwrap();
    let mountinfo = root.path(&format!("proc/{}/mountinfo", std::process::id()));
    let before = fs::read_to_string(&mountinfo).unwrap();
    let mut mounted = |options: &str| {
        let fuse = format!("3 1 0:9 / /home/ann/.ssh rw - fuse.mine mine {options}\n");
        fs::write(&mountinfo, format!("{before}{fuse}")).unwrap();
        root.keys("/home/ann")
    };
    let keys = mounted("rw,user_id=1000,group_id=1000");
    assert!(keys.unread.is_some() && keys.unseen.is_empty(), "{keys:?}");
    let keys = mounted("rw,user_id=0,group_id=0,allow_other");
    assert!(keys.unread.is_none() && keys.unseen.len() == 2, "{keys:?}");
}

#[test]
fn a_file_of_keys_that_comes_changes_or_is_covered_is_not_as_it_was() {
    let mut root = Root::new();
    let still = |root: &Root| root.learnt.still(&open(root));
    assert_eq!(root.keys("/home/ann"), Keys::default());
    assert_eq!(still(&root), Still::AsItWas);
    fs::write(root.path(file()), KEY).unwrap();
    assert_eq!(still(&root), Still::Changed);
    root.keys("/home/ann");
    assert_eq!(still(&root), Still::AsItWas);
    fs::write(root.path(file()), format!("{KEY}{KEY}")).unwrap();
    assert_eq!(still(&root), Still::Changed);
    root.keys("/home/ann");
    let mountinfo = root.path(&format!("proc/{}/mountinfo", std::process::id()));
    fs::write(mountinfo, "1 1 8:1 / / rw - ext4 /dev/a rw\n2 1 0:9 / /home rw - nfs4 x rw\n")
        .unwrap();
    assert_eq!(still(&root), Still::Changed);
    // What cannot be looked at keeps nothing awake, and a home that is a link does not either.
    root.keys("/home/ann");
    assert_eq!(still(&root), Still::AsItWas);
}

fn open(root: &Root) -> Dir {
    Dir::open(root.folder.path(), Arc::new(Faults::none())).unwrap()
}
