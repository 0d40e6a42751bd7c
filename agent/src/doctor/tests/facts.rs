//! A host that is well, and what is asked of one that is not.

use std::{fmt::Write, path::Path};

use super::super::*;
use crate::{
    doctor::{
        ground::{Access, Disk},
        memory::{EXPIRES_SOON, Known, RENEWED_BY_NOW, Standing},
        units::{Network, Socket, Unit},
        ways_in::{Emergency, Keys, Presence, Said},
    },
    format::shadow::Password,
};

pub(super) const NOW: Timestamp = Timestamp(1_795_305_909);
pub(super) const COURIER: (u32, u32) = (990, 980);
pub(super) const STALE_AFTER: u64 = 90 * 86_400;

pub(super) fn at(path: &str, uid: u32, gid: u32, mode: u32) -> Place {
    Place { path: path.to_owned(), looks: Looks { uid, gid, mode } }
}

pub(super) fn unit(name: &str, changed: &[(&str, &str)]) -> Unit {
    let mut text = format!("Id={name}\n");
    let well = [
        ("LoadState", "loaded"),
        ("ActiveState", "active"),
        ("SubState", "running"),
        ("Result", "success"),
        ("UnitFileState", "enabled"),
        ("WatchdogUSec", "3min"),
        ("NeedDaemonReload", "no"),
        ("MainPID", "17"),
    ];
    for (property, value) in well {
        let other = changed.iter().find(|(changed, _)| *changed == property);
        let value = other.map_or(value, |(_, value)| value);
        writeln!(text, "{property}={value}").unwrap();
    }
    Unit::parse_all(&text).remove(0)
}

pub(super) fn known(change: impl FnOnce(&mut Known)) -> Standing {
    let mut known = Known {
        trust_root: (1, NOW.plus(EXPIRES_SOON)),
        stale_after: STALE_AFTER,
        changed: Some(NOW),
        believed: NOW,
    };
    change(&mut known);
    Standing::Joined(known)
}

pub(super) fn emergency() -> Emergency {
    Emergency {
        shell: "/bin/bash".to_owned(),
        shell_is: Presence::There,
        password: Some(Password::Set),
        unlocked: Password::Set,
        shut_from: None,
        keys: Keys::None,
        to_root: Presence::There,
    }
}

/// A host that is well.
pub(super) fn well() -> Facts {
    let state = "/var/lib/muster-agent";
    let keepers = ["keeper", "keeper/ledger", "keeper/key.der"];
    let keepers = keepers.map(|name| {
        at(&format!("{state}/{name}"), 0, 0, if name == "keeper" { 0o700 } else { 0o600 })
    });
    let couriers = [("courier", 0o700), ("courier/identity", 0o600), ("courier/ca.der", 0o600)];
    let couriers =
        couriers.map(|(name, mode)| at(&format!("{state}/{name}"), COURIER.0, COURIER.1, mode));
    let text = "mode = 'enforce'\nbreak_glass = ['ops']\n";
    let sshd = "usepam yes\nauthorizedkeysfile .ssh/authorized_keys\n";
    Facts {
        config: Ok(Config::parse(text, Path::new("agent.toml")).unwrap()),
        guards: vec![at("/etc/muster/agent.toml", 0, 0, 0o644)],
        memory: Memory {
            directory: state.to_owned(),
            standing: known(|_| {}),
            courier: Some(COURIER),
            keepers: [&[at(state, 0, 0, 0o711)], keepers.as_slice()].concat(),
            couriers: couriers.to_vec(),
            missing: Vec::new(),
            certificate: Some(Ok(NOW.plus(RENEWED_BY_NOW))),
            heard: Some(NOW),
        },
        units: Units {
            units: vec![unit(units::KEEPER, &[]), unit(units::COURIER, &[])],
            socket: Socket {
                directory: Some(at("/run/muster-agent", 0, 0, 0o755)),
                socket: Some(at("/run/muster-agent/keeper.sock", 0, COURIER.1, 0o660)),
            },
            opened: Some(NOW),
            network: Network::Own,
        },
        ways_in: WaysIn {
            sshd: Said::Well(sshd.to_owned()),
            sshd_config: Some("Include /etc/ssh/sshd_config.d/*.conf\n".to_owned()),
            drop_ins: Presence::There,
            sample: Some(("ana".to_owned(), "authorizedkeysfile /etc/ssh/muster-keys/%u".into())),
            visudo: Said::Well(String::new()),
            sudoers: Some("root ALL=(ALL:ALL) ALL\n@includedir /etc/sudoers.d\n".to_owned()),
            rules: Presence::There,
            emergency: [("ops".to_owned(), Some(emergency()))].into(),
        },
        ground: Ground {
            disks: vec![disk((50, 1_000), (50, 1_000))],
            shells: Some("# shells\n/bin/bash\n".to_owned()),
            labels: Some(Ok(Vec::new())),
            ..Ground::default()
        },
        unseen: Vec::new(),
    }
}

pub(super) fn disk(blocks: (u64, u64), files: (u64, u64)) -> Disk {
    Disk { of: "/etc".to_owned(), blocks, files, access: Access::Write }
}

/// Changes what is well, and asserts that one thing is found, about this and with these words.
#[track_caller]
pub(super) fn one(change: impl FnOnce(&mut Facts), subject: &str, fault: &str, cure: &str) {
    let mut facts = well();
    change(&mut facts);
    let found = findings(&facts, NOW);
    let [finding] = found.as_slice() else { panic!("{subject}, {fault}: {found:?}") };
    assert_eq!(finding.subject, subject);
    assert!(finding.fault.contains(fault), "{finding:?}");
    assert!(finding.cure.contains(cure), "{finding:?}");
    assert!(!finding.fault.contains('\n') && !finding.cure.contains('\n'), "{finding:?}");
}

#[track_caller]
pub(super) fn none(change: impl FnOnce(&mut Facts)) {
    let mut facts = well();
    change(&mut facts);
    assert_eq!(findings(&facts, NOW), []);
}
