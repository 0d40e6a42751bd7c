//! The edge to the network: the services of agent.proto and operator.proto. Wire messages and
//! `tonic::Status` are named here and nowhere else in the server; who may call what is decided in
//! `caller` before a service sees anything.

mod agents;
pub mod caller;
mod operators;
mod rates;
mod sizes;

use std::{error::Error, sync::Arc, time::Duration};

use muster_proto::{
    bundle::MAX_MESSAGE,
    envelope::{Envelope, MAX_SIGNATURES},
    id::{Digest, Id},
    time::Timestamp,
    wire::{self, operators_server::OperatorsServer},
};
use tonic::{
    Status,
    transport::{Server, server::Router},
};
use tower::layer::util::{Identity, Stack};

use crate::{
    enrol::{Ca, tls::Bans},
    fleet::Fleet,
    told::told,
};

use self::{agents::AgentsApi, caller::GateLayer, operators::OperatorsApi, sizes::Bounded};

pub use sizes::{MAX_JOIN, MAX_RENEW, MAX_SAID};

const MAX_STREAMS: u32 = 64;
/// An agent has one session, and renews beside it.
const AGENT_STREAMS: u32 = 8;
const MAX_HEADERS: u32 = 16 << 10;
const TIMEOUT: Duration = Duration::from_secs(30);
const ALIVE: Duration = Duration::from_secs(20);

/// What time it is. The server gives one, so that nobody else asks the system.
pub type Clock = Arc<dyn Fn() -> Timestamp + Send + Sync>;

/// What both services work with.
#[derive(Clone)]
pub(crate) struct Controller {
    pub(crate) fleet: Arc<Fleet>,
    pub(crate) ca: Arc<Ca>,
    pub(crate) bans: Bans,
    pub(crate) clock: Clock,
    /// host:port that agents connect to.
    pub(crate) agent_address: String,
}

/// A service behind the gate.
pub(crate) type Served = Router<Stack<GateLayer, Identity>>;

/// Returns the agents' service, behind the gate.
pub(crate) fn agents(controller: Controller, gate: GateLayer) -> Served {
    let service = Bounded::new(AgentsApi::new(controller));
    server(gate).max_concurrent_streams(AGENT_STREAMS).add_service(service)
}

/// Returns the operators' service, behind the gate.
pub(crate) fn operators(controller: Controller, gate: GateLayer) -> Served {
    let service = OperatorsServer::new(OperatorsApi(controller))
        .max_decoding_message_size(MAX_MESSAGE)
        .max_encoding_message_size(MAX_MESSAGE);
    server(gate).add_service(service)
}

/// Returns a server with the limits that hold for every connection.
fn server(gate: GateLayer) -> Server<Stack<GateLayer, Identity>> {
    Server::builder()
        .max_concurrent_streams(MAX_STREAMS)
        .http2_max_header_list_size(MAX_HEADERS)
        .http2_keepalive_interval(Some(ALIVE))
        .http2_keepalive_timeout(Some(ALIVE))
        .timeout(TIMEOUT)
        .layer(gate)
}

/// Something failed here that is no business of the caller's.
fn internal(error: &(dyn Error + 'static)) -> Status {
    tracing::error!(error = told(error), "a call failed");
    Status::internal("the controller failed; its log says why")
}

fn envelope(wire: Option<wire::Envelope>, what: &str) -> Result<Envelope, Status> {
    let wire = wire.ok_or_else(|| Status::invalid_argument(format!("the {what} is missing")))?;
    let signatures = wire.signatures.len();
    if signatures > MAX_SIGNATURES {
        let many = format!("the {what} has {signatures} signatures; at most {MAX_SIGNATURES}");
        return Err(Status::invalid_argument(many));
    }
    Envelope::try_from(wire)
        .map_err(|error| Status::invalid_argument(format!("the {what} is none: {error}")))
}

fn digest(bytes: &[u8], what: &str) -> Result<Digest, Status> {
    Digest::parse(bytes).map_err(|error| Status::invalid_argument(format!("the {what}: {error}")))
}

fn id(bytes: &[u8], what: &str) -> Result<Id, Status> {
    Id::parse(bytes).map_err(|error| Status::invalid_argument(format!("the {what}: {error}")))
}
