//! A host that somebody works on: what is left as it is meanwhile, what is taken away all the same,
//! and that everything is put right when he is done.

use muster_tests::{Fleet, Host, wait};

use crate::{
    SOON, assert_kept_out, assert_let_in,
    drifting::{await_told, word},
    fleet, is_locked, on, open_session, shown,
};

const HOST: &str = "db1";

/// A pause of a host that other tests use too.
struct Paused<'a>(&'a Host);

impl Drop for Paused<'_> {
    fn drop(&mut self) {
        // It is ended already, unless the test failed.
        let _ = self.0.run(&["muster-agent", "pause", "--end"]);
    }
}

/// Returns what `muster status` says of hosts that are paused.
fn paused(fleet: &Fleet) -> Vec<String> {
    let status = fleet.ask(&["status"]).unwrap();
    let all = status.get("paused").unwrap().as_array().unwrap().iter();
    all.map(|one| format!("{} {}", word(one, "host"), word(one, "detail"))).collect()
}

fn shell(host: &Host, login: &str) -> String {
    let line = host.run_ok(&["getent", "passwd", login]).unwrap();
    line.trim_end().rsplit(':').next().unwrap().to_owned()
}

#[test]
fn root_works_on_a_host_in_peace_whoever_goes_is_gone_and_in_the_end_everything_is_put_right() {
    let fleet = fleet();
    let host = fleet.host(HOST);
    let [amos, bert, cleo] =
        ["pauseamos", "pausebert", "pausecleo"].map(|login| fleet.person(login).unwrap());
    fleet.apply_ok(&on(HOST, "pause", &[amos.clone(), bert.clone()])).unwrap();
    let mut session = open_session(&fleet, HOST, &bert);

    let longer = ["muster-agent", "pause", "--for", "25h", "--reason", "OPS-7"];
    assert_eq!(host.run(&longer).unwrap().status, 2);
    let pause = Paused(host);
    let said =
        host.run_ok(&["muster-agent", "pause", "--for", "2h", "--reason", "OPS-7: the disk"]);
    assert!(said.unwrap().starts_with("paused by root until "));
    wait::until(SOON, "the controller to hear of it", || {
        let [one] = &paused(&fleet)[..] else { return None };
        (one.starts_with("db1 ") && one.contains("OPS-7: the disk")).then_some(())
    })
    .unwrap();
    assert!(shown(&fleet, HOST).contains("paused root: until "), "{}", shown(&fleet, HOST));

    // What is done by hand is told and left, and nothing is given.
    host.run_ok(&["usermod", "--shell", "/bin/sh", "pauseamos"]).unwrap();
    await_told(&fleet, "account-changed", "pauseamos", "shell", "reported");
    assert_eq!(shell(host, "pauseamos"), "/bin/sh");
    let path = fleet.declare(&on(HOST, "pause", std::slice::from_ref(&cleo))).unwrap();
    let applied = fleet.muster(&["apply", "--yes", "--timeout", "30", "--file", path]).unwrap();
    assert_eq!(applied.status, 4, "{applied}");
    assert!(applied.stderr.contains("not confirmed: db1 (partly)"), "{applied}");
    assert!(
        applied.stderr.contains("postponed pausecleo: account-created not before the pause"),
        "{applied}"
    );
    assert!(!host.run(&["getent", "passwd", "pausecleo"]).unwrap().success());

    // Neither a restart ends it, nor does it keep anybody in.
    host.run_ok(&["systemctl", "restart", "muster-agent"]).unwrap();
    let status = host.run_ok(&["muster-agent", "status"]).unwrap();
    assert!(status.contains("\npaused       by root until "), "{status}");
    fleet.muster_ok(&["offboard", "pausebert", "--yes", "--timeout", "60"]).unwrap();
    assert_eq!(session.finish(SOON).unwrap().status, 255);
    assert!(is_locked(host, "pausebert"));
    assert_kept_out(&fleet, HOST, &bert);
    assert_let_in(&fleet, HOST, &amos);
    assert_eq!(shell(host, "pauseamos"), "/bin/sh");

    host.run_ok(&["muster-agent", "pause", "--end"]).unwrap();
    assert_eq!(shell(host, "pauseamos"), "/bin/bash");
    assert_let_in(&fleet, HOST, &cleo);
    await_told(&fleet, "account-changed", "pauseamos", "shell", "repaired");
    assert_eq!(paused(&fleet), [""; 0]);
    let again = host.run(&["muster-agent", "pause", "--end"]).unwrap();
    assert_eq!((again.status, again.stderr.trim()), (1, "error: this host is not paused"));
    drop(pause);
}
