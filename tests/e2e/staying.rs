//! Somebody who has an account and does all that she can to keep it.

use std::time::Duration;

use muster_tests::{Fleet, wait};

use crate::{
    SOON, assert_kept_out, assert_let_in, each_on, fleet, is_refused, open_session, processes,
    shown, uid,
};

const KEEPER: &str = "muster-agent.service";
const MEMORY: &str = "/var/lib/muster-agent/keeper";

/// How long something may take that is tried every ten seconds.
const RETRIED: Duration = Duration::from_secs(40);

#[test]
fn processes_that_fork_away_without_end_are_ended_wherever_they_run() {
    let fleet = fleet();
    let dev1 = fleet.host("dev1");
    let kit = fleet.person("kit").unwrap();
    fleet.apply_ok(&each_on("dev1", &[&kit])).unwrap();
    let number = uid(dev1, "kit");
    // No session and no slice of hers, as a job of cron's has none; no process of it is there for
    // long. If nobody ends it, it says so in the end.
    let comet = "f() { [ $1 -gt 0 ] || { touch /tmp/kit-stayed; exit; }; (f $(($1 - 1)) &); exit; }; \
                 f 3000000";
    let unit = ["systemd-run", "--quiet", "--unit=comet", "--uid=kit", "--property=KillMode=none"];
    dev1.run_ok(&[&unit[..], &["/bin/sh", "-c", comet]].concat()).unwrap();
    // systemd has forgotten the unit once its first process is gone; the kernel has not.
    let events = "/sys/fs/cgroup/system.slice/comet.service/cgroup.events";
    let lives = || dev1.run(&["grep", "--quiet", "populated 1", events]).unwrap().success();
    assert!(lives());

    let output = fleet.muster(&["offboard", "kit", "--yes"]).unwrap();
    assert!(output.success(), "{output}");
    wait::until(SOON, "its unit to be empty", || (!lives()).then_some(())).unwrap();
    assert_eq!(processes(dev1, number), "");
    assert!(!dev1.run(&["test", "-e", "/tmp/kit-stayed"]).unwrap().success());
    assert!(shown(&fleet, "dev1").contains("sessions-ended kit"));
}

/// Puts the keeper's memory on a disk of its own that can be filled, until it is dropped.
struct SmallDisk<'a>(&'a Fleet);

impl<'a> SmallDisk<'a> {
    fn new(fleet: &'a Fleet) -> Self {
        let script = format!(
            "set -eu
            systemctl stop {KEEPER}
            mkdir -p /mnt/small && mount -t tmpfs -o size=4m,mode=0700 small /mnt/small
            cp -a {MEMORY}/. /mnt/small/
            mount --bind /mnt/small {MEMORY}
            systemctl start {KEEPER}"
        );
        fleet.host("dev1").run_ok(&["sh", "-c", &script]).unwrap();
        fleet.wait_until_connected(&["dev1"]).unwrap();
        Self(fleet)
    }

    fn fill(&self) {
        let script = format!("dd if=/dev/zero of={MEMORY}/fill bs=4k 2>/dev/null || true");
        self.0.host("dev1").run_ok(&["sh", "-c", &script]).unwrap();
    }

    fn empty(&self) {
        self.0.host("dev1").run_ok(&["rm", &format!("{MEMORY}/fill")]).unwrap();
    }
}

impl Drop for SmallDisk<'_> {
    fn drop(&mut self) {
        let script = format!(
            "set -eu
            systemctl stop {KEEPER}
            rm -f {MEMORY}/fill
            umount {MEMORY}
            cp -a /mnt/small/. {MEMORY}/
            umount /mnt/small
            systemctl start {KEEPER}"
        );
        // A failure shows in the next test, which waits for the host.
        let _ = self.0.host("dev1").run(&["sh", "-c", &script]);
    }
}

#[test]
fn a_full_disk_keeps_nobody_in_and_is_told_and_what_was_done_is_told_later() {
    let fleet = fleet();
    let [pam, lars] = ["pam", "lars"].map(|login| fleet.person(login).unwrap());
    fleet.apply_ok(&each_on("dev1", &[&pam])).unwrap();
    let dev1 = fleet.host("dev1");
    let number = uid(dev1, "pam");
    let disk = SmallDisk::new(&fleet);
    let mut session = open_session(&fleet, "dev1", &pam);
    disk.fill();

    let output = fleet.muster(&["offboard", "pam", "--yes", "--timeout", "5"]).unwrap();
    assert_eq!(output.status, 4, "nobody has signed for it: {output}");
    assert_eq!(session.finish(SOON).unwrap().status, 255);
    assert_kept_out(&fleet, "dev1", &pam);
    assert_eq!(processes(dev1, number), "");
    assert!(dev1.run_ok(&["getent", "shadow", "pam"]).unwrap().starts_with("pam:!"));
    let told = shown(&fleet, "dev1");
    assert!(told.contains("No space left on device"), "{told}");
    // What could not be remembered as Muster's is not made.
    let path = fleet.declare(&each_on("dev1", &[&lars])).unwrap();
    let output = fleet.muster(&["apply", "--yes", "--timeout", "5", "--file", path]).unwrap();
    assert_eq!(output.status, 4, "{output}");
    assert!(!dev1.run(&["id", "lars"]).unwrap().success());

    disk.empty();
    wait::until(RETRIED, "a receipt of what was done meanwhile", || {
        let told = shown(&fleet, "dev1");
        let all = ["account-locked pam", "sessions-ended pam", "account-created lars"];
        all.iter().all(|done| told.contains(done)).then_some(())
    })
    .unwrap();
    assert_let_in(&fleet, "dev1", &lars);
    wait::until(SOON, "the refusal to be gone", || {
        (!shown(&fleet, "dev1").contains("No space left")).then_some(())
    })
    .unwrap();
    let refused = fleet.ssh("dev1", &pam).command("true").run().unwrap();
    assert!(is_refused(&refused), "{refused}");
}
