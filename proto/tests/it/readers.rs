//! Bytes and texts of any kind: readers refuse, and never panic.

use muster_proto::{
    bundle::Bundle,
    directory::{Membership, PrunedTree},
    envelope::{Document, Envelope},
    key::SshPublicKey,
    link::{Link, LinkBody, Proposal, Revocation},
    name::{AbsolutePath, FullName, Line, Login, ObjectName, UnixGroupName},
    selector::Selector,
    statement::{Entry, SourceNetwork, Statement},
    sudo::{RunAsUser, SudoCommand},
    token::JoinToken,
    trust::TrustRoot,
};
use proptest::{collection::vec, prelude::*, sample::Index};

use crate::{
    documents::{samples, token},
    world::{Shape, id, staffed},
};

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    #[test]
    fn no_bytes_make_a_reader_panic(bytes in vec(any::<u8>(), 0..300)) {
        let _ = Bundle::decode(&bytes);
        let _ = TrustRoot::decode(&bytes);
        let _ = Link::decode(&bytes);
        let _ = LinkBody::decode(&bytes);
        let _ = Statement::decode(&bytes);
        let _ = Proposal::decode(&bytes);
        let _ = Revocation::decode(&bytes);
        let _ = Envelope::decode(&bytes);
        let _ = Entry::decode(&bytes);
        let _ = JoinToken::decode(&bytes);
        let _ = SshPublicKey::from_blob(&bytes);
        let _ = PrunedTree { shape: bytes.clone(), hashes: bytes }.recompute();
    }

    #[test]
    fn no_text_makes_a_parser_panic_and_what_parses_reads_back(text in "\\PC{0,40}|[a-z0-9 ,=!()/.\"-]{0,40}") {
        if let Ok(selector) = Selector::parse(&text) {
            prop_assert_eq!(Selector::parse(&selector.to_string()), Ok(selector));
        }
        if let Ok(command) = SudoCommand::parse(&text) {
            prop_assert_eq!(SudoCommand::parse(&command.to_string()), Ok(command));
        }
        let same = |found: Option<&str>| found.is_none_or(|found| found == text);
        prop_assert!(same(Login::parse(&text).ok().as_ref().map(Login::as_str)));
        prop_assert!(same(UnixGroupName::parse(&text).ok().as_ref().map(UnixGroupName::as_str)));
        prop_assert!(same(ObjectName::parse(&text).ok().as_ref().map(ObjectName::as_str)));
        prop_assert!(same(AbsolutePath::parse(&text).ok().as_ref().map(AbsolutePath::as_str)));
        prop_assert!(same(FullName::parse(&text).ok().as_ref().map(FullName::as_str)));
        prop_assert!(same(Line::parse(&text).ok().as_ref().map(Line::as_str)));
        prop_assert!(same(SourceNetwork::parse(&text).ok().as_ref().map(SourceNetwork::as_str)));
        let _ = (RunAsUser::parse(&text), SshPublicKey::parse(&text), JoinToken::parse(&text));
        let _ = SshPublicKey::parse(&format!("ssh-ed25519 {text}"));
        let _ = JoinToken::parse(&format!("muster-join-{text}"));
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 40, ..ProptestConfig::default() })]

    #[test]
    fn spliced_documents_make_no_reader_panic(
        from in any::<Index>(), into in any::<Index>(), at in any::<Index>(), length in 0_usize..80,
    ) {
        let samples = samples();
        let (from, into) = (from.get(&samples), into.get(&samples));
        let at = at.index(into.bytes.len());
        let part = &from.bytes[from.bytes.len().saturating_sub(length)..];
        let spliced = [&into.bytes[..at], part, &into.bytes[at..]].concat();
        for sample in &samples {
            let read = (sample.again)(&spliced);
            prop_assert!(read.is_none_or(|read| read == spliced));
        }
    }
}

#[test]
fn a_tree_as_deep_as_can_be_is_read_and_a_deeper_one_is_not() {
    let mut deep = PrunedTree::default();
    for _ in 0..256 {
        deep.shape.extend_from_slice(&[1, 3]);
        deep.hashes.extend_from_slice(&[7; 32]);
    }
    let mut leaf = deep.clone();
    leaf.shape.push(2);
    leaf.hashes.extend_from_slice(&[0xff; 64]);
    let proved = leaf.recompute().unwrap();
    assert_ne!(proved.lacks(&id("x")), Membership::Absent, "every other place is cut");
    let mut deeper = deep.clone();
    deeper.shape.extend_from_slice(&[1, 0, 0]);
    assert!(deeper.recompute().is_err());
    let inner = PrunedTree { shape: vec![1; 100_000], hashes: Vec::new() };
    assert!(inner.recompute().is_err());
    let token = token(&staffed(Shape::One));
    assert_eq!(JoinToken::decode(&token.encode()), Ok(token));
}
