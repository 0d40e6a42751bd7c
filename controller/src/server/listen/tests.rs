//! Handshakes that go on for ever, and the one that waits behind them.

use muster_proto::{id::Digest, time::Timestamp};
use rustls::{ClientConfig, RootCertStore, crypto::ring, pki_types::ServerName};
use tokio::io::AsyncReadExt;
use tokio_rustls::TlsConnector;

use super::*;
use crate::enrol::{
    Ca,
    tls::{self, Bans, OwnCertificate},
};

/// Nothing here takes this long.
const LONG: Duration = Duration::from_secs(30);

struct Door {
    address: std::net::SocketAddr,
    connections: mpsc::Receiver<io::Result<Connection>>,
    client: TlsConnector,
    _stop: watch::Sender<bool>,
}

async fn door(handshakes: Handshakes) -> Door {
    let dir = tempfile::tempdir().unwrap();
    let now = Timestamp(UnixTime::now().as_secs());
    let ca = Ca::create(dir.path(), Digest::new([1; 32]), now).unwrap();
    let own = OwnCertificate::issue(&ca, "127.0.0.1", now).unwrap();
    let config = tls::server_config(&ca, own, Bans::default()).unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (stop, stopped) = watch::channel(false);
    let connections = accept(listener, config, handshakes, stopped);
    let mut roots = RootCertStore::empty();
    roots.add(ca.certificate().clone()).unwrap();
    let client = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_protocol_versions(&[&rustls::version::TLS13])
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    Door { address, connections, client: TlsConnector::from(Arc::new(client)), _stop: stop }
}

impl Door {
    async fn knock(&self) -> TcpStream {
        TcpStream::connect(self.address).await.unwrap()
    }

    async fn enter(&self) -> tokio_rustls::client::TlsStream<TcpStream> {
        let name = ServerName::try_from("127.0.0.1").unwrap();
        self.client.connect(name, self.knock().await).await.unwrap()
    }
}

#[test]
fn the_bounds_are_what_a_server_can_bear() {
    assert_eq!((HANDSHAKES.at_once, HANDSHAKES.patience), (512, Duration::from_secs(5)));
}

#[tokio::test]
async fn as_many_handshakes_go_on_as_may_and_the_next_waits_for_a_turn() {
    let mut door = door(Handshakes { at_once: 3, patience: LONG }).await;
    let mut silent = vec![door.knock().await, door.knock().await];
    tokio::time::timeout(LONG, door.enter()).await.expect("there is one turn left");
    assert!(door.connections.recv().await.is_some());
    silent.push(door.knock().await);
    {
        let entering = door.enter();
        tokio::pin!(entering);
        let early = tokio::time::timeout(Duration::from_millis(200), &mut entering).await;
        assert!(early.is_err(), "there is no turn left");
        drop(silent.pop());
        tokio::time::timeout(LONG, entering).await.expect("one has gone");
    }
    assert!(door.connections.recv().await.is_some());
}

#[tokio::test]
async fn who_says_nothing_is_sent_away_in_time() {
    let door = door(Handshakes { at_once: 1, patience: Duration::from_millis(100) }).await;
    let mut silent = door.knock().await;
    let mut nothing = [0];
    let ended = tokio::time::timeout(LONG, silent.read(&mut nothing)).await.unwrap();
    assert_eq!(ended.unwrap_or(0), 0);
    tokio::time::timeout(LONG, door.enter()).await.expect("its turn is another's");
}
