//! The operator's side of the operators' socket: what can be asked, domain types in and out, the wire
//! only in here. What the answers mean is in `answers`.

mod answers;

mod drift;

use std::path::{Path, PathBuf};

use hyper_util::rt::TokioIo;
use muster_proto::{
    bundle::MAX_MESSAGE,
    envelope::Envelope,
    id::{Digest, HostId, Id},
    link::{LogHead, PublishedLink},
    name::Line,
    time::Timestamp,
    wire::{self, operators_client::OperatorsClient},
};
use tokio::net::UnixStream;
use tonic::{
    Code,
    transport::{Channel, Endpoint},
};

use self::answers::{
    beginning, decision, digest, envelope, host, hostname, key, link_ref, refusal, wire_measure,
};
use crate::{
    exception::{Accepted, Exception},
    host::Measure,
};

pub use answers::{Decided, Host, Progress, Receipts, Record, Status, TokenParts};

pub use drift::{DriftWanted, Drifted, Told};

/// A connection to the controller.
#[derive(Clone, Debug)]
pub struct Client {
    inner: OperatorsClient<Channel>,
}

/// Why the controller did not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// It cannot be reached.
    #[error("cannot reach the controller at `{path}`")]
    Connect {
        /// The socket.
        path: PathBuf,
        /// Why.
        #[source]
        cause: tonic::transport::Error,
    },
    /// It refused.
    #[error("the controller refused: {}", .0.message())]
    Refused(Box<tonic::Status>),
    /// It answered something that is not understood.
    #[error("the controller's answer is not understood: {0}")]
    Answer(&'static str),
}

impl ClientError {
    /// Says whether it may go by itself: the controller was not there, or ended meanwhile.
    pub fn is_passing(&self) -> bool {
        match self {
            Self::Connect { .. } => true,
            Self::Refused(status) => matches!(
                status.code(),
                Code::Unavailable | Code::Unknown | Code::Cancelled | Code::DeadlineExceeded
            ),
            Self::Answer(_) => false,
        }
    }
}

impl From<tonic::Status> for ClientError {
    fn from(status: tonic::Status) -> Self {
        Self::Refused(Box::new(status))
    }
}

impl Client {
    /// Connects to the operators' socket.
    pub async fn connect(path: &Path) -> Result<Self, ClientError> {
        let target = path.to_owned();
        let connector = tower::service_fn(move |_| {
            let target = target.clone();
            async move { UnixStream::connect(target).await.map(TokioIo::new) }
        });
        let channel = Endpoint::from_static("http://operators")
            .connect_with_connector(connector)
            .await
            .map_err(|cause| ClientError::Connect { path: path.to_owned(), cause })?;
        let inner = OperatorsClient::new(channel)
            .max_decoding_message_size(MAX_MESSAGE)
            .max_encoding_message_size(MAX_MESSAGE);
        Ok(Self { inner })
    }

    /// Asks how the controller is.
    pub async fn status(&mut self) -> Result<Status, ClientError> {
        let reply = self.inner.status(wire::StatusRequest {}).await?.into_inner();
        let log = reply.log.ok_or(ClientError::Answer("no log head"))?;
        Ok(Status {
            lineage: digest(&reply.lineage)?,
            trust_version: reply.trust_version,
            newest: link_ref(reply.newest)?,
            log: LogHead::try_from(log).map_err(|_| ClientError::Answer("a log head"))?,
            log_beginnings: reply.log_beginnings.iter().map(beginning).collect::<Result<_, _>>()?,
            hosts: (reply.hosts, reply.hosts_connected, reply.hosts_current),
            revocations: reply.revocations,
            version: reply.version,
            agent_address: reply.agent_address,
        })
    }

    /// Fetches the trust roots after a version.
    pub async fn trust_roots(&mut self, after: u64) -> Result<Vec<Envelope>, ClientError> {
        let request = wire::TrustRootsRequest { after };
        let mut stream = self.inner.trust_roots(request).await?.into_inner();
        let mut found = Vec::new();
        while let Some(next) = stream.message().await? {
            found.push(envelope(next)?);
        }
        Ok(found)
    }

    /// Fetches the links after a number.
    pub async fn links(&mut self, after: u64) -> Result<Vec<PublishedLink>, ClientError> {
        let mut stream = self.inner.links(wire::LinksRequest { after }).await?.into_inner();
        let mut found = Vec::new();
        while let Some(next) = stream.message().await? {
            found.push(PublishedLink::try_from(next).map_err(|_| ClientError::Answer("a link"))?);
        }
        Ok(found)
    }

    /// Fetches all revocations.
    pub async fn revocations(&mut self) -> Result<Vec<Envelope>, ClientError> {
        let mut stream = self.inner.revocations(wire::RevocationsRequest {}).await?.into_inner();
        let mut found = Vec::new();
        while let Some(next) = stream.message().await? {
            found.push(envelope(next)?);
        }
        Ok(found)
    }

    /// Publishes a signed link, and returns the hosts that it concerns.
    pub async fn publish(&mut self, link: &PublishedLink) -> Result<Vec<HostId>, ClientError> {
        let reply = self.inner.publish(wire::PublishedLink::from(link)).await?.into_inner();
        reply.hosts.iter().map(|host| digest(host)).collect()
    }

    /// Hands in a signed revocation, and returns the hosts that it concerns.
    pub async fn revoke(&mut self, revocation: &Envelope) -> Result<Vec<HostId>, ClientError> {
        let request = wire::RevokeRequest { revocation: Some(revocation.into()) };
        let reply = self.inner.revoke(request).await?.into_inner();
        reply.hosts.iter().map(|host| digest(host)).collect()
    }

    /// Lists the hosts.
    pub async fn hosts(&mut self) -> Result<Vec<Host>, ClientError> {
        let reply = self.inner.hosts(wire::HostsRequest {}).await?.into_inner();
        reply.hosts.into_iter().map(host).collect()
    }

    /// Fetches the newest receipts of a host, or the newest below a number.
    pub async fn receipts(
        &mut self,
        host: HostId,
        below: Option<u64>,
        limit: u32,
    ) -> Result<Receipts, ClientError> {
        let request = wire::ReceiptsRequest { host: host.as_bytes().to_vec(), limit, below };
        let reply = self.inner.receipts(request).await?.into_inner();
        let found = reply.receipts.into_iter().map(envelope).collect::<Result<_, _>>()?;
        Ok(Receipts { found, rest: reply.rest })
    }

    /// Asks where drift is told.
    pub async fn drift(&mut self, wanted: &DriftWanted) -> Result<Drifted, ClientError> {
        let reply = self.inner.drift(wanted.request()).await?.into_inner();
        Drifted::read(reply)
    }

    /// Accepts what is told at a place, as it was found, until a date.
    pub async fn accept(
        &mut self,
        place: u64,
        found: Digest,
        until: Timestamp,
        reason: &Line,
    ) -> Result<Exception, ClientError> {
        let request = wire::AcceptDriftRequest {
            place,
            found: found.as_bytes().to_vec(),
            until: until.0,
            reason: reason.to_string(),
        };
        let reply = self.inner.accept_drift(request).await?.into_inner();
        drift::exception(reply.exception.ok_or(ClientError::Answer("no exception"))?)
    }

    /// Ends what was accepted before its date.
    pub async fn withdraw(&mut self, which: Accepted, reason: &Line) -> Result<(), ClientError> {
        let request = drift::withdrawal(which, reason);
        self.inner.withdraw_exception(request).await?;
        Ok(())
    }

    /// Fetches the newest receipt in which a host tells its accounts, yet to be verified.
    pub async fn inventory(&mut self, host: HostId) -> Result<Option<Envelope>, ClientError> {
        let request = wire::InventoryRequest { host: host.as_bytes().to_vec() };
        let reply = self.inner.inventory(request).await?.into_inner();
        reply.receipt.map(envelope).transpose()
    }

    /// Follows a link and revocations onto hosts.
    pub async fn follow(
        &mut self,
        link: Option<u64>,
        revocations: &[Id],
        hosts: &[HostId],
    ) -> Result<Follow, ClientError> {
        let request = wire::FollowRequest {
            link: link.unwrap_or_default(),
            revocations: revocations.iter().map(|id| id.as_bytes().to_vec()).collect(),
            hosts: hosts.iter().map(|host| host.as_bytes().to_vec()).collect(),
        };
        Ok(Follow { stream: self.inner.follow(request).await?.into_inner() })
    }

    /// Fetches the proof that the audit log of this name and one size is the beginning of that of
    /// another.
    pub async fn consistency(
        &mut self,
        origin: &str,
        older: u64,
        newer: u64,
    ) -> Result<Vec<Digest>, ClientError> {
        let request = wire::ConsistencyRequest { older, newer, origin: origin.to_owned() };
        let reply = self.inner.consistency(request).await?.into_inner();
        reply.path.iter().map(|bytes| digest(bytes)).collect()
    }

    /// Asks for the controller's part of a join token.
    pub async fn create_token(&mut self, valid_for: u64) -> Result<TokenParts, ClientError> {
        let request = wire::CreateTokenRequest { valid_for };
        let reply = self.inner.create_token(request).await?.into_inner();
        Ok(TokenParts {
            secret: reply.secret.try_into().map_err(|_| ClientError::Answer("a secret"))?,
            expires: Timestamp(reply.expires),
            ca: digest(&reply.ca)?,
            address: reply.address,
        })
    }

    /// Has a measure taken about a host, and returns what holds for it from now on; nothing for a
    /// host that the controller does not know.
    pub async fn decide(
        &mut self,
        host: HostId,
        measure: Measure,
        reason: &Line,
    ) -> Result<Decided, ClientError> {
        let request = wire::DecideRequest {
            host: host.as_bytes().to_vec(),
            measure: wire_measure(measure).into(),
            reason: reason.to_string(),
        };
        match self.inner.decide(request).await {
            Ok(reply) => {
                let held = reply.into_inner().decision.map(decision).transpose()?;
                Ok(Decided::Taken(held))
            }
            Err(status) if status.code() == Code::NotFound => Ok(Decided::Unknown),
            Err(status) => Err(status.into()),
        }
    }
}

/// Progress as it comes.
#[derive(Debug)]
pub struct Follow {
    stream: tonic::Streaming<wire::HostProgress>,
}

impl Follow {
    /// Returns the next piece of progress, or nothing when all hosts have confirmed.
    pub async fn next(&mut self) -> Result<Option<Progress>, ClientError> {
        let Some(next) = self.stream.message().await? else { return Ok(None) };
        Ok(Some(Progress {
            host: digest(&next.host)?,
            hostname: hostname(&next.hostname)?,
            keeper_key: key(&next.keeper_key)?,
            connected: next.connected,
            receipts: next.receipts.into_iter().map(envelope).collect::<Result<_, _>>()?,
            refusal: refusal(&next.refusal)?,
        }))
    }
}
