//! Reads a file of keys and values as far as it can be read, and says of each key that cannot be what
//! is wrong with it: whoever mends a file wants to know everything at once, not the first thing.

use serde::de::DeserializeOwned;
use toml::{
    Spanned,
    de::{DeTable, Deserializer, Error},
};

/// A file as far as it could be read.
#[derive(Debug)]
pub(super) struct Written<T> {
    /// What it says without the keys that are faults.
    pub(super) said: T,
    /// Keys that do not exist and values of another type, in the order of their lines.
    pub(super) faults: Vec<String>,
}

/// Reads a text. It fails only if it is not TOML, since then nobody knows what its keys are.
pub(super) fn read<T: DeserializeOwned>(text: &str) -> Result<Written<T>, Error> {
    let mut table = DeTable::parse(text)?;
    let mut faults = Vec::new();
    loop {
        let error = match T::deserialize(Deserializer::from(table.clone())) {
            Ok(said) => {
                faults.sort_unstable();
                let faults = faults.into_iter().map(|(_, fault)| fault).collect();
                return Ok(Written { said, faults });
            }
            Err(error) => error,
        };
        // The first that is wrong is told and taken away, until none is.
        let place = error.span().map_or(0, |span| span.start);
        let found = table.get_ref().iter().find_map(|(key, value)| {
            let is_key = key.span().contains(&place);
            (is_key || value.span().contains(&place)).then(|| (key.clone(), is_key))
        });
        let Some((key, is_key)) = found else { return Err(error) };
        let line = line(text, &key);
        let what = if is_key { "there is no such key" } else { error.message() };
        faults.push((line, format!("`{key}`: {what} (line {line})")));
        table.get_mut().remove(&key);
    }
}

/// Returns the number of the line in which something stands.
fn line<T>(text: &str, what: &Spanned<T>) -> usize {
    text.get(..what.span().start).unwrap_or_default().split('\n').count()
}
