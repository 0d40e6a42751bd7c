//! What is watched on real hosts and by whom: locks that are undone, homes, root's own keys; by a
//! keeper that could not administer the host if it wanted to.

use muster_tests::wait;
use serde_json::Value;

use crate::{
    PATIENCE, assert_let_in,
    drifting::{await_told, told, word},
    fleet,
    hindered::RETRIED,
    kept::Shim,
    on,
};

/// `CAP_SYS_ADMIN` among the capabilities of a process.
const SYS_ADMIN: u64 = 1 << 21;

/// Returns each set of capabilities in lines of `/proc/PID/status`, but for the bounding set.
fn sets(lines: &str) -> Vec<u64> {
    let used = lines.lines().filter(|line| line.contains("Cap") && !line.contains("CapBnd"));
    let set = |line: &str| line.split_whitespace().last().map(str::to_owned);
    used.filter_map(set).map(|set| u64::from_str_radix(&set, 16).unwrap()).collect()
}

#[test]
fn neither_a_thread_of_the_keeper_nor_what_it_starts_can_administer_the_host() {
    let fleet = fleet();
    let db1 = fleet.host("db1");
    let person = fleet.person("driftc").unwrap();
    fleet.apply_ok(&on("db1", "driftc", std::slice::from_ref(&person))).unwrap();
    let main = ["systemctl", "show", "--property=MainPID", "--value", "muster-agent"];
    let main = db1.run_ok(&main).unwrap();
    let of_all = format!("grep --no-filename ^Cap /proc/{}/task/*/status", main.trim());
    let threads = sets(&db1.run_ok(&["sh", "-c", &of_all]).unwrap());
    assert!(threads.len() > 4, "it has more than one thread, with four sets each: {threads:?}");
    assert!(threads.iter().all(|set| set & SYS_ADMIN == 0), "{threads:x?}");

    let tells = "grep ^Cap /proc/self/status > /run/visudo-caps\nexec \"$0.own\" \"$@\"";
    let shim = Shim::before(db1, "/usr/sbin/visudo", tells);
    db1.run_ok(&["rm", "/etc/sudoers.d/50-muster-driftc"]).unwrap();
    await_told(&fleet, "sudo-changed", "driftc", "", "repaired");
    drop(shim);
    let child = String::from_utf8(db1.read("/run/visudo-caps").unwrap()).unwrap();
    assert_eq!(sets(&child).len(), 4, "{child}");
    assert!(sets(&child).iter().all(|set| set & SYS_ADMIN == 0), "{child}");
}

#[test]
fn all_that_somebody_undoes_at_once_is_told_each_and_put_right() {
    let fleet = fleet();
    let db1 = fleet.host("db1");
    let [stays, goes, back] =
        ["driftg", "driftl", "drifth"].map(|login| fleet.person(login).unwrap());
    let declared = format!(
        "users:\n  driftg: {{keys: [\"{}\"]}}\n  driftl: {{keys: [\"{}\"]}}\n  \
         drifth: {{keys: [\"{}\"]}}\n\
         unix_groups: {{driftx: {{}}, drifty: {{}}, driftz: {{exact_members: true}}}}\n\
         roles:\n  driftg: {{unix_groups: {{at_least: [driftx, drifty, driftz]}}}}\n  \
         driftl: {{}}\n  drifth: {{}}\n\
         assignments:\n  driftg: {{user: driftg, role: driftg, hosts: muster/hostname=db1}}\n  \
         driftl: {{user: driftl, role: driftl, hosts: muster/hostname=db1}}\n  \
         drifth: {{user: drifth, role: drifth, hosts: muster/hostname=db1}}\n",
        stays.key.public, goes.key.public, back.key.public
    );
    fleet.apply_ok(&declared).unwrap();
    fleet.muster_ok(&["revoke", "assignment", "driftl", "--yes"]).unwrap();
    let of_hers = ["getent", "passwd", "drifth"];
    let of_driftz = ["getent", "group", "driftz"];
    let was = [&of_hers, &of_driftz].map(|words| db1.run_ok(words).unwrap());
    let script = "usermod --unlock driftl
        userdel drifth
        gpasswd --add nobody driftz
        groupmod --gid 61999 driftz
        chage --expiredate -1 driftl
        install --owner driftl --mode 0600 /dev/null /var/spool/cron/crontabs/driftl
        install --owner driftl --mode 0700 /dev/null /var/spool/cron/atjobs/a0000101c0ffee
        sed --in-place '/^driftx:/s/driftg//' /etc/gshadow
        groupdel drifty
        usermod --gid sudo --home /srv/else driftg
        rm -r /home/driftg
        echo '# by hand' >> /etc/ssh/sshd_config.d/00-muster.conf";
    db1.run_ok(&["sh", "-euc", script]).unwrap();
    for (kind, subject, place, severity) in [
        ("account-unlocked", "driftl", "password", "high"),
        ("account-unlocked", "driftl", "expiry", "high"),
        ("jobs-back", "driftl", "", "high"),
        ("member-missing", "driftg", "driftx", "medium"),
        ("member-added", "nobody", "driftz", "high"),
        ("unix-group-changed", "driftz", "gid", "high"),
        ("unix-group-changed", "drifty", "", "medium"),
        ("account-missing", "drifth", "", "medium"),
        ("account-changed", "driftg", "gid", "critical"),
        ("account-changed", "driftg", "home", "medium"),
        ("home-missing", "driftg", "", "medium"),
        ("sshd", "sshd", "00-muster.conf", "high"),
    ] {
        let told = await_told(&fleet, kind, subject, place, "repaired");
        assert_eq!(word(&told, "severity"), severity, "{told}");
    }
    let shadow = db1.run_ok(&["getent", "shadow", "driftl"]).unwrap();
    assert!(shadow.starts_with("driftl:!") && shadow.contains(":1:"), "{shadow}");
    let passwd = db1.run_ok(&["getent", "passwd", "driftg"]).unwrap();
    let fields: Vec<&str> = passwd.trim_end().split(':').collect();
    assert_eq!((fields[2], fields[5]), (fields[3], "/home/driftg"), "{passwd}");
    db1.run_ok(&["test", "-d", "/home/driftg"]).unwrap();
    assert!(db1.run_ok(&["id", "driftg"]).unwrap().contains("(drifty)"));
    assert_eq!([&of_hers, &of_driftz].map(|words| db1.run_ok(words).unwrap()), was);
    assert_let_in(&fleet, "db1", &back);
    let jobs = "ls /var/spool/cron/crontabs /var/spool/cron/atjobs";
    let jobs = db1.run_ok(&["sh", "-c", jobs]).unwrap();
    assert!(!jobs.contains("driftl") && !jobs.contains("c0ffee"), "{jobs}");
}

#[test]
fn whoever_gives_somebody_more_each_time_is_told_as_a_fight_that_is_never_given_up() {
    let fleet = fleet();
    let db1 = fleet.host("db1");
    let person = fleet.person("fightk").unwrap();
    fleet.apply_ok(&on("db1", "fightk", std::slice::from_ref(&person))).unwrap();
    let keys = db1.read("/etc/ssh/muster-keys/fightk").unwrap();
    // Some other tool that thinks it knows better, and looks twice a second.
    let fight = "keys=/etc/ssh/muster-keys/fightk
        for round in 1 2 3 4 5; do
            echo 'ssh-ed25519 AAAA stranger' >> $keys
            while grep -q stranger $keys; do sleep 0.05; done
            sleep 0.5
        done";
    db1.spawn(&["sh", "-c", fight]).unwrap().finish(PATIENCE).unwrap();
    let told = await_told(&fleet, "keys-changed", "fightk", "", "contested");
    assert_eq!(told.get("rounds").and_then(Value::as_u64), Some(4), "{told}");
    assert_eq!(word(&told, "found"), "1 other line, 0 missing, put right each time");
    assert_eq!(db1.read("/etc/ssh/muster-keys/fightk").unwrap(), keys);
    // The host does not pass, though nothing differs at the moment.
    let open = fleet.muster(&["drift", "list", "--subject", "fightk"]).unwrap();
    assert_eq!(open.status, 3, "{open}");
    assert!(open.stdout.contains("contested"), "{open}");
    let here = db1.run(&["muster-agent", "drift", "--output", "json"]).unwrap();
    assert!(here.stdout.contains("put right each time"), "{here}");
}

/// Kills the keeper as soon as it has put a shell right, and says whether it could tell that first.
const KILL_AT_ONCE: &str = r#"
    keeper=$(systemctl show --property=MainPID --value muster-agent.service)
    usermod --shell /bin/sh killk
    until grep -q '^killk:.*:/bin/bash$' /etc/passwd; do :; done
    kill -KILL $keeper
    receipts=$(find /var/lib/muster-agent/keeper/spool -type f -newer /etc/passwd)
    if [ "$receipts" ]; then echo told; else echo untold; fi
"#;

#[test]
fn what_a_keeper_put_right_just_before_it_was_killed_is_told_once_by_the_next() {
    let fleet = fleet();
    let dev1 = fleet.host("dev1");
    let person = fleet.person("killk").unwrap();
    fleet.apply_ok(&on("dev1", "killk", std::slice::from_ref(&person))).unwrap();
    let mut untold = false;
    for count in 1..=5 {
        untold |= dev1.run_ok(&["sh", "-euc", KILL_AT_ONCE]).unwrap() == "untold\n";
        let all = || told(&fleet, &["--subject", "killk"]);
        wait::until(RETRIED, "the repair to be told", || (all().len() >= count).then_some(()))
            .unwrap();
        let all = all();
        assert_eq!(all.len(), count, "{all:?}");
        assert!(all.iter().all(|one| word(one, "response") == "repaired"), "{all:?}");
        if untold {
            break;
        }
    }
    assert!(untold, "no kill came before the receipt");
}

#[test]
fn keys_of_root_that_nobody_granted_are_told_and_shown_on_the_host_itself() {
    let fleet = fleet();
    let db1 = fleet.host("db1");
    let ask = || {
        let output = db1.run(&["muster-agent", "drift", "--output", "json"]).unwrap();
        let all: Vec<Value> = serde_json::from_str(&output.stdout).unwrap();
        assert_eq!(output.status, if all.is_empty() { 0 } else { 3 }, "{output}");
        all.into_iter().find(|one| word(one, "kind") == "keys-ungranted")
    };
    let give = "mkdir --parents --mode 0700 /root/.ssh
        echo 'ssh-ed25519 AAAA stranger' > /root/.ssh/authorized_keys";
    db1.run_ok(&["sh", "-euc", give]).unwrap();
    let keys = await_told(&fleet, "keys-ungranted", "root", "authorized_keys", "reported");
    assert_eq!(word(&keys, "severity"), "critical");
    let shown = ask().unwrap();
    assert_eq!((word(&shown, "response"), word(&shown, "subject")), ("reported", "root"));
    assert_eq!(word(&shown, "found"), word(&keys, "found"));
    assert!(!word(&shown, "since").is_empty() && !word(&shown, "by").is_empty(), "{shown}");
    assert!(db1.run_ok(&["cat", "/root/.ssh/authorized_keys"]).unwrap().contains("stranger"));

    db1.run_ok(&["rm", "/root/.ssh/authorized_keys"]).unwrap();
    await_told(&fleet, "keys-ungranted", "root", "authorized_keys", "gone");
    assert_eq!(ask(), None);
}
