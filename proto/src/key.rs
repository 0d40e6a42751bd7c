//! SSH public keys, parsed once. The blob is the key; text around it is for people.
//! Only key types that OpenSSH still offers and that are not weak get past `parse`.

use std::{fmt, ops::RangeInclusive};

use base64ct::{Base64Unpadded, Encoding};
use ssh_key::{
    EcdsaCurve,
    public::{KeyData, RsaPublicKey},
};

use crate::{crypto, id::Digest};

/// A public key that may log in.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SshPublicKey {
    blob: Vec<u8>,
    key_type: KeyType,
}

/// What a key is, by the names that OpenSSH has for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum KeyType {
    /// `ssh-ed25519`
    Ed25519,
    /// `sk-ssh-ed25519@openssh.com`
    SkEd25519,
    /// `ecdsa-sha2-nistp256`
    EcdsaP256,
    /// `ecdsa-sha2-nistp384`
    EcdsaP384,
    /// `ecdsa-sha2-nistp521`
    EcdsaP521,
    /// `sk-ecdsa-sha2-nistp256@openssh.com`
    SkEcdsaP256,
    /// `ssh-rsa`, whatever hash its signatures have.
    Rsa,
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

impl KeyType {
    /// All of them.
    pub const ALL: [Self; 7] = [
        Self::Ed25519,
        Self::SkEd25519,
        Self::EcdsaP256,
        Self::EcdsaP384,
        Self::EcdsaP521,
        Self::SkEcdsaP256,
        Self::Rsa,
    ];

    /// Returns the name that stands first in a `.pub` file.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Ed25519 => "ssh-ed25519",
            Self::SkEd25519 => "sk-ssh-ed25519@openssh.com",
            Self::EcdsaP256 => "ecdsa-sha2-nistp256",
            Self::EcdsaP384 => "ecdsa-sha2-nistp384",
            Self::EcdsaP521 => "ecdsa-sha2-nistp521",
            Self::SkEcdsaP256 => "sk-ecdsa-sha2-nistp256@openssh.com",
            Self::Rsa => "ssh-rsa",
        }
    }

    /// Reads such a name.
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|key_type| key_type.as_str() == name)
    }

    fn of(data: &KeyData) -> Result<Self, BadKey> {
        Ok(match data {
            KeyData::Ed25519(_) => Self::Ed25519,
            KeyData::SkEd25519(_) => Self::SkEd25519,
            KeyData::SkEcdsaSha2NistP256(_) => Self::SkEcdsaP256,
            KeyData::Ecdsa(key) => match key.curve() {
                EcdsaCurve::NistP256 => Self::EcdsaP256,
                EcdsaCurve::NistP384 => Self::EcdsaP384,
                EcdsaCurve::NistP521 => Self::EcdsaP521,
            },
            KeyData::Rsa(_) => Self::Rsa,
            other => return Err(BadKey::Type(other.algorithm().to_string())),
        })
    }
}

impl fmt::Display for KeyType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl SshPublicKey {
    /// The bits that an RSA key may have.
    pub const RSA_BITS: RangeInclusive<usize> = 2_048..=8_192;

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
        if KeyType::parse(name).is_none() {
            let is_option = line.split(' ').skip(1).any(|word| KeyType::parse(word).is_some());
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
        let key_type = KeyType::of(key.key_data())?;
        if let KeyData::Rsa(rsa) = key.key_data() {
            let bits = bits(rsa).ok_or(BadKey::Form)?;
            if !Self::RSA_BITS.contains(&bits) {
                return Err(BadKey::Weak(bits));
            }
        }
        Ok(Self { blob: blob.to_vec(), key_type })
    }

    /// Says whether signatures by this key can be checked, as an approver's must be.
    pub fn can_approve(&self) -> Result<(), BadKey> {
        if self.key_type == KeyType::EcdsaP521 { Err(BadKey::CannotApprove) } else { Ok(()) }
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

    /// Returns what it is.
    pub fn key_type(&self) -> KeyType {
        self.key_type
    }

    /// Returns how many bits an RSA key has.
    pub fn rsa_bits(&self) -> Option<usize> {
        if self.key_type != KeyType::Rsa {
            return None;
        }
        match self.data() {
            Some(KeyData::Rsa(rsa)) => bits(&rsa),
            _ => None,
        }
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
        match self.key_type {
            KeyType::SkEd25519 | KeyType::SkEcdsaP256 => KeyHome::Hardware,
            KeyType::Ed25519
            | KeyType::EcdsaP256
            | KeyType::EcdsaP384
            | KeyType::EcdsaP521
            | KeyType::Rsa => KeyHome::Software,
        }
    }

    fn data(&self) -> Option<KeyData> {
        ssh_key::PublicKey::from_bytes(&self.blob).ok().map(Into::into)
    }
}

fn bits(key: &RsaPublicKey) -> Option<usize> {
    let modulus = key.n.as_positive_bytes()?;
    let leading = modulus.first().map_or(0, |byte| byte.leading_zeros() as usize);
    Some(modulus.len() * 8 - leading)
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
