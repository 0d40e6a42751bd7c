//! The only place that prints. What programs read goes to standard output, what people are told
//! meanwhile to standard error; a reader that goes away is no failure.
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "this is where printing lives")]

use std::io::{self, Write};

use anyhow::Result;
use clap::ValueEnum;
use serde::Serialize;

use super::{End, Hint};

/// How to print what is listed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// For people.
    Table,
    /// For programs.
    Json,
    /// For programs and people.
    Yaml,
}

/// Something that can be shown as a table.
pub trait Rows: Serialize {
    /// The heads of the columns.
    fn head() -> &'static [&'static str];

    /// One row, a cell for each column.
    fn row(&self) -> Vec<String>;
}

/// Prints a list from one struct in whichever form was asked for.
pub fn list<T: Rows>(format: Format, items: &[T]) -> Result<End> {
    match format {
        Format::Table => table(T::head(), &items.iter().map(Rows::row).collect::<Vec<_>>()),
        Format::Json | Format::Yaml => value(format, &items),
    }
}

/// Prints one value; as a table it is YAML too, since that reads well.
pub fn value<T: Serialize>(format: Format, item: &T) -> Result<End> {
    let text = match format {
        Format::Json => serde_json::to_string_pretty(item)? + "\n",
        Format::Table | Format::Yaml => serde_saphyr::to_string(item)?,
    };
    write(&text)
}

/// The most characters that a cell of a table shows; programs read JSON or YAML.
const MAX_CELL: usize = 120;

/// Cuts a cell that nobody would read to its end, and says so.
fn cell(text: &str) -> String {
    if text.chars().count() <= MAX_CELL {
        return text.to_owned();
    }
    text.chars().take(MAX_CELL - 1).chain(['…']).collect()
}

fn table(head: &[&str], rows: &[Vec<String>]) -> Result<End> {
    let rows: Vec<Vec<String>> =
        rows.iter().map(|row| row.iter().map(|text| cell(text)).collect()).collect();
    let mut widths: Vec<usize> = head.iter().map(|cell| cell.chars().count()).collect();
    for row in &rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(cell.chars().count());
        }
    }
    let mut text = String::new();
    let mut line = |cells: &[String]| {
        let padded: Vec<String> =
            cells.iter().zip(&widths).map(|(cell, width)| format!("{cell:<width$}")).collect();
        text.push_str(padded.join("  ").trim_end());
        text.push('\n');
    };
    line(&head.iter().map(ToString::to_string).collect::<Vec<_>>());
    for row in &rows {
        line(row);
    }
    write(&text)
}

/// Prints text for whoever reads standard output.
pub fn write(text: &str) -> Result<End> {
    match io::stdout().write_all(text.as_bytes()).and_then(|()| io::stdout().flush()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(error.into()),
        _ => Ok(End::Done),
    }
}

/// Prints lines for whoever reads standard output.
pub fn lines(lines: &[String]) -> Result<End> {
    write(&(lines.join("\n") + "\n"))
}

/// Returns how many there are, in words that agree with the number.
pub fn count(number: usize, one: &str, many: &str) -> String {
    format!("{number} {}", if number == 1 { one } else { many })
}

/// Tells a person something meanwhile.
pub fn say(text: &str) {
    let _ = writeln!(io::stderr(), "{text}");
}

/// Asks a person, who must answer yes.
pub fn confirm(question: &str) -> Result<bool> {
    let _ = write!(io::stderr(), "{question} [y/N] ");
    let _ = io::stderr().flush();
    let mut answer = String::new();
    io::stdin().read_line(&mut answer)?;
    Ok(matches!(answer.trim(), "y" | "Y" | "yes"))
}

/// Says whether a person can be asked.
pub fn is_interactive() -> bool {
    use std::io::IsTerminal;
    io::stdin().is_terminal() && io::stderr().is_terminal()
}

/// Prints a failure once: what, why, and what to do next.
pub fn failure(error: &anyhow::Error) {
    let mut parts: Vec<String> = Vec::new();
    for cause in error.chain() {
        let text = cause.to_string();
        if parts.last() != Some(&text) {
            parts.push(text);
        }
    }
    say(&format!("error: {}", parts.join(": ")));
    if let Some(hint) = error.downcast_ref::<Hint>() {
        say(&format!("hint: {}", hint.hint));
    }
}

/// Prints the JSON Schema of declarative files.
pub fn schema() -> Result<End> {
    let schema = schemars::schema_for!(crate::declare::Declared);
    write(&(serde_json::to_string_pretty(&schema)? + "\n"))
}
