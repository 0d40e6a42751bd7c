//! What the doctor looks at, over a temporary root: faults are made there, and seen as what they are.

use std::{
    fs::{self, File, FileTimes},
    os::unix::fs::{PermissionsExt, symlink},
    path::Path,
    time::{Duration, SystemTime},
};

use muster_agent::{
    doctor::{self, Finding},
    host::examine::{Places, examine},
};
use muster_proto::time::Timestamp;

use crate::world::{NOW, Root, need_root};

/// A host on which all is well but that it has not joined a fleet.
pub fn host() -> Root {
    need_root();
    let root = Root::new();
    for directory in ["etc/muster/labels.d", "state/keeper", "state/courier", "bin", "root"] {
        fs::create_dir_all(root.path(directory)).unwrap();
    }
    let passwd = root.read("etc/passwd")
        + "muster-agent:x:990:990::/:/usr/sbin/nologin\nops:x:1600:1600::/home/ops:/bin/bash\n";
    root.write("etc/passwd", 0o644, &passwd);
    let shadow = root.read("etc/shadow") + "ops:$6$ops$hash:20000::::::\n";
    root.write("etc/shadow", 0o640, &shadow);
    for (name, mode, text) in [
        ("bin/bash", 0o755, ""),
        ("etc/shells", 0o644, "/bin/bash\n"),
        ("etc/sudoers", 0o440, "@includedir /etc/sudoers.d\n"),
        ("etc/ssh/sshd_config", 0o644, "Include /etc/ssh/sshd_config.d/*.conf\n"),
        ("etc/muster/agent.toml", 0o644, "mode = 'enforce'\nbreak_glass = ['ops']\n"),
    ] {
        root.write(name, mode, text);
    }
    root
}

pub fn found_at(root: &Root, now: Timestamp) -> Vec<Finding> {
    let places = Places {
        root: root.dir.path(),
        state: &root.path("state"),
        config: &root.path("etc/muster/agent.toml"),
    };
    let found = doctor::findings(&examine(places, now).unwrap(), now);
    let in_one_line = |text: &str| !text.is_empty() && !text.contains('\n');
    assert!(found.iter().all(|one| in_one_line(&one.fault) && in_one_line(&one.cure)), "{found:?}");
    found
}

/// Returns what is found besides that the host has not joined.
fn found(root: &Root) -> Vec<(String, String)> {
    let found = found_at(root, NOW).into_iter().filter(|finding| finding.subject != "fleet");
    found.map(|finding| (finding.subject, finding.fault)).collect()
}

/// Asserts that one thing is found once this was done, and nothing when it was undone.
#[track_caller]
fn one(root: &Root, subject: &str, words: &str, make: impl FnOnce(), undo: impl FnOnce()) {
    make();
    let all = found(root);
    let [(about, fault)] = all.as_slice() else { panic!("{subject}, {words}: {all:?}") };
    assert_eq!(about, subject);
    assert!(fault.contains(words), "{fault}");
    undo();
    assert_eq!(found(root), []);
}

/// Asserts that one thing is found while a file is another one.
#[track_caller]
fn with_text(root: &Root, name: &str, text: &str, subject: &str, words: &str) {
    let before = root.read(name);
    let mode = fs::metadata(root.path(name)).unwrap().permissions().mode();
    let (make, undo) = (|| root.write(name, mode, text), || root.write(name, mode, &before));
    one(root, subject, words, make, undo);
}

/// Asserts that one thing is found while something is elsewhere.
#[track_caller]
fn without(root: &Root, name: &str, subject: &str, words: &str) {
    let (here, aside) = (root.path(name), root.path("aside"));
    let (make, undo) =
        (|| fs::rename(&here, &aside).unwrap(), || fs::rename(&aside, &here).unwrap());
    one(root, subject, words, make, undo);
}

pub fn allow(path: &Path, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}

#[test]
fn what_a_hosts_files_say_is_found_and_goes_with_its_cause() {
    let root = host();
    assert_eq!(found(&root), []);
    with_text(&root, "etc/muster/agent.toml", "moode = 1", "configuration", "moode");
    with_text(&root, "etc/sudoers", "root ALL=ALL\n", "sudo", "does not include");
    with_text(&root, "etc/ssh/sshd_config", "UsePAM yes\n", "sshd", "does not include");
    with_text(&root, "etc/shells", "/bin/sh\n", "shell", "/etc/shells");
    with_text(&root, "etc/nsswitch.conf", "passwd: files ldap\n", "other sources", "`ldap`");
    without(&root, "etc/shells", "shell", "/etc/shells");
    without(&root, "etc/sudoers.d", "sudo", "is missing");
    without(&root, "etc/ssh/sshd_config.d", "sshd", "is missing");
    without(&root, "home", "homes", "is missing");
    let bash = root.path("bin/bash");
    let missing = || fs::remove_file(&bash).unwrap();
    let all = {
        missing();
        found(&root)
    };
    let subjects: Vec<&str> = all.iter().map(|(subject, _)| subject.as_str()).collect();
    assert_eq!(subjects, ["break glass", "shell"], "{all:?}");
    root.write("bin/bash", 0o755, "");
    let subuid = root.path("etc/subuid");
    let undo = || fs::remove_file(&subuid).unwrap();
    let make = || root.write("etc/subuid", 0o644, "eve:50000:65536\n");
    one(&root, "uids", "`eve` may run as 50000", make, undo);
    // A file that cannot be read is not one that is not there.
    let make = || fs::create_dir(&subuid).unwrap();
    one(&root, "uids", "cannot read", make, || fs::remove_dir(&subuid).unwrap());
}

#[test]
fn who_may_write_where_root_reads_is_found() {
    let root = host();
    let config = root.path("etc/muster/agent.toml");
    let words = "others than root may change what";
    one(&root, "configuration", words, || allow(&config, 0o666), || allow(&config, 0o644));
    for name in ["etc/muster", "etc/muster/labels.d"] {
        let path = root.path(name);
        one(&root, "configuration", words, || allow(&path, 0o775), || allow(&path, 0o755));
    }
    let home = root.path("home");
    one(&root, "homes", "writable for others", || allow(&home, 0o777), || allow(&home, 0o755));
    let real = root.path("real");
    let link = || {
        fs::rename(&home, &real).unwrap();
        symlink(&real, &home).unwrap();
    };
    let undo = || {
        fs::remove_file(&home).unwrap();
        fs::rename(&real, &home).unwrap();
    };
    one(&root, "homes", "no home can be made: cannot open", link, undo);
    let label = root.path("etc/muster/labels.d/lab");
    root.write("etc/muster/labels.d/lab", 0o644, "env=prod\n");
    one(&root, "label", "others than root", || allow(&label, 0o664), || allow(&label, 0o644));
    with_text(&root, "etc/muster/labels.d/lab", "a b=c\n", "label", "`a b`");
    let directory = root.path("etc/muster/labels.d");
    fs::remove_dir_all(&directory).unwrap();
    let make = || root.write("etc/muster/labels.d", 0o644, "");
    one(&root, "label", "the agent does not start", make, || fs::remove_file(&directory).unwrap());
}

#[test]
fn a_way_in_for_an_emergency_is_looked_for_in_the_account_files() {
    let root = host();
    let passwd = root.read("etc/passwd");
    let shadow = root.read("etc/shadow");
    let found = |from: &str, to: &str| {
        with_text(&root, "etc/passwd", &passwd.replace(from, to), "break glass", "`ops`");
    };
    found("ops:x", "other:x");
    found("/home/ops:/bin/bash", "/home/ops:/sbin/nologin");
    let found = |to: &str, words: &str| {
        let text = shadow.replace("ops:$6$ops$hash:20000::::::", to);
        with_text(&root, "etc/shadow", &text, "break glass", words);
    };
    found("ops:!$6$ops$hash:20000::::::", "is locked");
    found("ops:*:20000::::::", "neither a password nor a key");
    found("ops:$6$ops$hash:20000:::::1:", "has expired");
    found("", "neither a password nor a key");
}

#[test]
fn a_lock_counts_once_it_is_a_minute_old_and_only_while_somebody_may_hold_it() {
    let root = host();
    let lock = root.path("etc/passwd.lock");
    let path = lock.clone();
    let locked = |text: &str, age: u64| {
        root.write("etc/passwd.lock", 0o600, text);
        let then = SystemTime::UNIX_EPOCH + Duration::from_secs(NOW.0 - age);
        let file = File::options().write(true).open(&path).unwrap();
        file.set_times(FileTimes::new().set_modified(then)).unwrap();
        let all = self::found(&root);
        all.into_iter().map(|(_, fault)| fault).collect::<Vec<_>>().join("\n")
    };
    assert!(locked("no number", 60).contains("names no process"));
    assert_eq!(locked("no number", 59), "");
    assert!(locked("1\0", 60).contains("is held by process 1 "));
    assert_eq!(locked("1\0", 59), "");
    // No process can have the highest number that there is: whoever comes next takes it over.
    assert_eq!(locked("4194304\0", 86_400), "");
}

#[test]
fn a_host_that_has_joined_and_lost_its_memory_is_told_apart_from_one_that_has_not_joined() {
    let root = host();
    let one = |subject: &str, words: &str| {
        let all = found_at(&root, NOW);
        let is_it = |one: &Finding| one.subject == subject && one.fault.contains(words);
        assert!(all.iter().any(is_it), "{subject}, {words}: {all:?}");
    };
    one("fleet", "has not joined");
    root.write("state/keeper/key.der", 0o600, "a key");
    one("ledger", "keeper/ledger` is missing");
    one("courier", "identity`");
    root.write("state/keeper/ledger", 0o640, "\u{1}\u{2}");
    one("ledger", "damaged");
    one("state directory", "others than root may use");
    // A ledger that is a link is not read at all.
    fs::remove_file(root.path("state/keeper/ledger")).unwrap();
    symlink("key.der", root.path("state/keeper/ledger")).unwrap();
    one("ledger", "cannot read");
    fs::remove_file(root.path("state/keeper/ledger")).unwrap();
    root.write("state/keeper/left", 0o600, "");
    one("fleet", "has left its fleet");
    for name in ["identity", "ca.der", "controller"] {
        root.write(&format!("state/courier/{name}"), 0o600, "\0\u{1}x");
    }
    fs::remove_file(root.path("state/keeper/left")).unwrap();
    one("certificate", "cannot use the controller's CA");
    one("courier", "belongs to uid 0: the courier cannot use it");
}
