//! Where drift is told, as the contract has it.

use muster_proto::{drift::Severity, time::Timestamp, wire};
use tonic::Status;

use super::super::{digest, internal};
use crate::store::{DriftQuery, FoundDrift, Store};

/// The most that is sent at once.
const MOST: u32 = 10_000;

pub(super) async fn find(
    store: &Store,
    request: wire::DriftRequest,
) -> Result<wire::DriftReply, Status> {
    let host = if request.host.is_empty() { None } else { Some(digest(&request.host, "host")?) };
    let query = DriftQuery {
        host,
        open: request.open,
        least: least(request.least()),
        kind: request.kind,
        subject: request.subject,
        by: request.by,
        since: request.since.map(Timestamp),
        until: request.until.map(Timestamp),
        after: request.after,
        limit: if request.limit == 0 { MOST } else { request.limit.min(MOST) },
    };
    let newest = store.newest_drift().await.map_err(|error| internal(&error))?;
    let page = store.drift(&query).await.map_err(|error| internal(&error))?;
    let hosts = store.drifted_hosts().await.map_err(|error| internal(&error))?;
    let receipts = page.receipts.iter().map(|((host, number), receipt)| wire::DriftReceipt {
        host: host.as_bytes().to_vec(),
        number: *number,
        receipt: Some(wire::Envelope::from(receipt)),
    });
    Ok(wire::DriftReply {
        found: page.found.iter().map(place).collect(),
        receipts: receipts.collect(),
        hosts: hosts.iter().map(|host| host.as_bytes().to_vec()).collect(),
        newest,
        more: page.more,
    })
}

fn place(found: &FoundDrift) -> wire::DriftPlace {
    wire::DriftPlace {
        place: found.place,
        host: found.host.as_bytes().to_vec(),
        receipt: found.receipt,
        item: found.item,
        open: found.open,
    }
}

fn least(severity: wire::Severity) -> Option<Severity> {
    match severity {
        wire::Severity::Unspecified => None,
        wire::Severity::Low => Some(Severity::Low),
        wire::Severity::Medium => Some(Severity::Medium),
        wire::Severity::High => Some(Severity::High),
        wire::Severity::Critical => Some(Severity::Critical),
    }
}
