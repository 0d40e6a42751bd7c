//! `apply`: does a plan's actions in their order through a `Host`, with one outcome for each note.
//! It decides nothing but what a failure stops: a failed taking-away stops the giving of the same
//! kind, and a failed rewrite of the account files stops all giving that rests on it.

use std::collections::BTreeSet;

use muster_proto::{
    name::Login,
    receipt::{Convergence, Outcome},
};

use crate::{
    host::{Host, Report},
    ownership::Ownership,
    plan::{Action, Departed, Phase, Plan, Planned},
};

/// What became of a plan.
#[derive(Debug)]
pub struct Applied {
    /// One for each note, in order.
    pub outcomes: Vec<Outcome>,
    /// What is Muster's now: to be saved.
    pub ownership: Ownership,
    /// Whether something has to be tried again.
    pub convergence: Convergence,
    /// Whether somebody else was at the same files, so that another look at them is worth while.
    pub outrun: bool,
    /// Whose jobs had come back after the host was looked at, and were set aside.
    pub jobs_back: BTreeSet<Login>,
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Area {
    Sudo,
    Accounts,
    Keys,
    DropIn,
    PasswordPolicy,
    Processes,
    Purge,
    Homes,
}

/// How much of a plan is done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reach {
    /// All of it.
    Everything,
    /// Only what takes away: what is given could not be remembered as Muster's.
    TakingAway,
}

/// Does a plan. If everything is done, the keeper has saved `plan.ownership_after` before; `before`
/// is what it had then.
pub fn apply(plan: &Plan, reach: Reach, before: &Ownership, host: &mut dyn Host) -> Applied {
    let (ownership, phases) = match reach {
        Reach::Everything => (&plan.ownership_after, [Phase::Take, Phase::Give].as_slice()),
        Reach::TakingAway => (before, [Phase::Take].as_slice()),
    };
    let mut run = Run {
        outcomes: Vec::new(),
        ownership: ownership.clone(),
        failed: BTreeSet::new(),
        outrun: false,
        jobs_back: BTreeSet::new(),
    };
    for &phase in phases {
        let actions: Vec<&Planned> = plan.actions.iter().filter(|a| a.phase == phase).collect();
        if actions.is_empty() {
            continue;
        }
        host.prepare(&actions.iter().map(|planned| &planned.action).collect::<Vec<_>>());
        for planned in actions {
            let report = match run.stopped_by(planned) {
                Some(reason) => Report { untouched: true, ..Report::failed(reason) },
                None => host.perform(&planned.action),
            };
            run.record(planned, &report, before);
        }
        host.settle();
    }
    let retrying = run.outcomes.iter().any(|outcome| outcome.failure.is_some());
    let convergence = if retrying { Convergence::Retrying } else { Convergence::Done };
    let Run { outcomes, ownership, outrun, jobs_back, .. } = run;
    Applied { outcomes, ownership, convergence, outrun, jobs_back }
}

struct Run {
    outcomes: Vec<Outcome>,
    ownership: Ownership,
    failed: BTreeSet<(Phase, Area)>,
    outrun: bool,
    jobs_back: BTreeSet<Login>,
}

impl Run {
    fn stopped_by(&self, planned: &Planned) -> Option<&'static str> {
        let area = area(&planned.action);
        if planned.phase == Phase::Take {
            return None;
        }
        if self.failed.contains(&(Phase::Take, area)) {
            return Some("not done since taking away before it failed");
        }
        self.failed
            .contains(&(Phase::Give, Area::Accounts))
            .then_some("not done since the account files could not be changed")
    }

    fn record(&mut self, planned: &Planned, report: &Report, before: &Ownership) {
        let area = area(&planned.action);
        self.outrun |= report.outrun;
        self.jobs_back.extend(report.jobs_back.iter().cloned());
        if report.whole.is_some() {
            self.failed.insert((planned.phase, area));
            // Nothing was renamed, so nothing that was only intended is ours.
            if area == Area::Accounts && planned.phase == Phase::Give && report.untouched {
                self.forget_intended(before);
            }
        }
        for note in &planned.notes {
            let failure = report.whole.as_ref().or_else(|| report.failures.get(&note.subject));
            let detail = report.details.get(&note.subject).unwrap_or(&note.detail);
            self.outcomes.push(Outcome {
                action: note.word.to_owned(),
                subject: note.subject.clone(),
                detail: detail.clone(),
                failure: failure.cloned(),
            });
        }
        if let Action::LeftBehind(departed) = &planned.action
            && report.whole.is_none()
        {
            self.remember_lock(departed);
        }
        if let Action::Purge(purged) = &planned.action
            && report.whole.is_none()
        {
            let gone =
                purged.iter().filter(|one| !report.failures.contains_key(one.login.as_str()));
            for one in gone {
                self.ownership.accounts.remove(&one.login);
            }
        }
        if let Action::Sessions(leavers) = &planned.action {
            for leaver in leavers {
                let failed =
                    report.whole.is_some() || report.failures.contains_key(leaver.login.as_str());
                if let Some(account) = self.ownership.accounts.get_mut(&leaver.login) {
                    account.sessions_owed = failed;
                }
            }
        }
    }

    /// Until it is told what is left of a lock, the account counts as not locked yet: a stop in
    /// between tells it twice rather than never.
    fn remember_lock(&mut self, departed: &[Departed]) {
        for one in departed {
            if let Some(account) = self.ownership.accounts.get_mut(&one.login) {
                account.locked_at = Some(one.at);
            }
        }
    }

    fn forget_intended(&mut self, before: &Ownership) {
        self.ownership.accounts.retain(|login, _| before.accounts.contains_key(login));
        self.ownership.unix_groups.retain(|name, _| before.unix_groups.contains_key(name));
    }
}

fn area(action: &Action) -> Area {
    match action {
        Action::Sudo(_) => Area::Sudo,
        Action::Accounts(_) => Area::Accounts,
        Action::Keys(_) => Area::Keys,
        Action::DropIn(_) => Area::DropIn,
        Action::PasswordPolicy(_) => Area::PasswordPolicy,
        Action::Jobs(_) | Action::Sessions(_) | Action::LeftBehind(_) => Area::Processes,
        Action::Purge(_) | Action::Sweep(_) => Area::Purge,
        Action::Homes(_) => Area::Homes,
    }
}
