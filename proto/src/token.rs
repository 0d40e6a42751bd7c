//! The join token: composed on the operator's machine from what its tool has verified itself; the
//! controller supplies only the one-time secret. It pins the fleet, the trust root and the floor,
//! so that a controller cannot start a new host in an old world.

use std::fmt;

use base64ct::{Base64UrlUnpadded, Encoding};

use crate::{
    convert::Malformed, crypto, envelope::Document, id::Digest, link::LinkRef, time::Timestamp,
};

/// What a host needs to join.
#[derive(Clone, PartialEq, Eq)]
pub struct JoinToken {
    /// The digest of trust root 1.
    pub lineage: Digest,
    /// host:port of the controller's agent listener.
    pub address: String,
    /// SHA-256 over the subject public key info of the controller's CA.
    pub ca: Digest,
    /// The newest trust root that the operator's tool knows.
    pub trust_version: u64,
    /// Its digest.
    pub trust_digest: Digest,
    /// The newest link that the operator's tool has verified.
    pub floor: Option<LinkRef>,
    /// The one-time secret.
    pub secret: [u8; 32],
    /// When the controller stops taking it.
    pub expires: Timestamp,
}

/// Why a text is not a token.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadToken {
    /// Not one of ours, or broken by copying.
    #[error("this is not a join token: expected `{PREFIX}` and one unbroken word")]
    Form,
    /// Cut short or altered.
    #[error("the join token is cut short or altered: its checksum does not fit; copy it again")]
    Checksum,
    /// The checksum fits and the content does not.
    #[error("the join token is of a kind that this version does not know")]
    Content(#[from] Malformed),
}

const PREFIX: &str = "muster-join-";
const CHECKSUM_BYTES: usize = 6;

impl JoinToken {
    /// Returns the text that is handed to `muster-agent join`.
    pub fn render(&self) -> String {
        let mut bytes = self.encode();
        bytes.extend_from_slice(&checksum(&bytes));
        format!("{PREFIX}{}", Base64UrlUnpadded::encode_string(&bytes))
    }

    /// Reads the text.
    pub fn parse(text: &str) -> Result<Self, BadToken> {
        if text.len() > 4_096 {
            return Err(BadToken::Form);
        }
        let word = text.strip_prefix(PREFIX).ok_or(BadToken::Form)?;
        if !word.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_') {
            return Err(BadToken::Form);
        }
        let bytes = Base64UrlUnpadded::decode_vec(word).map_err(|_| BadToken::Checksum)?;
        let (content, found) = bytes
            .len()
            .checked_sub(CHECKSUM_BYTES)
            .and_then(|middle| bytes.split_at_checked(middle))
            .ok_or(BadToken::Checksum)?;
        if checksum(content) != found {
            return Err(BadToken::Checksum);
        }
        Ok(Self::decode(content)?)
    }
}

fn checksum(bytes: &[u8]) -> Vec<u8> {
    crypto::sha256(&[bytes]).as_bytes().iter().take(CHECKSUM_BYTES).copied().collect()
}

impl fmt::Debug for JoinToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("JoinToken")
            .field("lineage", &self.lineage)
            .field("address", &self.address)
            .field("floor", &self.floor)
            .field("expires", &self.expires)
            .finish_non_exhaustive()
    }
}
