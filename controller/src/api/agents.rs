//! The agents' service: join with a one-time secret, renew a certificate, and the session in which
//! a host says where it stands and is sent its bundles. Which host calls is what its certificate
//! says, never what a message says.

use muster_proto::{
    crypto::sha256,
    envelope::{Document, Envelope},
    id::HostId,
    receipt::Standing,
    trust::verify_enrolment,
    wire::{self, agents_server::Agents, from_agent::Message},
};
use tokio::sync::{mpsc, oneshot};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status, Streaming};

use super::{Controller, caller::Caller, envelope, internal, told};
use crate::{
    enrol::EnrolError,
    fleet::{self, ReceiptError},
    store::{NewHost, TokenRefused},
};

/// The most labels of a host.
const MAX_LABELS: usize = 256;
/// The most characters of a host's own words.
const MAX_WORDS: usize = 4_096;
/// How many receipts are stored and acknowledged together.
const BATCH: usize = 256;

#[derive(Clone)]
pub(crate) struct AgentsApi(pub(crate) Controller);

fn calling_host<T>(request: &Request<T>) -> Result<HostId, Status> {
    match request.extensions().get::<Caller>() {
        Some(Caller::Host(host) | Caller::HostOfOld(host)) => Ok(*host),
        _ => Err(Status::unauthenticated("a client certificate of this controller is needed")),
    }
}

impl AgentsApi {
    fn certify(&self, request: &[u8], host: HostId) -> Result<Vec<u8>, Status> {
        let now = (self.0.clock)();
        match self.0.ca.agent_certificate(request, host, now) {
            Ok(certificate) => Ok(certificate.to_vec()),
            Err(error @ EnrolError::Request) => Err(Status::invalid_argument(error.to_string())),
            Err(error) => Err(internal(&error)),
        }
    }
}

#[tonic::async_trait]
impl Agents for AgentsApi {
    async fn join(
        &self,
        request: Request<wire::JoinRequest>,
    ) -> Result<Response<wire::JoinReply>, Status> {
        let request = request.into_inner();
        let now = (self.0.clock)();
        let signed = envelope(request.enrolment, "enrolment")?;
        let enrolment = verify_enrolment(&signed).map_err(|error| {
            Status::invalid_argument(format!("cannot believe the enrolment: {}", told(&error)))
        })?;
        if enrolment.lineage != self.0.fleet.store().lineage() {
            return Err(Status::failed_precondition("the enrolment is for another fleet"));
        }
        if enrolment.certificate_request != sha256(&[&request.certificate_request]) {
            return Err(Status::invalid_argument(
                "the enrolment is for another certificate request",
            ));
        }
        let host = NewHost {
            id: enrolment.keeper_key.digest(),
            keeper_key: enrolment.keeper_key,
            hostname: enrolment.hostname.to_string(),
        };
        if self.0.bans.contains(&host.id) {
            return Err(Status::permission_denied("this host is banned"));
        }
        // Before the secret is spent, so that a bad request does not cost it.
        let certificate = self.certify(&request.certificate_request, host.id)?;
        let entry =
            fleet::entry("enrolment", signed.encode(), now).map_err(|error| internal(&error))?;
        let store = self.0.fleet.store();
        let token_by = store.join(sha256(&[&request.secret]), &host, &entry).await;
        let token_by = token_by.map_err(|refused| match refused {
            TokenRefused::Store(error) => internal(&error),
            TokenRefused::Banned(_) => Status::permission_denied(refused.to_string()),
            _ => Status::unauthenticated(refused.to_string()),
        })?;
        let welcomed = self.0.fleet.welcome(&host, token_by, now).await;
        welcomed.map_err(|error| internal(&error))?;
        tracing::info!(host = %host.id.short(), hostname = host.hostname, "a host joined");
        let roots = &self.0.fleet.current().trust_roots;
        Ok(Response::new(wire::JoinReply {
            certificate,
            ca: self.0.ca.certificate().to_vec(),
            trust_roots: roots.iter().map(wire::Envelope::from).collect(),
        }))
    }

    async fn renew(
        &self,
        request: Request<wire::RenewRequest>,
    ) -> Result<Response<wire::RenewReply>, Status> {
        let host = calling_host(&request)?;
        let known = self.0.fleet.hosts().await.iter().any(|(known, _)| known.id == host);
        if !known {
            return Err(Status::permission_denied("this host is not known here any more"));
        }
        let certificate = self.certify(&request.into_inner().certificate_request, host)?;
        Ok(Response::new(wire::RenewReply { certificate }))
    }

    type SessionStream = ReceiverStream<Result<wire::ToAgent, Status>>;

    async fn session(
        &self,
        request: Request<Streaming<wire::FromAgent>>,
    ) -> Result<Response<Self::SessionStream>, Status> {
        let host = calling_host(&request)?;
        let (to, mut from) = mpsc::channel(fleet::WAITING);
        let number = self
            .0
            .fleet
            .connect(host, to)
            .await
            .ok_or_else(|| Status::permission_denied("this host is not known here any more"))?;
        let controller = self.0.clone();
        let messages = request.into_inner();
        let (fail, mut failure) = oneshot::channel();
        tokio::spawn(async move {
            if let Err(status) = listen(&controller, host, number, messages).await {
                let (host, reason) = (host.short(), status.message());
                tracing::warn!(host, reason, "a session ended");
                // Nobody hears it if the connection is gone.
                let _ = fail.send(status);
            }
            controller.fleet.disconnect(host, number).await;
        });
        let (out, replies) = mpsc::channel(1);
        tokio::spawn(async move {
            while let Some(bundle) = from.recv().await {
                if out.send(Ok(wire::ToAgent { bundle })).await.is_err() {
                    return;
                }
            }
            if let Ok(status) = failure.try_recv() {
                let _ = out.send(Err(status)).await;
            }
        });
        Ok(Response::new(ReceiverStream::new(replies)))
    }
}

/// Takes what a host says until it is silent, in the order in which it says it.
async fn listen(
    controller: &Controller,
    host: HostId,
    number: u64,
    mut messages: Streaming<wire::FromAgent>,
) -> Result<(), Status> {
    let mut next = messages.message().await?;
    while let Some(message) = next.take() {
        match message.message {
            Some(Message::Standing(standing)) => {
                let standing = read_standing(standing)?;
                let now = (controller.clock)();
                let stood = controller.fleet.stand(host, number, standing, now).await;
                stood.map_err(|error| internal(&error))?;
                next = messages.message().await?;
            }
            Some(Message::Spool(entry)) => {
                let mut receipts = vec![receipt(entry)?];
                next = gather(&mut messages, &mut receipts).await?;
                let now = (controller.clock)();
                match controller.fleet.receive(host, &receipts, now).await {
                    Ok(()) => {}
                    Err(ReceiptError::Store(error)) => return Err(internal(&error)),
                    // The host is not cut off: what is taken away must still reach it.
                    Err(error) => {
                        let (host, error) = (host.short(), told(&error));
                        tracing::warn!(host, error, "a receipt was not stored");
                    }
                }
            }
            None => return Err(Status::invalid_argument("a message of nothing")),
        }
        if next.is_none() {
            next = messages.message().await?;
        }
    }
    Ok(())
}

/// Takes the receipts that are there already; returns the message that is none, if one came.
async fn gather(
    messages: &mut Streaming<wire::FromAgent>,
    receipts: &mut Vec<Envelope>,
) -> Result<Option<wire::FromAgent>, Status> {
    while receipts.len() < BATCH {
        let ready = tokio::select! {
            biased;
            message = messages.message() => message?,
            () = std::future::ready(()) => return Ok(None),
        };
        match ready {
            Some(wire::FromAgent { message: Some(Message::Spool(entry)) }) => {
                receipts.push(receipt(entry)?);
            }
            other => return Ok(other),
        }
    }
    Ok(None)
}

fn receipt(entry: wire::SpoolEntry) -> Result<Envelope, Status> {
    envelope(entry.receipt, "receipt")
}

/// Reads a host's own words, bounded.
fn read_standing(wire: wire::Standing) -> Result<Standing, Status> {
    let wrong = |what: String| Status::invalid_argument(format!("the standing: {what}"));
    if wire.labels.len() > MAX_LABELS {
        return Err(wrong(format!("{} labels; at most {MAX_LABELS}", wire.labels.len())));
    }
    let mut standing = Standing::try_from(wire).map_err(|error| wrong(error.to_string()))?;
    for words in [&mut standing.agent_version, &mut standing.refusal] {
        *words = words.chars().take(MAX_WORDS).collect();
    }
    Ok(standing)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn standing(labels: usize, words: &str) -> wire::Standing {
        let label = |n| wire::Label { key: format!("key{n:03}"), value: "x".to_owned() };
        wire::Standing {
            trust_version: 1,
            floor: None,
            labels: (0..labels).map(label).collect(),
            mode: wire::HostMode::Enforce.into(),
            agent_version: words.to_owned(),
            refusal: words.to_owned(),
        }
    }

    #[test]
    fn a_host_has_so_many_labels_and_no_more() {
        let most = read_standing(standing(MAX_LABELS, "")).unwrap();
        assert_eq!(most.labels.iter().count(), MAX_LABELS);
        let refused = read_standing(standing(MAX_LABELS + 1, "")).unwrap_err();
        assert_eq!(refused.code(), tonic::Code::InvalidArgument);
        assert!(refused.message().contains("257 labels"), "{refused}");
    }

    #[test]
    fn of_a_hosts_own_words_so_many_characters_are_kept() {
        // Characters, not bytes: nothing is cut in its middle.
        let most = "\u{e4}".repeat(MAX_WORDS);
        for words in [most.clone(), most.clone() + "x"] {
            let read = read_standing(standing(0, &words)).unwrap();
            assert_eq!((&read.refusal, &read.agent_version), (&most, &most));
        }
    }
}
