//! Hosts, what is decided about them and how far they are, as the contract has it.

use muster_proto::{link::LinkRef, wire};
use tonic::Status;

use super::super::internal;
use crate::{
    fleet::{DecideError, Progress},
    host::{Decision, Host, Measure, Verdict},
    told::told,
};

pub(super) fn wire_host(host: &Host, connected: bool, newest: Option<LinkRef>) -> wire::Host {
    wire::Host {
        id: host.id.as_bytes().to_vec(),
        hostname: host.hostname.clone(),
        keeper_key: host.keeper_key.as_bytes().to_vec(),
        connected,
        last_seen: host.last_seen.map_or(0, |time| time.0),
        joined: host.joined.0,
        standing: host.standing.as_ref().map(wire::Standing::from),
        receipts: host.receipts.map_or(0, |(number, _)| number),
        token_by: host.token_by.clone(),
        pending: host.is_pending(),
        notes: notes(host, newest),
        behind: false,
        gap: host.has_gap(),
        decision: host.decision.as_ref().map(wire_decision),
        paused_in: host.paused.map_or(0, |pause| pause.receipt),
    }
}

fn notes(host: &Host, newest: Option<LinkRef>) -> Vec<String> {
    let newest = newest.map_or(0, |link| link.number);
    let floor = host.standing.as_ref().and_then(|standing| standing.floor);
    let ahead = floor.filter(|floor| floor.number > newest).map(|floor| {
        format!(
            "ahead: it has verified change {}, and this controller ends with change {newest}: this \
             controller was restored from an older state",
            floor.number
        )
    });
    let unsent = host.unsent.iter().map(ToString::to_string);
    ahead.into_iter().chain(unsent).chain(host.breaks.iter().map(ToString::to_string)).collect()
}

pub(super) fn wire_progress(progress: &Progress) -> wire::HostProgress {
    wire::HostProgress {
        host: progress.host.as_bytes().to_vec(),
        hostname: progress.hostname.clone(),
        keeper_key: progress.keeper_key.as_bytes().to_vec(),
        connected: progress.connected,
        receipts: progress.receipts.iter().map(wire::Envelope::from).collect(),
        refusal: progress.refusal.clone(),
    }
}

pub(super) fn wire_decision(decision: &Decision) -> wire::Decision {
    let verdict = match decision.verdict {
        Verdict::Quarantined => wire::Verdict::Quarantined,
        Verdict::Evicted => wire::Verdict::Evicted,
        Verdict::Banned => wire::Verdict::Banned,
    };
    wire::Decision {
        verdict: verdict.into(),
        by: decision.by.clone(),
        at: decision.at.0,
        reason: decision.reason.to_string(),
    }
}

pub(super) fn measure(measure: wire::Measure) -> Result<Measure, Status> {
    match measure {
        wire::Measure::Unspecified => Err(Status::invalid_argument("there is no such measure")),
        wire::Measure::Quarantine => Ok(Measure::Quarantine),
        wire::Measure::Release => Ok(Measure::Release),
        wire::Measure::Evict => Ok(Measure::Evict),
        wire::Measure::Ban => Ok(Measure::Ban),
        wire::Measure::Purge => Ok(Measure::Purge),
    }
}

pub(super) fn refused_decision(error: &DecideError) -> Status {
    match error {
        DecideError::UnknownHost(_) => Status::not_found(told(error)),
        DecideError::Unfit(_) => Status::failed_precondition(told(error)),
        DecideError::Signer(_) | DecideError::Store(_) => internal(error),
    }
}
