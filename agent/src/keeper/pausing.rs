//! Turns in a pause: how it begins, what is done in it, what is told of it and how it ends. What it
//! is, and what is taken away all the same, is `pause`'s business.

use std::collections::BTreeSet;

use muster_proto::{
    desired::{Grant, Pins},
    drift::Culprit,
    receipt::{Convergence, Finding, FindingKind, HostMode, Outcome, Trigger},
};

use super::{Keeper, KeeperError, look::Look, turn::Turn};
use crate::{
    clock::Time,
    host::Host,
    orders::{Order, Ordered},
    pause::{Pause, Reason, Span, Term, lost::Lost},
    plan::{Note, Plan},
};

/// Seconds after which the ledger's file is to have the time again.
const TIME_KEPT_SECONDS: u64 = 3_600;
/// Seconds after which the ledger's file is to have what is left of a pause: after a reboot a wall
/// clock that was set back meanwhile prolongs it by as much at most.
const PAUSE_KEPT_SECONDS: u64 = 300;

/// Why a host is not paused, or does not cease to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
enum Refusal {
    /// It changes nothing anyway.
    #[error("this host only observes: nothing is given or put right here that could be paused")]
    Observes,
    /// There is nothing to end.
    #[error("this host is not paused")]
    NotPaused,
    /// After a restart nobody would know of it.
    #[error("the ledger cannot be written, and a pause that a restart ends is none")]
    Unwritten,
}

impl<H: Host> Keeper<H> {
    /// Does what root on the console wants, and answers.
    pub(super) fn obey(&mut self, ordered: &Ordered) -> Result<(), KeeperError> {
        self.turn(|turn| {
            turn.load_labels();
            let done = match &ordered.order {
                Order::Pause { span, reason } => turn.pause(*span, reason, &ordered.by)?,
                Order::End => turn.end_pause()?,
            };
            match done {
                Ok(words) => ordered.answer(Ok(&words)),
                Err(why) => ordered.answer(Err(&why.to_string())),
            }
            Ok(())
        })
    }

    /// Returns what is taken away by now though a pause may leave it: what another configuration
    /// takes beside that is taken.
    pub(super) fn owed(&mut self) -> Result<Lost, KeeperError> {
        let mut lost = Lost::default();
        if self.term.is_some() {
            self.turn(|turn| {
                let time = turn.keeper.clock.read(turn.keeper.host.clocks());
                lost = turn.owed(&time)?;
                Ok(())
            })?;
        }
        Ok(lost)
    }

    /// Returns how old the time in the ledger's file may become.
    pub(super) fn time_kept_seconds(&self) -> u64 {
        if self.term.is_some() { PAUSE_KEPT_SECONDS } else { TIME_KEPT_SECONDS }
    }
}

impl<H: Host> Turn<'_, H> {
    fn pause(
        &mut self,
        span: Span,
        reason: &Reason,
        by: &Culprit,
    ) -> Result<Result<String, Refusal>, KeeperError> {
        if self.keeper.config.policy.mode == HostMode::Observe {
            return Ok(Err(Refusal::Observes));
        }
        let clocks = self.keeper.host.clocks();
        let time = self.keeper.clock.read(clocks);
        self.lapse(&time);
        let before = (self.ledger.pause.clone(), self.keeper.term);
        let lost = if let Some(pause) = &self.ledger.pause {
            pause.lost.clone()
        } else {
            self.owed(&time)?
        };
        let term = Term::begin(span, time.now, clocks.boot);
        let pause = Pause {
            until: term.until(),
            left: span.seconds(),
            login: by.login.clone(),
            unit: by.unit.clone(),
            reason: reason.clone(),
            lost,
        };
        let words = format!("paused by {} {}", pause.by(), pause.words());
        tracing::info!(pause = %words, "paused");
        (self.ledger.pause, self.keeper.term) = (Some(pause), Some(term));
        if self.save().is_err() {
            (self.ledger.pause, self.keeper.term) = before;
            return Ok(Err(Refusal::Unwritten));
        }
        self.converge(Trigger::Change)?;
        Ok(Ok(words))
    }

    fn end_pause(&mut self) -> Result<Result<String, Refusal>, KeeperError> {
        let time = self.keeper.clock.read(self.keeper.host.clocks());
        self.lapse(&time);
        if self.ledger.pause.is_none() {
            return Ok(Err(Refusal::NotPaused));
        }
        self.resume();
        self.converge(Trigger::Change)?;
        Ok(Ok("the pause is ended".to_owned()))
    }

    fn owed(&mut self, time: &Time) -> Result<Lost, KeeperError> {
        let look = self.look(time)?;
        let mut lost = Lost::default();
        lost.note_owed(&look.plan);
        Ok(lost)
    }

    /// Takes down what another configuration takes away that was not `before`.
    pub(super) fn note_newly_owed(&mut self, before: &Lost) -> Result<(), KeeperError> {
        if self.ledger.pause.is_some() {
            let time = self.keeper.clock.read(self.keeper.host.clocks());
            let now = self.owed(&time)?;
            if let Some(pause) = &mut self.ledger.pause {
                pause.lost.note_new(&now, before);
                self.unsaved = true;
            }
        }
        Ok(())
    }

    /// Ends a pause that is over.
    pub(super) fn lapse(&mut self, time: &Time) {
        let boot = self.keeper.host.clocks().boot;
        if self.keeper.term.is_some_and(|term| term.left(time.now, boot) == 0) {
            self.resume();
        }
    }

    fn resume(&mut self) {
        (self.ledger.pause, self.keeper.term) = (None, None);
        self.unsaved = true;
        tracing::info!("the pause is over");
    }

    /// Says whether anything is put right now.
    pub(super) fn mode(&self) -> HostMode {
        if self.ledger.pause.is_some() { HostMode::Observe } else { self.keeper.config.policy.mode }
    }

    /// Takes down what is held no more, so that it is taken away in a pause too.
    pub(super) fn note_lost(&mut self, before: &BTreeSet<Grant>, after: &BTreeSet<Grant>) {
        if let Some(pause) = &mut self.ledger.pause {
            let known = pause.lost.clone();
            pause.lost.note(before.difference(after));
            self.unsaved |= pause.lost != known;
        }
    }

    /// Does what takes away, and looks again. That the rest is left is told, and is nothing to be
    /// tried again.
    pub(super) fn take_away(
        &mut self,
        look: &mut Look,
        time: &Time,
    ) -> Result<(Vec<Outcome>, Convergence), KeeperError> {
        let due = self.due(look);
        if due.is_empty() {
            return Ok((Vec::new(), Convergence::Done));
        }
        let applied = self.apply(&due, Pins::new());
        *look = self.look(time)?;
        let settled = self.due(look).is_empty();
        let convergence = if settled { applied.convergence } else { Convergence::Retrying };
        Ok((applied.outcomes, convergence))
    }

    fn due(&self, look: &Look) -> Plan {
        let pause = self.ledger.pause.as_ref();
        pause.map_or_else(Plan::default, |pause| {
            pause.lost.of(&look.plan, &look.desired, &self.ledger.ownership)
        })
    }

    /// Tells of the pause, and of whom or what it leaves as it is.
    pub(super) fn paused(&self, look: &Look) -> Vec<Finding> {
        let Some(pause) = &self.ledger.pause else { return Vec::new() };
        let mut told = vec![Finding {
            kind: FindingKind::Paused.into(),
            subject: pause.by().to_owned(),
            detail: pause.words(),
        }];
        if self.keeper.config.policy.mode == HostMode::Observe {
            return told;
        }
        let due = self.due(look);
        let done: Vec<&Note> = due.actions.iter().flat_map(|planned| &planned.notes).collect();
        let all = look.plan.actions.iter().flat_map(|planned| &planned.notes);
        told.extend(all.filter(|note| !done.contains(note)).map(|note| Finding {
            kind: FindingKind::Postponed.into(),
            subject: note.subject.clone(),
            detail: format!("{} not before the pause ends", note.word),
        }));
        told
    }
}
