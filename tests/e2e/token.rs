//! A join token is good once, whole and in time.

use std::time::Duration;

use muster_proto::{crypto::sha256, time::Timestamp, token::JoinToken};
use muster_tests::{Fleet, Output, wait};

use crate::{ENFORCED, assert_failed, fleet};

/// Tries to let a host join a second time, in a place of its own, so that what has joined stays.
/// Asserts that nothing is left of it.
fn join_again(fleet: &Fleet, token: &str) -> Output {
    let web1 = fleet.host("web1");
    let before = hosts(fleet);
    let words = ["muster-agent", "--state", "/root/again", "--config", "/root/again.toml", "join"];
    let output = web1.run(&[&words[..], &["--", token]].concat()).unwrap();
    for left in ["/root/again/keeper/ledger", "/root/again.toml"] {
        assert!(!web1.run(&["test", "-e", left]).unwrap().success(), "{left} is there: {output}");
    }
    assert_eq!(hosts(fleet), before);
    output
}

/// Lets a host join a second time, in a place of its own that is gone afterwards.
pub(crate) fn join_beside(fleet: &Fleet, words: &[&str], stdin: &str) {
    let web1 = fleet.host("web1");
    let place = ["muster-agent", "--state", "/root/again", "--config", "/root/again.toml", "join"];
    let joined = web1.run_with_stdin(&[&place[..], words].concat(), stdin.as_bytes()).unwrap();
    assert!(joined.success(), "{joined}");
    web1.run_ok(&["test", "-e", "/root/again/keeper/ledger"]).unwrap();
    web1.run_ok(&["rm", "-r", "/root/again", "/root/again.toml"]).unwrap();
}

/// Returns how many hosts the controller knows.
fn hosts(fleet: &Fleet) -> usize {
    fleet.ask(&["host", "list"]).unwrap().as_array().unwrap().len()
}

#[test]
fn a_token_that_was_used_is_refused() {
    let fleet = fleet();
    let refused = join_again(&fleet, fleet.spent_token().unwrap());
    assert_failed(&refused, 1, &["used"]);
}

#[test]
fn a_token_that_is_not_whole_is_refused() {
    let fleet = fleet();
    let token = fleet.token("10m").unwrap();
    for cut in [1, 5, 100] {
        assert_failed(&join_again(&fleet, &token[..token.len() - cut]), 1, &["cut short"]);
    }
    let altered = token.replacen("muster-join-", "muster-join-A", 1);
    assert_failed(&join_again(&fleet, &altered), 1, &["altered"]);
    for other in ["", "hello", "muster-join-", "../../etc/passwd"] {
        assert_failed(&join_again(&fleet, other), 1, &["join token"]);
    }
    let web1 = fleet.host("web1");
    let words = ["muster-agent", "--state", "/root/again", "join", "--token-file"];
    let missing = web1.run(&[&words[..], &["/root/none"]].concat()).unwrap();
    assert_failed(&missing, 1, &["/root/none"]);
}

#[test]
fn a_token_that_has_expired_is_refused_by_both_sides() {
    let fleet = fleet();
    let token = fleet.token("1s").unwrap();
    let mut parsed = JoinToken::parse(&token).unwrap();
    wait::until(Duration::from_secs(20), "the token to expire", || {
        let now = fleet.controller().run_ok(&["date", "+%s"]).ok()?;
        (now.trim().parse::<u64>().ok()? > parsed.expires.0 + 1).then_some(())
    })
    .unwrap();
    assert_failed(&join_again(&fleet, &token), 1, &["expired"]);

    // What the token says of its end is for the host alone; the controller has its own word.
    parsed.expires = Timestamp(parsed.expires.0 + 3600);
    assert_failed(&join_again(&fleet, &parsed.render()), 1, &["expired"]);
}

#[test]
fn a_controller_that_the_token_does_not_mean_is_told_nothing() {
    let fleet = fleet();
    let token = fleet.token("10m").unwrap();
    let parsed = JoinToken::parse(&token).unwrap();
    let other = JoinToken { ca: parsed.lineage, ..parsed.clone() };
    assert_failed(&join_again(&fleet, &other.render()), 1, &[]);
    let nowhere = JoinToken { address: "ctl:7".to_owned(), ..parsed };
    assert_failed(&join_again(&fleet, &nowhere.render()), 1, &["ctl:7"]);
    // Neither was told the secret: it is still good, once.
    join_beside(&fleet, &["--", &token], "");
    assert_failed(&join_again(&fleet, &token), 1, &["used"]);
}

#[test]
fn a_token_counts_as_the_command_wrote_it_into_a_file_or_a_pipe() {
    let fleet = fleet();
    let line = || fleet.token("10m").unwrap() + "\n";
    fleet.host("web1").write("/root/token", line().as_bytes(), 0o600).unwrap();
    join_beside(&fleet, &["--token-file", "/root/token"], "");
    join_beside(&fleet, &["--token-file", "-"], &line());
    fleet.host("web1").run_ok(&["rm", "/root/token"]).unwrap();
    // A second line is no token's.
    let words = ["muster-agent", "--state", "/root/again", "join", "--token-file", "-"];
    let more = line() + "\n";
    let refused = fleet.host("web1").run_with_stdin(&words, more.as_bytes()).unwrap();
    assert_failed(&refused, 1, &["one unbroken word"]);
}

#[test]
fn a_host_joins_once() {
    let fleet = fleet();
    let web1 = fleet.host("web1");
    let token = fleet.token("10m").unwrap();
    let again = web1.run(&["muster-agent", "join", &token]).unwrap();
    assert_failed(&again, 1, &["joined"]);
    let words = ["muster-agent", "--state", "/root/again", "join", "--enforce", &token];
    let unguarded = web1.run(&words).unwrap();
    assert_eq!(unguarded.status, 2, "{unguarded}");
    assert!(unguarded.stderr.contains("--break-glass"), "{unguarded}");
    fleet.wait_until_connected(&["web1"]).unwrap();
}

#[test]
fn a_join_that_the_host_refuses_leaves_nobody_to_wait_for() {
    let fleet = fleet();
    let pending = || -> Vec<String> {
        let hosts = fleet.ask(&["host", "list"]).unwrap();
        let all = hosts.as_array().unwrap().iter();
        let pending = all.filter(|host| host["state"] == "pending");
        pending.map(|host| host["id"].as_str().unwrap().to_owned()).collect()
    };
    let web1 = fleet.host("web1");
    let words = ["muster-agent", "--state", "/root/again", "--config", "/root/again.toml", "join"];
    let join = |token: &str| web1.run(&[&words[..], &["--", token]].concat()).unwrap();
    let before = pending();
    let token = JoinToken::parse(&fleet.token("10m").unwrap()).unwrap();
    // The controller takes the host in, and the host does not take the controller.
    let other = JoinToken { trust_digest: sha256(&[b"another trust root"]), ..token };
    assert_failed(&join(&other.render()), 1, &["the trust root that the token pins"]);
    assert!(!web1.run(&["test", "-e", "/root/again/keeper/ledger"]).unwrap().success());
    let ghosts: Vec<String> = pending().into_iter().filter(|id| !before.contains(id)).collect();
    let [ghost] = &ghosts[..] else { panic!("{ghosts:?}") };

    // Its name still finds the host that is there, and nobody waits for it.
    let shown = fleet.ask(&["host", "show", "web1"]).unwrap();
    assert_eq!(shown["state"], "connected");
    let wanda = fleet.person("wanda").unwrap();
    let declaration = format!(
        "users:\n  wanda: {{keys: [\"{}\"]}}\nroles:\n  wanda: {{}}\n\
         assignments:\n  wanda: {{user: wanda, role: wanda, hosts: \"{ENFORCED}\"}}\n",
        wanda.key.public
    );
    fleet.apply_ok(&declaration).unwrap();
    fleet.muster_ok(&["revoke", "host", ghost, "--yes"]).unwrap();

    let joined = join(&fleet.token("10m").unwrap());
    assert!(joined.success(), "{joined}");
    web1.run_ok(&["rm", "-r", "/root/again", "/root/again.toml"]).unwrap();
    fleet.muster_ok(&["offboard", "wanda", "--yes"]).unwrap();
}
