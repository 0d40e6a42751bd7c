use std::sync::Arc;

use super::*;
use crate::{
    drift::effect::sshd::Passwords,
    host::files::{Faults, Looks},
};

fn logins(count: usize) -> Vec<Login> {
    (0..count).map(|number| Login::parse(&format!("a{number:02}")).unwrap()).collect()
}

/// Each in a class of its own.
fn alone(logins: &[Login]) -> Vec<Classmates<'_>> {
    let accounts: Vec<_> = logins.iter().map(|login| (login, Passwords::Refused)).collect();
    classes(&Blocks::Unclear, &accounts, &ObservedState::default())
}

const SAYS: &str = "passwordauthentication no\n";

/// Who is asked about in a look, all of whom sshd answers of.
fn asked(sshd: &mut Sshd, classes: &[Classmates<'_>], asking: Asking) -> Vec<String> {
    let mut asked = Vec::new();
    sshd.take_turn(classes, asking, PATIENCE, |login| {
        asked.push(login.to_string());
        Some(Ok((0, SAYS.to_owned())))
    });
    asked
}

fn words(logins: &[Login]) -> Vec<String> {
    logins.iter().map(ToString::to_string).collect()
}

#[test]
fn a_bounded_number_of_classes_is_asked_about_and_each_comes_in_its_turn() {
    let logins = logins(2 * MOST_CLASSES + 1);
    let (classes, mut sshd) = (alone(&logins), Sshd::default());
    let (first, rest) = logins.split_at(MOST_CLASSES);
    let (second, last) = rest.split_at(MOST_CLASSES);
    // As long as something is not known, each look learns more, whatever it is for.
    assert_eq!(asked(&mut sshd, &classes, Asking::IfChanged), words(first));
    assert_eq!(asked(&mut sshd, &classes, Asking::Anew), words(second));
    assert_eq!(asked(&mut sshd, &classes, Asking::IfChanged), words(last));
    assert_eq!(asked(&mut sshd, &classes, Asking::IfChanged), [""; 0]);
    assert_eq!(asked(&mut sshd, &classes, Asking::Anew), words(first));
    assert_eq!(asked(&mut sshd, &classes, Asking::Anew), words(second));
    let few = alone(first);
    assert_eq!(
        asked(&mut Sshd::default(), &few, Asking::Anew).len(),
        MOST_CLASSES,
        "all of so many"
    );
}

#[test]
fn another_text_and_another_class_are_asked_about_and_nothing_else() {
    let logins = logins(3);
    let (two, three, mut sshd) = (alone(&logins[..2]), alone(&logins), Sshd::default());
    let state = |text: &[u8]| sha256(&[text]);
    sshd.turn_to(state(b"one"));
    assert_eq!(asked(&mut sshd, &two, Asking::IfChanged), ["a00", "a01"]);
    sshd.turn_to(state(b"one"));
    assert_eq!(asked(&mut sshd, &three, Asking::IfChanged), ["a02"]);
    sshd.turn_to(state(b"two"));
    assert_eq!(asked(&mut sshd, &two, Asking::IfChanged).len(), 2);
    assert_eq!(sshd.answers.count(), 2);
    let [one, other] = [0, 1].map(|number| sshd.answers.get(&two[number].class).unwrap());
    assert!(Arc::ptr_eq(one, other), "equal policies are held once");
    sshd.answers.keep(&two[1..]);
    assert!(sshd.answers.get(&two[0].class).is_none(), "of a class that is no more");
    assert!(sshd.answers.get(&two[1].class).is_some());
}

#[test]
fn who_does_not_answer_is_not_asked_more_and_what_was_said_stays() {
    let logins = logins(3);
    let (classes, mut sshd) = (alone(&logins), Sshd::default());
    assert_eq!(asked(&mut sshd, &classes, Asking::Anew).len(), 3);
    for answer in [Ok((255, "line 3: Bad\n".to_owned())), Err("it hangs".to_owned())] {
        let mut count = 0;
        sshd.take_turn(&classes, Asking::Anew, PATIENCE, |_| {
            count += 1;
            Some(answer.clone())
        });
        assert_eq!((count, sshd.answers.count()), (1, 3));
    }
    // The next look begins with somebody else.
    assert_eq!(asked(&mut sshd, &classes, Asking::Anew), ["a02", "a00", "a01"]);
    sshd.take_turn(&classes, Asking::Anew, Duration::ZERO, |_| panic!("the time is up"));
    assert_eq!(sshd.answers.count(), 3);
    // Where there is no sshd there is nothing that it does.
    sshd.take_turn(&classes, Asking::Anew, PATIENCE, |_| None);
    assert!(sshd.answers.count() == 0 && sshd.others.differences(None).is_empty());
}

/// What is read of these files, each with its directory.
fn read(files: &[(&str, &str, &str)]) -> Blocks {
    let folder = tempfile::tempdir().unwrap();
    let root = Dir::open(folder.path(), Arc::new(Faults::none())).unwrap();
    let looks = Looks { uid: 0, gid: 0, mode: 0o644 };
    for directory in ["etc", "etc/ssh", "etc/ssh/sshd_config.d"] {
        root.make(directory, 0o755).unwrap();
    }
    for (directory, name, text) in files {
        let dir = root.need(directory).unwrap();
        dir.write_new((*name).as_ref(), looks, text.as_bytes()).unwrap();
    }
    blocks(&root, &inventory::sshd_texts(&root).unwrap())
}

#[test]
fn blocks_are_those_of_all_files_and_clear_where_these_alone_say_who_is_in_a_unix_group() {
    let main = ("etc/ssh", "sshd_config", "Include sshd_config.d/*.conf\nMatch User ann\n");
    let by_group = ("etc/ssh/sshd_config.d", "50-a.conf", "Match Group ops\n");
    let own = ("etc/ssh/sshd_config.d", ssh::DROP_IN, "Match Group muster-accounts\n");
    let sources = |text| ("etc", "nsswitch.conf", text);
    let count = |files: &[_]| match read(files) {
        Blocks::Known(known) => Some(known.len()),
        Blocks::Unclear => None,
    };
    assert_eq!(count(&[main, own]), Some(1));
    assert_eq!(count(&[main, by_group]), Some(2));
    for (text, wanted) in [
        ("passwd: files sss\ngroup: files systemd\n", Some(2)),
        ("group: files [NOTFOUND=continue] sss\n", None),
        ("group: files\ninitgroups: files ldap\n", None),
    ] {
        assert_eq!(count(&[main, by_group, sources(text)]), wanted, "{text}");
    }
    assert_eq!(count(&[main, sources("group: files sss\n")]), Some(1), "by login alone");
    let elsewhere = ("etc/ssh/sshd_config.d", "60-b.conf", "Include /etc/other.conf\n");
    assert_eq!(count(&[main, elsewhere]), None);
}
