//! What operators decide about hosts, on real ones: what reaches a host that is quarantined, and that
//! one that is evicted or banned does not come back by what it has.

use std::time::Duration;

use muster_tests::{Fleet, Member, Mode, Package, Programs, wait};
use serde_json::Value;

use crate::{
    SOON, assert_failed, assert_kept_out, assert_let_in, is_locked, is_refused,
    lifecycle::everywhere, open_session,
};

/// How long a courier takes that has waited for a while before it tries again.
const RETURN: Duration = Duration::from_mins(1);

fn listed(fleet: &Fleet) -> Vec<Value> {
    fleet.ask(&["host", "list"]).unwrap().as_array().unwrap().clone()
}

/// Returns the id of the host of this name that is in this state, once there is one.
fn wait_for(fleet: &Fleet, name: &str, state: &str, connected: bool) -> String {
    wait::until(RETURN, &format!("{name} to be {state}"), || {
        let fits = |host: &&Value| {
            host["host"] == name && host["state"] == state && host["connected"] == connected
        };
        listed(fleet).iter().find(fits).map(|host| host["id"].as_str().unwrap().to_owned())
    })
    .unwrap()
}

#[test]
fn a_host_is_quarantined_released_evicted_and_banned() {
    // What is evicted here comes back under another id, so this fleet is of its own.
    let member = |name| Member { name, labels: &["env=prod"], mode: Mode::Enforce };
    let name = format!("decided-{}", std::process::id());
    let members = [member("near1"), member("far1")];
    let fleet = Fleet::start(&name, &Programs::tested().unwrap(), &members).unwrap();
    let [viggo, wendel] = ["viggo", "wendel"].map(|login| fleet.person(login).unwrap());
    fleet.apply_ok(&everywhere(&viggo)).unwrap();

    let shown = fleet.muster(&["host", "quarantine", "near1", "--dry-run"]).unwrap();
    assert_eq!(shown.status, 3, "{shown}");
    wait_for(&fleet, "near1", "connected", true);
    fleet.muster_ok(&["host", "quarantine", "near1", "--yes", "--reason", "OPS-7"]).unwrap();
    wait_for(&fleet, "near1", "quarantined", true);
    let shown = fleet.ask(&["host", "show", "near1"]).unwrap();
    assert!(shown["decision"].as_str().unwrap().contains("OPS-7"), "{shown}");

    // A grant does not reach it, and whoever gives it hears so.
    let path = fleet.declare(&everywhere(&wendel)).unwrap();
    let applied = fleet.muster(&["apply", "--yes", "--timeout", "30", "--file", path]).unwrap();
    assert_eq!(applied.status, 4, "{applied}");
    assert!(applied.stderr.contains("not confirmed: near1 (refused)"), "{applied}");
    assert!(applied.stderr.contains("quarantined by root"), "{applied}");
    assert_let_in(&fleet, "far1", &wendel);
    assert_kept_out(&fleet, "near1", &wendel);

    // An offboarding does.
    let mut session = open_session(&fleet, "near1", &viggo);
    let left = fleet.muster(&["offboard", "viggo", "--yes", "--timeout", "30"]).unwrap();
    assert_eq!(left.status, 4, "{left}");
    assert!(left.stderr.contains("what was revoked is done"), "{left}");
    assert_eq!(session.finish(SOON).unwrap().status, 255);
    for host in ["near1", "far1"] {
        assert!(is_locked(fleet.host(host), "viggo"), "{host}");
        assert_kept_out(&fleet, host, &viggo);
    }

    fleet.muster_ok(&["host", "release", "near1", "--yes"]).unwrap();
    wait::until(SOON, "the grant to arrive", || {
        let output = fleet.ssh("near1", &wendel).command("true").run().ok()?;
        assert!(output.success() || is_refused(&output), "{output}");
        output.success().then_some(())
    })
    .unwrap();
    let again = fleet.muster(&["host", "release", "near1", "--yes"]).unwrap();
    assert_failed(&again, 1, &["neither quarantined nor banned", "hint: "]);

    // An evicted host cannot return by what it has, and can with a new token.
    let connected = fleet.muster(&["host", "purge", "far1", "--yes"]).unwrap();
    assert_failed(&connected, 1, &["connected", "hint: "]);
    fleet.muster_ok(&["host", "evict", "far1", "--yes"]).unwrap();
    let old = wait_for(&fleet, "far1", "evicted", false);
    let far1 = fleet.host("far1");
    let said = |words: &str| far1.journal("muster-agent-courier").unwrap().matches(words).count();
    let (begun, ended) = (said("session begun"), said("session ended"));
    far1.run_ok(&["systemctl", "restart", "muster-agent-courier"]).unwrap();
    wait::until(RETURN, "the courier to be turned away more than once", || {
        (said("session ended") > ended + 1).then_some(())
    })
    .unwrap();
    assert_eq!(said("session begun"), begun, "it was let in");
    assert_eq!(wait_for(&fleet, "far1", "evicted", false), old);
    let token = fleet.token("10m").unwrap();
    far1.run_ok(&["muster-agent", "leave", "--yes"]).unwrap();
    far1.run_ok(&["muster-agent", "join", &token]).unwrap();
    far1.run_ok(&[&["systemctl", "enable", "--now", "--quiet"], Package::Agent.units()].concat())
        .unwrap();
    assert_eq!(wait_for(&fleet, "far1", "connected", true), old, "it is the same host");

    fleet.muster_ok(&["host", "ban", &old, "--yes"]).unwrap();
    assert_eq!(wait_for(&fleet, "far1", "banned", false), old);
    let banned = fleet.muster(&["host", "evict", &old, "--yes"]).unwrap();
    assert_failed(&banned, 1, &["banned already", "hint: "]);
    // Its record goes, and nobody waits for it.
    fleet.muster_ok(&["host", "purge", &old, "--yes"]).unwrap();
    assert!(listed(&fleet).iter().all(|host| host["id"] != old.as_str()));
    assert_let_in(&fleet, "near1", &wendel);
}
