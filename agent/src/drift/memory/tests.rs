use muster_proto::{crypto::sha256, drift::Culprit};

use super::*;

mod tellings;

const WANTED: &[u8] = b"wanted";

fn found(subject: &str, found: &str) -> Difference {
    Difference {
        what: What::new(DriftKind::AccountChanged, subject, "home"),
        expected: "/bin/bash".to_owned(),
        found: found.to_owned(),
        severity: Severity::Medium,
    }
}

fn foreign(found: &str) -> Difference {
    Difference {
        what: What::new(DriftKind::SudoForeign, "extra", ""),
        expected: String::new(),
        found: found.to_owned(),
        severity: Severity::Critical,
    }
}

struct Host {
    memory: Memory,
    wanted: Digest,
    mode: HostMode,
    boot: u64,
}

impl Host {
    /// One that has been looked at once and was as it should be.
    fn settled(mode: HostMode) -> Self {
        let mut host =
            Self { memory: Memory::default(), wanted: sha256(&[WANTED]), mode, boot: 1_000 };
        assert_eq!(host.look(&[], &[]), [""; 0]);
        host
    }

    fn at<'a>(&self, touches: &'a [Touch]) -> Circumstances<'a> {
        let (wanted, mode, boot) = (self.wanted, self.mode, self.boot);
        Circumstances { wanted, mode, touches, now: Timestamp(boot), boot }
    }

    fn take(&mut self, looked: &Looked, touches: &[Touch]) -> Vec<Drift> {
        let (mut memory, at) = (self.memory.clone(), self.at(touches));
        let told = memory.take(looked, &at);
        self.memory = memory;
        self.boot += 1;
        told
    }

    /// A look that found some differences and left some.
    fn look(&mut self, before: &[Difference], after: &[Difference]) -> Vec<String> {
        let looked =
            Looked { before: before.to_vec(), after: after.to_vec(), ungranted: Vec::new() };
        words(&self.take(&looked, &[]))
    }

    fn see(&mut self, ungranted: &[Difference]) -> Vec<String> {
        let looked = Looked { ungranted: ungranted.to_vec(), ..Looked::default() };
        words(&self.take(&looked, &[]))
    }
}

fn words(told: &[Drift]) -> Vec<String> {
    let words = |one: &Drift| {
        let Drift { subject, found, since, rounds, .. } = one;
        format!("{subject} {found} {} since {} round {rounds}", one.response.as_str(), since.0)
    };
    told.iter().map(words).collect()
}

#[test]
fn what_is_put_right_is_told_once_with_each_time_that_it_comes_again() {
    let mut host = Host::settled(HostMode::Enforce);
    let changed = [found("ana", "/bin/sh")];
    assert_eq!(host.look(&changed, &[]), ["ana /bin/sh repaired since 1001 round 1"]);
    assert_eq!(host.look(&[], &[]), [""; 0]);
    assert_eq!(host.look(&changed, &[]), ["ana /bin/sh repaired since 1003 round 2"]);
}

#[test]
fn what_is_only_observed_is_told_when_it_comes_when_it_is_another_and_when_it_goes() {
    let mut host = Host::settled(HostMode::Observe);
    let (one, two) = ([found("ana", "/bin/sh")], [found("ana", "/bin/zsh")]);
    assert_eq!(host.look(&one, &one), ["ana /bin/sh reported since 1001 round 0"]);
    assert_eq!(host.look(&one, &one), [""; 0]);
    assert_eq!(host.look(&two, &two), ["ana /bin/zsh reported since 1001 round 0"]);
    assert_eq!(host.look(&[], &[]), ["ana /bin/zsh gone since 1001 round 0"]);
    assert_eq!(host.look(&[], &[]), [""; 0]);
}

#[test]
fn what_a_bundle_leaves_undone_is_no_drift_until_it_is_another() {
    let mut host = Host::settled(HostMode::Observe);
    host.wanted = sha256(&[b"something else"]);
    let left = [found("ana", "/bin/sh")];
    assert_eq!(host.look(&left, &left), [""; 0]);
    assert_eq!(host.look(&left, &left), [""; 0]);
    let other = [found("ana", "/bin/zsh")];
    assert_eq!(host.look(&other, &other), ["ana /bin/zsh reported since 1003 round 0"]);
    // Once it has gone, its return is drift.
    let mut host = Host::settled(HostMode::Observe);
    host.wanted = sha256(&[b"something else"]);
    assert_eq!(host.look(&left, &left), [""; 0]);
    assert_eq!(host.look(&[], &[]), [""; 0]);
    assert_eq!(host.look(&left, &left), ["ana /bin/sh reported since 1003 round 0"]);
}

#[test]
fn what_differs_while_a_bundle_comes_stays_told_and_is_not_told_again() {
    let mut host = Host::settled(HostMode::Enforce);
    let changed = [found("ana", "/bin/sh")];
    assert_eq!(host.look(&changed, &changed), ["ana /bin/sh failed since 1001 round 0"]);
    host.wanted = sha256(&[b"something else"]);
    assert_eq!(host.look(&changed, &changed), [""; 0]);
    assert_eq!(host.look(&changed, &[]), ["ana /bin/sh repaired since 1001 round 1"]);
}

#[test]
fn whoever_undoes_each_repair_is_told_as_a_fight_and_left_alone_for_a_while() {
    let mut host = Host::settled(HostMode::Enforce);
    let changed = [found("ana", "/bin/sh")];
    for round in 1..=MOST_ROUNDS {
        assert!(!host.memory.is_contested(&changed, &host.at(&[])), "round {round}");
        assert_eq!(host.look(&changed, &[]).len(), 1);
    }
    let last = host.boot - 1;
    assert!(host.memory.is_contested(&changed, &host.at(&[])));
    let told = host.look(&changed, &changed);
    assert_eq!(told, ["ana /bin/sh contested since 1004 round 3"]);
    assert_eq!(host.look(&changed, &changed), [""; 0]);
    // Something else is put right all the same, and this with it.
    let more = [changed[0].clone(), found("bob", "/bin/sh")];
    assert!(!host.memory.is_contested(&more, &host.at(&[])));
    host.boot = last + CALM_SECONDS;
    assert!(host.memory.is_contested(&changed, &host.at(&[])));
    host.boot += 1;
    assert!(!host.memory.is_contested(&changed, &host.at(&[])));
    // It is the same fight if it comes again soon, and another one if not.
    assert_eq!(host.look(&changed, &[]), ["ana /bin/sh repaired since 1004 round 4"]);
    assert_eq!(host.look(&changed, &[]), [""; 0], "not each of many is told");
    assert!(host.memory.is_contested(&changed, &host.at(&[])));
    host.boot += CALM_SECONDS + 1;
    let now = host.boot;
    assert_eq!(host.look(&changed, &[]), [format!("ana /bin/sh repaired since {now} round 1")]);
}

#[test]
fn what_nobody_granted_is_told_unless_it_was_there_at_the_first_look() {
    let mut host = Host::settled(HostMode::Enforce);
    let mut old = Memory::default();
    let looked = Looked { ungranted: vec![foreign("1")], ..Looked::default() };
    assert_eq!(old.take(&looked, &host.at(&[])), []);
    host.memory = old;
    assert_eq!(host.see(&[foreign("1")]), [""; 0]);
    // Another content is another thing.
    assert_eq!(host.see(&[foreign("2")]), ["extra 2 reported since 1002 round 0"]);
    assert_eq!(host.see(&[foreign("2")]), [""; 0]);
    assert_eq!(host.see(&[]), ["extra 2 gone since 1002 round 0"]);
    assert_eq!(host.see(&[foreign("1")]), ["extra 1 reported since 1005 round 0"]);
}

#[test]
fn whoever_was_there_alone_did_it() {
    let mut host = Host::settled(HostMode::Observe);
    let touch = |place, name: &str, pid| Touch {
        place,
        name: name.to_owned(),
        culprit: Some(Culprit { pid, ..Culprit::default() }),
    };
    let touches = [
        touch(super::super::Place::Etc, "passwd", 2),
        touch(super::super::Place::Etc, "shadow", 2),
        touch(super::super::Place::Etc, "group", 3),
        touch(super::super::Place::Keys, "ana", 4),
    ];
    let looked = Looked {
        before: vec![found("ana", "x")],
        after: vec![found("ana", "x")],
        ungranted: Vec::new(),
    };
    let told = host.take(&looked, &touches);
    assert_eq!(told[0].culprit.as_ref().map(|culprit| culprit.pid), Some(2));
    // Of two it is not known which, and who is not known may have been anybody.
    let mut host = Host::settled(HostMode::Observe);
    let another = touch(super::super::Place::Etc, "passwd", 5);
    let told = host.take(&looked, &[touches[0].clone(), another]);
    assert_eq!(told[0].culprit, None);
    let mut host = Host::settled(HostMode::Observe);
    let unknown = Touch { culprit: None, ..touches[0].clone() };
    let told = host.take(&looked, &[touches[0].clone(), unknown]);
    assert_eq!(told[0].culprit, None);
}

#[test]
fn a_file_of_one_role_is_not_that_of_another_whose_name_ends_alike() {
    let touch = |name: &str, pid| Touch {
        place: super::super::Place::Sudoers,
        name: name.to_owned(),
        culprit: Some(Culprit { pid, ..Culprit::default() }),
    };
    let touches = [touch("50-muster-ops", 1), touch("50-muster-devops", 2)];
    let by = |role: &str| {
        let what = What::new(DriftKind::SudoChanged, role, "");
        what.culprit(&touches).map(|culprit| culprit.pid)
    };
    assert_eq!((by("ops"), by("devops"), by("s")), (Some(1), Some(2), None));
}

#[test]
fn what_was_told_as_open_is_told_when_it_is_put_right_whatever_round_that_is() {
    let mut host = Host::settled(HostMode::Enforce);
    let changed = [found("ana", "/bin/sh")];
    for round in 1..=9 {
        let response = if round > MOST_ROUNDS { "contested" } else { "failed" };
        let (since, before) = (host.boot, round - 1);
        let told = host.look(&changed, &changed);
        assert_eq!(told, [format!("ana /bin/sh {response} since {since} round {before}")]);
        let told = host.look(&changed, &[]);
        assert_eq!(told, [format!("ana /bin/sh repaired since {since} round {round}")]);
    }
}

fn grave() -> Difference {
    Difference { severity: Severity::High, ..found("ana", "/bin/sh") }
}

/// A host where somebody has given more than was granted so many times, which was put right each
/// time.
fn fought(rounds: u32) -> Host {
    let mut host = Host::settled(HostMode::Enforce);
    (0..rounds).for_each(|_| drop(host.look(&[grave()], &[])));
    host
}

#[test]
fn what_gives_somebody_more_is_put_right_however_often_it_comes() {
    let mut host = fought(20);
    assert!(!host.memory.is_contested(&[grave()], &host.at(&[])));
    // Nor does a fight over something harmless keep it there, or what a bundle could not do yet.
    let harmless = found("bob", "/bin/sh");
    (0..4).for_each(|_| drop(host.look(std::slice::from_ref(&harmless), &[])));
    assert!(host.memory.is_contested(std::slice::from_ref(&harmless), &host.at(&[])));
    assert!(!host.memory.is_contested(&[harmless.clone(), grave()], &host.at(&[])));
    assert!(!host.memory.is_contested(&[harmless, found("eve", "/bin/sh")], &host.at(&[])));
}

#[test]
fn whoever_gives_somebody_more_again_and_again_is_told_as_a_fight_until_it_is_over() {
    let mut host = Host::settled(HostMode::Enforce);
    let told: Vec<String> = (0..20).flat_map(|_| host.look(&[grave()], &[])).collect();
    let expected = [
        "ana /bin/sh repaired since 1001 round 1",
        "ana /bin/sh repaired since 1002 round 2",
        "ana /bin/sh repaired since 1003 round 3",
        "ana /bin/sh, put right each time contested since 1004 round 4",
        "ana /bin/sh, put right each time contested since 1004 round 8",
        "ana /bin/sh, put right each time contested since 1004 round 16",
    ];
    assert_eq!(told, expected);
    let last = host.boot - 1;
    for boot in [host.boot, last + CALM_SECONDS] {
        host.boot = boot;
        assert_eq!(host.look(&[], &[]), [""; 0]);
        assert!(host.memory.is_watched());
    }
    assert_eq!(host.look(&[], &[]), ["ana /bin/sh repaired since 1004 round 20"]);
    assert!(!host.memory.is_watched());
    assert_eq!(host.look(&[], &[]), [""; 0]);
    let now = host.boot;
    assert_eq!(host.look(&[grave()], &[]), [format!("ana /bin/sh repaired since {now} round 1")]);
}

#[test]
fn a_fight_that_cannot_be_put_right_any_more_is_told_as_what_is_there() {
    let mut host = fought(5);
    let told = host.look(&[grave()], &[grave()]);
    assert_eq!(told, ["ana /bin/sh contested since 1004 round 5"]);
    let told = host.look(&[grave()], &[]);
    assert_eq!(told, ["ana /bin/sh, put right each time contested since 1004 round 6"]);
}

#[test]
fn a_fight_that_nobody_saw_the_end_of_is_over_when_it_has_been_calm_for_long_enough() {
    let mut host = fought(5);
    host.boot += CALM_SECONDS;
    let now = host.boot;
    assert_eq!(host.look(&[grave()], &[]), [format!("ana /bin/sh repaired since {now} round 1")]);
    // What else is put right at that moment does not hide how it went.
    let mut host = fought(5);
    host.boot += CALM_SECONDS;
    let now = host.boot;
    let expected = [
        format!("bob /bin/sh repaired since {now} round 1"),
        "ana /bin/sh repaired since 1004 round 5".to_owned(),
    ];
    assert_eq!(host.look(&[found("bob", "/bin/sh")], &[]), expected);
}

#[test]
fn a_start_of_the_keeper_ends_no_fight_and_tells_none_anew() {
    let mut host = fought(5);
    host.memory.rounds.clear();
    assert_eq!(host.look(&[], &[]), [""; 0]);
    assert_eq!(host.look(&[grave()], &[]), [""; 0]);
    host.memory.rounds.clear();
    assert_eq!(host.look(&[grave()], &[]), [""; 0]);
    host.boot += CALM_SECONDS;
    assert_eq!(host.look(&[], &[]), ["ana /bin/sh repaired since 1004 round 5"]);
}

#[test]
fn what_nothing_can_be_done_about_keeps_no_fight_going() {
    let mut host = Host::settled(HostMode::Enforce);
    let fought = found("ana", "/bin/sh");
    let stuck = found("eve", "/bin/sh");
    let uid = Difference {
        what: What::new(DriftKind::AccountChanged, "bob", "uid"),
        severity: Severity::Critical,
        ..found("", "0")
    };
    for _ in 0..MOST_ROUNDS {
        let told = host.look(&[fought.clone(), stuck.clone()], std::slice::from_ref(&stuck));
        assert!(!told.is_empty());
    }
    let at = |host: &Host, found: &[&Difference]| {
        let found: Vec<Difference> = found.iter().map(|one| (*one).clone()).collect();
        host.memory.is_contested(&found, &host.at(&[]))
    };
    assert!(at(&host, &[&fought, &uid, &stuck]));
    // There is no fight in it alone, another finding was not tried yet, and what gives somebody more
    // is tried again however often that fails.
    assert!(!at(&host, &[&uid, &stuck]));
    assert!(!at(&host, &[&fought, &found("eve", "/bin/zsh")]));
    let graver = Difference { severity: Severity::High, ..stuck.clone() };
    assert!(!at(&host, &[&fought, &graver]));
    // A Unix group may be called so.
    let member = What::new(DriftKind::MemberMissing, "bob", "uid");
    assert!(!at(&host, &[&fought, &Difference { what: member, ..stuck }]));
}

#[test]
fn a_second_root_and_no_way_to_any_are_told_though_they_were_there_at_the_first_look() {
    let toor = Difference { what: What::new(DriftKind::UidZero, "toor", ""), ..foreign("uid 0") };
    let ops = Difference { what: What::new(DriftKind::BreakGlass, "ops", ""), ..foreign("gone") };
    for (difference, told) in [(toor, "toor uid 0"), (ops, "ops gone")] {
        let mut host = Host::settled(HostMode::Enforce);
        host.memory = Memory::default();
        let told = format!("{told} reported since 1001 round 0");
        assert_eq!(host.see(&[foreign("1"), difference]), [told]);
    }
}

#[test]
fn what_stands_against_our_files_is_told_at_the_first_look_and_until_it_has_gone() {
    let mut host = Host::settled(HostMode::Enforce);
    host.memory = Memory::default();
    let what = What::new(DriftKind::EffectDiffers, "ana", "sudo");
    let effect = Difference { what, ..foreign("taken away") };
    let first = host.see(&[foreign("1"), effect.clone()]);
    assert_eq!(first, ["ana taken away reported since 1001 round 0"]);
    assert_eq!(host.see(&[foreign("1"), effect]), [""; 0]);
    assert_eq!(host.see(&[foreign("1")]), ["ana taken away gone since 1001 round 0"]);
}

#[test]
fn what_becomes_graver_is_told_though_the_words_stay() {
    let mut host = Host::settled(HostMode::Enforce);
    let member = |severity| {
        let what = What::new(DriftKind::MemberUngranted, "bob", "staff");
        [Difference { what, severity, ..foreign("a member") }]
    };
    let mut severities = |severity| {
        let looked = Looked { ungranted: member(severity).to_vec(), ..Looked::default() };
        host.take(&looked, &[]).iter().map(|one| one.severity).collect::<Vec<_>>()
    };
    assert_eq!(severities(Severity::High), [Severity::High]);
    assert_eq!(severities(Severity::High), []);
    assert_eq!(severities(Severity::Critical), [Severity::Critical]);
    assert_eq!(severities(Severity::Critical), []);
    assert_eq!(severities(Severity::High), [Severity::High]);
    // And so is what somebody fights for, though it is put right each time.
    let mut host = fought(5);
    let graver = Difference { severity: Severity::Critical, ..grave() };
    let expected = "ana /bin/sh, put right each time contested since 1004 round 6";
    assert_eq!(host.look(std::slice::from_ref(&graver), &[]), [expected]);
    assert_eq!(host.look(&[graver], &[]), [""; 0]);
}

#[test]
fn what_could_not_be_told_for_long_is_folded_and_what_there_is_no_room_for_is_a_gap() {
    let one = |subject: usize, response| Drift {
        kind: DriftKind::AccountNew.as_str().to_owned(),
        subject: format!("new{subject}"),
        place: String::new(),
        expected: "no such account".to_owned(),
        found: "uid 1500".to_owned(),
        since: Timestamp(1_000),
        severity: Severity::Medium,
        response,
        rounds: 0,
        culprit: None,
    };
    let untold = (0..MOST_UNTOLD).map(|_| one(0, Response::Reported)).collect();
    let mut memory = Memory { untold, ..Memory::default() };
    memory.fold_untold();
    assert_eq!(memory.untold.len(), MOST_UNTOLD, "there is room for all of it");
    memory.untold.push(one(1, Response::Reported));
    memory.untold.push(one(0, Response::Gone));
    memory.fold_untold();
    assert_eq!(memory.untold, [one(1, Response::Reported), one(0, Response::Gone)]);
    assert!(!memory.has_gap);
    memory.untold = (0..=MOST_UNTOLD).map(|subject| one(subject, Response::Reported)).collect();
    memory.fold_untold();
    assert_eq!(memory.untold.len(), MOST_UNTOLD);
    assert_eq!(memory.untold[0].subject, "new1", "the oldest goes");
    assert!(memory.has_gap);
}
