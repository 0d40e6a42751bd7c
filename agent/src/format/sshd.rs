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

/// Returns what `sshd -T` says to a keyword.
pub fn value<'a>(said: &'a str, keyword: &str) -> Option<&'a str> {
    let mut lines = said.lines().filter_map(|line| line.split_once(' '));
    lines.find(|(word, _)| *word == keyword).map(|(_, value)| value.trim())
}

/// Returns in words by what sshd lets in somebody whose password is locked, by what it says of that
/// login, beside the keys in `ours`. Without PAM it lets in nobody whose password is.
pub fn other_ways(said: &str, ours: &str) -> Vec<&'static str> {
    let is = |keyword: &str, expected: &str| value(said, keyword) == Some(expected);
    let names = |keyword: &str| value(said, keyword).is_some_and(|value| value != "none");
    if is("usepam", "no") {
        return Vec::new();
    }
    let takes_keys = !is("pubkeyauthentication", "no");
    let other_files = names("authorizedkeysfile") && !is("authorizedkeysfile", ours);
    let ways = [
        ("keys in other files than ours", takes_keys && other_files),
        ("keys that a program names", takes_keys && names("authorizedkeyscommand")),
        ("certificates of an authority", takes_keys && names("trustedusercakeys")),
        ("the word of another host", is("hostbasedauthentication", "yes")),
        ("tickets of Kerberos", is("gssapiauthentication", "yes")),
    ];
    ways.into_iter().filter(|(_, takes)| *takes).map(|(what, _)| what).collect()
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
    fn each_way_beside_our_keys_is_seen_in_what_sshd_says() {
        let well = "usepam yes\npubkeyauthentication yes\nhostbasedauthentication no\n\
            gssapiauthentication no\nauthorizedkeysfile /k/%u\nauthorizedkeyscommand none\n\
            trustedusercakeys none\n";
        let others = |said: &str| other_ways(said, "/k/%u");
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
            assert_eq!(others(&said.replace("usepam yes", "usepam no")), [""; 0]);
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
        assert!(is_conditional(b"Port 22\n  mAtCh\tUser ann\n"));
        assert!(is_conditional(b"Match=all"));
        assert!(!is_conditional(b"#Match User ann\nMatchless yes\n"));
    }
}
