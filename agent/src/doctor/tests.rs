//! Nothing is said of a host that is well; every finding is caused here, at its bound where it has
//! one, and comes alone with its cure.

mod facts;

use muster_proto::receipt;

use super::*;
use crate::{
    doctor::{
        ground::{Access, Base, Held, Holder},
        memory::{EXPIRES_SOON, RENEWED_BY_NOW, SKEW, Standing},
        units::Network,
        ways_in::{Emergency, Keys, Presence, Said},
    },
    format::{shadow::Password, subid::Range},
};

use facts::*;

#[test]
fn nothing_is_said_of_a_host_that_is_well() {
    none(|_| {});
}

#[test]
fn a_configuration_that_cannot_be_used_or_is_not_roots_is_found() {
    let bad = |facts: &mut Facts| facts.config = Err("`agent.toml` cannot be used: x".to_owned());
    one(bad, "configuration", "cannot be used: x", "--check-config");
    let others = |uid, mode| {
        move |facts: &mut Facts| facts.guards = vec![at("/etc/agent.toml", uid, 0, mode)]
    };
    one(others(0, 0o664), "configuration", "may change what `/etc/agent.toml`", "chmod go-w");
    one(others(7, 0o644), "configuration", "may change what `/etc/agent.toml`", "chown root");
    none(others(0, 0o600));
}

#[test]
fn a_host_that_does_not_belong_to_a_fleet_is_told_that_and_nothing_that_follows() {
    let alone = |standing: Standing| {
        move |facts: &mut Facts| {
            facts.memory.standing = standing;
            facts.memory.missing = vec!["identity".to_owned()];
            facts.memory.certificate = None;
            facts.units = Units::default();
        }
    };
    one(alone(Standing::NotJoined), "fleet", "has not joined", "muster host token");
    one(alone(Standing::Left), "fleet", "has left", "a new token");
}

#[test]
fn a_memory_that_is_lost_or_damaged_is_found() {
    let standing = |standing: Standing| move |facts: &mut Facts| facts.memory.standing = standing;
    one(standing(Standing::Lost), "ledger", "keeper/ledger` is missing", "muster-agent join");
    let damaged = Standing::Damaged("the ledger is damaged".to_owned());
    one(standing(damaged), "ledger", "is damaged", "mv /var/lib/muster-agent/keeper/ledger");
    let other = Standing::OtherKey("`key.der` is missing".to_owned());
    one(standing(other), "keeper's key", "`key.der` is missing", "as a new host");
    one(|facts| facts.memory.courier = None, "courier", "no account", "systemd-sysusers");
    let missing = |facts: &mut Facts| {
        facts.memory.missing = vec!["/x/identity".to_owned(), "/x/ca.der".to_owned()];
        facts.memory.certificate = None;
    };
    one(missing, "courier", "`/x/identity`, `/x/ca.der` are missing", "muster-agent leave");
}

#[test]
fn files_that_others_can_use_or_the_courier_cannot_are_found() {
    let keeper = |index: usize, uid, mode| {
        move |facts: &mut Facts| {
            facts.memory.keepers[index].looks = Looks { uid, gid: 0, mode };
        }
    };
    one(keeper(0, 0, 0o733), "state directory", "may write `/var/lib/muster-agent`", "chmod 711");
    none(keeper(0, 0, 0o755));
    one(
        keeper(1, 0, 0o710),
        "state directory",
        "may use",
        "chmod 700 /var/lib/muster-agent/keeper",
    );
    one(keeper(2, 0, 0o640), "state directory", "may use", "chmod 600");
    one(keeper(3, 8, 0o600), "state directory", "to uid 8 and not to root", "chown root:root");
    let courier = |index: usize, uid, mode| {
        move |facts: &mut Facts| {
            facts.memory.couriers[index].looks = Looks { uid, gid: 0, mode };
        }
    };
    one(courier(1, 0, 0o600), "courier", "identity` belongs to uid 0", "chown 990:980");
    one(courier(1, 990, 0o604), "courier", "others than the courier", "chmod 600");
    one(courier(1, 990, 0o200), "courier", "the courier itself may not", "chmod 600");
    one(courier(0, 990, 0o500), "courier", "the courier itself may not", "chmod 700");
}

#[test]
fn what_runs_out_is_told_from_its_bound_on() {
    let trust = |left: u64| {
        move |facts: &mut Facts| {
            facts.memory.standing = known(|known| known.trust_root.1 = NOW.plus(left));
        }
    };
    one(trust(0), "trust root", "trust root 1 has expired", "a coming version");
    one(trust(EXPIRES_SOON - 1), "trust root", "grants nothing new from", "a coming version");
    let age = |age: u64| {
        move |facts: &mut Facts| {
            facts.memory.standing = known(|known| known.changed = Some(Timestamp(NOW.0 - age)));
        }
    };
    one(age(STALE_AFTER), "change", "lets nothing new be given", "muster apply");
    none(age(STALE_AFTER - 1));
    let ends =
        |ends: u64| move |facts: &mut Facts| facts.memory.certificate = Some(Ok(Timestamp(ends)));
    one(ends(NOW.0 + RENEWED_BY_NOW - 1), "certificate", "should have been renewed", "journalctl");
    one(ends(NOW.0), "certificate", "was not renewed", "journalctl -u muster-agent-courier");
    one(ends(NOW.0 - 30 * 86_400 + 1), "certificate", "was not renewed", "journalctl");
    one(ends(NOW.0 - 30 * 86_400), "certificate", "too long ago", "muster-agent leave");
    let void = |facts: &mut Facts| facts.memory.certificate = Some(Err("not one".to_owned()));
    one(void, "certificate", "not one", "muster-agent leave");
}

#[test]
fn a_clock_that_is_behind_is_found_and_so_is_silence() {
    let believed = |ahead: u64| {
        move |facts: &mut Facts| {
            facts.memory.standing = known(|known| known.believed = NOW.plus(ahead));
        }
    };
    one(believed(SKEW + 1), "clock", "is behind what was signed", "timedatectl");
    none(believed(SKEW));
    one(|facts| facts.memory.heard = Some(NOW.plus(301)), "clock", "is behind", "timedatectl");
    let heard =
        |ago: u64| move |facts: &mut Facts| facts.memory.heard = Some(Timestamp(NOW.0 - ago));
    one(heard(601), "controller", "its newest word here is of", "journalctl");
    none(heard(600));
    let never = |ago: u64| {
        move |facts: &mut Facts| {
            facts.memory.heard = None;
            facts.units.opened = Some(Timestamp(NOW.0 - ago));
        }
    };
    one(never(601), "controller", "not a word from it since", "journalctl");
    none(never(600));
}

#[test]
fn units_that_do_not_do_their_work_are_found() {
    let with = |changed: &'static [(&str, &str)]| {
        move |facts: &mut Facts| facts.units.units[1] = unit(units::COURIER, changed)
    };
    let stopped: &[_] = &[("ActiveState", "inactive"), ("SubState", "dead")];
    one(with(stopped), "unit", "does not run", "systemctl start muster-agent-courier.service");
    let failed: &[_] = &[("ActiveState", "failed"), ("Result", "exit-code")];
    one(with(failed), "unit", "failed, running, exit-code", "journalctl");
    one(with(&[("LoadState", "masked")]), "unit", "is masked", "systemctl unmask");
    one(with(&[("LoadState", "not-found")]), "unit", "knows no", "install the package");
    one(with(&[("LoadState", "bad-setting")]), "unit", "cannot load", "systemctl status");
    for state in ["disabled", "enabled-runtime"] {
        let with = |facts: &mut Facts| {
            facts.units.units[1] = unit(units::COURIER, &[("UnitFileState", state)]);
        };
        one(with, "unit", "does not start with the system", "systemctl enable");
    }
    for never in ["0", "infinity"] {
        let with = |facts: &mut Facts| {
            facts.units.units[0] = unit(units::KEEPER, &[("WatchdogUSec", never)]);
        };
        one(with, "unit", "not started anew when it hangs", "WatchdogSec=3min");
    }
    one(with(&[("NeedDaemonReload", "yes")]), "unit", "does not count yet", "daemon-reload");
    none(with(&[("ActiveState", "reloading")]));
    let never: &[_] = &[("ActiveState", "inactive"), ("WatchdogUSec", "0")];
    one(with(never), "unit", "does not run", "systemctl start");
    none(|facts| facts.units.units.clear());
}

#[test]
fn a_keeper_that_is_left_in_the_network_of_the_host_is_found() {
    let network = |network| move |facts: &mut Facts| facts.units.network = network;
    let words = "is in the network of the host";
    one(network(Network::Host), "unit", words, "systemctl cat muster-agent.service");
    none(network(Network::Own));
    let keeper = |changed| Units { units: vec![unit(units::KEEPER, changed)], ..Units::default() };
    assert_eq!(keeper(&[]).keeper(), Some(17));
    assert_eq!(keeper(&[("MainPID", "0")]).keeper(), None);
}

#[test]
fn a_socket_that_is_not_the_keepers_is_found_where_a_keeper_runs() {
    let socket =
        |socket: Option<Place>| move |facts: &mut Facts| facts.units.socket.socket = socket;
    one(socket(None), "keeper's socket", "is not there", "systemctl restart muster-agent.service");
    let path = "/run/muster-agent/keeper.sock";
    for (uid, gid, mode) in [(5, 980, 0o660), (0, 0, 0o660), (0, 980, 0o666)] {
        one(
            socket(Some(at(path, uid, gid, mode))),
            "keeper's socket",
            "and not of 0:980",
            "restart",
        );
    }
    let directory = |uid, mode| {
        let place = at("/run/muster-agent", uid, 0, mode);
        move |facts: &mut Facts| facts.units.socket.directory = Some(place)
    };
    one(directory(0, 0o777), "keeper's socket", "pose as the keeper", "restart");
    one(directory(4, 0o755), "keeper's socket", "pose as the keeper", "restart");
    one(directory(0, 0o700), "keeper's socket", "is not let into", "restart");
    let dead = |facts: &mut Facts| {
        facts.units.units[0] = unit(units::KEEPER, &[("ActiveState", "failed")]);
        facts.units.socket.socket = None;
        facts.memory.heard = None;
        facts.units.opened = None;
    };
    one(dead, "unit", "`muster-agent.service` does not run", "journalctl");
}

#[test]
fn an_sshd_that_does_not_read_what_is_written_for_it_is_found() {
    let ill = |facts: &mut Facts| facts.ways_in.sshd = Said::Ill("line 3: Bad".to_owned());
    one(ill, "sshd", "refuses its configuration: line 3: Bad", "sshd -t");
    one(|facts| facts.ways_in.drop_ins = Presence::Missing, "sshd", "is missing", "mkdir -m 755");
    let config = |text: &'static str| {
        move |facts: &mut Facts| {
            facts.ways_in.sample = None;
            facts.ways_in.sshd_config = Some(text.to_owned());
        }
    };
    for without in [
        "",
        "# Include /etc/ssh/sshd_config.d/*.conf\n",
        "Include /etc/ssh/other.d/*.conf\n",
        "Match User eve\nInclude /etc/ssh/sshd_config.d/*.conf\n",
    ] {
        one(config(without), "sshd", "does not include", "Include /etc/ssh/sshd_config.d/*.conf");
    }
    for with in [
        "UsePAM yes\n  include \"/etc/ssh/sshd_config.d/*.conf\"\n",
        "Include=/etc/ssh/a.conf sshd_config.d/*.conf\n",
        "Match User eve\nMatch all\nInclude /etc/ssh/sshd_config.d/00-muster.conf\n",
        "Include /etc/ssh/*/*.conf\n",
    ] {
        none(config(with));
    }
    let other = |facts: &mut Facts| {
        facts.ways_in.sample = Some(("ana".to_owned(), "authorizedkeysfile /x/%u".to_owned()));
    };
    one(other, "sshd", "keys of `ana`", "no other `Match`");
    let with = |more: &str| {
        let said = format!("authorizedkeysfile /etc/ssh/muster-keys/%u\n{more}\n");
        move |facts: &mut Facts| facts.ways_in.sample = Some(("ana".to_owned(), said))
    };
    one(with("trustedusercakeys /etc/ca"), "sshd", "certificates", "set TrustedUserCAKeys");
    one(
        with("authorizedkeyscommand /x"),
        "sshd",
        "keys that a program",
        "set AuthorizedKeysCommand",
    );
    none(with("trustedusercakeys none\nauthorizedkeyscommand none"));
    let no_sshd = |facts: &mut Facts| {
        facts.ways_in =
            WaysIn { sshd: Said::Nothing, sshd_config: None, sample: None, ..well().ways_in };
        facts.ways_in.drop_ins = Presence::Missing;
    };
    none(no_sshd);
}

#[test]
fn sudo_that_does_not_read_what_is_written_for_it_is_found() {
    let ill = |facts: &mut Facts| facts.ways_in.visudo = Said::Ill("x:1: syntax error".to_owned());
    one(ill, "sudo", "x:1: syntax error", "visudo -c");
    one(|facts| facts.ways_in.rules = Presence::Missing, "sudo", "is missing", "mkdir -m 750");
    let text = |text: Option<&str>| {
        let text = text.map(str::to_owned);
        move |facts: &mut Facts| facts.ways_in.sudoers = text
    };
    for without in ["", "# @includedir /etc/sudoers.d\n", "@includedir /etc/other.d\n"] {
        one(text(Some(without)), "sudo", "does not include", "@includedir /etc/sudoers.d");
    }
    none(text(Some("#includedir /etc/sudoers.d/\n")));
    none(text(None));
}

#[test]
fn a_way_in_for_an_emergency_that_is_none_is_found() {
    let with = |change: fn(&mut Emergency)| {
        move |facts: &mut Facts| {
            let mut account = emergency();
            change(&mut account);
            facts.ways_in.emergency = [("ops".to_owned(), Some(account))].into();
        }
    };
    let gone = |facts: &mut Facts| facts.ways_in.emergency = [("ops".to_owned(), None)].into();
    one(gone, "break glass", "`ops` is no account", "useradd");
    one(with(|ops| ops.shell_is = Presence::Missing), "break glass", "its shell is", "usermod");
    one(with(|ops| ops.shell = "/usr/sbin/nologin".into()), "break glass", "its shell", "usermod");
    let today = NOW.0 / 86_400;
    assert_eq!(today, 20_779);
    one(with(|ops| ops.shut_from = Some(20_779)), "break glass", "has expired", "--expiredate");
    none(with(|ops| ops.shut_from = Some(20_780)));
    one(with(|ops| ops.password = Some(Password::Locked)), "break glass", "is locked", "--unlock");
    let nothing = |ops: &mut Emergency| {
        (ops.password, ops.unlocked) = (Some(Password::Locked), Password::Impossible);
    };
    one(with(nothing), "break glass", "neither a password nor a key", "passwd ops");
    one(
        with(|ops| ops.password = Some(Password::Impossible)),
        "break glass",
        "neither",
        "passwd ops",
    );
    one(with(|ops| ops.password = None), "break glass", "is locked", "--unlock");
    let by_key = |ops: &mut Emergency| {
        (ops.password, ops.keys) = (Some(Password::Locked), Keys::Some);
    };
    none(with(by_key));
    none(with(|ops| (ops.password, ops.keys) = (None, Keys::Unseen)));
    let no_way = |ops: &mut Emergency| ops.to_root = Presence::Missing;
    one(with(no_way), "break glass", "`ops` does not become root", "visudo");
    let without_pam = |facts: &mut Facts| {
        with(by_key)(facts);
        facts.ways_in.sshd = Said::Well("usepam no\n".to_owned());
    };
    one(without_pam, "break glass", "with `UsePAM no` sshd takes no key", "UsePAM yes");
}

#[test]
fn ground_that_does_not_bear_the_work_is_found() {
    let disk =
        |blocks, files| move |facts: &mut Facts| facts.ground.disks = vec![disk(blocks, files)];
    one(disk((49, 1_000), (50, 1_000)), "room", "less than 5 % of the disk of `/etc`", "make room");
    one(disk((50, 1_000), (49, 1_000)), "room", "less than 5 % of the files", "make room");
    none(disk((0, 0), (0, 0)));
    one(|facts| facts.ground.disks[0].access = Access::ReadOnly, "room", "is read-only", "mount");
    one(
        |facts| facts.ground.home_base = Base::Missing,
        "homes",
        "`/home` is missing",
        "install -d",
    );
    let unsound = Base::Unsound("`/home` is writable for others".to_owned());
    one(|facts| facts.ground.home_base = unsound, "homes", "writable for others", "no link");
    one(
        |facts| facts.ground.default_shell = Presence::Missing,
        "shell",
        "is missing",
        "install it",
    );
    let shells = |facts: &mut Facts| facts.ground.shells = Some("/bin/sh\n#/bin/bash\n".to_owned());
    one(shells, "shell", "does not stand in /etc/shells", "echo /bin/bash >>/etc/shells");
    let source = |facts: &mut Facts| facts.ground.source = Some("`sss` does not answer".to_owned());
    one(source, "other sources", "`sss` does not answer", "nsswitch.conf");
    let labels = |facts: &mut Facts| facts.ground.labels = Some(Err("cannot read".to_owned()));
    one(labels, "label", "does not start: cannot read", "key=value");
    let label = |facts: &mut Facts| {
        let [subject, detail] = ["env", "in `a` and again"].map(str::to_owned);
        let kind = receipt::FindingKind::Label.into();
        facts.ground.labels = Some(Ok(vec![receipt::Finding { kind, subject, detail }]));
    };
    one(label, "label", "`env`: in `a` and again", "key=value");
    let unseen = |facts: &mut Facts| facts.unseen.push(("uids", "cannot read `/x`".to_owned()));
    one(unseen, "uids", "cannot read `/x`", "run this again");
}

#[test]
fn numbers_that_others_may_run_as_are_found_from_the_first_to_the_last() {
    let range = |first, count| {
        let owner = "eve".to_owned();
        move |facts: &mut Facts| facts.ground.subordinate = vec![Range { owner, first, count }]
    };
    one(range(59_999, 2), "uids", "`eve` may run as 59999 to 60000", "uid_ranges");
    one(range(900, 101), "uids", "900 to 1000", "/etc/subuid");
    none(range(60_000, 65_536));
    none(range(900, 100));
    none(range(5_000, 0));
}

#[test]
fn a_lock_that_is_not_let_go_is_found_with_who_holds_it() {
    let held = |path: &str, by: Holder| {
        let held = Held { path: path.to_owned(), by, since: Some(NOW) };
        move |facts: &mut Facts| facts.ground.locks = vec![held]
    };
    let process = Holder::Process(77, "vipw".to_owned());
    one(held("/etc/.pwd.lock", process), "lock", "held by process 77 (`vipw`)", "wait for it");
    one(held("/etc/.pwd.lock", Holder::Unknown), "lock", "some process", "fuser");
    one(
        held("/etc/passwd.lock", Holder::Nobody),
        "lock",
        "names no process",
        "rm /etc/passwd.lock",
    );
}
