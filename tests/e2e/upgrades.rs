//! Newer programs take the place of those that run, as a package manager puts them there.

use muster_tests::{Host, Package};

use crate::{
    assert_kept_out, assert_let_in, fleet, standing, uid,
    units::{CONTROLLER, KEEPER, onboard, process},
};

const LEDGER: &str = "/var/lib/muster-agent/keeper/ledger";
const COURIER: &str = "muster-agent-courier.service";

/// Puts another file that does the same in the place of a package's program: what follows a program
/// is nothing to it. Whatever runs goes on as it is.
pub(crate) fn replace(host: &Host, package: Package) {
    const SCRIPT: &str = r#"
        set -eu
        new=$(dirname "$1")/.newer
        cp --preserve=mode "$1" "$new" && printf newer >>"$new" && mv "$new" "$1"
    "#;
    let running = || package.units().iter().map(|unit| process(host, unit)).collect::<Vec<_>>();
    let before = running();
    host.run_ok(&["sh", "-c", SCRIPT, "replace", package.program()]).unwrap();
    assert_eq!(running(), before);
}

/// Starts a package's units again, and asserts that they run what is installed now.
pub(crate) fn start_newer(host: &Host, package: Package) {
    let is_installed = |unit: &str| {
        let program = format!("/proc/{}/exe", process(host, unit));
        host.run(&["cmp", "--silent", &program, package.program()]).unwrap().success()
    };
    let (units, program) = (package.units(), package.program());
    assert!(!units.iter().any(|unit| is_installed(unit)), "`{program}` was not replaced");
    host.run_ok(&[&["systemctl", "restart"], units].concat()).unwrap();
    for unit in units {
        assert!(is_installed(unit), "{unit}");
    }
}

/// Returns how often a host's courier has begun a session.
fn sessions(host: &Host) -> usize {
    host.journal(COURIER).unwrap().matches("session begun").count()
}

#[test]
fn a_newer_agent_takes_the_place_of_a_running_one_and_reads_all_that_it_left() {
    let fleet = fleet();
    let dev1 = fleet.host("dev1");
    let yorick = onboard(&fleet, "dev1", "yorick");
    let number = uid(dev1, "yorick");
    let before = dev1.read(LEDGER).unwrap();
    replace(dev1, Package::Agent);
    // The ones that run do their work as before.
    onboard(&fleet, "dev1", "yola");
    start_newer(dev1, Package::Agent);
    fleet.wait_until_connected(&["dev1"]).unwrap();
    assert_eq!(uid(dev1, "yorick"), number);
    assert_let_in(&fleet, "dev1", &yorick);
    onboard(&fleet, "dev1", "yumi");
    fleet.muster_ok(&["offboard", "yorick", "--yes"]).unwrap();
    assert_kept_out(&fleet, "dev1", &yorick);
    assert_ne!(dev1.read(LEDGER).unwrap(), before);
}

#[test]
fn a_newer_controller_takes_the_place_of_a_running_one_and_nothing_is_lost() {
    let fleet = fleet();
    let (ctl, dev1) = (fleet.controller(), fleet.host("dev1"));
    let yolanda = onboard(&fleet, "dev1", "yolanda");
    replace(ctl, Package::Controller);
    // The newer one's command line gets along with the server that runs.
    let yann = onboard(&fleet, "dev1", "yann");
    fleet.muster_ok(&["offboard", "yolanda", "--yes"]).unwrap();
    let (known, keeper, begun) = (standing(&fleet), process(dev1, KEEPER), sessions(dev1));

    start_newer(ctl, Package::Controller);
    fleet.wait_until_connected(&["dev1", "web1", "db1", "watch1"]).unwrap();
    assert_eq!(standing(&fleet), known);
    assert!(sessions(dev1) > begun, "the session outlived the server");
    assert_eq!(process(dev1, KEEPER), keeper, "the agent had to be started again");
    assert!(!ctl.journal(CONTROLLER).unwrap().contains("panicked"));
    assert_let_in(&fleet, "dev1", &yann);
    assert_kept_out(&fleet, "dev1", &yolanda);
    let yael = onboard(&fleet, "dev1", "yael");
    fleet.muster_ok(&["offboard", "yael", "--yes"]).unwrap();
    assert_kept_out(&fleet, "dev1", &yael);
}
