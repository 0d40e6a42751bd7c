//! SSH public keys, parsed once. The blob is the key; text around it is for people.
//! Only key types that OpenSSH still offers and that are not weak get past `parse`.

use std::fmt;

use base64ct::{Base64Unpadded, Encoding};
use ssh_key::{EcdsaCurve, public::KeyData};

use crate::{crypto, id::Digest};

/// A public key that may log in.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SshPublicKey {
    blob: Vec<u8>,
}

/// Whether a key's private half can leave its holder's hands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyHome {
    /// A file.
    Software,
    /// A FIDO2 token (`sk-` key types).
    Hardware,
}

/// Why something is not a key that may log in.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadKey {
    /// It does not parse.
    #[error("not an OpenSSH public key: expected `TYPE BASE64 COMMENT`, as in a `.pub` file")]
    Form,
    /// A private key was given.
    #[error(
        "this is a private key: give the `.pub` file, and make a new key since this one is known now"
    )]
    Private,
    /// Options before the type.
    #[error(
        "options before the key type are not taken from the key's line; set them in the role or the user"
    )]
    Options,
    /// DSA, certificates, XMSS and the like.
    #[error("keys of type `{0}` are refused: use ed25519, sk-ed25519, ecdsa or RSA")]
    Type(String),
    /// RSA below 2048 bits.
    #[error("this RSA key has {0} bits: at least 2048 are needed, better an ed25519 key")]
    Weak(usize),
    /// The signature library cannot check it.
    #[error("a P-521 key can log in but cannot approve: use ed25519, P-256, P-384 or RSA")]
    CannotApprove,
}

const TYPES: &[&str] = &[
    "ssh-ed25519",
    "sk-ssh-ed25519@openssh.com",
    "ecdsa-sha2-nistp256",
    "ecdsa-sha2-nistp384",
    "ecdsa-sha2-nistp521",
    "sk-ecdsa-sha2-nistp256@openssh.com",
    "ssh-rsa",
];

impl SshPublicKey {
    /// Reads a line as in a `.pub` file and returns the key and its comment.
    pub fn parse(line: &str) -> Result<(Self, String), BadKey> {
        if line.contains("PRIVATE KEY") {
            return Err(BadKey::Private);
        }
        if line.chars().any(char::is_control) {
            return Err(BadKey::Form);
        }
        let mut parts = line.splitn(3, ' ');
        let (Some(name), Some(base64)) = (parts.next(), parts.next()) else {
            return Err(BadKey::Form);
        };
        let comment = parts.next().unwrap_or_default();
        if !TYPES.contains(&name) {
            let is_option = line.split(' ').skip(1).any(|word| TYPES.contains(&word));
            return Err(if is_option {
                BadKey::Options
            } else if name.starts_with("ssh-") || name.contains("-cert-") || name.contains("sha2") {
                BadKey::Type(name.to_owned())
            } else {
                BadKey::Form
            });
        }
        let key = ssh_key::PublicKey::from_openssh(&format!("{name} {base64}"))
            .map_err(|_| BadKey::Form)?;
        let blob = key.to_bytes().map_err(|_| BadKey::Form)?;
        Ok((Self::from_blob(&blob)?, comment.to_owned()))
    }

    /// Reads an OpenSSH blob (RFC 4253 section 6.6), and refuses one that is not in normal form.
    pub fn from_blob(blob: &[u8]) -> Result<Self, BadKey> {
        let key = ssh_key::PublicKey::from_bytes(blob).map_err(|_| BadKey::Form)?;
        if key.to_bytes().map_err(|_| BadKey::Form)? != blob {
            return Err(BadKey::Form);
        }
        match key.key_data() {
            KeyData::Ed25519(_)
            | KeyData::Ecdsa(_)
            | KeyData::SkEcdsaSha2NistP256(_)
            | KeyData::SkEd25519(_) => {}
            KeyData::Rsa(rsa) => {
                let modulus = rsa.n.as_positive_bytes().ok_or(BadKey::Form)?;
                let leading = modulus.first().map_or(0, |byte| byte.leading_zeros() as usize);
                let bits = modulus.len() * 8 - leading;
                if !(2_048..=8_192).contains(&bits) {
                    return Err(BadKey::Weak(bits));
                }
            }
            other => return Err(BadKey::Type(other.algorithm().to_string())),
        }
        Ok(Self { blob: blob.to_vec() })
    }

    /// Says whether signatures by this key can be checked, as an approver's must be.
    pub fn can_approve(&self) -> Result<(), BadKey> {
        match self.data() {
            Some(KeyData::Ecdsa(key)) if key.curve() == EcdsaCurve::NistP521 => {
                Err(BadKey::CannotApprove)
            }
            Some(_) => Ok(()),
            None => Err(BadKey::Form),
        }
    }

    /// Returns the blob.
    pub fn blob(&self) -> &[u8] {
        &self.blob
    }

    /// Returns SHA-256 over the blob, which OpenSSH calls the fingerprint.
    pub fn fingerprint(&self) -> Digest {
        crypto::sha256(&[&self.blob])
    }

    /// Reads a fingerprint as OpenSSH prints and sshd logs it: `SHA256:` and base64 without padding.
    pub fn parse_fingerprint(text: &str) -> Option<Digest> {
        let bytes = Base64Unpadded::decode_vec(text.strip_prefix("SHA256:")?).ok()?;
        Digest::parse(&bytes).ok()
    }

    /// Returns the fingerprint as `ssh-keygen -l` prints it, in full: what people compare.
    pub fn shown_fingerprint(&self) -> String {
        format!("SHA256:{}", Base64Unpadded::encode_string(self.fingerprint().as_bytes()))
    }

    /// Returns the type's name as OpenSSH has it.
    pub fn type_name(&self) -> String {
        self.to_string().split(' ').next().unwrap_or_default().to_owned()
    }

    /// Returns a digest that two keys share if one private half makes signatures for both: the same
    /// point as a key of a file and of hardware, or for two applications, or the same modulus.
    pub fn material(&self) -> Digest {
        let bytes = match self.data() {
            Some(KeyData::Ed25519(key)) => key.as_ref().to_vec(),
            Some(KeyData::SkEd25519(key)) => key.public_key().as_ref().to_vec(),
            Some(KeyData::Ecdsa(key)) => key.as_sec1_bytes().to_vec(),
            Some(KeyData::SkEcdsaSha2NistP256(key)) => key.ec_point().as_bytes().to_vec(),
            Some(KeyData::Rsa(key)) => key.n.as_bytes().to_vec(),
            _ => self.blob.clone(),
        };
        crypto::sha256(&[&bytes])
    }

    /// Says where the private half lives.
    pub fn home(&self) -> KeyHome {
        match self.data() {
            Some(KeyData::SkEd25519(_) | KeyData::SkEcdsaSha2NistP256(_)) => KeyHome::Hardware,
            _ => KeyHome::Software,
        }
    }

    fn data(&self) -> Option<KeyData> {
        ssh_key::PublicKey::from_bytes(&self.blob).ok().map(Into::into)
    }
}

impl fmt::Display for SshPublicKey {
    /// `TYPE BASE64`, without a comment.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = ssh_key::PublicKey::from_bytes(&self.blob)
            .and_then(|key| key.to_openssh())
            .map_err(|_| fmt::Error)?;
        f.write_str(text.trim_end())
    }
}

impl fmt::Debug for SshPublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SshPublicKey({})", self.fingerprint().short())
    }
}
