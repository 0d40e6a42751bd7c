#![expect(clippy::disallowed_methods, reason = "a test builds its root")]

use std::{
    fs,
    os::unix::fs::{MetadataExt, symlink},
    path::Path,
    sync::Arc,
};

use super::*;
use crate::host::files::Faults;

fn root(path: &Path) -> Dir {
    Dir::open(path, Arc::new(Faults::none())).unwrap()
}

fn folder() -> tempfile::TempDir {
    let folder = tempfile::tempdir_in("/dev/shm").unwrap();
    fs::create_dir_all(folder.path().join("etc/ssh")).unwrap();
    fs::write(folder.path().join("etc/passwd"), "root").unwrap();
    folder
}

/// Asks what `ask` asks, then changes something, and says whether the answers are the same.
fn is_the_same(ask: impl FnOnce(&Dir), change: impl FnOnce(&Path)) -> bool {
    let folder = folder();
    let root = root(folder.path());
    let (look, asked) = root.taking_down();
    ask(&look);
    let before = asked.again(&root).unwrap();
    assert_eq!(asked.again(&root).unwrap(), before, "nothing was changed");
    change(folder.path());
    asked.again(&root).is_none_or(|after| after.digest == before.digest)
}

#[test]
fn what_was_missing_and_has_come_is_another_answer() {
    let walk = |path: &'static str| move |root: &Dir| assert!(root.walk(path).unwrap().is_none());
    let make = |path: &'static str| move |root: &Path| fs::create_dir_all(root.join(path)).unwrap();
    assert!(!is_the_same(walk("run/sudo/ts"), make("run")));
    assert!(!is_the_same(walk("etc/ssh/keys"), make("etc/ssh/keys")));
    assert!(is_the_same(walk("etc/ssh/keys"), make("etc/other")), "nobody asked for it");
    let read = |root: &Dir| assert!(root.need("etc").unwrap().read("shadow").unwrap().is_none());
    assert!(!is_the_same(read, |root| fs::write(root.join("etc/shadow"), "").unwrap()));
}

#[test]
fn a_directory_of_other_names_is_another_answer_only_to_whoever_listed_it() {
    let change = |root: &Path| {
        let etc = root.join("etc");
        let before = fs::metadata(&etc).unwrap().ctime_nsec();
        // Until the clock has ticked.
        while fs::metadata(&etc).unwrap().ctime_nsec() == before {
            fs::write(etc.join("new"), "").unwrap();
            fs::remove_file(etc.join("new")).unwrap();
        }
    };
    let list = |root: &Dir| assert_eq!(root.need("etc").unwrap().names().unwrap().len(), 2);
    assert!(!is_the_same(list, change));
    assert!(is_the_same(|root| drop(root.need("etc")), change));
}

#[test]
fn a_directory_that_is_another_or_a_link_is_another_answer() {
    let ask = |root: &Dir| drop(root.need("etc/ssh").unwrap());
    let away = |root: &Path| fs::rename(root.join("etc/ssh"), root.join("away")).unwrap();
    assert!(!is_the_same(ask, |root| {
        away(root);
        fs::create_dir(root.join("etc/ssh")).unwrap();
    }));
    assert!(!is_the_same(ask, |root| {
        away(root);
        symlink(root.join("away"), root.join("etc/ssh")).unwrap();
    }));
}

#[test]
fn what_cannot_be_asked_again_has_no_answer() {
    let folder = folder();
    let root = root(folder.path());
    let (look, asked) = root.taking_down();
    look.need("etc").unwrap();
    assert!(asked.again(&root).is_some());
    asked.beyond();
    assert_eq!(asked.again(&root), None);
}

#[test]
fn what_is_younger_than_a_while_when_a_look_begins_has_not_settled() {
    let answers = Answers { digest: sha256(&[]), youngest: 1_000 };
    assert!(!answers.had_settled(Timestamp(1_000 + GRAIN)));
    assert!(answers.had_settled(Timestamp(1_000 + GRAIN + 1)));
    // A clock that was set back: all that was changed before is of a time to come.
    assert!(!answers.had_settled(Timestamp(900)));
}

#[test]
fn of_all_that_was_asked_the_youngest_counts_whatever_was_asked_of_it() {
    let folder = folder();
    let root = root(folder.path());
    let (look, asked) = root.taking_down();
    look.need("etc").unwrap().stat("passwd").unwrap();
    let youngest = fs::metadata(folder.path().join("etc/passwd")).unwrap().ctime();
    let answers = asked.again(&root).unwrap();
    assert!(answers.youngest >= u64::try_from(youngest).unwrap());
}
