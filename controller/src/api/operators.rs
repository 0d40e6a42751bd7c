//! The operators' service, over the Unix socket. What decides anything on a host is signed on the
//! operator's side; here it is checked again, stored and passed on.

mod drift;
mod hosts;

use std::pin::Pin;

use muster_proto::{
    chain::BadLink,
    crypto::sha256,
    envelope::Envelope,
    name::Line,
    trust::Refused,
    wire::{self, operators_server::Operators},
};
use tokio::sync::mpsc;
use tokio_stream::{Stream, StreamExt, wrappers::ReceiverStream};
use tonic::{Request, Response, Status};

use self::hosts::{measure, refused_decision, wire_decision, wire_host, wire_progress};
use super::{Controller, caller::Caller, digest, envelope, id, internal};
use crate::{
    audit::Beginning,
    current::PublishedLink,
    fleet::{self, Goal, Order, PublishError, RevokeError},
    host::MAX_RECEIPTS,
    signer,
    store::Token,
    told::told,
};

/// How many links are read from the store at once.
const PAGE: u32 = 64;
/// The longest that a join token is taken, in seconds: a week.
const MAX_TOKEN: u64 = 7 * 86_400;
/// The most hosts and revocations that are followed at once.
const MAX_FOLLOWED: usize = 100_000;

#[derive(Clone)]
pub(crate) struct OperatorsApi(pub(crate) Controller);

type Streamed<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send + 'static>>;

fn streamed(envelopes: &[Envelope]) -> Streamed<wire::Envelope> {
    let envelopes: Vec<_> = envelopes.iter().map(|e| Ok(wire::Envelope::from(e))).collect();
    Box::pin(tokio_stream::iter(envelopes))
}

#[tonic::async_trait]
impl Operators for OperatorsApi {
    async fn status(
        &self,
        _request: Request<wire::StatusRequest>,
    ) -> Result<Response<wire::StatusReply>, Status> {
        let current = self.0.fleet.current();
        let count = self.0.fleet.count().await;
        let (log, log_note) = self.0.fleet.log_head();
        let beginnings = self.0.fleet.store().beginnings().await;
        let beginnings = beginnings.map_err(|error| internal(&error))?;
        let beginning = |begun: &Beginning| wire::LogBeginning {
            salt: begun.salt.to_vec(),
            body: begun.body(),
        };
        let number = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
        Ok(Response::new(wire::StatusReply {
            lineage: current.chain.lineage().as_bytes().to_vec(),
            trust_version: current.chain.trust().version,
            newest: current.chain.newest().as_ref().map(wire::LinkRef::from),
            log: Some(wire::LogHead::from(&log)),
            hosts: number(count.all),
            hosts_connected: number(count.connected),
            hosts_current: number(count.current),
            revocations: number(current.revocations.len()),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            agent_address: self.0.agent_address.clone(),
            log_note,
            log_beginnings: beginnings.iter().map(beginning).collect(),
        }))
    }

    type TrustRootsStream = Streamed<wire::Envelope>;

    async fn trust_roots(
        &self,
        request: Request<wire::TrustRootsRequest>,
    ) -> Result<Response<Self::TrustRootsStream>, Status> {
        let roots = self.0.fleet.store().trust_roots(request.into_inner().after).await;
        Ok(Response::new(streamed(&roots.map_err(|error| internal(&error))?)))
    }

    type LinksStream = Streamed<wire::PublishedLink>;

    async fn links(
        &self,
        request: Request<wire::LinksRequest>,
    ) -> Result<Response<Self::LinksStream>, Status> {
        let mut after = request.into_inner().after;
        let (to, from) = mpsc::channel(4);
        let fleet = self.0.fleet.clone();
        tokio::spawn(async move {
            loop {
                let page = match fleet.store().links(after, PAGE).await {
                    Ok(page) => page,
                    Err(error) => {
                        let _ = to.send(Err(internal(&error))).await;
                        return;
                    }
                };
                if page.is_empty() {
                    return;
                }
                for link in page {
                    after += 1;
                    if to.send(Ok((&link).into())).await.is_err() {
                        return;
                    }
                }
            }
        });
        Ok(Response::new(Box::pin(ReceiverStream::new(from))))
    }

    type RevocationsStream = Streamed<wire::Envelope>;

    async fn revocations(
        &self,
        _request: Request<wire::RevocationsRequest>,
    ) -> Result<Response<Self::RevocationsStream>, Status> {
        let revocations = self.0.fleet.store().revocations().await;
        Ok(Response::new(streamed(&revocations.map_err(|error| internal(&error))?)))
    }

    async fn publish(
        &self,
        request: Request<wire::PublishedLink>,
    ) -> Result<Response<wire::PublishReply>, Status> {
        let link = read_link(request.into_inner())?;
        let published = self.0.fleet.publish(&link, (self.0.clock)()).await;
        let (link, hosts) = published.map_err(|error| refused_link(&error))?;
        Ok(Response::new(wire::PublishReply {
            link: Some(wire::LinkRef::from(&link)),
            hosts: hosts.iter().map(|host| host.as_bytes().to_vec()).collect(),
        }))
    }

    async fn revoke(
        &self,
        request: Request<wire::RevokeRequest>,
    ) -> Result<Response<wire::RevokeReply>, Status> {
        let revocation = envelope(request.into_inner().revocation, "revocation")?;
        let hosts = self.0.fleet.revoke(&revocation, (self.0.clock)()).await;
        let hosts = hosts.map_err(|error| match error {
            RevokeError::Refused(_) => Status::permission_denied(told(&error)),
            RevokeError::Signer(_) | RevokeError::Store(_) => internal(&error),
        })?;
        let hosts = hosts.iter().map(|host| host.as_bytes().to_vec()).collect();
        Ok(Response::new(wire::RevokeReply { hosts }))
    }

    async fn hosts(
        &self,
        _request: Request<wire::HostsRequest>,
    ) -> Result<Response<wire::HostsReply>, Status> {
        let newest = self.0.fleet.current().chain().newest();
        let hosts = self.0.fleet.hosts().await;
        let behind = self.0.fleet.behind().await;
        let hosts = hosts.iter().map(|(host, connected)| wire::Host {
            behind: behind.contains(&host.id),
            ..wire_host(host, *connected, newest)
        });
        let hosts = hosts.collect();
        Ok(Response::new(wire::HostsReply { hosts }))
    }

    async fn receipts(
        &self,
        request: Request<wire::ReceiptsRequest>,
    ) -> Result<Response<wire::ReceiptsReply>, Status> {
        let request = request.into_inner();
        let host = digest(&request.host, "host")?;
        let limit = if request.limit == 0 { MAX_RECEIPTS } else { request.limit };
        let (below, limit) = (request.below.unwrap_or(u64::MAX), limit.min(MAX_RECEIPTS));
        let page = self.0.fleet.store().receipts_before(host, below, limit).await;
        let page = page.map_err(|error| internal(&error))?;
        let receipts = page.receipts.iter().map(|(_, receipt)| receipt.into()).collect();
        Ok(Response::new(wire::ReceiptsReply { receipts, rest: page.rest }))
    }

    async fn drift(
        &self,
        request: Request<wire::DriftRequest>,
    ) -> Result<Response<wire::DriftReply>, Status> {
        let now = (self.0.clock)();
        let reply = drift::find(self.0.fleet.store(), request.into_inner(), now).await?;
        Ok(Response::new(reply))
    }

    async fn inventory(
        &self,
        request: Request<wire::InventoryRequest>,
    ) -> Result<Response<wire::InventoryReply>, Status> {
        let host = digest(&request.into_inner().host, "host")?;
        let receipt = self.0.fleet.store().inventory(host).await;
        let receipt = receipt.map_err(|error| internal(&error))?;
        let receipt = receipt.as_ref().map(wire::Envelope::from);
        Ok(Response::new(wire::InventoryReply { receipt }))
    }

    type FollowStream = Streamed<wire::HostProgress>;

    async fn follow(
        &self,
        request: Request<wire::FollowRequest>,
    ) -> Result<Response<Self::FollowStream>, Status> {
        let request = request.into_inner();
        if request.hosts.len() > MAX_FOLLOWED || request.revocations.len() > MAX_FOLLOWED {
            return Err(Status::invalid_argument("too much to follow at once"));
        }
        let hosts = request.hosts.iter().map(|host| digest(host, "host"));
        let revocations = request.revocations.iter().map(|bytes| id(bytes, "revocation"));
        let goal = Goal {
            link: request.link,
            revocations: revocations.collect::<Result<_, _>>()?,
            hosts: hosts.collect::<Result<_, _>>()?,
        };
        let (to, from) = mpsc::channel(64);
        let fleet = self.0.fleet.clone();
        tokio::spawn(async move {
            if let Err(error) = fleet.follow(goal, to).await {
                tracing::error!(error = told(&error), "following a change failed");
            }
        });
        let progress = ReceiverStream::new(from).map(|progress| Ok(wire_progress(&progress)));
        Ok(Response::new(Box::pin(progress)))
    }

    async fn consistency(
        &self,
        request: Request<wire::ConsistencyRequest>,
    ) -> Result<Response<wire::ConsistencyReply>, Status> {
        let wire::ConsistencyRequest { older, newer, origin } = request.into_inner();
        let store = self.0.fleet.store();
        let origin = if origin.is_empty() { store.head().origin } else { origin };
        let proof = store.consistency(&origin, older, newer).await;
        let proof = proof.map_err(|error| internal(&error))?.ok_or_else(|| {
            Status::out_of_range("the audit log is another or shorter, or never had these sizes")
        })?;
        let path = proof.iter().map(|digest| digest.as_bytes().to_vec()).collect();
        Ok(Response::new(wire::ConsistencyReply { path }))
    }

    async fn create_token(
        &self,
        request: Request<wire::CreateTokenRequest>,
    ) -> Result<Response<wire::CreateTokenReply>, Status> {
        let name = operator(&request)?;
        let valid_for = request.into_inner().valid_for;
        if !(1..=MAX_TOKEN).contains(&valid_for) {
            return Err(Status::invalid_argument("a token is valid for 1 second to 7 days"));
        }
        let now = (self.0.clock)();
        let secret = signer::random::<32>().map_err(|error| internal(&error))?;
        let token = Token {
            secret: sha256(&[&secret]),
            made: now,
            made_by: name.clone(),
            expires: now.plus(valid_for),
        };
        let body = [token.secret.as_bytes().as_slice(), name.as_bytes()].concat();
        let entry = fleet::entry("token", body, now).map_err(|error| internal(&error))?;
        let stored = self.0.fleet.store().add_token(&token, &entry).await;
        stored.map_err(|error| internal(&error))?;
        Ok(Response::new(wire::CreateTokenReply {
            secret: secret.to_vec(),
            expires: token.expires.0,
            ca: self.0.ca.pin().as_bytes().to_vec(),
            address: self.0.agent_address.clone(),
        }))
    }

    async fn decide(
        &self,
        request: Request<wire::DecideRequest>,
    ) -> Result<Response<wire::DecideReply>, Status> {
        let by = operator(&request)?;
        let request = request.into_inner();
        let reason = line(&request.reason)?;
        let (host, measure) = (digest(&request.host, "host")?, measure(request.measure())?);
        let order = Order { host, measure, by, reason };
        let decided = self.0.fleet.decide(&order, (self.0.clock)()).await;
        let decision = decided.map_err(|error| refused_decision(&error))?;
        Ok(Response::new(wire::DecideReply { decision: decision.as_ref().map(wire_decision) }))
    }

    async fn accept_drift(
        &self,
        request: Request<wire::AcceptDriftRequest>,
    ) -> Result<Response<wire::AcceptDriftReply>, Status> {
        let wanted = drift::acceptance(operator(&request)?, request.get_ref())?;
        let made = self.0.fleet.accept(&wanted, (self.0.clock)()).await;
        let exception = made.map_err(|error| drift::refused(&error))?;
        Ok(Response::new(wire::AcceptDriftReply { exception: Some(drift::exception(&exception)) }))
    }

    async fn withdraw_exception(
        &self,
        request: Request<wire::WithdrawExceptionRequest>,
    ) -> Result<Response<wire::WithdrawExceptionReply>, Status> {
        let by = operator(&request)?;
        let wire::WithdrawExceptionRequest { place, reason, thing } = request.into_inner();
        let (reason, which) = (line(&reason)?, drift::which(place, thing)?);
        let withdrawn = self.0.fleet.withdraw(which, &by, &reason, (self.0.clock)()).await;
        withdrawn.map_err(|error| drift::refused(&error))?;
        Ok(Response::new(wire::WithdrawExceptionReply {}))
    }
}

/// Returns who calls, by name.
fn operator<T>(request: &Request<T>) -> Result<String, Status> {
    match request.extensions().get::<Caller>() {
        Some(Caller::Operator(name)) => Ok(name.clone()),
        _ => Err(Status::permission_denied("this caller may not do that")),
    }
}

fn line(reason: &str) -> Result<Line, Status> {
    Line::parse(reason).map_err(|error| Status::invalid_argument(format!("the reason: {error}")))
}

fn refused_link(error: &PublishError) -> Status {
    match error {
        PublishError::Store(_) | PublishError::Signer(_) => internal(error),
        PublishError::Link(BadLink::Part { cause: Refused::Threshold { .. }, .. }) => {
            Status::permission_denied(told(error))
        }
        PublishError::Link(BadLink::Equivocation(_)) => Status::already_exists(told(error)),
        PublishError::Link(BadLink::Body { .. }) => Status::invalid_argument(told(error)),
        PublishError::Link(_) | PublishError::Log(_) => Status::failed_precondition(told(error)),
    }
}

fn read_link(wire: wire::PublishedLink) -> Result<PublishedLink, Status> {
    PublishedLink::try_from(wire)
        .map_err(|fault| Status::invalid_argument(format!("malformed link: {fault}")))
}
