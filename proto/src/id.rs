//! What things are called by for ever: digests, ids, kinds. Nothing here has a meaning beyond
//! equality and order.

use std::fmt;

/// SHA-256, over the pre-authentication encoding of a document wherever a document is meant.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Digest([u8; 32]);

/// A host: the digest of its keeper's public key.
pub type HostId = Digest;

/// A statement's name for ever: 16 random bytes, or a host's 32. Ordered bytewise.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub enum Id {
    /// Chosen by the proposer's tool.
    Object([u8; 16]),
    /// A host, when the statement is about one.
    Host(HostId),
}

/// What a statement is about. An id keeps its kind for ever.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// A person or a service identity.
    User,
    /// A named set of users.
    Group,
    /// A group of the Unix kind that Muster creates.
    UnixGroup,
    /// A named set of entitlements.
    Role,
    /// Who has which role where.
    Assignment,
    /// Taking over one account of one host.
    Adoption,
    /// A host that was revoked.
    Host,
}

/// A byte string of the wrong length for what it should be.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{what} has {found} bytes instead of {expected}")]
pub struct WrongLength {
    what: &'static str,
    expected: &'static str,
    found: usize,
}

impl Digest {
    /// Wraps 32 bytes that already are a digest.
    pub const fn new(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// Takes 32 bytes from the wire.
    pub fn parse(bytes: &[u8]) -> Result<Self, WrongLength> {
        bytes.try_into().map(Self).map_err(|_| WrongLength {
            what: "a digest",
            expected: "32",
            found: bytes.len(),
        })
    }

    /// Returns the 32 bytes.
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// Returns the first twelve hexadecimal digits, for people.
    pub fn short(&self) -> String {
        self.to_string().chars().take(12).collect()
    }

    /// Reads 64 hexadecimal digits.
    pub fn parse_hex(text: &str) -> Option<Self> {
        let bytes = parse_hex(text)?;
        Self::parse(&bytes).ok()
    }
}

impl Ord for Id {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.as_bytes().cmp(other.as_bytes())
    }
}

impl PartialOrd for Id {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Id {
    /// Takes 16 or 32 bytes from the wire.
    pub fn parse(bytes: &[u8]) -> Result<Self, WrongLength> {
        if let Ok(object) = bytes.try_into() {
            return Ok(Self::Object(object));
        }
        Digest::parse(bytes).map(Self::Host).map_err(|_| WrongLength {
            what: "an id",
            expected: "16 or 32",
            found: bytes.len(),
        })
    }

    /// Returns the 16 or 32 bytes.
    pub fn as_bytes(&self) -> &[u8] {
        match self {
            Self::Object(bytes) => bytes,
            Self::Host(host) => host.as_bytes(),
        }
    }

    /// Reads 32 or 64 hexadecimal digits.
    pub fn parse_hex(text: &str) -> Option<Self> {
        Self::parse(&parse_hex(text)?).ok()
    }
}

fn parse_hex(text: &str) -> Option<Vec<u8>> {
    let digits: Option<Vec<u32>> = text.chars().map(|c| c.to_digit(16)).collect();
    let digits = digits?;
    if !digits.len().is_multiple_of(2) {
        return None;
    }
    let pairs = digits.chunks_exact(2);
    pairs.map(|pair| u8::try_from(pair.iter().fold(0, |acc, d| acc * 16 + d)).ok()).collect()
}

fn write_hex(bytes: &[u8], f: &mut fmt::Formatter<'_>) -> fmt::Result {
    bytes.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_hex(&self.0, f)
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_hex(&self.0, f)
    }
}

impl fmt::Display for Id {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_hex(self.as_bytes(), f)
    }
}

impl fmt::Debug for Id {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_hex(self.as_bytes(), f)
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::User => "user",
            Self::Group => "group",
            Self::UnixGroup => "Unix group",
            Self::Role => "role",
            Self::Assignment => "assignment",
            Self::Adoption => "adoption",
            Self::Host => "host",
        })
    }
}
