//! The envelope that signed documents travel in, and what is left of it once it is verified.
//! An envelope's payload has no meaning: the only way to a `T` is `Verified<T>`, and only `trust`
//! makes one.

use std::{collections::BTreeSet, ops::Deref};

use crate::{
    convert::Malformed,
    crypto::{self, MachineKey},
    id::Digest,
};

/// How many signatures an envelope may hold.
pub const MAX_SIGNATURES: usize = 64;

/// A payload and signatures over it, believed by nobody yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Envelope {
    pub(crate) payload_type: String,
    pub(crate) payload: Vec<u8>,
    pub(crate) signatures: Vec<Signature>,
}

/// One signature and the digest of the key that is said to have made it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Signature {
    /// SHA-256 over the public key.
    pub key: Digest,
    /// An SSHSIG blob or raw Ed25519, as the key's owner decides.
    pub bytes: Vec<u8>,
}

/// A document with a payload type of its own and one encoding only.
pub trait Document: Sized {
    /// The payload type, which is also the SSHSIG namespace.
    const TYPE: &'static str;

    /// Returns the one encoding.
    fn encode(&self) -> Vec<u8>;

    /// Reads the one encoding; whatever does not encode to the same bytes again is refused, and
    /// with it every unknown field.
    fn decode(bytes: &[u8]) -> Result<Self, Malformed>;

    /// Returns the document's digest.
    fn digest(&self) -> Digest {
        crypto::document_digest(Self::TYPE, &self.encode())
    }
}

/// A document whose signatures were checked and sufficed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verified<T> {
    value: T,
    digest: Digest,
    signers: BTreeSet<String>,
}

impl Envelope {
    /// Puts a document into an envelope that nobody has signed yet.
    pub fn new<T: Document>(document: &T) -> Self {
        Self {
            payload_type: T::TYPE.to_owned(),
            payload: document.encode(),
            signatures: Vec::new(),
        }
    }

    /// Puts a document into an envelope and signs it with a machine's key.
    pub fn sign<T: Document>(document: &T, key: &MachineKey) -> Self {
        let mut envelope = Self::new(document);
        let bytes = key.sign(&envelope.message());
        envelope.add(Signature { key: key.public().digest(), bytes });
        envelope
    }

    /// Returns what is signed: the pre-authentication encoding.
    pub fn message(&self) -> Vec<u8> {
        crypto::pae(&self.payload_type, &self.payload)
    }

    /// Returns the digest of the document inside.
    pub fn digest(&self) -> Digest {
        crypto::document_digest(&self.payload_type, &self.payload)
    }

    /// Adds a signature unless it is there.
    pub fn add(&mut self, signature: Signature) {
        if !self.signatures.contains(&signature) {
            self.signatures.push(signature);
        }
    }

    /// Returns the payload type, which is the namespace for signing.
    pub fn payload_type(&self) -> &str {
        &self.payload_type
    }

    /// Returns the signatures.
    pub fn signatures(&self) -> &[Signature] {
        &self.signatures
    }
}

impl<T> Verified<T> {
    /// Only `trust` calls this, after it has counted.
    pub(crate) fn new(value: T, digest: Digest, signers: BTreeSet<String>) -> Self {
        Self { value, digest, signers }
    }

    /// Returns the document's digest.
    pub fn digest(&self) -> Digest {
        self.digest
    }

    /// Returns the names of the people whose signatures counted; empty for a machine's document.
    pub fn signers(&self) -> &BTreeSet<String> {
        &self.signers
    }

    /// Gives the document up.
    pub fn into_inner(self) -> T {
        self.value
    }
}

impl<T> Deref for Verified<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.value
    }
}
