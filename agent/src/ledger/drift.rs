//! What the ledger's file holds of drift.

use std::collections::{BTreeMap, BTreeSet};

use muster_proto::{
    drift::{Culprit, DriftKind, Response, Severity},
    id::{Digest, WrongLength},
    time::Timestamp,
};
use prost::Message;

use crate::drift::{
    What,
    memory::Memory,
    open::{Open, Presence},
};

/// What was told and what was left so. Tags are never used again.
#[derive(Clone, PartialEq, Message)]
pub(super) struct FileDrift {
    /// Empty before the first look.
    #[prost(bytes = "vec", tag = "1")]
    wanted: Vec<u8>,
    #[prost(bytes = "vec", repeated, tag = "2")]
    expected: Vec<Vec<u8>>,
    #[prost(bytes = "vec", repeated, tag = "3")]
    inherited: Vec<Vec<u8>>,
    #[prost(message, repeated, tag = "4")]
    open: Vec<FileOpen>,
}

#[derive(Clone, PartialEq, Message)]
struct FileOpen {
    #[prost(string, tag = "1")]
    kind: String,
    #[prost(string, tag = "2")]
    subject: String,
    #[prost(string, tag = "3")]
    place: String,
    #[prost(string, tag = "4")]
    expected: String,
    #[prost(string, tag = "5")]
    found: String,
    #[prost(uint32, tag = "6")]
    severity: u32,
    #[prost(uint64, tag = "7")]
    since: u64,
    #[prost(uint32, tag = "8")]
    response: u32,
    #[prost(message, optional, tag = "9")]
    culprit: Option<FileCulprit>,
    /// It is put right and comes again, each time.
    #[prost(bool, tag = "10")]
    returns: bool,
}

#[derive(Clone, PartialEq, Message)]
struct FileCulprit {
    #[prost(uint32, tag = "1")]
    pid: u32,
    #[prost(string, tag = "2")]
    program: String,
    #[prost(string, tag = "3")]
    command: String,
    #[prost(string, tag = "4")]
    login: String,
    #[prost(string, tag = "5")]
    unit: String,
}

const RESPONSES: [Response; 3] = [Response::Reported, Response::Failed, Response::Contested];

impl From<&Memory> for FileDrift {
    fn from(memory: &Memory) -> Self {
        let bytes = |digest: &Digest| digest.as_bytes().to_vec();
        Self {
            wanted: memory.wanted.as_ref().map(bytes).unwrap_or_default(),
            expected: memory.expected.iter().map(bytes).collect(),
            inherited: memory.inherited.iter().map(bytes).collect(),
            open: memory.open.iter().map(FileOpen::from).collect(),
        }
    }
}

impl FileDrift {
    /// Reads it back. A word that is not known here is left out: what it is about is told again.
    pub(super) fn memory(&self) -> Result<Memory, WrongLength> {
        let digests = |all: &[Vec<u8>]| -> Result<BTreeSet<Digest>, WrongLength> {
            all.iter().map(|bytes| Digest::parse(bytes)).collect()
        };
        let wanted = if self.wanted.is_empty() { None } else { Some(Digest::parse(&self.wanted)?) };
        Ok(Memory {
            wanted,
            expected: digests(&self.expected)?,
            inherited: digests(&self.inherited)?,
            open: self.open.iter().filter_map(FileOpen::open).collect(),
            rounds: BTreeMap::new(),
        })
    }
}

impl From<(&What, &Open)> for FileOpen {
    fn from((what, open): (&What, &Open)) -> Self {
        let place =
            |at: Option<usize>| at.and_then(|at| u32::try_from(at).ok()).unwrap_or(u32::MAX);
        Self {
            kind: what.kind.as_str().to_owned(),
            subject: what.subject.clone(),
            place: what.place.clone(),
            expected: open.expected.clone(),
            found: open.found.clone(),
            severity: place(Severity::ALL.iter().position(|one| *one == open.severity)),
            since: open.since.0,
            response: place(RESPONSES.iter().position(|one| *one == open.response)),
            culprit: open.culprit.clone().map(|by| FileCulprit {
                pid: by.pid,
                program: by.program,
                command: by.command,
                login: by.login,
                unit: by.unit,
            }),
            returns: open.presence == Presence::Returns,
        }
    }
}

impl FileOpen {
    fn open(&self) -> Option<(What, Open)> {
        let kind = DriftKind::parse(&self.kind)?;
        let place = |number: u32| usize::try_from(number).ok();
        let open = Open {
            expected: self.expected.clone(),
            found: self.found.clone(),
            severity: *Severity::ALL.get(place(self.severity)?)?,
            since: Timestamp(self.since),
            response: *RESPONSES.get(place(self.response)?)?,
            culprit: self.culprit.clone().map(|by| Culprit {
                pid: by.pid,
                program: by.program,
                command: by.command,
                login: by.login,
                unit: by.unit,
            }),
            presence: if self.returns { Presence::Returns } else { Presence::Stays },
        };
        Some((What::new(kind, &self.subject, &self.place), open))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn drift_is_remembered_as_it_is_but_for_its_rounds() {
        let mut memory = Memory::default();
        assert_eq!(FileDrift::from(&memory).memory().unwrap(), memory);
        let digest = Digest::parse(&[7; 32]).unwrap();
        memory.wanted = Some(digest);
        memory.expected.insert(digest);
        memory.inherited.insert(digest);
        let all =
            Severity::ALL.iter().flat_map(|one| RESPONSES.iter().map(move |two| (*one, *two)));
        for (number, (severity, response)) in all.enumerate() {
            let open = Open {
                expected: "a".to_owned(),
                found: "b".to_owned(),
                severity,
                since: Timestamp(9),
                response,
                culprit: (number % 2 == 0).then(|| Culprit {
                    pid: 3,
                    login: "ops".to_owned(),
                    ..Culprit::default()
                }),
                presence: if number % 3 == 0 { Presence::Returns } else { Presence::Stays },
            };
            memory.open.insert(What::new(DriftKind::UidZero, number.to_string(), "x"), open);
        }
        assert_eq!(FileDrift::from(&memory).memory().unwrap(), memory);
    }
}
