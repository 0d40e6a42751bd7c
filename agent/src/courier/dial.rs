//! Dialling the controller: TLS 1.3 and keep-alives, each within a bounded time.

use std::{io, sync::Arc, time::Duration};

use hyper_util::rt::TokioIo;
use rustls::{ClientConfig, pki_types::ServerName};
use tokio::{net::TcpStream, time::timeout};
use tokio_rustls::TlsConnector;
use tonic::transport::{Channel, Endpoint};

use super::{CourierError, PATIENCE};

/// Seconds between keep-alives on a quiet connection.
const KEEP_ALIVE: Duration = Duration::from_secs(30);

/// Dials the controller over TLS and returns a channel to it.
pub async fn dial(address: &str, tls: ClientConfig) -> Result<Channel, CourierError> {
    let bad = || CourierError::Address(address.to_owned());
    let (host, _) = address.rsplit_once(':').ok_or_else(bad)?;
    let name = host.trim_start_matches('[').trim_end_matches(']').to_owned();
    let name = ServerName::try_from(name).map_err(|_| bad())?;
    let (connector, target) = (TlsConnector::from(Arc::new(tls)), address.to_owned());
    let connect = tower::service_fn(move |_| {
        let (connector, target, name) = (connector.clone(), target.clone(), name.clone());
        async move {
            let stream = TcpStream::connect(&target).await?;
            stream.set_nodelay(true)?;
            Ok::<_, io::Error>(TokioIo::new(connector.connect(name, stream).await?))
        }
    });
    let endpoint = Endpoint::from_static("https://controller")
        .connect_timeout(PATIENCE)
        .http2_keep_alive_interval(KEEP_ALIVE)
        .keep_alive_timeout(PATIENCE)
        .keep_alive_while_idle(true);
    match timeout(PATIENCE, endpoint.connect_with_connector(connect)).await {
        Ok(channel) => {
            let address = address.to_owned();
            channel.map_err(|cause| CourierError::Connect { address, cause })
        }
        Err(_) => Err(CourierError::Silent),
    }
}
