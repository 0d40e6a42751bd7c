//! `muster-agent join`: run once by root. It checks the controller against the token's pins, lays
//! down pins, floor and the receipt key for the keeper, and the TLS key for the courier.

use std::{path::Path, sync::Arc};

use muster_proto::{
    crypto::{BadMachineKey, MachineKey, sha256},
    envelope::Envelope,
    id::Digest,
    name::Line,
    receipt::Enrolment,
    time::Timestamp,
    token::JoinToken,
};
use rustls::{
    ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme,
    client::{
        WebPkiServerVerifier,
        danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    },
    crypto::{CryptoProvider, ring as provider},
    pki_types::{CertificateDer, ServerName, UnixTime},
};

use crate::{
    courier::{self, CourierError},
    host::{
        peer,
        state::{self, StateError},
    },
    leave,
    ledger::{BadLedger, BadTrustRoots, Ledger},
    receipt,
};

/// The system account that the courier runs as.
pub const COURIER_ACCOUNT: &str = "muster-agent";

/// Why a host could not join. Nothing of the fleet is left behind then.
#[derive(Debug, thiserror::Error)]
pub enum JoinError {
    /// It has joined already.
    #[error("this host has joined fleet {0} already")]
    Joined(String),
    /// It has left another fleet, whose ledger it keeps.
    #[error(
        "this host has left fleet {0} and the token is of another one; `--reset` forgets what it \
         knows of that fleet, which accounts are Muster's included"
    )]
    OtherFleet(String),
    /// Its memory cannot be read.
    #[error("this host's ledger is damaged; `--reset` gives it up and joins as a new host")]
    Ledger(#[from] BadLedger),
    /// Its key is gone or another one.
    #[error("this host's key is not the one of its ledger; `--reset` joins as a new host")]
    OtherKey,
    /// There is no account for the courier.
    #[error("the system has no account `{COURIER_ACCOUNT}`; the package makes it with sysusers.d")]
    NoAccount,
    /// Nobody knows whether there is one.
    #[error("cannot look the account `{COURIER_ACCOUNT}` up")]
    Accounts(#[source] std::io::Error),
    /// The token is too old.
    #[error("the token expired at {0}; ask for a new one with `muster host token`")]
    Expired(Timestamp),
    /// The controller cannot be reached, or refused.
    #[error("cannot join through the controller")]
    Controller(#[from] CourierError),
    /// What the controller sent does not fit the token's pins.
    #[error("the controller does not fit the token: {0}")]
    Pins(&'static str),
    /// Its trust roots are not believed.
    #[error("cannot believe the controller's trust roots")]
    Trust(#[from] BadTrustRoots),
    /// A key could not be made.
    #[error("cannot make this host's keys")]
    Key(#[from] BadMachineKey),
    /// A certificate request could not be made.
    #[error("cannot make a certificate request")]
    Request(#[from] rcgen::Error),
    /// The system gives no randomness.
    #[error("the system gives no random bytes")]
    Random,
    /// TLS could not be set up.
    #[error("cannot set up TLS")]
    Tls(#[from] rustls::Error),
    /// The hostname is not one line.
    #[error("`/etc/hostname` does not hold a name")]
    Hostname,
    /// Files of the agent's own.
    #[error(transparent)]
    State(#[from] StateError),
    /// A file could not be given to the courier.
    #[error("cannot give `{path}` to the account `{COURIER_ACCOUNT}`")]
    Give {
        /// Which file.
        path: String,
        /// Why.
        #[source]
        cause: std::io::Error,
    },
}

/// What becomes of the memory of a host that has left.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Memory {
    /// It is taken up again.
    Keep,
    /// It is given up; only root on the console may say so.
    Reset,
}

/// What a host that joins knows already.
#[derive(Debug)]
pub enum Known {
    /// Nothing that counts.
    Nothing,
    /// Everything from before it left, and the key that it had.
    Left(Box<Ledger>, MachineKey),
}

/// Finds out what a host that joins knows already. One that has joined and not left does not join;
/// one that has left takes its ledger up again, so that nothing that was taken comes back.
pub fn known(keeper: &Path, lineage: Digest, memory: Memory) -> Result<Known, JoinError> {
    let Some(bytes) = state::read(&keeper.join("ledger"))? else { return Ok(Known::Nothing) };
    let ledger = match Ledger::decode(&bytes) {
        Ok(ledger) => ledger,
        Err(damaged) => {
            return match memory {
                Memory::Keep => Err(damaged.into()),
                Memory::Reset => Ok(Known::Nothing),
            };
        }
    };
    if !leave::has_left(keeper)? {
        return Err(JoinError::Joined(ledger.lineage.short()));
    }
    if memory == Memory::Reset {
        return Ok(Known::Nothing);
    }
    if ledger.lineage != lineage {
        return Err(JoinError::OtherFleet(ledger.lineage.short()));
    }
    let key = state::read(&keeper.join("key.der"))?.ok_or(JoinError::OtherKey)?;
    let key = MachineKey::from_pkcs8(&key)?;
    if key.public().digest() != ledger.host {
        return Err(JoinError::OtherKey);
    }
    Ok(Known::Left(Box::new(ledger), key))
}

/// Joins the fleet that the token names.
pub async fn join(
    state: &Path,
    token: &JoinToken,
    memory: Memory,
    now: Timestamp,
) -> Result<Digest, JoinError> {
    let (keeper, courier) = (state.join("keeper"), state.join("courier"));
    let known = known(&keeper, token.lineage, memory)?;
    let account = peer::account(COURIER_ACCOUNT).map_err(JoinError::Accounts)?;
    let account = account.ok_or(JoinError::NoAccount)?;
    if token.expires < now {
        return Err(JoinError::Expired(token.expires));
    }
    let (before, key, new_key) = match known {
        Known::Left(ledger, key) => (Some(ledger), key, None),
        Known::Nothing => {
            let pkcs8 = receipt::generate_key().ok_or(JoinError::Random)?;
            (None, MachineKey::from_pkcs8(&pkcs8)?, Some(pkcs8))
        }
    };
    let (tls_key, request) = courier::certificate_request()?;
    let enrolment = Enrolment {
        lineage: token.lineage,
        keeper_key: key.public(),
        certificate_request: sha256(&[&request]),
        hostname: hostname()?,
        time: now,
    };
    let enrolment = Envelope::sign(&enrolment, &key);
    let tls = pinned(token.ca)?;
    let reply = courier::join(&token.address, tls, &token.secret, request, &enrolment).await?;
    let (host, trust_roots) = (key.public().digest(), reply.trust_roots);
    let pinned = usize::try_from(token.trust_version).unwrap_or(usize::MAX).checked_sub(1);
    let pinned = pinned.and_then(|index| trust_roots.get(index)).map(Envelope::digest);
    if pinned != Some(token.trust_digest) {
        return Err(JoinError::Pins("it does not have the trust root that the token pins"));
    }
    if ca_pin(&reply.ca.clone().into()) != Some(token.ca) {
        return Err(JoinError::Pins("its CA is another one"));
    }
    if let Some(before) = &before {
        check_continues(before, token, &trust_roots)?;
    }
    let ledger = Ledger::begin(host, token.lineage, trust_roots, token.floor)?;
    // The courier's account passes through; what is in there is for each of the two alone.
    state::make_directory(state, 0o711)?;
    state::make_directory(&courier, 0o700)?;
    state::make_directory(&keeper, 0o700)?;
    let identity = courier::join_identity(&tls_key, &reply.certificate);
    let files: [(&str, &[u8]); 3] =
        [("ca.der", &reply.ca), ("identity", &identity), ("controller", token.address.as_bytes())];
    for (name, bytes) in files {
        state::replace_for(&courier.join(name), bytes, 0o600, Some(account))?;
    }
    give(&courier, account)?;
    if let Some(pkcs8) = new_key {
        // Receipts of an earlier life are signed by another key.
        state::remove_files(&keeper.join("spool"))?;
        state::replace(&keeper.join("key.der"), &pkcs8, 0o600)?;
        // The ledger comes last: it says that the host has joined.
        state::replace(&keeper.join("ledger"), &ledger.encode(), 0o600)?;
    }
    leave::unmark(&keeper)?;
    Ok(host)
}

/// A host that joins again keeps its floor: the controller must have what the host knows, and the
/// token must not pin another change of the same number.
fn check_continues(
    before: &Ledger,
    token: &JoinToken,
    trust_roots: &[Envelope],
) -> Result<(), JoinError> {
    let newest = usize::try_from(before.trust().version).unwrap_or(usize::MAX).checked_sub(1);
    let newest = newest.and_then(|index| trust_roots.get(index)).map(Envelope::digest);
    if newest != Some(before.trust().digest()) {
        return Err(JoinError::Pins("it does not have the trust root that this host knows"));
    }
    let floor = before.floor.map(|floor| floor.link);
    if let (Some(floor), Some(pinned)) = (floor, token.floor)
        && floor.number == pinned.number
        && floor.digest != pinned.digest
    {
        return Err(JoinError::Pins("it has another change of the number that this host knows"));
    }
    Ok(())
}

fn give(path: &Path, (uid, gid): (u32, u32)) -> Result<(), JoinError> {
    let named = |cause| JoinError::Give { path: path.display().to_string(), cause };
    state::give(path, uid, gid).map_err(named)
}

fn hostname() -> Result<Line, JoinError> {
    let bytes = state::read(Path::new("/etc/hostname"))?.unwrap_or_default();
    let text = String::from_utf8(bytes).map_err(|_| JoinError::Hostname)?;
    Line::parse(text.trim()).ok().filter(|l| !l.as_str().is_empty()).ok_or(JoinError::Hostname)
}

/// Returns SHA-256 over a certificate's subject public key info.
fn ca_pin(certificate: &CertificateDer<'_>) -> Option<Digest> {
    let mut store = RootCertStore::empty();
    store.add(certificate.clone().into_owned()).ok()?;
    let content = store.roots.first()?.subject_public_key_info.as_ref().to_vec();
    // The library keeps the content of the SEQUENCE; the pin covers its head too (RFC 5280 4.1).
    let length = u8::try_from(content.len()).ok()?;
    let head: &[u8] = if length < 0x80 { &[0x30, length] } else { &[0x30, 0x81, length] };
    Some(sha256(&[head, &content]))
}

fn pinned(pin: Digest) -> Result<ClientConfig, JoinError> {
    let crypto = Arc::new(provider::default_provider());
    let verifier = Arc::new(PinnedCa { pin, crypto: Arc::clone(&crypto) });
    let mut config = ClientConfig::builder_with_provider(crypto)
        .with_protocol_versions(&[&rustls::version::TLS13])?
        .dangerous()
        .with_custom_certificate_verifier(verifier)
        .with_no_client_auth();
    config.alpn_protocols = vec![b"h2".to_vec()];
    Ok(config)
}

/// Believes a server whose chain ends in the CA that the token pins, and checks all else as usual.
#[derive(Debug)]
struct PinnedCa {
    pin: Digest,
    crypto: Arc<CryptoProvider>,
}

impl ServerCertVerifier for PinnedCa {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let unknown = || rustls::Error::from(rustls::CertificateError::UnknownIssuer);
        let ca = intermediates.iter().find(|certificate| ca_pin(certificate) == Some(self.pin));
        let mut roots = RootCertStore::empty();
        roots.add(ca.ok_or_else(unknown)?.clone().into_owned())?;
        let builder =
            WebPkiServerVerifier::builder_with_provider(roots.into(), Arc::clone(&self.crypto));
        let verifier = builder.build().map_err(|_| unknown())?;
        verifier.verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now)
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Err(rustls::PeerIncompatible::ServerDoesNotSupportTls12Or13.into())
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.crypto.signature_verification_algorithms;
        rustls::crypto::verify_tls13_signature(message, certificate, signature, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.crypto.signature_verification_algorithms.supported_schemes()
    }
}
