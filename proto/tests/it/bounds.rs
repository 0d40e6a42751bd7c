//! Claims about what is refused for its size alone, before it is read: each at the bound and one
//! beyond it.

use muster_proto::{
    bundle::Bundle,
    convert::{
        MAX_DRIFT, MAX_DRIFT_WORD, MAX_PARTS, MAX_RECEIPT, MAX_RECEIPT_PARTS, MAX_STATEMENT,
    },
    crypto::sha256,
    drift::Drift,
    envelope::{Document, Signature},
    id::Digest,
    inventory::{Inventory, LocalAccount, LocalPassword},
    receipt::{Finding, FindingKind, Outcome, Receipt},
    statement::{Content, Statement},
};

use crate::{
    documents::drift,
    signatures::receipt,
    world::{SHAPES, Shape, World, id, staffed, user},
};

/// Says why the bytes are refused; nothing if they are not.
fn refusal<T: Document>(bytes: &[u8]) -> Option<String> {
    let malformed = T::decode(bytes).err()?;
    std::error::Error::source(&malformed).map(ToString::to_string)
}

fn many() -> String {
    format!("they have more than {MAX_PARTS} parts")
}

#[test]
fn a_bundle_of_more_parts_than_any_honest_one_is_not_read() {
    let mut bundle = Bundle::empty(sha256(&[b"db1"]));
    // The host is a part too.
    bundle.statements = vec![Vec::new(); MAX_PARTS - 1];
    assert_eq!(refusal::<Bundle>(&bundle.encode()), None);
    bundle.statements.push(Vec::new());
    assert_eq!(refusal::<Bundle>(&bundle.encode()), Some(many()));
}

#[test]
fn parts_hidden_in_an_envelope_of_a_bundle_count() {
    for shape in SHAPES {
        let world = staffed(shape);
        let mut bundle = Bundle::empty(sha256(&[b"db1"]));
        let mut envelope = world.links[0].envelope.clone();
        // The host, the envelope, and in it the type, the payload and the signatures.
        let parts = 4 + envelope.signatures().len();
        bundle.statements = vec![Vec::new(); MAX_PARTS - parts];
        bundle.link = Some(envelope.clone());
        assert_eq!(refusal::<Bundle>(&bundle.encode()), None, "{shape:?}");
        envelope.add(Signature { key: Digest::new([255; 32]), bytes: vec![1] });
        bundle.link = Some(envelope);
        assert_eq!(refusal::<Bundle>(&bundle.encode()), Some(many()), "{shape:?}");
    }
}

/// A statement about a user in this many directory groups.
fn member(world: &World, groups: usize) -> Statement {
    let Content::User(mut ana) = user("ana", 10_001, &["ana key"], &[]) else { panic!("no user") };
    ana.groups = (0..groups).map(|number| id(&format!("group {number}"))).collect();
    world.next(id("ana"), Content::User(ana))
}

#[test]
fn a_statement_of_more_bytes_than_any_honest_one_is_not_read() {
    let world = World::new(Shape::One);
    let size = |groups| member(&world, groups).encode().len();
    let one = size(2) - size(1);
    // Lengths take more bytes as they grow, so the last few are tried.
    let near = (MAX_STATEMENT - size(0)) / one - 2;
    let most = (near..near + 9).take_while(|groups| size(*groups) <= MAX_STATEMENT).last().unwrap();
    let found = Statement::decode(&member(&world, most).encode()).unwrap();
    assert_eq!(found, member(&world, most));
    let beyond = member(&world, most + 1).encode();
    let why = format!("they are {}; at most {MAX_STATEMENT} are read", beyond.len());
    assert_eq!(refusal::<Statement>(&beyond), Some(why));
}

fn outcome(login: &str, words: usize) -> Outcome {
    Outcome {
        action: "account-unlocked-and".to_owned(),
        subject: login.to_owned(),
        detail: "x".repeat(words / 2),
        failure: Some("x".repeat(words)),
    }
}

#[test]
fn a_receipt_of_more_bytes_than_any_honest_one_is_not_read() {
    let world = World::new(Shape::One);
    let finding = |length| Finding {
        kind: FindingKind::Conflict.into(),
        subject: "ana".to_owned(),
        detail: "x".repeat(length),
    };
    let sized =
        |length| Receipt { findings: vec![finding(length)], ..receipt(&world, sha256(&[b"db1"])) };
    let rest = sized(MAX_RECEIPT).encode().len() - MAX_RECEIPT;
    let most = sized(MAX_RECEIPT - rest).encode();
    assert_eq!(most.len(), MAX_RECEIPT);
    assert_eq!(refusal::<Receipt>(&most), None);
    let beyond = sized(MAX_RECEIPT - rest + 1).encode();
    let why = format!("they are {}; at most {MAX_RECEIPT} are read of a receipt", beyond.len());
    assert_eq!(refusal::<Receipt>(&beyond), Some(why));
}

#[test]
fn a_receipt_of_more_parts_than_any_honest_one_is_not_read() {
    let world = World::new(Shape::One);
    let nothing = Outcome {
        action: String::new(),
        subject: String::new(),
        detail: String::new(),
        failure: None,
    };
    let mut receipt = receipt(&world, sha256(&[b"db1"]));
    // Lineage, host, number, time, trust version, mode, trigger and what is left to do.
    receipt.outcomes = vec![nothing.clone(); MAX_RECEIPT_PARTS - 8];
    assert_eq!(refusal::<Receipt>(&receipt.encode()), None);
    receipt.outcomes.push(nothing);
    let why = format!("they have more than {MAX_RECEIPT_PARTS} parts, and are a receipt");
    assert_eq!(refusal::<Receipt>(&receipt.encode()), Some(why));
}

#[test]
fn a_receipt_of_a_thousand_accounts_where_everything_failed_fits_twice() {
    let world = World::new(Shape::One);
    let mut receipt = receipt(&world, sha256(&[b"db1"]));
    for number in 0..1_000 {
        let login = format!("{number:a>31}");
        receipt.outcomes.extend((0..5).map(|_| outcome(&login, 200)));
        receipt.findings.push(Finding {
            kind: FindingKind::Conflict.into(),
            subject: login,
            detail: "x".repeat(120),
        });
    }
    receipt.findings.sort();
    let bytes = receipt.encode();
    assert!(bytes.len() < MAX_RECEIPT / 2, "{}", bytes.len());
    assert_eq!(Receipt::decode(&bytes), Ok(receipt));
}

#[test]
fn a_receipt_tells_no_more_drift_than_an_honest_one_and_in_no_longer_words() {
    let world = World::new(Shape::One);
    let of = |count: usize, word: &str| {
        let drift = Drift { subject: word.to_owned(), ..drift() };
        let receipt = Receipt { drift: vec![drift; count], ..receipt(&world, sha256(&[b"db1"])) };
        Receipt::decode(&receipt.encode()).is_ok()
    };
    assert!(of(MAX_DRIFT, ""));
    assert!(!of(MAX_DRIFT + 1, ""));
    assert!(of(1, &"x".repeat(MAX_DRIFT_WORD)));
    assert!(!of(1, &"x".repeat(MAX_DRIFT_WORD + 1)));
}

#[test]
fn parts_hidden_in_the_accounts_that_a_receipt_tells_count() {
    let nobody = LocalAccount {
        login: String::new(),
        uid: 0,
        name: String::new(),
        shell: String::new(),
        password: LocalPassword::None,
        shut: false,
        keys: Vec::new(),
        root_by: Vec::new(),
        unknown: Vec::new(),
        owned: false,
    };
    let world = World::new(Shape::One);
    let with_keys = |keys: usize| {
        let nobody = LocalAccount { keys: vec![String::new(); keys], ..nobody.clone() };
        let inventory = Some(Inventory { accounts: vec![nobody], more: 0 });
        Receipt { inventory, ..receipt(&world, sha256(&[b"db1"])) }
    };
    // Eight of the receipt's own, the inventory, the account in it, and its password.
    let most = MAX_RECEIPT_PARTS - 8 - 3;
    assert_eq!(refusal::<Receipt>(&with_keys(most).encode()), None);
    let why = format!("they have more than {MAX_RECEIPT_PARTS} parts, and are a receipt");
    assert_eq!(refusal::<Receipt>(&with_keys(most + 1).encode()), Some(why));
}
