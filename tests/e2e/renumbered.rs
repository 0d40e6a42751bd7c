//! Accounts of Muster's that somebody gives another uid by hand, on a real host with a real sshd.

use muster_tests::wait;

use crate::{
    SOON, assert_kept_out, assert_let_in,
    drifting::{await_narrowed, await_told, word},
    each_on, fleet, is_refused, is_there,
    lifecycle::assert_out,
    open_session, uid,
};

#[test]
fn whoever_is_given_another_uid_gets_in_by_nothing_and_is_locked_by_login() {
    let fleet = fleet();
    let db1 = fleet.host("db1");
    let [moved, other] = ["driftu", "driftv"].map(|login| fleet.person(login).unwrap());
    let own = fleet.lab().keygen("driftu-own", "ed25519").unwrap();
    let by_own = || fleet.lab().ssh("db1", "driftu", &own.private).command("true").run().unwrap();
    let with_disk = "driftu: {unix_groups: {at_least: [disk]}, sudo:";
    let declared = each_on("db1", &[&moved, &other]).replace("driftu: {sudo:", with_disk);
    fleet.apply_ok(&declared).unwrap();
    let [number, others] = [&moved, &other].map(|person| uid(db1, &person.login));
    let give = format!(
        "install --directory --owner driftu --mode 0700 /home/driftu/.ssh
        echo '{}' > /home/driftu/.ssh/authorized_keys",
        own.public
    );
    db1.run_ok(&["sh", "-euc", &give]).unwrap();
    assert!(is_refused(&by_own()));

    let renumber = |uid: u32| {
        let script = format!(
            "sed --in-place 's/^driftu:x:[0-9]*:/driftu:x:{uid}:/' /etc/passwd
            chown --recursive {uid} /home/driftu"
        );
        db1.run_ok(&["sh", "-euc", &script]).unwrap();
    };
    let assert_fenced = |uid: u32, severity: &str| {
        let narrow = ["--kind", "account-changed", "--subject", "driftu", "--severity", severity];
        let told = await_narrowed(&fleet, &narrow, "uid", "reported");
        assert_eq!(word(&told, "found"), uid.to_string(), "{told}");
        let groups = db1.run_ok(&["id", "--groups", "--name", "driftu"]).unwrap();
        assert!(groups.contains("muster-accounts") && !groups.contains("disk"), "{groups}");
        let by_own = by_own();
        assert!(is_refused(&by_own), "{by_own}");
        assert_kept_out(&fleet, "db1", &moved);
        told
    };
    db1.run_ok(&["usermod", "--uid", "3901", "driftu"]).unwrap();
    let told = assert_fenced(3_901, "high");
    assert_eq!(word(told.get("by").unwrap(), "program"), "usermod", "{told}");

    // What keeps her own key from counting is this Unix group and nothing else.
    db1.run_ok(&["systemctl", "stop", "muster-agent"]).unwrap();
    db1.run_ok(&["gpasswd", "--delete", "driftu", "muster-accounts"]).unwrap();
    let let_in = by_own();
    assert!(let_in.success(), "{let_in}");
    db1.run_ok(&["systemctl", "start", "muster-agent"]).unwrap();
    await_told(&fleet, "member-missing", "driftu", "muster-accounts", "repaired");
    assert_fenced(3_901, "high");
    renumber(0);
    assert_fenced(0, "critical");

    renumber(number);
    let keys = "/etc/ssh/muster-keys/driftu";
    wait::until(SOON, "her keys to be back", || is_there(db1, keys).then_some(())).unwrap();
    assert_let_in(&fleet, "db1", &moved);
    assert!(db1.run_ok(&["id", "driftu"]).unwrap().contains("(disk)"));

    // By her login logind would find the other one.
    let [mut hers, mut theirs] = [&moved, &other].map(|person| open_session(&fleet, "db1", person));
    renumber(others);
    let gone = fleet.muster(&["offboard", "driftu", "--yes"]).unwrap();
    assert_eq!(gone.status, 4, "{gone}");
    let undone = format!(
        "conflict driftu: locked, but its uid is `{others}` and not {number}: what runs as \
         `{others}` goes on"
    );
    assert!(gone.stdout.contains(" partly ") && gone.stdout.contains(&undone), "{gone}");
    assert!(gone.stderr.contains("account-locked driftu"), "{gone}");
    let shadow = db1.run_ok(&["getent", "shadow", "driftu"]).unwrap();
    assert!(shadow.starts_with("driftu:!") && shadow.contains(":1:"), "{shadow}");
    assert_eq!(hers.finish(SOON).unwrap().status, 255);
    theirs.send(b"still here\n").unwrap();
    theirs.wait_for_line(SOON, "still here").unwrap();
    theirs.stop().unwrap();
    assert!(is_refused(&by_own()));

    renumber(number);
    wait::until(SOON, "all of her to be out", || {
        fleet.muster(&["offboard", "driftu", "--yes"]).unwrap().success().then_some(())
    })
    .unwrap();
    assert_out(&fleet, "db1", &moved, number);
}
