//! Which other files a sudo file has read (`sudoers(5)`, "Including other files from within
//! sudoers").

/// Something that a sudo file has read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Included {
    /// A file.
    File(String),
    /// A directory, of whose files those are read that have no dot in their names and no `~` at their
    /// end.
    Directory(String),
}

/// Returns what a text includes, in its order. The old form looks like a comment.
pub fn included(text: &[u8]) -> Vec<Included> {
    let text = String::from_utf8_lossy(text).replace("\\\n", "");
    let included = |line: &str| {
        let (directive, path) = line.trim_start().split_once([' ', '\t'])?;
        let path = unquoted(path);
        match directive {
            "@include" | "#include" => Some(Included::File(path)),
            "@includedir" | "#includedir" => Some(Included::Directory(path)),
            _ => None,
        }
    };
    text.lines().filter_map(included).collect()
}

/// A path may stand in double quotes, and a blank in it behind a backslash.
fn unquoted(path: &str) -> String {
    let path = path.trim();
    let quoted = path.strip_prefix('"').and_then(|path| path.split_once('"'));
    if let Some((path, _)) = quoted {
        return path.to_owned();
    }
    let mut plain = String::new();
    let mut letters = path.chars();
    while let Some(letter) = letters.next() {
        match letter {
            '\\' => plain.extend(letters.next()),
            ' ' | '\t' => break,
            other => plain.push(other),
        }
    }
    plain
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_forms_are_read_with_quotes_and_escapes_and_nothing_else_is() {
        let text =
            b"# include /a\n#include /etc/sudoers.local\n @include\tlocal\n@include \"a b\" # c\n\
                     @include a\\ b c\n#includedir /etc/sudoers.d\n@includedir /opt/rules\n\
                     @included /x\n@include /con\\\ntinued\nDefaults env_reset\n";
        let file = |path: &str| Included::File(path.to_owned());
        let directory = |path: &str| Included::Directory(path.to_owned());
        let expected = [
            file("/etc/sudoers.local"),
            file("local"),
            file("a b"),
            file("a b"),
            directory("/etc/sudoers.d"),
            directory("/opt/rules"),
            file("/continued"),
        ];
        assert_eq!(included(text), expected);
    }
}
