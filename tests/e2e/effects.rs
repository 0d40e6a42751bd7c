//! What the system makes of Muster's files on real hosts: where a file of somebody else's stands
//! against one of ours that is as it should be, that is told, and left as it is.

use muster_tests::{Host, wait};
use serde_json::Value;

use crate::{
    PATIENCE,
    drifting::{await_narrowed, await_told, told as told_of, word},
    fleet,
    kept::Kept,
    on, sudo,
};

/// A file of somebody else's, which goes however a test ends.
struct Foreign<'a>(&'a Host, &'static str);

impl Foreign<'_> {
    fn write(&self, text: &str, mode: u32) {
        self.0.write(self.1, text.as_bytes(), mode).unwrap();
    }
}

impl Drop for Foreign<'_> {
    fn drop(&mut self) {
        // The first failure is the one to tell.
        let _ = self.0.run(&["rm", "-f", self.1]);
    }
}

#[test]
fn a_file_of_somebody_elses_that_stands_against_ours_is_told_until_it_has_gone() {
    let fleet = fleet();
    let host = fleet.host("db1");
    let person = fleet.person("effa").unwrap();
    fleet.apply_ok(&on("db1", "effa", std::slice::from_ref(&person))).unwrap();
    let ours = ["/etc/ssh/sshd_config.d/00-muster.conf", "/etc/sudoers.d/50-muster-effa"];
    let before = ours.map(|path| host.read(path).unwrap());

    // Our drop-in is as it was, and nobody reads it.
    let config = Kept::of(host, "/etc/ssh/sshd_config");
    config.replace(&config.text().replace("\nInclude ", "\n#Include "));
    let of_sshd = ["--host", "db1", "--kind", "effect-differs", "--subject", "muster-accounts"];
    let told = await_narrowed(&fleet, &of_sshd, "sshd", "reported");
    assert!(word(&told, "found").contains("authorizedkeysfile .ssh/authorized_keys"), "{told}");
    assert_eq!(word(&told, "expected"), "what 00-muster.conf says");
    assert_eq!(word(&told, "severity"), "critical", "some of them become root: {told}");
    let console = host.run(&["muster-agent", "drift"]).unwrap();
    assert!(console.stdout.contains("effect-differs"), "{console}");
    drop(config);
    await_narrowed(&fleet, &of_sshd, "sshd", "gone");

    assert!(sudo(&fleet, "db1", &person, "/usr/bin/id").success());
    let foreign = Foreign(host, "/etc/sudoers.d/90-effects");
    foreign.write("effa db?, !db2 = (ALL) !/usr/bin/i[c-e]\n", 0o440);
    let told = await_told(&fleet, "effect-differs", "effa", "sudo", "reported");
    assert_eq!(word(&told, "found"), "/usr/bin/id as root: a later rule takes it away");
    assert_eq!(word(&told, "severity"), "medium", "{told}");
    assert!(!sudo(&fleet, "db1", &person, "/usr/bin/id").success());
    drop(foreign);
    await_told(&fleet, "effect-differs", "effa", "sudo", "gone");
    wait::until(PATIENCE, "her rule to count", || {
        sudo(&fleet, "db1", &person, "/usr/bin/id").success().then_some(())
    })
    .unwrap();
    assert_eq!(ours.map(|path| host.read(path).unwrap()), before, "nothing of ours was touched");
}

#[test]
fn a_match_of_somebody_elses_is_told_of_whom_it_is_for_and_of_nobody_else() {
    let fleet = fleet();
    let host = fleet.host("db1");
    let people = ["effb", "effc"].map(|login| fleet.person(login).unwrap());
    fleet.apply_ok(&on("db1", "effb", &people)).unwrap();

    let foreign = Foreign(host, "/etc/ssh/sshd_config.d/00-effects.conf");
    let keys = "AuthorizedKeysFile .ssh/authorized_keys\n";
    foreign.write(&format!("Match User eff?,!effc\n    {keys}"), 0o644);
    let told = await_told(&fleet, "effect-differs", "effb", "sshd", "reported");
    assert_eq!(word(&told, "found"), "authorizedkeysfile .ssh/authorized_keys");
    assert_eq!(word(&told, "severity"), "critical", "she becomes root: {told}");
    let of_another = told_of(&fleet, &["--kind", "effect-differs", "--subject", "effc"]);
    assert_eq!(of_another, [Value::Null; 0]);

    // By her own Unix group, and only on a port that sshd says nothing of unless it is told one.
    foreign.write("Match LocalPort 22 Group effc\n    PasswordAuthentication yes\n", 0o644);
    let told = await_told(&fleet, "effect-differs", "effc", "sshd", "reported");
    assert_eq!(word(&told, "found"), "passwordauthentication yes");
    await_told(&fleet, "effect-differs", "effb", "sshd", "gone");
    drop(foreign);
    await_told(&fleet, "effect-differs", "effc", "sshd", "gone");
}
