//! The courier dials: whom it takes for the controller.
#![expect(clippy::disallowed_methods, reason = "a test lays down what `join` does")]

use std::{error::Error, sync::Arc};

use muster_agent::courier::{self, CourierError, Identity};
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use rustls::{
    ServerConfig,
    pki_types::{CertificateDer, PrivatePkcs8KeyDer},
};
use tokio::{io::AsyncReadExt, net::TcpListener};
use tokio_rustls::TlsAcceptor;

struct Ca {
    issuer: Issuer<'static, KeyPair>,
    der: CertificateDer<'static>,
}

fn ca() -> Ca {
    let key = KeyPair::generate().unwrap();
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    let der = params.self_signed(&key).unwrap().der().clone();
    Ca { issuer: Issuer::new(params, key), der }
}

/// Listens with a certificate of this CA for this name, and returns the address.
async fn listen(ca: &Ca, name: &str) -> String {
    let key = KeyPair::generate().unwrap();
    let params = CertificateParams::new(vec![name.to_owned()]).unwrap();
    let certificate = params.signed_by(&key, &ca.issuer).unwrap().der().clone();
    let config = ServerConfig::builder()
        .with_no_client_auth()
        .with_single_cert(vec![certificate], PrivatePkcs8KeyDer::from(key.serialize_der()).into())
        .unwrap();
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let acceptor = acceptor.clone();
            tokio::spawn(async move {
                // Whoever refuses the certificate goes away.
                let Ok(mut stream) = acceptor.accept(stream).await else { return };
                let _ = stream.read_to_end(&mut Vec::new()).await;
            });
        }
    });
    address
}

/// What `join` laid down: a CA that is pinned, and a certificate of it.
fn identity(ca: &Ca) -> (tempfile::TempDir, Identity) {
    let dir = tempfile::tempdir().unwrap();
    let (key, _) = courier::certificate_request().unwrap();
    let pair = KeyPair::try_from(key.clone()).unwrap();
    let certificate = CertificateParams::default().signed_by(&pair, &ca.issuer).unwrap();
    let identity = courier::join_identity(&key, certificate.der());
    let files: [(&str, &[u8]); 3] =
        [("identity", &identity), ("ca.der", &ca.der), ("controller", b"127.0.0.1:7420")];
    for (name, bytes) in files {
        std::fs::write(dir.path().join(name), bytes).unwrap();
    }
    let identity = Identity::load(dir.path()).unwrap();
    (dir, identity)
}

fn causes(error: &CourierError) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    text
}

#[tokio::test]
async fn a_controller_of_another_ca_or_name_is_refused() {
    let (own, other) = (ca(), ca());
    let (_dir, identity) = identity(&own);
    let dial = async |address: &str| courier::dial(address, identity.tls().unwrap()).await;

    dial(&listen(&own, "127.0.0.1").await).await.unwrap();
    let stranger = dial(&listen(&other, "127.0.0.1").await).await.unwrap_err();
    assert!(matches!(stranger, CourierError::Connect { .. }), "{stranger}");
    // It has the same name, and not the key.
    assert!(causes(&stranger).contains("BadSignature"), "{}", causes(&stranger));
    let elsewhere = dial(&listen(&own, "localhost").await).await.unwrap_err();
    assert!(causes(&elsewhere).contains("not valid for name"), "{}", causes(&elsewhere));
}
