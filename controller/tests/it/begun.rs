//! The operator's command line when something fails between her decision and the controller: a
//! signature that does not come, a program that is killed, a controller that refuses, hides or lies.
#![expect(clippy::disallowed_methods, reason = "a test lays its own files down")]
#![expect(clippy::disallowed_types, reason = "the command line is run as a program")]

use std::{
    fs,
    os::unix::{fs::PermissionsExt, process::ExitStatusExt},
    process::{Command, Output},
};

use muster_controller::tool::{
    Tool,
    known::Hosts,
    signing::{Begun, Unfinished},
};
use muster_proto::{
    chain::Chain,
    crypto::sha256,
    envelope::{Document, Envelope},
    id::Digest,
    link::{Link, LogHead},
    merkle::Tree,
    name::Line,
};

use crate::{
    witness::{Operator, copy, text},
    world::{Key, NOW},
};

/// Signs as ssh-keygen does, but for links when it was told to fail or to kill who called it.
const SIGNER: &str = "#!/bin/sh
case \"$*\" in *TYPE*)
  if rm \"$0.fail\" 2>/dev/null; then echo 'nobody touched it' >&2; exit 1; fi
  if rm \"$0.kill\" 2>/dev/null; then kill -KILL $PPID; exit 1; fi;;
esac
PATH=${PATH#*:} exec ssh-keygen \"$@\"
";

/// An operator whose signer can be told to fail.
struct Clumsy(Operator);

impl Clumsy {
    fn new() -> Self {
        let operator = Operator::init();
        let (directory, signer) = (operator.place("bin"), operator.place("bin/ssh-keygen"));
        fs::create_dir(directory).unwrap();
        fs::write(&signer, SIGNER.replace("TYPE", Link::TYPE)).unwrap();
        fs::set_permissions(&signer, fs::Permissions::from_mode(0o755)).unwrap();
        Self(operator)
    }

    fn will(&self, what: &str) {
        fs::write(self.0.place(&format!("bin/ssh-keygen.{what}")), "").unwrap();
    }

    fn command(&self) -> Command {
        let mut command = self.0.command();
        let path = std::env::var("PATH").unwrap();
        command.env("PATH", format!("{}:{path}", self.0.place("bin").display()));
        command
    }

    fn apply(&self, yaml: &str) -> Output {
        let file = self.0.place("change.yaml");
        fs::write(&file, yaml).unwrap();
        let mut command = self.command();
        command.args(["apply", "--yes", "--no-wait", "--file"]).arg(file);
        command.output().unwrap()
    }

    fn tool(&self) -> Tool {
        Tool::open(&self.0.place("store")).unwrap()
    }

    fn begun(&self) -> Begun {
        match self.tool().unfinished().unwrap() {
            Some(Unfinished::Begun(begun)) => *begun,
            other => panic!("{other:?}"),
        }
    }
}

fn role(name: &str) -> String {
    format!("roles:\n  {name}: {{unix_groups: {{at_least: [adm]}}}}\n")
}

fn digest_of(chain: &Chain, number: u64) -> Digest {
    chain.place(number).unwrap().digest
}

#[tokio::test(flavor = "multi_thread")]
async fn a_signature_that_failed_is_made_again_over_the_same_change() {
    let operator = Clumsy::new();
    let server = operator.0.serve(&operator.0.place("server/data")).await;
    operator.will("fail");
    let failed = operator.apply(&role("reader"));
    assert_eq!(failed.status.code(), Some(1), "{failed:?}");
    let said = text(&failed.stderr);
    assert!(said.contains("ssh-keygen could not sign"), "{said}");
    assert!(said.contains("hint: nothing was published; run the command again"), "{said}");
    let begun = operator.begun();

    // Reading goes on, and tells of it.
    let status = operator.0.run(&["status"]);
    assert!(status.status.success(), "{status:?}");
    assert!(text(&status.stderr).contains("you began to sign change 1"), "{status:?}");

    let again = operator.apply(&role("reader"));
    assert!(again.status.success(), "{again:?}");
    assert!(text(&again.stderr).contains("you began to sign change 1 ("), "{again:?}");
    let shown = text(&again.stdout);
    assert!(shown.contains("+ create role reader"), "{shown}");
    assert!(shown.contains("Nothing to change"), "{shown}");
    let tool = operator.tool();
    assert_eq!(tool.chain().newest().unwrap().number, 1);
    assert_eq!(digest_of(tool.chain(), 1), begun.candidate.link.digest());
    assert_eq!(tool.unfinished().unwrap(), None);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_is_killed_before_the_signature_goes_on_with_the_same_change_and_then_another() {
    let operator = Clumsy::new();
    let server = operator.0.serve(&operator.0.place("server/data")).await;
    operator.will("kill");
    let killed = operator.apply(&role("reader"));
    assert_eq!(killed.status.signal(), Some(9), "{killed:?}");
    let begun = operator.begun();
    let other = operator.apply(&role("writer"));
    assert!(other.status.success(), "{other:?}");
    let tool = operator.tool();
    assert_eq!(tool.chain().newest().unwrap().number, 2);
    assert_eq!(digest_of(tool.chain(), 1), begun.candidate.link.digest());
    let mut names: Vec<_> =
        tool.chain().statements().values().filter_map(|s| s.content.name()).collect();
    names.sort_unstable();
    assert_eq!(names, ["reader", "writer"]);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_change_that_the_controller_refuses_hinders_other_changes_and_no_taking_away() {
    let operator = Clumsy::new();
    let server = operator.0.serve(&operator.0.place("server/data")).await;
    let key = Key::new("eva").public();
    let users = format!("users:\n  eva: {{keys: [\"{key}\"]}}\n  ben: {{keys: [\"{key}\"]}}\n");
    let applied = operator.apply(&users);
    assert!(applied.status.success(), "{applied:?}");

    // Signed by nobody whom the trust root names: refused for ever.
    let tool = operator.tool();
    let log = LogHead {
        origin: muster_controller::audit::origin(tool.chain().lineage()),
        size: 0,
        root: Tree::Log.root(&[]),
    };
    let candidate = tool.chain().cut(&[], Vec::new(), NOW, log).unwrap();
    let begun = Begun { candidate, proposals: Vec::new() };
    tool.begin_signing(&begun).unwrap();
    let link = &begun.candidate.link;
    tool.keep_signed(link, &begun.published(Envelope::new(link))).unwrap();

    let status = operator.0.run(&["status"]);
    assert!(status.status.success(), "{status:?}");
    assert!(text(&status.stderr).contains("warning: it could not be sent"), "{status:?}");
    let lost = sha256(&[b"a lost key"]).to_string();
    let revoked = operator.0.run(&["revoke", "key", &lost, "--yes"]);
    assert!(revoked.status.success(), "{revoked:?}");
    let refused = operator.apply(&role("reader"));
    assert_eq!(refused.status.code(), Some(1), "{refused:?}");
    let said = text(&refused.stderr);
    assert!(said.contains("error: a change that you signed earlier cannot be sent"), "{said}");
    assert!(said.contains("hint: "), "{said}");

    // Whoever leaves is revoked at once, and what is left to do is told last.
    let left = operator.0.run(&["offboard", "eva", "--yes"]);
    assert_eq!(left.status.code(), Some(1), "{left:?}");
    let said = text(&left.stderr);
    let order = [
        "revocation of `eva` sent to 0 hosts",
        "no host is concerned",
        "error: `eva` is revoked, and the removal is outstanding: a change that you signed",
    ];
    let places: Vec<_> = order
        .iter()
        .map(|words| said.find(words).unwrap_or_else(|| panic!("{words}: {said}")))
        .collect();
    assert!(places.is_sorted(), "{said}");
    assert!(said.trim_end().lines().last().unwrap().starts_with("hint: "), "{said}");
    let status = text(&operator.0.run(&["status"]).stdout);
    assert!(status.contains("revoked, and no change removes them yet: eva"), "{status}");
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_host_that_the_operator_knows_and_the_controller_does_not_list_is_named() {
    let operator = Clumsy::new();
    let server = operator.0.serve(&operator.0.place("server/data")).await;
    let hidden = sha256(&[b"a host"]);
    let known = Hosts::from([(hidden, Line::parse("db1").unwrap())]);
    operator.tool().remember_hosts(known.clone()).unwrap();
    let named = |output: &Output| {
        text(&output.stderr).contains("`db1`")
            && text(&output.stderr).contains("was known, is not listed")
    };
    let no_wait = operator.apply(&role("reader"));
    assert_eq!(no_wait.status.code(), Some(4), "{no_wait:?}");
    assert!(named(&no_wait), "{no_wait:?}");
    let file = operator.0.place("roles.yaml");
    let waited = operator.0.run(&["apply", "--yes", "--file", file.to_str().unwrap()]);
    assert!(waited.status.success(), "nothing to change: {waited:?}");
    fs::write(&file, role("writer")).unwrap();
    let waited = operator.0.run(&["apply", "--yes", "--file", file.to_str().unwrap()]);
    assert_eq!(waited.status.code(), Some(4), "{waited:?}");
    assert!(named(&waited), "{waited:?}");
    assert!(text(&waited.stderr).contains("not confirmed: db1 (unlisted)"), "{waited:?}");
    assert_eq!(operator.tool().known_hosts().unwrap(), known);

    // Whoever has revoked it waits for it no more.
    let revoked = operator.0.run(&["revoke", "host", &hidden.to_string(), "--yes"]);
    assert!(revoked.status.success(), "{revoked:?}");
    assert!(operator.tool().known_hosts().unwrap().is_empty());
    let unknown = operator.0.run(&["revoke", "host", &sha256(&[b"x"]).to_string(), "--yes"]);
    assert_eq!(unknown.status.code(), Some(2), "{unknown:?}");
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_controller_that_is_set_back_is_given_back_what_it_takes_and_a_fork_is_told_in_words() {
    let operator = Clumsy::new();
    let young = operator.0.place("server/data");
    copy(&operator.0.place("store"), &operator.0.place("other"));
    let server = operator.0.serve(&young).await;
    assert!(operator.apply(&role("reader")).status.success());
    server.stop().await;
    // What nothing came between is given back.
    let server = operator.0.serve(&young).await;
    let back = operator.0.run(&["status"]);
    assert!(back.status.success(), "{back:?}");
    let said = text(&back.stderr);
    assert!(said.contains("was set back to before change 1; giving back"), "{said}");
    assert!(operator.apply(&role("writer")).status.success());
    server.stop().await;
    // Change 2 was signed on a log that is lost.
    let server = operator.0.serve(&young).await;
    let back = operator.0.run(&["status"]);
    assert_eq!(back.status.code(), Some(1), "{back:?}");
    let newest = digest_of(operator.tool().chain(), 2).short();
    let said = text(&back.stderr);
    assert!(said.contains("does not take change 2 back"), "{said}");
    assert!(said.contains("the controller is older than what you have verified"), "{said}");
    assert!(said.contains(&format!("no change, and you have change 2 ({newest})")), "{said}");
    assert!(said.contains("hint: was it set back"), "{said}");
    server.stop().await;

    let ours = digest_of(operator.tool().chain(), 1).short();
    let server = operator.0.serve(&young).await;
    // Her other tool knows nothing of it, and signs another change 1.
    fs::rename(operator.0.place("store"), operator.0.place("mine")).unwrap();
    fs::rename(operator.0.place("other"), operator.0.place("store")).unwrap();
    assert!(operator.apply(&role("writer")).status.success());
    let theirs = digest_of(operator.tool().chain(), 1).short();
    fs::rename(operator.0.place("store"), operator.0.place("other")).unwrap();
    fs::rename(operator.0.place("mine"), operator.0.place("store")).unwrap();
    let forked = operator.0.run(&["status"]);
    assert_eq!(forked.status.code(), Some(1), "{forked:?}");
    let said = text(&forked.stderr);
    assert!(said.contains(&format!("the controller shows change 1 ({theirs})")), "{said}");
    assert!(said.contains(&format!("another of that number: change 1 ({ours})")), "{said}");
    assert!(said.contains("hint: compare with") && !said.contains("Some("), "{said}");
    server.stop().await;
}
