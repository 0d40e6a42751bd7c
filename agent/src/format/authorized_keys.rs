//! `authorized_keys` as others write it: which keys let somebody in. Only their fingerprints are of
//! interest, so keys of types that Muster itself would not take are found too
//! (sshd(8)).

use std::collections::BTreeSet;

use base64ct::{Base64, Base64Unpadded, Encoding};
use muster_proto::{crypto::sha256, id::Digest};

/// The most keys of one account that are told.
pub const MOST_KEYS: usize = 64;

/// The keys of one account, as far as they could be learnt.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Keys {
    /// Fingerprints as ssh-keygen prints them.
    pub found: BTreeSet<String>,
    /// What could not be learnt, in words.
    pub unknown: BTreeSet<String>,
    /// All lines that let somebody in, with their options, in one digest; nothing if there is none.
    pub read: Option<Digest>,
    /// Why files were not read that sshd may read, in one digest.
    pub unread: Option<Digest>,
    /// The files that cannot be looked at now: what was in them may be there still.
    pub unseen: BTreeSet<String>,
}

impl Keys {
    /// Nothing could be learnt, for this reason.
    pub fn unknown(why: impl Into<String>) -> Self {
        Self { unknown: BTreeSet::from([format!("keys: {}", why.into())]), ..Self::default() }
    }

    /// A file was not read that sshd may read, for this reason.
    pub fn unread(why: &str) -> Self {
        Self { unread: Some(sha256(&[why.as_bytes()])), ..Self::unknown(why) }
    }

    /// A file cannot be looked at now, for this reason.
    pub fn unseen(path: &str, why: &str) -> Self {
        Self { unseen: BTreeSet::from([path.to_owned()]), ..Self::unknown(why) }
    }

    /// Adds what is known from elsewhere.
    pub fn extend(&mut self, other: Self) {
        self.read = both(self.read, other.read);
        self.unread = both(self.unread, other.unread);
        for key in other.found {
            self.add(key);
        }
        self.unknown.extend(other.unknown);
        self.unseen.extend(other.unseen);
    }

    fn add(&mut self, fingerprint: String) {
        if self.found.len() < MOST_KEYS || self.found.contains(&fingerprint) {
            self.found.insert(fingerprint);
        } else {
            self.unknown.insert(format!("keys: there are more than {MOST_KEYS}"));
        }
    }
}

fn both(one: Option<Digest>, other: Option<Digest>) -> Option<Digest> {
    match (one, other) {
        (Some(one), Some(other)) => Some(sha256(&[one.as_bytes(), other.as_bytes()])),
        (one, other) => one.or(other),
    }
}

/// Reads a file.
pub fn parse(text: &[u8]) -> Keys {
    let mut keys = Keys::default();
    let mut counting = Vec::new();
    for line in String::from_utf8_lossy(text).lines() {
        let line = line.trim_matches([' ', '\t', '\r']);
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        // What is no key lets nobody in.
        let Some((_, fingerprint)) = fingerprint(line) else { continue };
        counting.extend([line.as_bytes(), b"\n"].concat());
        if is_authority(line) {
            keys.unknown.insert("keys: all that an authority certifies".to_owned());
        } else {
            keys.add(fingerprint);
        }
    }
    keys.read = (!counting.is_empty()).then(|| sha256(&[&counting]));
    keys
}

/// Returns the type and the fingerprint of the key of a line, with or without options before it.
fn fingerprint(line: &str) -> Option<(&str, String)> {
    let rest = if is_type(first(line)) { line } else { after_options(line) };
    let mut words = rest.split([' ', '\t']).filter(|word| !word.is_empty());
    let kind = words.next().filter(|word| is_type(word))?;
    let base64 = words.next()?;
    let blob = Base64::decode_vec(base64).ok()?;
    // The blob says itself what it is (RFC 4253 section 6.6).
    let length = u32::try_from(kind.len()).ok()?.to_be_bytes();
    let said = blob.strip_prefix(length.as_slice())?;
    said.starts_with(kind.as_bytes()).then(|| {
        let digest = sha256(&[&blob]);
        (kind, format!("SHA256:{}", Base64Unpadded::encode_string(digest.as_bytes())))
    })
}

fn first(line: &str) -> &str {
    line.split([' ', '\t']).next().unwrap_or_default()
}

fn is_type(word: &str) -> bool {
    ["ssh-", "ecdsa-sha2-", "sk-ssh-", "sk-ecdsa-sha2-"].iter().any(|head| word.starts_with(head))
}

fn options(line: &str) -> &str {
    if is_type(first(line)) {
        return "";
    }
    let rest = after_options(line);
    line.strip_suffix(rest).unwrap_or_default()
}

/// Options end at the first blank that is not in quotes; a quote in them may be escaped.
fn after_options(line: &str) -> &str {
    let (mut quoted, mut escaped) = (false, false);
    for (at, c) in line.char_indices() {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            '"' => quoted = !quoted,
            ' ' | '\t' if !quoted => return line.get(at..).unwrap_or_default().trim_start(),
            _ => {}
        }
    }
    ""
}

fn is_authority(line: &str) -> bool {
    options(line).split(',').any(|option| option.trim().eq_ignore_ascii_case("cert-authority"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(kind: &str, number: u16) -> String {
        let mut blob = u32::try_from(kind.len()).unwrap().to_be_bytes().to_vec();
        blob.extend(kind.as_bytes());
        blob.extend(number.to_be_bytes());
        format!("{kind} {}", Base64::encode_string(&blob))
    }

    #[test]
    fn keys_are_found_after_options_and_of_types_that_muster_does_not_take() {
        let ed25519 = line("ssh-ed25519", 1);
        let plain = parse(ed25519.as_bytes());
        assert_eq!(plain.found.len(), 1);
        for text in [
            format!("  {ed25519} a comment\r\n"),
            format!("# said\nrestrict,command=\"say \\\"a b\\\" ssh-rsa\" {ed25519}\n"),
            format!("nonsense\nssh-ed25519\nssh-ed25519 AAAA\n\tno-pty\t{ed25519}"),
        ] {
            assert_eq!(parse(text.as_bytes()).found, plain.found, "{text}");
        }
        assert_eq!(parse(line("ssh-dss", 1).as_bytes()).found.len(), 1);
        assert_eq!(parse(&[0xff, 0xfe, b'\n']), Keys::default());
    }

    #[test]
    fn an_authority_lets_in_nobody_knows_whom() {
        let keys = parse(format!("from=\"a,b\",cert-authority {}", line("ssh-rsa", 1)).as_bytes());
        assert!(keys.found.is_empty());
        assert_eq!(keys.unknown.len(), 1);
    }

    #[test]
    fn so_many_keys_are_told_and_that_there_are_more() {
        let text = |count: usize| -> String {
            let lines = (0..count).map(|n| line("ssh-ed25519", u16::try_from(n).unwrap()) + "\n");
            lines.collect()
        };
        let most = parse(text(MOST_KEYS).as_bytes());
        assert_eq!((most.found.len(), most.unknown.len()), (MOST_KEYS, 0));
        let more = parse(text(MOST_KEYS + 1).as_bytes());
        assert_eq!((more.found.len(), more.unknown.len()), (MOST_KEYS, 1));
    }
}
