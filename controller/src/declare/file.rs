//! The form of the files as written: YAML with a published schema. Every value knows where it stands,
//! since much that is wrong with it shows only when all files are known.

use std::collections::BTreeMap;

use muster_proto::{
    id::Kind,
    name::{AbsolutePath, FullName, Line, Login, ObjectName, UnixGroupName},
    selector::Selector,
    statement::{HomeMode, SourceNetwork},
    sudo::{RunAsUser, SudoCommand},
};
use schemars::JsonSchema;
use serde::Deserialize;

use super::{
    dates::When,
    fault::Place,
    text::{At, HostName, KeyLine, Number, Placed, Text},
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
    /// Accounts that hosts already have and that become a user's, by name.
    pub adoptions: BTreeMap<Text<ObjectName>, Adoption>,
    /// What is to go.
    pub absent: Absent,
    /// Where which thing is said.
    #[serde(skip)]
    pub sources: Sources,
}

/// Where a thing is declared, and where it is listed under `absent`.
#[derive(Clone, Debug, Default)]
pub struct Sources {
    /// Those that are declared.
    pub declared: BTreeMap<(Kind, String), Place>,
    /// Those that are to go.
    pub absent: BTreeMap<(Kind, String), Place>,
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
    /// The mode that the home is made with, instead of each host's default.
    pub home_mode: Option<Text<HomeMode>>,
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
#[schemars(extend("not" = { "required": ["at_least", "exactly"] }))]
pub struct UnixGroups {
    /// These, and others may be.
    pub at_least: Option<Vec<Text<UnixGroupName>>>,
    /// These and no others.
    pub exactly: Option<Placed<Vec<Text<UnixGroupName>>>>,
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
    #[schemars(extend("minItems" = 1))]
    pub commands: Placed<Vec<Text<SudoCommand>>>,
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
    /// Days before it may change again.
    pub min_days: Option<u32>,
    /// Days before it must change in which the user is warned.
    pub warn_days: Option<u32>,
    /// Days after it had to change in which it still can be; then the account is shut.
    pub inactive_days: Option<u32>,
    /// Characters that a new password has at least: where `passwd` runs `pam_pwquality`, which asks
    /// the most that any role of an account on the host says. Other hosts report that it is unmet.
    pub min_length: u32,
}

/// Who has which role where.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(extend("oneOf" = [{ "required": ["user"] }, { "required": ["group"] }]))]
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

/// An account that one host already has and that becomes a user's.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Adoption {
    /// The user, whose login is the account's.
    pub user: Text<Login>,
    /// The one host: its full id, or its hostname if no other host has it.
    pub host: Text<HostName>,
    /// The uid found there, which the account keeps.
    pub uid: Text<Number>,
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
    /// Adoptions.
    pub adoptions: Vec<Text<ObjectName>>,
}

impl Absent {
    /// Returns everything that is to go.
    pub fn all(&self) -> impl Iterator<Item = (Kind, String, At)> {
        fn of<T: ToString>(kind: Kind, texts: &[Text<T>]) -> Vec<(Kind, String, At)> {
            texts.iter().map(|text| (kind, text.value.to_string(), text.at)).collect()
        }
        let all = [
            of(Kind::User, &self.users),
            of(Kind::Group, &self.groups),
            of(Kind::UnixGroup, &self.unix_groups),
            of(Kind::Role, &self.roles),
            of(Kind::Assignment, &self.assignments),
            of(Kind::Adoption, &self.adoptions),
        ];
        all.into_iter().flatten()
    }
}
