//! A server on loopback and its callers: an agent's courier and an operator's tool, as far as the
//! tests need them.
#![expect(clippy::disallowed_methods, reason = "a test asks the clock")]

use std::{
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use hyper_util::rt::TokioIo;
use muster_controller::{
    config::Config,
    server::{ServeError, Server, settings::Settings},
    setup,
};
use muster_proto::{
    bundle::MAX_BUNDLE,
    crypto::sha256,
    envelope::Envelope,
    name::Line,
    parts::{Assembly, parts},
    receipt::Enrolment,
    time::Timestamp,
    wire::{self, agents_client::AgentsClient, operators_client::OperatorsClient},
};
use prost::Message;
use rcgen::{CertificateParams, KeyPair};
use rustls::{
    ClientConfig, RootCertStore,
    crypto::ring,
    pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer, ServerName},
};
use tokio::{
    net::{TcpStream, UnixStream},
    sync::mpsc,
    task::JoinHandle,
};
use tokio_rustls::TlsConnector;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{
    Status, Streaming,
    transport::{Channel, Endpoint},
};
use tower::service_fn;

use crate::{
    host::Host,
    world::{NOW, World},
};

/// Nothing here takes this long; what hangs fails.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

pub(crate) async fn soon<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, future).await.expect("it takes too long")
}

/// A server that runs, with a clock that the test turns.
pub(crate) struct Running {
    pub(crate) dir: tempfile::TempDir,
    pub(crate) address: std::net::SocketAddr,
    pub(crate) settings: Settings,
    clock: Arc<AtomicU64>,
    stop: tokio::sync::watch::Sender<bool>,
    task: JoinHandle<Result<(), ServeError>>,
}

pub(crate) fn config(dir: &Path) -> Config {
    let socket = dir.join("operator.sock");
    Config::parse(&format!(
        "data_dir = '{}'\nagent_listener = '127.0.0.1:0'\nagent_address = '127.0.0.1:7420'\n\
         operator_socket = '{}'\n",
        dir.join("data").display(),
        socket.display()
    ))
    .unwrap()
}

impl Running {
    pub(crate) async fn start(world: &World) -> Self {
        let dir = tempfile::tempdir().unwrap();
        setup::create(&dir.path().join("data"), &world.online, &world.trust, NOW).await.unwrap();
        Self::resume(dir).await
    }

    pub(crate) async fn resume(dir: tempfile::TempDir) -> Self {
        let config = config(dir.path());
        Self::with(dir, config, wall()).await
    }

    /// Starts a server on what is there, at a time of the test's choice.
    pub(crate) async fn with(dir: tempfile::TempDir, config: Config, now: u64) -> Self {
        let clock = Arc::new(AtomicU64::new(now));
        let ticks = Arc::clone(&clock);
        let clock_of = move || Timestamp(ticks.load(Ordering::SeqCst));
        let (server, settings) = Server::bind_at(config, Arc::new(clock_of)).await.unwrap();
        let address = server.agent_listener().unwrap();
        let stop = server.stopper();
        let task = tokio::spawn(server.run());
        Self { dir, address, settings, clock, stop, task }
    }

    pub(crate) async fn stop(self) -> tempfile::TempDir {
        self.stop.send_replace(true);
        soon(self.task).await.unwrap().unwrap();
        self.dir
    }

    pub(crate) fn now(&self) -> Timestamp {
        Timestamp(self.clock.load(Ordering::SeqCst))
    }

    pub(crate) fn turn_clock(&self, seconds: u64) {
        self.clock.fetch_add(seconds, Ordering::SeqCst);
    }

    pub(crate) fn socket(&self) -> PathBuf {
        self.dir.path().join("operator.sock")
    }

    pub(crate) async fn operator(&self) -> OperatorsClient<Channel> {
        let path = self.socket();
        let channel = Endpoint::from_static("http://localhost")
            .connect_with_connector(service_fn(move |_| {
                let path = path.clone();
                async move { UnixStream::connect(path).await.map(TokioIo::new) }
            }))
            .await
            .unwrap();
        OperatorsClient::new(channel)
    }

    /// Where the server keeps its files.
    pub(crate) fn data(&self) -> PathBuf {
        self.dir.path().join("data")
    }

    pub(crate) fn ca(&self) -> CertificateDer<'static> {
        CertificateDer::from(std::fs::read(self.dir.path().join("data/ca.der")).unwrap())
    }

    fn tls(&self, certificate: Option<(Vec<u8>, &KeyPair)>) -> TlsConnector {
        let mut roots = RootCertStore::empty();
        roots.add(self.ca()).unwrap();
        let builder = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_protocol_versions(&[&rustls::version::TLS13])
            .unwrap()
            .with_root_certificates(roots);
        let mut tls = match certificate {
            None => builder.with_no_client_auth(),
            Some((certificate, key)) => {
                let key = PrivatePkcs8KeyDer::from(key.serialize_der());
                let chain = vec![CertificateDer::from(certificate)];
                builder.with_client_auth_cert(chain, PrivateKeyDer::from(key)).unwrap()
            }
        };
        tls.alpn_protocols = vec![b"h2".to_vec()];
        TlsConnector::from(Arc::new(tls))
    }

    /// The certificate that the server shows now.
    pub(crate) async fn certificate(&self) -> Vec<u8> {
        let stream = TcpStream::connect(self.address).await.unwrap();
        let name = ServerName::try_from("127.0.0.1").unwrap();
        let stream = soon(self.tls(None).connect(name, stream)).await.unwrap();
        stream.get_ref().1.peer_certificates().unwrap()[0].to_vec()
    }

    pub(crate) async fn channel(
        &self,
        certificate: Option<(Vec<u8>, &KeyPair)>,
    ) -> Result<Channel, tonic::transport::Error> {
        let (connector, address) = (self.tls(certificate), self.address);
        Endpoint::from_static("http://127.0.0.1")
            .connect_with_connector(service_fn(move |_| {
                let connector = connector.clone();
                async move {
                    let stream = TcpStream::connect(address).await?;
                    let name = ServerName::try_from("127.0.0.1").unwrap();
                    connector.connect(name, stream).await.map(TokioIo::new)
                }
            }))
            .await
    }

    pub(crate) async fn stranger(&self) -> AgentsClient<Channel> {
        AgentsClient::new(soon(self.channel(None)).await.unwrap())
    }

    pub(crate) async fn token(&self, valid_for: u64) -> Vec<u8> {
        let request = wire::CreateTokenRequest { valid_for };
        self.operator().await.create_token(request).await.unwrap().into_inner().secret
    }

    /// Joins with a secret and connects with the certificate.
    pub(crate) async fn join(&self, host: &Host, secret: Vec<u8>) -> Result<Courier, Status> {
        let tls = KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256).unwrap();
        let request = join_request(host, &tls, secret);
        let reply = self.stranger().await.join(request).await?.into_inner();
        let certificate = Some((reply.certificate.clone(), &tls));
        let client = AgentsClient::new(soon(self.channel(certificate)).await.unwrap());
        Ok(Courier { client, reply, key: tls })
    }
}

/// Does to a database, behind the back of whoever has it open, what no method does.
#[expect(clippy::disallowed_types, reason = "a test breaks what the store would not")]
pub(crate) async fn alter(database: &Path, sql: &'static str) {
    use sqlx::Connection as _;
    let options = sqlx::sqlite::SqliteConnectOptions::new().filename(database);
    let mut connection = sqlx::SqliteConnection::connect_with(&options).await.unwrap();
    sqlx::query(sql).execute(&mut connection).await.unwrap();
    connection.close().await.unwrap();
}

/// TLS has a clock of its own.
pub(crate) fn wall() -> u64 {
    std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs()
}

pub(crate) fn join_request(host: &Host, tls: &KeyPair, secret: Vec<u8>) -> wire::JoinRequest {
    join_request_as("db1", host, tls, secret)
}

/// A host that calls itself so asks to join.
pub(crate) fn join_request_as(
    hostname: &str,
    host: &Host,
    tls: &KeyPair,
    secret: Vec<u8>,
) -> wire::JoinRequest {
    let csr = CertificateParams::default().serialize_request(tls).unwrap().der().to_vec();
    let enrolment = Enrolment {
        lineage: host.trust.lineage(),
        keeper_key: host.key.public(),
        certificate_request: sha256(&[&csr]),
        hostname: Line::parse(hostname).unwrap(),
        time: NOW,
    };
    let enrolment = Envelope::sign(&enrolment, &host.key);
    wire::JoinRequest {
        secret,
        certificate_request: csr,
        enrolment: Some(wire::Envelope::from(&enrolment)),
    }
}

/// A host's connection.
pub(crate) struct Courier {
    pub(crate) client: AgentsClient<Channel>,
    pub(crate) reply: wire::JoinReply,
    /// The key of its certificate.
    pub(crate) key: KeyPair,
}

/// A session that is open.
pub(crate) struct Session {
    to: mpsc::Sender<wire::Part>,
    from: Streaming<wire::Part>,
    coming: Assembly,
}

impl Courier {
    pub(crate) async fn session(&mut self, host: &Host) -> Session {
        let (to, messages) = mpsc::channel(16);
        let from = soon(self.client.session(ReceiverStream::new(messages))).await.unwrap();
        let coming = Assembly::new(MAX_BUNDLE);
        let mut session = Session { to, from: from.into_inner(), coming };
        session.stand(host).await;
        session
    }
}

impl Session {
    pub(crate) async fn stand(&mut self, host: &Host) {
        self.refuse(host, "").await;
    }

    /// Says where the host stands, and why it refused what it was sent.
    pub(crate) async fn refuse(&mut self, host: &Host, why: &str) {
        let standing = wire::Standing { refusal: why.to_owned(), ..standing(host) };
        self.say(wire::from_keeper::Message::Standing(standing)).await;
    }

    pub(crate) async fn say(&mut self, message: wire::from_keeper::Message) {
        assert!(self.try_to_say(message).await, "the session ended");
    }

    /// Says something, as much of it as is listened to; whether that was all.
    pub(crate) async fn try_to_say(&mut self, message: wire::from_keeper::Message) -> bool {
        let message = wire::FromKeeper { message: Some(message) };
        for part in parts(&message.encode_to_vec()) {
            if self.to.send(part).await.is_err() {
                return false;
            }
        }
        true
    }

    pub(crate) async fn report(&mut self, host: &mut Host) -> Envelope {
        let receipt = host.receipt();
        self.spool(&receipt).await;
        receipt
    }

    pub(crate) async fn spool(&mut self, receipt: &Envelope) {
        let entry = wire::SpoolEntry { number: 0, receipt: Some(wire::Envelope::from(receipt)) };
        self.say(wire::from_keeper::Message::Spool(entry)).await;
    }

    pub(crate) async fn next(&mut self) -> Option<Vec<u8>> {
        while let Some(part) = soon(self.from.message()).await.unwrap() {
            if let Some(bundle) = self.coming.take(part).unwrap() {
                return Some(bundle);
            }
        }
        None
    }

    /// Takes bundles until the session fails.
    pub(crate) async fn failure(&mut self) -> Status {
        loop {
            match soon(self.from.message()).await {
                Ok(message) => assert!(message.is_some(), "the session ended without a reason"),
                Err(status) => return status,
            }
        }
    }
}

/// Where a host says it stands.
pub(crate) fn standing(host: &Host) -> wire::Standing {
    let label = |(key, value): (&str, &str)| wire::Label { key: key.into(), value: value.into() };
    wire::Standing {
        trust_version: host.trust.version,
        floor: host.link().as_ref().map(wire::LinkRef::from),
        labels: host.labels.iter().map(label).collect(),
        mode: wire::HostMode::Enforce.into(),
        agent_version: "0".to_owned(),
        refusal: String::new(),
    }
}
