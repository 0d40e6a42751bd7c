//! Who the courier is to the controller, and how it knows the controller: what `join` left for it.

mod validity;

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use rustls::{ClientConfig, RootCertStore, crypto::ring as provider};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};

pub use self::validity::Void;
use super::{CourierError, HostTime};
use crate::host::state;

/// What `join` left for the courier.
#[derive(Debug)]
pub struct Identity {
    pub(super) directory: PathBuf,
    pub(super) address: String,
    ca: CertificateDer<'static>,
    certificate: CertificateDer<'static>,
    key: Vec<u8>,
}

impl Identity {
    /// Reads what `join` wrote.
    pub fn load(directory: &Path) -> Result<Self, CourierError> {
        let file = |name: &str| {
            let path = directory.join(name);
            state::read(&path)?.ok_or(CourierError::NotJoined(path))
        };
        let (key, certificate) = split_identity(&file("identity")?).ok_or(CourierError::Damaged)?;
        Ok(Self {
            address: String::from_utf8_lossy(&file("controller")?).trim().to_owned(),
            ca: file("ca.der")?.into(),
            certificate: certificate.into(),
            key,
            directory: directory.to_owned(),
        })
    }

    /// Returns how the controller is dialled: it is known by the CA that `join` pinned and no
    /// other, and its certificate has to hold at this time.
    pub fn tls(&self, time: &HostTime) -> Result<ClientConfig, CourierError> {
        let mut roots = RootCertStore::empty();
        roots.add(self.ca.clone())?;
        let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(self.key.clone()));
        let crypto = Arc::new(provider::default_provider());
        let mut config = ClientConfig::builder_with_details(crypto, Arc::new(time.clone()))
            .with_protocol_versions(&[&rustls::version::TLS13])?
            .with_root_certificates(roots)
            .with_client_auth_cert(vec![self.certificate.clone()], key)?;
        config.alpn_protocols = vec![b"h2".to_vec()];
        Ok(config)
    }
}

/// Puts key and certificate into one file, so that no crash leaves a pair that does not fit.
pub fn join_identity(key: &[u8], certificate: &[u8]) -> Vec<u8> {
    let length = u16::try_from(key.len()).unwrap_or(u16::MAX);
    [&length.to_be_bytes(), key, certificate].concat()
}

fn split_identity(bytes: &[u8]) -> Option<(Vec<u8>, Vec<u8>)> {
    let (length, rest) = bytes.split_first_chunk::<2>()?;
    let (key, certificate) = rest.split_at_checked(u16::from_be_bytes(*length).into())?;
    Some((key.to_vec(), certificate.to_vec()))
}

/// Makes a TLS key and the request for its certificate (PKCS #10), both in DER.
pub fn certificate_request() -> Result<(Vec<u8>, Vec<u8>), rcgen::Error> {
    let key = rcgen::KeyPair::generate()?;
    let request = rcgen::CertificateParams::default().serialize_request(&key)?;
    Ok((key.serialize_der(), request.der().to_vec()))
}
