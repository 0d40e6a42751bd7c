//! Other sources of accounts: who is known to one that `nsswitch.conf` names is nobody to be made,
//! and a source that does not answer makes nobody new and holds up nothing else.
//!
//! The source here is a module of our own, `names/directory.c`, which hangs when it is told to; those
//! that Debian has are in `packaged`.

mod packaged;

use std::{
    fmt::Write,
    sync::atomic::{AtomicU32, Ordering},
    time::Duration,
};

use muster_tests::{Fleet, Host, Member, Mode, Output, Person, Programs, wait};

use crate::{
    SOON, assert_kept_out, assert_let_in,
    drifting::{await_told, word},
    is_refused,
    kept::Kept,
};

const HOST: &str = "named1";
const HANGS: &str = "/run/directory-hangs";

/// Longer than a keeper asks a source that does not answer, some times over.
const PATIENT: &str = "90";

/// How long it may take until a source is asked again, and has answered.
const RETRIED: Duration = Duration::from_secs(90);

/// A fleet of one host on an image.
fn start(image: &str) -> Fleet {
    static NUMBER: AtomicU32 = AtomicU32::new(0);
    let number = NUMBER.fetch_add(1, Ordering::Relaxed);
    let name = format!("names-{}-{number}", std::process::id());
    let member = Member { name: HOST, labels: &["env=prod"], mode: Mode::Enforce };
    Fleet::start_on(image, &name, &Programs::tested().unwrap(), &[member]).unwrap()
}

/// Has a host ask another source for accounts after its files.
fn ask_also(host: &Host, source: &str) {
    let sources = format!("s/^passwd:.*/passwd: files {source}/");
    host.run_ok(&["sed", "--in-place", &sources, "/etc/nsswitch.conf"]).unwrap();
}

/// A fleet of one host whose accounts come from the files and from the module.
fn named() -> Fleet {
    let fleet = start("bookworm");
    let module = fleet.lab().scratch().join("libnss_directory.so.2");
    let source = concat!(env!("CARGO_MANIFEST_DIR"), "/e2e/names/directory.c");
    let into = module.display().to_string();
    let words = ["gcc", "-shared", "-fPIC", "-Wall", "-Werror", "-O1", "-o", &into, source];
    let built = fleet.lab().run(&words).unwrap();
    assert!(built.success(), "{built}");
    let host = fleet.host(HOST);
    host.install(&module, "/usr/lib/x86_64-linux-gnu/libnss_directory.so.2", 0o644).unwrap();
    host.run_ok(&["mkdir", "/var/lib/directory"]).unwrap();
    let people = b"dora:*:34567:34567::/nowhere:/bin/sh\n";
    host.write("/var/lib/directory/passwd", people, 0o644).unwrap();
    ask_also(host, "directory");
    assert!(host.run_ok(&["getent", "passwd", "dora"]).unwrap().contains("34567"));
    fleet
}

/// Declares people on the host, each with more of her own.
fn declared(people: &[(&Person, &str)]) -> String {
    let mut all = ["users:\n".to_owned(), "assignments:\n".to_owned()];
    for (Person { login, key }, more) in people {
        writeln!(all[0], "  {login}: {{keys: [\"{}\"]{more}}}", key.public).unwrap();
        writeln!(all[1], "  {login}: {{user: {login}, role: guest, hosts: env=prod}}").unwrap();
    }
    all.concat() + "roles:\n  guest: {}\n"
}

fn apply(fleet: &Fleet, yaml: &str) -> Output {
    let path = fleet.declare(yaml).unwrap();
    fleet.muster(&["apply", "--yes", "--timeout", PATIENT, "--file", path]).unwrap()
}

/// Asserts that the files of a host know nothing of a login.
fn assert_not_made(host: &Host, login: &str) {
    let files = ["/etc/passwd", "/etc/shadow", "/etc/group", "/etc/gshadow"];
    for file in files {
        let text = String::from_utf8(host.read(file).unwrap()).unwrap();
        assert!(
            !text.lines().any(|line| line.split([':', ',']).any(|word| word == login)),
            "{file}"
        );
    }
    for path in [format!("/home/{login}"), format!("/etc/ssh/muster-keys/{login}")] {
        assert!(!host.run(&["test", "-e", &path]).unwrap().success(), "{path}");
    }
}

/// Declares `dora`, whom another source has with uid 34567, `emil` with that uid, and `fred`, and
/// asserts that only he has an account. Returns `dora`.
fn assert_left_to_it(fleet: &Fleet, source: &str) -> Person {
    let [dora, emil, fred] = ["dora", "emil", "fred"].map(|login| fleet.person(login).unwrap());
    let yaml = declared(&[(&dora, ""), (&emil, ", uid: 34567"), (&fred, "")]);
    let applied = apply(fleet, &yaml);
    assert_eq!(applied.status, 4, "{applied}");
    assert!(applied.stderr.contains(&format!("not confirmed: {HOST} (partly)")), "{applied}");
    let shown = fleet.ask(&["host", "show", HOST]).unwrap().to_string();
    let told = [
        format!("known-elsewhere dora: another source answers: {source}"),
        format!("known-elsewhere emil: another source answers: {source}: uid 34567 is `dora`'s"),
    ];
    assert!(told.iter().all(|words| shown.contains(words)), "{shown}");
    for person in [&dora, &emil] {
        assert_not_made(fleet.host(HOST), &person.login);
        assert_kept_out(fleet, HOST, person);
    }
    assert_let_in(fleet, HOST, &fred);
    dora
}

/// Asserts that a person who had to wait can log in before long.
fn assert_comes_in(fleet: &Fleet, person: &Person) {
    wait::until(RETRIED, "a login", || {
        fleet.ssh(HOST, person).command("true").run().unwrap().success().then_some(())
    })
    .unwrap();
}

#[test]
fn a_login_and_a_uid_of_another_source_are_left_to_it_and_told() {
    let fleet = named();
    let host = fleet.host(HOST);
    let dora = assert_left_to_it(&fleet, "directory");

    // Once the other source knows her no more, the next look makes her.
    host.write("/var/lib/directory/passwd", b"", 0o644).unwrap();
    host.run_ok(&["systemctl", "restart", "muster-agent.service"]).unwrap();
    assert_comes_in(&fleet, &dora);

    // One that is asked before the files says who somebody is, whatever these say.
    let uid = host.run_ok(&["id", "--user", "fred"]).unwrap();
    let other = b"fred:*:34568:34568::/nowhere:/bin/sh\n";
    host.write("/var/lib/directory/passwd", other, 0o644).unwrap();
    let config = Kept::of(host, "/etc/nsswitch.conf");
    config.replace(&config.text().replace("files directory", "directory files"));
    let told = await_told(&fleet, "effect-differs", "fred", "names", "reported");
    assert_eq!(word(&told, "severity"), "high");
    assert!(word(&told, "expected").starts_with(&format!("uid {}, ", uid.trim())), "{told}");
    assert!(word(&told, "found").starts_with("uid 34568, "), "{told}");
    drop(config);
    await_told(&fleet, "effect-differs", "fred", "names", "gone");
}

#[test]
fn a_source_that_hangs_makes_nobody_new_and_the_rest_goes_on() {
    let fleet = named();
    let host = fleet.host(HOST);
    let [gwen, hope, ivan] = ["gwen", "hope", "ivan"].map(|login| fleet.person(login).unwrap());
    let before = declared(&[(&gwen, ""), (&hope, "")]);
    let applied = apply(&fleet, &before);
    assert!(applied.success(), "{applied}");

    host.write(HANGS, b"", 0o644).unwrap();
    let after = declared(&[(&hope, ""), (&ivan, "")]) + "absent: {assignments: [gwen]}\n";
    let applied = apply(&fleet, &after);
    assert_eq!(applied.status, 4, "{applied}");
    assert!(applied.stderr.contains(&format!("not confirmed: {HOST} (partly)")), "{applied}");
    let shown = fleet.ask(&["host", "show", HOST]).unwrap().to_string();
    let told = "unknown-elsewhere ivan: a source cannot be asked: ";
    assert!(shown.contains(told) && shown.contains("account-locked gwen"), "{shown}");
    assert_not_made(host, "ivan");
    assert!(is_refused(&fleet.ssh(HOST, &gwen).command("true").run().unwrap()));
    assert_let_in(&fleet, HOST, &hope);
    // Whoever asks what is wrong on the host is told.
    let doctor = host.run(&["muster-agent", "doctor"]).unwrap();
    let told = "no account can be created: cannot run `/usr/bin/getent`: timed out";
    assert!(doctor.status == 1 && doctor.stdout.contains(told), "{doctor}");
    assert!(!doctor.stdout.contains("visudo") && !doctor.stdout.contains("sshd"), "{doctor}");
    // Nothing that asked is left behind.
    wait::until(SOON, "the asking to have ended", || {
        (!host.run(&["pgrep", "getent"]).unwrap().success()).then_some(())
    })
    .unwrap();

    host.run_ok(&["rm", HANGS]).unwrap();
    host.run_ok(&["systemctl", "restart", "muster-agent.service"]).unwrap();
    assert_comes_in(&fleet, &ivan);
}
