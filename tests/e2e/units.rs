//! What tests ask of units, and do to them.

use std::time::Duration;

use muster_tests::{Fleet, Host, Person, wait};

use crate::{SOON, assert_let_in, on};

pub(crate) const KEEPER: &str = "muster-agent.service";
pub(crate) const CONTROLLER: &str = "muster.service";

/// In the place of three minutes.
pub(crate) const WATCHDOG: Duration = Duration::from_secs(4);
/// How long a unit may take that was killed, or a courier that has tried in vain for a while.
pub(crate) const LATER: Duration = Duration::from_mins(1);

/// Lets somebody new in on a host, and returns her.
pub(crate) fn onboard(fleet: &Fleet, host: &str, login: &str) -> Person {
    let person = fleet.person(login).unwrap();
    fleet.apply_ok(&on(host, login, std::slice::from_ref(&person))).unwrap();
    assert_let_in(fleet, host, &person);
    person
}

pub(crate) fn property(host: &Host, unit: &str, name: &str) -> String {
    let value = host.run_ok(&["systemctl", "show", "--value", "--property", name, unit]).unwrap();
    value.trim().to_owned()
}

/// Returns a unit's main process, 0 for none.
pub(crate) fn process(host: &Host, unit: &str) -> u32 {
    property(host, unit, "MainPID").parse().unwrap()
}

/// Waits until a unit runs with another main process than this one.
pub(crate) fn wait_for_another(host: &Host, unit: &str, before: u32) {
    let what = format!("another process of {unit}");
    wait::until(LATER, &what, || {
        let now = process(host, unit);
        (now != 0 && now != before && property(host, unit, "ActiveState") == "active").then_some(())
    })
    .unwrap();
}

/// Waits until the journal of a unit has a line with this text.
pub(crate) fn wait_for_line(host: &Host, unit: &str, text: &str) {
    let told = wait::until(SOON, &format!("`{text}` in the journal of {unit}"), || {
        host.journal(unit).unwrap().contains(text).then_some(())
    });
    told.unwrap_or_else(|error| panic!("{error:#}\n{}", host.journal(unit).unwrap()));
}

/// Gives each unit little time between two signs of life, from now on, or with nothing what it had.
pub(crate) fn hurry(host: &Host, units: &[&str], watchdog: Option<Duration>) {
    for unit in units {
        let folder = format!("/run/systemd/system/{unit}.d");
        host.run_ok(&["mkdir", "-p", &folder]).unwrap();
        let text = watchdog.map_or_else(String::new, |watchdog| {
            format!("[Service]\nWatchdogSec={}\n", watchdog.as_secs())
        });
        host.write(&format!("{folder}/hurry.conf"), text.as_bytes(), 0o644).unwrap();
    }
    host.run_ok(&["systemctl", "daemon-reload"]).unwrap();
    host.run_ok(&[&["systemctl", "restart"], units].concat()).unwrap();
}
