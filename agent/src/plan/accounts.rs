//! The accounts' own lines in passwd and shadow, and their primary Unix groups.

use std::collections::BTreeSet;

use muster_proto::{
    name::{AbsolutePath, Login},
    statement::UserKind,
};

use crate::{
    format::{
        Edit, Entry, Value, group, passwd,
        shadow::{self, Password},
    },
    observed::{Home, ObservedState},
    ownership::Origin,
    policy::HostPolicy,
};

use super::{
    action::{AccountEdits, NewHome, Note, note},
    judge::{Judged, Kept, Standing},
};

/// What the passwd and shadow lines need, with the words for it.
#[derive(Debug, Default)]
pub(super) struct Lines {
    pub(super) take: AccountEdits,
    pub(super) take_notes: Vec<Note>,
    pub(super) give: AccountEdits,
    pub(super) give_notes: Vec<Note>,
    pub(super) homes: Vec<NewHome>,
    /// Leaving accounts that were not locked until now.
    pub(super) locked: BTreeSet<String>,
}

impl Lines {
    pub(super) fn of(
        observed: &ObservedState,
        policy: &HostPolicy,
        judged: &Judged<'_>,
        today: u64,
    ) -> Self {
        let mut this = Self::default();
        for (login, leaving) in &judged.leaving {
            this.lock(observed, login.as_str(), leaving.owned.kind);
        }
        for (login, kept) in &judged.kept {
            match &kept.standing {
                Standing::New(home) => this.create(observed, policy, login, kept, home, today),
                Standing::Adopted(..) | Standing::Held(..) => {
                    this.keep(observed, policy, login, kept, today);
                }
            }
        }
        this
    }

    fn lock(&mut self, observed: &ObservedState, login: &str, kind: UserKind) {
        let before = self.take.shadow.len() + self.take.passwd.len();
        if let Some(entry) = observed.shadow.get(login) {
            self.take.shadow.extend(shadow::locking(login, entry, kind));
        } else if observed.passwd.get(login).is_some() {
            let line = shadow::locked_line(login, kind);
            self.take.shadow.push(Edit::Add { name: login.to_owned(), line });
        }
        if let Some(entry) = observed.passwd.get(login) {
            self.shadow_the_password(login, entry);
        }
        if self.take.shadow.len() + self.take.passwd.len() > before {
            let detail = match kind {
                UserKind::Person => "password locked, expired",
                UserKind::Service => "password locked",
            };
            self.take_notes.push(note("account-locked", login, detail));
            self.locked.insert(login.to_owned());
        }
    }

    /// A passwd line whose second field is not `x` carries a password of its own, perhaps none.
    fn shadow_the_password(&mut self, login: &str, entry: Entry<'_>) {
        if entry.field(1) != b"x" {
            self.take.passwd.push(set(login, 1, "x"));
        }
    }

    fn create(
        &mut self,
        observed: &ObservedState,
        policy: &HostPolicy,
        who: &Login,
        kept: &Kept<'_>,
        home: &str,
        today: u64,
    ) {
        let login = who.as_str();
        let grant = &kept.account.grant;
        let uid = kept.uid.get();
        let line = passwd::NewLine {
            login,
            uid,
            name: grant.name.as_str(),
            home,
            shell: grant.shell.as_ref().unwrap_or(&policy.default_shell).as_str(),
        };
        let name = || login.to_owned();
        self.give.passwd.push(Edit::Add { name: name(), line: line.render() });
        if let Some(entry) = observed.shadow.get(login) {
            self.give.shadow.extend(shadow::opening(login, entry, None, expire_day(kept), today));
        } else {
            let line = shadow::new_line(login, today, expire_day(kept));
            self.give.shadow.push(Edit::Add { name: name(), line });
        }
        let nobody = BTreeSet::new();
        if observed.group.get(login).is_none() {
            let line = group::new_group_line(login, uid, &nobody);
            self.give.group.push(Edit::Add { name: name(), line });
        }
        if observed.gshadow.as_ref().is_some_and(|gshadow| gshadow.get(login).is_none()) {
            let line = group::new_gshadow_line(login, &nobody);
            self.give.gshadow.push(Edit::Add { name: name(), line });
        }
        self.give_notes.push(note("account-created", login, format!("uid {uid}, home {home}")));
        self.build_home(observed, policy, who, kept, home);
    }

    fn keep(
        &mut self,
        observed: &ObservedState,
        policy: &HostPolicy,
        who: &Login,
        kept: &Kept<'_>,
        today: u64,
    ) {
        let login = who.as_str();
        let (entry, created, home) = match &kept.standing {
            Standing::Adopted(entry, _) => (*entry, false, None),
            Standing::Held(entry, owned) => {
                let home = owned.home.as_ref().map(AbsolutePath::as_str);
                (*entry, owned.origin == Origin::Created, home)
            }
            Standing::New(_) => return,
        };
        let held = matches!(kept.standing, Standing::Held(..));
        // A primary Unix group is one more that somebody is in: it goes before anything is given.
        if created && entry.number(passwd::GID) != Some(kept.gid) {
            self.take.passwd.push(set(login, passwd::GID, &kept.gid.to_string()));
            self.take_notes.push(note("account-changed", login, "primary gid"));
        }
        let mut changes: Vec<&str> = Vec::new();
        self.shadow_the_password(login, entry);
        let shell = kept.account.grant.shell.as_ref();
        let shell = shell.or_else(|| created.then_some(&policy.default_shell));
        if let Some(shell) =
            shell.filter(|shell| entry.field(passwd::SHELL) != shell.as_str().as_bytes())
        {
            self.give.passwd.push(set(login, passwd::SHELL, shell.as_str()));
            changes.push("shell");
        }
        if created
            && let Some(gecos) = passwd::with_name(entry, kept.account.grant.name.as_str())
            && entry.field(passwd::GECOS) != gecos.as_bytes()
        {
            self.give.passwd.push(set(login, passwd::GECOS, &gecos));
            changes.push("name");
        }
        let place = home.unwrap_or_else(|| entry.text(passwd::HOME).unwrap_or_default());
        if created && entry.field(passwd::HOME) != place.as_bytes() {
            self.give.passwd.push(set(login, passwd::HOME, place));
            changes.push("home");
        }
        let mut unlocked = false;
        if let Some(line) = observed.shadow.get(login) {
            let policy = kept.account.password;
            let state = Password::of(line.field(shadow::PASSWORD));
            unlocked = state == Password::Locked || line.field(shadow::EXPIRE) == b"1";
            for edit in shadow::opening(login, line, policy, expire_day(kept), today) {
                let takes = matches!(edit, Edit::Set { field: shadow::PASSWORD, .. })
                    && matches!(state, Password::Set | Password::Empty);
                if takes && held {
                    self.take_notes.push(note("account-changed", login, "password removed"));
                    self.take.shadow.push(edit);
                } else {
                    self.give.shadow.push(edit);
                    changes.push("shadow");
                }
            }
        } else {
            let line = shadow::new_line(login, today, expire_day(kept));
            self.give.shadow.push(Edit::Add { name: login.to_owned(), line });
            changes.push("shadow");
        }
        changes.dedup();
        let detail = changes.join(", ");
        if !held {
            let with =
                if kept.account.password.is_some() { "password kept" } else { "no password" };
            let detail = format!(
                "uid {} and primary gid {} kept, {with}; its own authorized_keys no longer count",
                kept.uid, kept.gid
            );
            self.give_notes.push(note("account-adopted", login, detail));
        } else if unlocked {
            self.give_notes.push(note("account-unlocked", login, detail));
        } else if !changes.is_empty() {
            self.give_notes.push(note("account-changed", login, detail));
        }
        if created {
            self.build_home(observed, policy, who, kept, place);
        }
    }

    fn build_home(
        &mut self,
        observed: &ObservedState,
        policy: &HostPolicy,
        login: &Login,
        kept: &Kept<'_>,
        path: &str,
    ) {
        if observed.homes.get(login) == Some(&Home::Absent) {
            let mode = kept.account.grant.home_mode.unwrap_or(policy.home_mode).bits();
            let (login, path) = (login.clone(), path.to_owned());
            self.homes.push(NewHome { login, uid: kept.uid.get(), gid: kept.gid, path, mode });
        }
    }
}

/// The day from which the system itself shuts the account; never for a service identity, since that
/// breaks `su SERVICE -c`.
fn expire_day(kept: &Kept<'_>) -> Option<u64> {
    let person = kept.account.grant.kind == UserKind::Person;
    kept.account.ends.filter(|_| person).map(shadow::expire_day)
}

fn set(login: &str, field: usize, text: &str) -> Edit {
    Edit::Set { name: login.to_owned(), field, value: Value::Text(text.to_owned()) }
}
