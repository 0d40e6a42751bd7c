//! What the operator's tool keeps of a change that she signs, from its record to its place in the
//! chain.

use muster_controller::tool::{
    Tool, ToolError,
    signing::{Begun, MAX_UNSIGNED, Unfinished, Void},
};
use muster_proto::{
    crypto::sha256,
    envelope::{Document, Envelope, Signature},
    link::{Proposal, Target},
    name::Line,
    statement::Statement,
};

use crate::world::{Key, NOW, World, id, name};

fn begin(world: &World, statements: Vec<Statement>) -> Begun {
    let proposal = Proposal {
        lineage: world.lineage(),
        id: id("proposal"),
        time: NOW,
        reason: Line::parse("a test").unwrap(),
        statements,
        proposer: name("ana"),
    };
    let mut proposal = Envelope::new(&proposal);
    world.approver.sign(&mut proposal);
    let proposals = vec![proposal];
    let log = world.log.clone();
    let candidate = world.chain.cut(&proposals, Vec::new(), world.time, log).unwrap();
    Begun { candidate, proposals }
}

fn sign(world: &World, begun: &Begun) -> muster_proto::link::PublishedLink {
    let mut link = Envelope::new(&begun.candidate.link);
    world.approver.sign(&mut link);
    begun.published(link)
}

fn tool(world: &World) -> (tempfile::TempDir, Tool) {
    let dir = tempfile::tempdir().unwrap();
    let tool = Tool::create(dir.path(), &world.trust).unwrap();
    (dir, tool)
}

#[test]
fn of_one_number_only_the_candidate_that_was_begun_can_be_signed() {
    let world = World::new();
    let (dir, tool) = tool(&world);
    assert_eq!(tool.unfinished().unwrap(), None);
    let first = begin(&world, vec![world.group("ops")]);
    tool.begin_signing(&first).unwrap();
    tool.begin_signing(&first).unwrap();
    let other = begin(&world, vec![world.group("dev")]);
    let refused = tool.begin_signing(&other).unwrap_err();
    let (number, trust_version) = (1, 1);
    assert!(
        matches!(refused, ToolError::AlreadySigned { number: n, trust_version: t }
            if (n, t) == (number, trust_version)),
        "{refused:?}"
    );
    // Whatever happened to the program in between.
    let tool = Tool::open(dir.path()).unwrap();
    assert!(tool.clear_finished().unwrap().is_empty());
    assert_eq!(tool.unfinished().unwrap(), Some(Unfinished::Begun(Box::new(first))));
    assert!(tool.begin_signing(&other).is_err());
}

#[test]
fn what_was_signed_is_kept_until_the_chain_has_it() {
    let world = World::new();
    let (dir, tool) = tool(&world);
    let begun = begin(&world, vec![world.group("ops")]);
    tool.begin_signing(&begun).unwrap();
    let published = sign(&world, &begun);
    tool.keep_signed(&begun.candidate.link, &published).unwrap();
    let mut tool = Tool::open(dir.path()).unwrap();
    assert_eq!(tool.unfinished().unwrap(), Some(Unfinished::Signed(published.clone())));
    tool.take_link(&published, NOW).unwrap();
    assert!(tool.clear_finished().unwrap().is_empty(), "it did not end without a link");
    assert_eq!(tool.unfinished().unwrap(), None);
    for directory in ["signed", "pending"] {
        let left = std::fs::read_dir(dir.path().join(directory)).unwrap().count();
        assert_eq!(left, 0, "{directory}");
    }
}

#[test]
fn a_candidate_that_another_link_overtakes_is_void() {
    let mut world = World::new();
    let (_dir, mut tool) = tool(&world);
    tool.begin_signing(&begin(&world, vec![world.group("ops")])).unwrap();
    let link = world.publish(vec![world.group("dev")]);
    tool.take_link(&link, NOW).unwrap();
    assert_eq!(tool.clear_finished().unwrap(), [Void::Overtaken(1)]);
    assert!(tool.clear_finished().unwrap().is_empty());
    assert_eq!(tool.unfinished().unwrap(), None);
    tool.begin_signing(&begin(&world, vec![world.group("ops")])).unwrap();
}

#[test]
fn a_candidate_that_gives_what_is_revoked_by_now_is_not_signed_again() {
    let world = World::new();
    let (_dir, mut tool) = tool(&world);
    let begun = begin(&world, vec![world.user("eva", 1_001, &[])]);
    tool.begin_signing(&begun).unwrap();
    let target = Target::Key(Key::new("eva").public().fingerprint());
    tool.take_revocation(&world.revocation("stolen", target)).unwrap();
    assert_eq!(tool.clear_finished().unwrap(), [Void::Forbidden(1)]);
    assert_eq!(tool.unfinished().unwrap(), None);
    tool.begin_signing(&begin(&world, vec![world.group("ops")])).unwrap();

    // Once a signature may have left, her word stands: nothing takes it back.
    let begun = begin(&world, vec![world.group("ops")]);
    let published = sign(&world, &begun);
    tool.keep_signed(&begun.candidate.link, &published).unwrap();
    assert!(tool.clear_finished().unwrap().is_empty());
    assert_eq!(tool.unfinished().unwrap(), Some(Unfinished::Signed(published)));
}

#[test]
fn a_change_that_no_message_holds_is_not_signed() {
    let world = World::new();
    let (_dir, tool) = tool(&world);
    let small = begin(&world, vec![world.group("ops")]);
    let of = |padding: usize| {
        let mut begun = small.clone();
        let key = sha256(&[b"padding"]);
        begun.proposals[0].add(Signature { key, bytes: vec![0; padding] });
        let link = Envelope::new(&begun.candidate.link);
        let bytes = begun.published(link).encode().len();
        (begun, bytes)
    };
    let overhead = of(MAX_UNSIGNED).1 - MAX_UNSIGNED;
    let (over, bytes) = of(MAX_UNSIGNED - overhead + 1);
    assert_eq!(bytes, MAX_UNSIGNED + 1);
    let refused = tool.begin_signing(&over).unwrap_err();
    assert!(matches!(refused, ToolError::TooLarge { bytes: b } if b == bytes), "{refused:?}");
    assert_eq!(tool.unfinished().unwrap(), None);
    let (fits, bytes) = of(MAX_UNSIGNED - overhead);
    assert_eq!(bytes, MAX_UNSIGNED);
    tool.begin_signing(&fits).unwrap();
}

#[test]
fn a_record_that_does_not_read_back_is_told_and_not_passed_over() {
    let mut world = World::new();
    let (dir, mut tool) = tool(&world);
    tool.begin_signing(&begin(&world, vec![world.group("ops")])).unwrap();
    let path = dir.path().join("signed/1-000000000001");
    let bytes = std::fs::read(&path).unwrap();
    for cut in [&bytes[..bytes.len() - 1], &bytes[..4], b""] {
        std::fs::remove_file(&path).unwrap();
        muster_controller::tool::write(&path, cut).unwrap();
        assert!(matches!(tool.unfinished(), Err(ToolError::Begun(_))), "{}", cut.len());
    }
    // Once its number is taken it stands in nobody's way.
    let link = world.publish(vec![world.group("dev")]);
    tool.take_link(&link, NOW).unwrap();
    assert!(tool.clear_finished().unwrap().is_empty());
    assert!(!path.exists());
}
