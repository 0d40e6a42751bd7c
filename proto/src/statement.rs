//! Statements: one fact of the directory at one revision, the smallest thing that can be proved.
//! All that is privilege is in here; what they mean together is `derive`'s business.

use std::{collections::BTreeSet, fmt, net::IpAddr};

use crate::{
    id::{Digest, HostId, Id, Kind},
    key::SshPublicKey,
    name::{AbsolutePath, FullName, Gid, Line, Login, ObjectName, Uid, UnixGroupName},
    options::KeyOptions,
    selector::Selector,
    sudo::SudoRule,
    time::Timestamp,
};

/// One fact at one revision.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Statement {
    /// The digest of trust root 1.
    pub lineage: Digest,
    /// The name of the fact for ever.
    pub id: Id,
    /// Starts at 1.
    pub revision: u64,
    /// The digest of the revision before.
    pub previous: Option<Digest>,
    /// The revocations that this revision takes back; cumulative over revisions.
    pub reinstates: BTreeSet<Id>,
    /// The fact.
    pub content: Content,
}

/// What a statement says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Content {
    /// A person or a service identity.
    User(User),
    /// A named set of users.
    Group(Group),
    /// A Unix group that Muster creates.
    UnixGroup(UnixGroup),
    /// A named set of entitlements.
    Role(Role),
    /// Who has which role where.
    Assignment(Assignment),
    /// Taking over one account of one host.
    Adoption(Adoption),
    /// The thing is gone; its names and numbers stay taken.
    Removal(Kind),
    /// A revocation, folded into the directory: the thing yields nothing.
    Revoked {
        /// What it was.
        kind: Kind,
        /// The revocation's id.
        revocation: Id,
    },
}

/// A person or a service identity.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct User {
    /// Never renamed, never given to another person.
    pub login: Login,
    /// The same on every host.
    pub uid: Uid,
    /// For GECOS.
    pub name: FullName,
    /// Ascending by blob.
    pub keys: Vec<UserKey>,
    /// Ids of the groups that the user is in.
    pub groups: BTreeSet<Id>,
    /// Instead of the host's default.
    pub shell: Option<AbsolutePath>,
    /// Instead of the host's default.
    pub home: Option<AbsolutePath>,
    /// In force from then on.
    pub starts: Option<Timestamp>,
    /// In force until then.
    pub ends: Option<Timestamp>,
    /// The mode that the home is made with, instead of the host's default.
    pub home_mode: Option<HomeMode>,
    /// A person, or a service identity.
    pub kind: UserKind,
    /// What holds against every role.
    pub restrictions: Restrictions,
}

/// Whether a user is somebody or something.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum UserKind {
    /// Somebody.
    Person,
    /// Something that others `su` to, so locking does not expire it.
    Service,
}

/// One of a user's keys.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct UserKey {
    /// The key.
    pub key: SshPublicKey,
    /// What its holder calls it.
    pub comment: Line,
    /// What it may be used for.
    pub options: KeyOptions,
}

/// Restrictions on how a user may log in, whatever a role says.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Restrictions {
    /// Only keys that live in hardware.
    pub hardware_keys_only: bool,
    /// Hardware keys must verify their user.
    pub verify_required: bool,
    /// Source networks; empty means from everywhere.
    pub from: BTreeSet<SourceNetwork>,
}

/// An address or network in CIDR form, as `from=` of `authorized_keys` takes it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct SourceNetwork(String);

/// A named set of users: each user names the groups that it is in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Group {
    /// What people call it.
    pub name: ObjectName,
}

/// A Unix group that Muster creates, with the same gid everywhere.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnixGroup {
    /// Its name on the hosts.
    pub name: UnixGroupName,
    /// Its gid on the hosts.
    pub gid: Gid,
    /// Whether members that no role gives are removed.
    pub members: MemberList,
}

/// How a whole member list is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum MemberList {
    /// Others may be in it too.
    AtLeast,
    /// Nobody else.
    Exactly,
}

/// A named set of entitlements on a host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Role {
    /// What people call it; also in the name of its sudo file.
    pub name: ObjectName,
    /// How an account's supplementary Unix groups are kept.
    pub unix_group_mode: UnixGroupMode,
    /// Ids of Unix groups that Muster creates.
    pub unix_groups: BTreeSet<Id>,
    /// Unix groups that must exist on the host.
    pub host_unix_groups: BTreeSet<UnixGroupName>,
    /// What may be run as somebody else.
    pub sudo: Vec<SudoRule>,
    /// How one may log in; empty means by key.
    pub login_methods: BTreeSet<LoginMethod>,
    /// The policy for a password that the user sets on the host; absent means no password.
    pub password: Option<PasswordPolicy>,
}

/// How an account's supplementary Unix groups are kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum UnixGroupMode {
    /// Not at all.
    HandsOff,
    /// Those of the role are there; others may be.
    AtLeast,
    /// Those of the role and no others.
    Exactly,
}

/// How one may log in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum LoginMethod {
    /// By any of the user's keys.
    Key,
    /// By keys that live in hardware.
    HardwareKey,
    /// By a password that is set on the host.
    Password,
}

/// The policy for a password that the user sets on the host.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct PasswordPolicy {
    /// Days until it must change; none means never.
    pub max_days: Option<u32>,
    /// Days before it may change again; none means at once.
    pub min_days: Option<u32>,
    /// Days before the change is due in which the user is warned; none means not at all.
    pub warn_days: Option<u32>,
    /// Days after the change was due in which it can still be made; none means for ever.
    pub inactive_days: Option<u32>,
    /// Characters that a new password has at least.
    pub min_length: u32,
}

/// Who has which role where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Assignment {
    /// What people call it.
    pub name: ObjectName,
    /// A user's or a group's id.
    pub subject: Id,
    /// A role's id.
    pub role: Id,
    /// Where.
    pub hosts: Selector,
    /// In force from then on.
    pub from: Option<Timestamp>,
    /// In force until then.
    pub until: Option<Timestamp>,
    /// Why.
    pub reason: Line,
    /// Where it was asked for.
    pub ticket: Line,
    /// When it must be certified again.
    pub recertify_by: Option<Timestamp>,
}

/// Lets one host take an account that it already has for a user's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Adoption {
    /// The user's id.
    pub user: Id,
    /// The one host.
    pub host: HostId,
    /// The login found there.
    pub login: Login,
    /// The uid found there.
    pub uid: Uid,
}

/// What a directory leaf says of its statement.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum LeafState {
    /// It counts.
    Live,
    /// It yields nothing, and no predecessor takes its place.
    Revoked,
    /// The thing is gone.
    Removed,
}

/// What a directory leaf says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry {
    /// What the statement is about.
    pub kind: Kind,
    /// Its id.
    pub id: Id,
    /// The newest revision.
    pub revision: u64,
    /// That revision's digest.
    pub digest: Digest,
    /// Whether it counts.
    pub state: LeafState,
}

/// The mode that a home is made with: all for its owner, and nothing that lets others write.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct HomeMode(u16);

/// Something that is no mode of a home.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a mode for a home: expected `0700`, `0711`, `0750`, `0751` or `0755`")]
pub struct BadHomeMode(String);

impl HomeMode {
    /// Reads the four digits.
    pub fn parse(text: &str) -> Result<Self, BadHomeMode> {
        let mode = match text {
            "0700" => 0o700,
            "0711" => 0o711,
            "0750" => 0o750,
            "0751" => 0o751,
            "0755" => 0o755,
            _ => return Err(BadHomeMode(text.escape_debug().take(40).collect())),
        };
        Ok(Self(mode))
    }

    /// Takes the number that the digits stand for.
    pub fn from_bits(bits: u32) -> Result<Self, BadHomeMode> {
        Self::parse(&format!("{bits:04o}"))
    }

    /// Returns the number that the digits stand for.
    pub fn bits(self) -> u32 {
        self.0.into()
    }
}

impl fmt::Display for HomeMode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:04o}", self.0)
    }
}

/// A text that is not an address or network.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not an address or a network such as `10.0.0.0/8` or `2001:db8::/32`")]
pub struct BadNetwork(String);

impl SourceNetwork {
    /// Reads an address with or without a prefix length.
    pub fn parse(text: &str) -> Result<Self, BadNetwork> {
        let (address, prefix) = text.split_once('/').map_or((text, None), |(a, p)| (a, Some(p)));
        let bits = match address.parse::<IpAddr>() {
            Ok(IpAddr::V4(_)) => 32,
            Ok(IpAddr::V6(_)) => 128,
            Err(_) => return Err(BadNetwork(text.escape_debug().take(60).collect())),
        };
        let fits = prefix.is_none_or(|prefix| {
            prefix.parse::<u8>().is_ok_and(|p| p <= bits && p.to_string() == prefix)
        });
        if fits { Ok(Self(text.to_owned())) } else { Err(BadNetwork(text.to_owned())) }
    }

    /// Returns the text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Returns the part that two networks share: of two, one is in the other or they are apart.
    pub fn shared<'a>(&'a self, other: &'a Self) -> Option<&'a Self> {
        let (ours, theirs) = (self.bits()?, other.bits()?);
        let (wide, narrow, result) =
            if ours.2 <= theirs.2 { (ours, theirs, other) } else { (theirs, ours, self) };
        // An address of one family is in no network of the other.
        let shift = 128 - wide.2;
        let same = wide.0 == narrow.0 && wide.1.checked_shr(shift) == narrow.1.checked_shr(shift);
        same.then_some(result)
    }

    /// Returns whether it is IPv4, its bits at the top of 128, and how many of them count.
    fn bits(&self) -> Option<(bool, u128, u32)> {
        let (address, prefix) =
            self.0.split_once('/').map_or((&*self.0, None), |(a, p)| (a, Some(p)));
        let (v4, bits, all) = match address.parse::<IpAddr>().ok()? {
            IpAddr::V4(address) => (true, u128::from(address.to_bits()) << 96, 32),
            IpAddr::V6(address) => (false, address.to_bits(), 128),
        };
        Some((v4, bits, prefix.map_or(Some(all), |prefix| prefix.parse().ok())?))
    }
}

impl Content {
    /// Returns what the statement is about.
    pub fn kind(&self) -> Kind {
        match self {
            Self::User(_) => Kind::User,
            Self::Group(_) => Kind::Group,
            Self::UnixGroup(_) => Kind::UnixGroup,
            Self::Role(_) => Kind::Role,
            Self::Assignment(_) => Kind::Assignment,
            Self::Adoption(_) => Kind::Adoption,
            Self::Removal(kind) | Self::Revoked { kind, .. } => *kind,
        }
    }

    /// Returns the state that its leaf has.
    pub fn state(&self) -> LeafState {
        match self {
            Self::Removal(_) => LeafState::Removed,
            Self::Revoked { .. } => LeafState::Revoked,
            _ => LeafState::Live,
        }
    }

    /// Returns what people call it, if it still says.
    pub fn name(&self) -> Option<&str> {
        match self {
            Self::User(user) => Some(user.login.as_str()),
            Self::Group(group) => Some(group.name.as_str()),
            Self::UnixGroup(group) => Some(group.name.as_str()),
            Self::Role(role) => Some(role.name.as_str()),
            Self::Assignment(assignment) => Some(assignment.name.as_str()),
            Self::Adoption(adoption) => Some(adoption.login.as_str()),
            Self::Removal(_) | Self::Revoked { .. } => None,
        }
    }

    /// Returns the ids that it refers to, with the kinds that they must be of.
    pub fn references(&self) -> Vec<(Id, &'static [Kind])> {
        const GROUP: &[Kind] = &[Kind::Group];
        const UNIX_GROUP: &[Kind] = &[Kind::UnixGroup];
        const SUBJECT: &[Kind] = &[Kind::User, Kind::Group];
        const ROLE: &[Kind] = &[Kind::Role];
        const USER: &[Kind] = &[Kind::User];
        match self {
            Self::User(user) => user.groups.iter().map(|id| (*id, GROUP)).collect(),
            Self::Role(role) => role.unix_groups.iter().map(|id| (*id, UNIX_GROUP)).collect(),
            Self::Assignment(a) => vec![(a.subject, SUBJECT), (a.role, ROLE)],
            Self::Adoption(adoption) => vec![(adoption.user, USER)],
            Self::Group(_) | Self::UnixGroup(_) | Self::Removal(_) | Self::Revoked { .. } => {
                Vec::new()
            }
        }
    }
}

impl Role {
    /// Returns how one may log in: by key where the role does not say.
    pub fn methods(&self) -> BTreeSet<LoginMethod> {
        if self.login_methods.is_empty() {
            BTreeSet::from([LoginMethod::Key])
        } else {
            self.login_methods.clone()
        }
    }
}
