//! What the agent does by itself: it repairs drift, renews its certificate, and finishes what it was
//! killed at.

use std::time::Duration;

use muster_tests::{Fleet, Host, Person, wait};
use serde_json::Value;

use crate::{
    SOON, assert_kept_out, assert_let_in, drifting::await_told, fleet, kept::Kept, on, sudo,
};

const CONFIG: &str = "/etc/muster/agent.toml";
const IDENTITY: &str = "/var/lib/muster-agent/courier/identity";
const KEEPER: &str = "muster-agent.service";
const COURIER: &str = "muster-agent-courier.service";

/// How long something may take that waits for a look every ten seconds.
const NEXT_LOOK: Duration = Duration::from_secs(30);
/// How long a report may take from a keeper that was started anew: its courier, whose session ended
/// with it, may have to wait until it tries again.
const STARTED_ANEW: Duration = Duration::from_mins(2);

/// Returns what a host's newest receipts say that was done.
fn outcomes(fleet: &Fleet, host: &str) -> Vec<String> {
    let shown = fleet.ask(&["host", "show", host]).unwrap();
    let receipts = shown.get("receipts").unwrap().as_array().unwrap();
    let all = receipts.iter().filter_map(|receipt| receipt.get("outcomes").unwrap().as_array());
    all.flatten().map(|outcome| outcome.as_str().unwrap().to_owned()).collect()
}

/// A keeper that the kernel does not tell of changes, until this is dropped.
struct Blind<'a> {
    host: &'a Host,
    config: Option<Kept<'a>>,
}

impl<'a> Blind<'a> {
    const DROP_IN: &'static str = "/run/systemd/system/muster-agent.service.d";

    /// Starts one that looks by itself every ten seconds.
    fn on(host: &'a Host) -> Self {
        let config = Kept::of(host, CONFIG);
        config.replace(&format!("scan_seconds = 10\n{}", config.text()));
        let this = Self { host, config: Some(config) };
        // Without CAP_SYS_ADMIN alone newer kernels still tell what happens, though not who did it.
        let without = format!(
            "mkdir -p {0}; printf '[Service]\\nSystemCallFilter=~fanotify_init\\n' >{0}/blind.conf
             systemctl daemon-reload; systemctl restart {KEEPER}",
            Self::DROP_IN
        );
        host.run_ok(&["sh", "-euc", &without]).unwrap();
        this
    }
}

impl Drop for Blind<'_> {
    fn drop(&mut self) {
        drop(self.config.take());
        let with = format!(
            "rm -rf {}; systemctl daemon-reload; systemctl restart {KEEPER}",
            Self::DROP_IN
        );
        // The first failure is the one to tell.
        let _ = self.host.run(&["sh", "-c", &with]);
    }
}

/// Returns what a host's receipts tell of its keeper not being told of changes, newest first, and
/// which receipts do not.
fn unwatched(fleet: &Fleet, host: &str) -> Vec<Option<String>> {
    let shown = fleet.ask(&["host", "show", host]).unwrap();
    let receipts = shown.get("receipts").unwrap().as_array().unwrap();
    let told = receipts.iter().map(|receipt| {
        let all = receipt.get("findings").unwrap().as_array().unwrap();
        let mut all = all.iter().filter_map(Value::as_str);
        all.find(|finding| finding.starts_with("unwatched ")).map(str::to_owned)
    });
    told.collect()
}

#[test]
fn without_a_watch_a_key_and_a_rule_that_somebody_added_are_gone_at_the_next_look() {
    let fleet = fleet();
    let dev1 = fleet.host("dev1");
    let [una, stranger] = ["una", "una-stranger"].map(|login| fleet.person(login).unwrap());
    fleet.apply_ok(&on("dev1", "una", std::slice::from_ref(&una))).unwrap();
    assert_eq!(unwatched(&fleet, "dev1").first(), Some(&None), "it is told of changes");
    let blind = Blind::on(dev1);
    let told = wait::until(STARTED_ANEW, "the report that nothing is watched", || {
        unwatched(&fleet, "dev1").first().cloned().flatten()
    });
    let told = told.unwrap();
    assert!(
        told.starts_with("unwatched /: changes are found by the scan now and then only"),
        "{told}"
    );
    assert!(
        told.contains("cannot watch the account files") && told.contains("not permitted"),
        "{told}"
    );

    let (keys, rules) = ("/etc/ssh/muster-keys/una", "/etc/sudoers.d/50-muster-una");
    let right = [keys, rules].map(|path| dev1.read(path).unwrap());
    let key = [right[0].as_slice(), stranger.key.public.as_bytes(), b"\n"].concat();
    dev1.write(keys, &key, 0o644).unwrap();
    dev1.write(rules, b"una ALL=(ALL:ALL) NOPASSWD: ALL\n", 0o440).unwrap();
    wait::until(NEXT_LOOK, "the files to be as they should be", || {
        // What should not be there goes first, so a file may be missing for a moment.
        let found = [keys, rules].map(|path| dev1.read(path).unwrap_or_default());
        (found == right).then_some(())
    })
    .unwrap();

    let as_una = fleet.lab().ssh("dev1", "una", &stranger.key.private);
    assert_eq!(as_una.command("true").run().unwrap().status, 255);
    assert_let_in(&fleet, "dev1", &una);
    assert_eq!(sudo(&fleet, "dev1", &una, "/usr/bin/whoami").status, 1);
    let told = wait::until(SOON, "a receipt of it", || {
        let told = outcomes(&fleet, "dev1");
        let of = |words: [&str; 2]| told.iter().any(|o| words.iter().all(|word| o.contains(word)));
        (of(["keys-installed", "una"]) && of(["sudo-installed", "una"])).then_some(told)
    });
    told.unwrap();
    // Nobody saw who did it.
    for kind in ["keys-changed", "sudo-changed"] {
        let drift = await_told(&fleet, kind, "una", "", "repaired");
        assert_eq!(drift.get("by"), Some(&Value::Null), "{drift}");
    }
    drop(blind);
    wait::until(STARTED_ANEW, "the report that all is watched", || {
        (unwatched(&fleet, "dev1").first() == Some(&None)).then_some(())
    })
    .unwrap();
}

#[test]
fn a_certificate_past_its_half_life_is_renewed_and_the_new_one_is_let_in() {
    let fleet = fleet();
    let dev1 = fleet.host("dev1");
    let wes = fleet.person("wes").unwrap();
    let old = dev1.read(IDENTITY).unwrap();
    dev1.run_ok(&["touch", "--date", "13 hours ago", IDENTITY]).unwrap();
    dev1.run_ok(&["systemctl", "restart", COURIER]).unwrap();
    let new = wait::until(NEXT_LOOK, "a new certificate", || {
        let found = dev1.read(IDENTITY).unwrap();
        (found != old).then_some(found)
    });
    let new = new.unwrap();
    fleet.wait_until_connected(&["dev1"]).unwrap();
    let owner = dev1.run_ok(&["stat", "--format=%U %a", IDENTITY]).unwrap();
    assert_eq!(owner, "muster-agent 600\n");

    // A new session, which has nothing but the new one.
    dev1.run_ok(&["systemctl", "restart", COURIER]).unwrap();
    fleet.wait_until_connected(&["dev1"]).unwrap();
    fleet.apply_ok(&on("dev1", "wes", std::slice::from_ref(&wes))).unwrap();
    assert_let_in(&fleet, "dev1", &wes);
    // It is young, so it is left alone.
    assert_eq!(dev1.read(IDENTITY).unwrap(), new);
}

/// Returns what the system's own checkers say of the account files; sudo's must say nothing.
fn checks(host: &Host) -> Vec<String> {
    host.run_ok(&["visudo", "--check", "--strict"]).unwrap();
    // Debian's own system users have homes that are not there, so these two fail by themselves.
    let checks = ["pwck", "grpck"].map(|check| host.run(&[check, "--read-only"]).unwrap());
    checks.iter().map(ToString::to_string).collect()
}

/// Kills the keeper once it has written its ledger and a shell has counted this far; then says
/// whether the last file of a change, which gives its privilege, was there already.
const KILL: &str = r#"
    set -eu
    ledger=/var/lib/muster-agent/keeper/ledger
    process=0
    # There is none until systemd has started it again after the kill before.
    until [ "$process" -gt 0 ]; do
        process=$(systemctl show --property=MainPID --value muster-agent.service)
    done
    touch /run/before
    echo ready
    until [ "$ledger" -nt /run/before ]; do :; done
    count=0
    while [ "$count" -lt "$1" ]; do count=$((count + 1)); done
    kill -KILL "$process"
    if [ -e "$2" ]; then echo late; else echo midway; fi
"#;

#[test]
fn a_keeper_that_is_killed_at_any_moment_finishes_when_it_is_back() {
    const WAVES: u32 = 6;
    const PEOPLE: u32 = 12;
    let fleet = fleet();
    let dev1 = fleet.host("dev1");
    let before = checks(dev1);
    let seed = std::process::id().wrapping_mul(7_919);
    let mut midway = 0;
    // On some days it takes more kills until one meets the middle of a change.
    for wave in 0..4 * WAVES {
        if wave >= WAVES && midway > 0 {
            break;
        }
        // The waves spread over the time that a change takes, each at a moment that chance picks.
        let count = wave % WAVES * 20_000 + seed.wrapping_add(wave * 7_919) % 20_000;
        let role = format!("wave{wave}");
        let people: Vec<Person> =
            (0..PEOPLE).map(|n| fleet.person(&format!("w{wave}p{n}")).unwrap()).collect();
        let rules = format!("/etc/sudoers.d/50-muster-{role}");
        let words = ["sh", "-c", KILL, "kill", &count.to_string(), &rules];
        let mut killer = dev1.spawn(&words).unwrap();
        killer.wait_for_line(SOON, "ready").unwrap();
        fleet.apply_ok(&on("dev1", &role, &people)).unwrap();
        let killed = killer.finish(SOON).unwrap();
        assert!(killed.success(), "{count}: {killed}");
        midway += u32::from(killed.stdout.contains("midway"));
        for person in &people {
            let there = dev1.run(&["id", &person.login]).unwrap();
            assert!(there.success(), "{count}: {there}");
        }
        assert_let_in(&fleet, "dev1", people.last().unwrap());
        assert!(sudo(&fleet, "dev1", &people[0], "/usr/bin/id").success(), "{count}");
        assert_eq!(checks(dev1), before, "{count}");

        let mut killer = dev1.spawn(&words).unwrap();
        killer.wait_for_line(SOON, "ready").unwrap();
        fleet.muster_ok(&["revoke", "assignment", &role, "--yes"]).unwrap();
        let killed = killer.finish(SOON).unwrap();
        assert!(killed.success(), "{count}: {killed}");
        for person in [&people[0], people.last().unwrap()] {
            assert_kept_out(&fleet, "dev1", person);
        }
        assert_eq!(checks(dev1), before, "{count}");
    }
    assert!(midway > 0, "no kill came in the middle of a change");
}
