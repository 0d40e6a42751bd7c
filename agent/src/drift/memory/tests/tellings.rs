//! How often what one needs not be root to change is told.

use muster_proto::{
    crypto::sha256,
    drift::{Culprit, DriftKind, Severity},
    receipt::HostMode,
};

use super::{
    super::{APART_SECONDS, AT_ONCE, Looked, Tellings},
    Host, foreign,
};
use crate::drift::{Difference, Place, Touch, What};

fn keys(found: &str) -> Difference {
    let what = What::new(DriftKind::KeysUngranted, "bob", "");
    Difference { what, severity: Severity::High, ..foreign(found) }
}

#[test]
fn what_anybody_can_change_is_told_at_once_some_times_and_then_as_it_stands_each_minute() {
    let mut host = Host::settled(HostMode::Enforce);
    for time in 1..=AT_ONCE {
        host.boot = 1_001;
        let told = host.see(&[keys(&time.to_string())]);
        assert_eq!(told, [format!("bob {time} reported since 1001 round 0")]);
    }
    assert_eq!(host.memory.tellings.wait(1_001), None);
    for look in 100..300 {
        host.boot = 1_002 + (look - 100) / 4;
        let seen = [keys(&look.to_string())];
        let seen = if look % 2 == 0 { &seen[..] } else { &[] };
        assert_eq!(host.see(seen), [""; 0], "{look}");
        assert_eq!(host.memory.tellings.wait(1_060), Some(1), "{look}");
    }
    host.boot = 1_001 + APART_SECONDS - 1;
    assert_eq!(host.see(&[keys("a")]), [""; 0]);
    assert_eq!(host.see(&[keys("a")]), ["bob a reported since 1001 round 0"]);
    assert_eq!(host.memory.tellings.wait(host.boot), None, "nothing is held back");
    for _ in 1..AT_ONCE {
        assert_eq!(host.see(&[]).len() + host.see(&[keys("b")]).len(), 2);
        host.boot += APART_SECONDS;
    }
    assert_eq!(host.memory.tellings.wait(host.boot), None);
    host.boot += APART_SECONDS;
    assert_eq!(host.see(&[keys("b")]), [""; 0]);
    assert_eq!(host.memory.tellings, Tellings::default(), "nothing is remembered for longer");
}

#[test]
fn what_has_come_back_before_it_is_told_has_never_gone() {
    let mut host = Host::settled(HostMode::Enforce);
    for time in 0..AT_ONCE {
        assert_eq!(host.see(&[keys(&time.to_string())]).len(), 1);
    }
    let last = keys(&(AT_ONCE - 1).to_string());
    assert_eq!(host.see(&[]), [""; 0]);
    assert!(host.memory.tellings.wait(host.boot).is_some());
    assert_eq!(host.see(&[last]), [""; 0]);
    assert_eq!(host.memory.tellings.wait(host.boot), None);
}

#[test]
fn only_what_needs_no_root_has_to_wait() {
    let waits = |kind, subject: &str, place: &str| {
        let mut host = Host::settled(HostMode::Observe);
        let what = What::new(kind, subject, place);
        let other = |found: u32| Difference { what: what.clone(), ..foreign(&found.to_string()) };
        for found in 0..AT_ONCE {
            assert_eq!(host.see(&[other(found)]).len(), 1);
        }
        host.see(&[other(AT_ONCE)]).is_empty()
    };
    for (kind, subject, place) in [
        (DriftKind::AccountNew, "bob", ""),
        (DriftKind::KeysUngranted, "bob", ""),
        (DriftKind::JobsBack, "bob", ""),
        (DriftKind::Running, "bob", ""),
        (DriftKind::AccountChanged, "bob", "shell"),
        (DriftKind::AccountChanged, "bob", "name"),
    ] {
        assert!(waits(kind, subject, place), "{kind:?}");
    }
    for (kind, subject, place) in [
        (DriftKind::KeysUngranted, "root", "authorized_keys"),
        (DriftKind::AccountChanged, "bob", "uid"),
        (DriftKind::AccountChanged, "bob", "home"),
        (DriftKind::UidZero, "bob", ""),
        (DriftKind::SudoForeign, "sudoers.d/bob", ""),
        (DriftKind::MemberUngranted, "bob", "wheel"),
    ] {
        assert!(!waits(kind, subject, place), "{kind:?}");
    }
}

#[test]
fn who_did_what_is_held_back_is_told_with_it() {
    let mut host = Host::settled(HostMode::Enforce);
    let account =
        |found| Difference { what: What::new(DriftKind::AccountNew, "bob", ""), ..foreign(found) };
    let mut see = |found, pid: Option<u32>, boot| {
        host.boot = boot;
        let touch = |pid| Touch {
            place: Place::Etc,
            name: "passwd".to_owned(),
            culprit: Some(Culprit { pid, ..Culprit::default() }),
        };
        let touches: Vec<Touch> = pid.map(touch).into_iter().collect();
        let looked = Looked { ungranted: vec![account(found)], ..Looked::default() };
        let told = host.take(&looked, &touches);
        told.first().map(|one| one.culprit.as_ref().map(|by| by.pid))
    };
    for found in ["1", "2", "3", "4"] {
        assert_eq!(see(found, Some(7), 2_000), Some(Some(7)));
    }
    assert_eq!(see("5", Some(8), 2_010), None);
    assert_eq!(see("5", None, 2_060), Some(Some(8)));
}

#[test]
fn what_is_held_back_while_a_bundle_comes_is_told_all_the_same() {
    let mut host = Host::settled(HostMode::Observe);
    let what = What::new(DriftKind::JobsBack, "bob", "");
    let jobs = [Difference { what, ..foreign("a crontab") }];
    for _ in 0..AT_ONCE / 2 {
        assert_eq!(host.look(&jobs, &jobs).len(), 1);
        assert_eq!(host.look(&[], &[]).len(), 1, "gone");
    }
    host.wanted = sha256(&[b"something else"]);
    assert_eq!(host.look(&jobs, &jobs), [""; 0]);
    host.boot += APART_SECONDS;
    assert_eq!(host.look(&jobs, &jobs).len(), 1);
}
