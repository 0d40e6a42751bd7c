use muster_proto::name::Line;

use super::{
    super::tests::{host, key},
    *,
};
use crate::host::Decision;

const NOW: Timestamp = Timestamp(1_000_000);

fn decided(verdict: Verdict, name: &str) -> Host {
    let reason = Line::parse("odd").unwrap();
    let decision = Decision { verdict, by: "ana".to_owned(), at: NOW, reason };
    Host { decision: Some(decision), ..well(name) }
}

fn well(name: &str) -> Host {
    host(&key(), name)
}

/// A host that was heard so many seconds ago.
fn away(name: &str, ago: u64) -> Host {
    Host { connected: false, last_seen: Timestamp(NOW.0 - ago), ..well(name) }
}

/// What is said with drift on these hosts.
fn lines(hosts: &[Host], drifting: &[&Host]) -> Vec<String> {
    let failing = drifting.iter().map(|host| host.labels.id).collect();
    Summary::of(hosts, &Drifted { hosts: failing, ..Drifted::default() }, NOW).lines()
}

#[test]
fn many_hosts_with_drift_are_told_in_one_line() {
    let hosts: Vec<Host> = (0..NAMED + 5).map(|n| well(&format!("h{n:02}"))).collect();
    let told = |failing: usize, exceptions| {
        let failing = hosts.iter().take(failing).map(|host| host.labels.id).collect();
        let drifted = Drifted { hosts: failing, exceptions, ..Drifted::default() };
        Summary::of(&hosts, &drifted, NOW).lines()
    };
    assert_eq!(told(0, 0), ["25 of 25 hosts pass"]);
    assert_eq!(told(2, 0), ["23 of 25 hosts pass; drift on h00, h01"]);
    assert_eq!(told(0, 1), ["25 of 25 hosts pass, 1 exception"]);
    assert_eq!(told(1, 2), ["24 of 25 hosts pass, 2 exceptions; drift on h00"]);
    assert!(told(NAMED, 0)[0].ends_with("h19"));
    assert!(told(NAMED + 1, 0)[0].ends_with("h19 and 1 more"));
    assert_eq!(lines(&hosts[..1], &[]), ["1 of 1 host passes"]);
}

#[test]
fn whoever_has_not_said_that_nothing_differs_does_not_pass_and_is_named_with_the_reason() {
    let never = Host { connected: false, last_seen: Timestamp(0), ..well("new") };
    let paused = Host { paused: Some(1), ..well("night") };
    let both = Host { paused: Some(1), mode: "observe", ..well("watch2") };
    let refusing = Host { refusal: "link 7: a rollback".to_owned(), ..well("refuser") };
    for (unknown, said) in [
        (away("gone", 700_000), "1 not heard (gone since 1970-01-04T11:20:00Z)"),
        (never, "1 not heard (new ever)"),
        (refusing, "1 refusing (refuser)"),
        (Host { behind: true, ..well("late") }, "1 behind (late)"),
        (Host { record: Record::Gap, ..well("full") }, "1 with gaps in receipts (full)"),
        (paused, "1 paused (night)"),
        (both, "1 paused (watch2)"),
        (Host { mode: "observe", ..well("watch1") }, "1 only observing (watch1)"),
        (Host { mode: "unknown", ..well("mute") }, "1 only observing (mute)"),
        (decided(Verdict::Quarantined, "odd"), "1 quarantined (odd)"),
        (decided(Verdict::Evicted, "out"), "1 evicted (out)"),
        (decided(Verdict::Banned, "bad"), "1 banned (bad)"),
    ] {
        let hosts = [well("db1"), unknown];
        let told = lines(&hosts, &[]);
        assert_eq!(told, ["1 of 2 hosts pass".to_owned(), format!("not known: {said}")]);
        // What is known to differ there is drift all the same.
        let name = &hosts[1].labels.hostname;
        assert_eq!(lines(&hosts, &[&hosts[1]]), [format!("1 of 2 hosts pass; drift on {name}")]);
    }
}

#[test]
fn a_host_that_is_away_passes_for_ten_minutes_and_no_longer() {
    assert_eq!(HEARD, 600);
    assert_eq!(lines(&[away("db1", HEARD)], &[]), ["1 of 1 host passes"]);
    assert_eq!(lines(&[away("db1", HEARD + 1)], &[])[0], "0 of 1 host passes");
    let connected = Host { connected: true, ..away("db1", HEARD + 1) };
    assert_eq!(lines(&[connected], &[]), ["1 of 1 host passes"]);
    // One that was enrolled and has never shown up is no host yet.
    assert_eq!(lines(&[Host { pending: true, ..well("db1") }], &[]), ["0 of 0 hosts pass"]);
}

#[test]
fn of_many_that_are_not_known_a_few_are_named_for_each_reason() {
    let mut hosts: Vec<Host> =
        (0..=NAMED_UNKNOWN).map(|n| away(&format!("h{n}"), 10_000)).collect();
    hosts.push(Host { mode: "observe", ..well("w1") });
    hosts.push(Host { mode: "observe", behind: true, ..well("w2") });
    let [first, second] = lines(&hosts, &[]).try_into().unwrap();
    assert_eq!(first, "0 of 8 hosts pass");
    assert!(second.starts_with("not known: 6 not heard (h0 since 1970-01-12T11:00:00Z, h1 since"));
    let end = "h4 since 1970-01-12T11:00:00Z and 1 more), 1 behind (w2), 1 only observing (w1)";
    assert!(second.ends_with(end), "{second}");
    hosts.remove(0);
    assert!(!lines(&hosts, &[])[1].contains(" more"), "as many as are named");
}

#[test]
fn programs_read_every_host_that_does_not_pass_and_the_exit_code_says_so() {
    let hosts = [well("db1"), well("web1"), away("gone", 700_000)];
    let of = |hosts: &[Host], failing: &[&Host]| {
        let failing = failing.iter().map(|host| host.labels.id).collect();
        Summary::of(hosts, &Drifted { hosts: failing, ..Drifted::default() }, NOW)
    };
    let summary = Summary { gravest: Some("critical"), ..of(&hosts, &[&hosts[0]]) };
    let ids = hosts.each_ref().map(|host| host.labels.id.to_string());
    let read = serde_json::to_value(&summary).unwrap();
    assert_eq!(
        read,
        serde_json::json!({
            "hosts": 3, "pass": 1, "exceptions": 0, "gravest": "critical",
            "drift": [{"host": "db1", "host_id": ids[0]}],
            "not_known": [{"host": "gone", "host_id": ids[2], "why": "not-heard",
                           "last_seen": "1970-01-04T11:20:00Z"}],
        })
    );
    assert_eq!(summary.line(), "1 of 3 hosts pass, gravest critical, 1 not known");
    assert_eq!(summary.lines()[0], "1 of 3 hosts pass; drift on db1, gravest critical");
    assert_eq!(summary.end(), End::Differences);
    assert_eq!(of(&hosts, &[]).end(), End::Waiting);
    assert_eq!(of(&hosts[..2], &[]).end(), End::Done);
}
