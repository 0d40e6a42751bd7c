//! A fleet's people and their tool: keys, signatures, statements and links, all made in the
//! process.

use std::collections::{BTreeMap, BTreeSet};

use muster_controller::{current::PublishedLink, history::History, signer};
use muster_proto::{
    chain::Chain,
    crypto::{MachineKey, sha256},
    envelope::{Document, Envelope, Signature, Verified},
    id::{Digest, Id, Kind},
    key::SshPublicKey,
    link::{LinkBody, LogHead, Proposal, Revocation, Target},
    name::{FullName, Line, Login, ObjectName, Uid},
    options::KeyOptions,
    selector::Selector,
    statement::{
        Assignment, Content, Group, Restrictions, Role, Statement, UnixGroupMode, User, UserKey,
        UserKind,
    },
    time::Timestamp,
    trust::{ApproverGroup, Duty, Limits, ProposerRule, TrustRoot},
};
use ring::{
    digest,
    signature::{Ed25519KeyPair, KeyPair},
};

pub(crate) const NOW: Timestamp = Timestamp(1_700_000_000);

/// Somebody's SSH key.
pub(crate) struct Key(Ed25519KeyPair);

fn string(bytes: &[u8]) -> Vec<u8> {
    [&u32::try_from(bytes.len()).unwrap().to_be_bytes(), bytes].concat()
}

impl Key {
    pub(crate) fn new(seed: &str) -> Self {
        let seed = sha256(&[seed.as_bytes()]);
        Self(Ed25519KeyPair::from_seed_unchecked(seed.as_bytes()).unwrap())
    }

    fn blob(&self) -> Vec<u8> {
        [string(b"ssh-ed25519"), string(self.0.public_key().as_ref())].concat()
    }

    pub(crate) fn public(&self) -> SshPublicKey {
        SshPublicKey::from_blob(&self.blob()).unwrap()
    }

    /// Adds an SSHSIG (OpenSSH's PROTOCOL.sshsig) as `ssh-keygen -Y sign` makes it.
    pub(crate) fn sign(&self, envelope: &mut Envelope) {
        let namespace = envelope.payload_type().to_owned();
        let hash = digest::digest(&digest::SHA512, &envelope.message());
        let head = [string(namespace.as_bytes()), string(b""), string(b"sha512")].concat();
        let signed = [b"SSHSIG".as_slice(), &head, &string(hash.as_ref())].concat();
        let raw = [string(b"ssh-ed25519"), string(self.0.sign(&signed).as_ref())].concat();
        let bytes = [
            b"SSHSIG".as_slice(),
            &1_u32.to_be_bytes(),
            &string(&self.blob()),
            &head,
            &string(&raw),
        ]
        .concat();
        envelope.add(Signature { key: self.public().fingerprint(), bytes });
    }
}

pub(crate) fn name(text: &str) -> ObjectName {
    ObjectName::parse(text).unwrap()
}

/// An id made of a word, so that a test can name things.
pub(crate) fn id(word: &str) -> Id {
    let digest = sha256(&[word.as_bytes()]);
    Id::parse(&digest.as_bytes()[..16]).unwrap()
}

/// The fleet's beginning and its approver's tool.
pub(crate) struct World {
    pub(crate) online: Vec<u8>,
    pub(crate) trust: Envelope,
    pub(crate) approver: Key,
    pub(crate) chain: Chain,
    pub(crate) links: Vec<PublishedLink>,
    pub(crate) history: History,
    pub(crate) log: LogHead,
    /// When the next link is cut.
    pub(crate) time: Timestamp,
}

impl World {
    pub(crate) fn new() -> Self {
        Self::with_limits((1_000, 29_999), (30_000, 59_999))
    }

    /// A fleet whose trust root gives numbers from these ranges.
    pub(crate) fn with_limits(uids: (u32, u32), gids: (u32, u32)) -> Self {
        let online = signer::generate().unwrap();
        let (approver, root) = (Key::new("approver"), Key::new("root"));
        let machine = MachineKey::from_pkcs8(&online).unwrap();
        let keys =
            BTreeMap::from([(approver.public(), Duty::Approver), (root.public(), Duty::Root)]);
        let group = ApproverGroup { members: BTreeSet::from([name("ana")]), threshold: 1 };
        let trust_root = TrustRoot {
            lineage: None,
            version: 1,
            previous: None,
            since: None,
            people: BTreeMap::from([(name("ana"), keys)]),
            approver_groups: BTreeMap::from([(name("ops"), group)]),
            root_threshold: 1,
            machine_keys: BTreeSet::from([machine.public()]),
            proposers: ProposerRule::Count,
            stale_after: 90 * 86_400,
            expires: NOW.plus(2 * 365 * 86_400),
            limits: Limits { uids, gids, recertify_after: None },
        };
        let mut trust = Envelope::new(&trust_root);
        root.sign(&mut trust);
        let genesis = Verified::<TrustRoot>::genesis(&trust, trust.digest()).unwrap();
        let log = LogHead {
            origin: muster_controller::audit::origin(trust.digest()),
            size: 0,
            root: muster_proto::merkle::Tree::Log.root(&[]),
        };
        Self {
            online,
            trust,
            approver,
            chain: Chain::new(genesis),
            links: Vec::new(),
            history: History::default(),
            log,
            time: NOW,
        }
    }

    pub(crate) fn lineage(&self) -> Digest {
        self.trust.digest()
    }

    /// The next revision of a statement.
    pub(crate) fn statement(&self, id: Id, content: Content) -> Statement {
        let old = self.chain.statements().get(&id);
        Statement {
            lineage: self.lineage(),
            id,
            revision: old.map_or(1, |old| old.revision + 1),
            previous: old.map(Document::digest),
            reinstates: BTreeSet::new(),
            content,
        }
    }

    pub(crate) fn user(&self, login: &str, uid: u32, groups: &[&str]) -> Statement {
        let user = User {
            login: Login::parse(login).unwrap(),
            uid: Uid::parse(uid).unwrap(),
            name: FullName::parse(login).unwrap(),
            keys: vec![UserKey {
                key: Key::new(login).public(),
                comment: Line::parse("").unwrap(),
                options: KeyOptions::default(),
            }],
            groups: groups.iter().map(|group| id(group)).collect(),
            shell: None,
            home: None,
            home_mode: None,
            starts: None,
            ends: None,
            kind: UserKind::Person,
            restrictions: Restrictions::default(),
        };
        self.statement(id(login), Content::User(user))
    }

    pub(crate) fn group(&self, word: &str) -> Statement {
        self.statement(id(word), Content::Group(Group { name: name(word) }))
    }

    pub(crate) fn role(&self, word: &str, unix_groups: &[&str]) -> Statement {
        let role = Role {
            name: name(word),
            unix_group_mode: UnixGroupMode::AtLeast,
            unix_groups: unix_groups.iter().map(|group| id(group)).collect(),
            host_unix_groups: BTreeSet::new(),
            sudo: Vec::new(),
            login_methods: BTreeSet::new(),
            password: None,
        };
        self.statement(id(word), Content::Role(role))
    }

    pub(crate) fn assignment(
        &self,
        word: &str,
        subject: &str,
        role: &str,
        hosts: &str,
        from: Option<Timestamp>,
    ) -> Statement {
        let assignment = Assignment {
            name: name(word),
            subject: id(subject),
            role: id(role),
            hosts: Selector::parse(hosts).unwrap(),
            from,
            until: None,
            reason: Line::parse("a test").unwrap(),
            ticket: Line::parse("").unwrap(),
            recertify_by: None,
        };
        self.statement(id(word), Content::Assignment(assignment))
    }

    pub(crate) fn removal(&self, word: &str, kind: Kind) -> Statement {
        self.statement(id(word), Content::Removal(kind))
    }

    /// Proposes, cuts and signs the next link, and takes it.
    pub(crate) fn publish(&mut self, statements: Vec<Statement>) -> PublishedLink {
        let link = self.cut(statements);
        self.history.pass(self.chain.statements(), &LinkBody::decode(&link.body).unwrap());
        self.chain.extend(&link.link, &link.body, &link.proposals, self.time).unwrap();
        self.links.push(link.clone());
        link
    }

    /// Proposes, cuts and signs the next link.
    pub(crate) fn cut(&self, statements: Vec<Statement>) -> PublishedLink {
        self.try_cut(statements).unwrap()
    }

    /// Cuts a link, or nothing if the directory's rules do not allow it.
    pub(crate) fn try_cut(&self, mut statements: Vec<Statement>) -> Option<PublishedLink> {
        statements.sort_by_key(|statement| statement.id);
        let changed = statements.iter().map(|statement| statement.id).collect();
        let proposal = Proposal {
            lineage: self.lineage(),
            id: id("proposal"),
            time: NOW,
            reason: Line::parse("a test").unwrap(),
            statements,
            proposer: name("ana"),
        };
        let mut envelope = Envelope::new(&proposal);
        self.approver.sign(&mut envelope);
        let proposals = vec![envelope];
        let folds = self.chain.folds(&changed, &[]);
        let candidate = self.chain.cut(&proposals, folds, self.time, self.log.clone()).ok()?;
        let mut link = Envelope::new(&candidate.link);
        self.approver.sign(&mut link);
        Some(PublishedLink { link, body: candidate.body.encode(), proposals })
    }

    pub(crate) fn revocation(&self, word: &str, target: Target) -> Envelope {
        let mut envelope = Envelope::new(&self.revoking(word, target));
        self.approver.sign(&mut envelope);
        envelope
    }

    /// A revocation that only the controller has signed.
    pub(crate) fn online_revocation(&self, word: &str, target: Target) -> Envelope {
        let online = MachineKey::from_pkcs8(&self.online).unwrap();
        Envelope::sign(&self.revoking(word, target), &online)
    }

    pub(crate) fn revoking(&self, word: &str, target: Target) -> Revocation {
        Revocation {
            lineage: self.lineage(),
            id: id(word),
            time: NOW,
            reason: Line::parse("a test").unwrap(),
            target,
        }
    }
}
