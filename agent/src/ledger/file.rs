//! The ledger's file: its fields, and how they are read back. What is read is parsed again, name by
//! name, since a file may be damaged.

use std::collections::BTreeMap;

use muster_proto::{
    bundle::Floor,
    desired::Grant,
    envelope::{Document, Envelope},
    id::{Digest, Id},
    link::{Link, LinkRef, Revocation},
    name::{AbsolutePath, BadName, Gid, Login, Uid, UnixGroupName},
    statement::{Statement, UnixGroupMode, UserKind},
    time::Timestamp,
};
use prost::Message;

use super::{
    BadLedger, Known, Ledger,
    drift::FileDrift,
    pause::FilePause,
    revoked::{Kept, Standing},
};
use crate::{
    clock::Remembered,
    format::OldLine,
    ownership::{Before, Origin, OwnedAccount},
};

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
    #[prost(message, repeated, tag = "19")]
    ended: Vec<FileEnded>,
    #[prost(uint64, tag = "20")]
    said_time: u64,
    #[prost(message, repeated, tag = "21")]
    passed: Vec<FileEnded>,
    #[prost(bytes = "vec", repeated, tag = "22")]
    unreported: Vec<Vec<u8>>,
    #[prost(bytes = "vec", repeated, tag = "23")]
    online_revocations: Vec<Vec<u8>>,
    #[prost(message, optional, tag = "24")]
    drift: Option<FileDrift>,
    /// Revocations of the online key alone that have taken nothing; those that count are above.
    #[prost(bytes = "vec", repeated, tag = "30")]
    idle_revocations: Vec<Vec<u8>>,
    /// Those that are new or held.
    #[prost(bytes = "vec", repeated, tag = "31")]
    waiting_revocations: Vec<Vec<u8>>,
    #[prost(message, repeated, tag = "32")]
    taken: Vec<FileTaken>,
    /// Absent: there is none.
    #[prost(message, optional, tag = "36")]
    pause: Option<FilePause>,
}

/// Who has lost something by the online key, and when.
#[derive(Clone, PartialEq, Message)]
struct FileTaken {
    #[prost(string, tag = "1")]
    login: String,
    #[prost(uint64, tag = "2")]
    at: u64,
}

#[derive(Clone, PartialEq, Message)]
struct FileKnown {
    #[prost(bytes = "vec", tag = "1")]
    statement: Vec<u8>,
    #[prost(uint64, tag = "2")]
    floor: u64,
}

/// What has ended, and at which revision.
#[derive(Clone, PartialEq, Message)]
struct FileEnded {
    #[prost(bytes = "vec", tag = "1")]
    id: Vec<u8>,
    #[prost(uint64, tag = "2")]
    revision: u64,
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
    /// 0 for one that is not locked.
    #[prost(uint64, tag = "9")]
    locked_at: u64,
    /// The supplementary Unix groups from before an adoption.
    #[prost(string, repeated, tag = "10")]
    unix_groups: Vec<String>,
    /// Empty for an adopted one, and where it is not known.
    #[prost(string, tag = "11")]
    home: String,
}

fn revisions(ended: &[FileEnded]) -> Result<BTreeMap<Id, u64>, BadLedger> {
    ended.iter().map(|ended| Ok((Id::parse(&ended.id)?, ended.revision))).collect()
}

fn file_revisions(ended: &BTreeMap<Id, u64>) -> Vec<FileEnded> {
    let file =
        |(id, revision): (&Id, &u64)| FileEnded { id: id.as_bytes().to_vec(), revision: *revision };
    ended.iter().map(file).collect()
}

impl FileAccount {
    fn new(login: &Login, owned: &OwnedAccount) -> Self {
        let before = match &owned.origin {
            Origin::Created => Before::default(),
            Origin::Adopted(before) => before.clone(),
        };
        Self {
            login: login.to_string(),
            uid: owned.uid.get(),
            passwd: before.passwd.as_str().to_owned(),
            shadow: before.shadow.as_str().to_owned(),
            service: owned.kind == UserKind::Service,
            mode: match owned.mode {
                UnixGroupMode::HandsOff => 0,
                UnixGroupMode::AtLeast => 1,
                UnixGroupMode::Exactly => 2,
            },
            given: owned.given.iter().map(ToString::to_string).collect(),
            sessions_owed: owned.sessions_owed,
            locked_at: owned.locked_at.map_or(0, |at| at.0),
            unix_groups: before.unix_groups.into_iter().collect(),
            home: owned.home.as_ref().map(ToString::to_string).unwrap_or_default(),
        }
    }

    fn owned(&self) -> Result<OwnedAccount, BadName> {
        let given: Result<_, _> = self.given.iter().map(|n| UnixGroupName::parse(n)).collect();
        Ok(OwnedAccount {
            uid: Uid::parse(self.uid)?,
            origin: if self.passwd.is_empty() {
                Origin::Created
            } else {
                Origin::Adopted(Before {
                    passwd: OldLine::kept(&self.passwd),
                    shadow: OldLine::kept(&self.shadow),
                    unix_groups: self.unix_groups.iter().cloned().collect(),
                })
            },
            home: if self.home.is_empty() { None } else { Some(AbsolutePath::parse(&self.home)?) },
            kind: if self.service { UserKind::Service } else { UserKind::Person },
            mode: match self.mode {
                0 => UnixGroupMode::HandsOff,
                1 => UnixGroupMode::AtLeast,
                _ => UnixGroupMode::Exactly,
            },
            given: given?,
            sessions_owed: self.sessions_owed,
            locked_at: (self.locked_at > 0).then_some(Timestamp(self.locked_at)),
        })
    }
}

impl Ledger {
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
        for (standing, revocations) in [
            (Standing::Approved, &file.revocations),
            (Standing::Admitted, &file.online_revocations),
            (Standing::Idle, &file.idle_revocations),
            (Standing::Waiting, &file.waiting_revocations),
        ] {
            for bytes in revocations {
                let revocation = Revocation::decode(bytes)?;
                let place = (revocation.id, revocation.target);
                ledger.revocations.insert(place, Kept { revocation, standing });
            }
        }
        for taken in &file.taken {
            ledger.window.taken.insert(Login::parse(&taken.login)?, Timestamp(taken.at));
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
        if file.receipt_number > 0 {
            ledger.receipt = Some((file.receipt_number, Digest::parse(&file.receipt_digest)?));
        }
        ledger.evidence = file.evidence;
        ledger.ended = revisions(&file.ended)?;
        ledger.passed = revisions(&file.passed)?;
        ledger.drift = file.drift.unwrap_or_default().memory()?;
        for id in &file.unreported {
            ledger.unreported.insert(Id::parse(id)?);
        }
        ledger.pause = file.pause.map(FilePause::pause).transpose()?;
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
            revocations: self.standing(Standing::Approved),
            online_revocations: self.standing(Standing::Admitted),
            idle_revocations: self.standing(Standing::Idle),
            waiting_revocations: self.standing(Standing::Waiting),
            taken: self
                .window
                .taken
                .iter()
                .map(|(login, at)| FileTaken { login: login.to_string(), at: at.0 })
                .collect(),
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
            receipt_number: self.receipt.map_or(0, |(number, _)| number),
            receipt_digest: self.receipt.map_or(Vec::new(), |(_, d)| d.as_bytes().to_vec()),
            evidence: self.evidence.clone(),
            ended: file_revisions(&self.ended),
            said_time: self.time.said.0,
            passed: file_revisions(&self.passed),
            unreported: self.unreported.iter().map(|id| id.as_bytes().to_vec()).collect(),
            drift: Some(FileDrift::from(&self.drift)),
            pause: self.pause.as_ref().map(FilePause::from),
        }
        .encode_to_vec()
    }

    fn standing(&self, standing: Standing) -> Vec<Vec<u8>> {
        let such = self.revocations.values().filter(|kept| kept.standing == standing);
        such.map(|kept| kept.revocation.encode()).collect()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn an_account_is_remembered_as_it_is() {
        let login = Login::parse("ana").unwrap();
        let created = OwnedAccount {
            uid: Uid::parse(2_001).unwrap(),
            origin: Origin::Created,
            home: Some(AbsolutePath::parse("/home/ana").unwrap()),
            kind: UserKind::Person,
            mode: UnixGroupMode::AtLeast,
            given: BTreeSet::from([UnixGroupName::parse("web").unwrap()]),
            sessions_owed: false,
            locked_at: None,
        };
        let adopted = OwnedAccount {
            origin: Origin::Adopted(Before {
                passwd: OldLine::kept("ana:x"),
                shadow: OldLine::default(),
                unix_groups: BTreeSet::from(["adm".to_owned()]),
            }),
            home: None,
            kind: UserKind::Service,
            sessions_owed: true,
            locked_at: Some(Timestamp(1)),
            ..created.clone()
        };
        for owned in [created, adopted] {
            let bytes = FileAccount::new(&login, &owned).encode_to_vec();
            assert_eq!(FileAccount::decode(&*bytes).unwrap().owned().unwrap(), owned);
        }
    }
}
