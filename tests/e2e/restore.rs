//! The controller's disk is lost, and there is a backup.

use muster_tests::{Boot, Fleet, Programs};

use crate::{MEMBERS, assert_kept_out, assert_let_in, controller::on_web1, token::join_beside};

#[test]
fn a_controller_restored_from_an_older_backup_is_given_back_what_came_after() {
    // A fleet of its own: what is lost here would be missed by the others.
    let name = format!("restore-{}", std::process::id());
    let fleet = Fleet::start(&name, &Programs::tested().unwrap(), &MEMBERS[..1]).unwrap();
    let (ann, bob) = (fleet.person("ann").unwrap(), fleet.person("bob").unwrap());
    let (eve, ctl) = (fleet.person("eve").unwrap(), fleet.controller());
    fleet.apply_ok(&on_web1(&ann, "")).unwrap();
    fleet.apply_ok(&on_web1(&eve, "")).unwrap();
    fleet.muster_ok(&["backup", "/root/backup.tar"]).unwrap();
    let mode = ctl.run_ok(&["stat", "--format", "%a %U", "/root/backup.tar"]).unwrap();
    assert_eq!(mode, "600 root\n");
    // A host joins that the backup does not know, and the next change is signed on that.
    join_beside(&fleet, &["--", &fleet.token("10m").unwrap()], "");
    fleet.apply_ok(&on_web1(&bob, "")).unwrap();

    ctl.power_cut().unwrap();
    assert_eq!(ctl.start().unwrap(), Boot::Running);
    ctl.run_ok(&["systemctl", "stop", "muster"]).unwrap();
    ctl.run_ok(&["find", "/var/lib/muster", "-mindepth", "1", "-delete"]).unwrap();
    ctl.run_ok(&["rm", "/etc/muster/muster.toml"]).unwrap();
    assert_let_in(&fleet, "web1", &bob);

    let restored = fleet.muster(&["restore", "/root/backup.tar"]).unwrap();
    assert!(restored.success(), "{restored}");
    assert!(restored.stderr.contains("ends with change 2, and you have verified change 3"));
    ctl.run_ok(&["systemctl", "start", "muster"]).unwrap();
    fleet.wait_until_connected(&["web1"]).unwrap();
    assert_eq!(fleet.newest_change().unwrap(), 3);
    for person in [&ann, &bob, &eve] {
        assert_let_in(&fleet, "web1", person);
    }
    let hosts = fleet.ask(&["host", "list"]).unwrap();
    assert_eq!(
        hosts.as_array().unwrap().len(),
        1,
        "whoever joined since has to join again: {hosts}"
    );
    // It goes on once the operator says that she does: it gives and takes away.
    let refused = fleet.apply(&on_web1(&bob, ", shell: /bin/sh")).unwrap();
    assert_eq!(refused.status, 1, "{refused}");
    assert!(refused.stderr.contains("hint: was the controller restored"), "{refused}");
    let origin = restored.stderr.split("--accept-log ").nth(1).unwrap();
    let origin = origin.split('`').next().unwrap();
    fleet.muster_ok(&["status", "--accept-log", origin]).unwrap();
    fleet.muster_ok(&["offboard", "eve", "--yes"]).unwrap();
    assert_kept_out(&fleet, "web1", &eve);
    fleet.apply_ok(&on_web1(&bob, ", shell: /bin/sh")).unwrap();
    assert_let_in(&fleet, "web1", &bob);
}
