//! Where sshd looks for the keys of somebody whom no `Match` names, as `sshd -T` prints it.

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
        let value = |keyword: &str| {
            let mut lines = said.lines().filter_map(|line| line.split_once(' '));
            lines.find(|(word, _)| *word == keyword).map(|(_, value)| value.trim())
        };
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

/// Says whether a text of sshd's configuration says different things of different people.
pub fn is_conditional(text: &[u8]) -> bool {
    String::from_utf8_lossy(text).lines().any(|line| {
        let word = line.trim_start().split([' ', '\t', '=']).next().unwrap_or_default();
        word.eq_ignore_ascii_case("match")
    })
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
        assert!(is_conditional(b"Port 22\n  mAtCh\tUser ann\n"));
        assert!(is_conditional(b"Match=all"));
        assert!(!is_conditional(b"#Match User ann\nMatchless yes\n"));
    }
}
