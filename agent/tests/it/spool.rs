//! The spool at its bound.
#![expect(clippy::disallowed_methods, reason = "a test fills a spool")]

use std::{collections::BTreeSet, fs};

use muster_agent::receipt::{MAX_SPOOLED, Spool, generate_key};
use muster_proto::{
    crypto::MachineKey,
    receipt::{Convergence, HostMode, Receipt, Trigger},
    time::Timestamp,
};

#[test]
fn the_oldest_receipt_goes_when_there_is_one_more_than_the_spool_holds() {
    let state = tempfile::tempdir().unwrap();
    let spool = Spool::open(state.path()).unwrap();
    let key = MachineKey::from_pkcs8(&generate_key().unwrap()).unwrap();
    let host = key.public().digest();
    let store = |number| {
        let receipt = Receipt {
            lineage: host,
            host,
            number,
            previous: Some(host),
            time: Timestamp(number),
            floor: None,
            trust_version: 1,
            mode: HostMode::Enforce,
            trigger: Trigger::Scan,
            revocations: BTreeSet::new(),
            outcomes: Vec::new(),
            convergence: Convergence::Done,
            findings: Vec::new(),
            drift: Vec::new(),
            inventory: None,
        };
        spool.store(&receipt, &key).unwrap();
    };
    // One that was signed, for the spool's way to name them, and as many as it takes beside it.
    let most = u64::try_from(MAX_SPOOLED).unwrap();
    store(1);
    let mut names = fs::read_dir(state.path().join("spool")).unwrap();
    let first = names.next().unwrap().unwrap().path();
    let digits = first.file_name().unwrap().len();
    for number in 2..most {
        fs::write(first.with_file_name(format!("{number:0digits$}")), "").unwrap();
    }
    store(most);
    let numbers = spool.numbers().unwrap();
    assert_eq!((numbers.len(), numbers.first()), (MAX_SPOOLED, Some(&1)));
    store(most + 1);
    let numbers = spool.numbers().unwrap();
    assert_eq!((numbers.len(), numbers.first()), (MAX_SPOOLED, Some(&2)));
    assert_eq!(numbers.last(), Some(&(most + 1)));
    assert_eq!(spool.read(1).unwrap(), None);
}
