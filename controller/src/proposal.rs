//! What was found on a host as a change that somebody may make of it: a file to review, as `muster
//! plan` takes it. Pure, and only a proposal. A value of a host's stands in it as what it is read
//! to be, and any other text of a host's in a comment alone, escaped, so that no host writes an
//! entry of its own.

mod render;

use muster_proto::{
    chain::Chain,
    drift::{Drift, DriftKind, Response},
    inventory::Inventory,
    name::{AbsolutePath, BadName, FullName, Login, ObjectName, Uid, UnixGroupName},
    selector::{HOSTNAME, LabelValue, Selector},
    statement::{Content, LeafState, Role, Statement, UnixGroupMode, User},
};

use crate::{
    adopt::{self, Names, Verdict, quoted, shown},
    preview::HostLabels,
};
use render::Sheet;

/// Where something was found, and what the directory says.
#[derive(Clone, Copy, Debug)]
pub struct Site<'a> {
    /// The host.
    pub host: &'a HostLabels,
    /// All that there are: a host calls itself what it likes.
    pub hosts: &'a [HostLabels],
    /// The directory, and what was revoked.
    pub chain: &'a Chain,
    /// What accounts it has, and when it told them.
    pub inventory: Option<(&'a Inventory, &'a str)>,
}

/// Why there is no change that would make it so.
#[derive(Debug, thiserror::Error)]
pub enum Inexpressible {
    /// It is not there.
    #[error("it has gone")]
    Gone,
    /// No file says such a thing.
    #[error("{0}")]
    Never(&'static str),
    /// A newer agent tells it.
    #[error("it is of a kind that this version does not know")]
    Unknown,
    /// The directory would not take the value.
    #[error("what was found cannot be said in a file")]
    Value(#[source] BadName),
    /// The host has not said what it is called, so nothing picks it alone.
    #[error("the host `{0}` has told no label `{HOSTNAME}`, by which alone it could be meant")]
    Unnamed(String),
    /// A selector by that name would mean other hosts too.
    #[error("several hosts are called `{0}`, and what is proposed would hold on each of them")]
    Several(LabelValue),
    /// It is about nobody whom the directory has.
    #[error("the directory has no user `{0}`")]
    NoUser(String),
    /// The host has not told the account.
    #[error("the host has not told what account `{0}` is")]
    NotTold(String),
}

/// Returns the file that would have the fleet want what was found, or as much of it as can be said.
pub fn propose(drift: &Drift, site: &Site<'_>) -> Result<String, Inexpressible> {
    if drift.response == Response::Gone {
        return Err(Inexpressible::Gone);
    }
    match DriftKind::parse(&drift.kind).ok_or(Inexpressible::Unknown)? {
        DriftKind::AccountChanged => field(drift, site),
        DriftKind::AccountNew => account(drift, site),
        DriftKind::MemberAdded | DriftKind::MemberUngranted => member(drift, site),
        DriftKind::BreakGlass => {
            never("the way in for an emergency is the host's own: mend it there")
        }
        DriftKind::UidZero => never("no file gives anybody but root uid 0"),
        DriftKind::SudoForeign | DriftKind::SudoChanged => {
            never("hosts tell no content of sudo files: a role says by `sudo` what may be run")
        }
        DriftKind::KeysUngranted | DriftKind::KeysChanged => {
            never("hosts tell no keys: a user says by `keys` which of hers let her in")
        }
        DriftKind::EffectDiffers => {
            never("what the files say is what they should: something on the host stands against it")
        }
        DriftKind::UnixGroupChanged => never("the gid of a Unix group never changes"),
        DriftKind::AccountMissing
        | DriftKind::AccountUnlocked
        | DriftKind::HomeMissing
        | DriftKind::JobsBack
        | DriftKind::MemberMissing
        | DriftKind::PasswordPolicy
        | DriftKind::Running
        | DriftKind::Sshd => {
            never("what Muster keeps here follows from who has what and is not said")
        }
    }
}

fn never(why: &'static str) -> Result<String, Inexpressible> {
    Err(Inexpressible::Never(why))
}

/// A field of an account of Muster's: her user says it, on every host.
fn field(drift: &Drift, site: &Site<'_>) -> Result<String, Inexpressible> {
    let (statement, user) = site.user(&drift.subject)?;
    let mut user = user.clone();
    match drift.place.as_str() {
        "shell" => {
            user.shell = Some(AbsolutePath::parse(&drift.found).map_err(Inexpressible::Value)?);
        }
        "name" => user.name = FullName::parse(&drift.found).map_err(Inexpressible::Value)?,
        "home" => return never("a new `home` counts for new accounts only: no home is moved"),
        "uid" | "gid" => return never("the uid of a user never changes, and her gid is the same"),
        "expiry" => {
            return never("a host tells a day only: a user says by `ends` how long she stays");
        }
        "password" => {
            return never("no file says a password: a role says by `password` who sets one");
        }
        "last change" | "min days" | "max days" | "warn days" | "inactive days" => {
            return never("a role says by `password` how old one may get");
        }
        "shadow" => return never("the line in shadow follows from what the account is granted"),
        _ => return Err(Inexpressible::Unknown),
    }
    let mut sheet = Sheet::new(drift, site);
    sheet.comment(&format!("So it becomes on every host that {} has an account on.", user.login));
    sheet.user(&user, statement, site);
    Ok(sheet.text())
}

/// An account that nobody granted: it becomes a user's.
fn account(drift: &Drift, site: &Site<'_>) -> Result<String, Inexpressible> {
    let untold = || Inexpressible::NotTold(drift.subject.clone());
    let (inventory, told) = site.inventory.ok_or_else(untold)?;
    let found = inventory.accounts.iter().find(|account| account.login == drift.subject);
    let found = found.ok_or_else(untold)?;
    let only = Inventory { accounts: vec![found.clone()], more: 0 };
    let proposed =
        adopt::propose(&only, site.chain.statements(), site.chain.revocations(), site.host.id);
    if !proposed.iter().any(|one| matches!(one.verdict, Verdict::Nobody | Verdict::System)) {
        return Ok(adopt::render(&proposed, site.host, told, &mut Names::of(site.chain)));
    }
    let login = Login::parse(&found.login).map_err(Inexpressible::Value)?;
    let uid = Uid::parse(found.uid).map_err(Inexpressible::Value)?;
    let mut sheet = Sheet::new(drift, site);
    sheet.comment("Give this person her keys: a host tells fingerprints only, and here they are:");
    let keys = if found.keys.is_empty() { "none".to_owned() } else { found.keys.join(" ") };
    sheet.comment(&format!("  {}", shown(&keys)));
    if !found.root_by.is_empty() {
        sheet.comment(&format!("She becomes root by {}.", shown(&found.root_by.join("; "))));
    }
    sheet.comment(
        "The account is taken over, its uid kept, once an assignment gives her something there.",
    );
    let name = FullName::parse(&found.name).unwrap_or_else(|_| {
        sheet.comment(&format!("Its full name cannot be said in a file: {}", shown(&found.name)));
        FullName::default()
    });
    sheet.line("users:");
    sheet.line(&format!("  \"{login}\": {{name: {}, keys: []}}", quoted(name.as_str())));
    sheet.line("adoptions:");
    let adoption = Names::of(site.chain).on(site.host, &[login.as_str()]);
    let host = site.host.id;
    sheet.line(&format!("  \"{adoption}\": {{user: \"{login}\", host: \"{host}\", uid: {uid}}}"));
    Ok(sheet.text())
}

/// Somebody in a Unix group: a role gives it to her, on this host.
fn member(drift: &Drift, site: &Site<'_>) -> Result<String, Inexpressible> {
    let (_, user) = site.user(&drift.subject)?;
    let group = UnixGroupName::parse(&drift.place).map_err(Inexpressible::Value)?;
    let hosts = site.alone()?;
    let mut sheet = Sheet::new(drift, site);
    let mut names = Names::of(site.chain);
    let role = if let Some(role) = site.role_of(&group) {
        role.to_string()
    } else {
        let role = names.unused(&["unix-group", group.as_str()]);
        sheet.line("roles:");
        sheet.line(&format!("  \"{role}\": {{unix_groups: {{at_least: [\"{group}\"]}}}}"));
        role
    };
    sheet.line("assignments:");
    let assignment = names.on(site.host, &[user.login.as_str(), group.as_str()]);
    sheet.line(&format!(
        "  \"{assignment}\": {{user: \"{}\", role: \"{role}\", hosts: \"{hosts}\"}}",
        user.login
    ));
    Ok(sheet.text())
}

impl<'a> Site<'a> {
    /// The selector that means this host and no other: by the label that it judges itself by, and
    /// only if no other has it or joined by that name.
    fn alone(&self) -> Result<Selector, Inexpressible> {
        let own = self.host.labels.hostname();
        let own = own.ok_or_else(|| Inexpressible::Unnamed(shown(&self.host.hostname)))?;
        let is_called_so = |other: &HostLabels| {
            other.hostname == own.as_str() || other.labels.hostname().as_ref() == Some(&own)
        };
        if self.hosts.iter().any(|other| other.id != self.host.id && is_called_so(other)) {
            return Err(Inexpressible::Several(own));
        }
        Ok(Selector::called(&own))
    }

    fn live(&self) -> impl Iterator<Item = &'a Statement> {
        let revocations = self.chain.revocations();
        self.chain.statements().values().filter(|statement| {
            statement.content.state() == LeafState::Live && !revocations.ends(statement)
        })
    }

    fn user(&self, login: &str) -> Result<(&'a Statement, &'a User), Inexpressible> {
        let user = self.live().find_map(|statement| match &statement.content {
            Content::User(user) if user.login.as_str() == login => Some((statement, user)),
            _ => None,
        });
        user.ok_or_else(|| Inexpressible::NoUser(shown(login)))
    }

    /// A role that gives membership in one Unix group and nothing else.
    fn role_of(&self, group: &UnixGroupName) -> Option<&'a ObjectName> {
        let gives = |role: &Role| {
            let own = role
                .unix_groups
                .iter()
                .filter_map(|id| self.chain.statements().get(id)?.content.name());
            let all: Vec<&str> =
                own.chain(role.host_unix_groups.iter().map(UnixGroupName::as_str)).collect();
            all == [group.as_str()]
        };
        self.live().find_map(|statement| match &statement.content {
            Content::Role(role)
                if gives(role)
                    && role.unix_group_mode == UnixGroupMode::AtLeast
                    && role.sudo.is_empty()
                    && role.login_methods.is_empty()
                    && role.password.is_none() =>
            {
                Some(&role.name)
            }
            _ => None,
        })
    }
}
