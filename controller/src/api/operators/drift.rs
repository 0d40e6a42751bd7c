//! Where drift is told and what is accepted of it, as the contract has it.

use muster_proto::{drift::Severity, time::Timestamp, wire};
use tonic::Status;

use super::{
    super::{digest, internal},
    line,
};
use crate::{
    exception::{Accepted, DriftScope, Exception, Thing},
    fleet::{Acceptance, ExceptError},
    store::{DriftQuery, FoundDrift, Store},
    told::told,
};

/// The most that is sent at once.
const MOST: u32 = 10_000;
/// The most hosts that may be left out.
const MOST_WITHOUT: usize = 100_000;

pub(super) async fn find(
    store: &Store,
    request: wire::DriftRequest,
    now: Timestamp,
) -> Result<wire::DriftReply, Status> {
    let host = if request.host.is_empty() { None } else { Some(digest(&request.host, "host")?) };
    if request.without.len() > MOST_WITHOUT {
        return Err(Status::invalid_argument("too many hosts to leave out"));
    }
    let without = request.without.iter().map(|host| digest(host, "host"));
    let query = DriftQuery {
        host,
        without: without.collect::<Result<_, _>>()?,
        scope: match request.scope() {
            wire::DriftScope::Unaccepted => DriftScope::Unaccepted,
            wire::DriftScope::Open => DriftScope::Open,
            wire::DriftScope::Unspecified => DriftScope::All,
        },
        least: Severity::try_from(request.least()).ok(),
        kind: request.kind,
        subject: request.subject,
        by: request.by,
        since: request.since.map(Timestamp),
        until: request.until.map(Timestamp),
        after: request.after,
        limit: if request.limit == 0 { MOST } else { request.limit.min(MOST) },
    };
    let newest = store.newest_drift().await.map_err(|error| internal(&error))?;
    let page = store.drift(&query, now).await.map_err(|error| internal(&error))?;
    let count = store.drift_count(now).await.map_err(|error| internal(&error))?;
    let (unfound, more_unfound) = match (query.scope, query.after) {
        (DriftScope::Open, None) => {
            store.unfound(&query, now).await.map_err(|error| internal(&error))?
        }
        _ => (Vec::new(), false),
    };
    let receipts = page.receipts.iter().map(|((host, number), receipt)| wire::DriftReceipt {
        host: host.as_bytes().to_vec(),
        number: *number,
        receipt: Some(wire::Envelope::from(receipt)),
    });
    Ok(wire::DriftReply {
        found: page.found.iter().map(place).collect(),
        receipts: receipts.collect(),
        hosts: count.hosts.iter().map(|host| host.as_bytes().to_vec()).collect(),
        newest,
        more: page.more || more_unfound,
        exceptions: count.exceptions,
        unfound: unfound.iter().map(accepted).collect(),
    })
}

fn accepted((thing, exception): &(Thing, Exception)) -> wire::Accepted {
    let Thing { host, kind, subject, place } = thing.clone();
    let thing = wire::Thing { host: host.as_bytes().to_vec(), kind, subject, place };
    wire::Accepted { thing: Some(thing), exception: Some(self::exception(exception)) }
}

pub(super) fn which(place: u64, thing: Option<wire::Thing>) -> Result<Accepted, Status> {
    let Some(wire::Thing { host, kind, subject, place }) = thing else {
        return Ok(Accepted::At(place));
    };
    Ok(Accepted::Of(Thing { host: digest(&host, "host")?, kind, subject, place }))
}

fn place(found: &FoundDrift) -> wire::DriftPlace {
    wire::DriftPlace {
        place: found.place,
        host: found.host.as_bytes().to_vec(),
        receipt: found.receipt,
        item: found.item,
        open: found.open,
        exception: found.exception.as_ref().map(exception),
    }
}

pub(super) fn exception(exception: &Exception) -> wire::Exception {
    wire::Exception {
        until: exception.until.0,
        by: exception.by.clone(),
        made: exception.made.0,
        reason: exception.reason.to_string(),
    }
}

pub(super) fn acceptance(
    by: String,
    request: &wire::AcceptDriftRequest,
) -> Result<Acceptance, Status> {
    Ok(Acceptance {
        place: request.place,
        found: digest(&request.found, "what was found")?,
        until: Timestamp(request.until),
        by,
        reason: line(&request.reason)?,
    })
}

pub(super) fn refused(error: &ExceptError) -> Status {
    match error {
        ExceptError::UnknownPlace(_) | ExceptError::UnknownHost(_) | ExceptError::NoException => {
            Status::not_found(told(error))
        }
        ExceptError::Changed | ExceptError::Unfit(_) => Status::failed_precondition(told(error)),
        ExceptError::End(_) | ExceptError::NoReason => Status::invalid_argument(told(error)),
        ExceptError::Receipt(_) | ExceptError::Signer(_) | ExceptError::Store(_) => internal(error),
    }
}
