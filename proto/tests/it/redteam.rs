//! A controller gone bad: it holds every online key, one approver's key where one is not a quorum,
//! all documents that were ever made and the wire. It recombines, replays, withholds and forges at
//! random, and hosts listen to nobody else.

use std::collections::BTreeSet;

use muster_proto::{
    bundle::{Bundle, HistoryProof},
    crypto::sha256,
    derive::{Circumstances, derive},
    desired::Grant,
    directory::Directory,
    envelope::{Document, Envelope},
    id::{Id, Kind},
    link::{Link, LinkRef, Target},
    statement::{Content, Entry, Statement},
    time::Now,
    trust::Duty,
};

use crate::{
    host::Host,
    world::{
        SHAPES, Shape, World, assignment, group, id, log_head, role, signed_by, staffed,
        unix_group, user,
    },
};

/// Numbers from a seed, the same in every run.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: usize) -> usize {
        self.0 += 1;
        let digest = sha256(&[&self.0.to_be_bytes()]);
        let number = u64::from_be_bytes(digest.as_bytes()[..8].try_into().unwrap());
        usize::try_from(number % sides as u64).unwrap()
    }

    fn once_in(&mut self, sides: usize) -> bool {
        self.roll(sides) == 0
    }

    fn pick<'a, T>(&mut self, from: &'a [T]) -> &'a T {
        let at = self.roll(from.len());
        &from[at]
    }
}

/// A year of an honest fleet: joiners, movers, leavers, a narrowed role, folds, a rotation.
fn history(shape: Shape) -> World {
    let mut world = staffed(shape);
    world.publish(vec![
        (id("bea"), user("bea", 10_002, &["bea key"], &[])),
        (id("beas"), assignment("beas", "bea", "admin", "all")),
        (id("web"), unix_group("web", 20_001)),
    ]);
    world.publish(vec![(id("admin"), role("admin", &["/usr/bin/id"]))]);
    world.publish(vec![
        (id("carl"), user("carl", 10_003, &["carl key", "lost key"], &["dba", "idle"])),
        (id("idle"), group("idle")),
        (id("beas"), assignment("beas", "bea", "admin", "env=dev")),
    ]);
    world.revoke("lost", Target::Key(crate::world::key("lost key").fingerprint()));
    world.revoke("bea", Target::Statement { id: id("bea"), revision: 1 });
    world.publish(vec![(id("alice"), user("alice", 10_001, &["second key"], &["dba"]))]);
    world.rotate(|root| root.stale_after += 1);
    world.publish(vec![(id("carl"), user("carl", 10_003, &["carl key"], &["idle"]))]);
    world.publish(vec![
        (id("alice"), Content::Removal(Kind::User)),
        (id("carls"), assignment("carls", "carl", "admin", "env=prod")),
    ]);
    world.publish(vec![(id("admin"), role("admin", &["/usr/bin/psql"]))]);
    world
}

/// What the controller has to work with.
struct Loot<'a> {
    world: &'a World,
    statements: Vec<Statement>,
    ids: Vec<Id>,
    forged: (Vec<Envelope>, Directory),
}

fn loot(world: &World) -> Loot<'_> {
    let mut statements: Vec<Statement> = Vec::new();
    for link in &world.links {
        for statement in link.after.statements().values() {
            if !statements.contains(statement) {
                statements.push(statement.clone());
            }
        }
    }
    // Its own: an evil user and a wide role, in a directory of its own.
    let evil = [
        (id("evil"), user("evil", 10_666, &["evil key"], &["dba"])),
        (id("admin"), role("admin", &["ALL"])),
        (id("alice"), user("alice", 10_001, &["evil key"], &["dba"])),
        (id("dbas"), assignment("dbas", "dba", "admin", "all")),
    ]
    .map(|(id, content)| world.next(id, content));
    let mut directory = world.chain.directory().clone();
    evil.iter().for_each(|statement| directory.insert(Entry::of(statement)));
    let honest = world.cut(&[]).unwrap().link;
    let link = Link { directory_root: directory.root(), ..honest };
    let mut forged = vec![
        Envelope::sign(&link, &world.online),
        signed_by(&link, Duty::Proposer, &["ana", "bob", "cem", "dia", "eve", "fay"]),
        signed_by(&link, Duty::Root, &["ana", "bob", "cem", "dia", "eve", "fay"]),
        Envelope::new(&link),
    ];
    if world.shape == Shape::Two {
        forged.push(signed_by(&link, Duty::Approver, &["ana", "bob", "cem", "dia"]));
    }
    let last = world.links.last().unwrap();
    let mut borrowed = Envelope::new(&link);
    last.envelope.signatures().iter().for_each(|signature| borrowed.add(signature.clone()));
    forged.push(borrowed);
    statements.extend(evil);
    let mut ids: Vec<Id> = statements.iter().map(|statement| statement.id).collect();
    ids.sort();
    ids.dedup();
    ids.push(id("nobody"));
    Loot { world, statements, ids, forged: (forged, directory) }
}

impl Loot<'_> {
    fn bundle(&self, host: &Host, dice: &mut Dice) -> Vec<u8> {
        let Self { world, statements, ids, .. } = self;
        let number = dice.roll(world.links.len()) + 1;
        let published = &world.links[number - 1];
        let mut bundle = Bundle::empty(host.id);
        let known = usize::try_from(host.trust.version).unwrap();
        let first = if dice.once_in(8) { dice.roll(2) } else { known.min(world.trust_roots.len()) };
        if !dice.once_in(3) {
            bundle.trust_roots = world.trust_roots[first..].to_vec();
        }
        bundle.link = (!dice.once_in(20)).then(|| published.envelope.clone());
        let mut directory = published.after.directory();
        if dice.once_in(6) {
            bundle.link = Some(dice.pick(&self.forged.0).clone());
        }
        if dice.once_in(6) {
            directory = dice.pick(&world.links).after.directory();
        } else if dice.once_in(6) {
            directory = &self.forged.1;
        }
        // Mostly what the link's directory holds, less what is withheld; now and then anything.
        let withheld = dice.roll(4) + 1;
        for statement in published.after.statements().values() {
            if host.concerns(statement) && dice.roll(8) >= withheld {
                bundle.statements.push(statement.encode());
            }
        }
        while dice.once_in(4) {
            bundle.statements.push(dice.pick(statements).encode());
        }
        while dice.once_in(6) {
            bundle.absent.insert(*dice.pick(ids));
        }
        let mut shown = ids.clone();
        if dice.once_in(8) {
            shown.retain(|_| !dice.once_in(4));
        }
        if !dice.once_in(12) {
            shown.push(Id::Host(host.id));
        }
        bundle.directory = Some(directory.prove(&shown));
        for old in 1..number as u64 {
            if !dice.once_in(12) {
                let LinkRef { digest, .. } = world.chain.place(old).unwrap();
                let path = published.after.inclusion(old).unwrap();
                bundle.history.push(HistoryProof { number: old, digest, path });
            }
        }
        for revocation in &world.revocations {
            if dice.once_in(3) {
                bundle.revocations.push(revocation.clone());
            }
        }
        if dice.once_in(5) {
            // One of its own: of any target, under any id that it knows.
            let target = Target::Statement { id: *dice.pick(ids), revision: 1 };
            let tag = *dice.pick(&["lost", "bea", "other"]);
            let own = world.revocation(tag, target);
            bundle.revocations.push(Envelope::sign(&own, &world.online));
        }
        let mut bytes = bundle.encode();
        if dice.once_in(10) {
            let at = dice.roll(bytes.len());
            bytes[at] ^= 1 << dice.roll(8);
        }
        bytes
    }
}

/// Everything that the directory after the host's floor gives there, by what the host knows.
fn approved(world: &World, host: &Host) -> BTreeSet<Grant> {
    let Some(floor) = host.floor else { return BTreeSet::new() };
    let index = usize::try_from(floor.link.number).unwrap() - 1;
    let circumstances = Circumstances {
        host: host.id,
        labels: &host.labels,
        revocations: &host.revocations,
        now: Now::at(host.now),
    };
    derive(world.links[index].after.statements(), &circumstances)
}

#[test]
fn a_stolen_controller_cannot_grant() {
    for (seed, shape) in SHAPES.into_iter().enumerate() {
        let world = history(shape);
        let loot = loot(&world);
        let mut dice = Dice(seed as u64 * 1_000_000);
        let (mut accepted, mut rose, mut granted) = (0, 0, 0);
        for campaign in 0..60 {
            let mut host = Host::new(&world, "db1");
            for _ in 0..40 {
                let before = host.clone();
                let bytes = loot.bundle(&host, &mut dice);
                if host.take_bytes(&bytes).is_err() {
                    assert_eq!(host.held, before.held);
                    continue;
                }
                accepted += 1;
                let number = |host: &Host| host.floor.map_or(0, |floor| floor.link.number);
                assert!(number(&host) >= number(&before), "the floor fell");
                rose += usize::from(number(&host) > number(&before));
                if let Some(floor) = host.floor {
                    assert_eq!(world.chain.place(floor.link.number), Some(floor.link));
                }
                let gained: BTreeSet<&Grant> = host.held.difference(&before.held).collect();
                granted += gained.len();
                let approved = approved(&world, &host);
                for grant in gained {
                    assert!(approved.contains(grant), "{shape:?} {campaign}: {grant:?}");
                }
            }
            // Whatever it did, honest bundles repair it.
            host.revocations = world.chain.revocations().clone();
            let mut bundle = world.bundle(&host);
            bundle.revocations.clear();
            host.take(&bundle).unwrap();
            assert_eq!(host.held, approved(&world, &host), "{shape:?} {campaign}");
        }
        assert!(accepted > 100 && rose > 100 && granted > 100, "{accepted} {rose} {granted}");
    }
}

#[test]
fn a_forged_directory_is_refused_whoever_signed_it_below_the_quorum() {
    for shape in SHAPES {
        let world = history(shape);
        let loot = loot(&world);
        let mut host = Host::new(&world, "db1");
        host.take(&world.bundle(&host)).unwrap();
        let evil: Vec<Vec<u8>> =
            loot.statements[loot.statements.len() - 4..].iter().map(Document::encode).collect();
        for forged in &loot.forged.0 {
            let mut bundle = world.bundle(&host);
            bundle.link = Some(forged.clone());
            bundle.statements.clone_from(&evil);
            bundle.directory =
                Some(loot.forged.1.prove(&[&loot.ids[..], &[Id::Host(host.id)]].concat()));
            assert!(host.clone().take(&bundle).is_err());
        }
        assert_eq!(world.cut(&[]).unwrap().link.log, log_head());
    }
}
