//! The typed messages between courier and keeper, over the keeper's socket: each behind its length.
//! The keeper owns the socket, asks the kernel who is there, and believes nothing that arrives.

use std::{
    io::{self, Read},
    os::unix::net::UnixStream,
};

use muster_proto::{
    bundle::MAX_MESSAGE,
    receipt::Standing,
    wire::{self, from_keeper, to_keeper},
};
use prost::{
    Message,
    encoding::{WireType, encode_key, encode_varint},
};

/// Where the keeper listens.
pub const SOCKET: &str = "/run/muster-agent/keeper.sock";

/// Where the keeper writes, for whoever looks, when the newest checkpoint was made that it has had.
pub const HEARD: &str = "/run/muster-agent/heard";

/// Where the keeper writes, for the courier and whoever looks, what times were signed.
pub const TIME: &str = "/run/muster-agent/time";

/// What the courier tells the keeper.
#[derive(Debug, PartialEq, Eq)]
pub enum ToKeeper {
    /// A bundle in bytes.
    Deliver(Vec<u8>),
    /// Send what the spool holds after this number, and whatever comes later.
    WatchSpoolAfter(u64),
}

/// Why a message cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum BadMessage {
    /// The other side is gone, or the socket failed.
    #[error("cannot read from the other side")]
    Io(#[from] io::Error),
    /// Longer than any message.
    #[error("a message of {0} bytes; at most 16 MiB are read")]
    TooLong(usize),
    /// Not a message.
    #[error("a message that is not understood")]
    Form,
}

/// Returns the message that tells the courier where the host stands.
pub fn standing_message(standing: &Standing) -> Vec<u8> {
    let standing = wire::Standing::from(standing);
    frame(&wire::FromKeeper { message: Some(from_keeper::Message::Standing(standing)) })
}

/// Returns the message that hands the courier a receipt: its number and its envelope in bytes.
pub fn spool_message(number: u64, envelope: &[u8]) -> Result<Vec<u8>, prost::DecodeError> {
    let receipt = Some(wire::Envelope::decode(envelope)?);
    let entry = wire::SpoolEntry { number, receipt };
    Ok(frame(&wire::FromKeeper { message: Some(from_keeper::Message::Spool(entry)) }))
}

/// Puts a message behind its length.
pub fn frame(message: &impl Message) -> Vec<u8> {
    let body = message.encode_to_vec();
    [head(body.len()).as_slice(), &body].concat()
}

/// Returns what stands before a message of this length.
#[must_use]
pub fn head(length: usize) -> [u8; 4] {
    u32::try_from(length).unwrap_or(u32::MAX).to_be_bytes()
}

/// Returns what stands before a bundle of this length; the bundle behind it makes it the message that
/// delivers it, and no bytes of a bundle's make it another.
#[must_use]
pub fn delivery(length: usize) -> Vec<u8> {
    let mut start = Vec::new();
    encode_key(DELIVER, WireType::LengthDelimited, &mut start);
    encode_varint(length as u64, &mut start);
    [head(start.len() + length).as_slice(), &start].concat()
}

/// The number of `deliver` in `ToKeeper`.
const DELIVER: u32 = 1;

/// Checks a length as it came.
pub fn body_length(head: [u8; 4]) -> Result<usize, BadMessage> {
    let length = u32::from_be_bytes(head) as usize;
    if length > MAX_MESSAGE { Err(BadMessage::TooLong(length)) } else { Ok(length) }
}

/// Reads the courier's next message.
pub fn receive(stream: &mut UnixStream) -> Result<ToKeeper, BadMessage> {
    let mut head = [0; 4];
    stream.read_exact(&mut head)?;
    let length = body_length(head)?;
    let mut body = Vec::new();
    stream.take(length as u64).read_to_end(&mut body)?;
    if body.len() < length {
        return Err(io::Error::from(io::ErrorKind::UnexpectedEof).into());
    }
    let message = wire::ToKeeper::decode(body.as_slice()).map_err(|_| BadMessage::Form)?;
    match message.message.ok_or(BadMessage::Form)? {
        to_keeper::Message::Deliver(bytes) => Ok(ToKeeper::Deliver(bytes)),
        to_keeper::Message::WatchSpoolAfter(number) => Ok(ToKeeper::WatchSpoolAfter(number)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bundle_behind_its_start_is_the_message_that_delivers_it() {
        for length in [0, 1, 127, 128, 70_000] {
            let bundle = vec![7; length];
            let message = Some(to_keeper::Message::Deliver(bundle.clone()));
            let whole = frame(&wire::ToKeeper { message });
            assert_eq!([delivery(length), bundle].concat(), whole);
        }
    }

    #[test]
    fn a_message_may_be_as_long_as_the_bound_and_not_a_byte_longer() {
        assert_eq!(body_length(head(MAX_MESSAGE)).unwrap(), MAX_MESSAGE);
        let longer = body_length(head(MAX_MESSAGE + 1));
        assert!(matches!(longer, Err(BadMessage::TooLong(_))), "{longer:?}");
    }
}
