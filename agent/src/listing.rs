//! Lists and numbers as text: a table for people, JSON and YAML for programs. What comes from files
//! and other programs is printed as its escape where a terminal would act on it or nobody would see
//! it.

use std::fmt::Write;

/// Returns how many there are, in words that agree with the number.
pub fn count(number: usize, one: &str, many: &str) -> String {
    format!("{number} {}", if number == 1 { one } else { many })
}

/// The most characters that a cell of a table shows.
const MAX_CELL: usize = 120;

/// Returns a table; its head alone if there are no rows.
pub fn table<const N: usize>(fields: [&str; N], rows: &[[String; N]]) -> String {
    let head = fields.map(str::to_uppercase);
    let rows: Vec<[String; N]> =
        [head].iter().chain(rows).map(|row| row.each_ref().map(|text| cell(text))).collect();
    let width = |column: usize| {
        let cells = rows.iter().filter_map(|row| row.get(column));
        cells.map(|cell| cell.chars().count()).max().unwrap_or_default()
    };
    let widths: Vec<usize> = (0..N).map(width).collect();
    let mut text = String::new();
    for row in &rows {
        let mut line = String::new();
        for (cell, width) in row.iter().zip(&widths) {
            let _ = write!(line, "{cell:<width$}  ");
        }
        text.push_str(line.trim_end_matches(' '));
        text.push('\n');
    }
    text
}

/// Returns a list of objects.
pub fn json<const N: usize>(fields: [&str; N], rows: &[[String; N]]) -> String {
    let object = |row: &[String; N]| {
        let parts = fields.iter().zip(row);
        let parts = parts.map(|(field, text)| format!("    \"{field}\": {}", quoted(text)));
        format!("  {{\n{}\n  }}", parts.collect::<Vec<_>>().join(",\n"))
    };
    let objects: Vec<String> = rows.iter().map(object).collect();
    if objects.is_empty() { "[]\n".to_owned() } else { format!("[\n{}\n]\n", objects.join(",\n")) }
}

/// Returns the same in YAML, of which a string of JSON is one.
pub fn yaml<const N: usize>(fields: [&str; N], rows: &[[String; N]]) -> String {
    if rows.is_empty() {
        return "[]\n".to_owned();
    }
    let item = |row: &[String; N]| {
        let parts = fields.iter().zip(row);
        let parts = parts.map(|(field, text)| format!("{field}: {}\n", quoted(text)));
        format!("- {}", parts.collect::<Vec<_>>().join("  "))
    };
    rows.iter().map(item).collect()
}

fn cell(text: &str) -> String {
    let text = visible(text);
    if text.chars().count() <= MAX_CELL {
        return text;
    }
    text.chars().take(MAX_CELL - 1).chain(['…']).collect()
}

fn quoted(text: &str) -> String {
    format!("\"{}\"", visible(&text.replace('\\', "\\\\").replace('"', "\\\"")))
}

/// Control characters, the marks of direction and joining, the invisible ones, tags.
fn is_hidden(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{ad}' | '\u{61c}' | '\u{180e}' | '\u{2028}' | '\u{2029}' | '\u{feff}')
        || matches!(c, '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{206f}')
        || matches!(c, '\u{e0000}'..='\u{e007f}')
}

fn visible(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    for c in text.chars() {
        if is_hidden(c) {
            for unit in c.encode_utf16(&mut [0; 2]) {
                let _ = write!(shown, "\\u{unit:04x}");
            }
        } else {
            shown.push(c);
        }
    }
    shown
}

#[cfg(test)]
mod tests {
    use expect_test::expect;

    use super::*;

    const FIELDS: [&str; 3] = ["subject", "finding", "cure"];

    fn bad() -> [String; 3] {
        ["a", "b \"c\" \\d\nSUBJECT\u{1b}[2K", "e"].map(str::to_owned)
    }

    #[test]
    fn nothing_that_was_found_acts_on_a_terminal_or_makes_a_line() {
        expect![[r#"
            SUBJECT  FINDING                         CURE
            a        b "c" \d\u000aSUBJECT\u001b[2K  e
        "#]]
        .assert_eq(&table(FIELDS, &[bad()]));
        expect![[r#"
            [
              {
                "subject": "a",
                "finding": "b \"c\" \\d\u000aSUBJECT\u001b[2K",
                "cure": "e"
              }
            ]
        "#]]
        .assert_eq(&json(FIELDS, &[bad()]));
        expect![[r#"
            - subject: "a"
              finding: "b \"c\" \\d\u000aSUBJECT\u001b[2K"
              cure: "e"
        "#]]
        .assert_eq(&yaml(FIELDS, &[bad()]));
        assert_eq!([json(FIELDS, &[]), yaml(FIELDS, &[])], ["[]\n", "[]\n"]);
    }

    #[test]
    fn one_of_something_is_no_plural() {
        let words = [0, 1, 2].map(|number| count(number, "process", "processes"));
        assert_eq!(words, ["0 processes", "1 process", "2 processes"]);
    }

    #[test]
    fn a_cell_is_cut_at_its_bound_and_says_so() {
        let full = "x".repeat(MAX_CELL);
        assert_eq!(cell(&full), full);
        let cut = cell(&(full + "x"));
        assert_eq!((cut.chars().count(), cut.ends_with('…')), (MAX_CELL, true));
    }
}
