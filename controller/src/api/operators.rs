//! The operators' service, over the Unix socket. What decides anything on a host is signed on the
//! operator's side; here it is checked again, stored and passed on.

use std::pin::Pin;

use muster_proto::{
    chain::BadLink,
    crypto::sha256,
    envelope::Envelope,
    link::LinkRef,
    trust::Refused,
    wire::{self, operators_server::Operators},
};
use tokio::sync::mpsc;
use tokio_stream::{Stream, StreamExt, wrappers::ReceiverStream};
use tonic::{Request, Response, Status};

use super::{Controller, caller::Caller, digest, envelope, id, internal, told};
use crate::{
    current::PublishedLink,
    fleet::{self, Goal, Progress, PublishError, RevokeError},
    host::Host,
    signer,
    store::Token,
};

/// How many links are read from the store at once.
const PAGE: u32 = 64;
/// The longest that a join token is taken, in seconds: a week.
const MAX_TOKEN: u64 = 7 * 86_400;
/// The most receipts that are sent at once.
const MAX_RECEIPTS: u32 = 1_000;
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
        let hosts = hosts.iter();
        let hosts = hosts.map(|(host, connected)| wire_host(host, *connected, newest)).collect();
        Ok(Response::new(wire::HostsReply { hosts }))
    }

    async fn receipts(
        &self,
        request: Request<wire::ReceiptsRequest>,
    ) -> Result<Response<wire::ReceiptsReply>, Status> {
        let request = request.into_inner();
        let host = digest(&request.host, "host")?;
        let limit = if request.limit == 0 { MAX_RECEIPTS } else { request.limit };
        let receipts = self.0.fleet.store().receipts(host, limit.min(MAX_RECEIPTS)).await;
        let receipts = receipts.map_err(|error| internal(&error))?;
        let receipts = receipts.iter().map(wire::Envelope::from).collect();
        Ok(Response::new(wire::ReceiptsReply { receipts }))
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
        let wire::ConsistencyRequest { older, newer } = request.into_inner();
        let proof = self.0.fleet.store().consistency(older, newer).await;
        let proof = proof.map_err(|error| internal(&error))?.ok_or_else(|| {
            Status::out_of_range("the audit log is shorter than that, or never had these sizes")
        })?;
        let path = proof.iter().map(|digest| digest.as_bytes().to_vec()).collect();
        Ok(Response::new(wire::ConsistencyReply { path }))
    }

    async fn create_token(
        &self,
        request: Request<wire::CreateTokenRequest>,
    ) -> Result<Response<wire::CreateTokenReply>, Status> {
        let Some(Caller::Operator(name)) = request.extensions().get::<Caller>().cloned() else {
            return Err(Status::permission_denied("this caller may not do that"));
        };
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

fn wire_host(host: &Host, connected: bool, newest: Option<LinkRef>) -> wire::Host {
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

fn wire_progress(progress: &Progress) -> wire::HostProgress {
    wire::HostProgress {
        host: progress.host.as_bytes().to_vec(),
        hostname: progress.hostname.clone(),
        keeper_key: progress.keeper_key.as_bytes().to_vec(),
        connected: progress.connected,
        receipts: progress.receipts.iter().map(wire::Envelope::from).collect(),
        refusal: progress.refusal.clone(),
    }
}
