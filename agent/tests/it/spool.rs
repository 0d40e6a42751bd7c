//! The spool at its bound.
#![expect(clippy::disallowed_methods, reason = "a test fills a spool")]

use std::{collections::BTreeSet, fs};

use muster_agent::receipt::{MAX_SPOOLED, MAX_SPOOLED_BYTES, Spool, generate_key};
use muster_proto::{
    crypto::MachineKey,
    id::Digest,
    receipt::{Convergence, HostMode, Receipt, Trigger},
    time::Timestamp,
};

fn receipt(number: u64, host: Digest) -> Receipt {
    Receipt {
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
    }
}

/// Drops what there is no room for, and returns the numbers of that.
fn surplus(spool: &Spool) -> Vec<u64> {
    let waiting = spool.numbers().unwrap();
    let surplus = waiting[..spool.surplus(&waiting).unwrap()].to_vec();
    spool.drop_surplus(&surplus).unwrap();
    surplus
}

#[test]
fn the_oldest_receipt_goes_when_there_is_one_more_than_the_spool_holds() {
    let state = tempfile::tempdir().unwrap();
    let spool = Spool::open(state.path()).unwrap();
    let key = MachineKey::from_pkcs8(&generate_key().unwrap()).unwrap();
    let host = key.public().digest();
    let store = |number| {
        spool.store(&receipt(number, host), &key).unwrap();
        surplus(&spool)
    };
    // One that was signed, for the spool's way to name them, and as many as it takes beside it.
    let most = u64::try_from(MAX_SPOOLED).unwrap();
    assert_eq!(store(1), [0; 0]);
    let mut names = fs::read_dir(state.path().join("spool")).unwrap();
    let first = names.next().unwrap().unwrap().path();
    let digits = first.file_name().unwrap().len();
    for number in 2..most {
        fs::write(first.with_file_name(format!("{number:0digits$}")), "").unwrap();
    }
    assert_eq!(store(most), [0; 0]);
    let numbers = spool.numbers().unwrap();
    assert_eq!((numbers.len(), numbers.first()), (MAX_SPOOLED, Some(&1)));
    assert_eq!(store(most + 1), [1]);
    let numbers = spool.numbers().unwrap();
    assert_eq!((numbers.len(), numbers.first()), (MAX_SPOOLED, Some(&2)));
    assert_eq!(numbers.last(), Some(&(most + 1)));
    assert_eq!(spool.read(1).unwrap(), None);
}

#[test]
fn the_oldest_receipts_go_when_there_is_a_byte_more_than_the_spool_holds() {
    // They are all holes, so that they take no room.
    let state = tempfile::tempdir_in("/dev/shm").unwrap();
    let spool = Spool::open(state.path()).unwrap();
    let key = MachineKey::from_pkcs8(&generate_key().unwrap()).unwrap();
    let host = key.public().digest();
    let put = |number: u64, length: u64| {
        let path = state.path().join(format!("spool/{number:020}"));
        fs::File::create(path).unwrap().set_len(length).unwrap();
    };
    let size = spool.store(&receipt(4, host), &key).unwrap().1.len();
    let room = MAX_SPOOLED_BYTES - u64::try_from(size).unwrap();
    put(1, 1);
    put(2, 1);
    put(3, room - 2);
    assert_eq!(surplus(&spool), [0; 0]);
    put(3, room - 1);
    assert_eq!(surplus(&spool), [1]);
    // What is too large by itself is all that there is.
    put(4, MAX_SPOOLED_BYTES + 1);
    assert_eq!(surplus(&spool), [2, 3]);
    assert_eq!(spool.numbers().unwrap(), [4]);
}
