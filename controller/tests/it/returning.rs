//! What was revoked or removed, and is declared: it comes back only when that is said, and a plan
//! that cannot have an effect is none.
#![expect(clippy::disallowed_methods, reason = "a test writes files of its own")]

use std::collections::BTreeSet;

use muster_controller::{
    declare::{
        self, Declared, ResolveError, Resolved,
        resolve::{Ground, Named},
    },
    preview::HostLabels,
};
use muster_proto::{
    derive::{Circumstances, derive},
    id::{Digest, HostId, Id, Kind},
    key::SshPublicKey,
    link::Target,
    name::Login,
    selector::Labels,
    statement::{Content, Statement},
    time::{Now, Timestamp},
};

use crate::{
    witness::{Operator, text},
    world::{World, id},
};

const KEY: &str =
    "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8g";

/// Una with a key, in a group whose members get in everywhere, and by an assignment of her own.
fn declaration() -> String {
    format!(
        "users:\n  una:\n    groups: [crew]\n    keys: [\"{KEY}\"]\n\
         groups: {{crew: {{}}}}\nroles: {{in: {{}}}}\n\
         assignments:\n  crew: {{group: crew, role: in, hosts: all}}\n  \
         own: {{user: una, role: in, hosts: all}}\n"
    )
}

fn hosts() -> Vec<HostLabels> {
    let (id, hostname) = (Digest::new([7; 32]), "web1".to_owned());
    vec![HostLabels { id, hostname, labels: Labels::default() }]
}

/// Reads what a file called `a.yaml` declares.
fn read(yaml: &str) -> Declared {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("a.yaml");
    std::fs::write(&file, yaml).unwrap();
    declare::read(&[file]).unwrap()
}

/// What is said of that file, wherever it was.
fn placed(text: &str) -> String {
    text[text.find("a.yaml").unwrap()..].to_owned()
}

fn resolve(world: &World, yaml: &str, words: &[&str]) -> Result<Resolved, String> {
    let mut made = 0_u32;
    let mut new_id = || {
        made += 1;
        id(&format!("{} {made}", world.links.len()))
    };
    let chain = &world.chain;
    let reinstate = words.iter().map(|word| Named::parse(word, chain).unwrap()).collect();
    let mut ground = Ground {
        chain,
        history: &world.history,
        reinstate: &reinstate,
        hosts: &hosts(),
        new_id: &mut new_id,
        now: world.time,
    };
    declare::resolve(&read(yaml), &mut ground).map_err(|error| placed(&error.to_string()))
}

/// A fleet in which all of it is so.
fn world() -> World {
    let mut world = World::new();
    let first = resolve(&world, &declaration(), &[]).unwrap();
    world.publish(first.statements);
    world
}

fn statement<'w>(world: &'w World, kind: Kind, name: &str) -> &'w Statement {
    let mut all = world.chain.statements().values();
    let is = |s: &&Statement| s.content.kind() == kind && s.content.name() == Some(name);
    all.find(is).unwrap()
}

/// What of una's is in force on the host: how many grants, by the directory and the revocations.
fn grants(world: &World) -> usize {
    let (chain, HostLabels { id: host, labels, .. }) = (&world.chain, &hosts()[0]);
    let (revocations, now) = (chain.revocations(), Now::at(world.time));
    derive(chain.statements(), &Circumstances { host: *host, labels, revocations, now }).len()
}

/// Carries open revocations into the directory with a change of something else.
fn fold(world: &mut World, word: &str) {
    let group = world.group(word);
    world.publish(vec![group]);
}

/// Revokes, and asserts that the files are refused in these words until the revocation is named;
/// before the directory carries it, and after.
fn assert_comes_back_by_its_id(target: impl Fn(&World) -> Target, place: &str, words: &str) {
    let whole = grants(&world());
    let revocation = id("gone");
    for folded in [false, true] {
        let mut world = world();
        let envelope = world.revocation("gone", target(&world));
        world.chain.keep(&envelope).unwrap();
        assert!(grants(&world) < whole, "{words}");
        if folded {
            fold(&mut world, "elsewhere");
        }
        let said = resolve(&world, &declaration(), &[]).unwrap_err();
        assert_eq!(said, format!("a.yaml:{place}: {words}, and a file still declares it"));

        let back = resolve(&world, &declaration(), &[&revocation.to_string()]).unwrap();
        assert_eq!(back.useless, BTreeSet::new());
        let [one] = back.statements.as_slice() else { panic!("{:?}", back.statements) };
        assert_eq!(one.reinstates, BTreeSet::from([revocation]), "{words}");
        assert_eq!(back.differences[0].reinstates, one.reinstates);
        world.publish(back.statements);
        assert_eq!(grants(&world), whole, "{words}");

        // It is done, and the same once more has nothing to bring back.
        let again = resolve(&world, &declaration(), &[]).unwrap();
        assert_eq!(again.statements, []);
        let again = resolve(&world, &declaration(), &[&revocation.to_string()]).unwrap();
        assert_eq!(again.useless, BTreeSet::from([Named::Revocation(revocation)]));

        // Another revocation of it counts again.
        let envelope = world.revocation("again", target(&world));
        world.chain.keep(&envelope).unwrap();
        assert!(resolve(&world, &declaration(), &[]).is_err(), "{words}");
        assert!(resolve(&world, &declaration(), &[&revocation.to_string()]).is_err(), "{words}");
    }
}

#[test]
fn a_revoked_key_comes_back_only_by_its_revocations_id() {
    let key = SshPublicKey::parse(KEY).unwrap().0;
    let words = format!("user `una` has the key {}, which was revoked", key.shown_fingerprint());
    assert_comes_back_by_its_id(|_| Target::Key(key.fingerprint()), "4:12", &words);
}

#[test]
fn a_revoked_membership_comes_back_only_by_its_revocations_id() {
    let target = |world: &World| Target::Membership {
        user: statement(world, Kind::User, "una").id,
        group: statement(world, Kind::Group, "crew").id,
    };
    let words = "user `una` is in group `crew`, which was revoked";
    assert_comes_back_by_its_id(target, "3:14", words);
}

#[test]
fn a_revoked_assignment_comes_back_only_by_its_revocations_id() {
    let target = |world: &World| {
        let own = statement(world, Kind::Assignment, "own");
        Target::Statement { id: own.id, revision: own.revision }
    };
    assert_comes_back_by_its_id(target, "9:3", "assignment `own` was revoked");
}

#[test]
fn a_revoked_user_comes_back_by_login_or_by_id_and_a_removed_one_by_login_alone() {
    let mut world = world();
    let una = statement(&world, Kind::User, "una");
    let target = Target::Statement { id: una.id, revision: una.revision };
    let envelope = world.revocation("gone", target);
    world.chain.keep(&envelope).unwrap();
    let revocation = id("gone").to_string();
    let said = resolve(&world, &declaration(), &[]).unwrap_err();
    assert!(said.contains("user `una` was offboarded or revoked"), "{said}");
    for word in ["una", &revocation] {
        let back = resolve(&world, &declaration(), &[word]).unwrap();
        assert_eq!(back.statements.len(), 1, "{word}");
        assert_eq!(back.useless, BTreeSet::new(), "{word}");
    }
    let absent = "absent: {users: [una], assignments: [own]}\n";
    let gone = resolve(&world, absent, &[]).unwrap();
    world.publish(gone.statements);
    let said = resolve(&world, &declaration(), &[&revocation]).unwrap_err();
    assert!(said.contains("user `una` was offboarded or revoked"), "{said}");
    let back = resolve(&world, &declaration(), &["una"]).unwrap();
    assert_eq!(back.statements.len(), 2, "she and what was hers alone");
    world.publish(back.statements);
}

#[test]
fn whoever_comes_back_does_not_bring_a_revoked_key_along() {
    let mut world = world();
    let una = statement(&world, Kind::User, "una");
    let gone = Target::Statement { id: una.id, revision: una.revision };
    let key = SshPublicKey::parse(KEY).unwrap().0.fingerprint();
    for (word, target) in [("gone", gone), ("stolen", Target::Key(key))] {
        let envelope = world.revocation(word, target);
        world.chain.keep(&envelope).unwrap();
    }
    let said = resolve(&world, &declaration(), &["una"]).unwrap_err();
    assert!(said.contains("which was revoked"), "{said}");
    let without = declaration().replace(&format!("\"{KEY}\""), "");
    assert_eq!(resolve(&world, &without, &["una"]).unwrap().statements.len(), 1);
}

#[test]
fn an_id_that_stands_for_several_revocations_brings_nothing_back() {
    let mut world = world();
    let key = SshPublicKey::parse(KEY).unwrap().0.fingerprint();
    let una = statement(&world, Kind::User, "una");
    let gone = Target::Statement { id: una.id, revision: una.revision };
    let [mine, theirs] = [Target::Key(key), gone].map(|target| world.revocation("gone", target));
    world.chain.keep(&mine).unwrap();
    let word = id("gone").to_string();
    assert!(resolve(&world, &declaration(), &[&word]).is_ok());
    world.chain.keep(&theirs).unwrap();
    for words in [vec![word.as_str()], vec!["una"], vec!["una", &word]] {
        let said = resolve(&world, &declaration(), &words).unwrap_err();
        let expected = [format!("several revocations are called {word}"), "has the key".to_owned()];
        assert!(expected.iter().any(|words| said.contains(words)), "{words:?}: {said}");
    }
    let without = declaration().replace(&format!("\"{KEY}\""), "");
    let said = resolve(&world, &without, &["una"]).unwrap_err();
    assert!(said.contains("several revocations are called"), "{said}");
}

#[test]
fn what_brings_nothing_back_is_told() {
    let mut world = world();
    let envelope = world.revocation("host", Target::Host(hosts()[0].id));
    world.chain.keep(&envelope).unwrap();
    let host = id("host").to_string();
    for (words, useless) in [
        (["una"], Named::User(Login::parse("una").unwrap())),
        (["ula"], Named::User(Login::parse("ula").unwrap())),
        ([host.as_str()], Named::Revocation(id("host"))),
    ] {
        let resolved = resolve(&world, &declaration(), &words).unwrap();
        assert_eq!(resolved.useless, BTreeSet::from([useless]));
    }
}

#[test]
fn nothing_is_adopted_on_a_host_that_was_revoked() {
    let mut world = world();
    let web1: HostId = hosts()[0].id;
    let adopting = "adoptions: {old: {user: una, host: web1, uid: 1001}}\n";
    assert_eq!(resolve(&world, adopting, &[]).unwrap().statements.len(), 1);
    let envelope = world.revocation("host", Target::Host(web1));
    world.chain.keep(&envelope).unwrap();
    for _ in 0..2 {
        let said = resolve(&world, adopting, &[]).unwrap_err();
        assert!(said.starts_with("a.yaml:1:36: adoption `old` names host `web1`"), "{said}");
        fold(&mut world, "elsewhere");
    }
}

fn notes(resolved: &Resolved) -> Vec<String> {
    resolved.notes.iter().map(|note| placed(&note.to_string())).collect()
}

#[test]
fn what_is_to_go_and_has_gone_is_a_note_and_what_never_was_is_a_fault() {
    let mut world = world();
    let absent = "absent:\n  users: [una]\n  groups: [crew]\n  roles: [in]\n  \
        assignments: [own, crew]\n";
    let gone = resolve(&world, absent, &[]).unwrap();
    assert_eq!((gone.statements.len(), gone.notes.len()), (5, 0));
    world.publish(gone.statements);
    let again = resolve(&world, absent, &[]).unwrap();
    assert_eq!(again.statements, []);
    let told: Vec<String> = [
        ("2:11", "user `una`"),
        ("3:12", "group `crew`"),
        ("4:11", "role `in`"),
        ("5:17", "assignment `own`"),
        ("5:22", "assignment `crew`"),
    ]
    .map(|(at, what)| format!("a.yaml:{at}: {what} has gone already; take it out of `absent`"))
    .to_vec();
    assert_eq!(notes(&again), told);
    let said = resolve(&world, "absent: {assignments: [never]}\n", &[]).unwrap_err();
    assert!(said.contains("does not have"), "{said}");

    // A name that is used again is somebody's.
    let anew = "users: {uta: {}}\nroles: {in: {}}\n\
        assignments: {own: {user: uta, role: in, hosts: all}}\n";
    let back = resolve(&world, anew, &[]).unwrap();
    world.publish(back.statements);
    let gone = resolve(&world, "absent: {assignments: [own]}\n", &[]).unwrap();
    assert_eq!((gone.statements.len(), gone.notes.len()), (1, 0));
}

#[test]
fn what_was_revoked_and_carried_into_the_directory_can_still_be_removed_by_name() {
    let mut world = world();
    let own = statement(&world, Kind::Assignment, "own");
    let (own, target) = (own.id, Target::Statement { id: own.id, revision: own.revision });
    let envelope = world.revocation("gone", target);
    world.chain.keep(&envelope).unwrap();
    fold(&mut world, "elsewhere");
    assert_eq!(world.history.name(&own), Some("own"));
    let gone = resolve(&world, "absent: {assignments: [own]}\n", &[]).unwrap();
    let removed = |s: &Statement| (s.id, s.content == Content::Removal(Kind::Assignment));
    assert_eq!(gone.statements.iter().map(removed).collect::<Vec<_>>(), [(own, true)]);
    world.publish(gone.statements);
    // Then the name is free, and nothing has to be taken back.
    let anew = resolve(&world, &declaration(), &[]).unwrap();
    assert_eq!(anew.statements.len(), 1);
    assert_ne!(anew.statements[0].id, own);
}

#[test]
fn a_change_that_gives_nothing_for_its_dates_or_its_hosts_says_so() {
    let mut world = world();
    // 2023-11-14T22:13:20Z: the last second of an end that has passed, and the first of one to come.
    assert_eq!(world.time, Timestamp(1_700_000_000));
    let with = |ends: &str, until: &str, hosts: &str| {
        format!(
            "users:\n  uta: {{ends: \"{ends}\"}}\nassignments:\n  \
             uta: {{user: uta, role: in, until: \"{until}\", hosts: {hosts}}}\n"
        )
    };
    let (past, next) = ("2023-11-14T22:13:20Z", "2023-11-14T22:13:21Z");
    let told = |yaml: &str| notes(&resolve(&world, yaml, &[]).unwrap());
    assert_eq!(told(&with(next, next, "all")), [""; 0]);
    assert_eq!(
        told(&with(past, next, "all")),
        [format!("a.yaml:2:15: user `uta` gives nothing: `ends` has passed, at {past}")]
    );
    assert_eq!(
        told(&with(next, past, "tier=none")),
        [
            format!("a.yaml:4:37: assignment `uta` gives nothing: `until` has passed, at {past}"),
            "a.yaml:4:68: assignment `uta` gives nothing today: no host that is known matches \
             `hosts`"
                .to_owned(),
        ]
    );
    // Once it is so, nobody wants to hear of it again.
    let ended = with(past, past, "tier=none");
    let resolved = resolve(&world, &ended, &[]).unwrap();
    world.publish(resolved.statements);
    assert_eq!(notes(&resolve(&world, &ended, &[]).unwrap()), [""; 0]);
}

#[test]
fn an_error_about_something_revoked_names_all_that_ended_it() {
    let mut world = world();
    let key = SshPublicKey::parse(KEY).unwrap().0.fingerprint();
    for word in ["one", "two"] {
        let envelope = world.revocation(word, Target::Key(key));
        world.chain.keep(&envelope).unwrap();
    }
    let reinstate = BTreeSet::from([Named::Revocation(id("one"))]);
    let mut ground = Ground {
        chain: &world.chain,
        history: &world.history,
        reinstate: &reinstate,
        hosts: &[],
        new_id: &mut || id("new"),
        now: world.time,
    };
    let error = declare::resolve(&read(&declaration()), &mut ground).unwrap_err().error;
    let ResolveError::Revoked { revocations, .. } = error else { panic!("{error}") };
    assert_eq!(revocations, BTreeSet::<Id>::from([id("one"), id("two")]));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_command_line_names_what_gives_a_revoked_thing_back_and_what_does_not() {
    let operator = Operator::init();
    let server = operator.serve(&operator.place("server/data")).await;
    std::fs::write(operator.place("roles.yaml"), declaration()).unwrap();
    assert!(operator.apply(&[]).status.success());
    let fails = |arguments: &[&str], words: &str| {
        let output = operator.run(arguments);
        let said = text(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{said}");
        assert!(said.contains(words), "{said}");
        said
    };
    fails(&["offboard", "ula", "--yes"], "the directory has no user `ula`");

    // Waiting is spoken of before the subcommand or after it.
    let revoke = ["revoke", "membership", "una", "crew", "--yes", "--no-wait", "--timeout", "1"];
    let revoked = operator.run(&revoke);
    assert!(revoked.status.success(), "{revoked:?}");
    let file = operator.place("roles.yaml");
    let plan = ["plan", "--file", file.to_str().unwrap()];
    let said = fails(&plan, "user `una` is in group `crew`, which was revoked");
    let flag = said.split("give it back with `").nth(1).unwrap().split('`').next().unwrap();
    let (_, revocation) = flag.split_once("--reinstate ").unwrap();
    assert!(text(&revoked.stderr).contains(&format!("(revocation {revocation})")), "{revoked:?}");

    let with = |word: &str| operator.apply(&["--reinstate", word]);
    let back = with(revocation);
    assert!(back.status.success(), "{back:?}");
    let shown = text(&back.stdout);
    assert!(shown.contains("~ bring back user una") || shown.contains("+ bring back user una"));
    assert!(shown.contains(&format!("takes back revocation {revocation}")), "{shown}");
    assert_eq!(operator.run(&plan).status.code(), Some(0));
    for (word, words) in [
        (revocation, "ends nothing that the files declare"),
        ("una", "user `una` was neither offboarded nor revoked"),
        ("ula", "neither a user nor a revocation is called `ula`"),
        ("Una Example", "--reinstate"),
    ] {
        let output = with(word);
        let said = text(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{word}: {said}");
        assert!(said.contains(words) && said.contains("\nhint: "), "{word}: {said}");
    }

    // What has gone is called by its name.
    assert!(operator.run(&["offboard", "una", "--yes", "--no-wait"]).status.success());
    let shown = text(&operator.run(&["change", "show", "3"]).stdout);
    assert!(shown.contains("user una revision 3"), "{shown}");
    assert!(shown.contains("assignment own revision 2"), "{shown}");
    let shown = text(&operator.run(&["change", "show", "1"]).stdout);
    assert!(shown.contains("user una → role in"), "{shown}");
    assert!(!shown.contains("gone"), "{shown}");
    server.stop().await;
}
