//! Listeners: TLS handshakes beside each other and never before one another, and the operators'
//! socket. Whoever has shown no certificate that is valid has few connections, and not for long:
//! descriptors are few, and the operators' socket needs them too.

mod places;

use std::{
    io,
    os::unix::fs::{FileTypeExt, PermissionsExt, chown},
    path::Path,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use muster_proto::id::HostId;
use nix::unistd::Gid;
use rustls::{ServerConfig, server::Acceptor};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::{TcpListener, TcpStream, UnixListener, UnixStream},
    sync::{mpsc, watch},
};
use tokio_rustls::{LazyConfigAcceptor, server::TlsStream};
use tonic::transport::server::Connected;

use self::places::{Limits, Lost, Origin, Place, Places};
use crate::{
    api::{Clock, caller::AgentPeer},
    enrol::certificate::Shown,
    told::told,
};

/// How long a handshake may take.
const HANDSHAKE: Duration = Duration::from_secs(5);
/// How many may go on at once, in all and for each origin: hosts behind one address come back
/// together.
const HANDSHAKES: Limits = Limits { all: 512, each: 32 };
/// How many connections there may be of those who have no valid certificate.
const STRANGERS: Limits = Limits { all: 256, each: 32 };
/// How many connections a host may have: one, and those that it has lost and we have not yet.
const OF_A_HOST: Limits = Limits { all: usize::MAX, each: 8 };
/// How long somebody without a valid certificate may stay, which is to join or to renew.
const STAY: Duration = Duration::from_secs(15);
/// How many connections may wait for the server.
const WAITING: usize = 64;
/// How long to wait after the kernel refused a connection, for want of descriptors or the like.
const PAUSE: Duration = Duration::from_millis(100);

/// A connection whose handshake is done, and what its certificate showed.
pub(super) struct Connection {
    stream: TlsStream<TcpStream>,
    peer: AgentPeer,
    /// Done when the connection may stay no longer, and then gone; holds its place.
    stay: Option<Pin<Box<dyn Future<Output = ()> + Send>>>,
}

impl Connected for Connection {
    type ConnectInfo = AgentPeer;

    fn connect_info(&self) -> AgentPeer {
        self.peer
    }
}

impl Connection {
    /// Fails once the connection may stay no longer.
    fn check(&mut self, context: &mut Context<'_>) -> io::Result<()> {
        if let Some(stay) = &mut self.stay {
            if stay.as_mut().poll(context).is_pending() {
                return Ok(());
            }
            self.stay = None;
        }
        Err(io::Error::new(io::ErrorKind::TimedOut, "the connection may stay no longer"))
    }
}

impl AsyncRead for Connection {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.check(context)?;
        Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}

impl AsyncWrite for Connection {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.check(context)?;
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.check(context)?;
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.check(context)?;
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

/// What connections go through.
struct Door {
    tls: Arc<ServerConfig>,
    clock: Clock,
    strangers: Arc<Places<Origin>>,
    hosts: Arc<Places<HostId>>,
}

/// Accepts connections and hands on those whose handshake succeeds.
pub(super) fn accept(
    listener: TcpListener,
    tls: ServerConfig,
    clock: Clock,
    mut stop: watch::Receiver<bool>,
) -> mpsc::Receiver<io::Result<Connection>> {
    let (to, from) = mpsc::channel(WAITING);
    let turns = Places::new(HANDSHAKES);
    let door = Arc::new(Door {
        tls: Arc::new(tls),
        clock,
        strangers: Places::new(STRANGERS),
        hosts: Places::new(OF_A_HOST),
    });
    tokio::spawn(async move {
        loop {
            let accepted = tokio::select! {
                accepted = listener.accept() => accepted,
                _ = stop.wait_for(|stop| *stop) => return,
            };
            let (stream, origin) = match accepted {
                Ok((stream, address)) => (stream, Origin::of(address.ip())),
                Err(error) => {
                    let error = told(&error);
                    tracing::warn!(error, "a connection could not be accepted");
                    tokio::time::sleep(PAUSE).await;
                    continue;
                }
            };
            let Some((turn, lost)) = turns.take(origin) else {
                tracing::debug!(?origin, "too many handshakes at once");
                continue;
            };
            let (door, to) = (Arc::clone(&door), to.clone());
            tokio::spawn(async move {
                let shaken = tokio::select! {
                    shaken = door.shake(stream, origin, &turn) => shaken,
                    _ = lost => None,
                    () = tokio::time::sleep(HANDSHAKE) => None,
                };
                drop(turn);
                if let Some(connection) = shaken {
                    // Nobody takes it while the server stops.
                    let _ = to.send(Ok(connection)).await;
                }
            });
        }
    });
    from
}

impl Door {
    async fn shake(
        &self,
        stream: TcpStream,
        origin: Origin,
        turn: &Place<Origin>,
    ) -> Option<Connection> {
        // A bundle is written whole; waiting for more would only delay it.
        let _ = stream.set_nodelay(true);
        let shaken = async {
            let hello = LazyConfigAcceptor::new(Acceptor::default(), stream).await?;
            turn.show_need();
            hello.into_stream(Arc::clone(&self.tls)).await
        };
        match shaken.await {
            Ok(stream) => self.admit(stream, origin),
            Err(error) => {
                tracing::info!(error = told(&error), "a TLS handshake failed");
                None
            }
        }
    }

    /// Gives a connection the place that its certificate is worth.
    fn admit(&self, stream: TlsStream<TcpStream>, origin: Origin) -> Option<Connection> {
        let certificates = stream.get_ref().1.peer_certificates();
        let shown = certificates.and_then(<[_]>::first).and_then(Shown::read);
        let stay: Pin<Box<dyn Future<Output = ()> + Send>> = match &shown {
            Some(shown) if !shown.has_expired((self.clock)()) => {
                Box::pin(until_lost(self.hosts.take(shown.host)?))
            }
            _ => {
                let lost = until_lost(self.strangers.take(origin)?);
                Box::pin(async {
                    tokio::select! {
                        () = lost => {}
                        () = tokio::time::sleep(STAY) => {}
                    }
                })
            }
        };
        let peer = shown.map_or(AgentPeer::Stranger, AgentPeer::Host);
        Some(Connection { stream, peer, stay: Some(stay) })
    }
}

/// Holds a place until it is lost.
async fn until_lost<K: Ord + Copy>((place, lost): (Place<K>, Lost)) {
    // It always fails: nobody says anything.
    let _ = lost.await;
    drop(place);
}

/// Takes the operators' socket, in place of one that a server left behind.
pub(super) async fn bind_socket(path: &Path, group: Option<Gid>) -> io::Result<UnixListener> {
    if let Ok(found) = std::fs::symlink_metadata(path) {
        if !found.file_type().is_socket() {
            return Err(io::Error::new(io::ErrorKind::AlreadyExists, "it is not a socket"));
        }
        if UnixStream::connect(path).await.is_ok() {
            return Err(io::Error::new(io::ErrorKind::AddrInUse, "another server listens there"));
        }
        std::fs::remove_file(path)?;
    }
    let listener = UnixListener::bind(path)?;
    if let Some(group) = group {
        chown(path, None, Some(group.as_raw()))?;
    }
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o660))?;
    Ok(listener)
}
