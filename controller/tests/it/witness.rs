//! The operator's command line against a server that is not honest: its audit log is another one
//! than she saw, or it revokes by itself.
#![expect(clippy::disallowed_methods, reason = "a test lays its own files down")]
#![expect(clippy::disallowed_types, reason = "the command line is run as a program")]

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    process::{Command, Output},
};

use muster_controller::{
    setup,
    tool::{Tool, ToolError, log::LogFault},
};
use muster_proto::{
    crypto::MachineKey,
    envelope::{Document, Envelope},
    link::{LogHead, Revocation, Target},
    merkle::Tree,
    name::Line,
    statement::LeafState,
    wire,
};
use nix::unistd::{Uid, User};

use crate::{
    net::Running,
    world::{NOW, World, id},
};

const FILE: &str = "roles:\n  reader: {unix_groups: {at_least: [adm]}}\n";

/// A fleet that `muster init` made, and the operator who did.
pub(crate) struct Operator {
    dir: tempfile::TempDir,
}

impl Operator {
    pub(crate) fn init() -> Self {
        let operator = Self { dir: tempfile::tempdir().unwrap() };
        let user = User::from_uid(Uid::effective()).unwrap().unwrap().name;
        fs::write(operator.place("passphrase"), "a long and boring passphrase\n").unwrap();
        fs::write(operator.place("roles.yaml"), FILE).unwrap();
        let (data, config) = (operator.place("server/data"), operator.place("muster.toml"));
        fs::create_dir(operator.place("server")).unwrap();
        let mut command = operator.command();
        command.args(["init", "--operator", "ana", "--address", "localhost:7420", "--user", &user]);
        command.arg("--data").arg(data).arg("--config").arg(config);
        command.arg("--recovery-passphrase-file").arg(operator.place("passphrase"));
        let output = command.output().unwrap();
        assert!(output.status.success(), "{output:?}");
        operator
    }

    pub(crate) fn place(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    pub(crate) fn command(&self) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_muster"));
        command.arg("--socket").arg(self.place("server/operator.sock"));
        command.arg("--store").arg(self.place("store"));
        command.arg("--key").arg(self.place("keys/approver"));
        command
    }

    pub(crate) fn run(&self, arguments: &[&str]) -> Output {
        self.command().args(arguments).output().unwrap()
    }

    pub(crate) fn apply(&self, more: &[&str]) -> Output {
        let file = self.place("roles.yaml");
        let basis = ["apply", "--yes", "--no-wait", "-f", file.to_str().unwrap()];
        self.run(&[&basis, more].concat())
    }

    /// Starts a server on this data directory.
    pub(crate) async fn serve(&self, data: &Path) -> Running {
        let dir = tempfile::tempdir().unwrap();
        copy(data, &dir.path().join("data"));
        let server = Running::resume(dir).await;
        let socket = self.place("server/operator.sock");
        let _ = fs::remove_file(&socket);
        std::os::unix::fs::symlink(server.socket(), socket).unwrap();
        server
    }

    fn evidence(&self) -> Vec<String> {
        let found = fs::read_dir(self.place("store/evidence")).unwrap();
        found.map(|entry| fs::read_to_string(entry.unwrap().path()).unwrap()).collect()
    }
}

pub(crate) fn copy(from: &Path, to: &Path) {
    fs::create_dir(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let to = to.join(entry.file_name());
        if entry.path().is_dir() {
            copy(&entry.path(), &to);
        } else {
            fs::copy(entry.path(), to).unwrap();
        }
    }
}

pub(crate) fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_operators_tool_signs_nothing_on_a_log_that_was_rewritten_or_cut() {
    let operator = Operator::init();
    let young = operator.place("server/data");
    let server = operator.serve(&young).await;
    server.token(600).await;
    let status = operator.run(&["status"]);
    assert!(status.status.success(), "{status:?}");
    let seen = fs::read_to_string(operator.place("store/log")).unwrap();
    server.token(600).await;
    assert!(operator.run(&["status"]).status.success(), "an honest log grows");
    assert_ne!(fs::read_to_string(operator.place("store/log")).unwrap(), seen);
    let seen = fs::read_to_string(operator.place("store/log")).unwrap();
    let grown = server.stop().await;

    // The log as it was: entries that were seen are gone.
    let server = operator.serve(&young).await;
    let found = operator.apply(&[]);
    assert_eq!(found.status.code(), Some(1), "{found:?}");
    assert!(text(&found.stderr).contains("it was cut"), "{found:?}");
    server.stop().await;

    // Another log of the same fleet, longer than the one that was seen.
    let data = operator.place("other");
    let key = fs::read(young.join(setup::ONLINE_KEY)).unwrap();
    let root = fs::read(operator.place("store/trust/000000000001")).unwrap();
    setup::create(&data, &key, &Envelope::decode(&root).unwrap(), NOW).await.unwrap();
    let server = operator.serve(&data).await;
    for _ in 0..5 {
        server.token(600).await;
    }
    let found = operator.apply(&[]);
    assert_eq!(found.status.code(), Some(1), "{found:?}");
    assert!(text(&found.stderr).contains("it was rewritten"), "{found:?}");
    server.stop().await;

    assert_eq!(operator.evidence().len(), 2, "both are kept");
    assert_eq!(fs::read_to_string(operator.place("store/log")).unwrap(), seen);
    assert!(fs::read_dir(operator.place("store/signed")).unwrap().next().is_none());

    // The true one again: all goes on.
    let server = operator.serve(&grown.path().join("data")).await;
    let found = operator.apply(&[]);
    assert!(found.status.success(), "{found:?}");
    server.stop().await;
}

#[test]
fn a_log_whose_proof_is_withheld_is_not_believed_and_the_old_head_stays() {
    let world = World::new();
    let dir = tempfile::tempdir().unwrap();
    let tool = Tool::create(dir.path(), &world.trust).unwrap();
    let leaves: Vec<_> = (0..9_u64).map(|n| Tree::Log.leaf(&n.to_be_bytes())).collect();
    let head = |size: usize| {
        let root = Tree::Log.root(&leaves[..size]);
        LogHead { size: size as u64, root, ..world.log.clone() }
    };
    tool.witness(&head(5), &BTreeMap::new()).unwrap();
    let found = tool.witness(&head(9), &BTreeMap::new()).unwrap_err();
    let withheld = LogFault::Withheld { size: 5 };
    assert!(matches!(&found, ToolError::Log { cause, .. } if *cause == withheld), "{found:?}");
    assert_eq!(tool.seen().unwrap().unwrap().head, head(5));
    let proof = Tree::Log.consistency(&leaves, 5).unwrap();
    tool.witness(&head(9), &BTreeMap::from([(5, proof)])).unwrap();
    assert_eq!(tool.seen().unwrap().unwrap().head, head(9));
    assert!(tool.witness(&head(5), &BTreeMap::new()).is_err(), "only forward");
}

#[test]
fn the_head_in_a_link_has_to_be_of_the_log_that_is_shown() {
    let mut world = World::new();
    let dir = tempfile::tempdir().unwrap();
    let mut tool = Tool::create(dir.path(), &world.trust).unwrap();
    let leaf = |word: &str| Tree::Log.leaf(word.as_bytes());
    let head = |leaves: &[_]| {
        let root = Tree::Log.root(leaves);
        LogHead { size: leaves.len() as u64, root, ..world.log.clone() }
    };
    let (signed, shown) = ([leaf("a"), leaf("b")], [leaf("a"), leaf("x"), leaf("c")]);
    let (log, shown_head) = (head(&signed), head(&shown));
    world.log = log;
    let link = world.publish(vec![world.group("ops")]);
    tool.take_link(&link, NOW).unwrap();
    let proofs = BTreeMap::from([(2, Tree::Log.consistency(&shown, 2).unwrap())]);
    let found = tool.witness(&shown_head, &proofs).unwrap_err();
    let rewritten = LogFault::Rewritten { size: 2 };
    assert!(matches!(&found, ToolError::Log { cause, .. } if *cause == rewritten), "{found:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_evil_controllers_revocation_is_shown_as_a_loss_and_kept_only_when_confirmed() {
    let operator = Operator::init();
    let data = operator.place("server/data");
    let server = operator.serve(&data).await;
    assert!(operator.apply(&[]).status.success());
    let tool = Tool::open(&operator.place("store")).unwrap();
    let reader = tool.chain().statements().values().next().unwrap().clone();
    let key = MachineKey::from_pkcs8(&fs::read(data.join(setup::ONLINE_KEY)).unwrap()).unwrap();
    let revocation = Revocation {
        lineage: tool.chain().lineage(),
        id: id("evil"),
        time: NOW,
        reason: Line::parse("").unwrap(),
        target: Target::Statement { id: reader.id, revision: reader.revision },
    };
    let revocation = wire::Envelope::from(&Envelope::sign(&revocation, &key));
    let request = wire::RevokeRequest { revocation: Some(revocation) };
    server.operator().await.revoke(request).await.unwrap();

    // A change of something else does not carry it along.
    let more = "roles:\n  writer: {unix_groups: {at_least: [adm]}}\n";
    fs::write(operator.place("roles.yaml"), more).unwrap();
    let found = operator.apply(&[]);
    assert!(found.status.success(), "{found:?}");
    let shown = text(&found.stdout);
    assert!(shown.contains("the controller itself revoked role `reader`"), "{shown}");
    assert!(!shown.contains("carried into the directory"), "{shown}");
    let state = || {
        let tool = Tool::open(&operator.place("store")).unwrap();
        (tool.chain().statements()[&reader.id].content.state(), tool.chain().losses().len())
    };
    assert_eq!(state(), (LeafState::Live, 1));
    let status = text(&operator.run(&["status"]).stdout);
    assert!(status.contains("the controller itself revoked role `reader`"), "{status}");
    let cure = format!("`muster apply --file PATH --confirm-revocation {}` keeps it", id("evil"));
    assert!(status.contains(&cure), "{status}");

    let found = operator.apply(&["--confirm-revocation", &id("other").to_string()]);
    assert_eq!(found.status.code(), Some(2), "{found:?}");
    let found = operator.apply(&["--confirm-revocation", &id("evil").to_string()]);
    assert!(found.status.success(), "{found:?}");
    let shown = text(&found.stdout);
    assert!(shown.contains("(confirmed by you)") && !shown.contains("--confirm"), "{shown}");
    assert!(shown.contains("carried into the directory by this one:\n- role reader\n"), "{shown}");
    assert!(shown.contains("revoked by the controller itself, confirmed by you"), "{shown}");
    assert_eq!(state(), (LeafState::Revoked, 0));
    let status = text(&operator.run(&["status"]).stdout);
    assert!(!status.contains("the controller itself revoked"), "{status}");
    server.stop().await;
}
