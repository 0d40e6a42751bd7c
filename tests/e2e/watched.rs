//! What is watched on real hosts and by whom: root's own keys among it; by a keeper
//! that could not administer the host if it wanted to.

use serde_json::Value;

use crate::{
    drifting::{await_told, declaration, word},
    fleet,
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
    fleet.apply_ok(&declaration("db1", "driftc", &person)).unwrap();
    let main = ["systemctl", "show", "--property=MainPID", "--value", "muster-agent"];
    let main = db1.run_ok(&main).unwrap();
    let of_all = format!("grep --no-filename ^Cap /proc/{}/task/*/status", main.trim());
    let threads = sets(&db1.run_ok(&["sh", "-c", &of_all]).unwrap());
    assert!(threads.len() > 4, "it has more than one thread, with four sets each: {threads:?}");
    assert!(threads.iter().all(|set| set & SYS_ADMIN == 0), "{threads:x?}");

    let shim = "mv /usr/sbin/visudo /usr/sbin/visudo.own
        { echo '#!/bin/sh'; echo 'grep ^Cap /proc/self/status > /run/visudo-caps'
          echo 'exec /usr/sbin/visudo.own \"$@\"'; } > /usr/sbin/visudo
        chmod 0755 /usr/sbin/visudo
        rm /etc/sudoers.d/50-muster-driftc";
    db1.run_ok(&["sh", "-euc", shim]).unwrap();
    await_told(&fleet, "sudo-changed", "driftc", "", "repaired");
    db1.run_ok(&["mv", "/usr/sbin/visudo.own", "/usr/sbin/visudo"]).unwrap();
    let child = String::from_utf8(db1.read("/run/visudo-caps").unwrap()).unwrap();
    assert_eq!(sets(&child).len(), 4, "{child}");
    assert!(sets(&child).iter().all(|set| set & SYS_ADMIN == 0), "{child}");
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
