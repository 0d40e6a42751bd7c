//! Where in the files something is declared: for faults that show only when everything is known,
//! such as a role that nobody has declared. Reads the text as a person would.

use std::path::PathBuf;

use muster_proto::id::Kind;

use super::file;

/// A place in a file, for people.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// The file.
    pub path: PathBuf,
    /// The line, from 1.
    pub line: usize,
    /// The column, from 1.
    pub column: usize,
}

/// Returns where a name is listed under `absent`.
pub fn locate_absent(paths: &[PathBuf], name: &str) -> Option<Place> {
    let files = paths.iter().filter_map(|path| file::expand(path).ok()).flatten();
    files.filter(|path| path.as_os_str() != "-").find_map(|path| {
        let text = std::fs::read_to_string(&path).ok()?;
        let from = text.find("absent:")?;
        let at = from + text.get(from..)?.find(name)?;
        let before = text.get(..at)?;
        let line = before.matches('\n').count() + 1;
        let column = before.rsplit('\n').next()?.chars().count() + 1;
        Some(Place { path, line, column })
    })
}

/// Returns where a thing of this kind and name is declared, as far as block style shows it.
pub fn locate(paths: &[PathBuf], kind: Kind, name: &str) -> Option<Place> {
    let section = match kind {
        Kind::User => "users",
        Kind::Group => "groups",
        Kind::UnixGroup => "unix_groups",
        Kind::Role => "roles",
        Kind::Assignment => "assignments",
        Kind::Adoption | Kind::Host => return None,
    };
    let files = paths.iter().filter_map(|path| file::expand(path).ok()).flatten();
    files.filter(|path| path.as_os_str() != "-").find_map(|path| {
        let text = std::fs::read_to_string(&path).ok()?;
        let (line, column) = find(&text, section, name)?;
        Some(Place { path, line, column })
    })
}

fn find(text: &str, section: &str, name: &str) -> Option<(usize, usize)> {
    let mut inside = false;
    for (index, line) in text.lines().enumerate() {
        let start = line.trim_start();
        if start.len() == line.len() && !start.is_empty() && !start.starts_with('#') {
            inside = start.split(':').next() == Some(section);
        }
        if !inside || start.starts_with('#') {
            continue;
        }
        for quoted in [name.to_owned(), format!("\"{name}\""), format!("'{name}'")] {
            let key = format!("{quoted}:");
            let at = line.find(&key).filter(|at| {
                line.get(..*at).is_some_and(|before| {
                    before.chars().last().is_none_or(|c| c.is_whitespace() || "{,".contains(c))
                })
            });
            if let Some(at) = at {
                return Some((index + 1, at + 1));
            }
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_found_in_its_own_section() {
        let text = "groups:\n  dba: {}\nroles:\n  # dba: no\n  xdba: {}\n  dba: {}\n";
        assert_eq!(find(text, "groups", "dba"), Some((2, 3)));
        assert_eq!(find(text, "roles", "dba"), Some((6, 3)));
        assert_eq!(find(text, "users", "dba"), None);
        assert_eq!(find("users: {bob: {}}", "users", "bob"), Some((1, 9)));
    }
}
