//! `plan`: from what a host has and what it is to have, to actions that leave no choice. Pure.
//!
//! The order is written here and nowhere else. Taking away comes before giving, so that at no
//! instant somebody has the old and the new right together. Taking away goes from the most
//! privileged to the least (sudo, Unix groups and shadow, keys, jobs, sessions): whoever is stopped
//! half-way has lost what mattered. What is purged goes after all that. Giving goes the other way
//! (account, home, keys, sshd, sudo): a stop leaves an account that can do less than it should. What
//! a failed taking-away stops is in `apply`.

mod access;
mod accounts;
pub mod action;
mod judge;
pub mod leave;
mod numbers;
mod purge;
mod quality;
mod unix_groups;

use std::collections::{BTreeMap, BTreeSet};

use muster_proto::{
    desired::DesiredState,
    name::{AbsolutePath, Login},
    receipt::FindingKind,
    time::Timestamp,
};

pub use self::action::{
    AccountEdits, Action, Departed, Ending, Files, Leaver, NewHome, Note, Phase, Plan, Planned,
    Purged,
};
use self::{
    access::{KEY_WORDS, SUDO_WORDS},
    accounts::Lines,
    action::{finding, note},
    judge::{Judged, Standing, judge},
    unix_groups::Membership,
};
use crate::{
    format::{passwd, ssh},
    observed::ObservedState,
    ownership::{Origin, OwnedAccount, Ownership},
    policy::{AccountName, HostPolicy},
};

/// Returns what has to be done on this host.
pub fn plan(
    observed: &ObservedState,
    desired: &DesiredState,
    ownership: &Ownership,
    policy: &HostPolicy,
    now: Timestamp,
) -> Plan {
    let judged = judge(observed, desired, ownership, policy);
    let membership = Membership::of(observed, desired, ownership, policy, &judged);
    let mut findings = membership.findings.clone();
    let sudo = access::sudo(observed, desired, policy, &judged, &mut findings);
    let (keys, key_losers) = access::keys(observed, policy, &judged, &mut findings);
    let drop_in = access::drop_in(observed, &judged, &mut findings);
    let quality = quality::quality(observed, &judged, &mut findings);
    let mut lines = Lines::of(observed, policy, &judged, now.0 / 86_400);
    lines.take_notes.extend(membership.take(observed, &mut lines.take));
    lines.give_notes.extend(membership.give(observed, &mut lines.give));
    let endings = endings(observed, &judged, &membership, &key_losers, &lines.locked);
    let jobs = jobs(observed, &judged);
    let departed = departed(observed, &judged, now);
    let purged = purge::purged(observed, &judged, policy, &lines.locked, now);
    let set_aside = judged.kept.keys().filter(|login| observed.set_aside.contains(**login));
    findings.extend(set_aside.map(|login| {
        finding(
            FindingKind::JobsSetAside,
            login,
            "crontab or at jobs from before the lock stay set aside",
        )
    }));
    if !judged.leaving.is_empty() {
        findings.extend(observed.unseen_jobs.iter().map(|place| {
            finding(
                FindingKind::JobsUnseen,
                place,
                "a link: jobs of a locked account there stay as they are",
            )
        }));
    }
    let missing = |name: &&AccountName| observed.passwd.get(name.as_str()).is_none();
    findings.extend(policy.protected.iter().filter(missing).map(|name| {
        finding(
            FindingKind::ProtectedMissing,
            name,
            "the host protects it, and it is no account of this host",
        )
    }));
    findings.extend(judged.findings.iter().cloned());
    findings.sort();

    let ownership_after = intended(ownership, &judged, &membership, &endings);
    let mut order = Order::default();
    order.files(Phase::Take, Action::Sudo, sudo.take, |files| SUDO_WORDS.take(files));
    order.accounts(Phase::Take, lines.take, lines.take_notes);
    order.files(Phase::Take, Action::Keys, keys.take, |files| KEY_WORDS.take(files));
    order.drop_in(Phase::Take, drop_in.take);
    order.leavers(Action::Jobs, "jobs-set-aside", jobs);
    order.leavers(Action::Sessions, "sessions-ended", endings);
    order.departed(departed);
    order.purged(purged);
    if observed.purging {
        order.sweep(policy.home_base.as_str());
    }
    // Before anybody is given a password to choose; gone, with the last who had one.
    order.files(Phase::Take, Action::PasswordPolicy, quality, quality::notes);
    order.accounts(Phase::Give, lines.give, lines.give_notes);
    order.homes(lines.homes);
    order.files(Phase::Give, Action::Keys, keys.give, |files| KEY_WORDS.give(files));
    order.drop_in(Phase::Give, drop_in.give);
    order.files(Phase::Give, Action::Sudo, sudo.give, |files| SUDO_WORDS.give(files));
    Plan { actions: order.actions, findings, ownership_after }
}

/// Whose sessions end: those who are locked, and those who lost a key or a way to root.
fn endings(
    observed: &ObservedState,
    judged: &Judged<'_>,
    membership: &Membership<'_>,
    key_losers: &BTreeSet<&str>,
    locked: &BTreeSet<String>,
) -> Vec<Leaver> {
    let leaving = judged.leaving.iter().filter(|(login, leaving)| {
        let running = observed.running.get(&leaving.owned.uid.get());
        leaving.alone
            && (locked.contains(login.as_str())
                || leaving.owned.sessions_owed
                || running.is_some_and(|running| running.processes > 0))
    });
    let leaving = leaving.map(|(login, leaving)| leaver(observed, login, leaving));
    let kept = judged.kept.iter().filter(|(login, kept)| {
        let owed = matches!(kept.standing, Standing::Held(_, owned) if owned.sessions_owed);
        let login = login.as_str();
        owed || key_losers.contains(login) || membership.losers.contains(login)
    });
    let kept = kept.map(|(login, kept)| Leaver {
        login: (*login).clone(),
        uid: kept.uid.get(),
        has_its_uid: true,
        subuids: observed.own_subuids.get(*login).cloned().unwrap_or_default(),
        ending: Ending::Kept,
    });
    leaving.chain(kept).collect()
}

fn jobs(observed: &ObservedState, judged: &Judged<'_>) -> Vec<Leaver> {
    let leaving = judged.leaving.iter().filter(|(login, _)| observed.jobs.contains(**login));
    leaving.map(|(login, leaving)| leaver(observed, login, leaving)).collect()
}

fn leaver(observed: &ObservedState, login: &Login, leaving: &judge::Leaving<'_>) -> Leaver {
    Leaver {
        login: login.clone(),
        uid: leaving.owned.uid.get(),
        has_its_uid: leaving.has_its_uid(),
        subuids: observed.own_subuids.get(login).cloned().unwrap_or_default(),
        ending: Ending::Locked(leaving.owned.kind),
    }
}

/// Of whom it is yet to be told what they leave behind: once for each lock, when all else is taken.
fn departed(observed: &ObservedState, judged: &Judged<'_>, now: Timestamp) -> Vec<Departed> {
    let untold = judged.leaving.iter().filter(|(_, leaving)| leaving.owned.locked_at.is_none());
    let departed = |(login, leaving): (&&Login, &judge::Leaving<'_>)| Departed {
        login: (*login).clone(),
        uid: leaving.owned.uid.get(),
        home: observed
            .passwd
            .get(login.as_str())
            .and_then(|entry| entry.text(passwd::HOME))
            .map(str::to_owned),
        subuids: observed.own_subuids.get(*login).cloned().unwrap_or_default(),
        at: now,
    };
    untold.map(departed).collect()
}

/// What is Muster's if all goes well, with the sessions that have yet to end: if the keeper is
/// stopped in between, the next plan ends them.
fn intended(
    ownership: &Ownership,
    judged: &Judged<'_>,
    membership: &Membership<'_>,
    endings: &[Leaver],
) -> Ownership {
    let others = ownership.accounts.iter().filter(|(login, _)| !judged.kept.contains_key(login));
    let mut accounts: BTreeMap<_, _> =
        others.map(|(login, owned)| (login.clone(), owned.clone())).collect();
    for (login, kept) in &judged.kept {
        let (origin, home) = match &kept.standing {
            Standing::New(home) => (Origin::Created, AbsolutePath::parse(home).ok()),
            Standing::Held(_, owned) => (owned.origin.clone(), owned.home.clone()),
            Standing::Adopted(_, before) => (Origin::Adopted(before.clone()), None),
        };
        let given = membership.given.get(*login).cloned().unwrap_or_default();
        let owned = OwnedAccount {
            uid: kept.uid,
            origin,
            home,
            kind: kept.account.grant.kind,
            mode: kept.account.unix_group_mode,
            given,
            sessions_owed: false,
            locked_at: None,
        };
        accounts.insert((*login).clone(), owned);
    }
    for leaver in endings {
        if let Some(account) = accounts.get_mut(&leaver.login) {
            account.sessions_owed = true;
        }
    }
    Ownership { accounts, unix_groups: membership.owned.clone() }
}

#[derive(Default)]
struct Order {
    actions: Vec<Planned>,
}

impl Order {
    fn files(
        &mut self,
        phase: Phase,
        action: impl Fn(Files) -> Action,
        files: Files,
        words: impl Fn(&Files) -> Vec<Note>,
    ) {
        if !files.is_empty() {
            let notes = words(&files);
            self.actions.push(Planned { phase, action: action(files), notes });
        }
    }

    fn accounts(&mut self, phase: Phase, edits: AccountEdits, notes: Vec<Note>) {
        if !edits.is_empty() {
            self.actions.push(Planned { phase, action: Action::Accounts(edits), notes });
        }
    }

    fn drop_in(&mut self, phase: Phase, text: Option<String>) {
        if let Some(text) = text {
            let notes = vec![note("sshd-configured", "sshd", ssh::DROP_IN)];
            let write = [(ssh::DROP_IN.to_owned(), text)].into();
            let action = Action::DropIn(Files { write, ..Files::default() });
            self.actions.push(Planned { phase, action, notes });
        }
    }

    fn leavers(
        &mut self,
        action: impl Fn(Vec<Leaver>) -> Action,
        word: &'static str,
        leavers: Vec<Leaver>,
    ) {
        if !leavers.is_empty() {
            let notes = leavers.iter().map(|leaver| note(word, &leaver.login, "")).collect();
            self.actions.push(Planned { phase: Phase::Take, action: action(leavers), notes });
        }
    }

    fn departed(&mut self, departed: Vec<Departed>) {
        if !departed.is_empty() {
            let notes = departed.iter().map(|one| note("left-behind", &one.login, "")).collect();
            let action = Action::LeftBehind(departed);
            self.actions.push(Planned { phase: Phase::Take, action, notes });
        }
    }

    fn purged(&mut self, purged: Vec<Purged>) {
        if !purged.is_empty() {
            let notes = purged.iter().map(|one| note("account-purged", &one.login, "")).collect();
            self.actions.push(Planned { phase: Phase::Take, action: Action::Purge(purged), notes });
        }
    }

    fn sweep(&mut self, place: &str) {
        let notes = vec![note("homes-removed", place, "")];
        let action = Action::Sweep(place.to_owned());
        self.actions.push(Planned { phase: Phase::Take, action, notes });
    }

    fn homes(&mut self, homes: Vec<NewHome>) {
        if !homes.is_empty() {
            let notes = homes.iter().map(|home| note("home-created", &home.login, &*home.path));
            let notes = notes.collect();
            self.actions.push(Planned { phase: Phase::Give, action: Action::Homes(homes), notes });
        }
    }
}
