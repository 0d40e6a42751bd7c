//! Asks sshd, visudo and the account files how people get in.

use crate::{
    config::Config,
    doctor::ways_in::{Emergency, Keys, Presence, Said, WaysIn},
    format::{
        Entry, Table, group, passwd,
        shadow::{self, Password},
        ssh, sudoers,
    },
    host::{
        files::{is_regular, split},
        inventory::sudo_rules,
        ssh::connection,
    },
    inventory::{Sudo, emergency::becomes_root},
};

use super::Look;

impl Look<'_> {
    pub(super) fn ways_in(&mut self, config: Option<&Config>, passwd: &Table) -> WaysIn {
        let sshd = said(self.programs.status("sshd", &["-T"]), |_| true);
        let marked = self.table("group");
        let members = marked.get(ssh::MARKER).into_iter().flat_map(group::members);
        let sample = members.into_iter().find(|login| passwd.get(login).is_some());
        let sample = sample.and_then(|login| Some((login.to_owned(), self.sshd_of(login)?)));
        let visudo = self.programs.status("visudo", &["-c"]);
        let shadow = self.table("shadow");
        let sudoers = self.text("sudo", "etc/sudoers");
        let sudo = match &sudoers {
            Some(_) => sudo_rules(self.programs),
            None => Sudo::Rules(Vec::new()),
        };
        let to_root = |entry| {
            let becomes_root = becomes_root(entry, &marked, &shadow, &sudo);
            if becomes_root { Presence::There } else { Presence::Missing }
        };
        let break_glass = config.into_iter().flat_map(|config| &config.policy.break_glass);
        let emergency = break_glass.map(|login| {
            let entry = passwd.get(login.as_str());
            let line = shadow.get(login.as_str());
            let account = entry.map(|entry| self.emergency(entry, line, &sshd, to_root(entry)));
            (login.to_string(), account)
        });
        let emergency = emergency.collect();
        WaysIn {
            sshd_config: self.text("sshd", "etc/ssh/sshd_config"),
            drop_ins: self.directory(ssh::DROP_IN_DIRECTORY),
            sample,
            visudo: said(visudo, |line| !line.ends_with("parsed OK")),
            sudoers,
            rules: self.directory(sudoers::DIRECTORY),
            emergency,
            sshd,
        }
    }

    fn directory(&self, path: &str) -> Presence {
        if self.at(path).is_dir() { Presence::There } else { Presence::Missing }
    }

    /// Returns what sshd would do with somebody who comes from this machine itself.
    fn sshd_of(&self, login: &str) -> Option<String> {
        let who = connection(login);
        match said(self.programs.status("sshd", &["-T", "-C", &who]), |_| true) {
            Said::Well(said) => Some(said),
            Said::Ill(_) | Said::Nothing => None,
        }
    }

    fn emergency(
        &self,
        entry: Entry<'_>,
        line: Option<Entry<'_>>,
        sshd: &Said,
        to_root: Presence,
    ) -> Emergency {
        // An empty field is this shell (passwd(5)).
        let shell = entry.text(passwd::SHELL).filter(|shell| !shell.is_empty());
        let shell = shell.unwrap_or("/bin/sh");
        let is_there = self.at(shell).is_file();
        let password = line.map(|line| line.field(shadow::PASSWORD));
        Emergency {
            shell: shell.to_owned(),
            shell_is: if is_there { Presence::There } else { Presence::Missing },
            password: password.map(Password::of),
            unlocked: Password::of(shadow::unlocked(password.unwrap_or_default())),
            shut_from: line.and_then(|line| line.number(shadow::EXPIRE)).map(u64::from),
            keys: match sshd {
                Said::Nothing => Keys::None,
                _ => self.keys_of(entry.text(0).unwrap_or_default(), entry),
            },
            to_root,
        }
    }

    /// Looks where sshd looks for keys, if that is in the home and nowhere else. No file is read
    /// and no link followed.
    fn keys_of(&self, login: &str, entry: Entry<'_>) -> Keys {
        let (Some(said), Some(home)) = (self.sshd_of(login), entry.text(passwd::HOME)) else {
            return Keys::Unseen;
        };
        let value = |keyword: &str| {
            said.lines().find_map(|line| line.strip_prefix(keyword)?.strip_prefix(' '))
        };
        let nowhere_else = ["authorizedkeyscommand", "trustedusercakeys"]
            .iter()
            .all(|keyword| matches!(value(keyword), None | Some("none")));
        let Some(files) = value("authorizedkeysfile").filter(|_| nowhere_else) else {
            return Keys::Unseen;
        };
        for file in files.split(' ') {
            if file.starts_with('/') || file.contains('%') {
                return Keys::Unseen;
            }
            let (place, name) = split(file);
            let found = self.root.walk(&format!("{home}/{place}"));
            match found.and_then(|dir| dir.map_or(Ok(None), |dir| dir.stat(name))) {
                Ok(Some(found)) if !is_regular(&found) => return Keys::Unseen,
                Ok(Some(found)) if found.st_size > 0 => return Keys::Some,
                Ok(_) => {}
                Err(_) => return Keys::Unseen,
            }
        }
        Keys::None
    }
}

/// Reads how a program ended; where it complains, the first line that says something.
fn said(
    ended: Option<Result<(i32, String), String>>,
    says_something: impl Fn(&str) -> bool,
) -> Said {
    match ended {
        None => Said::Nothing,
        Some(Ok((0, output))) => Said::Well(output),
        Some(Ok((status, output))) => {
            let mut lines = output.lines().map(str::trim);
            let line = lines.find(|line| !line.is_empty() && says_something(line));
            Said::Ill(line.map_or_else(|| format!("status {status}"), str::to_owned))
        }
        Some(Err(reason)) => Said::Ill(reason),
    }
}
