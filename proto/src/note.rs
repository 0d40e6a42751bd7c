//! The audit log's head as a signed note (C2SP `signed-note` and `tlog-checkpoint`): a text that
//! whoever keeps or compares heads of logs can read, with no knowledge of Muster. It says no more
//! than the head that is in every checkpoint, and is signed by the same online key; its first line
//! is the log's origin, so it is the beginning of no document of ours.

use std::collections::BTreeSet;

use base64ct::{Base64, Encoding};

use crate::{
    crypto::{Checked, MachineKey, MachinePublicKey, sha256},
    id::Digest,
    link::LogHead,
};

/// The most bytes that are read as a note.
pub const MAX_NOTE: usize = 16 << 10;

/// Before every signature: an em dash and a space.
const MARK: &str = "\u{2014} ";
/// The kind of key that an Ed25519 signature of a note is by.
const ED25519: u8 = 1;

/// Why a text is no head of a log.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadNote {
    /// Not a note, or not of a log's head and nothing else.
    #[error("this is not the head of a log in the form of a note")]
    Form,
    /// Nobody signed it whose word counts.
    #[error("no key that counts has signed this head of the log `{0}`")]
    Unsigned(String),
    /// A key that counts is named, and did not sign this.
    #[error("the signature on this head of the log `{0}` is wrong")]
    Signature(String),
}

/// Returns the head as a note that this key signs.
pub fn sign(head: &LogHead, key: &MachineKey) -> String {
    let text = render(head);
    let id = key_id(&head.origin, key.public());
    let signature = [id.as_slice(), &key.sign(text.as_bytes())].concat();
    format!("{text}\n{MARK}{} {}\n", head.origin, Base64::encode_string(&signature))
}

/// Reads a note that one of these keys signed. Signatures by others, witnesses perhaps, neither
/// count nor refuse.
pub fn verify(note: &str, keys: &BTreeSet<MachinePublicKey>) -> Result<LogHead, BadNote> {
    if note.len() > MAX_NOTE {
        return Err(BadNote::Form);
    }
    let (text, signatures) = note.split_once("\n\n").ok_or(BadNote::Form)?;
    let text = format!("{text}\n");
    let head = parse(&text).ok_or(BadNote::Form)?;
    let lines = signatures.strip_suffix('\n').ok_or(BadNote::Form)?;
    let mut is_signed = false;
    for line in lines.split('\n') {
        let (name, signature) =
            line.strip_prefix(MARK).and_then(|line| line.split_once(' ')).ok_or(BadNote::Form)?;
        let bytes = Base64::decode_vec(signature).map_err(|_| BadNote::Form)?;
        let (id, signature) = bytes.split_first_chunk::<4>().ok_or(BadNote::Form)?;
        let by = keys.iter().find(|key| name == head.origin && key_id(name, **key) == *id);
        match by.map(|key| key.check(text.as_bytes(), signature)) {
            Some(Checked::Good) => is_signed = true,
            Some(Checked::Bad) => return Err(BadNote::Signature(head.origin)),
            None => {}
        }
    }
    if is_signed { Ok(head) } else { Err(BadNote::Unsigned(head.origin)) }
}

fn render(head: &LogHead) -> String {
    let root = Base64::encode_string(head.root.as_bytes());
    format!("{}\n{}\n{root}\n", head.origin, head.size)
}

/// Reads what `render` writes, and nothing that it would write otherwise.
fn parse(text: &str) -> Option<LogHead> {
    let mut lines = text.split('\n');
    let (origin, size, root) = (lines.next()?, lines.next()?, lines.next()?);
    let root = Digest::parse(&Base64::decode_vec(root).ok()?).ok()?;
    let head = LogHead { origin: origin.to_owned(), size: size.parse().ok()?, root };
    let named = !origin.is_empty() && !origin.contains(|c: char| c.is_whitespace() || c == '+');
    (named && render(&head) == text).then_some(head)
}

/// Tells keys of one name apart.
fn key_id(name: &str, key: MachinePublicKey) -> [u8; 4] {
    let digest = sha256(&[name.as_bytes(), b"\n", &[ED25519], key.as_bytes()]);
    let [a, b, c, d, ..] = *digest.as_bytes();
    [a, b, c, d]
}
