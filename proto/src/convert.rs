//! Wire and domain: the only place where both are named. Each document reads from the wire by
//! parsing every field, and is refused unless it encodes to the very same bytes again. That one
//! comparison refuses unknown fields, sets out of order, defaults written out and trailing bytes.

mod bound;
mod bundle;
mod drift;
mod grant;
mod inventory;
mod link;
mod receipt;
mod statement;
mod trust;

pub use bound::{
    MAX_DRIFT, MAX_DRIFT_WORD, MAX_PARTS, MAX_RECEIPT, MAX_RECEIPT_PARTS, MAX_STATEMENT,
};
use prost::Message;

use crate::{
    bundle::Bundle,
    crypto::BadMachineKey,
    desired::Grant,
    envelope::{Document, Envelope, Signature},
    id::{Digest, Kind, WrongLength},
    key::BadKey,
    link::{
        Acknowledgement, Checkpoint, Link, LinkBody, LinkRef, LogHead, Proposal, PublishedLink,
        Revocation,
    },
    name::BadName,
    options::BadOption,
    receipt::{Enrolment, Receipt},
    selector::BadSelector,
    statement::{BadHomeMode, BadNetwork, Entry, Statement},
    sudo::BadSudo,
    token::JoinToken,
    trust::TrustRoot,
    wire,
};

/// Bytes that are not the document that they were taken for.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the bytes are no {document}")]
pub struct Malformed {
    document: &'static str,
    #[source]
    fault: Fault,
}

/// What is wrong with a document's bytes.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// Not protobuf, or cut short.
    #[error("they are not protobuf")]
    Encoding,
    /// They do not encode to the same bytes again: an unknown field, a set out of order, or the
    /// like.
    #[error(
        "they are not in the one form that is accepted, or have a field that is not known here"
    )]
    NotCanonical,
    /// More parts than any honest one has.
    #[error("they have more than {MAX_PARTS} parts")]
    TooMany,
    /// More bytes than any honest one has.
    #[error("they are {0}; at most {MAX_STATEMENT} are read")]
    TooLarge(usize),
    /// A receipt of more bytes than any honest one has.
    #[error("they are {0}; at most {MAX_RECEIPT} are read of a receipt")]
    ReceiptTooLarge(usize),
    /// A receipt of more parts than any honest one has.
    #[error("they have more than {MAX_RECEIPT_PARTS} parts, and are a receipt")]
    ReceiptOfTooMany,
    /// A field that must be there is not.
    #[error("`{0}` is missing")]
    Missing(&'static str),
    /// A value that has no meaning.
    #[error("`{0}` has a value that is not known here")]
    Value(&'static str),
    /// A digest or id of the wrong length.
    #[error(transparent)]
    Length(#[from] WrongLength),
    /// A name, number or path.
    #[error(transparent)]
    Name(#[from] BadName),
    /// A key.
    #[error(transparent)]
    Key(#[from] BadKey),
    /// A machine's key.
    #[error(transparent)]
    MachineKey(#[from] BadMachineKey),
    /// A sudo command.
    #[error(transparent)]
    Sudo(#[from] BadSudo),
    /// A selector.
    #[error(transparent)]
    Selector(#[from] BadSelector),
    /// A network.
    #[error(transparent)]
    Network(#[from] BadNetwork),
    /// An option of a key.
    #[error(transparent)]
    Option(#[from] BadOption),
    /// A home's mode.
    #[error(transparent)]
    HomeMode(#[from] BadHomeMode),
    /// A document inside the document.
    #[error(transparent)]
    Inner(#[from] Box<Malformed>),
}

impl From<Malformed> for Fault {
    fn from(malformed: Malformed) -> Self {
        Self::Inner(Box::new(malformed))
    }
}

/// Reads a document in its wire form, whatever it is called.
pub(crate) fn read<W, D>(document: &'static str, bytes: &[u8]) -> Result<D, Malformed>
where
    W: Message + Default + for<'a> From<&'a D>,
    D: TryFrom<W, Error = Fault>,
{
    let malformed = |fault| Malformed { document, fault };
    let wire = W::decode(bytes).map_err(|_| malformed(Fault::Encoding))?;
    let value = D::try_from(wire).map_err(malformed)?;
    if W::from(&value).encode_to_vec() == bytes {
        Ok(value)
    } else {
        Err(malformed(Fault::NotCanonical))
    }
}

macro_rules! documents {
    ($($domain:ident = $wire:ident: $name:literal, $type:literal $(, $bound:path)?;)*) => {$(
        impl Document for $domain {
            const TYPE: &'static str = concat!("application/vnd.muster.", $type, ".v1");

            fn encode(&self) -> Vec<u8> {
                wire::$wire::from(self).encode_to_vec()
            }

            fn decode(bytes: &[u8]) -> Result<Self, Malformed> {
                $($bound(bytes).map_err(|fault| Malformed { document: $name, fault })?;)?
                read::<wire::$wire, Self>($name, bytes)
            }
        }
    )*};
}

documents! {
    TrustRoot = TrustRoot: "trust root", "trust-root";
    Statement = Statement: "statement", "statement", bound::statement;
    Entry = DirectoryEntry: "directory entry", "directory-entry";
    Proposal = Proposal: "proposal", "proposal";
    Link = Link: "link", "link";
    LinkBody = LinkBody: "body of a link", "link-body";
    Revocation = Revocation: "revocation", "revocation";
    Checkpoint = Checkpoint: "checkpoint", "checkpoint";
    Acknowledgement = Acknowledgement: "acknowledgement", "acknowledgement";
    Receipt = Receipt: "receipt", "receipt", bound::receipt;
    Enrolment = Enrolment: "enrolment", "enrolment";
    JoinToken = JoinToken: "join token", "join-token";
    Envelope = Envelope: "envelope", "envelope";
    Bundle = Bundle: "bundle", "bundle", bound::bundle;
    PublishedLink = PublishedLink: "published link", "published-link";
    Grant = HeldGrant: "grant of the ledger", "held-grant";
}

/// Something that must be there.
fn required<T>(value: Option<T>, field: &'static str) -> Result<T, Fault> {
    value.ok_or(Fault::Missing(field))
}

fn some_digest(bytes: &[u8]) -> Result<Option<Digest>, WrongLength> {
    if bytes.is_empty() { Ok(None) } else { Digest::parse(bytes).map(Some) }
}

fn digest_bytes(digest: Option<Digest>) -> Vec<u8> {
    digest.map(|digest| digest.as_bytes().to_vec()).unwrap_or_default()
}

/// A value of an enumeration, or a fault that names the field.
fn known<W: TryFrom<i32>>(value: i32, field: &'static str) -> Result<W, Fault> {
    W::try_from(value).map_err(|_| Fault::Value(field))
}

impl From<Kind> for wire::Kind {
    fn from(kind: Kind) -> Self {
        match kind {
            Kind::User => Self::User,
            Kind::Group => Self::Group,
            Kind::UnixGroup => Self::UnixGroup,
            Kind::Role => Self::Role,
            Kind::Assignment => Self::Assignment,
            Kind::Adoption => Self::Adoption,
            Kind::Host => Self::Host,
        }
    }
}

fn kind(value: i32) -> Result<Kind, Fault> {
    Ok(match known::<wire::Kind>(value, "kind")? {
        wire::Kind::User => Kind::User,
        wire::Kind::Group => Kind::Group,
        wire::Kind::UnixGroup => Kind::UnixGroup,
        wire::Kind::Role => Kind::Role,
        wire::Kind::Assignment => Kind::Assignment,
        wire::Kind::Adoption => Kind::Adoption,
        wire::Kind::Host => Kind::Host,
        wire::Kind::Unspecified => return Err(Fault::Missing("kind")),
    })
}

impl TryFrom<wire::Envelope> for Envelope {
    type Error = Fault;

    fn try_from(wire: wire::Envelope) -> Result<Self, Fault> {
        let signatures = wire.signatures.into_iter().map(|signature| {
            Ok(Signature { key: Digest::parse(&signature.key)?, bytes: signature.signature })
        });
        Ok(Self {
            payload_type: wire.payload_type,
            payload: wire.payload,
            signatures: signatures.collect::<Result<_, Fault>>()?,
        })
    }
}

impl From<&Envelope> for wire::Envelope {
    fn from(envelope: &Envelope) -> Self {
        let signatures = envelope.signatures.iter().map(|signature| wire::Signature {
            key: signature.key.as_bytes().to_vec(),
            signature: signature.bytes.clone(),
        });
        Self {
            payload_type: envelope.payload_type.clone(),
            payload: envelope.payload.clone(),
            signatures: signatures.collect(),
        }
    }
}

impl TryFrom<wire::LinkRef> for LinkRef {
    type Error = Fault;

    fn try_from(wire: wire::LinkRef) -> Result<Self, Fault> {
        if wire.number == 0 {
            return Err(Fault::Missing("number"));
        }
        Ok(Self { number: wire.number, digest: Digest::parse(&wire.digest)? })
    }
}

impl From<&LinkRef> for wire::LinkRef {
    fn from(link: &LinkRef) -> Self {
        Self { number: link.number, digest: link.digest.as_bytes().to_vec() }
    }
}

impl TryFrom<wire::LogHead> for LogHead {
    type Error = Fault;

    fn try_from(wire: wire::LogHead) -> Result<Self, Fault> {
        Ok(Self { origin: wire.origin, size: wire.size, root: Digest::parse(&wire.root)? })
    }
}

impl From<&LogHead> for wire::LogHead {
    fn from(head: &LogHead) -> Self {
        Self { origin: head.origin.clone(), size: head.size, root: head.root.as_bytes().to_vec() }
    }
}
