//! The smallest world in a few words: people, trust roots, a chain that they extend, bundles for a
//! host. Everything is made from names, so every run sees the same bytes.

use std::collections::{BTreeMap, BTreeSet};

use muster_proto::{
    bundle::{Bundle, HistoryProof},
    chain::{BadLink, Candidate, Chain},
    crypto::{MachineKey, sha256},
    envelope::{Document, Envelope, Verified},
    id::{Digest, Id},
    key::SshPublicKey,
    link::{LinkRef, LogHead, Proposal, Revocation, Target},
    name::{FullName, Gid, Line, Login, ObjectName, Uid, UnixGroupName},
    selector::Selector,
    statement::{
        Adoption, Assignment, Content, Group, MemberList, Role, Statement, UnixGroup,
        UnixGroupMode, User, UserKey, UserKind,
    },
    sudo::{RunAs, RunAsUser, SudoCommand, SudoPassword, SudoRule},
    time::Timestamp,
    trust::{ApproverGroup, Duty, Limits, ProposerRule, TrustRoot},
};

use crate::{
    host::Host,
    keys::{Signer, machine},
};

pub const START: Timestamp = Timestamp(1_800_000_000);
pub const DAY: u64 = 86_400;

/// The two trust roots that every claim is tried on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shape {
    /// One person, threshold 1.
    One,
    /// Two groups of three, threshold 2 each.
    Two,
}

pub const SHAPES: [Shape; 2] = [Shape::One, Shape::Two];

/// A published link with all that a tool needs to check it.
#[derive(Clone)]
pub struct Published {
    pub envelope: Envelope,
    pub body: Vec<u8>,
    pub proposals: Vec<Envelope>,
    /// The chain after it.
    pub after: Chain,
}

pub struct World {
    pub shape: Shape,
    pub trust_roots: Vec<Envelope>,
    pub chain: Chain,
    pub links: Vec<Published>,
    pub revocations: Vec<Envelope>,
    pub online: MachineKey,
    pub time: Timestamp,
}

pub fn name(text: &str) -> ObjectName {
    ObjectName::parse(text).unwrap()
}

pub fn line(text: &str) -> Line {
    Line::parse(text).unwrap()
}

/// An id from a name.
pub fn id(name: &str) -> Id {
    Id::parse(&sha256(&[b"id", name.as_bytes()]).as_bytes()[..16]).unwrap()
}

/// A person's key for a duty; `bob` and `eve` have theirs in hardware.
pub fn signer(person: &str, duty: Duty) -> Signer {
    let name = format!("{person} {duty:?}");
    if ["bob", "eve"].contains(&person) { Signer::hardware(&name) } else { Signer::new(&name) }
}

pub fn log_head() -> LogHead {
    LogHead { origin: "fleet/log".to_owned(), size: 0, root: sha256(&[]) }
}

impl Shape {
    pub fn groups(self) -> Vec<(&'static str, Vec<&'static str>, u32)> {
        match self {
            Self::One => vec![("ops", vec!["ana"], 1)],
            Self::Two => {
                vec![("ops", vec!["ana", "bob", "cem"], 2), ("sec", vec!["dia", "eve", "fay"], 2)]
            }
        }
    }

    /// People enough for a quorum.
    pub fn quorum(self) -> &'static [&'static str] {
        match self {
            Self::One => &["ana"],
            Self::Two => &["ana", "bob", "dia", "eve"],
        }
    }

    /// Version 1. Everybody has a key for every duty.
    pub fn trust_root(self) -> TrustRoot {
        let mut people = BTreeMap::new();
        let mut approver_groups = BTreeMap::new();
        for (group, members, threshold) in self.groups() {
            for person in &members {
                let keys = [Duty::Root, Duty::Approver, Duty::Proposer]
                    .map(|duty| (signer(person, duty).public(), duty));
                people.insert(name(person), BTreeMap::from(keys));
            }
            let members = members.into_iter().map(name).collect();
            approver_groups.insert(name(group), ApproverGroup { members, threshold });
        }
        if self == Self::Two {
            for person in ["bob", "fay", "cem"] {
                people.get_mut(&name(person)).unwrap().retain(|_, duty| *duty != Duty::Root);
            }
            let dia = people.get_mut(&name("dia")).unwrap();
            dia.insert(signer("dia second", Duty::Approver).public(), Duty::Approver);
        }
        TrustRoot {
            lineage: None,
            version: 1,
            previous: None,
            since: None,
            people,
            approver_groups,
            root_threshold: if self == Self::One { 1 } else { 2 },
            machine_keys: BTreeSet::from([machine("online").public()]),
            proposers: ProposerRule::Count,
            stale_after: 90 * DAY,
            expires: START.plus(730 * DAY),
            limits: Limits {
                uids: (10_000, 19_999),
                gids: (20_000, 29_999),
                recertify_after: None,
            },
        }
    }
}

/// Puts a document into an envelope signed by these people.
pub fn signed_by<T: Document>(document: &T, duty: Duty, people: &[&str]) -> Envelope {
    let mut envelope = Envelope::new(document);
    people.iter().for_each(|person| signer(person, duty).sign(&mut envelope));
    envelope
}

impl World {
    pub fn new(shape: Shape) -> Self {
        Self::from_root(shape, &shape.trust_root())
    }

    pub fn from_root(shape: Shape, root: &TrustRoot) -> Self {
        let envelope = signed_by(root, Duty::Root, &["ana", "dia", "eve"]);
        let chain = Chain::new(Verified::genesis(&envelope, root.digest()).unwrap());
        Self {
            shape,
            trust_roots: vec![envelope],
            chain,
            links: Vec::new(),
            revocations: Vec::new(),
            online: machine("online"),
            time: START,
        }
    }

    pub fn lineage(&self) -> Digest {
        self.chain.lineage()
    }

    /// The next revision of a statement.
    pub fn next(&self, id: Id, content: Content) -> Statement {
        let old = self.chain.statements().get(&id);
        Statement {
            lineage: self.lineage(),
            id,
            revision: old.map_or(0, |old| old.revision) + 1,
            previous: old.map(Document::digest),
            reinstates: old.map(|old| old.reinstates.clone()).unwrap_or_default(),
            content,
        }
    }

    pub fn proposal(&self, mut statements: Vec<Statement>) -> Proposal {
        statements.sort_by_key(|statement| statement.id);
        let tag: Vec<u8> = statements.iter().flat_map(Document::encode).collect();
        let id = Id::parse(&sha256(&[&tag]).as_bytes()[..16]).unwrap();
        let (lineage, time, reason) = (self.lineage(), self.time, line("OPS-1"));
        Proposal { lineage, id, time, reason, statements }
    }

    pub fn propose(&self, statements: Vec<Statement>) -> Envelope {
        signed_by(&self.proposal(statements), Duty::Proposer, &["ana"])
    }

    pub fn cut(&self, proposals: &[Envelope]) -> Result<Candidate, BadLink> {
        self.chain.cut(proposals, Vec::new(), self.time, log_head())
    }

    /// Signs a candidate with the quorum and extends the chain by it.
    pub fn extend(
        &mut self,
        candidate: &Candidate,
        proposals: Vec<Envelope>,
    ) -> Result<(), BadLink> {
        let envelope = signed_by(&candidate.link, Duty::Approver, self.shape.quorum());
        let body = candidate.body.encode();
        self.chain.extend(&envelope, &body, &proposals, self.time)?;
        self.links.push(Published { envelope, body, proposals, after: self.chain.clone() });
        Ok(())
    }

    /// Proposes, cuts, signs and publishes, a minute later.
    pub fn publish(&mut self, changes: Vec<(Id, Content)>) -> u64 {
        let statements = changes.into_iter().map(|(id, content)| self.next(id, content)).collect();
        self.publish_statements(statements)
    }

    pub fn publish_statements(&mut self, statements: Vec<Statement>) -> u64 {
        self.time = self.time.plus(60);
        let proposals = vec![self.propose(statements)];
        let candidate = self.cut(&proposals).unwrap();
        self.extend(&candidate, proposals).unwrap();
        self.links.len() as u64
    }

    /// A trust root that follows the newest one; `alter` says what is new.
    pub fn next_root(&self, alter: impl FnOnce(&mut TrustRoot)) -> TrustRoot {
        let trust = self.chain.trust();
        let mut next = TrustRoot::clone(trust);
        next.lineage = Some(self.lineage());
        next.version += 1;
        next.previous = Some(trust.digest());
        next.since = self.chain.newest();
        alter(&mut next);
        next
    }

    pub fn rotate(&mut self, alter: impl FnOnce(&mut TrustRoot)) -> Envelope {
        let envelope = signed_by(&self.next_root(alter), Duty::Root, &["ana", "dia", "eve"]);
        self.chain.follow(&envelope).unwrap();
        self.trust_roots.push(envelope.clone());
        envelope
    }

    pub fn revocation(&self, tag: &str, target: Target) -> Revocation {
        let (lineage, time) = (self.lineage(), self.time);
        Revocation { lineage, id: id(tag), time, reason: line("left"), target }
    }

    /// Revokes by an approver, known to tools and hosts.
    pub fn revoke(&mut self, tag: &str, target: Target) -> Envelope {
        let envelope = signed_by(&self.revocation(tag, target), Duty::Approver, &["ana"]);
        self.chain.keep(&envelope).unwrap();
        self.revocations.push(envelope.clone());
        envelope
    }

    pub fn revoked(mut self, tag: &str, target: Target) -> Self {
        self.revoke(tag, target);
        self
    }

    /// The newest bundle for a host: everything that concerns it.
    pub fn bundle(&self, host: &Host) -> Bundle {
        self.bundle_at(host, self.links.len() as u64, |_| true)
    }

    /// A bundle with the link of this number and the statements that `wanted` picks.
    pub fn bundle_at(
        &self,
        host: &Host,
        number: u64,
        wanted: impl Fn(&Statement) -> bool,
    ) -> Bundle {
        let mut bundle = Bundle::empty(host.id);
        let known = usize::try_from(host.trust.version).unwrap();
        bundle.trust_roots = self.trust_roots[known.min(self.trust_roots.len())..].to_vec();
        bundle.revocations = self.revocations.clone();
        let Some(index) = usize::try_from(number).unwrap().checked_sub(1) else { return bundle };
        let Published { envelope, after, .. } = &self.links[index];
        let picked = after.statements().values().filter(|s| host.concerns(s) && wanted(s));
        let picked: Vec<&Statement> = picked.collect();
        let mut ids: Vec<Id> = picked.iter().map(|s| s.id).collect();
        ids.push(Id::Host(host.id));
        bundle.link = Some(envelope.clone());
        bundle.statements = picked.iter().map(|s| s.encode()).collect();
        bundle.directory = Some(after.prove(&ids));
        let old = [host.floor.map(|floor| floor.link), self.chain.trust().since];
        for LinkRef { number: old, .. } in old.into_iter().flatten() {
            if old < number {
                let digest = after.place(old).unwrap().digest;
                let path = after.inclusion(old).unwrap();
                let proof = HistoryProof { number: old, digest, path };
                if !bundle.history.contains(&proof) {
                    bundle.history.push(proof);
                }
            }
        }
        bundle
    }
}

pub fn key(tag: &str) -> SshPublicKey {
    Signer::new(tag).public()
}

pub fn user(login: &str, uid: u32, keys: &[&str], groups: &[&str]) -> Content {
    let mut keys: Vec<UserKey> =
        keys.iter().map(|tag| UserKey { key: key(tag), comment: line(tag) }).collect();
    keys.sort();
    Content::User(User {
        login: Login::parse(login).unwrap(),
        uid: Uid::parse(uid).unwrap(),
        name: FullName::parse("Some Body").unwrap(),
        keys,
        groups: groups.iter().map(|group| id(group)).collect(),
        shell: None,
        home: None,
        starts: None,
        ends: None,
        kind: UserKind::Person,
        restrictions: muster_proto::statement::Restrictions::default(),
    })
}

pub fn group(text: &str) -> Content {
    Content::Group(Group { name: name(text) })
}

pub fn unix_group(text: &str, gid: u32) -> Content {
    let name = UnixGroupName::parse_own(text).unwrap();
    Content::UnixGroup(UnixGroup {
        name,
        gid: Gid::parse(gid).unwrap(),
        members: MemberList::AtLeast,
    })
}

pub fn role(text: &str, sudo: &[&str]) -> Content {
    let rule = |command: &&str| SudoRule {
        run_as: RunAs { user: RunAsUser::parse("root").unwrap(), group: None },
        commands: vec![SudoCommand::parse(command).unwrap()],
        password: SudoPassword::None,
        noexec: false,
        directory: None,
    };
    Content::Role(Role {
        name: name(text),
        unix_group_mode: UnixGroupMode::HandsOff,
        unix_groups: BTreeSet::new(),
        host_unix_groups: BTreeSet::new(),
        sudo: sudo.iter().map(rule).collect(),
        login_methods: BTreeSet::new(),
        password: None,
    })
}

pub fn assignment(text: &str, subject: &str, role: &str, hosts: &str) -> Content {
    Content::Assignment(Assignment {
        name: name(text),
        subject: id(subject),
        role: id(role),
        hosts: Selector::parse(hosts).unwrap(),
        from: None,
        until: None,
        reason: line("OPS-1"),
        ticket: Line::default(),
        recertify_by: None,
    })
}

pub fn adoption(user: &str, login: &str, host: Digest, uid: u32) -> Content {
    let (login, uid) = (Login::parse(login).unwrap(), Uid::parse(uid).unwrap());
    Content::Adoption(Adoption { user: id(user), host, login, uid })
}

/// Alice in `dba`, with a role, on every `env=prod` host.
pub fn staffed(shape: Shape) -> World {
    let mut world = World::new(shape);
    world.publish(vec![
        (id("alice"), user("alice", 10_001, &["alice key"], &["dba"])),
        (id("dba"), group("dba")),
        (id("admin"), role("admin", &["ALL"])),
        (id("dbas"), assignment("dbas", "dba", "admin", "env=prod")),
    ]);
    world
}
