//! What the ledger's file holds of drift.

use std::collections::{BTreeMap, BTreeSet};

use muster_proto::{
    drift::{Culprit, Drift, DriftKind, Response, Severity},
    id::{Digest, WrongLength},
    time::Timestamp,
};
use prost::Message;

use crate::drift::{
    What,
    memory::{Memory, Over, Tellings},
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
    open: Vec<FileTold>,
    #[prost(message, repeated, tag = "5")]
    begun: Vec<FileTold>,
    #[prost(message, repeated, tag = "6")]
    untold: Vec<FileTold>,
    #[prost(bool, tag = "7")]
    has_gap: bool,
    #[prost(message, repeated, tag = "8")]
    over: Vec<FileTold>,
}

#[derive(Clone, PartialEq, Message)]
struct FileTold {
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
    #[prost(uint32, tag = "11")]
    rounds: u32,
    /// The receipt that tells it, which waits; 0: none does.
    #[prost(uint64, tag = "12")]
    receipt: u64,
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

/// By their numbers in the file.
const RESPONSES: [Response; 5] =
    [Response::Reported, Response::Failed, Response::Contested, Response::Repaired, Response::Gone];

impl From<&Memory> for FileDrift {
    fn from(memory: &Memory) -> Self {
        let bytes = |digest: &Digest| digest.as_bytes().to_vec();
        Self {
            wanted: memory.wanted.as_ref().map(bytes).unwrap_or_default(),
            expected: memory.expected.iter().map(bytes).collect(),
            inherited: memory.inherited.iter().map(bytes).collect(),
            open: memory.open.iter().map(FileTold::from).collect(),
            begun: memory.begun.iter().map(FileTold::from).collect(),
            untold: memory.untold.iter().map(FileTold::from).collect(),
            has_gap: memory.has_gap,
            over: memory.over.values().map(FileTold::from).collect(),
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
            open: self.open.iter().filter_map(FileTold::open).collect(),
            begun: self.begun.iter().filter_map(FileTold::open).collect(),
            untold: self.untold.iter().filter_map(FileTold::drift).collect(),
            has_gap: self.has_gap,
            over: self.over.iter().filter_map(FileTold::over).collect(),
            rounds: BTreeMap::new(),
            tellings: Tellings::default(),
        })
    }
}

impl From<&Drift> for FileTold {
    fn from(drift: &Drift) -> Self {
        let place =
            |at: Option<usize>| at.and_then(|at| u32::try_from(at).ok()).unwrap_or(u32::MAX);
        Self {
            kind: drift.kind.clone(),
            subject: drift.subject.clone(),
            place: drift.place.clone(),
            expected: drift.expected.clone(),
            found: drift.found.clone(),
            severity: place(Severity::ALL.iter().position(|one| *one == drift.severity)),
            since: drift.since.0,
            response: place(RESPONSES.iter().position(|one| *one == drift.response)),
            culprit: drift.culprit.clone().map(|by| FileCulprit {
                pid: by.pid,
                program: by.program,
                command: by.command,
                login: by.login,
                unit: by.unit,
            }),
            returns: false,
            rounds: drift.rounds,
            receipt: 0,
        }
    }
}

impl From<&Over> for FileTold {
    fn from(over: &Over) -> Self {
        Self { receipt: over.receipt.unwrap_or(0), ..Self::from(&over.told) }
    }
}

impl From<(&What, &Open)> for FileTold {
    fn from((what, open): (&What, &Open)) -> Self {
        // What was found, without what is said of how it stays.
        let plain = Open { presence: Presence::Stays, ..open.clone() };
        let returns = open.presence == Presence::Returns;
        Self { returns, ..Self::from(&plain.told(what, 0)) }
    }
}

impl FileTold {
    fn drift(&self) -> Option<Drift> {
        let place = |number: u32| usize::try_from(number).ok();
        Some(Drift {
            kind: self.kind.clone(),
            subject: self.subject.clone(),
            place: self.place.clone(),
            expected: self.expected.clone(),
            found: self.found.clone(),
            since: Timestamp(self.since),
            severity: *Severity::ALL.get(place(self.severity)?)?,
            response: *RESPONSES.get(place(self.response)?)?,
            rounds: self.rounds,
            culprit: self.culprit.clone().map(|by| Culprit {
                pid: by.pid,
                program: by.program,
                command: by.command,
                login: by.login,
                unit: by.unit,
            }),
        })
    }

    fn what(&self) -> Option<What> {
        Some(What::new(DriftKind::parse(&self.kind)?, &self.subject, &self.place))
    }

    fn over(&self) -> Option<(What, Over)> {
        let receipt = Some(self.receipt).filter(|receipt| *receipt > 0);
        Some((self.what()?, Over { receipt, told: self.drift()? }))
    }

    fn open(&self) -> Option<(What, Open)> {
        let Drift { expected, found, since, severity, response, culprit, .. } = self.drift()?;
        let presence = if self.returns { Presence::Returns } else { Presence::Stays };
        Some((self.what()?, Open { expected, found, severity, since, response, culprit, presence }))
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
            let what = What::new(DriftKind::UidZero, number.to_string(), "x");
            memory.untold.push(open.told(&what, 7));
            memory.begun.insert(what.clone(), Open { since: Timestamp(8), ..open.clone() });
            let receipt = u64::try_from(number).ok().filter(|number| *number > 0);
            memory.over.insert(what.clone(), Over { receipt, told: open.told(&what, 9) });
            memory.open.insert(what, open);
        }
        memory.has_gap = true;
        assert_eq!(FileDrift::from(&memory).memory().unwrap(), memory);
    }
}
