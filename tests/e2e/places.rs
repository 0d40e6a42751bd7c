//! Directories, ports and configuration that cannot be used.

use muster_tests::{Fleet, Host, Output};

use crate::{assert_failed, fleet, is_there, standing};

/// Runs `muster` for a second fleet, which has all its places below `root`.
fn second(fleet: &Fleet, root: &str, words: &[&str]) -> Output {
    let place = |name: &str| format!("{root}/{name}");
    let (socket, store, key) = (place("socket"), place("store"), place("keys/approver"));
    let places = ["--socket", &socket, "--store", &store, "--key", &key];
    fleet.muster(&[words, &places].concat()).unwrap()
}

fn init(fleet: &Fleet, root: &str, data: &str) -> Output {
    let config = format!("{root}/muster.toml");
    let words = ["init", "--operator", "bob", "--address", "ctl:7520", "--listen", "[::]:7520"];
    let places = ["--user", "root", "--data", data, "--config", &config];
    second(fleet, root, &[&words[..], &places].concat())
}

/// Runs a controller with a configuration, which it should not survive.
fn serve(fleet: &Fleet, config: &str) -> Output {
    let words = ["timeout", "--kill-after=5", "20", "muster", "serve", "--config", config];
    fleet.controller().run(&words).unwrap()
}

/// Returns a folder's files with owner, mode and content.
fn files(host: &Host, folder: &str) -> String {
    const SCRIPT: &str = r#"find "$1" -printf '%p %u %m %s\n' | sort; cat "$1"/* 2>/dev/null"#;
    host.run(&["sh", "-c", SCRIPT, "files", folder]).unwrap().stdout
}

#[test]
fn a_fleet_is_never_made_over_something_else() {
    let fleet = fleet();
    let ctl = fleet.controller();
    let before = standing(&fleet);
    let again = ["init", "--operator", "bob", "--address", "ctl:7420"];
    assert_failed(&fleet.muster(&again).unwrap(), 1, &["/var/lib/muster", "hint:"]);

    let other = "/srv/other";
    ctl.run_ok(&["mkdir", "-p", other]).unwrap();
    ctl.write("/srv/other/theirs", b"precious\n", 0o644).unwrap();
    let was = files(ctl, other);
    assert_failed(&init(&fleet, "/root/no", other), 1, &[other, "not empty"]);
    assert_failed(&init(&fleet, "/root/no", "/srv/other/theirs"), 1, &["/srv/other/theirs"]);
    assert_eq!(files(ctl, other), was);
    assert!(!is_there(ctl, "/root/no"));

    for (word, bad) in [("--operator", "Bob B"), ("--address", "nowhere"), ("--listen", "here")] {
        let mut words = vec!["init", "--operator", "bob", "--address", "ctl:7520"];
        words.retain(|known| *known != word);
        words.extend([word, bad, "--data", "/srv/none", "--config", "/srv/none.toml"]);
        let refused = second(&fleet, "/root/no", &words);
        assert_eq!(refused.status, 2, "{refused}");
    }
    for left in ["/srv/none", "/srv/none.toml", "/root/no"] {
        assert!(!is_there(ctl, left), "{left}");
    }
    assert_eq!(standing(&fleet), before);
}

/// Runs `init` for a fleet below `root`, with these words in place of those of the same name.
fn init_with(fleet: &Fleet, root: &str, others: &[[&str; 2]]) -> Output {
    let place = |name: &str| format!("{root}/{name}");
    let (data, config) = (place("data"), place("etc/muster.toml"));
    let (socket, store, key) = (place("socket"), place("state/store"), place("keys/approver"));
    let mut all = vec![
        ["--operator", "bob"],
        ["--address", "ctl:7520"],
        ["--user", "root"],
        ["--data", &data],
        ["--config", &config],
        ["--socket", &socket],
        ["--store", &store],
        ["--key", &key],
    ];
    all.retain(|[name, _]| others.iter().all(|[other, _]| other != name));
    all.extend(others);
    fleet.muster(&[&["init"], all.as_flattened()].concat()).unwrap()
}

#[test]
fn a_fleet_is_made_whole_or_not_at_all_and_a_second_try_works() {
    let fleet = fleet();
    let ctl = fleet.controller();
    let sealed = "/root/passphrase";
    ctl.write(sealed, b"eleven char\n", 0o600).unwrap();
    for (case, (others, status, words)) in [
        (&[["--user", "nobody-of-ours"]][..], 2, &["nobody-of-ours", "--user"][..]),
        (&[["--recovery-passphrase-file", sealed]], 2, &[sealed, "12 characters"]),
        (&[["--recovery-passphrase-file", "/root/none"]], 2, &["/root/none"]),
        (&[["--uid-range", "999-20000"]], 2, &["--uid-range", "hint:"]),
        (&[["--uid-range", "20000-50000"]], 2, &["--gid-range", "hint:"]),
        (&[["--gid-range", "59999-100000"]], 2, &["--gid-range", "hint:"]),
        // Something that is seen only when it fails, after the keys and the data were made.
        (&[["--config", "/proc/none/muster.toml"]], 1, &["/proc/none", "hint:", "gone again"]),
        (&[["--store", "/proc/none/store"]], 1, &["/proc/none", "hint:", "gone again"]),
    ]
    .into_iter()
    .enumerate()
    {
        let root = format!("/srv/try{case}");
        let refused = init_with(&fleet, &root, others);
        assert_failed(&refused, status, words);
        assert!(!refused.stdout.contains('-'), "a passphrase of nothing is shown: {refused}");
        assert!(!is_there(ctl, &root), "{others:?} left {}", files(ctl, &root));
        let made = init_with(&fleet, &root, &[]);
        assert!(made.success(), "after {others:?}: {made}");
        assert_eq!(made.stdout.trim().split('-').count(), 5, "the passphrase is shown: {made}");
        assert!(is_there(ctl, &format!("{root}/etc/muster.toml")));
    }
}

#[test]
fn a_directory_that_was_there_and_empty_is_so_again_after_a_failure() {
    let fleet = fleet();
    let ctl = fleet.controller();
    ctl.run_ok(&["install", "-d", "-o", "daemon", "-m", "0751", "/srv/kept/data"]).unwrap();
    let was = files(ctl, "/srv/kept");
    let refused = init_with(&fleet, "/srv/kept", &[["--config", "/proc/none/muster.toml"]]);
    assert_failed(&refused, 1, &["/proc/none"]);
    assert_eq!(files(ctl, "/srv/kept"), was);
    let made = init_with(&fleet, "/srv/kept", &[]);
    assert!(made.success(), "{made}");
}

#[test]
fn nothing_is_made_where_a_part_of_a_fleet_is_already() {
    let fleet = fleet();
    let ctl = fleet.controller();
    for (case, there) in [
        "keys/approver",
        "keys/approver.pub",
        "keys/recovery",
        "keys/recovery.pub",
        "etc/muster.toml",
        "state/store/lineage",
        "state/store/links/1",
        "data/store.db",
    ]
    .into_iter()
    .enumerate()
    {
        let root = format!("/srv/part{case}");
        let path = format!("{root}/{there}");
        let folder = path.rsplit_once('/').unwrap().0;
        ctl.run_ok(&["mkdir", "-p", folder]).unwrap();
        ctl.write(&path, b"precious\n", 0o600).unwrap();
        let was = files(ctl, &root);
        let refused = init_with(&fleet, &root, &[]);
        assert_failed(&refused, 1, &[&root, "hint: nothing is overwritten"]);
        assert_eq!(files(ctl, &root), was, "{there}");
        assert_eq!(ctl.read(&path).unwrap(), b"precious\n", "{there}");
        ctl.run_ok(&["rm", "-r", &root]).unwrap();
        let made = init_with(&fleet, &root, &[]);
        assert!(made.success(), "after {there}: {made}");
    }
    let one = ["--recovery-key", "/srv/same/keys/approver"];
    assert_failed(&init_with(&fleet, "/srv/same", &[one]), 2, &["a place each", "hint:"]);
}

#[test]
fn numbers_are_chosen_from_the_ranges_that_a_fleet_was_made_with() {
    let fleet = fleet();
    let ranges = [["--uid-range", "100000-499999"], ["--gid-range", "1000-59999"]];
    let made = init_with(&fleet, "/srv/ranges", &ranges);
    assert!(made.success(), "{made}");
}

#[test]
fn a_data_directory_that_is_not_ours_is_not_served() {
    let fleet = fleet();
    let ctl = fleet.controller();
    let before = standing(&fleet);
    ctl.run_ok(&["mkdir", "-p", "/srv/foreign", "/srv/empty"]).unwrap();
    ctl.write("/srv/foreign/theirs", b"precious\n", 0o644).unwrap();
    for place in ["/srv/foreign", "/srv/empty", "/srv/missing"] {
        let was = files(ctl, place);
        let config = format!(
            "data_dir = \"{place}\"\nagent_listener = \"[::]:7521\"\nagent_address = \"ctl:7521\"\n\
             operator_socket = \"/run/foreign.sock\"\n"
        );
        ctl.write("/root/foreign.toml", config.as_bytes(), 0o644).unwrap();
        assert_failed(&serve(&fleet, "/root/foreign.toml"), 1, &[place]);
        assert_eq!(files(ctl, place), was);
    }
    assert_eq!(standing(&fleet), before);
}

#[test]
fn a_port_that_is_taken_is_told_and_whoever_has_it_goes_on() {
    let fleet = fleet();
    let ctl = fleet.controller();
    let made = init(&fleet, "/root/second", "/srv/second");
    assert!(made.success(), "{made}");
    let config = String::from_utf8(ctl.read("/root/second/muster.toml").unwrap()).unwrap();
    let taken = config.replace("[::]:7520", "[::]:7420");
    ctl.write("/root/second/muster.toml", taken.as_bytes(), 0o644).unwrap();
    let refused = serve(&fleet, "/root/second/muster.toml");
    assert_failed(&refused, 1, &["7420", "in use"]);

    // The socket of a controller that runs is not taken from it either.
    let taken = config.replace("/root/second/socket", "/run/muster/operator.sock");
    ctl.write("/root/second/muster.toml", taken.as_bytes(), 0o644).unwrap();
    let refused = serve(&fleet, "/root/second/muster.toml");
    assert_failed(&refused, 1, &["/run/muster/operator.sock"]);
    fleet.muster_ok(&["status"]).unwrap();
    fleet.wait_until_connected(&["web1", "db1", "dev1"]).unwrap();
}

#[test]
fn a_controllers_configuration_tells_all_its_faults_at_once() {
    let fleet = fleet();
    let ctl = fleet.controller();
    let check = |text: &str| {
        ctl.write("/root/bad.toml", text.as_bytes(), 0o644).unwrap();
        ctl.run(&["muster", "serve", "--check-config", "--config", "/root/bad.toml"]).unwrap()
    };
    assert_failed(&check("data_dirr = \"/x\"\n"), 2, &["/root/bad.toml", "data_dirr"]);
    assert_failed(&check("data_dir = \n"), 2, &["/root/bad.toml"]);
    let many = check("agent_listener = \"here\"\ncheckpoint_seconds = 900\n");
    assert_failed(&many, 2, &["/root/bad.toml", "agent_listener", "checkpoint_seconds"]);
    assert_failed(&serve(&fleet, "/root/none.toml"), 2, &["/root/none.toml"]);
    assert!(check("").success());
}

#[test]
fn an_agents_configuration_tells_all_its_faults_at_once() {
    let fleet = fleet();
    let web1 = fleet.host("web1");
    let check = |text: &str| {
        web1.write("/root/bad.toml", text.as_bytes(), 0o644).unwrap();
        web1.run(&["muster-agent", "--config", "/root/bad.toml", "status"]).unwrap()
    };
    assert_failed(&check("mod = \"enforce\"\n"), 2, &["/root/bad.toml", "mod"]);
    let many = check("mode = \"enforce\"\nscan_seconds = 1\nuid_ranges = [[1, 2]]\n");
    assert_failed(&many, 2, &["/root/bad.toml", "break_glass", "scan_seconds", "uid_ranges"]);
}
