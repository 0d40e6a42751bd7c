//! What must never go back: trust root, floor, what was proved, what was revoked, what is owned,
//! signed time. One file, replaced whole; a state directory without it is not version zero but an
//! error, since an agent that forgot would give again what was taken.

use std::collections::{BTreeMap, BTreeSet};

use muster_proto::{
    bundle::{Floor, Step, VerifiedBundle},
    convert::Malformed,
    derive::Statements,
    desired::{Grant, Pins},
    envelope::{Document, Envelope, Verified},
    id::{Digest, HostId, Id},
    link::{Link, LinkRef, Revocation},
    name::{BadName, Gid, Login, Uid, UnixGroupName},
    revocations::Revocations,
    statement::{Statement, UnixGroupMode, UserKind},
    time::Timestamp,
    trust::{Refused, TrustRoot},
};
use prost::Message;

use crate::{
    clock::Remembered,
    ends::Ended,
    ownership::{Origin, OwnedAccount, Ownership},
};

/// Everything that the keeper remembers.
#[derive(Clone, Debug)]
pub struct Ledger {
    /// Which fleet.
    pub lineage: Digest,
    /// Which host.
    pub host: HostId,
    trust_roots: Vec<Envelope>,
    trust: Verified<TrustRoot>,
    /// The newest verified link, or the one that the token pinned.
    pub floor: Option<Floor>,
    floor_link: Option<(Envelope, Link)>,
    known: BTreeMap<Id, Known>,
    revocations: BTreeMap<Id, Revocation>,
    /// What was last desired (G).
    pub held: BTreeSet<Grant>,
    /// Logins and uids that belong together for ever.
    pub pins: Pins,
    /// What Muster made or adopted here.
    pub ownership: Ownership,
    /// What time it was when the ledger was written.
    pub time: Remembered,
    /// What has ended by its date, so that no clock revives it.
    pub ended: Ended,
    /// The newest receipt.
    pub receipt: Option<(u64, Digest)>,
    /// Links that contradict each other, as they came.
    pub evidence: Vec<Vec<u8>>,
}

/// A statement and the floor that it was last proved under.
#[derive(Clone, Debug)]
struct Known {
    statement: Statement,
    floor: u64,
}

/// Why a ledger cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum BadLedger {
    /// Not protobuf, or cut short.
    #[error("the ledger is damaged")]
    Encoding(#[from] prost::DecodeError),
    /// A document inside is.
    #[error("the ledger holds a document that is damaged")]
    Malformed(#[from] Malformed),
    /// A trust root inside is not believed.
    #[error("the ledger holds a trust root that does not verify")]
    Trust(#[from] Refused),
    /// A name or number inside cannot be.
    #[error("the ledger holds a name that cannot be")]
    Name(#[from] BadName),
    /// A digest is of the wrong length.
    #[error("the ledger holds a digest or id that is damaged")]
    Length(#[from] muster_proto::id::WrongLength),
    /// There is no trust root.
    #[error("the ledger holds no trust root")]
    NoTrustRoot,
}

/// The file. Tags are never used again.
#[derive(Clone, PartialEq, Message)]
struct File {
    #[prost(bytes = "vec", tag = "1")]
    lineage: Vec<u8>,
    #[prost(bytes = "vec", tag = "2")]
    host: Vec<u8>,
    #[prost(bytes = "vec", repeated, tag = "3")]
    trust_roots: Vec<Vec<u8>>,
    #[prost(uint64, tag = "4")]
    floor_trust_version: u64,
    #[prost(uint64, tag = "5")]
    floor_number: u64,
    #[prost(bytes = "vec", tag = "6")]
    floor_digest: Vec<u8>,
    #[prost(bytes = "vec", tag = "7")]
    floor_envelope: Vec<u8>,
    #[prost(bytes = "vec", tag = "8")]
    floor_link: Vec<u8>,
    #[prost(message, repeated, tag = "9")]
    known: Vec<FileKnown>,
    #[prost(bytes = "vec", repeated, tag = "10")]
    revocations: Vec<Vec<u8>>,
    #[prost(bytes = "vec", repeated, tag = "11")]
    held: Vec<Vec<u8>>,
    #[prost(message, repeated, tag = "12")]
    pins: Vec<FileNumber>,
    #[prost(message, repeated, tag = "13")]
    accounts: Vec<FileAccount>,
    #[prost(message, repeated, tag = "14")]
    unix_groups: Vec<FileNumber>,
    #[prost(uint64, tag = "15")]
    sworn_time: u64,
    #[prost(uint64, tag = "16")]
    receipt_number: u64,
    #[prost(bytes = "vec", tag = "17")]
    receipt_digest: Vec<u8>,
    #[prost(bytes = "vec", repeated, tag = "18")]
    evidence: Vec<Vec<u8>>,
    #[prost(uint64, tag = "19")]
    said_time: u64,
    #[prost(message, repeated, tag = "20")]
    ended: Vec<FileEnded>,
}

/// A statement that has ended by its date, and up to which revision.
#[derive(Clone, PartialEq, Message)]
struct FileEnded {
    #[prost(bytes = "vec", tag = "1")]
    id: Vec<u8>,
    #[prost(uint64, tag = "2")]
    revision: u64,
}

#[derive(Clone, PartialEq, Message)]
struct FileKnown {
    #[prost(bytes = "vec", tag = "1")]
    statement: Vec<u8>,
    #[prost(uint64, tag = "2")]
    floor: u64,
}

/// A name and its number.
#[derive(Clone, PartialEq, Message)]
struct FileNumber {
    #[prost(string, tag = "1")]
    name: String,
    #[prost(uint32, tag = "2")]
    number: u32,
}

/// An account of Muster's. The lines are those that an adoption replaced; empty if it was created.
#[derive(Clone, PartialEq, Message)]
struct FileAccount {
    #[prost(string, tag = "1")]
    login: String,
    #[prost(uint32, tag = "2")]
    uid: u32,
    #[prost(string, tag = "3")]
    passwd: String,
    #[prost(string, tag = "4")]
    shadow: String,
    #[prost(bool, tag = "5")]
    service: bool,
    #[prost(uint32, tag = "6")]
    mode: u32,
    #[prost(string, repeated, tag = "7")]
    given: Vec<String>,
    #[prost(bool, tag = "8")]
    sessions_owed: bool,
}

impl FileAccount {
    fn new(login: &Login, owned: &OwnedAccount) -> Self {
        let (passwd, shadow) = match &owned.origin {
            Origin::Created => (String::new(), String::new()),
            Origin::Adopted { passwd, shadow } => (passwd.clone(), shadow.clone()),
        };
        Self {
            login: login.to_string(),
            uid: owned.uid.get(),
            passwd,
            shadow,
            service: owned.kind == UserKind::Service,
            mode: match owned.mode {
                UnixGroupMode::HandsOff => 0,
                UnixGroupMode::AtLeast => 1,
                UnixGroupMode::Exactly => 2,
            },
            given: owned.given.iter().map(ToString::to_string).collect(),
            sessions_owed: owned.sessions_owed,
        }
    }

    fn owned(&self) -> Result<OwnedAccount, BadName> {
        let given: Result<_, _> = self.given.iter().map(|n| UnixGroupName::parse(n)).collect();
        Ok(OwnedAccount {
            uid: Uid::parse(self.uid)?,
            origin: if self.passwd.is_empty() {
                Origin::Created
            } else {
                Origin::Adopted { passwd: self.passwd.clone(), shadow: self.shadow.clone() }
            },
            kind: if self.service { UserKind::Service } else { UserKind::Person },
            mode: match self.mode {
                0 => UnixGroupMode::HandsOff,
                1 => UnixGroupMode::AtLeast,
                _ => UnixGroupMode::Exactly,
            },
            given: given?,
            sessions_owed: self.sessions_owed,
        })
    }
}

impl Ledger {
    /// Begins with what a token pinned: the trust roots up to now, and the floor.
    pub fn begin(
        host: HostId,
        lineage: Digest,
        trust_roots: Vec<Envelope>,
        floor: Option<LinkRef>,
    ) -> Result<Self, BadLedger> {
        let trust = follow(&trust_roots, lineage)?;
        let floor = floor.map(|link| Floor { trust_version: trust.version, link });
        Ok(Self {
            lineage,
            host,
            trust_roots,
            trust,
            floor,
            floor_link: None,
            known: BTreeMap::new(),
            revocations: BTreeMap::new(),
            held: BTreeSet::new(),
            pins: Pins::new(),
            ownership: Ownership::default(),
            time: Remembered::default(),
            ended: Ended::new(),
            receipt: None,
            evidence: Vec::new(),
        })
    }

    /// Reads the file's bytes.
    pub fn decode(bytes: &[u8]) -> Result<Self, BadLedger> {
        let file = File::decode(bytes)?;
        let lineage = Digest::parse(&file.lineage)?;
        let trust_roots: Vec<Envelope> =
            file.trust_roots.iter().map(|b| Envelope::decode(b)).collect::<Result<_, _>>()?;
        let mut ledger = Self::begin(Digest::parse(&file.host)?, lineage, trust_roots, None)?;
        if file.floor_number > 0 {
            let digest = Digest::parse(&file.floor_digest)?;
            let link = LinkRef { number: file.floor_number, digest };
            ledger.floor = Some(Floor { trust_version: file.floor_trust_version, link });
        }
        if !file.floor_link.is_empty() {
            let envelope = Envelope::decode(&file.floor_envelope)?;
            ledger.floor_link = Some((envelope, Link::decode(&file.floor_link)?));
        }
        for known in &file.known {
            let statement = Statement::decode(&known.statement)?;
            ledger.known.insert(statement.id, Known { statement, floor: known.floor });
        }
        for bytes in &file.revocations {
            let revocation = Revocation::decode(bytes)?;
            ledger.revocations.insert(revocation.id, revocation);
        }
        for bytes in &file.held {
            ledger.held.insert(Grant::decode(bytes)?);
        }
        for pin in &file.pins {
            ledger.pins.insert(Login::parse(&pin.name)?, Uid::parse(pin.number)?);
        }
        for account in &file.accounts {
            ledger.ownership.accounts.insert(Login::parse(&account.login)?, account.owned()?);
        }
        for group in &file.unix_groups {
            let (name, gid) = (UnixGroupName::parse(&group.name)?, Gid::parse(group.number)?);
            ledger.ownership.unix_groups.insert(name, gid);
        }
        ledger.time =
            Remembered { sworn: Timestamp(file.sworn_time), said: Timestamp(file.said_time) };
        for ended in &file.ended {
            ledger.ended.insert(Id::parse(&ended.id)?, ended.revision);
        }
        if file.receipt_number > 0 {
            ledger.receipt = Some((file.receipt_number, Digest::parse(&file.receipt_digest)?));
        }
        ledger.evidence = file.evidence;
        Ok(ledger)
    }

    /// Returns the file's bytes.
    pub fn encode(&self) -> Vec<u8> {
        let number = |name: String, number| FileNumber { name, number };
        File {
            lineage: self.lineage.as_bytes().to_vec(),
            host: self.host.as_bytes().to_vec(),
            trust_roots: self.trust_roots.iter().map(Document::encode).collect(),
            floor_trust_version: self.floor.map_or(0, |floor| floor.trust_version),
            floor_number: self.floor.map_or(0, |floor| floor.link.number),
            floor_digest: self.floor.map_or(Vec::new(), |f| f.link.digest.as_bytes().to_vec()),
            floor_envelope: self.floor_link.as_ref().map_or(Vec::new(), |(e, _)| e.encode()),
            floor_link: self.floor_link.as_ref().map_or(Vec::new(), |(_, link)| link.encode()),
            known: self
                .known
                .values()
                .map(|known| FileKnown { statement: known.statement.encode(), floor: known.floor })
                .collect(),
            revocations: self.revocations.values().map(Document::encode).collect(),
            held: self.held.iter().map(Document::encode).collect(),
            pins: self
                .pins
                .iter()
                .map(|(login, uid)| number(login.to_string(), uid.get()))
                .collect(),
            accounts: self
                .ownership
                .accounts
                .iter()
                .map(|(login, owned)| FileAccount::new(login, owned))
                .collect(),
            unix_groups: self
                .ownership
                .unix_groups
                .iter()
                .map(|(name, gid)| number(name.to_string(), gid.get()))
                .collect(),
            sworn_time: self.time.sworn.0,
            said_time: self.time.said.0,
            ended: self
                .ended
                .iter()
                .map(|(id, revision)| FileEnded { id: id.as_bytes().to_vec(), revision: *revision })
                .collect(),
            receipt_number: self.receipt.map_or(0, |(number, _)| number),
            receipt_digest: self.receipt.map_or(Vec::new(), |(_, d)| d.as_bytes().to_vec()),
            evidence: self.evidence.clone(),
        }
        .encode_to_vec()
    }

    /// Returns the newest trust root.
    pub fn trust(&self) -> &Verified<TrustRoot> {
        &self.trust
    }

    /// Returns the floor's header, once a bundle has brought one.
    pub fn floor_link(&self) -> Option<&Link> {
        self.floor_link.as_ref().map(|(_, link)| link)
    }

    /// Returns what is proved in the present floor's directory (F).
    pub fn proved(&self) -> Statements {
        let floor = self.floor.map_or(0, |floor| floor.link.number);
        self.known
            .iter()
            .filter(|(_, known)| known.floor == floor)
            .map(|(id, known)| (*id, known.statement.clone()))
            .collect()
    }

    /// Returns the newest that was ever proved of each id (K).
    pub fn known(&self) -> Statements {
        self.known.iter().map(|(id, known)| (*id, known.statement.clone())).collect()
    }

    /// Returns those statements one by one.
    pub fn statements(&self) -> impl Iterator<Item = &Statement> {
        self.known.values().map(|known| &known.statement)
    }

    /// Returns the ids of all statements that this host has had.
    pub fn known_ids(&self) -> BTreeSet<Id> {
        self.known.keys().copied().collect()
    }

    /// Returns the revocations that are kept.
    pub fn revocations(&self) -> Revocations {
        let mut kept = Revocations::default();
        self.revocations.values().for_each(|revocation| kept.insert(revocation));
        kept
    }

    /// Takes what a verified bundle brings, and returns the revocations that are new here.
    pub fn take(&mut self, bundle: VerifiedBundle) -> BTreeSet<Id> {
        for (trust, envelope) in bundle.trust_roots {
            self.trust_roots.push(envelope);
            self.trust = trust;
        }
        let mut new = BTreeSet::new();
        for (revocation, _) in bundle.revocations {
            let revocation = revocation.into_inner();
            let id = revocation.id;
            if self.revocations.insert(id, revocation).is_none() {
                new.insert(id);
            }
        }
        let Some(found) = bundle.link else { return new };
        let number = found.link.number;
        if let Step::Abandoned(_) = found.step
            && let Some((envelope, _)) = &self.floor_link
        {
            self.evidence.push(envelope.encode());
        }
        let link = found.link.place(found.link.digest());
        self.floor = Some(Floor { trust_version: found.link.trust_version, link });
        self.floor_link = Some((found.envelope, found.link.into_inner()));
        for id in &found.absent {
            self.known.remove(id);
        }
        for statement in found.statements {
            self.known.insert(statement.id, Known { statement, floor: number });
        }
        new
    }
}

fn follow(envelopes: &[Envelope], lineage: Digest) -> Result<Verified<TrustRoot>, BadLedger> {
    let (first, rest) = envelopes.split_first().ok_or(BadLedger::NoTrustRoot)?;
    let mut trust = Verified::genesis(first, lineage)?;
    for envelope in rest {
        trust = trust.succeed(envelope)?;
    }
    Ok(trust)
}
