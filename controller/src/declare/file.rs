//! The files as written: YAML with a published schema. Several are read as one.

use std::{
    collections::BTreeMap,
    fs, io,
    path::{Path, PathBuf},
};

use muster_proto::{
    name::{AbsolutePath, FullName, Line, Login, ObjectName, UnixGroupName},
    selector::Selector,
    statement::SourceNetwork,
    sudo::{RunAsUser, SudoCommand},
};
use schemars::JsonSchema;
use serde::Deserialize;

use super::{
    dates::When,
    text::{KeyLine, Number, Text},
};

/// What one or several files declare.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
#[expect(clippy::zero_sized_map_values, reason = "a group has nothing but its name yet")]
pub struct Declared {
    /// People and service identities, by login.
    pub users: BTreeMap<Text<Login>, User>,
    /// Named sets of users, by name; each user names the groups that it is in.
    pub groups: BTreeMap<Text<ObjectName>, Group>,
    /// Unix groups that Muster creates, by name.
    pub unix_groups: BTreeMap<Text<UnixGroupName>, UnixGroup>,
    /// Named sets of entitlements on a host, by name.
    pub roles: BTreeMap<Text<ObjectName>, Role>,
    /// Who has which role where, by name.
    pub assignments: BTreeMap<Text<ObjectName>, Assignment>,
    /// What is to go.
    pub absent: Absent,
}

/// A person or a service identity.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct User {
    /// The full name.
    pub name: Option<Text<FullName>>,
    /// The uid on every host; chosen when it is not given. It never changes.
    pub uid: Option<Text<Number>>,
    /// The groups that the user is in.
    pub groups: Vec<Text<ObjectName>>,
    /// The SSH public keys that may log in.
    pub keys: Vec<Text<KeyLine>>,
    /// The shell, instead of each host's default.
    pub shell: Option<Text<AbsolutePath>>,
    /// The home, instead of each host's default.
    pub home: Option<Text<AbsolutePath>>,
    /// In force from then on.
    pub starts: Option<Text<When>>,
    /// In force until then; a bare day is included.
    pub ends: Option<Text<When>>,
    /// A service identity rather than a person.
    pub service: bool,
    /// Only keys that live in hardware count, whatever a role says.
    pub hardware_keys_only: bool,
    /// Hardware keys must verify their user.
    pub verify_required: bool,
    /// Source networks; empty means from everywhere.
    pub from: Vec<Text<SourceNetwork>>,
}

/// A named set of users.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Group {}

/// A Unix group that Muster creates.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct UnixGroup {
    /// The gid on every host; chosen when it is not given. It never changes.
    pub gid: Option<Text<Number>>,
    /// Members that no role gives are removed.
    pub exact_members: bool,
}

/// A named set of entitlements on a host.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Role {
    /// Supplementary Unix groups.
    pub unix_groups: UnixGroups,
    /// What may be run as somebody else.
    pub sudo: Vec<SudoRule>,
    /// How one may log in.
    pub ssh: Ssh,
    /// A password of the user's own on the host; without it there is none.
    pub password: Option<Password>,
}

/// Supplementary Unix groups: `at_least` or `exactly` these; neither means hands off. A name that
/// the files or the directory declare as a Unix group of Muster's is that one; any other must exist
/// on the host.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct UnixGroups {
    /// These, and others may be.
    pub at_least: Option<Vec<Text<UnixGroupName>>>,
    /// These and no others.
    pub exactly: Option<Vec<Text<UnixGroupName>>>,
}

/// What may be run as somebody else.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SudoRule {
    /// As whom; root when it is not given.
    pub run_as: Option<Text<RunAsUser>>,
    /// With which Unix group.
    pub run_as_group: Option<Text<UnixGroupName>>,
    /// What; at least one.
    pub commands: Vec<Text<SudoCommand>>,
    /// Whether the user's own password is asked for.
    #[serde(default)]
    pub password: SudoPassword,
    /// The command may not execute further programs.
    #[serde(default)]
    pub noexec: bool,
    /// Where it runs.
    pub directory: Option<Text<AbsolutePath>>,
}

/// Whether sudo asks for a password.
#[derive(Clone, Copy, Debug, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum SudoPassword {
    /// It does not.
    #[default]
    None,
    /// It does.
    Required,
}

/// How one may log in.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Ssh {
    /// By which methods; by key when none is given.
    pub methods: Vec<LoginMethod>,
}

/// A way to log in.
#[derive(Clone, Copy, Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum LoginMethod {
    /// By any of the user's keys.
    Key,
    /// By keys that live in hardware.
    HardwareKey,
    /// By a password that is set on the host.
    Password,
}

/// A password of the user's own on the host.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Password {
    /// Days until it must change.
    pub max_days: Option<u32>,
    /// Characters at least.
    pub min_length: u32,
}

/// Who has which role where.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Assignment {
    /// A user; or a group, never both.
    pub user: Option<Text<Login>>,
    /// A group; or a user, never both.
    pub group: Option<Text<ObjectName>>,
    /// The role.
    pub role: Text<ObjectName>,
    /// Where.
    pub hosts: Text<Selector>,
    /// In force from then on.
    pub from: Option<Text<When>>,
    /// In force until then; a bare day is included.
    pub until: Option<Text<When>>,
    /// Why.
    pub reason: Option<Text<Line>>,
    /// Where it was asked for.
    pub ticket: Option<Text<Line>>,
}

/// What is to go.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Absent {
    /// Users, by login.
    pub users: Vec<Text<Login>>,
    /// Groups.
    pub groups: Vec<Text<ObjectName>>,
    /// Unix groups.
    pub unix_groups: Vec<Text<UnixGroupName>>,
    /// Roles.
    pub roles: Vec<Text<ObjectName>>,
    /// Assignments.
    pub assignments: Vec<Text<ObjectName>>,
}

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
    #[error("{path}:{line}:{column}: {message}", path = .path.display())]
    Content {
        /// Which.
        path: PathBuf,
        /// The line, from 1.
        line: u64,
        /// The column, from 1.
        column: u64,
        /// What was found, what was expected, and the cure.
        message: String,
    },
    /// Two files say the same thing.
    #[error("`{path}` declares {kind} `{name}`, and another file does too; keep one of them")]
    Twice {
        /// The later one.
        path: PathBuf,
        /// What.
        kind: &'static str,
        /// Which.
        name: String,
    },
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
pub(super) fn expand(path: &Path) -> Result<Vec<PathBuf>, ReadError> {
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
    let mut text = String::new();
    if path.as_os_str() == "-" {
        io::Read::read_to_string(&mut io::Read::take(io::stdin(), MAX_FILE), &mut text)
    } else {
        let file = fs::File::open(path).map_err(io)?;
        io::Read::read_to_string(&mut io::Read::take(file, MAX_FILE), &mut text)
    }
    .map_err(io)?;
    parse(&text, path)
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
        ReadError::Content {
            path: path.to_owned(),
            line: location.map_or(1, |at| at.line()),
            column: location.map_or(1, |at| at.column()),
            message: plain.to_owned(),
        }
    })
}

fn merge(all: &mut Declared, one: Declared, path: &Path) -> Result<(), ReadError> {
    fn add<K: Ord + ToString, V>(
        all: &mut BTreeMap<Text<K>, V>,
        one: BTreeMap<Text<K>, V>,
        kind: &'static str,
        path: &Path,
    ) -> Result<(), ReadError> {
        for (name, value) in one {
            let text = name.0.to_string();
            if all.insert(name, value).is_some() {
                return Err(ReadError::Twice { path: path.to_owned(), kind, name: text });
            }
        }
        Ok(())
    }
    add(&mut all.users, one.users, "user", path)?;
    add(&mut all.groups, one.groups, "group", path)?;
    add(&mut all.unix_groups, one.unix_groups, "Unix group", path)?;
    add(&mut all.roles, one.roles, "role", path)?;
    add(&mut all.assignments, one.assignments, "assignment", path)?;
    all.absent.users.extend(one.absent.users);
    all.absent.groups.extend(one.absent.groups);
    all.absent.unix_groups.extend(one.absent.unix_groups);
    all.absent.roles.extend(one.absent.roles);
    all.absent.assignments.extend(one.absent.assignments);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: &str =
        "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8g a";

    fn fault(text: &str) -> (u64, u64, String) {
        match parse(text, Path::new("x.yaml")) {
            Err(ReadError::Content { line, column, message, .. }) => (line, column, message),
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
    fn faults_say_where_they_are() {
        for (text, line, words) in [
            ("users: [", 1, ""),
            ("users:\n  alice: {comand: x}\n", 2, "comand"),
            ("userz: {}\n", 1, "userz"),
            ("users:\n  ..: {}\n", 2, "login"),
            ("users:\n  -rf: {}\n", 2, "login"),
            ("users:\n  ALL: {}\n", 2, "login"),
            ("users:\n  0day: {}\n", 2, "login"),
            ("users:\n  root: {}\n", 2, "belongs to the system"),
            ("users:\n  \"a\\nb\": {}\n", 2, "login"),
            ("users:\n  \"a:b\": {}\n", 2, "login"),
            ("users:\n  a: {}\n  a: {}\n", 3, "duplicate"),
            ("users:\n  a: {keys: [hello]}\n", 2, "public key"),
            ("users:\n  a: {keys: [\"ssh-dss AAAAB3NzaC1kc3MAAACBAP a\"]}\n", 2, "refused"),
            ("users:\n  a: {uid: many}\n", 2, ""),
            ("users:\n  a: {ends: tomorrow}\n", 2, "not a date"),
            ("roles:\n  r: {sudo: [{commands: [psql]}]}\n", 2, "absolute path"),
            ("roles:\n  r: {sudo: [{commands: [\"/bin/vi *\"]}]}\n", 2, "wildcards"),
            ("roles:\n  r: {sudo: [{commands: [\"/bin/a x, /bin/b\"]}]}\n", 2, "commas"),
            ("roles:\n  r: {sudo: [{commands: [\"/bin/sh\\nALL\"]}]}\n", 2, "absolute path"),
            ("assignments:\n  a: {user: u, role: r, hosts: \"env=\"}\n", 2, "label"),
            ("assignments:\n  a: {user: u, role: r, hosts: \"\"}\n", 2, "empty selector"),
            ("assignments:\n  a: {user: u, hosts: all}\n", 2, "role"),
        ] {
            let (found, _, message) = fault(text);
            assert_eq!(found, line, "{text}: {message}");
            assert!(message.contains(words), "{text}: {message}");
        }
    }
}
