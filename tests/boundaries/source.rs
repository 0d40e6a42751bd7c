//! Reading a Rust source for the names that it uses, without a compiler: comments, strings and
//! code that is compiled for tests alone are left out, and each path is followed to where its
//! first part was imported from. A name that only a macro would make is not seen.

use std::collections::BTreeMap;
use std::iter;

/// A path that a source names, in full as far as its imports tell.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Name {
    pub(crate) line: usize,
    pub(crate) path: String,
}

/// Returns every path that `source` names, in order: imports first. A macro's ends in `!`, and an
/// import of everything in `*`.
pub(crate) fn names(source: &str) -> Vec<Name> {
    let tokens = without_tests(&tokens(source));
    let (imports, rest) = split_imports(&tokens);
    let aliases: BTreeMap<&str, &str> = imports
        .iter()
        .filter(|import| import.path != import.alias)
        .map(|import| (import.alias.as_str(), import.path.as_str()))
        .collect();
    let follow = |name: &Name| Name { line: name.line, path: follow(&name.path, &aliases) };
    let imported =
        imports.iter().map(|import| Name { line: import.line, path: import.path.clone() });
    let used = paths(&rest);
    imported.chain(used).map(|name| follow(&name)).collect()
}

/// Puts what the first part of a path stands for in its place.
fn follow(path: &str, aliases: &BTreeMap<&str, &str>) -> String {
    let (first, rest) = path.split_at(path.find("::").unwrap_or(path.len()));
    match first.strip_suffix('!') {
        // A macro is imported by its name without the mark.
        Some(name) => match aliases.get(name) {
            Some(full) => format!("{full}!"),
            None => path.to_owned(),
        },
        None => aliases.get(first).map_or_else(|| path.to_owned(), |full| format!("{full}{rest}")),
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Token {
    line: usize,
    /// An identifier, `::`, or one other character.
    text: String,
}

impl Token {
    fn is_word(&self) -> bool {
        self.text.starts_with(is_word)
    }
}

fn is_word(character: char) -> bool {
    character.is_alphanumeric() || character == '_'
}

fn tokens(source: &str) -> Vec<Token> {
    let mut tokens = Vec::new();
    let mut rest = source;
    let mut line = 1;
    while let Some(first) = rest.chars().next() {
        let skipped = comment(rest).or_else(|| literal(rest));
        let word = rest.find(|character| !is_word(character)).unwrap_or(rest.len());
        let length = match skipped {
            Some(length) => length,
            None if word > 0 => word,
            None if rest.starts_with("::") => 2,
            None => first.len_utf8(),
        };
        let (text, after) = rest.split_at(length);
        if skipped.is_none() && !first.is_whitespace() {
            tokens.push(Token { line, text: text.to_owned() });
        }
        line += text.matches('\n').count();
        rest = after;
    }
    tokens
}

/// Returns the length of the comment that `text` begins with.
fn comment(text: &str) -> Option<usize> {
    if text.starts_with("//") {
        return Some(text.find('\n').unwrap_or(text.len()));
    }
    text.strip_prefix("/*")?;
    let (mut depth, mut at) = (0, 0);
    while let Some(rest) = text.get(at..).filter(|rest| !rest.is_empty()) {
        let step = if rest.starts_with("/*") {
            depth += 1;
            2
        } else if rest.starts_with("*/") {
            depth -= 1;
            2
        } else {
            rest.chars().next().map_or(1, char::len_utf8)
        };
        at += step;
        if depth == 0 {
            break;
        }
    }
    Some(at)
}

/// Returns the length of the string, character or lifetime that `text` begins with.
fn literal(text: &str) -> Option<usize> {
    let prefix = text.find(|character| !matches!(character, 'b' | 'c' | 'r'))?;
    let (letters, body) = text.split_at(prefix);
    let hashes = body.find(|character| character != '#')?;
    let raw = letters.ends_with('r');
    if prefix <= 2 && raw && body.get(hashes..)?.starts_with('"') {
        let end = format!("\"{}", "#".repeat(hashes));
        let inside = prefix + hashes + 1;
        let length = text.get(inside..)?.find(&end)?;
        return Some(inside + length + end.len());
    }
    if prefix <= 1 && !raw && body.starts_with('"') {
        return Some(prefix + quoted(body, '"'));
    }
    if prefix <= 1 && !raw && body.starts_with('\'') {
        let mut inside = body.chars().skip(1);
        let (first, second) = (inside.next(), inside.next());
        let is_lifetime = first.is_some_and(is_word) && second != Some('\'');
        // A lifetime's mark alone is skipped; its name is no path.
        let name = || body.get(1..)?.find(|character| !is_word(character));
        return Some(if is_lifetime { 1 + name()? } else { prefix + quoted(body, '\'') });
    }
    None
}

/// Returns the length of what is between two of `mark`, both included.
fn quoted(text: &str, mark: char) -> usize {
    let mut escaped = false;
    for (index, character) in text.char_indices().skip(1) {
        match character {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            _ if character == mark => return index + mark.len_utf8(),
            _ => {}
        }
    }
    text.len()
}

/// Leaves out every item under `#[cfg(test)]`.
fn without_tests(tokens: &[Token]) -> Vec<Token> {
    let mut kept = Vec::new();
    let mut rest = tokens;
    while let Some((first, after)) = rest.split_first() {
        match attribute(rest) {
            Some(length) if is_for_tests(&rest[..length]) => rest = after_item(&rest[length..]),
            _ => {
                kept.push(first.clone());
                rest = after;
            }
        }
    }
    kept
}

/// Returns the number of tokens of the outer attribute that `tokens` begin with.
fn attribute(tokens: &[Token]) -> Option<usize> {
    let [hash, open, ..] = tokens else { return None };
    (hash.text == "#" && open.text == "[").then(|| 1 + balanced(&tokens[1..]))
}

fn is_for_tests(attribute: &[Token]) -> bool {
    let has = |word: &str| attribute.iter().any(|token| token.text == word);
    attribute.get(2).is_some_and(|token| token.text == "cfg") && has("test") && !has("not")
}

/// Returns what follows the item that `tokens` begin with.
fn after_item(tokens: &[Token]) -> &[Token] {
    let mut rest = tokens;
    while let Some(length) = attribute(rest) {
        rest = &rest[length..];
    }
    let mut words = rest.iter().map(|token| token.text.as_str());
    let is_import =
        words.find(|word| !matches!(*word, "pub" | "(" | "crate" | "super" | ")")) == Some("use");
    while let Some((first, after)) = rest.split_first() {
        match first.text.as_str() {
            ";" => return after,
            "{" if !is_import => return &rest[balanced(rest)..],
            "{" | "(" | "[" => rest = &rest[balanced(rest)..],
            _ => rest = after,
        }
    }
    rest
}

/// Returns the number of tokens from the bracket that `tokens` begin with to its other half.
fn balanced(tokens: &[Token]) -> usize {
    let mut depth = 0;
    for (index, token) in tokens.iter().enumerate() {
        match token.text.as_str() {
            "{" | "(" | "[" => depth += 1,
            "}" | ")" | "]" => depth -= 1,
            _ => {}
        }
        if depth == 0 {
            return index + 1;
        }
    }
    tokens.len()
}

#[derive(Debug)]
struct Import {
    line: usize,
    path: String,
    /// The name that stands for it from here on.
    alias: String,
}

/// Takes the imports apart, and returns them with the tokens that are left.
fn split_imports(tokens: &[Token]) -> (Vec<Import>, Vec<Token>) {
    let (mut imports, mut left) = (Vec::new(), Vec::new());
    let mut rest = tokens;
    while let Some((first, after)) = rest.split_first() {
        rest = after;
        // `impl Trait + use<'a>` is no import.
        if first.text == "use" && after.first().is_none_or(|token| token.text != "<") {
            let end = after.iter().position(|token| token.text == ";").unwrap_or(after.len());
            branch(&after[..end], "", &mut imports);
            rest = &after[end..];
        } else {
            left.push(first.clone());
        }
    }
    (imports, left)
}

/// Reads one branch of an import, such as `fs::{self, File as Disk}` below `std::`.
fn branch(tokens: &[Token], prefix: &str, imports: &mut Vec<Import>) {
    let mut path = prefix.to_owned();
    let mut rest = tokens;
    while let Some((first, after)) = rest.split_first() {
        match first.text.as_str() {
            "{" => {
                let inside = &rest[1..balanced(rest).max(2) - 1];
                for tokens in list(inside) {
                    branch(tokens, &path, imports);
                }
                return;
            }
            "as" => break,
            "::" if path.is_empty() => {}
            text => path.push_str(text),
        }
        rest = after;
    }
    let path = path.strip_suffix("::self").unwrap_or(&path).to_owned();
    let last = path.rsplit("::").next().unwrap_or_default();
    let alias = rest.get(1).map_or(last, |token| &token.text).to_owned();
    if let Some(first) = tokens.first() {
        imports.push(Import { line: first.line, path, alias });
    }
}

/// Splits at the commas that are in no inner brackets.
fn list(tokens: &[Token]) -> Vec<&[Token]> {
    let (mut items, mut start, mut at) = (Vec::new(), 0, 0);
    while let Some(token) = tokens.get(at) {
        if token.text == "," {
            items.push(&tokens[start..at]);
            start = at + 1;
        }
        at += if token.text == "{" { balanced(&tokens[at..]) } else { 1 };
    }
    items.push(&tokens[start..]);
    items
}

/// Returns the paths in what is no import. What follows a dot is a field or a method.
fn paths(tokens: &[Token]) -> Vec<Name> {
    let mut names = Vec::new();
    let mut rest = tokens;
    let mut before = "";
    while let Some((first, after)) = rest.split_first() {
        if !first.is_word() || before == "." || before == "::" {
            (before, rest) = (&first.text, after);
            continue;
        }
        let mut path = first.text.clone();
        rest = after;
        while let [colons, word, after @ ..] = rest
            && colons.text == "::"
            && word.is_word()
        {
            path.extend(["::", &word.text]);
            rest = after;
        }
        if let [mark, next, ..] = rest
            && mark.text == "!"
            && next.text != "="
        {
            path.push('!');
        }
        names.push(Name { line: first.line, path });
        before = "";
    }
    names
}

/// Tells whether `path` is `name` or something inside it. An import of everything may be.
pub(crate) fn is_within(path: &str, name: &str) -> bool {
    let inside = |outer: &str, inner: &str| {
        inner.strip_prefix(outer).is_some_and(|rest| rest.is_empty() || rest.starts_with("::"))
    };
    let everything_in = iter::once(path).filter_map(|path| path.strip_suffix("::*"));
    inside(name, path) || everything_in.into_iter().any(|module| inside(module, name))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn paths_of(source: &str) -> Vec<String> {
        names(source).into_iter().map(|name| name.path).collect()
    }

    fn has(source: &str, path: &str) -> bool {
        paths_of(source).iter().any(|found| found == path)
    }

    #[test]
    fn a_path_is_followed_to_where_it_was_imported_from() {
        assert!(has("use std::fs; fn f() { fs::write(a, b) }", "std::fs::write"));
        assert!(has("use std::{fs::{self as disk, File}, io}; disk::rename()", "std::fs::rename"));
        assert!(has("use std::{fs::File, io}; File::create(p)", "std::fs::File::create"));
        assert!(has("use tokio::{process::*, fs};", "tokio::process::*"));
        assert!(has("pub(crate) use ::ring::digest;", "ring::digest"));
        assert!(has("fn f() { let now = std::time::Instant::now(); }", "std::time::Instant::now"));
        assert!(has("use log::info; info!(1)", "log::info!"));
        assert!(has("println!(\"{}\", 1)", "println!"));
        assert!(has("unsafe { f() }", "unsafe"));
        assert!(has("fn f<'a>(x: &'a str) { nix::kill(x) }", "nix::kill"));
    }

    #[test]
    fn what_is_no_code_and_what_is_for_tests_does_not_count() {
        for silent in [
            "// sqlx::query()\n/* sqlx /* sqlx */ sqlx */ fn f() {}",
            "fn f() { g(\"sqlx \\\" sqlx\", r#\"sqlx \" sqlx\"#, b'\\'', b\"sqlx\") }",
            "#[cfg(test)] mod tests { use sqlx::Row; fn g() { sqlx::query() } } fn f() {}",
            "#[cfg(test)] #[path = \"x.rs\"] mod tests; fn f() {}",
            "#[cfg(test)] use sqlx::{Row, Pool}; fn f() {}",
            "#[cfg(all(test, unix))] fn g() -> [u8; 2] { sqlx::query() } fn f() {}",
            "fn f() { pool.sqlx().sqlx }",
        ] {
            let found = paths_of(silent);
            assert!(!found.iter().any(|path| path.contains("sqlx")), "{silent}: {found:?}");
            assert!(found.contains(&"f".to_owned()), "{silent}: {found:?}");
        }
        assert!(has("#[cfg(not(test))] fn f() { sqlx::query() }", "sqlx::query"));
        assert!(has("#[cfg(test)] mod tests {} fn f() { sqlx::query() }", "sqlx::query"));
        assert!(has("fn f() { if a != b { sqlx::query() } }", "sqlx::query"));
    }

    #[test]
    fn lines_are_counted_through_comments_and_strings() {
        let source = "//! one\n/* two\n*/ const A: &str = \"\n\"; use sqlx::Row;\n";
        let found = names(source);
        let sqlx = found.iter().find(|name| name.path == "sqlx::Row").map(|name| name.line);
        assert_eq!(sqlx, Some(4));
    }

    #[test]
    fn within_is_by_whole_parts_and_everything_counts_as_each() {
        assert!(is_within("std::fs::write", "std::fs"));
        assert!(is_within("sqlx", "sqlx"));
        assert!(!is_within("sqlx_like::x", "sqlx"));
        assert!(!is_within("std::fs", "std::fs::write"));
        assert!(is_within("std::fs::*", "std::fs::write"));
        assert!(!is_within("std::fs::*", "std::process"));
    }
}
