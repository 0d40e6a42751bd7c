//! A log that begins anew after a restore: what was lost cannot be proved, so every operator says
//! for herself that she goes on with it, and it has to follow something that she saw.
#![expect(clippy::disallowed_methods, reason = "a test lays its own files down")]

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    process::Output,
};

use muster_controller::{
    audit::Beginning,
    backup,
    tool::{Tool, ToolError, log::LogFault},
};
use muster_proto::{id::Digest, link::LogHead, merkle::Tree};

use crate::{
    backup::config_file,
    net::Running,
    witness::{Operator, text},
    world::{NOW, World},
};

fn apply(operator: &Operator, role: &str) -> Output {
    let yaml = format!("roles:\n  {role}: {{unix_groups: {{at_least: [adm]}}}}\n");
    fs::write(operator.place("roles.yaml"), yaml).unwrap();
    operator.apply(&[])
}

fn newest(operator: &Operator) -> u64 {
    let tool = Tool::open(&operator.place("store")).unwrap();
    tool.chain().newest().map_or(0, |link| link.number)
}

async fn backed_up(operator: &Operator, server: &Running, name: &str) -> PathBuf {
    let file = operator.place(name);
    backup::backup(&config_file(server.dir.path()), &file, NOW).await.unwrap();
    file
}

/// A server from a backup, and the name of the log that it began.
async fn restored(operator: &Operator, file: &Path, name: &str) -> (Running, String) {
    let (data, config) = (operator.place(name), operator.place(&format!("{name}.toml")));
    let restored = backup::restore(file, &data, &config, None, NOW).await.unwrap();
    (operator.serve(&data).await, restored.log.origin)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restored_fleet_goes_on_once_its_operator_accepts_the_log_that_begins_anew() {
    let operator = Operator::init();
    let server = operator.serve(&operator.place("server/data")).await;
    assert!(apply(&operator, "one").status.success());
    let first = backed_up(&operator, &server, "first.tar").await;
    server.token(600).await;
    assert!(apply(&operator, "two").status.success());
    server.stop().await;

    // Change 2 was signed on entries that are lost: it is taken back, and nothing more is signed.
    let (server, origin) = restored(&operator, &first, "again").await;
    let refused = apply(&operator, "three");
    assert_eq!(refused.status.code(), Some(1), "{refused:?}");
    let said = text(&refused.stderr);
    assert!(said.contains("was set back to before change 2; giving back"), "{said}");
    assert!(!said.contains("does not take"), "{said}");
    let cure = format!("`muster status --accept-log {origin}` goes on with the log");
    assert!(said.contains(&cure), "{said}");
    assert_eq!(newest(&operator), 2);
    let status = operator.run(&["status"]);
    assert!(status.status.success() && text(&status.stderr).contains(&cure), "{status:?}");
    let other = operator.run(&["status", "--accept-log", "muster/other"]);
    assert_eq!(other.status.code(), Some(2), "{other:?}");
    assert_eq!(apply(&operator, "three").status.code(), Some(1));

    let accepted = operator.run(&["status", "--accept-log", &origin]);
    assert!(accepted.status.success(), "{accepted:?}");
    let said = text(&accepted.stderr);
    assert!(said.contains("entries of it that you saw and that are gone: "), "{said}");
    assert!(!said.contains("are gone: 0"), "{said}");
    assert!(!said.contains("warning"), "{said}");
    let third = apply(&operator, "three");
    assert!(third.status.success() && !text(&third.stderr).contains("accept-log"), "{third:?}");
    assert_eq!(newest(&operator), 3);

    // A second time, from a backup of what was restored.
    let second = backed_up(&operator, &server, "second.tar").await;
    server.token(600).await;
    assert!(apply(&operator, "four").status.success());
    server.stop().await;
    let (server, origin) = restored(&operator, &second, "twice").await;
    assert_eq!(apply(&operator, "five").status.code(), Some(1));
    let accepted = operator.run(&["status", "--accept-log", &origin]);
    assert!(accepted.status.success(), "{accepted:?}");
    assert!(apply(&operator, "five").status.success());
    assert_eq!(newest(&operator), 5);
    server.stop().await;

    // And from the first again, which knows of neither log since.
    let (server, origin) = restored(&operator, &first, "thrice").await;
    assert_eq!(apply(&operator, "six").status.code(), Some(1));
    let accepted = operator.run(&["status", "--accept-log", &origin]);
    assert!(accepted.status.success(), "{accepted:?}");
    assert!(apply(&operator, "six").status.success());
    assert_eq!(newest(&operator), 6);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_log_that_follows_one_that_nobody_saw_is_followed_back_to_one_that_was_seen() {
    let operator = Operator::init();
    let server = operator.serve(&operator.place("server/data")).await;
    assert!(apply(&operator, "one").status.success());
    let first = backed_up(&operator, &server, "first.tar").await;
    server.stop().await;
    let (server, unseen) = restored(&operator, &first, "again").await;
    server.token(600).await;
    let second = backed_up(&operator, &server, "second.tar").await;
    server.stop().await;
    let (server, origin) = restored(&operator, &second, "twice").await;
    assert_ne!(unseen, origin);
    let accepted = operator.run(&["status", "--accept-log", &origin]);
    assert!(accepted.status.success(), "{accepted:?}");
    assert!(apply(&operator, "two").status.success());
    server.stop().await;
}

fn fault<T>(found: Result<T, ToolError>) -> LogFault {
    match found {
        Err(ToolError::Log { cause, kept }) => {
            assert!(kept.exists(), "it is kept as evidence");
            cause
        }
        Err(other) => panic!("{other}"),
        Ok(_) => panic!("it is accepted"),
    }
}

#[test]
fn a_new_log_that_names_a_head_that_nobody_saw_is_refused_even_when_it_is_accepted() {
    let world = World::new();
    let dir = tempfile::tempdir().unwrap();
    let tool = Tool::create(dir.path(), &world.trust).unwrap();
    let leaves = |word: &str| -> Vec<Digest> {
        (0..9_u64).map(|n| Tree::Log.leaf(format!("{word} {n}").as_bytes())).collect()
    };
    let (true_log, false_log) = (leaves("true"), leaves("false"));
    let head = |leaves: &[Digest]| LogHead {
        size: leaves.len() as u64,
        root: Tree::Log.root(leaves),
        ..world.log.clone()
    };
    let begun = |last: LogHead| {
        let beginning = Beginning { salt: [9; 16], last, time: NOW };
        let origin = beginning.origin(world.lineage());
        let new = LogHead { origin, size: 1, root: Tree::Log.root(&[beginning.leaf()]) };
        (new, vec![beginning])
    };
    let proof = |leaves: &[Digest]| {
        let proof = Tree::Log.consistency(leaves, 5).unwrap();
        BTreeMap::from([((world.log.origin.clone(), 5), proof)])
    };
    let none = BTreeMap::new();
    tool.witness(&head(&true_log[..5]), &BTreeMap::new()).unwrap();
    let seen = tool.seen().unwrap();

    let (new, how) = begun(head(&false_log[..7]));
    let found = fault(tool.accept_log(&new, &how, &proof(&false_log[..7])));
    assert_eq!(found, LogFault::Rewritten { size: 5 });
    let (new, how) = begun(head(&false_log[..5]));
    assert_eq!(fault(tool.accept_log(&new, &how, &none)), LogFault::Rewritten { size: 5 });
    let (new, how) = begun(head(&true_log[..7]));
    assert_eq!(fault(tool.accept_log(&new, &how, &none)), LogFault::Withheld { size: 5 });
    // Even if it was so: all that she saw would be gone, and nothing shows it.
    let (new, how) = begun(head(&true_log[..4]));
    let unseen = LogFault::Unseen { origin: world.log.origin.clone(), size: 4 };
    assert_eq!(fault(tool.accept_log(&new, &how, &none)), unseen);
    // The name is another beginning's, or nobody's.
    let (_, how) = begun(head(&true_log[..5]));
    let unfounded = LogFault::Unfounded { origin: new.origin.clone() };
    assert_eq!(fault(tool.accept_log(&new, &how, &none)), unfounded);
    assert_eq!(fault(tool.accept_log(&new, &[], &none)), unfounded);
    assert_eq!(tool.seen().unwrap(), seen, "what was refused changes nothing");

    // What names the very head that was seen is good, and what was left is not gone back to.
    let (new, how) = begun(head(&true_log[..5]));
    assert!(matches!(fault(tool.witness(&new, &none_of())), LogFault::Origin { .. }));
    let accepted = tool.accept_log(&new, &how, &none).unwrap();
    assert_eq!(accepted.lost(), [(world.log.origin.as_str(), 0)]);
    tool.witness(&new, &none_of()).unwrap();
    let forged = LogHead { root: Digest::new([1; 32]), ..new };
    assert_eq!(fault(tool.witness(&forged, &none_of())), LogFault::Rewritten { size: 1 });
    let old = head(&true_log[..7]);
    let left = LogFault::Left { origin: world.log.origin.clone() };
    assert_eq!(fault(tool.accept_log(&old, &how, &none)), left);
}

fn none_of() -> BTreeMap<u64, Vec<Digest>> {
    BTreeMap::new()
}
