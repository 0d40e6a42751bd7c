//! What comes each minute for years is judged without the ledger, and judged all the same.

use std::fs;

use muster_agent::{door::Event, keeper::KeeperError, receipt::Spool};
use muster_proto::{
    bundle::Bundle,
    crypto::{MachineKey, sha256},
    envelope::{Document, Envelope},
    id::HostId,
    link::Acknowledgement,
};

use crate::{
    fleet::keys::machine,
    life::{BORN, Life},
};

/// What is said of the newest receipt, of a host and by whoever has this key.
fn acknowledged(life: &Life, host: HostId, key: &MachineKey) -> Bundle {
    let (number, digest) = life.ledger().receipt.unwrap();
    let word = Acknowledgement { lineage: life.fleet.lineage(), host, number, digest };
    let acknowledgement = Some(Envelope::sign(&word, key));
    Bundle { acknowledgement, ..Bundle::empty(life.twin.id) }
}

fn waiting(life: &Life) -> usize {
    Spool::open(life.directory.path()).unwrap().numbers().unwrap().len()
}

/// Has the keeper take up what has come, and do nothing that may be due after it.
fn take_up(life: &mut Life, bundle: &Bundle) -> Result<(), KeeperError> {
    let (_, trigger) = life.keeper.next_look();
    life.keeper.take_up(Event::Deliver(bundle.encode()), trigger, &mut life.manager)
}

#[test]
fn what_says_only_the_time_and_what_has_arrived_is_taken_without_the_ledger_and_nothing_else_is() {
    let mut life = Life::of(&[("ana", [None, Some(500)])]);
    let (own, other) = (life.twin.id, sha256(&[b"another"]));
    let heartbeat = acknowledged(&life, own, &life.fleet.online);
    let of_another = acknowledged(&life, other, &life.fleet.online);
    let for_another = Bundle { host: other, ..heartbeat.clone() };
    let forged = acknowledged(&life, own, &machine("a thief"));
    let link = life.fleet.bundle(&life.twin);
    let (ledger, aside) = (life.file("ledger"), life.file("aside"));
    fs::rename(&ledger, &aside).unwrap();

    for bundle in [&of_another, &forged, &for_another, &link] {
        let taken = take_up(&mut life, bundle);
        assert!(matches!(taken, Err(KeeperError::NoLedger(_))), "{taken:?}");
    }
    assert_ne!(waiting(&life), 0);
    take_up(&mut life, &heartbeat).unwrap();
    assert_eq!(waiting(&life), 0);
    let heartbeat = life.heartbeat(400);
    take_up(&mut life, &heartbeat).unwrap();
    assert_eq!(life.told(), Some(BORN + 400));

    // Her end is nearer by what was heard.
    fs::rename(&aside, &ledger).unwrap();
    life.until(99);
    life.assert_seen(&[(0, "ana")]);
    life.until(100);
    life.assert_seen(&[(0, "ana"), (100, "")]);
}
