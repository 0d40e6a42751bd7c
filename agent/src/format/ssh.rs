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
    let parts = from.chunks(MOST_NETWORKS_PER_LINE);
    // Without restrictions on networks there is one line, with none.
    let anywhere = from.is_empty().then_some([].as_slice());
    for networks in parts.chain(anywhere) {
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
        text.reserve(kind.len() + encoded.len() + key.comment.as_str().len() + 3);
        text.push_str(kind);
        text.push(' ');
        text.push_str(&encoded);
        if !key.comment.as_str().is_empty() {
            text.push(' ');
            text.push_str(key.comment.as_str());
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
    super::shared_lines(present, "", wanted)
}

/// Says whether a key that `present` lets in is missing from `wanted`.
pub fn loses_a_key(present: &[u8], wanted: &str) -> bool {
    if present == wanted.as_bytes() {
        return false;
    }
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

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "these are tests")]
mod tests {
    use expect_test::expect;
    use muster_proto::name::Line;

    use super::*;

    fn key(kind: &str, length: u8) -> UserKey {
        let mut blob = u32::try_from(kind.len()).unwrap().to_be_bytes().to_vec();
        blob.extend(kind.as_bytes());
        blob.extend([0, 0, 0, length]);
        blob.extend(vec![7; length.into()]);
        if kind.starts_with("sk-") {
            blob.extend([0, 0, 0, 4]);
            blob.extend(b"ssh:");
        }
        let key = SshPublicKey::from_blob(&blob).unwrap();
        UserKey { key, comment: Line::parse("ana@laptop").unwrap() }
    }

    fn from(networks: impl Iterator<Item = String>) -> Restrictions {
        let from = networks.map(|network| SourceNetwork::parse(&network).unwrap()).collect();
        Restrictions { from, ..Restrictions::default() }
    }

    #[test]
    fn each_restriction_set_has_its_line_and_the_laxest_comes_first() {
        let plain = key("ssh-ed25519", 32);
        let token = key("sk-ssh-ed25519@openssh.com", 32);
        let strict = Restrictions {
            hardware_keys_only: true,
            verify_required: true,
            ..Restrictions::default()
        };
        let office = from(["10.0.0.0/8".to_owned(), "2001:db8::/32".to_owned()].into_iter());
        let text = key_file(
            &[
                (plain.clone(), office),
                (plain.clone(), Restrictions::default()),
                (plain, strict.clone()),
                (token, strict),
            ]
            .into(),
        );
        let heads: Vec<&str> = text.lines().filter_map(|line| line.split(" AAAA").next()).collect();
        assert_eq!(
            heads,
            [
                "ssh-ed25519",
                "from=\"10.0.0.0/8,2001:db8::/32\" ssh-ed25519",
                "verify-required sk-ssh-ed25519@openssh.com",
            ]
        );
        assert!(text.lines().all(|line| {
            SshPublicKey::parse(
                line.split_once("sk-")
                    .map_or(line, |_| line.trim_start_matches("verify-required ")),
            )
            .is_ok()
                || line.starts_with("from=")
        }));
    }

    #[test]
    fn a_line_holds_as_many_networks_as_the_bound_and_one_more_begins_another() {
        let lines = |count: usize| {
            let networks = from((0..count).map(|at| format!("10.0.{at}.0/24")));
            key_file(&[(key("ssh-ed25519", 32), networks)].into()).lines().count()
        };
        assert_eq!(lines(MOST_NETWORKS_PER_LINE), 1);
        assert_eq!(lines(MOST_NETWORKS_PER_LINE + 1), 2);
    }

    #[test]
    fn lines_stay_shorter_than_sshd_reads() {
        let many = from((0..=255).map(|at| format!("2001:db8:1111:2222:3333:4444:5555:{at:04x}")));
        let text = key_file(&[(key("ssh-ed25519", 32), many)].into());
        assert_eq!(text.lines().count(), 3);
        assert!(text.lines().all(|line| line.len() < 8_000));
    }

    #[test]
    fn the_drop_in_is_about_our_accounts_only() {
        let ana = Login::parse("ana").unwrap();
        let text = drop_in([&ana].into_iter());
        assert!(lets_use_password(&text, &ana));
        assert!(!lets_use_password(&text, &Login::parse("an").unwrap()));
        expect![[r"
            # Written by Muster; changes made here are taken back.
            Match Group muster-accounts User ana
                PasswordAuthentication yes
                KbdInteractiveAuthentication yes
            Match Group muster-accounts
                AuthorizedKeysFile /etc/ssh/muster-keys/%u
                AuthorizedKeysCommand none
                PasswordAuthentication no
                KbdInteractiveAuthentication no
                HostbasedAuthentication no
            Match all
        "]]
        .assert_eq(&text);
    }
}
