//! What sshd reads: one key file per account outside the homes, and one drop-in that makes these
//! files the only ones for accounts of Muster's. Accounts that are not Muster's are not touched.

use std::{collections::BTreeSet, fmt::Write};

use base64ct::{Base64, Encoding};
use muster_proto::{
    key::KeyHome,
    name::Login,
    statement::{Restrictions, SourceNetwork, UserKey},
    time::Timestamp,
};

/// The directory of the key files.
pub const KEYS_DIRECTORY: &str = "/etc/ssh/muster-keys";
/// The directory of the drop-in.
pub const DROP_IN_DIRECTORY: &str = "/etc/ssh/sshd_config.d";
/// The drop-in; for each keyword the first value counts, so it sorts first.
pub const DROP_IN: &str = "00-muster.conf";
/// The directory of root's own keys.
pub const ROOT_KEYS_DIRECTORY: &str = "/root/.ssh";
/// The files of keys in it.
pub const ROOT_KEYS: &[&str] = &["authorized_keys", "authorized_keys2"];
/// The Unix group of all accounts of Muster's.
pub const MARKER: &str = "muster-accounts";

/// sshd reads lines of 8 KiB; longer lists of networks become several lines.
const MOST_NETWORKS_PER_LINE: usize = 100;

/// Returns the text of a key file. For a key with several restriction sets the laxest line comes
/// first: the first line that fits counts. With `ends`, sshd itself takes none of them from then on.
pub fn key_file(keys: &BTreeSet<(UserKey, Restrictions)>, ends: Option<Timestamp>) -> String {
    let mut text = String::new();
    for (key, restrictions) in keys {
        push_key(&mut text, key, restrictions, ends);
    }
    text
}

fn push_key(
    text: &mut String,
    key: &UserKey,
    restrictions: &Restrictions,
    ends: Option<Timestamp>,
) {
    let kind = key.key.key_type().as_str();
    let hardware = key.key.home() == KeyHome::Hardware;
    if restrictions.hardware_keys_only && !hardware {
        return;
    }
    let encoded = Base64::encode_string(key.key.blob());
    let Some(from) = both(&restrictions.from, &key.options.from) else { return };
    let from: Vec<&str> = from.iter().map(|network| network.as_str()).collect();
    let parts = from.chunks(MOST_NETWORKS_PER_LINE);
    // Without restrictions on networks there is one line, with none.
    let anywhere = from.is_empty().then_some([].as_slice());
    for networks in parts.chain(anywhere) {
        let mut options: Vec<String> = Vec::new();
        if key.options.restrict {
            options.push("restrict".to_owned());
        }
        if let Some(command) = &key.options.command {
            options.push(format!("command=\"{command}\""));
        }
        if let Some(ends) = ends {
            options.push(expiry(ends));
        }
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

/// Returns the networks that both lists let in, where an empty one lets in all; nothing if both
/// together let in nobody.
fn both<'a>(
    ours: &'a BTreeSet<SourceNetwork>,
    theirs: &'a BTreeSet<SourceNetwork>,
) -> Option<BTreeSet<&'a SourceNetwork>> {
    if ours.is_empty() || theirs.is_empty() {
        return Some(ours.iter().chain(theirs).collect());
    }
    let shared = ours.iter().flat_map(|one| theirs.iter().filter_map(|other| one.shared(other)));
    Some(shared.collect::<BTreeSet<_>>()).filter(|shared| !shared.is_empty())
}

/// sshd takes a key with `expiry-time` up to and including that second; in UTC since OpenSSH 9.1.
fn expiry(ends: Timestamp) -> String {
    let last = Timestamp(ends.0.saturating_sub(1)).to_string();
    let digits: String = last.chars().filter(char::is_ascii_digit).collect();
    format!("{EXPIRY}{digits}Z\"")
}

const EXPIRY: &str = "expiry-time=\"";

/// Says whether the sshd that says this of its version takes times in UTC: OpenSSH from 9.1 on. One
/// that says nothing of it is taken for one that does not.
pub fn knows_utc(version: &str) -> bool {
    let Some((_, rest)) = version.split_once("OpenSSH_") else { return false };
    let (major, rest) = rest.split_once('.').unwrap_or((rest, ""));
    let minor: String = rest.chars().take_while(char::is_ascii_digit).collect();
    match (major.parse::<u32>(), minor.parse::<u32>()) {
        (Ok(major), Ok(minor)) => (major, minor) >= (9, 1),
        _ => false,
    }
}

/// Returns a line without the time at which it expires: what two lines have in common that let in
/// the same key in the same way.
fn timeless(line: &[u8]) -> Vec<u8> {
    let text = String::from_utf8_lossy(line);
    let Some((before, rest)) = text.split_once(EXPIRY) else { return line.to_vec() };
    let after = rest.split_once('"').map_or("", |(_, after)| after);
    let before = before.strip_suffix(',').unwrap_or(before);
    let after = if before.is_empty() { after.trim_start_matches([',', ' ']) } else { after };
    format!("{before}{after}").into_bytes()
}

/// Returns the lines of `wanted` that `present` holds already, or nothing if there are none.
pub fn common_keys(present: &[u8], wanted: &str) -> Option<String> {
    let present: BTreeSet<Vec<u8>> = present.split(|byte| *byte == b'\n').map(timeless).collect();
    let mut text = String::new();
    for line in wanted.lines().filter(|line| present.contains(&timeless(line.as_bytes()))) {
        text.push_str(line);
        text.push('\n');
    }
    (!text.is_empty()).then_some(text)
}

/// Says whether a key that `present` lets in is missing from `wanted`.
pub fn loses_a_key(present: &[u8], wanted: &str) -> bool {
    if present == wanted.as_bytes() {
        return false;
    }
    let wanted: BTreeSet<Vec<u8>> = wanted.lines().map(|line| timeless(line.as_bytes())).collect();
    let mut present = present.split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
    present.any(|line| !wanted.contains(&timeless(line)))
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
         AuthorizedKeysCommand none\n    TrustedUserCAKeys none\n    \
         PasswordAuthentication no\n    \
         KbdInteractiveAuthentication no\n    HostbasedAuthentication no\n    \
         GSSAPIAuthentication no\nMatch all\n"
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
    use muster_proto::{key::SshPublicKey, name::Line, options::KeyOptions};

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
        let comment = Line::parse("ana@laptop").unwrap();
        UserKey { key, comment, options: KeyOptions::default() }
    }

    fn with_options(options: &str) -> UserKey {
        let (options, _) = KeyOptions::split(&format!("{options} ssh-ed25519 AAAA")).unwrap();
        UserKey { options, ..key("ssh-ed25519", 32) }
    }

    fn heads(text: &str) -> Vec<&str> {
        text.lines().filter_map(|line| line.split("ssh-ed25519 AAAA").next()).collect()
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
            None,
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
            key_file(&[(key("ssh-ed25519", 32), networks)].into(), None).lines().count()
        };
        assert_eq!(lines(MOST_NETWORKS_PER_LINE), 1);
        assert_eq!(lines(MOST_NETWORKS_PER_LINE + 1), 2);
    }

    #[test]
    fn a_key_is_bound_to_its_command_its_networks_and_its_end() {
        let ends = Some(Timestamp(1_795_305_909));
        let bound =
            with_options("command=\"/usr/bin/rsync --server .\",restrict,from=\"10.1.0.0/16\"");
        let office = from(["10.0.0.0/8".to_owned()].into_iter());
        let text = key_file(&[(bound.clone(), office)].into(), ends);
        let options = "restrict,command=\"/usr/bin/rsync --server .\",\
                       expiry-time=\"20261122000508Z\",from=\"10.1.0.0/16\" ";
        assert_eq!(heads(&text), [options]);
        // Networks that have nothing in common let nobody in.
        let elsewhere = from(["192.0.2.0/24".to_owned(), "::/0".to_owned()].into_iter());
        assert_eq!(key_file(&[(bound, elsewhere)].into(), ends), "");
    }

    #[test]
    fn a_key_that_only_lasts_longer_is_not_lost() {
        for options in ["restrict", "from=\"::1\"", "command=\"/bin/a\""] {
            let keys = [(with_options(options), Restrictions::default())].into();
            let at = |seconds| key_file(&keys, Some(Timestamp(seconds)));
            for (present, wanted) in [
                (at(1_000), at(2_000)),
                (at(1_000), key_file(&keys, None)),
                (key_file(&keys, None), at(1_000)),
            ] {
                assert_ne!(present, wanted);
                assert!(!loses_a_key(present.as_bytes(), &wanted), "{present}{wanted}");
                assert_eq!(common_keys(present.as_bytes(), &wanted), Some(wanted.clone()));
            }
            let free = [(key("ssh-ed25519", 32), Restrictions::default())].into();
            let (bound, free) = (at(1_000), key_file(&free, Some(Timestamp(1_000))));
            assert!(loses_a_key(free.as_bytes(), &bound), "{free}{bound}");
            assert_eq!(common_keys(free.as_bytes(), &bound), None);
        }
    }

    #[test]
    fn times_in_utc_are_for_those_who_read_them() {
        for (version, knows) in [
            ("OpenSSH_9.2p1 Debian-2+deb12u7, OpenSSL 3.0.17 1 Jul 2025", true),
            ("OpenSSH_10.0p2 Debian-7, OpenSSL 3.5.1", true),
            ("OpenSSH_9.1p1", true),
            ("OpenSSH_9.0p1", false),
            ("unknown option -- V\nOpenSSH_8.9p1 Ubuntu-3, OpenSSL 3.0.2\nusage: sshd", false),
            ("Dropbear v2022.83", false),
            ("", false),
        ] {
            assert_eq!(knows_utc(version), knows, "{version}");
        }
    }

    #[test]
    fn lines_stay_shorter_than_sshd_reads() {
        let many = from((0..=255).map(|at| format!("2001:db8:1111:2222:3333:4444:5555:{at:04x}")));
        let text = key_file(&[(key("ssh-ed25519", 32), many)].into(), None);
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
                TrustedUserCAKeys none
                PasswordAuthentication no
                KbdInteractiveAuthentication no
                HostbasedAuthentication no
                GSSAPIAuthentication no
            Match all
        "]]
        .assert_eq(&text);
    }
}
