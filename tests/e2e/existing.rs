//! What is on a host already stays as it is, and is told; and a host that is only observed stays as
//! it is altogether.

use std::collections::BTreeMap;

use muster_tests::{Fleet, Host, Output, Person, wait};

use crate::{PATIENCE, assert_kept_out, assert_let_in, fleet, is_locked, uid};

const ACCOUNT_FILES: [&str; 4] = ["/etc/passwd", "/etc/shadow", "/etc/group", "/etc/gshadow"];

/// Declares one user with a role of her own; `more` is added to the user.
fn on(hosts: &str, person: &Person, more: &str) -> String {
    let Person { login, key } = person;
    format!(
        "users:\n  {login}: {{keys: [\"{key}\"]{more}}}\n\
         roles:\n  {login}: {{sudo: [{{commands: [ALL]}}]}}\n\
         assignments:\n  {login}: {{user: {login}, role: {login}, hosts: \"{hosts}\"}}\n",
        key = key.public
    )
}

/// Returns the lines of the account files that name a login, by file.
pub(crate) fn lines_of(host: &Host, login: &str) -> BTreeMap<&'static str, Vec<String>> {
    let lines = |file: &str| -> Vec<String> {
        let text = String::from_utf8(host.read(file).unwrap()).unwrap();
        let own = |line: &&str| line.split([':', ',']).any(|field| field == login);
        text.lines().filter(own).map(str::to_owned).collect()
    };
    ACCOUNT_FILES.iter().map(|file| (*file, lines(file))).collect()
}

/// Writes an account file with the mode that it has.
fn put(host: &Host, file: &str, text: &str) {
    let mode = if file.ends_with("shadow") { 0o640 } else { 0o644 };
    host.write(file, text.as_bytes(), mode).unwrap();
}

/// Returns every file below a folder with owner, mode, times and content.
pub(crate) fn tree(host: &Host, folder: &str) -> String {
    const SCRIPT: &str = r#"
        find "$1" -printf '%p %u %g %m %T@ %C@\n' | sort
        find "$1" -type f | sort | xargs --no-run-if-empty sha256sum
    "#;
    host.run_ok(&["sh", "-c", SCRIPT, "tree", folder]).unwrap()
}

/// Returns what a host's newest receipts found about somebody.
pub(crate) fn findings(fleet: &Fleet, host: &str, about: &str) -> Vec<String> {
    let shown = fleet.ask(&["host", "show", host]).unwrap();
    let receipts = shown.get("receipts").unwrap().as_array().unwrap();
    let all = receipts.iter().filter_map(|receipt| receipt.get("findings").unwrap().as_array());
    all.flatten()
        .map(|finding| finding.as_str().unwrap().to_owned())
        .filter(|finding| finding.contains(about))
        .collect()
}

/// Asserts that a change was published and that one host could not do all of it, which it is named
/// for, with these words.
fn assert_partly(output: &Output, host: &str, words: &[&str]) {
    assert_eq!(output.status, 4, "{output}");
    assert!(output.stderr.contains("published change"), "{output}");
    assert!(output.stderr.contains(&format!("not confirmed: {host} (partly)\n")), "{output}");
    assert_eq!(output.stderr.matches("not confirmed: ").count(), 1, "{output}");
    let line = output.stdout.lines().find(|line| line.starts_with(host)).unwrap_or_default();
    assert!(line.contains(" partly ") && words.iter().all(|word| line.contains(word)), "{output}");
}

/// Asserts that a host is named as one that only observes, with what it left undone and the cure.
fn assert_observing(output: &Output, host: &str, undone: &str) {
    assert_eq!(output.status, 4, "{output}");
    assert!(output.stderr.contains(&format!("not confirmed: {host} (observing)\n")), "{output}");
    let line = output.stdout.lines().find(|line| line.starts_with(host)).unwrap_or_default();
    let told = [" observing ", undone, "mode = \"enforce\""];
    assert!(told.iter().all(|word| line.contains(word)), "{output}");
}

#[test]
fn an_account_of_the_same_name_is_left_alone_and_told() {
    let fleet = fleet();
    let web1 = fleet.host("web1");
    let vic = fleet.person("vic").unwrap();
    web1.run_ok(&["useradd", "--create-home", "--comment", "Vic, local", "vic"]).unwrap();
    web1.run_ok(&["usermod", "--password", "$6$not$ours", "--append", "--groups", "adm", "vic"])
        .unwrap();
    let before = (lines_of(web1, "vic"), tree(web1, "/home/vic"));
    let own_uid = uid(web1, "vic");

    let applied = fleet.apply(&on("env=prod", &vic, "")).unwrap();
    assert_partly(&applied, "web1", &["conflict vic", "uid"]);

    assert_eq!((lines_of(web1, "vic"), tree(web1, "/home/vic")), before);
    assert_kept_out(&fleet, "web1", &vic);
    for absent in ["/etc/ssh/muster-keys/vic", "/etc/sudoers.d/50-muster-vic"] {
        assert!(!web1.run(&["test", "-e", absent]).unwrap().success(), "{absent}");
    }
    let told = findings(&fleet, "web1", "vic");
    assert!(told.iter().any(|finding| finding.starts_with("conflict vic")), "{told:?}");
    assert!(told.iter().any(|finding| finding.contains(&format!("uid {own_uid}"))), "{told:?}");
    // Where nobody is in the way, she has what she was given.
    assert_let_in(&fleet, "db1", &vic);
    assert_eq!(findings(&fleet, "db1", "vic"), [""; 0]);

    let offboarded = fleet.muster(&["offboard", "vic", "--yes"]).unwrap();
    assert!(offboarded.success(), "{offboarded}");
    assert_eq!((lines_of(web1, "vic"), tree(web1, "/home/vic")), before);
}

#[test]
fn a_uid_that_somebody_else_has_is_left_to_her_and_told() {
    let fleet = fleet();
    let db1 = fleet.host("db1");
    let wim = fleet.person("wim").unwrap();
    db1.run_ok(&["useradd", "--create-home", "--uid", "23456", "tenant"]).unwrap();
    let before = (lines_of(db1, "tenant"), tree(db1, "/home/tenant"));

    let applied = fleet.apply(&on("env=prod", &wim, ", uid: 23456")).unwrap();
    assert_partly(&applied, "db1", &["conflict wim", "tenant"]);

    assert_eq!((lines_of(db1, "tenant"), tree(db1, "/home/tenant")), before);
    assert!(!db1.run(&["getent", "passwd", "wim"]).unwrap().success());
    assert!(!db1.run(&["test", "-e", "/home/wim"]).unwrap().success());
    assert_kept_out(&fleet, "db1", &wim);
    let told = findings(&fleet, "db1", "wim");
    assert!(told.iter().any(|finding| finding.starts_with("conflict wim")), "{told:?}");
    assert!(told.iter().any(|finding| finding.contains("tenant")), "{told:?}");
    assert_let_in(&fleet, "web1", &wim);
    assert_eq!(uid(fleet.host("web1"), "wim"), 23456);
}

#[test]
fn the_break_glass_account_is_never_touched() {
    let fleet = fleet();
    let web1 = fleet.host("web1");
    let ops =
        Person { login: "ops".to_owned(), key: fleet.lab().keygen("ops", "ed25519").unwrap() };
    let before = (lines_of(web1, "ops"), tree(web1, "/home/ops"));

    let path = fleet.declare(&on("tier=web", &ops, "")).unwrap();
    let applied = fleet.muster(&["apply", "--yes", "--file", path, "--output", "json"]).unwrap();
    assert_eq!(applied.status, 4, "{applied}");
    let rows: serde_json::Value = serde_json::from_str(&applied.stdout).unwrap();
    let row = rows.get(0).unwrap();
    assert_eq!((&row["host"], &row["state"]), (&"web1".into(), &"partly".into()), "{applied}");

    assert_eq!((lines_of(web1, "ops"), tree(web1, "/home/ops")), before);
    assert_kept_out(&fleet, "web1", &ops);
    let told = findings(&fleet, "web1", "ops");
    assert!(told.iter().any(|finding| finding.starts_with("protected ops")), "{told:?}");
}

#[test]
fn lines_that_are_not_musters_stay_byte_for_byte() {
    let fleet = fleet();
    let dev1 = fleet.host("dev1");
    let xia = fleet.person("xia").unwrap();
    // What an old hand may have left: a comment, an odd order, a line that nobody understands.
    for file in ACCOUNT_FILES {
        let mut text = String::from_utf8(dev1.read(file).unwrap()).unwrap();
        text.insert_str(0, "# by hand, do not touch\n");
        text.push_str("+::::::\n");
        put(dev1, file, &text);
    }
    let all = || ACCOUNT_FILES.map(|file| String::from_utf8(dev1.read(file).unwrap()).unwrap());
    let before = all();

    fleet.apply_ok(&on("env=dev", &xia, "")).unwrap();

    assert_let_in(&fleet, "dev1", &xia);
    for (file, (before, after)) in ACCOUNT_FILES.iter().zip(before.iter().zip(all())) {
        let ours = |line: &&str| line.starts_with("xia:") || line.starts_with("muster-accounts:");
        let kept = |text: &str| -> Vec<String> {
            text.lines().filter(|line| !ours(line)).map(str::to_owned).collect()
        };
        assert_eq!(kept(before), kept(&after), "{file}");
        assert!(after.contains("xia"), "{file}: {after}");
    }
    for file in ACCOUNT_FILES {
        let text = String::from_utf8(dev1.read(file).unwrap()).unwrap();
        put(dev1, file, &text.replace("# by hand, do not touch\n", "").replace("+::::::\n", ""));
    }
}

#[test]
fn a_host_that_is_only_observed_is_never_changed() {
    let fleet = fleet();
    let watch1 = fleet.host("watch1");
    let yves = fleet.person("yves").unwrap();
    let folders = ["/etc", "/home", "/var/spool/cron"];
    let all = || folders.map(|folder| tree(watch1, folder));
    let before = all();

    let applied = fleet.apply(&on("env=watch", &yves, "")).unwrap();
    assert_observing(&applied, "watch1", "not changed");
    assert_eq!(all(), before);
    assert_kept_out(&fleet, "watch1", &yves);

    let plan = watch1.run(&["muster-agent", "plan"]).unwrap();
    assert_eq!(plan.status, 3, "{plan}");
    assert!(plan.stdout.contains("account-created yves"), "{plan}");
    let status = watch1.run_ok(&["muster-agent", "status"]).unwrap();
    assert!(status.contains("observe"), "{status}");
    assert_eq!(all(), before);

    let offboarded = fleet.muster(&["offboard", "yves", "--yes"]).unwrap();
    assert_observing(&offboarded, "watch1", "not locked");
    assert_eq!(all(), before);
}

/// Sets a host's mode, as its administrator would.
fn set_mode(host: &Host, mode: &str) {
    let config = format!("mode = \"{mode}\"\nbreak_glass = [\"ops\"]\n");
    host.write("/etc/muster/agent.toml", config.as_bytes(), 0o644).unwrap();
    host.run_ok(&["systemctl", "restart", "muster-agent"]).unwrap();
}

#[test]
fn a_host_that_was_set_to_observe_keeps_even_whoever_is_offboarded_and_says_so() {
    let fleet = fleet();
    let watch1 = fleet.host("watch1");
    let zoe = fleet.person("zoe").unwrap();
    set_mode(watch1, "enforce");
    fleet.wait_until_connected(&["watch1"]).unwrap();
    fleet.apply_ok(&on("env=watch", &zoe, "")).unwrap();
    assert_let_in(&fleet, "watch1", &zoe);
    set_mode(watch1, "observe");
    fleet.wait_until_connected(&["watch1"]).unwrap();
    let before = lines_of(watch1, "zoe");

    let offboarded = fleet.muster(&["offboard", "zoe", "--yes"]).unwrap();
    assert_observing(&offboarded, "watch1", "not locked");
    assert_eq!(lines_of(watch1, "zoe"), before);
    assert_let_in(&fleet, "watch1", &zoe);

    set_mode(watch1, "enforce");
    // It says that it is ready before it looks.
    wait::until(PATIENCE, "her to be locked", || is_locked(watch1, "zoe").then_some(())).unwrap();
    assert_kept_out(&fleet, "watch1", &zoe);
    set_mode(watch1, "observe");
}
