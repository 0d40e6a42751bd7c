//! What happens to units that run for years: they hang, are told something new, lose their power.

use muster_tests::{Boot, Package, Person, Running, wait};

use crate::{
    SOON, assert_kept_out, assert_let_in, fleet,
    kept::Kept,
    on, sudo, uid,
    units::{
        CONTROLLER, KEEPER, LATER, WATCHDOG, hurry, onboard, process, property, wait_for_another,
        wait_for_line,
    },
};

const CONFIG: &str = "/etc/muster/agent.toml";

#[test]
fn a_unit_that_hangs_is_killed_and_started_again_and_one_that_waits_for_work_is_left_alone() {
    let fleet = fleet();
    let places = [("dev1", Package::Agent), ("ctl", Package::Controller)];
    for (name, package) in places {
        let host = fleet.host(name);
        for unit in package.units() {
            assert_eq!(property(host, unit, "WatchdogUSec"), "3min", "{unit}");
        }
        hurry(host, package.units(), Some(WATCHDOG));
        let before: Vec<u32> = package.units().iter().map(|unit| process(host, unit)).collect();
        wait::until(LATER, "more than two times of the watchdog", || {
            let ages = before.iter().map(|process| {
                let age = ["ps", "-o", "etimes=", "-p", &process.to_string()];
                host.run_ok(&age).unwrap().trim().parse::<u64>().unwrap()
            });
            ages.min().filter(|age| *age > 2 * WATCHDOG.as_secs())
        })
        .unwrap();
        for (unit, before) in package.units().iter().zip(before) {
            assert_eq!(process(host, unit), before, "{unit} had nothing to do, and was killed");
            host.run_ok(&["kill", "-STOP", &before.to_string()]).unwrap();
            wait_for_another(host, unit, before);
            wait_for_line(host, unit, "Watchdog timeout");
        }
    }
    fleet.wait_until_connected(&["dev1", "web1", "db1"]).unwrap();
    onboard(&fleet, "dev1", "yan");
    for (name, package) in places {
        hurry(fleet.host(name), package.units(), None);
    }
    fleet.wait_until_connected(&["dev1", "web1", "db1"]).unwrap();
}

#[test]
fn a_keeper_takes_up_its_configuration_while_it_runs_and_tells_what_it_cannot_take_up() {
    let fleet = fleet();
    let dev1 = fleet.host("dev1");
    onboard(&fleet, "dev1", "yma");
    let (before, config) = (process(dev1, KEEPER), Kept::of(dev1, CONFIG));
    let reload = || dev1.run(&["systemctl", "reload", KEEPER]).unwrap();
    let mode = || fleet.ask(&["host", "show", "dev1"]).unwrap().to_string();

    config.replace("mode = \"observe\"\n");
    let reloaded = reload();
    assert!(reloaded.success(), "{reloaded}");
    wait::until(SOON, "the host to observe", || mode().contains("observe").then_some(())).unwrap();
    let ynez = fleet.person("ynez").unwrap();
    let observing = fleet.apply(&on("dev1", "ynez", std::slice::from_ref(&ynez))).unwrap();
    assert_eq!(observing.status, 4, "{observing}");
    assert_kept_out(&fleet, "dev1", &ynez);

    config.replace("mode = \"enforced\"\nscan_seconds = 9\n");
    let refused = reload();
    assert!(!refused.success(), "{refused}");
    for fault in ["neither `observe` nor `enforce`", "scan_seconds: from 10 to 86400"] {
        wait_for_line(dev1, KEEPER, fault);
        wait::until(SOON, "a report of it", || {
            let shown = mode();
            (shown.contains("config") && shown.contains(fault)).then_some(())
        })
        .unwrap();
    }
    assert_eq!(property(dev1, KEEPER, "ActiveState"), "active");
    assert_kept_out(&fleet, "dev1", &ynez);

    config.replace(config.text());
    let reloaded = reload();
    assert!(reloaded.success(), "{reloaded}");
    wait::until(SOON, "what waited for the mode", || {
        fleet.ssh("dev1", &ynez).command("true").run().unwrap().success().then_some(())
    })
    .unwrap();
    assert_eq!(process(dev1, KEEPER), before, "it was never started again");
}

#[test]
fn a_controller_takes_up_its_configuration_and_every_session_goes_on() {
    const FILE: &str = "/etc/muster/muster.toml";
    let fleet = fleet();
    let (ctl, dev1) = (fleet.controller(), fleet.host("dev1"));
    onboard(&fleet, "dev1", "yva");
    let (before, config) = (process(ctl, CONTROLLER), Kept::of(ctl, FILE));
    let sessions = || {
        let journal = dev1.journal("muster-agent-courier.service").unwrap();
        journal.matches("session begun").count()
    };
    let begun = sessions();
    let reload = || ctl.run(&["systemctl", "reload", CONTROLLER]).unwrap();

    let moved = config.text().replace("[::]:7420", "[::]:7421");
    assert_ne!(moved, config.text());
    config.replace(&format!("{moved}log_level = \"debug\"\n"));
    let reloaded = reload();
    assert!(reloaded.success(), "{reloaded}");
    wait_for_line(ctl, CONTROLLER, "configuration read anew");
    wait_for_line(ctl, CONTROLLER, "takes effect when the server is started again");

    let wrong = "checkpoint_seconds = 900\nlog_level = \"all\"\n";
    config.replace(&format!("{}{wrong}", config.text()));
    let refused = reload();
    assert!(!refused.success(), "{refused}");
    wait_for_line(ctl, CONTROLLER, "the configuration stays as it was");
    for key in ["`checkpoint_seconds` is 900", "`log_level` is `all`"] {
        wait_for_line(ctl, CONTROLLER, key);
    }

    config.replace(config.text());
    let reloaded = reload();
    assert!(reloaded.success(), "{reloaded}");
    onboard(&fleet, "dev1", "yas");
    assert_eq!(process(ctl, CONTROLLER), before, "it was never started again");
    assert_eq!(sessions(), begun, "a session ended");
}

#[test]
fn a_host_that_is_started_again_or_loses_its_power_is_back_as_it_was() {
    let fleet = fleet();
    let dev1 = fleet.host("dev1");
    let yao = onboard(&fleet, "dev1", "yao");
    let number = uid(dev1, "yao");
    let power_cut = || {
        dev1.power_cut().unwrap();
        dev1.start().unwrap()
    };
    let turns: [&dyn Fn() -> Boot; 2] = [&|| dev1.reboot().unwrap(), &power_cut];
    for turn in turns {
        assert_eq!(turn(), Boot::Running);
        assert_eq!(uid(dev1, "yao"), number);
        assert_let_in(&fleet, "dev1", &yao);
        assert!(sudo(&fleet, "dev1", &yao, "/usr/bin/id").success());
        fleet.wait_until_connected(&["dev1"]).unwrap();
    }
    onboard(&fleet, "dev1", "yin");
}

/// Says when a keeper has written its ledger, which is when it begins to change the host.
const BEGUN: &str = r"
    set -eu
    touch /run/before
    echo ready
    until [ /var/lib/muster-agent/keeper/ledger -nt /run/before ]; do :; done
    echo begun
";

#[test]
fn a_host_that_loses_its_power_in_the_middle_of_an_apply_finishes_it_when_it_has_power_again() {
    const PEOPLE: u32 = 300;
    let fleet = fleet();
    let dev1 = fleet.host("dev1");
    let key = fleet.person("ypa").unwrap().key;
    let logins = (0..PEOPLE).map(|n| format!("yp{n}"));
    let people: Vec<Person> = logins.map(|login| Person { login, key: key.clone() }).collect();
    let path = fleet.declare(&on("dev1", "yps", &people)).unwrap();
    let mut watcher = dev1.spawn(&["sh", "-c", BEGUN]).unwrap();
    watcher.wait_for_line(SOON, "ready").unwrap();
    let apply = ["muster", "apply", "--yes", "--file", path];
    let mut applying: Running = fleet.controller().spawn(&apply).unwrap();
    watcher.wait_for_line(LATER, "begun").unwrap();
    dev1.power_cut().unwrap();

    assert_eq!(dev1.start().unwrap(), Boot::Running);
    dev1.run_ok(&["visudo", "--check", "--strict"]).unwrap();
    let applied = applying.finish(LATER).unwrap();
    assert!(applied.success(), "{applied}");
    // What the next life of the keeper did was left to it by the one that was cut off.
    let journal = ["journalctl", "--quiet", "--no-pager", "--boot", "--unit", KEEPER];
    let journal = dev1.run_ok(&journal).unwrap();
    assert!(journal.contains("action=account-created"), "nothing was left to finish: {journal}");
    for person in [&people[0], people.last().unwrap()] {
        assert_let_in(&fleet, "dev1", person);
        assert!(sudo(&fleet, "dev1", person, "/usr/bin/id").success());
    }
    let leftovers = dev1.run_ok(&["find", "/home", "/etc", "-name", ".muster*"]).unwrap();
    assert_eq!(leftovers, "");
    fleet.muster_ok(&["revoke", "assignment", "yps", "--yes"]).unwrap();
}

#[test]
fn a_controller_whose_host_loses_its_power_is_back_with_all_that_it_knew() {
    let fleet = fleet();
    let ctl = fleet.controller();
    let yuri = onboard(&fleet, "dev1", "yuri");
    let known = crate::standing(&fleet);
    ctl.power_cut().unwrap();
    assert_let_in(&fleet, "dev1", &yuri);
    assert_eq!(ctl.start().unwrap(), Boot::Running);
    fleet.wait_until_connected(&["dev1", "web1", "db1"]).unwrap();
    assert_eq!(crate::standing(&fleet), known);
    // It is cut off in the middle of a change, wherever that is; the same command finishes it.
    let yoko = fleet.person("yoko").unwrap();
    let declaration = on("dev1", "yoko", std::slice::from_ref(&yoko));
    let path = fleet.declare(&declaration).unwrap();
    let mut watcher = fleet.host("dev1").spawn(&["sh", "-c", BEGUN]).unwrap();
    watcher.wait_for_line(SOON, "ready").unwrap();
    let applying = ctl.spawn(&["muster", "apply", "--yes", "--file", path]).unwrap();
    watcher.wait_for_line(LATER, "begun").unwrap();
    ctl.power_cut().unwrap();
    drop(applying);
    assert_eq!(ctl.start().unwrap(), Boot::Running);
    fleet.wait_until_connected(&["dev1", "web1", "db1"]).unwrap();
    fleet.apply_ok(&declaration).unwrap();
    assert_let_in(&fleet, "dev1", &yoko);
}
