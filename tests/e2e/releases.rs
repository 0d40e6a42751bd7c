//! The main job, and the life of the units, on another release than the one that all other tests run
//! on. Those that need that release share a fleet of it.

use std::ops::Deref;
use std::sync::{MutexGuard, OnceLock};

use muster_tests::{Boot, Fleet, Host, Member, Mode, Package, Programs};

use crate::{
    SOON,
    access::set_password,
    assert_kept_out, assert_let_in, doctor, lifecycle, open_session, sudo, uid,
    units::{WATCHDOG, hurry, onboard, process, property, wait_for_another, wait_for_line},
    upgrades,
};

/// `db13` is as any other host; the two for sudo-rs are named in their own tests alone.
const MEMBERS: [Member<'_>; 3] = [
    Member { name: "db13", labels: &["env=prod"], mode: Mode::Enforce },
    Member { name: "both13", labels: &["env=rs"], mode: Mode::Enforce },
    Member { name: "alone13", labels: &["env=rs"], mode: Mode::Enforce },
];

/// The fleet on Debian 13, for one test at a time.
pub(crate) struct Debian13 {
    fleet: &'static Fleet,
    /// One at a time with all other tests: the machine has room for one fleet at work.
    _others: MutexGuard<'static, Fleet>,
}

impl Deref for Debian13 {
    type Target = Fleet;

    fn deref(&self) -> &Fleet {
        self.fleet
    }
}

/// Waits for the machine to be free, and returns the fleet on Debian 13, whole.
pub(crate) fn debian_13() -> Debian13 {
    static FLEET: OnceLock<Result<Fleet, String>> = OnceLock::new();
    let others = crate::fleet();
    let name = format!("e2e-13-{}", std::process::id());
    let start = || Fleet::start_on("trixie", &name, &Programs::tested()?, &MEMBERS);
    let fleet = FLEET.get_or_init(|| start().map_err(|error| format!("{error:#}")));
    let fleet = fleet.as_ref().unwrap_or_else(|error| panic!("there is no fleet: {error}"));
    fleet.settle().unwrap();
    Debian13 { fleet, _others: others }
}

fn assert_is_debian_13(host: &Host) {
    let release = host.run_ok(&["cat", "/etc/os-release"]).unwrap();
    assert!(release.contains("VERSION_ID=\"13\""), "{release}");
}

#[test]
fn a_debian_13_host_joins_and_people_come_and_go() {
    let fleet = debian_13();
    let db13 = fleet.host("db13");
    assert_is_debian_13(db13);

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
}

#[test]
fn on_debian_13_units_start_hang_and_are_replaced_and_hosts_start_again_and_lose_their_power() {
    let fleet = debian_13();
    let places = [(fleet.host("db13"), Package::Agent), (fleet.controller(), Package::Controller)];
    let units =
        || places.iter().flat_map(|(host, package)| package.units().iter().map(|u| (*host, *u)));
    for (host, unit) in units() {
        assert_is_debian_13(host);
        // Up is what the unit itself has said that it is.
        let told = ["Type", "ActiveState", "WatchdogUSec"].map(|name| property(host, unit, name));
        assert_eq!(told, ["notify", "active", "3min"], "{unit}");
    }
    let zita = onboard(&fleet, "db13", "zita");
    let number = uid(fleet.host("db13"), "zita");

    // All of them hang at once.
    for (host, package) in places {
        hurry(host, package.units(), Some(WATCHDOG));
    }
    fleet.wait_until_connected(&["db13"]).unwrap();
    let hung: Vec<u32> = units().map(|(host, unit)| process(host, unit)).collect();
    for ((host, _), process) in units().zip(&hung) {
        host.run_ok(&["kill", "-STOP", &process.to_string()]).unwrap();
    }
    for ((host, unit), before) in units().zip(hung) {
        wait_for_another(host, unit, before);
        wait_for_line(host, unit, "Watchdog timeout");
    }
    fleet.wait_until_connected(&["db13"]).unwrap();
    onboard(&fleet, "db13", "zuri");

    for (host, package) in places {
        upgrades::replace(host, package);
        upgrades::start_newer(host, package);
    }
    fleet.wait_until_connected(&["db13"]).unwrap();
    onboard(&fleet, "db13", "zadie");

    // What made the watchdog hurry goes with `/run`.
    let known = crate::standing(&fleet);
    let reboot = |host: &Host| host.reboot().unwrap();
    let power_cut = |host: &Host| {
        host.power_cut().unwrap();
        host.start().unwrap()
    };
    let turns: [&dyn Fn(&Host) -> Boot; 2] = [&reboot, &power_cut];
    for turn in turns {
        for (host, _) in places {
            assert_eq!(turn(host), Boot::Running);
        }
        for (host, unit) in units() {
            let told = ["ActiveState", "WatchdogUSec"].map(|name| property(host, unit, name));
            assert_eq!(told, ["active", "3min"], "{unit}");
        }
        fleet.wait_until_connected(&["db13"]).unwrap();
        assert_eq!(crate::standing(&fleet), known);
        assert_eq!(uid(fleet.host("db13"), "zita"), number);
        assert_let_in(&fleet, "db13", &zita);
        assert!(sudo(&fleet, "db13", &zita, "/usr/bin/id").success());
    }
    onboard(&fleet, "db13", "zelda");
    fleet.muster_ok(&["offboard", "zita", "--yes"]).unwrap();
    assert_kept_out(&fleet, "db13", &zita);
}
