//! What a connection takes, and what becomes of what it does not.

use std::collections::BTreeMap;

use muster_proto::{crypto::MachineKey, envelope::Envelope, id::HostId, link::Acknowledgement};

use super::*;
use crate::{fleet::WAITING, signer};

const NOW: Timestamp = Timestamp(1_700_000_000);

fn key() -> MachineKey {
    MachineKey::from_pkcs8(&signer::generate().unwrap()).unwrap()
}

fn member() -> Member {
    let keeper_key = key().public();
    let id = keeper_key.digest();
    let host = Host {
        id,
        keeper_key,
        hostname: "db1".to_owned(),
        joined: NOW,
        token_by: "ana".to_owned(),
        last_seen: None,
        standing: None,
        confirmed: 0,
        receipts: None,
        breaks: Vec::new(),
        unsent: None,
        paused: None,
        decision: None,
    };
    let (statements, revocations) = (BTreeMap::new(), BTreeMap::new());
    Member::new(host, SentTo { host: id, confirmed: 0, statements, revocations })
}

/// A bundle of a link, which is any envelope here, with a statement of so many bytes.
fn bundle(host: HostId, statement: usize) -> Bundle {
    let word = Acknowledgement { lineage: host, host, number: 1, digest: host };
    let mut bundle = Bundle::empty(host);
    bundle.link = Some(Envelope::sign(&word, &key()));
    bundle.statements = vec![vec![7; statement]];
    bundle
}

#[test]
fn a_bundle_that_is_larger_than_a_host_reads_is_told_of_until_one_is_sent() {
    let mut member = member();
    let (to, mut from) = mpsc::channel(4);
    member.connect(to).unwrap();
    let host = member.host.id;
    let rest = bundle(host, MAX_BUNDLE / 2).encode().len() - MAX_BUNDLE / 2;
    let (largest, larger) = (bundle(host, MAX_BUNDLE - rest), bundle(host, MAX_BUNDLE - rest + 1));
    assert_eq!(largest.encode().len(), MAX_BUNDLE);

    member.send(&larger);
    assert!(from.try_recv().is_err());
    assert_eq!(member.host.unsent, Some(TooLarge { size: MAX_BUNDLE + 1 }));
    member.send(&Bundle::empty(host));
    assert!(from.try_recv().is_ok(), "the connection stays");
    assert!(member.host.unsent.is_some(), "what else is sent does not make up for it");
    member.send(&largest);
    assert_eq!(from.try_recv().unwrap().len(), MAX_BUNDLE);
    assert_eq!(member.host.unsent, None);
}

#[test]
fn a_connection_that_takes_nothing_is_closed_when_so_much_waits() {
    let mut member = member();
    let (to, mut from) = mpsc::channel(WAITING);
    member.connect(to).unwrap();
    let nothing = Bundle::empty(member.host.id);
    for _ in 0..WAITING {
        member.send(&nothing);
    }
    assert!(member.session.is_some());
    member.send(&nothing);
    assert!(member.session.is_none());
    for _ in 0..WAITING {
        assert!(from.try_recv().is_ok(), "what waited is not lost");
    }
}
