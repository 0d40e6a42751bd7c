//! The agents' listener's TLS: 1.3 only, ring, HTTP/2. A client certificate is not asked for by the
//! handshake, since a host that joins has none yet; the table of methods asks for it everywhere
//! else. One that has expired passes the handshake, the table lets it do nothing but renew, and the
//! store lets it do that only while there is no newer one and for a while. The handshake of a host
//! that was evicted or banned fails, and the table refuses it again at every call.

use std::{
    collections::BTreeSet,
    fmt,
    sync::{Arc, PoisonError, RwLock},
};

use muster_proto::{id::HostId, time::Timestamp};
use rustls::{
    CertificateError, DigitallySignedStruct, DistinguishedName, RootCertStore, ServerConfig,
    SignatureScheme,
    client::danger::HandshakeSignatureValid,
    crypto::{CryptoProvider, ring},
    pki_types::{CertificateDer, UnixTime},
    server::{
        ClientHello, ResolvesServerCert, WebPkiClientVerifier,
        danger::{ClientCertVerified, ClientCertVerifier},
    },
    sign::CertifiedKey,
};

use super::{Ca, EnrolError, VALIDITY, host_of, last_second};

/// Hosts whose certificates are void: those that were evicted, and those that are banned.
#[derive(Clone, Debug, Default)]
pub struct Bans(Arc<RwLock<BTreeSet<HostId>>>);

/// The controller's certificate, replaced while the server runs.
pub(crate) struct OwnCertificate(RwLock<Issued>);

/// A certificate and since when it is valid.
struct Issued {
    key: Arc<CertifiedKey>,
    at: Timestamp,
}

/// Why there is no TLS.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// No certificate.
    #[error(transparent)]
    Enrol(#[from] EnrolError),
    /// The library refuses the configuration.
    #[error("cannot set up TLS")]
    Setup(#[from] rustls::Error),
    /// The library refuses the CA.
    #[error("cannot set up the check of agents' certificates")]
    Verifier(#[from] rustls::server::VerifierBuilderError),
}

impl Bans {
    /// Shuts out exactly these.
    pub fn new(hosts: BTreeSet<HostId>) -> Self {
        Self(Arc::new(RwLock::new(hosts)))
    }

    /// Says whether a host is shut out.
    pub fn contains(&self, host: &HostId) -> bool {
        self.0.read().unwrap_or_else(PoisonError::into_inner).contains(host)
    }

    /// Lets no certificate of a host's count from now on.
    pub fn shut_out(&self, host: HostId) {
        self.0.write().unwrap_or_else(PoisonError::into_inner).insert(host);
    }

    /// Lets the store judge a host's certificates again.
    pub fn let_in(&self, host: HostId) {
        self.0.write().unwrap_or_else(PoisonError::into_inner).remove(&host);
    }
}

impl OwnCertificate {
    pub(crate) fn issue(ca: &Ca, host: &str, now: Timestamp) -> Result<Arc<Self>, TlsError> {
        Ok(Arc::new(Self(RwLock::new(certified(ca, host, now)?))))
    }

    /// Takes a new certificate for all connections from now on, if the present one has lived half
    /// its life, or is of a time that the clock, which was set back, has not reached again.
    pub(crate) fn renew_if_due(&self, ca: &Ca, host: &str, now: Timestamp) -> Result<(), TlsError> {
        let at = self.0.read().unwrap_or_else(PoisonError::into_inner).at;
        if now >= at && now.since(at) < VALIDITY / 2 {
            return Ok(());
        }
        let issued = certified(ca, host, now)?;
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = issued;
        tracing::info!("the controller has a new certificate");
        Ok(())
    }
}

fn certified(ca: &Ca, host: &str, now: Timestamp) -> Result<Issued, TlsError> {
    let (chain, key) = ca.server_certificate(host, now)?;
    let key = CertifiedKey::from_der(chain, key, &ring::default_provider())?;
    Ok(Issued { key: Arc::new(key), at: now })
}

impl fmt::Debug for OwnCertificate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("OwnCertificate")
    }
}

impl ResolvesServerCert for OwnCertificate {
    fn resolve(&self, _hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(Arc::clone(&self.0.read().unwrap_or_else(PoisonError::into_inner).key))
    }
}

/// Returns the TLS configuration of the agents' listener.
pub(crate) fn server_config(
    ca: &Ca,
    own: Arc<OwnCertificate>,
    bans: Bans,
) -> Result<ServerConfig, TlsError> {
    let provider: Arc<CryptoProvider> = Arc::new(ring::default_provider());
    let mut roots = RootCertStore::empty();
    roots.add(ca.certificate().clone())?;
    let inner = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::clone(&provider))
        .allow_unauthenticated()
        .build()?;
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])?
        .with_client_cert_verifier(Arc::new(Verifier { inner, bans }))
        .with_cert_resolver(own);
    config.alpn_protocols = vec![b"h2".to_vec()];
    Ok(config)
}

/// The library's verifier, and the ban list.
#[derive(Debug)]
struct Verifier {
    inner: Arc<dyn ClientCertVerifier>,
    bans: Bans,
}

impl ClientCertVerifier for Verifier {
    fn offer_client_auth(&self) -> bool {
        self.inner.offer_client_auth()
    }

    fn client_auth_mandatory(&self) -> bool {
        self.inner.client_auth_mandatory()
    }

    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        self.inner.root_hint_subjects()
    }

    fn verify_client_cert(
        &self,
        certificate: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, rustls::Error> {
        // All but the date is checked of one that has expired.
        let now = last_second(certificate).map_or(now, |last| now.min(last));
        let verified = self.inner.verify_client_cert(certificate, intermediates, now)?;
        let refused = |why| Err(rustls::Error::InvalidCertificate(why));
        match host_of(certificate) {
            Some(host) if self.bans.contains(&host) => refused(CertificateError::Revoked),
            Some(_) => Ok(verified),
            None => refused(CertificateError::ApplicationVerificationFailure),
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.inner.verify_tls12_signature(message, certificate, signature)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.inner.verify_tls13_signature(message, certificate, signature)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.inner.supported_verify_schemes()
    }
}

#[cfg(test)]
mod tests {
    use muster_proto::id::Digest;

    use super::*;

    #[test]
    fn the_own_certificate_is_due_at_half_its_life_and_when_the_clock_was_set_back() {
        let dir = tempfile::tempdir().unwrap();
        let start = Timestamp(1_700_000_000);
        let ca = Ca::create(dir.path(), Digest::new([1; 32]), start).unwrap();
        let half = VALIDITY / 2;
        for (now, is_due) in [
            (start, false),
            (start.plus(half - 1), false),
            (start.plus(half), true),
            (start.plus(10 * VALIDITY), true),
            (Timestamp(start.0 - 1), true),
        ] {
            let own = OwnCertificate::issue(&ca, "localhost", start).unwrap();
            let first = Arc::clone(&own.0.read().unwrap().key);
            own.renew_if_due(&ca, "localhost", now).unwrap();
            let found = own.0.read().unwrap();
            assert_eq!(!Arc::ptr_eq(&first, &found.key), is_due, "{now}");
            assert_eq!(found.at, if is_due { now } else { start });
        }
    }
}
