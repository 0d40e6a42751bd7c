//! Files and directories of files, read as one declaration that remembers which file says what.

use std::{
    collections::BTreeMap,
    fs,
    io::{self, Read},
    path::{Path, PathBuf},
};

use muster_proto::id::Kind;

use super::{
    fault::Place,
    file::Declared,
    text::{At, Text},
};

/// Why files cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// One is not there, or cannot be opened.
    #[error("cannot read `{path}`")]
    Io {
        /// Which.
        path: PathBuf,
        /// Why.
        #[source]
        cause: io::Error,
    },
    /// One does not say what it should.
    #[error("{place}: {message}")]
    Content {
        /// Where.
        place: Place,
        /// What was found, what was expected, and the cure.
        message: String,
    },
    /// Two files say the same thing.
    #[error("{place}: {kind} `{name}` is declared in {other} too")]
    Twice {
        /// Where the later one is.
        place: Place,
        /// Where the earlier one is.
        other: Place,
        /// What.
        kind: Kind,
        /// Which.
        name: String,
    },
    /// One is longer than any declaration is.
    #[error("`{0}` has more than 16 MiB, the most that one file may have")]
    Long(PathBuf),
    /// One is not text.
    #[error("`{0}` is not text in UTF-8")]
    NotText(PathBuf),
    /// A directory without files.
    #[error("there is no `.yaml` or `.yml` file in `{0}`")]
    Empty(PathBuf),
}

/// The most bytes that one file may have.
const MAX_FILE: u64 = 16 << 20;

/// Reads files and the `.yaml` files of directories, as one.
pub fn read(paths: &[PathBuf]) -> Result<Declared, ReadError> {
    let mut all = Declared::default();
    for path in paths {
        for path in expand(path)? {
            merge(&mut all, read_one(&path)?, &path)?;
        }
    }
    Ok(all)
}

/// Returns the files that a path stands for.
fn expand(path: &Path) -> Result<Vec<PathBuf>, ReadError> {
    let io = |cause| ReadError::Io { path: path.to_owned(), cause };
    if path.as_os_str() == "-" || !fs::metadata(path).map_err(io)?.is_dir() {
        return Ok(vec![path.to_owned()]);
    }
    let mut files = Vec::new();
    for entry in fs::read_dir(path).map_err(io)? {
        let found = entry.map_err(io)?.path();
        if found.extension().is_some_and(|end| end == "yaml" || end == "yml") {
            files.push(found);
        }
    }
    files.sort();
    if files.is_empty() { Err(ReadError::Empty(path.to_owned())) } else { Ok(files) }
}

fn read_one(path: &Path) -> Result<Declared, ReadError> {
    let io = |cause| ReadError::Io { path: path.to_owned(), cause };
    let bytes = if path.as_os_str() == "-" {
        bounded(io::stdin()).map_err(io)?
    } else {
        bounded(fs::File::open(path).map_err(io)?).map_err(io)?
    };
    let bytes = bytes.ok_or_else(|| ReadError::Long(path.to_owned()))?;
    let text = String::from_utf8(bytes).map_err(|_| ReadError::NotText(path.to_owned()))?;
    parse(&text, path)
}

/// Reads to the end, or nothing if that is beyond the bound: a part of a declaration would say
/// something else than the whole.
fn bounded(from: impl Read) -> io::Result<Option<Vec<u8>>> {
    let mut bytes = Vec::new();
    let read = from.take(MAX_FILE + 1).read_to_end(&mut bytes)?;
    Ok((read as u64 <= MAX_FILE).then_some(bytes))
}

/// Reads one file's text.
pub fn parse(text: &str, path: &Path) -> Result<Declared, ReadError> {
    if text.trim().is_empty() {
        return Ok(Declared::default());
    }
    serde_saphyr::from_str(text).map_err(|error| {
        let location = error.location();
        let plain = error.without_snippet().to_string();
        let plain = plain.rsplit_once(" at line ").map_or(plain.as_str(), |(text, _)| text);
        let at = location
            .map_or(At { line: 1, column: 1 }, |at| At { line: at.line(), column: at.column() });
        let place = Place { path: path.to_owned(), at };
        ReadError::Content { place, message: worded(plain) }
    })
}

/// Says in our own words what the reader says in those of its events and options.
fn worded(message: &str) -> String {
    if let Some(rest) = message.strip_prefix("duplicate mapping key: ") {
        let key = rest.split(", set DuplicateKeyPolicy").next().unwrap_or(rest);
        return format!("duplicate key `{key}`: expected once");
    }
    if message.starts_with("multiple YAML documents detected") {
        return "a second YAML document begins here: expected one in a file".to_owned();
    }
    match message {
        "expected mapping start" => "expected a mapping, such as `{key: value}`".to_owned(),
        "expected sequence start" => "expected a list, such as `[one, two]`".to_owned(),
        "expected string scalar" => "expected a text".to_owned(),
        "invalid boolean" => "expected `true` or `false`".to_owned(),
        "invalid u32" => "expected a number from 0 to 4294967295".to_owned(),
        "unclosed quote" => "unclosed quote: expected another one before the end".to_owned(),
        other => other.to_owned(),
    }
}

fn merge(all: &mut Declared, one: Declared, path: &Path) -> Result<(), ReadError> {
    fn add<K: Ord + ToString, V>(
        all: &mut BTreeMap<Text<K>, V>,
        one: BTreeMap<Text<K>, V>,
        kind: Kind,
        (declared, path): (&mut BTreeMap<(Kind, String), Place>, &Path),
    ) -> Result<(), ReadError> {
        for (name, value) in one {
            let entry = (kind, name.value.to_string());
            let place = Place { path: path.to_owned(), at: name.at };
            if let Some(other) = declared.get(&entry) {
                let (name, other) = (entry.1, other.clone());
                return Err(ReadError::Twice { place, other, kind, name });
            }
            all.insert(name, value);
            declared.insert(entry, place);
        }
        Ok(())
    }
    let declared = &mut all.sources.declared;
    add(&mut all.users, one.users, Kind::User, (declared, path))?;
    add(&mut all.groups, one.groups, Kind::Group, (declared, path))?;
    add(&mut all.unix_groups, one.unix_groups, Kind::UnixGroup, (declared, path))?;
    add(&mut all.roles, one.roles, Kind::Role, (declared, path))?;
    add(&mut all.assignments, one.assignments, Kind::Assignment, (declared, path))?;
    add(&mut all.adoptions, one.adoptions, Kind::Adoption, (declared, path))?;
    for (kind, name, at) in one.absent.all() {
        let place = Place { path: path.to_owned(), at };
        all.sources.absent.entry((kind, name)).or_insert(place);
    }
    all.absent.users.extend(one.absent.users);
    all.absent.groups.extend(one.absent.groups);
    all.absent.unix_groups.extend(one.absent.unix_groups);
    all.absent.roles.extend(one.absent.roles);
    all.absent.assignments.extend(one.absent.assignments);
    all.absent.adoptions.extend(one.absent.adoptions);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: &str =
        "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8g a";

    fn fault(text: &str) -> (u64, u64, String) {
        match parse(text, Path::new("x.yaml")) {
            Err(ReadError::Content { place: Place { at, .. }, message }) => {
                (at.line, at.column, message)
            }
            other => panic!("{text:?} gave {other:?}"),
        }
    }

    #[test]
    fn a_whole_file_is_read() {
        let text = format!(
            "users:\n  alice: {{name: Alice Example, groups: [dba], keys: [\"{KEY}\"], ends: 2027-06-30}}\n\
             groups:\n  dba: {{}}\n\
             roles:\n  dba:\n    unix_groups: {{at_least: [postgres]}}\n    \
             sudo: [{{run_as: postgres, commands: [/usr/bin/psql, \"/usr/bin/systemctl restart x\"]}}]\n    \
             ssh: {{methods: [hardware-key]}}\n\
             assignments:\n  a: {{group: dba, role: dba, hosts: \"env=prod\", until: 2027-01-01}}\n\
             absent: {{users: [carol]}}\n"
        );
        let declared = parse(&text, Path::new("x.yaml")).unwrap();
        assert_eq!((declared.users.len(), declared.roles.len()), (1, 1));
        assert_eq!(declared.absent.users.len(), 1);
    }

    #[test]
    fn a_file_is_read_up_to_its_bound_and_refused_above_it() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x.yaml");
        let file = fs::File::create(&path).unwrap();
        // All but the end is one comment.
        let ending = b"\nusers: {una: {}}\n";
        let write = |size: u64| {
            use std::os::unix::fs::FileExt;
            file.set_len(0).unwrap();
            file.write_all_at(&vec![b'#'; usize::try_from(size).unwrap()], 0).unwrap();
            file.write_all_at(ending, size - ending.len() as u64).unwrap();
        };
        write(MAX_FILE);
        assert_eq!(read(std::slice::from_ref(&path)).unwrap().users.len(), 1);
        write(MAX_FILE + 1);
        let said = read(std::slice::from_ref(&path)).unwrap_err();
        assert!(matches!(&said, ReadError::Long(long) if *long == path), "{said}");
    }

    #[test]
    fn faults_say_where_they_are() {
        for (text, line, words) in [
            ("users: [", 1, "expected a mapping"),
            ("users: {una: {keys: ssh}}", 1, "expected a list"),
            ("users: {una: {shell: [a]}}", 1, "expected a text"),
            ("users: {una: {service: maybe}}", 1, "expected `true` or `false`"),
            ("roles: {r: {password: {max_days: x}}}", 1, "expected a number"),
            ("users: {una: {name: \"U}}", 1, "unclosed quote: expected"),
            ("---\nusers: {}\n---\nusers: {}\n", 4, "expected one in a file"),
            ("users:\n  alice: {comand: x}\n", 2, "comand"),
            ("userz: {}\n", 1, "userz"),
            ("users:\n  ..: {}\n", 2, "login"),
            ("users:\n  -rf: {}\n", 2, "login"),
            ("users:\n  ALL: {}\n", 2, "login"),
            ("users:\n  0day: {}\n", 2, "login"),
            ("users:\n  root: {}\n", 2, "belongs to the system"),
            ("users:\n  \"a\\nb\": {}\n", 2, "login"),
            ("users:\n  \"a:b\": {}\n", 2, "login"),
            ("users:\n  a: {}\n  a: {}\n", 3, "duplicate key `a`: expected once"),
            ("users:\n  a: {keys: [hello]}\n", 2, "public key"),
            ("users:\n  a: {keys: [\"ssh-dss AAAAB3NzaC1kc3MAAACBAP a\"]}\n", 2, "refused"),
            ("users:\n  a: {uid: many}\n", 2, "expected a number"),
            ("users:\n  a: {ends: tomorrow}\n", 2, "not a date"),
            ("roles:\n  r: {sudo: [{commands: [psql]}]}\n", 2, "absolute path"),
            ("roles:\n  r: {sudo: [{commands: [\"/bin/vi *\"]}]}\n", 2, "wildcards"),
            ("roles:\n  r: {sudo: [{commands: [\"/bin/a x, /bin/b\"]}]}\n", 2, "commas"),
            ("roles:\n  r: {sudo: [{commands: [\"/bin/sh\\nALL\"]}]}\n", 2, "absolute path"),
            ("assignments:\n  a: {user: u, role: r, hosts: \"env=\"}\n", 2, "label"),
            ("assignments:\n  a: {user: u, role: r, hosts: \"\"}\n", 2, "empty selector"),
            ("assignments:\n  a: {user: u, hosts: all}\n", 2, "role"),
            ("adoptions:\n  a: {user: una, host: web1}\n", 2, "uid"),
            ("adoptions:\n  a: {user: una, host: \"web 1\", uid: 1001}\n", 2, "hostname"),
            ("adoptions:\n  a: {user: una, host: web1, uid: 0}\n", 2, "uid"),
        ] {
            let (found, _, message) = fault(text);
            assert_eq!(found, line, "{text}: {message}");
            assert!(message.contains(words), "{text}: {message}");
        }
    }
}
