//! Account files as text: line-preserving tables of colon-separated fields, pure and lossless.
//! A table is parsed only to find lines. Every line that an edit does not name stays byte for byte
//! where it is: comments, malformed and NIS lines, duplicates, other people's accounts.
//! What an edit means for an account is `plan`'s business, when it is written is `host`'s.

pub mod group;
pub mod pam;
pub mod passwd;
pub mod pwquality;
pub mod shadow;
pub mod ssh;
pub mod subid;
pub mod sudoers;

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    ops::Range,
};

/// The size from which an account file is absurd.
const MOST_BYTES: usize = 64 << 20;

/// One of passwd, shadow, group and gshadow.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Table {
    text: Vec<u8>,
    lines: Vec<Line>,
    /// Numbers of the lines that are entries, by name and then by place.
    by_name: Vec<usize>,
}

#[derive(Clone, PartialEq, Eq)]
struct Line {
    whole: Range<usize>,
    /// How long the name at its start is; 0 where the line is no entry.
    name: usize,
}

/// One line of a table that has a name and at least one further field.
#[derive(Clone, Copy)]
pub struct Entry<'a>(&'a [u8]);

/// One change of one line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Edit {
    /// A new line, before the first NIS line.
    Add {
        /// Its first field.
        name: String,
        /// All of it, without the newline.
        line: String,
    },
    /// A new value for one field of a line that is there.
    Set {
        /// Whose line.
        name: String,
        /// Which field, from 0.
        field: usize,
        /// To what.
        value: Value,
    },
    /// A line goes, if it is as it was seen.
    Remove {
        /// Whose line.
        name: String,
        /// All of it, without the newline.
        line: Vec<u8>,
    },
    /// Another line in the place of one that is there.
    Replace {
        /// Whose line.
        name: String,
        /// All of it, without the newline.
        line: OldLine,
    },
    /// Other members, in the fourth field of group and gshadow.
    Members {
        /// Of which Unix group.
        name: String,
        /// Who comes in.
        add: BTreeSet<String>,
        /// Who goes, from every line with this name.
        remove: BTreeSet<String>,
    },
}

/// A line as it was found once. It may hold a hash, which is never shown.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct OldLine(String);

/// What a field becomes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Value {
    /// This text.
    Text(String),
    /// What it is now, with `!` before it unless there is one.
    Locked,
    /// What it is now without leading `!`, or `*` where nothing else is left.
    Unlocked,
}

/// Why a text is not a table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadTable {
    /// Programs disagree about what comes after a NUL.
    #[error("it has a NUL byte")]
    Nul,
    /// No account file is this large.
    #[error("it is larger than 64 MiB")]
    Large,
}

/// Why an edit does not fit the table: somebody else has changed it since the plan was made.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Misfit {
    /// A line to be added is there.
    #[error("`{0}` is there already")]
    Present(String),
    /// A line to be changed is not there.
    #[error("`{0}` is no longer there")]
    Absent(String),
}

impl Table {
    /// Finds the lines of a text.
    pub fn parse(text: Vec<u8>) -> Result<Self, BadTable> {
        if text.len() > MOST_BYTES {
            return Err(BadTable::Large);
        }
        if text.contains(&0) {
            return Err(BadTable::Nul);
        }
        let mut lines = Vec::new();
        let mut start = 0;
        for line in text.split_inclusive(|byte| *byte == b'\n') {
            let end = start + line.len();
            let whole = start..end - usize::from(line.ends_with(b"\n"));
            lines.push(Line { whole, name: name_length(line) });
            start = end;
        }
        let mut table = Self { text, lines, by_name: Vec::new() };
        let entries = table.lines.iter().enumerate().filter(|(_, line)| line.name > 0);
        let mut by_name: Vec<usize> = entries.map(|(at, _)| at).collect();
        by_name.sort_by(|a, b| (table.name(*a), a).cmp(&(table.name(*b), b)));
        table.by_name = by_name;
        Ok(table)
    }

    /// Returns the text, as it was read.
    pub fn text(&self) -> &[u8] {
        &self.text
    }

    /// Returns the first entry of this name, the one that the C library finds.
    pub fn get(&self, name: &str) -> Option<Entry<'_>> {
        self.first(name).and_then(|at| self.entry(at))
    }

    /// Returns every entry of this name: the C library adds the members of all of them up.
    pub fn all(&self, name: &str) -> impl Iterator<Item = Entry<'_>> {
        self.places(name).iter().filter_map(|at| self.entry(*at))
    }

    /// Returns all entries in the order of the file.
    pub fn entries(&self) -> impl Iterator<Item = Entry<'_>> {
        (0..self.lines.len()).filter_map(|at| self.entry(at))
    }

    /// Returns the text with the edits made.
    pub fn splice(&self, edits: &[Edit]) -> Result<Vec<u8>, Misfit> {
        let mut changed: BTreeMap<usize, Vec<u8>> = BTreeMap::new();
        let mut removed: BTreeSet<usize> = BTreeSet::new();
        let mut added: Vec<&str> = Vec::new();
        let mut added_names: BTreeSet<&str> = BTreeSet::new();
        for edit in edits {
            match edit {
                Edit::Add { name, line } => {
                    if !self.places(name).is_empty() || !added_names.insert(name) {
                        return Err(Misfit::Present(name.clone()));
                    }
                    added.push(line);
                }
                Edit::Set { name, field, value } => {
                    let at = self.needed(name)?;
                    let line = self.current(&changed, at);
                    changed.insert(at, set_field(line, *field, value));
                }
                Edit::Remove { name, line } => {
                    let mut places = self.places(name).iter();
                    let place = places.find(|at| self.line(**at) == line && !removed.contains(at));
                    removed.insert(*place.ok_or_else(|| Misfit::Absent(name.clone()))?);
                }
                Edit::Replace { name, line } => {
                    let at = self.needed(name)?;
                    changed.insert(at, line.0.clone().into_bytes());
                }
                Edit::Members { name, add, remove } => {
                    let first = self.needed(name)?;
                    for at in self.places(name) {
                        let entering = if *at == first { Some(add) } else { None };
                        let line = self.current(&changed, *at);
                        changed.insert(*at, group::edit_members(line, entering, remove));
                    }
                }
            }
        }
        Ok(self.render(&changed, &removed, &added))
    }

    fn render(
        &self,
        changed: &BTreeMap<usize, Vec<u8>>,
        removed: &BTreeSet<usize>,
        added: &[&str],
    ) -> Vec<u8> {
        if changed.is_empty() && removed.is_empty() && added.is_empty() {
            return self.text.clone();
        }
        let growth: usize = added.iter().map(|line| line.len() + 1).sum();
        let mut text = Vec::with_capacity(self.text.len() + growth + 256);
        let is_nis = |at: usize| {
            matches!(self.line(at).first(), Some(b'+' | b'-')) && !changed.contains_key(&at)
        };
        let tail = (0..self.lines.len()).find(|at| is_nis(*at)).unwrap_or(self.lines.len());
        let copy = |text: &mut Vec<u8>, range: Range<usize>| {
            for at in range.filter(|at| !removed.contains(at)) {
                text.extend_from_slice(changed.get(&at).map_or(self.line(at), Vec::as_slice));
                text.push(b'\n');
            }
        };
        copy(&mut text, 0..tail);
        for line in added {
            text.extend_from_slice(line.as_bytes());
            text.push(b'\n');
        }
        copy(&mut text, tail..self.lines.len());
        text
    }

    fn current<'a>(&'a self, changed: &'a BTreeMap<usize, Vec<u8>>, at: usize) -> &'a [u8] {
        changed.get(&at).map_or(self.line(at), Vec::as_slice)
    }

    fn line(&self, at: usize) -> &[u8] {
        self.lines.get(at).and_then(|line| self.text.get(line.whole.clone())).unwrap_or_default()
    }

    fn entry(&self, at: usize) -> Option<Entry<'_>> {
        let is_entry = self.lines.get(at).is_some_and(|line| line.name > 0);
        is_entry.then(|| Entry(self.line(at)))
    }

    fn name(&self, at: usize) -> &[u8] {
        let line = self.lines.get(at);
        let range = line.map(|line| line.whole.start..line.whole.start + line.name);
        range.and_then(|range| self.text.get(range)).unwrap_or_default()
    }

    /// All lines, by name, from this name on.
    fn from(&self, name: &str) -> &[usize] {
        let from = self.by_name.partition_point(|at| self.name(*at) < name.as_bytes());
        self.by_name.get(from..).unwrap_or_default()
    }

    /// The lines of a name, in the order of the file.
    fn places(&self, name: &str) -> &[usize] {
        let rest = self.from(name);
        let count = rest.partition_point(|at| self.name(*at) == name.as_bytes());
        rest.get(..count).unwrap_or_default()
    }

    fn first(&self, name: &str) -> Option<usize> {
        self.from(name).first().copied().filter(|at| self.name(*at) == name.as_bytes())
    }

    fn needed(&self, name: &str) -> Result<usize, Misfit> {
        self.first(name).ok_or_else(|| Misfit::Absent(name.to_owned()))
    }
}

impl<'a> Entry<'a> {
    /// Returns a field, empty where the line is too short.
    pub fn field(self, at: usize) -> &'a [u8] {
        self.0.split(|byte| *byte == b':').nth(at).unwrap_or_default()
    }

    /// Returns the whole line.
    pub fn line(self) -> &'a [u8] {
        self.0
    }

    /// Returns a field as text, if it is text.
    pub fn text(self, at: usize) -> Option<&'a str> {
        std::str::from_utf8(self.field(at)).ok()
    }

    /// Returns a field as a number, if it is one.
    pub fn number(self, at: usize) -> Option<u32> {
        self.text(at).and_then(|text| text.parse().ok())
    }
}

impl OldLine {
    /// Takes a line; one that is not UTF-8 cannot be kept as it is.
    pub fn of(entry: Entry<'_>) -> Option<Self> {
        std::str::from_utf8(entry.0).ok().map(|line| Self(line.to_owned()))
    }

    /// Takes a line that was kept.
    pub fn kept(line: &str) -> Self {
        Self(line.to_owned())
    }

    /// Returns the line.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for OldLine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "OldLine({})", self.0.split(':').next().unwrap_or_default())
    }
}

impl fmt::Debug for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Never the text: shadow holds hashes.
        write!(f, "Table({} lines)", self.lines.len())
    }
}

impl fmt::Debug for Entry<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Entry({})", String::from_utf8_lossy(self.field(0)))
    }
}

/// Returns the lines of `wanted` that `present` holds already, under the same head; nothing if there
/// are none below it.
fn shared_lines(present: &[u8], head: &str, wanted: &str) -> Option<String> {
    let present: BTreeSet<&[u8]> = present.split(|byte| *byte == b'\n').collect();
    let body = wanted.strip_prefix(head).unwrap_or(wanted);
    let mut text = String::from(head);
    for line in body.lines().filter(|line| present.contains(line.as_bytes())) {
        text.push_str(line);
        text.push('\n');
    }
    (text.len() > head.len()).then_some(text)
}

/// Returns how long the name of an entry is, 0 for all other lines.
fn name_length(line: &[u8]) -> usize {
    match line.first() {
        Some(b'#' | b'+' | b'-') => 0,
        _ => line.iter().position(|byte| *byte == b':').unwrap_or_default(),
    }
}

fn set_field(line: &[u8], at: usize, value: &Value) -> Vec<u8> {
    let mut fields: Vec<&[u8]> = line.split(|byte| *byte == b':').collect();
    if fields.len() <= at {
        fields.resize(at + 1, b"");
    }
    let present = fields.get(at).copied().unwrap_or_default();
    let new = match value {
        Value::Text(text) => text.as_bytes().to_vec(),
        Value::Locked if present.starts_with(b"!") => present.to_vec(),
        Value::Locked => [b"!", present].concat(),
        Value::Unlocked => shadow::unlocked(present).to_vec(),
    };
    if let Some(field) = fields.get_mut(at) {
        *field = &new;
    }
    fields.join(&b':')
}

#[cfg(test)]
#[allow(clippy::indexing_slicing, clippy::unwrap_used, reason = "these are tests")]
mod tests;
