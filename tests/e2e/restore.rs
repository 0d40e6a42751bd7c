//! The controller's machine is lost, and there is a backup.

use muster_tests::{Fleet, Host, Member, Mode, Package, Programs};
use serde_json::Value;

use crate::{
    MEMBERS, assert_kept_out, assert_let_in, controller::on_web1, token::join_beside, uid,
};

/// The machine that is kept for the worst.
const SPARE: Member<'_> = Member { name: "ctl2", labels: &[], mode: Mode::Apart };
const BACKUP: &str = "/root/backup.tar";

/// Returns what the operator has in her home, which is another machine's where it matters: her key,
/// and what she has verified.
fn own_things(host: &Host) -> Vec<u8> {
    const ARCHIVE: &str = "/root/own.tar";
    host.run_ok(&["tar", "-C", "/root", "-cf", ARCHIVE, ".local/state", ".config"]).unwrap();
    host.read(ARCHIVE).unwrap()
}

/// Gives her these instead of what she has there.
fn have_own_things(host: &Host, archive: &[u8]) {
    const UNPACK: &str = "cd /root && rm -rf .local/state .config && tar -xf -";
    let unpacked = host.run_with_stdin(&["sh", "-c", UNPACK], archive).unwrap();
    assert!(unpacked.success(), "{unpacked}");
}

/// Returns what a command says of the only host.
fn of_web1(fleet: &Fleet) -> Value {
    fleet.ask(&["host", "show", "web1"]).unwrap()
}

/// Returns the hosts that somebody has access to, as far as the operator knows.
fn hosts_of(fleet: &Fleet, login: &str) -> Vec<Value> {
    let rows = fleet.ask(&["access", "of", login]).unwrap();
    rows.as_array().unwrap().iter().map(|row| row["host"].clone()).collect()
}

#[test]
fn a_controller_restored_on_another_machine_takes_no_host_back_and_is_given_back_what_came_after() {
    // A fleet of its own: what is lost here would be missed by the others.
    let name = format!("restore-{}", std::process::id());
    let programs = Programs::tested().unwrap();
    let mut fleet = Fleet::start(&name, &programs, &[MEMBERS[0], SPARE]).unwrap();
    let [ann, bob, eve] = ["ann", "bob", "eve"].map(|login| fleet.person(login).unwrap());
    fleet.apply_ok(&on_web1(&ann, "")).unwrap();
    fleet.apply_ok(&on_web1(&eve, "")).unwrap();
    let number = uid(fleet.host("web1"), "eve");
    fleet.muster_ok(&["backup", BACKUP]).unwrap();
    let mode = fleet.controller().run_ok(&["stat", "--format", "%a %U", BACKUP]).unwrap();
    assert_eq!(mode, "600 root\n");
    let backup = fleet.controller().read(BACKUP).unwrap();
    let own_then = own_things(fleet.controller());
    // A host joins that the backup does not know, and the next changes are signed on that.
    join_beside(&fleet, &["--", &fleet.token("10m").unwrap()], "");
    fleet.apply_ok(&on_web1(&bob, "")).unwrap();
    fleet.muster_ok(&["offboard", "eve", "--yes"]).unwrap();
    assert_kept_out(&fleet, "web1", &eve);
    assert_eq!(fleet.newest_change().unwrap(), 4);
    let own_now = own_things(fleet.controller());
    // Whoever tries the backup out beside it hears what it has not.
    let tried = ["restore", BACKUP, "--data", "/root/tried", "--config", "/root/tried.toml"];
    let tried = fleet.muster(&tried).unwrap();
    assert!(tried.success(), "{tried}");
    let behind = "ends with change 2, and you have verified change 4";
    assert!(tried.stderr.contains(behind), "{tried}");

    // The machine never comes back.
    fleet.controller().power_off().unwrap();
    assert_let_in(&fleet, "web1", &bob);
    assert_kept_out(&fleet, "web1", &eve);
    fleet.move_controller("ctl2", &programs.muster).unwrap();
    let ctl = fleet.controller();
    ctl.write(BACKUP, &backup, 0o600).unwrap();
    let restored = fleet.muster(&["restore", BACKUP]).unwrap();
    assert!(restored.success(), "{restored}");
    ctl.run_ok(
        &[&["systemctl", "enable", "--quiet", "--now"], Package::Controller.units()].concat(),
    )
    .unwrap();

    // Nobody there knows better: all that is new to the controller and to its operator is the host's.
    have_own_things(ctl, &own_then);
    fleet.wait_until_connected(&["web1"]).unwrap();
    assert_eq!(fleet.newest_change().unwrap(), 2);
    assert_eq!(hosts_of(&fleet, "eve"), ["web1"]);
    let shown = of_web1(&fleet);
    assert_eq!((&shown["change"], &shown["ahead"]), (&4.into(), &true.into()), "{shown}");
    let why = "it has verified change 4, and this controller ends with change 2";
    assert!(shown["notes"].to_string().contains(why), "{shown}");
    let listed = fleet.muster_ok(&["host", "list"]).unwrap();
    assert!(listed.contains("4 (ahead)"), "{listed}");
    let status = fleet.muster_ok(&["status"]).unwrap();
    assert!(
        status.contains("ahead        web1, by what they say of themselves: if that is so"),
        "{status}"
    );
    let web1 = fleet.host("web1");
    for again in [false, true] {
        if again {
            web1.run_ok(&[&["systemctl", "restart"], Package::Agent.units()].concat()).unwrap();
            fleet.wait_until_connected(&["web1"]).unwrap();
            assert_eq!(of_web1(&fleet)["change"], 4);
        }
        assert_kept_out(&fleet, "web1", &eve);
        assert_eq!(uid(web1, "eve"), number);
        for person in [&ann, &bob] {
            assert_let_in(&fleet, "web1", person);
        }
        assert_eq!(web1.run_ok(&["muster-agent", "plan"]).unwrap(), "nothing to do\n");
    }
    let hosts = fleet.ask(&["host", "list"]).unwrap();
    assert_eq!(
        hosts.as_array().unwrap().len(),
        1,
        "whoever joined since has to join again: {hosts}"
    );

    // Whoever has verified more gives it back.
    have_own_things(ctl, &own_now);
    let given = fleet.muster(&["status"]).unwrap();
    assert!(given.stderr.contains("set back to before change 3"), "{given}");
    assert_eq!(fleet.newest_change().unwrap(), 4);
    let status = fleet.ask(&["status"]).unwrap();
    assert_eq!(status["ahead"], serde_json::json!([]), "{status}");
    assert_eq!(hosts_of(&fleet, "eve"), [""; 0]);
    assert_kept_out(&fleet, "web1", &eve);
    // It goes on once the operator says that she does: it gives and takes away.
    let refused = fleet.apply(&on_web1(&bob, ", shell: /bin/sh")).unwrap();
    assert_eq!(refused.status, 1, "{refused}");
    assert!(refused.stderr.contains("hint: was the controller restored"), "{refused}");
    let origin = restored.stderr.split("--accept-log ").nth(1).unwrap();
    let origin = origin.split('`').next().unwrap();
    fleet.muster_ok(&["status", "--accept-log", origin]).unwrap();
    fleet.muster_ok(&["offboard", "ann", "--yes"]).unwrap();
    assert_kept_out(&fleet, "web1", &ann);
    fleet.apply_ok(&on_web1(&bob, ", shell: /bin/sh")).unwrap();
    assert_let_in(&fleet, "web1", &bob);
    let shown = of_web1(&fleet);
    assert_eq!((&shown["change"], &shown["ahead"]), (&6.into(), &false.into()), "{shown}");
}
