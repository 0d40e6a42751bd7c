#![expect(clippy::disallowed_methods, reason = "files as somebody else may have made them")]

use std::{fs, sync::Arc};

use super::{
    choice::{MOST, MOST_TRIES},
    *,
};
use crate::{
    drift::{
        Place, effect,
        probe::{Heard, NoLogin, Verdict, by_pam},
    },
    host::{
        files::Faults,
        inquiry::{Answer, Answers, Question},
    },
};

mod named;
mod order;

/// A host on which everybody is asked about and nobody answers but the test.
struct World {
    root: tempfile::TempDir,
    probes: Probes,
    logins: Vec<Login>,
    stands: Vec<(Stands, u64)>,
    told: Vec<Difference>,
    rules: effect::Rules,
    touches: Vec<Touch>,
    edits: usize,
}

impl World {
    fn of(open: usize, shut: usize) -> Self {
        let root = tempfile::tempdir().unwrap();
        for path in ["etc/pam.d", "etc/security", "usr/lib/pam.d"] {
            fs::create_dir_all(root.path().join(path)).unwrap();
        }
        fs::write(root.path().join("etc/pam.d/sshd"), "account required pam_unix.so\n").unwrap();
        let service = include_str!("../../../../packaging/pam.d/muster-account");
        fs::write(root.path().join("usr/lib/pam.d/muster-account"), service).unwrap();
        let all = (0..open).map(|n| (format!("o{n:02}"), Stands::Open));
        let all = all.chain((0..shut).map(|n| (format!("s{n:02}"), Stands::Shut)));
        let (mut logins, mut stands) = (Vec::new(), Vec::new());
        for (state, (login, one)) in (0..).zip(all) {
            logins.push(Login::parse(&login).unwrap());
            stands.push((one, state));
        }
        let (probes, rules) = (Probes::default(), effect::Rules::new());
        let (told, touches) = (Vec::new(), Vec::new());
        Self { root, probes, logins, stands, told, rules, touches, edits: 0 }
    }

    fn look(&mut self, asking: Asking) -> Vec<String> {
        let found = self.found(asking).into_iter();
        found.map(|(found, _)| format!("{} {}", found.what.subject, found.found)).collect()
    }

    /// Who made what has gone, and what differs; a question mark where that is not known.
    fn named(&mut self) -> Vec<String> {
        let mut all = self.probes.gone();
        all.extend(self.found(Asking::IfChanged).into_iter().map(|(_, touch)| touch));
        let words = |touch: &Touch| {
            let by = touch.culprit.as_ref().map_or("?".to_owned(), |by| by.pid.to_string());
            format!("{} {by}", touch.name)
        };
        all.iter().map(words).collect()
    }

    /// Has these be at a file.
    fn touch(&mut self, place: Place, name: &str, pids: &[u32]) {
        for pid in pids {
            let culprit = Some(Culprit { pid: *pid, ..Culprit::default() });
            self.touches.push(Touch { place, name: name.to_owned(), culprit });
        }
    }

    /// Has these write what PAM is told to do.
    fn edit(&mut self, pids: &[u32]) {
        self.edits += 1;
        let text = format!("{}\naccount required pam_unix.so\n", "#".repeat(self.edits));
        fs::write(self.root.path().join("etc/pam.d/sshd"), text).unwrap();
        self.touch(Place::Passwords, "sshd", pids);
    }

    fn found(&mut self, asking: Asking) -> Vec<(Difference, Touch)> {
        let root = Dir::open(self.root.path(), Arc::new(Faults::none())).unwrap();
        let subject = |(login, (stands, state)): (_, &(Stands, u64))| {
            let (stands, state) = (*stands, *state);
            Subject { login, stands, state }
        };
        let expected = Expected {
            subjects: self.logins.iter().zip(&self.stands).map(subject).collect(),
            told: self.told.clone(),
            sudo: Some(&self.rules),
            touches: &self.touches,
            ..Expected::default()
        };
        let place = (&root, Programs::System);
        let observed = ObservedState::default();
        let found = self.probes.look(place, &observed, (&expected, asking), UsesPam::Yes);
        self.touches.clear();
        found
    }

    /// Who is asked about in a look, each with what is asked.
    fn asked(&mut self, asking: Asking) -> Vec<String> {
        self.look(asking);
        let Some(inquiry) = self.probes.inquiry() else { return Vec::new() };
        let question = |question: &Question| {
            let words = [question.pam.map(|_| " pam"), question.sudo.as_ref().map(|_| " sudo")];
            format!("{}{}", question.login, words.into_iter().flatten().collect::<String>())
        };
        inquiry.questions.iter().map(question).collect()
    }

    /// Has PAM answer about these.
    fn hear(&mut self, verdicts: &[(&str, Verdict)]) -> News {
        let answer = |(login, verdict): &(&str, Verdict)| {
            let at = self.logins.iter().position(|own| own.as_str() == *login).unwrap();
            let (stands, state) = self.stands[at];
            let login = self.logins[at].clone();
            let pam = by_pam(&login, stands, *verdict);
            Answer { login, state, stands: Some(stands), sudo: Heard::Nothing, pam }
        };
        let answers = verdicts.iter().map(answer).collect();
        self.probes.hear(Answers { no_login: NoLogin::Absent, answers })
    }

    /// Has nobody answer about these.
    fn hear_nothing(&mut self, logins: &[&str]) -> News {
        let answer = |login: &&str| {
            let at = self.logins.iter().position(|own| own.as_str() == *login).unwrap();
            let (stands, state) = self.stands[at];
            let login = self.logins[at].clone();
            let (sudo, pam) = (Heard::Nothing, Heard::Unanswered);
            Answer { login, state, stands: Some(stands), sudo, pam }
        };
        let answers = logins.iter().map(answer).collect();
        self.probes.hear(Answers { no_login: NoLogin::Absent, answers })
    }

    fn hear_of_each(&mut self, logins: &[String], verdict: Verdict) -> News {
        let verdicts: Vec<_> = logins.iter().map(|login| (login.as_str(), verdict)).collect();
        self.hear(&verdicts)
    }

    /// Asks as a full look does, and has nothing come of it.
    fn settle(&mut self) {
        self.asked(Asking::Anew);
        let _ = self.hear(&[]);
    }
}

const REFUSED: &str = "the account check of PAM refuses";
const ALL: &str = "muster-accounts the account check of PAM refuses everybody who was asked about";

#[test]
fn in_a_full_look_some_are_asked_about_in_turn_and_in_others_nobody_who_is_as_before() {
    let mut world = World::of(10, 3);
    assert_eq!(
        world.asked(Asking::Anew),
        [
            "s00 pam",
            "s01 pam",
            "o00 pam sudo",
            "o01 pam sudo",
            "o02 pam sudo",
            "o03 pam sudo",
            "o04 pam sudo",
            "o05 pam sudo"
        ]
    );
    assert_eq!(world.hear(&[]), News::None);
    assert_eq!(world.asked(Asking::IfChanged), [""; 0]);
    let next = world.asked(Asking::Anew);
    let logins: Vec<&str> = next.iter().filter_map(|asked| asked.split(' ').next()).collect();
    assert_eq!(logins, ["s02", "s00", "o06", "o07", "o08", "o09", "o00", "o01"]);
}

#[test]
fn whoever_has_changed_is_asked_about_at_once_up_to_the_bound_and_the_others_the_next_time() {
    let mut world = World::of(MOST + 1, 0);
    world.settle();
    world.stands[3].1 = 100;
    assert_eq!(world.asked(Asking::IfChanged), ["o03 pam sudo"]);
    assert_eq!(world.hear(&[]), News::None);
    for (state, stands) in (200..).zip(&mut world.stands) {
        stands.1 = state;
    }
    assert_eq!(world.asked(Asking::IfChanged).len(), MOST);
    assert_eq!(world.hear(&[]), News::None);
    assert_eq!(world.asked(Asking::IfChanged), ["o08 pam sudo"]);
    assert_eq!(world.hear(&[]), News::None);
    assert_eq!(world.asked(Asking::IfChanged), [""; 0]);
}

#[test]
fn whoever_got_no_answer_is_asked_about_in_the_next_looks_and_no_more_until_the_next_full_one() {
    let mut world = World::of(2, 0);
    world.settle();
    world.stands[0].1 = 100;
    let asks_in_vain = |world: &mut World, tries: u8| {
        for _ in 0..tries {
            assert_eq!(world.asked(Asking::IfChanged), ["o00 pam sudo"]);
            assert_eq!(world.hear_nothing(&["o00"]), News::None, "no look for that alone");
        }
        assert_eq!(world.asked(Asking::IfChanged), [""; 0]);
    };
    asks_in_vain(&mut world, MOST_TRIES);
    assert_eq!(world.asked(Asking::Anew)[0], "o00 pam sudo");
    assert_eq!(world.hear_nothing(&["o00"]), News::None);
    asks_in_vain(&mut world, MOST_TRIES - 1);
    assert_eq!(world.asked(Asking::Anew)[0], "o00 pam sudo");
    assert_eq!(world.hear(&[("o00", Verdict::LetsIn)]), News::None);
    assert_eq!(world.asked(Asking::IfChanged), [""; 0]);
}

#[test]
fn those_about_whom_nobody_answers_come_after_those_who_have_changed() {
    let mut world = World::of(MOST + 2, 0);
    world.settle();
    for (state, stands) in (100..).zip(&mut world.stands[..MOST]) {
        stands.1 = state;
    }
    assert_eq!(world.asked(Asking::IfChanged).len(), MOST);
    let all: Vec<String> = world.logins.iter().map(ToString::to_string).collect();
    let all: Vec<&str> = all.iter().map(String::as_str).collect();
    assert_eq!(world.hear_nothing(&all[..MOST]), News::None);
    world.stands[MOST].1 = 200;
    let next = world.asked(Asking::IfChanged);
    assert_eq!((next.len(), next[0].as_str()), (MOST, "o08 pam sudo"));
    let _ = world.hear_nothing(&all[..MOST - 1]);
    // And in a full look they leave room for whose turn it is.
    let full = world.asked(Asking::Anew);
    assert_eq!(full.len(), MOST);
    assert!(full.contains(&"o09 pam sudo".to_owned()), "{full:?}");
}

#[test]
fn whoever_changes_while_others_are_asked_about_is_so_when_the_answers_have_come() {
    let mut world = World::of(2, 0);
    assert_eq!(world.asked(Asking::Anew).len(), 2);
    world.stands[1].1 = 100;
    assert_eq!(world.asked(Asking::IfChanged), [""; 0], "one inquiry at a time");
    assert_eq!(world.hear(&[]), News::Some, "for the look that was taken meanwhile");
    assert_eq!(world.asked(Asking::IfChanged), ["o01 pam sudo"]);
}

#[test]
fn somebody_at_the_configuration_of_either_has_that_one_asked_in_turn() {
    let mut world = World::of(1, 0);
    world.settle();
    let etc = world.root.path().join("etc");
    for (path, asked) in [
        ("pam.d/sshd", "o00 pam"),
        ("security/access.conf", "o00 pam"),
        ("nologin", "o00 pam"),
        ("sudo.conf", "o00 sudo"),
        ("nsswitch.conf", "o00 sudo"),
    ] {
        let account = if path == "pam.d/sshd" { "account required pam_unix.so\n" } else { "" };
        fs::write(etc.join(path), format!("# another\n{account}")).unwrap();
        assert_eq!(world.asked(Asking::IfChanged), [asked], "{path}");
        assert_eq!(world.hear(&[]), News::None);
        assert_eq!(world.asked(Asking::IfChanged), [""; 0], "{path}");
    }
    for path in ["motd", "security/opasswd", "security/nopasswd", "security/opasswd.tmpX1"] {
        fs::write(etc.join(path), "hello\n").unwrap();
        assert_eq!(world.asked(Asking::IfChanged), [""; 0], "{path}");
    }
}

#[test]
fn whoever_changes_his_own_password_while_pam_is_asked_does_not_void_what_it_says() {
    let mut world = World::of(1, 0);
    world.look(Asking::Anew);
    let inquiry = world.probes.inquiry().unwrap();
    for name in ["opasswd", "nopasswd", ".pwd.lock"] {
        fs::write(world.root.path().join("etc/security").join(name), "").unwrap();
        assert!(inquiry.is_as_before(), "{name}");
    }
    fs::write(world.root.path().join("etc/pam.d/opasswd"), "").unwrap();
    assert!(!inquiry.is_as_before(), "a service of that name is configuration");
}

#[test]
fn pam_is_asked_only_where_there_is_a_service_to_ask_by_and_not_while_the_system_starts() {
    let mut world = World::of(1, 0);
    world.settle();
    assert_eq!(world.hear(&[("o00", Verdict::Refuses)]), News::Some);
    let asks = |world: &mut World| {
        let told = world.look(Asking::Anew);
        let pam = world.probes.inquiry().unwrap().pam;
        let _ = world.hear(&[]);
        (pam, told.len())
    };
    assert_eq!(asks(&mut world), (AskPam::Yes, 1));
    let nologin = world.root.path().join("run/nologin");
    fs::create_dir(world.root.path().join("run")).unwrap();
    fs::write(&nologin, "").unwrap();
    assert_eq!(asks(&mut world), (AskPam::NotNow, 1), "what was told is not gone for that");
    fs::remove_file(nologin).unwrap();
    for (place, service) in [("usr/lib/pam.d", "muster-account"), ("etc/pam.d", "sshd")] {
        let path = world.root.path().join(place).join(service);
        let text = fs::read(&path).unwrap();
        fs::remove_file(&path).unwrap();
        let reason = format!("there is no `/etc/pam.d/{service}`");
        assert_eq!(asks(&mut world), (AskPam::No(reason.clone()), 0), "{service}");
        assert_eq!(world.probes.unasked(), Some(reason.as_str()));
        fs::write(&path, text).unwrap();
        assert_eq!(asks(&mut world), (AskPam::Yes, 0), "{service}");
        assert_eq!(world.probes.unasked(), None);
    }
}

#[test]
fn pam_is_not_asked_where_that_would_lift_the_lockout_of_somebody_who_guesses() {
    let mut world = World::of(1, 0);
    let sshd = world.root.path().join("etc/pam.d/sshd");
    let text = fs::read_to_string(&sshd).unwrap();
    for module in ["pam_faillock.so", "pam_tally2.so", "pam_exec.so /bin/x", "pam_unheard_of.so"] {
        world.look(Asking::Anew);
        assert_eq!(world.probes.inquiry().unwrap().pam, AskPam::Yes, "{module}");
        let _ = world.hear(&[]);
        fs::write(&sshd, format!("{text}account required {module}\n")).unwrap();
        world.look(Asking::Anew);
        let name = module.split(' ').next().unwrap();
        let reason = format!("`{name}` in `sshd` may do more than look");
        assert_eq!(world.probes.inquiry().unwrap().pam, AskPam::No(reason));
        let _ = world.hear(&[]);
        fs::write(&sshd, &text).unwrap();
    }
    // Put there after the look, it is seen before anybody is asked.
    world.look(Asking::Anew);
    let inquiry = world.probes.inquiry().unwrap();
    assert!(inquiry.pam == AskPam::Yes && inquiry.is_as_before());
    fs::write(&sshd, format!("{text}account required pam_faillock.so\n")).unwrap();
    assert!(!inquiry.is_as_before());
}

#[test]
fn what_is_heard_of_somebody_lasts_until_she_is_asked_about_again_or_is_another() {
    let mut world = World::of(3, 1);
    world.settle();
    let refused = [("o00", Verdict::LetsIn), ("o01", Verdict::Refuses), ("s00", Verdict::LetsIn)];
    assert_eq!(world.hear(&refused), News::Some);
    assert_eq!(world.hear(&refused), News::None);
    let of_o01 = format!("o01 {REFUSED}");
    let of_s00 = "s00 the account check of PAM lets in".to_owned();
    assert_eq!(world.look(Asking::IfChanged), [of_o01, of_s00.clone()]);
    // Whoever something is told of is asked about first.
    let first = world.asked(Asking::Anew);
    assert_eq!(first[..2], ["o01 pam sudo", "s00 pam"]);
    assert_eq!(world.hear(&[("o01", Verdict::LetsIn)]), News::Some);
    assert_eq!(world.look(Asking::IfChanged), [of_s00]);
    world.stands[3].1 = 100;
    assert_eq!(world.look(Asking::IfChanged), [""; 0]);
}

#[test]
fn what_hits_everybody_is_told_once_and_not_of_each() {
    let mut world = World::of(3, 0);
    world.settle();
    let all = |verdict| [("o00", verdict), ("o01", verdict)];
    assert_eq!(world.hear(&all(Verdict::Refuses)), News::Some);
    assert_eq!(world.look(Asking::IfChanged), [ALL]);
    // One alone is no other news.
    assert_eq!(world.hear(&[("o02", Verdict::Refuses)]), News::None);
    assert_eq!(world.look(Asking::IfChanged), [ALL]);
    let some = [("o00", Verdict::Refuses), ("o01", Verdict::LetsIn)];
    assert_eq!(world.hear(&some), News::Some);
    assert_eq!(world.look(Asking::IfChanged), [format!("o00 {REFUSED}")]);
    assert_eq!(world.hear(&all(Verdict::LetsIn)), News::Some);
    assert_eq!(world.look(Asking::IfChanged), [""; 0]);
}

#[test]
fn whom_it_refuses_when_it_no_longer_refuses_everybody_is_asked_about_again_and_told() {
    let mut world = World::of(3, 0);
    world.settle();
    world.stands[0].1 = 100;
    world.stands[1].1 = 101;
    assert_eq!(world.asked(Asking::IfChanged), ["o00 pam sudo", "o01 pam sudo"]);
    let both = [("o00", Verdict::Refuses), ("o01", Verdict::Refuses)];
    assert_eq!(world.hear(&both), News::Some);
    assert_eq!(world.look(Asking::IfChanged), [ALL]);
    assert_eq!(world.hear(&[("o02", Verdict::LetsIn)]), News::Some);
    assert_eq!(world.asked(Asking::IfChanged), ["o00 pam sudo", "o01 pam sudo"]);
    assert_eq!(world.hear(&both), News::Some);
    let each = ["o00", "o01"].map(|login| format!("{login} {REFUSED}"));
    assert_eq!(world.look(Asking::IfChanged), each, "and not of everybody again");
    assert_eq!(world.asked(Asking::IfChanged), [""; 0]);
    // What hits all of these and others too is told once, as before.
    assert_eq!(world.hear(&[both[0], both[1], ("o02", Verdict::Refuses)]), News::Some);
    assert_eq!(world.look(Asking::IfChanged), [ALL]);
}

#[test]
fn whom_it_refused_and_lets_in_by_now_is_told_of_no_more_and_one_who_has_gone_is_not_asked_about() {
    let mut world = World::of(MOST + 4, 0);
    world.settle();
    let all: Vec<String> = world.logins.iter().map(ToString::to_string).collect();
    assert_eq!(world.hear_of_each(&all[2..], Verdict::Refuses), News::Some);
    assert_eq!(world.look(Asking::IfChanged), [ALL]);
    // She is another by now, and is asked about as that.
    world.stands[2].1 = 100;
    assert_eq!(world.asked(Asking::IfChanged), ["o02 pam sudo"]);
    assert_eq!(world.hear(&[("o02", Verdict::LetsIn)]), News::Some);
    let mut asked = world.asked(Asking::IfChanged);
    assert_eq!(asked.len(), MOST);
    assert_eq!(world.hear_of_each(&all[3..3 + MOST], Verdict::LetsIn), News::Some);
    asked.extend(world.asked(Asking::IfChanged));
    let logins: Vec<&str> = asked.iter().map(|one| &one[..3]).collect();
    assert_eq!(logins, all[3..].iter().map(String::as_str).collect::<Vec<_>>());
    assert_eq!(world.hear_of_each(&all[3 + MOST..], Verdict::LetsIn), News::None);
    assert_eq!(world.look(Asking::IfChanged), [""; 0]);
}

#[test]
fn what_was_told_before_a_restart_is_so_until_somebody_was_asked() {
    let mut world = World::of(2, 0);
    let Heard::Otherwise(told) = by_pam(&world.logins[1], Stands::Open, Verdict::Refuses) else {
        panic!("nothing to tell")
    };
    world.told.push(told);
    assert_eq!(world.look(Asking::Anew), [format!("o01 {REFUSED}")]);
    assert_eq!(world.asked(Asking::Anew)[0], "o01 pam sudo");
    assert_eq!(world.hear(&[("o01", Verdict::LetsIn)]), News::Some);
    assert_eq!(world.look(Asking::IfChanged), [""; 0]);
}
