//! The `Match` blocks of sshd's configuration, as far as they tell one account from another: by its
//! login and by its Unix groups (`sshd_config(5)`). Two accounts to which the same blocks apply are
//! the same to sshd, wherever the blocks stand and whatever they say, so neither is read here.
//! Where something is not understood that is said, so that whoever asks asks about each account.

use super::Text;
use crate::format::wildcard::{Dialect, fits};

/// More blocks than anybody writes by hand.
const MOST_BLOCKS: usize = 256;
/// sshd takes no longer pattern (`match_pattern_list` in OpenSSH).
const MOST_BYTES: usize = 1_000;
/// What a block may ask of a connection, each with what is wanted.
const SAME_FOR_ALL: &[&str] =
    &["address", "host", "localaddress", "localport", "rdomain", "version"];

/// All blocks that tell accounts apart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Blocks {
    /// These, and no other.
    Known(Vec<Block>),
    /// There may be others, or they may say something else than they seem to.
    Unclear,
}

/// Whom a block is for, each time as a list of patterns; whatever else it asks is the same for every
/// account.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Block {
    logins: Vec<String>,
    unix_groups: Vec<String>,
}

impl Blocks {
    /// Reads the blocks of all files of the configuration. A file that is included from where none is
    /// read is not understood.
    pub fn parse(texts: &[Text], directory: &str) -> Self {
        let mut blocks = Vec::new();
        for text in texts {
            let Text::Read(text) = text else { return Self::Unclear };
            for line in String::from_utf8_lossy(text).lines() {
                let Some(block) = Block::of_line(line, directory) else { return Self::Unclear };
                if block == Block::default() || blocks.contains(&block) {
                    continue;
                }
                if blocks.len() == MOST_BLOCKS {
                    return Self::Unclear;
                }
                blocks.push(block);
            }
        }
        Self::Known(blocks)
    }

    /// Says whether it takes an account's Unix groups to say which of them apply.
    pub fn name_unix_groups(&self) -> bool {
        match self {
            Self::Known(blocks) => blocks.iter().any(|block| !block.unix_groups.is_empty()),
            Self::Unclear => false,
        }
    }
}

impl Block {
    /// Says whether it is for somebody with this login who is in these Unix groups.
    pub fn applies(&self, login: &str, unix_groups: &[&str]) -> bool {
        self.logins.iter().all(|list| takes_one(list, &[login]))
            && self.unix_groups.iter().all(|list| takes_one(list, unix_groups))
    }

    /// Reads a line: what is no `Match` is for everybody. Nothing if it is not understood.
    fn of_line(line: &str, directory: &str) -> Option<Self> {
        let (keyword, rest) = super::keyword(line);
        if keyword.eq_ignore_ascii_case("match") {
            return Self::parse(&words(rest)?);
        }
        let within = |path: &&str| {
            let (place, _) = path.rsplit_once('/').unwrap_or_default();
            place == directory || Some(place) == directory.strip_prefix("/etc/ssh/")
        };
        if keyword.eq_ignore_ascii_case("include") && !words(rest)?.iter().all(within) {
            return None;
        }
        Some(Self::default())
    }

    fn parse(words: &[&str]) -> Option<Self> {
        let mut block = Self::default();
        let mut words = words.iter();
        while let Some(criterion) = words.next() {
            let is = |name: &&str| criterion.eq_ignore_ascii_case(name);
            if SAME_FOR_ALL.iter().any(is) {
                words.next()?;
            } else if is(&"user") {
                block.logins.push(list(words.next()?)?);
            } else if is(&"group") {
                block.unix_groups.push(list(words.next()?)?);
            // Whoever has an account is no invalid user.
            } else if !is(&"all") && !is(&"invalid-user") {
                return None;
            }
        }
        Some(block)
    }
}

fn list(text: &str) -> Option<String> {
    text.split(',').all(|pattern| pattern.len() <= MOST_BYTES).then(|| text.to_owned())
}

/// Says whether one of the patterns of a list fits one of the names, and none that is negated does.
fn takes_one(list: &str, names: &[&str]) -> bool {
    let mut takes = false;
    for pattern in list.split(',') {
        let (is_negated, pattern) = match pattern.strip_prefix('!') {
            Some(pattern) => (true, pattern),
            None => (false, pattern),
        };
        if names.iter().any(|name| fits(Dialect::Sshd, pattern.as_bytes(), name.as_bytes())) {
            if is_negated {
                return false;
            }
            takes = true;
        }
    }
    takes
}

/// Returns the words after a keyword, up to a comment; nothing if some are quoted in a way that not
/// every sshd reads alike.
fn words(text: &str) -> Option<Vec<&str>> {
    let is_between = |c: char| c.is_ascii_whitespace() || c == '=';
    let mut words = Vec::new();
    let mut rest = text.trim_start_matches(is_between);
    while !rest.is_empty() && !rest.starts_with('#') {
        let (word, after) = match rest.strip_prefix('"') {
            Some(quoted) => quoted.split_once('"')?,
            None => rest.split_at(rest.find(is_between).unwrap_or(rest.len())),
        };
        let ends = after.is_empty() || after.starts_with(is_between);
        if word.is_empty() || word.contains(['"', '\'', '\\']) || !ends {
            return None;
        }
        words.push(word);
        rest = after.trim_start_matches(is_between);
    }
    Some(words)
}

#[cfg(test)]
mod tests;
