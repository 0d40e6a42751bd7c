//! Who is named for what sudo and PAM say.

use std::fs;

use muster_proto::drift::{DriftKind, Severity};

use super::{
    super::{News, choice::MOST},
    World,
};
use crate::{
    drift::{
        Difference, Place, What,
        effect::{Asking, SUDO},
        probe::{Heard, NoLogin, Verdict},
    },
    host::inquiry::{Answer, Answers},
};

#[test]
fn nobody_is_named_for_what_is_found_of_one_about_whom_nobody_was_asked_before() {
    let mut world = World::of(MOST + 1, 0);
    let all: Vec<String> = world.logins.iter().map(ToString::to_string).collect();
    assert_eq!(world.asked(Asking::Anew).len(), MOST);
    let _ = world.hear_of_each(&all[..MOST], Verdict::LetsIn);
    world.edit(&[7]);
    let asked = world.asked(Asking::IfChanged);
    assert_eq!(asked[..2], ["o08 pam", "o00 pam"]);
    let said = [("o08", Verdict::Refuses), ("o00", Verdict::Refuses), ("o01", Verdict::LetsIn)];
    assert_eq!(world.hear(&said), News::Some);
    assert_eq!(world.named(), ["o08 ?", "o00 7"]);
}

#[test]
fn who_was_alone_at_the_configuration_since_somebody_was_asked_about_is_named_until_another_is() {
    let mut world = World::of(1, 0);
    world.settle();
    let _ = world.hear(&[("o00", Verdict::LetsIn)]);
    for (pids, verdict, named) in [
        (&[7][..], Verdict::Refuses, "o00 7"),
        (&[8, 8], Verdict::LetsIn, "o00 8"),
        (&[9, 10], Verdict::Refuses, "o00 ?"),
        (&[11], Verdict::Refuses, "o00 ?"),
        (&[], Verdict::LetsIn, "o00 ?"),
    ] {
        world.edit(pids);
        assert_eq!(world.asked(Asking::IfChanged), ["o00 pam"]);
        let _ = world.hear(&[("o00", verdict)]);
        assert_eq!(world.named(), [named], "{pids:?}");
    }
}

#[test]
fn nobody_is_named_where_another_was_there_before_and_nobody_was_asked_in_between() {
    let mut world = World::of(1, 0);
    world.settle();
    let _ = world.hear(&[("o00", Verdict::LetsIn)]);
    for pid in [7, 8] {
        world.edit(&[pid]);
        assert_eq!(world.asked(Asking::IfChanged), ["o00 pam"]);
        let _ = world.hear(&[]);
    }
    assert_eq!(world.hear(&[("o00", Verdict::Refuses)]), News::Some);
    assert_eq!(world.named(), ["o00 ?"]);
}

#[test]
fn nobody_is_named_for_what_is_another_though_the_configuration_is_not() {
    let mut world = World::of(1, 0);
    world.settle();
    let _ = world.hear(&[("o00", Verdict::LetsIn)]);
    world.edit(&[7]);
    world.asked(Asking::IfChanged);
    let _ = world.hear(&[("o00", Verdict::LetsIn)]);
    world.touch(Place::Passwords, "sshd", &[7]);
    assert_eq!(world.asked(Asking::Anew), ["o00 pam sudo"]);
    assert_eq!(world.hear(&[("o00", Verdict::Refuses)]), News::Some);
    assert_eq!(world.named(), ["o00 ?"]);
}

#[test]
fn who_came_while_others_were_asked_about_is_named_for_what_is_said_after_that() {
    let mut world = World::of(1, 0);
    world.settle();
    let _ = world.hear(&[("o00", Verdict::LetsIn)]);
    world.asked(Asking::Anew);
    world.edit(&[7]);
    assert_eq!(world.look(Asking::IfChanged), [""; 0]);
    assert_eq!(world.hear(&[("o00", Verdict::LetsIn)]), News::Some);
    assert_eq!(world.asked(Asking::IfChanged), ["o00 pam"]);
    world.touch(Place::Passwords, "sshd", &[8]);
    assert_eq!(world.hear(&[("o00", Verdict::Refuses)]), News::Some);
    assert_eq!(world.named(), ["o00 7"], "and not who comes afterwards");
}

#[test]
fn who_shuts_everybody_out_is_named_once_and_so_is_who_ends_it() {
    let mut world = World::of(2, 0);
    world.settle();
    let all = |verdicts: [Verdict; 2]| [("o00", verdicts[0]), ("o01", verdicts[1])];
    let _ = world.hear(&all([Verdict::LetsIn; 2]));
    world.edit(&[7]);
    world.asked(Asking::IfChanged);
    assert_eq!(world.hear(&all([Verdict::Refuses; 2])), News::Some);
    assert_eq!(world.named(), ["muster-accounts 7"]);
    world.edit(&[8]);
    world.asked(Asking::IfChanged);
    assert_eq!(world.hear(&all([Verdict::LetsIn, Verdict::Refuses])), News::Some);
    assert_eq!(world.named(), ["muster-accounts 8", "o01 ?"]);
}

#[test]
fn what_sudo_says_is_of_who_was_at_sudos_configuration_and_not_at_pams() {
    let mut world = World::of(1, 0);
    world.settle();
    let differs = Difference {
        what: What::new(DriftKind::EffectDiffers, "o00", SUDO),
        expected: String::new(),
        found: String::new(),
        severity: Severity::High,
    };
    let mut said = [Heard::AsExpected, Heard::Otherwise(differs)].into_iter();
    let mut hear = |world: &mut World| {
        let (login, state, sudo) = (world.logins[0].clone(), 0, said.next().unwrap());
        let answer = Answer { login, state, stands: None, sudo, pam: Heard::Nothing };
        world.probes.hear(Answers { no_login: NoLogin::Absent, answers: vec![answer] })
    };
    assert_eq!(hear(&mut world), News::None);
    fs::write(world.root.path().join("etc/sudo.conf"), "# another\n").unwrap();
    world.touch(Place::Etc, "sudo.conf", &[7]);
    world.edit(&[8]);
    assert_eq!(world.asked(Asking::IfChanged), ["o00 pam sudo"]);
    assert_eq!(hear(&mut world), News::Some);
    assert_eq!(world.named(), ["o00 7"]);
}

#[test]
fn what_goes_since_the_account_is_another_goes_by_nobodys_edit() {
    let mut world = World::of(1, 0);
    world.settle();
    assert_eq!(world.hear(&[("o00", Verdict::Refuses)]), News::Some);
    world.stands[0].1 = 100;
    world.edit(&[7]);
    assert_eq!(world.look(Asking::IfChanged), [""; 0]);
    assert_eq!(world.named(), ["o00 ?"]);
}
