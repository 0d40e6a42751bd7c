//! Where drift is told and what is accepted of it, from the wire.

use std::collections::{BTreeMap, BTreeSet};

use muster_proto::{
    drift::Severity, envelope::Envelope, id::HostId, name::Line, time::Timestamp, wire,
};

use super::{ClientError, digest, envelope};
use crate::exception::{Accepted, DriftScope, Exception, Thing};

/// What drift to ask for.
#[derive(Clone, Debug, Default)]
pub struct DriftWanted {
    /// Of this host; nothing: of all.
    pub host: Option<HostId>,
    /// Of none of these.
    pub without: BTreeSet<HostId>,
    /// Only what is still there?
    pub scope: DriftScope,
    /// Only what is at least as grave.
    pub least: Option<Severity>,
    /// Only of this kind; nothing: of all.
    pub kind: Option<String>,
    /// Only about this; nothing: about everything.
    pub subject: Option<String>,
    /// Only what this user made, by the name that he logged in with; nothing: by whomever.
    pub by: Option<String>,
    /// Only what began from then on.
    pub since: Option<Timestamp>,
    /// Only what began before then.
    pub until: Option<Timestamp>,
    /// Only what was told after this place, oldest first; nothing: the newest, newest first.
    pub after: Option<u64>,
    /// So many at most.
    pub limit: u32,
}

/// Where drift is told.
#[derive(Clone, Debug, Default)]
pub struct Drifted {
    /// The places, in the order that was asked for.
    pub found: Vec<Told>,
    /// The receipts, yet to be verified.
    pub receipts: BTreeMap<(HostId, u64), Envelope>,
    /// Hosts with drift that is still there and not accepted.
    pub hosts: BTreeSet<HostId>,
    /// How much is still there and accepted.
    pub exceptions: u64,
    /// The newest place there is.
    pub newest: u64,
    /// Whether there is more than what was sent.
    pub more: bool,
    /// What is accepted and not there as it was accepted.
    pub unfound: Vec<(Thing, Exception)>,
}

/// Where one item is told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Told {
    /// Counts what was told, over all hosts.
    pub place: u64,
    /// By which host.
    pub host: HostId,
    /// In which of its receipts.
    pub receipt: u64,
    /// Which of the items there, from 0.
    pub item: u32,
    /// Whether it is still there.
    pub open: bool,
    /// What somebody has said who accepted it just so.
    pub exception: Option<Exception>,
}

impl DriftWanted {
    pub(super) fn request(&self) -> wire::DriftRequest {
        wire::DriftRequest {
            host: self.host.map(|host| host.as_bytes().to_vec()).unwrap_or_default(),
            scope: match self.scope {
                DriftScope::Unaccepted => wire::DriftScope::Unaccepted,
                DriftScope::Open => wire::DriftScope::Open,
                DriftScope::All => wire::DriftScope::Unspecified,
            }
            .into(),
            least: self.least.map_or(wire::Severity::Unspecified, wire::Severity::from).into(),
            kind: self.kind.clone().unwrap_or_default(),
            subject: self.subject.clone().unwrap_or_default(),
            by: self.by.clone().unwrap_or_default(),
            since: self.since.map(|time| time.0),
            until: self.until.map(|time| time.0),
            after: self.after,
            limit: self.limit,
            without: self.without.iter().map(|host| host.as_bytes().to_vec()).collect(),
        }
    }
}

impl Drifted {
    pub(super) fn read(reply: wire::DriftReply) -> Result<Self, ClientError> {
        let place = |found: wire::DriftPlace| -> Result<Told, ClientError> {
            let host = digest(&found.host)?;
            let wire::DriftPlace { place, receipt, item, open, exception, .. } = found;
            let exception = exception.map(self::exception).transpose()?;
            Ok(Told { place, host, receipt, item, open, exception })
        };
        let receipt = |told: wire::DriftReceipt| -> Result<_, ClientError> {
            let host = digest(&told.host)?;
            let receipt = told.receipt.ok_or(ClientError::Answer("a receipt"))?;
            Ok(((host, told.number), envelope(receipt)?))
        };
        let accepted = |told: wire::Accepted| -> Result<_, ClientError> {
            let thing = told.thing.ok_or(ClientError::Answer("what is accepted"))?;
            let wire::Thing { host, kind, subject, place } = thing;
            let thing = Thing { host: digest(&host)?, kind, subject, place };
            let exception = told.exception.ok_or(ClientError::Answer("an exception"))?;
            Ok((thing, self::exception(exception)?))
        };
        let hosts: Result<_, _> = reply.hosts.iter().map(|host| digest(host)).collect();
        Ok(Self {
            found: reply.found.into_iter().map(place).collect::<Result<_, _>>()?,
            receipts: reply.receipts.into_iter().map(receipt).collect::<Result<_, _>>()?,
            hosts: hosts?,
            exceptions: reply.exceptions,
            newest: reply.newest,
            more: reply.more,
            unfound: reply.unfound.into_iter().map(accepted).collect::<Result<_, _>>()?,
        })
    }
}

pub(super) fn withdrawal(which: Accepted, reason: &Line) -> wire::WithdrawExceptionRequest {
    let (place, thing) = match which {
        Accepted::At(place) => (place, None),
        Accepted::Of(Thing { host, kind, subject, place }) => {
            let host = host.as_bytes().to_vec();
            (0, Some(wire::Thing { host, kind, subject, place }))
        }
    };
    wire::WithdrawExceptionRequest { place, reason: reason.to_string(), thing }
}

pub(super) fn exception(told: wire::Exception) -> Result<Exception, ClientError> {
    let reason = Line::parse(&told.reason).map_err(|_| ClientError::Answer("a reason"))?;
    let (until, made) = (Timestamp(told.until), Timestamp(told.made));
    Ok(Exception { until, by: told.by, made, reason })
}
