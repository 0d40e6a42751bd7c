//! The unprivileged process: it talks to the network and knows no host. What it carries is signed
//! elsewhere and believed elsewhere; a courier that lies can only withhold. It carries messages in
//! parts, and never holds a whole one.

mod back_off;
mod dial;
mod identity;
mod time;
mod upward;

use std::{
    io,
    path::{Path, PathBuf},
    time::Duration,
};

use muster_proto::{
    bundle::MAX_BUNDLE,
    envelope::Envelope,
    parts::{BadPart, Course, MAX_ENCODED_PART},
    wire::{self, ToKeeper, agents_client::AgentsClient, to_keeper},
};
use ring::rand::{SecureRandom, SystemRandom};
use rustls::ClientConfig;
use tokio::{
    io::AsyncWriteExt,
    net::{UnixStream, unix::OwnedWriteHalf},
    sync::mpsc,
    time::timeout,
};
use tonic::{Streaming, transport::Channel};

use self::{back_off::BackOff, upward::Upward};
pub use self::{
    dial::dial,
    identity::{Identity, Void, certificate_request, join_identity},
    time::HostTime,
};
use crate::{
    channel::{self, BadMessage},
    host::{
        chain,
        state::{self, StateError},
    },
};

/// Where the courier keeps its key, its certificate, and what it dials.
pub const DIRECTORY: &str = "/var/lib/muster-agent/courier";

/// Seconds that a handshake and a first call may take.
const PATIENCE: Duration = Duration::from_secs(10);

/// Why a session ended or did not begin.
#[derive(Debug, thiserror::Error)]
pub enum CourierError {
    /// One of the courier's own files.
    #[error(transparent)]
    State(#[from] StateError),
    /// A file that `join` writes is not there.
    #[error("`{0}` is missing; this host has not joined, run `muster-agent join`")]
    NotJoined(PathBuf),
    /// The courier's key and certificate are not what `join` wrote.
    #[error("the courier's identity is damaged; join this host again")]
    Damaged,
    /// The controller's address is not one.
    #[error("`{0}` is not an address of the form host:port")]
    Address(String),
    /// The keys or certificates cannot be used.
    #[error("cannot use the courier's key and certificate")]
    Tls(#[from] rustls::Error),
    /// The keeper is not there.
    #[error("cannot reach the keeper at `{path}`", path = channel::SOCKET)]
    Keeper(#[source] io::Error),
    /// The keeper says something that is not understood.
    #[error("cannot understand the keeper")]
    Channel(#[from] BadMessage),
    /// The controller sends no message.
    #[error("cannot follow what the controller sends")]
    Part(#[from] BadPart),
    /// The controller cannot be reached.
    #[error("cannot reach the controller at `{address}`")]
    Connect {
        /// Where it should be.
        address: String,
        /// Why.
        #[source]
        cause: tonic::transport::Error,
    },
    /// The controller refused or went away.
    #[error("the controller ended the session: {}", .0.message())]
    Refused(Box<tonic::Status>),
    /// The controller says nothing.
    #[error("the controller does not answer")]
    Silent,
    /// The controller closed.
    #[error("the controller closed the connection")]
    Closed,
    /// There is a new certificate, and the next session begins with it.
    #[error("the certificate was renewed")]
    Renewed,
    /// A new certificate could not be asked for.
    #[error("cannot make a request for a new certificate")]
    Renew(#[from] rcgen::Error),
}

impl From<tonic::Status> for CourierError {
    fn from(status: tonic::Status) -> Self {
        Self::Refused(Box::new(status))
    }
}

/// Carries between controller and keeper for ever; waits a little longer after each failure.
pub async fn run(directory: &Path, socket: &Path, time: &HostTime) -> Result<(), CourierError> {
    let random = SystemRandom::new();
    let mut back_off = BackOff::default();
    loop {
        let identity = Identity::load(directory)?;
        let mut established = false;
        let Err(error) = session(identity, socket, time, &mut established).await;
        if established {
            back_off.reset();
        }
        if let CourierError::Renewed = error {
            tracing::info!("certificate renewed; the next session begins with it");
            continue;
        }
        let pause = back_off.pause(chance(&random));
        tracing::warn!(
            error = %chain(&error),
            retry_ms = u64::try_from(pause.as_millis()).unwrap_or(u64::MAX),
            "session ended"
        );
        tokio::time::sleep(pause).await;
    }
}

/// Returns a random byte; the largest, for the longest pause, where there is none.
fn chance(random: &SystemRandom) -> u8 {
    let mut byte = [0];
    let filled = random.fill(&mut byte);
    let [byte] = byte;
    if filled.is_ok() { byte } else { u8::MAX }
}

async fn session(
    identity: Identity,
    socket: &Path,
    time: &HostTime,
    established: &mut bool,
) -> Result<std::convert::Infallible, CourierError> {
    let keeper = UnixStream::connect(socket).await.map_err(CourierError::Keeper)?;
    let (from_keeper, mut to_keeper) = keeper.into_split();
    let mut client = AgentsClient::new(dial(&identity.address, identity.tls(time)?).await?)
        .max_decoding_message_size(MAX_ENCODED_PART)
        .max_encoding_message_size(MAX_ENCODED_PART);
    if renew_if_due(&identity, &mut client).await? {
        // The old one may have expired, and then nothing else is let through with it.
        return Err(CourierError::Renewed);
    }
    let (sender, receiver) = mpsc::channel(WAITING);
    let watch = ToKeeper { message: Some(to_keeper::Message::WatchSpoolAfter(0)) };
    write(&mut to_keeper, &channel::frame(&watch)).await?;
    let mut from_keeper = Upward::new(from_keeper);
    let first = from_keeper.part().await?;
    let _ = sender.send(first).await;
    let outgoing = tokio_stream::wrappers::ReceiverStream::new(receiver);
    let incoming = timeout(PATIENCE, client.session(outgoing))
        .await
        .map_err(|_| CourierError::Silent)??
        .into_inner();
    *established = true;
    tracing::info!(controller = %identity.address, "session begun");
    let upward = async {
        loop {
            let part = from_keeper.part().await?;
            if sender.send(part).await.is_err() {
                return Err(CourierError::Closed);
            }
        }
    };
    let downward = downward(incoming, to_keeper);
    let renew = async || renew_if_due(&identity, &mut client.clone()).await;
    let renewal = async { Err(until_renewed(RENEW_CHECK, renew).await) };
    tokio::select! { end = upward => end, end = downward => end, end = renewal => end }
}

/// How many parts wait for the controller to take them.
const WAITING: usize = 64;

/// Hands the keeper the bundles that come, each as one, whatever is in it.
async fn downward(
    mut incoming: Streaming<wire::Part>,
    mut keeper: OwnedWriteHalf,
) -> Result<std::convert::Infallible, CourierError> {
    let mut course = Course::new(MAX_BUNDLE);
    while let Some(part) = incoming.message().await? {
        if let Some(length) = course.take(&part)? {
            write(&mut keeper, &channel::delivery(length)).await?;
        }
        write(&mut keeper, &part.bytes).await?;
    }
    Err(CourierError::Closed)
}

async fn write(keeper: &mut OwnedWriteHalf, bytes: &[u8]) -> Result<(), CourierError> {
    keeper.write_all(bytes).await.map_err(CourierError::Keeper)
}

/// What the controller answers to a host that joins; believed by nobody yet.
#[derive(Debug)]
pub struct Admission {
    /// The certificate for the request, in DER.
    pub certificate: Vec<u8>,
    /// The controller's CA, in DER.
    pub ca: Vec<u8>,
    /// All trust roots from version 1.
    pub trust_roots: Vec<Envelope>,
}

/// Asks to join with a token's one-time secret.
pub async fn join(
    address: &str,
    tls: ClientConfig,
    secret: &[u8],
    certificate_request: Vec<u8>,
    enrolment: &Envelope,
) -> Result<Admission, CourierError> {
    let mut client = AgentsClient::new(dial(address, tls).await?);
    let request = wire::JoinRequest {
        secret: secret.to_vec(),
        certificate_request,
        enrolment: Some(enrolment.into()),
    };
    let reply = timeout(PATIENCE, client.join(request))
        .await
        .map_err(|_| CourierError::Silent)??
        .into_inner();
    let trust_roots = reply.trust_roots.into_iter().map(Envelope::try_from);
    Ok(Admission {
        certificate: reply.certificate,
        ca: reply.ca,
        trust_roots: trust_roots.collect::<Result<_, _>>().map_err(|_| BadMessage::Form)?,
    })
}

/// Seconds between two looks at the certificate's age.
const RENEW_CHECK: Duration = Duration::from_mins(10);

/// A certificate is renewed at this age; it is valid for 24 hours.
const RENEW_AFTER: Duration = Duration::from_hours(12);

/// Asks for a new certificate with a new key when the present one is half-way through.
async fn renew_if_due(
    identity: &Identity,
    client: &mut AgentsClient<Channel>,
) -> Result<bool, CourierError> {
    let path = identity.directory.join("identity");
    if state::age(&path)? < RENEW_AFTER {
        return Ok(false);
    }
    let (key, request) = certificate_request()?;
    let reply =
        timeout(PATIENCE, client.renew(wire::RenewRequest { certificate_request: request }))
            .await
            .map_err(|_| CourierError::Silent)??
            .into_inner();
    state::replace(&path, &join_identity(&key, &reply.certificate), 0o600)?;
    Ok(true)
}

/// Tries every so often, and returns why the session has to end: there is a new certificate, or
/// none could be had.
async fn until_renewed(
    every: Duration,
    mut renew: impl AsyncFnMut() -> Result<bool, CourierError>,
) -> CourierError {
    loop {
        tokio::time::sleep(every).await;
        match renew().await {
            Ok(false) => {}
            Ok(true) => return CourierError::Renewed,
            Err(error) => return error,
        }
    }
}

#[cfg(test)]
mod tests {
    use muster_proto::bundle::MAX_MESSAGE;
    use prost::Message;

    use super::*;

    #[test]
    fn a_session_looks_until_there_is_a_new_certificate_and_ends_for_that_reason() {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        let end = |answers: Vec<Result<bool, CourierError>>| {
            let mut answers = answers.into_iter();
            let renew = async || answers.next().unwrap();
            let end = runtime.block_on(until_renewed(Duration::ZERO, renew));
            (end, answers.count())
        };
        let (renewed, left) = end(vec![Ok(false), Ok(false), Ok(true), Ok(false)]);
        assert!(matches!(renewed, CourierError::Renewed), "{renewed:?}");
        assert_eq!(left, 1);
        let (failed, left) = end(vec![Ok(false), Err(CourierError::Silent), Ok(true)]);
        assert!(matches!(failed, CourierError::Silent), "{failed:?}");
        assert_eq!(left, 1);
    }

    #[test]
    fn the_largest_bundle_fits_into_a_message() {
        let deliver = Some(to_keeper::Message::Deliver(vec![0; MAX_BUNDLE]));
        assert!(ToKeeper { message: deliver }.encoded_len() <= MAX_MESSAGE);
    }
}
