//! The only place that prints. What programs read goes to standard output, what people are told
//! meanwhile to standard error; a reader that goes away is no failure.
//!
//! Much of what is printed came from a host or the controller. A character that a terminal would act
//! on, or that nobody would see, is printed as its escape, so that no name can look like another nor
//! make a line of its own.
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "this is where printing lives")]

use std::{
    fmt::Write as _,
    fs::File,
    io::{self, Write},
    path::Path,
};

use anyhow::{Context, Result};
use clap::ValueEnum;
use serde::Serialize;

use super::{End, Hint, usage};
use crate::told::told;

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
        Format::Table => write(&table(T::head(), &items.iter().map(Rows::row).collect::<Vec<_>>())),
        Format::Json | Format::Yaml => value(format, &items),
    }
}

/// Prints one value; as a table it is YAML too, since that reads well.
pub fn value<T: Serialize>(format: Format, item: &T) -> Result<End> {
    write(&match format {
        Format::Json => serde_json::to_string_pretty(item)? + "\n",
        Format::Table | Format::Yaml => yaml(item)?,
    })
}

/// Writes YAML in which each text is on the line that names it: in a block, the lines of what a host
/// says would look like ours.
fn yaml<T: Serialize>(item: &T) -> Result<String> {
    let options = serde_saphyr::ser_options! { prefer_block_scalars: false };
    Ok(serde_saphyr::to_string_with_options(item, options)?)
}

/// The most characters that a cell of a table shows; programs read JSON or YAML.
const MAX_CELL: usize = 120;

/// Cuts a cell that nobody would read to its end, and says so.
fn cell(text: &str) -> String {
    let text = visible(text);
    if text.chars().count() <= MAX_CELL {
        return text;
    }
    text.chars().take(MAX_CELL - 1).chain(['…']).collect()
}

fn table(head: &[&str], rows: &[Vec<String>]) -> String {
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
    text
}

/// Says whether a character is none that a person sees where it stands: control characters, the
/// marks of direction and joining, the invisible ones, tags.
fn is_hidden(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{ad}' | '\u{61c}' | '\u{180e}' | '\u{2028}' | '\u{2029}' | '\u{feff}')
        || matches!(c, '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{206f}')
        || matches!(c, '\u{e0000}'..='\u{e007f}')
}

/// Writes hidden characters as `\uXXXX`, which a string of JSON or a quoted one of YAML reads back.
fn escape(text: &str, keep: impl Fn(char) -> bool) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        if keep(c) || !is_hidden(c) {
            escaped.push(c);
        } else {
            for unit in c.encode_utf16(&mut [0; 2]) {
                let _ = write!(escaped, "\\u{unit:04x}");
            }
        }
    }
    escaped
}

/// Returns a text that is one line and shows all that is in it.
pub fn visible(text: &str) -> String {
    escape(text, |_| false)
}

/// Prints text for whoever reads standard output; only its line ends act on a terminal.
pub fn write(text: &str) -> Result<End> {
    let text = escape(text, |c| c == '\n');
    match io::stdout().write_all(text.as_bytes()).and_then(|()| io::stdout().flush()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(error.into()),
        _ => Ok(End::Done),
    }
}

/// Writes a text into a new file, or prints it if none is given.
pub fn file(path: Option<&Path>, text: &str) -> Result<End> {
    let Some(path) = path else { return write(text) };
    let mut file = File::create_new(path)
        .with_context(|| format!("cannot write a new file `{}`", path.display()))
        .map_err(usage)?;
    file.write_all(text.as_bytes())
        .with_context(|| format!("cannot write `{}`", path.display()))?;
    Ok(End::Done)
}

/// Prints lines for whoever reads standard output; none of them makes another.
pub fn lines(lines: &[String]) -> Result<End> {
    write(&joined(lines))
}

fn joined(lines: &[String]) -> String {
    lines.iter().map(|line| visible(line) + "\n").collect()
}

/// Returns how many there are, in words that agree with the number.
pub fn count(number: usize, one: &str, many: &str) -> String {
    format!("{number} {}", if number == 1 { one } else { many })
}

/// Tells a person something meanwhile, in one line.
pub fn say(text: &str) {
    let _ = writeln!(io::stderr(), "{}", visible(text));
}

/// Asks a person, who must answer yes.
pub fn confirm(question: &str) -> Result<bool> {
    let _ = write!(io::stderr(), "{} [y/N] ", visible(question));
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
    let _ = write!(io::stderr(), "{}", failed(error));
}

/// Prints a failure that does not end the command, and what to do about it.
pub fn warning(error: &anyhow::Error) {
    say(&format!("warning: {}", told(error.as_ref())));
    if let Some(hint) = error.downcast_ref::<Hint>() {
        say(&format!("hint: {}", hint.hint));
    }
}

/// A cause of several lines, such as a parser's that points into a file, is set off, so that it is
/// taken neither for the hint nor for another error.
fn failed(error: &anyhow::Error) -> String {
    let text = told(error.as_ref());
    let mut all = String::new();
    for (at, line) in text.trim_end().lines().enumerate() {
        let before = if at == 0 { "error: " } else { "  " };
        let _ = writeln!(all, "{before}{}", visible(line));
    }
    if let Some(hint) = error.downcast_ref::<Hint>() {
        let _ = writeln!(all, "hint: {}", visible(&hint.hint));
    }
    all
}

/// Prints the JSON Schema of declarative files.
pub fn schema() -> Result<End> {
    write(&crate::declare::schema::text()?)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    /// What a host could call itself: it moves the cursor, turns the text round, hides a part and
    /// begins a line.
    const BAD: &str = "web1\u{1b}[2K\r\u{9b}1A\u{202e}\u{200b}\u{7f}\nweb2: done";
    const SEEN: &str = "web1\\u001b[2K\\u000d\\u009b1A\\u202e\\u200b\\u007f\\u000aweb2: done";

    #[derive(Serialize)]
    struct Line {
        host: &'static str,
    }

    impl Rows for Line {
        fn head() -> &'static [&'static str] {
            &["HOST"]
        }

        fn row(&self) -> Vec<String> {
            vec![self.host.to_owned()]
        }
    }

    #[test]
    fn nothing_that_is_printed_acts_on_a_terminal_or_makes_a_line() {
        assert_eq!(visible(BAD), SEEN);
        let rows = [Line { host: BAD }.row()];
        assert_eq!(table(Line::head(), &rows), format!("HOST\n{SEEN}\n"));
        assert_eq!(joined(&[BAD.to_owned(), "end".to_owned()]), format!("{SEEN}\nend\n"));
        let error = super::super::hint(anyhow::anyhow!("{BAD}").context("bad"), BAD);
        let told = failed(&error);
        assert_eq!(told.lines().filter(|line| line.starts_with("hint: ")).count(), 1, "{told}");
        assert!(!told.contains("\nweb2"), "{told}");
        assert!(!told.chars().any(|c| is_hidden(c) && c != '\n'), "{told}");
    }

    #[test]
    fn what_programs_read_says_the_same_without_hidden_characters() {
        let json = escape(&serde_json::to_string(&Line { host: BAD }).unwrap(), |c| c == '\n');
        assert!(!json.chars().any(is_hidden), "{json}");
        let back: serde_json::Value = serde_json::from_str(&json).unwrap();
        assert_eq!(back["host"], BAD);
        let yaml = escape(&yaml(&Line { host: BAD }).unwrap(), |c| c == '\n');
        assert!(!yaml.chars().any(|c| is_hidden(c) && c != '\n'), "{yaml}");
        assert!(!yaml.contains("\nweb2"), "{yaml}");
    }

    #[test]
    fn no_text_of_a_host_is_more_than_the_one_line_that_names_it() {
        let long = "word ".repeat(40);
        for text in ["web1\nhost: web2\n", "a\n- b", "|", "> a\n\nb", &long, " a\n  b\n\n"] {
            let items = [BTreeMap::from([("host", text), ("state", "away")])];
            let yaml = yaml(&items).unwrap();
            assert_eq!(yaml.lines().count(), 2, "{yaml}");
            let back: Vec<BTreeMap<String, String>> = serde_saphyr::from_str(&yaml).unwrap();
            assert_eq!(back[0]["host"], text, "{yaml}");
        }
    }

    #[test]
    fn other_scripts_are_printed_as_they_are() {
        for text in ["für Änderung „ok“", "日本", "a → b"] {
            assert_eq!(visible(text), text);
        }
    }

    #[test]
    fn a_cell_is_cut_at_its_bound_and_says_so() {
        let full = "x".repeat(MAX_CELL);
        assert_eq!(cell(&full), full);
        let cut = cell(&(full + "x"));
        assert_eq!((cut.chars().count(), cut.ends_with('…')), (MAX_CELL, true));
    }

    #[test]
    fn words_agree_with_the_number() {
        assert_eq!(count(1, "host", "hosts"), "1 host");
        assert_eq!([0, 2].map(|n| count(n, "host", "hosts")), ["0 hosts", "2 hosts"]);
    }
}
