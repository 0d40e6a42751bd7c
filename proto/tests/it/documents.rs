//! One of every document, from fixed keys, ids and times; their bytes are golden, and no other
//! bytes mean the same.

use std::collections::BTreeSet;

use muster_proto::{
    bundle::Bundle,
    crypto::{pae, sha256},
    envelope::{Document, Envelope},
    id::Kind,
    link::{Acknowledgement, Checkpoint, Link, LinkBody, Proposal, Revocation, Target},
    name::{AbsolutePath, UnixGroupName},
    receipt::{Convergence, Enrolment, Finding, HostMode, Outcome, Receipt, Trigger},
    statement::{
        Content, Entry, LoginMethod, PasswordPolicy, SourceNetwork, Statement, UnixGroupMode,
        UserKind,
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
    wide.password = Some(PasswordPolicy { max_days: Some(90), min_length: 14 });
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
    let all: Vec<Statement> = statements.into_iter().map(|(_, statement)| statement).collect();
    found.push(sample("directory-entry", &Entry::of(&all[0])));
    let proposal: Proposal = world.proposal(all);
    found.push(sample("proposal", &proposal));
    let candidate = world.cut(&[world.propose(vec![world.next(id("x"), group("x"))])]).unwrap();
    found.push(sample::<Link>("link", &candidate.link));
    let mut body: LinkBody = candidate.body;
    body.folds = proposal.statements.clone();
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
            kind: "drift".to_owned(),
            subject: "bob".to_owned(),
            detail: "a key by hand".to_owned(),
        }],
    };
    found.push(sample("receipt", &receipt));
    let enrolment = Enrolment {
        lineage,
        keeper_key: machine("db1").public(),
        certificate_request: sha256(&[b"request"]),
        hostname: line("db1.example"),
        time: START,
    };
    found.push(sample("enrolment", &enrolment));
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
    ]
}

/// Fields that no version has, and defaults that nobody writes.
fn additions() -> Vec<Vec<u8>> {
    let mut found = vec![b"\xc0\x3e\x01".to_vec(), b"\0".to_vec(), b"\x0b\x0c".to_vec()];
    for field in 1..=17_u16 {
        for (kind, value) in [(0, 0), (0, 1), (2, 0)] {
            let tag = field << 3 | kind;
            let low = u8::try_from(tag & 0x7f).unwrap();
            let tag = match u8::try_from(tag >> 7).unwrap() {
                0 => vec![low],
                high => vec![low | 0x80, high],
            };
            found.push([tag, vec![value]].concat());
        }
    }
    found
}

#[test]
fn no_other_bytes_are_the_same_document() {
    for Sample { name, bytes, again } in samples() {
        assert_eq!(again(&bytes).as_ref(), Some(&bytes), "{name}");
        for addition in additions() {
            let longer = [bytes.clone(), addition.clone()].concat();
            let read = again(&longer);
            assert!(read.is_none_or(|read| read == longer), "{name} and {addition:?}");
            let longer = [addition, bytes.clone()].concat();
            assert!(again(&longer).is_none_or(|read| read == longer), "{name}");
        }
        let unknown = [&bytes[..], b"\xc0\x3e\x01"].concat();
        assert!(again(&unknown).is_none(), "{name}: an unknown field");
        assert!(again(&[&bytes[..], b"\0"].concat()).is_none(), "{name}: a byte more");
        assert!(again(&bytes.repeat(2)).is_none(), "{name}: twice");
        for length in 0..bytes.len() {
            let cut = &bytes[..length];
            assert!(again(cut).is_none_or(|read| read == cut), "{name} cut at {length}");
        }
    }
}

#[test]
fn nothing_that_parses_reads_back_as_something_else() {
    for Sample { name, bytes, again } in samples() {
        let mut bent = bytes.clone();
        for at in 0..bytes.len() {
            let bits = if bytes.len() > 2_000 { vec![at % 8] } else { (0..8).collect() };
            for bit in bits {
                bent[at] ^= 1 << bit;
                assert!(
                    again(&bent).is_none_or(|read| read == bent),
                    "{name}: byte {at} bit {bit}"
                );
                bent[at] ^= 1 << bit;
            }
        }
    }
}
