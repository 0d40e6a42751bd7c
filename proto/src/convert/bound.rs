//! What a document may cost, judged before it is read: a part of two bytes on the wire can take
//! fifty times as many in memory. Here are the documents that are read before any signature over
//! them is checked; all others are read after somebody who may sign them has.

use prost::encoding::{WireType, decode_key, decode_varint};

use super::Fault;

/// The most parts that a bundle may have: its own fields, and those of its envelopes and proofs.
pub const MAX_PARTS: usize = 1 << 17;

/// The most bytes that a statement may have.
pub const MAX_STATEMENT: usize = 256 << 10;

/// The most bytes that a receipt may have. That of a host that sets up a thousand accounts, and
/// fails at each of several steps for a long reason, has less than half.
pub const MAX_RECEIPT: usize = 4 << 20;

/// The most outcomes, findings and revocations that a receipt may have, together with its few other
/// fields and those of the accounts that it tells.
pub const MAX_RECEIPT_PARTS: usize = 1 << 16;

/// The most items of drift that a receipt may tell: an honest agent parts more into several.
pub const MAX_DRIFT: usize = 4_096;

/// The most bytes of the words that say which drift it is: an honest agent cuts them.
pub const MAX_DRIFT_WORD: usize = 8_192;

/// The field of a receipt that tells drift.
const DRIFT: u32 = 14;

/// The field of a receipt that repeats messages of which each repeats texts.
const INVENTORY: u32 = 15;

pub(super) fn receipt(bytes: &[u8]) -> Result<(), Fault> {
    if bytes.len() > MAX_RECEIPT {
        return Err(Fault::ReceiptTooLarge(bytes.len()));
    }
    let mut left = MAX_RECEIPT_PARTS;
    let mut spend = || {
        left = left.checked_sub(1).ok_or(Fault::ReceiptOfTooMany)?;
        Ok(())
    };
    let mut drift = MAX_DRIFT;
    for_each_field(bytes, |tag, body| {
        spend()?;
        if tag == DRIFT {
            drift = drift.checked_sub(1).ok_or(Fault::ReceiptOfTooMany)?;
        }
        if tag != INVENTORY {
            return Ok(());
        }
        for_each_field(body, |_, account| {
            spend()?;
            for_each_field(account, |_, _| spend())
        })
    })
}

pub(super) fn statement(bytes: &[u8]) -> Result<(), Fault> {
    if bytes.len() > MAX_STATEMENT { Err(Fault::TooLarge(bytes.len())) } else { Ok(()) }
}

pub(super) fn bundle(bytes: &[u8]) -> Result<(), Fault> {
    let mut left = MAX_PARTS;
    let mut spend = || {
        left = left.checked_sub(1).ok_or(Fault::TooMany)?;
        Ok(())
    };
    for_each_field(bytes, |tag, body| {
        spend()?;
        // Trust roots, link, history, revocations, checkpoint, acknowledgement: messages, each of
        // which repeats nothing but hashes, or signatures of two fields.
        if matches!(tag, 2 | 3 | 4 | 8 | 9 | 10) {
            for_each_field(body, |_, _| spend())?;
        }
        Ok(())
    })
}

fn for_each_field<V>(mut rest: &[u8], mut visit: V) -> Result<(), Fault>
where
    V: FnMut(u32, &[u8]) -> Result<(), Fault>,
{
    while !rest.is_empty() {
        let (tag, kind) = decode_key(&mut rest).map_err(|_| Fault::Encoding)?;
        let mut number = || decode_varint(&mut rest).map_err(|_| Fault::Encoding);
        let length = match kind {
            WireType::Varint => number().map(|_| 0)?,
            WireType::SixtyFourBit => 8,
            WireType::ThirtyTwoBit => 4,
            WireType::LengthDelimited => usize::try_from(number()?).map_err(|_| Fault::Encoding)?,
            WireType::StartGroup | WireType::EndGroup => return Err(Fault::Encoding),
        };
        let (body, after) = rest.split_at_checked(length).ok_or(Fault::Encoding)?;
        visit(tag, body)?;
        rest = after;
    }
    Ok(())
}
