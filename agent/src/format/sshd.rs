//! What sshd says of itself, as `sshd -T` prints it: where it looks for keys, and what else it takes.

pub mod blocks;

use std::collections::BTreeSet;

/// Where keys may be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyFiles {
    /// As in `AuthorizedKeysFile`, in order.
    pub patterns: Vec<String>,
    /// What else may let somebody in, or why that is not known.
    pub unknown: BTreeSet<String>,
}

impl Default for KeyFiles {
    /// What sshd does by itself (`sshd_config(5)`).
    fn default() -> Self {
        let patterns = [".ssh/authorized_keys", ".ssh/authorized_keys2"];
        Self { patterns: patterns.map(str::to_owned).to_vec(), unknown: BTreeSet::new() }
    }
}

impl KeyFiles {
    /// Nobody could say.
    pub fn unknown(why: &str) -> Self {
        let why = format!("sshd does not say where it looks: {why}");
        Self { patterns: Vec::new(), unknown: BTreeSet::from([why]) }
    }

    /// Reads what `sshd -T` prints: keywords in small letters, a value after each.
    pub fn parse(said: &str) -> Self {
        let value = |keyword: &str| value(said, keyword);
        let mut files = Self { patterns: Vec::new(), unknown: BTreeSet::new() };
        if value("pubkeyauthentication") == Some("no") {
            return files;
        }
        let named = value("authorizedkeysfile").unwrap_or_default().split_whitespace();
        files.patterns = named.filter(|name| *name != "none").map(str::to_owned).collect();
        for (keyword, what) in [
            ("authorizedkeyscommand", "a program of sshd's gives some"),
            ("authorizedprincipalscommand", "a program of sshd's names who may use a certificate"),
            ("trustedusercakeys", "all that an authority of sshd's certifies"),
        ] {
            if value(keyword).is_some_and(|value| value != "none") {
                files.unknown.insert(what.to_owned());
            }
        }
        files
    }

    /// Returns the path that a pattern means for somebody; nothing if it has what is not known.
    pub fn path(pattern: &str, login: &str, uid: u32, home: &str) -> Option<String> {
        let mut path = String::new();
        let mut rest = pattern.chars();
        while let Some(c) = rest.next() {
            match (c, c == '%') {
                (_, false) => path.push(c),
                (_, true) => match rest.next()? {
                    '%' => path.push('%'),
                    'h' => path.push_str(home),
                    'u' => path.push_str(login),
                    'U' => path.push_str(&uid.to_string()),
                    _ => return None,
                },
            }
        }
        let path = if path.starts_with('/') { path } else { format!("{home}/{path}") };
        let is_plain = path.starts_with('/') && path.split('/').all(|part| part != "..");
        is_plain.then_some(path)
    }
}

/// A way in beside our keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OtherWay {
    /// What sets it.
    pub keyword: &'static str,
    /// What lets somebody in by it.
    pub what: &'static str,
}

/// Returns what `sshd -T` says to a keyword.
pub fn value<'a>(said: &'a str, keyword: &str) -> Option<&'a str> {
    let mut lines = said.lines().filter_map(|line| line.split_once(' '));
    lines.find(|(word, _)| *word == keyword).map(|(_, value)| value.trim())
}

/// Returns by what sshd lets in somebody beside the keys in `ours`, by what it says of that login.
pub fn other_ways(said: &str, ours: &str) -> Vec<OtherWay> {
    let is = |keyword: &str, expected: &str| value(said, keyword) == Some(expected);
    let names = |keyword: &str| value(said, keyword).is_some_and(|value| value != "none");
    let takes_keys = !is("pubkeyauthentication", "no");
    let other_files = names("authorizedkeysfile") && !is("authorizedkeysfile", ours);
    let program = takes_keys && names("authorizedkeyscommand");
    let authority = takes_keys && names("trustedusercakeys");
    let ways = [
        ("AuthorizedKeysFile", "keys in other files than ours", takes_keys && other_files),
        ("AuthorizedKeysCommand", "keys that a program names", program),
        ("TrustedUserCAKeys", "certificates of an authority", authority),
        (
            "HostbasedAuthentication",
            "the word of another host",
            is("hostbasedauthentication", "yes"),
        ),
        ("GSSAPIAuthentication", "tickets of Kerberos", is("gssapiauthentication", "yes")),
    ];
    let taken = ways.into_iter().filter(|(.., takes)| *takes);
    taken.map(|(keyword, what, _)| OtherWay { keyword, what }).collect()
}

/// Returns the same of somebody whose password is locked: without PAM sshd lets in nobody whose is,
/// and with it another source than shadow may know a password.
pub fn ways_of_locked(said: &str, ours: &str) -> Vec<OtherWay> {
    if value(said, "usepam") == Some("no") {
        return Vec::new();
    }
    let takes = |keyword: &str| value(said, keyword) == Some("yes");
    let passwords = takes("passwordauthentication") || takes("kbdinteractiveauthentication");
    let what = "passwords that PAM checks";
    let by_password = OtherWay { keyword: "PasswordAuthentication", what };
    let mut ways = other_ways(said, ours);
    ways.extend(passwords.then_some(by_password));
    ways
}

/// A file of sshd's configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Text {
    /// What is in it.
    Read(Vec<u8>),
    /// It is not read here, for this reason, though sshd may read it.
    Unread(&'static str),
}

impl Text {
    /// Returns what there is to see of it.
    pub fn seen(&self) -> &[u8] {
        match self {
            Self::Read(text) => text,
            Self::Unread(why) => why.as_bytes(),
        }
    }

    /// Says whether it may say different things of different people.
    pub fn is_conditional(&self) -> bool {
        match self {
            Self::Read(text) => {
                let text = String::from_utf8_lossy(text);
                text.lines().any(|line| keyword(line).0.eq_ignore_ascii_case("match"))
            }
            Self::Unread(_) => true,
        }
    }
}

/// Splits a line after its keyword, which may be quoted.
fn keyword(line: &str) -> (&str, &str) {
    let line = line.trim_start();
    let line = line.strip_prefix('"').unwrap_or(line);
    let is_after = |c: char| c.is_ascii_whitespace() || matches!(c, '=' | '"');
    line.split_at(line.find(is_after).unwrap_or(line.len()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_sshd_prints_is_where_it_looks() {
        let files = KeyFiles::parse(
            "port 22\npubkeyauthentication yes\nauthorizedkeyscommand none\n\
             trustedusercakeys /etc/ca\nauthorizedkeysfile .ssh/authorized_keys /etc/keys/%u\n",
        );
        assert_eq!(files.patterns, [".ssh/authorized_keys", "/etc/keys/%u"]);
        assert_eq!(files.unknown.len(), 1);
        let none = KeyFiles::parse("pubkeyauthentication no\nauthorizedkeysfile .ssh/x\n");
        assert_eq!(none.patterns, [""; 0]);
    }

    #[test]
    fn each_way_beside_our_keys_is_seen_in_what_sshd_says() {
        let well = "usepam yes\npubkeyauthentication yes\nhostbasedauthentication no\n\
            gssapiauthentication no\nauthorizedkeysfile /k/%u\nauthorizedkeyscommand none\n\
            trustedusercakeys none\n";
        let others = |said: &str| -> Vec<&str> {
            other_ways(said, "/k/%u").into_iter().map(|way| way.what).collect()
        };
        let of_locked = |said: &str| ways_of_locked(said, "/k/%u").len();
        assert_eq!(others(well), [""; 0]);
        let all = [
            ("authorizedkeysfile /k/%u", "keys in other files than ours"),
            ("authorizedkeyscommand none", "keys that a program names"),
            ("trustedusercakeys none", "certificates of an authority"),
            ("hostbasedauthentication no", "the word of another host"),
            ("gssapiauthentication no", "tickets of Kerberos"),
        ];
        for (number, (line, told)) in all.into_iter().enumerate() {
            let (keyword, _) = line.split_once(' ').unwrap();
            let other = if number < 3 { "/other" } else { "yes" };
            let said = well.replace(line, &format!("{keyword} {other}"));
            assert_eq!(others(&said), [told]);
            let way = other_ways(&said, "/k/%u").remove(0);
            assert_eq!(way.keyword.to_ascii_lowercase(), keyword);
            let without_pam = said.replace("usepam yes", "usepam no");
            assert_eq!(others(&without_pam), [told]);
            assert_eq!((of_locked(&said), of_locked(&without_pam)), (1, 0));
            for keyword in ["passwordauthentication", "kbdinteractiveauthentication"] {
                let asked = format!("{said}{keyword} yes\n");
                assert_eq!((others(&asked).len(), of_locked(&asked)), (1, 2), "{keyword}");
            }
            let no_keys = said.replace("pubkeyauthentication yes", "pubkeyauthentication no");
            assert_eq!(others(&no_keys).is_empty(), number < 3, "{told}");
        }
        assert_eq!(others("authorizedkeysfile none\n"), [""; 0]);
        assert_eq!(others("authorizedkeysfile /k/%u .ssh/authorized_keys\n"), [all[0].1]);
    }

    #[test]
    fn patterns_mean_paths_and_none_outside_what_they_say() {
        let path = |pattern| KeyFiles::path(pattern, "ann", 1_001, "/home/ann");
        assert_eq!(path(".ssh/keys").as_deref(), Some("/home/ann/.ssh/keys"));
        assert_eq!(path("%h/k").as_deref(), Some("/home/ann/k"));
        assert_eq!(path("/etc/%u-%U%%").as_deref(), Some("/etc/ann-1001%"));
        for unknown in ["%k", "a%", "/etc/../root/%u"] {
            assert_eq!(path(unknown), None, "{unknown}");
        }
        assert_eq!(KeyFiles::path("a", "ann", 1, "relative"), None);
    }

    #[test]
    fn conditions_are_seen_however_they_are_written() {
        let is_conditional = |text: &[u8]| Text::Read(text.to_vec()).is_conditional();
        assert!(is_conditional(b"Port 22\n  mAtCh\tUser ann\n"));
        assert!(is_conditional(b"Match=all"));
        assert!(is_conditional(b"\"Match\" User ann"));
        assert!(!is_conditional(b"#Match User ann\nMatchless yes\n"));
        assert!(Text::Unread("a symbolic link").is_conditional());
    }
}
