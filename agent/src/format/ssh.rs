//! What sshd reads: one key file per account outside the homes, and one drop-in that makes these
//! files the only ones for accounts of Muster's. Accounts that are not Muster's are not touched.

use std::{collections::BTreeSet, fmt::Write};

use base64ct::{Base64, Encoding};
use muster_proto::{
    key::SshPublicKey,
    name::Login,
    statement::{Restrictions, SourceNetwork, UserKey},
};

/// The directory of the key files.
pub const KEYS_DIRECTORY: &str = "/etc/ssh/muster-keys";
/// The directory of the drop-in.
pub const DROP_IN_DIRECTORY: &str = "/etc/ssh/sshd_config.d";
/// The drop-in; for each keyword the first value counts, so it sorts first.
pub const DROP_IN: &str = "00-muster.conf";
/// The Unix group of all accounts of Muster's.
pub const MARKER: &str = "muster-accounts";

/// sshd reads lines of 8 KiB; longer lists of networks become several lines.
const MOST_NETWORKS_PER_LINE: usize = 100;

/// Returns the text of a key file. For a key with several restriction sets the laxest line comes
/// first: the first line that fits counts.
pub fn key_file(keys: &BTreeSet<(UserKey, Restrictions)>) -> String {
    let mut text = String::new();
    for (key, restrictions) in keys {
        push_key(&mut text, key, restrictions);
    }
    text
}

fn push_key(text: &mut String, key: &UserKey, restrictions: &Restrictions) {
    let kind = kind(&key.key);
    let hardware = kind.starts_with("sk-");
    if kind.is_empty() || (restrictions.hardware_keys_only && !hardware) {
        return;
    }
    let encoded = Base64::encode_string(key.key.blob());
    let from: Vec<&str> = restrictions.from.iter().map(SourceNetwork::as_str).collect();
    let parts: Vec<&[&str]> =
        if from.is_empty() { vec![&[]] } else { from.chunks(MOST_NETWORKS_PER_LINE).collect() };
    for networks in parts {
        let mut options: Vec<String> = Vec::new();
        if !networks.is_empty() {
            options.push(format!("from=\"{}\"", networks.join(",")));
        }
        // Without a token there is nobody to verify.
        if restrictions.verify_required && hardware {
            options.push("verify-required".to_owned());
        }
        if !options.is_empty() {
            text.push_str(&options.join(","));
            text.push(' ');
        }
        // Writing to a string cannot fail.
        let _ = write!(text, "{kind} {encoded}");
        if !key.comment.as_str().is_empty() {
            let _ = write!(text, " {}", key.comment);
        }
        text.push('\n');
    }
}

/// The key's type stands at the blob's start (RFC 4253 section 6.6).
fn kind(key: &SshPublicKey) -> &str {
    let Some((length, rest)) = key.blob().split_first_chunk::<4>() else { return "" };
    let length = usize::try_from(u32::from_be_bytes(*length)).unwrap_or(usize::MAX);
    rest.get(..length).and_then(|kind| std::str::from_utf8(kind).ok()).unwrap_or_default()
}

/// Returns the lines of `wanted` that `present` holds already, or nothing if there are none.
pub fn common_keys(present: &[u8], wanted: &str) -> Option<String> {
    let present: BTreeSet<&[u8]> = present.split(|byte| *byte == b'\n').collect();
    let mut text = String::new();
    for line in wanted.lines().filter(|line| present.contains(line.as_bytes())) {
        text.push_str(line);
        text.push('\n');
    }
    (!text.is_empty()).then_some(text)
}

/// Says whether a key that `present` lets in is missing from `wanted`.
pub fn loses_a_key(present: &[u8], wanted: &str) -> bool {
    let wanted: BTreeSet<&[u8]> = wanted.lines().map(str::as_bytes).collect();
    present.split(|byte| *byte == b'\n').any(|line| !line.is_empty() && !wanted.contains(line))
}

/// Returns the drop-in; `by_password` are the accounts whose roles let them use one.
pub fn drop_in<'a>(by_password: impl Iterator<Item = &'a Login>) -> String {
    let mut text = String::from("# Written by Muster; changes made here are taken back.\n");
    for login in by_password {
        text.push_str(&password_match(login));
        text.push_str("    PasswordAuthentication yes\n    KbdInteractiveAuthentication yes\n");
    }
    let _ = write!(
        text,
        "Match Group {MARKER}\n    AuthorizedKeysFile {KEYS_DIRECTORY}/%u\n    \
         AuthorizedKeysCommand none\n    PasswordAuthentication no\n    \
         KbdInteractiveAuthentication no\n    HostbasedAuthentication no\nMatch all\n"
    );
    text
}

/// Says whether a drop-in lets this account use a password.
pub fn lets_use_password(drop_in: &str, login: &Login) -> bool {
    drop_in.contains(&password_match(login))
}

fn password_match(login: &Login) -> String {
    format!("Match Group {MARKER} User {login}\n")
}
