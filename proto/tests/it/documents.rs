//! One of every document, from fixed keys, ids and times; their bytes are golden, and no other
//! bytes mean the same.

use std::collections::BTreeSet;

use muster_proto::{
    bundle::Bundle,
    crypto::{pae, sha256},
    desired::{AccountGrant, Entitlement, Grant, UnixGroupGrant},
    drift::{Culprit, Drift, Response, Severity},
    envelope::{Document, Envelope},
    id::Kind,
    inventory::{Inventory, LocalAccount, LocalPassword},
    link::{
        Acknowledgement, Checkpoint, Link, LinkBody, Proposal, PublishedLink, Revocation, Target,
    },
    name::{AbsolutePath, FullName, Login, Uid, UnixGroupName},
    note,
    options::KeyOptions,
    receipt::{Convergence, Enrolment, Finding, FindingWord, HostMode, Outcome, Receipt, Trigger},
    statement::{
        Content, Entry, HomeMode, LoginMethod, PasswordPolicy, SourceNetwork, Statement,
        UnixGroupMode, UserKind,
    },
    time::Timestamp,
    token::JoinToken,
    trust::TrustRoot,
};

use crate::{
    host::Host,
    keys::machine,
    world::{
        START, Shape, World, adoption, assignment, group, id, line, log_head, role, staffed,
        unix_group, user,
    },
};

/// A document's bytes and how they are read: what they encode to again, if they are one.
pub struct Sample {
    pub name: String,
    pub bytes: Vec<u8>,
    pub again: fn(&[u8]) -> Option<Vec<u8>>,
}

fn sample<T: Document>(name: &str, document: &T) -> Sample {
    let again = |bytes: &[u8]| T::decode(bytes).ok().map(|document| document.encode());
    Sample { name: name.to_owned(), bytes: document.encode(), again }
}

fn statements(world: &World) -> Vec<(&'static str, Statement)> {
    let Content::User(mut rich) = user("zoe", 10_002, &["k1", "k2"], &["dba", "ops"]) else {
        panic!()
    };
    rich.shell = Some(AbsolutePath::parse("/bin/zsh").unwrap());
    rich.home = Some(AbsolutePath::parse("/srv/zoe").unwrap());
    rich.starts = Some(START);
    rich.ends = Some(START.plus(1_000));
    rich.kind = UserKind::Service;
    rich.restrictions.hardware_keys_only = true;
    rich.restrictions.verify_required = true;
    rich.restrictions.from =
        ["10.0.0.0/8", "2001:db8::/32"].map(|n| SourceNetwork::parse(n).unwrap()).into();
    let Content::Role(mut wide) =
        role("wide", &["ALL", "/usr/bin/id \"\"", "/usr/bin/systemctl restart nginx"])
    else {
        panic!()
    };
    wide.unix_group_mode = UnixGroupMode::Exactly;
    wide.unix_groups = BTreeSet::from([id("web"), id("www")]);
    wide.host_unix_groups = ["adm", "docker"].map(|n| UnixGroupName::parse(n).unwrap()).into();
    wide.login_methods = [LoginMethod::HardwareKey, LoginMethod::Password].into();
    wide.password = Some(PasswordPolicy {
        max_days: Some(90),
        min_days: None,
        warn_days: None,
        inactive_days: None,
        min_length: 14,
    });
    wide.sudo[1].noexec = true;
    let Content::Assignment(mut timed) = assignment("zoes", "zoe", "wide", "env=prod,!edge") else {
        panic!()
    };
    timed.from = Some(START);
    timed.until = Some(START.plus(1_000));
    timed.recertify_by = Some(START.plus(500));
    timed.ticket = line("OPS-2");
    let host = machine("db1").public().digest();
    let revoked = Content::Revoked { kind: Kind::User, revocation: id("r") };
    let contents = [
        ("user", Content::User(rich)),
        ("group", group("ops")),
        ("unix-group", unix_group("web", 20_001)),
        ("role", Content::Role(wide)),
        ("assignment", Content::Assignment(timed)),
        ("adoption", adoption("zoe", "zoe", host, 1_001)),
        ("removal", Content::Removal(Kind::Assignment)),
        ("revoked", revoked),
    ];
    let statement = |(name, content): (&'static str, Content)| {
        let mut statement = world.next(id(name), content);
        statement.revision = 3;
        statement.previous = Some(sha256(&[b"revision 2"]));
        statement.reinstates = BTreeSet::from([id("r1"), id("r2")]);
        (name, statement)
    };
    contents.map(statement).into()
}

/// What came to users and roles after their first bytes were golden.
fn later_fields(world: &World) -> Vec<Sample> {
    let Content::User(mut bound) = user("zoe", 10_002, &["k1"], &[]) else { panic!() };
    let line = "from=\"10.0.0.0/8,::1\",command=\"/usr/bin/borg serve\",restrict ssh-ed25519 AAAA";
    bound.keys[0].options = KeyOptions::split(line).unwrap().0;
    bound.home_mode = Some(HomeMode::parse("0750").unwrap());
    let Content::Role(mut aging) = role("aging", &[]) else { panic!() };
    aging.password = Some(PasswordPolicy {
        max_days: Some(90),
        min_days: Some(1),
        warn_days: Some(14),
        inactive_days: Some(0),
        min_length: 14,
    });
    let user = world.next(id("zoe"), Content::User(bound));
    let role = world.next(id("aging"), Content::Role(aging));
    vec![sample("statement-user-bound", &user), sample("statement-role-aging", &role)]
}

/// One grant of every kind, as the ledger holds it.
fn grants(statements: &[Statement]) -> Vec<Sample> {
    let account = AccountGrant {
        user: id("zoe"),
        uid: Uid::parse(10_002).unwrap(),
        name: FullName::parse("Zoe").unwrap(),
        shell: Some(AbsolutePath::parse("/bin/zsh").unwrap()),
        home: None,
        home_mode: None,
        kind: UserKind::Service,
    };
    let mut kinds = vec![
        ("account", Entitlement::Account(account)),
        ("adoption", Entitlement::Adoption(Uid::parse(1_001).unwrap())),
        ("login-method", Entitlement::Login(LoginMethod::Key)),
        ("unix-group-mode", Entitlement::UnixGroupMode(id("wide"), UnixGroupMode::HandsOff)),
        ("host-unix-group", Entitlement::HostUnixGroup(UnixGroupName::parse("adm").unwrap())),
    ];
    for statement in statements {
        match &statement.content {
            Content::User(user) => {
                let restrictions = user.restrictions.clone();
                kinds.push(("key", Entitlement::Key { key: user.keys[0].clone(), restrictions }));
            }
            Content::Role(role) => {
                kinds.push(("sudo", Entitlement::Sudo(role.name.clone(), role.sudo[1].clone())));
                kinds.push(("password", Entitlement::Password(role.password.unwrap())));
            }
            Content::UnixGroup(group) => {
                let (name, gid, members) = (group.name.clone(), group.gid, group.members);
                let grant = UnixGroupGrant { name, gid, members };
                kinds.push(("unix-group", Entitlement::UnixGroup(grant)));
            }
            _ => {}
        }
    }
    assert_eq!(kinds.len(), 9);
    let login = Login::parse("zoe").unwrap();
    let grant = |entitlement| Grant { assignment: id("zoes"), login: login.clone(), entitlement };
    kinds.into_iter().map(|(name, e)| sample(&format!("held-grant-{name}"), &grant(e))).collect()
}

pub fn drift() -> Drift {
    Drift {
        kind: "account-changed".to_owned(),
        subject: "bob".to_owned(),
        place: "shell".to_owned(),
        expected: "/bin/bash".to_owned(),
        found: "/bin/sh".to_owned(),
        since: START,
        severity: Severity::Low,
        response: Response::Repaired,
        rounds: 1,
        culprit: Some(Culprit {
            pid: 42,
            program: "usermod".to_owned(),
            command: "usermod -s /bin/sh bob".to_owned(),
            login: "ops".to_owned(),
            unit: "session-3.scope".to_owned(),
        }),
    }
}

fn inventory() -> Inventory {
    let account = |login: &str, uid, password| LocalAccount {
        login: login.to_owned(),
        uid,
        name: "Bob Example".to_owned(),
        shell: "/bin/bash".to_owned(),
        password,
        shut: false,
        keys: vec!["SHA256:".to_owned() + &"A".repeat(43)],
        root_by: vec!["Unix group docker".to_owned(), "sudo: ALL".to_owned()],
        unknown: Vec::new(),
        owned: true,
    };
    let old = LocalAccount {
        shut: true,
        keys: Vec::new(),
        root_by: Vec::new(),
        unknown: vec!["keys: a link".to_owned()],
        owned: false,
        ..account("old", 1_002, LocalPassword::Locked)
    };
    let bob = account("bob", 1_001, LocalPassword::Set);
    let eve = account("eve", 0, LocalPassword::Empty);
    let tom = account("tom", 1_003, LocalPassword::None);
    Inventory { accounts: vec![bob, eve, old, tom], more: 2 }
}

/// What came to receipts after their first bytes were golden.
fn later_receipts(receipt: Receipt) -> Vec<Sample> {
    let drifted = Receipt { trigger: Trigger::Change, drift: vec![drift()], ..receipt };
    let drifted_sample = sample("receipt-drift", &drifted);
    let counted = Receipt { inventory: Some(inventory()), drift: Vec::new(), ..drifted };
    vec![drifted_sample, sample("receipt-inventory", &counted)]
}

pub fn samples() -> Vec<Sample> {
    let mut world = staffed(Shape::Two);
    let host = Host::new(&world, "db1");
    world.rotate(|root| root.limits.recertify_after = Some(1_000));
    world.publish(vec![(id("more"), group("more"))]);
    let mut found = vec![
        sample("trust-root-1", &Shape::Two.trust_root()),
        sample::<TrustRoot>("trust-root-2", world.chain.trust()),
    ];
    let statements = statements(&world);
    for (name, statement) in &statements {
        found.push(sample(&format!("statement-{name}"), statement));
    }
    found.extend(later_fields(&world));
    let all: Vec<Statement> = statements.into_iter().map(|(_, statement)| statement).collect();
    found.push(sample("directory-entry", &Entry::of(&all[0])));
    let proposal: Proposal = world.proposal(all);
    found.push(sample("proposal", &proposal));
    let candidate = world.cut(&[world.propose(vec![world.next(id("x"), group("x"))])]).unwrap();
    found.push(sample::<Link>("link", &candidate.link));
    let mut body: LinkBody = candidate.body;
    body.folds.clone_from(&proposal.statements);
    found.push(sample("link-body", &body));
    for (name, target) in [
        ("statement", Target::Statement { id: id("dbas"), revision: 2 }),
        ("membership", Target::Membership { user: id("alice"), group: id("dba") }),
        ("key", Target::Key(sha256(&[b"a key"]))),
        ("host", Target::Host(host.id)),
    ] {
        let revocation: Revocation = world.revocation(name, target);
        found.push(sample(&format!("revocation-{name}"), &revocation));
    }
    let link = world.chain.newest();
    let lineage = world.lineage();
    let checkpoint = Checkpoint {
        lineage,
        time: START,
        link,
        revocations: 2,
        revocations_digest: sha256(&[b"ids"]),
        log: log_head(),
    };
    found.push(sample("checkpoint", &checkpoint));
    let digest = sha256(&[b"receipt"]);
    let acknowledgement = Acknowledgement { lineage, host: host.id, number: 7, digest };
    found.push(sample("acknowledgement", &acknowledgement));
    let receipt = Receipt {
        lineage,
        host: host.id,
        number: 8,
        previous: Some(digest),
        time: START,
        floor: link,
        trust_version: 2,
        mode: HostMode::Observe,
        trigger: Trigger::Scan,
        revocations: BTreeSet::from([id("r1"), id("r2")]),
        outcomes: vec![Outcome {
            action: "account-locked".to_owned(),
            subject: "alice".to_owned(),
            detail: "two sessions ended".to_owned(),
            failure: Some("no such process".to_owned()),
        }],
        convergence: Convergence::Retrying,
        findings: vec![Finding {
            kind: FindingWord::heard("drift".to_owned()),
            subject: "bob".to_owned(),
            detail: "a key by hand".to_owned(),
        }],
        drift: Vec::new(),
        inventory: None,
    };
    found.push(sample("receipt", &receipt));
    found.extend(later_receipts(receipt));
    let enrolment = Enrolment {
        lineage,
        keeper_key: machine("db1").public(),
        certificate_request: sha256(&[b"request"]),
        hostname: line("db1.example"),
        time: START,
    };
    found.push(sample("enrolment", &enrolment));
    found.extend(grants(&proposal.statements));
    let published = &world.links[0];
    found.push(sample(
        "published-link",
        &PublishedLink {
            link: published.envelope.clone(),
            body: published.body.clone(),
            proposals: published.proposals.clone(),
        },
    ));
    world.revoke("r", Target::Key(digest));
    let mut bundle: Bundle = world.bundle(&host);
    bundle.absent = BTreeSet::from([id("nobody"), id("no one")]);
    bundle.checkpoint = Some(Envelope::sign(&checkpoint, &world.online));
    bundle.acknowledgement = Some(Envelope::sign(&acknowledgement, &world.online));
    found.push(sample("envelope", bundle.link.as_ref().unwrap()));
    found.push(sample("bundle", &bundle));
    found.push(sample("join-token", &token(&world)));
    found
}

pub fn token(world: &World) -> JoinToken {
    JoinToken {
        lineage: world.lineage(),
        address: "muster.example:8443".to_owned(),
        ca: sha256(&[b"ca"]),
        trust_version: world.chain.trust().version,
        trust_digest: world.chain.trust().digest(),
        floor: world.chain.newest(),
        secret: [7; 32],
        expires: Timestamp(1_800_086_400),
    }
}

/// What is not a document of its own: the pre-authentication encoding, and the token as text.
pub fn others() -> Vec<(String, Vec<u8>)> {
    let world = staffed(Shape::Two);
    vec![
        ("pae".to_owned(), pae("application/vnd.muster.link.v1", "päyload".as_bytes())),
        ("join-token-text".to_owned(), token(&world).render().into_bytes()),
        ("log-note".to_owned(), note::sign(&crate::note::head(), &machine("online")).into_bytes()),
    ]
}
