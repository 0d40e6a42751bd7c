//! Changes of single lines, and the text that they make of a table.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    ops::Range,
};

use super::{Entry, Table, group, shadow};

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
