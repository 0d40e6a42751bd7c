//! The operator's side of the operators' socket: domain types in and out, the wire only in here.

mod drift;

use std::path::{Path, PathBuf};

use hyper_util::rt::TokioIo;
use muster_proto::{
    bundle::MAX_MESSAGE,
    crypto::MachinePublicKey,
    envelope::Envelope,
    id::{Digest, HostId, Id},
    link::{LinkRef, LogHead, PublishedLink},
    name::{Line, Words},
    receipt::{HostMode, Standing},
    time::Timestamp,
    wire::{self, operators_client::OperatorsClient},
};
use tokio::net::UnixStream;
use tonic::{
    Code,
    transport::{Channel, Endpoint},
};

use crate::{
    host::{Decision, Measure, Verdict},
    preview::HostLabels,
};

pub use drift::{DriftWanted, Drifted};

/// A connection to the controller.
#[derive(Clone, Debug)]
pub struct Client {
    inner: OperatorsClient<Channel>,
}

/// What the controller says of itself.
#[derive(Clone, Debug)]
pub struct Status {
    /// The fleet.
    pub lineage: Digest,
    /// The newest trust root.
    pub trust_version: u64,
    /// The newest link.
    pub newest: Option<LinkRef>,
    /// The audit log's head.
    pub log: LogHead,
    /// How many hosts have joined, are connected, and have confirmed what concerns them.
    pub hosts: (u32, u32, u32),
    /// How many revocations there are.
    pub revocations: u32,
    /// The controller's version.
    pub version: String,
    /// Where agents connect.
    pub agent_address: String,
}

/// A host as the controller knows it.
#[derive(Clone, Debug)]
pub struct Host {
    /// Its id, labels and name.
    pub labels: HostLabels,
    /// Its keeper's key.
    pub keeper_key: MachinePublicKey,
    /// Whether it is connected.
    pub connected: bool,
    /// When it was last heard of.
    pub last_seen: Timestamp,
    /// When it joined.
    pub joined: Timestamp,
    /// The newest link that it says it has verified.
    pub floor: Option<LinkRef>,
    /// `observe`, `enforce`, or not known yet.
    pub mode: &'static str,
    /// Its agent's version.
    pub agent_version: String,
    /// Why it refused the newest bundle; empty if it did not.
    pub refusal: String,
    /// How many receipts are stored.
    pub receipts: u64,
    /// Who made its token.
    pub token_by: String,
    /// It was enrolled and has never shown up.
    pub pending: bool,
    /// What the controller found out about it.
    pub notes: Vec<String>,
    /// It has not confirmed all that concerns it.
    pub behind: bool,
    /// What was decided about it.
    pub decision: Option<Decision>,
}

/// How far one host has got.
#[derive(Clone, Debug)]
pub struct Progress {
    /// The host.
    pub host: HostId,
    /// What it calls itself.
    pub hostname: String,
    /// Its keeper's key.
    pub keeper_key: MachinePublicKey,
    /// Whether it is connected.
    pub connected: bool,
    /// The receipts that say that it is done, oldest first.
    pub receipts: Vec<Envelope>,
    /// Why it refused; empty if it did not.
    pub refusal: String,
}

/// What became of a measure.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Decided {
    /// It was taken, and this holds now.
    Taken(Option<Decision>),
    /// The controller knows no such host.
    Unknown,
}

/// What a join token needs from the controller.
#[derive(Clone, Debug)]
pub struct TokenParts {
    /// The one-time secret.
    pub secret: [u8; 32],
    /// When it stops working.
    pub expires: Timestamp,
    /// SHA-256 over the CA's subject public key info.
    pub ca: Digest,
    /// Where agents connect.
    pub address: String,
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

impl From<tonic::Status> for ClientError {
    fn from(status: tonic::Status) -> Self {
        Self::Refused(Box::new(status))
    }
}

fn digest(bytes: &[u8]) -> Result<Digest, ClientError> {
    Digest::parse(bytes).map_err(|_| ClientError::Answer("a digest"))
}

fn key(bytes: &[u8]) -> Result<MachinePublicKey, ClientError> {
    MachinePublicKey::parse(bytes).map_err(|_| ClientError::Answer("a host's key"))
}

fn link_ref(link: Option<wire::LinkRef>) -> Result<Option<LinkRef>, ClientError> {
    let read = |link| LinkRef::try_from(link).map_err(|_| ClientError::Answer("a link"));
    link.map(read).transpose()
}

fn envelope(wire: wire::Envelope) -> Result<Envelope, ClientError> {
    Envelope::try_from(wire).map_err(|_| ClientError::Answer("an envelope"))
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

    /// Fetches the newest receipts of a host, newest first.
    pub async fn receipts(
        &mut self,
        host: HostId,
        limit: u32,
    ) -> Result<Vec<Envelope>, ClientError> {
        let request = wire::ReceiptsRequest { host: host.as_bytes().to_vec(), limit };
        let reply = self.inner.receipts(request).await?.into_inner();
        reply.receipts.into_iter().map(envelope).collect()
    }

    /// Asks where drift is told.
    pub async fn drift(&mut self, wanted: &DriftWanted) -> Result<Drifted, ClientError> {
        let reply = self.inner.drift(wanted.request()).await?.into_inner();
        Drifted::read(reply)
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

    /// Fetches the proof that the audit log of one size is the beginning of that of another.
    pub async fn consistency(
        &mut self,
        older: u64,
        newer: u64,
    ) -> Result<Vec<Digest>, ClientError> {
        let request = wire::ConsistencyRequest { older, newer };
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

/// A host chose it, and the controller is not believed to have looked.
fn hostname(text: &str) -> Result<String, ClientError> {
    let line = Line::parse(text).map_err(|_| ClientError::Answer("what a host calls itself"))?;
    Ok(line.to_string())
}

fn refusal(text: &str) -> Result<String, ClientError> {
    let words = Words::parse(text).map_err(|_| ClientError::Answer("why a host refused"))?;
    Ok(words.to_string())
}

fn host(wire: wire::Host) -> Result<Host, ClientError> {
    let standing = wire.standing.map(Standing::try_from).transpose();
    let standing = standing.map_err(|_| ClientError::Answer("where a host stands"))?;
    let said = standing.as_ref();
    let labels = said.map(|standing| standing.labels.clone()).unwrap_or_default();
    Ok(Host {
        labels: HostLabels { id: digest(&wire.id)?, hostname: hostname(&wire.hostname)?, labels },
        keeper_key: key(&wire.keeper_key)?,
        connected: wire.connected,
        last_seen: Timestamp(wire.last_seen),
        joined: Timestamp(wire.joined),
        floor: said.and_then(|standing| standing.floor),
        mode: match said.map(|standing| standing.mode) {
            Some(HostMode::Observe) => "observe",
            Some(HostMode::Enforce) => "enforce",
            None => "unknown",
        },
        agent_version: said.map(|standing| standing.agent_version.clone()).unwrap_or_default(),
        refusal: said.map(|standing| standing.refusal.clone()).unwrap_or_default(),
        receipts: wire.receipts,
        token_by: wire.token_by,
        pending: wire.pending,
        notes: wire.notes,
        behind: wire.behind,
        decision: wire.decision.map(decision).transpose()?,
    })
}

fn decision(wire: wire::Decision) -> Result<Decision, ClientError> {
    let verdict = match wire.verdict() {
        wire::Verdict::Unspecified => return Err(ClientError::Answer("what was decided")),
        wire::Verdict::Quarantined => Verdict::Quarantined,
        wire::Verdict::Evicted => Verdict::Evicted,
        wire::Verdict::Banned => Verdict::Banned,
    };
    let reason = Line::parse(&wire.reason);
    let reason = reason.map_err(|_| ClientError::Answer("why something was decided"))?;
    Ok(Decision { verdict, by: wire.by, at: Timestamp(wire.at), reason })
}

fn wire_measure(measure: Measure) -> wire::Measure {
    match measure {
        Measure::Quarantine => wire::Measure::Quarantine,
        Measure::Release => wire::Measure::Release,
        Measure::Evict => wire::Measure::Evict,
        Measure::Ban => wire::Measure::Ban,
        Measure::Purge => wire::Measure::Purge,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(hostname: &str, version: &str, refusal: &str, label: &str) -> wire::Host {
        let standing = wire::Standing {
            trust_version: 1,
            floor: None,
            labels: vec![wire::Label { key: "tier".to_owned(), value: label.to_owned() }],
            mode: wire::HostMode::Enforce.into(),
            agent_version: version.to_owned(),
            refusal: refusal.to_owned(),
        };
        let key = muster_proto::crypto::MachineKey::from_pkcs8(&crate::signer::generate().unwrap());
        wire::Host {
            id: vec![1; 32],
            hostname: hostname.to_owned(),
            keeper_key: key.unwrap().public().as_bytes().to_vec(),
            standing: Some(standing),
            ..wire::Host::default()
        }
    }

    #[test]
    fn the_tool_takes_no_words_of_a_host_that_could_move_the_cursor() {
        assert!(host(said("db1", "0.1.0", "link 7: a rollback", "db")).is_ok());
        for bad in ["\u{1b}[2J", "db\u{202e}1", "db\n1"] {
            for wire in [
                said(bad, "0", "", "db"),
                said("db1", bad, "", "db"),
                said("db1", "0", bad, "db"),
                said("db1", "0", "", bad),
            ] {
                assert!(matches!(host(wire), Err(ClientError::Answer(_))), "{bad:?}");
            }
            assert!(hostname(bad).is_err() && refusal(bad).is_err());
        }
        assert!(hostname(&"x".repeat(200)).is_ok() && hostname(&"x".repeat(201)).is_err());
    }
}
