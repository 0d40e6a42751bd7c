//! What accounts a host has, between wire and domain.

use super::{Fault, known};
use crate::{
    inventory::{Inventory, LocalAccount, LocalPassword},
    wire,
};

impl TryFrom<wire::Inventory> for Inventory {
    type Error = Fault;

    fn try_from(wire: wire::Inventory) -> Result<Self, Fault> {
        let accounts = wire.accounts.into_iter().map(LocalAccount::try_from);
        Ok(Self { accounts: accounts.collect::<Result<_, _>>()?, more: wire.more })
    }
}

impl From<&Inventory> for wire::Inventory {
    fn from(inventory: &Inventory) -> Self {
        let accounts = inventory.accounts.iter().map(wire::LocalAccount::from);
        Self { accounts: accounts.collect(), more: inventory.more }
    }
}

impl TryFrom<wire::LocalAccount> for LocalAccount {
    type Error = Fault;

    fn try_from(wire: wire::LocalAccount) -> Result<Self, Fault> {
        let password = known::<wire::LocalPassword>(wire.password, "password")?;
        let wire::LocalAccount {
            login, uid, name, shell, shut, keys, root_by, unknown, owned, ..
        } = wire;
        let password = match password {
            wire::LocalPassword::None => LocalPassword::None,
            wire::LocalPassword::Set => LocalPassword::Set,
            wire::LocalPassword::Empty => LocalPassword::Empty,
            wire::LocalPassword::Locked => LocalPassword::Locked,
            wire::LocalPassword::Unspecified => return Err(Fault::Missing("password")),
        };
        Ok(Self { login, uid, name, shell, password, shut, keys, root_by, unknown, owned })
    }
}

impl From<&LocalAccount> for wire::LocalAccount {
    fn from(account: &LocalAccount) -> Self {
        let LocalAccount { login, uid, name, shell, password, shut, keys, root_by, unknown, owned } =
            account.clone();
        let password = match password {
            LocalPassword::None => wire::LocalPassword::None,
            LocalPassword::Set => wire::LocalPassword::Set,
            LocalPassword::Empty => wire::LocalPassword::Empty,
            LocalPassword::Locked => wire::LocalPassword::Locked,
        };
        let password = password.into();
        Self { login, uid, name, shell, password, shut, keys, root_by, unknown, owned }
    }
}
