use std::collections::BTreeSet;

use muster_proto::{
    crypto::MachineKey,
    drift::{Drift, Response},
    envelope::Envelope,
    receipt::{Convergence, HostMode, Receipt, Trigger},
    selector::Labels,
    time::Timestamp,
};

use super::{line::Read, *};
use crate::{client::Told, preview::HostLabels, signer};

fn key() -> MachineKey {
    MachineKey::from_pkcs8(&signer::generate().unwrap()).unwrap()
}

fn host(key: &MachineKey, hostname: &str) -> Host {
    let id = key.public().digest();
    Host {
        labels: HostLabels { id, hostname: hostname.to_owned(), labels: Labels::default() },
        keeper_key: key.public(),
        connected: true,
        last_seen: Timestamp(0),
        joined: Timestamp(0),
        floor: None,
        mode: "enforce",
        agent_version: String::new(),
        refusal: String::new(),
        receipts: 1,
        token_by: "ana".to_owned(),
        pending: false,
        notes: Vec::new(),
        paused: None,
        behind: false,
        decision: None,
    }
}

/// A receipt that tells one item, signed by whoever is given.
fn receipt(about: &MachineKey, by: &MachineKey, number: u64) -> Envelope {
    let host = about.public().digest();
    let drift = Drift {
        kind: "uid-zero".to_owned(),
        subject: "toor".to_owned(),
        place: String::new(),
        expected: "root alone has uid 0".to_owned(),
        found: "uid 0".to_owned(),
        since: Timestamp(7),
        severity: Severity::Critical,
        response: Response::Reported,
        rounds: 0,
        culprit: None,
    };
    let receipt = Receipt {
        lineage: host,
        host,
        number,
        previous: None,
        time: Timestamp(9),
        floor: None,
        trust_version: 1,
        mode: HostMode::Enforce,
        trigger: Trigger::Scan,
        revocations: BTreeSet::new(),
        outcomes: Vec::new(),
        convergence: Convergence::Done,
        findings: Vec::new(),
        drift: vec![drift],
        inventory: None,
    };
    Envelope::sign(&receipt, by)
}

#[test]
fn only_what_the_host_itself_has_signed_is_shown_and_the_rest_is_counted() {
    let (db1, thief) = (key(), key());
    let hosts = [host(&db1, "db1")];
    let id = db1.public().digest();
    let told =
        |host, receipt, item| Told { place: 1, host, receipt, item, open: true, exception: None };
    let shown = |told: Told, envelope: Option<Envelope>| {
        let receipts = envelope.map(|envelope| ((told.host, told.receipt), envelope));
        let receipts = receipts.into_iter().collect();
        let read = read(&Drifted { found: vec![told], receipts, ..Drifted::default() }, &hosts);
        (read.lines.len(), read.unbelieved)
    };
    let honest = receipt(&db1, &db1, 1);
    assert_eq!(shown(told(id, 1, 0), Some(honest.clone())), (1, 0));
    // Another key, another number, an item or a receipt that there is not, a host nobody knows.
    assert_eq!(shown(told(id, 1, 0), Some(receipt(&db1, &thief, 1))), (0, 1));
    assert_eq!(shown(told(id, 2, 0), Some(honest.clone())), (0, 1));
    assert_eq!(shown(told(id, 1, 1), Some(honest.clone())), (0, 1));
    assert_eq!(shown(told(id, 1, 0), None), (0, 1));
    assert_eq!(shown(told(thief.public().digest(), 1, 0), Some(honest)), (0, 1));
}

#[test]
fn a_digest_is_whole_for_programs_and_its_beginning_in_a_table() {
    let db1 = key();
    let id = db1.public().digest();
    let told = Told { place: 1, host: id, receipt: 1, item: 0, open: true, exception: None };
    let receipts = [((id, 1), receipt(&db1, &db1, 1))].into();
    let drifted = Drifted { found: vec![told], receipts, ..Drifted::default() };
    let mut line = read(&drifted, &[host(&db1, "db1")]).lines.remove(0);
    assert_eq!(line.row()[5], "uid 0");
    line.found = format!("content {id}");
    assert_eq!(line.row()[5], format!("content {}…", id.short()));
    assert_eq!(serde_json::to_value(&line).unwrap()["found"], format!("content {id}"));
}

#[test]
fn what_cannot_be_shown_ends_as_something_wrong() {
    assert_eq!(Read { unbelieved: 1, ..Read::default() }.end(), End::Findings);
    assert_eq!(Read::default().end(), End::Done);
}

#[test]
fn many_hosts_with_drift_are_told_in_one_line() {
    let keys: Vec<MachineKey> = (0..NAMED + 5).map(|_| key()).collect();
    let named = keys.iter().enumerate().map(|(n, key)| host(key, &format!("h{n}")));
    let hosts: Vec<Host> = named.collect();
    let drifted = |count: usize| {
        let failing = hosts.iter().take(count).map(|host| host.labels.id).collect();
        Drifted { hosts: failing, ..Drifted::default() }
    };
    assert_eq!(summary(&hosts, &drifted(0)), "25 of 25 hosts pass");
    assert_eq!(summary(&hosts, &drifted(2)), "23 of 25 hosts pass; drift on h0, h1");
    let accepted = |exceptions, failing| Drifted { exceptions, ..drifted(failing) };
    assert_eq!(summary(&hosts, &accepted(1, 0)), "25 of 25 hosts pass, 1 exception");
    let some = "24 of 25 hosts pass, 2 exceptions; drift on h0";
    assert_eq!(summary(&hosts, &accepted(2, 1)), some);
    assert!(summary(&hosts, &drifted(NAMED)).ends_with("h19"));
    assert!(summary(&hosts, &drifted(NAMED + 1)).ends_with("h19 and 1 more"));
}

#[test]
fn a_time_is_a_day_a_moment_or_so_long_ago() {
    let read = |text, bound| moment(Some(text), "--since", bound).unwrap().unwrap();
    assert_eq!(read("2027-06-30", When::start).to_string(), "2027-06-30T00:00:00Z");
    assert_eq!(read("2027-06-30", When::end).to_string(), "2027-07-01T00:00:00Z");
    assert_eq!(read("2027-06-30T18:00:00Z", When::end).to_string(), "2027-06-30T18:00:00Z");
    let ago = session::now().since(read("2h", When::start));
    assert!((7_190..=7_210).contains(&ago), "{ago}");
    assert_eq!(moment(None, "--since", When::start).unwrap(), None);
    let refused = moment(Some("yesterday"), "--since", When::start).unwrap_err();
    assert!(format!("{refused:?}").contains("`yesterday` is not a date"), "{refused:?}");
}
