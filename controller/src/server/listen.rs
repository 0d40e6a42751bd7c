//! Listeners: TLS handshakes beside each other and never before one another, the operators' socket,
//! and the word to the service manager.
#![expect(clippy::disallowed_methods, reason = "systemd names its socket in the environment")]

use std::{
    io,
    os::unix::{
        fs::{FileTypeExt, PermissionsExt, chown},
        net::UnixDatagram,
    },
    path::Path,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use nix::unistd::Gid;
use rustls::{
    ServerConfig,
    pki_types::{CertificateDer, UnixTime},
};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::{TcpListener, TcpStream, UnixListener, UnixStream},
    sync::{Semaphore, mpsc, watch},
};
use tokio_rustls::{TlsAcceptor, server::TlsStream};
use tonic::transport::server::Connected;

use crate::{
    api::{caller::AgentPeer, told},
    enrol,
};

/// What handshakes may cost.
#[derive(Clone, Copy, Debug)]
pub(super) struct Handshakes {
    /// How many may go on at once; the others wait for their turn in the kernel's queue.
    at_once: usize,
    /// How long one may take.
    patience: Duration,
}

/// What they may cost here.
pub(super) const HANDSHAKES: Handshakes =
    Handshakes { at_once: 512, patience: Duration::from_secs(5) };
/// How many connections may wait for the server.
const WAITING: usize = 64;
/// How long to wait after the kernel refused a connection, for want of descriptors or the like.
const PAUSE: Duration = Duration::from_millis(100);

/// A connection whose handshake is done, and the host that its certificate named.
#[derive(Debug)]
pub(super) struct Connection {
    stream: TlsStream<TcpStream>,
    peer: AgentPeer,
}

impl Connected for Connection {
    type ConnectInfo = AgentPeer;

    fn connect_info(&self) -> AgentPeer {
        self.peer
    }
}

impl AsyncRead for Connection {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}

impl AsyncWrite for Connection {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

/// Accepts connections and hands on those whose handshake succeeds.
pub(super) fn accept(
    listener: TcpListener,
    tls: ServerConfig,
    handshakes: Handshakes,
    mut stop: watch::Receiver<bool>,
) -> mpsc::Receiver<io::Result<Connection>> {
    let (to, from) = mpsc::channel(WAITING);
    let acceptor = TlsAcceptor::from(Arc::new(tls));
    let turns = Arc::new(Semaphore::new(handshakes.at_once));
    tokio::spawn(async move {
        loop {
            let Ok(turn) = Arc::clone(&turns).acquire_owned().await else { return };
            let accepted = tokio::select! {
                accepted = listener.accept() => accepted,
                _ = stop.wait_for(|stop| *stop) => return,
            };
            let stream = match accepted {
                Ok((stream, _)) => stream,
                Err(error) => {
                    let error = told(&error);
                    tracing::warn!(error, "a connection could not be accepted");
                    tokio::time::sleep(PAUSE).await;
                    continue;
                }
            };
            let (acceptor, to) = (acceptor.clone(), to.clone());
            tokio::spawn(async move {
                if let Some(connection) = shake(&acceptor, stream, handshakes.patience).await {
                    // Nobody takes it while the server stops.
                    let _ = to.send(Ok(connection)).await;
                }
                drop(turn);
            });
        }
    });
    from
}

async fn shake(
    acceptor: &TlsAcceptor,
    stream: TcpStream,
    patience: Duration,
) -> Option<Connection> {
    // A bundle is written whole; waiting for more would only delay it.
    let _ = stream.set_nodelay(true);
    match tokio::time::timeout(patience, acceptor.accept(stream)).await {
        Ok(Ok(stream)) => {
            let certificates = stream.get_ref().1.peer_certificates();
            let peer = peer(certificates.and_then(<[_]>::first));
            Some(Connection { stream, peer })
        }
        Ok(Err(error)) => {
            tracing::info!(error = told(&error), "a TLS handshake failed");
            None
        }
        // Whoever says nothing has had its time.
        Err(_) => None,
    }
}

/// Returns what a certificate shows that the handshake has verified.
fn peer(certificate: Option<&CertificateDer<'_>>) -> AgentPeer {
    let host =
        certificate.and_then(|certificate| Some((certificate, enrol::host_of(certificate)?)));
    match host {
        None => AgentPeer::Stranger,
        Some((certificate, host)) if enrol::has_expired(certificate, UnixTime::now()) => {
            AgentPeer::HostOfOld(host)
        }
        Some((_, host)) => AgentPeer::Host(host),
    }
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

/// Tells the service manager, if there is one (`sd_notify(3)`).
pub(super) fn notify(state: &str) {
    let Some(place) = std::env::var_os("NOTIFY_SOCKET") else { return };
    let sent = UnixDatagram::unbound().and_then(|socket| {
        use std::os::{linux::net::SocketAddrExt, unix::ffi::OsStrExt};
        match place.as_bytes() {
            [b'@', name @ ..] => {
                let address = std::os::unix::net::SocketAddr::from_abstract_name(name)?;
                socket.send_to_addr(state.as_bytes(), &address)
            }
            _ => socket.send_to(state.as_bytes(), &place),
        }
    });
    if let Err(error) = sent {
        tracing::warn!(%error, "the service manager could not be told");
    }
}

#[cfg(test)]
mod tests;
