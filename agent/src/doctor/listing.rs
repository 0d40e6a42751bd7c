//! Findings as text: a table for people, JSON and YAML for programs. What comes from files and other
//! programs is printed as its escape where a terminal would act on it or nobody would see it.

use std::fmt::Write;

use super::Finding;

/// The most characters that a cell of a table shows.
const MAX_CELL: usize = 120;
const HEAD: [&str; 3] = ["SUBJECT", "FINDING", "CURE"];

/// Returns a table; its head alone if nothing was found.
pub fn table(findings: &[Finding]) -> String {
    let head = HEAD.map(str::to_owned);
    let row = |Finding { subject, fault, cure }: &Finding| [subject, fault, cure].map(|t| cell(t));
    let rows: Vec<[String; 3]> = [head].into_iter().chain(findings.iter().map(row)).collect();
    let width = |column: usize| {
        let cells = rows.iter().filter_map(|row| row.get(column));
        cells.map(|cell| cell.chars().count()).max().unwrap_or_default()
    };
    let (first, second) = (width(0), width(1));
    let mut text = String::new();
    for [subject, fault, cure] in &rows {
        let _ = writeln!(text, "{subject:<first$}  {fault:<second$}  {cure}");
    }
    text
}

/// Returns a list of objects.
pub fn json(findings: &[Finding]) -> String {
    let object = |Finding { subject, fault, cure }: &Finding| {
        let [subject, fault, cure] = [subject, fault, cure].map(|text| quoted(text));
        format!(
            "  {{\n    \"subject\": {subject},\n    \"finding\": {fault},\n    \"cure\": {cure}\n  }}"
        )
    };
    let objects: Vec<String> = findings.iter().map(object).collect();
    if objects.is_empty() { "[]\n".to_owned() } else { format!("[\n{}\n]\n", objects.join(",\n")) }
}

/// Returns the same in YAML, of which a string of JSON is one.
pub fn yaml(findings: &[Finding]) -> String {
    if findings.is_empty() {
        return "[]\n".to_owned();
    }
    let item = |Finding { subject, fault, cure }: &Finding| {
        let [subject, fault, cure] = [subject, fault, cure].map(|text| quoted(text));
        format!("- subject: {subject}\n  finding: {fault}\n  cure: {cure}\n")
    };
    findings.iter().map(item).collect()
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

    fn bad() -> Finding {
        let [subject, fault, cure] = ["a", "b \"c\" \\d\nSUBJECT\u{1b}[2K", "e"].map(str::to_owned);
        Finding { subject, fault, cure }
    }

    #[test]
    fn nothing_that_was_found_acts_on_a_terminal_or_makes_a_line() {
        expect![[r#"
            SUBJECT  FINDING                         CURE
            a        b "c" \d\u000aSUBJECT\u001b[2K  e
        "#]]
        .assert_eq(&table(&[bad()]));
        expect![[r#"
            [
              {
                "subject": "a",
                "finding": "b \"c\" \\d\u000aSUBJECT\u001b[2K",
                "cure": "e"
              }
            ]
        "#]]
        .assert_eq(&json(&[bad()]));
        expect![[r#"
            - subject: "a"
              finding: "b \"c\" \\d\u000aSUBJECT\u001b[2K"
              cure: "e"
        "#]]
        .assert_eq(&yaml(&[bad()]));
        assert_eq!([json(&[]), yaml(&[])], ["[]\n", "[]\n"]);
    }

    #[test]
    fn a_cell_is_cut_at_its_bound_and_says_so() {
        let full = "x".repeat(MAX_CELL);
        assert_eq!(cell(&full), full);
        let cut = cell(&(full + "x"));
        assert_eq!((cut.chars().count(), cut.ends_with('…')), (MAX_CELL, true));
    }
}
