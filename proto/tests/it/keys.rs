//! Keys made from names, and the formats in which they sign: SSHSIG by a file or by a hardware
//! token that software plays, and raw Ed25519 for machines. Every part can be bent.

use muster_proto::{
    crypto::{MachineKey, sha256},
    envelope::{Envelope, Signature},
    key::SshPublicKey,
};
use ring::signature::{Ed25519KeyPair, KeyPair};

/// A person's key of either kind.
pub struct Signer {
    pair: Ed25519KeyPair,
    hardware: bool,
}

/// How an SSHSIG is made; the default is how OpenSSH makes it.
#[derive(Clone)]
pub struct Style {
    pub namespace: Option<String>,
    pub hash: &'static str,
    pub flags: u8,
    pub reserved: &'static str,
    pub application: &'static str,
}

pub const PLAIN: Style =
    Style { namespace: None, hash: "sha512", flags: 1, reserved: "", application: "ssh:" };

fn string(out: &mut Vec<u8>, bytes: &[u8]) {
    out.extend_from_slice(&u32::try_from(bytes.len()).unwrap().to_be_bytes());
    out.extend_from_slice(bytes);
}

fn strings(parts: &[&[u8]]) -> Vec<u8> {
    let mut out = Vec::new();
    for part in parts {
        string(&mut out, part);
    }
    out
}

fn seed(name: &str) -> [u8; 32] {
    *sha256(&[b"seed of a test key", name.as_bytes()]).as_bytes()
}

impl Signer {
    pub fn new(name: &str) -> Self {
        let pair = Ed25519KeyPair::from_seed_unchecked(&seed(name)).unwrap();
        Self { pair, hardware: false }
    }

    pub fn hardware(name: &str) -> Self {
        Self { hardware: true, ..Self::new(name) }
    }

    fn algorithm(&self) -> &'static [u8] {
        if self.hardware { b"sk-ssh-ed25519@openssh.com" } else { b"ssh-ed25519" }
    }

    pub fn raw(&self) -> &[u8] {
        self.pair.public_key().as_ref()
    }

    pub fn blob(&self) -> Vec<u8> {
        let mut parts = vec![self.algorithm(), self.raw()];
        if self.hardware {
            parts.push(b"ssh:");
        }
        strings(&parts)
    }

    pub fn public(&self) -> SshPublicKey {
        SshPublicKey::from_blob(&self.blob()).unwrap()
    }

    /// Signs what is in the envelope and adds the signature to it.
    pub fn sign(&self, envelope: &mut Envelope) {
        envelope.add(self.signature(envelope, &PLAIN));
    }

    pub fn signature(&self, envelope: &Envelope, style: &Style) -> Signature {
        let namespace = style.namespace.clone().unwrap_or(envelope.payload_type().to_owned());
        let bytes = self.sshsig(&envelope.message(), &namespace, style);
        Signature { key: self.public().fingerprint(), bytes }
    }

    fn sshsig(&self, message: &[u8], namespace: &str, style: &Style) -> Vec<u8> {
        let algorithm = match style.hash {
            "sha256" => &ring::digest::SHA256,
            _ => &ring::digest::SHA512,
        };
        let hash = ring::digest::digest(algorithm, message);
        let (namespace, reserved) = (namespace.as_bytes(), style.reserved.as_bytes());
        let common = strings(&[namespace, reserved, style.hash.as_bytes()]);
        let signed = [b"SSHSIG", &common[..], &strings(&[hash.as_ref()])].concat();
        let mut signature = strings(&[self.algorithm()]);
        if self.hardware {
            let counter = 7_u32.to_be_bytes();
            let application = sha256(&[style.application.as_bytes()]);
            let inner = sha256(&[&signed]);
            let by_token =
                [&application.as_bytes()[..], &[style.flags], &counter, inner.as_bytes()].concat();
            string(&mut signature, self.pair.sign(&by_token).as_ref());
            signature.push(style.flags);
            signature.extend_from_slice(&counter);
        } else {
            string(&mut signature, self.pair.sign(&signed).as_ref());
        }
        let head = [b"SSHSIG".as_slice(), &1_u32.to_be_bytes()].concat();
        [head, strings(&[&self.blob()]), common, strings(&[&signature])].concat()
    }
}

/// A machine's key, from its name.
pub fn machine(name: &str) -> MachineKey {
    MachineKey::from_pkcs8(&machine_pkcs8(name)).unwrap()
}

/// The same as a machine keeps it.
pub fn machine_pkcs8(name: &str) -> Vec<u8> {
    let seed = seed(name);
    let pair = Ed25519KeyPair::from_seed_unchecked(&seed).unwrap();
    let mut der = b"\x30\x53\x02\x01\x01\x30\x05\x06\x03\x2b\x65\x70\x04\x22\x04\x20".to_vec();
    der.extend_from_slice(&seed);
    der.extend_from_slice(b"\xa1\x23\x03\x21\x00");
    der.extend_from_slice(pair.public_key().as_ref());
    der
}
