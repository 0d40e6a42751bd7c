//! The controller's CA and the certificates that it issues: its own, and those by which it knows
//! agents again. A certificate says who calls and nothing more; what a host does is decided by
//! signatures of people. Whoever steals the CA can pose as a host towards the controller, and as
//! the controller towards hosts, and can still give nothing.

pub mod certificate;
pub mod tls;

use std::{
    fs,
    net::IpAddr,
    path::{Path, PathBuf},
    str::FromStr,
    time::Duration,
};

use muster_proto::{
    crypto::sha256,
    id::{Digest, HostId},
    time::Timestamp,
};
use rcgen::{
    BasicConstraints, CertificateParams, CertificateSigningRequestParams, DistinguishedName,
    DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose, PublicKeyData,
    SanType, SerialNumber, string::Ia5String,
};
use rustls_pki_types::{
    CertificateDer, CertificateSigningRequestDer, PrivateKeyDer, PrivatePkcs8KeyDer, UnixTime,
};
use time::OffsetDateTime;
use x509_parser::{extensions::GeneralName, prelude::FromDer};

use crate::signer::{self, SignerError};

/// How long certificates are valid, in seconds.
pub const VALIDITY: u64 = 86_400;
/// How long the CA is, in seconds: twenty years.
const CA_VALIDITY: u64 = 20 * 365 * 86_400;
/// Clocks of hosts may be behind by this much, in seconds.
const SKEW: u64 = 300;
/// The CA's key in the data directory.
pub const KEY_FILE: &str = "ca.key";
/// The CA's certificate in the data directory.
pub const CERTIFICATE_FILE: &str = "ca.der";
const URI: &str = "spiffe://muster/agent/";
/// The most bytes that are looked at as a certificate request.
const MAX_REQUEST: usize = 8_192;

/// Issues certificates.
#[derive(Debug)]
pub struct Ca {
    issuer: Issuer<'static, KeyPair>,
    certificate: CertificateDer<'static>,
}

/// Why there is no CA or no certificate.
#[derive(Debug, thiserror::Error)]
pub enum EnrolError {
    /// A file could not be read.
    #[error("cannot read `{path}`")]
    File {
        /// Which.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// A file could not be written, or there is no randomness.
    #[error(transparent)]
    Signer(#[from] SignerError),
    /// A certificate could not be made.
    #[error("cannot {doing}")]
    Certificate {
        /// What was being made.
        doing: &'static str,
        /// Why.
        #[source]
        source: rcgen::Error,
    },
    /// The request is not one.
    #[error("the certificate request is not one, or is not signed by its own key")]
    Request,
}

fn failed(doing: &'static str) -> impl Fn(rcgen::Error) -> EnrolError {
    move |source| EnrolError::Certificate { doing, source }
}

fn date(time: Timestamp) -> OffsetDateTime {
    let seconds = i64::try_from(time.0).unwrap_or(i64::MAX);
    OffsetDateTime::from_unix_timestamp(seconds).unwrap_or(OffsetDateTime::UNIX_EPOCH)
}

fn params(name: &str, now: Timestamp, validity: u64) -> Result<CertificateParams, EnrolError> {
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, name);
    params.not_before = date(Timestamp(now.0.saturating_sub(SKEW)));
    params.not_after = date(now.plus(validity));
    let mut serial = signer::random::<16>()?;
    // A serial number is positive (RFC 5280 section 4.1.2.2).
    serial[0] &= 0x7f;
    params.serial_number = Some(SerialNumber::from_slice(&serial));
    Ok(params)
}

impl Ca {
    /// Makes a CA and writes it to a directory that has none.
    pub fn create(directory: &Path, lineage: Digest, now: Timestamp) -> Result<Self, EnrolError> {
        let doing = failed("make the CA");
        let key = KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256).map_err(&doing)?;
        let mut params = params(&format!("Muster {}", lineage.short()), now, CA_VALIDITY)?;
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
        let certificate = params.self_signed(&key).map_err(&doing)?;
        signer::write_secret(&directory.join(KEY_FILE), &key.serialize_der())?;
        signer::write_secret(&directory.join(CERTIFICATE_FILE), certificate.der())?;
        Ok(Self { issuer: Issuer::new(params, key), certificate: certificate.der().clone() })
    }

    /// Opens the CA in a directory.
    pub fn open(directory: &Path) -> Result<Self, EnrolError> {
        let read = |name: &str| {
            let path = directory.join(name);
            fs::read(&path).map_err(|source| EnrolError::File { path, source })
        };
        let doing = failed("open the CA");
        let key = KeyPair::try_from(read(KEY_FILE)?).map_err(&doing)?;
        let certificate = CertificateDer::from(read(CERTIFICATE_FILE)?);
        let issuer = Issuer::from_ca_cert_der(&certificate, key).map_err(&doing)?;
        Ok(Self { issuer, certificate })
    }

    /// Returns the CA's certificate.
    pub fn certificate(&self) -> &CertificateDer<'static> {
        &self.certificate
    }

    /// Returns what join tokens pin: SHA-256 over the subject public key info.
    pub fn pin(&self) -> Digest {
        sha256(&[&self.issuer.key().subject_public_key_info()])
    }

    /// Issues the controller's own certificate, with a key of its own.
    pub(crate) fn server_certificate(
        &self,
        host: &str,
        now: Timestamp,
    ) -> Result<(Vec<CertificateDer<'static>>, PrivateKeyDer<'static>), EnrolError> {
        let doing = failed("issue the controller's certificate");
        let key = KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256).map_err(&doing)?;
        let mut params = params("Muster controller", now, VALIDITY)?;
        params.subject_alt_names = vec![match IpAddr::from_str(host) {
            Ok(address) => SanType::IpAddress(address),
            Err(_) => SanType::DnsName(Ia5String::try_from(host).map_err(&doing)?),
        }];
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        params.use_authority_key_identifier_extension = true;
        let certificate = params.signed_by(&key, &self.issuer).map_err(&doing)?;
        let chain = vec![certificate.der().clone(), self.certificate.clone()];
        Ok((chain, PrivatePkcs8KeyDer::from(key.serialize_der()).into()))
    }

    /// Issues an agent's certificate. Of the request only the public key counts, and that its
    /// holder signed the request; everything else is written here.
    pub fn agent_certificate(
        &self,
        request: &[u8],
        host: HostId,
        now: Timestamp,
    ) -> Result<CertificateDer<'static>, EnrolError> {
        if request.len() > MAX_REQUEST {
            return Err(EnrolError::Request);
        }
        let request = CertificateSigningRequestDer::from(request);
        let request =
            CertificateSigningRequestParams::from_der(&request).map_err(|_| EnrolError::Request)?;
        let doing = failed("issue an agent's certificate");
        let mut params = params(&format!("Muster agent {}", host.short()), now, VALIDITY)?;
        let uri = Ia5String::try_from(format!("{URI}{host}")).map_err(&doing)?;
        params.subject_alt_names = vec![SanType::URI(uri)];
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        params.use_authority_key_identifier_extension = true;
        let certificate = params.signed_by(&request.public_key, &self.issuer).map_err(&doing)?;
        Ok(certificate.der().clone())
    }
}

/// Returns the last second in which a certificate is valid.
fn last_second(certificate: &CertificateDer<'_>) -> Option<UnixTime> {
    let (_, certificate) = x509_parser::certificate::X509Certificate::from_der(certificate).ok()?;
    let seconds = u64::try_from(certificate.validity().not_after.timestamp()).ok()?;
    Some(UnixTime::since_unix_epoch(Duration::from_secs(seconds)))
}

/// Returns the host that a certificate names, if it names exactly one in our form.
pub fn host_of(certificate: &CertificateDer<'_>) -> Option<HostId> {
    let (rest, certificate) =
        x509_parser::certificate::X509Certificate::from_der(certificate).ok()?;
    let names = certificate.subject_alternative_name().ok()??;
    match names.value.general_names.as_slice() {
        [GeneralName::URI(uri)] if rest.is_empty() => {
            let hex = uri.strip_prefix(URI)?;
            // One spelling for one host.
            Digest::parse_hex(hex).filter(|host| host.to_string() == hex)
        }
        _ => None,
    }
}
