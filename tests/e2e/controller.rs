//! The controller is gone, and comes back.

use std::time::Duration;

use muster_tests::{Boot, Fleet, Package, Person, wait};

use crate::{SOON, assert_kept_out, assert_let_in, fleet, open_session, processes, sudo, uid};

/// How long a courier may take that has tried in vain for a while.
const LATER: Duration = Duration::from_mins(2);

/// Declares one user with a role of her own on web1; `more` is added to the user.
pub(crate) fn on_web1(person: &Person, more: &str) -> String {
    let Person { login, key } = person;
    format!(
        "users:\n  {login}: {{keys: [\"{key}\"]{more}}}\n\
         roles:\n  {login}: {{sudo: [{{commands: [/usr/bin/id]}}]}}\n\
         assignments:\n  {login}: {{user: {login}, role: {login}, hosts: \"tier=web\"}}\n",
        key = key.public
    )
}

fn stop_controller(fleet: &Fleet) {
    fleet.controller().run_ok(&["systemctl", "stop", "muster"]).unwrap();
}

fn start_controller(fleet: &Fleet) {
    fleet.controller().run_ok(&["systemctl", "start", "muster"]).unwrap();
}

/// Returns the numbers of the receipts that the controller has of a host, newest first.
fn receipts(fleet: &Fleet, host: &str) -> Vec<u64> {
    let shown = fleet.ask(&["host", "show", host]).unwrap();
    let receipts = shown.get("receipts").unwrap().as_array().unwrap();
    receipts.iter().map(|receipt| receipt.get("number").unwrap().as_u64().unwrap()).collect()
}

#[test]
fn hosts_go_on_without_a_controller_and_catch_up_when_it_is_back() {
    let fleet = fleet();
    let (hal, ida) = (fleet.person("hal").unwrap(), fleet.person("ida").unwrap());
    fleet.apply_ok(&on_web1(&hal, "")).unwrap();
    let known = receipts(&fleet, "web1");
    let web1 = fleet.host("web1");
    let mut session = open_session(&fleet, "web1", &hal);

    stop_controller(&fleet);
    assert_let_in(&fleet, "web1", &hal);
    assert!(sudo(&fleet, "web1", &hal, "/usr/bin/id").success());
    let failed = fleet.muster(&["status"]).unwrap();
    assert_eq!(failed.status, 1, "{failed}");
    assert!(failed.stderr.contains("hint:"), "{failed}");

    web1.run_ok(&[&["systemctl", "restart"], Package::Agent.units()].concat()).unwrap();
    for unit in Package::Agent.units() {
        assert_eq!(web1.run_ok(&["systemctl", "is-active", unit]).unwrap(), "active\n");
    }
    let status = web1.run_ok(&["muster-agent", "status"]).unwrap();
    assert!(status.contains("enforce"), "{status}");
    assert_eq!(web1.run_ok(&["muster-agent", "plan"]).unwrap(), "nothing to do\n");
    // A restart of the agent is nothing that a person notices.
    session.send(b"still here\n").unwrap();
    session.wait_for_line(SOON, "still here").unwrap();
    assert_let_in(&fleet, "web1", &hal);

    start_controller(&fleet);
    fleet.wait_until_connected(&["web1", "db1", "dev1"]).unwrap();
    wait::until(LATER, "what was reported meanwhile", || {
        (receipts(&fleet, "web1").first() > known.first()).then_some(())
    })
    .unwrap();
    assert_let_in(&fleet, "web1", &hal);
    fleet.apply_ok(&on_web1(&ida, "")).unwrap();
    assert_let_in(&fleet, "web1", &ida);
}

#[test]
fn a_host_that_is_started_without_a_controller_lets_people_in() {
    let fleet = fleet();
    let jan = fleet.person("jan").unwrap();
    fleet.apply_ok(&on_web1(&jan, "")).unwrap();
    stop_controller(&fleet);
    let web1 = fleet.host("web1");
    web1.power_cut().unwrap();
    assert_eq!(web1.start().unwrap(), Boot::Running);
    wait::until(SOON, "sshd", || {
        fleet.ssh("web1", &jan).command("true").run().ok()?.success().then_some(())
    })
    .unwrap();
    assert!(sudo(&fleet, "web1", &jan, "/usr/bin/id").success());
}

#[test]
fn an_end_date_comes_without_a_controller() {
    let fleet = fleet();
    let kim = fleet.person("kim").unwrap();
    let web1 = fleet.host("web1");
    let date = ["date", "--utc", "--date", "8 seconds", "+%Y-%m-%dT%H:%M:%SZ"];
    let end = web1.run_ok(&date).unwrap();
    fleet.apply_ok(&on_web1(&kim, &format!(", ends: {}", end.trim()))).unwrap();
    stop_controller(&fleet);
    let mut session = open_session(&fleet, "web1", &kim);
    assert_let_in(&fleet, "web1", &kim);

    let ended = session.finish(Duration::from_secs(30)).unwrap();
    assert_eq!(ended.status, 255, "{ended}");
    assert_kept_out(&fleet, "web1", &kim);
    assert_eq!(processes(web1, uid(web1, "kim")), "");
}

#[test]
fn a_controller_that_crashed_has_lost_nothing() {
    let fleet = fleet();
    let leo = fleet.person("leo").unwrap();
    fleet.apply_ok(&on_web1(&leo, "")).unwrap();
    let before = fleet.newest_change().unwrap();
    fleet.controller().run_ok(&["systemctl", "kill", "--signal=KILL", "muster"]).unwrap();
    // Its unit starts it again.
    wait::until(SOON, "the controller", || (fleet.newest_change().ok()? == before).then_some(()))
        .unwrap();
    let listed = fleet.muster_ok(&["user", "list"]).unwrap();
    assert!(listed.contains("leo"), "{listed}");
}
