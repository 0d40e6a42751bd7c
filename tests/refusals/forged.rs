//! Fleets and bundles: honest ones, and what can be made of them.

use muster_agent::host::clocks;
use muster_proto::{
    bundle::{Bundle, HistoryProof},
    envelope::{Document, Envelope},
    id::Id,
    link::Link,
    merkle::Tree,
    statement::{Entry, Statement},
    time::Timestamp,
    trust::Duty,
    wire,
};

use crate::{
    contents::staff,
    host::Host as Twin,
    world::{DAY, Shape, World, signed_by},
};

/// Two approver groups, and Alice with a role on every `env=prod` host since an hour ago.
pub fn fleet() -> World {
    fleet_at(clocks::read().wall)
}

/// The same at a time that is given, down to the last byte.
pub fn fleet_at(now: Timestamp) -> World {
    let mut root = Shape::Two.trust_root();
    root.expires = now.plus(730 * DAY);
    let mut world = World::from_root(Shape::Two, &root);
    world.time.0 = now.0 - 3_600;
    staff(&mut world);
    world
}

/// Returns the newest link.
pub fn newest(world: &World) -> Link {
    let envelope = &world.links.last().unwrap().envelope;
    world.chain.trust().verify::<Link>(envelope).unwrap().into_inner()
}

/// Puts another statement into a bundle, in the place of the one with its id if there is one.
pub fn put(bundle: &mut Bundle, statement: &Statement) {
    let is_other = |bytes: &Vec<u8>| Statement::decode(bytes).unwrap().id != statement.id;
    bundle.statements.retain(is_other);
    bundle.statements.push(statement.encode());
}

/// A bundle with a next link that breaks the rules of a directory and is signed all the same:
/// nobody but the quorum itself can make it. The statements are sent as they are given.
pub fn lawless(world: &World, twin: &Twin, statements: &[(Entry, Vec<u8>)]) -> Bundle {
    let mut directory = world.chain.directory().clone();
    for (entry, _) in statements {
        directory.insert(*entry);
    }
    let mut link = world.cut(&[]).unwrap().link;
    link.directory_root = directory.root();
    let places = (1..link.number).map(|number| world.chain.place(number).unwrap());
    let past: Vec<_> = places.map(|place| Tree::History.leaf(place.digest.as_bytes())).collect();
    let mut bundle = world.bundle(twin);
    let ids: Vec<Id> = directory.entries().map(|entry| entry.id).collect();
    bundle.directory = Some(directory.prove(&[&ids[..], &[Id::Host(twin.id)]].concat()));
    bundle.statements.extend(statements.iter().map(|(_, bytes)| bytes.clone()));
    bundle.link = Some(signed_by(&link, Duty::Approver, world.shape.quorum()));
    bundle.history.clear();
    if let Some(floor) = twin.floor {
        let index = usize::try_from(floor.link.number).unwrap() - 1;
        let path = Tree::History.inclusion(&past, index).unwrap();
        let (number, digest) = (floor.link.number, floor.link.digest);
        bundle.history.push(HistoryProof { number, digest, path });
    }
    bundle
}

/// Adds a field that no version knows yet to a document's bytes: number 99, value 1.
pub fn with_unknown_field(mut bytes: Vec<u8>) -> Vec<u8> {
    bytes.extend_from_slice(&[0x98, 0x06, 0x01]);
    bytes
}

/// An envelope of bytes that no type of ours encodes to, yet to be signed.
pub fn envelope_of<T: Document>(payload: Vec<u8>) -> Envelope {
    let payload_type = T::TYPE.to_owned();
    Envelope::try_from(wire::Envelope { payload_type, payload, signatures: Vec::new() }).unwrap()
}
