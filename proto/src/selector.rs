//! Label selectors in Kubernetes syntax, and the labels that a host judges them by.
//! `all` is spelt out, and an empty selector is refused rather than guessed at.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
};

/// The key of the fact that every host with a name has, which is what `/etc/hostname` says.
pub const HOSTNAME: &str = "muster/hostname";

/// The value of a label: nothing in it is of a selector's grammar.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct LabelValue(String);

/// A host's labels, from its own files and facts.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Labels(BTreeMap<String, String>);

/// Which hosts are meant.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Selector {
    /// Every host.
    All,
    /// Hosts that meet every one of these; never empty.
    Each(Vec<Requirement>),
}

/// One condition on one label.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Requirement {
    key: String,
    test: Test,
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Test {
    Exists,
    Missing,
    In(BTreeSet<String>),
    NotIn(BTreeSet<String>),
}

/// Why a text is not a selector or a label.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadSelector {
    /// Nothing was written.
    #[error("an empty selector matches no host; write `all` for every host")]
    Empty,
    /// A requirement is not of the grammar.
    #[error(
        "`{0}` is not a requirement; write `key=value`, `key!=value`, `key in (a,b)`, \
         `key notin (a,b)`, `key` or `!key`"
    )]
    Requirement(String),
    /// A key or value has a character that labels cannot have.
    #[error(
        "`{0}` is not a label key or value: 1 to 63 letters, digits, `.`, `_`, `-` and, in keys, \
         `/`, beginning and ending with a letter or digit"
    )]
    Label(String),
}

fn label(text: &str, is_key: bool) -> Result<String, BadSelector> {
    let edge = |b: Option<u8>| b.is_some_and(|b| b.is_ascii_alphanumeric());
    let inner = |b: u8| b.is_ascii_alphanumeric() || b"._-".contains(&b) || (is_key && b == b'/');
    let fits = text.len() <= 63
        && edge(text.bytes().next())
        && edge(text.bytes().last())
        && text.bytes().all(inner);
    if fits {
        Ok(text.to_owned())
    } else {
        Err(BadSelector::Label(text.escape_debug().take(80).collect()))
    }
}

impl LabelValue {
    /// Reads a value.
    pub fn parse(text: &str) -> Result<Self, BadSelector> {
        label(text, false).map(Self)
    }

    /// Returns the text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for LabelValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Labels {
    /// Adds a label; a key that is there already is replaced.
    pub fn insert(&mut self, key: &str, value: &str) -> Result<(), BadSelector> {
        self.0.insert(label(key, true)?, label(value, false)?);
        Ok(())
    }

    /// Returns the fact of what the host is called.
    pub fn hostname(&self) -> Option<LabelValue> {
        self.0.get(HOSTNAME).cloned().map(LabelValue)
    }

    /// Returns the labels in the order of their keys.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(key, value)| (key.as_str(), value.as_str()))
    }
}

impl Selector {
    /// Reads a selector such as `env=prod,tier in (db,cache),!edge`.
    pub fn parse(text: &str) -> Result<Self, BadSelector> {
        if text.trim().is_empty() {
            return Err(BadSelector::Empty);
        }
        if text.trim() == "all" {
            return Ok(Self::All);
        }
        let mut requirements: Vec<Requirement> =
            split_outside_parentheses(text).map(Requirement::parse).collect::<Result<_, _>>()?;
        requirements.sort();
        requirements.dedup();
        Ok(Self::Each(requirements))
    }

    /// Returns the one for hosts that are called so. A value holds no grammar, so it is one
    /// requirement whatever a host calls itself.
    pub fn called(hostname: &LabelValue) -> Self {
        let test = Test::In(BTreeSet::from([hostname.0.clone()]));
        Self::Each(vec![Requirement { key: HOSTNAME.to_owned(), test }])
    }

    /// Says whether a host with these labels is meant.
    pub fn matches(&self, labels: &Labels) -> bool {
        match self {
            Self::All => true,
            Self::Each(requirements) => requirements.iter().all(|r| r.matches(labels)),
        }
    }
}

fn split_outside_parentheses(text: &str) -> impl Iterator<Item = &str> {
    let mut depth = 0_u32;
    text.split(move |c| {
        match c {
            '(' => depth += 1,
            ')' => depth = depth.saturating_sub(1),
            _ => {}
        }
        c == ',' && depth == 0
    })
}

impl Requirement {
    fn parse(text: &str) -> Result<Self, BadSelector> {
        let text = text.trim();
        let bad = || BadSelector::Requirement(text.escape_debug().take(80).collect());
        let one = |value: &str| label(value.trim(), false).map(|value| BTreeSet::from([value]));
        let (key, test) = if let Some(key) = text.strip_prefix('!') {
            (key, Test::Missing)
        } else if let Some((key, value)) = text.split_once("!=") {
            (key, Test::NotIn(one(value)?))
        } else if let Some((key, value)) = text.split_once("==").or_else(|| text.split_once('=')) {
            (key, Test::In(one(value)?))
        } else if let Some((head, values)) = text.split_once('(') {
            let values = values.trim_end().strip_suffix(')').ok_or_else(bad)?;
            let values: BTreeSet<String> =
                values.split(',').map(|v| label(v.trim(), false)).collect::<Result<_, _>>()?;
            match head.trim_end().rsplit_once(char::is_whitespace).ok_or_else(bad)? {
                (key, "in") => (key, Test::In(values)),
                (key, "notin") => (key, Test::NotIn(values)),
                _ => return Err(bad()),
            }
        } else if text.contains(char::is_whitespace) || text.is_empty() {
            return Err(bad());
        } else {
            (text, Test::Exists)
        };
        Ok(Self { key: label(key.trim(), true)?, test })
    }

    fn matches(&self, labels: &Labels) -> bool {
        let found = labels.0.get(&self.key);
        match &self.test {
            Test::Exists => found.is_some(),
            Test::Missing => found.is_none(),
            Test::In(values) => found.is_some_and(|value| values.contains(value)),
            Test::NotIn(values) => found.is_none_or(|value| !values.contains(value)),
        }
    }
}

impl fmt::Display for Selector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::All => f.write_str("all"),
            Self::Each(requirements) => {
                let parts: Vec<String> = requirements.iter().map(ToString::to_string).collect();
                f.write_str(&parts.join(","))
            }
        }
    }
}

impl fmt::Display for Requirement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let list = |set: &BTreeSet<String>| set.iter().cloned().collect::<Vec<_>>().join(",");
        let key = &self.key;
        match &self.test {
            Test::Exists => write!(f, "{key}"),
            Test::Missing => write!(f, "!{key}"),
            Test::In(set) if set.len() == 1 => write!(f, "{key}={}", list(set)),
            Test::NotIn(set) if set.len() == 1 => write!(f, "{key}!={}", list(set)),
            Test::In(set) => write!(f, "{key} in ({})", list(set)),
            Test::NotIn(set) => write!(f, "{key} notin ({})", list(set)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn labels(pairs: &[(&str, &str)]) -> Labels {
        let mut labels = Labels::default();
        for (key, value) in pairs {
            labels.insert(key, value).unwrap();
        }
        labels
    }

    #[test]
    fn selectors_match_as_in_kubernetes() {
        let db = labels(&[("env", "prod"), ("tier", "db"), ("muster/os", "debian")]);
        for (text, matches) in [
            ("all", true),
            ("env=prod", true),
            ("env==prod", true),
            ("env=dev", false),
            ("env!=dev", true),
            ("zone!=a", true),
            ("env=prod,tier in (db,cache)", true),
            ("tier notin (db, cache)", false),
            ("zone notin (a)", true),
            ("!edge", true),
            ("!env", false),
            ("tier", true),
            ("muster/os=debian", true),
            ("env = prod , !edge", true),
        ] {
            let selector = Selector::parse(text).unwrap();
            assert_eq!(selector.matches(&db), matches, "{text}");
            assert_eq!(Selector::parse(&selector.to_string()), Ok(selector), "{text}");
        }
    }

    #[test]
    fn a_hosts_name_is_one_requirement_or_no_value() {
        for good in ["db1", "all", "DB-1.example", &"x".repeat(63)] {
            let value = LabelValue::parse(good).unwrap();
            let selector = Selector::called(&value);
            assert_eq!(Selector::parse(&format!("{HOSTNAME}={good}")), Ok(selector.clone()));
            let named = labels(&[(HOSTNAME, good), ("tier", "db")]);
            assert_eq!(named.hostname(), Some(value));
            assert!(selector.matches(&named), "{good}");
            assert!(!selector.matches(&labels(&[(HOSTNAME, "web1")])), "{good}");
        }
        assert_eq!(labels(&[("tier", "db")]).hostname(), None);
        for bad in ["", "db1,tier=db", "=db1", "db1 ", "db1)", "!db1", ".db1", &"x".repeat(64)] {
            assert!(LabelValue::parse(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn what_is_not_a_selector_is_refused() {
        for bad in [
            "",
            "  ",
            ",",
            "env=",
            "=prod",
            "env=prod,",
            "a b",
            "tier in db",
            "tier in (db",
            "tier in ()",
            "env=pr od",
            "env=a=b",
            "!",
            "env=prod;x",
            "env=*",
            "tier of (a)",
            "env=\nprod\n,x=\u{202e}",
        ] {
            assert!(Selector::parse(bad).is_err(), "{bad:?}");
        }
    }
}
