//! How long the controller lets the courier in, as a controller would judge its certificate.

use std::{sync::Arc, time::Duration};

use muster_proto::time::Timestamp;
use rustls::{
    CertificateError, Error, RootCertStore,
    crypto::ring as provider,
    pki_types::UnixTime,
    server::{VerifierBuilderError, WebPkiClientVerifier},
};

use super::Identity;
use crate::courier::CourierError;

/// Why no controller lets the courier in, whatever the time.
#[derive(Debug, thiserror::Error)]
pub enum Void {
    /// The files are not there or are damaged.
    #[error(transparent)]
    Identity(#[from] CourierError),
    /// The CA cannot be used.
    #[error("cannot use the controller's CA")]
    Ca(#[source] Error),
    /// Nor can it judge.
    #[error("cannot judge by the controller's CA")]
    Judge(#[from] VerifierBuilderError),
    /// It did not issue this certificate.
    #[error("the certificate is not one of the controller's CA")]
    Certificate(#[source] Error),
    /// It holds for ever, which no controller's does.
    #[error("the certificate has no end")]
    Endless,
}

impl Identity {
    /// Returns when the certificate ends.
    pub fn ends(&self) -> Result<Timestamp, Void> {
        let mut roots = RootCertStore::empty();
        roots.add(self.ca.clone()).map_err(Void::Ca)?;
        let crypto = Arc::new(provider::default_provider());
        let verifier =
            WebPkiClientVerifier::builder_with_provider(Arc::new(roots), crypto).build()?;
        let judge = |second| {
            let time = UnixTime::since_unix_epoch(Duration::from_secs(second));
            verifier.verify_client_cert(&self.certificate, &[], time)
        };
        // At the end of time it has run out, and whoever judges says when.
        let ends = match judge(END_OF_TIME) {
            Err(Error::InvalidCertificate(CertificateError::ExpiredContext {
                not_after, ..
            })) => not_after.as_secs(),
            Err(other) => return Err(Void::Certificate(other)),
            Ok(_) => return Err(Void::Endless),
        };
        // In its last second all else must be right.
        judge(ends).map(|_| Timestamp(ends)).map_err(Void::Certificate)
    }
}

/// 9999-12-31T23:59:59Z, the last second that a certificate can name (RFC 5280 4.1.2.5).
const END_OF_TIME: u64 = 253_402_300_799;

#[cfg(test)]
mod tests {
    use muster_proto::time::Timestamp;
    use rcgen::{
        BasicConstraints, CertificateParams, CertifiedIssuer, ExtendedKeyUsagePurpose, IsCa,
        KeyPair,
    };
    use rustls_pki_types::CertificateDer;

    use super::*;

    fn ca() -> CertifiedIssuer<'static, KeyPair> {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap()
    }

    fn identity(
        issuer: &CertifiedIssuer<'static, KeyPair>,
        known: &CertifiedIssuer<'static, KeyPair>,
    ) -> Identity {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::default();
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        params.not_after = rcgen::date_time_ymd(2031, 2, 3);
        let certificate = params.signed_by(&key, issuer).unwrap();
        Identity {
            directory: "/nowhere".into(),
            address: "ctl:7420".to_owned(),
            ca: CertificateDer::from(known.der().to_vec()),
            certificate: certificate.der().clone(),
            key: key.serialize_der(),
        }
    }

    #[test]
    fn a_certificate_ends_when_it_says_and_is_nothing_to_another_ca() {
        let [ours, other] = [ca(), ca()];
        let ends = identity(&ours, &ours).ends().unwrap();
        assert_eq!(ends, Timestamp(1_927_843_200));
        assert_eq!(ends.to_string(), "2031-02-03T00:00:00Z");
        let refused = identity(&other, &ours).ends();
        assert!(matches!(refused, Err(Void::Certificate(_))), "{refused:?}");
    }
}
