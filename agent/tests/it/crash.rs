//! A stop before and after every step that changes a name: whatever was done by then, the account
//! files are whole, and the next start finishes the work.

use std::{
    fmt::Display,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
};

use muster_agent::{
    apply::{Reach, apply},
    format::Table,
    host::files::Faults,
    ownership::Ownership,
};

use crate::world::{Desired, Root, converge, look, need_root};

pub fn first() -> Desired {
    Desired::default()
        .user("ana", 2_001)
        .password("ana", 12)
        .user("ben", 2_002)
        .unix_group("web", 3_000, &["ana"])
        .host_unix_group("docker", "ben")
        .sudo("ops", "ALL", &["ana", "ben"])
}

pub fn second() -> Desired {
    Desired::default().user("ana", 2_001).user("cas", 2_003).sudo("ops", "ALL", &["ana"])
}

/// Everybody in passwd has a shadow line, a primary Unix group and no empty password, and every
/// member of a Unix group is somebody: what pwck and grpck look at.
fn check(root: &Root, point: impl Display) {
    let table = |name: &str| Table::parse(root.read(name).into_bytes()).unwrap();
    let (passwd, shadow) = (table("etc/passwd"), table("etc/shadow"));
    let (group, gshadow) = (table("etc/group"), table("etc/gshadow"));
    let gids: Vec<_> = group.entries().filter_map(|entry| entry.number(2)).collect();
    for entry in passwd.entries() {
        let name = entry.text(0).unwrap();
        assert_eq!(entry.line().split(|b| *b == b':').count(), 7, "{name} at {point}");
        let shadow = shadow.get(name).unwrap_or_else(|| panic!("{name} at {point}"));
        assert!(!shadow.field(1).is_empty(), "{name} at {point}");
        assert!(gids.contains(&entry.number(3).unwrap()), "{name} at {point}");
    }
    for entry in group.entries() {
        let name = entry.text(0).unwrap();
        assert!(gshadow.get(name).is_some(), "{name} at {point}");
    }
    assert!(root.read("etc/passwd").starts_with("# local accounts\nroot:x:0:0:"), "{point}");
}

/// Stops at one point of going from one state to another; says whether the point was reached.
fn stop_at(point: usize, from: Option<&Desired>, to: &Desired) -> bool {
    let root = Root::new();
    let mut saved = Ownership::default();
    if let Some(from) = from {
        converge(&mut root.host(), from, &mut saved);
    }
    let passed = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&passed);
    let faults = Faults::at(move |_| counter.fetch_add(1, Ordering::Relaxed) == point);
    {
        let mut host = root.host_with(faults);
        let (_, plan) = look(&mut host, to, &saved);
        // The keeper saves this first; what apply returns is lost in the crash.
        let before = std::mem::replace(&mut saved, plan.ownership_after.clone());
        apply(&plan, Reach::Everything, &before, &mut host);
    }
    assert_finished(&root, to, &mut saved, point);
    passed.load(Ordering::Relaxed) > point
}

/// Fails if what a stop has left is not sound, or the next start does not finish it.
pub fn assert_finished(root: &Root, to: &Desired, saved: &mut Ownership, point: impl Display) {
    check(root, &point);
    let mut host = root.host();
    converge(&mut host, to, saved);
    let (_, plan) = look(&mut host, to, saved);
    assert!(plan.is_empty(), "at {point}: {:#?}", plan.actions);
    assert!(plan.findings.is_empty(), "at {point}: {:#?}", plan.findings);
    check(root, &point);
    assert_eq!(root.leftovers(), Vec::<String>::new(), "at {point}");
    assert!(!root.path("etc/passwd.lock").exists(), "at {point}");
}

#[test]
fn a_stop_anywhere_while_granting_is_finished_by_the_next_start() {
    need_root();
    let reached = (0..500).take_while(|point| stop_at(*point, None, &first())).count();
    assert!(reached > 50, "{reached}");
}

#[test]
fn a_stop_anywhere_while_revoking_is_finished_by_the_next_start() {
    need_root();
    let reached = (0..500).take_while(|point| stop_at(*point, Some(&first()), &second())).count();
    assert!(reached > 50, "{reached}");
}

#[test]
fn nothing_is_done_between_the_renames_of_the_account_files() {
    need_root();
    let root = Root::new();
    let passed = Arc::new(Mutex::new(Vec::new()));
    let list = Arc::clone(&passed);
    let faults = Faults::at(move |point| {
        list.lock().unwrap().push(point.to_owned());
        false
    });
    let mut host = root.host_with(faults);
    let (_, plan) = look(&mut host, &first(), &Ownership::default());
    apply(&plan, Reach::Everything, &Ownership::default(), &mut host);
    let expected: Vec<String> = ["gshadow", "group", "shadow", "passwd"]
        .iter()
        .flat_map(|file| [format!("before {file}"), format!("after {file}")])
        .collect();
    let passed = passed.lock().unwrap();
    assert!(passed.windows(expected.len()).any(|points| points == expected), "{passed:?}");
}
