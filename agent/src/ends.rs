//! What has ended by its date, pure. What has ended stays ended whatever a clock says later, until a
//! newer revision says otherwise. A step of a clock that is not sure ends at most a share of the
//! accounts, the earliest dates first (DESIGN, What ends access).

use std::collections::{BTreeMap, BTreeSet};

use muster_proto::{
    derive::Statements,
    id::Id,
    name::Login,
    receipt::{Finding, FindingKind},
    statement::{Content, Statement},
    time::{Now, Timestamp},
};

use crate::clock::Time;

/// The revision up to which each statement has ended.
pub type Ended = BTreeMap<Id, u64>;

/// What a look at the clock came to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ends {
    /// All that has ended.
    pub ended: Ended,
    /// Whom something has ended for that no sure clock says has ended. It follows from `ended`, so
    /// that neither a clock that goes back and ahead again nor a restart begins another share.
    pub unsure: BTreeSet<Login>,
    /// Whose ends wait until the step is sure.
    pub waiting: BTreeSet<Login>,
}

/// Returns what has ended: what had before, what has surely, and of what only a step has ended as
/// much as touches at most `share` accounts, with those for whom a step has ended something before.
pub fn judge(known: &Statements, before: &Ends, time: &Time, share: usize) -> Ends {
    let mut ends = Ends { ended: before.ended.clone(), ..Ends::default() };
    let mut doubtful = Vec::new();
    for (id, statement) in known {
        let Some(end) = dates(statement).1 else { continue };
        if ends.has_ended(id, statement) {
            if end > time.sure {
                ends.unsure.extend(touched(known, id, statement));
            }
        } else if end <= time.sure {
            ends.ended.insert(*id, statement.revision);
        } else if end <= time.now.latest {
            doubtful.push((end, id, statement));
        }
    }
    doubtful.sort_by_key(|(end, id, _)| (*end, *id));
    for (_, id, statement) in doubtful {
        let touched = touched(known, id, statement);
        if ends.unsure.union(&touched).count() <= share {
            ends.unsure.extend(touched);
            ends.ended.insert(*id, statement.revision);
        } else {
            ends.waiting.extend(touched);
        }
    }
    ends
}

/// The next dates after a look: a start comes with the earliest clock, an end with the latest.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct NextDates {
    pub(crate) start: Option<Timestamp>,
    pub(crate) end: Option<Timestamp>,
}

impl NextDates {
    /// Returns the next dates of these statements after the time of the look.
    pub fn after<'a>(statements: impl Iterator<Item = &'a Statement>, looked: Now) -> Self {
        let sooner = |known: Option<Timestamp>, date: Option<Timestamp>, looked| {
            known.into_iter().chain(date.filter(|date| *date > looked)).min()
        };
        statements.map(dates).fold(Self::default(), |next, (start, end)| Self {
            start: sooner(next.start, start, looked.earliest),
            end: sooner(next.end, end, looked.latest),
        })
    }

    /// Returns the seconds until the first of them: 0 if it has come.
    pub fn wait(&self, now: Now) -> Option<u64> {
        let start = self.start.map(|start| start.since(now.earliest));
        let end = self.end.map(|end| end.since(now.latest));
        start.into_iter().chain(end).min()
    }
}

/// How many accounts a step of the clock that is not sure may end something for.
pub fn share(accounts: usize) -> usize {
    (accounts / 5).max(3)
}

impl Ends {
    /// Says whose ends wait.
    pub fn findings(&self, time: &Time) -> Vec<Finding> {
        let settles = time.now.latest.plus(time.settles_in.unwrap_or_default());
        let finding = |login: &Login| Finding {
            kind: FindingKind::ClockStepped.into(),
            subject: login.to_string(),
            detail: format!(
                "a clock stepped ahead and would end more accounts than it may at once: this one \
                 waits for the controller's time or until {settles}"
            ),
        };
        self.waiting.iter().map(finding).collect()
    }

    /// Says whether this revision of a statement has ended.
    pub fn has_ended(&self, id: &Id, statement: &Statement) -> bool {
        self.ended.get(id).is_some_and(|revision| statement.revision <= *revision)
    }
}

/// When a statement begins to count, and when it no longer does.
fn dates(statement: &Statement) -> (Option<Timestamp>, Option<Timestamp>) {
    match &statement.content {
        Content::User(user) => (user.starts, user.ends),
        Content::Assignment(assignment) => (assignment.from, assignment.until),
        _ => (None, None),
    }
}

/// The logins that lose something when a statement ends.
fn touched(known: &Statements, id: &Id, statement: &Statement) -> BTreeSet<Login> {
    let subject = match &statement.content {
        Content::Assignment(assignment) => &assignment.subject,
        _ => id,
    };
    let users = known.iter().filter_map(|(id, statement)| match &statement.content {
        Content::User(user) if id == subject || user.groups.contains(subject) => {
            Some(user.login.clone())
        }
        _ => None,
    });
    users.collect()
}

#[cfg(test)]
mod tests;
