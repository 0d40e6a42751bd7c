//! A text as a table: its lines, found by name. Nothing is taken apart that is not asked for.

use std::{fmt, ops::Range};

use super::Misfit;

/// The size from which an account file is absurd.
pub(super) const MOST_BYTES: usize = 64 << 20;

/// One of passwd, shadow, group and gshadow.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Table {
    pub(super) text: Vec<u8>,
    pub(super) lines: Vec<Line>,
    /// Numbers of the lines that are entries, by name and then by place.
    by_name: Vec<usize>,
}

#[derive(Clone, PartialEq, Eq)]
pub(super) struct Line {
    whole: Range<usize>,
    /// How long the name at its start is; 0 where the line is no entry.
    name: usize,
}

/// One line of a table that has a name and at least one further field.
#[derive(Clone, Copy)]
pub struct Entry<'a>(pub(super) &'a [u8]);

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

    pub(super) fn line(&self, at: usize) -> &[u8] {
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
    pub(super) fn places(&self, name: &str) -> &[usize] {
        let rest = self.from(name);
        let count = rest.partition_point(|at| self.name(*at) == name.as_bytes());
        rest.get(..count).unwrap_or_default()
    }

    fn first(&self, name: &str) -> Option<usize> {
        self.from(name).first().copied().filter(|at| self.name(*at) == name.as_bytes())
    }

    pub(super) fn needed(&self, name: &str) -> Result<usize, Misfit> {
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

/// Returns how long the name of an entry is, 0 for all other lines.
fn name_length(line: &[u8]) -> usize {
    match line.first() {
        Some(b'#' | b'+' | b'-') => 0,
        _ => line.iter().position(|byte| *byte == b':').unwrap_or_default(),
    }
}
