//! Claims about how a signature is made: for what, by which hash, with which flags.

use muster_proto::{
    envelope::{Document, Envelope, Signature},
    link::{Link, Proposal},
    trust::{Duty, TrustRoot},
};

use crate::signatures::link;
use crate::{
    keys::{PLAIN, Signer, Style},
    world::{Shape, World, signer},
};

fn styles() -> Vec<(&'static str, Style)> {
    let namespace = |text: &str| Style { namespace: Some(text.to_owned()), ..PLAIN };
    vec![
        ("git", namespace("git")),
        ("file", namespace("file")),
        ("no namespace", namespace("")),
        ("proposal", namespace(Proposal::TYPE)),
        ("trust root", namespace(TrustRoot::TYPE)),
        ("sha256", Style { hash: "sha256", ..PLAIN }),
        ("reserved", Style { reserved: "x", ..PLAIN }),
    ]
}

#[test]
fn a_signature_made_for_something_else_does_not_count() {
    let world = World::new(Shape::One);
    let link = Envelope::new(&link(&world));
    let trust = world.chain.trust();
    let ana = signer("ana", Duty::Approver);
    let check = |style: &Style| {
        let mut signed = link.clone();
        signed.add(ana.signature(&link, style));
        trust.verify::<Link>(&signed).is_ok()
    };
    assert!(check(&PLAIN));
    for (what, style) in styles() {
        assert!(!check(&style), "{what}");
    }
}

#[test]
fn a_hardware_key_counts_only_when_somebody_touched_it() {
    let mut root = Shape::One.trust_root();
    let ana = Signer::hardware("ana in hardware");
    let keys = root.people.values_mut().next().unwrap();
    keys.retain(|_, duty| *duty != Duty::Approver);
    keys.insert(ana.public(), Duty::Approver);
    let world = World::from_root(Shape::One, &root);
    let link = Envelope::new(&link(&world));
    let check = |style: &Style| {
        let mut signed = link.clone();
        signed.add(ana.signature(&link, style));
        world.chain.trust().verify::<Link>(&signed).is_ok()
    };
    assert!(check(&PLAIN));
    assert!(check(&Style { flags: 5, ..PLAIN }), "touched, and its user verified");
    assert!(!check(&Style { flags: 0, ..PLAIN }), "nobody touched it");
    assert!(!check(&Style { flags: 4, ..PLAIN }), "verified and not touched");
    assert!(!check(&Style { application: "ssh:other", ..PLAIN }), "another application");
    for (what, style) in styles() {
        assert!(!check(&style), "{what}");
    }
    // Flags that were raised after the token signed.
    let untouched = ana.signature(&link, &Style { flags: 0, ..PLAIN });
    let mut bytes = untouched.bytes.clone();
    let flags = bytes.len() - 5;
    bytes[flags] = 1;
    let mut forged = link.clone();
    forged.add(Signature { bytes, ..untouched });
    assert!(world.chain.trust().verify::<Link>(&forged).is_err());
}
