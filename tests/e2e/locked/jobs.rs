//! What runs without anybody logging in: jobs of cron and at, and timers of one's own. Each is seen
//! to run before the lock, and none afterwards while those of root do.

use muster_tests::{Fleet, Host, Person, wait};

use super::{declared, lingering, succeeds};
use crate::{SOON, fleet, uid};

/// What runs, and the file in its owner's home to which it adds a line each time.
const KINDS: [&str; 3] = ["cron", "at", "timer"];

/// More often than every two seconds systemd refuses to start it.
const EVERY: [&str; 2] = ["--on-active=3s", "--on-unit-active=3s"];

/// How often each kind has run, by the lines in a home.
fn runs(host: &Host, home: &str) -> [usize; 3] {
    KINDS.map(|kind| {
        let read = host.run(&["cat", &format!("{home}/{kind}")]).unwrap();
        read.stdout.lines().count()
    })
}

/// Waits until some kinds have run more often than before.
fn wait_for(host: &Host, home: &str, before: [usize; 3], kinds: &[&str]) {
    wait::until(SOON, &format!("{kinds:?} below {home}"), || {
        let mut counts = KINDS.iter().zip(runs(host, home).into_iter().zip(before));
        counts.all(|(kind, (now, before))| !kinds.contains(kind) || now > before).then_some(())
    })
    .unwrap();
}

/// Has a person set up one of each kind in a session of her own.
fn set_up(fleet: &Fleet, person: &Person) {
    lingering(fleet.host("web1"), &person.login);
    let script = format!(
        "set -eu
        export XDG_RUNTIME_DIR=/run/user/$(id --user)
        echo '* * * * * echo ran >> $HOME/cron' | crontab -
        echo 'echo ran >> $HOME/at' | at now 2>/dev/null
        systemd-run --user --quiet --unit=own-timer {} --timer-property=AccuracySec=100ms \
            sh -c 'echo ran >> $HOME/timer'",
        EVERY.join(" ")
    );
    fleet.ssh("web1", person).command(&script).run_ok().unwrap();
}

/// Has root do the same, so that the time at which a job would have run is seen to have come.
fn set_up_witnesses(host: &Host) {
    let script = format!(
        "echo '* * * * * echo ran >> /root/cron' | crontab -
        systemd-run --quiet --unit=lab-witness {} --timer-property=AccuracySec=100ms \
            sh -c 'echo ran >> /root/timer'",
        EVERY.join(" ")
    );
    host.run_ok(&["sh", "-euc", &script]).unwrap();
}

const AT_THE_NEXT_MINUTE: &str = "echo 'echo ran >> $HOME/at' | at now + 1 minute 2>/dev/null";

#[test]
fn jobs_and_timers_run_before_a_lock_and_none_runs_after_it() {
    let [nele, nils] = {
        let fleet = fleet();
        let [nele, nils] = ["nele", "nils"].map(|login| fleet.person(login).unwrap());
        fleet.apply_ok(&declared(&nele, "")).unwrap();
        // No expiry keeps the jobs of a locked service identity from running.
        fleet.apply_ok(&declared(&nils, ", service: true")).unwrap();
        let web1 = fleet.host("web1");
        for person in [&nele, &nils] {
            set_up(&fleet, person);
            wait_for(web1, &home(person), [0; 3], &["at", "timer"]);
        }
        set_up_witnesses(web1);
        [nele, nils]
    };
    // The fleet is for others meanwhile.
    wait::until_the_next_minute().unwrap();

    let ran = {
        let fleet = fleet();
        let web1 = fleet.host("web1");
        for person in [&nele, &nils] {
            wait_for(web1, &home(person), [0; 3], &["cron"]);
            fleet.ssh("web1", person).command(AT_THE_NEXT_MINUTE).run_ok().unwrap();
        }
        web1.run_ok(&["sh", "-euc", AT_THE_NEXT_MINUTE]).unwrap();
        for person in [&nele, &nils] {
            fleet.muster_ok(&["offboard", &person.login, "--yes"]).unwrap();
        }
        let ran = [&nele, &nils].map(|person| runs(web1, &home(person)));
        assert!(ran.iter().all(|[_, at, _]| *at == 1), "the next minute came too early: {ran:?}");
        (ran, runs(web1, "/root"))
    };
    wait::until_the_next_minute().unwrap();

    let fleet = fleet();
    let web1 = fleet.host("web1");
    wait_for(web1, "/root", ran.1, &KINDS);
    // Whatever they began at that minute is done.
    let working = "pgrep --parent \"$(pgrep --exact --delimiter , 'cron|atd')\"";
    wait::until(SOON, "cron and atd to have done", || {
        (!succeeds(web1, &["sh", "-c", working])).then_some(())
    })
    .unwrap();
    assert_eq!([&nele, &nils].map(|person| runs(web1, &home(person))), ran.0);
    for person in [&nele, &nils] {
        let number = uid(web1, &person.login).to_string();
        assert!(!succeeds(web1, &["pgrep", "--uid", &number]), "{}", person.login);
    }
    web1.run_ok(&["crontab", "-r"]).unwrap();
    web1.run_ok(&["systemctl", "stop", "lab-witness.timer"]).unwrap();
}

fn home(person: &Person) -> String {
    format!("/home/{}", person.login)
}
