//! Digests and signatures: the only place in the contract that names the signature library.
//! People sign SSHSIG (OpenSSH's PROTOCOL.sshsig), machines raw Ed25519, both over the
//! pre-authentication encoding of a payload type and payload (DSSE v1.0.2).

use std::io::{self, Read};

use ring::{
    digest,
    signature::{self, Ed25519KeyPair, KeyPair, UnparsedPublicKey},
};
use ssh_encoding::{Decode, Encode};
use ssh_key::{Algorithm, EcdsaCurve, HashAlg, Mpint, SshSig, public::KeyData};

use crate::{id::Digest, key::SshPublicKey};

/// A machine's public key: 32 bytes of Ed25519.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MachinePublicKey([u8; 32]);

/// A machine's key pair: the keeper's, or the controller's online key.
pub struct MachineKey(Ed25519KeyPair);

/// Why a machine's key could not be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadMachineKey {
    /// Not PKCS #8 with an Ed25519 key.
    #[error("not an Ed25519 key in PKCS #8 form")]
    Private,
    /// Not 32 bytes.
    #[error("not 32 bytes of Ed25519 public key")]
    Public,
}

/// What came of checking one signature.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub(crate) enum Checked {
    /// The key signed this.
    Good,
    /// It did not, or the signature has a form that is not accepted.
    Bad,
}

/// Returns SHA-256 over the parts, one after the other.
pub fn sha256(parts: &[&[u8]]) -> Digest {
    let mut context = digest::Context::new(&digest::SHA256);
    for part in parts {
        context.update(part);
    }
    let mut bytes = [0; 32];
    bytes.copy_from_slice(context.finish().as_ref());
    Digest::new(bytes)
}

/// Returns SHA-256 over all that a reader gives, and how many bytes that was.
pub fn sha256_of(mut from: impl Read) -> io::Result<(Digest, u64)> {
    let mut context = digest::Context::new(&digest::SHA256);
    let (mut buffer, mut size) = (vec![0; 65_536], 0);
    loop {
        let read = match from.read(&mut buffer) {
            Ok(read) => buffer.get(..read).unwrap_or_default(),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(error),
        };
        if read.is_empty() {
            break;
        }
        context.update(read);
        size += read.len() as u64;
    }
    let mut bytes = [0; 32];
    bytes.copy_from_slice(context.finish().as_ref());
    Ok((Digest::new(bytes), size))
}

/// Returns the pre-authentication encoding of a payload: what is signed and what is digested.
pub fn pae(payload_type: &str, payload: &[u8]) -> Vec<u8> {
    let head = format!("DSSEv1 {} {payload_type} {} ", payload_type.len(), payload.len());
    [head.as_bytes(), payload].concat()
}

/// Returns a document's digest: SHA-256 over its pre-authentication encoding.
pub fn document_digest(payload_type: &str, payload: &[u8]) -> Digest {
    let head = format!("DSSEv1 {} {payload_type} {} ", payload_type.len(), payload.len());
    sha256(&[head.as_bytes(), payload])
}

impl MachinePublicKey {
    /// Takes 32 bytes.
    pub fn parse(bytes: &[u8]) -> Result<Self, BadMachineKey> {
        bytes.try_into().map(Self).map_err(|_| BadMachineKey::Public)
    }

    /// Returns the 32 bytes.
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// Returns the digest of the key; a host's is its id.
    pub fn digest(&self) -> Digest {
        sha256(&[&self.0])
    }

    pub(crate) fn check(&self, message: &[u8], signature: &[u8]) -> Checked {
        judge(&signature::ED25519, &self.0, message, signature)
    }
}

impl std::fmt::Debug for MachinePublicKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "MachinePublicKey({})", self.digest().short())
    }
}

impl MachineKey {
    /// Opens a key in PKCS #8 form.
    pub fn from_pkcs8(bytes: &[u8]) -> Result<Self, BadMachineKey> {
        Ed25519KeyPair::from_pkcs8(bytes).map(Self).map_err(|_| BadMachineKey::Private)
    }

    /// Returns the public half.
    pub fn public(&self) -> MachinePublicKey {
        let mut bytes = [0; 32];
        bytes.copy_from_slice(self.0.public_key().as_ref());
        MachinePublicKey(bytes)
    }

    /// Signs a message; the envelope's `sign` is what documents go through.
    pub(crate) fn sign(&self, message: &[u8]) -> Vec<u8> {
        self.0.sign(message).as_ref().to_vec()
    }
}

impl std::fmt::Debug for MachineKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "MachineKey({}, private part not shown)", self.public().digest().short())
    }
}

/// Reads the armoured text that `ssh-keygen -Y sign` prints into the bytes that travel.
pub fn parse_sshsig(text: &str) -> Option<Vec<u8>> {
    let signature = SshSig::from_pem(text).ok()?;
    let mut bytes = Vec::new();
    signature.encode(&mut bytes).ok()?;
    Some(bytes)
}

/// Checks a person's SSHSIG: by exactly this key, in exactly this namespace, with SHA-512.
/// Hardware keys must say that somebody touched them (flag 1 of PROTOCOL.u2f).
pub(crate) fn check_person(
    key: &SshPublicKey,
    namespace: &str,
    message: &[u8],
    signature: &[u8],
) -> Checked {
    let mut reader = signature;
    let Ok(sig) = SshSig::decode(&mut reader) else { return Checked::Bad };
    let Ok(expected) = ssh_key::PublicKey::from_bytes(key.blob()) else { return Checked::Bad };
    if !reader.is_empty()
        || sig.public_key() != expected.key_data()
        || sig.namespace() != namespace
        || sig.hash_alg() != HashAlg::Sha512
        || !sig.reserved().is_empty()
    {
        return Checked::Bad;
    }
    let Ok(signed) = SshSig::signed_data(namespace, HashAlg::Sha512, message) else {
        return Checked::Bad;
    };
    let raw = sig.signature_bytes();
    match (sig.public_key(), sig.signature().algorithm()) {
        (KeyData::Ed25519(key), Algorithm::Ed25519) => {
            judge(&signature::ED25519, key.as_ref(), &signed, raw)
        }
        (KeyData::Ecdsa(key), Algorithm::Ecdsa { curve }) if curve == key.curve() => {
            check_ecdsa(curve, key.as_sec1_bytes(), &signed, raw)
        }
        (KeyData::Rsa(key), Algorithm::Rsa { hash: Some(HashAlg::Sha512) }) => {
            let algorithm = &signature::RSA_PKCS1_2048_8192_SHA512;
            let (Some(n), Some(e)) = (key.n.as_positive_bytes(), key.e.as_positive_bytes()) else {
                return Checked::Bad;
            };
            let parts = signature::RsaPublicKeyComponents { n, e };
            if parts.verify(algorithm, &signed, raw).is_ok() { Checked::Good } else { Checked::Bad }
        }
        (KeyData::SkEd25519(key), Algorithm::SkEd25519) => {
            let Some((raw, message)) = hardware_message(key.application(), raw, &signed) else {
                return Checked::Bad;
            };
            judge(&signature::ED25519, key.public_key().as_ref(), &message, raw)
        }
        (KeyData::SkEcdsaSha2NistP256(key), Algorithm::SkEcdsaSha2NistP256) => {
            let Some((raw, message)) = hardware_message(key.application(), raw, &signed) else {
                return Checked::Bad;
            };
            check_ecdsa(EcdsaCurve::NistP256, key.ec_point().as_bytes(), &message, raw)
        }
        _ => Checked::Bad,
    }
}

fn judge(
    algorithm: &'static dyn signature::VerificationAlgorithm,
    key: &[u8],
    message: &[u8],
    signature: &[u8],
) -> Checked {
    match UnparsedPublicKey::new(algorithm, key).verify(message, signature) {
        Ok(()) => Checked::Good,
        Err(_) => Checked::Bad,
    }
}

/// Splits flags and counter off a hardware key's signature and returns what the token signed
/// (PROTOCOL.u2f), or nothing if nobody touched it.
fn hardware_message<'a>(
    application: &str,
    raw: &'a [u8],
    signed: &[u8],
) -> Option<(&'a [u8], Vec<u8>)> {
    let (signature, trailer) = raw.split_at_checked(raw.len().checked_sub(5)?)?;
    let (flags, counter) = trailer.split_first()?;
    if flags & 1 == 0 {
        return None;
    }
    let application = sha256(&[application.as_bytes()]);
    let signed = sha256(&[signed]);
    let message =
        [application.as_bytes().as_slice(), &[*flags], counter, signed.as_bytes()].concat();
    Some((signature, message))
}

/// OpenSSH writes ECDSA signatures as two mpints (RFC 5656 section 3.1.2); the library wants fixed
/// halves.
fn check_ecdsa(curve: EcdsaCurve, key: &[u8], message: &[u8], raw: &[u8]) -> Checked {
    let (algorithm, size): (&'static dyn signature::VerificationAlgorithm, usize) = match curve {
        EcdsaCurve::NistP256 => (&signature::ECDSA_P256_SHA256_FIXED, 32),
        EcdsaCurve::NistP384 => (&signature::ECDSA_P384_SHA384_FIXED, 48),
        EcdsaCurve::NistP521 => return Checked::Bad,
    };
    let mut reader = raw;
    let mut fixed = Vec::with_capacity(2 * size);
    for _ in 0..2 {
        let Ok(number) = Mpint::decode(&mut reader) else { return Checked::Bad };
        let Some(bytes) = number.as_positive_bytes() else { return Checked::Bad };
        let Some(padding) = size.checked_sub(bytes.len()) else { return Checked::Bad };
        fixed.resize(fixed.len() + padding, 0);
        fixed.extend_from_slice(bytes);
    }
    if reader.is_empty() { judge(algorithm, key, message, &fixed) } else { Checked::Bad }
}
