//! The main job on another release than the one that all other tests run on.

use muster_tests::{Fleet, Member, Mode, Programs};

use crate::{
    SOON, access::set_password, assert_kept_out, assert_let_in, doctor, lifecycle, open_session,
    sudo, uid,
};

#[test]
fn a_debian_13_host_joins_and_people_come_and_go() {
    // One at a time with the others: the machine has room for one fleet.
    let others = crate::fleet();
    let name = format!("e2e-13-{}", std::process::id());
    let members = [Member { name: "db13", labels: &["env=prod"], mode: Mode::Enforce }];
    let programs = Programs::tested().unwrap();
    let fleet = Fleet::start_on("trixie", &name, &programs, &members).unwrap();
    let db13 = fleet.host("db13");
    let release = db13.run_ok(&["cat", "/etc/os-release"]).unwrap();
    assert!(release.contains("VERSION_ID=\"13\""), "{release}");

    let zoe = fleet.person("zoe").unwrap();
    fleet.apply_ok(&lifecycle::everywhere(&zoe)).unwrap();
    assert_let_in(&fleet, "db13", &zoe);
    set_password(db13, "ops");
    doctor::assert_well(db13);
    let number = uid(db13, "zoe");
    assert!(sudo(&fleet, "db13", &zoe, "/usr/bin/id").success());
    assert_eq!(sudo(&fleet, "db13", &zoe, "/usr/bin/whoami").status, 1);
    let mut session = open_session(&fleet, "db13", &zoe);

    fleet.muster_ok(&["offboard", "zoe", "--yes"]).unwrap();
    session.finish(SOON).unwrap();
    // Before anybody tries sudo as her, which leaves a time stamp that the next look would take.
    assert_eq!(db13.run_ok(&["muster-agent", "plan"]).unwrap(), "nothing to do\n");
    lifecycle::assert_out(&fleet, "db13", &zoe, number);
    assert_kept_out(&fleet, "db13", &zoe);
    drop(others);
}
