//! Grants as the keeper's ledger holds them.

use super::{
    Fault, known, required,
    statement::{
        login_method, path_text, some_home_mode, some_path, unix_group_mode, wire_method, wire_mode,
    },
};
use crate::{
    desired::{AccountGrant, Entitlement, Grant, UnixGroupGrant},
    id::Id,
    name::{FullName, Login, ObjectName, Uid, UnixGroupName},
    statement::{HomeMode, PasswordPolicy, Restrictions, UnixGroup, UserKind},
    sudo::SudoRule,
    wire::{self, held_grant::Entitlement as Wire},
};

impl TryFrom<wire::HeldGrant> for Grant {
    type Error = Fault;

    fn try_from(wire: wire::HeldGrant) -> Result<Self, Fault> {
        let entitlement = match required(wire.entitlement, "entitlement")? {
            Wire::Account(account) => Entitlement::Account(account.try_into()?),
            Wire::Adoption(uid) => Entitlement::Adoption(Uid::parse(uid)?),
            Wire::Key(held) => {
                let key = required(held.key, "key")?;
                let restrictions = held.restrictions.map(Restrictions::try_from).transpose()?;
                Entitlement::Key {
                    key: key.try_into()?,
                    restrictions: restrictions.unwrap_or_default(),
                }
            }
            Wire::LoginMethod(method) => Entitlement::Login(login_method(method)?),
            Wire::UnixGroupMode(held) => {
                Entitlement::UnixGroupMode(Id::parse(&held.role)?, unix_group_mode(held.mode)?)
            }
            Wire::UnixGroup(group) => {
                let UnixGroup { name, gid, members } = group.try_into()?;
                Entitlement::UnixGroup(UnixGroupGrant { name, gid, members })
            }
            Wire::HostUnixGroup(name) => Entitlement::HostUnixGroup(UnixGroupName::parse(&name)?),
            Wire::Sudo(held) => {
                let rule = SudoRule::try_from(required(held.rule, "rule")?)?;
                Entitlement::Sudo(ObjectName::parse(&held.role)?, rule)
            }
            Wire::Password(policy) => Entitlement::Password(policy.into()),
        };
        Ok(Self {
            assignment: Id::parse(&wire.assignment)?,
            login: Login::parse(&wire.login)?,
            entitlement,
        })
    }
}

impl From<&Grant> for wire::HeldGrant {
    fn from(grant: &Grant) -> Self {
        let entitlement = match &grant.entitlement {
            Entitlement::Account(account) => Wire::Account(account.into()),
            Entitlement::Adoption(uid) => Wire::Adoption(uid.get()),
            Entitlement::Key { key, restrictions } => Wire::Key(wire::HeldKey {
                key: Some(key.into()),
                restrictions: (*restrictions != Restrictions::default())
                    .then(|| restrictions.into()),
            }),
            Entitlement::Login(method) => Wire::LoginMethod(wire_method(*method)),
            Entitlement::UnixGroupMode(role, mode) => {
                Wire::UnixGroupMode(wire::HeldUnixGroupMode {
                    role: role.as_bytes().to_vec(),
                    mode: wire_mode(*mode),
                })
            }
            Entitlement::UnixGroup(group) => {
                let UnixGroupGrant { name, gid, members } = group.clone();
                Wire::UnixGroup((&UnixGroup { name, gid, members }).into())
            }
            Entitlement::HostUnixGroup(name) => Wire::HostUnixGroup(name.to_string()),
            Entitlement::Sudo(role, rule) => {
                Wire::Sudo(wire::HeldSudo { role: role.to_string(), rule: Some(rule.into()) })
            }
            Entitlement::Password(policy) => Wire::Password((*policy).into()),
        };
        Self {
            assignment: grant.assignment.as_bytes().to_vec(),
            login: grant.login.to_string(),
            entitlement: Some(entitlement),
        }
    }
}

impl TryFrom<wire::HeldAccount> for AccountGrant {
    type Error = Fault;

    fn try_from(wire: wire::HeldAccount) -> Result<Self, Fault> {
        Ok(Self {
            user: Id::parse(&wire.user)?,
            uid: Uid::parse(wire.uid)?,
            name: FullName::parse(&wire.name)?,
            shell: some_path(&wire.shell)?,
            home: some_path(&wire.home)?,
            home_mode: some_home_mode(wire.home_mode)?,
            kind: match known::<wire::UserKind>(wire.kind, "kind")? {
                wire::UserKind::Person => UserKind::Person,
                wire::UserKind::Service => UserKind::Service,
            },
        })
    }
}

impl From<&AccountGrant> for wire::HeldAccount {
    fn from(account: &AccountGrant) -> Self {
        Self {
            user: account.user.as_bytes().to_vec(),
            uid: account.uid.get(),
            name: account.name.to_string(),
            shell: path_text(account.shell.as_ref()),
            home: path_text(account.home.as_ref()),
            home_mode: account.home_mode.map_or(0, HomeMode::bits),
            kind: match account.kind {
                UserKind::Person => wire::UserKind::Person,
                UserKind::Service => wire::UserKind::Service,
            }
            .into(),
        }
    }
}

impl From<wire::PasswordPolicy> for PasswordPolicy {
    fn from(wire: wire::PasswordPolicy) -> Self {
        Self {
            max_days: (wire.max_days != 0).then_some(wire.max_days),
            min_days: (wire.min_days != 0).then_some(wire.min_days),
            warn_days: (wire.warn_days != 0).then_some(wire.warn_days),
            inactive_days: wire.inactive_days,
            min_length: wire.min_length,
        }
    }
}

impl From<PasswordPolicy> for wire::PasswordPolicy {
    fn from(policy: PasswordPolicy) -> Self {
        Self {
            max_days: policy.max_days.unwrap_or_default(),
            min_length: policy.min_length,
            min_days: policy.min_days.unwrap_or_default(),
            warn_days: policy.warn_days.unwrap_or_default(),
            inactive_days: policy.inactive_days,
        }
    }
}
