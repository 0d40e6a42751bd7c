//! Who is asked about when there is no room for all.

use std::{collections::BTreeSet, fs};

use super::{
    super::{
        News,
        choice::{IN_TURN, MOST},
    },
    World,
};
use crate::drift::{effect::Asking, probe::Verdict};

#[test]
fn of_more_than_can_be_asked_about_at_once_each_of_whom_something_is_told_is_asked_about_before_long()
 {
    let mut world = World::of(MOST + 2, 0);
    world.settle();
    let login = |n: usize| format!("o{n:02}");
    let all: Vec<String> = (0..=MOST).map(login).collect();
    for login in &all {
        assert_eq!(world.hear(&[(login, Verdict::Refuses)]), News::Some);
    }
    let root = world.root.path().join("etc/pam.d/sshd");
    fs::write(root, "# mended\naccount required pam_unix.so\n").unwrap();
    let first = world.asked(Asking::IfChanged);
    assert_eq!((first.len(), first[MOST - 1].as_str()), (MOST, "o09 pam"), "in turn");
    let (now, later) = all.split_at(MOST - 1);
    assert_eq!(world.hear_of_each(now, Verdict::LetsIn), News::Some);
    let asked = [&later[0], &later[1]].map(|login| format!("{login} pam sudo"));
    assert_eq!(world.asked(Asking::IfChanged), asked);
    assert_eq!(world.hear_of_each(later, Verdict::LetsIn), News::Some);
    assert_eq!(world.look(Asking::IfChanged), [""; 0]);
    assert_eq!(world.asked(Asking::IfChanged), [""; 0]);
}

#[test]
fn whoever_found_no_room_comes_first_the_next_time_though_others_are_asked_about_anew() {
    let mut world = World::of(3 * MOST, 0);
    world.settle();
    let all: Vec<String> = world.logins.iter().map(ToString::to_string).collect();
    for login in &all {
        let _ = world.hear(&[(login, Verdict::Refuses), ("o00", Verdict::LetsIn)]);
    }
    assert_eq!(world.hear(&[("o00", Verdict::Refuses)]), News::Some);
    let config = world.root.path().join("etc/pam.d/sshd");
    let mut asked = BTreeSet::new();
    for edit in 0..3 {
        fs::write(&config, format!("# {edit}\naccount required pam_unix.so\n")).unwrap();
        let next = world.asked(Asking::IfChanged);
        assert_eq!(next.len(), MOST);
        asked.extend(next.iter().map(|one| one[..3].to_owned()));
        let _ = world.hear(&[]);
    }
    assert_eq!(asked.into_iter().collect::<Vec<_>>(), all);
}

#[test]
fn however_many_are_told_of_a_full_look_asks_about_others_in_turn() {
    let mut world = World::of(3 * MOST, 3);
    world.settle();
    for n in 0..2 * MOST {
        let _ = world.hear(&[(&format!("o{n:02}"), Verdict::Refuses), ("o23", Verdict::LetsIn)]);
    }
    let mut turns = BTreeSet::new();
    for _ in 0..MOST {
        let first = world.asked(Asking::Anew);
        assert_eq!(first.len(), MOST);
        turns.extend(first.iter().skip(MOST - IN_TURN).cloned());
        let _ = world.hear(&[]);
        // Those for whom there was no room come before the next full look.
        while !world.asked(Asking::IfChanged).is_empty() {
            let _ = world.hear(&[]);
        }
    }
    let open = (2 * MOST..3 * MOST).map(|n| format!("o{n:02} pam sudo"));
    let all: Vec<String> = open.chain((0..3).map(|n| format!("s{n:02} pam"))).collect();
    assert_eq!(turns.into_iter().collect::<Vec<_>>(), all);
}

#[test]
fn those_in_turn_leave_their_room_where_there_are_none() {
    let mut world = World::of(MOST + 1, 0);
    world.settle();
    for n in 0..=MOST {
        let _ = world.hear(&[(&format!("o{n:02}"), Verdict::Refuses)]);
    }
    assert_eq!(world.asked(Asking::Anew).len(), MOST);
    let _ = world.hear(&[]);
    assert_eq!(world.asked(Asking::IfChanged).len(), 1);
}

#[test]
fn however_many_are_told_of_one_edit_has_each_asked_about_look_after_look() {
    let mut world = World::of(3 * MOST, 0);
    world.settle();
    for n in 1..3 * MOST {
        let _ = world.hear(&[(&format!("o{n:02}"), Verdict::Refuses), ("o00", Verdict::LetsIn)]);
    }
    let config = world.root.path().join("etc/pam.d/sshd");
    fs::write(config, "# mended\naccount required pam_unix.so\n").unwrap();
    let mut looks = 0;
    loop {
        let next = world.asked(Asking::IfChanged);
        looks += 1;
        let logins: Vec<&str> = next.iter().map(|one| &one[..3]).collect();
        let well: Vec<_> = logins.iter().map(|login| (*login, Verdict::LetsIn)).collect();
        if world.hear(&well) == News::None {
            break;
        }
    }
    assert_eq!(looks, 4, "three that ask, and one that finds nobody left");
    assert_eq!(world.look(Asking::IfChanged), [""; 0]);
}
