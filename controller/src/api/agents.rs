//! The agents' service: join with a one-time secret, renew a certificate, and the session in which
//! a host says where it stands and is sent its bundles. Which host calls is what its certificate
//! says, never what a message says.

mod session;

use std::sync::Arc;

use muster_proto::{
    crypto::sha256,
    envelope::Document,
    id::HostId,
    selector::LabelValue,
    trust::verify_enrolment,
    wire::{self, agents_server::Agents},
};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status, Streaming};

use self::session::Session;
use super::{
    Controller,
    caller::{AgentPeer, Caller},
    envelope, internal,
    rates::Rates,
};
use crate::{
    enrol::{
        EnrolError,
        certificate::{Issue, Shown},
    },
    fleet,
    store::{CertificateRefused, NewHost, TokenRefused},
    told::told,
};

#[derive(Clone)]
pub(crate) struct AgentsApi {
    controller: Controller,
    rates: Arc<Rates>,
}

fn calling_host<T>(request: &Request<T>) -> Result<Shown, Status> {
    let extensions = request.extensions();
    match (extensions.get::<Caller>(), extensions.get::<AgentPeer>()) {
        (Some(Caller::Host(_) | Caller::HostOfOld(_)), Some(AgentPeer::Host(shown))) => Ok(*shown),
        _ => Err(Status::unauthenticated("a client certificate of this controller is needed")),
    }
}

fn refused(error: &CertificateRefused) -> Status {
    match error {
        CertificateRefused::Void(void) => Status::unauthenticated(void.to_string()),
        CertificateRefused::Store(error) => internal(error),
    }
}

fn unknown() -> Status {
    Status::permission_denied("this host is not known here any more; join it again")
}

impl AgentsApi {
    pub(crate) fn new(controller: Controller) -> Self {
        Self { controller, rates: Arc::default() }
    }

    fn certify(&self, request: &[u8], host: HostId) -> Result<(Vec<u8>, Issue), Status> {
        let now = (self.controller.clock)();
        let certificate = match self.controller.ca.agent_certificate(request, host, now) {
            Ok(certificate) => certificate,
            Err(error @ EnrolError::Request) => {
                return Err(Status::invalid_argument(error.to_string()));
            }
            Err(error) => return Err(internal(&error)),
        };
        let shown = Shown::read(&certificate).ok_or_else(|| {
            Status::invalid_argument("a certificate for this request cannot be read again")
        })?;
        Ok((certificate.to_vec(), shown.issue))
    }
}

#[tonic::async_trait]
impl Agents for AgentsApi {
    async fn join(
        &self,
        request: Request<wire::JoinRequest>,
    ) -> Result<Response<wire::JoinReply>, Status> {
        let request = request.into_inner();
        let now = (self.controller.clock)();
        let signed = envelope(request.enrolment, "enrolment")?;
        let enrolment = verify_enrolment(&signed).map_err(|error| {
            Status::invalid_argument(format!("cannot believe the enrolment: {}", told(&error)))
        })?;
        if enrolment.lineage != self.controller.fleet.store().lineage() {
            return Err(Status::failed_precondition("the enrolment is for another fleet"));
        }
        if enrolment.certificate_request != sha256(&[&request.certificate_request]) {
            return Err(Status::invalid_argument(
                "the enrolment is for another certificate request",
            ));
        }
        let hostname = LabelValue::parse(enrolment.hostname.as_str()).map_err(|error| {
            Status::invalid_argument(format!("no host can be called so: {}", told(&error)))
        })?;
        let id = enrolment.keeper_key.digest();
        // Before the secret is spent, so that a bad request does not cost it.
        let (certificate, issue) = self.certify(&request.certificate_request, id)?;
        let host = NewHost { id, keeper_key: enrolment.keeper_key, hostname, certificate: issue };
        let entry =
            fleet::entry("enrolment", signed.encode(), now).map_err(|error| internal(&error))?;
        let joined = self.controller.fleet.join(sha256(&[&request.secret]), &host, &entry).await;
        joined.map_err(|refused| match refused {
            TokenRefused::Store(error) => internal(&error),
            TokenRefused::Banned(_) => Status::permission_denied(refused.to_string()),
            _ => Status::unauthenticated(refused.to_string()),
        })?;
        tracing::info!(host = %host.id.short(), hostname = host.hostname.as_str(), "a host joined");
        let roots = &self.controller.fleet.current().trust_roots;
        Ok(Response::new(wire::JoinReply {
            certificate,
            ca: self.controller.ca.certificate().to_vec(),
            trust_roots: roots.iter().map(wire::Envelope::from).collect(),
        }))
    }

    async fn renew(
        &self,
        request: Request<wire::RenewRequest>,
    ) -> Result<Response<wire::RenewReply>, Status> {
        let shown = calling_host(&request)?;
        if !self.controller.fleet.knows(&shown.host).await {
            return Err(unknown());
        }
        let request = request.into_inner().certificate_request;
        let (certificate, next) = self.certify(&request, shown.host)?;
        // Before it leaves: a certificate that nobody knows of could not be taken back.
        let now = (self.controller.clock)();
        let renewed = self.controller.fleet.store().renew(&shown, next, now).await;
        renewed.map_err(|error| refused(&error))?;
        Ok(Response::new(wire::RenewReply { certificate }))
    }

    type SessionStream = ReceiverStream<Result<wire::Part, Status>>;

    async fn session(
        &self,
        request: Request<Streaming<wire::Part>>,
    ) -> Result<Response<Self::SessionStream>, Status> {
        let shown = calling_host(&request)?;
        let host = shown.host;
        if !self.controller.fleet.knows(&host).await {
            return Err(unknown());
        }
        let now = (self.controller.clock)();
        let let_in = self.controller.fleet.store().let_in(&shown, now).await;
        let_in.map_err(|error| refused(&error))?;
        let (to, from) = mpsc::channel(fleet::WAITING);
        let connection = self.controller.fleet.connect(host, to).await.ok_or_else(unknown)?;
        let session = Session { api: self.clone(), shown, connection };
        Ok(Response::new(ReceiverStream::new(session.begin(request.into_inner(), from))))
    }
}
