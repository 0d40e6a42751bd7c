use std::collections::BTreeSet;

use muster_proto::{
    crypto::MachineKey,
    drift::{Drift, Response},
    envelope::Envelope,
    name::Line,
    receipt::{Convergence, HostMode, Receipt, Trigger},
    selector::Labels,
    time::Timestamp,
};

use super::{line::Read, output::Rows, *};
use crate::{
    client::{Drifted, Host, Record, Told},
    exception::{Exception, Thing},
    preview::HostLabels,
    signer,
};

pub(in crate::cli) fn key() -> MachineKey {
    MachineKey::from_pkcs8(&signer::generate().unwrap()).unwrap()
}

/// A host that is as it should be.
pub(super) fn host(key: &MachineKey, hostname: &str) -> Host {
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
        record: Record::Whole,
        decision: None,
    }
}

/// A receipt that tells one item, signed by whoever is given.
pub(in crate::cli) fn receipt(about: &MachineKey, by: &MachineKey, number: u64) -> Envelope {
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

/// What is asked for by these options, on a host that was found by its name.
fn asked(options: &[&str]) -> DriftWanted {
    #[derive(Debug, clap::Parser)]
    struct Typed {
        #[command(subcommand)]
        verb: DriftVerb,
    }
    let words = [&["drift", "list"], options].concat();
    match <Typed as clap::Parser>::try_parse_from(words).unwrap().verb {
        DriftVerb::List(args) => wanted(&args, None).unwrap(),
        other => panic!("{other:?}"),
    }
}

#[test]
fn every_option_narrows_down_what_is_asked_for() {
    let plain = asked(&[]);
    assert_eq!((plain.scope, plain.limit, plain.after), (DriftScope::Unaccepted, MOST, None));
    assert!(plain.least.is_none() && plain.kind.is_none() && plain.subject.is_none());
    assert!(plain.by.is_none() && plain.since.is_none() && plain.until.is_none());
    for severity in Severity::ALL {
        let least = asked(&["--severity", severity.as_str()]).least;
        assert_eq!(least, Some(*severity));
    }
    assert_eq!(asked(&["--kind", "uid-zero"]).kind.as_deref(), Some("uid-zero"));
    assert_eq!(asked(&["--subject", "toor"]).subject.as_deref(), Some("toor"));
    assert_eq!(asked(&["--by", "bob"]).by.as_deref(), Some("bob"));
    let time = |time: Option<Timestamp>| time.unwrap().to_string();
    let since = asked(&["--since", "2027-06-30"]);
    assert_eq!((time(since.since), since.until), ("2027-06-30T00:00:00Z".to_owned(), None));
    let until = asked(&["--until", "2027-06-30"]);
    assert_eq!((until.since, time(until.until)), (None, "2027-07-01T00:00:00Z".to_owned()));
    assert_eq!(asked(&["--accepted"]).scope, DriftScope::Open);
    assert_eq!(asked(&["--all"]).scope, DriftScope::All);
}

#[test]
fn what_is_accepted_and_not_there_is_a_line_that_says_so() {
    let db1 = key();
    let id = db1.public().digest();
    let words = ["sudo-foreign", "sudoers.d/x", ""].map(str::to_owned);
    let [kind, subject, place] = words;
    let thing = Thing { host: id, kind, subject, place };
    let reason = Line::parse("OPS-1").unwrap();
    let (until, made) = (Timestamp(100), Timestamp(7));
    let exception = Exception { until, by: "ana".to_owned(), made, reason };
    let line = Listed::Accepted(AcceptedLine::of(&thing, &exception, &[host(&db1, "db1")]));
    let row = line.row();
    assert_eq!(row.len(), Listed::head().len());
    for cell in ["db1", "sudo-foreign sudoers.d/x", "not there now"] {
        assert!(row.iter().any(|found| found == cell), "{cell}: {row:?}");
    }
    assert!(row.iter().any(|cell| cell.starts_with("accepted until 1970-01-01")), "{row:?}");
    let told = serde_json::to_value(&line).unwrap();
    assert_eq!((&told["open"], &told["id"]), (&false.into(), &serde_json::Value::Null));
    assert_eq!(told["exception"]["reason"], "OPS-1");
}
