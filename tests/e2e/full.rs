//! A host with a disk that is full: nothing is left half done, what takes away goes on as far as it
//! can, it is told why, and the rest is done once there is room. The keeper's own memory is in
//! `staying`.

use muster_tests::{Fleet, Host, wait};

use crate::{
    SOON, assert_kept_out, assert_let_in, each_on, fleet,
    hindered::{HOST, RETRIED, apply_in_vain, everything, wait_until_told},
    is_there, open_session, sudo,
};

/// Puts a directory of a host's on a disk of its own whose size can be set, until it is dropped.
struct SmallDisk<'a> {
    fleet: &'a Fleet,
    host: &'a Host,
    place: &'static str,
}

/// How much is left on a disk.
#[derive(Clone, Copy, Debug)]
enum Room {
    /// Not even for a name.
    None,
    /// Pages of 4 KiB: less than that no file takes.
    Pages(u32),
    Plenty,
}

impl<'a> SmallDisk<'a> {
    fn new(fleet: &'a Fleet, host: &'a Host, place: &'static str) -> Self {
        const SCRIPT: &str = r#"
            systemctl stop muster-agent.service
            mkdir -p /mnt/small
            mount -t tmpfs -o size=16m,mode=0755 small /mnt/small
            cp -a "$0/." /mnt/small/
            mount --bind /mnt/small "$0"
            systemctl start muster-agent.service
        "#;
        host.run_ok(&["sh", "-euc", SCRIPT, place]).unwrap();
        let disk = Self { fleet, host, place };
        fleet.wait_until_connected(&[host.name()]).unwrap();
        disk
    }

    fn leave(&self, room: Room) {
        const SCRIPT: &str = r#"
            used() { df --output="$1" --block-size=4096 /mnt/small | tail --lines=1; }
            blocks=$(($(used used) + $0))
            names=$(($(used iused) + $1))
            mount -o "remount,nr_blocks=$blocks,nr_inodes=$names" /mnt/small
        "#;
        let (pages, names) = match room {
            Room::None => (0, 0),
            Room::Pages(pages) => (pages, 1_000),
            Room::Plenty => (2_500, 1_000),
        };
        let words = ["sh", "-euc", SCRIPT, &pages.to_string(), &names.to_string()];
        self.host.run_ok(&words).unwrap();
    }
}

impl Drop for SmallDisk<'_> {
    fn drop(&mut self) {
        const SCRIPT: &str = r#"
            systemctl stop muster-agent.service
            umount --lazy "$0"
            find "$0" -mindepth 1 -delete
            cp -a /mnt/small/. "$0/"
            umount --lazy /mnt/small
            systemctl start muster-agent.service
        "#;
        // A failure shows in the next test, which waits for the host.
        let _ = self.host.run(&["sh", "-euc", SCRIPT, self.place]);
        let _ = self.fleet.wait_until_connected(&[self.host.name()]);
    }
}

/// Fails if a file was begun in `/etc` and is still there, or a lock.
fn assert_nothing_begun(host: &Host) {
    let find = ["find", "/etc", "-name", ".muster-*", "-o", "-name", "*.lock", "-size", "+0"];
    assert_eq!(host.run_ok(&find).unwrap(), "");
}

#[test]
fn a_full_etc_is_told_leaves_nothing_half_done_and_is_made_up_for() {
    let fleet = fleet();
    let host = fleet.host(HOST);
    let [quin, rhea, saul] = ["quin", "rhea", "saul"].map(|login| fleet.person(login).unwrap());
    fleet.apply_ok(&each_on(HOST, &[&quin])).unwrap();
    let etc = SmallDisk::new(&fleet, host, "/etc");
    let before = everything(host);
    let mut session = open_session(&fleet, HOST, &quin);

    // Ten pages are enough for the keys and rules of both, the four locks and some account files.
    for (person, room, doing) in [
        (&rhea, Room::None, "cannot lock the account files"),
        (&saul, Room::Pages(10), "cannot rewrite the account files"),
    ] {
        let login = &person.login;
        etc.leave(room);
        apply_in_vain(&fleet, &each_on(HOST, &[person]));
        let created = format!("account-created {login}");
        wait_until_told(&fleet, &[&created, doing, "No space left on device"]);
        assert_eq!(everything(host), before, "{room:?}");
        assert_nothing_begun(host);
        assert_kept_out(&fleet, HOST, person);
    }
    // Her keys, rules and processes go without room; the line in shadow goes later.
    etc.leave(Room::None);
    let left = fleet.muster(&["offboard", "quin", "--yes", "--timeout", "20"]).unwrap();
    assert_eq!(left.status, 4, "{left}");
    assert_eq!(session.finish(SOON).unwrap().status, 255);
    assert_kept_out(&fleet, HOST, &quin);
    assert!(!is_there(host, "/etc/sudoers.d/50-muster-quin"));
    assert!(host.run_ok(&["getent", "shadow", "quin"]).unwrap().starts_with("quin:*"));
    assert_nothing_begun(host);

    etc.leave(Room::Plenty);
    wait::until(RETRIED, "what was asked for to be done", || {
        let shadow = host.run_ok(&["getent", "shadow", "quin"]).unwrap();
        let let_in = |person| fleet.ssh(HOST, person).command("true").run().unwrap().success();
        (shadow.starts_with("quin:!") && let_in(&rhea) && let_in(&saul)).then_some(())
    })
    .unwrap();
    for person in [&rhea, &saul] {
        assert_let_in(&fleet, HOST, person);
        assert!(sudo(&fleet, HOST, person, "/usr/bin/id").success());
    }
    assert_nothing_begun(host);
}

#[test]
fn a_full_spool_keeps_nobody_in_and_jobs_are_set_aside_once_there_is_room() {
    const CRONTABS: &str = "/var/spool/cron/crontabs";
    let fleet = fleet();
    let host = fleet.host(HOST);
    let tova = fleet.person("tova").unwrap();
    fleet.apply_ok(&each_on(HOST, &[&tova])).unwrap();
    let entered =
        host.run_with_stdin(&["crontab", "-u", "tova", "-"], b"0 0 1 1 * true\n").unwrap();
    assert!(entered.success(), "{entered}");
    let spool = SmallDisk::new(&fleet, host, "/var/spool/cron");
    let aside = format!("{CRONTABS}/.muster-set-aside");
    host.run_ok(&["rm", "-rf", &aside]).unwrap();
    let mut session = open_session(&fleet, HOST, &tova);

    spool.leave(Room::None);
    let left = fleet.muster(&["offboard", "tova", "--yes", "--timeout", "20"]).unwrap();
    assert_eq!(left.status, 4, "{left}");
    assert_eq!(session.finish(SOON).unwrap().status, 255);
    assert_kept_out(&fleet, HOST, &tova);
    wait_until_told(&fleet, &["account-locked tova", "FAILED", "No space left on device"]);
    // Asked again it is no more done than before, though the change is out long since.
    let again = fleet.muster(&["offboard", "tova", "--yes", "--timeout", "20"]).unwrap();
    assert_eq!(again.status, 4, "{again}");
    assert!(again.stderr.contains(&format!("not confirmed: {HOST} (retrying)")), "{again}");
    // cron starts nothing of an account that is locked and expired.
    let shadow = host.run_ok(&["getent", "shadow", "tova"]).unwrap();
    assert!(shadow.starts_with("tova:!"), "{shadow}");
    assert_eq!(shadow.trim().split(':').nth(7), Some("1"), "{shadow}");
    assert!(is_there(host, &format!("{CRONTABS}/tova")));

    spool.leave(Room::Plenty);
    wait::until(RETRIED, "her crontab to be set aside", || {
        host.run_ok(&["ls", "-A", &aside]).ok()?.contains("tova.cron.").then_some(())
    })
    .unwrap();
    assert!(!is_there(host, &format!("{CRONTABS}/tova")));
    wait::until(RETRIED, "the host to confirm", || {
        let again = fleet.muster(&["offboard", "tova", "--yes", "--timeout", "20"]).unwrap();
        again.success().then_some(())
    })
    .unwrap();
}

#[test]
fn a_full_home_is_told_leaves_no_half_of_a_home_and_is_made_up_for() {
    let fleet = fleet();
    let host = fleet.host(HOST);
    let [hanno, hulda, hiram] =
        ["hanno", "hulda", "hiram"].map(|login| fleet.person(login).unwrap());
    fleet.apply_ok(&each_on(HOST, &[&hanno])).unwrap();
    let disk = SmallDisk::new(&fleet, host, "/home");
    let homes = || host.run_ok(&["ls", "-A", "/home"]).unwrap();
    let before = homes();

    // What a home begins with is three files, each of a page.
    for (person, room) in [(&hulda, Room::None), (&hiram, Room::Pages(2))] {
        let login = &person.login;
        disk.leave(room);
        apply_in_vain(&fleet, &each_on(HOST, &[person]));
        let created = format!("home-created {login}");
        wait_until_told(&fleet, &[&created, "FAILED", "No space left on device"]);
        // Each try begins beside the homes, under a name that goes again.
        wait::until(RETRIED, "no home and no half of one", || (homes() == before).then_some(()))
            .unwrap();
        // What needs no room there is theirs already.
        assert_let_in(&fleet, HOST, person);
    }
    disk.leave(Room::None);
    fleet.muster(&["offboard", "hanno", "--yes", "--timeout", "20"]).unwrap();
    assert_kept_out(&fleet, HOST, &hanno);
    assert!(host.run_ok(&["getent", "shadow", "hanno"]).unwrap().starts_with("hanno:!"));

    disk.leave(Room::Plenty);
    for login in [&hulda.login, &hiram.login] {
        let home = format!("/home/{login}");
        wait::until(RETRIED, "a home", || is_there(host, &home).then_some(())).unwrap();
        // It has its name only when it is whole.
        host.run_ok(&["diff", "--recursive", "/etc/skel", &home]).unwrap();
        let looks = host.run_ok(&["stat", "--format", "%U %a", &home]).unwrap();
        assert_eq!(looks.trim(), format!("{login} 700"));
    }
    let now = homes();
    assert!(!now.contains(".muster-new"), "{now}");
}
